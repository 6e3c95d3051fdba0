//! `hookmill events list|show|replay|erase`: a running server's events.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::erase::Erase;
use super::failure::Failure;
use super::flags::DataDirFlag;
use super::print;
use super::print::say;
use super::progress::Progress;
use super::remote::{Elsewhere, Remote, text};
use crate::config::{Config, Options};
use crate::model::company::CompanyId;
use crate::model::time::now;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill events list --company company-1 --status quarantined --since 24h
  hookmill events show 01a20f92-f38c-7145-a565-df7733d05cfc --company company-1
  hookmill events replay --company company-1 --integration calendly --reason schema --since 7d
  hookmill events replay --company company-1 --integration calendly --status stored --tasks update
  hookmill events replay --company company-1 --integration calendly --status captured
  hookmill events erase --company company-1 --patient p-4711          lists a patient's events; --yes erases their content

replay runs every matching event through the pipeline again, newest first, with the plugin that is live now. An event keeps its
id and its time, and never creates a task twice: tasks that exist are left alone, or updated with --tasks update. You can stop
it and start it again at any time; --after continues behind an event.
Exit codes: 0 every event is stored or skipped; 1 some are not, or the server did not respond; 2 wrong arguments.")]
pub(super) struct EventsCommand {
    #[command(subcommand)]
    action: EventsAction,
    #[command(flatten)]
    data: DataDirFlag,
    #[command(flatten)]
    elsewhere: Elsewhere,
    /// Print JSON for scripts, one event per line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum EventsAction {
    /// List events, newest first
    List {
        #[command(flatten)]
        filter: Filter,
        /// Number of events to show
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one event: outcome, headers, stages and body
    Show {
        /// The event's id
        id: String,
        /// The company that the event belongs to
        #[arg(long)]
        company: CompanyId,
    },
    /// Replay events with the plugin that is live now
    Replay(Replay),
    /// Erase what senders sent about a patient: bodies, headers, reasons and plugin logs. The events stay, marked as erased
    Erase(Erase),
}

#[derive(Debug, clap::Args)]
struct Filter {
    /// The company that the events belong to
    #[arg(long)]
    company: CompanyId,
    /// Only events of this integration
    #[arg(long)]
    integration: Option<String>,
    /// Only this status: queued, captured, stored, skipped, duplicate, quarantined or rejected
    #[arg(long)]
    status: Option<String>,
    /// Only this reason: the stage that ended the pipeline, or the error code
    #[arg(long)]
    reason: Option<String>,
    /// Only events received since then: an age such as 30m, 24h or 7d, or a time (RFC 3339)
    #[arg(long, value_parser = time)]
    since: Option<DateTime<Utc>>,
    /// Only events received before then, written like --since
    #[arg(long, value_parser = time)]
    until: Option<DateTime<Utc>>,
    /// Continue behind this event in the list
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Replay {
    #[command(flatten)]
    filter: Filter,
    /// What to do with tasks that the event has already created
    #[arg(long, value_parser = ["leave", "update"], default_value = "leave")]
    tasks: String,
    /// Events per second, at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Only list the matching events
    #[arg(long)]
    dry_run: bool,
}

/// Parses an age or a time.
pub(super) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc());
    }
    let unit = text.chars().last().unwrap_or_default();
    let number = text.strip_suffix(unit).and_then(|it| it.parse::<u32>().ok()).map(i64::from);
    let age = match (number, unit) {
        (Some(it), 'm') => TimeDelta::try_minutes(it),
        (Some(it), 'h') => TimeDelta::try_hours(it),
        (Some(it), 'd') => TimeDelta::try_days(it),
        _ => None,
    };
    let at = age.and_then(|it| now().checked_sub_signed(it));
    at.ok_or_else(|| "write an age such as 30m, 24h or 7d, or a time such as 2026-12-01T09:00:00Z".into())
}

impl EventsCommand {
    pub(super) fn options(&self) -> Options {
        self.data.options()
    }

    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        let dir = &config.data_dir;
        let remote = self.elsewhere.remote(dir);
        // The only action that needs no server.
        if let EventsAction::Erase(erase) = &self.action {
            return erase.run(config, remote.as_ref(), self.json);
        }
        let remote = remote.ok_or_else(|| Failure::no_server(dir))?;
        match &self.action {
            EventsAction::List { filter, limit } => self.list(&remote, filter, *limit),
            EventsAction::Show { id, company } => {
                let event = remote.call("GET", &format!("/v1/events/{id}?company_id={company}"), None)?;
                if self.json {
                    print::json(&event)
                } else {
                    print::pretty(&event)
                }
                Ok(())
            }
            EventsAction::Replay(replay) => self.replay(&remote, replay),
            EventsAction::Erase(_) => Ok(()),
        }
    }

    fn list(&self, remote: &Remote, filter: &Filter, limit: usize) -> Result<(), Failure> {
        let mut pages = Pages::new(remote, filter, None);
        let mut left = limit;
        while let Some(events) = pages.next()? {
            events.iter().take(left).for_each(|it| self.print(it));
            left = left.saturating_sub(events.len());
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    fn print(&self, event: &Value) {
        if self.json {
            return print::json(event);
        }
        let field = |name: &str| text(&event[name]);
        let why = event["reason"].as_object().map(|it| format!("{}: {}", text(&it["stage"]), text(&it["message"])));
        say!(
            "{}  {}  {:<11} {:<16} {}",
            field("received_at"),
            field("id"),
            field("status"),
            field("integration"),
            why.unwrap_or_else(|| format!("{} tasks", event["task_ids"].as_array().map_or(0, Vec::len)))
        );
    }

    fn replay(&self, remote: &Remote, asked: &Replay) -> Result<(), Failure> {
        // Without a status, quarantined events are replayed.
        let default_status = asked.filter.status.is_none().then_some("quarantined");
        let mut pages = Pages::new(remote, &asked.filter, default_status);
        let (mut done, mut failed, mut last) = (0_u64, 0_u64, None);
        let mut progress = Progress::new("events replayed", 0);
        let pause = Duration::from_secs(1) / asked.rate;
        while let Some(events) = pages.next().map_err(|e| at(last.as_deref(), e))? {
            for event in events {
                let id = text(&event["id"]);
                if asked.dry_run {
                    self.print(&event);
                    continue;
                }
                let started = Instant::now();
                let path = format!("/v1/events/{id}/replay?company_id={}", asked.filter.company);
                match remote.call("POST", &path, Some(json!({ "tasks": asked.tasks }))) {
                    Ok(now) => {
                        let good = now["status"] == "stored" || now["status"] == "skipped";
                        failed += u64::from(!good);
                        if self.json || !good {
                            self.print(&now);
                        }
                    }
                    Err(failure) => {
                        failed += 1;
                        say!("{id}: {}", failure.message);
                    }
                }
                done += 1;
                progress.add(1);
                last = Some(id);
                std::thread::sleep(pause.saturating_sub(started.elapsed()));
            }
        }
        progress.finish();
        if failed == 0 { Ok(()) } else { Err(Failure::new(format!("{failed} of {done} events were not stored"))) }
    }
}

/// Adds to an error where to continue.
fn at(last: Option<&str>, failure: Failure) -> Failure {
    let Some(last) = last else { return failure };
    Failure { message: format!("{}; continue with --after {last}", failure.message), ..failure }
}

/// A list of events, page by page.
struct Pages<'a> {
    remote: &'a Remote,
    query: String,
    after: Option<String>,
    ended: bool,
}

impl<'a> Pages<'a> {
    fn new(remote: &'a Remote, filter: &Filter, status: Option<&str>) -> Self {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("company_id", filter.company.as_str()).append_pair("limit", "100");
        let status = filter.status.as_deref().or(status);
        let texts =
            [("integration", filter.integration.as_deref()), ("status", status), ("reason", filter.reason.as_deref())];
        for (name, value) in texts.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            query.append_pair(name, value);
        }
        for (name, value) in [("since", filter.since), ("until", filter.until)] {
            if let Some(at) = value {
                query.append_pair(name, &crate::model::time::format_utc(at));
            }
        }
        Self { remote, query: query.finish(), after: filter.after.clone(), ended: false }
    }

    fn next(&mut self) -> Result<Option<Vec<Value>>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let after = self.after.as_ref().map(|it| format!("&cursor={it}")).unwrap_or_default();
        let mut page = self.remote.call("GET", &format!("/v1/events?{}{after}", self.query), None)?;
        self.after = page["pagination"]["next_cursor"].as_str().map(str::to_owned);
        self.ended = self.after.is_none();
        Ok(Some(page["data"].as_array_mut().map(std::mem::take).unwrap_or_default()))
    }
}
