//! Answers with files of the console.

use warp::http::StatusCode;

use super::assets;
use super::compression::accepts_gzip;
use super::page::PageCall;
use super::page_failure::PageFailure;
use super::page_reply::PageReply;
use crate::http::problem::Problem;

/// `GET /console/assets/{version}/{file}`
pub(super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    let Some(asset) = assets::find(page.parameter("version"), page.parameter("file")) else {
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
