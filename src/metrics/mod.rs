//! Metrics: counters and histograms of the whole process, and their text for Prometheus.
//!
//! `series.rs` is the table of all series with name, type, labels and help. Each area has a file (`http.rs`,
//! `integrations.rs`, `pipeline.rs`, `queue.rs`, `plugins.rs`, `store.rs`, `process.rs`) with a static of atomics, which
//! code of any layer can count in, and a function that writes the area's series. `value.rs` and `histogram.rs` are the
//! atomics, `exposition.rs` writes samples, `text.rs` the whole response, and `observed.rs` holds the states that are looked up at each scrape.
//!
//! Counting a request takes no lock: plugin threads with idle priority count as well, and a preempted one must not make
//! others wait (docs/decisions/0028). No label value can be chosen by a stranger: routes are those of the route table,
//! and integrations those that are loaded (docs/decisions/0042).

mod exposition;
mod histogram;
pub(crate) mod http;
pub(crate) mod integrations;
pub(crate) mod observed;
pub(crate) mod pipeline;
pub(crate) mod plugins;
pub(crate) mod process;
pub(crate) mod queue;
mod series;
pub(crate) mod store;
mod text;
pub(crate) mod value;

pub(crate) use text::{CONTENT_TYPE, text};
