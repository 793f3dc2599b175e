//! The dashboard's own files: in the binary, under names that change with them.

use std::sync::LazyLock;

use axum::{body::Body, extract::Path, response::Response};
use http::{
    HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use sha2::{Digest as _, Sha256};

use crate::{
    fault::{Fault, Kind},
    server::http::answer::Refusal,
};

/// The style sheet.
pub static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/dashboard.css");
    Asset::new("css", "text/css; charset=utf-8", text)
});
/// The script.
pub static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/dashboard.js");
    Asset::new("js", "text/javascript; charset=utf-8", text)
});
/// The icon.
pub static ICON: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/icon.svg");
    Asset::new("svg", "image/svg+xml", text)
});

/// A file of the binary.
#[derive(Debug)]
pub struct Asset {
    name: String,
    kind: &'static str,
    text: &'static str,
}

impl Asset {
    fn new(ending: &str, kind: &'static str, text: &'static str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let hash: String = digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            name: format!("dashboard-{hash}.{ending}"),
            kind,
            text,
        }
    }

    /// Where it is.
    pub fn path(&self) -> String {
        format!("/assets/{}", self.name)
    }
}

/// `GET /assets/{name}`.
///
/// # Errors
/// There is none of this name: a page of another release asked.
pub async fn get(Path(name): Path<String>) -> Result<Response, Refusal> {
    let assets: [&Asset; 3] = [&STYLE, &SCRIPT, &ICON];
    let found = assets.into_iter().find(|asset| asset.name == name);
    let asset = found.ok_or_else(|| {
        let message = "there is no such file in this release; load the page again";
        Fault::new(Kind::Missing, "PATH_UNKNOWN", message)
    })?;
    let mut answer = Response::new(Body::from(asset.text));
    let headers = answer.headers_mut();
    let set = HeaderValue::from_static;
    headers.insert(CONTENT_TYPE, set(asset.kind));
    headers.insert(CACHE_CONTROL, set("public, max-age=31536000, immutable"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, set("nosniff"));
    Ok(answer)
}
