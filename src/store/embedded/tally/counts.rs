//! The counts themselves: three resolutions, so that their size depends on the windows and not on the number of events.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use crate::model::company::CompanyId;
use crate::model::event::EventStatus;
use crate::store::timeline::{TimelineCount, TimelineWindow};

const STATUSES: usize = EventStatus::ALL.len();

/// SlotCounts of all companies.
#[derive(Debug, Default)]
pub(super) struct SlotCounts {
    companies: HashMap<Box<str>, CompanyCounts>,
    /// Names of integrations, by their numbers, and back.
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
}

/// SlotCounts of a company: for each window the buckets that have events, and in a bucket the integrations.
#[derive(Debug, Default)]
pub(super) struct CompanyCounts([BTreeMap<i64, Bucket>; TimelineWindow::ALL.len()]);

/// By integration, the events of each status. While older events are read, a count may be below 0.
type Bucket = Vec<(u32, [i64; STATUSES])>;

impl SlotCounts {
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A server that stores events for years, without anybody looking, must not use more and more memory; and a question must
    /// not take longer with more events.
    #[test]
    fn a_question_costs_the_same_with_a_million_events_and_old_ones_are_forgotten() {
        let (mut counts, now) = (SlotCounts::default(), DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let (week, names) = (7 * 86_400_000, (0..20).map(|n| format!("integration-{n}")).collect::<Vec<_>>());
        for n in 0..1_000_000_i64 {
            // The first half is older than any window.
            let at = now.timestamp_millis() - if n < 500_000 { 20 * week - n * 3000 } else { (n - 500_000) * 1200 };
            let status = EventStatus::ALL[usize::try_from(n % 7).unwrap()];
            counts.add("company-1", at, &names[usize::try_from(n % 20).unwrap()], status, 1);
        }
        for (window, buckets) in TimelineWindow::ALL.into_iter().zip(&counts.companies["company-1"].0) {
            assert!(buckets.len() <= 2 * window.buckets(), "{window:?}: {}", buckets.len());
        }
        let company = CompanyId::parse("company-1").unwrap();
        for window in TimelineWindow::ALL {
            let asked = Instant::now();
            let found = counts.of(Some(&company), window, now);
            println!("{window:?}: {} counts in {:?}", found.len(), asked.elapsed());
            assert!(asked.elapsed().as_millis() < 1000);
        }
        let hour: u64 = counts.of(Some(&company), TimelineWindow::Hour, now).iter().map(|it| it.events).sum();
        assert!((2900..=3000).contains(&hour), "one each 1.2 s: {hour}");
        counts.forget_before(now + chrono::Duration::days(8));
        assert!(counts.companies.is_empty());
    }
}
