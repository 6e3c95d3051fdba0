//! What is needed to sign a delivery for an integration, to try it.

use std::sync::Arc;

use super::load::own_sender;
use super::manifest::Manifest;
use crate::auth::Senders;
use crate::auth::sender::{Chosen, Sender};
use crate::auth::signature::SenderSettings;
use crate::model::secret::Secret;
use crate::system::folder::Folder;

/// What is needed to sign a delivery for an integration.
#[derive(Debug)]
pub struct SigningParts {
    /// The integration's name.
    pub name: String,
    /// Its company, if it is an integration.
    pub company_id: Option<String>,
    /// Its sender, if it names one.
    pub sender: Option<Arc<Sender>>,
    /// How deliveries are proved.
    pub chosen: Chosen,
    /// The names of its main secrets.
    pub secret_names: Vec<String>,
    /// The names of its other secrets.
    pub other_names: Vec<String>,
    /// Whether a secret may be easy to guess.
    pub allows_weak: bool,
    /// The first secret that is set, with its name.
    pub secret: Option<(String, Secret)>,
    /// The user name of Basic authentication.
    pub username: String,
    /// URL and other settings.
    pub settings: SenderSettings,
}

impl SigningParts {
    /// Reads them from a plugin folder.
    ///
    /// # Errors
    /// What is wrong with its plugin.toml or sender file.
    pub fn of(folder: &Folder, senders: &Senders) -> Result<Self, String> {
        let text = Manifest::text(folder).map_err(|it| it.to_string())?;
        let wrong = |cause: String| format!("{}: {cause}", folder.join("plugin.toml").display());
        let manifest = Manifest::parse(&text).map_err(wrong)?;
        let own = own_sender(folder, &manifest).map_err(wrong)?;
        let chosen = manifest.auth.choose(own, &senders.files).map_err(wrong)?;
        let main = manifest.auth.main_names();
        let (secret, username, settings) = manifest.auth.signing(&senders.secrets);
        Ok(Self {
            name: manifest.name,
            company_id: Some(manifest.company_id),
            sender: chosen.sender,
            chosen: chosen.chosen,
            other_names: manifest.auth.secret_names().skip(main.len()).cloned().collect(),
            secret_names: main,
            allows_weak: manifest.auth.allow_weak_secret,
            secret,
            username,
            settings,
        })
    }
}
