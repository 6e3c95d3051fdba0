//! `hookmill events erase`

use serde_json::{Value, json};

use super::exit::ExitStatus;
use super::failure::Failure;
use super::print::say;
use super::progress::Progress;
use super::remote::{Remote, text};
use super::{open, print, runtime};
use crate::config::Config;
use crate::model::audit::{Action, COMMAND_LINE, Entry};
use crate::model::company::CompanyId;
use crate::model::time::now;
use crate::store::erasure::{Erased, Patient};
use crate::store::{Store, embedded};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill events erase --company company-1 --patient p-4711                  lists what would be erased
  hookmill events erase --company company-1 --patient p-4711 --yes
  hookmill events erase --company company-1 --patient p-4711 --yes --data-dir /backups/monday
  hookmill events erase --company company-1 --patient p-4711 --database-url postgres:///hookmill?user=hookmill

An event belongs to the patient if it created a task with this patient_id, or if its body, a header, its reason or its plugin's
log names the patient. The id must be a separate word, in any letter case, and may be percent-, JSON- or XML-escaped. An id of
four characters or more is searched everywhere, also in base64; a shorter one counts only where \"patient\" is in a name above
it or just before it. Compressed data and images are not searched. Check the list before you use --yes.
Bodies, headers, reasons and plugin logs are erased from the journal, and so are remembered responses. The events stay, marked
as erased. Tasks that name the patient are listed, and stay.
Exit codes: 0 done; 2 wrong arguments; 3 a server holds the data directory and does not respond; 4 the journal is damaged, so
there may be more.")]
pub(super) struct Erase {
    /// The company that the patient belongs to
    #[arg(long)]
    company: CompanyId,
    /// The patient's id, as used by tasks and senders
    #[arg(long, value_name = "ID")]
    patient: String,
    /// Ignore zeros before a number: 004712 is 4712
    #[arg(long)]
    leading_zeros: bool,
    /// Erase; without this flag, only list what would be erased
    #[arg(long)]
    yes: bool,
}

impl Erase {
    pub(super) fn run(&self, config: &Config, remote: Option<&Remote>, as_json: bool) -> Result<(), Failure> {
        let answer = match remote {
            Some(remote) => {
                let path = format!("/v1/events/erase?company_id={}", self.company);
                let asked =
                    json!({ "patient_id": self.patient, "leading_zeros": self.leading_zeros, "dry_run": !self.yes });
                remote.call("POST", &path, Some(asked))?
            }
            None => json!(self.here(config)?),
        };
        if as_json {
            print::json(&answer)
        } else {
            self.print(&answer)
        }
        if answer["damaged"] == 0 {
            return Ok(());
        }
        let message = "the journal is damaged, and the unreadable parts may contain more of the patient's data; see `hookmill store check`";
        Err(Failure { message: message.into(), status: ExitStatus::Damaged })
    }

    /// Erases without a running server: in a data directory, a backup or a database.
    fn here(&self, config: &Config) -> Result<Erased, Failure> {
        let patient = Patient::new(self.company.clone(), &self.patient);
        let patient = patient.ok_or_else(|| Failure::usage("--patient: is empty"))?;
        let patient = patient.any_leading_zeros(self.leading_zeros);
        if config.database.is_some() {
            return self.in_store(&*open::store(config)?, &patient);
        }
        // A backup has no view, and must not get one.
        if self.yes && embedded::has_view(&config.data_dir) {
            return self.in_store(&*open::store(config)?, &patient);
        }
        let mut progress = Progress::new("bytes read", 0);
        let erased = embedded::erase(&config.data_dir, &patient, now(), !self.yes, &mut |it| progress.add(it))?;
        progress.finish();
        Ok(erased)
    }

    fn in_store(&self, store: &dyn Store, patient: &Patient) -> Result<Erased, Failure> {
        let erased = store.erase(patient, now(), !self.yes)?;
        if self.yes {
            let (events, bytes) = (erased.events.len(), erased.body_bytes);
            let entry = Entry::new(COMMAND_LINE, Action::EventsErased, "events", now()).of(&self.company);
            runtime()?.block_on(store.note(entry.with(format!("{events} events, {bytes} bytes"))))?;
        }
        Ok(erased)
    }

    fn print(&self, answer: &Value) {
        let empty = Vec::new();
        let events = answer["events"].as_array().unwrap_or(&empty);
        for it in events {
            let [at, id, status, integration, by, bytes] =
                ["received_at", "id", "status", "integration", "found_by", "body_bytes"].map(|name| text(&it[name]));
            say!("{at}  {id}  {status:<11} {integration:<16} {bytes:>8} bytes  found by its {by}: {}", places(it));
        }
        let tasks = answer["tasks"].as_array().unwrap_or(&empty);
        for it in tasks {
            say!("task {}  names the patient and is not erased: {}", text(&it["id"]), places(it));
        }
        if let Some(count) = answer["remembered_responses"].as_u64().filter(|it| *it > 0) {
            say!("stored responses about the patient: {count}");
        }
        let (count, bytes) = (events.len(), &answer["body_bytes"]);
        if self.yes {
            say!("erased: {count} events, {bytes} bytes of content. The events remain in the list, marked as erased.");
        } else {
            say!("would be erased: {count} events, {bytes} bytes of content. Add --yes to erase them.");
        }
        say!(
            "Tasks are not erased; delete them through the API. Backups and exports are separate: erase in a backup with \
             --data-dir, and see docs/OPERATIONS.md."
        );
    }
}

/// Returns where an event or a task names the patient, and how.
fn places(it: &Value) -> String {
    let matches = it["matches"].as_array().into_iter().flatten();
    let places: Vec<_> = matches.map(|it| format!("{} ({})", text(&it["place"]), text(&it["form"]))).collect();
    places.join(", ")
}
