//! A tenant's month as this node counts it: alone, together with others through Redis, or apart from them while Redis is away.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::shared::MonthSaid;

/// Apart from the others, a node asks the database so often at most what they did.
const LOOK_EVERY_S: i64 = 2;
/// Others' counts are asked for so often at most, so that a server that was emptied can be told them.
const ALL_EVERY_S: i64 = 1;

/// A month. Shared by its calls under way.
#[derive(Debug)]
pub(super) struct Month {
    /// What Redis knows this ledger by. Its own, not its process's: a month that is forgotten and seen again begins to count anew.
    name: String,
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    /// Calls of the month, as far as is known here.
    used: u32,
    /// What the database counted when this process first saw the month.
    before: u32,
    /// What this process took and gave back since then; both only grow.
    taken: u32,
    released: u32,
    /// Taken in this window and the one before, apart from the others: what they, and the database, may not know yet.
    window: u32,
    window_before: u32,
    looked_at: Option<DateTime<Utc>>,
    /// What each process took and gave back, as Redis said it last; empty when it never did.
    all: Vec<(String, u32)>,
    all_at: Option<DateTime<Utc>>,
    /// Whether Redis may not know what this process took and gave back.
    untold: bool,
}

/// What to tell Redis.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) taken: u32,
    pub(super) released: u32,
    /// Whether to ask for everybody's counts.
    pub(super) all: bool,
    /// What is known here, where Redis may know nothing.
    pub(super) known: Option<Known>,
}

/// What a process knows of a month: the least that there was, and what each process took and gave back.
pub(super) type Known = (u32, Vec<(String, u32)>);

impl Month {
    /// As the database counts it, under a name that no other month had.
    pub(super) fn new(counted: u32, name: String) -> Self {
        Self { name, ledger: Mutex::new(Ledger { used: counted, before: counted, ..Ledger::default() }) }
    }

    /// What Redis knows it by.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// One more, of `limit`, by the only node: the count with it, or none.
    pub(super) fn take_alone(&self, limit: Option<u32>) -> Option<u32> {
        self.take_apart(limit, 1)
    }

    /// One more by one of so many nodes that cannot ask each other: each takes its share of what was left when they last could, so that together they
    /// take no more than that.
    pub(super) fn take_apart(&self, limit: Option<u32>, nodes: u32) -> Option<u32> {
        let mut ledger = self.lock();
        let since = ledger.window.saturating_add(ledger.window_before);
        let of_all = ledger.used.saturating_sub(since).saturating_add(since.saturating_add(1).saturating_mul(nodes));
        if limit.is_some_and(|limit| of_all > limit) {
            return None;
        }
        ledger.used = ledger.used.saturating_add(1);
        ledger.taken = ledger.taken.saturating_add(1);
        ledger.untold = true;
        if nodes > 1 {
            ledger.window = ledger.window.saturating_add(1);
        }
        Some(ledger.used)
    }

    /// Whether the database should be asked what the others did. Answers yes to one of those who ask.
    pub(super) fn look_due(&self, now: DateTime<Utc>) -> bool {
        let mut ledger = self.lock();
        let due = ledger.looked_at.is_none_or(|at| (now - at).abs() >= TimeDelta::seconds(LOOK_EVERY_S));
        if due {
            ledger.looked_at = Some(now);
        }
        due
    }

    /// What the database counts now, those calls at least that are older than a window: a batch takes half a second. This process's calls of the window
    /// that ends here may be in it or not: they are held against the limit, once more where they are.
    pub(super) fn looked(&self, counted: u32) {
        let mut ledger = self.lock();
        let floor = ledger.used.saturating_sub(ledger.window).max(counted);
        ledger.window_before = std::mem::take(&mut ledger.window);
        ledger.used = floor.saturating_add(ledger.window_before);
    }

    /// One more, to be decided by Redis.
    pub(super) fn ask(&self, now: DateTime<Utc>) -> Told {
        let mut ledger = self.lock();
        ledger.taken = ledger.taken.saturating_add(1);
        let all = ledger.all_at.is_none_or(|at| (now - at).abs() >= TimeDelta::seconds(ALL_EVERY_S));
        if all {
            ledger.all_at = Some(now);
        }
        ledger.untold = true;
        let known = ledger.all.is_empty().then(|| ledger.known());
        Told { taken: ledger.taken, released: ledger.released, all, known }
    }

    /// What Redis was not told yet, if anything.
    pub(super) fn untold(&self) -> Option<Told> {
        let ledger = self.lock();
        ledger.untold.then(|| Told { taken: ledger.taken, released: ledger.released, all: false, known: Some(ledger.known()) })
    }

    /// Redis knows so much of what this process took and gave back.
    pub(super) fn told(&self, taken: u32, released: u32) {
        let mut ledger = self.lock();
        ledger.untold &= (ledger.taken, ledger.released) != (taken, released);
    }

    /// What is known here, for a server that lost it.
    pub(super) fn known(&self) -> Known {
        self.lock().known()
    }

    /// What Redis said of the call that was asked for: the count with it, or none when it was refused.
    pub(super) fn said(&self, said: MonthSaid) -> Option<u32> {
        let mut ledger = self.lock();
        if !said.all.is_empty() {
            ledger.all = said.all;
        }
        (ledger.window, ledger.window_before) = (0, 0);
        if said.taken == Some(true) {
            ledger.used = said.total;
            return Some(said.total);
        }
        // The refused call is in the total.
        ledger.used = said.total.saturating_sub(1);
        ledger.give_back();
        None
    }

    /// Nobody could be asked: what was asked for is taken back. Whether it was heard does not matter, since both numbers only grow.
    pub(super) fn unasked(&self) {
        self.lock().give_back();
    }

    /// A call that came to nothing.
    pub(super) fn release(&self) {
        let mut ledger = self.lock();
        ledger.used = ledger.used.saturating_sub(1);
        ledger.give_back();
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// Where Redis was heard, what it said of everybody; else what the database counted in the beginning. Never both: they are the same calls.
    fn known(&self) -> Known {
        if self.all.is_empty() { (self.before, Vec::new()) } else { (0, self.all.clone()) }
    }

    fn give_back(&mut self) {
        self.released = self.released.saturating_add(1);
        self.untold = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn month(counted: u32) -> Month {
        Month::new(counted, String::new())
    }

    #[test]
    fn a_quota_is_exact_under_threads() {
        let month = month(0);
        let got: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| (0..100).filter(|_| month.take_alone(Some(100)).is_some()).count())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((got, month.lock().used), (100, 100));
    }

    #[test]
    fn a_released_call_is_free_again() {
        let month = month(99);
        assert_eq!((month.take_alone(Some(100)), month.take_alone(Some(100))), (Some(100), None));
        month.release();
        assert_eq!(month.take_alone(Some(100)), Some(100));
    }

    #[test]
    fn nodes_apart_never_take_more_than_there_was() {
        for nodes in 2..5_u32 {
            let months: Vec<Month> = (0..nodes).map(|_| month(90)).collect();
            let taken: usize = months.iter().map(|month| (0..50).filter(|_| month.take_apart(Some(100), nodes).is_some()).count()).sum();
            assert!(taken <= 10 && taken > 10 - nodes as usize, "{nodes}: {taken}");
        }
    }

    /// Two nodes that see only the database, which has all but the calls of the last window: never too many, and in the end nearly all.
    #[test]
    fn what_the_database_says_frees_what_others_left() {
        let (months, limit) = ([month(0), month(0)], 100);
        let mut all = 0;
        for _ in 0..30 {
            let before = all;
            // One is asked all the time, the other hardly ever.
            all += (0..40).filter(|_| months[0].take_apart(Some(limit), 2).is_some()).count() as u32;
            all += u32::from(months[1].take_apart(Some(limit), 2).is_some());
            months.iter().for_each(|month| month.looked(before));
        }
        assert!(all <= limit && all >= limit - 2, "{all}");
    }

    #[test]
    fn the_database_is_asked_by_one_and_seldom() {
        let month = month(0);
        let now = at("2026-11-28T12:00:00Z");
        let due: Vec<bool> = [0, 1, 2, 3, 4].iter().map(|s| month.look_due(now + TimeDelta::seconds(*s))).collect();
        assert_eq!(due, [true, false, true, false, true]);
    }
}
