//! `/console/erase`: erases what was sent about a patient, after a list of what that is. The id is never in a URL.

use maud::{Markup, html};
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::super::page::PageCall;
use super::super::page_failure::PageFailure;
use super::super::page_reply::{PageReply, Section};
use super::super::parts;
use super::event_rows;

const TITLE: &str = "Erase a patient";
/// Most events and tasks that are listed; all of them are erased.
const LISTED: usize = 500;

/// Who is asked for.
struct AskedPatient {
    id: String,
    leading_zeros: bool,
}

impl AskedPatient {
    fn of(page: &PageCall) -> Self {
        let id = page.form("patient_id").unwrap_or_default().trim().to_owned();
        Self { id, leading_zeros: page.form("leading_zeros").is_some() }
    }

    async fn erase(&self, page: &PageCall, dry_run: bool) -> Result<Value, PageFailure> {
        let asked = json!({ "patient_id": self.id, "leading_zeros": self.leading_zeros, "dry_run": dry_run });
        page.client.post("/v1/events/erase", &asked).await
    }
}

/// `GET /console/erase`
pub(in super::super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    Ok(PageReply::html(&page, TITLE, Section::Events, first_step(&page, &AskedPatient::of(&page), None)))
}

/// `POST /console/erase`: first the list of matches; with the id repeated, the erasure.
pub(in super::super) async fn post(page: PageCall) -> Result<PageReply, PageFailure> {
    let asked = AskedPatient::of(&page);
    let repeated = page.form("repeated_id").map(str::trim);
    let differs = page.form("step") == Some("erase") && repeated != Some(asked.id.as_str());
    let erases = page.form("step") == Some("erase") && !differs;
    let (status, content) = match asked.erase(&page, !erases).await {
        Err(failure) => (failure.status, first_step(&page, &asked, Some(&failure))),
        Ok(erased) if erases => (StatusCode::OK, result(&page, &erased)),
        Ok(found) if differs => (StatusCode::UNPROCESSABLE_ENTITY, matches(&page, &asked, &found, true)),
        Ok(found) => (StatusCode::OK, matches(&page, &asked, &found, false)),
    };
    Ok(PageReply::with_status(status, &page, TITLE, Section::Events, content))
}

fn first_step(page: &PageCall, asked: &AskedPatient, failure: Option<&PageFailure>) -> Markup {
    html! {
        h1 { (TITLE) }
        @if let Some(failure) = failure { (parts::problem(failure)) }
        section.card {
            p { "Erases what was sent about a patient: bodies, headers, logs and remembered responses. First you see what that is. Tasks are not erased; the list names them. Fixtures are files of plugins, and stay: look through those that were saved from events." }
            form.stack method="post" action=(page.link("/console/erase")) {
                (parts::form_field(page))
                label for="patient_id" { "Id of the patient" }
                input #patient_id name="patient_id" type="text" value=(asked.id) required maxlength="1000" size="40" autocomplete="off" spellcheck="false";
                label { input type="checkbox" name="leading_zeros" value="1" checked[asked.leading_zeros]; " also with more or fewer zeros before it" }
                button.primary type="submit" { "Show what would be erased" }
            }
        }
    }
}

fn matches(page: &PageCall, asked: &AskedPatient, found: &Value, differs: bool) -> Markup {
    let count = found["events"].as_array().map_or(0, Vec::len);
    html! {
        h1 { (TITLE) }
        @if differs {
            div.notice.notice-bad role="alert" { p { strong { "The repeated id is another one. " } "Nothing was erased." } }
        }
        @if count == 0 && found["remembered_responses"].as_u64().unwrap_or(0) == 0 {
            section.card {
                (parts::empty_state("Nothing was sent about this patient", &html! {
                    "No event of this company names this id. " a href=(page.link("/console/erase")) { "Look for another id" } "."
                }))
            }
            (tasks(page, found))
        } @else {
            section.card { h2 { (count) " events would be erased" } (facts(found)) (listed(page, found)) }
            (tasks(page, found))
            section.card {
                h2 { "Erase them" }
                p { "This cannot be undone, and the events cannot be replayed afterwards." }
                form.stack method="post" action=(page.link("/console/erase")) {
                    (parts::form_field(page))
                    input type="hidden" name="step" value="erase";
                    input type="hidden" name="patient_id" value=(asked.id);
                    @if asked.leading_zeros { input type="hidden" name="leading_zeros" value="1"; }
                    label for="repeated_id" { "Repeat the id of the patient" }
                    input #repeated_id name="repeated_id" type="text" required maxlength="1000" size="40" autocomplete="off" spellcheck="false";
                    div.row {
                        button.danger type="submit" { "Erase " (count) " events" }
                        a href=(page.link("/console/erase")) { "Cancel" }
                    }
                }
            }
        }
    }
}

fn result(page: &PageCall, erased: &Value) -> Markup {
    let count = erased["events"].as_array().map_or(0, Vec::len);
    html! {
        h1 { (TITLE) }
        (parts::notice_ok(&html! { p { strong { (count) " events were erased." } } }))
        section.card { (facts(erased)) (listed(page, erased)) }
        (tasks(page, erased))
        p { a href=(page.link("/console/erase")) { "Erase another patient" } }
    }
}

fn facts(found: &Value) -> Markup {
    let number = |name: &str| found[name].as_u64().unwrap_or(0);
    html! {
        (parts::key_value([
            ("Bodies", html! { (parts::bytes(number("body_bytes"))) }),
            ("Remembered responses", html! { (parts::count(number("remembered_responses"))) }),
        ]))
        @if number("damaged") > 0 {
            div.notice.notice-bad { p { (number("damaged")) " places of the journal cannot be read. They may contain more data of the patient." } }
        }
    }
}

fn listed(page: &PageCall, found: &Value) -> Markup {
    let events = found["events"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        @if !events.is_empty() {
            (event_rows(page, &events[..events.len().min(LISTED)]))
            @if events.len() > LISTED { p.muted { "and " (events.len() - LISTED) " more" } }
        }
    }
}

/// Tasks that name the patient, which stay.
fn tasks(page: &PageCall, found: &Value) -> Markup {
    let tasks = found["tasks"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        @if !tasks.is_empty() {
            section.card {
                h2 { (tasks.len()) " tasks name the patient" }
                p { "They are not erased. Delete those that must go with " code { "DELETE /v1/tasks/{id}" } "." }
                ul {
                    @for id in tasks.iter().take(LISTED).map(|it| parts::text(it, "id")) {
                        li { a.mono href=(page.link(&format!("/console/tasks/{id}"))) { (id) } }
                    }
                }
                @if tasks.len() > LISTED { p.muted { "and " (tasks.len() - LISTED) " more" } }
            }
        }
    }
}
