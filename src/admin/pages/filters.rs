//! What the filters of logs and metrics have in common: a client named by an operator, a range of days, addresses with a query.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::admin::Cx;
use crate::admin::error::PageError;
use crate::domain::reports::DayRange;
use crate::ids::TenantId;

/// The longest name in a filter, characters.
const NAME_CHARS_MAX: usize = 100;
/// Clients offered when a name fits several.
const OFFERED_MAX: usize = 20;
/// The longest day in an address, bytes.
const DAY_BYTES_MAX: usize = 10;

/// An address with what is not empty of its query.
pub(super) fn address(path: &str, query: &[(&str, &str)]) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(query.iter().filter(|(_, value)| !value.is_empty()));
    let query = text.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A choice of a select, or a link.
#[derive(Serialize)]
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) text: String,
}

/// A client that an operator named: by its id, a part of its name, or its RNC.
#[derive(Serialize, Default)]
pub(super) struct Picked {
    /// As the field shows it.
    pub(super) text: String,
    /// Which, if there is exactly one.
    pub(super) id: Option<TenantId>,
    /// Several fit: one of these is meant, or another.
    pub(super) several: Vec<Choice>,
    /// None fits.
    pub(super) none: bool,
}

impl Picked {
    /// Whom that text means. At most two queries.
    pub(super) async fn find(cx: &Cx, text: &str) -> Result<Self, PageError> {
        let text: String = text.trim().chars().take(NAME_CHARS_MAX).collect();
        let reports = &cx.state().reports;
        if text.is_empty() {
            return Ok(Self::default());
        }
        if let Ok(id) = text.parse::<TenantId>() {
            return Ok(match reports.client_name(id).await.map_err(PageError::internal)? {
                Some(name) => Self { text: name, id: Some(id), ..Self::default() },
                None => Self { text, none: true, ..Self::default() },
            });
        }
        let found = reports.clients_named(&text, OFFERED_MAX).await.map_err(PageError::internal)?;
        let same = |name: &str| name.to_lowercase() == text.to_lowercase();
        let mut exact = found.iter().filter(|client| same(&client.name));
        let only = match (found.as_slice(), exact.next(), exact.next()) {
            ([only], ..) => Some(only),
            (_, Some(only), None) => Some(only),
            _ => None,
        };
        if let Some(client) = only {
            return Ok(Self { text: client.name.clone(), id: Some(client.id), ..Self::default() });
        }
        let none = found.is_empty();
        Ok(Self { text, id: None, several: found.into_iter().map(|client| Choice { value: client.id.to_string(), text: client.name }).collect(), none })
    }

    /// For addresses: the id, if it is known.
    pub(super) fn id_text(&self) -> String {
        self.id.map(|id| id.to_string()).unwrap_or_default()
    }

    /// Whether a client was named and it is not known which.
    pub(super) fn is_open(&self) -> bool {
        self.none || !self.several.is_empty()
    }
}

/// A day in an address.
pub(super) fn day(text: &str) -> Result<Option<NaiveDate>, ()> {
    match text.trim() {
        "" => Ok(None),
        text if text.len() > DAY_BYTES_MAX => Err(()),
        text => text.parse().map(Some).map_err(|_| ()),
    }
}

/// A range of days in an address: one of the usual ones, or from … to.
#[derive(Deserialize, Default)]
pub(super) struct Days {
    #[serde(default)]
    pub(super) rango: String,
    #[serde(default)]
    pub(super) desde: String,
    #[serde(default)]
    pub(super) hasta: String,
}

/// The usual ranges.
pub(super) const RANGES: [&str; 4] = ["hoy", "7d", "30d", "mes"];
const USUAL: &str = "30d";

impl Days {
    /// The days, and which of [`RANGES`] they are, if one of them.
    pub(super) fn range(&self, now: DateTime<Utc>) -> (DayRange, &'static str) {
        match self.rango.as_str() {
            "hoy" => (DayRange::last_days(now, 1), "hoy"),
            "7d" => (DayRange::last_days(now, 7), "7d"),
            "mes" => (DayRange::month_to_date(now), "mes"),
            _ if self.rango.is_empty() && !(self.desde.is_empty() && self.hasta.is_empty()) => (DayRange::parse(Some(&self.desde), Some(&self.hasta), now), ""),
            _ => (DayRange::last_days(now, 30), USUAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_leave_out_what_is_empty() {
        assert_eq!(address("/admin/logs", &[("q", ""), ("cliente", "")]), "/admin/logs");
        assert_eq!(address("/admin/logs", &[("q", "a b&c"), ("x", "ñ")]), "/admin/logs?q=a+b%26c&x=%C3%B1");
    }

    #[test]
    fn a_range_has_a_name_or_two_days() {
        let now = "2026-11-25T03:00:00Z".parse().unwrap();
        let of = |rango: &str, desde: &str, hasta: &str| {
            let (range, name) = Days { rango: rango.to_owned(), desde: desde.to_owned(), hasta: hasta.to_owned() }.range(now);
            (range.from().to_string(), range.to().to_string(), name)
        };
        let is = |from: &str, to: &str, name| (from.to_owned(), to.to_owned(), name);
        assert_eq!(of("hoy", "", ""), is("2026-11-24", "2026-11-24", "hoy"));
        assert_eq!(of("mes", "2020-01-01", ""), is("2026-11-01", "2026-11-24", "mes"));
        assert_eq!(of("", "2026-10-01", "2026-10-31"), is("2026-10-01", "2026-10-31", ""));
        assert_eq!(of("", "", ""), of("xx", "", ""));
    }

    #[test]
    fn a_day_is_a_day_or_nothing_or_wrong() {
        assert_eq!((day(" "), day("2026-11-25")), (Ok(None), Ok(NaiveDate::from_ymd_opt(2026, 11, 25))));
        for bad in ["25/11/2026", "2026-11-31", "2026-11-25T00:00:00Z", "x"] {
            assert_eq!(day(bad), Err(()));
        }
    }
}
