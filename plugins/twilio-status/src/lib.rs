//! Maps Twilio's status callbacks to callback tasks.

mod event;
mod map;
mod time;

use hookmill_plugin::{Context, Mapped, Refusal, plugin};

fn twilio(event: event::Event, context: &Context<event::Config>) -> Result<Mapped, Refusal> {
    match map::map(&event, &context.config, &context.received_at)? {
        map::Mapped::Task(task) => Mapped::task(&task),
        map::Mapped::Skip(reason) => Ok(Mapped::skip(reason)),
    }
}

plugin!(twilio);
