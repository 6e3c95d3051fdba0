//! Files of the console, built into the binary. Their URLs have a digest of all of them, so browsers keep them for good.

use std::sync::LazyLock;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use warp::http::StatusCode;

use super::page::PageCall;
use super::page_failure::PageFailure;
use super::page_reply::{PageReply, accepts_gzip, gzip};
use crate::http::problem::Problem;

/// The stylesheet: its parts in order.
const CSS: &str = concat!(
    include_str!("assets/css/base.css"),
    include_str!("assets/css/parts.css"),
    include_str!("assets/css/frame.css"),
    include_str!("assets/css/fixing.css"),
);

/// Name, content type, content.
const FILES: [(&str, &str, &str); 5] = [
    ("console.css", "text/css; charset=utf-8", CSS),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
    ("console.js", JAVASCRIPT, include_str!("assets/js/console.js")),
    ("progress.js", JAVASCRIPT, include_str!("assets/js/progress.js")),
    ("page.js", JAVASCRIPT, include_str!("assets/js/page.js")),
];
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A file, and its bytes compressed.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    plain: Bytes,
    small: Option<Bytes>,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let asset = |(name, content_type, text): (&'static str, &'static str, &'static str)| {
        let small = gzip(text.as_bytes(), 9).filter(|it| it.len() < text.len()).map(Bytes::from);
        Asset { name, content_type, plain: Bytes::from_static(text.as_bytes()), small }
    };
    FILES.into_iter().map(asset).collect()
});

/// The first digits of the SHA-256 of all files.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all = FILES.iter().fold(Sha256::new(), |it, (name, _, text)| it.chain_update(name).chain_update(text));
    all.finalize().iter().take(6).map(|it| format!("{it:02x}")).collect()
});

/// The URL of a file.
pub(super) fn url(name: &str) -> String {
    format!("/console/assets/{}/{name}", *VERSION)
}

/// `GET /console/assets/{version}/{file}`
pub(super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    let found = ASSETS.iter().find(|it| it.name == page.parameter("file") && page.parameter("version") == *VERSION);
    let Some(asset) = found else {
        return Err(PageFailure::of(Problem::NotFound("the console has no such file"), page.path()));
    };
    let fits = page.header("accept-encoding").is_some_and(accepts_gzip);
    let reply = match asset.small.as_ref().filter(|_| fits) {
        Some(small) => PageReply::file(asset.content_type, small.clone()).with("content-encoding", "gzip"),
        None => PageReply::file(asset.content_type, asset.plain.clone()),
    };
    let reply = reply.with("vary", "accept-encoding").at(StatusCode::OK);
    Ok(reply.with("cache-control", "public, max-age=31536000, immutable"))
}
