//! The component ABI: the world in `wit/mapper.wit`.

use serde_json::Value;
use wasmtime::Store;
use wasmtime::component::{HasSelf, Linker};
use world::hookmill::mapper::log::Level;
use world::hookmill::mapper::{log, request, types};
use world::{Mapper, MapperPre};

use super::bounded::cut;
use super::call::{CallContext, Outcome};
use super::engine::Engine;
use super::error::PluginError;
use super::limits::Hit;
use super::output::{check_size, excerpt, parse, values};
use super::state::{CallFailure, CallState};
use crate::format::payload::Loosened;

#[allow(unreachable_pub, reason = "generated; the world's own comments say it")]
mod world {
    wasmtime::component::bindgen!({ path: "wit", world: "mapper" });
}

/// Everything that a component may import, of all versions, the newest first.
const OFFERED: [&str; 8] = [
    "hookmill:mapper/log@1.2.0",
    "hookmill:mapper/types@1.2.0",
    "hookmill:mapper/request@1.2.0",
    "hookmill:mapper/log@1.1.0",
    "hookmill:mapper/types@1.1.0",
    "hookmill:mapper/request@1.1.0",
    "hookmill:mapper/log@1.0.0",
    "hookmill:mapper/types@1.0.0",
];

/// A component that is linked and ready to be instantiated.
pub(super) struct Component {
    pre: MapperPre<CallState>,
    imports: Vec<String>,
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Component")
    }
}

impl Component {
    pub(super) fn link(engine: &Engine, component: &wasmtime::component::Component) -> Result<Self, String> {
        let imported = component.component_type();
        let imports: Vec<String> = imported.imports(engine.wasmtime()).map(|(name, _)| name.to_owned()).collect();
        if let Some(name) = imports.iter().find(|it| !OFFERED.contains(&it.as_str())) {
            return Err(format!(
                "imports \"{name}\", which is not offered; a component may import {} and {} only",
                OFFERED[0], OFFERED[2]
            ));
        }
        let mut linker = Linker::new(engine.wasmtime());
        Mapper::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).map_err(|e| e.to_string())?;
        let pre = linker.instantiate_pre(component).map_err(|e| format!("cannot be linked: {e:#}"))?;
        let pre = MapperPre::new(pre)
            .map_err(|e| format!("is not a component of the world hookmill:mapper/mapper: {e:#}"))?;
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
        let state = store.data_mut();
        state.headers.clone_from(&context.headers);
        state.query.clone_from(&context.query);
        state.path.clone_from(&context.path);
        let context = types::Context {
            event_id: context.event_id.clone(),
            integration: context.integration.clone(),
            received_at: crate::model::time::format_utc(context.received_at),
            company_id: context.company_id.clone(),
            config: context.config.to_string(),
        };
        let mapper = self.pre.instantiate(&mut *store)?;
        match mapper.call_transform(&mut *store, payload, &context)? {
            Ok(types::Outcome::Skip(reason)) => {
                count(store, reason.len())?;
                Ok(Outcome::Skip(cut(&reason)))
            }
            Ok(types::Outcome::Tasks(texts)) => tasks(store, &texts),
            Err(types::MapError { message, pointer }) => {
                count(store, message.len() + pointer.as_ref().map_or(0, String::len))?;
                let pointer = pointer.map(|it| cut(&it));
                Err(CallFailure::Error(PluginError::Refused { message: cut(&message), pointer }))
            }
        }
    }
}

/// Counts all output of the plugin; the limit `output_kib` covers all of it.
fn count(store: &mut Store<CallState>, bytes: usize) -> Result<(), CallFailure> {
    let state = store.data_mut();
    if state.stdio.tell(bytes) {
        return Ok(());
    }
    state.meter.set_hit(Hit::Output);
    Err(CallFailure::Error(PluginError::BadOutput("too long".into())))
}

fn tasks(store: &mut Store<CallState>, texts: &[String]) -> Result<Outcome, CallFailure> {
    let bad = |message: String| CallFailure::Error(PluginError::BadOutput(message));
    count(store, texts.iter().map(String::len).sum())?;
    check_size(texts.len(), texts.iter().map(|it| values(it.as_bytes())).sum()).map_err(bad)?;
    let mut loosened = Loosened::default();
    let mut read = |(index, text): (usize, &String)| {
        let said = match parse(text.as_bytes(), &mut loosened) {
            Ok(Value::Object(task)) => return Ok(Value::Object(task)),
            Ok(_) => format!("task {index} is not a JSON object"),
            Err(error) => format!("task {index} is not JSON: {error}"),
        };
        store.data_mut().excerpt = Some(excerpt(text.as_bytes()));
        Err(bad(said))
    };
    match texts {
        [] => Err(bad("the component returned an empty list of tasks; return at least one task, or a skip".into())),
        texts => {
            let values = texts.iter().enumerate().map(&mut read).collect::<Result<_, _>>()?;
            Ok(Outcome::Tasks(values, loosened))
        }
    }
}

impl types::Host for CallState {}

impl request::Host for CallState {
    fn headers(&mut self) -> Vec<(String, String)> {
        self.headers.to_vec()
    }

    fn query(&mut self) -> Vec<(String, String)> {
        self.query.to_vec()
    }

    fn path(&mut self) -> String {
        self.path.to_string()
    }
}

impl log::Host for CallState {
    fn write(&mut self, level: Level, message: String) {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        self.say(level, &message);
    }
}
