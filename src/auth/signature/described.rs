//! An HMAC as plugin.toml describes it (`scheme = "hmac-sha256"`), without a sender file.

use super::TOLERANCE;
use super::hmac::{Algorithm, SignatureEncoding};
use super::proof::{Clock, ClockPlace, KeyFormat, Notation, Proof, ProofKind, SignaturePlace, TimeUnit};
use super::source::ValueSource;
use super::text::{Piece, split};

/// A scheme as described in plugin.toml.
#[derive(Debug, Clone)]
pub struct Described<'a> {
    /// Header with the signature.
    pub header: &'a str,
    /// Prefix of the signature.
    pub prefix: &'a str,
    /// Encoding of the signature.
    pub encoding: SignatureEncoding,
    /// Hash function.
    pub algorithm: Algorithm,
    /// Header with the time of signing, in Unix seconds or milliseconds.
    pub timestamp_header: Option<&'a str>,
    /// Header with the delivery's id.
    pub id_header: Option<&'a str>,
    /// The signed text, such as `{timestamp}.{body}`.
    pub payload: &'a str,
}

impl Proof {
    /// Creates a proof from a description in plugin.toml.
    ///
    /// # Errors
    /// Fails if the body, or a time that is checked, would not be signed.
    pub fn described(it: &Described<'_>) -> Result<Self, String> {
        let text = pieces(it.payload).map_err(|cause| format!("payload: {cause}"))?;
        let (clock, id) = (text.contains(&Piece::Time), text.contains(&Piece::Id));
        if !text.contains(&Piece::Body) {
            return Err("payload: must contain {body}, or anybody could change it".into());
        }
        match (clock, it.timestamp_header) {
            (true, None) => return Err("payload: {timestamp} needs a timestamp_header".into()),
            (false, Some(_)) => {
                return Err("payload: must contain {timestamp}, or anybody could change the time".into());
            }
            _ if id != it.id_header.is_some() => return Err("payload: use {id} and id_header together".into()),
            _ => {}
        }
        let header = |name: &str| ValueSource::Header(name.to_ascii_lowercase());
        let clock = |name| Clock { place: ClockPlace::In(header(name)), unit: TimeUnit::Unix, tolerance: TOLERANCE };
        Ok(Self {
            name: "hmac".into(),
            kind: ProofKind::Hmac(it.algorithm),
            at: SignaturePlace { source: header(it.header), written: Notation::Whole { prefix: it.prefix.to_owned() } },
            encoding: it.encoding,
            time: it.timestamp_header.map(clock),
            id: it.id_header.map(header),
            text,
            body_hash: None,
            absent: Vec::new(),
            key: KeyFormat::default(),
            keys_from: None,
        })
    }
}

fn pieces(template: &str) -> Result<Vec<Piece>, String> {
    split(template, Piece::Text, |name| match name {
        "timestamp" => Ok(Piece::Time),
        "id" => Ok(Piece::Id),
        "body" => Ok(Piece::Body),
        other => Err(format!("{{{other}}} is not known; use {{timestamp}}, {{id}} and {{body}}")),
    })
}
