//! Values that are worked out at every read: display names, the other side of relations, fields derived from
//! neighbours. Amounts of an order are not here: they are stored, as in Odoo (`sale`).

use serde_json::{Value, json};

use super::schema::{Field, Kind, Model, model};
use super::store::{Row, Store};

/// The value of a field, computed or stored, unformatted. `false` for a record that is gone.
pub(super) fn value(store: &Store, model: &Model, id: i64, field: &Field) -> Value {
    let Some(row) = store.get(model.name, id) else { return json!(false) };
    if field.name == "id" {
        return json!(id);
    }
    if field.name == "display_name" {
        return json!(display_name(store, model.name, id));
    }
    if let Kind::One2many(other, inverse) = field.kind {
        return json!(children(store, other, inverse, id));
    }
    if field.computed {
        return match model.name {
            "res.partner" => partner(store, id, row, field.name),
            "product.product" => product(store, row, field.name),
            "product.category" => json!(display_name(store, model.name, id)),
            "sale.order" => order(store, id, row, field.name),
            "sale.order.line" => line(store, row, field.name),
            _ => field.kind.empty(),
        };
    }
    let stored = row.get(field.name).cloned().unwrap_or_else(|| field.kind.empty());
    if model.name == "res.partner" && field.name == "property_product_pricelist" && stored == json!(false) {
        return pricelist_of_partner(store, row);
    }
    stored
}

/// The active records of `other` whose `inverse` points at `id`.
fn children(store: &Store, other: &'static str, inverse: &str, id: i64) -> Vec<i64> {
    let mut found: Vec<(i64, i64)> = store
        .rows(other)
        .filter(|(_, row)| row.get(inverse).and_then(Value::as_i64) == Some(id) && row.get("active") != Some(&json!(false)))
        .map(|(child, row)| (row.get("sequence").and_then(Value::as_i64).unwrap_or(0), child))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, child)| child).collect()
}

/// How Odoo shows a record in a list or a relation. Empty for a record that is gone.
pub(super) fn display_name(store: &Store, model_name: &str, id: i64) -> String {
    let Some(row) = store.get(model_name, id) else { return String::new() };
    let name = text(row, "name");
    match model_name {
        "res.partner" => match row.get("parent_id").and_then(Value::as_i64).and_then(|parent| store.get("res.partner", parent)) {
            Some(parent) => format!("{}, {name}", text(parent, "name")),
            None => name.to_owned(),
        },
        "product.product" if !text(row, "default_code").is_empty() => format!("[{}] {name}", text(row, "default_code")),
        "product.category" => match row.get("parent_id").and_then(Value::as_i64) {
            Some(parent) if parent != id => format!("{} / {name}", display_name(store, model_name, parent)),
            _ => name.to_owned(),
        },
        "product.pricelist" => {
            let currency = row.get("currency_id").and_then(Value::as_i64).unwrap_or(0);
            format!("{name} ({})", display_name(store, "res.currency", currency))
        }
        "sale.order.line" => {
            let order = row.get("order_id").and_then(Value::as_i64).unwrap_or(0);
            format!("{} - {}", display_name(store, "sale.order", order), name.lines().next().unwrap_or_default())
        }
        "ir.module.module" if !text(row, "shortdesc").is_empty() => text(row, "shortdesc").to_owned(),
        _ => {
            let rec_name = model(model_name).map_or("name", |found| found.rec_name);
            row.get(rec_name).and_then(Value::as_str).map_or_else(|| format!("{model_name},{id}"), str::to_owned)
        }
    }
}

/// A stored text; "" when it is empty.
pub(super) fn text<'row>(row: &'row Row, field: &str) -> &'row str {
    row.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Only the digits, as Odoo compares telephone numbers.
pub(super) fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

fn or_false(text: &str) -> Value {
    if text.is_empty() { json!(false) } else { json!(text) }
}

fn partner(store: &Store, id: i64, row: &Row, field: &str) -> Value {
    let parent = row.get("parent_id").and_then(Value::as_i64);
    match field {
        "complete_name" => json!(display_name(store, "res.partner", id)),
        "company_type" => json!(if row.get("is_company") == Some(&json!(true)) { "company" } else { "person" }),
        "parent_name" => parent.map_or(json!(false), |other| store.raw("res.partner", other, "name").clone()),
        "commercial_partner_id" => match parent {
            Some(other) if row.get("is_company") != Some(&json!(true)) => json!(other),
            _ => json!(id),
        },
        "phone_mobile_search" => or_false(&digits(text(row, "phone"))),
        "phone_sanitized" => match digits(text(row, "phone")) {
            local if local.len() == 10 => json!(format!("+1{local}")),
            full if full.len() == 11 && full.starts_with('1') => json!(format!("+{full}")),
            _ => json!(false),
        },
        "email_normalized" => or_false(&text(row, "email").trim().to_lowercase()),
        "country_code" => row.get("country_id").and_then(Value::as_i64).map_or(json!(false), |country| store.raw("res.country", country, "code").clone()),
        "currency_id" => company_currency(store),
        "sale_order_count" => json!(children(store, "sale.order", "partner_id", id).len()),
        _ => json!(false),
    }
}

/// The partner's own list, else its parent's, else the first one.
fn pricelist_of_partner(store: &Store, row: &Row) -> Value {
    let inherited = row.get("parent_id").and_then(Value::as_i64).map(|parent| store.raw("res.partner", parent, "property_product_pricelist").clone());
    match inherited {
        Some(Value::Number(list)) => Value::Number(list),
        _ => store.ids("product.pricelist").first().map_or(json!(false), |first| json!(first)),
    }
}

fn product(store: &Store, row: &Row, field: &str) -> Value {
    match field {
        "lst_price" => row.get("list_price").cloned().unwrap_or(json!(0.0)),
        "virtual_available" => row.get("free_qty").cloned().unwrap_or(json!(0.0)),
        "currency_id" => company_currency(store),
        _ => json!(false),
    }
}

fn order(store: &Store, id: i64, row: &Row, field: &str) -> Value {
    match field {
        "access_url" => json!(format!("/my/orders/{id}")),
        "country_code" => row
            .get("partner_id")
            .and_then(Value::as_i64)
            .and_then(|customer| Some(partner(store, customer, store.get("res.partner", customer)?, "country_code")))
            .unwrap_or(json!(false)),
        _ => json!(false),
    }
}

fn line(store: &Store, row: &Row, field: &str) -> Value {
    let source = if field == "order_partner_id" { "partner_id" } else { field };
    row.get("order_id").and_then(Value::as_i64).map_or(json!(false), |order| store.raw("sale.order", order, source).clone())
}

fn company_currency(store: &Store) -> Value {
    store.ids("res.company").first().map_or(json!(false), |company| store.raw("res.company", *company, "currency_id").clone())
}
