//! A sender, as its file describes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::answer_table::AnswerTable;
use super::file::{BodyTable, SenderTable, SetupTable, VectorTable};
use super::handshake::Handshake;
use crate::auth::signature::proof::ProofKind;
use crate::auth::signature::text::Piece;
use crate::auth::signature::{KeysFrom, Proof, ValueSource};

/// A sender, as its file describes it.
#[derive(Debug)]
pub struct Sender {
    /// Name of the file.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// Kind of the sender, such as `fax`.
    pub group: String,
    /// Page of its documentation that the file follows.
    pub docs: String,
    /// When that page was read.
    pub checked: String,
    /// Where to paste the URL, and where to find the secret.
    pub setup: SetupTable,
    /// Other secrets that plugin.toml must name, with what they are.
    pub secrets: BTreeMap<String, String>,
    /// SenderSettings that plugin.toml must have, with what they are.
    pub settings: BTreeMap<String, String>,
    /// The ways in which it proves its deliveries, by name.
    pub proofs: Vec<(String, DeclaredProof)>,
    /// Where the id of a delivery may be; the first one that a delivery has counts.
    pub ids: Vec<IdPlace>,
    /// For how many hours it retries.
    pub hours: u32,
    /// Headers that are kept and passed to the mapper, in lower case.
    pub headers: Vec<String>,
    /// How its bodies are read.
    pub body: BodyTable,
    /// What an empty body counts as.
    pub empty: Option<serde_json::Value>,
    /// What it is answered.
    pub answer: AnswerTable,
    /// Its questions.
    pub handshakes: Vec<Handshake>,
    pub(super) vectors: Vec<VectorTable>,
}

/// One way to prove deliveries.
#[derive(Debug, Clone)]
pub enum DeclaredProof {
    /// A signature or a token.
    Checked(Arc<Proof>),
    /// HTTP Basic authentication.
    Basic,
    /// A secret in the URL.
    UrlSecret,
    /// hookmill's own API keys.
    ApiKey,
}

/// Where an id is; several values are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdPlace(pub Vec<ValueSource>);

/// How far a delivery's content can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Only a secret in the URL, or a signature that does not cover the body.
    Weak,
    /// A key, token or password that the sender sends: it relies on TLS.
    Credential,
    /// A signature that covers the body.
    Signed,
}

/// The proofs that an integration uses.
#[derive(Debug, Clone)]
pub enum Chosen {
    /// Signatures and tokens, any of them.
    Checked(Vec<Arc<Proof>>),
    /// HTTP Basic authentication.
    Basic,
    /// A secret in the URL.
    UrlSecret,
    /// hookmill's own API keys.
    ApiKey,
}

/// Retry horizon of senders that document none, in hours.
const HOURS: u32 = 72;

impl Sender {
    pub(super) fn new(
        table: SenderTable,
        proofs: Vec<(String, DeclaredProof)>,
        ids: Vec<IdPlace>,
        handshakes: Vec<Handshake>,
    ) -> Result<Self, String> {
        let text = |(name, it): (String, serde_json::Value)| {
            let usual = match name.as_str() {
                "url" => "the address that is entered at the sender",
                "username" => "the user name that is entered at the sender",
                _ => "required",
            };
            let text = it.as_str().map_or_else(|| usual.to_owned(), str::to_owned);
            (name, text)
        };
        let sender = Self {
            name: table.name,
            title: table.title,
            group: table.group,
            docs: table.docs,
            checked: table.checked,
            setup: table.setup,
            secrets: table.secrets,
            settings: table.settings.into_iter().map(text).collect(),
            proofs,
            ids,
            hours: table.delivery.hours.unwrap_or(HOURS),
            headers: table.delivery.headers.iter().map(|it| it.to_ascii_lowercase()).collect(),
            empty: empty(table.body.empty.as_deref())?,
            body: table.body,
            answer: table.answer,
            handshakes,
            vectors: table.vector,
        };
        sender.settings_are_declared()?;
        Ok(sender)
    }

    fn settings_are_declared(&self) -> Result<(), String> {
        self.settings_are_used()?;
        for proof in self.checked() {
            for piece in proof.pieces() {
                match piece {
                    Piece::Setting(name) if !self.settings.contains_key(name) => {
                        return Err(format!("settings: \"{name}\" is used and not described"));
                    }
                    Piece::Url if !self.settings.contains_key("url") => {
                        return Err("settings: {url} needs url = true".into());
                    }
                    _ => {}
                }
            }
        }
        if self.proofs.iter().any(|(_, it)| matches!(it, DeclaredProof::Basic))
            && !self.settings.contains_key("username")
            && self.proofs.len() == 1
        {
            return Err("settings: basic needs username = true".into());
        }
        let named = self.handshakes.iter().filter_map(Handshake::secret);
        match named.into_iter().find(|it| !self.secrets.contains_key(*it)) {
            Some(name) => Err(format!("secrets: \"{name}\" is used and not described")),
            None => Ok(()),
        }
    }

    /// Nothing is asked of an admin that changes nothing.
    fn settings_are_used(&self) -> Result<(), String> {
        let checked = Chosen::Checked(self.checked().cloned().collect());
        let has_basic = self.proofs.iter().any(|(_, it)| matches!(it, DeclaredProof::Basic));
        let is_used = |name: &str| match name {
            "url" => checked.uses_url(),
            "username" => has_basic,
            name => checked.needs_setting(name),
        };
        if let Some(name) = self.settings.keys().find(|it| !is_used(it)) {
            return Err(format!("settings: \"{name}\" is described and not used; remove it"));
        }
        let named: Vec<_> = self.handshakes.iter().filter_map(Handshake::secret).collect();
        match self.secrets.keys().find(|it| !named.contains(&it.as_str())) {
            Some(name) => Err(format!("secrets: \"{name}\" is described and not used; remove it")),
            None => Ok(()),
        }
    }

    pub(super) fn checked(&self) -> impl Iterator<Item = &Arc<Proof>> {
        self.proofs.iter().filter_map(|(_, it)| if let DeclaredProof::Checked(proof) = it { Some(proof) } else { None })
    }

    /// Returns the proofs that an integration uses: the one with this name, or else Basic authentication if there is a
    /// user name, or else all signatures and tokens, or else the first one.
    ///
    /// # Errors
    /// There is no proof with this name.
    pub fn choose(&self, name: Option<&str>, has_username: bool) -> Result<Chosen, String> {
        let chosen = |it: &DeclaredProof| match it {
            DeclaredProof::Checked(proof) => Chosen::Checked(vec![Arc::clone(proof)]),
            DeclaredProof::Basic => Chosen::Basic,
            DeclaredProof::UrlSecret => Chosen::UrlSecret,
            DeclaredProof::ApiKey => Chosen::ApiKey,
        };
        if let Some(name) = name {
            let found = self.proofs.iter().find(|(it, _)| it == name);
            return found.map(|(_, it)| chosen(it)).ok_or_else(|| {
                let names: Vec<_> = self.proofs.iter().map(|(it, _)| it.as_str()).collect();
                format!("proof: {} has {}", self.name, names.join(", "))
            });
        }
        let has_basic = self.proofs.iter().any(|(_, it)| matches!(it, DeclaredProof::Basic));
        if has_username && has_basic {
            return Ok(Chosen::Basic);
        }
        let checked: Vec<_> = self.checked().cloned().collect();
        match self.proofs.first() {
            _ if !checked.is_empty() => Ok(Chosen::Checked(checked)),
            Some((_, first)) => Ok(chosen(first)),
            None => Err("proof: there is none".into()),
        }
    }

    /// Returns how far the content of its deliveries can be trusted, with the proofs that an integration uses if it names none.
    #[must_use]
    pub fn usual_trust(&self) -> Trust {
        self.choose(None, false).map_or(Trust::Weak, |it| self.trust(&it))
    }

    /// Returns how far the content of deliveries with these proofs can be trusted.
    #[must_use]
    pub fn trust(&self, chosen: &Chosen) -> Trust {
        match chosen {
            Chosen::UrlSecret => Trust::Weak,
            Chosen::Basic | Chosen::ApiKey => Trust::Credential,
            Chosen::Checked(proofs) => proofs.iter().map(|it| self.trust_in(it)).min().unwrap_or(Trust::Weak),
        }
    }

    fn trust_in(&self, proof: &Proof) -> Trust {
        match proof.kind {
            ProofKind::Token => Trust::Credential,
            // A token that was made for this delivery or receiver, but says nothing about the body.
            ProofKind::Jwt { .. } if !proof.covers_body() => Trust::Credential,
            _ if proof.covers_body() || self.body.signed_only => Trust::Signed,
            _ => Trust::Weak,
        }
    }

    /// Returns the JSON Pointers of the members that every one of these proofs signs, if only those reach the mapper.
    #[must_use]
    pub fn signed_members(&self, chosen: &Chosen) -> Option<Vec<String>> {
        let Chosen::Checked(proofs) = chosen else { return None };
        if !self.body.signed_only {
            return None;
        }
        let of = |proof: &Arc<Proof>| -> Vec<String> {
            let body = |it: &Piece| {
                if let Piece::From(ValueSource::Body(pointer)) = it { Some(pointer.clone()) } else { None }
            };
            proof.pieces().filter_map(body).collect()
        };
        let mut all: Vec<String> = proofs.iter().flat_map(of).collect();
        all.sort();
        all.dedup();
        Some(all)
    }
}

fn empty(text: Option<&str>) -> Result<Option<serde_json::Value>, String> {
    let parsed = text.map(serde_json::from_str::<serde_json::Value>).transpose();
    match parsed {
        Ok(None) => Ok(None),
        Ok(Some(value)) if value.is_object() => Ok(Some(value)),
        _ => Err("body.empty: must be a JSON object, such as \"{}\"".into()),
    }
}

impl Trust {
    /// Returns the trust in proofs that no sender file describes.
    #[must_use]
    pub fn of(chosen: &Chosen) -> Self {
        match chosen {
            Chosen::UrlSecret => Self::Weak,
            Chosen::Basic | Chosen::ApiKey => Self::Credential,
            Chosen::Checked(_) => Self::Signed,
        }
    }
}

impl Chosen {
    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        let proofs = if let Self::Checked(proofs) = self { proofs.as_slice() } else { &[] };
        proofs.iter().flat_map(|it| it.pieces())
    }

    /// Returns the JSON Pointers of static tokens in the body.
    pub fn tokens_in_body(&self) -> impl Iterator<Item = String> {
        let proofs = if let Self::Checked(proofs) = self { proofs.as_slice() } else { &[] };
        proofs.iter().filter_map(|it| match (&it.kind, &it.at.source) {
            (ProofKind::Token, ValueSource::Body(pointer)) => Some(pointer.clone()),
            _ => None,
        })
    }

    /// Returns whether it is a signature, whatever that covers.
    #[must_use]
    pub fn signs(&self) -> bool {
        matches!(self, Self::Checked(proofs) if proofs.iter().any(|it| it.kind != ProofKind::Token))
    }

    /// Returns whether the URL is signed.
    #[must_use]
    pub fn needs_url(&self) -> bool {
        self.pieces().any(|it| *it == Piece::Url)
    }

    /// Returns whether the URL is signed, or its path.
    #[must_use]
    pub fn uses_url(&self) -> bool {
        self.pieces().any(|it| matches!(it, Piece::Url | Piece::Path))
    }

    /// Returns whether the time of signing is checked.
    #[must_use]
    pub fn uses_time(&self) -> bool {
        let proofs = if let Self::Checked(proofs) = self { proofs.as_slice() } else { &[] };
        proofs.iter().any(|it| it.time.is_some())
    }

    /// Returns whether a proof contains this setting, or where its keys are from does.
    #[must_use]
    pub fn needs_setting(&self, name: &str) -> bool {
        let proofs = if let Self::Checked(proofs) = self { proofs.as_slice() } else { &[] };
        let sends = |it: &Arc<Proof>| match it.keys_from.as_deref() {
            Some(KeysFrom::Post { send, .. }) => send.iter().any(|(_, it)| it.contains(&format!("{{setting:{name}}}"))),
            _ => false,
        };
        self.pieces().any(|it| matches!(it, Piece::Setting(used) if used == name)) || proofs.iter().any(sends)
    }

    /// Returns whether there must be a secret: not where keys are fetched.
    #[must_use]
    pub fn needs_secret(&self) -> bool {
        match self {
            Self::ApiKey => false,
            Self::Basic | Self::UrlSecret => true,
            Self::Checked(proofs) => proofs
                .iter()
                .all(|it| !matches!(it.keys_from.as_deref(), Some(KeysFrom::Jwks(_) | KeysFrom::Certificate { .. }))),
        }
    }

    /// Returns the headers whose values are signed or name the delivery, in lower case; they are stored with the event.
    pub fn telling_headers(&self) -> impl Iterator<Item = String> {
        let proofs = if let Self::Checked(proofs) = self { proofs.as_slice() } else { &[] };
        proofs.iter().flat_map(|it| it.named_headers()).map(str::to_owned)
    }
}
