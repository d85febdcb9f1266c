//! Counts what a client asked of Odoo: how many requests and how long they took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A counter that clones of a client share, so that a caller can say how long it was inside Odoo.
#[derive(Debug, Default)]
pub struct CallMeter {
    /// HTTP requests that were started (a retry counts again).
    pub requests: AtomicU64,
    /// Microseconds waited for them, added up (more than the wall clock when they ran side by side).
    pub micros: AtomicU64,
}

impl CallMeter {
    /// Adds one request that took `time`.
    pub fn add(&self, time: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Adds time that was waited for a request that another made.
    pub fn waited(&self, time: Duration) {
        self.micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Microseconds so far.
    pub fn micros(&self) -> u64 {
        self.micros.load(Ordering::Relaxed)
    }
}
