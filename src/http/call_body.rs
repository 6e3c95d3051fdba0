//! Reading a request's body: its limits of size and time, and the memory that it is charged to.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use super::call::{Call, Chunks, LARGE};
use super::problem::Problem;
use crate::format::payload;
use crate::limits::memory;
use crate::limits::memory::{Arriving, Payer};
use crate::model::company::CompanyId;

/// How long a large body waits for the memory to decode it.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

impl Call {
    /// Reads the whole body, within the limits of size and time.
    pub(super) async fn body(&mut self) -> Result<Bytes, Problem> {
        let limit = self.app.config.limits.body_bytes;
        self.body_within(limit).await
    }

    /// Reads the whole body, for a route with another size limit.
    pub(super) async fn body_within(&mut self, limit: usize) -> Result<Bytes, Problem> {
        let announced = self.header("content-length").and_then(|text| text.parse::<u64>().ok());
        if announced.is_some_and(|length| length > limit as u64) {
            return Err(Problem::BodyTooLarge { limit });
        }
        if let Some(coding) =
            self.header("content-encoding").filter(|it| !it.trim().is_empty() && !it.eq_ignore_ascii_case("identity"))
        {
            return Err(Problem::ContentEncoding { got: coding.chars().take(64).collect() });
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
            self.weigh(&body).await?;
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
    pub(super) async fn proven(&mut self, company: &CompanyId, body: &Bytes) -> Result<(), Problem> {
        self.prove(company);
        self.take_place()?;
        if let Some(held) = &self.held {
            held.prove(&self.app.memory.bodies, Some(company.clone()), body.len()).map_err(Problem::NoRoom)?;
        }
        self.weigh(body).await
    }

    /// Waits for the memory to decode this body, and reserves some for the response: it may be as large, and a change that was
    /// made must be acknowledged.
    pub(super) async fn weigh(&mut self, body: &Bytes) -> Result<(), Problem> {
        if body.len() <= memory::SMALL {
            return Ok(());
        }
        let (wire, memory) = (&self.exchange.wire, &self.app.memory);
        let company = wire.company();
        let decoded = memory.decoded.charge_within(company.clone(), payload::weight(body), ROOM_TIMEOUT).await;
        self.decoded = Some(decoded.ok_or(Problem::NoRoom(memory::DECODED))?);
        if body.len() > LARGE {
            // A replay is weighed twice: its body, and the event.
            drop(wire.take_reserved());
            let response = memory.responses.charge(company, body.len());
            wire.reserve(response.ok_or(Problem::NoRoom(memory::RESPONSES))?);
        }
        Ok(())
    }
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
