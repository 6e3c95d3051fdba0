//! A script that is ready to be called.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use wasmtime::{Instance, Memory, Store};

use super::image::Image;
use super::interpreter::Interpreter;
use super::source::MappingSource;
use super::{numbers, report};
use crate::plugin::call::{CallContext, Outcome};
use crate::plugin::limits::Hit;
use crate::plugin::state::{CallFailure, CallState};

/// A compiled script, or compiled expressions.
#[derive(Debug)]
pub(crate) struct ScriptCode {
    interpreter: Arc<Interpreter>,
    image: Image,
    pub(crate) source: MappingSource,
}

/// An instance of the interpreter.
struct Running {
    instance: Instance,
    memory: Memory,
}

impl Running {
    fn start(interpreter: &Interpreter, store: &mut Store<CallState>) -> wasmtime::Result<Self> {
        let instance = interpreter.pre.instantiate(&mut *store)?;
        let memory = instance.get_memory(&mut *store, "memory");
        let memory = memory.ok_or_else(|| wasmtime::Error::msg("the interpreter has no memory"))?;
        store.data_mut().memory = Some(memory);
        Ok(Self { instance, memory })
    }

    /// Puts input into the interpreter's buffer.
    fn put(&self, store: &mut Store<CallState>, parts: [&[u8]; 2]) -> wasmtime::Result<()> {
        let size = u32::try_from(parts.iter().map(|it| it.len()).sum::<usize>())?;
        let buffer = self.instance.get_typed_func::<u32, u32>(&mut *store, "hookmill_buffer")?;
        let mut at = buffer.call(&mut *store, size)? as usize;
        // The allocator returns no address if there is no memory.
        if at == 0 {
            store.data_mut().meter.set_hit(Hit::Memory);
            return Err(wasmtime::Error::msg("no memory for the payload"));
        }
        for part in parts {
            self.memory.write(&mut *store, at, part)?;
            at += part.len();
        }
        Ok(())
    }
}

impl ScriptCode {
    /// Compiles a script. `store` makes a store for each of the three instances that this takes; they have the limits
    /// of loading.
    ///
    /// # Errors
    /// What is wrong with the script, with its place.
    pub(crate) fn compile(
        interpreter: &Arc<Interpreter>,
        source: MappingSource,
        store: impl Fn() -> Store<CallState>,
    ) -> Result<Self, String> {
        let slow = |e: wasmtime::Error| match e.downcast_ref::<wasmtime::Trap>() {
            Some(wasmtime::Trap::Interrupt) => "the script takes too long before its function is called".to_owned(),
            _ => format!("the script cannot be compiled: {:#}", e.root_cause()),
        };
        let mut clean = store();
        let before = Running::start(interpreter, &mut clean).map_err(slow)?;
        let mut loading = store();
        let after = Running::start(interpreter, &mut loading).map_err(slow)?;
        let described = source.described().to_string();
        let load = |store: &mut Store<CallState>| {
            after.put(store, [described.as_bytes(), b""])?;
            let load = after.instance.get_typed_func::<u32, ()>(&mut *store, "hookmill_load")?;
            load.call(store, u32::try_from(described.len())?)
        };
        load(&mut loading).map_err(slow)?;
        report::problem(loading.data().stdio.output(), &source)?;
        let image = Image::of(before.memory.data(&clean), after.memory.data(&loading));
        // Their places in a pool are not needed any more.
        drop((clean, loading));
        let code = Self { interpreter: Arc::clone(interpreter), image, source };
        code.check(&mut store()).map_err(slow)??;
        Ok(code)
    }

    /// Returns the same for another engine: what is copied is memory only.
    pub(crate) fn for_engine(self, interpreter: Arc<Interpreter>) -> Self {
        Self { interpreter, ..self }
    }

    /// Evaluates the script without calling its function.
    fn check(&self, store: &mut Store<CallState>) -> wasmtime::Result<Result<(), String>> {
        let running = self.start(store)?;
        running.instance.get_typed_func::<(), ()>(&mut *store, "hookmill_check")?.call(&mut *store, ())?;
        Ok(report::problem(store.data().stdio.output(), &self.source))
    }

    fn start(&self, store: &mut Store<CallState>) -> wasmtime::Result<Running> {
        let running = Running::start(&self.interpreter, store)?;
        self.image.restore(store, running.memory)?;
        Ok(running)
    }

    /// Maps a payload.
    pub(crate) fn call(
        &self,
        store: &mut Store<CallState>,
        payload: &str,
        context: &CallContext,
    ) -> Result<Outcome, CallFailure> {
        store.data_mut().stdio.seed(&context.event_id);
        let running = self.start(store)?;
        let (payload, context) = (
            numbers::exact(payload),
            numbers::exact(&described(context, context.received_at).to_string()).into_owned(),
        );
        running.put(store, [context.as_bytes(), payload.as_bytes()])?;
        let call = running.instance.get_typed_func::<(u32, u32), ()>(&mut *store, "hookmill_call")?;
        let length = |it: &str| u32::try_from(it.len()).map_err(|e| CallFailure::Wasm(e.into()));
        call.call(&mut *store, (length(&context)?, length(&payload)?))?;
        let state = store.data_mut();
        let reported = report::read(state.stdio.output(), &self.source);
        for caller in reported.stack {
            state.log.write(format!("  called at {caller}\n").as_bytes());
        }
        match reported.result {
            // What the script throws then is that there is no memory.
            Err(_) if state.meter.hit().is_some() => Err(CallFailure::Exit),
            result => result.map_err(CallFailure::Error),
        }
    }
}

/// Returns what a script knows about its event.
fn described(context: &CallContext, received_at: DateTime<Utc>) -> Value {
    let headers: Map<_, _> = context.headers.iter().map(|(name, it)| (name.clone(), it.as_str().into())).collect();
    json!({
        "eventId": context.event_id,
        "integration": context.integration,
        "companyId": context.company_id,
        "receivedAt": received_at.timestamp_millis(),
        "headers": headers,
        "query": context.query_object(),
        "path": &*context.path,
        "config": serde_json::from_str::<Value>(&context.config).unwrap_or_default(),
    })
}
