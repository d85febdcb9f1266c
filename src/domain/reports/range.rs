//! A range of days in Santo Domingo, both ends included.

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};
use serde::Serialize;

use crate::clock::{billing_month, day_number, day_start, local_day, month_start};

/// The longest range, days.
pub const DAYS_MAX: u64 = 400;

/// Days from … to, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DayRange {
    from: NaiveDate,
    to: NaiveDate,
}

impl DayRange {
    /// From one to the other; turned round if need be, and cut at the front to [`DAYS_MAX`].
    #[must_use]
    pub fn new(one: NaiveDate, other: NaiveDate) -> Self {
        let (from, to) = (one.min(other), one.max(other));
        let earliest = to.checked_sub_days(Days::new(DAYS_MAX - 1)).unwrap_or(to);
        Self { from: from.max(earliest), to }
    }

    /// The last so many days, today included.
    #[must_use]
    pub fn last_days(now: DateTime<Utc>, days: u64) -> Self {
        let to = local_day(now);
        Self::new(to.checked_sub_days(Days::new(days.clamp(1, DAYS_MAX) - 1)).unwrap_or(to), to)
    }

    /// The billing month that `now` is in, up to today.
    #[must_use]
    pub fn month_to_date(now: DateTime<Utc>) -> Self {
        let to = local_day(now);
        Self::new(to.with_day(1).unwrap_or(to), to)
    }

    /// A whole billing month (YYYYMM); none when there is no such month.
    #[must_use]
    pub fn of_month(month: i32) -> Option<Self> {
        let from = month_start(month)?;
        let next = from.checked_add_months(chrono::Months::new(1))?;
        Some(Self::new(from, next.pred_opt()?))
    }

    /// From the fields of a form (ISO dates, each may be missing or nonsense); else the last thirty days.
    #[must_use]
    pub fn parse(from: Option<&str>, to: Option<&str>, now: DateTime<Utc>) -> Self {
        let day = |text: Option<&str>| text.and_then(|text| text.trim().parse::<NaiveDate>().ok());
        match (day(from), day(to)) {
            (Some(from), Some(to)) => Self::new(from, to),
            (Some(from), None) => Self::new(from, local_day(now).max(from)),
            (None, Some(to)) => Self::new(to.checked_sub_days(Days::new(29)).unwrap_or(to), to),
            (None, None) => Self::last_days(now, 30),
        }
    }

    /// The first day.
    #[must_use]
    pub fn from(self) -> NaiveDate {
        self.from
    }

    /// The last day.
    #[must_use]
    pub fn to(self) -> NaiveDate {
        self.to
    }

    /// Every day of it.
    pub fn days(self) -> impl Iterator<Item = NaiveDate> {
        self.from.iter_days().take_while(move |day| *day <= self.to)
    }

    pub(super) fn day_numbers(self) -> (i32, i32) {
        (day_number(self.from), day_number(self.to))
    }

    /// The hours of it, as counted in `usage_hours`: first, and first after.
    pub(super) fn hours(self) -> (i32, i32) {
        let after = self.to.succ_opt().unwrap_or(self.to);
        (crate::clock::hour_number(day_start(self.from)), crate::clock::hour_number(day_start(after)))
    }

    /// The months it touches: first and last.
    pub(super) fn months(self) -> (i32, i32) {
        (billing_month(day_start(self.from)), billing_month(day_start(self.to)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_are_of_santo_domingo_and_bounded() {
        // Three in the morning in London is still yesterday there.
        let now = "2026-12-01T03:00:00Z".parse().unwrap();
        assert_eq!(DayRange::month_to_date(now), DayRange { from: day("2026-11-01"), to: day("2026-11-30") });
        assert_eq!(DayRange::last_days(now, 7).from(), day("2026-11-24"));
        assert_eq!(DayRange::of_month(202_602), Some(DayRange { from: day("2026-02-01"), to: day("2026-02-28") }));
        assert_eq!(DayRange::of_month(202_613), None);
        let long = DayRange::new(day("2026-11-30"), day("2020-01-01"));
        assert_eq!((long.to(), long.days().count() as u64), (day("2026-11-30"), DAYS_MAX));
        assert_eq!(DayRange::parse(Some("x"), None, now), DayRange::last_days(now, 30));
        assert_eq!(DayRange::parse(None, Some("2026-03-31"), now).from(), day("2026-03-02"));
        let (from, after) = DayRange::last_days(now, 1).hours();
        assert_eq!(after - from, 24);
    }
}
