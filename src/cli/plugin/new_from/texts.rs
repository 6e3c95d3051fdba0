//! The other files of a plugin that is written from an example.

use super::guesses::Guesses;
use super::script_text::quote;
use crate::auth::sender::{Sender, auth_lines};

/// Bodies above this size need `body_mib`: the server's default, in bytes.
const BODY: usize = 1 << 20;

/// What plugin.toml depends on.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) name: &'a str,
    pub(super) company: &'a str,
    pub(super) sender: Option<&'a Sender>,
    pub(super) body_bytes: usize,
    /// `[limits]` that the sender needs in any case, or nothing.
    pub(super) limits: &'a str,
}

/// Writes plugin.toml.
pub(super) fn manifest(facts: &Facts<'_>, guesses: &Guesses) -> String {
    let Facts { name, company, sender, body_bytes, limits } = facts;
    let what = sender.map_or_else(|| "Deliveries as tasks".to_owned(), |it| format!("Deliveries of {}", it.title));
    let auth = match sender {
        Some(sender) => auth_lines(sender, name),
        None => "[auth]\nscheme = \"api-key\"               # X-API-Key, with the scope hooks:write\n".to_owned(),
    };
    let limits = if !limits.is_empty() {
        format!("\n{}\n", limits.trim_end())
    } else if *body_bytes > BODY {
        let mib = body_bytes.div_ceil(1 << 20) + 1;
        format!("\n[limits]\n{:<32} # the example is larger than the default of 1\n", format!("body_mib = {mib}"))
    } else {
        String::new()
    };
    // A sender with a file has its own id.
    let dedupe = match (&guesses.id, sender) {
        (Some(id), None) => format!(
            "\n# Guess: {} identifies a delivery, and not only the object that the delivery is about. If it does, remove the\n\
             # number signs, so that a delivery that is sent again creates no second task:\n\
             # [dedupe]\n\
             # pointer = {}\n",
            quote(id),
            quote(id)
        ),
        _ => String::new(),
    };
    let line = |setting: String, comment: &str| format!("{setting:<32} # {comment}\n");
    [
        line(format!("name = {}", quote(name)), &format!("the folder's name and the URL: POST /v1/hooks/{name}")),
        line("version = \"0.1.0\"".into(), "yours; stored with every event"),
        format!("description = {}\n", quote(&what)),
        line("script = \"mapper.js\"".into(), "the mapping"),
        line("schema = \"input.schema.json\"".into(), "the schema of the sender's payload"),
        line(format!("company_id = {}", quote(company)), "the company that gets the tasks"),
        line("timezone = \"UTC\"".into(), "of deadlines without an offset"),
        format!("\n{auth}\n"),
        "[defaults]                       # for fields that the mapping leaves out\n".into(),
        line("assigned_user_ids = [\"user_1\"]".into(), "who gets the tasks"),
        line(format!("created_by_id = {}", quote(name)), "who asks for them"),
        line("deadline = \"2d\"".into(), "after the delivery: 30m, 4h, 2d, 1w"),
        limits,
        dedupe,
    ]
    .concat()
}

/// Writes README.md.
pub(super) fn readme(name: &str) -> String {
    format!(
        "# {name}

A hookmill plugin that maps deliveries to tasks. It was written from one example.

    hookmill plugin dev {name}                      # shows the result whenever you save a file
    hookmill plugin check .                        # lists everything that is wrong, and how to fix it
    hookmill plugin test .                         # runs the fixtures; --update writes the actual results into them
    hookmill plugin run . --save-fixture < new.json  # one more example

- `plugin.toml` sets the company, how senders authenticate, and the defaults of tasks.
- `input.schema.json` describes the payload. A payload that does not fit is quarantined, and never reaches the mapping.
- `mapper.js` is the mapping. Each guess has a comment.
- `fixtures/` are example payloads with the expected tasks.
"
    )
}
