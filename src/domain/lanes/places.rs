//! A bulkhead with an order: so many at once, the others wait, the most urgent first and the earliest of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::odoo::Urgency;

/// So many places, and so many who may wait for one.
#[derive(Debug)]
pub(super) struct Places {
    state: Mutex<State>,
    waiting_max: usize,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// By urgency. The place itself is handed over: if nobody is there any more to take it, it comes back.
    waiting: [VecDeque<oneshot::Sender<Place>>; 3],
}

/// A place, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Option<Arc<Places>>,
}

/// There was no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// Too many wait already.
    Crowd,
    /// The turn did not come in time.
    Late,
}

impl Places {
    pub(super) fn new(count: usize, waiting_max: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { free: count.max(1), waiting: Default::default() }), waiting_max })
    }

    /// Waits for a place, until then at most.
    pub(super) async fn take(self: &Arc<Self>, urgency: Urgency, until: Instant) -> Result<Place, NoPlace> {
        let turn = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.free > 0 {
                state.free -= 1;
                return Ok(Place { places: Some(Arc::clone(self)) });
            }
            for queue in &mut state.waiting {
                queue.retain(|waiting| !waiting.is_closed());
            }
            if state.waiting.iter().map(VecDeque::len).sum::<usize>() >= self.waiting_max {
                return Err(NoPlace::Crowd);
            }
            let (sender, turn) = oneshot::channel();
            state.waiting[order(urgency)].push_back(sender);
            turn
        };
        match timeout_at(until, turn).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(NoPlace::Late),
        }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.iter().flatten().filter(|waiting| !waiting.is_closed()).count()
    }

    fn give_back(self: Arc<Self>) {
        let mut place = Place { places: None };
        loop {
            let next = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(next) = state.waiting.iter_mut().find_map(VecDeque::pop_front) else {
                    state.free += 1;
                    return;
                };
                next
            };
            // Not within the lock: a receiver that is gone makes the place come back at once.
            place.places = Some(Arc::clone(&self));
            match next.send(place) {
                Ok(()) => return,
                Err(mut back) => {
                    back.places = None;
                    place = back;
                }
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(places) = self.places.take() {
            places.give_back();
        }
    }
}

fn order(urgency: Urgency) -> usize {
    match urgency {
        Urgency::High => 0,
        Urgency::Normal => 1,
        Urgency::Low => 2,
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start tasks of their own")]
mod tests {
    use super::*;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[tokio::test]
    async fn the_most_urgent_goes_first_and_the_earliest_of_them() {
        let places = Places::new(1, 10);
        let held = places.take(Urgency::Low, soon()).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = tokio::task::JoinSet::new();
        for (name, urgency) in [("low", Urgency::Low), ("normal 1", Urgency::Normal), ("high", Urgency::High), ("normal 2", Urgency::Normal)] {
            let (places, order) = (Arc::clone(&places), Arc::clone(&order));
            waiting.spawn(async move {
                let _place = places.take(urgency, soon()).await.unwrap();
                order.lock().unwrap().push(name);
            });
            tokio::task::yield_now().await;
        }
        drop(held);
        while waiting.join_next().await.is_some() {}
        assert_eq!(*order.lock().unwrap(), ["high", "normal 1", "normal 2", "low"]);
        assert_eq!(places.state.lock().unwrap().free, 1);
    }

    #[tokio::test]
    async fn who_gives_up_leaves_no_gap() {
        let places = Places::new(1, 2);
        let held = places.take(Urgency::Normal, soon()).await.unwrap();
        assert_eq!(places.take(Urgency::High, Instant::now() + Duration::from_millis(5)).await.unwrap_err(), NoPlace::Late);
        // A waiting task that is cut, too.
        let cut = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take(Urgency::High, soon()).await.map(drop) }
        });
        tokio::task::yield_now().await;
        cut.abort();
        drop(cut.await);
        let next = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take(Urgency::Normal, soon()).await.map(drop) }
        });
        tokio::task::yield_now().await;
        drop(held);
        next.await.unwrap().unwrap();
        assert_eq!(places.state.lock().unwrap().free, 1);
    }

    #[tokio::test]
    async fn a_crowd_is_turned_away() {
        let places = Places::new(1, 1);
        let _held = places.take(Urgency::Normal, soon()).await.unwrap();
        let waiting = places.take(Urgency::Normal, soon());
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        assert_eq!(places.take(Urgency::High, soon()).await.unwrap_err(), NoPlace::Crowd);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_place_is_ever_lost_or_doubled() {
        let places = Places::new(3, 1_000);
        let (inside, most) = (Arc::new(std::sync::atomic::AtomicUsize::new(0)), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
        let mut all = tokio::task::JoinSet::new();
        for number in 0..600_u64 {
            let (places, inside, most) = (Arc::clone(&places), Arc::clone(&inside), Arc::clone(&most));
            all.spawn(async move {
                let patience = if number % 5 == 0 { Duration::from_micros(number * 3) } else { Duration::from_secs(30) };
                if let Ok(_place) = places.take([Urgency::High, Urgency::Normal, Urgency::Low][(number % 3) as usize], Instant::now() + patience).await {
                    most.fetch_max(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1, std::sync::atomic::Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                }
            });
        }
        while let Some(done) = all.join_next().await {
            done.unwrap();
        }
        assert_eq!((places.state.lock().unwrap().free, most.load(std::sync::atomic::Ordering::SeqCst)), (3, 3));
    }
}
