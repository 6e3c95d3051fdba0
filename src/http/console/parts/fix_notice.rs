//! The result of a replay or a copy.

use maud::{Markup, html};

use super::notice_ok;
use crate::http::console::page::PageCall;

/// The result of a fix, on the page of the event to which it has led; nothing on other visits of the page.
pub(in super::super) fn fix_notice(page: &PageCall) -> Markup {
    let count = |name: &str| page.query(name).and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
    match page.query("done") {
        Some("replayed") => {
            let (created, updated, left) = (count("created"), count("updated"), count("left"));
            let nothing = created + updated + left == 0;
            notice_ok(&html! {
                p {
                    strong { "Replayed. " }
                    @if nothing { "It created no tasks; its status and reason below say why." }
                    @else { (created) " tasks created, " (updated) " updated, " (left) " left unchanged." }
                }
            })
        }
        Some("copied") => notice_ok(&html! {
            p { strong { "This is the copy. " } "It is an event of its own; the original is unchanged." }
        }),
        _ => html! {},
    }
}
