//! One run of a plugin under development: what `plugin check` finds, and every fixture.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::cli::failure::Failure;
use crate::config::Config;
use crate::format::diff::Difference;
use crate::integration::check::{Checked, Finding, Severity, near_limits, open};
use crate::integration::fixtures::{Fixture, FixtureRun};
use crate::integration::{Integration, fixtures};
use crate::model::time::now;
use crate::plugin::Host;
use crate::system::folder::Folder;

use super::super::adopt::{adopt, raw_payloads};
use super::super::advice::advice;
use super::super::runnable::{folder, runnable};
use super::super::test;

/// The result of a run.
#[derive(Debug)]
pub(super) struct DevRun {
    pub(super) findings: Vec<Finding>,
    pub(super) fixtures: Vec<TriedFixture>,
    pub(super) took: Duration,
}

/// The result of a fixture.
#[derive(Debug)]
pub(super) struct TriedFixture {
    /// Name of its file.
    pub(super) file: String,
    pub(super) name: String,
    /// Where the result differs, and in how many more places.
    pub(super) places: Vec<Difference>,
    pub(super) omitted: usize,
    /// What else is wrong, in sentences.
    pub(super) wrong: Vec<String>,
    pub(super) took: Duration,
    pub(super) log: String,
}

impl TriedFixture {
    pub(super) fn holds(&self) -> bool {
        self.places.is_empty() && self.wrong.is_empty()
    }
}

impl DevRun {
    /// Checks the folder, and runs all fixtures. What cannot be read is a finding.
    pub(super) fn of(host: &Host, dir: &Path, config: &Config) -> Self {
        let started = Instant::now();
        let (mut checked, mut tried) = (Checked::default(), Vec::new());
        match folder(dir) {
            Ok(folder) => {
                checked = open(host, &folder, &config.senders, now());
                if let Some(integration) = checked.integration.take() {
                    let manifest = folder.join("plugin.toml");
                    checked.findings.extend(advice(&integration, &manifest, &config.outbound_hosts));
                    tried = try_all(&integration, &folder, &mut checked);
                }
            }
            Err(failure) => checked.findings.push(finding(dir, failure.message, "")),
        }
        Self { findings: checked.findings, fixtures: tried, took: started.elapsed() }
    }

    /// Returns whether the server would load the folder.
    pub(super) fn is_good(&self) -> bool {
        self.errors() == 0 && self.failed() == 0
    }

    fn errors(&self) -> usize {
        self.findings.iter().filter(|it| it.severity == Severity::Error).count()
    }

    fn failed(&self) -> usize {
        self.fixtures.iter().filter(|it| !it.holds()).count()
    }

    /// Returns the result in one sentence.
    pub(super) fn summary(&self) -> String {
        let all = self.fixtures.len();
        match (self.errors(), self.failed()) {
            (0, 0) => format!("{all} of {all} fixtures pass"),
            (0, failed) => format!("{failed} of {all} fixtures failed"),
            (1, 0) => "there is 1 error; the server would not load this plugin".to_owned(),
            (errors, 0) => format!("there are {errors} errors; the server would not load this plugin"),
            (errors, failed) => format!("{failed} of {all} fixtures failed, and errors were found: {errors}"),
        }
    }
}

fn finding(file: &Path, reason: String, fix: &str) -> Finding {
    let fix = Some(fix.to_owned()).filter(|it| !it.is_empty());
    Finding { severity: Severity::Error, file: file.to_owned(), reason, fix }
}

fn try_all(integration: &Integration, folder: &Folder, checked: &mut Checked) -> Vec<TriedFixture> {
    let files = match fixtures::list(folder) {
        Ok(files) => files,
        Err(failure) => {
            checked.findings.push(finding(&folder.join("fixtures"), failure.to_string(), ""));
            return Vec::new();
        }
    };
    let raw = raw_payloads(folder, &files);
    let mut tried = Vec::new();
    for file in files {
        let path = folder.join(&file);
        if raw.contains(&file) {
            let fix = "Type a and Enter, or run `hookmill plugin test --adopt`, to make it one";
            checked.findings.push(finding(&path, "is a payload, and not a fixture".to_owned(), fix));
            continue;
        }
        match try_one(integration, folder, &file) {
            Ok((it, run)) => {
                near_limits(integration, &run, &path, checked);
                tried.push(it);
            }
            Err(cause) => {
                let cause = cause.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&cause).to_owned();
                checked.findings.push(finding(&path, cause, "docs/PLUGINS.md has the format of fixtures"));
            }
        }
    }
    tried
}

fn try_one(integration: &Integration, folder: &Folder, file: &Path) -> Result<(TriedFixture, FixtureRun), String> {
    let fixture = Fixture::read(folder, file).map_err(|e| e.to_string())?;
    let run = fixtures::run(integration, &fixture.payload, fixture.received_at, fixture.request());
    let run = run.map_err(|e| e.to_string())?;
    let (places, omitted) = fixture.places(&run, integration).map_or((None, 0), |it| (Some(it.shown), it.omitted));
    let tried = TriedFixture {
        file: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        wrong: if places.is_some() { Vec::new() } else { fixture.wrong(&run, integration) },
        name: fixture.name,
        places: places.unwrap_or_default(),
        omitted,
        took: run.took,
        log: run.log.clone(),
    };
    Ok((tried, run))
}

/// Writes the results into the fixtures that differ.
pub(super) fn update(host: &Host, dir: &Path, config: &Config) -> Result<(), Failure> {
    let folder = folder(dir)?;
    let integration = runnable(host, config, &folder)?;
    for file in fixtures::list(&folder).map_err(Failure::new)? {
        let Ok((tried, run)) = try_one(&integration, &folder, &file) else { continue };
        if !tried.holds() {
            test::update(&folder, &file, &run.came).map_err(|e| Failure::new(format!("{}: {e}", tried.file)))?;
        }
    }
    Ok(())
}

/// Makes fixtures of all payloads.
pub(super) fn adopt_all(host: &Host, dir: &Path, config: &Config) -> Result<(), Failure> {
    let folder = folder(dir)?;
    let integration = runnable(host, config, &folder)?;
    let files = fixtures::list(&folder).map_err(Failure::new)?;
    raw_payloads(&folder, &files).iter().try_for_each(|file| adopt(&folder, file, &integration))
}
