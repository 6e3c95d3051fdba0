//! A plugin's folder. Only files beneath it are read, wherever its links point.
//!
//! People who may write to a plugin's folder may not read what the server may read: its lock file with the operator
//! token, its environment, another company's plugin. So paths are resolved by the kernel, relative to the open
//! folder, and never out of it (`openat2`, Linux 5.6). Links that stay inside work, as Kubernetes mounts need them.
//! Only regular files are opened: opening a pipe would block, and opening a device may have side effects.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// Maximum size of plugin.toml, in bytes.
pub const MANIFEST_BYTES: u64 = 64 << 10;
/// Maximum size of a schema, in bytes.
pub const SCHEMA_BYTES: u64 = 1 << 20;
/// Maximum size of a fixture, in bytes: twice the default limit of a body.
pub const FIXTURE_BYTES: u64 = 2 << 20;
/// Maximum size of all fixtures of a plugin together, in bytes.
pub const FIXTURES_BYTES: u64 = 16 << 20;
/// Maximum number of fixtures of a plugin.
pub const FIXTURES: usize = 1000;
/// Maximum number of entries in a directory that is listed.
pub const ENTRIES: usize = 4096;

/// How often a path is resolved again if folders in it were renamed in the meantime.
const RETRIES: u32 = 16;
/// Mode bit of a world-readable file: such a file contains no secret.
const WORLD_READABLE: u32 = 0o004;

/// An open folder. It remains the same folder if it is renamed.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    pub(super) dir: OwnedFd,
}

impl Folder {
    /// Opens the folder that an operator or a plugin's author names. Links in the path are followed.
    ///
    /// # Errors
    /// Fails if it cannot be opened, or is not a folder.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { path: path.to_owned(), dir: openat(CWD, path, flags, Mode::empty())? })
    }

    /// Opens a folder in the plugins folder. Its name may be a link to another place inside it.
    ///
    /// # Errors
    /// Fails if it cannot be opened, is not a folder, or is a link that leads out.
    pub fn open_in(plugins: &Path, name: impl AsRef<Path>) -> Result<Self> {
        let whole = Self::open(plugins)?;
        let dir = beneath(whole.dir.as_fd(), name.as_ref(), OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Self { path: plugins.join(name), dir })
    }

    /// Opens the folder with this name next to this one, without resolving links.
    ///
    /// # Errors
    /// Fails as [`Self::open_in`] does.
    pub fn sibling(&self, name: &str) -> Result<Self> {
        let whole = std::path::absolute(&self.path)?;
        Self::open_in(whole.parent().unwrap_or(&whole), name)
    }

    /// Returns the path with which it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a file in it, for messages.
    #[must_use]
    pub fn join(&self, file: impl AsRef<Path>) -> PathBuf {
        self.path.join(file)
    }

    /// Returns whether it contains this directory.
    #[must_use]
    pub fn is_folder(&self, directory: impl AsRef<Path>) -> bool {
        beneath(self.dir.as_fd(), directory.as_ref(), OFlags::PATH | OFlags::DIRECTORY).is_ok()
    }

    /// Returns size, inode and times of a regular file.
    ///
    /// # Errors
    /// Fails if it is not a regular file, or leads out of the folder.
    pub fn metadata(&self, file: impl AsRef<Path>) -> Result<Metadata> {
        let found = beneath(self.dir.as_fd(), file.as_ref(), OFlags::PATH)?;
        checked(&File::from(found))
    }

    /// Reads a regular file.
    ///
    /// # Errors
    /// Fails if it is not a regular file, leads out of the folder, or has more than `most` bytes.
    pub fn read(&self, file: impl AsRef<Path>, most: u64) -> Result<Vec<u8>> {
        let file = self.file(file.as_ref(), OFlags::RDONLY)?;
        let size = file.metadata()?.len();
        if size > most {
            return Err(too_large(size, most));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        // The file may grow in the meantime.
        file.take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most { Err(too_large(bytes.len() as u64, most)) } else { Ok(bytes) }
    }

    /// Reads a regular file as text.
    ///
    /// # Errors
    /// Fails as [`Self::read`] does, and if the text is not UTF-8.
    pub fn text(&self, file: impl AsRef<Path>, most: u64) -> Result<String> {
        let bytes = self.read(file, most)?;
        let mut text =
            String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8 text"))?;
        // Editors on Windows write a byte order mark.
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Ok(text)
    }

    /// Overwrites an existing regular file.
    ///
    /// # Errors
    /// Fails if it is not a regular file, leads out of the folder, or cannot be written.
    pub fn overwrite(&self, file: impl AsRef<Path>, text: &str) -> Result<()> {
        let mut file = self.file(file.as_ref(), OFlags::WRONLY)?;
        file.set_len(0)?;
        file.write_all(text.as_bytes())
    }

    /// Returns the names in one of its directories, sorted; `.` is the folder itself.
    ///
    /// # Errors
    /// Fails if it cannot be listed, leads out of the folder, or has more than [`ENTRIES`] entries.
    pub fn list(&self, directory: impl AsRef<Path>) -> Result<Vec<OsString>> {
        list(beneath(self.dir.as_fd(), directory.as_ref(), OFlags::RDONLY | OFlags::DIRECTORY)?)
    }

    /// Opens a file. It is checked before and after opening, because its name may belong to another file in the
    /// meantime.
    fn file(&self, file: &Path, flags: OFlags) -> Result<File> {
        self.metadata(file)?;
        let opened = File::from(beneath(self.dir.as_fd(), file, flags | OFlags::NONBLOCK | OFlags::NOCTTY)?);
        checked(&opened)?;
        Ok(opened)
    }
}

/// Returns the names in the plugins folder, sorted.
///
/// # Errors
/// Fails if it cannot be listed, or has more than [`ENTRIES`] entries.
pub fn names(plugins: &Path) -> Result<Vec<OsString>> {
    list(openat(CWD, plugins, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn list(dir: OwnedFd) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::new(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if names.len() == ENTRIES {
            return Err(Error::other(format!(
                "it has more than {ENTRIES} entries; move files elsewhere that the plugin does not need"
            )));
        }
        names.push(std::ffi::OsStr::from_bytes(name).to_owned());
    }
    names.sort();
    Ok(names)
}

/// Checks that a file is regular, and not a second name of a file that may contain a secret: hard links need no
/// permission to read it.
fn checked(file: &File) -> Result<Metadata> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Error::other("it is not a regular file"));
    }
    if metadata.nlink() > 1 && metadata.mode() & WORLD_READABLE == 0 {
        return Err(Error::other("it is a hard link, and not world-readable; copy the file instead"));
    }
    Ok(metadata)
}

fn too_large(size: u64, most: u64) -> Error {
    Error::other(format!("it has {size} bytes; the maximum is {most}"))
}

/// Opens a path, which must lead to a place beneath this directory.
pub(super) fn beneath(dir: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..RETRIES {
        match openat2(dir, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            // An older kernel, or a sandbox that does not know this system call.
            Err(Errno::NOSYS | Errno::PERM) => return without_links(dir, path, flags).map_err(explained),
            found => return found.map_err(explained),
        }
    }
    Err(explained(Errno::AGAIN))
}

/// Opens a path step by step without any links, for kernels without `openat2`.
fn without_links(dir: BorrowedFd<'_>, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut steps = Vec::new();
    for step in path.components() {
        match step {
            Component::Normal(name) => steps.push(name),
            Component::CurDir => {}
            _ => return Err(Errno::XDEV),
        }
    }
    let Some((last, first)) = steps.split_last() else { return openat(dir, ".", flags, Mode::empty()) };
    let mut at: Option<OwnedFd> = None;
    for step in first {
        at = Some(openat(at.as_ref().map_or(dir, AsFd::as_fd), *step, way, Mode::empty())?);
    }
    let found = openat(at.as_ref().map_or(dir, AsFd::as_fd), *last, flags, Mode::empty())?;
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode);
    if kind.is_symlink() { Err(Errno::LOOP) } else { Ok(found) }
}

fn explained(error: Errno) -> Error {
    match error {
        Errno::XDEV => Error::other("it leads out of its folder through a link or \"..\"; put the file itself there"),
        Errno::LOOP => Error::other("it is a link that cannot be followed here; put the file itself there"),
        Errno::AGAIN => Error::other("folders in its path were renamed while it was being opened; try again"),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("in/sub")).unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::fs::write(dir.path().join("in/sub/file"), "text").unwrap();
        symlink("../secret", dir.path().join("in/out")).unwrap();
        symlink("sub", dir.path().join("in/link")).unwrap();
        symlink("round", dir.path().join("in/round")).unwrap();
        let folder = Folder::open(&dir.path().join("in")).unwrap();
        (dir, folder)
    }

    #[test]
    fn links_that_stay_inside_work_and_others_do_not() {
        let (dir, folder) = folder();
        assert_eq!(folder.text("link/file", 4).unwrap(), "text");
        assert_eq!(folder.text("sub/../sub/file", 4).unwrap(), "text");
        assert!(folder.read("sub/file", 3).unwrap_err().to_string().contains("4 bytes; the maximum is 3"));
        let outside = dir.path().join("secret");
        for path in ["out", "round", "../secret", "sub/../../secret", "sub", outside.to_str().unwrap()] {
            assert!(folder.read(path, 100).is_err() && folder.metadata(path).is_err(), "{path}");
        }
        assert!(Folder::open_in(dir.path(), "in").is_ok());
        symlink("in", dir.path().join("current")).unwrap();
        symlink("/etc", dir.path().join("etc")).unwrap();
        assert_eq!(Folder::open_in(dir.path(), "current").unwrap().text("sub/file", 4).unwrap(), "text");
        assert!(Folder::open_in(dir.path(), "etc").is_err() && folder.sibling("etc").is_err());
    }

    /// The behaviour on older kernels.
    #[test]
    fn without_openat2_no_link_is_followed() {
        let (_dir, folder) = folder();
        let open = |path: &str| without_links(folder.dir.as_fd(), Path::new(path), OFlags::PATH);
        assert!(open("sub/file").is_ok() && open("./sub").is_ok() && open(".").is_ok());
        for path in ["out", "link", "link/file", "round", "../secret", "/etc/passwd", "sub/../sub/file"] {
            assert!(open(path).is_err(), "{path}");
        }
    }

    /// A hard link needs no permission to read the file.
    #[test]
    fn another_name_of_a_private_file_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let (dir, folder) = folder();
        let secret = dir.path().join("secret");
        std::fs::hard_link(&secret, dir.path().join("in/hard")).unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(folder.read("hard", 10).unwrap_err().to_string().contains("hard link"));
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(folder.read("hard", 10).unwrap(), b"s");
    }

    #[test]
    fn more_entries_than_anybody_needs_are_not_listed() {
        let (dir, folder) = folder();
        assert_eq!(folder.list(".").unwrap(), ["link", "out", "round", "sub"]);
        (0..=ENTRIES).for_each(|n| drop(File::create(dir.path().join(format!("in/sub/{n}"))).unwrap()));
        assert!(folder.list("sub").unwrap_err().to_string().contains("more than 4096 entries"));
        assert!(folder.list("link").is_err() && names(&dir.path().join("in")).is_ok());
    }
}
