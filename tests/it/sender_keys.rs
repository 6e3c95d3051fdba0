//! Senders that publish their keys: fetched from a local server, cached, and never waited for too long.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::guests::says;
use crate::harness::{Reply, Server, Setup, task};

const CERTIFICATE: &str = include_str!("../senders/rsa-test-certificate.pem");
const EXPIRED: &str = include_str!("../senders/rsa-test-certificate-expired.pem");
const RSA_KEY: &str = include_str!("../senders/rsa-test-key.pem");

/// A server of keys: counts requests, and gives one answer, or never any.
struct KeyServer {
    address: String,
    requests: Arc<AtomicUsize>,
    answer: Arc<Mutex<Option<String>>>,
    last: Arc<Mutex<String>>,
}

impl KeyServer {
    fn new(answer: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let it = Self { address, requests: Arc::default(), answer: Arc::new(Mutex::new(answer)), last: Arc::default() };
        let (requests, answer, last) = (Arc::clone(&it.requests), Arc::clone(&it.answer), Arc::clone(&it.last));
        std::thread::spawn(move || {
            let mut waiting = Vec::new();
            for stream in listener.incoming() {
                let mut stream: TcpStream = stream.unwrap();
                *last.lock().unwrap() = request(&mut stream);
                requests.fetch_add(1, Ordering::SeqCst);
                match answer.lock().unwrap().clone() {
                    Some(body) => {
                        let head =
                            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                        let _gone = stream.write_all(format!("{head}{body}").as_bytes());
                    }
                    // It accepts, and never answers.
                    None => waiting.push(stream),
                }
            }
        });
        it
    }

    fn count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Reads a request with its body.
fn request(stream: &mut TcpStream) -> String {
    let (mut bytes, mut text) = (vec![0; 65536], String::new());
    loop {
        let read = stream.read(&mut bytes).unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        let length =
            text.split("content-length: ").nth(1).and_then(|it| it.split("\r\n").next()?.parse::<usize>().ok());
        let body = text.split("\r\n\r\n").nth(1).map(str::len);
        if read == 0 || body.is_some_and(|it| it >= length.unwrap_or(0)) {
            return text;
        }
    }
}

/// A sender like Plaid: an ES256 token with a hash of the body.
struct Signer {
    pair: EcdsaKeyPair,
    id: String,
}

impl Signer {
    fn new(id: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self { pair, id: id.into() }
    }

    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "x": text(&point[1..33]), "y": text(&point[33..])})
    }

    fn token(&self, algorithm: &str, body: &[u8]) -> String {
        let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let hash: String = Sha256::digest(body).iter().map(|it| format!("{it:02x}")).collect();
        let claims = json!({"iat": chrono::Utc::now().timestamp(), "body_sha256": hash});
        let signed = format!("{}.{}", part(json!({"alg": algorithm, "kid": self.id})), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

const VECTOR: &str = include_str!("guests/token-vector.toml");

fn sender_file(keys: &str) -> String {
    VECTOR.replace("KEYS", keys)
}

/// A server with the integration `guest` of this sender, whose file is next to its plugin.toml.
fn start(keys: &str, hosts: &str) -> (Setup, Server) {
    let setup = Setup::new()
        .config(&format!("[outbound]\nhosts = [{hosts}]\n"))
        .plugin("guest", "[auth]\nsender = \"tokens\"\nsecret = \"SECRET\"\n", &says(&task().to_string()))
        .env("SECRET", "a secret of 32 bytes, not random");
    std::fs::write(setup.plugins.join("guest/sender.toml"), sender_file(keys)).unwrap();
    let server = setup.start();
    (setup, server)
}

fn deliver(server: &Server, token: &str, body: &[u8]) -> Reply {
    server.send_as("POST", "/v1/hooks/guest", &[("content-type", "application/json"), ("x-token", token)], body)
}

/// Otherwise every delivery costs a request to the provider, or a new key is never found.
#[test]
fn keys_are_fetched_once_and_again_for_a_key_that_is_new() {
    let (first, second) = (Signer::new("k1"), Signer::new("k2"));
    let keys = KeyServer::new(Some(json!({"keys": [{"kty": "oct", "k": "AA"}, first.jwk()]}).to_string()));
    let (_setup, server) = start(&format!("jwks = \"http://{}/jwks\"", keys.address), &format!("\"{}\"", keys.address));
    for n in 0..3 {
        let body = format!("{{\"n\":{n}}}");
        deliver(&server, &first.token("ES256", body.as_bytes()), body.as_bytes()).expect(201);
    }
    assert_eq!(keys.count(), 1);
    // A token must not choose its algorithm, be for another body, or be signed by another key.
    deliver(&server, &first.token("HS256", b"{}"), b"{}").expect(401);
    deliver(&server, &first.token("none", b"{}"), b"{}").expect(401);
    deliver(&server, &first.token("ES256", b"{}"), b"{ }").expect(401);
    deliver(&server, &Signer::new("k1").token("ES256", b"{}"), b"{}").expect(401);
    assert_eq!(keys.count(), 1);
    // An unknown key is looked for at most once a minute.
    for _ in 0..5 {
        deliver(&server, &second.token("ES256", b"{}"), b"{}").expect(401);
    }
    assert!(keys.count() <= 2, "{}", keys.count());
}

/// Otherwise the server sends requests wherever a sender file says.
#[test]
fn a_host_that_the_settings_do_not_name_is_not_asked_and_the_delivery_refused() {
    let signer = Signer::new("k1");
    let keys = KeyServer::new(Some(signer.jwk().to_string()));
    let (_setup, server) = start(&format!("jwks = \"http://{}/jwks\"", keys.address), "\"other.example\"");
    let refused = deliver(&server, &signer.token("ES256", b"{}"), b"{}").expect(503);
    assert_eq!(refused.code(), "sender_keys_unavailable");
    assert_eq!(keys.count(), 0);
    let log = server.stop();
    assert!(!log.contains("panicked"), "{log}");
}

/// Otherwise a provider's key server that hangs holds up its deliveries, and those of others.
#[test]
fn a_server_of_keys_that_hangs_fails_its_own_deliveries_only_and_closed() {
    let signer = Signer::new("k1");
    let keys = KeyServer::new(None);
    let (setup, server) = start(&format!("jwks = \"http://{}/jwks\"", keys.address), &format!("\"{}\"", keys.address));
    drop(setup);
    std::thread::scope(|scope| {
        let stuck = scope.spawn(|| deliver(&server, &signer.token("ES256", b"{}"), b"{}"));
        crate::harness::until("the key server is asked", || keys.count() == 1);
        // Others are served meanwhile.
        server.post("/v1/tasks", &task()).expect(201);
        assert_eq!(stuck.join().unwrap().expect(503).code(), "sender_keys_unavailable");
    });
    // It is not asked again at once.
    deliver(&server, &signer.token("ES256", b"{}"), b"{}").expect(503);
    assert_eq!(keys.count(), 1);
    assert_eq!(server.get("/v1/tasks").expect(200).json()["pagination"]["total"], 1);
}

#[test]
fn a_key_by_api_is_asked_for_with_the_secret_and_the_key_s_id() {
    let signer = Signer::new("k7");
    let keys = KeyServer::new(Some(json!({"key": signer.jwk()}).to_string()));
    let by_api = format!(
        "jwk_post = \"http://{}/get\", jwk = \"/key\", send = {{ secret = \"{{secret}}\", key_id = \"{{kid}}\" }}",
        keys.address
    );
    let (_setup, server) = start(&by_api, &format!("\"{}\"", keys.address));
    deliver(&server, &signer.token("ES256", b"{}"), b"{}").expect(201);
    let sent = keys.last.lock().unwrap().clone();
    assert!(sent.starts_with("POST /get "), "{sent}");
    let body: Value = serde_json::from_str(sent.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body, json!({"secret": "a secret of 32 bytes, not random", "key_id": "k7"}));
    let log = server.stop();
    assert!(!log.contains("a secret of 32 bytes"), "{log}");
}

/// AWS SNS: the certificate is at a URL in the body, and only what is signed reaches the mapper.
#[test]
fn a_certificate_is_fetched_from_the_url_in_the_body_and_must_be_valid() {
    let key = BASE64_STANDARD.decode(RSA_KEY.lines().filter(|it| !it.starts_with('-')).collect::<String>()).unwrap();
    let pair = RsaKeyPair::from_der(&key).unwrap();
    let sign = |text: &str| {
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        BASE64_STANDARD.encode(signature)
    };
    let file = include_str!("guests/certificate-sender.toml");
    for (certificate, status) in [(CERTIFICATE, 201), (EXPIRED, 503), ("no certificate", 503)] {
        let keys = KeyServer::new(Some(certificate.into()));
        let setup = Setup::new().config("[outbound]\nhosts = [\"127.0.0.1\"]\n").plugin(
            "guest",
            "[auth]\nsender = \"certified\"\n",
            &says(&task().to_string()),
        );
        std::fs::write(setup.plugins.join("guest/certified.toml"), file).unwrap();
        let server = setup.start();
        let post = |body: &Value| {
            server.send_as("POST", "/v1/hooks/guest", &[("content-type", "text/plain")], body.to_string().as_bytes())
        };
        let url = format!("http://{}/cert.pem", keys.address);
        let good = json!({"Message": "{\"a\":1}", "Id": "1", "Url": url, "Signature": sign("{\"a\":1}\n1"), "More": "unsigned"});
        let reply = post(&good).expect(status);
        if status == 201 {
            let stored = server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json();
            assert_eq!(stored["payload"], json!({"Message": {"a": 1}, "Id": "1"}));
            let mut changed = good.clone();
            changed["Message"] = "{\"a\":2}".into();
            post(&changed).expect(401);
            changed["Url"] = "http://127.0.0.1.evil.example/cert.pem".into();
            post(&changed).expect(401);
        }
    }
}
