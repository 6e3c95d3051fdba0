//! Maps Calendly's webhooks to follow-up tasks.

mod event;
mod map;

use hookmill_plugin::{Context, Mapped, Refusal, plugin};

fn calendly(event: event::Event, context: &Context<event::Config>) -> Result<Mapped, Refusal> {
    match map::map(&event, &context.config) {
        map::Mapped::Task(task) => Mapped::task(&task),
        map::Mapped::Skip(reason) => Ok(Mapped::skip(reason)),
    }
}

plugin!(calendly);
