//! The history of a script: what has changed since a version, and the way back.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::bench_page::BenchPage;
use super::form::BenchForm;
use super::line_diff::{DiffLine, line_diff};
use super::version_list::DIGITS;
use crate::http::console::page::PageCall;
use crate::http::console::page_failure::PageFailure;
use crate::http::console::page_reply::{PageReply, Section};
use crate::http::console::parts::{form_field, notice_ok, problem, text, time, visible};
use crate::http::console::plugin_facts::segment;

/// `GET /console/bench/{name}/script/{digest}`: a version against the current one.
pub(in super::super) async fn compare(page: PageCall) -> Result<PageReply, PageFailure> {
    let (name, digest) = (page.parameter("name").to_owned(), page.parameter("digest").to_owned());
    let of = format!("/v1/admin/plugins/{}/script", segment(&name));
    let current = page.client.get(&of).await?;
    let version = page.client.get(&format!("{of}/versions/{}", segment(&digest))).await?;
    let link = format!("/console/bench/{}", segment(&name));
    let text_of = |of: &Value, file: &str| of["files"][file].as_str().unwrap_or_default().to_owned();
    let names =
        |of: &Value| of["files"].as_object().map(|it| it.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let mut files = names(&current);
    files.extend(names(&version).into_iter().filter(|it| !files.contains(it)).collect::<Vec<_>>());
    let content = html! {
        div.toolbar {
            h1 { "Script of " (visible(&name)) ": " code { (digest.get(..DIGITS).unwrap_or(&digest)) } }
            a.button href=(page.link(&link)) { "The bench" }
        }
        p { "Saved " (time(text(&version, "at"))) " by " (visible(text(&version, "by"))) ", version " (visible(text(&version, "version")))
            ". Lines with " ins.diff-added { "+" } " are only in the current script, those with " del.diff-removed { "−" } " only in this version." }
        form.card method="post" action=(page.link(&format!("{link}/script/{}/restore", segment(&digest)))) {
            (form_field(&page))
            p.row { button.danger type="submit" { "Go back to this version" } span.muted.small { " It goes live only if it passes all fixtures." } }
        }
        @for file in &files { section.card { h2 { code { (visible(file)) } } (diff(&text_of(&version, file), &text_of(&current, file))) } }
    };
    Ok(PageReply::html(&page, &format!("Script of {name}"), Section::Bench, content))
}

fn diff(before: &str, after: &str) -> Markup {
    if before == after {
        return html! { p.muted { "The same in both." } };
    }
    html! {
        div.scroll { ol.diff {
            @for line in line_diff(before, after) {
                @match line {
                    DiffLine::Same(it) => li { code { "  " (visible(it)) } },
                    DiffLine::Removed(it) => li.diff-removed { code { span.visually-hidden { "removed: " } "− " (visible(it)) } },
                    DiffLine::Added(it) => li.diff-added { code { span.visually-hidden { "added: " } "+ " (visible(it)) } },
                    DiffLine::Omitted(number) => li.muted { "… " (number) " equal lines" },
                }
            }
        } }
    }
}

/// `POST /console/bench/{name}/script/{digest}/restore`
pub(in super::super) async fn restore(page: PageCall) -> Result<PageReply, PageFailure> {
    let (name, digest) = (segment(page.parameter("name")), segment(page.parameter("digest")));
    let path = format!("/v1/admin/plugins/{name}/script/versions/{digest}/restore");
    let restored = page.client.post(&path, &json!({})).await;
    let (bench, mut form) = (BenchPage::for_form(&page).await, BenchForm::sent(&page));
    // The button of the comparison sends no script.
    if let Some(script) = bench.script.as_ref().filter(|_| restored.is_ok() || form.files.is_empty()) {
        form.take_script(script);
    }
    let notice = match &restored {
        Ok(_) => notice_ok(&html! { p { strong { "This version is live again." } } }),
        Err(failure) => problem(failure),
    };
    let reply = bench.page(&page, &form, Some(notice), None).await;
    Ok(match restored {
        Ok(_) => reply,
        Err(failure) => reply.at(failure.status),
    })
}
