//! Whether a module is older than the sources next to it.
//!
//! Only times of change are compared. After a checkout, a copy or a download they say nothing, but then they are close
//! together, so a source counts as newer only if it was changed more than a minute after the module.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::system::folder::Folder;

/// By how much a source must be newer.
const CLEARLY: Duration = Duration::from_secs(60);
/// Maximum depth of directories in `src/`.
const DEPTH: usize = 4;
/// Kinds of sources, by extension.
const EXTENSIONS: [&str; 12] = ["rs", "js", "mjs", "cjs", "ts", "py", "go", "c", "h", "cpp", "zig", "wit"];
/// Other sources, by name.
const NAMES: [&str; 4] = ["Cargo.toml", "package.json", "go.mod", "requirements.txt"];

/// Returns the newest source of a module, if it was changed clearly later than the module: in the folder itself, or in `src/`.
pub(super) fn newer_source(folder: &Folder, module: &str) -> Option<PathBuf> {
    let changed = |file: &Path| folder.metadata(file).ok()?.modified().ok();
    let built = changed(Path::new(module))?;
    let mut files = in_directory(folder, Path::new("."));
    below(folder, Path::new("src"), DEPTH, &mut files);
    let timed = files.into_iter().filter_map(|it| Some((changed(&it)?, it)));
    let (time, newest): (SystemTime, PathBuf) = timed.max_by_key(|(time, _)| *time)?;
    let later = time.duration_since(built).unwrap_or_default();
    (later > CLEARLY).then_some(newest)
}

fn below(folder: &Folder, directory: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    files.extend(in_directory(folder, directory));
    let Some(depth) = depth.checked_sub(1) else { return };
    for name in folder.list(directory).unwrap_or_default() {
        let path = directory.join(name);
        // Dependencies and what a compiler makes of the sources.
        let is_made = path.ends_with("target") || path.ends_with("node_modules");
        if !is_made && folder.is_folder(&path) {
            below(folder, &path, depth, files);
        }
    }
}

fn in_directory(folder: &Folder, directory: &Path) -> Vec<PathBuf> {
    let is_source = |path: &PathBuf| {
        let extension = path.extension().and_then(|it| it.to_str()).is_some_and(|it| EXTENSIONS.contains(&it));
        let name = path.file_name().and_then(|it| it.to_str());
        extension || name.is_some_and(|it| NAMES.contains(&it))
    };
    let names = folder.list(directory).unwrap_or_default();
    let at = |name: &std::ffi::OsString| if directory == Path::new(".") { name.into() } else { directory.join(name) };
    names.iter().map(at).filter(is_source).collect()
}
