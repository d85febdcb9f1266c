//! Door 1: agents. `/mcp` and `/mcp/token` are the same service; the second takes API tokens only and never points to OAuth discovery, because some
//! clients ignore a configured header as soon as discovery answers.
//!
//! The stack, outermost first: panic guard, time limit, host and origin, CORS for browsers, authentication, the tenant's rate, the pre-filter, the step up (`scope.rs`), usage, the
//! short way for plain calls; then rmcp, which only `server.rs` knows.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;
use tower::ServiceBuilder;

use crate::http::middleware::Around;
use crate::http::names::Allowed;
use crate::http::places::{self, Places};
use crate::http::{self, HttpSettings};
use crate::state::AppState;

mod auth;
mod browsers;
#[cfg(feature = "conformance")]
mod conformance;
mod direct;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod gate;
mod json_rpc;
mod prefilter;
mod scope;
mod server;
mod usage;

/// Where agents call.
pub const PATH: &str = places::MCP;
/// The same for API tokens only.
pub const TOKEN_PATH: &str = "/mcp/token";

/// The routes of this door.
pub fn router(state: &AppState, settings: &HttpSettings) -> Router {
    let server = server::DunetServer::new(state);
    let service = server::service(server.clone(), settings);
    let routes = Router::new().route_service(PATH, service.clone()).route_service(TOKEN_PATH, service);
    let router = behind_the_stack(routes, &server::METHODS, server.clone(), state, settings);
    #[cfg(feature = "conformance")]
    let router = router.merge(behind_the_stack(conformance::routes(settings), &conformance::METHODS, server, state, settings));
    router
}

/// The layers that every request of an agent passes, whoever answers it.
fn behind_the_stack(routes: Router, methods: &'static [&'static str], server: server::DunetServer, state: &AppState, settings: &HttpSettings) -> Router {
    let places = Places::new(settings);
    let pointer = auth::pointer(&places);
    let stack = ServiceBuilder::new()
        .layer(Around::new(http::PanicGuard(panicked)))
        .layer(Around::new(http::TimeLimit { longest: settings.request_timeout, answer: too_slow }))
        .layer(Around::new(gate::Gate(Allowed::new(settings))))
        .layer(browsers::BrowsersLayer::new(settings))
        .layer(Around::new(auth::Authenticator::new(state.tokens.clone(), &places, settings.failed_auth_per_minute, state.metrics.clone())))
        .layer(Around::new(auth::TenantRate::new(state.limits.clone())))
        .layer(Around::new(prefilter::Prefilter::new(settings.body_bytes_max, methods)))
        .layer(Around::new(scope::Scopes { pointer }))
        .layer(Around::new(usage::Metering::new(state.usage.clone(), state.metrics.clone())))
        .layer(Around::new(direct::Direct::new(server)));
    routes.layer(stack)
}

/// Clients look at the body of every answer; the request's id is in its header.
fn panicked() -> Response {
    json_rpc::error(StatusCode::INTERNAL_SERVER_ERROR, &Value::Null, json_rpc::INTERNAL_ERROR, "internal error", None)
}

fn too_slow() -> Response {
    json_rpc::error(StatusCode::GATEWAY_TIMEOUT, &Value::Null, json_rpc::UNAVAILABLE, "the request took too long", None)
}
