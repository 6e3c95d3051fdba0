//! `Idempotency-Key`: a POST that is sent again does nothing again, and gets the first answer.

use chrono::{DateTime, Utc};
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call};
use crate::app::now;
use crate::auth::CompanyId;
use crate::event::EventId;
use crate::ingest::{self, Ended, Receipt, Told};
use crate::store::{FirstAnswer, Idempotency, IdempotencyId, StoreError};

/// Longest key, in characters.
const LONGEST: usize = 255;

/// What a handler has to tell, or why it cannot.
pub(super) type Telling = Result<Answer, Problem>;

/// One request, which may carry a key.
pub(super) struct Once {
    key: Option<Key>,
    /// What a repetition is answered with, where that is not the first status.
    again: Option<StatusCode>,
}

struct Key {
    /// What was sent as `Idempotency-Key`; none for a delivery, which may differ a little when it comes again.
    text: Option<String>,
    id: IdempotencyId,
    fingerprint: [u8; 16],
    at: DateTime<Utc>,
    /// What hookmill 0.1 knew it by, and whose answer counts: that id does not name the company.
    before: Option<(IdempotencyId, CompanyId)>,
}

impl Once {
    /// `sender` and `route` set the bounds within which a key names one request.
    pub(super) fn of(call: &Call, sender: &str, route: &str, body: &[u8]) -> Result<Self, Problem> {
        let Some(sent) = call.headers.get("idempotency-key") else { return Ok(Self { key: None, again: None }) };
        let fits = (1..=LONGEST).contains(&sent.len()) && sent.as_bytes().iter().all(u8::is_ascii_graphic);
        let Some(text) = sent.to_str().ok().filter(|_| fits) else {
            let said = format!("Idempotency-Key: 1 to {LONGEST} letters, digits and signs of ASCII, without spaces");
            return Err(Problem::Invalid(said));
        };
        let id = IdempotencyId::of(sender, route, text);
        let key = Key {
            text: Some(text.to_owned()),
            id,
            fingerprint: FirstAnswer::fingerprint(body),
            at: now(),
            before: None,
        };
        Ok(Self { key: Some(key), again: None })
    }

    /// A delivery that has an id of its own. `at` is when it was received.
    pub(super) fn delivery(id: IdempotencyId, body: &[u8], at: DateTime<Utc>) -> Self {
        let key = Key { text: None, id, fingerprint: FirstAnswer::fingerprint(body), at, before: None };
        Self { key: Some(key), again: None }
    }

    /// What to remember of a delivery that is quarantined: its next copy is an attempt of the same event.
    pub(super) fn refusal(&self, event: EventId, body: &[u8]) -> Option<Idempotency> {
        self.key.as_ref().map(|it| ingest::refusal(it.id, event, body, it.at))
    }

    /// Whether it has the body of this earlier request.
    pub(super) fn is_copy_of(&self, first: &FirstAnswer) -> bool {
        self.key.as_ref().is_some_and(|it| it.fingerprint == first.fingerprint)
    }

    /// An answer, and what is to be remembered of it. A delivery that made nothing is not remembered: another message may
    /// have the same id, such as the booking and the cancellation of one appointment.
    pub(super) fn tell_receipt(&self, receipt: &Receipt, answer: Telling) -> Told<Telling> {
        let told = self.tell(answer);
        let is_delivery = self.key.as_ref().is_some_and(|it| it.text.is_none());
        match receipt {
            Receipt::Skipped { .. } if is_delivery => Told { remembered: None, ..told },
            _ => told,
        }
    }

    /// Repetitions get this status.
    pub(super) fn answered_again_with(self, status: StatusCode) -> Self {
        Self { again: Some(status), ..self }
    }

    /// The answer, where this request is a repetition.
    pub(super) async fn before(&self, call: &Call) -> Result<Option<Answer>, Problem> {
        self.first(call).await?.map(|first| self.repeated(first)).transpose()
    }

    /// What was answered first, where this request is a repetition.
    pub(super) async fn first(&self, call: &Call) -> Result<Option<FirstAnswer>, Problem> {
        Ok(self.stored(call).await?)
    }

    /// The same, for a request whose commit tells repetitions.
    pub(super) async fn stored(&self, call: &Call) -> Result<Option<FirstAnswer>, StoreError> {
        let Some(key) = &self.key else { return Ok(None) };
        let first = call.app.store.first_answer(key.id, key.at).await?;
        let (None, Some((id, company))) = (&first, &key.before) else { return Ok(first) };
        let Some(first) = call.app.store.first_answer(*id, key.at).await? else { return Ok(None) };
        let Some(event) = first.event_id() else { return Ok(None) };
        Ok(call.app.store.event(company, event).await?.map(|_| first))
    }

    /// What it may be remembered by as well; only an answer to this company counts.
    pub(super) fn known_before_as(mut self, id: Option<IdempotencyId>, company: &CompanyId) -> Self {
        if let Some(key) = &mut self.key {
            key.before = id.map(|id| (id, company.clone()));
        }
        self
    }

    /// What it is known by.
    pub(super) fn id(&self) -> Option<IdempotencyId> {
        self.key.as_ref().map(|it| it.id)
    }

    /// An answer, and what is to be remembered of it.
    pub(super) fn tell(&self, answer: Telling) -> Told<Telling> {
        let remembered = answer.as_ref().ok().and_then(|answer| self.remember(answer));
        Told { answer, remembered }
    }

    /// What is stored together with what the request does.
    pub(super) fn remember(&self, answer: &Answer) -> Option<Idempotency> {
        let key = self.key.as_ref()?;
        Some(Idempotency { id: key.id, answer: answer.first(key.fingerprint, key.at) })
    }

    /// The end of the request: its own answer, or that of an equal one that was quicker.
    pub(super) fn ended(&self, ended: Ended<Telling>) -> Telling {
        match ended {
            Ended::Now(answer) => answer,
            Ended::Before(first) => self.repeated(first),
            Ended::Erased => Err(Problem::Erased),
        }
    }

    /// The first answer, once more; a conflict where the request is another one under the same key.
    pub(super) fn repeated(&self, first: FirstAnswer) -> Telling {
        let Some(key) = &self.key else { return Err(Problem::Internal) };
        if let Some(text) = key.text.as_ref().filter(|_| first.fingerprint != key.fingerprint) {
            return Err(Problem::IdempotencyConflict { key: text.clone() });
        }
        let answer = Answer::again(first)?.with("idempotent-replayed", "true");
        Ok(match self.again {
            Some(status) => answer.status(status),
            None => answer,
        })
    }
}
