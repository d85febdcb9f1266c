//! The portal's files, embedded. Under their hashed name they never change; the plain name, by which style sheets name fonts, is looked at anew
//! every hour. Only files that exist are served, and no licence texts as pages: each with the one type its ending has.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use crate::http::not_found;

#[derive(RustEmbed)]
#[folder = "assets"]
struct Files;

/// Characters of a hash in a name.
const HASH_CHARS: usize = 12;
/// Under the hashed name, and under the plain one.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const FOR_AN_HOUR: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// A file.
struct Asset {
    name: String,
    kind: &'static str,
    hash: String,
}

/// By plain and by hashed name.
static ASSETS: LazyLock<HashMap<String, Asset>> = LazyLock::new(|| {
    let mut all = HashMap::new();
    for name in Files::iter() {
        let (Some(file), Some(kind)) = (Files::get(&name), kind(&name)) else { continue };
        let hash: String = crate::domain::audit::hex(&file.metadata.sha256_hash())[..HASH_CHARS].to_owned();
        let asset = || Asset { name: name.to_string(), kind, hash: hash.clone() };
        all.insert(hashed(&name, &hash), asset());
        all.insert(name.to_string(), asset());
    }
    all
});

fn kind(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => return None,
    })
}

/// `app.css` as `app.<hash>.css`.
fn hashed(name: &str, hash: &str) -> String {
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    format!("{stem}.{hash}.{ending}")
}

/// The address of a file, if there is one.
pub(super) fn url(name: &str) -> Option<String> {
    ASSETS.get(name).map(|asset| format!("/assets/{}", hashed(name, &asset.hash)))
}

/// A file.
pub(super) async fn serve(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let Some((asset, data)) = ASSETS.get(&file).and_then(|asset| Files::get(&asset.name).map(|data| (asset, data.data))) else {
        return not_found().await.into_response();
    };
    let cache = if file == asset.name { FOR_AN_HOUR } else { FOR_EVER };
    let tag = format!("\"{}\"", asset.hash);
    // A proxy that packs a file says so by making its tag a weak one.
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok()).is_some_and(|known| known.strip_prefix("W/").unwrap_or(known) == tag);
    let head = [(header::CACHE_CONTROL, cache), (header::ETAG, HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\"")))];
    if known {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    // An icon opened by itself is a document: it may do nothing.
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");
    (head, [(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)), (header::CONTENT_SECURITY_POLICY, policy)], data.into_owned()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_a_hashed_address() {
        let url = url("app.css").unwrap();
        assert!(url.starts_with("/assets/app.") && url.ends_with(".css") && url.len() == "/assets/app..css".len() + HASH_CHARS, "{url}");
        assert!(super::url("vendor/chart.js/chart.umd.min.js").is_some());
        for none in ["nothing.css", "../Cargo.toml", "vendor/lucide/LICENSE", ""] {
            assert!(super::url(none).is_none(), "{none}");
        }
    }
}
