//! Compiled artefacts, kept so that a start does not compile again.
//!
//! An artefact is machine code, and is trusted as such. So only what this host compiled itself is loaded: from a
//! directory that nobody else can write to, and with a checksum that still fits. Anything else is compiled again.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, Module, component::Component};

use super::Abi;
use super::compile::Code;

const MAGIC: &[u8; 8] = b"hmartef1";
const HEADER: usize = 8 + 32;

/// A directory of artefacts.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Nothing where the directory cannot be trusted or made: plugins then load more slowly, and that is all.
    pub(super) fn open(dir: &Path) -> Option<Self> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        match made.and_then(|()| private(dir)) {
            Ok(true) => Some(Self { dir: dir.to_owned() }),
            Ok(false) => {
                tracing::warn!(dir = %dir.display(), "others can write to the artefact cache, so it is not used; chmod 700 mends it");
                None
            }
            Err(error) => {
                tracing::warn!(dir = %dir.display(), cause = %error, "the artefact cache cannot be used");
                None
            }
        }
    }

    /// A module's code, where this host has compiled it before.
    pub(super) fn load(&self, engine: &Engine, abi: Abi, sha256: &[u8; 32]) -> Option<Code> {
        let artefact = self.read(&self.file(engine, sha256))?;
        // wasmtime itself refuses an artefact of another version or of other settings.
        #[allow(unsafe_code, reason = "what `read` gives was compiled by this host and has not changed since")]
        let code = unsafe {
            match abi {
                Abi::Component => Component::deserialize(engine, artefact).map(Code::Component),
                Abi::Command => Module::deserialize(engine, artefact).map(Code::Module),
            }
        };
        code.ok()
    }

    /// Keeps a module's code for the next start, if it can.
    pub(super) fn keep(&self, engine: &Engine, code: &Code, sha256: &[u8; 32]) -> bool {
        let file = self.file(engine, sha256);
        let artefact = match code {
            Code::Component(component) => component.serialize(),
            Code::Module(module) => module.serialize(),
        };
        let kept = artefact.map_err(std::io::Error::other).and_then(|it| self.write(&file, &it));
        if let Err(cause) = &kept {
            tracing::warn!(file = %file.display(), %cause, "an artefact could not be kept");
        }
        kept.is_ok()
    }

    fn file(&self, engine: &Engine, sha256: &[u8; 32]) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let digest: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(format!("{digest}-{:016x}.artefact", hasher.finish()))
    }

    fn read(&self, file: &Path) -> Option<Vec<u8>> {
        let bytes = fs::read(file).ok()?;
        let (head, artefact) = bytes.split_at_checked(HEADER)?;
        let good = head.starts_with(MAGIC) && head[8..] == Sha256::digest(artefact)[..];
        if !good {
            tracing::warn!(file = %file.display(), "a damaged artefact is compiled again");
        }
        good.then(|| artefact.to_vec())
    }

    /// A mapped file must never change, so a new one takes the old one's place.
    fn write(&self, file: &Path, artefact: &[u8]) -> std::io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // The engines of live plugins and of candidates may write the same one at the same time.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let new = file.with_extension(format!("{}-{number}.new", std::process::id()));
        let mut out = fs::File::create(&new)?;
        out.write_all(MAGIC)?;
        out.write_all(&Sha256::digest(artefact))?;
        out.write_all(artefact)?;
        out.sync_all()?;
        fs::rename(&new, file)
    }
}

fn private(dir: &Path) -> std::io::Result<bool> {
    let (dir, own) = (fs::metadata(dir)?, fs::metadata("/proc/self")?);
    Ok(dir.mode() & 0o022 == 0 && dir.uid() == own.uid())
}
