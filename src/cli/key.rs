//! `hookmill key create|list|revoke`
//!
//! On a stopped server's data directory these open the store. A running server holds that directory, so they
//! then speak to its admin API, with the token that the server left there for whoever may read it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::remote::{Elsewhere, Remote, text};
use super::{Failure, runtime};
use crate::app::{KeyRequest, now};
use crate::audit::{Action, COMMAND_LINE, Entry};
use crate::auth::{ApiKey, CompanyId, Scope, key};
use crate::cli::print::{self, say, tell};
use crate::config::Config;
use crate::store::{Embedded, Store as _, StoreError};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill key create --company company-1 --scope tasks:write --label 'n8n on ward 3'
  hookmill key create --company company-1 --scope tasks:read --expires 2027-01-31T00:00:00Z --json
  hookmill key list
  hookmill key revoke key_4f0c31a2b7d9

With a server running on --data-dir, they go through its admin API by themselves.
For a server on another machine: --server URL, and an admin key in HOOKMILL_API_KEY.")]
pub(super) struct Key {
    #[command(subcommand)]
    action: Asked,
    #[command(flatten)]
    elsewhere: Elsewhere,
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Asked {
    /// Make a key and print it, once
    Create(Create),
    /// List keys: ids, companies, scopes; never the keys
    List,
    /// Make a key open nothing from now on
    Revoke {
        /// The key's id, from `hookmill key list`
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Whose tasks it reaches
    #[arg(long)]
    company: CompanyId,
    /// What it may do; may be given several times
    #[arg(long = "scope", value_enum, required = true)]
    scopes: Vec<Scope>,
    /// Expiry time (RFC 3339) [default: never]
    #[arg(long, value_name = "TIME")]
    expires: Option<DateTime<Utc>>,
    /// A note: whose key it is, what for
    #[arg(long, default_value = "", value_parser = crate::auth::key::label)]
    label: String,
    /// Zone of deadlines without an offset, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<chrono_tz::Tz>,
    /// Take the documented shape only, and loosen nothing
    #[arg(long)]
    strict: bool,
}

impl Key {
    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        let answer = match self.elsewhere.remote(&config.data_dir) {
            Some(remote) => self.through(&remote)?,
            None => match Embedded::open(&config.data_dir, &config.store) {
                Ok(store) => runtime()?.block_on(self.directly(&store))?,
                Err(StoreError::InUse { dir, holder }) => {
                    return Err(Failure {
                        message: format!(
                            "{dir} is held by {holder}, which has not said how to reach it yet; try again in a moment"
                        ),
                        code: 3,
                    });
                }
                Err(error) => return Err(error.into()),
            },
        };
        self.print(&answer);
        Ok(())
    }

    fn through(&self, remote: &Remote) -> Result<Value, Failure> {
        match &self.action {
            Asked::Create(create) => remote.call("POST", "/v1/admin/keys", Some(create.request())),
            Asked::List => remote.call("GET", "/v1/admin/keys", None),
            Asked::Revoke { id } => remote.call("DELETE", &format!("/v1/admin/keys/{id}"), None),
        }
    }

    async fn directly(&self, store: &Embedded) -> Result<Value, Failure> {
        match &self.action {
            Asked::Create(create) => {
                let (id, secret) = key::generate().map_err(Failure::new)?;
                let request = create.key_request();
                request.check().map_err(|message| Failure { message, code: 2 })?;
                let stored = request.into_key(id, &secret, now());
                let entry = Entry::new(COMMAND_LINE, Action::KeyCreated, &stored.id, now());
                let entry = entry.of(&stored.company_id).with(stored.scope_names());
                store.put_key(stored.clone(), entry, None).await?;
                Ok(json!({ "key": secret, "details": stored }))
            }
            Asked::List => {
                let mut keys = store.keys().await?;
                keys.sort_by_key(|a| a.created_at);
                Ok(json!({ "data": keys }))
            }
            Asked::Revoke { id } => {
                let found = store.keys().await?.into_iter().find(|it| it.id.0 == *id);
                let key = found.ok_or_else(|| Failure::new("no such key; `hookmill key list` shows the ids"))?;
                let revoked_at = key.revoked_at.or(Some(now()));
                let entry = Entry::new(COMMAND_LINE, Action::KeyRevoked, &key.id, now()).of(&key.company_id);
                store.put_key(ApiKey { revoked_at, ..key }, entry, None).await?;
                Ok(Value::Null)
            }
        }
    }

    fn print(&self, answer: &Value) {
        if self.json {
            print::json(&if answer.is_null() { json!({ "revoked": true }) } else { answer.clone() });
            return;
        }
        match &self.action {
            Asked::Create(_) => {
                say!("{}", text(&answer["key"]));
                tell!("This is shown once. Its id is {}.", text(&answer["details"]["id"]));
            }
            Asked::List => print_table(&answer["data"]),
            Asked::Revoke { id } => say!("{id} is revoked"),
        }
    }
}

impl Create {
    fn key_request(&self) -> KeyRequest {
        KeyRequest {
            label: self.label.clone(),
            company_id: self.company.clone(),
            scopes: self.scopes.clone(),
            expires_at: self.expires,
            timezone: self.timezone,
            strict: self.strict,
        }
    }

    fn request(&self) -> Value {
        json!({
            "label": self.label, "company_id": self.company, "scopes": self.scopes,
            "expires_at": self.expires, "timezone": self.timezone, "strict": self.strict,
        })
    }
}

fn print_table(keys: &Value) {
    let empty = Vec::new();
    say!("{:<17} {:<16} {:<9} {:<24} SCOPES, LABEL", "ID", "COMPANY", "STATE", "CREATED");
    for key in keys.as_array().unwrap_or(&empty) {
        let expired =
            key["expires_at"].as_str().and_then(|t| t.parse::<DateTime<Utc>>().ok()).is_some_and(|end| end <= now());
        let state = if !key["revoked_at"].is_null() {
            "revoked"
        } else if expired {
            "expired"
        } else {
            "good"
        };
        let scopes: Vec<_> = key["scopes"].as_array().unwrap_or(&empty).iter().map(text).collect();
        let (id, company, created) = (text(&key["id"]), text(&key["company_id"]), text(&key["created_at"]));
        say!("{id:<17} {company:<16} {state:<9} {created:<24} {}  {}", scopes.join(","), text(&key["label"]));
    }
}
