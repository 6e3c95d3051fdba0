//! Compiled code.

use wasmtime::Module;
use wasmtime::component::Component;

/// SHA-256 of a module's bytes.
pub(crate) type Digest = [u8; 32];

/// A module as machine code. Plugins with the same module share it.
#[derive(Debug)]
pub(crate) enum MachineCode {
    Component(Component),
    Module(Module),
}
