//! How a candidate compares, for people.

use console::style;
use serde_json::{Value, json};

use crate::dry_run::{Compared, Sample, Tally};

pub(super) fn print_counts(tally: &Tally) {
    for (count, word, shown) in [
        (tally.same, "same", style("same").green()),
        (tally.changed, "changed", style("changed").yellow()),
        (tally.newly_failing, "newly failing", style("newly failing").red().bold()),
        (tally.newly_passing, "newly passing", style("newly passing").green()),
        (tally.uncompared, "pass", style("pass, and were changed by a re-drive since").dim()),
    ] {
        if count > 0 || word != "pass" {
            println!("{count:>9}  {shown}");
        }
    }
}

/// Where events differ, some of them, and what the calls took.
pub(super) fn print(compared: &Compared) {
    let tally = &compared.tally;
    if !tally.fields.is_empty() {
        println!("\n{}", style("Fields that differ").bold());
    }
    for (pointer, it) in &tally.fields {
        let (before, after) = (shown(it.before.as_ref()), shown(it.after.as_ref()));
        println!("{:>9}  {pointer}: {before} → {after}, as in {}", it.events, it.example);
    }
    if !tally.failures.is_empty() {
        println!("\n{}", style("Why events fail now").bold());
    }
    for (name, it) in &tally.failures {
        println!("{:>9}  {name}: {}, as {}", it.events, it.message, it.example);
    }
    let mut samples = tally.samples.iter().peekable();
    if samples.peek().is_some() {
        println!("\n{}", style("Events").bold());
    }
    samples.for_each(print_sample);
    println!("\n{}", style("Calls").bold());
    println!("took {} µs at the median, {} µs at the 99th percentile; at most:", compared.p50_us, compared.p99_us);
    for it in &compared.limits {
        println!("{:>5.1} % of {:<15} {} of {} {}", it.percent(), it.name, it.used, it.limit, it.unit);
    }
}

fn print_sample(it: &Sample) {
    println!("{}  {}: {} → {}", it.event_id, json!(it.class).as_str().unwrap_or_default(), it.before, it.after);
    for it in &it.differences {
        println!("    {}: {} → {}", it.pointer, shown(it.expected.as_ref()), shown(it.found.as_ref()));
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}
