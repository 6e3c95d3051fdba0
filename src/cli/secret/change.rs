//! `hookmill secret set|unset NAME`

use std::io::{IsTerminal as _, Read as _};

use console::Term;
use serde_json::{Value, json};

use super::named::{integrations, names};
use crate::auth::sender::Chosen;
use crate::auth::strength::{BYTES_MIN, Strength};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::print::{say, tell};
use crate::cli::remote::{Remote, text};
use crate::config::{Config, SecretsFile};
use crate::integration::SigningParts;
use crate::model::secret::Secret;

/// Maximum size of a secret, in bytes.
const BYTES: u64 = 64 * 1024;

/// Sets a secret. One that an integration would refuse is set only if `forced`.
pub(super) fn set(config: &Config, name: &str, forced: bool, as_json: bool) -> Result<(), Failure> {
    check_name(name)?;
    let file = secrets_file(config)?;
    let secret = ask(name)?;
    let users: Vec<_> = integrations(config).into_iter().filter(|it| names(it, name)).collect();
    let warnings = match check(name, &secret, &users) {
        SecretCheck::Good(warnings) => warnings,
        SecretCheck::Refused(causes) if forced => causes,
        SecretCheck::Refused(causes) => {
            let causes = causes.join(". ");
            return Err(Failure::new(format!("{causes}; nothing was changed (--force sets it anyway)")));
        }
    };
    let replaced = file.set(name, &secret).map_err(Failure::new)?;
    warnings.iter().for_each(|it| tell!("warning: {it}"));
    let what = if replaced { "replaced" } else { "set" };
    finish(config, name, what, &users, as_json)
}

pub(super) fn unset(config: &Config, name: &str, as_json: bool) -> Result<(), Failure> {
    check_name(name)?;
    let users: Vec<_> = integrations(config).into_iter().filter(|it| names(it, name)).collect();
    if !secrets_file(config)?.unset(name).map_err(Failure::new)? {
        return Err(Failure::new(format!("{name} is not set in the secrets file")));
    }
    for it in users.iter().filter(|it| has_no_other(config, it, name)) {
        tell!("warning: {} has no other secret: its deliveries are refused from now on", it.name);
    }
    finish(config, name, "removed", &users, as_json)
}

/// Reloads a running server, and says what has changed.
fn finish(config: &Config, name: &str, what: &str, users: &[SigningParts], as_json: bool) -> Result<(), Failure> {
    let integrations: Vec<_> = users.iter().map(|it| it.name.as_str()).collect();
    let remote = Remote::holding(&config.data_dir);
    let pass = match &remote {
        Some(remote) => remote.call("POST", "/v1/admin/plugins/reload", Some(json!({})))?,
        None => Value::Null,
    };
    let refused: Vec<_> = pass["refused"].as_object().into_iter().flatten().collect();
    let refused: Vec<_> = refused.into_iter().filter(|(it, _)| integrations.contains(&it.as_str())).collect();
    let unread: Vec<_> = pass["unread"].as_array().into_iter().flatten().map(text).collect();
    if as_json {
        print::json(&json!({ "name": name, what: true, "integrations": integrations, "reload": pass }));
    } else {
        say!("{name} is {what}");
        match integrations.as_slice() {
            [] => say!("no integration names it yet"),
            some => say!("integrations that name it: {}", some.join(", ")),
        }
        if pass.is_null() {
            say!("no server is running on {}; the next start reads it", config.data_dir.display());
        } else if refused.is_empty() && unread.is_empty() {
            say!("the running server was reloaded");
        }
    }
    for (integration, message) in &refused {
        tell!("refused: {integration}: {}", text(message));
    }
    unread.iter().for_each(|it| tell!("not read again: {it}"));
    if what != "removed"
        && let Some(place) = remote.as_ref().and_then(|it| other_place(it, name))
    {
        tell!("warning: the server uses {name} from {place}, which takes precedence");
    }
    if refused.is_empty() && unread.is_empty() {
        Ok(())
    } else {
        Err(Failure::new("the running server could not use everything that it read"))
    }
}

/// Where the server has the secret from, if that is not the secrets file.
fn other_place(remote: &Remote, name: &str) -> Option<&'static str> {
    let answer = remote.call("GET", "/v1/admin/plugins", None).ok()?;
    let plugins = answer["data"].as_array()?;
    let mut secrets = plugins.iter().flat_map(|it| it["secrets"].as_array().into_iter().flatten());
    match secrets.find(|it| it["name"] == name)?["place"].as_str()? {
        "environment" => Some("its environment"),
        "file" => Some("the file that a variable of its environment names"),
        _ => None,
    }
}

/// The file that is changed.
fn secrets_file(config: &Config) -> Result<SecretsFile, Failure> {
    let path = config.sender_places.secrets_file.as_deref();
    let none = || Failure::usage("no secrets_file is configured: add secrets_file = \"secrets.toml\" to hookmill.toml");
    path.map(SecretsFile::new).ok_or_else(none)
}

/// Checks the name against `schemas/plugin-manifest.schema.json`.
fn check_name(name: &str) -> Result<(), Failure> {
    let good = |it: char| it.is_ascii_alphanumeric() || it == '_';
    if !name.is_empty() && name.chars().all(good) && !name.starts_with(|it: char| it.is_ascii_digit()) {
        return Ok(());
    }
    // Not the text itself: people put the secret where its name belongs.
    Err(Failure::usage(
        "this is not a name: use letters, digits and _, such as RETELL_SECRET; the secret itself is asked for",
    ))
}

/// Reads the secret from a prompt, or from stdin if that is not a terminal.
fn ask(name: &str) -> Result<Secret, Failure> {
    let text = if std::io::stdin().is_terminal() {
        tell!("{name} (it is not shown):");
        Term::stderr().read_secure_line().map_err(Failure::new)?
    } else {
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .take(BYTES + 1)
            .read_to_string(&mut text)
            .map_err(|_| Failure::usage("stdin is not text"))?;
        text
    };
    let plain = text.strip_prefix('\u{feff}').unwrap_or(&text).trim();
    if plain.is_empty() {
        return Err(Failure::usage("the secret is empty"));
    }
    if text.len() as u64 > BYTES {
        return Err(Failure::usage(format!("the secret is larger than {BYTES} bytes")));
    }
    if plain.contains(char::is_control) && !plain.starts_with("-----BEGIN") {
        return Err(Failure::usage("the secret must be one line, or a key in PEM"));
    }
    Ok(Secret::new(plain.to_owned()))
}

/// Whether an integration has lost its last secret with this one.
fn has_no_other(config: &Config, it: &SigningParts, removed: &str) -> bool {
    let is_set = |name: &String| name != removed && config.senders.secrets.get(name).is_some();
    it.secret_names.iter().any(|name| name == removed) && !it.secret_names.iter().any(is_set)
}

/// Whether the integrations that name a secret would accept it.
enum SecretCheck {
    /// All of them accept it; with warnings.
    Good(Vec<String>),
    /// Why some of them refuse it.
    Refused(Vec<String>),
}

/// Checks that the integrations that name the secret can use it. Never quotes the secret.
fn check(name: &str, secret: &Secret, users: &[SigningParts]) -> SecretCheck {
    let (mut warnings, mut refused) = (Vec::new(), Vec::new());
    for it in users {
        let is_main = it.secret_names.iter().any(|it| it == name);
        // The others are compared with a value of the request, like a password.
        let chosen = if is_main { &it.chosen } else { &Chosen::Basic };
        match chosen.strength(secret) {
            Ok(Strength::Good) => {}
            Ok(Strength::Weak) if it.allows_weak => warnings.push(format!(
                "{}: the secret is weak: use {BYTES_MIN} bytes or more, at least four of them different",
                it.name
            )),
            Ok(Strength::Weak) => refused.push(format!(
                "{}: the secret is weak, and refused unless [auth] has allow_weak_secret = true: it needs {BYTES_MIN} bytes or more, at least four of them different",
                it.name
            )),
            Err(cause) => refused.push(format!("{}: the secret {name} {cause}", it.name)),
        }
    }
    if users.is_empty() && secret.expose().len() < BYTES_MIN {
        warnings.push(format!("the secret is short: integrations need {BYTES_MIN} bytes or more"));
    }
    if refused.is_empty() { SecretCheck::Good(warnings) } else { SecretCheck::Refused(refused) }
}
