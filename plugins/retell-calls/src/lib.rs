//! Maps Retell AI's calls to tasks.

mod event;
mod map;

use hookmill_plugin::{Context, Mapped, Refusal, plugin};

fn retell(event: event::Event, context: &Context<event::Config>) -> Result<Mapped, Refusal> {
    match map::map(&event, &context.config, &context.received_at) {
        map::Mapped::Task(task) => Mapped::task(&task),
        map::Mapped::Skip(reason) => Ok(Mapped::skip(reason)),
    }
}

plugin!(retell);
