//! `/console/help`: keys, and where to read more.

use maud::{Markup, html};

use super::page::PageCall;
use super::page_failure::PageFailure;
use super::page_reply::{PageReply, Section};

/// Keys of the keyboard, and what they do.
const KEYS: [(&str, &str); 10] = [
    ("?", "this help"),
    ("/", "the first search field of the page"),
    ("g o", "overview"),
    ("g e", "events"),
    ("g t", "tasks"),
    ("g p", "plugins"),
    ("g b", "bench"),
    ("g k", "keys"),
    ("g a", "audit"),
    ("g s", "system"),
];

/// `GET /console/help`
pub(super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    Ok(PageReply::html(&page, "Help", Section::Other, content()))
}

fn content() -> Markup {
    html! {
        h1 { "Help" }
        section.card {
            h2 { "Keyboard" }
            p { "Every page works with Tab, Enter and Space. With scripts, these keys work wherever you are not typing:" }
            dl.facts {
                @for (key, does) in KEYS { div { dt { kbd { (key) } } dd { (does) } } }
            }
        }
        section.card {
            h2 { "Words" }
            dl.facts {
                @for (word, means) in [
                    ("Event", "a delivery with its body, its outcome and the tasks that it created"),
                    ("Quarantine", "events that did not become tasks, with the reason; you can replay them"),
                    ("Replay", "runs a stored event through the pipeline again"),
                    ("Integration", "a live plugin folder: sender, schema and plugin"),
                    ("Fixture", "an example payload of a plugin with the expected tasks"),
                    ("Shadow", "a second version of a plugin that gets live deliveries and stores nothing"),
                ] { div { dt { (word) } dd { (means) } } }
            }
        }
    }
}
