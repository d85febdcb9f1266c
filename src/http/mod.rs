//! What the doors share: request id, span, panic guard, client address, security headers, limits.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use ipnet::IpNet;
use serde_json::json;
use tower::ServiceBuilder;
use tower::layer::util::{Identity, Stack};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestId, MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::{HttpMakeClassifier, TraceLayer};
use url::Url;

pub mod client_address;
pub mod health;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the tower stack needs to know.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The address clients use.
    pub public_url: Url,
    /// Origins allowed besides the public URL's.
    pub allowed_origins: Vec<String>,
    /// Proxies whose forwarded address is believed.
    pub trusted_proxies: Arc<Vec<IpNet>>,
    /// Largest request body, bytes.
    pub body_bytes_max: usize,
    /// Longest time for one request.
    pub request_timeout: Duration,
    /// Failed authentications of one address per minute.
    pub failed_auth_per_minute: u32,
}

/// Gives every request an id. What a client sends under that name is not believed: ids are ours, so that logs can be trusted.
#[must_use]
pub fn request_id_set() -> Stack<SetRequestIdLayer<MakeRequestUuid>, Stack<SetRequestHeaderLayer, Identity>> {
    ServiceBuilder::new().layer(replace_request_id()).layer(SetRequestIdLayer::new(REQUEST_ID.clone(), MakeRequestUuid)).into_inner()
}

type SetRequestHeaderLayer = tower_http::set_header::SetRequestHeaderLayer<fn(&Request<Body>) -> Option<HeaderValue>>;

/// tower-http keeps a header that is there already, and "no value" leaves it too: it has to be replaced.
fn replace_request_id() -> SetRequestHeaderLayer {
    SetRequestHeaderLayer::overriding(REQUEST_ID.clone(), |request| MakeRequestUuid.make_request_id(request).map(RequestId::into_header_value))
}

/// Sends the id back.
#[must_use]
pub fn request_id_echo() -> PropagateRequestIdLayer {
    PropagateRequestIdLayer::new(REQUEST_ID.clone())
}

/// The request's id, for logs and answers.
#[must_use]
pub fn request_id(extensions: &axum::http::Extensions) -> String {
    extensions.get::<RequestId>().and_then(|id| id.header_value().to_str().ok()).unwrap_or_default().to_owned()
}

/// A span per request; never headers, never bodies, never the query (it may hold a token that was put there by mistake).
#[must_use]
pub fn span() -> TraceLayer<HttpMakeClassifier, fn(&Request<Body>) -> tracing::Span> {
    let make: fn(&Request<Body>) -> tracing::Span = |request| {
        let id = request_id(request.extensions());
        tracing::info_span!("request", request.id = %id, http.method = %request.method(), http.path = %request.uri().path())
    };
    TraceLayer::new_for_http().make_span_with(make)
}

type PanicAnswer = fn(Box<dyn Any + Send + 'static>) -> Response<Body>;

/// A panic becomes a 500 with a body, and the connection lives on.
#[must_use]
pub fn panic_guard() -> CatchPanicLayer<PanicAnswer> {
    let respond: PanicAnswer = |panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
        tracing::error!(panic = what, "a request panicked");
        (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": "internal error" }))).into_response()
    };
    CatchPanicLayer::custom(respond)
}

/// Headers that every answer carries.
#[must_use]
pub fn security_headers() -> Stack<SetHeader, Stack<SetHeader, Stack<SetHeader, Identity>>> {
    let set = |name: HeaderName, value: &'static str| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    ServiceBuilder::new()
        .layer(set(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(set(header::REFERRER_POLICY, "no-referrer"))
        .layer(set(header::CACHE_CONTROL, "no-store"))
        .into_inner()
}

type SetHeader = SetResponseHeaderLayer<HeaderValue>;

/// A request that takes longer is answered 504.
#[must_use]
pub fn time_limit(longest: Duration) -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, longest)
}

/// Unknown paths, well-known ones included, are true 404s: clients take anything else for a discovery document.
pub async fn not_found() -> impl IntoResponse {
    (StatusCode::NOT_FOUND, Json(json!({ "error": "not found" })))
}
