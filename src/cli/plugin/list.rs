//! `hookmill plugin list|reload`: the running server's plugins.

use serde_json::{Value, json};

use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::print::say;
use crate::cli::remote::{Remote, text};
use crate::config::Config;

pub(super) fn list(config: &Config, as_json: bool) -> Result<(), Failure> {
    let answer = server(config)?.call("GET", "/v1/admin/plugins", None)?;
    if as_json {
        print::json(&answer)
    } else {
        print_list(&answer)
    }
    Ok(())
}

pub(super) fn reload(config: &Config, as_json: bool) -> Result<(), Failure> {
    let pass = server(config)?.call("POST", "/v1/admin/plugins/reload", Some(json!({})))?;
    if as_json {
        print::json(&pass)
    } else {
        print_pass(&pass)
    }
    let refused = pass["refused"].as_object().is_some_and(|it| !it.is_empty());
    if pass["unread"].as_array().is_some_and(|it| !it.is_empty()) {
        return Err(Failure::new("not everything could be read again"));
    }
    if refused { Err(Failure::new("not every plugin could be loaded")) } else { Ok(()) }
}

pub(super) fn server(config: &Config) -> Result<Remote, Failure> {
    Remote::holding(&config.data_dir).ok_or_else(|| Failure::no_server(&config.data_dir))
}

fn print_list(answer: &Value) {
    say!(
        "{:<20} {:<9} {:<10} {:<10} {:>9} {:>8} {:>8} {:>9} {:>9}  SHA256",
        "PLUGIN",
        "STATE",
        "VERSION",
        "ABI",
        "CALLS",
        "REFUSED",
        "FAILED",
        "P50 µs",
        "P99 µs"
    );
    for it in answer["data"].as_array().into_iter().flatten() {
        let calls = &it["calls"];
        let [name, state, version, abi] = [&it["name"], &it["state"], &it["version"], &it["abi"]].map(shown);
        let [made, refused, failed, p50, p99] =
            ["calls", "refused", "failures", "p50_us", "p99_us"].map(|name| shown(&calls[name]));
        let digest = if it["script_sha256"].is_string() { &it["script_sha256"] } else { &it["sha256"] };
        let sha256: String = shown(digest).chars().take(12).collect();
        say!(
            "{name:<20} {state:<9} {version:<10} {abi:<10} {made:>9} {refused:>8} {failed:>8} {p50:>9} {p99:>9}  {sha256}"
        );
        if !it["message"].is_null() {
            say!("  {}", text(&it["message"]));
        }
        if it["captures"] == true {
            say!("  captures deliveries: they are stored, and not mapped");
        }
        print_proof(it);
        for node in it["nodes"].as_array().into_iter().flatten() {
            let [name, version] = ["node", "version"].map(|name| shown(&node[name]));
            let digest: String = shown(&node["digest"]).chars().take(12).collect();
            let refused = node["refused"].as_str().map_or_else(String::new, |why| format!(", refused: {why}"));
            say!("  on {name}: {version} {digest}{refused}");
        }
        let weak: Vec<_> = it["weak_secrets"].as_array().into_iter().flatten().map(text).collect();
        if !weak.is_empty() {
            say!("  weak secret: {}", weak.join(", "));
        }
        let rejected = &it["rejected"];
        if rejected["not_stored"].as_u64().is_some_and(|it| it > 0) {
            let [stored, not_stored] = ["stored", "not_stored"].map(|name| shown(&rejected[name]));
            say!("  rejected deliveries: {stored} stored, {not_stored} more counted only");
        }
        if !it["shadow"].is_null() {
            say!("  {}", shadow(&it["shadow"]));
        }
        if let Some(error) = calls["last_error"].as_object() {
            say!(
                "  last error: {} at {}, event {}",
                shown(&error["code"]),
                shown(&error["at"]),
                shown(&error["event_id"])
            );
        }
    }
}

/// Prints how an integration's senders are proved, and its secrets: which one is still used.
fn print_proof(it: &Value) {
    let Some(trust) = it["trust"].as_str() else { return };
    let sender = it["sender"].as_str().map_or_else(String::new, |it| format!("sender {it}, "));
    let warning =
        if trust == "weak" { ": anyone who knows the URL, or sees one delivery, can send others" } else { "" };
    if trust == "weak" || !sender.is_empty() {
        say!("  {sender}{trust}{warning}");
    }
    for secret in it["secrets"].as_array().into_iter().flatten() {
        let state = match (secret["is_set"].as_bool(), secret["last_used_at"].as_str()) {
            (Some(false), _) => "is not set".to_owned(),
            (_, Some(at)) => format!("last used {at}"),
            (_, None) => "not used yet".to_owned(),
        };
        say!("  secret {}: {state}", text(&secret["name"]));
    }
}

fn shadow(it: &Value) -> String {
    let [folder, version, message] = ["folder", "version", "message"].map(|name| shown(&it[name]));
    if it["state"] == "refused" {
        return format!("shadow {folder} does not run: {message}");
    }
    let [events, same, changed, failing, passing, dropped] =
        ["events", "same", "changed", "newly_failing", "newly_passing", "dropped"].map(|name| shown(&it[name]));
    format!(
        "shadow {folder} {version}: {events} events, {same} same, {changed} changed, {failing} newly failing, {passing} newly passing, {dropped} missed"
    )
}

fn shown(value: &Value) -> String {
    if value.is_null() { "-".into() } else { text(value) }
}

fn print_pass(pass: &Value) {
    for what in ["loaded", "removed", "unchanged", "changing"] {
        let names: Vec<_> = pass[what].as_array().into_iter().flatten().map(text).collect();
        if !names.is_empty() {
            say!("{what}: {}", names.join(", "));
        }
    }
    for problem in pass["unread"].as_array().into_iter().flatten() {
        say!("not read again: {}", text(problem));
    }
    for (name, message) in pass["refused"].as_object().into_iter().flatten() {
        say!("refused: {name}: {}", text(message));
    }
}
