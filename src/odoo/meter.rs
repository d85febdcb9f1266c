//! Counts what a client asked of Odoo: how many requests, how long they took and how they ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::error::OdooErrorKind as Kind;

/// A counter that clones of a client share, so that a caller can say how long it was inside Odoo.
#[derive(Debug, Default)]
pub struct CallMeter {
    /// HTTP requests that were started (a retry counts again).
    pub requests: AtomicU64,
    /// Microseconds waited for them, added up (more than the wall clock when they ran side by side).
    pub micros: AtomicU64,
    traffic: Option<Arc<OdooTraffic>>,
}

impl CallMeter {
    /// A meter whose requests are also counted there.
    #[must_use]
    pub fn counted_in(traffic: &Arc<OdooTraffic>) -> Self {
        Self { traffic: Some(Arc::clone(traffic)), ..Self::default() }
    }

    /// Adds one request that took `time`.
    pub(super) fn add(&self, time: Duration, end: RequestEnd) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if let Some(traffic) = &self.traffic {
            traffic.ends[end as usize].fetch_add(1, Ordering::Relaxed);
        }
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

/// How a request ended, as HTTP saw it: an error of Odoo inside a 200 is an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestEnd {
    Answered,
    Refused,
    Busy,
    Failed,
    TimedOut,
    Unreachable,
    Lost,
}

impl RequestEnd {
    const NAMES: [&'static str; 7] = ["answered", "http_4xx", "http_429", "http_5xx", "timed_out", "unreachable", "lost"];

    pub(super) fn of(answer: Result<u16, &Kind>) -> Self {
        match answer {
            Ok(429) => Self::Busy,
            Ok(400..=499) => Self::Refused,
            Ok(500..) => Self::Failed,
            Ok(_) => Self::Answered,
            Err(Kind::TimedOut { .. }) => Self::TimedOut,
            Err(Kind::Unreachable | Kind::AddressRefused | Kind::TlsFailed) => Self::Unreachable,
            // Broken, too large, compressed: there was something, and it was of no use.
            Err(_) => Self::Lost,
        }
    }
}

/// Requests to any Odoo since the start, by how they ended.
#[derive(Debug, Default)]
pub struct OdooTraffic {
    ends: [AtomicU64; RequestEnd::NAMES.len()],
}

impl OdooTraffic {
    /// How a request may end, and how many did.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        RequestEnd::NAMES.into_iter().zip(self.ends.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_their_end() {
        let traffic = Arc::new(OdooTraffic::default());
        let meter = CallMeter::counted_in(&traffic);
        let unreachable = Kind::Unreachable;
        for end in [Ok(200), Ok(303), Ok(404), Ok(429), Ok(502), Err(&Kind::TimedOut { sent: true }), Err(&unreachable), Err(&Kind::ConnectionLost)] {
            meter.add(Duration::from_micros(2), RequestEnd::of(end));
        }
        CallMeter::default().add(Duration::ZERO, RequestEnd::Lost);
        assert_eq!((meter.requests(), meter.micros()), (8, 16));
        let counts: Vec<_> = traffic.counts().collect();
        assert_eq!(counts, [("answered", 2), ("http_4xx", 1), ("http_429", 1), ("http_5xx", 1), ("timed_out", 1), ("unreachable", 1), ("lost", 1)]);
    }
}
