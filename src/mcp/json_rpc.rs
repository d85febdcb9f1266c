//! JSON-RPC errors for requests that never reach rmcp. Clients of both eras look at the body of a 4xx, so it is always JSON-RPC.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// JSON-RPC 2.0: the body is not JSON.
pub(super) const PARSE_ERROR: i64 = -32700;
/// JSON-RPC 2.0: the body is no request.
pub(super) const INVALID_REQUEST: i64 = -32600;
/// JSON-RPC 2.0: there is no such method.
pub(super) const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC 2.0: the parameters are not of the method's form.
pub(super) const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC 2.0: our own fault.
pub(super) const INTERNAL_ERROR: i64 = -32603;
/// MCP 2026-07-28: header and body disagree, or a header is malformed.
pub(super) const HEADER_MISMATCH: i64 = -32020;
/// MCP 2026-07-28: the protocol version is not served.
pub(super) const UNSUPPORTED_VERSION: i64 = -32022;
/// Ours (outside the reserved range): no or no good credentials.
pub(super) const UNAUTHENTICATED: i64 = -31001;
/// Ours: not allowed here (host, origin, suspended tenant).
pub(super) const FORBIDDEN: i64 = -31003;
/// Ours: too many requests.
pub(super) const TOO_MANY: i64 = -31029;
/// Ours: cannot be answered now.
pub(super) const UNAVAILABLE: i64 = -31053;

/// An error answer.
pub(super) fn error(status: StatusCode, id: &Value, code: i64, message: &str, data: Option<Value>) -> Response {
    let mut error = json!({ "code": code, "message": message });
    if let (Some(data), Value::Object(map)) = (data, &mut error) {
        map.insert("data".to_owned(), data);
    }
    (status, Json(json!({ "jsonrpc": "2.0", "id": id, "error": error }))).into_response()
}
