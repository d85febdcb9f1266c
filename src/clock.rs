//! The time of day, passed in so that tests can hold it. Months turn in America/Santo_Domingo.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Datelike, Duration, NaiveDate, TimeZone, Utc};
use chrono_tz::America::Santo_Domingo;

/// Tells the time. Cheap to clone; clones of a fixed clock move together.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    fixed_micros: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands until it is moved.
    #[must_use]
    pub fn fixed(at: DateTime<Utc>) -> Self {
        Self { fixed_micros: Some(Arc::new(AtomicI64::new(at.timestamp_micros()))) }
    }

    /// Moves a fixed clock; does nothing to the machine's.
    pub fn advance(&self, by: Duration) {
        if let Some(fixed) = &self.fixed_micros {
            fixed.fetch_add(by.num_microseconds().unwrap_or_default(), Ordering::SeqCst);
        }
    }

    /// Now, UTC.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.fixed_micros {
            Some(fixed) => DateTime::from_timestamp_micros(fixed.load(Ordering::SeqCst)).unwrap_or_default(),
            None => now_of_the_machine(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
fn now_of_the_machine() -> DateTime<Utc> {
    Utc::now()
}

/// A monotonic instant, for durations.
#[must_use]
pub fn instant() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The billing month of an instant, as YYYYMM.
#[must_use]
pub fn billing_month(at: DateTime<Utc>) -> i32 {
    let local = at.with_timezone(&Santo_Domingo);
    local.year() * 100 + i32::try_from(local.month()).unwrap_or_default()
}

/// The day of an instant in Santo Domingo, as YYYYMMDD.
#[must_use]
pub fn billing_day(at: DateTime<Utc>) -> i32 {
    day_number(local_day(at))
}

/// The day of an instant in Santo Domingo.
#[must_use]
pub fn local_day(at: DateTime<Utc>) -> NaiveDate {
    at.with_timezone(&Santo_Domingo).date_naive()
}

/// A day as YYYYMMDD.
#[must_use]
pub fn day_number(day: NaiveDate) -> i32 {
    day.year() * 10_000 + i32::try_from(day.month() * 100 + day.day()).unwrap_or_default()
}

/// Whole hours since 1970, UTC.
#[must_use]
pub fn hour_number(at: DateTime<Utc>) -> i32 {
    i32::try_from(at.timestamp().div_euclid(3_600)).unwrap_or_default()
}

/// The instant at which a day begins in Santo Domingo.
#[must_use]
pub fn day_start(day: NaiveDate) -> DateTime<Utc> {
    // The clocks there stand four hours behind all year round: midnight is there, once, every day.
    Santo_Domingo.from_local_datetime(&day.and_time(chrono::NaiveTime::MIN)).earliest().map_or_else(|| day.and_time(chrono::NaiveTime::MIN).and_utc(), |at| at.to_utc())
}

/// The first day of a billing month (YYYYMM); none when there is no such month.
#[must_use]
pub fn month_start(month: i32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(month / 100, u32::try_from(month % 100).ok()?, 1)
}

/// The instants between which a billing month (YYYYMM) lies: its first, and the first after it; none when there is no such month.
#[must_use]
pub fn month_bounds(month: i32) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let first = month_start(month)?;
    Some((day_start(first), day_start(first.checked_add_months(chrono::Months::new(1))?)))
}

/// The day on which the billing month after `at` begins, in Santo Domingo.
#[must_use]
pub fn next_billing_month(at: DateTime<Utc>) -> NaiveDate {
    let local = at.with_timezone(&Santo_Domingo).date_naive();
    let (year, month) = if local.month() == 12 { (local.year() + 1, 1) } else { (local.year(), local.month() + 1) };
    NaiveDate::from_ymd_opt(year, month, 1).unwrap_or(local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_turn_in_santo_domingo() {
        let before: DateTime<Utc> = "2027-01-01T03:59:59Z".parse().unwrap();
        let after: DateTime<Utc> = "2027-01-01T04:00:00Z".parse().unwrap();
        assert_eq!((billing_month(before), billing_month(after)), (202_612, 202_701));
        assert_eq!((billing_day(before), billing_day(after)), (20_261_231, 20_270_101));
        assert_eq!(day_start(local_day(after)), after);
        assert_eq!(month_start(202_701).map(day_start), Some(after));
        assert_eq!(month_bounds(202_612), Some(("2026-12-01T04:00:00Z".parse().unwrap(), after)));
        assert_eq!((month_start(202_713), hour_number(after)), (None, 499_660));
        assert_eq!(next_billing_month(before), NaiveDate::from_ymd_opt(2027, 1, 1).unwrap());
    }
}
