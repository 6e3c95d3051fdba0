//! What remains to be done for a new plugin: at its sender, and here.

use crate::auth::sender::{BodyFormatName, Chosen, Sender, auth_lines};

/// What remains to be done for a new plugin.
pub(super) struct SetupSteps {
    /// At the sender, in sentences.
    pub(super) there: Vec<String>,
    /// Here: commands and settings.
    pub(super) here: Vec<String>,
}

impl SetupSteps {
    /// Returns the steps for a plugin with this name, which is also its folder's.
    pub(super) fn of(sender: &Sender, name: &str) -> Self {
        let chosen = sender.choose(None, false).unwrap_or(Chosen::ApiKey);
        let segment = if matches!(chosen, Chosen::UrlSecret) { "/SECRET" } else { "" };
        let mut there = vec![format!("URL: https://YOUR-HOST/v1/hooks/{name}{segment}")];
        if !segment.is_empty() {
            there.push("SECRET is the secret itself, which this sender proves its deliveries with".to_owned());
        }
        let setup = &sender.setup;
        for (what, text) in [("where to enter it", &setup.url), ("secret", &setup.secret), ("note", &setup.note)] {
            if !text.is_empty() {
                there.push(format!("{what}: {text}"));
            }
        }
        let mut here = Vec::new();
        let manifest: toml::Table = toml::from_str(&auth_lines(sender, name)).unwrap_or_default();
        if manifest_has_placeholders(&manifest) {
            here.push("replace the placeholders in [auth] of plugin.toml".to_owned());
        }
        let mut hosts: Vec<_> = sender.outbound_hosts().into_iter().map(|(host, _)| format!("\"{host}\"")).collect();
        hosts.sort();
        hosts.dedup();
        if !hosts.is_empty() {
            here.push(format!("hookmill.toml, then a restart: [outbound] hosts = [{}]", hosts.join(", ")));
        }
        here.extend(secret_steps(sender, &chosen, &manifest, name));
        here.push(trial(sender, &chosen, name));
        Self { there, here }
    }
}

/// How each secret is set.
fn secret_steps(sender: &Sender, chosen: &Chosen, manifest: &toml::Table, name: &str) -> Vec<String> {
    let learns = sender.handshakes.iter().any(|it| it.learn.is_some());
    let auth = manifest.get("auth");
    let main = auth.and_then(|it| it.get("secret")).and_then(toml::Value::as_str);
    let others = auth.and_then(|it| it.get("secrets")).and_then(toml::Value::as_table);
    let others = others.into_iter().flat_map(|it| it.values()).filter_map(toml::Value::as_str);
    let mut steps: Vec<_> = match main {
        Some(_) if learns => vec![format!("hookmill sender confirm {name}      # once the sender has sent its secret")],
        Some(secret) => vec![format!("hookmill secret set {secret}")],
        None if matches!(chosen, Chosen::ApiKey) => {
            vec!["hookmill key create --company company-1 --scope hooks:write".to_owned()]
        }
        None => Vec::new(),
    };
    steps.extend(others.map(|it| format!("hookmill secret set {it}")));
    steps
}

/// How to try it: with a signature, or from the sender where only that has the key.
fn trial(sender: &Sender, chosen: &Chosen, name: &str) -> String {
    if !chosen.is_signable() {
        return format!(
            "send a test from {}: only it has the key. Then: hookmill events list --integration {name}",
            sender.title
        );
    }
    let key = if matches!(chosen, Chosen::ApiKey) { " --secret-name VARIABLE_WITH_THE_KEY" } else { "" };
    let body = match sender.body.format {
        _ if sender.body.empty.is_some() => "/dev/null",
        Some(BodyFormatName::Form) => "delivery.form",
        None if sender.example_type().is_some_and(|it| it.contains("urlencoded")) => "delivery.form",
        Some(BodyFormatName::Xml) => "delivery.xml",
        Some(BodyFormatName::Jwt) => "delivery.jwt",
        _ => "delivery.json",
    };
    format!("hookmill sender sign --plugin {name}{key} --run < {body}")
}

fn manifest_has_placeholders(manifest: &toml::Table) -> bool {
    let auth = manifest.get("auth");
    auth.is_some_and(|it| it.get("url").is_some() || it.get("settings").is_some())
}
