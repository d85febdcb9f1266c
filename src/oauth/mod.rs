//! Door 3: programs that want to be let in. What the resource and the authorization server say of themselves (`/.well-known/…`), registration, tokens,
//! revocation, inspection (`/oauth/…`). Where a person is asked is a page of the portal: this door has no pages and knows no session.
//!
//! The stack, outermost first: panic guard, time limit, our names only, CORS for browsers (any origin: nothing here looks at cookies), limits by
//! address, body limit, handler.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use tower::ServiceBuilder;
use tower_http::cors::{Any, CorsLayer};

use crate::domain::oauth::OAuth;
use crate::http::limiter::{self, Limiter};
use crate::http::middleware::Around;
use crate::http::names::{Allowed, authority};
use crate::http::places::{self, Places};
use crate::http::{self, HttpSettings, not_found};
use crate::state::AppState;

mod error;
mod form;
mod inspect;
mod metadata;
mod register;
mod token;

/// Where programs register themselves.
pub const REGISTER_PATH: &str = "/oauth/register";
/// Where codes are changed for tokens.
pub const TOKEN_PATH: &str = "/oauth/token";
/// Where tokens are given back.
pub const REVOKE_PATH: &str = "/oauth/revoke";
/// Where programs with a secret ask about their tokens.
pub const INTROSPECT_PATH: &str = "/oauth/introspect";

/// The largest registration, and the largest form, bytes.
const REGISTRATION_BYTES_MAX: usize = 64 * 1_024;
const FORM_BYTES_MAX: usize = 16 * 1_024;
/// A browser may remember what it was allowed for so long, seconds.
const PREFLIGHT_S: u64 = 3_600;

/// What the handlers need. Cheap to clone.
#[derive(Clone)]
struct Door {
    oauth: OAuth,
    places: Arc<Places>,
}

/// The routes of this door.
pub fn router(state: &AppState, settings: &HttpSettings) -> Router {
    let door = Door { oauth: state.oauth.clone(), places: Arc::new(Places::new(settings)) };
    let limits = &state.config.limits;
    let (registrations, tokens) = (Limiter::new(limits.oauth_registrations_per_minute, error::too_many), Limiter::new(limits.oauth_tokens_per_minute, error::too_many));
    let stack = ServiceBuilder::new()
        .layer(Around::new(http::PanicGuard(http::panicked)))
        .layer(Around::new(http::TimeLimit { longest: settings.request_timeout, answer: http::too_slow }))
        .layer(from_fn_with_state(Allowed::new(settings), names_layer))
        .layer(cors());
    Router::new()
        .route(places::RESOURCE_METADATA, get(metadata::resource))
        .route(places::RESOURCE_METADATA_ROOT, get(metadata::resource))
        .route(places::SERVER_METADATA, get(metadata::server))
        .route(REGISTER_PATH, limited(post(register::register), &registrations, REGISTRATION_BYTES_MAX))
        .route(TOKEN_PATH, limited(post(token::token), &tokens, FORM_BYTES_MAX))
        .route(REVOKE_PATH, limited(post(inspect::revoke), &tokens, FORM_BYTES_MAX))
        .route(INTROSPECT_PATH, limited(post(inspect::introspect), &tokens, FORM_BYTES_MAX))
        .layer(stack)
        .with_state(door)
}

fn limited(method: MethodRouter<Door>, limiter: &Limiter, bytes_max: usize) -> MethodRouter<Door> {
    let bounded: MethodRouter<Door, Infallible> = method.layer(DefaultBodyLimit::max(bytes_max));
    let counted: MethodRouter<Door, Infallible> = bounded.layer(limiter.layer());
    counted.layer(from_fn_with_state(limiter.clone(), limiter::prune_layer))
}

/// By another name there is nothing here.
async fn names_layer(State(allowed): State<Allowed>, request: Request, next: Next) -> Response {
    if allowed.host(authority(request.headers(), request.uri())) { next.run(request).await } else { not_found().await.into_response() }
}

fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::ACCEPT, HeaderName::from_static("mcp-protocol-version")])
        .expose_headers([header::WWW_AUTHENTICATE])
        .max_age(Duration::from_secs(PREFLIGHT_S))
}
