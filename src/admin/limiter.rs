//! How often one address may try, where nobody has signed in yet.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

use super::error::PageError;
use crate::http::client_address::ByAddress;

/// How often the map is looked through, requests.
const PRUNE_EVERY: u64 = 256;

/// Counts all limited routes together. Cheap to clone.
#[derive(Clone)]
pub(super) struct Limiter {
    config: Arc<GovernorConfig<ByAddress, NoOpMiddleware>>,
    seen: Arc<AtomicU64>,
}

/// Counts a request of a limited route for [`Limiter::prune`].
pub(super) async fn prune_layer(State(limiter): State<Limiter>, request: Request, next: Next) -> Response {
    limiter.prune();
    next.run(request).await
}

impl Limiter {
    pub(super) fn new(per_minute: u32) -> Self {
        let per_minute = per_minute.max(1);
        let mut builder = GovernorConfigBuilder::default().key_extractor(ByAddress);
        builder.period(Duration::from_secs(60) / per_minute).burst_size(per_minute);
        Self { config: Arc::new(builder.finish().expect("period and burst are at least one")), seen: Arc::default() }
    }

    /// Now and then forgets addresses that have been quiet, so that the map stays as small as the attack is.
    pub(super) fn prune(&self) {
        if self.seen.fetch_add(1, Ordering::Relaxed) % PRUNE_EVERY == PRUNE_EVERY - 1 {
            self.config.limiter().retain_recent();
        }
    }

    /// Counts one try of whoever sent this; the seconds to wait when there were too many.
    pub(super) fn take<B>(&self, request: &axum::http::Request<B>) -> Result<(), u64> {
        self.prune();
        // An address that is not known counts with the others that are not.
        let address = ByAddress.extract(request).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let limiter = self.config.limiter();
        limiter.check_key(&address).map_err(|not_until| not_until.wait_time_from(limiter.clock().now()).as_secs().max(1))
    }

    pub(super) fn layer(&self) -> GovernorLayer<ByAddress, NoOpMiddleware, Body> {
        GovernorLayer::new(Arc::clone(&self.config)).error_handler(refuse)
    }
}

fn refuse(error: GovernorError) -> Response {
    match error {
        GovernorError::TooManyRequests { wait_time, .. } => PageError::TooMany(wait_time.max(1)).into_response(),
        other => PageError::internal(anyhow::anyhow!("the limiter failed: {other}")).into_response(),
    }
}
