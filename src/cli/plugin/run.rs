//! `hookmill plugin run DIR < payload.json`

use std::io::Read as _;
use std::path::PathBuf;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::runnable;
use super::runnable::{folder, millis, warn_if_outdated};
use super::save_fixture;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::print::{say, tell};
use crate::config::{Config, user_cache};
use crate::format::payload::DecodeError;
use crate::format::task::ignored_fields;
use crate::integration::check::LimitUsage;
use crate::integration::fixtures::Came;
use crate::integration::load::schema_name;
use crate::integration::new_fixture::{NewFixture, fixture_name};
use crate::integration::{Integration, PassedRequest, fixtures};
use crate::model::event::RawEvent;
use crate::model::time::now;
use crate::plugin::{Host, Outcome};
use crate::system::folder::Folder;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill plugin run plugins/orders < order.json
  hookmill plugin run plugins/orders --save-fixture < order.json              fixtures/ gets this payload with its result
  hookmill plugin run plugins/orders --save-fixture cancelled < order.json    as fixtures/cancelled.json

A fixture is never replaced without --force. A plugin that crashes leaves none.
Exit codes: 0 tasks or a skip; 1 the payload does not fit the schema, or the plugin refuses it or fails; 2 wrong arguments.")]
pub(super) struct RunCommand {
    /// The plugin's folder
    dir: PathBuf,
    /// Content-Type of the body on stdin
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    content_type: String,
    /// Time when the event was received, which is the plugin's clock [default: now]
    #[arg(long, value_name = "TIME")]
    received_at: Option<DateTime<Utc>>,
    /// Header that the plugin gets, such as x-github-event=push; several times for several
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Parameter of the URL's query that the plugin gets, such as tenant=north; several times for several
    #[arg(long, value_name = "NAME=VALUE", value_parser = parameter)]
    query: Vec<(String, String)>,
    /// Rest of the URL's path that the plugin gets, such as /issues/opened
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Write the payload and the result as a fixture [default name: what happened, or a number]
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "", value_parser = fixture_file)]
    save_fixture: Option<String>,
    /// Replace a fixture that exists
    #[arg(long, requires = "save_fixture")]
    force: bool,
}

/// Splits `tenant=north`.
fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Parses the name of a fixture; without one, a free name is used.
fn fixture_file(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { fixture_name(text) }
}

/// Splits `x-github-event=push`.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.trim().to_ascii_lowercase(), value.to_owned()))
}

impl RunCommand {
    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        // Counting instructions makes calls slower, so the time is measured without it.
        let cache = || user_cache().map(|it| it.join("artefacts"));
        let timed = Host::new(cache(), config.loading).map_err(Failure::new)?;
        let counted = Host::counting(cache(), config.loading).map_err(Failure::new)?;
        let folder = folder(&self.dir)?;
        warn_if_outdated(&folder);
        let (timed, counted) = (runnable(&timed, config, &folder)?, runnable(&counted, config, &folder)?);
        let (payload, loosened) = self.payload(&timed)?;
        let at = self.received_at.unwrap_or_else(now);
        let request = PassedRequest {
            headers: self.headers.iter().cloned().collect(),
            query: self.query.iter().cloned().collect(),
            path: self.path.as_deref().unwrap_or_default().into(),
        };
        let mut run = fixtures::run(&timed, &payload, at, request.clone()).map_err(Failure::new)?;
        run.usage.fuel = fixtures::run(&counted, &payload, at, request.clone()).ok().and_then(|it| it.usage.fuel);
        let (kind, result) = came(&run.came, &timed, at);
        let ignored =
            if let Came::Out(Outcome::Tasks(tasks, _)) = &run.came { ignored_fields(tasks) } else { Vec::new() };
        let failed_schema = failed_schema(&run.came, kind, &folder);
        let shares = LimitUsage::of(&timed, &run);
        let saved = self.saved(&payload, at, &request, &run.came);
        let file = saved.as_ref().and_then(|it| it.as_ref().ok());
        if as_json {
            let shares: Vec<_> = shares
                .iter()
                .map(|it| json!({ "limit": it.name, "used": it.used, "of": it.limit, "unit": it.unit, "percent": it.percent() }))
                .collect();
            print::json(&json!({
                "result": kind, kind: result, "log": run.log, "loosened": loosened, "ignored": ignored,
                "failed_schema": failed_schema, "output_excerpt": run.excerpt, "took_us": run.took.as_micros(),
                "fuel": run.usage.fuel, "limits": shares, "fixture": file,
            }));
        } else {
            match &failed_schema {
                Some(schema) => say!("{kind} of {schema}:"),
                None => say!("{kind}:"),
            }
            print::pretty(&result);
            if let Some(excerpt) = &run.excerpt {
                say!("the output begins with:");
                print::indented(excerpt);
            }
            ignored.iter().for_each(|it| say!("ignored: {it}"));
            if !loosened.is_empty() {
                say!("read loosely: {}", loosened.join(", "));
            }
            if !run.log.is_empty() {
                say!("log:");
                print::indented(&run.log);
            }
            let fuel = run.usage.fuel.map_or_else(String::new, |it| format!(", {it} instructions"));
            say!("took {}{fuel}", millis(run.took.as_micros()));
            for it in &shares {
                say!("{:>5.1} % of {:<15} {} of {} {}", it.percent(), it.name, it.used, it.limit, it.unit);
            }
        }
        if let Some(file) = file {
            tell!("{} has this payload and its result", file.display());
        }
        saved.transpose()?;
        match (kind, failed_schema) {
            ("tasks" | "skip", _) => Ok(()),
            (_, Some(schema)) if matches!(run.came, Came::Violations(_)) => Err(Failure::new(format!(
                "the payload does not fit {schema}, so the plugin was not called; the sender would get an error, and the event would be quarantined"
            ))),
            _ => Err(Failure::new("the sender would get an error, and the event would be quarantined")),
        }
    }

    /// Writes a fixture, if one is asked for, and returns its path.
    fn saved(
        &self,
        payload: &Value,
        received_at: DateTime<Utc>,
        request: &PassedRequest,
        came: &Came,
    ) -> Option<Result<PathBuf, Failure>> {
        let given = self.save_fixture.as_deref()?;
        let file = Some(given).filter(|it| !it.is_empty());
        let name = file.unwrap_or("a payload of `hookmill plugin run`");
        let fixture = NewFixture { name, received_at, request, payload, came };
        Some(save_fixture::write(&fixture, &self.dir, file, self.force).map(|it| self.dir.join(it)))
    }

    /// Decodes the payload as the server does.
    fn payload(&self, integration: &Integration) -> Result<(Value, Vec<String>), Failure> {
        let mut body = Vec::new();
        std::io::stdin().lock().read_to_end(&mut body).map_err(Failure::new)?;
        decoded(integration, &self.content_type, body).map_err(|e| Failure::new(format!("the payload on stdin: {e}")))
    }
}

/// Decodes a body as the server does, and returns the payload with what was read loosely.
pub(super) fn decoded(
    integration: &Integration,
    content_type: &str,
    body: Vec<u8>,
) -> Result<(Value, Vec<String>), DecodeError> {
    let raw = RawEvent {
        id: fixtures::EVENT_ID,
        received_at: now(),
        company_id: integration.company_id.clone(),
        content_type: Some(content_type.to_owned()),
        headers: Vec::new(),
        query: Vec::new(),
        path: String::new(),
        body: Bytes::from(body),
        redacted: Vec::new(),
        trace: None,
        origin: None,
    };
    let payload = integration.payload(&raw)?;
    Ok((payload.value, payload.loosened.iter().map(str::to_owned).collect()))
}

/// Returns the schema that the payload, or else a task, does not fit.
fn failed_schema(came: &Came, kind: &str, folder: &Folder) -> Option<String> {
    match came {
        Came::Violations(_) => Some(schema_name(folder).unwrap_or_else(|| "the schema".to_owned())),
        _ if kind == "violations" => Some("the task schema (docs/TASK.md)".to_owned()),
        _ => None,
    }
}

/// Returns the result as the server would use it.
pub(super) fn came(came: &Came, integration: &Integration, received_at: DateTime<Utc>) -> (&'static str, Value) {
    match came {
        Came::Violations(found) => ("violations", json!(found)),
        Came::Failed(error) => {
            let advice = error.advice().map(str::to_owned);
            ("error", json!({ "code": error.code(), "message": error.to_string(), "advice": advice }))
        }
        Came::Out(Outcome::Skip(reason)) => ("skip", json!(reason)),
        Came::Out(Outcome::Tasks(tasks, _)) => {
            let mut read = Vec::new();
            for (index, value) in tasks.iter().enumerate() {
                match integration.task(value.clone(), received_at) {
                    Ok((task, _)) => read.push(json!(task)),
                    Err(found) => return ("violations", json!({ "task": index, "found": found })),
                }
            }
            ("tasks", Value::Array(read))
        }
    }
}
