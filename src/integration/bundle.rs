//! A plugin's files as one piece, which can be stored elsewhere and has a digest.
//!
//! The files are those that loading the folder reads, and no others: plugin.toml, the module or the files of the script, the schema, the sender's file if
//! the folder has one, and the fixtures. Their order is that of their names, so equal files give equal bytes.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::files::LoadFailure;
use super::fixtures;
use super::manifest::Manifest;
use super::mapping::{Mapping, SCRIPT_BYTES, SCRIPT_FILES, SCRIPTS_BYTES, script_files};
use crate::auth::sender::SENDER_BYTES;
use crate::system::folder::{FIXTURE_BYTES, FIXTURES, FIXTURES_BYTES, Folder, MANIFEST_BYTES, SCHEMA_BYTES};

/// First bytes of every bundle.
const MAGIC: &[u8; 8] = b"hmbundl1";
/// Maximum number of files: fixtures, and the others.
const FILES: usize = FIXTURES + SCRIPT_FILES + 4;
/// Maximum length of a file's name, in bytes.
const NAME_BYTES: usize = 300;
/// Maximum size of all files together but the module, in bytes, with their names and lengths.
const OTHERS_BYTES: u64 =
    MANIFEST_BYTES + SCHEMA_BYTES + SENDER_BYTES + SCRIPTS_BYTES + FIXTURES_BYTES + (FILES * (NAME_BYTES + 16)) as u64;

/// The files of a plugin folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    files: BTreeMap<String, Vec<u8>>,
}

impl Bundle {
    /// Returns the maximum size of a bundle whose module has at most `module_bytes` bytes.
    #[must_use]
    pub fn most_bytes(module_bytes: u64) -> u64 {
        OTHERS_BYTES.saturating_add(module_bytes)
    }

    /// Reads the files of a folder.
    ///
    /// # Errors
    /// Fails if one of them cannot be read, or is too large.
    pub fn of(folder: &Folder, module_bytes: u64) -> Result<Self, LoadFailure> {
        Self::read(folder, &Manifest::of(folder)?, module_bytes)
    }

    pub(super) fn read(folder: &Folder, manifest: &Manifest, module_bytes: u64) -> Result<Self, LoadFailure> {
        let mut files = BTreeMap::new();
        let mut add = |name: String, most| -> Result<(), LoadFailure> {
            let bytes =
                folder.read(&name, most).map_err(|cause| LoadFailure::Read { file: folder.join(&name), cause })?;
            files.insert(name, bytes);
            Ok(())
        };
        add("plugin.toml".to_owned(), MANIFEST_BYTES)?;
        match manifest.mapping() {
            Some(Mapping::Module(file)) => add(file, module_bytes)?,
            Some(Mapping::Script(file)) => {
                for name in script_files(folder, &file)?.into_keys() {
                    add(name, SCRIPT_BYTES)?;
                }
            }
            Some(Mapping::Expressions { .. }) | None => {}
        }
        if let Some(schema) = &manifest.schema {
            add(schema.clone(), SCHEMA_BYTES)?;
        }
        if let Some(sender) = sender_file(folder, manifest) {
            add(sender, SENDER_BYTES)?;
        }
        for fixture in fixtures::list(folder)? {
            let Some(name) = fixture.to_str() else {
                let cause = std::io::Error::other("its name is not UTF-8; rename it");
                return Err(LoadFailure::Read { file: folder.join(fixture), cause });
            };
            add(name.to_owned(), FIXTURE_BYTES)?;
        }
        Ok(Self { files })
    }

    /// Returns the bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let size: usize = self.files.iter().map(|(name, bytes)| 16 + name.len() + bytes.len()).sum();
        let mut to = Vec::with_capacity(MAGIC.len() + size);
        to.extend_from_slice(MAGIC);
        for (name, bytes) in &self.files {
            for part in [name.as_bytes(), bytes] {
                to.extend_from_slice(&(part.len() as u64).to_le_bytes());
                to.extend_from_slice(part);
            }
        }
        to
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    /// What is wrong with them. Names lead to no place out of a folder.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or("it is not a bundle of this version of hookmill")?;
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        while !rest.is_empty() {
            let name = std::str::from_utf8(part(&mut rest)?).map_err(|_| "a file's name is not UTF-8")?;
            let content = part(&mut rest)?;
            let is_sorted = files.last_key_value().is_none_or(|(last, _)| last.as_str() < name);
            if !is_name(name) || !is_sorted || files.len() == FILES {
                return Err(format!("it has a file that no bundle has: {name:?}"));
            }
            files.insert(name.to_owned(), content.to_vec());
        }
        Ok(Self { files })
    }

    /// Writes the files into a directory, which must not exist yet.
    ///
    /// # Errors
    /// Fails if it exists, or cannot be written.
    pub fn write(&self, dir: &Path) -> std::io::Result<()> {
        let create = |dir: &Path| std::fs::DirBuilder::new().mode(0o700).create(dir);
        create(dir)?;
        if self.files.keys().any(|it| it.contains('/')) {
            create(&dir.join("fixtures"))?;
        }
        for (name, bytes) in &self.files {
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true).mode(0o600).open(dir.join(name))?.write_all(bytes)?;
        }
        Ok(())
    }

    /// Returns the names of the files, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }
}

/// Returns the digest of a bundle's bytes: SHA-256 in hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns the name of the sender file next to plugin.toml, if there is one.
pub(super) fn sender_file(folder: &Folder, manifest: &Manifest) -> Option<String> {
    let name = manifest.auth.sender.as_deref()?;
    let files = folder.list(".").unwrap_or_default();
    let candidates = [format!("{name}.toml"), "sender.toml".to_owned()];
    candidates.into_iter().find(|it| it != "plugin.toml" && files.iter().any(|file| file == it.as_str()))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes a length and as many bytes.
fn part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], &'static str> {
    let cut = "it is cut off";
    let (length, after) = rest.split_first_chunk::<8>().ok_or(cut)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| cut)?;
    let (part, after) = after.split_at_checked(length).ok_or(cut)?;
    *rest = after;
    Ok(part)
}

/// A file of a plugin folder, or of its `fixtures/`.
fn is_name(name: &str) -> bool {
    let file = name.strip_prefix("fixtures/").unwrap_or(name);
    let is_file = !file.is_empty() && file != "." && file != ".." && !file.contains(['/', '\0']) && name != "fixtures";
    is_file && name.len() <= NAME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(names: &[&str]) -> Bundle {
        Bundle { files: names.iter().map(|it| ((*it).to_owned(), it.as_bytes().to_vec())).collect() }
    }

    #[test]
    fn a_bundle_is_read_as_it_was_written() {
        let whole = bundle(&["plugin.toml", "fixtures/a b.json", "fixtures/ö.json", "mapper.wasm", "empty"]);
        let bytes = whole.encode();
        assert_eq!(Bundle::decode(&bytes).unwrap(), whole);
        assert_eq!(whole.encode(), bytes);
        for length in 0..bytes.len() {
            assert!(Bundle::decode(&bytes[..length]).map_or(true, |it| it != whole), "{length}");
        }
        let dir = tempfile::tempdir().unwrap();
        whole.write(&dir.path().join("it")).unwrap();
        assert_eq!(std::fs::read(dir.path().join("it/fixtures/ö.json")).unwrap(), "fixtures/ö.json".as_bytes());
        assert!(whole.write(&dir.path().join("it")).is_err(), "nothing is overwritten");
    }

    /// A bundle from the database could write anywhere that the server may write.
    #[test]
    fn a_bundle_writes_only_into_its_folder() {
        let long = "a".repeat(NAME_BYTES + 1);
        for name in ["../x", "/etc/x", "fixtures/../../x", "a/b", "..", ".", "", "fixtures", "fixtures/", "x\0", &long]
        {
            assert!(Bundle::decode(&bundle(&[name]).encode()).is_err(), "{name:?}");
        }
        let twice = [&bundle(&["a"]).encode()[..], &bundle(&["a"]).encode()[MAGIC.len()..]].concat();
        assert!(Bundle::decode(&twice).is_err());
    }

    #[test]
    fn other_names_or_content_have_other_digests() {
        let of = |names: &[&str]| digest(&bundle(names).encode());
        let all = [of(&["a", "b"]), of(&["a"]), of(&["ab"]), of(&[])];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }
}
