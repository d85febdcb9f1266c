//! Answers that go on (server-sent events): so many of a tenant at once, and no more; and what one of them learnt, told to the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::future::Cache;

use super::error::PageError;
use super::pages::onboarding::Facts;
use crate::ids::TenantId;

/// Watchers of one tenant's pages open at once; who comes then reloads the page instead.
pub(super) const STREAMS_PER_TENANT_MAX: usize = 8;

/// The facts of a tenant are looked at so often at most, however many watch.
const FACTS_FOR: Duration = Duration::from_secs(2);
/// Tenants whose facts are remembered.
const FACTS_MAX: u64 = 1_000;

/// Counts the streams of each tenant. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Watchers {
    open: Arc<Mutex<HashMap<TenantId, usize>>>,
    facts: Cache<TenantId, Arc<Facts>>,
}

impl Default for Watchers {
    fn default() -> Self {
        Self { open: Arc::default(), facts: Cache::builder().max_capacity(FACTS_MAX).time_to_live(FACTS_FOR).build() }
    }
}

/// A place among them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    watchers: Watchers,
    tenant: TenantId,
}

impl Watchers {
    /// One more of that tenant's; none when there are enough.
    pub(super) fn begin(&self, tenant: TenantId) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(tenant).or_default();
        if *count >= STREAMS_PER_TENANT_MAX {
            return None;
        }
        *count += 1;
        Some(Place { watchers: self.clone(), tenant })
    }

    /// The facts of a tenant: as they were learnt a moment ago, or as `look` finds them. None when they cannot be learnt now.
    pub(super) async fn facts(&self, tenant: TenantId, look: impl Future<Output = Result<Facts, PageError>>) -> Option<Arc<Facts>> {
        let learnt = self.facts.try_get_with(tenant, async { look.await.map(Arc::new) }).await;
        learnt.map_err(|error| tracing::warn!(?error, "how far a client has come could not be looked at")).ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.watchers.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_so_many_and_its_neighbour_as_many() {
        let watchers = Watchers::default();
        let (a, b) = (TenantId::new(), TenantId::new());
        let mut places: Vec<Place> = (0..STREAMS_PER_TENANT_MAX).filter_map(|_| watchers.begin(a)).collect();
        assert_eq!(places.len(), STREAMS_PER_TENANT_MAX);
        assert!(watchers.begin(a).is_none() && watchers.begin(b).is_some());
        places.pop();
        assert!(watchers.begin(a).is_some(), "a place that was given up is free");
        places.clear();
        assert!(watchers.open.lock().unwrap().is_empty(), "nothing is kept of tenants nobody watches");
    }
}
