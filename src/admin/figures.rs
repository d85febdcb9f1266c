//! Filters for figures: durations, shares, days and instants as pages write them. Times are those of Santo Domingo.

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use chrono_tz::America::Santo_Domingo;
use minijinja::{Environment, Error, ErrorKind};

use crate::text::{self, Language};

/// Where there is no figure.
const NONE: &str = "–";

/// Gives the templates of a language: `duration` (milliseconds), `percent`, `short_day` (a day without its year), `instant` (the same with the
/// time to the second).
pub(super) fn add(environment: &mut Environment<'static>, language: Language) {
    environment.add_filter("duration", |ms: Option<f64>| duration(ms));
    environment.add_filter("percent", |share: Option<f64>| percent(share));
    environment.add_filter("short_day", move |iso: &str| iso.parse().map(|day| short_day(language, day)).map_err(|error| unreadable(iso, &error)));
    environment.add_filter("instant", move |iso: &str| iso.parse().map(|at| instant(language, at)).map_err(|error| unreadable(iso, &error)));
}

fn unreadable(iso: &str, error: &chrono::ParseError) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("{iso} is no time: {error}"))
}

/// 0.8 ms, 7.8 ms, 214 ms, 1.38 s, 25 s.
fn duration(ms: Option<f64>) -> String {
    match ms {
        None => NONE.to_owned(),
        Some(ms) if ms < 9.95 => format!("{} ms", trimmed(ms, 1)),
        Some(ms) if ms < 999.5 => format!("{ms:.0} ms"),
        Some(ms) if ms < 9_995.0 => format!("{} s", trimmed(ms / 1_000.0, 2)),
        Some(ms) => format!("{} s", trimmed(ms / 1_000.0, 1)),
    }
}

/// 99.2 %, 0.05 %, 100 %.
fn percent(share: Option<f64>) -> String {
    match share {
        None => NONE.to_owned(),
        Some(share) if share < 0.95 => format!("{} %", trimmed(share, 2)),
        // What is not everything is not rounded to it.
        Some(share) if share > 99.95 && share < 100.0 => "99.9 %".to_owned(),
        Some(share) => format!("{} %", trimmed(share, 1)),
    }
}

/// With so many decimals at most.
fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

pub(super) fn short_day(language: Language, day: NaiveDate) -> String {
    let months = text::text(language, "portal.months");
    format!("{} {}", day.day(), months.split(' ').nth(day.month0() as usize).unwrap_or_default())
}

/// A day with its year, as pages write it: 24 nov 2026.
pub(super) fn written_day(language: Language, day: NaiveDate) -> String {
    format!("{} {}", short_day(language, day), day.year())
}

fn instant(language: Language, at: DateTime<Utc>) -> String {
    let local = at.with_timezone(&Santo_Domingo);
    format!("{}, {:02}:{:02}:{:02}", short_day(language, local.date_naive()), local.hour(), local.minute(), local.second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        let of = |values: &[f64]| values.iter().map(|ms| duration(Some(*ms))).collect::<Vec<_>>();
        assert_eq!(of(&[0.0, 0.84, 7.78, 10.2, 999.4, 1_000.0, 1_380.0, 12_440.0, 25_000.0]), ["0 ms", "0.8 ms", "7.8 ms", "10 ms", "999 ms", "1 s", "1.38 s", "12.4 s", "25 s"]);
        assert_eq!([0.0, 0.05, 1.0, 99.24, 99.99, 100.0].map(|share| percent(Some(share))), ["0 %", "0.05 %", "1 %", "99.2 %", "99.9 %", "100 %"]);
        assert_eq!((duration(None), percent(None)), ("–".to_owned(), "–".to_owned()));
    }

    #[test]
    fn times_are_those_of_the_country() {
        assert_eq!(instant(Language::Es, "2026-11-25T03:59:07.9Z".parse().unwrap()), "24 nov, 23:59:07");
        assert_eq!(short_day(Language::En, "2026-01-05".parse().unwrap()), "5 Jan");
        assert_eq!(written_day(Language::Es, "2026-11-24".parse().unwrap()), "24 nov 2026");
    }
}
