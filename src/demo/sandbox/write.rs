//! Writing: defaults, constraints, the commands of x2many fields. What is
//! special about orders is in `sale`; rights and undo are the caller's (`call`).

mod coerce;

use serde_json::{Value, json};

pub(super) use coerce::coerce_all;

use super::call::{Env, require};
use super::compute::text;
use super::fault::Fault;
use super::sale;
use super::schema::{Kind, Model, model};
use super::store::Row;

/// Makes one record and gives its id.
///
/// # Errors
/// An unknown field, a value of the wrong type, a constraint.
pub(super) fn create(env: &mut Env<'_>, of: &'static Model, values: &Row) -> Result<i64, Fault> {
    require(of, "create")?;
    match of.name {
        "sale.order" => sale::create(env, values, sale::Purpose::Keep).map(|(id, _)| id),
        "sale.order.line" => sale::create_line(env, values),
        _ => create_plain(env, of, values),
    }
}

/// `create` without the rules of a model that has its own.
pub(super) fn create_plain(env: &mut Env<'_>, of: &'static Model, values: &Row) -> Result<i64, Fault> {
    let mut row: Row = of
        .fields()
        .filter(|field| !field.computed && field.name != "id" && !matches!(field.kind, Kind::One2many(..)))
        .map(|field| (field.name.to_owned(), field.kind.empty()))
        .collect();
    row.extend(defaults(env, of));
    row.extend(coerce_all(env, of, values)?);
    stamp(env, &mut row, true);
    check(env, of, None, &row)?;
    let id = env.store.insert(of.name, row)?;
    commands(env, of, id, values)?;
    Ok(id)
}

/// Changes records.
///
/// # Errors
/// As `create`; also a record that is not there.
pub(super) fn write(env: &mut Env<'_>, of: &'static Model, ids: &[i64], values: &Row) -> Result<(), Fault> {
    require(of, "write")?;
    for id in ids {
        let before = env.store.get(of.name, *id).cloned().ok_or_else(|| Fault::missing(of.name, *id, env.uid))?;
        let mut changes = coerce_all(env, of, values)?;
        stamp(env, &mut changes, false);
        let mut after = before;
        after.extend(changes.clone());
        check(env, of, Some(*id), &after)?;
        if of.name == "sale.order.line" {
            sale::fill_line(env, after.get("order_id").and_then(Value::as_i64).unwrap_or_default(), &mut after, &changes);
            env.store.update(of.name, *id, after);
        } else {
            env.store.update(of.name, *id, changes);
        }
        commands(env, of, *id, values)?;
        sale::after_change(env, of, *id);
    }
    Ok(())
}

/// Deletes records.
///
/// # Errors
/// A record that is not there, or that others need.
pub(super) fn unlink(env: &mut Env<'_>, of: &'static Model, ids: &[i64]) -> Result<(), Fault> {
    require(of, "unlink")?;
    for id in ids {
        let row = env.store.get(of.name, *id).ok_or_else(|| Fault::missing(of.name, *id, env.uid))?;
        if of.name == "sale.order" && !matches!(text(row, "state"), "draft" | "cancel") {
            return Err(Fault::User("No puede eliminar una cotización enviada o una orden de venta confirmada, primero debe cancelarla.".to_owned()));
        }
        if of.name == "res.partner" && needed(env, *id) {
            return Err(Fault::User("No es posible eliminar el contacto, se usa en Ventas".to_owned()));
        }
        let order = row.get("order_id").and_then(Value::as_i64);
        if of.name == "sale.order" {
            sale::delete_lines(env, *id);
        }
        env.store.delete(of.name, *id);
        if let Some(order) = order {
            sale::recompute(env, order);
        }
    }
    Ok(())
}

fn needed(env: &Env<'_>, partner: i64) -> bool {
    let uses = |model: &str, field: &str| env.store.rows(model).any(|(_, row)| row.get(field).and_then(Value::as_i64) == Some(partner));
    uses("sale.order", "partner_id") || uses("res.company", "partner_id") || uses("res.users", "partner_id")
}

fn stamp(env: &Env<'_>, row: &mut Row, new: bool) {
    let now = json!(env.now_text());
    if new {
        row.insert("create_date".into(), now.clone());
        row.insert("create_uid".into(), json!(env.uid));
    }
    row.insert("write_date".into(), now);
    row.insert("write_uid".into(), json!(env.uid));
}

/// What Odoo fills in when nothing is said.
pub(super) fn defaults(env: &Env<'_>, of: &Model) -> Row {
    let mut row = Row::new();
    if of.field("active").is_some() {
        row.insert("active".into(), json!(true));
    }
    let country = env.store.rows("res.country").find(|(_, row)| text(row, "code") == "DO").map(|(id, _)| id);
    let more = match of.name {
        "res.partner" => json!({"type": "contact", "lang": "es_DO", "country_id": country}),
        "product.product" => {
            json!({"type": "consu", "sale_ok": true, "purchase_ok": true, "list_price": 1.0, "uom_id": env.store.ids("uom.uom").first(), "taxes_id": env.store.ids("account.tax").first().map(|tax| vec![tax])})
        }
        "account.move" => json!({"move_type": "entry", "state": "draft", "name": "/"}),
        _ => json!({}),
    };
    row.extend(more.as_object().cloned().unwrap_or_default());
    row
}

fn check(env: &Env<'_>, of: &Model, id: Option<i64>, row: &Row) -> Result<(), Fault> {
    if of.name == "res.partner" && text(row, "name").trim().is_empty() && text(row, "type") == "contact" {
        return Err(Fault::Validation("The operation cannot be completed: Contacts require a name".to_owned()));
    }
    required(of, row)?;
    let barcode = text(row, "barcode");
    if of.name == "product.product"
        && !barcode.is_empty()
        && let Some((_, other)) = env.store.rows(of.name).find(|(other, row)| Some(*other) != id && text(row, "barcode") == barcode)
    {
        return Err(Fault::Validation(format!(
            "Códigos de barras ya asignados:\n\n- Barcode \"{barcode}\" already assigned to product(s): {} and {}\n\nNota: los productos a los que no \
             tiene acceso no se mostrarán.",
            text(other, "name"),
            text(row, "name")
        )));
    }
    Ok(())
}

/// Every mandatory field is set.
///
/// # Errors
/// `ValidationError` with Odoo's text.
pub(super) fn required(of: &Model, row: &Row) -> Result<(), Fault> {
    let missing = of.fields().find(|field| field.required && matches!(row.get(field.name), None | Some(Value::Bool(false) | Value::Null)));
    missing.map_or(Ok(()), |field| {
        Err(Fault::Validation(format!(
            "The operation cannot be completed: Missing required value for the field '{}' ({}).\nModel: '{}' ({})\n- create/update: a mandatory field is not set\n- delete: another model requires the record being \
             deleted, you can archive it instead\n",
            field.label, field.name, of.label, of.name
        )))
    })
}

/// Carries out the commands of the one2many fields among `values`: create, update, delete, clear.
fn commands(env: &mut Env<'_>, of: &'static Model, id: i64, values: &Row) -> Result<(), Fault> {
    for (name, value) in values {
        let Some(Kind::One2many(other, inverse)) = of.field(name).map(|field| field.kind) else { continue };
        let Some(child_model) = model(other).filter(|_| of.field(name).is_some_and(|field| !field.computed)) else { continue };
        for command in value.as_array().into_iter().flatten() {
            let target = command.get(1).and_then(Value::as_i64).unwrap_or_default();
            let mut child = command.get(2).and_then(Value::as_object).cloned().unwrap_or_default();
            match command.get(0).and_then(Value::as_i64) {
                Some(0) => {
                    child.insert(inverse.to_owned(), json!(id));
                    create(env, child_model, &child)?;
                }
                Some(1) => write(env, child_model, &[target], &child)?,
                Some(2 | 3) => unlink(env, child_model, &[target])?,
                Some(5) => {
                    let all: Vec<i64> = env.store.rows(other).filter(|(_, row)| row.get(inverse).and_then(Value::as_i64) == Some(id)).map(|(child, _)| child).collect();
                    unlink(env, child_model, &all)?;
                }
                // 4 and 6 move records between parents: nothing shipped does that.
                _ => {}
            }
        }
    }
    Ok(())
}
