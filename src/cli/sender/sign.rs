//! `hookmill sender sign NAME < body`

use std::io::Read as _;
use std::path::PathBuf;

use super::request::SignedCall;
use crate::auth::sender::{Chosen, Sender, Signable, SignedRequest};
use crate::auth::signature::SenderSettings;
use crate::cli::failure::Failure;
use crate::cli::flags::{DataDirFlag, PluginsDirFlag};
use crate::cli::print;
use crate::cli::print::say;
use crate::cli::remote::Remote;
use crate::config::{Config, Options};
use crate::integration::SigningParts;
use crate::model::ids::new_id;
use crate::model::secret::Secret;
use crate::model::time::now;
use crate::system::folder::Folder;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill sender sign --plugin retell-calls < call.json           with everything from that plugin.toml
  hookmill sender sign --plugin retell-calls --run < call.json     sends it, and prints the answer
  hookmill sender sign retell --secret-name RETELL_SECRET --body-file call.json
  hookmill sender sign twilio --secret-name TWILIO_SECRET --signed-url https://hooks.example.com/v1/hooks/sms < form.txt

The secret is read as the server reads it: from the environment variable with its name, the file that NAME_FILE names, or
secrets_file. A signature with a time is valid for a few minutes.")]
pub(super) struct SignCommand {
    /// The sender's name, from `hookmill sender list`
    #[arg(conflicts_with = "plugin")]
    name: Option<String>,
    /// Take sender, secret and settings from this plugin's folder: a name in the plugins folder, or a path
    #[arg(long, value_name = "PLUGIN")]
    plugin: Option<PathBuf>,
    /// Name of the secret [default: the first one of the plugin that is set]
    #[arg(long, value_name = "NAME")]
    secret_name: Option<String>,
    /// Where to send it [default: the integration on the running server, or on the address of the settings]
    #[arg(long)]
    url: Option<String>,
    /// The address that the sender signs, if it signs one and it differs from --url
    #[arg(long, value_name = "URL", conflicts_with = "plugin")]
    signed_url: Option<String>,
    /// A setting of the sender, such as webhook_id=WH-1; repeat the flag for several
    #[arg(long = "setting", value_name = "NAME=VALUE", conflicts_with = "plugin")]
    settings: Vec<String>,
    /// The user name of Basic authentication
    #[arg(long, conflicts_with = "plugin")]
    username: Option<String>,
    /// Which of the sender's proofs [default: that of the plugin, or the first one that can be made here]
    #[arg(long)]
    proof: Option<String>,
    /// Content-Type of the body [default: that of the sender's bodies]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Read the body from this file, and let curl read it from there [default: stdin]
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// Send it, and print the answer
    #[arg(long)]
    run: bool,
    /// Print the command even if it contains the secret itself
    #[arg(long)]
    show_secret: bool,
    #[command(flatten)]
    plugins: PluginsDirFlag,
    #[command(flatten)]
    data: DataDirFlag,
}

impl SignCommand {
    pub(super) fn options(&self) -> Options {
        Options { plugins_dir: self.plugins.options().plugins_dir, ..self.data.options() }
    }

    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let mut parts = self.parts(config)?;
        let (secret_name, secret) = self.secret(&parts, config)?;
        let server = Remote::holding(&config.data_dir);
        let listen = || format!("http://{}", config.listen);
        let base = server.as_ref().map_or_else(listen, |it| it.base().to_owned());
        let url = self.url.clone().unwrap_or_else(|| format!("{base}/v1/hooks/{}", parts.name));
        if parts.settings.url.is_empty() {
            parts.settings.url.clone_from(&url);
        }
        let body = self.body()?;
        let content_type = self.content_type.as_deref().unwrap_or_else(|| content_type(&parts));
        let id = new_id(now()).to_string();
        let signable = Signable {
            body: &body,
            content_type,
            secret: &secret,
            username: &parts.username,
            settings: &parts.settings,
            at: now(),
            id: &id,
        };
        let mut signed = parts.chosen.sign(&signable).map_err(Failure::new)?;
        let reveals = reveals(&signed, &parts.chosen, &secret);
        let changed = signed.body.take();
        // A file has the body without its token.
        let body_file = self.body_file.as_deref().filter(|_| changed.is_none());
        let call = call(signed, &url, content_type, changed.unwrap_or(body));
        if self.run {
            let own = server.as_ref().filter(|it| url.starts_with(it.base())).zip(parts.company_id.as_deref());
            return call.run(own, as_json);
        }
        if reveals && !self.show_secret {
            return Err(Failure::usage(format!(
                "a request of this sender contains the secret {secret_name} itself: use --run, or --show-secret to print it"
            )));
        }
        let command = call.curl(body_file);
        if as_json {
            let mut shown = call.json();
            shown["command"] = command.into();
            print::json(&shown);
        } else {
            say!("{command}");
        }
        Ok(())
    }

    fn parts(&self, config: &Config) -> Result<SigningParts, Failure> {
        if let Some(plugin) = &self.plugin {
            let is_path = plugin.join("plugin.toml").is_file() || plugin.components().count() > 1;
            let path = if is_path { plugin.clone() } else { config.plugins_dir.join(plugin) };
            let none = |e| {
                Failure::new(format!(
                    "{}: {e}; name a folder of {}, or its path",
                    path.display(),
                    config.plugins_dir.display()
                ))
            };
            let folder = Folder::open(&path).map_err(none)?;
            let mut parts = SigningParts::of(&folder, &config.senders).map_err(Failure::new)?;
            if let (Some(proof), Some(sender)) = (&self.proof, &parts.sender) {
                parts.chosen = sender.choose(Some(proof), !parts.username.is_empty()).map_err(Failure::usage)?;
            }
            return Ok(parts);
        }
        let Some(name) = self.name.clone() else {
            return Err(Failure::usage("name a sender, or an integration with --plugin"));
        };
        if self.run && self.url.is_none() {
            return Err(Failure::usage(format!(
                "{name} is a sender, and an integration may have another name: use --plugin, or add --url"
            )));
        }
        let sender = config.senders.files.get(&name).map_err(Failure::usage)?;
        let chosen = sender.choose(self.proof.as_deref(), self.username.is_some()).map_err(Failure::usage)?;
        if matches!(chosen, Chosen::Basic) && self.username.is_none() {
            return Err(Failure::usage(format!("{name} sends a user name and a password: add --username")));
        }
        let mut settings =
            SenderSettings { url: self.signed_url.clone().unwrap_or_default(), ..SenderSettings::default() };
        for it in &self.settings {
            let (name, value) = it.split_once('=').ok_or_else(|| Failure::usage("--setting must be NAME=VALUE"))?;
            settings.values.insert(name.to_owned(), value.to_owned());
        }
        let missing = sender.settings.keys().find(|it| chosen.needs_setting(it) && !settings.values.contains_key(*it));
        if let Some(missing) = missing {
            return Err(Failure::usage(format!("{name} signs a setting: add --setting {missing}=VALUE")));
        }
        Ok(SigningParts {
            name,
            company_id: None,
            sender: Some(sender),
            chosen,
            secret_names: Vec::new(),
            other_names: Vec::new(),
            allows_weak: false,
            secret: None,
            username: self.username.clone().unwrap_or_default(),
            settings,
        })
    }

    fn secret(&self, parts: &SigningParts, config: &Config) -> Result<(String, Secret), Failure> {
        if let Some(name) = &self.secret_name {
            let unset = || {
                Failure::usage(format!(
                    "the secret {name} is not set: set it in the environment, or with `hookmill secret set {name}`"
                ))
            };
            return Ok((name.clone(), config.senders.secrets.get(name).ok_or_else(unset)?));
        }
        // A sender whose keys are fetched has none; signing says why it is not possible.
        let needless = !parts.chosen.needs_secret() && !matches!(parts.chosen, Chosen::ApiKey);
        match &parts.secret {
            Some(found) => Ok(found.clone()),
            None if needless => Ok((String::new(), Secret::new(String::new()))),
            None if matches!(parts.chosen, Chosen::ApiKey) => Err(Failure::usage(
                "its deliveries have an API key with the scope hooks:write: `hookmill key create` makes one; put it into an environment variable, and name that with --secret-name",
            )),
            None if parts.secret_names.is_empty() => {
                Err(Failure::usage("name the secret with --secret-name; never the secret itself"))
            }
            None => {
                let learns = parts.sender.iter().flat_map(|it| &it.handshakes).any(|it| it.learn.is_some());
                let how = if learns {
                    format!("the sender sends it in a handshake, then `hookmill sender confirm {}` sets it", parts.name)
                } else {
                    "set it with `hookmill secret set NAME`".to_owned()
                };
                let names = parts.secret_names.join(", ");
                Err(Failure::usage(format!("none of its secrets is set here ({names}): {how}")))
            }
        }
    }

    fn body(&self) -> Result<Vec<u8>, Failure> {
        match &self.body_file {
            Some(file) => std::fs::read(file).map_err(|e| Failure::new(format!("{}: {e}", file.display()))),
            None => {
                let mut body = Vec::new();
                std::io::stdin().lock().read_to_end(&mut body).map_err(Failure::new)?;
                Ok(body)
            }
        }
    }
}

/// Returns what the sender's example has, or the type of its bodies.
fn content_type(parts: &SigningParts) -> &str {
    parts.sender.as_deref().map_or("application/json", Sender::usual_type)
}

/// Returns whether a request contains the secret, and not only a signature.
fn reveals(signed: &SignedRequest, chosen: &Chosen, secret: &Secret) -> bool {
    let secret = secret.expose();
    let contains = |all: &[(String, String)]| !secret.is_empty() && all.iter().any(|(_, it)| it.contains(secret));
    !matches!(chosen, Chosen::Checked(_))
        || signed.body.is_some()
        || contains(&signed.headers)
        || contains(&signed.query)
}

fn call(signed: SignedRequest, url: &str, content_type: &str, body: Vec<u8>) -> SignedCall {
    let mut url = url.to_owned();
    if let Some(segment) = &signed.segment {
        url = format!("{}/{segment}", url.trim_end_matches('/'));
    }
    if !signed.query.is_empty() {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&signed.query).finish();
        url = format!("{url}{}{query}", if url.contains('?') { '&' } else { '?' });
    }
    let mut headers = vec![("content-type".to_owned(), content_type.to_owned())];
    headers.extend(signed.headers.into_iter().filter(|(name, _)| name != "content-type"));
    SignedCall { url, headers, body }
}
