//! Writes a payload and its result as a fixture.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;
use crate::integration::new_fixture::{NewFixture, slug};

/// Writes a fixture into a plugin's folder, under this name or a free one, and returns its path in the folder.
///
/// # Errors
/// Fails if the file exists and must not be replaced, or if it cannot be written.
pub(super) fn write(
    fixture: &NewFixture<'_>,
    folder: &Path,
    file: Option<&str>,
    replace: bool,
) -> Result<PathBuf, Failure> {
    let text = fixture.text().map_err(Failure::new)?;
    let fixtures = folder.join("fixtures");
    std::fs::create_dir_all(&fixtures).map_err(|e| Failure::new(format!("{}: {e}", fixtures.display())))?;
    let given = file.map(|it| it.strip_suffix(".json").unwrap_or(it).to_owned());
    let first = given.clone().or_else(|| slug(fixture.payload)).unwrap_or_else(|| "example".to_owned());
    let numbered = (2..).map(|number| format!("{first}-{number}"));
    for name in std::iter::once(first.clone()).chain(numbered) {
        let file = Path::new("fixtures").join(format!("{name}.json"));
        match create(&folder.join(&file), &text, replace && given.is_some()) {
            Ok(()) => return Ok(file),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && given.is_none() => {}
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                let file = folder.join(file);
                let message = format!("{} is there already; choose another name, or add --force", file.display());
                return Err(Failure::usage(message));
            }
            Err(e) => return Err(Failure::new(format!("{}: {e}", folder.join(file).display()))),
        }
    }
    Ok(PathBuf::new())
}

fn create(path: &Path, text: &str, replace: bool) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true);
    // Never through a link that another user has put there.
    if replace && path.symlink_metadata().is_ok_and(|it| it.is_file()) {
        options.truncate(true);
    } else {
        options.create_new(true);
    }
    options.open(path)?.write_all(text.as_bytes())
}
