//! The one mapping of a tool's failure to what the model reads: `{codigo, mensaje, que_hacer, reintentable, id_solicitud}`.

use serde_json::{Value, json};

use crate::text::{Language, fill, text};
use crate::tools::error::{Code, ToolError};

/// Logs the private cause once, and gives the public part.
pub(super) fn public(error: &ToolError, language: Language, request_id: &str) -> Value {
    if let Some(cause) = &error.cause {
        let code = error.code.as_str();
        if error.code == Code::ErrorInterno {
            tracing::error!(error.code = code, %cause, "a tool failed");
        } else {
            tracing::warn!(error.code = code, %cause, "a tool failed");
        }
    }
    let code = error.code.as_str();
    let facts: Vec<(&str, String)> = error
        .facts
        .iter()
        .map(|(name, value)| {
            // `que` is a word of ours ("cliente"), shown in the reader's language.
            let value = if *name == "que" { text(language, &format!("que.{value}")) } else { value.clone() };
            (*name, value)
        })
        .collect();
    let facts: Vec<(&str, &str)> = facts.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut body = json!({
        "codigo": code,
        "mensaje": fill(language, &format!("errores.{code}.mensaje"), &facts),
        "que_hacer": fill(language, &format!("errores.{code}.que_hacer"), &facts),
        "reintentable": error.code.retryable(),
        "id_solicitud": request_id,
    });
    if let (Some(data), Value::Object(map)) = (&error.data, &mut body) {
        map.insert("datos".to_owned(), data.as_ref().clone());
    }
    body
}
