//! The pre-filter: what rmcp answers badly is answered here, in JSON-RPC (mcp.md §2.5 and §2.7 of the project's references).
//!
//! Body too large → 413; not JSON, a batch, `id: null`, another `jsonrpc` → 400 −32700/−32600; a version only in the header that is not
//! served → 400 −32022; a tolerant `Accept`. Everything else passes through untouched.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Value, json};

use super::json_rpc::{self, HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, UNSUPPORTED_VERSION};
use super::server::VERSIONS;

/// The version of the stateless era: what it sends in the header it repeats in `_meta`.
const MODERN: &str = "2026-07-28";
const VERSION_HEADER: &str = "mcp-protocol-version";
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// Checks a POST before rmcp sees it.
pub(super) async fn layer(State(body_bytes_max): State<usize>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        return json_rpc::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, &Value::Null, INVALID_REQUEST, "send `Content-Type: application/json`", None);
    }
    let bytes = match Limited::new(body, body_bytes_max).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let message = format!("the body is larger than {body_bytes_max} bytes");
            return json_rpc::error(StatusCode::PAYLOAD_TOO_LARGE, &Value::Null, INVALID_REQUEST, &message, None);
        }
        Err(_) => return json_rpc::error(StatusCode::BAD_REQUEST, &Value::Null, PARSE_ERROR, "the body did not arrive whole", None),
    };
    if let Err(refusal) = check(&parts.headers, &bytes) {
        return *refusal;
    }
    widen_accept(&mut parts.headers);
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        // The content type was checked above: what rmcp means is a message it cannot read (a key that stands twice, a broken response).
        return json_rpc::error(StatusCode::BAD_REQUEST, &Value::Null, INVALID_REQUEST, "the body is not a JSON-RPC message", None);
    }
    response
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

fn check(headers: &HeaderMap, bytes: &Bytes) -> Result<(), Box<Response>> {
    let refuse = |id: &Value, code: i64, message: &str, data: Option<Value>| Err(Box::new(json_rpc::error(StatusCode::BAD_REQUEST, id, code, message, data)));
    // serde_json stops at 128 levels: a deeper body is a parse error too.
    let Ok(message) = serde_json::from_slice::<Value>(bytes) else {
        return refuse(&Value::Null, PARSE_ERROR, "the body is not JSON", None);
    };
    let Value::Object(message) = message else {
        let what = if message.is_array() { "batches are not served: send one request at a time" } else { "the body is not a JSON-RPC message" };
        return refuse(&Value::Null, INVALID_REQUEST, what, None);
    };
    let id = message.get("id").cloned();
    if id.as_ref().is_some_and(|id| !(id.is_string() || id.is_i64() || id.is_u64())) {
        return refuse(&Value::Null, INVALID_REQUEST, "`id` must be a text or a whole number", None);
    }
    let id = id.unwrap_or(Value::Null);
    if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return refuse(&id, INVALID_REQUEST, "`jsonrpc` must be \"2.0\"", None);
    }
    if !message.get("method").is_some_and(Value::is_string) && !message.contains_key("result") && !message.contains_key("error") {
        return refuse(&id, INVALID_REQUEST, "`method` is missing", None);
    }
    match message.get("params") {
        // rmcp drops parameters it cannot read where they are optional, and answers as if there were none.
        Some(params) if !(params.is_object() || params.is_null()) => return refuse(&id, INVALID_PARAMS, "`params` must be an object", None),
        Some(params) if params.get("cursor").is_some_and(|cursor| !(cursor.is_string() || cursor.is_null())) => {
            return refuse(&id, INVALID_PARAMS, "`cursor` must be a text", None);
        }
        _ => {}
    }
    let in_meta = message.get("params").and_then(|params| params.get("_meta")).and_then(|meta| meta.get("io.modelcontextprotocol/protocolVersion"));
    match headers.get(VERSION_HEADER).map(HeaderValue::to_str) {
        Some(Err(_)) => refuse(&id, HEADER_MISMATCH, "`MCP-Protocol-Version` is not readable", None),
        // In both places and unknown, or different: rmcp answers that well.
        Some(Ok(version)) if in_meta.is_none() && version != MODERN && !VERSIONS.contains(&version) => {
            let data = json!({ "supported": VERSIONS, "requested": version });
            refuse(&id, UNSUPPORTED_VERSION, "this protocol version is not served", Some(data))
        }
        _ => Ok(()),
    }
}

/// A client that takes JSON, or anything, or says nothing, gets JSON: rmcp insists on both types being named.
fn widen_accept(headers: &mut HeaderMap) {
    let takes_json = match headers.get(header::ACCEPT).map(HeaderValue::to_str) {
        None => true,
        Some(Ok(accept)) => accept.split(',').any(|part| {
            let kind = part.split(';').next().unwrap_or_default().trim();
            ["application/json", "application/*", "*/*"].iter().any(|known| kind.eq_ignore_ascii_case(known))
        }),
        Some(Err(_)) => false,
    };
    if takes_json {
        headers.insert(header::ACCEPT, BOTH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(headers: &[(&'static str, &'static str)], body: &str) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        check(&map, &Bytes::copy_from_slice(body.as_bytes())).map_or_else(|refusal| refusal.status().as_u16(), |()| 200)
    }

    #[test]
    fn bodies_that_are_no_requests_are_400() {
        let ok = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        assert_eq!(status(&[], ok), 200);
        assert_eq!(status(&[], r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#), 200);
        assert_eq!(status(&[(VERSION_HEADER, "2025-06-18")], ok), 200);
        let deep = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{}{}}}"#, "[".repeat(500), "]".repeat(500));
        for body in [
            "",
            "{",
            "[]",
            "1",
            "null",
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":5}"#,
            deep.as_str(),
        ] {
            assert_eq!(status(&[], body), 400, "{body}");
        }
        assert_eq!(status(&[(VERSION_HEADER, "1999-01-01")], ok), 400);
    }

    #[test]
    fn accept_is_widened_only_for_those_who_take_json() {
        for (accept, wide) in [("*/*", true), ("application/json", true), ("application/json;q=0.9", true), ("text/html", false), ("text/event-stream", false)] {
            let mut headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            widen_accept(&mut headers);
            assert_eq!(headers[header::ACCEPT] == BOTH, wide, "{accept}");
        }
    }
}
