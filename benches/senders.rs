//! What it costs to verify a delivery of 2 KB, for each scheme: `cargo bench --bench senders`.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use chrono::Utc;
use criterion::{Criterion, criterion_group, criterion_main};
use ed25519_dalek::{Signer as _, SigningKey};
use hookmill::auth::sender::{Catalog, Chosen, Signable};
use hookmill::auth::signature::{Delivery, FetchedKeys, NamedKey, Proof, SenderSettings, Signature};
use hookmill::model::secret::Secret;
use hyper::header::{HeaderMap, HeaderName};
use ring::rand::SystemRandom;
use ring::signature as ring_signature;
use ring::signature::{EcdsaKeyPair, KeyPair as _, RsaKeyPair};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

const RSA_KEY: &str = include_str!("../tests/senders/rsa-test-key.pem");
const RSA_CERTIFICATE: &str = include_str!("../tests/senders/rsa-test-certificate.pem");
const SECRET: &str = "a secret of 32 bytes, not random";

/// A delivery that passes.
struct Case {
    name: &'static str,
    signature: Signature,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    fetched: FetchedKeys,
}

fn proofs(sender: &str) -> Vec<Arc<Proof>> {
    match Catalog::default().get(sender).unwrap().choose(None, false).unwrap() {
        Chosen::Checked(proofs) => proofs,
        other => panic!("{sender}: {other:?}"),
    }
}

fn body() -> Vec<u8> {
    format!(r#"{{"id":"evt_1","padding":"{}"}}"#, "x".repeat(2048 - 30)).into_bytes()
}

/// Signed by hookmill itself, as `hookmill sender sign` does.
fn signed(name: &'static str, sender: &'static str) -> Case {
    let form = sender == "twilio";
    let body =
        if form { format!("Body={}&From=%2B15550100&To=%2B15550101", "x".repeat(2000)).into_bytes() } else { body() };
    let content_type = if form { "application/x-www-form-urlencoded" } else { "application/json" };
    let settings = SenderSettings { url: "https://hooks.example.com/v1/hooks/x".into(), ..SenderSettings::default() };
    let secret = Secret::new(SECRET.into());
    let it = Signable {
        body: &body,
        content_type,
        secret: &secret,
        username: "",
        settings: &settings,
        at: Utc::now(),
        id: "d-1",
    };
    let file = Catalog::default().get(sender).unwrap();
    let request = file.sign(&file.choose(None, false).unwrap(), &it).unwrap();
    let mut headers: Vec<_> = request.headers.into_iter().map(|(name, value)| (&*name.leak(), value)).collect();
    headers.push(("content-type", content_type.into()));
    let signature = Signature::new(proofs(sender), settings, std::slice::from_ref(&secret)).unwrap();
    Case { name, signature, headers, body, fetched: FetchedKeys::default() }
}

fn with_key(name: &'static str, sender: &str, key: String, headers: Vec<(&'static str, String)>) -> Case {
    let signature = Signature::new(proofs(sender), SenderSettings::default(), &[Secret::new(key)]).unwrap();
    Case { name, signature, headers, body: body(), fetched: FetchedKeys::default() }
}

fn fetched(name: &'static str, sender: &str, keys: Vec<NamedKey>, headers: Vec<(&'static str, String)>) -> Case {
    let settings = SenderSettings { values: [("webhook_id".into(), "w".into())].into(), ..SenderSettings::default() };
    let proofs = proofs(sender);
    let from = proofs[0].keys_from().unwrap();
    let fetched = FetchedKeys(vec![(from, keys.into())]);
    let signature = Signature::new(proofs, settings, &[Secret::new(SECRET.into())]).unwrap();
    Case { name, signature, headers, body: body(), fetched }
}

fn cases() -> Vec<Case> {
    let (now, random) = (Utc::now().timestamp().to_string(), SystemRandom::new());
    let with_time = [now.as_bytes(), b"|", &body()].concat();
    let telnyx = SigningKey::from_bytes(&[7; 32]);
    let ed25519 = with_key(
        "ed25519: Telnyx",
        "telnyx",
        BASE64_STANDARD.encode(telnyx.verifying_key().to_bytes()),
        vec![
            ("telnyx-signature-ed25519", BASE64_STANDARD.encode(telnyx.sign(&with_time).to_bytes())),
            ("telnyx-timestamp", now.clone()),
        ],
    );
    let rsa = RsaKeyPair::from_der(
        &BASE64_STANDARD.decode(RSA_KEY.lines().filter(|it| !it.starts_with('-')).collect::<String>()).unwrap(),
    )
    .unwrap();
    let text = format!("id|{now}|w|{}", crc32fast::hash(&body()));
    let mut signature = vec![0; rsa.public().modulus_len()];
    rsa.sign(&ring_signature::RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
    let paypal = fetched(
        "RSA 2048: PayPal",
        "paypal",
        NamedKey::certificate(RSA_CERTIFICATE, Utc::now()).unwrap(),
        vec![
            ("paypal-transmission-sig", BASE64_STANDARD.encode(signature)),
            ("paypal-transmission-id", "id".into()),
            ("paypal-transmission-time", now.clone()),
            ("paypal-cert-url", "https://api.paypal.com/c".into()),
        ],
    );
    vec![
        signed("HMAC-SHA256: GitHub", "github"),
        signed("HMAC-SHA256 with time: Stripe", "stripe"),
        signed("HMAC-SHA1: Intercom", "intercom"),
        signed("HMAC-SHA1 of URL and form: Twilio", "twilio"),
        signed("HMAC-SHA512: Paystack", "paystack"),
        signed("token: RingCentral", "ringcentral"),
        signed("JWT HS256 with a hash of the body: LiveKit", "livekit"),
        ed25519,
        ecdsa(&now, &random),
        paypal,
        plaid(&random),
    ]
}

fn pair(algorithm: &'static ring_signature::EcdsaSigningAlgorithm, random: &SystemRandom) -> EcdsaKeyPair {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), random).unwrap()
}

fn ecdsa(now: &str, random: &SystemRandom) -> Case {
    let pair = pair(&ring_signature::ECDSA_P256_SHA256_ASN1_SIGNING, random);
    // SubjectPublicKeyInfo of a point on P-256 (RFC 5480).
    let head = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let key = BASE64_STANDARD.encode([&head[..], pair.public_key().as_ref()].concat());
    let text = [now.as_bytes(), &body()].concat();
    let signature = BASE64_STANDARD.encode(pair.sign(random, &text).unwrap());
    let headers = vec![
        ("x-twilio-email-event-webhook-signature", signature),
        ("x-twilio-email-event-webhook-timestamp", now.to_owned()),
    ];
    with_key("ECDSA P-256: SendGrid", "sendgrid", key, headers)
}

fn plaid(random: &SystemRandom) -> Case {
    let pair = pair(&ring_signature::ECDSA_P256_SHA256_FIXED_SIGNING, random);
    let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let hash: String = Sha256::digest(body()).iter().map(|it| format!("{it:02x}")).collect();
    let claims = serde_json::json!({"iat": Utc::now().timestamp(), "request_body_sha256": hash});
    let head = serde_json::json!({"alg": "ES256", "kid": "k"});
    let signed = format!("{}.{}", text(head.to_string().as_bytes()), text(claims.to_string().as_bytes()));
    let token = format!("{signed}.{}", text(pair.sign(random, signed.as_bytes()).unwrap().as_ref()));
    let point = pair.public_key().as_ref();
    let jwk =
        serde_json::json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": text(&point[1..33]), "y": text(&point[33..])});
    fetched(
        "JWT ES256 with a hash of the body: Plaid",
        "plaid",
        NamedKey::set(&jwk).unwrap(),
        vec![("plaid-verification", token)],
    )
}

fn schemes(c: &mut Criterion) {
    for case in cases() {
        let mut headers = HeaderMap::new();
        for (name, value) in &case.headers {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let delivery =
            Delivery { method: "POST", path: "/v1/hooks/x", headers: &headers, query: "", received_at: Utc::now() };
        let check = || {
            let claim = case.signature.claim(black_box(&delivery)).unwrap();
            case.signature.check(&claim, &case.body, &case.fetched).unwrap()
        };
        c.bench_function(case.name, |b| b.iter(check));
    }
}

criterion_group! { name = benches; config = Criterion::default().sample_size(30); targets = schemes }
criterion_main!(benches);
