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
    /// Calls of the month, as far as is known here.
    used: u32,
    /// What the database counted when this process first saw the month, and what this process took and did not give back since: never less than that.
    before: u32,
    own: u32,
    /// Taken in this window and the one before, apart from the others: what they may not know yet.
    window: u32,
    window_before: u32,
    looked_at: Option<DateTime<Utc>>,
    /// Taken within the last window or two, however they were decided: what the database may not have yet.
    recent: Recent,
    /// What Redis was told, or is to be.
    account: Account,
    /// Whether Redis may not know all of it.
    untold: bool,
}

#[derive(Debug, Default)]
struct Recent {
    since: Option<DateTime<Utc>>,
    now: u32,
    before: u32,
}

/// What one process took and gave back of a month, since Redis began to count it; both only grow.
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
        Self { ledger: Mutex::new(Ledger { used: counted, before: counted, ..Ledger::default() }) }
    }

    /// One more, of `limit`, by the only node there ever was: the count with it, or none.
    pub(super) fn take_alone(&self, limit: Option<u32>) -> Option<u32> {
        let mut ledger = self.lock();
        if limit.is_some_and(|limit| ledger.used >= limit) {
            return None;
        }
        ledger.used = ledger.used.saturating_add(1);
        ledger.own = ledger.own.saturating_add(1);
        Some(ledger.used)
    }

    /// One more by one of so many nodes that cannot ask each other: each takes its share of what was left when they last could, so that together they
    /// take no more than that.
    pub(super) fn take_apart(&self, limit: Option<u32>, nodes: u32, now: DateTime<Utc>) -> Option<u32> {
        let mut ledger = self.lock();
        let since = ledger.window.saturating_add(ledger.window_before);
        let of_all = ledger.used.saturating_sub(since).saturating_add(since.saturating_add(1).saturating_mul(nodes));
        if limit.is_some_and(|limit| of_all > limit) {
            return None;
        }
        ledger.used = ledger.used.saturating_add(1);
        ledger.window = ledger.window.saturating_add(1);
        ledger.take(now);
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

    /// What the database counts now, those calls at least that are older than a window. This process's calls of the window that ends here may be in it
    /// or not: they are held against the limit, until the next look once more where they are.
    pub(super) fn looked(&self, counted: u32) {
        let mut ledger = self.lock();
        let floor = ledger.used.saturating_sub(ledger.window).saturating_sub(ledger.window_before).max(counted);
        ledger.window_before = std::mem::take(&mut ledger.window);
        ledger.used = floor.saturating_add(ledger.window_before).max(ledger.before.saturating_add(ledger.own));
    }

    /// One more, to be decided by Redis.
    pub(super) fn ask(&self, now: DateTime<Utc>) -> Asked<'_> {
        let mut ledger = self.lock();
        ledger.take(now);
        Asked { month: self, account: ledger.account.clone(), open: true }
    }

    /// What Redis was not told yet, if anything, of a count that it knows.
    pub(super) fn untold(&self) -> Option<Account> {
        let ledger = self.lock();
        (ledger.untold && !ledger.account.generation.is_empty()).then(|| ledger.account.clone())
    }

    /// Redis knows so much.
    pub(super) fn told(&self, account: &Account) {
        let mut ledger = self.lock();
        ledger.untold &= ledger.account != *account;
    }

    /// Redis counts in another generation than the one that was asked for: an account there, with what that count may not have. A count that begins has
    /// what the database has, so that is what was taken in the last moments; one that is older than this process's first word has nothing of it. The
    /// first of those who notice makes it, for the others it is made.
    pub(super) fn join(&self, asked: &str, generation: &str, begins: bool, name: impl FnOnce() -> String, now: DateTime<Utc>) -> Account {
        let mut ledger = self.lock();
        if ledger.account.generation == asked && asked != generation {
            let taken = if asked.is_empty() && !begins { ledger.own } else { ledger.recent.calls(now) };
            ledger.account = Account { generation: generation.to_owned(), name: name(), taken, released: 0 };
            ledger.untold = true;
        }
        ledger.account.clone()
    }

    /// The least that was before the calls that the database may not have: for a count that begins without it.
    pub(super) fn floor(&self, now: DateTime<Utc>) -> u32 {
        let mut ledger = self.lock();
        let recent = ledger.recent.calls(now);
        ledger.used.saturating_sub(recent)
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
        (ledger.window, ledger.window_before) = (0, 0);
        if taken {
            self.open = false;
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
            self.month.lock().give_back();
        }
    }
}

impl Ledger {
    fn take(&mut self, now: DateTime<Utc>) {
        self.own = self.own.saturating_add(1);
        self.account.taken = self.account.taken.saturating_add(1);
        self.untold = true;
        self.recent.add(now);
    }

    fn give_back(&mut self) {
        self.own = self.own.saturating_sub(1);
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
            for round in 0..30 {
                let before = all;
                // One is asked all the time, the other hardly ever.
                all += (0..40).filter(|_| months[0].take_apart(Some(limit), 2, at(round)).is_some()).count() as u32;
                all += u32::from(months[1].take_apart(Some(limit), 2, at(round)).is_some());
                months.iter().for_each(|month| month.looked(if late { before } else { all }));
            }
            assert!(all <= limit && all >= limit - 2, "{late} {all}");
        }
    }

    /// What is counted twice for a moment is not counted twice for good, and what this process did is never forgotten.
    #[test]
    fn looks_come_to_the_truth() {
        let month = Month::new(0);
        for _ in 0..10 {
            month.take_apart(None, 2, at(0));
        }
        month.looked(10);
        assert_eq!(month.lock().used, 20, "they may be in it or not");
        month.looked(10);
        assert_eq!(month.lock().used, 10);
        month.looked(3);
        assert_eq!(month.lock().used, 10, "a database that is behind");
    }

    #[test]
    fn the_database_is_asked_by_one_and_seldom() {
        let month = Month::new(0);
        let due: Vec<bool> = [0, 1, 2, 3, 4].iter().map(|s| month.look_due(at(*s))).collect();
        assert_eq!(due, [true, false, true, false, true]);
    }

    #[test]
    fn a_new_generation_is_told_what_it_may_not_have() {
        let month = Month::new(5);
        for second in [0, 0, 1, 9, 9, 10, 12] {
            month.take_apart(None, 2, at(second));
        }
        let never = || unreachable!("it has an account already");
        let account = |generation: &str, name: &str, taken| Account { generation: generation.to_owned(), name: name.to_owned(), taken, released: 0 };
        // A count that was there before this process said a word has none of its calls.
        assert_eq!(month.join("", "g", false, || "a".to_owned(), at(13)), account("g", "a", 7));
        assert_eq!(month.join("", "g", false, never, at(13)), account("g", "a", 7));
        // One that begins has those that the database has.
        assert_eq!(month.join("g", "h", true, || "b".to_owned(), at(13)), account("h", "b", 4));
        assert_eq!(month.join("g", "i", true, never, at(13)), account("h", "b", 4), "who is late takes part in what was begun");
        assert_eq!((month.join("h", "j", true, || "c".to_owned(), at(20)).taken, month.floor(at(20))), (0, 12));
        // Who hangs up takes nothing.
        drop(month.ask(at(20)));
        let account = month.untold().unwrap();
        assert_eq!((account.taken, account.released), (1, 1));
        month.told(&account);
        assert_eq!(month.untold(), None);
        assert_eq!((month.ask(at(20)).said(true, 12), month.ask(at(20)).said(false, 13), month.lock().used), (Some(12), None, 12));
    }
}
