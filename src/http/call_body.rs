//! Reading a request's body: its limits of size and time, and the memory that it is charged to.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use super::call::{Call, Chunks, LARGE};
use super::problem::Problem;
use crate::format::payload;
use crate::format::payload::{CODING_HEADER, Loosened};
use crate::integration::stop::Stop;
use crate::limits::memory;
use crate::limits::memory::{Arriving, Charge, Payer};
use crate::model::company::CompanyId;
use crate::model::event::{Event, RawEvent};
use crate::model::headers::Headers;
use crate::service::app::App;

/// How long a large body waits for the memory to decode it.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

impl Call {
    /// Reads the whole body, within the limits of size and time.
    pub(super) async fn body(&mut self) -> Result<Bytes, Problem> {
        let limit = self.app.config.limits.body_bytes;
        self.body_within(limit).await
    }

    /// Reads the whole body, and removes its content coding. For bodies that are not stored.
    pub(super) async fn plain_body(&mut self, limit: usize) -> Result<Bytes, Problem> {
        let body = self.body_within(limit).await?;
        let mut loosened = Loosened::default();
        let coding = self.header(CODING_HEADER);
        let plain = match payload::without_coding(coding, &body, limit, &mut loosened).map_err(Stop::Decode)? {
            Cow::Borrowed(_) => body.clone(),
            Cow::Owned(plain) => plain.into(),
        };
        loosened.iter().for_each(|it| self.loosened.add(it));
        Ok(plain)
    }

    /// Reads the whole body, for a route with another size limit.
    pub(super) async fn body_within(&mut self, limit: usize) -> Result<Bytes, Problem> {
        let announced = self.header("content-length").and_then(|text| text.parse::<u64>().ok());
        if announced.is_some_and(|length| length > limit as u64) {
            return Err(Problem::BodyTooLarge { limit });
        }
        let timeout = self.app.config.limits.body_timeout;
        let wire = Arc::clone(&self.exchange.wire);
        let payer = if wire.is_proven() { Payer::Company(wire.company()) } else { Payer::Stranger(self.peer()) };
        let mut arriving = Arriving::new(&self.app.memory, payer);
        wire.receive();
        let body = tokio::time::timeout(timeout, collect(&mut self.body, limit, &mut arriving)).await;
        wire.run();
        let body = body.map_err(|_| Problem::BodyTimeout { timeout })??;
        let (body, held) = arriving.whole(body);
        self.held = held;
        // A stranger's body takes a place after its proof is checked, which may wait for other proofs.
        if wire.is_proven() {
            self.take_place()?;
            self.weigh(&body, limit).await?;
        }
        Ok(body)
    }

    /// Resolves when the body is dropped in favour of other strangers' bodies.
    pub(super) fn given_up(&self) -> impl Future<Output = &'static str> + Send + 'static {
        let token = self.held.as_ref().and_then(|it| it.given_up());
        async move {
            match token {
                Some(token) => token.cancelled().await,
                None => std::future::pending().await,
            }
            memory::STRANGERS
        }
    }

    /// Marks the request as authenticated for this company, before the body.
    pub(super) fn prove(&self, company: &CompanyId) {
        self.exchange.wire.prove(Some(company));
    }

    /// Marks the request as authenticated for this company, by its body.
    pub(super) async fn proven(&mut self, company: &CompanyId, body: &Bytes, limit: usize) -> Result<(), Problem> {
        self.prove(company);
        self.take_place()?;
        if let Some(held) = &self.held {
            held.prove(&self.app.memory.bodies, Some(company.clone()), body.len()).map_err(Problem::NoRoom)?;
        }
        self.weigh(body, limit).await
    }

    /// Waits for the memory to decode this request's body, which may have a content coding.
    async fn weigh(&mut self, body: &Bytes, limit: usize) -> Result<(), Problem> {
        let (content_type, coding) = (self.content_type(), self.header(CODING_HEADER).map(str::to_owned));
        self.weigh_as(content_type, coding, body, limit).await
    }

    /// Waits for the memory to decode a stored event's body.
    pub(super) async fn weigh_event(&mut self, event: &Event, limit: usize) -> Result<(), Problem> {
        self.weigh_as(event.content_type.clone(), coding_of(&event.headers), &event.body, limit).await
    }

    /// Waits for the memory to decode a delivery's body.
    pub(super) async fn weigh_raw(&mut self, raw: &RawEvent, limit: usize) -> Result<(), Problem> {
        self.weigh_as(raw.content_type.clone(), coding_of(&raw.headers), &raw.body, limit).await
    }

    /// Waits for the memory to decode this body, and reserves some for the response: it may be as large, and a change that was
    /// made must be acknowledged.
    async fn weigh_as(
        &mut self,
        content_type: Option<String>,
        coding: Option<String>,
        body: &Bytes,
        limit: usize,
    ) -> Result<(), Problem> {
        let (wire, memory) = (&self.exchange.wire, &self.app.memory);
        let company = wire.company();
        let Some(charge) = charged(&self.app, company.clone(), content_type, coding, body, limit).await? else {
            return Ok(());
        };
        self.decoded = Some(charge);
        if body.len() > LARGE {
            // A replay is weighed twice: its body, and the event.
            drop(wire.take_reserved());
            let response = memory.responses.charge(company, body.len());
            wire.reserve(response.ok_or(Problem::NoRoom(memory::RESPONSES))?);
        }
        Ok(())
    }
}

/// Waits for the memory to decode a stored event's body in the background; none is needed for a small one.
pub(super) async fn charge_event(app: &App, event: &Event, limit: usize) -> Result<Option<Charge>, Problem> {
    let (company, coding) = (Some(event.company_id.clone()), coding_of(&event.headers));
    charged(app, company, event.content_type.clone(), coding, &event.body, limit).await
}

fn coding_of(headers: &Headers) -> Option<String> {
    headers.iter().find(|(name, _)| name == CODING_HEADER).map(|(_, value)| value.clone())
}

async fn charged(
    app: &App,
    company: Option<CompanyId>,
    content_type: Option<String>,
    coding: Option<String>,
    body: &Bytes,
    limit: usize,
) -> Result<Option<Charge>, Problem> {
    let charge = async |bytes| {
        let charge = app.memory.decoded.charge_within(company.clone(), bytes, ROOM_TIMEOUT).await;
        charge.ok_or(Problem::NoRoom(memory::DECODED))
    };
    let weight = if payload::is_coded(coding.as_deref()) {
        // What is in the body is not known before it is decompressed, off the reactor.
        let _content = charge(payload::most_content(body.len(), limit)).await?;
        let body = body.clone();
        let weigh = move || payload::weight_of(content_type.as_deref(), coding.as_deref(), &body, limit);
        tokio::task::spawn_blocking(weigh).await.map_err(|_| Problem::Internal)?
    } else if body.len() > memory::SMALL {
        payload::weight_of(content_type.as_deref(), None, body, limit)
    } else {
        return Ok(None);
    };
    charge(weight).await.map(Some)
}

/// Collects the body. A chunked body announces no length, so its size is checked as it arrives.
async fn collect(chunks: &mut Chunks, limit: usize, arriving: &mut Arriving<'_>) -> Result<Bytes, Problem> {
    let mut whole = BytesMut::new();
    let mut first = None;
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = chunks.next() => chunk,
            setting = arriving.given_up() => return Err(Problem::NoRoom(setting)),
        };
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|_| Problem::BodyBroken)?;
        if whole.len() + first.as_ref().map_or(0, Bytes::len) + chunk.len() > limit {
            return Err(Problem::BodyTooLarge { limit });
        }
        // Most bodies arrive in one piece, which needs no copy.
        match first.take() {
            None if whole.is_empty() => first = Some(chunk),
            None => whole.extend_from_slice(&chunk),
            Some(start) => {
                whole.extend_from_slice(&start);
                whole.extend_from_slice(&chunk);
            }
        }
        // The capacity, which may be twice the size.
        arriving.grow_to(first.as_ref().map_or(whole.capacity(), Bytes::len)).map_err(Problem::NoRoom)?;
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}
