//! `/console/bench`: a payload through schema and plugin, without storing anything; and the script next to it.
//!
//! `form.rs` is what the visitor has entered, `bench_page.rs` the page, `show.rs` what is run, `result.rs` what a trial came to, `save.rs` what is saved from
//! it, and `versions.rs` the history of a script. Every button sends the same form, so nothing that was entered is lost. A script
//! (`assets/js/editor.js`) sends it after each pause in typing.

mod bench_page;
mod form;
mod line_diff;
mod respaced;
mod result;
mod save;
mod show;
mod version_list;
mod versions;

pub(super) use save::{fixture, script};
pub(super) use show::{choose, run, run_part, show};
pub(super) use versions::{compare, restore};
