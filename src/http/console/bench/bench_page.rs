//! The page of an integration on the bench: one form for everything, the result next to it, the versions below.

use maud::{Markup, html};
use serde_json::Value;
use warp::http::StatusCode;

use super::form::{BenchForm, FILE};
use super::result::result;
use super::version_list;
use crate::http::console::page::PageCall;
use crate::http::console::page_failure::PageFailure;
use crate::http::console::page_reply::{PageReply, Section};
use crate::http::console::parts::{form_field, problem, text, visible};
use crate::http::console::plugin_facts::segment;
use crate::http::console::plugins::find;

/// Name of the text of `[task]` in plugin.toml.
const EXPRESSIONS: &str = "plugin.toml#task";
/// Rows of the payload, and of a file of a script: at least and at most, by its lines.
const PAYLOAD_ROWS: (usize, usize) = (8, 24);
const SCRIPT_ROWS: (usize, usize) = (14, 32);

/// An integration on the bench.
pub(super) struct BenchPage {
    name: String,
    pub(super) script: Option<Value>,
    /// Why the integration cannot be read, on a page that shows what was entered all the same.
    unread: Option<PageFailure>,
}

impl BenchPage {
    pub(super) async fn open(page: &PageCall) -> Result<Self, PageFailure> {
        let name = page.parameter("name").to_owned();
        let plugin = find(page, &name).await?;
        let script = match text(&plugin, "abi") {
            "script" => match page.client.get(&format!("/v1/admin/plugins/{}/script", segment(&name))).await {
                Ok(script) => Some(script),
                // Expressions have no text if they are not a table of their own in plugin.toml.
                Err(failure) if failure.status == StatusCode::NOT_FOUND => None,
                Err(failure) => return Err(failure),
            },
            _ => None,
        };
        Ok(Self { name, script, unread: None })
    }

    /// The same for a form that was sent: if the integration cannot be read, the page says so and keeps what was entered.
    pub(super) async fn for_form(page: &PageCall) -> Self {
        Self::open(page).await.unwrap_or_else(|failure| {
            let name = page.parameter("name").to_owned();
            Self { name, script: None, unread: Some(failure) }
        })
    }

    /// The page with a form, a notice about what was saved, and a result.
    pub(super) async fn page(
        &self,
        page: &PageCall,
        form: &BenchForm,
        notice: Option<Markup>,
        trial: Option<&Result<Value, PageFailure>>,
    ) -> PageReply {
        let versions = match &self.script {
            Some(script) => version_list::list(page, &self.name, text(script, "digest")).await,
            None => html! {},
        };
        let content = html! {
            div.toolbar {
                h1 { "Bench: " (visible(&self.name)) }
                div.row { a.button href=(page.link(&format!("/console/plugins/{}", segment(&self.name)))) { "The plugin" } a.button href=(page.link(&format!("/console/events?integration={}", segment(&self.name)))) { "Choose an event" } }
            }
            @if let Some(notice) = notice { (notice) }
            @if let Some(failure) = &self.unread { (problem(failure)) p { "What you have entered is below, and nothing of it is lost." } }
            form #bench .bench method="post" action=(self.link(page, "")) data-module="editor" data-result=(self.link(page, "/result")) {
                (form_field(page))
                // Enter in a field uses the first button of a form: it must not be one that saves.
                button.visually-hidden type="submit" tabindex="-1" aria-hidden="true" { "Run" }
                div.bench-input { (self.payload(page, form)) @if !form.files.is_empty() { (self.editor(page, form)) } }
                div.bench-output {
                    div.row { button.primary type="submit" { "Run" } span.muted.small.hint hidden { "runs by itself after each pause in typing" } }
                    div.row { input #count_fuel type="checkbox" name="count_fuel" value="yes" checked[form.counts_fuel]; " " label for="count_fuel" { "Count instructions (fuel)" } }
                    section #result aria-label="Result" {
                        @match trial { Some(trial) => (result(page, form, trial)), None => p.muted { "The result is shown here. Nothing is stored." } }
                    }
                    (self.saving(page, form))
                }
            }
            (versions)
        };
        let status = self.unread.as_ref().map_or(StatusCode::OK, |it| it.status);
        PageReply::with_status(status, page, &format!("Bench: {}", self.name), Section::Bench, content)
    }

    fn link(&self, page: &PageCall, rest: &str) -> String {
        page.link(&format!("/console/bench/{}{rest}", segment(&self.name)))
    }

    fn payload(&self, page: &PageCall, form: &BenchForm) -> Markup {
        html! {
            section.card.stack {
                @if let Some(event) = &form.event {
                    input type="hidden" name="event" value=(event);
                    input type="hidden" name="unchanged" value=(form.unchanged);
                    p { "From event " a.mono href=(page.link(&format!("/console/events/{}", segment(event)))) { (event) } ". What you change here is not stored." }
                    @if form.is_unchanged() && !form.payload.is_empty() { p.muted { "While you do not change it, the body is run as it was sent." } }
                    @if form.payload.is_empty() { p.muted { "While this is empty, the body is run as it was sent: the integration cannot read it, or it is not this integration's." } }
                }
                label for="payload" { "Payload (JSON)" }
                textarea #payload name="payload" rows=(rows(&form.payload, PAYLOAD_ROWS)) spellcheck="false" data-code="" aria-describedby="keys" { "\n" (form.payload) }
                details {
                    summary { "Headers and time" }
                    div.stack {
                        label for="headers" { "Headers that the plugin asks for, one per line" }
                        textarea #headers name="headers" rows="4" spellcheck="false" readonly[form.event.is_some()] { "\n" (form.headers) }
                        label for="received_at" { "Time of receipt, the plugin's clock (RFC 3339; now if empty)" }
                        input #received_at name="received_at" value=(form.received_at) size="30";
                    }
                }
            }
        }
    }

    fn editor(&self, page: &PageCall, form: &BenchForm) -> Markup {
        // Without it, files are in the order of their names.
        let main = self.script.as_ref().map_or("", |it| text(it, "file"));
        let files = || {
            form.files
                .iter()
                .filter(|(name, _)| *name == main)
                .chain(form.files.iter().filter(|(name, _)| *name != main))
        };
        html! {
            section.card.stack {
                input type="hidden" name="base" value=(form.base);
                @for (name, it) in files() {
                    label for=(format!("code-{name}")) { @if name == EXPRESSIONS { "Expressions " } @else { "Script " } code { (visible(name)) } }
                    textarea id=(format!("code-{name}")) name=(format!("{FILE}{name}")) rows=(rows(it, SCRIPT_ROWS)) spellcheck="false" autocapitalize="off" data-code=(name) aria-describedby="keys" { "\n" (it) }
                }
                p.muted.small #keys { "Tab indents; press Escape and then Tab to leave the field." }
                div.row {
                    button type="submit" formaction=(self.link(page, "/script")) { "Save as new version" }
                    span.muted.small { "It goes live only if it passes all fixtures." }
                }
            }
        }
    }

    fn saving(&self, page: &PageCall, form: &BenchForm) -> Markup {
        html! {
            section.card.stack {
                h2 { "Save as fixture" }
                p.muted.small { "This payload with its result becomes an example that every new version must pass. It is kept in the plugin's folder as it is, so leave out what must not be there." }
                div.row {
                    label for="fixture" { "Name" }
                    input #fixture name="fixture" value=(form.fixture.name) placeholder="cancelled" size="20" autocomplete="off" pattern="[\\w.\\-]+";
                    span { input #replace type="checkbox" name="replace" value="yes" checked[form.fixture.replaces]; " " label for="replace" { "Replace" } }
                    button type="submit" formaction=(self.link(page, "/fixture")) { "Save" }
                }
            }
        }
    }
}

fn rows(text: &str, (least, most): (usize, usize)) -> usize {
    (text.lines().count() + 1).clamp(least, most)
}
