//! `/metrics`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{NaiveTime, TimeZone, Utc};
use ipnet::IpNet;

use super::client_address::ClientAddress;
use super::not_found;
use crate::metrics::Snapshot;
use crate::state::AppState;

/// Prometheus' text format.
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// Signs of a proxy in between.
const SIGNS_OF_A_PROXY: [&str; 6] = ["forwarded", "via", "x-real-ip", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port"];

/// What the route needs. Cheap to clone.
#[derive(Clone)]
pub struct Exposition {
    state: AppState,
    allowed: Arc<Vec<IpNet>>,
}

impl Exposition {
    /// Of this service, for clients in these networks.
    #[must_use]
    pub fn new(state: AppState, allowed: Arc<Vec<IpNet>>) -> Self {
        Self { state, allowed }
    }

    /// The client's own address counts, never the peer's: behind a proxy on this machine every peer is loopback. Where a proxy passed the
    /// request on without saying for whom, the client is unknown and not allowed.
    fn allows(&self, client: IpAddr, headers: &HeaderMap) -> bool {
        let hidden = !headers.contains_key("x-forwarded-for") && SIGNS_OF_A_PROXY.iter().any(|sign| headers.contains_key(*sign));
        !hidden && self.allowed.iter().any(|net| net.contains(&client))
    }

    fn snapshot(&self) -> Snapshot {
        let state = &self.state;
        let usage = state.usage.backlog();
        let listing = state.padron.status().active;
        Snapshot {
            usage_waiting_records: usage.records,
            usage_journal_bytes: usage.journal_bytes,
            usage_memory_records: usage.in_memory,
            usage_dropped: usage.dropped,
            odoo_waiting: state.connections.waiting() as u64,
            odoo_paused: state.connections.paused() as u64,
            warm_connections: state.connections.warm_count(),
            padron_rows: listing.as_ref().map_or(0, |listing| listing.rows),
            padron_cutoff_s: listing.map_or(0, |listing| Utc.from_utc_datetime(&listing.cutoff.and_time(NaiveTime::MIN)).timestamp()),
            nodes: state.nodes.count(),
            leads: state.nodes.leads(),
            redis_up: state.limits.shared_answers(),
            replica_near: state.reads.replica_near(),
            odoo_requests: state.connections.traffic().counts().collect(),
        }
    }
}

/// The metrics, for those who may see them; for all others there is no such page.
pub async fn expose(State(exposition): State<Exposition>, request: Request) -> Response {
    let client = request.extensions().get::<ClientAddress>().map(|client| client.0);
    if !client.is_some_and(|client| exposition.allows(client, request.headers())) {
        return not_found().await.into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], exposition.state.metrics.render(&exposition.snapshot())).into_response()
}
