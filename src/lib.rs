//! Dunet: MCP between AI agents and the Odoo of Dominican businesses. `ARCHITECTURE.md` is the map.
//!
//! Modules, from the doors inward. The import table is kept by `tests/it/tidy.rs`.

rust_i18n::i18n!("locales", fallback = "es");

pub mod boot; // serve: bind, ready, signals, drain, last flush; owns every background task
pub mod clock;
pub mod commands; // the operator's shell: every `dunet …` command
pub mod config; // every setting
pub mod db; // the cellar
pub mod demo; // the sandbox Odoo and sample padrón behind `dunet demo`
pub mod dgii; // a window: the taxpayer listing
pub mod domain; // the hall: rules
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing; // what must hold whatever strangers send; not in the program
pub mod http; // what the doors share
pub mod ids;
pub mod mcp; // door 1: agents
pub mod odoo; // a window: the Odoo client
pub mod state; // handles to everything
pub mod telemetry; // logs
pub mod text; // sentences for people
pub mod tools; // the goods

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tower::ServiceBuilder;

use http::HttpSettings;
use state::AppState;

/// The tower stack of the service, outermost first, and its nests.
pub fn router(state: &AppState, settings: &HttpSettings) -> Router {
    let stack = ServiceBuilder::new()
        .layer(http::request_id_set())
        .layer(http::span())
        .layer(http::request_id_echo())
        .layer(http::panic_guard())
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&settings.trusted_proxies), http::client_address::layer))
        .layer(http::security_headers())
        .layer(http::time_limit(settings.request_timeout));

    Router::new().route("/healthz", get(http::health::alive)).merge(mcp::router(state, settings)).fallback(http::not_found).layer(stack)
}
