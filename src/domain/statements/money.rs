//! Cents and rates. Money is whole cents; rates are decimals; halves are rounded away from zero.

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

fn whole(number: Decimal) -> i64 {
    number.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero).to_i64().unwrap_or_default()
}

/// ITBIS on so many cents.
pub(super) fn itbis(cents: i64, percent: Decimal) -> i64 {
    whole(Decimal::from(cents) * percent / Decimal::ONE_HUNDRED)
}

/// US cents in RD$ cents.
pub(super) fn dop(usd_cents: i64, rate: Decimal) -> i64 {
    whole(Decimal::from(usd_cents) * rate)
}

/// A rate as stored: whole, so many decimals moved in front of the point.
pub(super) fn scaled(rate: Decimal, decimals: u32) -> i64 {
    whole(rate * Decimal::from(10_i64.pow(decimals)))
}

/// And back.
pub(super) fn rate_of(stored: i64, decimals: u32) -> Decimal {
    Decimal::new(stored, decimals).normalize()
}

/// Cents as text: `-1234` is `-12.34`.
pub(super) fn amount(cents: i64) -> String {
    Decimal::new(cents, 2).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_away_from_zero_and_rates_survive() {
        let percent = Decimal::from(18);
        assert_eq!((itbis(2_000, percent), itbis(25, percent), itbis(-25, percent)), (360, 5, -5));
        let rate = Decimal::new(624_155, 4);
        assert_eq!((dop(2_360, rate), dop(-1, rate)), (147_301, -62));
        assert_eq!(rate_of(scaled(rate, 4), 4), rate);
        assert_eq!(rate_of(1_800, 2).to_string(), "18");
        assert_eq!((amount(-1_234), amount(5)), ("-12.34".to_owned(), "0.05".to_owned()));
    }
}
