//! How often one address may try, where nobody has signed in yet. Each door refuses in its own words.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

use super::client_address::ByAddress;

/// How often the map is looked through, requests.
const PRUNE_EVERY: u64 = 256;

/// What is answered to one who has to wait: none is a failure of the limiter, which has been logged.
pub type Refuse = fn(Option<u64>) -> Response;

/// Counts all routes together that it is put before. Cheap to clone.
#[derive(Clone)]
pub struct Limiter {
    config: Arc<GovernorConfig<ByAddress, NoOpMiddleware>>,
    seen: Arc<AtomicU64>,
    refuse: Refuse,
}

/// Counts a request of a limited route, so that quiet addresses are forgotten now and then.
pub async fn prune_layer(State(limiter): State<Limiter>, request: Request, next: Next) -> Response {
    limiter.prune();
    next.run(request).await
}

impl Limiter {
    /// So many a minute from one address.
    #[must_use]
    pub fn new(per_minute: u32, refuse: Refuse) -> Self {
        let per_minute = per_minute.max(1);
        let mut builder = GovernorConfigBuilder::default().key_extractor(ByAddress);
        builder.period(Duration::from_secs(60) / per_minute).burst_size(per_minute);
        // Period and burst are at least one: there is always a configuration.
        let config = builder.finish().unwrap_or_else(|| unreachable!("a period and a burst of at least one"));
        Self { config: Arc::new(config), seen: Arc::default(), refuse }
    }

    /// Now and then forgets addresses that have been quiet, so that the map stays as small as the attack is.
    fn prune(&self) {
        if self.seen.fetch_add(1, Ordering::Relaxed) % PRUNE_EVERY == PRUNE_EVERY - 1 {
            self.config.limiter().retain_recent();
        }
    }

    /// Counts one try of whoever sent this.
    ///
    /// # Errors
    /// There were too many: the seconds to wait.
    pub fn take<B>(&self, request: &axum::http::Request<B>) -> Result<(), u64> {
        self.prune();
        // An address that is not known counts with the others that are not.
        let address = ByAddress.extract(request).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let limiter = self.config.limiter();
        limiter.check_key(&address).map_err(|not_until| not_until.wait_time_from(limiter.clock().now()).as_secs().max(1))
    }

    /// The layer; [`prune_layer`] goes around it.
    #[must_use]
    pub fn layer(&self) -> GovernorLayer<ByAddress, NoOpMiddleware, Body> {
        let refuse = self.refuse;
        GovernorLayer::new(Arc::clone(&self.config)).error_handler(move |error| match error {
            GovernorError::TooManyRequests { wait_time, .. } => refuse(Some(wait_time.max(1))),
            other => {
                tracing::error!(%other, "the limiter of addresses failed");
                refuse(None)
            }
        })
    }
}
