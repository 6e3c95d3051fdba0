//! Sampling of log lines that senders and strangers can cause at any rate: some are written and the others counted, and the
//! next line that is written has their number as `omitted`.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use crate::system::rate::{Rate, TokenBucket};

/// Subjects with their own count; further ones share one.
const SUBJECTS: usize = 1024;

/// A sampled log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SampledLine {
    /// A delivery for an unknown integration.
    Unknown,
    /// A delivery whose sender is not authenticated.
    Rejected,
    /// A request that failed on the server.
    Failed,
    /// A delivery that was quarantined.
    Quarantined,
    /// A delivery with the id of an earlier one and another body.
    Differs,
    /// A delivery in which values were redacted as a whole.
    Redacted,
    /// A connection that could not be accepted.
    Accept,
    /// Spans that could not be exported.
    Traces,
    /// Public keys of a sender that are not available.
    SenderKeys,
}

impl SampledLine {
    fn message(self) -> &'static str {
        match self {
            Self::SenderKeys => "the keys of a sender are not available",
            Self::Unknown => "delivery for an unknown integration",
            Self::Rejected => "delivery rejected",
            Self::Failed => "request failed",
            Self::Quarantined => "event quarantined",
            Self::Differs => "a delivery has the id of an earlier one and another body",
            Self::Redacted => "values were replaced as a whole",
            Self::Accept => "accepting a connection failed",
            Self::Traces => "spans were not exported",
        }
    }

    /// The rate per subject. Lines caused by strangers are written less often than those of a known sender.
    fn rate(self) -> Rate {
        match self {
            Self::Unknown | Self::Rejected | Self::Accept | Self::SenderKeys => Rate { per_minute: 12, burst: 20 },
            Self::Traces => Rate { per_minute: 1, burst: 3 },
            Self::Failed | Self::Quarantined | Self::Differs | Self::Redacted => Rate { per_minute: 60, burst: 100 },
        }
    }
}

/// Permission to write a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Number of lines omitted before this one; `None` if there are none.
    pub(crate) omitted: Option<u64>,
}

struct Counted {
    bucket: TokenBucket,
    omitted: u64,
}

#[derive(Default)]
struct SampledLines(HashMap<(SampledLine, Box<str>), Counted>);

static LINES: LazyLock<Mutex<SampledLines>> = LazyLock::new(Mutex::default);

/// Whether a line about this subject (an integration, say) is written. Subjects do not take each other's lines; they must
/// not be texts that a stranger can choose.
pub(crate) fn sample(line: SampledLine, subject: &str, now: DateTime<Utc>) -> Option<Turn> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).sample(line, subject, now)
}

/// Logs how many lines were omitted and not reported yet.
pub(crate) fn flush() {
    let omitted = LINES.lock().unwrap_or_else(PoisonError::into_inner).take();
    for (line, subject, omitted) in omitted {
        tracing::warn!(line, subject = &*subject, omitted, "log lines were omitted");
    }
}

impl SampledLines {
    fn sample(&mut self, line: SampledLine, subject: &str, now: DateTime<Utc>) -> Option<Turn> {
        let mut key = (line, Box::from(subject));
        if self.0.len() >= SUBJECTS && !self.0.contains_key(&key) {
            self.0.retain(|_, it| it.omitted > 0 || !it.bucket.is_full(now));
            if self.0.len() >= SUBJECTS {
                key.1 = Box::from("others");
            }
        }
        let counted = self.0.entry(key).or_insert_with(|| Counted { bucket: TokenBucket::of(line.rate()), omitted: 0 });
        if counted.bucket.take(now) {
            let omitted = std::mem::take(&mut counted.omitted);
            return Some(Turn { omitted: (omitted > 0).then_some(omitted) });
        }
        counted.omitted += 1;
        None
    }

    fn take(&mut self) -> Vec<(&'static str, Box<str>, u64)> {
        let counted = self.0.iter_mut().filter(|(_, it)| it.omitted > 0);
        counted
            .map(|((line, subject), it)| (line.message(), subject.clone(), std::mem::take(&mut it.omitted)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_about_one_subject_is_counted_and_leaves_another_s_lines() {
        let (mut lines, now) = (SampledLines::default(), DateTime::UNIX_EPOCH);
        let written = (0..1000).filter(|_| lines.sample(SampledLine::Rejected, "fax", now).is_some()).count();
        assert_eq!(written, 20);
        assert_eq!(lines.sample(SampledLine::Rejected, "orders", now), Some(Turn { omitted: None }));
        let later = now + chrono::TimeDelta::seconds(5);
        assert_eq!(lines.sample(SampledLine::Rejected, "fax", later), Some(Turn { omitted: Some(980) }));
        assert_eq!(lines.sample(SampledLine::Rejected, "fax", later), None);
        assert_eq!(lines.take(), [("delivery rejected", Box::from("fax"), 1)]);
        assert!(lines.take().is_empty(), "each is reported once");
    }

    #[test]
    fn subjects_are_bounded() {
        let (mut lines, now) = (SampledLines::default(), DateTime::UNIX_EPOCH);
        for number in 0..10 * SUBJECTS {
            lines.sample(SampledLine::Failed, &number.to_string(), now);
        }
        assert!(lines.0.len() <= SUBJECTS + 1, "{}", lines.0.len());
    }
}
