//! The feed of a company's changes: what it gives, and how far a client has read it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::model::company::CompanyId;
use crate::model::task::Task;

/// Bytes of a cursor's checksum.
const CHECK: usize = 8;

/// What the feed gives after a cursor.
#[derive(Debug, Clone, PartialEq)]
pub enum ChangeFeed {
    /// The next changes.
    Page(FeedPage),
    /// The feed no longer has everything after this cursor: a deletion was purged, or the store was restored. The client must
    /// read everything again.
    Expired,
}

/// A part of the feed.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedPage {
    /// Each task at its last change, oldest change first; a deleted one has its `deleted_at`.
    pub tasks: Vec<Task>,
    /// Where the feed goes on. At the end of the feed it is the cursor that was given.
    pub next: FeedCursor,
    /// Whether there are changes after `next` now.
    pub has_more: bool,
}

/// A place in the feed. Opaque: only its backend knows what it means. It holds in the lineage of a store: across restarts,
/// rebuilt views, compaction and retention of events, until a deletion after it is purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedCursor(Box<[u8]>);

impl FeedCursor {
    /// What a backend must know to go on.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The same for the backend.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text for clients of this company.
    #[must_use]
    pub fn to_text(&self, company: &CompanyId) -> String {
        let check = check(company, &self.0);
        BASE64_URL_SAFE_NO_PAD.encode([&check[..], &self.0].concat())
    }

    /// Reads such a text.
    ///
    /// # Errors
    /// Where it is not a cursor of this company.
    pub fn parse(company: &CompanyId, text: &str) -> Result<Self, String> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        let parts = bytes.as_deref().and_then(|it| it.split_first_chunk::<CHECK>());
        match parts {
            Some((sum, rest)) if *sum == check(company, rest) => Ok(Self::new(rest)),
            _ => Err("is not a cursor of this list; send next_cursor as it was answered, or no cursor".into()),
        }
    }
}

/// Recognises a cursor of another company, and a text that is not a cursor. It is not a secret: a client that makes up a cursor sees changes of
/// its own company from another place on.
fn check(company: &CompanyId, bytes: &[u8]) -> [u8; CHECK] {
    let mut hasher = Sha256::new();
    hasher.update(b"hookmill change feed\0");
    hasher.update(company.as_str().as_bytes());
    hasher.update([0]);
    hasher.update(bytes);
    let sum: [u8; 32] = hasher.finalize().into();
    let mut check = [0; CHECK];
    check.copy_from_slice(&sum[..CHECK]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cursor of another company would show changes from a wrong place on, or all of them again.
    #[test]
    fn a_cursor_is_bound_to_its_company() {
        let [a, b] = ["a", "b"].map(|it| CompanyId::parse(it).unwrap());
        let cursor = FeedCursor::new(&[1, 2, 3]);
        let text = cursor.to_text(&a);
        assert_eq!(FeedCursor::parse(&a, &text), Ok(cursor));
        assert!(FeedCursor::parse(&b, &text).is_err());
        for wrong in ["", "x", "AAAA", &text[1..], &format!("{text}A"), &text.to_uppercase()] {
            assert!(FeedCursor::parse(&a, wrong).is_err(), "{wrong}");
        }
    }
}
