//! Which tenants were forgotten, and when: what was learnt about a tenant before that moment must not be believed after it, also not what
//! was being loaded at that moment. (A cache's own invalidation cannot promise that for entries that are still on their way in.)

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::TenantId;

/// Tenants remembered one by one; beyond that all of them are forgotten at once, which is safe.
const TENANTS_MAX: usize = 100_000;

/// Counts the moments at which tenants (or parts of them: keys that begin with one) were forgotten. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Epochs<K = TenantId> {
    state: Arc<Mutex<State<K>>>,
}

#[derive(Debug)]
struct State<K> {
    now: u64,
    /// For tenants that are not in the map.
    floor: u64,
    forgotten: HashMap<K, u64>,
}

impl<K> Default for Epochs<K> {
    fn default() -> Self {
        Self { state: Arc::new(Mutex::new(State { now: 0, floor: 0, forgotten: HashMap::new() })) }
    }
}

impl<K: Copy + Eq + Hash> Epochs<K> {
    /// The present: to be read *before* something is loaded, and kept with it.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).now
    }

    /// Nothing learnt about that tenant until now is to be believed.
    pub fn forget(&self, tenant: K) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.now += 1;
        let now = state.now;
        if state.forgotten.len() >= TENANTS_MAX {
            state.forgotten.clear();
            state.floor = now;
        }
        state.forgotten.insert(tenant, now);
    }

    /// When that tenant was last forgotten.
    #[must_use]
    pub fn forgotten_at(&self, tenant: K) -> u64 {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.forgotten.get(&tenant).copied().unwrap_or(state.floor)
    }

    /// Whether what was loaded in that epoch is still to be believed.
    #[must_use]
    pub fn holds(&self, tenant: K, epoch: u64) -> bool {
        self.forgotten_at(tenant) <= epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_being_loaded_is_forgotten_too() {
        let epochs = Epochs::<TenantId>::default();
        let (a, b) = (TenantId::new(), TenantId::new());
        let before = epochs.now();
        epochs.forget(a);
        assert!(!epochs.holds(a, before) && epochs.holds(b, before));
        assert!(epochs.holds(a, epochs.now()));
        for _ in 0..TENANTS_MAX {
            epochs.forget(TenantId::new());
        }
        assert!(!epochs.holds(b, before), "too many to tell apart: all are forgotten");
    }
}
