//! The files beside the documents: the style, the icon and the script, within the program.
//!
//! Rule: a file's name has its digest, so that a browser may keep it for ever and still sees a new program's.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};
use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};

/// A file, and where it is.
struct Asset {
    path: String,
    kind: HeaderValue,
    text: &'static str,
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css", include_str!("assets/style.css")));
static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")));

static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("live", "js", "text/javascript", include_str!("assets/live.js")));

impl Asset {
    fn new(name: &str, end: &str, kind: &'static str, text: &'static str) -> Self {
        let digest = HEXLOWER.encode(&digest(&SHA256, text.as_bytes()).as_ref()[..8]);
        let path = format!("/assets/{name}.{digest}.{end}");
        Self { path, kind: HeaderValue::from_static(kind), text }
    }
}

pub(super) fn style() -> &'static str {
    &STYLE.path
}

pub(super) fn icon() -> &'static str {
    &ICON.path
}

pub(super) fn script() -> &'static str {
    &SCRIPT.path
}

/// `GET /assets/{file}`; nothing in them is private.
pub(super) async fn serve(Path(file): Path<String>) -> Response {
    let asset =
        [&STYLE, &ICON, &SCRIPT].into_iter().find(|one| one.path.rsplit('/').next() == Some(&file));
    let Some(asset) = asset else { return StatusCode::NOT_FOUND.into_response() };
    let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
    let head = [(CONTENT_TYPE, asset.kind.clone()), (CACHE_CONTROL, kept)];
    (StatusCode::OK, head, asset.text).into_response()
}
