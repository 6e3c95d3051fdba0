//! `/console/keys`: API keys. A new key is shown once, in the answer to its form.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::client::target;
use super::page::PageCall;
use super::page_failure::PageFailure;
use super::page_reply::{PageReply, Section};
use super::parts::{self, text};
use crate::auth::Scope;
use crate::model::ids::new_id;
use crate::model::time::now;

/// The scopes, each with what it allows.
const SCOPES: [(Scope, &str); 5] = [
    (Scope::HooksWrite, "send deliveries to integrations"),
    (Scope::TasksRead, "read tasks"),
    (Scope::TasksWrite, "create and change tasks"),
    (Scope::EventsRead, "read events, without bodies"),
    (Scope::Admin, "everything else of the company: bodies, replays, keys"),
];

/// Keys on a page.
const LIMIT: &str = "50";

/// `GET /console/keys`
pub(super) async fn list(page: PageCall) -> Result<PageReply, PageFailure> {
    let list = listed(&page).await?;
    Ok(whole(&page, Ok(&list), None))
}

/// A page of the list.
async fn listed(page: &PageCall) -> Result<Value, PageFailure> {
    let chosen = page.who.company.as_ref().map(ToString::to_string);
    let query = [("limit", Some(LIMIT)), ("cursor", page.query("cursor")), ("company_id", chosen.as_deref())];
    page.client.get(&target("/v1/admin/keys", query)).await
}

/// The list, or why it cannot be read, with the form.
fn whole(page: &PageCall, list: Result<&Value, &PageFailure>, failure: Option<&PageFailure>) -> PageReply {
    let keys = list.ok().and_then(|it| it["data"].as_array()).map_or(&[][..], Vec::as_slice);
    let next = list.ok().and_then(|it| it["pagination"]["next_cursor"].as_str());
    let content = html! {
        h1 { "Keys" }
        section.card aria-labelledby="all-keys" {
            h2 #all-keys { "API keys" }
            @if let Err(unread) = list {
                (parts::problem(unread))
            } @else if keys.is_empty() && page.query("cursor").is_none() {
                (parts::empty_state("No keys yet", &html! { "Create one below: one for each sender and each reader, so that each can be revoked alone." }))
            } @else {
                p.muted { "The newest first; revoked keys are at the end." }
                (table(page, keys))
            }
            (parts::pager(page, next))
        }
        (form(page, failure))
    };
    let status = failure.map_or(warp::http::StatusCode::OK, |it| it.status);
    PageReply::with_status(status, page, "Keys", Section::Keys, content)
}

fn table(page: &PageCall, keys: &[Value]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Table of keys" {
            table {
                thead { tr {
                    th scope="col" { "Key" } th scope="col" { "Company" } th scope="col" { "Scopes" } th scope="col" { "State" }
                    th scope="col" { "Created" } th scope="col" { "Expires" } th scope="col" { span.visually-hidden { "Actions" } }
                } }
                tbody { @for it in keys { (row(page, it)) } }
            }
        }
    }
}

fn row(page: &PageCall, it: &Value) -> Markup {
    let (id, label) = (text(it, "id"), text(it, "label"));
    let scopes: Vec<&str> = it["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    html! {
        tr id=(id) {
            th scope="row" {
                @if !label.is_empty() { (parts::visible(label)) br; }
                code { (id) }
            }
            td { (parts::visible(text(it, "company_id"))) }
            td { (scopes.join(", ")) @if it["strict"] == true { ", strict" } @if let Some(zone) = it["timezone"].as_str() { ", " (zone) } }
            td { (parts::status_chip(state(it))) }
            td { (parts::time(text(it, "created_at"))) }
            td { @if let Some(at) = it["expires_at"].as_str() { (parts::time(at)) } @else { span.muted { "never" } } }
            td {
                @if state(it) != "revoked" {
                    a href=(page.link(&format!("/console/keys/{id}/revoke"))) aria-label={"Revoke " (if label.is_empty() { id } else { label })} { "Revoke" }
                }
            }
        }
    }
}

fn state(it: &Value) -> &'static str {
    let is_over = |at: &str| at.parse::<chrono::DateTime<chrono::Utc>>().is_ok_and(|at| at <= now());
    match (it["revoked_at"].is_null(), it["expires_at"].as_str()) {
        (false, _) => "revoked",
        (true, Some(at)) if is_over(at) => "expired",
        _ => "live",
    }
}

/// The form for a new key; after a failure with what was sent.
fn form(page: &PageCall, failure: Option<&PageFailure>) -> Markup {
    let company = page.who.company.as_ref().map(ToString::to_string);
    // A reload of the answer must not create a second key. After a failure of the server, the key may have been created.
    let may_be_made = failure.is_some_and(|it| it.status.is_server_error());
    let once = page.form("once").filter(|_| may_be_made).map_or_else(|| new_id(now()).to_string(), str::to_owned);
    let chosen = |scope: Scope| page.form_all().iter().any(|(name, value)| name == "scopes" && value == scope.name());
    html! {
        section.card aria-labelledby="new-key" {
            h2 #new-key { "Create a key" }
            @if let Some(failure) = failure { (parts::problem(failure)) }
            form.stack method="post" action=(page.link("/console/keys")) {
                (parts::form_field(page))
                input type="hidden" name="once" value=(once);
                div.fields {
                    div {
                        label for="label" { "Label" }
                        input #label name="label" type="text" maxlength="200" value=[page.form("label")] autocomplete="off" placeholder="who uses it";
                    }
                    @if page.who.is_operator {
                        div {
                            label for="company_id" { "Company of the key" }
                            input #company_id name="company_id" type="text" required maxlength="64" value=[page.form("company_id").or(company.as_deref())] autocomplete="off";
                        }
                    }
                    div {
                        label for="expires_at" { "Expires (UTC)" }
                        input #expires_at name="expires_at" type="text" value=[page.form("expires_at")] placeholder="never, or 2027-01-31" autocomplete="off";
                    }
                    div {
                        label for="timezone" { "Time zone of deadlines" }
                        input #timezone name="timezone" type="text" value=[page.form("timezone")] placeholder="UTC, or Europe/Berlin" autocomplete="off";
                    }
                }
                fieldset {
                    legend { "Scopes" }
                    @for (scope, about) in SCOPES {
                        div {
                            input type="checkbox" name="scopes" id={"scope-" (scope.name())} value=(scope.name()) checked[chosen(scope)];
                            " " label for={"scope-" (scope.name())} { code { (scope.name()) } } " " span.muted { (about) }
                        }
                    }
                }
                div {
                    input #strict type="checkbox" name="strict" value="true" checked[page.form("strict").is_some()];
                    " " label for="strict" { "Strict" } " " span.muted { "accept tasks of the documented shape only, and correct nothing" }
                }
                button.primary type="submit" { "Create" }
            }
        }
    }
}

/// `POST /console/keys`
pub(super) async fn create(page: PageCall) -> Result<PageReply, PageFailure> {
    let scopes: Vec<&str> =
        page.form_all().iter().filter(|(name, _)| name == "scopes").map(|(_, it)| it.as_str()).collect();
    let own = page.who.company.as_ref().map(ToString::to_string);
    // A day without a time ends when it begins.
    let expires = page
        .form("expires_at")
        .map(|it| if it.trim().len() == 10 { format!("{}T00:00:00Z", it.trim()) } else { it.trim().to_owned() });
    let mut asked = json!({
        "label": page.form("label").unwrap_or_default(),
        "company_id": if page.who.is_operator { page.form("company_id").or(own.as_deref()) } else { own.as_deref() }.unwrap_or_default(),
        "scopes": scopes,
        "strict": page.form("strict").is_some(),
    });
    if let Some(expires) = expires {
        asked["expires_at"] = expires.into();
    }
    if let Some(zone) = page.form("timezone") {
        asked["timezone"] = zone.trim().into();
    }
    let once = page.form("once").unwrap_or_default();
    let made = match page.client.post_with("/v1/admin/keys", &[("idempotency-key", once)], &asked).await {
        Ok(made) => made,
        Err(failure) => {
            let list = listed(&page).await;
            return Ok(whole(&page, list.as_ref(), Some(&failure)));
        }
    };
    let made = made.get("data").unwrap_or(&made);
    let details = &made["details"];
    let content = html! {
        h1 { "New key" }
        section.card.stack {
            @match made["key"].as_str() {
                Some(key) => {
                    p { strong { "Copy the key now: it is shown only here, and only once." } }
                    code #key.once tabindex="0" { (key) }
                    button type="button" data-copy="key" hidden { "Copy" }
                },
                None => {
                    p { "This form was sent before. Its key was created then, and is not shown again." }
                    p { "If you have lost the key, revoke it and create another." }
                },
            }
            (parts::key_value([
                ("Id", html! { code { (text(details, "id")) } }),
                ("Label", html! { (parts::visible(text(details, "label"))) }),
                ("Company", html! { (parts::visible(text(details, "company_id"))) }),
            ]))
            p { a href=(page.link("/console/keys")) { "All keys" } }
        }
    };
    Ok(PageReply::html(&page, "New key", Section::Keys, content))
}

/// `GET /console/keys/{id}/revoke`: what will happen.
pub(super) async fn ask_revoke(page: PageCall) -> Result<PageReply, PageFailure> {
    let list = page.client.get("/v1/admin/keys").await?;
    let key = list["data"].as_array().into_iter().flatten().find(|it| text(it, "id") == page.parameter("id"));
    let Some(key) = key else {
        let missing = crate::http::problem::Problem::NotFound("no such key");
        return Err(PageFailure::of(missing, page.path()));
    };
    let id = text(key, "id");
    let content = html! {
        section.card.narrow.stack {
            h1 { "Revoke this key?" }
            (parts::key_value([
                ("Label", html! { (parts::visible(text(key, "label"))) }),
                ("Id", html! { code { (id) } }),
                ("Company", html! { (parts::visible(text(key, "company_id"))) }),
                ("State", parts::status_chip(state(key))),
            ]))
            p { "Everyone who uses it gets 401 from now on, and sessions of the console that were opened with it end. This cannot be undone." }
            form.row method="post" action=(page.link(&format!("/console/keys/{id}/revoke"))) {
                (parts::form_field(&page))
                button.danger type="submit" { "Revoke" }
                a.button href=(page.link("/console/keys")) { "Cancel" }
            }
        }
    };
    Ok(PageReply::html(&page, "Revoke a key", Section::Keys, content))
}

/// `POST /console/keys/{id}/revoke`
pub(super) async fn revoke(page: PageCall) -> Result<PageReply, PageFailure> {
    let id: String = form_urlencoded::byte_serialize(page.parameter("id").as_bytes()).collect();
    page.client.delete(&format!("/v1/admin/keys/{id}")).await?;
    Ok(PageReply::redirect(&page.link(&format!("/console/keys#{id}"))))
}
