//! A tenant's month as this node counts it: alone, together with others through Redis, or apart from them while Redis is away.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

/// The database has all calls that are older than this: a batch takes half a second. Apart from the others, a node asks it so often at most.
const WINDOW_S: i64 = 2;

/// A month. Shared by its calls under way.
#[derive(Debug)]
pub(super) struct Month {
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    /// Calls of the month that are known for sure: there may be more, never fewer.
    used: u32,
    /// What this process took and did not give back.
    own: u32,
    /// Calls that Redis is being asked for.
    asked: u32,
    /// Taken apart from the others since they were last heard of, by Redis or by the database: each of them may have taken as many.
    since: u32,
    recent: Recent,
    looked_at: Option<DateTime<Utc>>,
    /// What Redis was told, or is to be.
    account: Account,
    /// Whether Redis may not know all of it.
    untold: bool,
}

/// Taken apart within the last window or two: what the others' looks may not have shown them yet.
#[derive(Debug, Default)]
struct Recent {
    since: Option<DateTime<Utc>>,
    now: u32,
    before: u32,
}

/// What one process took and gave back of a month, in one generation of Redis' count; both only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Of Redis' count: it begins a new one when it comes back empty. None before it was heard.
    pub(super) generation: String,
    /// Its name there: no other account's.
    pub(super) name: String,
    pub(super) taken: u32,
    pub(super) released: u32,
}

impl Month {
    /// As the database counts it.
    pub(super) fn new(counted: u32) -> Self {
        Self { ledger: Mutex::new(Ledger { used: counted, ..Ledger::default() }) }
    }

    /// One more, of `limit`, by the only node there ever was: the count with it, or none.
    pub(super) fn take_alone(&self, limit: Option<u32>) -> Option<u32> {
        let mut ledger = self.lock();
        if limit.is_some_and(|limit| ledger.used >= limit) {
            return None;
        }
        ledger.take();
        Some(ledger.used)
    }

    /// One more by one of so many nodes that cannot ask each other: each takes its share of what was left when they were last heard of, so that together
    /// they take no more than that.
    pub(super) fn take_apart(&self, limit: Option<u32>, nodes: u32, now: DateTime<Utc>) -> Option<u32> {
        let mut ledger = self.lock();
        let others = nodes.saturating_sub(1).saturating_mul(ledger.since.saturating_add(1));
        if limit.is_some_and(|limit| ledger.used.saturating_add(1).saturating_add(others) > limit) {
            return None;
        }
        ledger.since = ledger.since.saturating_add(1);
        ledger.recent.add(now);
        ledger.account.taken = ledger.account.taken.saturating_add(1);
        ledger.untold = true;
        ledger.take();
        Some(ledger.used)
    }

    /// Whether the database should be asked what the others did. Answers yes to one of those who ask.
    pub(super) fn look_due(&self, now: DateTime<Utc>) -> bool {
        let mut ledger = self.lock();
        let due = ledger.looked_at.is_none_or(|at| (now - at).abs() >= TimeDelta::seconds(WINDOW_S));
        if due {
            ledger.looked_at = Some(now);
        }
        due
    }

    /// What the database counts now: everybody's calls, but perhaps those of the last moments, of which the others may have taken as many as this one.
    pub(super) fn looked(&self, counted: u32, now: DateTime<Utc>) {
        let mut ledger = self.lock();
        ledger.used = ledger.used.max(counted);
        ledger.since = ledger.since.min(ledger.recent.calls(now));
    }

    /// One more, to be decided by Redis.
    pub(super) fn ask(&self) -> Asked<'_> {
        let mut ledger = self.lock();
        ledger.asked = ledger.asked.saturating_add(1);
        ledger.account.taken = ledger.account.taken.saturating_add(1);
        ledger.untold = true;
        Asked { month: self, account: ledger.account.clone(), open: true }
    }

    /// What Redis was not told yet, if anything.
    pub(super) fn untold(&self) -> Option<Account> {
        let ledger = self.lock();
        ledger.untold.then(|| ledger.account.clone())
    }

    /// Redis knows so much.
    pub(super) fn told(&self, account: &Account) {
        let mut ledger = self.lock();
        ledger.untold &= ledger.account != *account;
    }

    /// Redis counts in another generation than the one that was asked for, and has `total` there, while the database counts `counted`: what is missing
    /// there goes into an account of that name, as far as it can be this process's, with the calls under way. Whatever the others miss there, too, they
    /// add when they come: together never more than there was. The first of those who notice makes the account, for the others it is made.
    pub(super) fn join(&self, asked: &str, generation: &str, total: u32, counted: u32, name: impl FnOnce() -> String) -> Account {
        let mut ledger = self.lock();
        if ledger.account.generation == asked && asked != generation {
            ledger.used = ledger.used.max(counted);
            let missing = ledger.used.saturating_sub(total).min(ledger.own);
            ledger.account = Account { generation: generation.to_owned(), name: name(), taken: missing.saturating_add(ledger.asked), released: 0 };
            ledger.untold = true;
        }
        ledger.account.clone()
    }

    /// The least that there was, as far as is known here.
    pub(super) fn used(&self) -> u32 {
        self.lock().used
    }

    /// A call that came to nothing.
    pub(super) fn release(&self) {
        let mut ledger = self.lock();
        ledger.used = ledger.used.saturating_sub(1);
        ledger.own = ledger.own.saturating_sub(1);
        ledger.give_back();
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that Redis is asked for. Given back when nobody waits for the answer any more: whether Redis heard of it does not matter, since both numbers
/// of an account only grow.
pub(super) struct Asked<'a> {
    month: &'a Month,
    /// With the call in it.
    pub(super) account: Account,
    open: bool,
}

impl Asked<'_> {
    /// What Redis said: whether the call was taken, and the calls of the month by all nodes; of a refused one with itself.
    pub(super) fn said(mut self, taken: bool, total: u32) -> Option<u32> {
        let mut ledger = self.month.lock();
        ledger.since = 0;
        if taken {
            self.open = false;
            ledger.asked = ledger.asked.saturating_sub(1);
            ledger.own = ledger.own.saturating_add(1);
            ledger.used = total;
            return Some(total);
        }
        ledger.used = total.saturating_sub(1);
        drop(ledger);
        None
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if self.open {
            let mut ledger = self.month.lock();
            ledger.asked = ledger.asked.saturating_sub(1);
            ledger.give_back();
        }
    }
}

impl Ledger {
    fn take(&mut self) {
        self.used = self.used.saturating_add(1);
        self.own = self.own.saturating_add(1);
    }

    fn give_back(&mut self) {
        self.account.released = self.account.released.saturating_add(1);
        self.untold = true;
    }
}

impl Recent {
    fn add(&mut self, now: DateTime<Utc>) {
        self.turn(now);
        self.now = self.now.saturating_add(1);
    }

    fn calls(&mut self, now: DateTime<Utc>) -> u32 {
        self.turn(now);
        self.now.saturating_add(self.before)
    }

    fn turn(&mut self, now: DateTime<Utc>) {
        let age = self.since.map_or(i64::MAX, |since| (now - since).num_seconds().abs());
        if age >= WINDOW_S {
            self.before = if age < 2 * WINDOW_S { self.now } else { 0 };
            self.now = 0;
            self.since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        "2026-11-28T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::seconds(second)
    }

    #[test]
    fn a_quota_is_exact_under_threads() {
        let month = Month::new(0);
        let got: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| (0..100).filter(|_| month.take_alone(Some(100)).is_some()).count())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((got, month.lock().used), (100, 100));
    }

    #[test]
    fn a_released_call_is_free_again() {
        let month = Month::new(99);
        assert_eq!((month.take_alone(Some(100)), month.take_alone(Some(100))), (Some(100), None));
        month.release();
        assert_eq!(month.take_alone(Some(100)), Some(100));
    }

    #[test]
    fn nodes_apart_never_take_more_than_there_was() {
        for nodes in 2..5_u32 {
            let months: Vec<Month> = (0..nodes).map(|_| Month::new(90)).collect();
            let taken: usize = months.iter().map(|month| (0..50).filter(|_| month.take_apart(Some(100), nodes, at(0)).is_some()).count()).sum();
            assert!(taken <= 10 && taken > 10 - nodes as usize, "{nodes}: {taken}");
        }
    }

    /// Two nodes that see only the database, which has all but the calls of the last window, or all: never too many, and in the end nearly all.
    #[test]
    fn what_the_database_says_frees_what_others_left() {
        for late in [true, false] {
            let (months, limit) = ([Month::new(0), Month::new(0)], 100);
            let mut all = 0;
            for round in (0..60).step_by(2) {
                let before = all;
                // One is asked all the time, the other hardly ever.
                all += (0..40).filter(|_| months[0].take_apart(Some(limit), 2, at(round)).is_some()).count() as u32;
                all += u32::from(months[1].take_apart(Some(limit), 2, at(round)).is_some());
                months.iter().for_each(|month| month.looked(if late { before } else { all }, at(round)));
            }
            assert!(all <= limit && all >= limit - 2, "{late} {all}");
        }
    }

    /// After a pause the others' calls are in the database, and nothing is held against the limit for them.
    #[test]
    fn who_was_idle_is_not_refused_for_it() {
        for nodes in [1, 2] {
            let month = Month::new(0);
            for _ in 0..40 {
                month.take_apart(Some(100), nodes, at(0)).unwrap();
            }
            month.looked(40, at(3_600));
            assert_eq!((0..100).filter(|_| month.take_apart(Some(100), nodes, at(3_600)).is_some()).count(), 60 / nodes as usize, "{nodes}");
            month.looked(3, at(3_600));
            assert_eq!(month.used(), 40 + 60 / nodes, "a database that is behind takes nothing back");
        }
    }

    #[test]
    fn the_database_is_asked_by_one_and_seldom() {
        let month = Month::new(0);
        let due: Vec<bool> = [0, 1, 2, 3, 4].iter().map(|s| month.look_due(at(*s))).collect();
        assert_eq!(due, [true, false, true, false, true]);
    }

    #[test]
    fn a_new_generation_is_told_what_is_missing_there() {
        let never = || unreachable!("it has an account already");
        let account = |generation: &str, name: &str, taken| Account { generation: generation.to_owned(), name: name.to_owned(), taken, released: 0 };
        // Five before, seven of its own. A count that is there has the five, and two of another node's that the database has, too.
        let month = Month::new(5);
        for _ in 0..7 {
            month.take_apart(None, 2, at(0));
        }
        assert_eq!(month.join("", "g", 7, 9, || "a".to_owned()), account("g", "a", 5), "the rest of what is missing is not known to be missing");
        assert_eq!(month.join("", "g", 7, 14, never), account("g", "a", 5));
        // One that begins has what the database has; with a call under way.
        let asked = month.ask();
        assert_eq!(month.join("g", "h", 12, 12, || "b".to_owned()), account("h", "b", 1));
        assert_eq!(month.join("g", "i", 12, 12, never), account("h", "b", 1), "who is late takes part in what was begun");
        assert_eq!((asked.said(true, 13), month.used()), (Some(13), 13));
        // Never more than this process can have taken.
        assert_eq!(month.join("h", "j", 3, 50, || "c".to_owned()).taken, 8);
        // Who hangs up, or is refused however often, takes nothing.
        month.told(&month.untold().unwrap());
        for _ in 0..50 {
            drop(month.ask());
            assert_eq!(month.ask().said(false, 51), None);
        }
        let told = month.untold().unwrap();
        assert_eq!((told.taken - told.released, month.used()), (8, 50));
        assert_eq!(month.join("j", "k", 50, 50, || "d".to_owned()).taken, 0);
    }
}
