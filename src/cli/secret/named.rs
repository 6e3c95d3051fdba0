//! Which integrations name a secret.

use crate::config::Config;
use crate::integration::SigningParts;
use crate::integration::load::open_in;

/// Returns what the plugin folders say about their secrets; folders that cannot be read are left out.
pub(super) fn integrations(config: &Config) -> Vec<SigningParts> {
    let entries = std::fs::read_dir(&config.plugins_dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|it| it.file_name()).collect();
    names.retain(|it| !it.as_encoded_bytes().starts_with(b"."));
    names.sort();
    let folders = names.iter().filter_map(|name| open_in(&config.plugins_dir, name).ok());
    folders.filter_map(|it| SigningParts::of(&it, &config.senders).ok()).collect()
}

/// Returns whether an integration names this secret.
pub(super) fn names(it: &SigningParts, secret: &str) -> bool {
    it.secret_names.iter().chain(&it.other_names).any(|name| name == secret)
}
