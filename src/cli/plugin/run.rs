//! `hookmill plugin run DIR < payload.json`

use std::io::Read as _;
use std::path::PathBuf;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::runnable;
use super::runnable::{folder, millis};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::print::say;
use crate::config::{Config, user_cache};
use crate::format::payload::Payload;
use crate::integration::check::LimitUsage;
use crate::integration::fixtures::Came;
use crate::integration::{Integration, fixtures};
use crate::model::event::RawEvent;
use crate::model::task::NewTask;
use crate::model::time::now;
use crate::plugin::{Host, Outcome};

#[derive(Debug, clap::Args)]
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
        let (timed, counted) = (runnable(&timed, config, &folder)?, runnable(&counted, config, &folder)?);
        let (payload, loosened) = self.payload(&timed)?;
        let at = self.received_at.unwrap_or_else(now);
        let headers = self.headers.iter().cloned().collect();
        let mut run = fixtures::run(&timed, &payload, at, &headers).map_err(Failure::new)?;
        run.usage.fuel = fixtures::run(&counted, &payload, at, &headers).ok().and_then(|it| it.usage.fuel);
        let (kind, result) = came(&run.came, &timed);
        let shares = LimitUsage::of(&timed, &run);
        if as_json {
            let shares: Vec<_> = shares
                .iter()
                .map(|it| json!({ "limit": it.name, "used": it.used, "of": it.limit, "unit": it.unit, "percent": it.percent() }))
                .collect();
            print::json(&json!({
                "result": kind, kind: result, "log": run.log, "loosened": loosened, "took_us": run.took.as_micros(),
                "fuel": run.usage.fuel, "limits": shares,
            }));
        } else {
            say!("{kind}:");
            print::pretty(&result);
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
        match kind {
            "tasks" | "skip" => Ok(()),
            _ => Err(Failure::new("the sender would get an error, and the event would be quarantined")),
        }
    }

    /// Decodes the payload as the server does.
    fn payload(&self, integration: &Integration) -> Result<(Value, Vec<String>), Failure> {
        let mut body = Vec::new();
        std::io::stdin().lock().read_to_end(&mut body).map_err(Failure::new)?;
        let raw = RawEvent {
            id: fixtures::EVENT_ID,
            received_at: now(),
            company_id: integration.company_id.clone(),
            content_type: Some(self.content_type.clone()),
            headers: Vec::new(),
            body: Bytes::from(body),
            redacted: Vec::new(),
            trace: None,
        };
        let payload = integration.payload(&raw);
        let payload = payload.map_err(|e| Failure::new(format!("the payload on stdin: {e}")))?;
        Ok((payload.value, payload.loosened.iter().map(str::to_owned).collect()))
    }
}

/// Returns the result as the server would use it.
fn came(came: &Came, integration: &Integration) -> (&'static str, Value) {
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
                let payload = Payload::of(value.clone());
                match NewTask::parse(payload, &integration.rules) {
                    Ok((task, _)) => read.push(json!(task)),
                    Err(found) => return ("violations", json!({ "task": index, "found": found })),
                }
            }
            ("tasks", Value::Array(read))
        }
    }
}
