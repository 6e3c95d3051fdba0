//! `POST /v1/events/erase`: what was sent of a patient is taken out of the event log.

use std::sync::Arc;

use serde::Deserialize;
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};
use super::events::reader;
use super::upkeep::{begin, operate};
use crate::app::{Admin, App, now};
use crate::audit::Action;
use crate::auth::CompanyId;
use crate::integration::Integration;
use crate::operations::Slot;
use crate::store::embedded::{Erased, Patient};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    patient_id: String,
    /// Zeros before a number do not count.
    #[serde(default)]
    leading_zeros: bool,
    /// Only say what would be erased.
    #[serde(default)]
    dry_run: bool,
}

/// `POST /v1/events/erase`. Who asked is noted before anything is done; the patient is not, as that would be kept.
pub(super) async fn erase(mut call: Call) -> Result<Answer, Failed> {
    let (company, admin) = reader(&call)?.admin()?;
    let body = call.body().await?;
    let asked: Asked =
        serde_json::from_slice(&body).map_err(|e| Problem::Invalid(format!("not a request to erase: {e}")))?;
    let patient = Patient::new(company.clone(), &asked.patient_id);
    let patient = patient.ok_or_else(|| Problem::Invalid("patient_id: is empty".into()))?;
    let patient = patient.any_leading_zeros(asked.leading_zeros);
    let slot = begin(&call.app, &admin, "erase").await?;
    let erased = if asked.dry_run {
        operate(&call.app, slot, move |store| store.erase(&patient, now(), true)).await??
    } else {
        erased(&call.app, slot, &admin, &company, patient).await?
    };
    let mut answer = serde_json::to_value(&erased).map_err(|_| Problem::Internal)?;
    answer["dry_run"] = asked.dry_run.into();
    Ok(Answer::json(StatusCode::OK, &answer)?)
}

async fn erased(app: &App, slot: Slot, admin: &Admin, company: &CompanyId, patient: Patient) -> Result<Erased, Failed> {
    let note = |detail: String| admin.does(Action::EventsErased, "events").of(company).with(detail);
    app.store.note(note("begun".into())).await?;
    let erased: Result<Erased, Failed> =
        operate(app, slot, move |store| store.erase(&patient, now(), false)).await.and_then(|it| Ok(it?));
    let own = |it: &&Arc<Integration>| it.company_id == *company;
    app.registry.list().iter().filter(own).for_each(|it| it.forget_shadow());
    let came = |it: &Erased| format!("{} events, {} bytes", it.events.len(), it.body_bytes);
    app.store.note(note(erased.as_ref().map_or_else(|_| "not done to its end".into(), came))).await?;
    erased
}
