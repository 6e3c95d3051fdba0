//! `hookmill plugin check DIR`

use std::path::Path;

use console::style;
use serde_json::json;

use super::advice::{advice, in_effect};
use super::runnable::{folder, host};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::print::say;
use crate::config::Config;
use crate::integration::check::{Checked, Finding, Severity, check};
use crate::model::time::now;
use crate::plugin::Plugin;
use crate::plugin::{Abi, MappingSource};

pub(super) fn run(config: &Config, dir: &Path, as_json: bool) -> Result<(), Failure> {
    let folder = folder(dir)?;
    let mut checked = check(&host(config)?, &folder, &config.senders, now());
    let manifest = folder.join("plugin.toml");
    let more = checked.integration.as_ref().map(|it| advice(it, &manifest, &config.outbound_hosts));
    checked.findings.extend(more.into_iter().flatten());
    show(dir, &checked, as_json);
    if checked.is_good() { Ok(()) } else { Err(Failure::new("the server would not load this plugin")) }
}

/// Prints what was found, and the plugin if it can run.
pub(super) fn show(dir: &Path, checked: &Checked, as_json: bool) {
    if as_json {
        print::json(&json!({ "good": checked.is_good(), "findings": checked.findings, "plugin": plugin(checked) }));
    } else {
        print(dir, checked);
    }
}

/// Prints one finding, and what to do about it.
pub(super) fn print_finding(it: &Finding) {
    let word = match it.severity {
        Severity::Error => style("error").red().bold(),
        Severity::Warning => style("warning").yellow().bold(),
    };
    print::styled(word, format_args!(": {}: {}", it.file.display(), it.reason));
    if let Some(fix) = &it.fix {
        print::styled(format_args!("  {}", style("fix").bold()), format_args!(": {fix}"));
    }
}

fn print(dir: &Path, checked: &Checked) {
    checked.findings.iter().for_each(print_finding);
    if let Some(it) = &checked.integration {
        match &it.plugin {
            Some(plugin) => {
                let imports = plugin.imports();
                let imports = if imports.is_empty() { "nothing".to_owned() } else { imports.join(", ") };
                let kind = match plugin.abi() {
                    Abi::Component => "a component",
                    Abi::Command => "a command",
                    Abi::Script if plugin.source().is_some_and(MappingSource::is_expressions) => "expressions",
                    Abi::Script => "a script",
                };
                let digest = it.provenance.script_sha256.as_ref().unwrap_or(&it.provenance.module_sha256);
                say!("{} {}: {kind}, sha256 {digest}", it.name, it.version);
                say!("imports {imports}");
            }
            None => say!("{} {}: no mapping yet", it.name, it.version),
        }
        if it.captures {
            say!("captures deliveries: they are stored, and not mapped");
        }
        in_effect(it).iter().for_each(|line| say!("{line}"));
    }
    if checked.is_good() {
        print::styled(style("good").green().bold(), format_args!(": the server would load {}", dir.display()));
    }
}

fn plugin(checked: &Checked) -> Option<serde_json::Value> {
    checked.integration.as_ref().map(|it| {
        json!({
            "name": it.name, "version": it.version, "abi": it.plugin.as_ref().map(Plugin::abi), "captures": it.captures,
            "imports": it.plugin.as_ref().map(Plugin::imports).unwrap_or_default(),
            "sha256": it.provenance.module_sha256, "script_sha256": it.provenance.script_sha256, "schema_sha256": it.provenance.schema_sha256,
            "sender": it.sender.as_ref().map(|it| &it.name), "trust": it.trust, "in_effect": in_effect(it),
        })
    })
}
