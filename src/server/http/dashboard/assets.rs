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

const STYLE_TYPE: &str = "text/css; charset=utf-8";
const SCRIPT_TYPE: &str = "text/javascript; charset=utf-8";

/// The style sheet.
pub static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/dashboard.css");
    Asset::new("dashboard", "css", STYLE_TYPE, text)
});
/// The script.
pub static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/dashboard.js");
    Asset::new("dashboard", "js", SCRIPT_TYPE, text)
});
/// The icon.
pub static ICON: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/icon.svg");
    Asset::new("dashboard", "svg", "image/svg+xml", text)
});

/// What keeps lists of the desk up to date.
pub static LIVE_SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/live.js");
    Asset::new("live", "js", SCRIPT_TYPE, text)
});
/// What draws the charts of the node's state.
pub static BOARD_SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/board.js");
    Asset::new("board", "js", SCRIPT_TYPE, text)
});
/// What the forms are spared by script.
pub static COMPOSE_SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/compose.js");
    Asset::new("compose", "js", SCRIPT_TYPE, text)
});
/// uPlot 1.6.32 (npm, `dist/uPlot.iife.min.js`), unchanged; MIT, its licence is beside it.
pub static CHART_SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/uplot.js");
    Asset::new("uplot", "js", SCRIPT_TYPE, text)
});
/// The style sheet that comes with it.
pub static CHART_STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/uplot.css");
    Asset::new("uplot", "css", STYLE_TYPE, text)
});

/// A file of the binary.
#[derive(Debug)]
pub struct Asset {
    name: String,
    kind: &'static str,
    text: &'static str,
}

impl Asset {
    fn new(stem: &str, ending: &str, kind: &'static str, text: &'static str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let hash: String = digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            name: format!("{stem}-{hash}.{ending}"),
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
    let assets: [&Asset; 8] = [
        &STYLE,
        &SCRIPT,
        &ICON,
        &LIVE_SCRIPT,
        &BOARD_SCRIPT,
        &COMPOSE_SCRIPT,
        &CHART_SCRIPT,
        &CHART_STYLE,
    ];
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
