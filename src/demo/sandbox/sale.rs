//! Quotations: what an order and its lines get filled in with, prices by price list, taxes and totals.

pub(super) mod actions;
mod amounts;
pub(super) mod onchange;

use chrono::Days;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use uuid::Uuid;

use super::call::Env;
use super::compute::{display_name, text};
use super::fault::Fault;
use super::schema::{Model, model};
use super::store::Row;
use super::write;
pub(super) use amounts::recompute;
use amounts::{decimal, float, line_amounts, number, price, rounded};

const ORDER: &str = "sale.order";
const LINE: &str = "sale.order.line";

/// How long a quotation stands, unless the company says otherwise.
const VALIDITY_DAYS: u64 = 30;

/// How many lines one order takes.
const LINES_MAX: usize = 500;

/// What an order is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To stay: everything mandatory must be there.
    Keep,
    /// To be looked at and taken back (`onchange`): an order without a customer is fine.
    Preview,
}

/// Makes an order with its lines; gives its id and, for each line, its id and the caller's own id for it.
///
/// # Errors
/// An unknown field, a missing customer or product, a value of the wrong type.
pub(super) fn create(env: &mut Env<'_>, values: &Row, purpose: Purpose) -> Result<(i64, Vec<(i64, Value)>), Fault> {
    let order_model = known(ORDER)?;
    let given = write::coerce_all(env, order_model, values)?;
    let mut row: Row = order_model.fields().filter(|field| !field.computed && field.name != "order_line").map(|field| (field.name.to_owned(), field.kind.empty())).collect();
    row.remove("id");
    row.extend(header_defaults(env, given.get("partner_id").and_then(Value::as_i64)));
    row.extend(given);
    let now = json!(env.now_text());
    for (field, value) in [("create_date", &now), ("write_date", &now), ("create_uid", &json!(env.uid)), ("write_uid", &json!(env.uid))] {
        row.insert(field.to_owned(), value.clone());
    }
    if let Some(list) = row.get("pricelist_id").and_then(Value::as_i64) {
        row.insert("currency_id".into(), env.store.raw("product.pricelist", list, "currency_id").clone());
    }
    row.insert("name".into(), json!("Nuevo"));
    if purpose == Purpose::Keep {
        write::required(order_model, &row)?;
    }
    let order = env.store.insert(ORDER, row)?;
    if purpose == Purpose::Keep {
        env.store.update(ORDER, order, row_of(&json!({"name": format!("S{order:05}")})));
    }
    let mut lines = Vec::new();
    for (virtual_id, line) in new_lines(values)? {
        lines.push((insert_line(env, order, &line, purpose)?, virtual_id));
    }
    recompute(env, order);
    Ok((order, lines))
}

/// The lines to create, with the caller's ids for them. Lines that share one id are one line, as in Odoo.
fn new_lines(values: &Row) -> Result<Vec<(Value, Row)>, Fault> {
    let mut lines: Vec<(Value, Row)> = Vec::new();
    for command in values.get("order_line").and_then(Value::as_array).into_iter().flatten() {
        let (Some(0), Some(line)) = (command.get(0).and_then(Value::as_i64), command.get(2).and_then(Value::as_object)) else { continue };
        let virtual_id = command.get(1).cloned().unwrap_or_default();
        let named = !matches!(virtual_id, Value::Null | Value::Bool(false)) && virtual_id != json!(0);
        match lines.iter_mut().find(|(other, _)| named && *other == virtual_id) {
            Some((_, same)) => same.extend(line.clone()),
            None => lines.push((virtual_id, line.clone())),
        }
    }
    if lines.len() > LINES_MAX { Err(Fault::User(format!("The sandbox takes at most {LINES_MAX} lines in an order."))) } else { Ok(lines) }
}

fn header_defaults(env: &Env<'_>, partner: Option<i64>) -> Row {
    let company = env.store.ids("res.company").first().copied().unwrap_or_default();
    let mut row = row_of(&json!({
        "state": "draft", "date_order": env.now_text(), "validity_date": env.today().checked_add_days(Days::new(VALIDITY_DAYS)).map(|day| day.to_string()),
        "company_id": company, "currency_id": env.store.raw("res.company", company, "currency_id"), "user_id": env.uid, "invoice_status": "no",
        "access_token": Uuid::new_v4().to_string(), "require_signature": true,
    }));
    if let Some(partner_model) = model("res.partner")
        && let Some(partner) = partner
    {
        let of_partner = |name: &str| partner_model.field(name).map_or(json!(false), |field| super::compute::value(env.store, partner_model, partner, field));
        for (field, value) in [
            ("partner_invoice_id", json!(partner)),
            ("partner_shipping_id", json!(partner)),
            ("pricelist_id", of_partner("property_product_pricelist")),
            ("payment_term_id", of_partner("property_payment_term_id")),
        ] {
            row.insert(field.to_owned(), value);
        }
    }
    row
}

/// Makes one line of an existing order.
///
/// # Errors
/// As `create`; also when the order is missing.
pub(super) fn create_line(env: &mut Env<'_>, values: &Row) -> Result<i64, Fault> {
    let order = values.get("order_id").and_then(Value::as_i64).unwrap_or_default();
    if env.store.get(ORDER, order).is_some() && env.store.rows(LINE).filter(|(_, row)| row.get("order_id") == Some(&json!(order))).count() >= LINES_MAX {
        return Err(Fault::User(format!("The sandbox takes at most {LINES_MAX} lines in an order.")));
    }
    let id = insert_line(env, order, values, Purpose::Keep)?;
    recompute(env, order);
    Ok(id)
}

fn insert_line(env: &mut Env<'_>, order: i64, values: &Row, purpose: Purpose) -> Result<i64, Fault> {
    let line_model = known(LINE)?;
    let mut given = write::coerce_all(env, line_model, values)?;
    if env.store.get(ORDER, order).is_some() {
        given.insert("order_id".into(), json!(order));
    }
    let mut row: Row = line_model.fields().filter(|field| !field.computed && field.name != "id").map(|field| (field.name.to_owned(), field.kind.empty())).collect();
    row.extend(row_of(&json!({"sequence": 10, "product_uom_qty": 1.0, "create_date": env.now_text(), "write_date": env.now_text(), "create_uid": env.uid, "write_uid": env.uid})));
    row.extend(given.clone());
    fill_line(env, order, &mut row, &given);
    if purpose == Purpose::Keep {
        write::required(line_model, &row)?;
    }
    env.store.insert(LINE, row)
}

/// Fills in what follows from the product, the quantity and the price list, unless it was `given`, and the line's amounts.
pub(super) fn fill_line(env: &Env<'_>, order: i64, row: &mut Row, given: &Row) {
    if row.get("display_type").is_some_and(Value::is_string) {
        row.extend(row_of(&json!({"product_id": false, "product_uom_qty": 0.0, "product_uom_id": false, "price_unit": 0.0, "discount": 0.0, "tax_ids": []})));
    }
    let quantity = rounded(decimal(row, "product_uom_qty"));
    row.insert("product_uom_qty".into(), number(quantity));
    if let Some(product) = row.get("product_id").and_then(Value::as_i64) {
        let stored = env.store.get("product.product", product).cloned().unwrap_or_default();
        if given.contains_key("product_id") {
            let description = text(&stored, "description_sale");
            let title = display_name(env.store, "product.product", product);
            let name = if description.is_empty() { title } else { format!("{title}\n{description}") };
            for (field, value) in
                [("name", json!(name)), ("product_uom_id", stored.get("uom_id").cloned().unwrap_or_default()), ("tax_ids", stored.get("taxes_id").cloned().unwrap_or(json!([])))]
            {
                if !given.contains_key(field) {
                    row.insert(field.to_owned(), value);
                }
            }
        }
        let priced_anew = given.contains_key("product_id") || given.contains_key("product_uom_qty");
        if priced_anew && !given.contains_key("price_unit") {
            let list = env.store.raw(ORDER, order, "pricelist_id").as_i64();
            row.insert("price_unit".into(), number(price(env.store, product, &stored, quantity, list)));
        }
    }
    let amounts = line_amounts(env.store, row);
    let (subtotal, tax) = (rounded(amounts.base), amounts.taxes.iter().map(|(_, tax)| rounded(*tax)).fold(Decimal::ZERO, Decimal::saturating_add));
    let (subtotal, total) = (float(subtotal), float(subtotal.saturating_add(tax)));
    // Odoo subtracts floats here, and shows it (6.479999999999997): a client must not trust these digits.
    row.extend(row_of(&json!({"price_subtotal": subtotal, "price_total": total, "price_tax": total - subtotal})));
}

/// Brings the totals up to date after a write.
pub(super) fn after_change(env: &mut Env<'_>, of: &Model, id: i64) {
    match of.name {
        ORDER => recompute(env, id),
        LINE => {
            if let Some(order) = env.store.raw(LINE, id, "order_id").as_i64() {
                recompute(env, order);
            }
        }
        _ => {}
    }
}

/// Takes the lines of an order away.
pub(super) fn delete_lines(env: &mut Env<'_>, order: i64) {
    let lines: Vec<i64> = env.store.rows(LINE).filter(|(_, row)| row.get("order_id") == Some(&json!(order))).map(|(id, _)| id).collect();
    for line in lines {
        env.store.delete(LINE, line);
    }
}

fn known(name: &str) -> Result<&'static Model, Fault> {
    model(name).ok_or_else(|| Fault::NoModel(name.to_owned()))
}

/// The members of a JSON object; nothing for anything else.
fn row_of(value: &Value) -> Row {
    value.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests;
