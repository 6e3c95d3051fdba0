//! What is wrong with a value, bounded: nobody reads a million violations, and somebody would pay for them.

use std::ops::Deref;

use serde::Serialize;
use serde_json::Value;

use super::Violation;
use super::explain::cut_at;
use super::order::in_document_order;

/// Most violations that are reported of one value.
pub const MOST: usize = 100;
/// Most bytes of their sentences together, about.
const SENTENCES: usize = 4096;

/// One place where a value is not as it should be, or several: at most [`MOST`], and the count of the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Violations {
    shown: Vec<Violation>,
    omitted: usize,
    /// There may be more than were counted.
    uncounted: bool,
}

impl Violations {
    /// The first of these, and the count of the others. `uncounted`: there may be more that nobody has counted.
    #[must_use]
    pub fn first_of(all: impl IntoIterator<Item = Violation>, uncounted: bool) -> Self {
        let mut all = all.into_iter();
        let shown: Vec<_> = all.by_ref().take(MOST).map(Violation::bounded).collect();
        Self { shown, omitted: all.count(), uncounted }
    }

    /// These, out of so many.
    pub(super) fn counted(shown: Vec<Violation>, count: usize, uncounted: bool) -> Self {
        let omitted = count.saturating_sub(shown.len());
        Self { omitted, ..Self::first_of(shown, uncounted) }
    }

    /// How many are not shown. With [`Self::is_uncounted`], at least so many.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// Whether counting ended before the last one.
    #[must_use]
    pub fn is_uncounted(&self) -> bool {
        self.uncounted
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty() && self.omitted == 0 && !self.uncounted
    }

    /// Shows fewer of them; the others are counted.
    #[must_use]
    pub fn at_most(mut self, most: usize) -> Self {
        self.omitted += self.shown.len().saturating_sub(most);
        self.shown.truncate(most);
        self
    }

    /// Leaves out those at places that somebody else has said more of.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&Violation) -> bool) {
        self.shown.retain(keep);
    }

    /// Those of both.
    #[must_use]
    pub(crate) fn and(self, more: Self) -> Self {
        let (omitted, uncounted) = (self.omitted + more.omitted, self.uncounted || more.uncounted);
        let both = Self::first_of(self.shown.into_iter().chain(more.shown), uncounted);
        Self { omitted: both.omitted + omitted, ..both }
    }

    /// Those that are shown, as their places stand in this document.
    #[must_use]
    pub(crate) fn in_document_order(mut self, value: &Value) -> Self {
        let places: Vec<_> = self.shown.iter().map(|it| it.pointer.clone()).collect();
        let ordered = in_document_order(&places, value);
        let mut shown: Vec<_> = self.shown.into_iter().map(Some).collect();
        self.shown = ordered.into_iter().filter_map(|it| shown.get_mut(it)?.take()).collect();
        self.shown.dedup_by(|a, b| a.pointer == b.pointer && a.code == b.code);
        self
    }

    /// Changes each of those that are shown.
    #[must_use]
    pub(crate) fn map(self, change: impl FnMut(Violation) -> Violation) -> Self {
        Self { shown: self.shown.into_iter().map(change).map(Violation::bounded).collect(), ..self }
    }

    /// All of it as sentences for people: as many as fit into 4 KiB, and how many there are besides.
    #[must_use]
    pub fn sentences(&self) -> String {
        let mut text = String::new();
        let mut said = 0;
        for it in &self.shown {
            if said > 0 && text.len() + it.message.len() > SENTENCES {
                break;
            }
            text.push_str(if said > 0 { ". " } else { "" });
            text.push_str(&it.message);
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
    /// With no part longer than it may be: a place can have a name of a megabyte, and a schema a list of ten thousand.
    fn bounded(mut self) -> Self {
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
