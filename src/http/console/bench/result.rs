//! What a trial came to.

use maud::{Markup, html};
use serde_json::Value;

use super::form::BenchForm;
use crate::http::console::comparison::{class, differences, limits};
use crate::http::console::page::PageCall;
use crate::http::console::page_failure::PageFailure;
use crate::http::console::parts::{count, problem, text, visible};
use crate::http::console::plugin_facts::{millis, segment};

/// Most tasks that are shown.
const TASKS: usize = 50;

/// The result, or why there is none.
pub(super) fn result(page: &PageCall, form: &BenchForm, trial: &Result<Value, PageFailure>) -> Markup {
    match trial {
        Err(failure) => {
            html! { div data-retry=[(failure.status.as_u16() == 503).then_some("")] { (problem(failure)) } }
        }
        Ok(trial) => html! {
            section.card { (summary(trial)) (why(trial)) (violations(trial)) (notes(trial)) (tasks(trial)) }
            @if trial["stored"].is_object() { section.card { (stored(page, form, &trial["stored"])) } }
            @if !text(trial, "log").is_empty() { section.card { h2 { "Log" } pre tabindex="0" aria-label="Log" { (visible(text(trial, "log"))) } } }
            section.card { (usage(trial)) }
        },
    }
}

fn summary(trial: &Value) -> Markup {
    let tasks = trial["tasks"].as_array().map_or(0, Vec::len);
    let (style, said) = match text(trial, "result") {
        "tasks" if tasks == 1 => ("chip chip-ok", "1 task".to_owned()),
        "tasks" => ("chip chip-ok", format!("{tasks} tasks")),
        "skip" => ("chip chip-warn", "skipped".to_owned()),
        "payload" => ("chip chip-bad", "the payload does not fit".to_owned()),
        "refused" => ("chip chip-bad", "refused by the plugin".to_owned()),
        "output" => ("chip chip-bad", "not a valid task".to_owned()),
        "script" => ("chip chip-bad", "the script cannot be loaded".to_owned()),
        _ => ("chip chip-bad", "the plugin failed".to_owned()),
    };
    html! {
        h2 { "Result" } p role="status" { span class=(style) { (said) } }
        @if let Some(skip) = trial["skip"].as_str() { p { (visible(skip)) } }
    }
}

/// The problem; a script marks its line in the editor.
fn why(trial: &Value) -> Markup {
    let it = &trial["problem"];
    let place = &it["place"];
    let line = place["line"].as_u64();
    html! {
        @if it.is_object() {
            div.notice.notice-bad data-file=[place["file"].as_str()] data-line=[line] data-column=[place["column"].as_u64()] {
                p { strong { (visible(text(it, "message"))) } }
                // A refusal names a place in the payload.
                @if let Some(pointer) = it["pointer"].as_str() { p { "At " code data-pointer=(pointer) { (visible(pointer)) } } }
                // The bench is where the call is repeated.
                @if let Some(advice) = it["advice"].as_str().filter(|it| !it.contains("plugin run")) { p { (visible(advice)) } }
                @if let Some(excerpt) = trial["output_excerpt"].as_str() { p { "The output begins with:" } pre { (visible(excerpt)) } }
                p.muted { code { (text(it, "code")) } }
            }
        }
    }
}

fn violations(trial: &Value) -> Markup {
    let all = trial["violations"].as_array().map_or(&[][..], Vec::as_slice);
    // The script of the page looks only for places in the payload.
    let is_of_output = trial["result"] == "output";
    html! {
        @if !all.is_empty() {
            div.scroll { table {
                caption { @if is_of_output { "What is wrong with the output" } @else { "What is wrong with the payload" } }
                thead { tr { th { "Place" } th { "Expected" } th { "Found" } } }
                tbody { @for it in all { tr {
                    @let pointer = text(it, "pointer");
                    td { code data-pointer=[(!is_of_output).then_some(pointer)] { (visible(if pointer.is_empty() { "the whole" } else { pointer })) } }
                    td { (visible(text(it, "message"))) @if let Some(hint) = it["hint"].as_str() { div.muted.small { (visible(hint)) } } }
                    td { @if let Some(got) = it["got"].as_str() { code { (visible(got)) } } }
                } } }
            } }
            @if let Some(more @ 1..) = trial["violations_omitted"].as_u64() { p.muted { "and " (count(more)) " more" } }
        }
    }
}

fn notes(trial: &Value) -> Markup {
    let ignored = trial["ignored"].as_array().map_or(&[][..], Vec::as_slice);
    let loosened: Vec<_> = trial["loosened"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    html! {
        @if !ignored.is_empty() {
            div.notice.notice-warn {
                p { "Fields that no task has, and that are ignored:" }
                ul { @for it in ignored { li { code { (visible(text(it, "field"))) } @if let Some(meant) = it["did_you_mean"].as_str() { " (did you mean " code { (meant) } "?)" } } } }
            }
        }
        @if !loosened.is_empty() { p.muted { "Read loosely: " (visible(&loosened.join(", "))) } }
    }
}

fn tasks(trial: &Value) -> Markup {
    let all = trial["tasks"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        @for (index, task) in all.iter().take(TASKS).enumerate() {
            details open[index < 3] {
                summary { "Task " (index + 1) ": " (visible(text(task, "title"))) }
                dl.facts { @for (name, value) in task.as_object().into_iter().flatten().filter(|(_, it)| !it.is_null()) { div {
                    dt { (name) }
                    dd { @match value { Value::String(text) => (visible(text)), other => code { (visible(&other.to_string())) } } }
                } } }
            }
        }
        @if all.len() > TASKS { p.muted { "and " (all.len() - TASKS) " more tasks" } }
    }
}

fn stored(page: &PageCall, form: &BenchForm, it: &Value) -> Markup {
    let event = form.event.as_deref().unwrap_or_default();
    html! {
        h2 { "Against what was stored " (class(text(it, "class"))) }
        p { "Stored for " a href=(page.link(&format!("/console/events/{}", segment(event)))) { "the event" } ": " (visible(text(it, "before"))) "." }
        @if let Some(changed @ 1..) = it["changed_since"].as_u64() { p.muted { (count(changed)) " of its tasks were changed or deleted since, and differ for that reason too." } }
        (differences(it["differences"].as_array().map_or(&[][..], Vec::as_slice), it["differences_omitted"].as_u64(), true))
    }
}

fn usage(trial: &Value) -> Markup {
    let micros = |name: &str| trial[name].as_u64().unwrap_or_default();
    html! {
        h2 { "Use of limits" }
        @match trial["limits"].as_array() { Some(all) if !all.is_empty() => (limits(all)), _ => p.muted { "The plugin was not called." } }
        p.muted.small { "Decoding and schema " (millis(micros("checked_us"))) ", plugin " (millis(micros("took_us"))) "." }
        (fuel(trial))
    }
}

/// Instructions have no limit, so the page says how far the limit of time was used.
fn fuel(trial: &Value) -> Markup {
    let time = trial["limits"].as_array().and_then(|it| it.iter().find(|it| it["name"] == "time_ms"));
    let share = time.and_then(|it| Some(it["used"].as_f64()? * 100.0 / it["limit"].as_f64().filter(|it| *it > 0.0)?));
    html! {
        @if let Some(fuel) = trial["fuel"].as_u64() {
            p { strong { (count(fuel)) " instructions" } " (fuel). A live call has no limit of instructions, only of time"
                @if let Some(share) = share { ": this one took " (format!("{share:.1} %")) " of its limit" } "." }
        } @else if let Some(why) = trial["fuel_problem"].as_str() {
            p { "Instructions were not counted: " (visible(why)) "." }
        }
    }
}
