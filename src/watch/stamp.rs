//! Which files a plugin folder has, and when they last changed: cheap to take, and different after any change.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::folder::{Folder, names};
use crate::integration::load::shadow_of;

/// What of a folder counts: its own regular files and those of `fixtures/`, and the same of its shadow's folder. Sources
/// and build folders do not. What is read is what the loader reads, so nothing outside of the folder counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    files: Vec<(PathBuf, Identity)>,
    /// Why not all of it can be listed: the loader then finds the same, and refuses the folder.
    unlisted: Vec<String>,
}

/// Size, inode, and the times of the last write and of the last change of name or mode, in nanoseconds.
type Identity = (u64, u64, i128, i128);

impl Stamp {
    /// Nothing where the folder is gone. A file that goes meanwhile is left out.
    pub(super) fn of(plugins: &Path, name: &OsStr) -> Option<Self> {
        let mut stamp = Self::default();
        let folder = match Folder::open_in(plugins, name) {
            Ok(folder) => folder,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                stamp.unlisted.push(error.to_string());
                return Some(stamp);
            }
        };
        stamp.add(&folder);
        if let Some(shadow) = shadow_of(&folder) {
            stamp.add(&shadow);
        }
        stamp.files.sort();
        Some(stamp)
    }

    fn add(&mut self, folder: &Folder) {
        for within in ["", "fixtures"].map(Path::new) {
            match folder.list(if within.as_os_str().is_empty() { Path::new(".") } else { within }) {
                Ok(names) => {
                    let files = names.iter().map(|name| within.join(name));
                    let there =
                        files.filter_map(|it| folder.metadata(&it).ok().map(|of| (folder.join(it), identity(&of))));
                    self.files.extend(there);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => self.unlisted.push(error.to_string()),
            }
        }
    }
}

fn identity(of: &Metadata) -> Identity {
    let time = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    (of.len(), of.ino(), time(of.mtime(), of.mtime_nsec()), time(of.ctime(), of.ctime_nsec()))
}

/// Folders of `dir` that have a plugin.toml, whatever that is, by name. One that cannot be read is refused later, with
/// its reason.
pub(super) fn folders(dir: &Path) -> std::io::Result<Vec<OsString>> {
    let has_manifest = |name: &OsString| dir.join(name).join("plugin.toml").symlink_metadata().is_ok();
    Ok(visible(dir)?.into_iter().filter(has_manifest).collect())
}

/// What is in `dir`, by name. Names that begin with a dot are left alone: a place to copy to before a rename.
pub(super) fn visible(dir: &Path) -> std::io::Result<Vec<OsString>> {
    let mut names = names(dir)?;
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    Ok(names)
}
