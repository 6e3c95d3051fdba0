//! The earlier versions of the scripts of a plugins folder: a file for each, in a directory of the server's data.
//!
//! The plugins folder itself has only the current version, because everything in it belongs to its author.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::company::CompanyId;
use crate::system::private_file::write_private;

/// Directory of the versions, in the data directory.
const DIRECTORY: &str = "script-versions";
/// Maximum number of versions of a plugin, and of their bytes.
const VERSIONS: usize = 100;
const BYTES: u64 = 20 << 20;
/// Maximum size of a version's file.
const VERSION_BYTES: u64 = 8 << 20;

/// A version of a script.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeptVersion {
    /// SHA-256 of the script, as in the provenance of tasks.
    pub(super) digest: String,
    /// When it was saved.
    pub(super) at: DateTime<Utc>,
    /// Who saved it: a key's id, the operator, or the plugins folder.
    pub(super) by: String,
    /// `version` in plugin.toml.
    pub(super) version: String,
    /// The company whose plugin it was: a folder of the same name may belong to another one now.
    pub(super) company: CompanyId,
    /// The files, by name.
    pub(super) files: BTreeMap<String, String>,
}

/// The versions of one plugin.
#[derive(Debug)]
pub(super) struct ScriptHistory {
    dir: PathBuf,
    company: CompanyId,
}

impl ScriptHistory {
    /// The history of a company's plugin. Names of plugins are names of folders.
    pub(super) fn of(data_dir: &Path, name: &str, company: &CompanyId) -> Self {
        Self { dir: data_dir.join(DIRECTORY).join(name), company: company.clone() }
    }

    /// Adds a version, and removes the oldest ones if there are too many.
    pub(super) fn add(&self, version: &KeptVersion) -> std::io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let file = format!("{:015}-{}.json", version.at.timestamp_millis().max(0), version.digest);
        write_private(&self.dir.join(file), &serde_json::to_vec(version)?)?;
        let mut bytes = 0;
        for (index, file) in self.files().iter().enumerate() {
            bytes += fs::metadata(file).map_or(0, |it| it.len());
            if index >= VERSIONS || (bytes > BYTES && index > 0) {
                fs::remove_file(file)?;
            }
        }
        Ok(())
    }

    /// Returns the versions, newest first. One that cannot be read is left out.
    pub(super) fn list(&self) -> Vec<KeptVersion> {
        self.files().iter().filter_map(|it| self.read(it)).collect()
    }

    /// Returns the version with this digest.
    pub(super) fn find(&self, digest: &str) -> Option<KeptVersion> {
        let is_it = |file: &&PathBuf| file.to_string_lossy().ends_with(&format!("-{digest}.json"));
        self.files().iter().filter(is_it).find_map(|it| self.read(it))
    }

    fn read(&self, file: &Path) -> Option<KeptVersion> {
        let small = fs::metadata(file).is_ok_and(|it| it.len() <= VERSION_BYTES);
        let bytes = small.then(|| fs::read(file).ok())??;
        serde_json::from_slice::<KeptVersion>(&bytes).ok().filter(|it| it.company == self.company)
    }

    /// The files, newest first.
    fn files(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(&self.dir).into_iter().flatten().flatten().map(|it| it.path());
        let mut files: Vec<_> = all.filter(|it| it.extension().is_some_and(|it| it == "json")).collect();
        files.sort_by(|a, b| b.cmp(a));
        files
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn version(number: usize, company: &CompanyId, bytes: usize) -> KeptVersion {
        KeptVersion {
            digest: format!("d{number}"),
            at: DateTime::from_timestamp(1_700_000_000 + i64::try_from(number).unwrap(), 0).unwrap(),
            by: "key_1".into(),
            version: "1".into(),
            company: company.clone(),
            files: BTreeMap::from([("mapper.js".to_owned(), "x".repeat(bytes))]),
        }
    }

    #[test]
    fn the_newest_hundred_versions_are_kept_and_shown_to_their_company_only() {
        let dir = tempfile::tempdir().unwrap();
        let [own, other] = ["company-1", "company-2"].map(|it| CompanyId::parse(it).unwrap());
        let history = ScriptHistory::of(dir.path(), "guest", &own);
        (0..VERSIONS + 5).for_each(|it| history.add(&version(it, &own, 10)).unwrap());
        let listed = history.list();
        assert_eq!((listed.len(), listed[0].digest.as_str()), (VERSIONS, "d104"));
        assert!(history.find("d104").is_some() && history.find("d4").is_none());
        assert!(ScriptHistory::of(dir.path(), "guest", &other).list().is_empty());
        (200..224).for_each(|it| history.add(&version(it, &own, 1 << 20)).unwrap());
        assert!(history.list().len() <= 20, "their size is limited too");
    }
}
