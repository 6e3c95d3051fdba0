//! Series of each integration. Their labels exist as long as the integration is loaded.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::exposition::{Exposition, Labelled};
use super::histogram::{Histogram, WORK};
use super::observed::Observed;
use super::series;
use super::value::{Counter, Gauge};

/// Maximum number of integrations with their own labels; all others share one.
const MOST: usize = 1000;
/// Stages that can quarantine a delivery. An unknown stage counts as the last.
const STAGES: [&str; 6] = ["decode", "schema", "plugin", "task", "queue", "other"];
/// Results of plugin calls: `ok`, or an error code without `plugin_`. An unknown code counts as the last.
const RESULTS: [&str; 12] = [
    "ok",
    "refused",
    "output_invalid",
    "deadline",
    "memory",
    "table",
    "output",
    "stack",
    "trap",
    "busy",
    "removed",
    "host",
];

/// Outcome of a delivery, for its count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryEnd {
    /// It created this many tasks.
    Created(usize),
    Skipped,
    /// It had been received before.
    Duplicate,
    /// The stage with this place in `STAGES` quarantined it; see [`DeliveryEnd::quarantined`].
    Quarantined(usize),
    /// It failed authentication.
    Rejected,
    /// It was acknowledged with 202; its result is counted later as well.
    Queued,
    /// Nothing was stored; the sender should retry.
    Failed,
    /// Its data was erased while it was processed.
    Erased,
    /// It is stored, and not mapped.
    Captured,
}

/// Outcomes, in the order of [`DeliveryEnd::place`].
const OUTCOMES: [&str; 9] =
    ["created", "skipped", "duplicate", "quarantined", "rejected", "queued", "failed", "erased", "captured"];

impl DeliveryEnd {
    /// Returns the outcome of a delivery that this stage quarantined.
    pub(crate) fn quarantined(stage: &str) -> Self {
        Self::Quarantined(place(&STAGES, stage))
    }

    fn place(self) -> usize {
        match self {
            Self::Created(_) => 0,
            Self::Skipped => 1,
            Self::Duplicate => 2,
            Self::Quarantined(_) => 3,
            Self::Rejected => 4,
            Self::Queued => 5,
            Self::Failed => 6,
            Self::Erased => 7,
            Self::Captured => 8,
        }
    }
}

/// Counts of one integration.
#[derive(Debug)]
pub(crate) struct IntegrationSeries {
    name: Box<str>,
    outcomes: [Counter; OUTCOMES.len()],
    stages: [Counter; STAGES.len()],
    tasks: Counter,
    calls: [Counter; RESULTS.len()],
    call_time: Histogram<{ WORK.len() }>,
    pub(super) queued: Gauge,
}

/// Counts of `POST /v1/tasks`, under the name that its events have.
pub(crate) static DIRECT: LazyLock<Arc<IntegrationSeries>> = LazyLock::new(|| IntegrationSeries::new("tasks"));
/// Deliveries to unknown integrations, all names together.
pub(crate) static UNKNOWN: Counter = Counter::new();
/// Counts of integrations beyond [`MOST`], and of removed ones that still have queued deliveries.
static OTHERS: LazyLock<Arc<IntegrationSeries>> = LazyLock::new(|| IntegrationSeries::new("(others)"));

/// Counts that a live integration, or a call that outlives it, holds.
static LOADED: Mutex<BTreeMap<Box<str>, Weak<IntegrationSeries>>> = Mutex::new(BTreeMap::new());

/// Returns the counts of an integration that goes live. A new version gets the ones of the version before.
pub(crate) fn of(name: &str) -> Arc<IntegrationSeries> {
    if *name == *DIRECT.name {
        return Arc::clone(&DIRECT);
    }
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    loaded.retain(|_, it| it.strong_count() > 0);
    if let Some(series) = loaded.get(name).and_then(Weak::upgrade) {
        return series;
    }
    if loaded.len() >= MOST {
        return Arc::clone(&OTHERS);
    }
    let series = IntegrationSeries::new(name);
    loaded.insert(name.into(), Arc::downgrade(&series));
    series
}

/// Returns the counts of an integration that may have been removed.
pub(crate) fn find(name: &str) -> Arc<IntegrationSeries> {
    if *name == *DIRECT.name {
        return Arc::clone(&DIRECT);
    }
    let loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    loaded.get(name).and_then(Weak::upgrade).unwrap_or_else(|| Arc::clone(&OTHERS))
}

impl IntegrationSeries {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            outcomes: [const { Counter::new() }; OUTCOMES.len()],
            stages: [const { Counter::new() }; STAGES.len()],
            tasks: Counter::new(),
            calls: [const { Counter::new() }; RESULTS.len()],
            call_time: Histogram::of_times(&WORK),
            queued: Gauge::new(),
        })
    }

    /// Counts a delivery.
    pub(crate) fn delivered(&self, how: DeliveryEnd) {
        if let Some(count) = self.outcomes.get(how.place()) {
            count.count();
        }
        match how {
            DeliveryEnd::Created(tasks) => self.tasks.add(tasks as u64),
            DeliveryEnd::Quarantined(stage) => self.stages.get(stage).into_iter().for_each(Counter::count),
            _ => {}
        }
    }

    /// Counts a plugin call that ended, with its error code if it failed.
    pub(crate) fn called(&self, took: Duration, error: Option<&str>) {
        self.call_time.took(took);
        match (error, self.calls.first()) {
            (None, Some(ok)) => ok.count(),
            (error, _) => self.not_called(error.unwrap_or_default()),
        }
    }

    /// Counts a plugin call that was not made, with its error code.
    pub(crate) fn not_called(&self, error: &str) {
        let result = place(&RESULTS, error.strip_prefix("plugin_").unwrap_or(error));
        self.calls.get(result).into_iter().for_each(Counter::count);
    }
}

/// Returns the place of a name, or else of the last one.
fn place(names: &[&str], name: &str) -> usize {
    names.iter().position(|it| *it == name).unwrap_or(names.len() - 1)
}

pub(super) fn write(to: &mut Exposition<'_>, observed: &Observed) -> fmt::Result {
    let mut all = vec![Arc::clone(&DIRECT), Arc::clone(&OTHERS)];
    all.extend(LOADED.lock().unwrap_or_else(PoisonError::into_inner).values().filter_map(Weak::upgrade));
    let each = |write: fn(&IntegrationSeries, &mut Labelled<'_>) -> fmt::Result| {
        let all = &all;
        move |samples: &mut Labelled<'_>| all.iter().try_for_each(|it| write(it, samples))
    };
    to.labelled(&series::DELIVERIES, |samples| {
        samples.counter(&["(unknown)", "rejected"], UNKNOWN.get())?;
        all.iter().try_for_each(|it| named(samples, &it.name, &OUTCOMES, &it.outcomes))
    })?;
    to.labelled(&series::QUARANTINED, each(|it, samples| named(samples, &it.name, &STAGES, &it.stages)))?;
    to.labelled(&series::TASKS_CREATED, each(|it, samples| samples.counter(&[&it.name], it.tasks.get())))?;
    to.labelled(&series::INTEGRATION_INFO, |samples| {
        let live = &observed.integrations;
        live.iter().take(MOST).try_for_each(|it| samples.gauge(&[&it.name, &it.company, &it.version], 1_u64))
    })?;
    to.labelled(&series::QUEUE_DEPTH, each(|it, samples| samples.gauge(&[&it.name], it.queued.get())))?;
    // The first has no plugin.
    let plugins = all.get(1..).unwrap_or_default();
    to.labelled(&series::PLUGIN_CALLS, |samples| {
        plugins.iter().try_for_each(|it| named(samples, &it.name, &RESULTS, &it.calls))
    })?;
    to.labelled(&series::PLUGIN_DURATION, |samples| {
        plugins.iter().try_for_each(|it| samples.histogram(&[&it.name], &it.call_time))
    })?;
    to.labelled(&series::PLUGIN_WAITING, |samples| {
        let live = &observed.integrations;
        live.iter().take(MOST).try_for_each(|it| samples.gauge(&[&it.name], it.waiting))
    })
}

fn named(samples: &mut Labelled<'_>, name: &str, names: &[&str], counts: &[Counter]) -> fmt::Result {
    names.iter().zip(counts).try_for_each(|(label, count)| samples.counter(&[name, label], count.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels of integrations that are gone would be shown until a restart, and each reload could add some.
    #[test]
    fn an_integration_has_labels_for_as_long_as_it_is_loaded_and_the_rest_share_some() {
        let first = of("come-and-go");
        first.delivered(DeliveryEnd::Created(2));
        assert!(Arc::ptr_eq(&first, &of("come-and-go")), "a new version goes on counting");
        drop(first);
        assert_eq!(find("come-and-go").name, OTHERS.name);
        assert_eq!(of("come-and-go").tasks.get(), 0);
        assert!(Arc::ptr_eq(&of("tasks"), &DIRECT), "of two series with the same labels a scrape would fail");
        let many: Vec<_> = (0..MOST + 50).map(|it| of(&format!("many-{it}"))).collect();
        assert!(many.iter().filter(|it| it.name == OTHERS.name).count() >= 50);
        assert!(LOADED.lock().unwrap().len() <= MOST);
    }

    #[test]
    fn every_outcome_has_a_count() {
        let series = IntegrationSeries::new("x");
        use DeliveryEnd::{Captured, Created, Duplicate, Erased, Failed, Queued, Rejected, Skipped};
        let quarantined = DeliveryEnd::quarantined;
        for how in [Created(3), Skipped, Duplicate, quarantined("schema"), Rejected, Queued, Failed, Erased, Captured] {
            series.delivered(how);
        }
        assert!(series.outcomes.iter().all(|it| it.get() == 1));
        assert_eq!((series.tasks.get(), series.stages[1].get()), (3, 1));
        series.delivered(quarantined("a stage of tomorrow"));
        assert_eq!(series.stages[5].get(), 1);
        series.called(Duration::ZERO, Some("plugin_trap"));
        series.called(Duration::ZERO, None);
        assert_eq!((series.calls[8].get(), series.calls[0].get()), (1, 1));
    }
}
