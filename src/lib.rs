//! Dunet: MCP between AI agents and the Odoo of Dominican businesses. `ARCHITECTURE.md` is the map.
//!
//! Modules, from the doors inward. The import table is kept by `tests/it/tidy.rs`.

rust_i18n::i18n!("locales", fallback = "es");

pub mod admin; // door 2: people
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
pub mod metrics; // what the service counts of itself
pub mod oauth; // door 3: programs that want to be let in
pub mod odoo; // a window: the Odoo client
pub mod state; // handles to everything
pub mod telemetry; // logs
pub mod text; // sentences for people
pub mod tools; // the goods

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};
use tower::ServiceBuilder;

use http::HttpSettings;
use http::envelope::Envelope;
use http::middleware::Around;
use state::AppState;

/// The tower stack of the service, outermost first, and its nests.
pub fn router(state: &AppState, settings: &HttpSettings) -> Router {
    let envelope = Envelope::new(state.metrics.clone(), Arc::clone(&settings.trusted_proxies));
    let readiness = http::health::Readiness::new(state.clone(), settings.stopping.clone());
    let exposition = http::metrics::Exposition::new(state.clone(), Arc::clone(&settings.metrics_allowed));
    // The agents' door has a panic guard and a time limit of its own: its answers are JSON-RPC.
    let guards = ServiceBuilder::new()
        .layer(Around::new(http::PanicGuard(http::panicked)))
        .layer(Around::new(http::TimeLimit { longest: settings.request_timeout, answer: http::too_slow }));
    let plain = Router::new()
        .route("/healthz", get(http::health::alive))
        .route("/readyz", get(http::health::ready).with_state(readiness))
        .route("/metrics", any(http::metrics::expose).with_state(exposition))
        .fallback(http::not_found)
        .layer(guards);
    // The doors do not know each other: the portal tries a token by asking the agents' door as an agent would, without a network between.
    let agents = mcp::router(state, settings);
    plain.merge(oauth::router(state, settings)).merge(agents.clone()).merge(admin::router(state, settings, agents)).layer(Around::new(envelope))
}
