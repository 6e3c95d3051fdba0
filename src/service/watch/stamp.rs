//! Stamps: which files a plugin folder has, and when they were last changed. Cheap to compute, and different after
//! any change.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::auth::Senders;
use crate::integration::load::{fingerprint, shadow_of};
use crate::system::folder::{Folder, names};

/// The stamp of a folder: its own regular files, those of `fixtures/`, and the same of its shadow's folder, but no
/// sources or build folders; and fingerprints of its secrets and sender file. It reads only what the loader reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    files: Vec<(PathBuf, Identity)>,
    /// Fingerprints of the secrets and sender files that it and its shadow name.
    named: Vec<u64>,
    /// Why some of it cannot be listed. The loader finds the same problem, and refuses the folder.
    unlisted: Vec<String>,
}

/// Size, inode, and the times of the last write and the last metadata change, in nanoseconds.
type Identity = (u64, u64, i128, i128);

impl Stamp {
    /// Computes the stamp of a folder; `None` if the folder is gone. A file that disappears in the meantime is
    /// skipped.
    pub(super) fn of(plugins: &Path, name: &OsStr, senders: &Senders) -> Option<Self> {
        let mut stamp = Self::default();
        let folder = match Folder::open_in(plugins, name) {
            Ok(folder) => folder,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                stamp.unlisted.push(error.to_string());
                return Some(stamp);
            }
        };
        stamp.add(&folder, senders);
        if let Some(shadow) = shadow_of(&folder) {
            stamp.add(&shadow, senders);
        }
        stamp.files.sort();
        Some(stamp)
    }

    fn add(&mut self, folder: &Folder, senders: &Senders) {
        self.named.push(fingerprint(folder, senders));
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

/// Returns the folders in `dir` with a plugin.toml of any kind, sorted by name. One that cannot be read is refused
/// later, with the reason.
pub(super) fn folders(dir: &Path) -> std::io::Result<Vec<OsString>> {
    let has_manifest = |name: &OsString| dir.join(name).join("plugin.toml").symlink_metadata().is_ok();
    Ok(visible(dir)?.into_iter().filter(has_manifest).collect())
}

/// Returns the entries of `dir`, sorted by name. Names that begin with a dot are ignored, so that folders can be
/// copied under such a name and then renamed.
pub(super) fn visible(dir: &Path) -> std::io::Result<Vec<OsString>> {
    let mut names = names(dir)?;
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    Ok(names)
}
