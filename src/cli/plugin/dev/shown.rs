//! Prints a run: for people with the differences of each field, or as a line of JSON.

use console::style;
use serde_json::{Value, json};

use super::pass::{DevRun, TriedFixture};
use crate::cli::plugin::check::print_finding;
use crate::cli::plugin::runnable::millis;
use crate::cli::print;
use crate::cli::print::say;
use crate::model::time::now;

/// Prints a run for people.
pub(super) fn print(pass: &DevRun) {
    say!();
    pass.findings.iter().for_each(print_finding);
    pass.fixtures.iter().for_each(print_fixture);
    let word = if pass.is_good() { style("good").green().bold() } else { style("not good").red().bold() };
    let at = now().format("%H:%M:%S");
    print::styled(word, format_args!(": {}, in {} at {at} UTC", pass.summary(), millis(pass.took.as_micros())));
}

fn print_fixture(it: &TriedFixture) {
    let word = if it.holds() { style("ok").green() } else { style("FAILED").red().bold() };
    let took = millis(it.took.as_micros());
    print::styled(format_args!("{word:<8} "), format_args!("{}: {} ({took})", it.file, it.name));
    for place in &it.places {
        say!("         {}", if place.pointer.is_empty() { "/" } else { &place.pointer });
        let shown = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        let expected = style("         - expected").red();
        print::styled(expected, format_args!(" {}", shown(place.expected.as_ref())));
        print::styled(style("         + actual  ").green(), format_args!(" {}", shown(place.found.as_ref())));
    }
    if it.omitted > 0 {
        say!("         and {} more places", it.omitted);
    }
    it.wrong.iter().for_each(|it| say!("         {it}"));
    if !it.log.is_empty() {
        say!("         log:");
        it.log.trim_end().lines().for_each(|line| say!("           {line}"));
    }
}

/// Prints a run as a line of JSON.
pub(super) fn json(pass: &DevRun, run: u64) {
    let fixtures: Vec<_> = pass
        .fixtures
        .iter()
        .map(|it| {
            json!({
                "file": it.file, "name": it.name, "holds": it.holds(), "differences": it.places, "omitted": it.omitted,
                "wrong": it.wrong, "log": it.log, "took_us": it.took.as_micros(),
            })
        })
        .collect();
    print::json(&json!({
        "run": run, "good": pass.is_good(), "findings": pass.findings, "fixtures": fixtures,
        "took_us": pass.took.as_micros(),
    }));
}
