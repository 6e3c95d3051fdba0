//! Where the example comes from: a file, stdin, or a stored event.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::example::SentExample;
use crate::cli::failure::Failure;
use crate::cli::remote::{Elsewhere, Remote};
use crate::cli::{open, runtime};
use crate::config::Config;
use crate::format::payload::CODING_HEADER;
use crate::model::audit::{Action, COMMAND_LINE, Entry};
use crate::model::company::CompanyId;
use crate::model::event::Event;
use crate::model::ids::EventId;
use crate::model::time::now;

/// Maximum size of an example, in bytes: a fixture may have 2 MiB.
const BYTES: u64 = 2 << 20;

/// Where the example comes from.
#[derive(Debug, clap::Args)]
pub(in crate::cli::plugin) struct ExampleSource {
    /// Write schema, mapping, defaults and a fixture from this payload; - reads stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from_event", "lang"])]
    pub(super) from: Option<PathBuf>,
    /// The same from a stored event, of the running server or of its database; noted in the audit log
    #[arg(long, value_name = "ID", conflicts_with = "lang")]
    pub(super) from_event: Option<Uuid>,
    /// Content-Type of the payload [default: application/json, or that of the event]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
}

impl ExampleSource {
    pub(in crate::cli::plugin) fn is_given(&self) -> bool {
        self.from.is_some() || self.from_event.is_some()
    }

    pub(in crate::cli::plugin) fn has_type(&self) -> bool {
        self.content_type.is_some()
    }

    /// Reads the example.
    pub(super) fn read(
        &self,
        config: &Config,
        elsewhere: &Elsewhere,
        company: &CompanyId,
    ) -> Result<SentExample, Failure> {
        let mut sent = match (&self.from, self.from_event) {
            (_, Some(id)) => match elsewhere.remote(&config.data_dir) {
                Some(remote) => from_server(&remote, id, company)?,
                None => from_store(config, id, company)?,
            },
            (from, None) => {
                let body = body(from.as_deref().unwrap_or(Path::new("-")))?;
                let content_type = Some("application/json".to_owned());
                SentExample { company: company.clone(), body, content_type, coding: None, received_at: now() }
            }
        };
        if let Some(given) = &self.content_type {
            sent.content_type = Some(given.clone());
        }
        if sent.body.len() as u64 > BYTES {
            return Err(Failure::new(format!(
                "the example is larger than {BYTES} bytes, the maximum of a fixture; use a shorter one"
            )));
        }
        Ok(sent)
    }
}

fn body(from: &Path) -> Result<Bytes, Failure> {
    let mut body = Vec::new();
    let read = if from == Path::new("-") {
        std::io::stdin().lock().take(BYTES + 1).read_to_end(&mut body)
    } else {
        std::fs::File::open(from).and_then(|it| it.take(BYTES + 1).read_to_end(&mut body))
    };
    read.map_err(|e| Failure::new(format!("{}: {e}", from.display())))?;
    Ok(body.into())
}

fn from_server(remote: &Remote, id: Uuid, company: &CompanyId) -> Result<SentExample, Failure> {
    let path = format!("/v1/events/{id}");
    let of = format!("company_id={company}");
    let event = remote.call("GET", &format!("{path}?{of}"), None)?;
    let received_at = event["received_at"].as_str().and_then(|it| DateTime::parse_from_rfc3339(it).ok());
    Ok(SentExample {
        company: company.clone(),
        body: remote.bytes(&format!("{path}/raw?{of}"))?.into(),
        content_type: event["content_type"].as_str().map(str::to_owned),
        coding: event["headers"][CODING_HEADER].as_str().map(str::to_owned),
        received_at: received_at.map_or_else(now, |it| it.with_timezone(&Utc)),
    })
}

/// Reads an event without a server.
fn from_store(config: &Config, id: Uuid, company: &CompanyId) -> Result<SentExample, Failure> {
    let id = EventId(id);
    let store = open::store(config)?;
    let runtime = runtime()?;
    let event: Option<Event> = runtime.block_on(store.event(company, id))?;
    let event = event.ok_or_else(|| Failure::new(format!("{company} has no event {id}; choose another --company")))?;
    if let Some(why) = event.no_body() {
        return Err(Failure::new(why.sentence()));
    }
    let entry = Entry::new(COMMAND_LINE, Action::EventRead, id, now()).of(company);
    runtime.block_on(store.note(entry))?;
    let raw = event.raw();
    Ok(SentExample {
        company: company.clone(),
        coding: raw.header(CODING_HEADER).map(str::to_owned),
        body: raw.body,
        content_type: raw.content_type,
        received_at: raw.received_at,
    })
}
