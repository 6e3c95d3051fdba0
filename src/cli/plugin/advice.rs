//! What a plugin's author should know about its sender: how it is proved, asked and answered.

use std::collections::BTreeMap;
use std::path::Path;

use crate::auth::sender::Trust;
use crate::integration::check::{Finding, Severity};
use crate::integration::{AnswerBody, Auth, Integration, OutcomeAnswer};
use crate::service::sender_keys::is_host;

/// Returns warnings about an integration's sender. `hosts` are those of `[outbound]`.
pub(super) fn advice(integration: &Integration, manifest: &Path, hosts: &[String]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut warn = |reason: String, fix: &str| {
        let fix = Some(fix.to_owned());
        found.push(Finding { severity: Severity::Warning, file: manifest.to_owned(), reason, fix });
    };
    for (name, what) in &integration.secrets.trimmed {
        warn(format!("the secret {name} had {what}, which was removed"), "Set it without whitespace around it");
    }
    for problem in &integration.secrets.problems {
        warn(problem.clone(), "Make the file readable for the server");
    }
    if integration.trust == Trust::Weak {
        let reason =
            "the sender proves its deliveries weakly: anyone who knows the URL, or sees one delivery, can send others";
        warn(reason.into(), "Use another proof of this sender if it has one, and let only it reach the URL");
    }
    // An API key may read the tasks.
    let is_senders = integration.trust == Trust::Signed || integration.sender.is_some();
    let has_key = matches!(integration.auth, Auth::ApiKey);
    if is_senders && !has_key && integration.answers.returns_tasks() {
        warn(
            "the sender gets the task back, which may contain a patient's data, and may keep it in its delivery log"
                .into(),
            "Add [answer] with body = \"event_id\", if the sender does not need the task",
        );
    }
    let mut hosts_needed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (host, what) in integration.sender.iter().flat_map(|it| it.outbound_hosts()) {
        let uses = hosts_needed.entry(host).or_default();
        if !uses.contains(&what) {
            uses.push(what);
        }
    }
    for (host, what) in hosts_needed {
        let what = what.join(", ");
        let allowed = hosts.iter().any(|it| *it == host || is_host(it, &host) || is_host(&host, it));
        if !allowed {
            let fix = format!("Add \"{host}\" to hosts in [outbound] of hookmill.toml, and restart the server");
            warn(format!("auth: sender: the host {host} is not allowed, which is needed for {what}"), &fix);
        }
    }
    found
}

/// Returns which questions are answered, and what deliveries are answered.
pub(super) fn in_effect(integration: &Integration) -> Vec<String> {
    let mut lines = Vec::new();
    let trust = match integration.trust {
        Trust::Signed => "signed",
        Trust::Credential => "credential",
        Trust::Weak => "weak",
    };
    if let Some(sender) = &integration.sender {
        lines.push(format!("sender {} ({}), {trust}", sender.name, sender.title));
        let names: Vec<_> = sender.handshakes.iter().map(|it| it.name.as_str()).collect();
        if !names.is_empty() {
            lines.push(format!("answers the questions {}", names.join(", ")));
        }
    }
    let answers = &integration.answers;
    let all = [
        ("created", Some(&answers.created)),
        ("skipped", Some(&answers.skipped)),
        ("duplicate", Some(&answers.duplicate)),
        ("queued", Some(&answers.queued)),
        ("quarantined", answers.quarantined.as_ref()),
    ];
    let shown = all.iter().filter_map(|(name, it)| Some(format!("{name}: {}", answer(it.as_ref()?))));
    if integration.sender.is_some() || *answers != crate::integration::Answers::default() {
        lines.push(format!("answers {}", shown.collect::<Vec<_>>().join(", ")));
    }
    lines
}

fn answer(it: &OutcomeAnswer) -> String {
    let body = match &it.body {
        AnswerBody::Task => "the task",
        AnswerBody::EventId => "the event's id",
        AnswerBody::Nothing => "no body",
        AnswerBody::Text(_) => "text",
        AnswerBody::Xml(_) => "XML",
        AnswerBody::Json(_) => "JSON",
    };
    it.status.map_or_else(|| body.to_owned(), |status| format!("{status} {body}"))
}
