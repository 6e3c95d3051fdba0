//! Writers of series and their samples.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabel as _, EncodeLabelSet, LabelSetEncoder,
    MetricEncoder,
};

use super::histogram::Histogram;
use super::series::Series;

/// Writer of series.
pub(super) struct Exposition<'a>(pub(super) DescriptorEncoder<'a>);

impl Exposition<'_> {
    /// Writes a counter without labels.
    pub(super) fn counter(&mut self, series: &'static Series, value: impl EncodeCounterValue) -> fmt::Result {
        self.labelled(series, |samples| samples.counter(&[], value))
    }

    /// Writes a gauge without labels.
    pub(super) fn gauge(&mut self, series: &'static Series, value: impl EncodeGaugeValue) -> fmt::Result {
        self.labelled(series, |samples| samples.gauge(&[], value))
    }

    /// Writes a histogram without labels.
    pub(super) fn histogram<const N: usize>(
        &mut self,
        series: &'static Series,
        histogram: &Histogram<N>,
    ) -> fmt::Result {
        self.labelled(series, |samples| samples.histogram(&[], histogram))
    }

    /// Writes a series with labels.
    pub(super) fn labelled(
        &mut self,
        series: &'static Series,
        write: impl FnOnce(&mut Labelled<'_>) -> fmt::Result,
    ) -> fmt::Result {
        // The encoder adds it again.
        let name = series.name.strip_suffix("_total").unwrap_or(series.name);
        let encoder = self.0.encode_descriptor(name, series.help, None, series.kind)?;
        write(&mut Labelled { encoder, names: series.labels })
    }
}

/// Writer of one series' samples. Label values are in the order of the series' label names.
pub(super) struct Labelled<'a> {
    encoder: MetricEncoder<'a>,
    names: &'static [&'static str],
}

impl Labelled<'_> {
    pub(super) fn counter(&mut self, values: &[&str], value: impl EncodeCounterValue) -> fmt::Result {
        let labels = LabelPairs { names: self.names, values };
        self.encoder.encode_family(&labels)?.encode_counter::<LabelPairs<'_>, _, u64>(&value, None)
    }

    pub(super) fn gauge(&mut self, values: &[&str], value: impl EncodeGaugeValue) -> fmt::Result {
        self.encoder.encode_family(&LabelPairs { names: self.names, values })?.encode_gauge(&value)
    }

    pub(super) fn histogram<const N: usize>(&mut self, values: &[&str], histogram: &Histogram<N>) -> fmt::Result {
        let labels = LabelPairs { names: self.names, values };
        let (sum, count, buckets) = histogram.read();
        self.encoder.encode_family(&labels)?.encode_histogram::<LabelPairs<'_>>(sum, count, &buckets, None)
    }
}

struct LabelPairs<'a> {
    names: &'static [&'static str],
    values: &'a [&'a str],
}

impl EncodeLabelSet for LabelPairs<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        debug_assert_eq!(self.names.len(), self.values.len(), "a value for each label: {:?}", self.names);
        self.names.iter().zip(self.values).try_for_each(|pair| (*pair.0, *pair.1).encode(encoder.encode_label()))
    }
}
