//! Prints how a candidate compares with the live plugin.

use console::style;
use serde_json::{Value, json};

use crate::cli::print;
use crate::cli::print::say;
use crate::service::dry_run::{Compared, Sample, Tally};

pub(super) fn print_counts(tally: &Tally) {
    for (count, word, shown) in [
        (tally.same, "same", style("same").green()),
        (tally.changed, "changed", style("changed").yellow()),
        (tally.newly_failing, "newly failing", style("newly failing").red().bold()),
        (tally.newly_passing, "newly passing", style("newly passing").green()),
        (tally.uncompared, "pass", style("pass, but were changed by a replay since").dim()),
    ] {
        if count > 0 || word != "pass" {
            print::styled(format_args!("{count:>9}  {shown}"), format_args!(""));
        }
    }
}

/// Prints where events differ, samples, and resource usage.
pub(super) fn print(compared: &Compared) {
    let tally = &compared.tally;
    if !tally.fields.is_empty() {
        say!();
        print::styled(style("Fields that differ").bold(), format_args!(""));
    }
    for (pointer, it) in &tally.fields {
        let values = values(it.before.as_ref(), it.after.as_ref());
        say!("{:>9}  {pointer}{values}, as in {}", it.events, it.example);
    }
    if !tally.failures.is_empty() {
        say!();
        print::styled(style("Why events fail now").bold(), format_args!(""));
    }
    for (name, it) in &tally.failures {
        let message = if it.message.is_empty() { String::new() } else { format!(": {}", it.message) };
        say!("{:>9}  {name}{message}, as {}", it.events, it.example);
    }
    let mut samples = tally.samples.iter().peekable();
    if samples.peek().is_some() {
        say!();
        print::styled(style("Events").bold(), format_args!(""));
    }
    samples.for_each(print_sample);
    say!();
    print::styled(style("Calls").bold(), format_args!(""));
    say!("took {} µs at the median, {} µs at the 99th percentile; at most:", compared.p50_us, compared.p99_us);
    for it in &compared.limits {
        say!("{:>5.1} % of {:<15} {} of {} {}", it.percent(), it.name, it.used, it.limit, it.unit);
    }
}

fn print_sample(it: &Sample) {
    let results = if it.before.is_empty() && it.after.is_empty() {
        String::new()
    } else {
        format!(": {} → {}", it.before, it.after)
    };
    say!("{}  {}{results}", it.event_id, json!(it.class).as_str().unwrap_or_default());
    for it in &it.differences {
        say!("    {}{}", it.pointer, values(it.expected.as_ref(), it.found.as_ref()));
    }
    if it.differences_omitted > 0 {
        say!("    and {} more places", it.differences_omitted);
    }
}

/// Returns both values of a place; nothing if they are not shown (`--no-values`).
fn values(before: Option<&Value>, after: Option<&Value>) -> String {
    match (before, after) {
        (None, None) => String::new(),
        (before, after) => format!(": {} → {}", shown(before), shown(after)),
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}
