//! The short way of a call: a plain call of a reading tool is answered here, without the task, the channels and the service of its own that
//! rmcp makes for each request. They cost more than everything Dunet does itself.
//!
//! Plain is what real clients send: `name`, `arguments` and `_meta`, the headers of its era, a tool this caller has. Whatever is different in any
//! way goes the long way, through rmcp, which knows what to say about it. What is answered is the same to the byte; `tests/it/mcp_direct.rs`
//! sends each call both ways.

use std::panic::AssertUnwindSafe;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::response::Response;
use futures::FutureExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::server::{self, DunetServer, MODERN};
use crate::domain::tokens::Caller;
use crate::domain::usage::OpenRecord;
use crate::http::middleware::{Middleware, Next};
use crate::http::request_id;
use crate::http::trace_context::RequestTrace;
use crate::tools::dispatch::{CallRequest, may};
use crate::tools::tool::Effect;

const VERSION: &str = "mcp-protocol-version";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";
/// Headers of the modern era that repeat arguments; rmcp compares them.
const PARAMETER_PREFIX: &str = "mcp-param-";
/// What a server of the modern era says about itself on every result, and that the result is one.
const COMPLETE: &str = r#""resultType":"complete","#;

/// The body of a request that the pre-filter found plain.
#[derive(Clone)]
pub(super) struct PlainBody(pub(super) Bytes);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    #[serde(rename = "jsonrpc")]
    _version: &'a str,
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(rename = "method")]
    _method: &'a str,
    #[serde(borrow)]
    params: Params<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params<'a> {
    name: &'a str,
    arguments: Option<Map<String, Value>>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<&'a RawValue>,
}

/// What is known of the caller's program and its era.
struct Manners {
    modern: bool,
    agent: Option<String>,
    traceparent: Option<String>,
}

/// Answers plain calls.
pub(super) struct Direct {
    server: DunetServer,
}

impl Direct {
    /// With that server.
    pub(super) fn new(server: DunetServer) -> Self {
        Self { server }
    }

    async fn answer(&self, extensions: &Extensions, caller: Caller, message: Message<'_>, manners: Manners) -> Response {
        if let Some(trace) = extensions.get::<RequestTrace>() {
            trace.note(manners.traceparent.as_deref());
        }
        let record = extensions.get::<OpenRecord>().cloned().unwrap_or_default();
        let (language, id) = (caller.language(), request_id(extensions).to_owned());
        let call = CallRequest {
            caller,
            name: message.params.name.to_owned(),
            arguments: message.params.arguments,
            record: record.clone(),
            request_id: id.clone(),
            agent: manners.agent,
            // Who hangs up drops all of this.
            cancelled: CancellationToken::new(),
            progress: None,
            declined: false,
        };
        let outcome = AssertUnwindSafe(self.server.dispatcher().call(call)).catch_unwind().await;
        let (text, failed) = match outcome {
            Ok(Ok(Ok(answer))) => (answer.into_string(), false),
            Ok(Ok(Err(failure))) => (server::failure(&failure, language, &id).to_string(), true),
            // The tool was found before, and the register does not change.
            Ok(Err(_)) | Err(_) => (server::failure(&server::broken(&record), language, &id).to_string(), true),
        };
        respond(message.id.get(), &text, failed, manners.modern)
    }
}

impl Middleware for Direct {
    async fn handle(&self, mut request: Request, next: impl Next) -> Response {
        let Some(PlainBody(bytes)) = request.extensions_mut().remove::<PlainBody>() else { return next.run(request).await };
        let Ok(message) = serde_json::from_slice::<Message<'_>>(&bytes) else { return next.run(request).await };
        // rmcp counts in 64 bits with a sign.
        if !(message.id.get().starts_with('"') || message.id.get().parse::<i64>().is_ok()) {
            return next.run(request).await;
        }
        let Some(manners) = manners(request.headers(), &message.params) else { return next.run(request).await };
        match request.extensions().get::<Caller>() {
            Some(caller) if may(caller, message.params.name) == Some(Effect::Reads) => {
                let caller = caller.clone();
                self.answer(request.extensions(), caller, message, manners).await
            }
            _ => next.run(request).await,
        }
    }
}

/// None where something is for rmcp to judge.
fn manners(headers: &HeaderMap, params: &Params<'_>) -> Option<Manners> {
    let only = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let first = values.next();
        (values.next().is_none()).then_some(first)
    };
    let meta = match params.meta {
        Some(raw) => Some(server::read_meta(raw.get())?),
        None => None,
    };
    let said = meta.as_ref().and_then(|meta| meta.version.as_deref());
    let version = only(VERSION)?.map(|version| version.to_str().unwrap_or_default());
    let modern = version == Some(MODERN);
    let fits = if modern {
        let is = |name: &str, want: &str| only(name).flatten().is_some_and(|value| value == want);
        let repeats = headers.keys().any(|name| name.as_str().starts_with(PARAMETER_PREFIX));
        said == Some(MODERN) && meta.as_ref().is_some_and(|meta| meta.complete) && is(METHOD, "tools/call") && is(NAME, params.name) && !repeats
    } else {
        said.is_none()
    };
    let user_agent = || headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
    fits.then(|| match meta {
        Some(meta) => Manners { modern, agent: meta.agent.or_else(user_agent), traceparent: meta.traceparent },
        None => Manners { modern, agent: user_agent(), traceparent: None },
    })
}

/// The result, once as text and once as data.
fn respond(id: &str, result: &str, failed: bool, modern: bool) -> Response {
    let mut body = Vec::with_capacity(result.len() * 2 + result.len() / 4 + 256);
    body.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    body.extend_from_slice(id.as_bytes());
    body.extend_from_slice(br#","result":{"#);
    if modern {
        body.extend_from_slice(COMPLETE.as_bytes());
    }
    body.extend_from_slice(br#""content":[{"type":"text","text":"#);
    escape(result, &mut body);
    body.extend_from_slice(br#"}],"structuredContent":"#);
    body.extend_from_slice(result.as_bytes());
    body.extend_from_slice(if failed { br#","isError":true"# } else { br#","isError":false"# });
    if modern {
        body.extend_from_slice(br#","_meta":"#);
        body.extend_from_slice(server::stamp_json().as_bytes());
    }
    body.extend_from_slice(b"}}");
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// JSON in a JSON text. It is written by serde_json, and so has no control characters: only quotes and backslashes need escaping.
fn escape(json: &str, body: &mut Vec<u8>) {
    body.push(b'"');
    let mut rest = json.as_bytes();
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        body.extend_from_slice(&rest[..at]);
        body.extend_from_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    body.extend_from_slice(rest);
    body.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_in_json_is_as_serde_writes_it() {
        let value = json!({ "a": "línea\n\t\"dos\" \\ \u{1}\u{7f}/", "b": [1.5, null] }).to_string();
        let mut body = Vec::new();
        escape(&value, &mut body);
        assert_eq!(String::from_utf8(body).unwrap(), serde_json::to_string(&value).unwrap());
    }

    #[test]
    fn only_what_is_plain_goes_the_short_way() {
        let read = |body: &str| serde_json::from_str::<Message<'_>>(body).is_ok();
        assert!(read(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"b":1},"_meta":{}}}"#));
        assert!(read(r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"a"}}"#));
        for long in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","task":{}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":[]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\u0061"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"result":1}"#,
        ] {
            assert!(!read(long), "{long}");
        }
    }
}
