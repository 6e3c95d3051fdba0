//! Violations of a schema, bounded in number and size.

use std::ops::Deref;

use serde::Serialize;
use serde_json::Value;

use super::excerpt::cut_at;
use super::order::in_document_order;
use super::violation::Violation;

/// Maximum number of violations that are reported per value.
pub const MOST: usize = 100;
/// Approximate maximum size of their sentences together, in bytes.
const SENTENCES: usize = 4096;

/// The violations of one value: at most [`MOST`], and the number of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Violations {
    shown: Vec<Violation>,
    omitted: usize,
    /// Whether there may be more than were counted.
    uncounted: bool,
}

impl Violations {
    /// Keeps the first of these violations, and counts the others. With `uncounted`, there may be more.
    #[must_use]
    pub fn first_of(all: impl IntoIterator<Item = Violation>, uncounted: bool) -> Self {
        let mut all = all.into_iter();
        let shown: Vec<_> = all.by_ref().take(MOST).map(Violation::bounded).collect();
        Self { shown, omitted: all.count(), uncounted }
    }

    /// Returns these violations out of `count`.
    pub(super) fn counted(shown: Vec<Violation>, count: usize, uncounted: bool) -> Self {
        let omitted = count.saturating_sub(shown.len());
        Self { omitted, ..Self::first_of(shown, uncounted) }
    }

    /// Returns the number of violations that are not shown; with [`Self::is_uncounted`], the minimum number.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// Returns whether counting ended before the last violation.
    #[must_use]
    pub fn is_uncounted(&self) -> bool {
        self.uncounted
    }

    /// Returns whether there are no violations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty() && self.omitted == 0 && !self.uncounted
    }

    /// Reduces the number of shown violations; the others are counted.
    #[must_use]
    pub fn at_most(mut self, most: usize) -> Self {
        self.omitted += self.shown.len().saturating_sub(most);
        self.shown.truncate(most);
        self
    }

    /// Removes violations at places that have a better explanation already.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&Violation) -> bool) {
        self.shown.retain(keep);
    }

    /// Returns the violations of both.
    #[must_use]
    pub(crate) fn and(self, more: Self) -> Self {
        let (omitted, uncounted) = (self.omitted + more.omitted, self.uncounted || more.uncounted);
        let both = Self::first_of(self.shown.into_iter().chain(more.shown), uncounted);
        Self { omitted: both.omitted + omitted, ..both }
    }

    /// Sorts the shown violations by their places in this document.
    #[must_use]
    pub(crate) fn in_document_order(mut self, value: &Value) -> Self {
        let places: Vec<_> = self.shown.iter().map(|it| it.pointer.clone()).collect();
        let ordered = in_document_order(&places, value);
        let mut shown: Vec<_> = self.shown.into_iter().map(Some).collect();
        self.shown = ordered.into_iter().filter_map(|it| shown.get_mut(it)?.take()).collect();
        self.shown.dedup_by(|a, b| a.pointer == b.pointer && a.code == b.code);
        self
    }

    /// Changes each of the shown violations.
    #[must_use]
    pub(crate) fn map(self, change: impl FnMut(Violation) -> Violation) -> Self {
        Self { shown: self.shown.into_iter().map(change).map(Violation::bounded).collect(), ..self }
    }

    /// Returns the violations as sentences, with their hints: as many as fit into 4 KiB, and the number of the others.
    #[must_use]
    pub fn sentences(&self) -> String {
        let mut text = String::new();
        let mut said = 0;
        for it in &self.shown {
            // Senders such as the n8n editor show nothing but these sentences. Some messages contain their hint already.
            let hint = it.hint.as_deref().filter(|hint| !it.message.contains(hint)).unwrap_or_default();
            if said > 0 && text.len() + it.message.len() + hint.len() > SENTENCES {
                break;
            }
            text.push_str(if said > 0 { ". " } else { "" });
            text.push_str(&it.message);
            text.push_str(if hint.is_empty() { "" } else { "; " });
            text.push_str(hint);
            said += 1;
        }
        let rest = self.shown.len() - said + self.omitted;
        match (rest, self.uncounted) {
            (0, false) => {}
            (0, true) => text.push_str(". There may be more that were not counted"),
            (rest, false) => text.push_str(&format!(". And {rest} more")),
            (rest, true) => text.push_str(&format!(". And more than {rest} others")),
        }
        text
    }
}

impl Violation {
    /// Truncates long parts: a name can have a megabyte, and a schema's list ten thousand entries.
    fn bounded(mut self) -> Self {
        if let Some(hint) = self.hint.take() {
            self.hint = Some(cut_at(&hint, 256));
        }
        for (text, most) in [(&mut self.pointer, 256), (&mut self.expected, 256), (&mut self.message, 512)] {
            if text.len() > most {
                *text = cut_at(text, most);
            }
        }
        self
    }
}

impl From<Vec<Violation>> for Violations {
    fn from(all: Vec<Violation>) -> Self {
        Self::first_of(all, false)
    }
}

impl From<Violation> for Violations {
    fn from(one: Violation) -> Self {
        Self::first_of([one], false)
    }
}

impl Deref for Violations {
    type Target = [Violation];

    fn deref(&self) -> &[Violation] {
        &self.shown
    }
}
