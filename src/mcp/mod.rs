//! Door 1: agents. `/mcp` and `/mcp/token` are the same service; the second will never point to OAuth discovery, because some clients
//! ignore a configured header as soon as discovery answers.
//!
//! The stack, outermost first: panic guard, time limit, host and origin, CORS, authentication, the tenant's rate, the pre-filter, usage; then rmcp, which only
//! `server.rs` knows.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use serde_json::Value;
use tower::ServiceBuilder;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::http::names::Allowed;
use crate::http::shared::SharedLayer;
use crate::http::{self, HttpSettings};
use crate::state::AppState;

mod auth;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod gate;
mod json_rpc;
mod prefilter;
mod server;
mod usage;

/// Where agents call.
pub const PATH: &str = "/mcp";
/// The same for API tokens only.
pub const TOKEN_PATH: &str = "/mcp/token";

/// The routes of this door.
pub fn router(state: &AppState, settings: &HttpSettings) -> Router {
    let service = server::service(state, settings);
    let authenticator = auth::Authenticator::new(state.tokens.clone(), settings.failed_auth_per_minute, state.metrics.clone());
    let limit = http::TimeLimit { longest: settings.request_timeout, answer: too_slow };
    let stack = ServiceBuilder::new()
        .layer(http::panic_guard(panicked))
        .layer(from_fn_with_state(limit, http::time_limit_layer))
        .layer(SharedLayer)
        .layer(from_fn_with_state(Allowed::new(settings), gate::layer))
        .layer(SharedLayer)
        .layer(cors(settings))
        .layer(from_fn_with_state(Arc::new(authenticator), auth::layer))
        .layer(SharedLayer)
        .layer(from_fn_with_state(state.limits.clone(), auth::tenant_rate_layer))
        .layer(SharedLayer)
        .layer(from_fn_with_state(settings.body_bytes_max, prefilter::layer))
        .layer(SharedLayer)
        .layer(from_fn_with_state((state.usage.clone(), state.metrics.clone()), usage::layer));
    Router::new().route_service(PATH, service.clone()).route_service(TOKEN_PATH, service).layer(stack)
}

/// Clients look at the body of every answer; the request's id is in its header.
fn panicked() -> Response {
    json_rpc::error(StatusCode::INTERNAL_SERVER_ERROR, &Value::Null, json_rpc::INTERNAL_ERROR, "internal error", None)
}

fn too_slow() -> Response {
    json_rpc::error(StatusCode::GATEWAY_TIMEOUT, &Value::Null, json_rpc::UNAVAILABLE, "the request took too long", None)
}

fn cors(settings: &HttpSettings) -> CorsLayer {
    let allowed = Allowed::new(settings);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin: &HeaderValue, _| origin.to_str().is_ok_and(|origin| allowed.origin(origin))))
        .allow_methods([Method::POST, Method::GET, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            HeaderName::from_static("mcp-protocol-version"),
            HeaderName::from_static("mcp-method"),
            HeaderName::from_static("mcp-name"),
            HeaderName::from_static("mcp-session-id"),
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([header::WWW_AUTHENTICATE, HeaderName::from_static("mcp-session-id"), HeaderName::from_static("x-request-id")])
}
