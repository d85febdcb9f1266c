//! One lane per tenant to its Odoo: so many requests at once (bulkhead, the urgent first), none while it fails (breaker), no faster than it
//! likes (politeness). So a slow or broken Odoo costs its owner's calls a clear answer, and everybody else's nothing.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use governor::clock::Clock as _;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;
use tokio::time::Instant;

use super::tenants::Tenant;
use crate::clock::instant;
use crate::ids::TenantId;
use crate::odoo::{Health, OdooError, OdooErrorKind, Pass, RequestGate, Urgency};

mod breaker;
mod places;

use breaker::{Breaker, BreakerSettings, Ticket};
use places::{NoPlace, Place, Places};

/// Odoo Online wants no more than one call per second and none beside it.
const ONLINE_REQUESTS_PER_SECOND: u32 = 1;
/// A lane nobody uses is forgotten.
const IDLE: Duration = Duration::from_secs(3600);

/// What lanes are like.
#[derive(Clone, Copy, Debug)]
pub struct LaneSettings {
    /// Requests of one tenant at its Odoo at once.
    pub places: usize,
    /// Requests of one tenant that may wait for a place.
    pub waiting_max: usize,
    /// Failures in a row after which its Odoo is left alone; 0 is never.
    pub failures_max: u32,
    /// For so long at first, seconds; twice as long each time it still fails.
    pub pause_s: u64,
    /// At most so long, seconds.
    pub pause_s_max: u64,
    /// Lanes kept.
    pub lanes_max: u64,
}

/// The lanes of all tenants. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lanes {
    settings: LaneSettings,
    /// Keyed by the tenant, the address and the pace: who mends an address does not wait for the old one's breaker.
    lanes: Cache<(TenantId, String, Option<u32>), Arc<Lane>>,
}

impl Lanes {
    /// None yet.
    #[must_use]
    pub fn new(settings: LaneSettings) -> Self {
        Self { settings, lanes: Cache::builder().max_capacity(settings.lanes_max).time_to_idle(IDLE).build() }
    }

    /// That tenant's.
    #[must_use]
    pub fn get(&self, tenant: &Tenant) -> Arc<Lane> {
        let url = tenant.odoo.as_ref().map(|odoo| odoo.url.to_string()).unwrap_or_default();
        self.lanes.get_with((tenant.id, url, tenant.odoo_requests_per_second), || Arc::new(Lane::new(tenant, self.settings)))
    }

    /// Requests that wait for a place, of all tenants.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lanes.iter().map(|(_, lane)| lane.places.waiting()).sum()
    }

    /// Which tenants' Odoos are left alone at the moment.
    #[must_use]
    pub fn paused_tenants(&self) -> Vec<TenantId> {
        let mut tenants: Vec<TenantId> = self.lanes.iter().filter(|(_, lane)| lane.breaker.is_open()).map(|(_, lane)| lane.tenant).collect();
        tenants.sort_unstable();
        tenants.dedup();
        tenants
    }

    /// Tenants whose Odoo is left alone at the moment.
    #[must_use]
    pub fn paused(&self) -> usize {
        self.lanes.iter().filter(|(_, lane)| lane.breaker.is_open()).count()
    }
}

/// One tenant's way to its Odoo.
#[derive(Debug)]
pub struct Lane {
    tenant: TenantId,
    places: Arc<Places>,
    places_count: usize,
    breaker: Arc<Breaker>,
    politeness: Option<DefaultDirectRateLimiter>,
}

impl Lane {
    fn new(tenant: &Tenant, settings: LaneSettings) -> Self {
        let online = tenant.odoo.as_ref().and_then(|odoo| odoo.url.host_str()).is_some_and(|host| host.ends_with(".odoo.com"));
        let per_second = tenant.odoo_requests_per_second.unwrap_or(if online { ONLINE_REQUESTS_PER_SECOND } else { 0 });
        let politeness = std::num::NonZeroU32::new(per_second).map(|per_second| {
            // One at a time at that rate, not a second's worth at once.
            let quota = Quota::per_second(per_second).allow_burst(std::num::NonZeroU32::MIN);
            RateLimiter::direct(quota)
        });
        let pause = BreakerSettings {
            failures_max: settings.failures_max,
            pause_first: Duration::from_secs(settings.pause_s.max(1)),
            pause_max: Duration::from_secs(settings.pause_s_max.max(settings.pause_s).max(1)),
        };
        Self {
            tenant: tenant.id,
            places: Places::new(settings.places, settings.waiting_max),
            places_count: settings.places.max(1),
            breaker: Arc::new(Breaker::new(pause)),
            politeness,
        }
    }

    async fn wait_politely(&self, until: Instant) -> Result<(), OdooError> {
        let Some(politeness) = &self.politeness else { return Ok(()) };
        loop {
            let Err(not_yet) = politeness.check() else { return Ok(()) };
            let wait = not_yet.wait_time_from(governor::clock::DefaultClock::default().now());
            if instant() + wait > until {
                return Err(self.crowded("its turn at the pace this Odoo allows did not come in time"));
            }
            tokio::time::sleep(wait).await;
        }
    }

    fn crowded(&self, cause: &str) -> OdooError {
        OdooError::new(OdooErrorKind::Crowded { places: self.places_count }, "Too many requests of this company to its Odoo at once", cause)
    }
}

impl RequestGate for Lane {
    fn enter(&self, urgency: Urgency, until: Instant) -> BoxFuture<'_, Result<Pass, OdooError>> {
        async move {
            let paused = |wait: Duration| {
                let retry_after_s = wait.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX).max(1);
                OdooError::new(OdooErrorKind::Paused { retry_after_s }, "This Odoo failed several times in a row and is left alone for a moment", "")
            };
            let place = self.places.take(urgency, until).await.map_err(|none| match none {
                NoPlace::Crowd => self.crowded("too many wait already"),
                NoPlace::Late => self.crowded("no place became free in time"),
            })?;
            // Only now: who waited while the others failed must not be sent after them.
            let ticket = self.breaker.admit(instant()).map_err(paused)?;
            let inside = Inside { tenant: self.tenant, breaker: Arc::clone(&self.breaker), ticket: Some(ticket), _place: place };
            self.wait_politely(until).await?;
            let pass: Pass = Box::new(move |health| inside.ended(health));
            Ok(pass)
        }
        .boxed()
    }
}

/// A request under way. Dropped without word it was given up, and its place is free.
struct Inside {
    tenant: TenantId,
    breaker: Arc<Breaker>,
    ticket: Option<Ticket>,
    _place: Place,
}

impl Inside {
    fn ended(mut self, health: Health) {
        if let Some(ticket) = self.ticket.take()
            && self.breaker.ended(ticket, health, instant())
        {
            tracing::warn!(tenant.id = %self.tenant, ?health, "the tenant's Odoo fails and is left alone for a moment");
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.given_up(ticket);
        }
    }
}
