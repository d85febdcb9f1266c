//! Reading: searching with order and limits, the classic shape (`[id, name]` for a relation) and the web shape
//! (a specification, relations as objects).

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::call::{Env, require};
use super::compute;
use super::domain::Domain;
use super::fault::Fault;
use super::schema::{Field, Kind, Model, model};
use super::store::{Row, Store};

/// How deep a specification may go into relations.
const SPECIFICATION_DEPTH_MAX: usize = 6;

/// Which records to give, and how many.
#[derive(Debug, Default)]
pub(super) struct Page<'a> {
    pub(super) offset: usize,
    pub(super) limit: Option<usize>,
    pub(super) order: Option<&'a str>,
}

/// All ids that fit, in order, without the page's limits.
///
/// # Errors
/// The model may not be read; the domain or the order is malformed.
pub(super) fn search(env: &Env<'_>, of: &'static Model, domain: &Value, order: Option<&str>) -> Result<Vec<i64>, Fault> {
    require(of, "read")?;
    let domain = Domain::parse(of, domain)?;
    let keys = sort_keys(of, order.filter(|text| !text.trim().is_empty()).unwrap_or(of.order))?;
    let hide_archived = of.field("active").is_some() && env.context.get("active_test") != Some(&json!(false)) && !domain.mentions_active();
    let mut found: Vec<i64> = env
        .store
        .rows(of.name)
        .filter(|(_, row)| !hide_archived || row.get("active") != Some(&json!(false)))
        .filter(|(id, _)| domain.matches(env.store, *id))
        .map(|(id, _)| id)
        .collect();
    // The key of each record is made once: a computed name is not free.
    let mut keyed: Vec<(Vec<Value>, i64)> = found.drain(..).map(|id| (keys.iter().map(|(field, _)| sort_value(env.store, of, field, id)).collect(), id)).collect();
    keyed.sort_by(|(left, left_id), (right, right_id)| {
        let by_keys = keys.iter().zip(left.iter().zip(right)).map(|((_, descending), (a, b))| if *descending { compare(b, a) } else { compare(a, b) });
        by_keys.fold(Ordering::Equal, Ordering::then).then(left_id.cmp(right_id))
    });
    Ok(keyed.into_iter().map(|(_, id)| id).collect())
}

impl Page<'_> {
    /// The part of `ids` that is asked for.
    pub(super) fn cut(&self, ids: &[i64]) -> Vec<i64> {
        ids.iter().copied().skip(self.offset).take(self.limit.unwrap_or(usize::MAX)).collect()
    }
}

fn sort_keys(of: &'static Model, order: &str) -> Result<Vec<(&'static Field, bool)>, Fault> {
    let invalid = || {
        Fault::User(format!(
            "Invalid \"order\" specified ({order}). A valid \"order\" specification is a comma-separated list of valid field names (optionally followed by asc/desc for the direction)"
        ))
    };
    let mut keys = Vec::new();
    for part in order.split(',') {
        let mut words = part.split_whitespace();
        let name = words.next().ok_or_else(invalid)?;
        let descending = match words.next().map(str::to_lowercase).as_deref() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(invalid()),
        };
        // "nulls first|last" may follow; the sandbox puts empty values last, like the real database ascending.
        let field = of.field(name).ok_or_else(|| Fault::value(format!("Invalid field '{name}' on model '{}'", of.name)))?;
        keys.push((field, descending));
    }
    Ok(keys)
}

fn sort_value(store: &Store, of: &Model, field: &Field, id: i64) -> Value {
    match compute::value(store, of, id, field) {
        Value::String(text) => json!(text.to_lowercase()),
        Value::Number(related) if matches!(field.kind, Kind::Many2one(_)) => {
            related.as_i64().map_or(json!(false), |other| json!(field.kind.relation().map(|name| compute::display_name(store, name, other))))
        }
        value => value,
    }
}

fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        // Empty after full.
        (Value::Bool(false) | Value::Null, _) => Ordering::Greater,
        (_, Value::Bool(false) | Value::Null) => Ordering::Less,
        _ => Ordering::Equal,
    }
}

/// `read`: many2one as `[id, name]` (or the id alone with `load=""`); records that are gone are left out.
///
/// # Errors
/// The model may not be read; an unknown field; no fields where Odoo 19 refuses that.
pub(super) fn classic(env: &Env<'_>, of: &'static Model, ids: &[i64], fields: Option<&[String]>, with_names: bool) -> Result<Vec<Value>, Fault> {
    require(of, "read")?;
    let fields: Vec<&Field> = match fields.filter(|names| !names.is_empty()) {
        Some(names) => names.iter().map(|name| known(of, name)).collect::<Result<_, _>>()?,
        None if matches!(of.name, "res.partner" | "res.users") => return Err(unreadable_field(of)),
        None => of.fields().collect(),
    };
    let one = |id: &i64| {
        let mut record = Row::new();
        record.insert("id".into(), json!(id));
        for field in &fields {
            let value = match (compute::value(env.store, of, *id, field), field.kind) {
                (Value::Number(other), Kind::Many2one(relation)) if with_names => {
                    let other = other.as_i64().unwrap_or_default();
                    json!([other, compute::display_name(env.store, relation, other)])
                }
                (value, _) => value,
            };
            record.insert(field.name.into(), value);
        }
        Value::Object(record)
    };
    Ok(ids.iter().filter(|id| env.store.get(of.name, **id).is_some()).map(one).collect())
}

/// In Odoo 19 a user who is no administrator cannot read "everything" of these two: one of the fields is forbidden.
fn unreadable_field(of: &Model) -> Fault {
    let (field, label, other) =
        if of.name == "res.users" { ("log_ids", "Users Log", "res.users.log") } else { ("rtc_session_ids", "Mail RTC session", "discuss.channel.rtc.session") };
    Fault::Access(format!(
        "Failed to read field {}.{field}\nNo puede acceder a los registros '{label}' ({other}).\n\nEsta operación está permitida para los siguientes grupos:\n\t- Role / \
         Administrator\n\nPóngase en contacto con su administrador para solicitar acceso si es necesario.",
        of.name
    ))
}

fn known(of: &'static Model, name: &str) -> Result<&'static Field, Fault> {
    of.field(name).ok_or_else(|| Fault::value(format!("Invalid field '{name}' on '{}'", of.name)))
}

/// `web_read`: exactly the specification, relations as asked; records that are gone are left out.
///
/// # Errors
/// The model may not be read; an unknown field.
pub(super) fn web(env: &Env<'_>, of: &'static Model, ids: &[i64], specification: &Row) -> Result<Vec<Value>, Fault> {
    require(of, "read")?;
    check_specification(of, specification, 0)?;
    Ok(ids.iter().filter(|id| env.store.get(of.name, **id).is_some()).map(|id| web_record(env.store, of, *id, specification)).collect())
}

fn check_specification(of: &'static Model, specification: &Row, depth: usize) -> Result<(), Fault> {
    if depth > SPECIFICATION_DEPTH_MAX {
        return Err(Fault::User("The specification goes too deep.".to_owned()));
    }
    for (name, inner) in specification {
        let field = known(of, name)?;
        if let (Some(nested), Some(other)) = (inner.get("fields").and_then(Value::as_object), field.kind.relation().and_then(model)) {
            check_specification(other, nested, depth + 1)?;
        }
    }
    Ok(())
}

/// One record in the web shape; the specification is checked already, unknown names are passed over.
pub(super) fn web_record(store: &Store, of: &'static Model, id: i64, specification: &Row) -> Value {
    let mut record = Row::new();
    record.insert("id".into(), json!(id));
    for (name, inner) in specification {
        if let Some(field) = of.field(name) {
            record.insert(name.clone(), web_value(store, field, compute::value(store, of, id, field), inner));
        }
    }
    Value::Object(record)
}

/// One value in the web shape.
pub(super) fn web_value(store: &Store, field: &Field, value: Value, inner: &Value) -> Value {
    let (Some(fields), Some(other)) = (inner.get("fields").and_then(Value::as_object), field.kind.relation().and_then(model)) else {
        return value;
    };
    match value {
        Value::Number(id) => id.as_i64().map_or(json!(false), |id| web_record(store, other, id, fields)),
        Value::Array(ids) => {
            let limit = inner.get("limit").and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
            let shown = |(at, id): (usize, &Value)| match id.as_i64() {
                // Beyond the limit only the ids are given.
                Some(id) if at < limit => web_record(store, other, id, fields),
                _ => json!({"id": id}),
            };
            Value::Array(ids.iter().enumerate().map(shown).collect())
        }
        empty => empty,
    }
}
