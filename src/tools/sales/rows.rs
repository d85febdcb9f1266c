//! Reading single values out of Odoo's records, whichever of its shapes they come in (`false` for empty, many2one as pair or object).

use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;
use serde_json::{Map, Value};

/// A record as the client returns it.
pub(crate) type Row = Map<String, Value>;

/// Longest text that is read, characters: names are compared word by word, and an Odoo may call a megabyte a name.
const TEXT_CHARS_MAX: usize = 4_000;

/// A text that is not empty.
pub(crate) fn text(row: &Row, field: &str) -> Option<String> {
    row.get(field).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty()).map(bounded)
}

fn bounded(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((at, _)) => text[..at].to_owned(),
        None => text.to_owned(),
    }
}

/// A number.
pub(crate) fn number(row: &Row, field: &str) -> Option<f64> {
    row.get(field).and_then(Value::as_f64)
}

/// Whether it is true; absent is false.
pub(crate) fn flag(row: &Row, field: &str) -> bool {
    row.get(field).and_then(Value::as_bool).unwrap_or(false)
}

/// The record's id.
pub(crate) fn id(row: &Row) -> Option<i64> {
    row.get("id").and_then(Value::as_i64)
}

/// A many2one: the id and, where Odoo gave it, the name (`display_name`, else `name`).
pub(crate) fn link(row: &Row, field: &str) -> Option<(i64, String)> {
    match row.get(field)? {
        Value::Object(map) => {
            let name = ["display_name", "name"].iter().find_map(|key| map.get(*key).and_then(Value::as_str)).unwrap_or_default();
            Some((map.get("id")?.as_i64()?, bounded(name)))
        }
        Value::Array(pair) => Some((pair.first()?.as_i64()?, bounded(pair.get(1).and_then(Value::as_str).unwrap_or_default()))),
        other => other.as_i64().map(|id| (id, String::new())),
    }
}

/// One field of a many2one that was read with its fields (`currency_id.name`); the display name where it was not.
pub(crate) fn link_text(row: &Row, field: &str, inner: &str) -> Option<String> {
    let nested = row.get(field).and_then(|value| value.get(inner)).and_then(Value::as_str).map(bounded);
    nested.or_else(|| link(row, field).map(|(_, name)| name)).filter(|name| !name.is_empty())
}

/// The amount as a decimal, for words; zero for what is no number.
pub(crate) fn decimal(amount: f64) -> Decimal {
    Decimal::from_f64(amount).unwrap_or_default()
}

/// Money for a result: two decimals, without the noise of binary fractions.
pub(crate) fn cents(amount: f64) -> f64 {
    (amount * 100.0).round() / 100.0
}

/// A unit price or a quantity for a result: six decimals at most.
pub(crate) fn micros(amount: f64) -> f64 {
    (amount * 1e6).round() / 1e6
}

/// The one-line form of a product's line text: Odoo appends the sales description on further lines.
pub(crate) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_shape_of_odoo_reads_the_same() {
        let Value::Object(row) = json!({
            "id": 5, "name": " x ", "empty": false, "blank": "", "pair": [7, "Siete"], "object": {"id": 7, "display_name": "Siete", "code": "S"}, "bare": 7, "none": false, "amount": 48.600_000_000_000_02
        }) else {
            unreachable!("an object")
        };
        assert_eq!(text(&row, "name").as_deref(), Some("x"));
        assert_eq!((text(&row, "empty"), text(&row, "blank"), text(&row, "missing")), (None, None, None));
        assert_eq!(link(&row, "pair"), Some((7, "Siete".to_owned())));
        assert_eq!(link(&row, "object"), Some((7, "Siete".to_owned())));
        assert_eq!(link(&row, "bare"), Some((7, String::new())));
        assert_eq!(link(&row, "none"), None);
        assert_eq!(link_text(&row, "object", "code").as_deref(), Some("S"));
        assert_eq!(link_text(&row, "pair", "code").as_deref(), Some("Siete"));
        assert_eq!(cents(number(&row, "amount").unwrap()).to_string(), "48.6");
        assert_eq!(first_line("[A] Silla\nUna cómoda silla"), "[A] Silla");
    }
}
