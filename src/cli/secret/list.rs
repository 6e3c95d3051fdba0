//! `hookmill secret list`

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::named::integrations;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::print::say;
use crate::cli::remote::{Remote, text};
use crate::config::Config;

/// A secret, without the secret.
#[derive(Debug, Default, Serialize)]
struct Listed {
    /// Where it is set: for the server if one is running, otherwise for this command.
    place: Option<String>,
    integrations: Vec<String>,
    last_used_at: Option<String>,
}

pub(super) fn list(config: &Config, as_json: bool) -> Result<(), Failure> {
    let mut all: BTreeMap<String, Listed> = BTreeMap::new();
    for name in config.senders.secrets.listed() {
        all.entry(name.to_owned()).or_default().place = Some("secrets_file".to_owned());
    }
    for it in integrations(config) {
        for name in it.secret_names.iter().chain(&it.other_names) {
            let listed = all.entry(name.clone()).or_default();
            let place = config.senders.secrets.find(name).and_then(|it| serde_json::to_value(it.place).ok());
            listed.place = place.as_ref().map(text);
            listed.integrations.push(it.name.clone());
        }
    }
    let remote = Remote::holding(&config.data_dir);
    if let Some(remote) = &remote {
        as_the_server_sees_it(&mut all, &remote.call("GET", "/v1/admin/plugins", None)?);
    }
    if as_json {
        let row = |(name, it): (&String, &Listed)| json!({ "name": name, "place": it.place, "integrations": it.integrations, "last_used_at": it.last_used_at });
        print::json(&json!({ "data": all.iter().map(row).collect::<Vec<_>>(), "server": remote.is_some() }));
    } else {
        say!("{:<32} {:<13} {:<26} INTEGRATIONS", "NAME", "SET IN", "LAST USED");
        for (name, it) in &all {
            let place = it.place.as_deref().unwrap_or("not set");
            let used = it.last_used_at.as_deref().unwrap_or("-");
            say!("{name:<32} {place:<13} {used:<26} {}", it.integrations.join(", "));
        }
    }
    Ok(())
}

fn as_the_server_sees_it(all: &mut BTreeMap<String, Listed>, plugins: &Value) {
    for plugin in plugins["data"].as_array().into_iter().flatten() {
        let integration = text(&plugin["name"]);
        for secret in plugin["secrets"].as_array().into_iter().flatten() {
            let listed = all.entry(text(&secret["name"])).or_default();
            listed.place = secret["place"].as_str().map(str::to_owned);
            // RFC 3339 in UTC: the later one is the larger text.
            listed.last_used_at = listed.last_used_at.take().max(secret["last_used_at"].as_str().map(str::to_owned));
            if !listed.integrations.contains(&integration) {
                listed.integrations.push(integration.clone());
            }
        }
    }
}
