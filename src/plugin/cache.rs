//! Compiled artefacts, kept so that a start does not compile again.
//!
//! An artefact is machine code, and is trusted as such. So only what this host compiled itself is loaded: from a
//! directory that nobody else can write to, and with a checksum that still fits. Anything else is compiled anew.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
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
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Two plugins may have the same module, and be loaded at the same time.
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

/// A module's bytes, and how it becomes machine code.
pub(super) struct Source<'a> {
    pub(super) wasm: Arc<[u8]>,
    pub(super) sha256: [u8; 32],
    pub(super) cache: Option<&'a Cache>,
    /// Longest compilation.
    pub(super) limit: Duration,
}

impl Source<'_> {
    /// A component from the cache, or compiled.
    pub(super) fn component(&self, engine: &Engine) -> Result<Component, String> {
        let load = |bytes: &[u8]| {
            #[allow(
                unsafe_code,
                reason = "what `Cache::read` gives was compiled by this host and has not changed since"
            )]
            unsafe {
                Component::deserialize(engine, bytes)
            }
        };
        self.through(engine, load, Component::from_binary, Component::serialize)
    }

    /// A core module from the cache, or compiled.
    pub(super) fn module(&self, engine: &Engine) -> Result<Module, String> {
        let load = |bytes: &[u8]| {
            #[allow(
                unsafe_code,
                reason = "what `Cache::read` gives was compiled by this host and has not changed since"
            )]
            unsafe {
                Module::deserialize(engine, bytes)
            }
        };
        self.through(engine, load, Module::from_binary, Module::serialize)
    }

    fn through<T: Send + 'static>(
        &self,
        engine: &Engine,
        load: impl Fn(&[u8]) -> wasmtime::Result<T>,
        compile: fn(&Engine, &[u8]) -> wasmtime::Result<T>,
        serialize: impl Fn(&T) -> wasmtime::Result<Vec<u8>>,
    ) -> Result<T, String> {
        let place = self.cache.map(|cache| (cache, cache.file(engine, &self.sha256)));
        if let Some((cache, file)) = &place {
            // wasmtime refuses an artefact of another version or of other settings by itself.
            if let Some(Ok(ready)) = cache.read(file).map(|bytes| load(&bytes)) {
                return Ok(ready);
            }
        }
        let compiled = self.compile(engine, compile)?;
        if let Some((cache, file)) = &place {
            let kept = serialize(&compiled)
                .map_err(|e| e.to_string())
                .and_then(|it| cache.write(file, &it).map_err(|e| e.to_string()));
            if let Err(cause) = kept {
                tracing::warn!(file = %file.display(), cause, "an artefact could not be kept");
            }
        }
        Ok(compiled)
    }

    /// On a thread that is waited for only so long. Compiling cannot be stopped: it goes on, and gives nothing.
    fn compile<T: Send + 'static>(
        &self,
        engine: &Engine,
        compile: fn(&Engine, &[u8]) -> wasmtime::Result<T>,
    ) -> Result<T, String> {
        let (done, compiled) = crossbeam_channel::bounded(1);
        let (engine, wasm) = (engine.clone(), Arc::clone(&self.wasm));
        let work = move || {
            let _given_up = done.send(compile(&engine, &wasm));
        };
        let thread = std::thread::Builder::new().name("plugin-compile".into()).spawn(work);
        thread.map_err(|e| format!("cannot be compiled: {e}"))?;
        match compiled.recv_timeout(self.limit) {
            Ok(result) => result.map_err(|e| format!("cannot be compiled: {e:#}")),
            Err(RecvTimeoutError::Timeout) => {
                let limit = self.limit.as_millis();
                Err(format!("was not compiled within {limit} ms (plugins.compile_ms in hookmill.toml)"))
            }
            Err(RecvTimeoutError::Disconnected) => Err("cannot be compiled: the compiler crashed".into()),
        }
    }
}
