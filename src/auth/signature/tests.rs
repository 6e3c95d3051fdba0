//! Test vectors: complete ones that a provider publishes, or else computed with Python's `hmac` from its published
//! rule.

use std::cell::Cell;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, TimeDelta};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::claim::VERIFICATIONS_MAX;
use super::delivery::{Delivery, Mismatch};
use super::described::Described;
use super::hmac::{Algorithm, SignatureEncoding};
use super::keys::FetchedKeys;
use super::proof::{Proof, SIGNATURES_MAX};
use super::text::SenderSettings;
use super::verify::Signature;
use crate::auth::sender::{Catalog, Chosen};
use crate::model::secret::Secret;

thread_local! {
    /// Number of HMACs and ed25519 verifications of this test.
    pub(super) static COMPUTED: Cell<usize> = const { Cell::new(0) };
}

/// Returns how many of them `work` computes.
fn computed<T>(work: impl FnOnce() -> T) -> (usize, T) {
    COMPUTED.with(|it| it.set(0));
    let result = work();
    (COMPUTED.with(Cell::get), result)
}

const BODY: &[u8] = br#"{"id":"evt_1","type":"ping"}"#;
const AT: i64 = 1_614_265_330;

/// A valid delivery, and the scheme that checks it.
struct Good {
    signature: Signature,
    headers: Vec<(&'static str, String)>,
    query: String,
    body: Vec<u8>,
    at: i64,
}

impl Good {
    fn new(signature: Signature, headers: &[(&'static str, &str)], body: &[u8]) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { signature, headers, query: String::new(), body: body.to_vec(), at: AT }
    }

    fn check(&self) -> Result<(), Mismatch> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let received_at = DateTime::from_timestamp(self.at, 0).unwrap();
        let delivery =
            Delivery { method: "POST", path: "/v1/hooks/x", headers: &headers, query: &self.query, received_at };
        let claim = self.signature.claim(&delivery)?;
        self.signature.check(&claim, &self.body, &FetchedKeys::default()).map(drop)
    }

    /// Checks that it passes as it is, and fails with any single change.
    fn stands_alone(mut self, name: &str) {
        assert_eq!(self.check(), Ok(()), "{name}");
        let timed = self.headers.iter().any(|(_, value)| value.contains(&AT.to_string()));
        for at in [AT + 301, AT - 301].into_iter().filter(|_| timed) {
            self.at = at;
            assert!(matches!(self.check(), Err(Mismatch::Time { seconds: 301, .. })), "{name} at {at}");
        }
        self.at = AT;
        for index in 0..self.headers.len() {
            let (header, value) = self.headers[index].clone();
            self.headers[index].1 = value.replacen(|it: char| it.is_ascii_digit(), "x", 64);
            assert!(self.check().is_err(), "{name}: another {header}");
            self.headers.remove(index);
            assert_eq!(self.check(), Err(Mismatch::Missing { header: header.into() }), "{name}");
            self.headers.insert(index, (header, value));
        }
        self.body[0] ^= 1;
        assert!(
            matches!(self.check(), Err(Mismatch::Wrong { .. } | Mismatch::BodyHash { .. })),
            "{name}: another body"
        );
    }
}

fn secrets(all: &[&str]) -> Vec<Secret> {
    all.iter().map(|it| Secret::new((*it).to_owned())).collect()
}

/// The proofs of a shipped sender file.
fn shipped(name: &str, secrets: &[Secret], settings: SenderSettings) -> Result<Signature, String> {
    let Chosen::Checked(proofs) = Catalog::default().get(name).unwrap().choose(None, false).unwrap() else { panic!() };
    Signature::new(proofs, settings, secrets)
}

fn preset(name: &str, secret: &str) -> Signature {
    shipped(name, &secrets(&["aW4gdXNlIHNvbWUgdGltZQ==", secret]), SenderSettings::default()).unwrap()
}

#[test]
fn github_s_own_example() {
    let signature = preset("github", "It's a Secret to Everybody");
    let value = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    Good::new(signature, &[("x-hub-signature-256", value)], b"Hello, World!").stands_alone("GitHub");
}

#[test]
fn slack_s_own_example() {
    let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let value = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    let headers = [("x-slack-signature", value), ("x-slack-request-timestamp", "1531420618")];
    let mut good = Good::new(preset("slack", "8f742231b10e8888abcd99yyyzzz85a5"), &headers, body);
    good.at = 1_531_420_618 + 299;
    assert_eq!(good.check(), Ok(()));
    good.at += 2;
    assert_eq!(good.check(), Err(Mismatch::Time { seconds: 301, when: "before", allowed: 300 }));
}

const WEBHOOK: &[u8] = br#"{"test": 2432232314}"#;

fn standard(secret: &str, signature: &str) -> Good {
    let headers = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", signature),
    ];
    Good::new(preset("standard-webhooks", secret), &headers, WEBHOOK)
}

#[test]
fn standard_webhooks_own_example() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    standard(secret, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=").stands_alone("Standard Webhooks");
    let rotated =
        "v1,AAAA9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v2,x v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    assert_eq!(standard(secret, rotated).check(), Ok(()));
    // The MAC is not an ed25519 signature, even if it is marked as one.
    assert!(standard(secret, "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=").check().is_err());
    let refused = shipped("standard-webhooks", &secrets(&["whsec_not base64"]), SenderSettings::default()).unwrap_err();
    assert_eq!(refused, "must be whsec_ and base64");
}

/// The key of RFC 8032, section 7.1, test 1; the signature by Python's `cryptography`.
#[test]
fn standard_webhooks_with_a_public_key() {
    let key = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let value = "v1a,fldxM4gAKugP6nnt1hdz3sgGfZ6d99nzrMFnZOELIxbzEHoVmAb2ADpkJK7zgPePmPsle0zV9jSeGlHFG2NVAw==";
    standard(key, value).stands_alone("Standard Webhooks v1a");
    assert!(standard(key, &value.replace("v1a", "v1")).check().is_err());
    let refused = |key: &str| shipped("standard-webhooks", &secrets(&[key]), SenderSettings::default()).unwrap_err();
    assert!(refused("whpk_AAAA").contains("32 bytes"));
    // The identity and a point of order 4: anyone can create signatures for these. The last one is not a point.
    for weak in
        ["whpk_AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "whpk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
    {
        assert!(refused(weak).contains("small order"), "{weak}");
    }
    assert!(refused("whpk_AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").contains("must be"));
}

/// An untrusted header must not cost an HMAC over the body for each of its entries.
#[test]
fn one_hmac_for_each_secret_is_computed_and_none_where_nothing_could_be_right() {
    let right = STRIPE;
    let good = |value: String| Good::new(preset("stripe", "whsec_test_secret"), &[("stripe-signature", &value)], BODY);
    let wrong = format!("v1={},", "0".repeat(64));
    // Two secrets.
    let several = good(format!("t={AT},{}v1={right}", wrong.repeat(SIGNATURES_MAX - 1)));
    assert_eq!(computed(|| several.check()), (2, Ok(())));
    let short = "v1=,v1=00,".repeat(1950);
    assert_eq!(computed(|| good(format!("t={AT},{short}v1={right}")).check()), (2, Ok(())), "the others do not count");
    let (none, refused) = computed(|| good(format!("t={AT},{short}")).check());
    assert!(none == 0 && matches!(refused, Err(Mismatch::Malformed { .. })), "{none}: {refused:?}");
    let not_hex = format!("t={AT},v1={}", "x".repeat(64));
    assert_eq!(computed(|| good(not_hex).check()).0, 0);
    let many = computed(|| good(format!("t={AT},{}v1={right}", wrong.repeat(SIGNATURES_MAX))).check());
    assert_eq!(many, (0, Err(Mismatch::TooMany { header: "stripe-signature".into(), most: SIGNATURES_MAX })));
    let (none, late) = computed(|| good(format!("t={},v1={right}", AT - 301)).check());
    assert!(none == 0 && matches!(late, Err(Mismatch::Time { .. })));
    let mut twilio = twilio("RSOYDt4T1cUTdK1PDd93/VVr8B8=", "foo=1&bar=2", b"a=b");
    assert_eq!(computed(|| twilio.check()).0, 2);
    twilio.headers[0].1 = "RSOYDt4T".into();
    assert_eq!(computed(|| twilio.check()).0, 0);
}

/// The estimate that decides where a claim is checked counts every byte that is hashed.
#[test]
fn the_cost_of_a_claim_is_what_checking_it_hashes() {
    let cost = |good: &Good, body: usize| {
        let mut headers = HeaderMap::new();
        for (name, value) in &good.headers {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let received_at = DateTime::from_timestamp(AT, 0).unwrap();
        let claim = good
            .signature
            .claim(&Delivery { method: "POST", path: "/", headers: &headers, query: "", received_at })
            .unwrap();
        good.signature.cost(&claim, body)
    };
    // Two secrets.
    let value = format!("t={AT},v1={STRIPE}");
    let stripe = Good::new(preset("stripe", "whsec_test_secret"), &[("stripe-signature", &value)], BODY);
    assert_eq!((cost(&stripe, 0), cost(&stripe, 1000)), (0, 2000));
    let public = shipped(
        "standard-webhooks",
        &secrets(&["whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]),
        SenderSettings::default(),
    );
    let word = format!("v1a,{} ", BASE64_STANDARD.encode([7; 64]));
    let headers = [("webhook-id", "msg"), ("webhook-timestamp", "1614265330"), ("webhook-signature", &word.repeat(3))];
    let public = Good::new(public.unwrap(), &headers, WEBHOOK);
    assert!(cost(&public, 1000) > 3000 && cost(&public, 0) > 64 * 1024);
}

#[test]
fn ed25519_verifications_of_one_delivery_are_few() {
    let keys =
        ["whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "whpk_PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="];
    let signature = shipped("standard-webhooks", &secrets(&keys), SenderSettings::default()).unwrap();
    let with = |count: usize| {
        let wrong = format!("v1a,{} ", BASE64_STANDARD.encode([7; 64]));
        let headers =
            [("webhook-id", "msg"), ("webhook-timestamp", "1614265330"), ("webhook-signature", &wrong.repeat(count))];
        computed(|| Good::new(signature.clone(), &headers, WEBHOOK).check())
    };
    let (verified, refused) = with(VERIFICATIONS_MAX / 2);
    assert!(verified == VERIFICATIONS_MAX && matches!(refused, Err(Mismatch::Wrong { .. })), "{verified}: {refused:?}");
    let (verified, refused) = with(VERIFICATIONS_MAX / 2 + 1);
    assert!(verified == 0 && matches!(refused, Err(Mismatch::TooMany { .. })), "{verified}: {refused:?}");
    // Signatures that name another version are not checked.
    assert_eq!(with(0).0, 0);
}

#[test]
fn a_form_of_more_fields_than_are_sorted_is_refused() {
    let with = |fields: usize| {
        twilio("RSOYDt4T1cUTdK1PDd93/VVr8B8=", "", "a=b&".repeat(fields).trim_end_matches('&').as_bytes())
    };
    assert!(matches!(with(1000).check(), Err(Mismatch::Wrong { .. })));
    assert_eq!(computed(|| with(1001).check()), (0, Err(Mismatch::Fields { most: 1000 })));
}

/// A proxy in front might use the other one.
#[test]
fn a_header_that_is_sent_twice_proves_nothing() {
    let signed =
        || standard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    for index in 0..3 {
        let mut twice = signed();
        let again = twice.headers[index].clone();
        let header = again.0.to_owned();
        twice.headers.push(again);
        assert_eq!(computed(|| twice.check()), (0, Err(Mismatch::Repeated { header })));
    }
    let mut twice = twilio("RSOYDt4T1cUTdK1PDd93/VVr8B8=", "", b"a=b");
    twice.headers.extend(["key=1", "key=2"].map(|it| ("x-twilio-webhooks-signature-settings", it.to_owned())));
    assert!(twice.check().is_err());
}

#[test]
fn a_time_and_signatures_in_one_header() {
    for (scheme, header, secret, signature) in [
        ("stripe", "stripe-signature", "whsec_test_secret", STRIPE),
        ("calendly", "calendly-webhook-signature", "calendly-key", CALENDLY),
    ] {
        let value = format!("t={AT},v1={signature}");
        Good::new(preset(scheme, secret), &[(header, &value)], BODY).stands_alone(header);
        // As while a secret is being changed, together with Stripe's older version.
        let several = format!("t={AT},v1={},v1={signature},v0={signature}", "0".repeat(64));
        assert_eq!(Good::new(preset(scheme, secret), &[(header, &several)], BODY).check(), Ok(()));
        for wrong in [format!("t={AT},v0={signature}"), format!("v1={signature}"), String::new(), "t=x,v1=00".into()] {
            let refused = Good::new(preset(scheme, secret), &[(header, &wrong)], BODY).check();
            assert!(matches!(refused, Err(Mismatch::Malformed { .. })), "{wrong}: {refused:?}");
        }
    }
}

#[test]
fn the_body_s_signature_in_base64() {
    Good::new(preset("typeform", "typeform-key"), &[("typeform-signature", TYPEFORM)], BODY).stands_alone("Typeform");
    Good::new(preset("shopify", "shopify-key"), &[("x-shopify-hmac-sha256", SHOPIFY)], BODY).stands_alone("Shopify");
}

fn twilio(signature: &str, query: &str, body: &[u8]) -> Good {
    let settings = SenderSettings { url: "https://mycompany.com/myapp.php".into(), ..SenderSettings::default() };
    let scheme = shipped("twilio", &secrets(&["other", "12345"]), settings).unwrap();
    Good { query: query.into(), ..Good::new(scheme, &[("x-twilio-signature", signature)], body) }
}

/// Examples from Twilio's Python library and its documentation.
#[test]
fn twilio_s_own_examples() {
    let form = b"To=%2B18005551212&CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&Caller=%2B14158675309";
    twilio("RSOYDt4T1cUTdK1PDd93/VVr8B8=", "foo=1&bar=2", form).stands_alone("Twilio, a form");
    let several = b"Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234";
    assert_eq!(twilio("IK+Dwps556ElfBT0I3Rgjkr1wJU=", "foo=1&bar=2", several).check(), Ok(()));
    let form = b"CallSid=CA1234567890ABCDE&Caller=%2B12349013030&Digits=1234&From=%2B12349013030&To=%2B18005551212";
    assert_eq!(twilio("0/KCTR6DLpKmkAf8muzZqo1nDgQ=", "foo=1&bar=2", form).check(), Ok(()));
    assert!(twilio("0/KCTR6DLpKmkAf8muzZqo1nDgQ=", "foo=1&bar=3", form).check().is_err());
    let json = br#"{"property": "value", "boolean": true}"#;
    let query = "foo=1&bar=2&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
    twilio("a9nBmqA0ju/hNViExpshrM61xv4=", query, json).stands_alone("Twilio, JSON");
    // Its newer keys sign with SHA-256, and declare that in a header.
    let mut newer = twilio("+UOCWf84gdgo/5Hpg4m5/EgKnJA2/TbOw5sPNVr3bPk=", query, json);
    newer.headers.push(("x-twilio-webhooks-signature-settings", "key=SK1,algorithm=HMAC_SHA256".into()));
    assert_eq!(newer.check(), Ok(()));
}

fn described<'a>(algorithm: Algorithm, encoding: SignatureEncoding) -> Described<'a> {
    Described {
        header: "X-Sig",
        prefix: "",
        encoding,
        algorithm,
        timestamp_header: None,
        id_header: None,
        payload: "{body}",
    }
}

fn generic(it: &Described<'_>, secret: &str) -> Signature {
    let proof = Arc::new(Proof::described(it).unwrap());
    Signature::new([proof], SenderSettings::default(), &secrets(&["other", secret])).unwrap()
}

/// RFC 4231, test case 2.
#[test]
fn any_other_hmac() {
    let (secret, body) = ("Jefe", b"what do ya want for nothing?");
    let hex = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let sha256 = Described { prefix: "sha256=", ..described(Algorithm::Sha256, SignatureEncoding::Hex) };
    for value in [format!("sha256={hex}"), format!(" sha256={} ", hex.to_uppercase())] {
        assert_eq!(Good::new(generic(&sha256, secret), &[("x-sig", &value)], body).check(), Ok(()));
    }
    for wrong in [hex.to_owned(), format!("sha256={}", &hex[..62]), format!("sha256=0{}", &hex[1..]), String::new()] {
        assert!(Good::new(generic(&sha256, secret), &[("x-sig", &wrong)], body).check().is_err(), "{wrong}");
    }
    let sha1 = described(Algorithm::Sha1, SignatureEncoding::Hex);
    Good::new(generic(&sha1, "k"), &[("x-sig", SHA1)], BODY).stands_alone("HMAC-SHA1");
    let sha512 = Described {
        timestamp_header: Some("X-Time"),
        id_header: Some("X-Id"),
        payload: "{id}:{timestamp}:{body}",
        ..described(Algorithm::Sha512, SignatureEncoding::Base64)
    };
    let headers = [("x-sig", SHA512), ("x-time", "1614265330000"), ("x-id", "7")];
    Good::new(generic(&sha512, "k"), &headers, BODY).stands_alone("HMAC-SHA512, with time and id");
}

#[test]
fn what_leaves_something_unsigned_is_refused() {
    let base = || described(Algorithm::Sha256, SignatureEncoding::Hex);
    for (wrong, why) in [
        (Described { payload: "{timestamp}", timestamp_header: Some("t"), ..base() }, "{body}"),
        (Described { payload: "{timestamp}.{body}", ..base() }, "timestamp_header"),
        (Described { timestamp_header: Some("t"), ..base() }, "{timestamp}"),
        (Described { payload: "{id}{body}", ..base() }, "id_header"),
        (Described { id_header: Some("i"), ..base() }, "id_header"),
        (Described { payload: "{url}{body}", ..base() }, "{url} is not known"),
        (Described { payload: "{body", ..base() }, "no }"),
    ] {
        let refused = Proof::described(&wrong).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn the_tolerance_can_be_another() {
    let value = format!("t={AT},v1={STRIPE}");
    let scheme = preset("stripe", "whsec_test_secret").within(TimeDelta::seconds(5));
    let mut good = Good::new(scheme, &[("stripe-signature", &value)], BODY);
    good.at = AT - 5;
    assert_eq!(good.check(), Ok(()));
    good.at = AT - 6;
    assert_eq!(good.check(), Err(Mismatch::Time { seconds: 6, when: "after", allowed: 5 }));
}

const STRIPE: &str = "c433a5e1c62229103eeaf7416553510e8fda3c72650db4f5c6770312b3f6b082";
const CALENDLY: &str = "6ab05444042428725924145a9a44ea3dd439cc40e2c0a7b6d4ce83f986638e16";
const TYPEFORM: &str = "sha256=Yhc7cOa9QwCS5TXB6STA0i6kT7Lx6UGpNMlcgUbv3to=";
const SHOPIFY: &str = "RCvjG+HNahC/I0m3tQCu3VSRK/WVvyfKojQSk0/d4A4=";
const SHA1: &str = "c9b3f55769fc6b16001dbc312ffb7899f8a9ed09";
const SHA512: &str = "Gp3u85osdzmXeiB+CTKI5VP44mh1XT9cUvTI+Ba0qVHYrHmYMfYgV93jtlH1DoGXA/O70P8cXW8EmlSIMfEq9w==";
