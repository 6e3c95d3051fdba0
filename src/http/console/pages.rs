//! Every URL of the console, on one screen.
//!
//! A row says: method, URL, who may see it (`visitors` have logged in) and the handler. A page marked `long` may take hours. What
//! is sent to one marked `fleeting` is not kept when the session has ended.

use std::sync::LazyLock;

use futures_util::future::BoxFuture;
use warp::http::Method;

use super::fixing::{edit, erase, replay_job, replay_many, replay_one};
use super::guard::Admits;
use super::page::PageCall;
use super::page_failure::PageFailure;
use super::page_reply::PageReply;
use super::{
    asset_page, audit, bench, connect, events, help, keys, login, overview, plugin_history, plugin_shadow, plugins,
    system, tasks,
};
use crate::http::router::Router;

/// What is special about a page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PageKind {
    /// Nothing.
    Usual,
    /// It may take hours.
    Long,
    /// Nobody would want to send its form again: a script sends it, or it only logs out.
    Fleeting,
}

/// A page.
#[derive(Clone, Copy)]
pub(super) struct PageRow {
    pub(super) admits: Admits,
    pub(super) handler: fn(PageCall) -> BoxFuture<'static, Result<PageReply, PageFailure>>,
    pub(super) kind: PageKind,
}

impl PageRow {
    /// Whether it takes a form that is kept when the session has ended.
    pub(super) fn keeps_form(self) -> bool {
        self.admits == Admits::Visitors && self.kind != PageKind::Fleeting
    }
}

macro_rules! admits {
    (anyone) => {
        Admits::Anyone
    };
    (visitors) => {
        Admits::Visitors
    };
}

macro_rules! kind {
    () => {
        PageKind::Usual
    };
    (long) => {
        PageKind::Long
    };
    (fleeting) => {
        PageKind::Fleeting
    };
}

macro_rules! pages {
    ($($method:ident $path:literal $admits:ident => $($handler:ident)::+ $($kind:ident)?;)*) => {
        fn pages() -> Vec<(Method, &'static str, PageRow)> {
            vec![$((Method::$method, $path, PageRow {
                admits: admits!($admits),
                handler: |page| Box::pin($($handler)::+(page)),
                kind: kind!($($kind)?),
            })),*]
        }
    };
}

pages! {
    GET "/console" visitors => overview::show;
    GET "/console/tasks" visitors => tasks::list;
    GET "/console/tasks/{id}" visitors => tasks::show;
    GET "/console/keys" visitors => keys::list;
    POST "/console/keys" visitors => keys::create;
    GET "/console/keys/{id}/revoke" visitors => keys::ask_revoke;
    POST "/console/keys/{id}/revoke" visitors => keys::revoke;
    GET "/console/audit" visitors => audit::list;
    GET "/console/system" visitors => system::show;
    GET "/console/login" anyone => login::show;
    POST "/console/login" anyone => login::log_in;
    GET "/console/login/{link}" anyone => login::show_link;
    POST "/console/login/{link}" anyone => login::follow_link;
    POST "/console/logout" visitors => login::log_out fleeting;
    POST "/console/company" visitors => login::choose_company;
    GET "/console/events" visitors => events::list;
    GET "/console/events/tail" visitors => events::tail;
    GET "/console/events/compare" visitors => events::compare;
    GET "/console/events/{id}" visitors => events::event;
    GET "/console/events/{id}/raw" visitors => events::raw;
    GET "/console/events/replay" visitors => replay_many::show;
    POST "/console/events/replay" visitors => replay_many::post;
    GET "/console/events/{id}/replay" visitors => replay_one::show;
    POST "/console/events/{id}/replay" visitors => replay_one::post;
    GET "/console/events/{id}/edit" visitors => edit::show;
    POST "/console/events/{id}/edit" visitors => edit::post;
    GET "/console/replays" visitors => replay_job::list;
    GET "/console/replays/{id}" visitors => replay_job::show;
    POST "/console/replays/{id}/stop" visitors => replay_job::stop;
    GET "/console/erase" visitors => erase::show;
    POST "/console/erase" visitors => erase::post long;
    GET "/console/connect" visitors => connect::list;
    GET "/console/connect/{sender}" visitors => connect::sender::show;
    POST "/console/connect/{sender}" visitors => connect::sender::test;
    GET "/console/plugins" visitors => plugins::list;
    GET "/console/plugins/{name}" visitors => plugins::show;
    GET "/console/plugins/{name}/diff" visitors => plugin_history::form;
    POST "/console/plugins/{name}/diff" visitors => plugin_history::begin;
    GET "/console/plugins/{name}/diff/{id}" visitors => plugin_history::show;
    POST "/console/plugins/{name}/diff/{id}/stop" visitors => plugin_history::stop;
    GET "/console/plugins/{name}/shadow" visitors => plugin_shadow::show;
    GET "/console/bench" visitors => bench::choose;
    GET "/console/bench/{name}" visitors => bench::show;
    POST "/console/bench/{name}" visitors => bench::run;
    POST "/console/bench/{name}/result" visitors => bench::run_part fleeting;
    POST "/console/bench/{name}/fixture" visitors => bench::fixture;
    POST "/console/bench/{name}/script" visitors => bench::script;
    GET "/console/bench/{name}/script/{digest}" visitors => bench::compare;
    POST "/console/bench/{name}/script/{digest}/restore" visitors => bench::restore;
    GET "/console/help" anyone => help::show;
    GET "/console/assets/{version}/{file}" anyone => asset_page::show;
}

/// Pages by URL.
pub(super) static PAGES: LazyLock<Router<PageRow>> = LazyLock::new(|| Router::new(pages()));
