//! One condition against one record.

use serde_json::Value;

use super::Test;
use crate::demo::sandbox::compute;
use crate::demo::sandbox::fault::Fault;
use crate::demo::sandbox::schema::{Field, Kind, Model, model};
use crate::demo::sandbox::store::Store;

/// How far `child_of` climbs: a loop in the sample would otherwise never end.
const ANCESTORS_MAX: usize = 32;

/// What Odoo or its database refuses before looking at any record.
///
/// # Errors
/// A text where an id belongs; too short a telephone number.
pub(super) fn check(field: &Field, operator: &str, value: &Value) -> Result<(), Fault> {
    if field.name == "phone_mobile_search" && value.as_str().is_some_and(|text| text.chars().count() < 3) {
        return Err(Fault::User("Escribe al menos 3 caracteres al buscar un número telefónico.".to_owned()));
    }
    if field.kind == Kind::Integer && matches!(operator, "=" | "!=" | "in" | "not in" | "<" | "<=" | ">" | ">=") {
        let items = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
        if let Some(text) = items.iter().filter_map(Value::as_str).find(|text| text.trim().parse::<i64>().is_err()) {
            return Err(Fault::Python { class: "psycopg2.errors.InvalidTextRepresentation", message: format!("invalid input syntax for type integer: \"{text}\"\n") });
        }
    }
    Ok(())
}

/// Whether the record fits the leaf.
pub(super) fn leaf(store: &Store, of: &Model, field: &Field, test: &Test, id: i64) -> bool {
    let held = compute::value(store, of, id, field);
    match test {
        Test::Any(inner) => ids(&held).into_iter().any(|related| inner.matches(store, related)),
        Test::Compare { operator, value } => compare(store, of, field, operator, &held, value, id),
    }
}

fn compare(store: &Store, of: &Model, field: &Field, operator: &str, held: &Value, value: &Value, id: i64) -> bool {
    match operator {
        "=" | "==" => equals(store, field, held, value),
        "!=" | "<>" => !equals(store, field, held, value),
        "=?" => matches!(value, Value::Null | Value::Bool(false)) || equals(store, field, held, value),
        "in" => any_equal(store, field, held, value),
        "not in" => !any_equal(store, field, held, value),
        ">" | ">=" | "<" | "<=" => ordered(operator, held, value),
        "child_of" => related_by_descent(store, of, field, held, value, id, true),
        "parent_of" => related_by_descent(store, of, field, held, value, id, false),
        _ => like(store, field, operator, held, value),
    }
}

fn any_equal(store: &Store, field: &Field, held: &Value, value: &Value) -> bool {
    match value.as_array() {
        Some(items) => items.iter().any(|item| equals(store, field, held, item)),
        None => equals(store, field, held, value),
    }
}

fn equals(store: &Store, field: &Field, held: &Value, value: &Value) -> bool {
    let empty_asked = matches!(value, Value::Null | Value::Bool(false));
    if let Some(other) = field.kind.relation() {
        let related = ids(held);
        return match value {
            _ if empty_asked => related.is_empty(),
            Value::String(name) => related.iter().any(|id| compute::display_name(store, other, *id) == *name),
            _ => value.as_i64().is_some_and(|wanted| related.contains(&wanted)),
        };
    }
    match field.kind {
        Kind::Boolean => truthy(held) == truthy(value),
        Kind::Integer | Kind::Float | Kind::Monetary => number(held) == if empty_asked { Some(0.0) } else { number(value) },
        _ if empty_asked => !truthy(held),
        _ if field.name == "phone_mobile_search" => held.as_str() == Some(compute::digits(value.as_str().unwrap_or_default()).as_str()),
        _ => held == value || (!truthy(held) && value == ""),
    }
}

fn ordered(operator: &str, held: &Value, value: &Value) -> bool {
    let ordering = match (held, value) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => number(held).zip(number(value)).and_then(|(left, right)| left.partial_cmp(&right)),
    };
    ordering.is_some_and(|ordering| match operator {
        ">" => ordering.is_gt(),
        ">=" => ordering.is_ge(),
        "<" => ordering.is_lt(),
        _ => ordering.is_le(),
    })
}

fn like(store: &Store, field: &Field, operator: &str, held: &Value, value: &Value) -> bool {
    let pattern = match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) => String::new(),
        other => other.to_string(),
    };
    let pattern = if field.name == "phone_mobile_search" { compute::digits(&pattern) } else { pattern };
    let (negative, operator) = operator.strip_prefix("not ").map_or((false, operator), |rest| (true, rest));
    let (whole, operator) = operator.strip_prefix('=').map_or((false, operator), |rest| (true, rest));
    if pattern.is_empty() && !whole {
        return !negative;
    }
    let texts: Vec<String> = match (field.kind.relation(), held) {
        (Some(other), _) => ids(held).into_iter().map(|id| compute::display_name(store, other, id)).collect(),
        (None, Value::String(text)) => vec![text.clone()],
        (None, Value::Number(number)) => vec![number.to_string()],
        _ => Vec::new(),
    };
    let fold = |text: &str| if operator == "ilike" { text.to_lowercase() } else { text.to_owned() };
    let pattern = if whole { fold(&pattern) } else { format!("%{}%", fold(&pattern)) };
    texts.iter().any(|text| like_match(&fold(text), &pattern)) != negative
}

/// SQL's LIKE: `%` is any text, `_` one character, a backslash makes the next one plain.
fn like_match(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    let (mut at, mut wanted) = (0, 0);
    // Where to come back to when what follows the last `%` does not fit: one more character for it.
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        let (plain, symbol) = match pattern.get(wanted) {
            Some('\\') => (2, pattern.get(wanted + 1)),
            other => (1, other),
        };
        match symbol {
            Some('%') if plain == 1 => {
                retry = Some((wanted + 1, at));
                wanted += 1;
            }
            Some(symbol) if *symbol == text[at] || (*symbol == '_' && plain == 1) => {
                at += 1;
                wanted += plain;
            }
            _ => match retry {
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    at = from + 1;
                    wanted = after;
                }
                None => return false,
            },
        }
    }
    pattern[wanted.min(pattern.len())..].iter().all(|symbol| *symbol == '%')
}

fn related_by_descent(store: &Store, of: &Model, field: &Field, held: &Value, value: &Value, id: i64, down: bool) -> bool {
    let (tree, starts) = match field.kind.relation() {
        Some(other) => (other, ids(held)),
        None => (of.name, vec![id]),
    };
    let wanted: Vec<i64> = match value {
        Value::String(name) => store.ids(tree).into_iter().filter(|other| compute::display_name(store, tree, *other).to_lowercase().contains(&name.to_lowercase())).collect(),
        other => ids(other),
    };
    let parents = |start: i64| ancestors(store, tree, start);
    if down {
        starts.into_iter().any(|start| parents(start).iter().any(|ancestor| wanted.contains(ancestor)))
    } else {
        wanted.into_iter().any(|target| parents(target).iter().any(|ancestor| starts.contains(ancestor)))
    }
}

/// The record itself and everything above it.
fn ancestors(store: &Store, tree: &str, start: i64) -> Vec<i64> {
    let has_parent = model(tree).is_some_and(|found| found.field("parent_id").is_some());
    let next = |id: &i64| if has_parent { store.raw(tree, *id, "parent_id").as_i64() } else { None };
    std::iter::successors(Some(start), next).take(ANCESTORS_MAX).collect()
}

/// The ids in a relation's value.
fn ids(value: &Value) -> Vec<i64> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_i64).collect(),
        other => other.as_i64().into_iter().collect(),
    }
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(answer) => *answer,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(_) => true,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(false) => Some(0.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::like_match;

    #[test]
    fn like_patterns() {
        for (text, pattern, fits) in [
            ("abc", "%", true),
            ("", "%", true),
            ("", "_", false),
            ("abc", "a%c", true),
            ("abcabd", "%ab_", true),
            ("abcab", "%ab_", false),
            ("aaaaab", "%a%a%b", true),
            ("50%", "50\\%", true),
            ("50x", "50\\%", false),
            ("ñandú", "_and_", true),
            ("abc", "abc%%", true),
            ("abc", "ab", false),
        ] {
            assert_eq!(like_match(text, pattern), fits, "{text} like {pattern}");
        }
    }
}
