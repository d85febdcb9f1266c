//! `onchange`: what a record would hold, without writing it. For an order this is a real creation that is taken back,
//! so that the preview and what is later stored cannot differ.

use serde_json::{Value, json};

use super::{LINE, ORDER, Purpose, create, known};
use crate::demo::sandbox::call::{Env, require};
use crate::demo::sandbox::compute;
use crate::demo::sandbox::fault::Fault;
use crate::demo::sandbox::read::web_value;
use crate::demo::sandbox::schema::{Field, Model};
use crate::demo::sandbox::store::Row;
use crate::demo::sandbox::write;

/// Answers `{"value": {…}}`: all of the specification on the first call (`field_names` empty), otherwise only what
/// the named fields changed. The caller takes back what this writes.
///
/// # Errors
/// A field of `values` that is not in the specification (`KeyError`), and all that creating can raise.
pub(in crate::demo::sandbox) fn run(env: &mut Env<'_>, of: &'static Model, ids: &[i64], values: &Row, field_names: &[String], spec: &Row) -> Result<Value, Fault> {
    require(of, "read")?;
    let key_error = |name: &str| Fault::Python { class: "builtins.KeyError", message: name.to_owned() };
    if let Some(name) = spec.keys().find(|name| of.field(name).is_none()).or_else(|| values.keys().find(|name| !spec.contains_key(*name))) {
        return Err(key_error(name));
    }
    for (field, inner) in spec.iter().filter_map(|(name, inner)| Some((of.field(name)?, inner))) {
        let other = field.kind.relation().and_then(crate::demo::sandbox::schema::model);
        let nested = inner.get("fields").and_then(Value::as_object).into_iter().flat_map(Row::keys);
        if let Some(name) = other.and_then(|other| nested.into_iter().find(|name| other.field(name).is_none())) {
            return Err(key_error(name));
        }
    }
    if let Some(id) = ids.first() {
        return changes_of_existing(env, of, *id, values, spec);
    }
    let after = snapshot(env, of, values, spec)?;
    if field_names.is_empty() {
        return Ok(json!({"value": after}));
    }
    let earlier: Row = values.iter().filter(|(name, _)| !field_names.contains(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
    let before = snapshot(env, of, &earlier, spec)?;
    let changed: Row = after.into_iter().filter(|(name, value)| !field_names.contains(name) && before.get(name) != Some(value)).collect();
    Ok(json!({"value": changed}))
}

/// What a new record with `values` would hold.
fn snapshot(env: &mut Env<'_>, of: &'static Model, values: &Row, spec: &Row) -> Result<Row, Fault> {
    let savepoint = env.store.savepoint();
    let answer = if of.name == ORDER { order_snapshot(env, of, values, spec) } else { plain_snapshot(env, of, values, spec) };
    env.store.rollback_to(savepoint);
    answer
}

fn order_snapshot(env: &mut Env<'_>, of: &'static Model, values: &Row, spec: &Row) -> Result<Row, Fault> {
    let line_model = known(LINE)?;
    for line in values.get("order_line").and_then(Value::as_array).into_iter().flatten().filter_map(|command| command.get(2)?.as_object()) {
        if let Some(name) = line.keys().find(|name| line_model.field(name).is_none()) {
            return Err(Fault::value(format!("Invalid field '{name}' on model '{LINE}'")));
        }
    }
    let (order, lines) = create(env, values, Purpose::Preview)?;
    let mut answer = Row::new();
    for (name, inner) in spec {
        let Some(field) = of.field(name) else { continue };
        if name == "order_line" {
            let nested = inner.get("fields").and_then(Value::as_object).cloned().unwrap_or_default();
            let commands: Vec<Value> = lines.iter().map(|(line, virtual_id)| json!([0, virtual_id, line_values(env, line_model, *line, &nested)])).collect();
            if !commands.is_empty() {
                answer.insert(name.clone(), json!(commands));
            }
        } else if let Some(value) = new_value(env, of, order, field, inner) {
            answer.insert(name.clone(), value);
        }
    }
    Ok(answer)
}

fn line_values(env: &Env<'_>, line_model: &'static Model, line: i64, spec: &Row) -> Row {
    spec.iter().filter_map(|(name, inner)| Some((name.clone(), new_value(env, line_model, line, line_model.field(name)?, inner)?))).collect()
}

/// A value of a record that does not exist yet: no id, x2many as "link" commands, left out when empty.
fn new_value(env: &Env<'_>, of: &'static Model, id: i64, field: &Field, inner: &Value) -> Option<Value> {
    let value = match field.name {
        "id" => return None,
        _ => compute::value(env.store, of, id, field),
    };
    if !field.kind.is_x2many() {
        return Some(web_value(env.store, field, value, inner));
    }
    let ids = value.as_array().filter(|ids| !ids.is_empty())?;
    let nested = if inner.get("fields").is_some() { inner.clone() } else { json!({"fields": {}}) };
    let linked = web_value(env.store, field, json!(ids), &nested);
    Some(linked.as_array().into_iter().flatten().zip(ids).map(|(record, id)| json!([4, id, record])).collect())
}

fn plain_snapshot(env: &mut Env<'_>, of: &'static Model, values: &Row, spec: &Row) -> Result<Row, Fault> {
    let mut row = write::defaults(env, of);
    row.extend(write::coerce_all(env, of, values)?);
    let fields = spec.iter().filter_map(|(name, inner)| Some((of.field(name)?, inner)));
    let known = fields.filter(|(field, _)| !field.kind.is_x2many() && field.name != "id");
    Ok(known.map(|(field, inner)| (field.name.to_owned(), web_value(env.store, field, row.get(field.name).cloned().unwrap_or_else(|| field.kind.empty()), inner))).collect())
}

/// What writing `values` would change in a record that exists.
fn changes_of_existing(env: &mut Env<'_>, of: &'static Model, id: i64, values: &Row, spec: &Row) -> Result<Value, Fault> {
    let read = |env: &Env<'_>| -> Row {
        spec.iter().filter_map(|(name, inner)| of.field(name).map(|field| (name.clone(), web_value(env.store, field, compute::value(env.store, of, id, field), inner)))).collect()
    };
    let before = read(env);
    let savepoint = env.store.savepoint();
    let written = write::write(env, of, &[id], values);
    let after = read(env);
    env.store.rollback_to(savepoint);
    written?;
    let changed: Row = after.into_iter().filter(|(name, value)| !values.contains_key(name) && before.get(name) != Some(value)).collect();
    Ok(json!({"value": changed}))
}
