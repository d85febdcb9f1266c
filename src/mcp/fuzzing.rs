//! What must hold for every request that strangers send to the door. See `src/fuzzing.rs`.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use futures::FutureExt;
use http_body_util::BodyExt;
use serde_json::Value;

use super::server::{METHODS, VERSIONS, read_by_rmcp};
use super::{auth, prefilter};

/// The longest refusal, characters of its message.
const MESSAGE_CHARS_MAX: usize = 400;

/// `MCP-Protocol-Version`, `Accept` (empty: not sent), then the body, each behind a line feed.
pub(crate) fn body(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let (Some(version), Some(accept), Some(body)) = (parts.next(), parts.next(), parts.next()) else { return };
    let mut headers = HeaderMap::new();
    for (name, text) in [(HeaderName::from_static("mcp-protocol-version"), version), (header::ACCEPT, accept)] {
        if let (false, Ok(value)) = (text.is_empty(), HeaderValue::from_bytes(text)) {
            headers.insert(name, value);
        }
    }
    if prefilter::is_plain_call(&headers, body) {
        assert!(prefilter::check_closely(&headers, &Bytes::copy_from_slice(body), &METHODS).is_ok(), "the quick look lets pass what the close one refuses");
    }
    match prefilter::check(&headers, &Bytes::copy_from_slice(body)) {
        Ok(()) => passed(&headers, body),
        Err(refusal) => refused(*refusal, body),
    }
}

/// What passes is one JSON-RPC message of a method that is offered, and rmcp reads the same message.
fn passed(headers: &HeaderMap, body: &[u8]) {
    let message = serde_json::from_slice::<Value>(body).expect("what passes is JSON");
    let message = message.as_object().expect("what passes is one message");
    assert_eq!(message.get("jsonrpc").and_then(Value::as_str), Some("2.0"));
    let id = message.get("id");
    assert!(id.is_none_or(|id| id.is_string() || id.is_i64() || id.is_u64()), "an id is a text or a whole number");
    assert!(message.get("params").is_none_or(|params| params.is_object() || params.is_null()), "parameters are an object");
    let method = message.get("method").and_then(Value::as_str);
    assert!(method.is_some() || message.contains_key("result") || message.contains_key("error"), "a message without a method is an answer");
    let version = headers.get("mcp-protocol-version").map(|value| value.to_str().expect("a readable header"));
    if let (Some(_), Some(method)) = (id, method) {
        assert!(METHODS.contains(&method), "{method} is not offered");
        assert!(version != Some(VERSIONS[0]) || !prefilter::LEGACY_METHODS.contains(&method), "the modern era has no {method}");
    }
    let in_meta = message.get("params").and_then(|params| params.get("_meta")).and_then(|meta| meta.get("io.modelcontextprotocol/protocolVersion"));
    assert!(in_meta.is_some() || version.is_none_or(|version| VERSIONS.contains(&version)), "a version that is not served");
    // What rmcp cannot read it refuses; what it reads is what was checked.
    if let Some(read) = read_by_rmcp(body) {
        assert_eq!(read.get("id").filter(|id| !id.is_null()), id, "rmcp reads another id");
        assert_eq!(read.get("method").and_then(Value::as_str), method, "rmcp reads another method");
    }
}

/// A refusal is JSON-RPC with a reason, short, with the id of the request or none.
fn refused(refusal: Response, body: &[u8]) {
    let status = refusal.status().as_u16();
    assert_eq!(refusal.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes), Some(&b"application/json"[..]));
    let bytes = refusal.into_body().collect().now_or_never().expect("the body is there").expect("the body is whole").to_bytes();
    let answer = serde_json::from_slice::<Value>(&bytes).expect("a refusal is JSON");
    let code = answer["error"]["code"].as_i64().expect("a refusal has a code");
    assert_eq!(answer["jsonrpc"], "2.0");
    assert!(matches!((status, code), (200 | 404, -32601) | (400, -32700 | -32600 | -32602 | -32020 | -32022) | (406, -32600)), "{status} with {code}");
    let message = answer["error"]["message"].as_str().expect("a refusal has a sentence");
    assert!(!message.is_empty() && message.chars().count() <= MESSAGE_CHARS_MAX, "{message}");
    if !answer["id"].is_null() {
        let request = serde_json::from_slice::<Value>(body).expect("an id comes out of a request");
        assert_eq!(answer["id"], request["id"]);
    }
}

/// The token in an `Authorization` header.
pub(crate) fn authorization(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let Ok(text) = value.to_str() else { return };
    let Some(token) = auth::bearer(text) else { return };
    assert!(!token.is_empty() && token.trim() == token && text.trim_end().ends_with(token));
    assert!(text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer ")), "{text:?} is another scheme");
    assert_eq!(auth::bearer(&format!("Bearer {token}")), Some(token), "the same token, written plainly");
}
