//! Where sender files and secrets are read from: at the start, and again whenever plugins are reloaded.

use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::secret::read_secrets;
use crate::auth::sender::{Catalog, SENDER_BYTES};
use crate::auth::{Secrets, Senders};

/// Maximum number of files in `senders_dir`.
const FILES: usize = 1000;

/// Where sender files and secrets are.
#[derive(Debug, Clone, Default)]
pub struct SenderPlaces {
    /// `secrets_file`: names and secrets.
    pub secrets_file: Option<PathBuf>,
    /// `senders_dir`: sender files in addition to the shipped ones.
    pub senders_dir: Option<PathBuf>,
}

impl SenderPlaces {
    /// Reads them.
    ///
    /// # Errors
    /// What cannot be read. A sender file that is not valid is reported by the integrations that name it.
    pub fn read(&self) -> Result<Senders, ConfigError> {
        Ok(Senders { secrets: self.secrets()?, files: self.files()? })
    }

    /// Reads them again. What cannot be read stays as it was, and is returned as sentences.
    #[must_use]
    pub fn read_again(&self, before: &Senders) -> (Senders, Vec<String>) {
        let mut problems = Vec::new();
        let mut told = |it: ConfigError| problems.push(format!("{it}; what was read before stays in use"));
        let secrets = self.secrets().map(|it| it.after(&before.secrets)).map_err(&mut told);
        let files = self.files().map_err(&mut told);
        let senders = Senders {
            secrets: secrets.unwrap_or_else(|()| before.secrets.again()),
            files: files.unwrap_or_else(|()| before.files.clone()),
        };
        (senders, problems)
    }

    fn secrets(&self) -> Result<Secrets, ConfigError> {
        Ok(self.secrets_file.as_deref().map(read_secrets).transpose()?.unwrap_or_default())
    }

    fn files(&self) -> Result<Catalog, ConfigError> {
        Ok(Catalog::with(self.senders_dir.as_deref().map(sender_files).transpose()?.unwrap_or_default()))
    }
}

type SenderFiles = Vec<(String, Result<String, String>)>;

fn sender_files(dir: &Path) -> Result<SenderFiles, ConfigError> {
    let failed = |cause| ConfigError::Read { file: dir.display().to_string(), cause };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)?.take(FILES) {
        let path = entry.map_err(failed)?.path();
        let name = path.file_stem().and_then(|it| it.to_str()).map(str::to_owned);
        let (Some(name), true) = (name, path.extension().is_some_and(|it| it == "toml")) else { continue };
        let text = match std::fs::metadata(&path) {
            Ok(it) if it.len() > SENDER_BYTES => Err(format!("is larger than {SENDER_BYTES} bytes")),
            _ => std::fs::read_to_string(&path).map_err(|cause| format!("cannot be read: {cause}")),
        };
        files.push((name, text));
    }
    files.sort();
    Ok(files)
}
