//! What somebody reads who sets a sender up or writes a sender file: steps, warnings and reasons.

use serde_json::Value;

use crate::guests::says;
use crate::harness::{Setup, task};
use crate::sender_cli::{SECRET, good, run, said};

/// The commands that `new` prints must be those that work for this sender: an admin has nothing else to go by.
#[test]
fn the_steps_of_a_new_plugin_fit_its_sender() {
    let setup = Setup::new();
    for (sender, has, has_not) in [
        ("asana", &["hookmill sender confirm asana"][..], "secret set"),
        ("telnyx", &["send a test from Telnyx", "secret set TELNYX_SECRET"], "sender sign"),
        ("zapier", &["--secret-name VARIABLE_WITH_THE_KEY", "hookmill key create"], "secret set"),
        ("efax", &["/v1/hooks/efax/SECRET"], "secret set EFAX_KEY"),
        ("twilio", &["replace the placeholders", "< delivery.form"], "delivery.json"),
        ("salesforce", &["< delivery.xml"], "delivery.json"),
        ("google-pubsub", &["[outbound] hosts = [\"www.googleapis.com\"]", "restart"], "sender sign"),
    ] {
        let text = good(&run(&setup, &["plugin", "new", sender, "--sender", sender], b""));
        for part in has {
            assert!(text.contains(part), "{sender}: {part}: {text}");
        }
        assert!(!text.contains(has_not), "{sender}: {text}");
    }
    let shown = good(&run(&setup, &["plugin", "new", "machine", "--sender", "retell", "--json"], b""));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert!(shown["here"][0].as_str().unwrap().contains("secret set"), "{shown}");
}

/// A placeholder that is left in plugin.toml refuses every delivery, and the message blamed the secret.
#[test]
fn a_placeholder_is_reported_and_a_wrong_signature_names_the_url_first() {
    let setup = Setup::new().env("TWILIO_SECRET", SECRET);
    good(&run(&setup, &["plugin", "new", "twilio", "--sender", "twilio"], b""));
    let checked = good(&run(&setup, &["plugin", "check", "twilio"], b""));
    assert!(checked.contains("url in [auth] is a placeholder"), "{checked}");
    let server = setup.start();
    let headers =
        [("x-twilio-signature", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="), ("content-type", "application/x-www-form-urlencoded")];
    let refused = server.send_as("POST", "/v1/hooks/twilio", &headers, b"From=1").expect(401);
    let event = server.get(&format!("/v1/events/{}", refused.header("x-event-id"))).expect(200).json();
    let message = event["reason"]["message"].as_str().unwrap();
    let (url, secret) = (message.find("`url` in [auth]").unwrap(), message.find("same secret").unwrap());
    assert!(url < secret, "{message}");
}

/// Faxes are larger than 1 MiB: a sender that is refused, and an admin who reads why, must learn what to change.
#[test]
fn a_delivery_that_is_too_large_says_which_setting_allows_it() {
    let setup = Setup::new().plugin("guest", "", &says(&task().to_string()));
    let server = setup.start();
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(1_100_000));
    let key = setup.key("company-1", &["hooks:write"]);
    let headers = [("x-api-key", &*key), ("content-type", "application/json")];
    let refused = server.send_as("POST", "/v1/hooks/guest", &headers, large.as_bytes()).expect(413);
    assert!(refused.message().contains("body_mib") && refused.message().contains("limits.body_bytes"));
    let event = server.get(&format!("/v1/events/{}", refused.header("x-event-id"))).expect(200).json();
    assert_eq!(event["reason"]["stage"], "decode", "{event}");
    assert!(event["reason"]["message"].as_str().unwrap().contains("body_mib"), "{event}");
    good(&run(&setup, &["plugin", "new", "fax", "--sender", "documo"], b""));
    assert!(std::fs::read_to_string(setup.plugins.join("fax/plugin.toml")).unwrap().contains("body_mib = 20"));
}

/// A sender that is answered 200 whatever happens made a failed trial look like a success.
#[test]
fn a_trial_that_is_quarantined_fails_and_says_why() {
    let auth = "[auth]\nsender = \"aircall\"\nsecret = \"GUEST\"\n";
    let setup = Setup::new().plugin("guest", auth, &says("{\"title\":1}")).env("GUEST", SECRET);
    let _server = setup.start();
    let out = run(&setup, &["sender", "sign", "--plugin", "guest", "--run"], b"{\"event\":\"x\"}");
    assert!(out.status.code() == Some(1) && said(&out).contains("quarantined: "), "{}", said(&out));
}

/// Somebody who cannot program writes a file from documentation: without the signature of a vector, no file is ever valid.
#[test]
fn test_says_what_a_computed_vector_should_contain_and_with_that_it_passes() {
    let setup = Setup::new();
    let file = setup.plugins.join("retell.toml");
    let shipped = include_str!("../../senders/retell.toml");
    let head = shipped.split("[[vector]]").next().unwrap();
    let vector = |source: &str, headers: &str| {
        format!(
            "{head}[[vector]]\nsource = \"{source}\"\nsecret = \"key_0123456789abcdef\"\nat = \"2026-11-25T12:00:00Z\"\nheaders = {{ {headers} }}\nbody = '{{\"a\":1}}'\n"
        )
    };
    let guess = "x-retell-signature = \"v=1795608000000,d=00\"";
    std::fs::write(&file, vector("computed", guess)).unwrap();
    let out = run(&setup, &["sender", "test", "retell.toml"], b"");
    let text = said(&out);
    let found = text.split("would pass with headers = { ").nth(1).unwrap_or_else(|| panic!("{text}"));
    std::fs::write(&file, vector("computed", found.split(" }").next().unwrap())).unwrap();
    good(&run(&setup, &["sender", "test", "retell.toml"], b""));
    // Documentation is what it is.
    std::fs::write(&file, vector("documentation", guess)).unwrap();
    assert!(!said(&run(&setup, &["sender", "test", "retell.toml"], b"")).contains("would pass"));
    let without = |line: &str| {
        let text = vector("computed", guess).lines().filter(|it| !it.starts_with(line)).collect::<Vec<_>>().join("\n");
        std::fs::write(&file, text).unwrap();
        said(&run(&setup, &["sender", "test", "retell.toml"], b""))
    };
    assert!(without("at = \"").contains("vector 1: at: required"));
    assert!(without("secret = \"key_").contains("vector 1: secret: required"));
}

/// A line that does nothing, or that the server refuses later, misleads the author of a file.
#[test]
fn test_refuses_what_has_no_effect_and_finds_the_file_that_is_meant() {
    let setup = Setup::new();
    let retell = include_str!("../../senders/retell.toml");
    let jwks = "kind = \"jwt\"\nalg = \"RS256\"\nat = { header = \"x\" }\nclaims = { \"/aud\" = \"{setting:aud}\" }\nbody_unsigned = true\n";
    let head = "name = \"retell\"\ntitle = \"A\"\ngroup = \"voice\"\ndocs = \"https://example.com\"\nchecked = \"2026-11-25\"\n";
    for (text, part) in [
        (retell.replacen("[delivery]", "[delivery]\nheaders = [\"X-Retell-Signature\"]", 1), "never passed on"),
        (
            retell.replacen("[setup]", "[settings]\nregion = \"yours\"\n\n[setup]", 1),
            "\"region\" is described and not used",
        ),
        (
            retell.replacen("[setup]", "[secrets]\nextra = \"yours\"\n\n[setup]", 1),
            "\"extra\" is described and not used",
        ),
        (
            format!("{head}[[proof]]\nkind = \"token\"\nat = {{ header = \"x\" }}\ntext = \"{{body}}\"\n"),
            "a token signs nothing",
        ),
        (
            format!("{head}[[proof]]\n{jwks}keys = {{ jwks = \"http://example.com/k\" }}\n[settings]\naud = \"x\"\n"),
            "must begin with https://",
        ),
        (
            format!(
                "{head}[[proof]]\n{}keys = {{ jwks = \"https://example.com/k\" }}\n",
                jwks.replace("RS256", "HS256")
            ),
            "HS256 uses a shared secret",
        ),
        (
            format!(
                "{retell}\n[[handshake]]\nname = \"a\"\nwhen = {{ method = \"GET\" }}\nproof = \"none\"\nanswer = {{ text = \"hi\" }}\n"
            ),
            "every GET request",
        ),
    ] {
        let vector = if text.contains("[[vector]]") { "" } else { "[[vector]]\nsource = \"computed\"\n" };
        std::fs::write(setup.plugins.join("retell.toml"), text + vector).unwrap();
        let out = run(&setup, &["sender", "test", "retell.toml"], b"");
        assert!(out.status.code() == Some(1) && said(&out).contains(part), "{part}: {}", said(&out));
    }
    // In words, and not in the terms of JSON Schema.
    for (from, to, part) in [
        ("[answer]", "[answers]", "unknown table [answers] (did you mean [answer]?)"),
        ("checked = \"2", "checked = \"x2", "checked: is not a date, such as 2026-11-25"),
        ("name = \"retell\"", "name = \"Retell AI\"", "name: is not a name of lower-case letters"),
    ] {
        std::fs::write(setup.plugins.join("retell.toml"), retell.replacen(from, to, 1)).unwrap();
        let text = said(&run(&setup, &["sender", "test", "retell.toml"], b""));
        assert!(text.contains(part), "{part}: {text}");
    }
    let both = "[auth]\nsender = \"retell\"\nscheme = \"basic\"\nsecret = \"S\"\n";
    let setup = setup.plugin("both", both, &says(&task().to_string()));
    let text = said(&run(&setup, &["plugin", "check", "both"], b""));
    assert!(
        text.contains("auth: has more than one of sender or scheme; keep one") && !text.contains("oneOf"),
        "{text}"
    );
    std::fs::write(setup.plugins.join("mine.toml"), retell).unwrap();
    let text = said(&run(&setup, &["sender", "test", "mine.toml"], b""));
    assert!(text.contains("is \"retell\" and must be \"mine\""), "{text}");
    let folder = setup.plugins.join("own");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("plugin.toml"), "").unwrap();
    assert!(said(&run(&setup, &["sender", "test", "own"], b"")).contains("has no sender.toml"));
    std::fs::write(folder.join("sender.toml"), retell).unwrap();
    good(&run(&setup, &["sender", "test", "own"], b""));
    assert!(said(&run(&setup, &["sender", "test", "retell"], b"")).contains("sender show NAME --toml"));
}
