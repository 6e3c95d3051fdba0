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
use crate::integration::check::{Checked, Severity, check};
use crate::model::time::now;

pub(super) fn run(config: &Config, dir: &Path, as_json: bool) -> Result<(), Failure> {
    let folder = folder(dir)?;
    let mut checked = check(&host(config)?, &folder, &config.senders, now());
    let manifest = folder.join("plugin.toml");
    let more = checked.integration.as_ref().map(|it| advice(it, &manifest, &config.outbound_hosts));
    checked.findings.extend(more.into_iter().flatten());
    if as_json {
        print::json(&json!({ "good": checked.is_good(), "findings": checked.findings, "plugin": plugin(&checked) }));
    } else {
        print(dir, &checked);
    }
    if checked.is_good() { Ok(()) } else { Err(Failure::new("the server would not load this plugin")) }
}

fn print(dir: &Path, checked: &Checked) {
    for it in &checked.findings {
        let word = match it.severity {
            Severity::Error => style("error").red().bold(),
            Severity::Warning => style("warning").yellow().bold(),
        };
        print::styled(word, format_args!(": {}: {}", it.file.display(), it.reason));
        if let Some(fix) = &it.fix {
            print::styled(format_args!("  {}", style("fix").bold()), format_args!(": {fix}"));
        }
    }
    if let Some(it) = &checked.integration {
        let imports = it.plugin.imports();
        let imports = if imports.is_empty() { "nothing".to_owned() } else { imports.join(", ") };
        say!("{} {}: a {:?}, sha256 {}", it.name, it.version, it.plugin.abi(), it.provenance.module_sha256);
        say!("imports {imports}");
        in_effect(it).iter().for_each(|line| say!("{line}"));
    }
    if checked.is_good() {
        print::styled(style("good").green().bold(), format_args!(": the server would load {}", dir.display()));
    }
}

fn plugin(checked: &Checked) -> Option<serde_json::Value> {
    checked.integration.as_ref().map(|it| {
        json!({
            "name": it.name, "version": it.version, "abi": it.plugin.abi(), "imports": it.plugin.imports(),
            "sha256": it.provenance.module_sha256, "schema_sha256": it.provenance.schema_sha256,
            "sender": it.sender.as_ref().map(|it| &it.name), "trust": it.trust, "in_effect": in_effect(it),
        })
    })
}
