//! Makes a fixture of a payload in `fixtures/`.

use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;
use crate::integration::fixtures::is_raw;
use crate::integration::new_fixture::NewFixture;
use crate::integration::{Integration, PassedRequest, fixtures};
use crate::model::time::now;
use crate::system::folder::{FIXTURE_BYTES, Folder};

use super::run::decoded;

/// Returns the files in `fixtures/` that are payloads, and not fixtures.
pub(super) fn raw_payloads(folder: &Folder, files: &[PathBuf]) -> Vec<PathBuf> {
    let is_payload = |file: &&PathBuf| {
        let is_fixture = fixtures::Fixture::read(folder, file).is_ok();
        !is_fixture && folder.text(file, FIXTURE_BYTES).is_ok_and(|text| is_raw(&text))
    };
    files.iter().filter(is_payload).cloned().collect()
}

/// Replaces a payload's file by a fixture with what the plugin returns for it.
pub(super) fn adopt(folder: &Folder, file: &Path, integration: &Integration) -> Result<(), Failure> {
    let at = |cause: &dyn std::fmt::Display| Failure::new(format!("{}: {cause}", folder.join(file).display()));
    let body = folder.read(file, FIXTURE_BYTES).map_err(|e| at(&e))?;
    let (payload, _) = decoded(integration, "application/json", body).map_err(|e| at(&e))?;
    let (received_at, request) = (now(), PassedRequest::default());
    let run = fixtures::run(integration, &payload, received_at, request.clone()).map_err(|e| at(&e))?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let fixture = NewFixture { name: &name, received_at, request: &request, payload: &payload, came: &run.came };
    let text = fixture.text().map_err(|e| at(&e))?;
    folder.overwrite(file, &text).map_err(|e| at(&e))
}
