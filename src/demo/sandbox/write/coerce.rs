//! Values checked against their fields and brought into the form they are stored in. What does not fit fails with the
//! exception that Python or the database would raise.

use chrono::{NaiveDate, NaiveDateTime};
use serde_json::{Value, json};

use crate::demo::sandbox::call::Env;
use crate::demo::sandbox::fault::{Fault, py_repr};
use crate::demo::sandbox::portal;
use crate::demo::sandbox::schema::{Field, Kind, Model};
use crate::demo::sandbox::store::Row;

/// The longest text a field takes; Odoo has no limit, a sandbox has.
const TEXT_CHARS_MAX: usize = 100_000;

/// The largest number a field takes: quantity times price still fits a decimal of 96 bits.
const AMOUNT_MAX: f64 = 1e12;

/// Values as they are stored: computed fields and one2many commands left out.
///
/// # Errors
/// An unknown field or a value that does not fit.
pub(in crate::demo::sandbox) fn coerce_all(env: &Env<'_>, of: &'static Model, values: &Row) -> Result<Row, Fault> {
    let mut row = Row::new();
    for (name, value) in values {
        let field = of.field(name).ok_or_else(|| Fault::value(format!("Invalid field '{name}' in '{}'", of.name)))?;
        if (of.name, field.name) == ("res.partner", "company_type") {
            row.insert("is_company".to_owned(), json!(value == "company"));
        }
        if !field.computed && field.name != "id" && !matches!(field.kind, Kind::One2many(..)) {
            row.insert(name.clone(), coerce(env, of, field, value)?);
        }
    }
    Ok(row)
}

fn coerce(env: &Env<'_>, of: &Model, field: &Field, value: &Value) -> Result<Value, Fault> {
    if matches!(value, Value::Null | Value::Bool(false)) {
        return Ok(field.kind.empty());
    }
    Ok(match field.kind {
        Kind::Boolean => json!(!matches!(value, Value::Number(number) if number.as_f64() == Some(0.0)) && value != &json!("")),
        Kind::Integer => json!(integer(value)?),
        Kind::Float | Kind::Monetary => json!(float(value)?),
        Kind::Char | Kind::Text => json!(short(as_text(value))?),
        Kind::Html => json!(short(as_html(&as_text(value)))?),
        Kind::Selection(options) => {
            let chosen = as_text(value);
            if !options.iter().any(|(key, _)| *key == chosen) {
                return Err(Fault::value(format!("Wrong value for {}.{}: {}", of.name, field.name, py_repr(value))));
            }
            json!(chosen)
        }
        Kind::Date => {
            let day: String = as_text(value).chars().take(10).collect();
            NaiveDate::parse_from_str(&day, "%Y-%m-%d").map_err(|_| Fault::value(format!("time data '{day}' does not match format '%Y-%m-%d'")))?;
            json!(day)
        }
        Kind::Datetime => {
            let moment = as_text(value);
            let full = if moment.len() == 10 { format!("{moment} 00:00:00") } else { moment.clone() };
            NaiveDateTime::parse_from_str(&full, "%Y-%m-%d %H:%M:%S").map_err(|_| Fault::value(format!("time data '{moment}' does not match format '%Y-%m-%d %H:%M:%S'")))?;
            json!(full)
        }
        Kind::Many2one(other) => match value.as_i64() {
            Some(0) => json!(false),
            Some(id) if env.store.get(other, id).is_some() => json!(id),
            Some(id) if of.name.starts_with("sale.") => return Err(Fault::missing(other, id, env.uid)),
            Some(_) => return Err(dangling(of, field)),
            None => {
                return Err(Fault::Python {
                    class: "psycopg2.errors.InvalidTextRepresentation",
                    message: format!("invalid input syntax for type integer: \"{}\"\n", as_text(value)),
                });
            }
        },
        Kind::Many2many(other) => json!(many2many(env, other, value)?),
        Kind::One2many(..) => json!([]),
    })
}

fn dangling(of: &Model, field: &Field) -> Fault {
    Fault::Validation(format!(
        "The operation cannot be completed: Another model is using the record you are trying to delete.\n\nThe troublemaker is: '{}' ({})\nThanks to the following constraint: '{}' ({})\nHow about archiving the \
         record instead?",
        of.label, of.name, field.label, field.name
    ))
}

fn many2many(env: &Env<'_>, other: &str, value: &Value) -> Result<Vec<i64>, Fault> {
    let mut chosen: Vec<i64> = Vec::new();
    for item in value.as_array().into_iter().flatten() {
        let numbers = |at: usize| item.get(at).and_then(Value::as_i64);
        match (item.as_i64(), numbers(0)) {
            (Some(id), _) => chosen.push(id),
            (None, Some(4)) => chosen.extend(numbers(1)),
            (None, Some(5)) => chosen.clear(),
            (None, Some(6)) => {
                chosen = item.get(2).and_then(Value::as_array).map(|ids| ids.iter().filter_map(Value::as_i64).collect()).unwrap_or_default();
            }
            _ => {}
        }
    }
    match chosen.iter().find(|id| env.store.get(other, **id).is_none()) {
        Some(id) => Err(Fault::missing(other, *id, env.uid)),
        None => Ok(chosen),
    }
}

fn integer(value: &Value) -> Result<i64, Fault> {
    let number = match value {
        Value::String(text) => text.trim().parse().map_err(|_| Fault::value(format!("invalid literal for int() with base 10: '{text}'")))?,
        // Python's int() cuts the fraction off; a number beyond 64 bits does not parse and is refused below.
        other => other.as_i64().or_else(|| format!("{:.0}", other.as_f64()?.trunc()).parse().ok()).unwrap_or(if other.is_number() { i64::MAX } else { 1 }),
    };
    if i32::try_from(number).is_err() {
        return Err(Fault::Python { class: "psycopg2.errors.NumericValueOutOfRange", message: "integer out of range\n".to_owned() });
    }
    Ok(number)
}

fn float(value: &Value) -> Result<f64, Fault> {
    match value {
        Value::String(text) => {
            text.trim().parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| Fault::value(format!("could not convert string to float: '{text}'")))
        }
        other => Ok(other.as_f64().unwrap_or(1.0)),
    }
    .and_then(|number| {
        let fits = number.abs() < AMOUNT_MAX;
        if fits { Ok(number) } else { Err(Fault::Python { class: "psycopg2.errors.NumericValueOutOfRange", message: "numeric field overflow\n".to_owned() }) }
    })
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| py_repr(value), str::to_owned)
}

fn short(text: String) -> Result<String, Fault> {
    if text.chars().count() > TEXT_CHARS_MAX { Err(Fault::User(format!("The sandbox takes at most {TEXT_CHARS_MAX} characters in a field."))) } else { Ok(text) }
}

/// Odoo wraps plain text in a paragraph.
fn as_html(text: &str) -> String {
    if text.trim_start().starts_with('<') { text.to_owned() } else { format!("<p>{}</p>", portal::escape(text)) }
}
