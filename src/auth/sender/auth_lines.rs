//! The lines of plugin.toml that name a sender.

use super::description::{Chosen, Sender};

/// Returns `[auth]` of a plugin.toml for this sender and integration, with placeholders for its settings.
#[must_use]
pub fn auth_lines(sender: &Sender, integration: &str) -> String {
    let chosen = sender.choose(None, false).unwrap_or(Chosen::ApiKey);
    let mut lines = vec!["[auth]".to_owned(), line("sender", &sender.name, "")];
    let prefix = prefix(&sender.name);
    if chosen.needs_secret() {
        lines.push(line("secret", &format!("{prefix}_SECRET"), &sender.setup.secret));
    }
    if chosen.needs_url() && sender.settings.contains_key("url") {
        let url = format!("https://hooks.example.com/v1/hooks/{integration}");
        lines.push(line("url", &url, "the address that you configure at the sender"));
    }
    if matches!(chosen, Chosen::Basic) && sender.settings.contains_key("username") {
        lines.push(line("username", "hookmill", &sender.settings["username"]));
    }
    if !sender.secrets.is_empty() {
        lines.extend([String::new(), "[auth.secrets]".to_owned()]);
        let named = |name: &str| format!("{prefix}_{}", screaming(name));
        lines.extend(sender.secrets.iter().map(|(name, what)| line(name, &named(name), what)));
    }
    let needed: Vec<_> = sender.settings.iter().filter(|(name, _)| chosen.needs_setting(name)).collect();
    if !needed.is_empty() {
        lines.extend([String::new(), "[auth.settings]".to_owned()]);
        lines.extend(needed.into_iter().map(|(name, what)| line(name, "replace-me", what)));
    }
    lines.join("\n") + "\n"
}

fn line(name: &str, value: &str, comment: &str) -> String {
    let plain = name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it));
    let name = if plain { name.to_owned() } else { serde_json::Value::from(name).to_string() };
    let setting = format!("{name} = {}", serde_json::Value::from(value));
    // One line, whatever the file says.
    let comment: Vec<_> = comment.split(|it: char| it.is_control()).collect();
    let comment = comment.join(" ");
    if comment.trim().is_empty() { setting } else { format!("{setting:<32} # {}", comment.trim()) }
}

/// Returns the beginning of the names of a sender's secrets.
fn prefix(name: &str) -> String {
    let name = screaming(name);
    if name.starts_with(|it: char| it.is_ascii_digit()) { format!("SENDER_{name}") } else { name }
}

fn screaming(name: &str) -> String {
    name.chars().map(|it| if it.is_ascii_alphanumeric() { it.to_ascii_uppercase() } else { '_' }).collect()
}
