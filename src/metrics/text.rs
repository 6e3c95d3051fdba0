//! The response to a scrape, in the Prometheus text format 0.0.4.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text};
use prometheus_client::registry::Registry;

use super::exposition::Exposition;
use super::observed::Observed;
use super::{http, integrations, pipeline, plugins, process, queue, store};

pub(crate) use prometheus_text::CONTENT_TYPE;

/// Writes all series, with the states that were observed for this scrape.
pub(crate) fn text(observed: Observed) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(observed));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Observed {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition(encoder);
        http::HTTP.write(&mut exposition, self)?;
        integrations::write(&mut exposition, self)?;
        pipeline::PIPELINE.write(&mut exposition)?;
        queue::QUEUE.write(&mut exposition, self)?;
        plugins::PLUGINS.write(&mut exposition, self)?;
        store::STORE.write(&mut exposition, self)?;
        process::PROCESS.write(&mut exposition, self)
    }
}
