//! A tenant's RNC: how it is written, and what the DGII's listing says of it.

use chrono::NaiveDate;

use crate::dgii::{Padron, PadronError, TaxpayerId};

/// What the listing says of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The text is no RNC and no cédula.
    NoNumber,
    /// No listing is loaded, or it cannot be read at the moment.
    NoListing,
    /// Not in the listing of that day.
    NotListed {
        /// The day the listing is of.
        cutoff: NaiveDate,
    },
    /// In it.
    Listed {
        /// As the DGII writes it.
        name: String,
        /// `ACTIVO`, `SUSPENDIDO`…
        status: Option<String>,
        /// Whether that is exactly `ACTIVO`.
        active: bool,
        /// The day the listing is of.
        cutoff: NaiveDate,
    },
}

/// Looks a number up as people write it; takes well under a millisecond.
#[must_use]
pub fn registered(padron: &Padron, rnc: &str) -> Registered {
    let Ok(id) = TaxpayerId::parse(rnc) else { return Registered::NoNumber };
    match padron.lookup(&id) {
        Ok(listed) => match listed.taxpayer {
            Some(taxpayer) => Registered::Listed { active: taxpayer.is_active(), name: taxpayer.name, status: taxpayer.status, cutoff: listed.cutoff },
            None => Registered::NotListed { cutoff: listed.cutoff },
        },
        Err(PadronError::NotLoaded) => Registered::NoListing,
        Err(error) => {
            tracing::warn!(%error, "the listing cannot be read");
            Registered::NoListing
        }
    }
}

/// A stored RNC as the DGII prints it.
#[must_use]
pub fn rnc_formatted(digits: &str) -> String {
    TaxpayerId::from_digits(digits.as_bytes()).map_or_else(|| digits.to_owned(), |id| id.formatted())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_dgii_does() {
        assert_eq!(rnc_formatted("131793916"), "131-79391-6");
        assert_eq!(rnc_formatted("00113918205"), "001-1391820-5");
        assert_eq!(rnc_formatted("x"), "x");
    }
}
