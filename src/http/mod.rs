//! What the doors share: request id, span, trace context, panic guard, client address, security headers, limits, health, metrics.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use ipnet::IpNet;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower::layer::util::{Identity, Stack};
use tower_http::catch_panic::{CatchPanicLayer, ResponseForPanic};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::{HttpMakeClassifier, TraceLayer};
use url::Url;

use crate::metrics::{method_label, path_label};
use crate::telemetry::REQUEST_TARGET;

pub mod client_address;
pub mod health;
pub mod metrics;
pub mod names;
pub mod shared;
pub mod trace_context;

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
    /// Clients that may read `/metrics`.
    pub metrics_allowed: Arc<Vec<IpNet>>,
    /// Cancelled when the service begins to stop.
    pub stopping: CancellationToken,
}

/// Gives every request an id. What a client sends under that name is not believed: ids are ours, so that logs can be trusted.
#[must_use]
pub fn request_id_set() -> Stack<SetRequestIdLayer<MakeRequestUuid>, Stack<WithoutIdLayer, Identity>> {
    // tower-http keeps a header that is there already.
    let without: fn(Request<Body>) -> Request<Body> = |mut request| {
        request.headers_mut().remove(&REQUEST_ID);
        request
    };
    ServiceBuilder::new().map_request(without).layer(SetRequestIdLayer::new(REQUEST_ID.clone(), MakeRequestUuid)).into_inner()
}

type WithoutIdLayer = tower::util::MapRequestLayer<fn(Request<Body>) -> Request<Body>>;

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

/// A span per request; never headers, never bodies, and of the address only which route of ours it is: in a path or a query there may be a
/// token that was put there by mistake. What is found out later is filled in: the tenant by authentication, the trace by the door.
#[must_use]
pub fn span() -> TraceLayer<HttpMakeClassifier, fn(&Request<Body>) -> tracing::Span> {
    let make: fn(&Request<Body>) -> tracing::Span = |request| {
        let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok()).unwrap_or_default();
        // At the level of an error, so that errors carry it even where nothing else is logged.
        tracing::error_span!(
            target: REQUEST_TARGET,
            "request",
            request.id = id,
            http.method = method_label(request.method().as_str()),
            http.path = path_label(request.uri().path()),
            tenant.id = tracing::field::Empty,
            trace.id = tracing::field::Empty,
            trace.parent = tracing::field::Empty,
        )
    };
    TraceLayer::new_for_http().make_span_with(make)
}

/// What a door answers when it cannot answer otherwise.
pub type Answer = fn() -> Response<Body>;

/// A panic becomes this answer, and the connection lives on. The panic itself is logged by `telemetry.rs`.
#[must_use]
pub fn panic_guard(answer: Answer) -> CatchPanicLayer<PanicAnswer> {
    CatchPanicLayer::custom(PanicAnswer(answer))
}

/// Answers for what panicked.
#[derive(Clone, Copy, Debug)]
pub struct PanicAnswer(Answer);

impl ResponseForPanic for PanicAnswer {
    type ResponseBody = Body;

    fn response_for_panic(&mut self, _: Box<dyn Any + Send + 'static>) -> Response<Body> {
        (self.0)()
    }
}

/// The plain answer to a panic.
#[must_use]
pub fn panicked() -> Response<Body> {
    (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": "internal error" }))).into_response()
}

/// The longest time for a request, and the answer to one that takes longer.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimit {
    /// The longest time until the answer begins.
    pub longest: Duration,
    /// What is answered then.
    pub answer: Answer,
}

/// Ends requests that take too long.
pub async fn time_limit_layer(State(limit): State<TimeLimit>, request: axum::extract::Request, next: Next) -> Response<Body> {
    tokio::time::timeout(limit.longest, next.run(request)).await.unwrap_or_else(|_| (limit.answer)())
}

/// The plain answer to a request that took too long.
#[must_use]
pub fn too_slow() -> Response<Body> {
    (StatusCode::GATEWAY_TIMEOUT, Json(json!({ "error": "the request took too long" }))).into_response()
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

/// Unknown paths, well-known ones included, are true 404s: clients take anything else for a discovery document.
pub async fn not_found() -> impl IntoResponse {
    (StatusCode::NOT_FOUND, Json(json!({ "error": "not found" })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    async fn answer(app: Router, path: &str) -> (u16, String) {
        let response = app.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_panic_and_a_hang_are_answered() {
        let limit = TimeLimit { longest: Duration::from_millis(20), answer: too_slow };
        let app = Router::new()
            .route("/panic", get(async || -> &'static str { panic!("a secret: hunter2") }))
            .route("/hang", get(async || std::future::pending::<&'static str>().await))
            .layer(ServiceBuilder::new().layer(panic_guard(panicked)).layer(axum::middleware::from_fn_with_state(limit, time_limit_layer)));
        assert_eq!(answer(app.clone(), "/panic").await, (500, r#"{"error":"internal error"}"#.to_owned()));
        assert_eq!(answer(app, "/hang").await, (504, r#"{"error":"the request took too long"}"#.to_owned()));
    }
}
