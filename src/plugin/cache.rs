//! Compiled artefacts, kept so that a start does not compile again.
//!
//! An artefact is machine code, and is trusted as such. So only what this host compiled itself is loaded: from a
//! directory that nobody else can write to, and with a checksum that still fits. Anything else is compiled anew.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, Module, component::Component};

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
        let new = file.with_extension(format!("{}.new", std::process::id()));
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

/// A component from the cache, or compiled.
pub(super) fn component(
    engine: &Engine,
    cache: Option<&Cache>,
    wasm: &[u8],
    sha256: &[u8; 32],
) -> Result<Component, String> {
    let load = |bytes: &[u8]| {
        #[allow(unsafe_code, reason = "what `Cache::read` gives was compiled by this host and has not changed since")]
        unsafe {
            Component::deserialize(engine, bytes)
        }
    };
    through(engine, cache, sha256, load, || Component::from_binary(engine, wasm), Component::serialize)
}

/// A core module from the cache, or compiled.
pub(super) fn module(engine: &Engine, cache: Option<&Cache>, wasm: &[u8], sha256: &[u8; 32]) -> Result<Module, String> {
    let load = |bytes: &[u8]| {
        #[allow(unsafe_code, reason = "what `Cache::read` gives was compiled by this host and has not changed since")]
        unsafe {
            Module::deserialize(engine, bytes)
        }
    };
    through(engine, cache, sha256, load, || Module::from_binary(engine, wasm), Module::serialize)
}

fn through<T>(
    engine: &Engine,
    cache: Option<&Cache>,
    sha256: &[u8; 32],
    load: impl Fn(&[u8]) -> wasmtime::Result<T>,
    compile: impl Fn() -> wasmtime::Result<T>,
    serialize: impl Fn(&T) -> wasmtime::Result<Vec<u8>>,
) -> Result<T, String> {
    let file = cache.map(|cache| cache.file(engine, sha256));
    if let (Some(cache), Some(file)) = (cache, &file) {
        // wasmtime refuses an artefact of another version or of other settings by itself.
        if let Some(Ok(ready)) = cache.read(file).map(|bytes| load(&bytes)) {
            return Ok(ready);
        }
    }
    let compiled = compile().map_err(|e| format!("cannot be compiled: {e:#}"))?;
    if let (Some(cache), Some(file)) = (cache, &file) {
        let kept = serialize(&compiled)
            .map_err(|e| e.to_string())
            .and_then(|it| cache.write(file, &it).map_err(|e| e.to_string()));
        if let Err(cause) = kept {
            tracing::warn!(file = %file.display(), cause, "an artefact could not be kept");
        }
    }
    Ok(compiled)
}
