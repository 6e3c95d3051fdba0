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

/// What the fixtures of a folder say about a candidate.
#[derive(Debug, Default)]
pub(crate) struct GateResult {
    /// Those that were run; all, unless they took too long.
    pub(crate) fixtures: Vec<GateFixture>,
}

/// What one fixture says.
#[derive(Debug)]
pub(crate) struct GateFixture {
    /// Its file in the folder.
    pub(crate) file: String,
    /// What it is an example of; empty if it cannot be read.
    pub(crate) name: String,
    /// What is wrong, by place; nothing if it passes.
    pub(crate) failures: Vec<Violation>,
}

impl GateResult {
    /// Returns everything that is wrong; nothing if the candidate may go live.
    pub(crate) fn failures(self) -> Vec<Violation> {
        self.fixtures.into_iter().flat_map(|it| it.failures).collect()
    }
}

/// Runs all fixtures of a folder with a candidate, and continues after one that fails.
///
/// # Errors
/// Fails if the fixtures cannot be read.
pub(crate) fn run_gate(host: &Host, candidate: &Integration, folder: &Folder) -> Result<GateResult, LoadFailure> {
    let mut result = GateResult::default();
    if candidate.plugin.is_none() {
        return Ok(result);
    }
    let _turn = host.turn(candidate.company_id.as_str());
    let (started, limit) = (Instant::now(), host.limits().fixtures);
    for file in fixtures::list(folder)? {
        let file_name = file.to_string_lossy().into_owned();
        if started.elapsed() > limit {
            let said = format!("the earlier fixtures took more than {} ms (plugins.fixtures_ms)", limit.as_millis());
            let failures = vec![failure(&file_name, "fixture_time", &said)];
            result.fixtures.push(GateFixture { file: file_name, name: String::new(), failures });
            break;
        }
        let (name, failures) = match Fixture::read(folder, &file) {
            Ok(fixture) => {
                let run = fixtures::run(candidate, &fixture.payload, fixture.received_at, fixture.request());
                let failures = match run {
                    Err(stop) => vec![failure(&file_name, "fixture_failed", &stop.to_string())],
                    Ok(run) => differing(&file_name, &fixture, &run, candidate),
                };
                (fixture.name, failures)
            }
            Err(LoadFailure::Fixture { cause, .. }) => {
                (String::new(), vec![failure(&file_name, "not_a_fixture", &cause)])
            }
            Err(other) => return Err(other),
        };
        result.fixtures.push(GateFixture { file: file_name, name, failures });
    }
    Ok(result)
}

/// Returns how a run differs from its fixture; nothing if it passes.
pub(crate) fn differing(
    name: &str,
    fixture: &Fixture,
    run: &fixtures::FixtureRun,
    candidate: &Integration,
) -> Vec<Violation> {
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
        _ => wrong.iter().map(|said| failure(name, "fixture_failed", said)).collect(),
    }
}

fn failure(name: &str, code: &str, said: &str) -> Violation {
    Violation {
        pointer: format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        code: code.into(),
        expected: "what the fixture expects".into(),
        got: None,
        message: format!("{name}: {said}"),
        hint: None,
    }
}
