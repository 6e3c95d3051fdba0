//! The interpreter's module.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wasmtime::{InstancePre, Linker};

use crate::plugin::compile::MachineCode;
use crate::plugin::engine::{Engine, need_of_module};
use crate::plugin::room::Need;
use crate::plugin::state::CallState;
use crate::plugin::wasi_stdio;

/// The module; `scripts/build-interpreter` builds it from `interpreter/src`.
pub(crate) const INTERPRETER: &[u8] = include_bytes!("../../../interpreter/quickjs.wasm");

/// The interpreter, compiled and linked for one engine.
pub(crate) struct Interpreter {
    pub(super) pre: InstancePre<CallState>,
    pub(crate) need: Need,
    pub(crate) sha256: [u8; 32],
    pub(crate) machine: Arc<MachineCode>,
}

impl Interpreter {
    /// Links the compiled module.
    pub(crate) fn link(engine: &Engine, machine: Arc<MachineCode>) -> Result<Arc<Self>, String> {
        let MachineCode::Module(module) = &*machine else { return Err("the interpreter is not a module".into()) };
        let mut linker = Linker::new(engine.wasmtime());
        wasi_stdio::add_to_linker(&mut linker, module)?;
        let pre = linker.instantiate_pre(module).map_err(|e| format!("the interpreter cannot be linked: {e:#}"))?;
        let (need, sha256) = (need_of_module(module), Sha256::digest(INTERPRETER).into());
        Ok(Arc::new(Self { pre, need, sha256, machine }))
    }
}

impl std::fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interpreter")
    }
}
