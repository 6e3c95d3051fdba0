//! What a sender's page says: its steps, its integrations, and the form for a test.

use maud::{Markup, html};
use serde_json::Value;

use super::super::page::PageCall;
use super::super::parts;
use super::trust;

/// The name of an integration that is still to be made.
pub(super) struct AskedName(Option<String>);

impl AskedName {
    pub(super) fn of(page: &PageCall) -> Self {
        let plain = |it: &u8| it.is_ascii_lowercase() || it.is_ascii_digit() || *it == b'-';
        let name = page.query("name").map(str::trim).filter(|it| it.len() <= 64 && it.as_bytes().iter().all(plain));
        Self(name.map(str::to_owned))
    }

    fn or<'a>(&'a self, sender: &'a str) -> &'a str {
        self.0.as_deref().unwrap_or(sender)
    }
}

/// The page.
pub(super) fn content(page: &PageCall, sender: &Value, asked: &AskedName, result: &Markup) -> Markup {
    let used = sender["used_by"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        div.toolbar {
            h1 { "Connect " (parts::visible(parts::text(sender, "title"))) " " (trust(parts::text(sender, "trust"))) }
            a href=(page.link("/console/connect")) { "All senders" }
        }
        (result)
        @if !used.is_empty() { (connected(page, sender, used)) }
        (steps(page, sender, asked, used.is_empty()))
        (more(sender))
    }
}

/// Its integrations, with what is still missing, and the form for a test.
fn connected(page: &PageCall, sender: &Value, used: &[Value]) -> Markup {
    let testable: Vec<_> = used.iter().filter(|it| it["no_test"].is_null()).collect();
    html! {
        section.card aria-labelledby="connected" {
            h2 #connected { "Connected" }
            @for (n, it) in used.iter().enumerate() {
                h3 { (parts::text(it, "name")) }
                (url_to_paste(page, it["signed_url"].as_str(), parts::text(it, "path"), sender["secret_in_url"] == true, n + 1))
                (parts::key_value([("Secrets", secrets(it))]))
                @if let Some(why) = it["no_test"].as_str() { p { strong { "No test can be sent: " } (parts::visible(why)) "." } }
            }
        }
        @if !testable.is_empty() { (test_form(page, sender, &testable)) }
    }
}

/// The result of a test, and what was entered for it, if the sender cannot be read.
pub(super) fn test_again(page: &PageCall, sender: &Value, result: &Markup) -> Markup {
    let used: Vec<_> = sender["used_by"].as_array().into_iter().flatten().collect();
    html! { h1 { "Connect " (parts::visible(parts::text(sender, "title"))) } (result) (test_form(page, sender, &used)) }
}

/// The form for a test, with what was entered before.
fn test_form(page: &PageCall, sender: &Value, testable: &[&Value]) -> Markup {
    // A field that was emptied stays so: it then means the example.
    let entered = page.form_all().iter().find(|(name, _)| name == "body").map(|(_, it)| it.as_str());
    let chosen = page.form("integration");
    html! {
        section.card aria-labelledby="test" {
            h2 #test { "Send a test" }
            p { "The server signs a delivery with the integration's own secret, and sends it to itself: it passes the same checks as any other." }
            form.stack method="post" action=(page.link(&format!("/console/connect/{}", parts::text(sender, "name")))) {
                (parts::form_field(page))
                label for="to" { "Integration" }
                select #to name="integration" { @for it in testable { option value=(parts::text(it, "name")) selected[chosen == it["name"].as_str()] { (parts::text(it, "name")) } } }
                details open[entered.is_some()] {
                    summary { "Body" }
                    label for="body" { "Left empty, it is the example of the sender's file" }
                    textarea #body name="body" rows="8" spellcheck="false" { "\n" (entered.or(sender["example"].as_str()).unwrap_or("{}")) }
                }
                button.primary type="submit" { "Send a test" }
            }
        }
    }
}

fn secrets(integration: &Value) -> Markup {
    let all = integration["secrets"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        @if all.is_empty() { span.muted { "it needs none" } }
        @for it in all {
            code { (parts::visible(parts::text(it, "name"))) } " "
            @if it["is_set"] == true { span.chip.chip-ok { "set" } }
            @else { span.chip.chip-bad { "not set" } " " code { "hookmill secret set " (parts::text(it, "name")) } }
            " "
        }
    }
}

/// The steps to a new integration.
fn steps(page: &PageCall, sender: &Value, asked: &AskedName, open: bool) -> Markup {
    let name = asked.or(parts::text(sender, "name"));
    let lines = parts::text(sender, "plugin_toml").replace("NAME", name);
    let names: Vec<_> = sender["secret_names"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let said = |field: &str, otherwise: &str| {
        let text = parts::text(sender, field);
        if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
    };
    html! {
        details.card open[open] {
            summary { @if open { "Steps" } @else { "Connect another integration" } }
            form.row method="get" action=(format!("/console/connect/{}", parts::text(sender, "name"))) {
                @if let Some(company) = page.query("company") { input type="hidden" name="company" value=(company); }
                label for="name" { "Name of the integration" }
                input #name name="name" type="text" value=(name) pattern="[a-z0-9\\-]{1,64}" maxlength="64" autocomplete="off" spellcheck="false";
                button type="submit" { "Use this name" }
            }
            ol {
                li {
                    p { strong { "Paste the URL at the sender. " } (parts::visible(&said("paste_url", "Where its settings ask for the URL of a webhook."))) }
                    (url_to_paste(page, None, &format!("/v1/hooks/{name}"), sender["secret_in_url"] == true, 0))
                }
                li {
                    p { strong { "Put these lines into plugin.toml" } " of the folder " code { (name) } "; " code { "hookmill plugin new" } " makes the folder." }
                    pre #lines tabindex="0" { (lines) }
                    (copy_button("lines", "Copy the lines"))
                }
                li {
                    p { strong { "Set the secret. " } (parts::visible(&said("paste_secret", "The sender's settings show or ask for it."))) }
                    @for it in &names { p { code { "hookmill secret set " (it) } } }
                    @if names.is_empty() { p.muted { "This sender needs no secret on the server." } }
                }
                @if !parts::text(sender, "note").is_empty() {
                    li { p { strong { "Note. " } (parts::visible(parts::text(sender, "note"))) } }
                }
                li { p { strong { "Come back to this page" } " when the integration is live, and send a test." } }
            }
        }
    }
}

/// The URL that the sender calls.
fn url_to_paste(page: &PageCall, signed: Option<&str>, path: &str, has_secret: bool, n: usize) -> Markup {
    let id = format!("url-{n}");
    let ours = format!("{}{path}{}", origin(page), if has_secret { "/SECRET" } else { "" });
    let url = signed.unwrap_or(&ours);
    html! {
        div.row {
            label for=(id) { "URL" }
            input.mono id=(id) type="text" value=(url) readonly size="60";
            (copy_button(&id, "Copy the URL"))
        }
        @if has_secret { p.muted.small { "Replace SECRET by the secret itself: this sender has no other way to prove its deliveries." } }
        @if signed.is_none() { p.muted.small { "If senders reach this server at another address than you, use that one." } }
    }
}

/// The address at which the visitor reaches this server.
fn origin(page: &PageCall) -> String {
    let call = page.call();
    let proxied = |name| page.header(name).filter(|_| call.app.proxies.trust(call.exchange.wire.address()));
    let host = proxied("x-forwarded-host").or_else(|| page.header("host")).unwrap_or("hooks.example.com");
    let is_local = host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("[::1]");
    let scheme = proxied("x-forwarded-proto").unwrap_or(if is_local { "http" } else { "https" });
    format!("{}://{host}", if scheme == "http" { "http" } else { "https" })
}

/// A button that only a script serves.
fn copy_button(of: &str, name: &str) -> Markup {
    html! { button type="button" data-copy=(of) data-scripted hidden { (name) } }
}

/// What else is known about the sender.
fn more(sender: &Value) -> Markup {
    let pairs = |name: &str| -> Vec<(String, String)> {
        let all = sender[name].as_object().into_iter().flatten();
        all.map(|(name, what)| (name.clone(), what.as_str().unwrap_or_default().to_owned())).collect()
    };
    let list = |all: &[(String, String)]| html! { @for (name, what) in all { p { code { (name) } ": " (parts::visible(what)) } } };
    let (secrets, settings, hosts) = (pairs("other_secrets"), pairs("settings"), pairs("outbound_hosts"));
    html! {
        details.card {
            summary { "How it proves its deliveries" }
            ul { @for it in sender["proofs"].as_array().into_iter().flatten().filter_map(Value::as_str) { li { (parts::visible(it)) } } }
            @if !secrets.is_empty() { h3 { "Other secrets" } (list(&secrets)) }
            @if !settings.is_empty() { h3 { "Settings" } (list(&settings)) }
            @if !hosts.is_empty() { h3 { "Hosts for [outbound] in hookmill.toml" } (list(&hosts)) }
            p {
                "Its documentation: "
                a href=(parts::text(sender, "docs")) rel="noreferrer" { (parts::visible(parts::text(sender, "docs"))) }
                ", read " (parts::visible(parts::text(sender, "checked")))
            }
        }
    }
}
