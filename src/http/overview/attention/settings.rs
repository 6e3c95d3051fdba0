//! Plugins, and how senders prove who they are.

use super::{AttentionAnswer, AttentionKind, Severity, count};
use crate::auth::sender::Trust;
use crate::http::overview::Asked;
use crate::http::plugin_answer::{PluginBrief, PluginState};
use crate::integration::Integration;

pub(super) fn add(asked: &Asked<'_>, plugins: &[PluginBrief<'_>], all: &mut Vec<AttentionAnswer>) {
    for it in plugins {
        let link = format!("/console/plugins/{}", it.name);
        let why = it.message.unwrap_or("the server's log says why");
        let (severity, message) = match it.state {
            PluginState::Refused => (Severity::Bad, format!("The plugin {} is refused: {why}", it.name)),
            PluginState::Outdated => {
                let serves = it.version.unwrap_or("the earlier one");
                (Severity::Warn, format!("A new version of {} is refused, and {serves} still serves: {why}", it.name))
            }
            PluginState::Live | PluginState::Loading | PluginState::Elsewhere => continue,
        };
        all.push(AttentionAnswer::new(severity, AttentionKind::PluginRefused, message, link));
    }
    for (name, nodes) in asked.app.nodes.differing().iter() {
        let concerns = nodes.iter().filter_map(|it| it.live.as_ref()).any(|it| asked.is_about(&it.company_id));
        if concerns || (asked.is_operator() && asked.company.is_none()) {
            let message = format!("The plugin {name} is not the same on all servers.");
            let link = format!("/console/plugins/{name}");
            all.push(AttentionAnswer::new(Severity::Warn, AttentionKind::PluginDiffers, message, link));
        }
    }
    for it in asked.app.registry.list().iter().filter(|it| asked.is_about(&it.company_id)) {
        add_proof(it, all);
    }
    let company = asked.company.or_else(|| asked.admin.company());
    let learned = asked.app.learned.list(company);
    if let Some(first) = learned.first() {
        let waiting = count(learned.len() as u64, "secret waits", "secrets wait");
        let message = format!(
            "{waiting} for you to confirm: a sender has sent it when it was set up, for {}. Until then, its deliveries are rejected.",
            first.integration
        );
        let link = format!("/console/plugins/{}", first.integration);
        all.push(AttentionAnswer::new(Severity::Warn, AttentionKind::SecretLearned, message, link));
    }
}

fn add_proof(it: &Integration, all: &mut Vec<AttentionAnswer>) {
    let link = format!("/console/plugins/{}", it.name);
    let missing: Vec<_> = it.secrets.names.iter().filter(|name| !it.secrets.places.contains_key(*name)).collect();
    if !it.secrets.names.is_empty() && missing.len() == it.secrets.names.len() {
        let names = missing.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(", ");
        let message = format!("The secret {names} is not set: deliveries for {} cannot be authenticated.", it.name);
        all.push(AttentionAnswer::new(Severity::Bad, AttentionKind::SecretMissing, message, link.clone()));
    }
    if !it.weak_secrets.is_empty() {
        let message = format!("{} of {} is easy to guess; use a longer secret.", it.weak_secrets.join(", "), it.name);
        all.push(AttentionAnswer::new(Severity::Warn, AttentionKind::SecretWeak, message, link.clone()));
    }
    if it.trust == Trust::Weak {
        let message = format!(
            "Deliveries for {} are proved by a secret in the URL, or by a signature that does not cover the body: whoever has seen a delivery can forge one.",
            it.name
        );
        all.push(AttentionAnswer::new(Severity::Info, AttentionKind::ProofWeak, message, link));
    }
}
