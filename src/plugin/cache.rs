//! A cache of compiled artefacts, so that a start need not compile again.
//!
//! An artefact is machine code and is trusted as such, so only artefacts of this program's own compiler are loaded:
//! its process writes to a file that the server has created, and reports the artefact's size and SHA-256
//! (docs/decisions/0040). Later starts load it from a directory that no other user can write to, if its checksum
//! matches. Anything else is compiled again.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, memfd_create};
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use super::call::Abi;
use super::compile::MachineCode;

const MAGIC: &[u8; 8] = b"hmartef1";
const HEADER: usize = 8 + 32;

/// A directory of artefacts.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
}

/// An artefact that is being compiled.
#[derive(Debug)]
pub(super) struct NewArtefact {
    file: File,
    /// Its temporary path and its final path; `None` if it is in memory only.
    place: Option<(PathBuf, PathBuf)>,
}

impl Cache {
    /// Opens a cache directory. `None` if it cannot be created or trusted: then plugins load more slowly.
    pub(super) fn open(dir: &Path) -> Option<Self> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        match made.and_then(|()| private(dir)) {
            Ok(true) => Some(Self { dir: dir.to_owned() }),
            Ok(false) => {
                tracing::warn!(dir = %dir.display(), "other users can write to the artefact cache, so it is not used; make it private with chmod 700");
                None
            }
            Err(error) => {
                tracing::warn!(dir = %dir.display(), cause = %error, "the artefact cache cannot be used");
                None
            }
        }
    }

    /// Loads a module's code, if this host has compiled it before.
    pub(super) fn load(&self, engine: &Engine, abi: Abi, sha256: &[u8; 32]) -> Option<MachineCode> {
        let artefact = read(&self.file(engine, sha256))?;
        deserialize(engine, abi, &artefact).ok()
    }

    /// Creates a file for a new artefact; in memory if there is no cache, or no file can be created in it.
    ///
    /// # Errors
    /// Fails if a file in memory cannot be created either.
    pub(super) fn begin(cache: Option<&Self>, engine: &Engine, sha256: &[u8; 32]) -> std::io::Result<NewArtefact> {
        let on_disk = cache.and_then(|it| {
            let kept = it.make(engine, sha256);
            kept.inspect_err(|e| tracing::warn!(cause = %e, "a compiled artefact cannot be cached")).ok()
        });
        let mut new = match on_disk {
            Some(new) => new,
            None => NewArtefact { file: memfd_create("artefact", MemfdFlags::CLOEXEC)?.into(), place: None },
        };
        // The header is written last, when the artefact is known.
        new.file.seek(SeekFrom::Start(HEADER as u64))?;
        Ok(new)
    }

    fn make(&self, engine: &Engine, sha256: &[u8; 32]) -> std::io::Result<NewArtefact> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // The engines of live plugins and of candidates may compile the same module at the same time.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let last = self.file(engine, sha256);
        let first = last.with_extension(format!("{}-{number}.new", std::process::id()));
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&first)?;
        Ok(NewArtefact { file, place: Some((first, last)) })
    }

    fn file(&self, engine: &Engine, sha256: &[u8; 32]) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let digest: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(format!("{digest}-{:016x}.artefact", hasher.finish()))
    }
}

impl NewArtefact {
    /// Returns the file that the compiler's process writes to, from its current position on.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Loads the code, if the file matches what the process reported, and keeps it for the next start if possible.
    /// The process has ended, so no other process has the file open.
    ///
    /// # Errors
    /// What is wrong with the artefact.
    pub(super) fn finish(
        &mut self,
        engine: &Engine,
        abi: Abi,
        bytes: u64,
        sha256: &[u8; 32],
    ) -> Result<MachineCode, String> {
        let unreadable = |e: std::io::Error| format!("its artefact cannot be read: {e}");
        let whole = HEADER as u64 + bytes;
        if self.file.metadata().map_err(unreadable)?.len() != whole {
            return Err("its artefact does not have the size that the compiler reported".into());
        }
        let mut artefact = vec![0; usize::try_from(bytes).map_err(|e| e.to_string())?];
        self.file.read_exact_at(&mut artefact, HEADER as u64).map_err(unreadable)?;
        if Sha256::digest(&artefact)[..] != sha256[..] {
            return Err("its artefact does not match the compiler's checksum".into());
        }
        let code = deserialize(engine, abi, &artefact).map_err(|e| format!("its artefact cannot be loaded: {e:#}"))?;
        self.keep(sha256);
        Ok(code)
    }

    fn keep(&mut self, sha256: &[u8; 32]) {
        let Some((first, last)) = self.place.take() else { return };
        let write = || {
            self.file.write_all_at(&[&MAGIC[..], sha256].concat(), 0)?;
            self.file.sync_all()?;
            fs::rename(&first, &last)
        };
        if let Err(cause) = write() {
            tracing::warn!(file = %last.display(), %cause, "a compiled artefact cannot be cached");
            let _gone = fs::remove_file(&first);
        }
    }
}

impl Drop for NewArtefact {
    /// Removes an unfinished artefact.
    fn drop(&mut self) {
        if let Some((first, _)) = &self.place {
            let _gone = fs::remove_file(first);
        }
    }
}

/// Deserializes an artefact. wasmtime refuses one of another version or with other settings.
fn deserialize(engine: &Engine, abi: Abi, artefact: &[u8]) -> wasmtime::Result<MachineCode> {
    #[allow(
        unsafe_code,
        reason = "both callers pass what this program's compiler has written, after verifying its checksum"
    )]
    unsafe {
        match abi {
            Abi::Component => Component::deserialize(engine, artefact).map(MachineCode::Component),
            Abi::Command | Abi::Script => Module::deserialize(engine, artefact).map(MachineCode::Module),
        }
    }
}

fn read(file: &Path) -> Option<Vec<u8>> {
    let mut opened = File::open(file).ok()?;
    let mut head = [0; HEADER];
    let mut artefact = Vec::new();
    let whole = opened.read_exact(&mut head).and_then(|()| opened.read_to_end(&mut artefact));
    let good = whole.is_ok() && head.starts_with(MAGIC) && head[8..] == Sha256::digest(&artefact)[..];
    if !good {
        tracing::warn!(file = %file.display(), "a damaged artefact is compiled again");
    }
    good.then_some(artefact)
}

fn private(dir: &Path) -> std::io::Result<bool> {
    let (dir, own) = (fs::metadata(dir)?, fs::metadata("/proc/self")?);
    Ok(dir.mode() & 0o022 == 0 && dir.uid() == own.uid())
}
