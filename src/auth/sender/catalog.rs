//! Sender files by name: the shipped ones, and those in the folder of an admin.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock};

use super::description::Sender;
use super::file::SenderTable;
use crate::system::nearest::nearest;

/// Maximum size of a sender file, in bytes.
pub const SENDER_BYTES: u64 = 256 * 1024;

macro_rules! shipped {
    ($($name:literal)*) => { &[$(($name, include_str!(concat!("../../../senders/", $name, ".toml")))),*] };
}

/// The shipped files by name, sorted; a test compares the list with the folder.
static SHIPPED: &[(&str, &str)] = include!("shipped.rs");

/// A sender, or what is wrong with its file.
type ParsedFile = Result<Arc<Sender>, String>;

/// Parsed files, each at its first use: most servers use a few of them.
static PARSED: LazyLock<Vec<OnceLock<ParsedFile>>> =
    LazyLock::new(|| SHIPPED.iter().map(|_| OnceLock::new()).collect());

/// The senders that integrations can name.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Files of the admin's folder. An own file takes the place of a shipped one with its name.
    own: Arc<BTreeMap<String, OwnFile>>,
}

/// A file of the admin's folder.
#[derive(Debug, Clone)]
struct OwnFile {
    text: String,
    sender: Result<Arc<Sender>, String>,
}

impl Catalog {
    /// Creates a catalog with these files, as names and texts, in addition to the shipped ones.
    #[must_use]
    pub fn with(files: impl IntoIterator<Item = (String, Result<String, String>)>) -> Self {
        let read = |(name, text): (String, Result<String, String>)| {
            let (text, cause) = text.map_or_else(|cause| (String::new(), Some(cause)), |text| (text, None));
            let sender = cause.map_or_else(|| Sender::parse(&text, Some(&name)).map(Arc::new), Err);
            (name, OwnFile { text, sender })
        };
        Self { own: Arc::new(files.into_iter().map(read).collect()) }
    }

    /// Returns a sender.
    ///
    /// # Errors
    /// No sender has this name, or its file is not valid: what is wrong with it.
    pub fn get(&self, name: &str) -> Result<Arc<Sender>, String> {
        if let Some(own) = self.own.get(name) {
            return own.sender.clone().map_err(|cause| format!("the sender file {name}.toml: {cause}"));
        }
        match SHIPPED.binary_search_by_key(&name, |(it, _)| it) {
            Ok(at) => PARSED[at].get_or_init(|| Sender::parse(SHIPPED[at].1, Some(name)).map(Arc::new)).clone(),
            Err(_) => Err(self.unknown(name)),
        }
    }

    /// Returns the names of all senders, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let shipped = SHIPPED.iter().map(|(name, _)| (*name).to_owned());
        let mut names: Vec<_> = shipped.chain(self.own.keys().cloned()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Returns whether a sender has a file in the admin's folder.
    #[must_use]
    pub fn is_own(&self, name: &str) -> bool {
        self.own.contains_key(name)
    }

    /// Returns whether a file in the admin's folder takes the place of a shipped one.
    #[must_use]
    pub fn replaces(&self, name: &str) -> bool {
        self.is_own(name) && SHIPPED.iter().any(|(it, _)| *it == name)
    }

    /// Returns the text of a sender's file, whether it is valid or not.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.own.get(name) {
            Some(own) => Some(&own.text),
            None => SHIPPED.iter().find(|(it, _)| *it == name).map(|(_, text)| *text),
        }
    }

    fn unknown(&self, name: &str) -> String {
        let names = self.names();
        match nearest(name, names.iter().map(AsRef::as_ref)) {
            Some(near) => format!("there is no sender with this name; did you mean {near}?"),
            None => "there is no sender with this name; `hookmill sender list` lists them".to_owned(),
        }
    }
}

impl Sender {
    /// Reads a sender file, and checks its rules and vectors.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, name: Option<&str>) -> Result<Self, String> {
        let sender = SenderTable::parse(text)?.compile()?;
        if name.is_some_and(|it| it != sender.name) {
            let (name, own) = (name.unwrap_or_default(), &sender.name);
            return Err(format!("name: is \"{own}\" and must be \"{name}\", as the file's name or [auth] sender says"));
        }
        sender.test()?;
        Ok(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise the example in the documentation is refused, and so is what people write after it.
    #[test]
    fn the_example_of_the_documentation_is_a_valid_file() {
        let page = include_str!("../../../docs/SENDER-FILES.md");
        let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        Sender::parse(example, Some("retell")).unwrap();
    }

    /// Otherwise a file is shipped that no integration can name, or that fails when it is named.
    #[test]
    fn every_file_in_the_folder_is_shipped_and_passes_its_vectors() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/senders");
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap().trim_end_matches(".toml").to_owned())
            .collect();
        names.sort();
        assert_eq!(SHIPPED.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names, "src/auth/sender/shipped.rs");
        let wrong: Vec<_> = names.iter().filter_map(|it| Some((it, Catalog::default().get(it).err()?))).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
