//! Writes files into a plugin's folder, in one step each, and never outside of it.

use std::fs::File;
use std::io::{Error, ErrorKind, Result, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::folder::{Folder, beneath};

/// Mode of a new file, and of a new directory.
const FILE: u32 = 0o644;
const DIRECTORY: u32 = 0o755;

impl Folder {
    /// Writes a file of the folder, or of one of its directories, which is created if it is missing. Readers see the file before
    /// or after it, never a part. `replace`: the file may exist already.
    ///
    /// # Errors
    /// Fails if the file exists and must not be replaced, if it is a link or no file, or if it cannot be written.
    pub fn write(&self, directory: Option<&str>, name: &str, bytes: &[u8], replace: bool) -> Result<()> {
        let within = match directory {
            Some(directory) => self.directory(directory)?,
            None => beneath(self.dir.as_fd(), Path::new("."), OFlags::PATH | OFlags::DIRECTORY)?,
        };
        let mode = match statat(&within, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) if !replace => return Err(ErrorKind::AlreadyExists.into()),
            Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile => {
                return Err(Error::other("it is a link, and not a file; change it where the link points to"));
            }
            Ok(found) => Mode::from_raw_mode(found.st_mode & 0o777),
            Err(Errno::NOENT) => Mode::from_raw_mode(FILE),
            Err(error) => return Err(error.into()),
        };
        let new = format!(".{name}.new");
        // What an earlier attempt has left.
        let _none = unlinkat(&within, new.as_str(), AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&within, new.as_str(), flags, mode)?);
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        let placed = written.and_then(|()| Ok(renameat(&within, new.as_str(), &within, name)?));
        if placed.is_err() {
            let _none = unlinkat(&within, new.as_str(), AtFlags::empty());
        }
        placed
    }

    /// Removes a file of the folder, or of one of its directories.
    ///
    /// # Errors
    /// Fails if it cannot be removed.
    pub fn remove(&self, directory: &str, name: &str) -> Result<()> {
        Ok(unlinkat(self.directory(directory)?, name, AtFlags::empty())?)
    }

    fn directory(&self, name: &str) -> Result<OwnedFd> {
        let open = || beneath(self.dir.as_fd(), Path::new(name), OFlags::PATH | OFlags::DIRECTORY);
        match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                mkdirat(&self.dir, name, Mode::from_raw_mode(DIRECTORY))?;
                open()
            }
            opened => opened,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A plugin's author may not write where the server may write.
    #[test]
    fn a_file_is_replaced_in_its_folder_and_never_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("in");
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::write(dir.path().join("outside"), "old").unwrap();
        symlink("../outside", inside.join("link.js")).unwrap();
        symlink("..", inside.join("out")).unwrap();
        let folder = Folder::open(&inside).unwrap();
        folder.write(None, "a.js", b"one", false).unwrap();
        assert_eq!(folder.write(None, "a.js", b"two", false).unwrap_err().kind(), ErrorKind::AlreadyExists);
        folder.write(None, "a.js", b"two", true).unwrap();
        folder.write(Some("fixtures"), "b.json", b"{}", false).unwrap();
        assert_eq!(std::fs::read_to_string(inside.join("a.js")).unwrap(), "two");
        assert_eq!(std::fs::read_to_string(inside.join("fixtures/b.json")).unwrap(), "{}");
        assert!(folder.write(None, "link.js", b"new", true).is_err());
        assert!(folder.write(Some("out"), "outside", b"new", true).is_err());
        assert_eq!(std::fs::read_to_string(dir.path().join("outside")).unwrap(), "old");
        assert_eq!(folder.list(".").unwrap(), ["a.js", "fixtures", "link.js", "out"], "nothing is left");
        folder.remove("fixtures", "b.json").unwrap();
        assert!(folder.list("fixtures").unwrap().is_empty());
    }
}
