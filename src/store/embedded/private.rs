//! Makes a data directory accessible to the server's own user only.
//!
//! Every start checks all files in it, because the directory may have been created by hand, copied or unpacked.
//! Permissions are never changed by name: each file is opened without following symbolic links, and checked and
//! changed through its descriptor.

use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fchmod, fstat, openat, statat};
use rustix::io::Errno;

/// Maximum depth of directories that are checked. sled's are the deepest, with three levels.
const DEPTH: usize = 8;

/// Creates a directory that only the server's own user can read, because it contains patients' data.
pub(super) fn create_private_dir(dir: &Path) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Removes the permissions of other users from a directory and everything in it; with `group`, its group keeps its
/// permissions.
///
/// # Errors
/// Fails if that is not possible. The message contains the command to run.
pub(super) fn make_private(dir: &Path, group: bool) -> Result<()> {
    // The owner of the process's directory in `/proc` is the user that it runs as.
    let user = std::fs::metadata("/proc/self")?.uid();
    let walk = RightsWalk { forbidden: if group { 0o007 } else { 0o077 }, user };
    walk.enter(CWD, dir, dir, DEPTH).map_err(|(path, cause)| {
        let (user, quoted) = (walk.user, quoted(dir));
        let rights = if group { "o-rwx" } else { "go-rwx" };
        Error::new(
            ErrorKind::PermissionDenied,
            format!(
                "users other than the server's may read {}, and its mode cannot be changed ({cause}); run: \
                 sudo chown -R {user} {quoted} && sudo chmod -R {rights} {quoted}",
                path.display(),
            ),
        )
    })
}

struct RightsWalk {
    /// Mode bits that must not be set.
    forbidden: u32,
    user: u32,
}

type RefusedRights = (PathBuf, String);

impl RightsWalk {
    fn enter(
        &self,
        at: BorrowedFd<'_>,
        name: &Path,
        path: &Path,
        depth: usize,
    ) -> std::result::Result<(), RefusedRights> {
        let failed = |e: Errno| (path.to_owned(), e.to_string());
        // The directory itself may be a symbolic link; entries in it may not.
        let follow = if depth == DEPTH { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | follow;
        let opened = match openat(at, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            opened => opened.map_err(failed)?,
        };
        self.look(opened.as_fd(), path)?;
        if depth == 0 {
            return Ok(());
        }
        for entry in Dir::read_from(&opened).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = Path::new(std::ffi::OsStr::new(match entry.file_name().to_str() {
                Ok("." | "..") => continue,
                // Not created by hookmill.
                Err(_) => continue,
                Ok(name) => name,
            }));
            self.entry(opened.as_fd(), name, &path.join(name), depth)?;
        }
        Ok(())
    }

    fn entry(
        &self,
        at: BorrowedFd<'_>,
        name: &Path,
        path: &Path,
        depth: usize,
    ) -> std::result::Result<(), RefusedRights> {
        let failed = |e: Errno| (path.to_owned(), e.to_string());
        let found = match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            found => found.map_err(failed)?,
        };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory if self.is_private(&found) && found.st_uid != self.user => Ok(()),
            FileType::Directory => self.enter(at, name, path, depth - 1),
            FileType::RegularFile if self.is_private(&found) => Ok(()),
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                match openat(at, name, flags, Mode::empty()) {
                    Err(Errno::NOENT) => Ok(()),
                    opened => self.look(opened.map_err(failed)?.as_fd(), path),
                }
            }
            FileType::Symlink => {
                tracing::warn!(path = %path.display(), "a symbolic link: the mode of what it names is not checked");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Returns whether no other user can read it. root can read everything.
    fn is_private(&self, found: &Stat) -> bool {
        found.st_mode & self.forbidden == 0 && (self.user == 0 || found.st_uid == self.user || found.st_uid == 0)
    }

    fn look(&self, file: BorrowedFd<'_>, path: &Path) -> std::result::Result<(), RefusedRights> {
        let failed = |e: Errno| (path.to_owned(), e.to_string());
        let found = fstat(file).map_err(failed)?;
        if self.is_private(&found) {
            return Ok(());
        }
        if found.st_uid != self.user && self.user != 0 {
            return Err((path.to_owned(), format!("it belongs to user {}", found.st_uid)));
        }
        let mode = found.st_mode & 0o7777 & !self.forbidden;
        fchmod(file, Mode::from_raw_mode(mode)).map_err(failed)?;
        tracing::warn!(path = %path.display(), mode = format!("{mode:o}"), "other users could read this; their permissions were removed");
        Ok(())
    }
}

/// Quotes a path for a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, create_dir, metadata, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn mode(path: &Path) -> u32 {
        metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// A link must not cause a file elsewhere to be changed, and a group that the operator allows keeps its
    /// permissions.
    #[test]
    fn rights_of_others_go_and_nothing_outside_is_touched() {
        let dir = tempfile::TempDir::new().unwrap();
        let (data, elsewhere) = (dir.path().join("data"), dir.path().join("elsewhere"));
        write(&elsewhere, "x").unwrap();
        set_permissions(&elsewhere, Permissions::from_mode(0o644)).unwrap();
        create_dir(&data).unwrap();
        create_dir(data.join("journal")).unwrap();
        write(data.join("journal/one"), "x").unwrap();
        symlink(&elsewhere, data.join("link")).unwrap();
        let all = [data.clone(), data.join("journal"), data.join("journal/one")];
        let set = |mode| all.iter().for_each(|it| set_permissions(it, Permissions::from_mode(mode)).unwrap());
        set(0o775);
        make_private(&data, true).unwrap();
        assert!(all.iter().all(|it| mode(it) == 0o770));
        make_private(&data, false).unwrap();
        assert!(all.iter().all(|it| mode(it) == 0o700));
        assert_eq!(mode(&elsewhere), 0o644);
        // The directory may be named by a link.
        set(0o755);
        symlink(&data, dir.path().join("named")).unwrap();
        make_private(&dir.path().join("named"), false).unwrap();
        assert!(all.iter().all(|it| mode(it) == 0o700));
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
