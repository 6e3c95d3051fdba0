//! Series of all plugins together: loading, compiling, instances.

use std::fmt;

use super::exposition::Exposition;
use super::histogram::{COMPILATION, Histogram, WORK};
use super::observed::Observed;
use super::series;
use super::value::{Counter, Gauge};

/// Series of the whole process.
pub(crate) static PLUGINS: PluginSeries = PluginSeries {
    wait: Histogram::of_times(&WORK),
    instances: Gauge::new(),
    compilation: Histogram::of_times(&COMPILATION),
    not_compiled: Counter::new(),
    loaded: Counter::new(),
    refused: Counter::new(),
};

/// Counts and times of plugins.
#[derive(Debug)]
pub(crate) struct PluginSeries {
    /// Time until a call gets a thread.
    pub(crate) wait: Histogram<{ WORK.len() }>,
    pub(crate) instances: Gauge,
    pub(crate) compilation: Histogram<{ COMPILATION.len() }>,
    pub(crate) not_compiled: Counter,
    /// Folders that went live.
    pub(crate) loaded: Counter,
    /// Folders that did not.
    pub(crate) refused: Counter,
}

impl PluginSeries {
    pub(super) fn write(&self, to: &mut Exposition<'_>, observed: &Observed) -> fmt::Result {
        to.labelled(&series::PLUGINS, |samples| {
            samples.gauge(&["live"], observed.integrations.len())?;
            samples.gauge(&["refused"], observed.refused)?;
            samples.gauge(&["loading"], observed.loading)
        })?;
        to.labelled(&series::PLUGIN_LOADS, |samples| {
            samples.counter(&["loaded"], self.loaded.get())?;
            samples.counter(&["refused"], self.refused.get())
        })?;
        to.histogram(&series::PLUGIN_WAIT, &self.wait)?;
        to.gauge(&series::PLUGIN_INSTANCES, self.instances.get())?;
        to.histogram(&series::COMPILE_DURATION, &self.compilation)?;
        to.counter(&series::COMPILE_FAILURES, self.not_compiled.get())
    }
}
