//! Which files a plugin folder has, and when they last changed: cheap to take, and different after any change.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::integration::load::shadow_of;

/// What of a folder counts: its own files and those of `fixtures/`, and the same of its shadow's folder. Sources and build
/// folders do not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stamp(Vec<(PathBuf, Identity)>);

/// Size, inode, and the times of the last write and of the last change of name or mode, in nanoseconds.
type Identity = (u64, u64, i128, i128);

impl Stamp {
    /// # Errors
    /// Where the folder cannot be listed. A file that goes meanwhile is left out.
    pub(super) fn of(folder: &Path) -> std::io::Result<Self> {
        let mut files = Vec::new();
        list(folder, &mut files)?;
        let shadow = shadow_of(folder).into_iter().flat_map(|it| [it.join("fixtures"), it]);
        for more in std::iter::once(folder.join("fixtures")).chain(shadow) {
            match list(&more, &mut files) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        files.sort();
        Ok(Self(files))
    }
}

fn list(folder: &Path, into: &mut Vec<(PathBuf, Identity)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // Through links, as reading them goes.
        let Ok(of) = std::fs::metadata(&path) else { continue };
        if of.is_file() {
            let time = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
            let times = (time(of.mtime(), of.mtime_nsec()), time(of.ctime(), of.ctime_nsec()));
            into.push((path, (of.len(), of.ino(), times.0, times.1)));
        }
    }
    Ok(())
}

/// Folders of `dir` that have a plugin.toml, by name.
pub(super) fn folders(dir: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    Ok(visible(dir)?.into_iter().filter(|(_, it)| it.join("plugin.toml").is_file()).collect())
}

/// What is in `dir`, by name. Names that begin with a dot are left alone: a place to copy to before a rename.
pub(super) fn visible(dir: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            entries.push((name, path));
        }
    }
    entries.sort();
    Ok(entries)
}
