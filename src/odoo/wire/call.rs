//! One call of a model's method, and its arguments in the order that the older wires want them.

use serde_json::{Map, Value, json};

/// A call, independent of the wire.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) model: &'a str,
    pub(crate) method: &'a str,
    /// Records the method is called on; nothing for a method of the model itself.
    pub(crate) ids: Option<&'a [i64]>,
    /// Arguments by their Python names, without `context`.
    pub(crate) named: Map<String, Value>,
    pub(crate) context: Map<String, Value>,
}

/// A request body and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    /// Below the server's base URL, without a leading slash.
    pub(crate) path: String,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
    /// JSON-2 only: the database goes into a header and the secret into another.
    pub(crate) in_headers: bool,
}

/// Arguments that go by position over XML-RPC and JSON-RPC, because a series or a module's override names
/// them differently (`name_search`'s `args` became `domain`, `write`'s `vals` is sometimes `values`), or
/// because the server looks at the first one (`create` before 19).
const BY_POSITION: &[(&str, &[&str])] = &[
    ("create", &["vals_list"]),
    ("write", &["vals"]),
    ("search", &["domain"]),
    ("search_count", &["domain"]),
    ("search_read", &["domain", "fields"]),
    ("web_search_read", &["domain", "specification"]),
    ("read", &["fields"]),
    ("web_read", &["specification"]),
    ("web_save", &["vals", "specification"]),
    ("onchange", &["values", "field_names", "fields_spec"]),
    ("name_search", &["name", "domain"]),
    ("fields_get", &["allfields"]),
    ("default_get", &["fields"]),
    ("copy", &["default"]),
    ("has_access", &["operation"]),
    ("check_access_rights", &["operation", "raise_exception"]),
    ("load", &["fields", "data"]),
    ("read_group", &["domain", "fields", "groupby"]),
    ("formatted_read_group", &["domain", "groupby", "aggregates"]),
];

impl Call<'_> {
    /// The parameters of `execute_kw`, the same over XML-RPC and JSON-RPC.
    pub(crate) fn execute_kw(&self, database: &str, uid: i64, secret: &str) -> [Value; 7] {
        let (args, named) = self.positional();
        [json!(database), json!(uid), json!(secret), json!(self.model), json!(self.method), Value::Array(args), Value::Object(named)]
    }

    /// `args` and `kwargs` of `execute_kw`.
    fn positional(&self) -> (Vec<Value>, Map<String, Value>) {
        let mut args = Vec::new();
        if let Some(ids) = self.ids {
            args.push(Value::from(ids));
        }
        let mut named = self.named.clone();
        let order = BY_POSITION.iter().find(|(method, _)| *method == self.method).map_or(&[][..], |(_, order)| order);
        for name in order {
            match named.shift_remove(*name) {
                Some(value) => args.push(value),
                None => break,
            }
        }
        if !self.context.is_empty() {
            named.insert("context".to_owned(), Value::Object(self.context.clone()));
        }
        (args, named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_arguments_go_by_position() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        for (method, ids, named, args, kwargs) in [
            ("create", None, json!({"vals_list": [{"name": "x"}]}), json!([[{"name": "x"}]]), json!({"context": {"lang": "es_DO"}})),
            ("write", Some(&[5, 6][..]), json!({"vals": {"a": 1}}), json!([[5, 6], {"a": 1}]), json!({"context": {"lang": "es_DO"}})),
            ("onchange", Some(&[][..]), json!({"fields_spec": {"a": {}}, "values": {}, "field_names": []}), json!([[], {}, [], {"a": {}}]), json!({"context": {"lang": "es_DO"}})),
            // A hole ends the positions: what comes after it keeps its name.
            ("search_read", None, json!({"fields": ["name"], "limit": 2}), json!([]), json!({"fields": ["name"], "limit": 2, "context": {"lang": "es_DO"}})),
            ("action_confirm", Some(&[1][..]), json!({}), json!([[1]]), json!({"context": {"lang": "es_DO"}})),
        ] {
            let call = Call { model: "m", method, ids, named: object(named), context: object(json!({"lang": "es_DO"})) };
            assert_eq!(call.positional(), (args.as_array().cloned().unwrap(), object(kwargs)), "{method}");
        }
    }
}
