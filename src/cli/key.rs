//! `hookmill key create|list|revoke`
//!
//! On a stopped server's data directory, these commands open the store. A running server holds that directory, so
//! they use its admin API then, with the token that the server has put there for users who can read the directory.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::exit::ExitStatus;
use super::failure::Failure;
use super::flags::DataDirFlag;
use super::print::{say, tell};
use super::remote::{Elsewhere, Remote, text};
use super::{open, print, runtime};
use crate::auth::{ApiKey, Scope, key};
use crate::config::{Config, Options};
use crate::model::audit::{Action, COMMAND_LINE, Entry};
use crate::model::company::CompanyId;
use crate::model::time::now;
use crate::service::app::KeyRequest;
use crate::store::{Store, StoreError};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill key create --company company-1 --scope tasks:write --label 'n8n on ward 3'
  hookmill key create --company company-1 --scope tasks:read --expires 2027-01-31T00:00:00Z --json
  hookmill key list
  hookmill key revoke key_4f0c31a2b7d9
  HOOKMILL_DATABASE_URL=postgres://hookmill:…@db.example.org/hookmill hookmill key list

If a server is running on --data-dir, the commands use its admin API. Otherwise they open the data directory themselves,
or the database of --database-url or the settings file; running servers on that database notice the change at once.
For a server on another machine, use --server URL and an admin key in HOOKMILL_API_KEY.")]
pub(super) struct Key {
    #[command(subcommand)]
    action: Asked,
    #[command(flatten)]
    data: DataDirFlag,
    #[command(flatten)]
    elsewhere: Elsewhere,
    /// Print JSON for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Asked {
    /// Create a key and print it; it is not shown again
    Create(Create),
    /// List keys with id, company, state and scopes, but not the keys themselves
    List,
    /// Revoke a key; it stops working at once
    Revoke {
        /// The key's id, from `hookmill key list`
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The company that the key belongs to
    #[arg(long)]
    company: CompanyId,
    /// What the key may do; repeat the flag for several scopes
    #[arg(long = "scope", value_enum, required = true)]
    scopes: Vec<Scope>,
    /// Expiry time (RFC 3339) [default: never]
    #[arg(long, value_name = "TIME")]
    expires: Option<DateTime<Utc>>,
    /// A note, such as who uses the key
    #[arg(long, default_value = "", value_parser = crate::auth::key::label)]
    label: String,
    /// Time zone of deadlines without an offset, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<chrono_tz::Tz>,
    /// Accept only the documented form of a task, with no loose values
    #[arg(long)]
    strict: bool,
}

impl Key {
    pub(super) fn options(&self) -> Options {
        self.data.options()
    }

    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        let answer = match self.elsewhere.remote(&config.data_dir) {
            Some(remote) => self.through(&remote)?,
            None => match open::store(config) {
                Ok(store) => runtime()?.block_on(self.directly(&*store))?,
                Err(StoreError::InUse { dir, holder }) => {
                    return Err(Failure {
                        message: format!("{dir} is held by {holder}, which is still starting; try again in a moment"),
                        status: ExitStatus::InUse,
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

    async fn directly(&self, store: &dyn Store) -> Result<Value, Failure> {
        match &self.action {
            Asked::Create(create) => {
                let (id, secret) = key::generate().map_err(Failure::new)?;
                let request = create.key_request();
                request.check().map_err(Failure::usage)?;
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
                let key = found.ok_or_else(|| Failure::new("no key has this id; see `hookmill key list`"))?;
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
                tell!("This key is shown only once. Its id is {}.", text(&answer["details"]["id"]));
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
