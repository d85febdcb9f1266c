//! What the doors share: the envelope of every request (id, span, trace, client address, headers), our names, panic guard, time limit, health,
//! metrics.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use ipnet::IpNet;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use url::Url;

use envelope::RequestId;
use middleware::{Middleware, Next};

pub mod client_address;
pub mod envelope;
pub mod health;
pub mod limiter;
pub mod metrics;
pub mod middleware;
pub mod names;
pub mod places;
pub mod trace_context;

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

/// The request's id, for logs and answers.
#[must_use]
pub fn request_id(extensions: &axum::http::Extensions) -> &str {
    extensions.get::<RequestId>().map(RequestId::as_str).unwrap_or_default()
}

/// What a door answers when it cannot answer otherwise.
pub type Answer = fn() -> Response;

/// A panic becomes this answer, and the connection lives on. The panic itself is logged by `telemetry.rs`.
#[derive(Clone, Copy, Debug)]
pub struct PanicGuard(pub Answer);

impl Middleware for PanicGuard {
    async fn handle(&self, request: Request, next: impl Next) -> Response {
        AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| (self.0)())
    }
}

/// The plain answer to a panic.
#[must_use]
pub fn panicked() -> Response {
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

impl Middleware for TimeLimit {
    /// Ends requests that take too long.
    async fn handle(&self, request: Request, next: impl Next) -> Response {
        tokio::time::timeout(self.longest, next.run(request)).await.unwrap_or_else(|_| (self.answer)())
    }
}

/// The plain answer to a request that took too long.
#[must_use]
pub fn too_slow() -> Response {
    (StatusCode::GATEWAY_TIMEOUT, Json(json!({ "error": "the request took too long" }))).into_response()
}

/// Unknown paths, well-known ones included, are true 404s: clients take anything else for a discovery document.
pub async fn not_found() -> impl IntoResponse {
    (StatusCode::NOT_FOUND, Json(json!({ "error": "not found" })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use middleware::Around;
    use tower::{ServiceBuilder, ServiceExt};

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
            .layer(ServiceBuilder::new().layer(Around::new(PanicGuard(panicked))).layer(Around::new(limit)));
        assert_eq!(answer(app.clone(), "/panic").await, (500, r#"{"error":"internal error"}"#.to_owned()));
        assert_eq!(answer(app, "/hang").await, (504, r#"{"error":"the request took too long"}"#.to_owned()));
    }
}
