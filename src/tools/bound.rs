//! What a result may weigh. An Odoo is chosen by its tenant: what it calls a name may be megabytes, and what it calls one line fifty
//! thousand. An answer goes to a model, twice, and that of a write into our database: none of them is meant for that.

use serde_json::Value;

/// Longest text in a result, characters.
pub(super) const TEXT_CHARS_MAX: usize = 4_000;
/// Longest list in a result.
pub(super) const ITEMS_MAX: usize = 500;
/// What a result may weigh, bytes; see [`weight`].
pub(super) const RESULT_BYTES_MAX: usize = 256 * 1024;

/// Cuts texts and lists.
pub(super) fn cut(value: &mut Value, text_chars_max: usize, items_max: usize) {
    match value {
        Value::String(text) => {
            if text.len() > text_chars_max
                && let Some((at, _)) = text.char_indices().nth(text_chars_max)
            {
                text.truncate(at);
                text.push('…');
            }
        }
        Value::Array(items) => {
            items.truncate(items_max);
            items.iter_mut().for_each(|item| cut(item, text_chars_max, items_max));
        }
        Value::Object(members) => members.values_mut().for_each(|member| cut(member, text_chars_max, items_max)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// About how many bytes it takes as JSON.
pub(super) fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 3,
        Value::Array(items) => 2 + items.iter().map(weight).sum::<usize>(),
        Value::Object(members) => 2 + members.iter().map(|(name, member)| name.len() + 4 + weight(member)).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_and_lists_are_cut_where_they_are_too_long() {
        let mut value = json!({ "a": "ñandú", "b": [1, 2, 3], "c": { "d": "0123456" } });
        cut(&mut value, 5, 2);
        assert_eq!(value, json!({ "a": "ñandú", "b": [1, 2], "c": { "d": "01234…" } }));
    }

    #[test]
    fn the_weight_is_about_the_length() {
        for value in [json!("ñandú"), json!([]), json!({ "total": 4, "clientes": [{ "nombre": "Pérez", "cliente_id": 12 }] }), json!(vec!["x"; 1_000])] {
            let length = value.to_string().len();
            assert!((length / 2..=length * 2 + 8).contains(&weight(&value)), "{value}: {length} {}", weight(&value));
        }
    }
}
