//! The command ABI: any WASI preview 1 program. The payload is its stdin; its stdout is one task object, an array
//! of task objects, or `{"skip":"reason"}`. A non-zero exit code is a refusal, with the last line of stderr as the
//! message, or a crash if stderr has a Go panic.

use std::collections::BTreeSet;

use serde::de::IgnoredAny;
use serde_json::Value;
use wasmtime::{InstancePre, Linker, Module, Store};

use super::bounded::cut;
use super::call::{CallContext, Outcome};
use super::engine::Engine;
use super::error::PluginError;
use super::output::{check_size, excerpt, parse, values};
use super::state::{CallFailure, CallState};
use super::wasi_stdio;
use super::wasi_stdio::Exit;
use crate::format::payload::Loosened;

/// A command that is linked and ready to be instantiated.
pub(super) struct CommandModule {
    pre: InstancePre<CallState>,
    imports: Vec<String>,
}

impl std::fmt::Debug for CommandModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command")
    }
}

impl CommandModule {
    pub(super) fn link(engine: &Engine, module: &Module) -> Result<Self, String> {
        check_exports(module)?;
        let mut linker = Linker::new(engine.wasmtime());
        wasi_stdio::add_to_linker(&mut linker, module)?;
        let pre = linker.instantiate_pre(module).map_err(|e| format!("cannot be linked: {e:#}"))?;
        let imports: BTreeSet<_> = module.imports().map(|it| format!("{}.{}", it.module(), it.name())).collect();
        let imports = imports.into_iter().collect();
        Ok(Self { pre, imports })
    }

    pub(super) fn imports(&self) -> &[String] {
        &self.imports
    }

    pub(super) fn call(
        &self,
        store: &mut Store<CallState>,
        payload: &str,
        context: &CallContext,
    ) -> Result<Outcome, CallFailure> {
        store.data_mut().stdio.provide(payload, context);
        let instance = self.pre.instantiate(&mut *store)?;
        let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
        match start.call(&mut *store, ()) {
            Ok(()) => {}
            Err(error) => match error.downcast_ref::<Exit>() {
                Some(Exit(0)) => {}
                Some(Exit(_)) => return Err(CallFailure::Exit),
                None => return Err(CallFailure::Wasm(error)),
            },
        }
        let state = store.data_mut();
        read(state.stdio.output()).map_err(|message| {
            state.excerpt = Some(excerpt(state.stdio.output())).filter(|it| !it.is_empty());
            CallFailure::Error(PluginError::BadOutput(message))
        })
    }
}

fn check_exports(module: &Module) -> Result<(), String> {
    let missing = |what: &str| {
        format!("has no {what}; a command exports _start and memory (build it as a program, not as a library)")
    };
    let start = module.get_export("_start").and_then(|it| it.func().cloned()).ok_or_else(|| missing("_start"))?;
    if start.params().len() + start.results().len() > 0 {
        return Err("its _start must have no parameters and no results".into());
    }
    module.get_export("memory").and_then(|it| it.memory().cloned()).map(drop).ok_or_else(|| missing("memory"))
}

/// The usual cause of invalid output is a `print` in the plugin.
const NOTHING_ELSE: &str = "write only tasks to stdout, and everything else to stderr, which is the log";

fn read(output: &[u8]) -> Result<Outcome, String> {
    let output = output.strip_prefix(b"\xef\xbb\xbf").unwrap_or(output);
    if output.iter().all(u8::is_ascii_whitespace) {
        return Err("nothing was written to stdout; write a task, or a skip".into());
    }
    // Counted before the items are stored.
    let items = serde_json::from_slice::<Vec<IgnoredAny>>(output).map_or(1, |it| it.len());
    check_size(items, values(output))?;
    let mut loosened = Loosened::default();
    match parse(output, &mut loosened).map_err(|e| format!("stdout is not JSON: {e}; {NOTHING_ELSE}"))? {
        Value::Object(map) => match (map.len(), map.get("skip")) {
            (1, Some(Value::String(reason))) => Ok(Outcome::Skip(cut(reason))),
            (1, Some(_)) => Err("\"skip\" must be a string".into()),
            _ => Ok(Outcome::Tasks(vec![Value::Object(map)], loosened)),
        },
        Value::Array(items) if items.is_empty() => {
            Err("stdout is an empty array; write at least one task, or a skip".into())
        }
        Value::Array(items) if items.iter().all(Value::is_object) => Ok(Outcome::Tasks(items, loosened)),
        _ => Err("stdout is JSON, but not an object or an array of objects".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With serde_json's feature `raw_value`, this would be an array of two tasks, and no limit would have counted them.
    #[test]
    fn an_object_with_the_name_of_a_raw_value_is_an_object() {
        let output = br#"{"$serde_json::private::RawValue":"[{},{}]"}"#;
        let Ok(Outcome::Tasks(tasks, _)) = read(output) else { panic!("not tasks") };
        assert_eq!(tasks, [serde_json::json!({ "$serde_json::private::RawValue": "[{},{}]" })]);
    }
}
