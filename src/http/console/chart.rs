//! Charts as SVG, made on the server: without scripts and without styles of their own. Each has its numbers as a table as well.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::parts;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 44.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

/// How a series is drawn. Each can be told from the others without its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Stacked bars: filled, light, dotted or hatched.
    Bar(&'static str),
    /// A line: solid or dashed.
    Line(&'static str),
}

/// One series of a chart.
pub(super) struct ChartSeries {
    pub(super) name: &'static str,
    pub(super) mark: Mark,
    /// A value for each bucket.
    pub(super) values: Vec<Option<f64>>,
}

/// A chart of a window.
pub(super) struct Chart<'a> {
    /// For links and patterns.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// A sentence that says what it shows.
    pub(super) about: String,
    pub(super) unit: &'static str,
    /// When each bucket begins.
    pub(super) times: &'a [DateTime<Utc>],
    pub(super) series: Vec<ChartSeries>,
}

impl Chart<'_> {
    /// The chart as a figure.
    pub(super) fn figure(&self) -> Markup {
        let most = nice(self.most());
        html! {
            figure.chart {
                figcaption {
                    h2 { (self.title) }
                    ul.legend {
                        @for it in &self.series {
                            li { (self.sample(it)) " " (it.name) }
                        }
                    }
                }
                svg viewBox={"0 0 " (WIDTH) " " (HEIGHT)} role="img" aria-labelledby={(self.id) "-title " (self.id) "-about"} {
                    title id={(self.id) "-title"} { (self.title) }
                    desc id={(self.id) "-about"} { (self.about) }
                    (self.patterns())
                    (self.scale(most))
                    (self.bars(most))
                    (self.lines(most))
                }
                (self.table())
            }
        }
    }

    /// The highest stack of bars, or point of a line.
    fn most(&self) -> f64 {
        let stack = |at: usize| self.bars_only().filter_map(|it| it.values.get(at).copied().flatten()).sum::<f64>();
        let lines = self.series.iter().filter(|it| matches!(it.mark, Mark::Line(_)));
        let points = lines.flat_map(|it| it.values.iter().copied().flatten());
        (0..self.times.len()).map(stack).chain(points).fold(0.0, f64::max)
    }

    fn bars_only(&self) -> impl Iterator<Item = &ChartSeries> {
        self.series.iter().filter(|it| matches!(it.mark, Mark::Bar(_)))
    }

    fn patterns(&self) -> Markup {
        html! {
            defs {
                pattern id={(self.id) "-hatched"} width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect width="4" height="4" class="fill-bad-bg" {}
                    rect width="2" height="4" class="fill-bad" {}
                }
                pattern id={(self.id) "-dotted"} width="4" height="4" patternUnits="userSpaceOnUse" {
                    rect width="4" height="4" class="fill-warn-bg" {}
                    circle cx="2" cy="2" r="1.1" class="fill-warn" {}
                }
            }
        }
    }

    /// Grid lines with their values, and times.
    fn scale(&self, most: f64) -> Markup {
        let lines = [0.0, 0.5, 1.0].map(|part| (y(part), most * part));
        let count = self.times.len();
        let step = (count / 4).max(1);
        let days = count > 1 && (self.times[count - 1] - self.times[0]).num_hours() > 30;
        let shown = |at: DateTime<Utc>| at.format(if days { "%b %-d" } else { "%H:%M" }).to_string();
        html! {
            g.axis {
                @for (at, value) in lines {
                    line x1=(LEFT) x2=(WIDTH) y1=(round(at)) y2=(round(at)) {}
                    text x=(LEFT - 6.0) y=(round(at + 4.0)) text-anchor="end" { (number(value)) }
                }
                @for (n, at) in self.times.iter().enumerate().step_by(step) {
                    text x=(round(self.x(n))) y=(HEIGHT - 6.0) { (shown(*at)) }
                }
            }
        }
    }

    /// Stacked bars, a path for each series.
    fn bars(&self, most: f64) -> Markup {
        let mut below = vec![0.0; self.times.len()];
        let mut paths = Vec::new();
        let width = (self.step() * 0.78).max(1.0);
        for it in self.bars_only() {
            let mut path = String::new();
            for (n, value) in it.values.iter().enumerate() {
                let (Some(value), Some(under)) = (value.filter(|it| *it > 0.0), below.get_mut(n)) else { continue };
                let (low, high) = (y(*under / most), y((*under + value) / most));
                *under += value;
                let tall = (low - high).max(1.0);
                let _never_fails = write!(
                    path,
                    "M{} {}h{}v-{}h-{}z",
                    round(self.x(n)),
                    round(low),
                    round(width),
                    round(tall),
                    round(width)
                );
            }
            paths.push((path, it.mark));
        }
        html! { @for (path, mark) in paths { (self.shape(&path, mark)) } }
    }

    /// A line for each series, with gaps where there is no value.
    fn lines(&self, most: f64) -> Markup {
        let mut paths = Vec::new();
        for it in self.series.iter().filter(|it| matches!(it.mark, Mark::Line(_))) {
            let (mut path, mut drawn) = (String::new(), false);
            for (n, value) in it.values.iter().enumerate() {
                if let Some(value) = value {
                    let (x, y) = (round(self.x(n) + self.step() / 2.0), round(y(value / most)));
                    // A point between gaps is a short line.
                    let _never_fails =
                        write!(path, "{}{x} {y}{}", if drawn { "L" } else { "M" }, if drawn { "" } else { "h1" });
                }
                drawn = value.is_some();
            }
            paths.push((path, it.mark));
        }
        html! { @for (path, mark) in paths { (self.shape(&path, mark)) } }
    }

    fn shape(&self, path: &str, mark: Mark) -> Markup {
        match mark {
            Mark::Bar(kind @ ("hatched" | "dotted")) => {
                html! { path d=(path) fill={"url(#" (self.id) "-" (kind) ")"} {} }
            }
            Mark::Bar(kind) => html! { path d=(path) class={"fill-" (kind)} {} },
            Mark::Line("dashed") => {
                html! { path.line.warn d=(path) fill="none" stroke-width="1.5" stroke-dasharray="5 3" {} }
            }
            Mark::Line(_) => html! { path.line d=(path) fill="none" stroke-width="2" {} },
        }
    }

    /// What a series looks like, for the legend.
    fn sample(&self, it: &ChartSeries) -> Markup {
        let path = match it.mark {
            Mark::Bar(_) => "M1 2h10v8h-10z",
            Mark::Line(_) => "M0 6h12",
        };
        html! { svg width="12" height="12" viewBox="0 0 12 12" aria-hidden="true" { (self.shape(path, it.mark)) } }
    }

    /// The numbers; buckets in which nothing happened are left out.
    fn table(&self) -> Markup {
        let has =
            |n: &usize| self.series.iter().any(|it| it.values.get(*n).copied().flatten().is_some_and(|it| it > 0.0));
        let rows: Vec<usize> = (0..self.times.len()).filter(has).collect();
        html! {
            details.small {
                summary { "Numbers" span.visually-hidden { " of " (self.title) } }
                @if rows.is_empty() {
                    p.muted { "Nothing in this window." }
                } @else {
                    div.scroll tabindex="0" role="region" aria-label={"Numbers of " (self.title)} {
                        table {
                            thead { tr { th scope="col" { "From" } @for it in &self.series { th.number scope="col" { (it.name) @if !self.unit.is_empty() { ", " (self.unit) } } } } }
                            tbody {
                                @for n in rows {
                                    tr {
                                        th scope="row" { (parts::time(&self.times[n].format("%Y-%m-%dT%H:%M:%SZ").to_string())) }
                                        @for it in &self.series { td.number { (it.values.get(n).copied().flatten().map_or("–".into(), number)) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "at most a hundred buckets")]
    fn step(&self) -> f64 {
        (WIDTH - LEFT) / self.times.len().max(1) as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "at most a hundred buckets")]
    fn x(&self, bucket: usize) -> f64 {
        LEFT + self.step() * bucket as f64
    }
}

/// The height of a part of the scale.
fn y(part: f64) -> f64 {
    TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - part.clamp(0.0, 1.0))
}

fn round(it: f64) -> f64 {
    (it * 10.0).round() / 10.0
}

/// The next number of 1, 2 or 5 and zeros, so that the scale is easy to read.
fn nice(most: f64) -> f64 {
    if most <= 2.0 {
        return 2.0;
    }
    let power = 10_f64.powf(most.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|it| it * power).into_iter().find(|it| *it >= most).unwrap_or(most)
}

/// A number in few characters.
fn number(it: f64) -> String {
    match it {
        it if it >= 1e6 => format!("{}M", round(it / 1e6)),
        it if it >= 1e4 => format!("{}k", round(it / 1e3)),
        it => format!("{}", round(it)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A screen reader, and somebody who does not see colours, must get the same chart.
    #[test]
    fn a_chart_has_its_numbers_as_a_table_and_no_style() {
        let times: Vec<_> = (0..60).map(|n| DateTime::from_timestamp(1_800_000_000 + n * 60, 0).unwrap()).collect();
        let values = |at: usize, value: f64| (0..60).map(|n| Some(if n == at { value } else { 0.0 })).collect();
        let chart = Chart {
            id: "events",
            title: "Events",
            about: "Events by the minute.".into(),
            unit: "",
            times: &times,
            series: vec![
                ChartSeries { name: "stored", mark: Mark::Bar("ok"), values: values(3, 7.0) },
                ChartSeries { name: "quarantined", mark: Mark::Bar("hatched"), values: values(3, 2.0) },
                ChartSeries { name: "p99", mark: Mark::Line("dashed"), values: vec![None; 60] },
            ],
        };
        let html = chart.figure().into_string();
        assert!(
            html.contains("<td class=\"number\">7</td><td class=\"number\">2</td><td class=\"number\">–</td>"),
            "{html}"
        );
        assert_eq!(
            html.matches("<tr>").count(),
            2,
            "a row for the head, and one for the only bucket that has something"
        );
        assert!(html.contains("url(#events-hatched)") && html.contains("stroke-dasharray"));
        assert!(!html.contains("style=") && !html.contains("NaN"), "{html}");
    }

    #[test]
    fn scales_end_at_round_numbers() {
        for (most, end) in [(0.0, 2.0), (3.0, 5.0), (9.0, 10.0), (101.0, 200.0), (1e6, 1e6)] {
            assert!((nice(most) - end).abs() < 1e-6, "{most}");
        }
        assert_eq!([number(999.0), number(12_345.0), number(2.5e6)], ["999", "12.3k", "2.5M"]);
    }
}
