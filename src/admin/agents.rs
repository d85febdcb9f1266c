//! The agents' door as seen from a page: a token is tried by asking that door as an agent would, through all of its layers, without a
//! network between. Not a client of its own: nothing here knows what the door is made of.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_http::request_id::RequestId;
use url::{Position, Url};

use crate::clock::instant;
use crate::http::client_address::ClientAddress;

/// Where agents call with API tokens, and where they call with anything.
const TOKEN_PATH: &str = "/mcp/token";
const PATH: &str = "/mcp";
/// The revision without a handshake.
const STATELESS: &str = "2026-07-28";
/// The longest answer looked at, bytes.
const ANSWER_BYTES_MAX: usize = 1_048_576;

/// How an agent introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// `initialize` of that revision, and whether the requests after it name it in their header.
    Handshake { revision: &'static str, header: bool },
    /// `server/discover`; every request says what it is in headers and `_meta`.
    Discover,
    /// Not at all: it asks for what it wants.
    Straight,
}

/// Where it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The address for API tokens only.
    Token,
    /// The address for everybody.
    General,
}

/// The other door. Cheap to clone.
#[derive(Clone)]
pub(super) struct Agents {
    router: Router,
    public_url: Url,
}

/// What it answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    /// The JSON-RPC message; null when the answer is none.
    pub(super) message: Value,
    pub(super) took: Duration,
}

impl Answered {
    /// The result, if it is one.
    pub(super) fn result(&self) -> Option<&Value> {
        self.message.get("result").filter(|_| self.status == StatusCode::OK)
    }
}

/// Who asks, for the door's own limits and its log.
pub(super) struct AskedBy<'a> {
    pub(super) address: Option<&'a str>,
    pub(super) request_id: &'a str,
    /// As which program.
    pub(super) hello: Hello,
    pub(super) door: Door,
}

impl Agents {
    pub(super) fn new(router: Router, public_url: &Url) -> Self {
        Self { router, public_url: public_url.clone() }
    }

    /// The address agents with API tokens use.
    pub(super) fn token_url(&self) -> String {
        self.at(TOKEN_PATH)
    }

    /// The address for whoever signs in, and for programs that look at how it ends.
    pub(super) fn url(&self) -> String {
        self.at(PATH)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }

    /// Introduces itself, as most agents do first; none for one that does not.
    pub(super) async fn introduce(&self, token: &SecretString, by: &AskedBy<'_>) -> Option<Answered> {
        let client = client_info();
        match by.hello {
            Hello::Handshake { revision, .. } => {
                let params = json!({ "protocolVersion": revision, "capabilities": {}, "clientInfo": client });
                Some(self.ask("initialize", params, token, by).await)
            }
            Hello::Discover => Some(self.ask("server/discover", json!({}), token, by).await),
            Hello::Straight => None,
        }
    }

    /// Asks for the tools of that token.
    pub(super) async fn tools_list(&self, token: &SecretString, by: &AskedBy<'_>) -> Answered {
        self.ask("tools/list", json!({}), token, by).await
    }

    async fn ask(&self, method: &str, params: Value, token: &SecretString, by: &AskedBy<'_>) -> Answered {
        let began = instant();
        let (status, message) = match self.request(method, params, token, by) {
            // Infallible: the router answers everything.
            Ok(request) => match self.router.clone().oneshot(request).await {
                Ok(response) => {
                    let status = response.status();
                    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                    (status, serde_json::from_slice(&body).unwrap_or_default())
                }
                Err(never) => match never {},
            },
            // A text that cannot stand in a header is no token.
            Err(_) => (StatusCode::UNAUTHORIZED, Value::Null),
        };
        Answered { status, message, took: began.elapsed() }
    }

    fn request(&self, method: &str, mut params: Value, token: &SecretString, by: &AskedBy<'_>) -> Result<Request, axum::http::Error> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret().trim()))?;
        bearer.set_sensitive(true);
        let path = if by.door == Door::Token { TOKEN_PATH } else { PATH };
        let mut request = Request::post(path)
            .header(header::HOST, &self.public_url[Position::BeforeHost..Position::AfterPort])
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header(header::AUTHORIZATION, bearer);
        match by.hello {
            Hello::Handshake { revision, header: true } if method != "initialize" => request = request.header("mcp-protocol-version", revision),
            Hello::Handshake { .. } => {}
            Hello::Straight => request = request.header("mcp-protocol-version", "2025-11-25"),
            Hello::Discover => {
                request = request.header("mcp-protocol-version", STATELESS).header("mcp-method", method);
                params["_meta"] = json!({
                    "io.modelcontextprotocol/protocolVersion": STATELESS,
                    "io.modelcontextprotocol/clientInfo": client_info(),
                    "io.modelcontextprotocol/clientCapabilities": {},
                });
            }
        }
        if let Some(address) = by.address.and_then(|address| address.parse().ok()) {
            request = request.extension(ClientAddress(address));
        }
        if let Ok(id) = HeaderValue::from_str(by.request_id) {
            request = request.extension(RequestId::new(id));
        }
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        request.body(Body::from(body.to_string()))
    }
}

fn client_info() -> Value {
    json!({ "name": "dunet-portal", "version": env!("CARGO_PKG_VERSION") })
}
