//! Identical reads that are under way at the same time are one request: ten agents that ask the same ask Odoo once.
//!
//! Nothing is remembered after the answer. A read does not join one that was asked before a write of the same client began or ended, so
//! that everybody reads at least what they have written.

use super::error::{OdooError, OdooErrorKind as Kind};
use super::gate::Urgency;
use super::meter::CallMeter;
use super::wire::call::Outgoing;
use super::wire::xmlrpc_object::Outcome;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// Reads under way, by what they ask.
#[derive(Debug, Default)]
pub(super) struct Flights {
    under_way: Mutex<HashMap<FlightKey, WeakShared<Flight>>>,
}

type Flight = BoxFuture<'static, Result<Outcome, OdooError>>;
pub(super) type FlightKey = [u8; 32];

/// The same words, with the same urgency: who is in a hurry does not wait behind who is not. A digest, since the words hold the secret.
pub(super) fn flight_key(outgoing: &Outgoing, urgency: Urgency) -> FlightKey {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    digest.update(&[urgency as u8]);
    digest.update(outgoing.path.as_bytes());
    digest.update(b"\n");
    digest.update(&outgoing.body);
    let mut key = FlightKey::default();
    key.copy_from_slice(digest.finish().as_ref());
    key
}

impl Flights {
    /// Joins the same read if it is under way, else makes it.
    pub(super) async fn join<F>(&self, key: FlightKey, deadline: Option<Instant>, meter: &CallMeter, make: impl FnOnce() -> F + Clone) -> Result<Outcome, OdooError>
    where
        F: Future<Output = Result<Outcome, OdooError>> + Send + 'static,
    {
        let (flight, joined) = self.enter(key, make.clone());
        if !joined {
            let result = flight.await;
            self.leave(&key);
            return result;
        }
        let began = Instant::now();
        let waited = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, flight).await,
            None => Ok(flight.await),
        };
        meter.waited(began.elapsed());
        match waited {
            // The other's time was over, not ours.
            Ok(Err(error)) if matches!(error.kind, Kind::TimedOut { .. } | Kind::Crowded { .. }) && deadline.is_none_or(|deadline| Instant::now() < deadline) => make().await,
            Ok(result) => result,
            Err(_) => Err(super::http_error::timed_out(true)),
        }
    }

    /// From now on nobody joins what is under way.
    pub(super) fn forget(&self) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn enter<F>(&self, key: FlightKey, make: impl FnOnce() -> F) -> (Shared<Flight>, bool)
    where
        F: Future<Output = Result<Outcome, OdooError>> + Send + 'static,
    {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // A flight whose passengers have all gone is none.
        if let Some(flight) = under_way.get(&key).and_then(WeakShared::upgrade)
            && flight.peek().is_none()
        {
            return (flight, true);
        }
        under_way.retain(|_, flight| flight.upgrade().is_some());
        let flight = make().boxed().shared();
        if let Some(weak) = flight.downgrade() {
            under_way.insert(key, weak);
        }
        (flight, false)
    }

    fn leave(&self, key: &FlightKey) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // Only what has ended: after a write the same key may be a newer flight.
        if under_way.get(key).is_some_and(|flight| flight.upgrade().is_none_or(|flight| flight.peek().is_some())) {
            under_way.remove(key);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start tasks of their own")]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::sync::Notify;

    fn key(text: &str, urgency: Urgency) -> FlightKey {
        flight_key(&Outgoing { path: "p".into(), content_type: "", body: text.as_bytes().to_vec(), in_headers: false }, urgency)
    }

    #[derive(Clone, Default)]
    struct Counted(Arc<(AtomicUsize, Notify)>);

    impl Counted {
        fn ask(&self) -> impl Future<Output = Result<Outcome, OdooError>> + Send + use<> {
            let this = self.clone();
            async move {
                this.0.0.fetch_add(1, Ordering::SeqCst);
                this.0.1.notified().await;
                Ok(Outcome::Value(json!(7)))
            }
        }

        fn asked(&self) -> usize {
            self.0.0.load(Ordering::SeqCst)
        }
    }

    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn identical_reads_are_one_request_even_if_the_first_goes_away() {
        let (flights, counted) = (Arc::new(Flights::default()), Counted::default());
        let join = |text: &'static str, urgency| {
            let (flights, counted) = (Arc::clone(&flights), counted.clone());
            tokio::spawn(async move {
                let asked = counted.clone();
                flights.join(key(text, urgency), None, &CallMeter::default(), move || asked.ask()).await
            })
        };
        let first = join("a", Urgency::Normal);
        settle().await;
        let others: Vec<_> = (0..9).map(|_| join("a", Urgency::Normal)).collect();
        let (hurried, different) = (join("a", Urgency::High), join("b", Urgency::Normal));
        settle().await;
        assert_eq!(counted.asked(), 3);
        first.abort();
        settle().await;
        counted.0.1.notify_waiters();
        for other in others.into_iter().chain([hurried, different]) {
            assert!(matches!(other.await.unwrap().unwrap(), Outcome::Value(value) if value == json!(7)));
        }
        assert_eq!(counted.asked(), 3);
        // Nothing is remembered.
        let again = join("a", Urgency::Normal);
        settle().await;
        assert_eq!(counted.asked(), 4);
        counted.0.1.notify_waiters();
        again.await.unwrap().unwrap();
        assert!(flights.under_way.lock().unwrap().values().all(|flight| flight.upgrade().is_none()));
    }

    #[tokio::test]
    async fn a_read_after_a_write_joins_nothing_older() {
        let (flights, counted) = (Flights::default(), Counted::default());
        let meter = CallMeter::default();
        let before = flights.join(key("a", Urgency::Normal), None, &meter, || counted.ask());
        tokio::pin!(before);
        assert!(futures::poll!(before.as_mut()).is_pending());
        flights.forget();
        let after = flights.join(key("a", Urgency::Normal), None, &meter, || counted.ask());
        tokio::pin!(after);
        assert!(futures::poll!(after.as_mut()).is_pending());
        assert_eq!(counted.asked(), 2);
    }

    #[tokio::test]
    async fn each_keeps_its_own_deadline() {
        let (flights, counted) = (Flights::default(), Counted::default());
        let meter = CallMeter::default();
        let first = flights.join(key("a", Urgency::Normal), None, &meter, || counted.ask());
        tokio::pin!(first);
        assert!(futures::poll!(first.as_mut()).is_pending());
        let soon = Instant::now() + Duration::from_millis(10);
        let hurried = flights.join(key("a", Urgency::Normal), Some(soon), &meter, || counted.ask()).await;
        assert_eq!(hurried.unwrap_err().kind, Kind::TimedOut { sent: true });
        assert_eq!(counted.asked(), 1);
        assert!(meter.micros() >= 10_000 && meter.requests() == 0);
    }
}
