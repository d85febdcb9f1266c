//! The pre-filter: what rmcp answers badly is answered here, in JSON-RPC (mcp.md §2.5 and §2.7 of the project's references).
//!
//! Another verb than POST → 405; body too large → 413; not JSON, a batch, `id: null`, another `jsonrpc` → 400 −32700/−32600; a version
//! only in the header that is not served → 400 −32022; an `Accept` without JSON → 406; a method that is not offered → −32601 with the
//! list of those that are (rmcp would answer its bare name, or an empty list). Everything else passes through untouched.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::direct::PlainBody;
use super::json_rpc::{self, HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, UNSUPPORTED_VERSION};
use super::server::{MODERN, VERSIONS, clip};
use crate::http::middleware::{Middleware, Next};
use crate::http::refuse_body;

const VERSION_HEADER: &str = "mcp-protocol-version";
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// Methods that the modern era does not have any more.
pub(super) const LEGACY_METHODS: [&str; 5] = ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];

/// Methods that only the modern era has.
const MODERN_METHODS: [&str; 1] = ["subscriptions/listen"];

/// Checks a request before rmcp sees it.
pub(super) struct Prefilter {
    body_bytes_max: usize,
    methods: &'static [&'static str],
}

impl Prefilter {
    /// Bodies of at most so many bytes, and these methods.
    pub(super) fn new(body_bytes_max: usize, methods: &'static [&'static str]) -> Self {
        Self { body_bytes_max, methods }
    }
}

impl Middleware for Prefilter {
    async fn handle(&self, request: Request, next: impl Next) -> Response {
        if request.method() != Method::POST {
            return only_post(request.method());
        }
        let (mut parts, mut body) = request.into_parts();
        if !is_json(&parts.headers) {
            return json_rpc::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, &Value::Null, INVALID_REQUEST, "send `Content-Type: application/json`", None);
        }
        let bytes = match Limited::new(&mut body, self.body_bytes_max).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
                refuse_body(&mut body).await;
                let message = format!("the body is larger than {} bytes", self.body_bytes_max);
                return json_rpc::error(StatusCode::PAYLOAD_TOO_LARGE, &Value::Null, INVALID_REQUEST, &message, None);
            }
            Err(_) => return json_rpc::error(StatusCode::BAD_REQUEST, &Value::Null, PARSE_ERROR, "the body did not arrive whole", None),
        };
        if is_plain_call(&parts.headers, &bytes) {
            parts.extensions.insert(PlainBody(bytes.clone()));
        } else if let Err(refusal) = check_closely(&parts.headers, &bytes, self.methods) {
            return *refusal;
        }
        // rmcp insists on both types being named.
        parts.headers.insert(header::ACCEPT, BOTH);
        let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
        if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            // The content type was checked above: what rmcp means is a message it cannot read (a key that stands twice, a broken response).
            return json_rpc::error(StatusCode::BAD_REQUEST, &Value::Null, INVALID_REQUEST, "the body is not a JSON-RPC message", None);
        }
        response
    }
}

/// There are no sessions and no streams: nothing to GET and nothing to DELETE.
fn only_post(verb: &Method) -> Response {
    let message = format!("{verb} is not served here: send each JSON-RPC request with POST (no sessions, no event stream)");
    let mut response = json_rpc::error(StatusCode::METHOD_NOT_ALLOWED, &Value::Null, INVALID_REQUEST, &message, None);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// The head of a message, as far as a good call must have it. A key that stands twice is an error of serde's.
#[derive(Deserialize)]
struct Head<'a> {
    jsonrpc: &'a str,
    #[serde(borrow)]
    id: &'a RawValue,
    method: &'a str,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

/// Whether it is a call with nothing odd about it, seen without building a tree of it. Whatever is not is looked at closely by [`check_closely`],
/// which would let everything pass that passes here.
pub(super) fn is_plain_call(headers: &HeaderMap, bytes: &[u8]) -> bool {
    let version_known = headers.get(VERSION_HEADER).is_none_or(|version| version.to_str().is_ok_and(|version| VERSIONS.contains(&version)));
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(head) = serde_json::from_str::<Head<'_>>(text) else { return false };
    let id = head.id.get();
    // `-0` is a fraction to serde_json, and a whole number to Rust.
    let id_good = id.starts_with('"') || id != "-0" && (id.parse::<i64>().is_ok() || id.parse::<u64>().is_ok());
    let params_good = head.params.is_none_or(|params| params.get().starts_with('{'));
    let object = text.trim_start().starts_with('{');
    version_known && object && head.jsonrpc == "2.0" && head.method == "tools/call" && id_good && params_good && !is_odd(bytes) && takes_json(headers)
}

/// Whether there may be something in it that JSON allows and a tree of it does not: too many levels, half a surrogate pair, a number out of range.
fn is_odd(bytes: &[u8]) -> bool {
    let (mut brackets, mut digits, mut before) = (0, 0, [0_u8; 2]);
    for byte in bytes {
        match byte {
            b'{' | b'[' => brackets += 1,
            b'e' | b'E' if before[1].is_ascii_digit() => return true,
            b'd' | b'D' if before == *b"\\u" => return true,
            _ => {}
        }
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        if digits > 300 || brackets > 100 {
            return true;
        }
        before = [before[1], *byte];
    }
    false
}

/// Both looks at a request, as the layer does.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn check(headers: &HeaderMap, bytes: &Bytes) -> Result<(), Box<Response>> {
    if is_plain_call(headers, bytes) { Ok(()) } else { check_closely(headers, bytes, &super::server::METHODS) }
}

pub(super) fn check_closely(headers: &HeaderMap, bytes: &Bytes, methods: &[&str]) -> Result<(), Box<Response>> {
    let answer = |status, id: &Value, code: i64, message: &str, data: Option<Value>| Err(Box::new(json_rpc::error(status, id, code, message, data)));
    let refuse = |id: &Value, code: i64, message: &str, data: Option<Value>| answer(StatusCode::BAD_REQUEST, id, code, message, data);
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
    if !takes_json(headers) {
        return answer(StatusCode::NOT_ACCEPTABLE, &id, INVALID_REQUEST, "answers are JSON: send `Accept: application/json, text/event-stream`", None);
    }
    let in_meta = message.get("params").and_then(|params| params.get("_meta")).and_then(|meta| meta.get("io.modelcontextprotocol/protocolVersion"));
    let in_header = headers.get(VERSION_HEADER).map(HeaderValue::to_str);
    match in_header {
        Some(Err(_)) => return refuse(&id, HEADER_MISMATCH, "`MCP-Protocol-Version` is not readable", None),
        // In both places and unknown, or different: rmcp answers that well.
        Some(Ok(version)) if in_meta.is_none() && version != MODERN && !VERSIONS.contains(&version) => {
            let data = json!({ "supported": VERSIONS, "requested": version });
            return refuse(&id, UNSUPPORTED_VERSION, "this protocol version is not served", Some(data));
        }
        _ => {}
    }
    match message.get("method").and_then(Value::as_str) {
        // A notification gets no answer, whatever its name.
        Some(method) if !id.is_null() => {
            let modern = in_header.is_some_and(|version| version.is_ok_and(|version| version == MODERN));
            let offered = || methods.iter().copied().filter(|known| !if modern { LEGACY_METHODS.as_slice() } else { &MODERN_METHODS }.contains(known));
            if offered().any(|known| known == method) {
                return Ok(());
            }
            // Before 2026-07-28 a 404 says that a session has ended.
            let status = if modern { StatusCode::NOT_FOUND } else { StatusCode::OK };
            let message = format!("the method `{}` is not offered here; these are: {}", clip(method), offered().collect::<Vec<_>>().join(", "));
            answer(status, &id, METHOD_NOT_FOUND, &message, None)
        }
        _ => Ok(()),
    }
}

/// A client that takes JSON, or anything, or says nothing, gets JSON.
fn takes_json(headers: &HeaderMap) -> bool {
    let mut said = headers.get_all(header::ACCEPT).iter().peekable();
    let known = |part: &str| {
        let kind = part.split(';').next().unwrap_or_default().trim();
        ["application/json", "application/*", "*/*"].iter().any(|known| kind.eq_ignore_ascii_case(known))
    };
    said.peek().is_none() || said.any(|accept| accept.to_str().is_ok_and(|accept| accept.trim().is_empty() || accept.split(',').any(known)))
}

#[cfg(test)]
mod tests {
    use super::super::server::METHODS;
    use super::*;

    #[test]
    fn a_plain_call_is_seen_at_once_and_an_odd_one_looked_at_closely() {
        let plain = |body: &str| is_plain_call(&HeaderMap::new(), body.as_bytes());
        let call = |arguments: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"a","arguments":{arguments}}}}}"#);
        assert!(plain(&call(r#"{"rnc":"131793916","nota":"ciudad \u00f1 \\"}"#)));
        assert!(plain(r#" {"id":"a","method":"tools/call","jsonrpc":"2.0"}"#));
        let (deep, long) = (format!("{}1{}", "[".repeat(130), "]".repeat(130)), "1".repeat(400));
        for odd in [r#""\ud800""#, "1e999", deep.as_str(), long.as_str(), "tru"] {
            assert!(!plain(&call(odd)), "{odd}");
        }
        for other in [r#"["2.0",1,"tools/call",{}]"#, r#"{"jsonrpc":"2.0","id":1.5,"method":"tools/call"}"#, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#] {
            assert!(!plain(other), "{other}");
        }
        assert!(!plain(r#"{"jsonrpc":"2.0","id":-0,"method":"tools/call"}"#));
        assert!(!plain(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#));
        assert!(!plain(r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"tools/call"}"#));
    }

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
    fn only_those_who_take_json_are_answered() {
        let ok = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        for (accept, want) in [
            (&["*/*"][..], 200),
            (&["application/json"], 200),
            (&["application/json;q=0.9"], 200),
            (&["text/event-stream", "application/json"], 200),
            (&[""], 200),
            (&[], 200),
            (&["text/html"], 406),
            (&["text/event-stream"], 406),
        ] {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            let got = check(&headers, &Bytes::from_static(ok.as_bytes())).map_or_else(|refusal| refusal.status().as_u16(), |()| 200);
            assert_eq!(got, want, "{accept:?}");
        }
    }

    async fn body(response: Response) -> Value {
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn methods_that_are_not_offered_are_told_which_are() {
        for (version, status) in [("2025-06-18", 200), (MODERN, 404)] {
            let gone = if version == MODERN { LEGACY_METHODS.as_slice() } else { &MODERN_METHODS };
            let offered = METHODS.into_iter().filter(|method| !gone.contains(method)).collect::<Vec<_>>().join(", ");
            let headers = HeaderMap::from_iter([(header::HeaderName::from_static(VERSION_HEADER), HeaderValue::from_static(version))]);
            for method in ["logging/setLevel", "resources/subscribe", "resources/unsubscribe", "roots/list", "tasks/get", "x"] {
                let request = json!({ "jsonrpc": "2.0", "id": "a", "method": method, "params": {} }).to_string();
                let refusal = check(&headers, &Bytes::from(request)).expect_err("not offered");
                assert_eq!(refusal.status().as_u16(), status, "{method}");
                let body = body(*refusal).await;
                assert_eq!((&body["id"], &body["error"]["code"]), (&json!("a"), &json!(METHOD_NOT_FOUND)));
                assert_eq!(body["error"]["message"], format!("the method `{method}` is not offered here; these are: {offered}"));
                let notification = json!({ "jsonrpc": "2.0", "method": method }).to_string();
                assert!(check(&headers, &Bytes::from(notification)).is_ok(), "a notification gets no answer");
            }
            for (method, modern) in [("ping", false), ("initialize", false), ("subscriptions/listen", true)] {
                let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": {} }).to_string();
                assert_eq!(check(&headers, &Bytes::from(request)).is_ok(), modern == (version == MODERN), "{method}");
            }
        }
    }

    #[tokio::test]
    async fn other_verbs_get_a_reason() {
        let response = only_post(&Method::GET);
        assert_eq!((response.status().as_u16(), response.headers()[header::ALLOW].to_str().unwrap()), (405, "POST"));
        let body = body(response).await;
        assert_eq!((&body["jsonrpc"], &body["id"], &body["error"]["code"]), (&json!("2.0"), &Value::Null, &json!(INVALID_REQUEST)));
    }
}
