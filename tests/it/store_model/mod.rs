//! A model-based fuzzer of the embedded store. It does what a server does with it and what happens to one: commits of
//! all sizes, expiry, erasing, backups; kills, failing disks, power cuts, flipped bits. After each of these, and in
//! between, everything in the store must equal a simple model in memory.
//!
//! The store runs in a process of its own (this very binary, started again: `child.rs`), so that kills are real; it
//! executes commands in lines of JSON (`protocol.rs`). A preloaded library (`../shim`) fails its I/O, ends it in
//! the middle of a call, and takes back what was not synced. `operations.rs` is what is done, one function each, and
//! the place to add more; `model.rs` the expected content; `world.rs` holds both together; `made.rs` makes the
//! values, from a few numbers, so that both processes have them.
//!
//! `cargo test` runs it for some seconds, with the same seed every time. For longer:
//!
//! ```text
//! HOOKMILL_MODEL_SECONDS=3600 cargo test --test it store_model:: -- --nocapture
//! HOOKMILL_MODEL_SEED=7       begin with this world; a failure says in which it was
//! HOOKMILL_MODEL_WITHOUT=a,b  leave operations and checks out, by their names, and no others
//! HOOKMILL_MODEL_VERBOSE=1    print every operation
//! ```
//!
//! A seed gives the same operations, with the same values; not the same interleaving of the store's threads.

mod child;
mod damage;
mod dump;
mod made;
mod model;
mod operations;
mod process;
mod protocol;
mod random;
mod world;

use std::time::{Duration, Instant};

use operations::{ALL, Operation};
use world::{Counts, World};

const MODULE: &str = module_path!();
/// The test that is the store's process, and the variable that says so.
const CHILD: &str = "the_process_with_the_store";
const CHILD_VARIABLE: &str = "HOOKMILL_MODEL_CHILD";

/// Checks that can be left out, as operations can: that an export has each event once; that it leaves nothing out of a
/// damaged journal without an error; that a closed store has let go of its files; that what a start has read of the
/// journal's end is not lost by a power cut after it; that a restored backup does not show what had expired.
const CHECKS: &[&str] = &["export-twice", "export-damaged", "closed-lock", "unsynced-start", "expired-in-backup"];

/// After so many operations or bytes, a new store is begun: what a failure needs is short.
const OPERATIONS: u64 = 150;
const BYTES: u64 = 24 << 20;
/// Of so many checks of a closed store, sled may have lost entries of one read view.
const MOST_LOST: u64 = 20;
/// How often a fault is injected, in a hundred operations.
const FAULTS: u64 = 25;

#[expect(clippy::disallowed_methods, reason = "settings of this test, not of hookmill")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Operations and checks that are left out.
fn without() -> Vec<String> {
    let names = variable("HOOKMILL_MODEL_WITHOUT").unwrap_or_default();
    names.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

fn is_left_out(name: &str) -> bool {
    without().iter().any(|it| it == name)
}

#[test]
fn the_process_with_the_store() {
    if variable(CHILD_VARIABLE).is_some() {
        child::run();
    }
}

#[test]
fn the_store_is_what_a_model_says_whatever_happens_to_it() {
    let number = |name: &str| variable(name).map(|it| it.parse::<u64>().expect("a number"));
    let seconds = Duration::from_secs(number("HOOKMILL_MODEL_SECONDS").unwrap_or(8));
    let mut seed = number("HOOKMILL_MODEL_SEED").unwrap_or(1);
    let verbose = variable("HOOKMILL_MODEL_VERBOSE").is_some();
    let without = without();
    let known = |name: &String| ALL.iter().any(|it| it.name == name) || CHECKS.contains(&name.as_str());
    assert!(without.iter().all(known), "HOOKMILL_MODEL_WITHOUT names what there is not");
    let operations: Vec<&Operation> = ALL.iter().filter(|it| !without.iter().any(|name| name == it.name)).collect();
    println!("left out: {}", if without.is_empty() { "nothing".into() } else { without.join(", ") });
    let (started, mut total) = (Instant::now(), Counts::default());
    while started.elapsed() < seconds {
        let Some(mut world) = World::new(seed, verbose) else { return };
        let result = live(&mut world, &operations, started + seconds);
        add(&mut total, &world.counts);
        if let Err(cause) = result {
            println!("{}", summary(&total, started.elapsed()));
            let kept = world.dir.path().to_owned();
            let operations = world.last_operations();
            // Kept to be looked at.
            std::mem::forget(world);
            panic!(
                "{cause}\nafter:\n{operations}again: HOOKMILL_MODEL_SEED={seed} HOOKMILL_MODEL_WITHOUT={}\nfiles and log: {}",
                without.join(","),
                kept.display()
            );
        }
        seed += 1;
    }
    println!("{}", summary(&total, started.elapsed()));
    assert!(total.lost_views <= 1 + total.checked / MOST_LOST, "sled lost the entries of too many closed views");
}

/// One store, from its first byte on.
fn live(world: &mut World, operations: &[&Operation], until: Instant) -> world::Outcomes {
    world.open()?;
    let weights: u64 = operations.iter().map(|it| it.weight).sum();
    for _ in 0..OPERATIONS {
        if world.bytes > BYTES || Instant::now() > until {
            break;
        }
        let mut at = world.random.below(weights);
        let operation = operations.iter().find(|it| match at.checked_sub(it.weight) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        let operation = operation.unwrap();
        if operation.faults && world.random.percent(FAULTS) {
            world.arm();
        } else if !operation.faults {
            world.disarm();
        }
        (operation.run)(world).map_err(|cause| format!("{}: {cause}", operation.name))?;
        if !world.runs() {
            world.recover()?;
        } else if world.has_fired() && world.random.percent(40) {
            world.reopen()?;
        }
    }
    world.disarm();
    world.reopen()
}

fn add(total: &mut Counts, counts: &Counts) {
    let all = [
        (&mut total.operations, counts.operations),
        (&mut total.ended, counts.ended),
        (&mut total.killed, counts.killed),
        (&mut total.failed, counts.failed),
        (&mut total.power_cuts, counts.power_cuts),
        (&mut total.damages, counts.damages),
        (&mut total.compared, counts.compared),
        (&mut total.checked, counts.checked),
        (&mut total.lost_views, counts.lost_views),
    ];
    all.into_iter().for_each(|(sum, count)| *sum += count);
}

fn summary(it: &Counts, elapsed: Duration) -> String {
    format!(
        "{} operations in {:.0} s ({:.0} an hour): {} comparisons, {} ends in an I/O call, {} kills, {} failed calls, \
         {} power cuts, {} flipped bits, {} read views of {} lost entries in sled",
        it.operations,
        elapsed.as_secs_f64(),
        it.operations as f64 / elapsed.as_secs_f64() * 3600.0,
        it.compared,
        it.ended,
        it.killed,
        it.failed,
        it.power_cuts,
        it.damages,
        it.lost_views,
        it.checked
    )
}
