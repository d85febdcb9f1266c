//! What goes wrong inside the sandbox, as Odoo would name it. Each wire writes a [`Fault`] in its own words:
//! `json2` as a status and a body, `rpc` as a fault code or a JSON-RPC error.

use serde_json::Value;

/// One failure, with the text Odoo 19 gives (Spanish where Odoo translates it for a user in `es_DO`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// `AccessError`: rights, companies, private methods.
    Access(String),
    /// `AccessDenied`: wrong credentials in an RPC call.
    Denied,
    /// `MissingError`: the record is not there (any more).
    Missing(String),
    /// `UserError`: the business rule says no.
    User(String),
    /// `ValidationError`: a constraint of the model or of the database.
    Validation(String),
    /// The model does not exist.
    NoModel(String),
    /// The method does not exist: `model.method`.
    NoMethod(String),
    /// A call that does not fit the method: JSON-2 checks it before the call, the RPC wires let Python fail.
    Arguments { json2: String, python: String },
    /// Any other Python exception, by its full class name.
    Python { class: &'static str, message: String },
}

impl Fault {
    /// `ValueError`, the usual one for an unknown field or a malformed domain.
    pub(super) fn value(message: impl Into<String>) -> Fault {
        Fault::Python { class: "builtins.ValueError", message: message.into() }
    }

    /// A record that is not there.
    pub(super) fn missing(model: &str, id: i64, uid: i64) -> Fault {
        Fault::Missing(format!("Record does not exist or has been deleted.\n(Record: {model}({id},), User: {uid})"))
    }

    /// The full class name, as JSON-2 and JSON-RPC give it.
    pub(super) fn class(&self) -> &'static str {
        match self {
            Fault::Access(_) => "odoo.exceptions.AccessError",
            Fault::Denied => "odoo.exceptions.AccessDenied",
            Fault::Missing(_) => "odoo.exceptions.MissingError",
            Fault::User(_) | Fault::NoModel(_) => "odoo.exceptions.UserError",
            Fault::Validation(_) => "odoo.exceptions.ValidationError",
            Fault::NoMethod(_) => "builtins.AttributeError",
            Fault::Arguments { .. } => "builtins.TypeError",
            Fault::Python { class, .. } => class,
        }
    }

    /// The text, as the RPC wires give it.
    pub(super) fn message(&self) -> String {
        match self {
            Fault::Access(text) | Fault::Missing(text) | Fault::User(text) | Fault::Validation(text) => text.clone(),
            Fault::Denied => "Access Denied".to_owned(),
            Fault::NoModel(model) => format!("Object {model} doesn't exist"),
            Fault::NoMethod(name) => format!("The method '{name}' does not exist"),
            Fault::Arguments { python, .. } => python.clone(),
            Fault::Python { message, .. } => message.clone(),
        }
    }

    /// A traceback of the usual shape: callers must find the cause in its last line, as with the real one.
    pub(super) fn traceback(&self) -> String {
        let class = self.class();
        // Python prints built-in exceptions without their module.
        let printed = class.strip_prefix("builtins.").unwrap_or(class);
        format!(
            "Traceback (most recent call last):\n  File \"/usr/lib/python3/dist-packages/odoo/service/model.py\", line 184, in retrying\n    \
             result = func()\n             ^^^^^^\n{printed}: {}\n",
            self.message()
        )
    }
}

/// A value as Python's `repr` prints it: Odoo quotes conditions and domains this way in its messages.
pub(super) fn py_repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.contains('\'') && !text.contains('"') => format!("\"{text}\""),
        Value::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Value::Array(items) => format!("[{}]", items.iter().map(py_repr).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(key, item)| format!("'{key}': {}", py_repr(item))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn python_repr_of_a_domain() {
        assert_eq!(py_repr(&json!(["&", ["name", "=", "x"], ["a", "in", [false, 4, 1.5, null]]])), "['&', ['name', '=', 'x'], ['a', 'in', [False, 4, 1.5, None]]]");
        assert_eq!(py_repr(&json!("O'Neil")), "\"O'Neil\"");
    }

    #[test]
    fn the_cause_is_the_last_line_of_a_traceback() {
        let text = Fault::value("Invalid field 'x' on 'res.partner'").traceback();
        assert_eq!(text.trim_end().lines().last(), Some("ValueError: Invalid field 'x' on 'res.partner'"));
    }
}
