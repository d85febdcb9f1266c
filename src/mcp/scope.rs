//! The step up: a call of a tool that this company has, but that lies outside of what a member allowed this program, is answered with 403 and the
//! scope it needs, so that the program can ask the person for more (RFC 6750 §3.1, MCP 2026-07-28). A tool that nobody here may use stays unknown.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::direct::PlainBody;
use super::json_rpc;
use crate::domain::tokens::Caller;
use crate::http::middleware::{Middleware, Next};
use crate::tools::dispatch::pack_lacking;
use crate::tools::tool::PACKS;

/// As far as it must be read.
#[derive(Deserialize)]
struct Call<'a> {
    method: &'a str,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    name: Option<&'a str>,
}

/// Answers calls outside of a grant.
pub(super) struct Scopes {
    /// `resource_metadata="…"`.
    pub(super) pointer: String,
}

impl Middleware for Scopes {
    async fn handle(&self, mut request: Request, next: impl Next) -> Response {
        let Some(caller) = request.extensions().get::<Caller>().filter(|caller| caller.grant().is_some() && caller.packs().is_some_and(|packs| packs.len() < PACKS.len())) else {
            return next.run(request).await;
        };
        let caller = caller.clone();
        let bytes = match request.extensions().get::<PlainBody>() {
            Some(PlainBody(bytes)) => bytes.clone(),
            None => {
                let (parts, body) = request.into_parts();
                // In memory already: the pre-filter has read it.
                let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                request = Request::from_parts(parts, Body::from(bytes.clone()));
                bytes
            }
        };
        match self.refusal(&caller, &bytes) {
            Some(refusal) => refusal,
            None => next.run(request).await,
        }
    }
}

impl Scopes {
    fn refusal(&self, caller: &Caller, bytes: &Bytes) -> Option<Response> {
        let call: Call<'_> = serde_json::from_slice(bytes).ok()?;
        let tool = call.params.as_ref().filter(|_| call.method == "tools/call")?.name?;
        let lacking = pack_lacking(caller, tool)?;
        // All that it needs and all that it has: a client that asks for just this would lose the rest.
        let own = caller.packs().unwrap_or_default();
        let scope = PACKS.iter().copied().filter(|pack| *pack == lacking || own.iter().any(|own| own == pack)).collect::<Vec<_>>().join(" ");
        let id = call.id.and_then(|id| serde_json::from_str(id.get()).ok()).unwrap_or(Value::Null);
        let message = "this tool was not allowed to this program: ask the person again, with the scope named in WWW-Authenticate";
        let mut response = json_rpc::error(StatusCode::FORBIDDEN, &id, json_rpc::FORBIDDEN, message, Some(json!({ "scope": scope })));
        let challenge =
            format!("Bearer realm=\"dunet\", error=\"insufficient_scope\", scope=\"{scope}\", {}, error_description=\"this tool was not allowed to this program\"", self.pointer);
        // Packs and our own address are a header's text.
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        Some(response)
    }
}
