//! Files of the console, built into the binary. Their URLs have a digest of all of them, so browsers keep them for good.

use std::sync::LazyLock;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::compression::gzip;

/// The stylesheet: its parts in order.
const CSS: &str = concat!(
    include_str!("assets/css/base.css"),
    include_str!("assets/css/parts.css"),
    include_str!("assets/css/frame.css"),
    include_str!("assets/css/overview.css"),
    include_str!("assets/css/fixing.css"),
    include_str!("assets/css/tree.css"),
    include_str!("assets/css/bench.css"),
);

/// Name, content type, content.
const FILES: &[(&str, &str, &str)] = &[
    ("console.css", "text/css; charset=utf-8", CSS),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
    ("console.js", JAVASCRIPT, include_str!("assets/js/console.js")),
    ("progress.js", JAVASCRIPT, include_str!("assets/js/progress.js")),
    ("page.js", JAVASCRIPT, include_str!("assets/js/page.js")),
    ("tail.js", JAVASCRIPT, include_str!("assets/js/tail.js")),
    ("editor.js", JAVASCRIPT, include_str!("assets/js/editor.js")),
    ("pointer.js", JAVASCRIPT, include_str!("assets/js/pointer.js")),
];
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A file, and its bytes compressed.
pub(super) struct Asset {
    name: &'static str,
    pub(super) content_type: &'static str,
    pub(super) plain: Bytes,
    /// Compressed with gzip, if that is smaller.
    pub(super) small: Option<Bytes>,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let asset = |(name, content_type, text): (&'static str, &'static str, &'static str)| {
        let small = gzip(text.as_bytes(), 9).filter(|it| it.len() < text.len()).map(Bytes::from);
        Asset { name, content_type, plain: Bytes::from_static(text.as_bytes()), small }
    };
    FILES.iter().copied().map(asset).collect()
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

/// A file by the version and the name in its URL.
pub(super) fn find(version: &str, name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|it| it.name == name && version == *VERSION)
}
