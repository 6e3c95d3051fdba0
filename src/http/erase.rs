//! `POST /v1/events/erase`: erases a patient's data from the event log.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Failed;
use super::body::{Json, JsonBody};
use super::call::Call;
use super::openapi::examples::Example;
use super::problem::Problem;
use super::reader::CompanyAdmin;
use super::reply::Success;
use super::upkeep::{begin, operate};
use crate::integration::Integration;
use crate::metrics::store::STORE;
use crate::model::audit::Action;
use crate::model::company::CompanyId;
use crate::model::time::now;
use crate::service::app::{Admin, App};
use crate::service::operations::Slot;
use crate::store::erasure::{Erased, Patient};

/// Whose data to erase.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EraseRequest {
    /// The patient's id.
    #[schemars(extend("pattern" = r"\S"))]
    patient_id: String,
    /// Find the id also with more or fewer zeros before it.
    #[serde(default)]
    leading_zeros: bool,
    /// Only say what would be erased.
    #[serde(default)]
    dry_run: bool,
}

impl JsonBody for EraseRequest {
    const ABOUT: &'static str = "Whose data to erase.";
    const EXAMPLES: &'static [Example] = &[];
}

/// What was erased, or would be.
#[derive(Serialize, JsonSchema)]
pub(super) struct ErasureAnswer {
    #[serde(flatten)]
    erased: Erased,
    /// Nothing was erased.
    dry_run: bool,
}

/// `POST /v1/events/erase`. The audit log records the caller before anything is erased, and never the patient.
pub(super) async fn erase(
    call: Call,
    CompanyAdmin { company, admin }: CompanyAdmin,
    Json { value: asked, .. }: Json<EraseRequest>,
) -> Result<Success<ErasureAnswer>, Failed> {
    let patient = Patient::new(company.clone(), &asked.patient_id);
    let patient = patient.ok_or_else(|| Problem::Invalid("patient_id: must not be empty".into()))?;
    let patient = patient.any_leading_zeros(asked.leading_zeros);
    let slot = begin(&call.app, &admin, "erase").await?;
    let erased = if asked.dry_run {
        operate(&call.app, slot, move |store| store.erase(&patient, now(), true)).await??
    } else {
        erased(&call.app, slot, &admin, &company, patient).await?
    };
    Ok(Success(ErasureAnswer { erased, dry_run: asked.dry_run }))
}

async fn erased(app: &App, slot: Slot, admin: &Admin, company: &CompanyId, patient: Patient) -> Result<Erased, Failed> {
    let note = |detail: String| admin.does(Action::EventsErased, "events").of(company).with(detail);
    app.store.note(note("begun".into())).await?;
    let erased: Result<Erased, Failed> =
        operate(app, slot, move |store| store.erase(&patient, now(), false)).await.and_then(|it| Ok(it?));
    if let Ok(erased) = &erased {
        STORE.erasures.count();
        STORE.erased_events.add(erased.events.len() as u64);
    }
    let own = |it: &&Arc<Integration>| it.company_id == *company;
    app.registry.list().iter().filter(own).for_each(|it| app.shadows.forget(it));
    app.comparisons.forget_examples(company);
    let came = |it: &Erased| format!("{} events, {} bytes", it.events.len(), it.body_bytes);
    app.store.note(note(erased.as_ref().map_or_else(|_| "not finished".into(), came))).await?;
    erased
}
