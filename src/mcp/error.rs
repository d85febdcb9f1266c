//! The one mapping of a tool's failure to what the model reads: `{codigo, mensaje, que_hacer, reintentable, id_solicitud}`.

use serde_json::{Value, json};

use crate::text::Language;
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
    let (message, what_to_do) = error.said(language);
    let mut body = json!({
        "codigo": code,
        "mensaje": message,
        "que_hacer": what_to_do,
        "reintentable": error.code.retryable(),
        "id_solicitud": request_id,
    });
    if let (Some(data), Value::Object(map)) = (&error.data, &mut body) {
        map.insert("datos".to_owned(), data.as_ref().clone());
    }
    body
}
