//! Odoo's search domains: read, checked against the model's fields, and applied to records. Prefix notation with
//! `&`, `|` and `!`; a field path may lead through relations. Texts compare as the database's plain `ilike`: case does not
//! matter, accents do.

mod apply;

use serde_json::{Value, json};

use super::fault::{Fault, py_repr};
use super::schema::{Field, Model, model};
use super::store::Store;

/// How deep a path or a domain inside a domain may go: the callers' need one or two.
const DEPTH_MAX: usize = 8;

/// How many items one domain may have: an order of fifty lines in words makes about a thousand.
const ITEMS_MAX: usize = 10_000;

/// How deep `&`, `|` and `!` may stand inside each other; chains of one operator count once.
const NESTING_MAX: usize = 64;

const OPERATORS: &[&str] = &[
    "=",
    "!=",
    "<>",
    "==",
    ">",
    ">=",
    "<",
    "<=",
    "in",
    "not in",
    "like",
    "ilike",
    "not like",
    "not ilike",
    "=like",
    "=ilike",
    "not =like",
    "not =ilike",
    "=?",
    "child_of",
    "parent_of",
    "any",
    "not any",
];

/// A domain that names only fields that exist.
#[derive(Debug)]
pub(super) enum Domain {
    Always(bool),
    And(Vec<Domain>),
    Or(Vec<Domain>),
    Not(Box<Domain>),
    Leaf { model: &'static Model, field: &'static Field, test: Test },
}

/// What a leaf asks of its field.
#[derive(Debug)]
pub(super) enum Test {
    Compare {
        operator: &'static str,
        value: Value,
    },
    /// One of the related records fits.
    Any(Box<Domain>),
}

impl Domain {
    /// Reads a domain for `of`.
    ///
    /// # Errors
    /// `ValueError` or `TypeError` with Odoo's text for a malformed domain, an unknown field or operator.
    pub(super) fn parse(of: &'static Model, value: &Value) -> Result<Domain, Fault> {
        parse(of, value, 0)
    }

    /// Odoo hides archived records unless the domain itself speaks of `active`.
    pub(super) fn mentions_active(&self) -> bool {
        match self {
            Domain::Always(_) => false,
            Domain::And(parts) | Domain::Or(parts) => parts.iter().any(Domain::mentions_active),
            Domain::Not(inner) => inner.mentions_active(),
            Domain::Leaf { field, .. } => field.name == "active",
        }
    }

    /// Whether a record fits.
    pub(super) fn matches(&self, store: &Store, id: i64) -> bool {
        match self {
            Domain::Always(answer) => *answer,
            Domain::And(parts) => parts.iter().all(|part| part.matches(store, id)),
            Domain::Or(parts) => parts.iter().any(|part| part.matches(store, id)),
            Domain::Not(inner) => !inner.matches(store, id),
            Domain::Leaf { model, field, test } => apply::leaf(store, model, field, test, id),
        }
    }
}

fn parse(of: &'static Model, value: &Value, depth: usize) -> Result<Domain, Fault> {
    let Some(items) = value.as_array() else {
        return match value {
            Value::Null | Value::Bool(_) => Ok(Domain::Always(true)),
            other => Err(Fault::Python { class: "builtins.TypeError", message: format!("Domain() invalid argument type for domain: {}", py_repr(other)) }),
        };
    };
    if depth > DEPTH_MAX || items.len() > ITEMS_MAX {
        return Err(Fault::value(format!("Domain() malformed domain {}", py_repr(value))));
    }
    // From the end: operators take their operands from the stack; what is left over is joined by "and".
    let malformed = || Fault::value(format!("Domain() malformed domain {}", py_repr(value)));
    let mut stack: Vec<Part> = Vec::new();
    for item in items.iter().rev() {
        let part = match item.as_str() {
            Some("!") => {
                let inner = stack.pop().ok_or_else(malformed)?;
                Part { domain: Domain::Not(Box::new(inner.domain)), nesting: inner.nesting + 1 }
            }
            Some(operator @ ("&" | "|")) => {
                let (left, right) = (stack.pop().ok_or_else(malformed)?, stack.pop().ok_or_else(malformed)?);
                join(operator == "&", left, right)
            }
            _ => Part { domain: parse_leaf(of, item, depth)?, nesting: 0 },
        };
        // Checked at every step: what is deeper is never built, so that it never has to be walked or dropped.
        if part.nesting > NESTING_MAX {
            return Err(malformed());
        }
        stack.push(part);
    }
    let whole = stack.pop().unwrap_or(Part { domain: Domain::Always(true), nesting: 0 });
    Ok(stack.into_iter().fold(whole, |whole, next| join(true, whole, next)).domain)
}

/// A domain on its way, and how deep it is by now.
struct Part {
    domain: Domain,
    nesting: usize,
}

/// Both or either of two. A chain of one operator becomes one list, so that long domains stay flat.
fn join(both: bool, left: Part, right: Part) -> Part {
    let is_list = |part: &Part| matches!((&part.domain, both), (Domain::And(_), true) | (Domain::Or(_), false));
    let (list, other) = if is_list(&left) { (left, right) } else { (right, left) };
    let nesting = (list.nesting + usize::from(!is_list(&list))).max(other.nesting + 1);
    let mut parts = match list.domain {
        Domain::And(parts) if both => parts,
        Domain::Or(parts) if !both => parts,
        single => vec![single],
    };
    // The order of the parts does not matter to the answer.
    parts.push(other.domain);
    Part { domain: if both { Domain::And(parts) } else { Domain::Or(parts) }, nesting }
}

fn parse_leaf(of: &'static Model, item: &Value, depth: usize) -> Result<Domain, Fault> {
    let invalid = || Fault::value(format!("Domain() invalid item in domain: {}", py_repr(item)));
    let Some([left, Value::String(operator), value]) = item.as_array().map(Vec::as_slice) else { return Err(invalid()) };
    // The two constants that Odoo writes for "all" and "none".
    if let (Some(one), "=") = (left.as_i64(), operator.as_str()) {
        return Ok(Domain::Always(value.as_i64() == Some(one)));
    }
    let path = left.as_str().ok_or_else(invalid)?;
    let (name, rest) = path.split_once('.').map_or((path, None), |(head, tail)| (head, Some(tail)));
    let condition = || format!("({}, {}, {})", py_repr(left), py_repr(&json!(operator)), py_repr(value));
    let field = of.field(name).ok_or_else(|| Fault::value(format!("Invalid field {}.{name} in condition {}", of.name, condition())))?;
    let lower = operator.to_lowercase();
    let known = OPERATORS.iter().copied().find(|known| *known == lower).ok_or_else(|| Fault::value(format!("Invalid operator in condition {}", condition())))?;
    let related = || field.kind.relation().and_then(model).ok_or_else(|| Fault::value(format!("Invalid field {}.{path} in condition {}", of.name, condition())));
    let test = match (rest, known) {
        (Some(tail), _) => Test::Any(Box::new(parse(related()?, &json!([[tail, operator, value]]), depth + 1)?)),
        (None, "any") => Test::Any(Box::new(parse(related()?, value, depth + 1)?)),
        (None, "not any") => {
            let inner = Test::Any(Box::new(parse(related()?, value, depth + 1)?));
            return Ok(Domain::Not(Box::new(Domain::Leaf { model: of, field, test: inner })));
        }
        (None, operator) => {
            apply::check(field, operator, value)?;
            Test::Compare { operator, value: value.clone() }
        }
    };
    Ok(Domain::Leaf { model: of, field, test })
}

#[cfg(test)]
mod tests;
