//! Maps a booking to a task to prepare it, a cancellation to a task to offer another date, and skips anything else.

use serde::Serialize;

use crate::event::{Config, Event, Invitee, Scheduled};

pub enum Mapped {
    Task(Task),
    Skip(String),
}

/// A task, as hookmill accepts it.
#[derive(Serialize)]
pub struct Task {
    title: String,
    description: String,
    assigned_user_ids: [String; 1],
    created_by_id: String,
    deadline: String,
    priority: &'static str,
    r#type: &'static str,
    session_id: String,
    tags: [&'static str; 1],
}

pub fn map(event: &Event, config: &Config) -> Mapped {
    let invitee = &event.payload;
    match (event.event.as_str(), &invitee.scheduled_event) {
        // Calendly sends a cancellation and then a new appointment.
        ("invitee.canceled", _) if invitee.rescheduled => Mapped::Skip("rescheduled: the new appointment comes as an event of its own".into()),
        ("invitee.created", Some(scheduled)) => Mapped::Task(follow_up(invitee, scheduled, config)),
        ("invitee.canceled", Some(scheduled)) => Mapped::Task(rebook(event, scheduled, config)),
        (other, _) => Mapped::Skip(format!("{other} asks for nothing to be done")),
    }
}

fn follow_up(invitee: &Invitee, scheduled: &Scheduled, config: &Config) -> Task {
    let mut description = format!("{} has booked {} for {}.", who(invitee), what(scheduled), scheduled.start_time);
    for answer in invitee.questions_and_answers.iter().filter(|it| !it.answer.trim().is_empty()) {
        description.push_str(&format!("\n{}: {}", answer.question, answer.answer));
    }
    let title = format!("Prepare {} with {}", what(scheduled), who(invitee));
    task(invitee, config, title, description, &scheduled.start_time, "medium")
}

fn rebook(event: &Event, scheduled: &Scheduled, config: &Config) -> Task {
    let invitee = &event.payload;
    let mut description = format!("{} on {} was cancelled", what(scheduled), scheduled.start_time);
    if let Some(cancellation) = &invitee.cancellation {
        if !cancellation.canceled_by.is_empty() {
            description.push_str(&format!(" by {}", cancellation.canceled_by));
        }
        if let Some(reason) = cancellation.reason.as_deref().filter(|it| !it.trim().is_empty()) {
            description.push_str(&format!(": {reason}"));
        }
    }
    description.push_str(". Offer another time.");
    let title = format!("Rebook {} with {}", what(scheduled), who(invitee));
    // The time of the appointment may be past or months away; the day of the cancellation is when to call.
    let today = event.created_at.get(..10).unwrap_or_default();
    task(invitee, config, title, description, today, "high")
}

fn task(invitee: &Invitee, config: &Config, title: String, description: String, deadline: &str, priority: &'static str) -> Task {
    Task {
        title,
        description,
        assigned_user_ids: [config.default_assignee.clone()],
        created_by_id: config.created_by_id.clone(),
        deadline: deadline.into(),
        priority,
        r#type: "follow_up",
        // The invitee's URI ends in its id: the same for an appointment and its cancellation.
        session_id: invitee.uri.rsplit('/').next().unwrap_or_default().into(),
        tags: ["calendly"],
    }
}

fn who(invitee: &Invitee) -> &str {
    if invitee.name.trim().is_empty() { "an invitee" } else { &invitee.name }
}

fn what(scheduled: &Scheduled) -> &str {
    if scheduled.name.trim().is_empty() { "an appointment" } else { &scheduled.name }
}
