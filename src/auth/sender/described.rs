//! What a sender's file says, in words.

use serde_json::Value;

use super::description::{Sender, Trust};

/// Returns how far the content of its deliveries can be trusted, in a word.
#[must_use]
pub fn trust_of(sender: &Sender) -> &'static str {
    match sender.usual_trust() {
        Trust::Signed => "signed",
        Trust::Credential => "credential",
        Trust::Weak => "weak",
    }
}

/// Returns a source of the file, such as `the header x-signature`.
#[must_use]
pub fn source(it: &Value) -> String {
    let text = |name: &str| it[name].as_str();
    match (text("header"), text("query"), text("body"), text("claim")) {
        (Some(name), ..) => format!("the header {name}"),
        (_, Some(name), ..) => format!("the parameter {name} of the URL"),
        (_, _, Some(""), _) => "the body".to_owned(),
        (_, _, Some(pointer), _) => format!("{pointer} in the body"),
        (.., Some(pointer)) => format!("the claim {pointer}"),
        _ => "the token".to_owned(),
    }
}

/// Returns one proof in a sentence.
#[must_use]
pub fn proof(it: &Value) -> String {
    let text = |name: &str| it[name].as_str();
    let (kind, hash) = (text("kind").unwrap_or_default(), text("hash").unwrap_or("sha256"));
    let at = &it["at"];
    let place = || {
        let entry = at["take"].as_str().map(|it| format!(", entry {it}")).unwrap_or_default();
        let prefix = at["prefix"].as_str().map(|it| format!(" after \"{it}\"")).unwrap_or_default();
        format!("in {}{entry}{prefix}", source(at))
    };
    let signed = || format!("of `{}`", text("text").unwrap_or("{body}"));
    let encoding = text("encoding").unwrap_or("hex");
    let mut sentence = match kind {
        "hmac" => format!("HMAC ({hash}, {encoding}) {} {}", signed(), place()),
        "digest" => format!("a hash ({hash}, {encoding}) {} {}", signed(), place()),
        "ed25519" | "ecdsa-p256" | "rsa" => format!("a signature ({kind}) {} {}", signed(), place()),
        "jwt" => format!("a JSON Web Token ({}) {}", text("alg").unwrap_or_default(), place()),
        "token" => format!("a static token {}", place()),
        "basic" => "HTTP Basic authentication".to_owned(),
        "url-secret" => "a secret in the URL: /v1/hooks/NAME/SECRET".to_owned(),
        _ => "an API key of hookmill in X-API-Key".to_owned(),
    };
    if let Some(time) = it["time"].as_object() {
        let place = time.get("take").and_then(Value::as_str).map(|it| format!("entry {it}"));
        let place = place.unwrap_or_else(|| source(&it["time"]));
        let tolerance = time.get("tolerance_seconds").and_then(Value::as_u64).unwrap_or(300);
        sentence.push_str(&format!("; its time is in {place}, and may differ by {tolerance} s"));
    }
    if it["body_hash"].is_object() {
        sentence.push_str(&format!("; the body's digest is in {}", source(&it["body_hash"])));
    }
    for (member, what) in [("jwks", "keys"), ("jwk_post", "keys")] {
        if let Some(url) = it["keys"][member].as_str() {
            sentence.push_str(&format!("; its {what} are fetched from {url}"));
        }
    }
    if it["keys"]["certificate"].is_object() {
        sentence.push_str(&format!("; its certificate is at {}", source(&it["keys"]["certificate"])));
    }
    if it["body_unsigned"] == true {
        sentence.push_str("; it does not cover the body");
    }
    sentence
}

/// Returns one place of a delivery's id.
#[must_use]
pub fn id(it: &Value) -> String {
    match it.as_array() {
        Some(all) => all.iter().map(source).collect::<Vec<_>>().join(" with "),
        None => source(it),
    }
}

/// Returns what a sender is answered: a status and a body.
#[must_use]
pub fn answer(table: &Value) -> String {
    let status = table["status"].as_u64().map(|it| it.to_string());
    let body = match &table["body"] {
        Value::Null => None,
        Value::String(name) => Some(match name.as_str() {
            "event_id" => "the event's id".to_owned(),
            "none" => "no body".to_owned(),
            _ => "the task".to_owned(),
        }),
        template => Some(
            ["text", "xml"]
                .into_iter()
                .find_map(|it| template[it].as_str())
                .map_or_else(|| template["json"].to_string(), |it| format!("\"{it}\"")),
        ),
    };
    match (status, body) {
        (Some(status), Some(body)) => format!("{status}, {body}"),
        (Some(status), None) => status,
        (None, Some(body)) => body,
        (None, None) => "as hookmill answers".to_owned(),
    }
}

/// Returns how a question is recognised and proved.
#[must_use]
pub fn handshake(it: &Value) -> String {
    let when = &it["when"];
    let mut parts = vec![when["method"].as_str().unwrap_or("POST").to_owned()];
    for (member, what) in [("query", "parameter"), ("header", "header"), ("body", "body")] {
        let values = when[member].as_object().into_iter().flatten();
        parts.extend(values.map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{what} {name} = {value}")
        }));
    }
    parts.extend(when["has"].as_array().into_iter().flatten().map(source));
    if when["empty"] == true {
        parts.push("an empty body".to_owned());
    }
    let proof = match &it["proof"] {
        Value::String(name) if name == "signed" => "signed".to_owned(),
        Value::String(_) => "not authenticated, 10 a minute".to_owned(),
        place => {
            format!("{} must equal the secret \"{}\"", source(place), place["secret"].as_str().unwrap_or_default())
        }
    };
    let learns = if it["learn"].is_object() { "; it sets the secret: hookmill sender confirm" } else { "" };
    format!("{}; {proof}{learns}", parts.join(", "))
}
