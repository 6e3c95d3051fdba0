//! `Idempotency-Key`: a repeated POST takes effect once, and gets the first response.

use chrono::{DateTime, Utc};
use warp::http::StatusCode;

use super::answer::Answer;
use super::call::Call;
use super::key_conflict::KeyConflict;
use super::problem::Problem;
use super::request_headers::IdempotencyKey;
use crate::metrics::http::HTTP;
use crate::model::company::CompanyId;
use crate::model::ids::EventId;
use crate::model::time::now;
use crate::pipeline;
use crate::pipeline::{Receipt, Superseded};
use crate::store::{FirstAnswer, Idempotency, IdempotencyId, StoreError};

/// A handler's response, or the problem.
pub(super) type Telling<T> = Result<Answer<T>, Problem>;

/// A response, created before the commit.
pub(super) struct Told<A> {
    /// For the sender.
    pub(super) answer: A,
    /// For repetitions of the request; stored in the same commit.
    pub(super) remembered: Option<Idempotency>,
}

/// A request that may be a repetition.
pub(super) struct Once {
    key: Option<OnceKey>,
    /// Status of the response to a repetition, if not that of the first response.
    again: Option<StatusCode>,
}

/// What identifies a request.
struct OnceKey {
    /// The `Idempotency-Key`; `None` for a delivery with its own id, whose body may differ a little when it is repeated.
    text: Option<String>,
    id: IdempotencyId,
    fingerprint: [u8; 16],
    at: DateTime<Utc>,
    /// The id that hookmill 0.1 used, which does not name the company, and the company whose response counts.
    before: Option<(IdempotencyId, CompanyId)>,
}

impl Once {
    /// A request with this key. The key names one request per `sender` and `route`.
    pub(super) fn of(
        IdempotencyKey(text): IdempotencyKey,
        company: Option<&CompanyId>,
        sender: &str,
        route: &str,
        body: &[u8],
    ) -> Self {
        let key = text.map(|text| OnceKey {
            id: IdempotencyId::of(company, sender, route, &text),
            text: Some(text),
            fingerprint: FirstAnswer::fingerprint(body),
            at: now(),
            before: None,
        });
        Self { key, again: None }
    }

    /// A delivery with its own id. `at` is the time of receipt.
    pub(super) fn delivery(id: IdempotencyId, body: &[u8], at: DateTime<Utc>) -> Self {
        let key = OnceKey { text: None, id, fingerprint: FirstAnswer::fingerprint(body), at, before: None };
        Self { key: Some(key), again: None }
    }

    /// What to remember of a quarantined delivery, so that its next copy is an attempt of the same event.
    pub(super) fn refusal(&self, event: EventId, body: &[u8]) -> Option<Idempotency> {
        self.key.as_ref().map(|it| pipeline::refusal(it.id.clone(), event, body, it.at))
    }

    /// Whether it has the body of this earlier request.
    pub(super) fn is_copy_of(&self, first: &FirstAnswer) -> bool {
        self.key.as_ref().is_some_and(|it| it.fingerprint == first.fingerprint)
    }

    /// The response, and what to remember of it. A delivery that created nothing is not remembered: another message may have
    /// the same id, such as the booking and the cancellation of one appointment.
    pub(super) fn tell_receipt<T>(&self, receipt: &Receipt, answer: Telling<T>) -> Told<Telling<T>> {
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

    /// The first response, if this request is a repetition.
    pub(super) async fn before<T>(&self, call: &Call) -> Result<Option<Answer<T>>, Problem> {
        self.first(call).await?.map(|first| self.repeated(first)).transpose()
    }

    /// The stored first response, if this request is a repetition.
    pub(super) async fn first(&self, call: &Call) -> Result<Option<FirstAnswer>, Problem> {
        Ok(self.stored(call).await?)
    }

    /// Like [`Self::first`], for a request whose commit detects repetitions.
    pub(super) async fn stored(&self, call: &Call) -> Result<Option<FirstAnswer>, StoreError> {
        let Some(key) = &self.key else { return Ok(None) };
        let first = call.app.store.first_answer(key.id.clone(), key.at).await?;
        let (None, Some((id, company))) = (&first, &key.before) else { return Ok(first) };
        let Some(first) = call.app.store.first_answer(id.clone(), key.at).await? else { return Ok(None) };
        let Some(event) = first.event_id else { return Ok(None) };
        Ok(call.app.store.event(company, event).await?.map(|_| first))
    }

    /// Another id that it may be remembered by; only a response to this company counts.
    pub(super) fn known_before_as(mut self, id: Option<IdempotencyId>, company: &CompanyId) -> Self {
        if let Some(key) = &mut self.key {
            key.before = id.map(|id| (id, company.clone()));
        }
        self
    }

    /// Its id.
    pub(super) fn id(&self) -> Option<IdempotencyId> {
        self.key.as_ref().map(|it| it.id.clone())
    }

    /// The response, and what to remember of it.
    pub(super) fn tell<T>(&self, answer: Telling<T>) -> Told<Telling<T>> {
        let remembered = answer.as_ref().ok().and_then(|answer| self.remember(answer));
        Told { answer, remembered }
    }

    /// What is stored together with what the request does.
    pub(super) fn remember<T>(&self, answer: &Answer<T>) -> Option<Idempotency> {
        let key = self.key.as_ref()?;
        Some(Idempotency { id: key.id.clone(), answer: answer.first(key.fingerprint, key.at) })
    }

    /// The request's response, or that of an equal request that was stored first.
    pub(super) fn ended<T>(&self, answer: Telling<T>, superseded: Option<Superseded>) -> Telling<T> {
        superseded.map_or(answer, |it| self.superseded(it))
    }

    /// The response to a request that stored nothing.
    pub(super) fn superseded<T>(&self, superseded: Superseded) -> Telling<T> {
        match superseded {
            Superseded::Before(first) => self.repeated(first),
            Superseded::Erased => Err(Problem::Erased),
        }
    }

    /// The first response again; a conflict if the key was used for another request.
    pub(super) fn repeated<T>(&self, first: FirstAnswer) -> Telling<T> {
        let Some(key) = &self.key else { return Err(Problem::Internal) };
        if let Some(text) = key.text.as_ref().filter(|_| first.fingerprint != key.fingerprint) {
            return Err(Problem::IdempotencyConflict(Box::new(KeyConflict::with(text, &first))));
        }
        HTTP.repeated.count();
        let answer = Answer::again(first)?.with("idempotent-replayed", "true");
        Ok(match self.again {
            Some(status) => answer.status(status),
            None => answer,
        })
    }
}
