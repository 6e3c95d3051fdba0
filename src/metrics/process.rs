//! Series of the process: memory, processor time, files. They are read from `/proc`, which never waits for a disk.

use std::fmt;

use rustix::time::{ClockId, clock_gettime};

use super::exposition::Exposition;
use super::observed::Observed;
use super::series;
use super::value::Gauge;

/// Series of this process.
pub(crate) static PROCESS: ProcessSeries = ProcessSeries { started_ms: Gauge::new(), open_files: Gauge::new() };

/// Gauges of the process.
#[derive(Debug)]
pub(crate) struct ProcessSeries {
    /// Start of the process, in milliseconds since 1970.
    pub(crate) started_ms: Gauge,
    /// Open files; looked up every few seconds, because that takes long with many connections.
    open_files: Gauge,
}

impl ProcessSeries {
    /// Counts open files.
    pub(crate) fn sample(&self) {
        // Does not count the descriptor that lists them.
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, |it| it.count().saturating_sub(1));
        self.open_files.set(open as u64);
    }

    #[expect(clippy::cast_precision_loss, reason = "a float is what Prometheus reads")]
    pub(super) fn write(&self, to: &mut Exposition<'_>, observed: &Observed) -> fmt::Result {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let used = clock_gettime(ClockId::ProcessCPUTime);
        to.labelled(&series::BUILD_INFO, |samples| samples.gauge(&[observed.version], 1_u64))?;
        to.gauge(&series::START_TIME, self.started_ms.get() as f64 / 1000.0)?;
        to.counter(&series::CPU_SECONDS, used.tv_sec as f64 + used.tv_nsec as f64 / 1e9)?;
        to.gauge(&series::RESIDENT_BYTES, number(&status, "VmRSS:") * 1024)?;
        to.gauge(&series::VIRTUAL_BYTES, number(&status, "VmSize:") * 1024)?;
        to.gauge(&series::THREADS, number(&status, "Threads:"))?;
        to.gauge(&series::OPEN_FDS, self.open_files.get())?;
        to.gauge(&series::MAX_FDS, number(&limits, "Max open files"))
    }
}

/// Returns the number after this name, or 0.
fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|it| it.split_whitespace().next()).and_then(|it| it.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_name() {
        let status = "Name:\thookmill\nVmSize:\t  123456 kB\nThreads:\t7\n";
        assert_eq!((number(status, "VmSize:"), number(status, "Threads:"), number(status, "VmRSS:")), (123_456, 7, 0));
        let limits = "Limit   Soft Limit   Hard Limit   Units\nMax open files            1024                 524288               files\n";
        assert_eq!(number(limits, "Max open files"), 1024);
    }
}
