//! The fixtures of a folder, run by a candidate that is not in the folder yet.

use std::time::Instant;

use super::files::LoadFailure;
use super::fixtures::{self, Fixture};
use super::live::Integration;
use crate::format::schema::Violation;
use crate::plugin::Host;
use crate::system::folder::Folder;

/// Maximum number of differences that are reported for a fixture.
const PLACES: usize = 20;

/// What the fixtures say about a candidate.
#[derive(Debug, Default)]
pub(crate) struct GateResult {
    /// Number of fixtures that were run.
    pub(crate) fixtures: usize,
    /// What is wrong, by fixture and place; empty if the candidate may go live.
    pub(crate) failed: Vec<Violation>,
}

/// Runs all fixtures of a folder with a candidate, and continues after one that fails.
///
/// # Errors
/// Fails if the fixtures cannot be read.
pub(crate) fn run_gate(host: &Host, candidate: &Integration, folder: &Folder) -> Result<GateResult, LoadFailure> {
    let _turn = host.turn(candidate.company_id.as_str());
    let (started, limit) = (Instant::now(), host.limits().fixtures);
    let mut result = GateResult::default();
    for file in fixtures::list(folder)? {
        let name = file.to_string_lossy().into_owned();
        if started.elapsed() > limit {
            let said = format!("the earlier fixtures took more than {} ms (plugins.fixtures_ms)", limit.as_millis());
            result.failed.push(failure(&name, "fixture_time", said, None));
            break;
        }
        result.fixtures += 1;
        let fixture = match Fixture::read(folder, &file) {
            Ok(fixture) => fixture,
            Err(LoadFailure::Fixture { cause, .. }) => {
                result.failed.push(failure(&name, "not_a_fixture", cause, None));
                continue;
            }
            Err(other) => return Err(other),
        };
        match fixtures::run(candidate, &fixture.payload, fixture.received_at, fixture.request()) {
            Err(stop) => result.failed.push(failure(&name, "fixture_failed", stop.to_string(), None)),
            Ok(run) => result.failed.extend(differing(&name, &fixture, &run, candidate)),
        }
    }
    Ok(result)
}

/// Returns how a run differs from its fixture; nothing if it passes.
pub(crate) fn differing(name: &str, fixture: &Fixture, run: &fixtures::FixtureRun, candidate: &Integration) -> Vec<Violation> {
    let wrong = fixture.wrong(run, candidate);
    if wrong.is_empty() {
        return Vec::new();
    }
    match fixture.places(run, candidate) {
        Some(places) if !places.shown.is_empty() => {
            let text = |it: &Option<serde_json::Value>| it.as_ref().map(ToString::to_string);
            let each = places.shown.iter().take(PLACES).map(|it| Violation {
                pointer: format!("/{}{}", name.replace('~', "~0").replace('/', "~1"), it.pointer),
                code: "fixture_differs".into(),
                expected: text(&it.expected).unwrap_or_else(|| "nothing".into()),
                got: text(&it.found),
                message: format!("{name}: {it}"),
                hint: None,
            });
            each.collect()
        }
        _ => wrong.into_iter().map(|said| failure(name, "fixture_failed", said, None)).collect(),
    }
}

fn failure(name: &str, code: &str, said: String, got: Option<String>) -> Violation {
    Violation {
        pointer: format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        code: code.into(),
        expected: "what the fixture expects".into(),
        got,
        message: format!("{name}: {said}"),
        hint: None,
    }
}
