//! The counts themselves: three resolutions, so that their size depends on the windows and not on the number of events.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use crate::model::company::CompanyId;
use crate::model::event::EventStatus;
use crate::store::timeline::{TimelineCount, TimelineWindow};

const STATUSES: usize = EventStatus::ALL.len();

/// Counts of all companies.
#[derive(Debug, Default)]
pub(super) struct Counts {
    companies: HashMap<Box<str>, CompanyCounts>,
    /// Names of integrations, by their numbers, and back.
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
}

/// Counts of a company: for each window the buckets that have events, and in a bucket the integrations.
#[derive(Debug, Default)]
pub(super) struct CompanyCounts([BTreeMap<i64, Bucket>; TimelineWindow::ALL.len()]);

/// By integration, the events of each status. While older events are read, a count may be below 0.
type Bucket = Vec<(u32, [i64; STATUSES])>;

impl Counts {
    /// Adds to the count of an event received at this time, in milliseconds since 1970.
    pub(super) fn add(&mut self, company: &str, at: i64, integration: &str, status: EventStatus, by: i64) {
        let number = self.number(integration);
        if !self.companies.contains_key(company) {
            self.companies.insert(company.into(), CompanyCounts::default());
        }
        let Some(company) = self.companies.get_mut(company) else { return };
        for (window, buckets) in TimelineWindow::ALL.into_iter().zip(&mut company.0) {
            let bucket = buckets.entry(window.slot(at)).or_default();
            match bucket.iter_mut().find(|(it, _)| *it == number) {
                Some((_, counts)) => counts[status as usize] += by,
                None => {
                    let mut counts = [0; STATUSES];
                    counts[status as usize] = by;
                    bucket.push((number, counts));
                }
            }
            // Nobody may ask for long: at most twice the window is kept.
            if buckets.len() > 2 * window.buckets() {
                buckets.pop_first();
            }
        }
    }

    fn number(&mut self, integration: &str) -> u32 {
        if let Some(number) = self.numbers.get(integration) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(integration.into());
        self.numbers.insert(integration.into(), number);
        number
    }

    /// Removes what is older than its window.
    pub(super) fn forget_before(&mut self, now: DateTime<Utc>) {
        for company in self.companies.values_mut() {
            for (window, buckets) in TimelineWindow::ALL.into_iter().zip(&mut company.0) {
                *buckets = buckets.split_off(&window.first_slot(now));
            }
        }
        self.companies.retain(|_, it| it.0.iter().any(|buckets| !buckets.is_empty()));
    }

    /// Returns the counts of a company, or of all together.
    pub(super) fn of(
        &self,
        company: Option<&CompanyId>,
        window: TimelineWindow,
        now: DateTime<Utc>,
    ) -> Vec<TimelineCount> {
        let one = company.map(|it| self.companies.get(it.as_str()).into_iter().collect::<Vec<_>>());
        let companies = one.unwrap_or_else(|| self.companies.values().collect());
        let first = window.first_slot(now);
        let mut sums: BTreeMap<(usize, &str, usize), i64> = BTreeMap::new();
        for company in companies {
            let Some(buckets) = company.0.get(window as usize) else { continue };
            for (slot, bucket) in buckets.range(first..) {
                let Some(at) = usize::try_from(slot - first).ok().filter(|it| *it < window.buckets()) else { continue };
                for (number, counts) in bucket {
                    let name = self.names.get(*number as usize).map_or("", |it| it);
                    for (status, count) in counts.iter().enumerate().filter(|(_, it)| **it != 0) {
                        *sums.entry((at, name, status)).or_default() += count;
                    }
                }
            }
        }
        let count = |((bucket, name, status), events): ((usize, &str, usize), i64)| TimelineCount {
            bucket,
            integration: name.to_owned(),
            status,
            events: u64::try_from(events).unwrap_or(0),
        };
        sums.into_iter().map(count).filter(|it| it.events > 0).collect()
    }
}
