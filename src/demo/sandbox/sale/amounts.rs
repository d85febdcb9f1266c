//! Money: prices by price list, taxes, totals.
//!
//! Totals follow what Odoo 19 was seen to do with the Dominican chart of accounts (`round_globally`): a line shows its own
//! rounded amounts, the order rounds the sums of the exact ones, half away from zero.

use rust_decimal::prelude::FromPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Value, json};

use super::{LINE, ORDER};
use crate::demo::sandbox::call::Env;
use crate::demo::sandbox::compute::text;
use crate::demo::sandbox::store::{Row, Store};

/// The price of a product by the rules of a price list; the most specific rule wins.
pub(super) fn price(store: &Store, product: i64, stored: &Row, quantity: Decimal, list: Option<i64>) -> Decimal {
    let list_price = decimal(stored, "list_price");
    let applies = |rule: &Row| match text(rule, "applied_on") {
        "0_product_variant" | "1_product" => rule.get("product_id") == Some(&json!(product)),
        "2_product_category" => rule.get("categ_id") == stored.get("categ_id"),
        _ => true,
    };
    let mut rules: Vec<&Row> = store
        .rows("product.pricelist.item")
        .map(|(_, rule)| rule)
        .filter(|rule| list.is_some() && rule.get("pricelist_id").and_then(Value::as_i64) == list && decimal(rule, "min_quantity") <= quantity && applies(rule))
        .collect();
    rules.sort_by_key(|rule| (text(rule, "applied_on").to_owned(), -decimal(rule, "min_quantity")));
    match rules.first().map(|rule| (text(rule, "compute_price"), *rule)) {
        Some(("fixed", rule)) => decimal(rule, "fixed_price"),
        Some((_, rule)) => list_price.saturating_mul(Decimal::ONE.saturating_sub(decimal(rule, "percent_price") / Decimal::ONE_HUNDRED)),
        None => list_price,
    }
}

/// The exact amounts of a line, before any rounding.
pub(super) struct Amounts {
    pub(super) base: Decimal,
    /// By tax.
    pub(super) taxes: Vec<(i64, Decimal)>,
}

/// Works out a line from its quantity, price, discount and taxes.
pub(super) fn line_amounts(store: &Store, row: &Row) -> Amounts {
    let quantity = decimal(row, "product_uom_qty");
    let factor = Decimal::ONE.saturating_sub(decimal(row, "discount") / Decimal::ONE_HUNDRED);
    let base = quantity.saturating_mul(decimal(row, "price_unit")).saturating_mul(factor);
    let taxes = row.get("tax_ids").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_i64);
    let of_tax = |tax: i64| {
        let amount = store.get("account.tax", tax).map(|row| decimal(row, "amount")).unwrap_or_default();
        let fixed = store.raw("account.tax", tax, "amount_type") == "fixed";
        (tax, if fixed { amount.saturating_mul(quantity) } else { base.saturating_mul(amount / Decimal::ONE_HUNDRED) })
    };
    Amounts { base, taxes: taxes.map(of_tax).collect() }
}

/// Works out the totals of an order from its lines.
pub(in crate::demo::sandbox) fn recompute(env: &mut Env<'_>, order: i64) {
    let mut base = Decimal::ZERO;
    let mut taxes: Vec<(i64, Decimal)> = Vec::new();
    for (_, row) in env.store.rows(LINE).filter(|(_, row)| row.get("order_id") == Some(&json!(order))) {
        let amounts = line_amounts(env.store, row);
        base = base.saturating_add(amounts.base);
        for (tax, amount) in amounts.taxes {
            match taxes.iter_mut().find(|(other, _)| *other == tax) {
                Some((_, sum)) => *sum = sum.saturating_add(amount),
                None => taxes.push((tax, amount)),
            }
        }
    }
    let untaxed = rounded(base);
    let tax = taxes.into_iter().map(|(_, amount)| rounded(amount)).fold(Decimal::ZERO, Decimal::saturating_add);
    let totals = json!({"amount_untaxed": float(untaxed), "amount_tax": float(tax), "amount_total": float(untaxed.saturating_add(tax))});
    env.store.update(ORDER, order, super::row_of(&totals));
}

/// A stored number, exact to the digits that JSON shows.
pub(super) fn decimal(row: &Row, field: &str) -> Decimal {
    row.get(field).and_then(Value::as_f64).and_then(Decimal::from_f64).unwrap_or_default()
}

/// Half away from zero to the cent.
pub(super) fn rounded(amount: Decimal) -> Decimal {
    amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
}

/// The nearest float, by way of the decimal digits: the direct conversion can be one unit off.
pub(super) fn float(amount: Decimal) -> f64 {
    amount.to_string().parse().unwrap_or_default()
}

/// As JSON.
pub(super) fn number(amount: Decimal) -> Value {
    json!(float(amount))
}
