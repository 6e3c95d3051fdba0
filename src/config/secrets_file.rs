//! Changes the secrets file: one secret at a time, with the comments and the order of the other lines kept.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::secret::wrong_line;
use crate::model::secret::Secret;
use crate::system::private_file::{lock_folder_of, write_private};

/// The file of `secrets_file`, to be changed.
#[derive(Debug)]
pub struct SecretsFile {
    path: PathBuf,
}

/// A text of the file, parsed: where each name and value is.
type Places = BTreeMap<Spanned<String>, Spanned<String>>;

impl SecretsFile {
    /// The file at this path; it need not exist.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        // A link stays a link.
        Self { path: std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()) }
    }

    /// Sets a secret. Returns whether it was set before.
    ///
    /// # Errors
    /// Why the file cannot be changed; never a secret.
    pub fn set(&self, name: &str, secret: &Secret) -> Result<bool, String> {
        self.change(name, Some(secret), true)
    }

    /// Sets a secret that is not set.
    ///
    /// # Errors
    /// It is set, or why the file cannot be changed; never a secret.
    pub fn add(&self, name: &str, secret: &Secret) -> Result<(), String> {
        self.change(name, Some(secret), false).map(drop)
    }

    /// Removes a secret. Returns whether it was set.
    ///
    /// # Errors
    /// Why the file cannot be changed; never a secret.
    pub fn unset(&self, name: &str) -> Result<bool, String> {
        self.change(name, None, true)
    }

    fn change(&self, name: &str, secret: Option<&Secret>, may_replace: bool) -> Result<bool, String> {
        let told = |what: &str, cause: std::io::Error| format!("{} cannot be {what}: {cause}", self.path.display());
        let _alone = lock_folder_of(&self.path).map_err(|it| told("locked", it))?;
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(told("read", error)),
        };
        let wrong = |cause: &str| format!("{}: {cause}", self.path.display());
        let (changed, was_set) = changed(&text, name, secret.map(Secret::expose)).map_err(|it| wrong(&it))?;
        if was_set && !may_replace {
            return Err(wrong(&format!("{name} is set already")));
        }
        if changed != text {
            write_private(&self.path, changed.as_bytes()).map_err(|it| told("written", it))?;
        }
        Ok(was_set)
    }
}

/// Returns the text with one secret set or removed, and whether it was set.
fn changed(text: &str, name: &str, secret: Option<&str>) -> Result<(String, bool), String> {
    // The parser's own message quotes the line, which contains a secret.
    let parse = |text: &str| {
        toml::from_str::<Places>(text.strip_prefix('\u{feff}').unwrap_or(text))
            .map_err(|error| wrong_line(text, error.span()))
    };
    let mark = text.len() - text.strip_prefix('\u{feff}').unwrap_or(text).len();
    let before = parse(text)?;
    let at = |it: Range<usize>| it.start + mark..it.end + mark;
    let found =
        before.iter().find(|(it, _)| it.get_ref() == name).map(|(key, value)| (at(key.span()), at(value.span())));
    let new = match (&found, secret) {
        (Some((_, value)), Some(secret)) => format!("{}{}{}", &text[..value.start], quoted(secret), &text[value.end..]),
        (Some((key, value)), None) => {
            let start = text[..key.start].rfind('\n').map_or(mark, |it| it + 1);
            let end = text[value.end..].find('\n').map_or(text.len(), |it| value.end + it + 1);
            format!("{}{}", &text[..start], &text[end..])
        }
        (None, Some(secret)) => {
            let end = if text.len() == mark || text.ends_with('\n') { "" } else { "\n" };
            format!("{text}{end}{name} = {}\n", quoted(secret))
        }
        (None, None) => text.to_owned(),
    };
    let plain = |it: &Places| -> BTreeMap<String, String> {
        it.iter().map(|(name, value)| (name.get_ref().clone(), value.get_ref().clone())).collect()
    };
    let mut expected = plain(&before);
    match secret {
        Some(secret) => drop(expected.insert(name.to_owned(), secret.to_owned())),
        None => drop(expected.remove(name)),
    }
    // An unusual line is left to its author.
    if parse(&new).ok().is_none_or(|it| plain(&it) != expected) {
        return Err(format!("the line of {name} cannot be changed automatically; change it by hand"));
    }
    Ok((new, found.is_some()))
}

/// Returns a TOML string. JSON's escapes are TOML's as well.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise setting one secret loses another one, or the notes of an operator.
    #[test]
    fn other_lines_and_comments_stay_as_they_are() {
        let text = "# faxes\nFAX = \"old\" # since May\n\nPEM = \"\"\"\na\nb\"\"\"\nLAST = 'x'";
        let set = |name: &str, secret: Option<&str>| changed(text, name, secret).unwrap();
        for (name, secret, expected, was_set) in [
            ("FAX", Some("n\"e\\w\u{7f}\n"), text.replace("\"old\"", r#""n\"e\\w\u007F\n""#), true),
            ("FAX", None, text.replace("FAX = \"old\" # since May\n", ""), true),
            ("PEM", None, text.replace("PEM = \"\"\"\na\nb\"\"\"\n", ""), true),
            ("PEM", Some("c"), text.replace("\"\"\"\na\nb\"\"\"", "\"c\""), true),
            ("LAST", None, text.replace("LAST = 'x'", ""), true),
            ("NEW", Some("y"), format!("{text}\nNEW = \"y\"\n"), false),
            ("NONE", None, text.to_owned(), false),
        ] {
            assert_eq!(set(name, secret), (expected, was_set), "{name}");
        }
        let marked = format!("\u{feff}{text}");
        assert_eq!(changed(&marked, "FAX", None).unwrap().0, format!("\u{feff}{}", set("FAX", None).0));
        assert_eq!(changed("", "A", Some("b")).unwrap().0, "A = \"b\"\n");
        assert!(!changed("FAX = secret in the clear", "A", Some("b")).unwrap_err().contains("clear"));
        assert!(changed("A = \"b\"\nFAX = bad", "A", Some("c")).unwrap_err().starts_with("line 2: "));
        assert!(changed("[table]\nA = \"b\"", "A", Some("c")).is_err());
    }

    /// Otherwise two admins who set secrets at once lose one.
    #[test]
    fn changes_at_once_are_all_kept_and_only_the_owner_can_read_them() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.toml");
        std::thread::scope(|scope| {
            for index in 0..8 {
                let path = &path;
                scope
                    .spawn(move || SecretsFile::new(path).set(&format!("S{index}"), &Secret::new("x".into())).unwrap());
            }
        });
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 8);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(SecretsFile::new(&path).add("S1", &Secret::new("y".into())).unwrap_err().contains("S1 is set already"));
    }
}
