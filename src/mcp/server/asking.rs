//! A write that asks the person itself, in the program of an agent that can (MRTR of 2026-07-28): instead of a preview with a code, which the agent has
//! to show and send back, the client is asked to put the question. The state it carries is the confirmation code: bound to tenant, token,
//! tool, arguments and plan, good for ten minutes and once (`tools/confirm.rs`).

use rmcp::model::{InputRequests, InputRequiredResult, InputResponses};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Map, Value, json};

use crate::text::{Language, text};
use crate::tools::answer::Answer;

/// The question's name in the request and in its answer.
const QUESTION: &str = "confirmar";
const CODE: &str = "codigo_confirmacion";
/// Longest question, characters.
const QUESTION_CHARS_MAX: usize = 2_000;
/// Levels of a preview that are shown.
const LEVELS_MAX: usize = 3;

/// What the person said to an earlier question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing yet.
    Nothing,
    /// Yes.
    Yes,
    /// No, or closed the question.
    No,
}

/// What the client brings back.
pub(super) fn said(responses: Option<&InputResponses>, state: Option<&str>) -> Said {
    let Some(answer) = state.and(responses).and_then(|responses| responses.get(QUESTION)) else { return Said::Nothing };
    match answer.get("action").and_then(Value::as_str) {
        Some("accept") if answer.pointer("/content/confirmar") == Some(&Value::Bool(true)) => Said::Yes,
        Some("accept" | "decline" | "cancel") => Said::No,
        _ => Said::Nothing,
    }
}

/// The arguments, with the code that the person agreed to.
pub(super) fn agreed(arguments: Option<Map<String, Value>>, state: Option<String>) -> Map<String, Value> {
    let mut arguments = arguments.unwrap_or_default();
    if let Some(code) = state {
        arguments.insert(CODE.to_owned(), Value::String(code));
    }
    arguments
}

/// Whether the client can put a form before the person. An empty capability means forms.
pub(super) fn can_ask(context: &RequestContext<RoleServer>) -> bool {
    let declared = context.client_capabilities().and_then(|capabilities| capabilities.elicitation.clone());
    declared.is_some_and(|elicitation| elicitation.form.is_some() || elicitation.url.is_none())
}

/// The question of a preview; none when it is no preview.
pub(super) fn question(preview: &Answer, language: Language) -> Option<InputRequiredResult> {
    let preview = preview.to_value();
    let code = preview.get(CODE)?.as_str()?.to_owned();
    let mut lines = Vec::new();
    lines.extend(preview.get("frase").and_then(Value::as_str).map(str::to_owned));
    lines.extend(preview.get("avisos").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    if let Some(shown) = preview.get("vista_previa") {
        lines.push(text(language, "escritura.pregunta"));
        told(shown, 0, &mut lines);
    }
    let message: String = lines.join("\n").chars().take(QUESTION_CHARS_MAX).collect();
    let schema = json!({
        "type": "object",
        "properties": { QUESTION: { "type": "boolean", "title": text(language, "escritura.confirmar"), "description": text(language, "escritura.confirmar_detalle") } },
        "required": [QUESTION],
    });
    let request = json!({ QUESTION: { "method": "elicitation/create", "params": { "mode": "form", "message": message, "requestedSchema": schema } } });
    let requests: InputRequests = serde_json::from_value(request).ok()?;
    Some(InputRequiredResult::new(Some(requests), Some(code)))
}

/// What will be written, a line for each thing.
fn told(value: &Value, level: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(level);
    match value {
        Value::Object(members) if level < LEVELS_MAX => {
            for (name, member) in members {
                let name = name.replace('_', " ");
                match member {
                    Value::Object(_) | Value::Array(_) => {
                        lines.push(format!("{indent}{name}:"));
                        told(member, level + 1, lines);
                    }
                    other => lines.push(format!("{indent}{name}: {}", plain(other))),
                }
            }
        }
        Value::Array(items) if level < LEVELS_MAX => {
            for item in items {
                let parts: Vec<String> = match item {
                    Value::Object(members) => members
                        .iter()
                        .filter(|(_, member)| !member.is_object() && !member.is_array())
                        .map(|(name, member)| format!("{} {}", name.replace('_', " "), plain(member)))
                        .collect(),
                    other => vec![plain(other)],
                };
                lines.push(format!("{indent}- {}", parts.join(", ")));
            }
        }
        other => lines.push(format!("{indent}{}", plain(other))),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        let answers = |value: Value| InputResponses::from([(QUESTION.to_owned(), value)]);
        let yes = answers(json!({ "action": "accept", "content": { "confirmar": true } }));
        assert_eq!(said(Some(&yes), Some("code")), Said::Yes);
        assert_eq!(said(Some(&yes), None), Said::Nothing, "an answer to no question");
        assert_eq!(said(None, Some("code")), Said::Nothing);
        for no in [
            json!({ "action": "accept", "content": { "confirmar": false } }),
            json!({ "action": "accept", "content": { "confirmar": "true" } }),
            json!({ "action": "accept" }),
            json!({ "action": "decline" }),
            json!({ "action": "cancel" }),
        ] {
            assert_eq!(said(Some(&answers(no.clone())), Some("code")), Said::No, "{no}");
        }
        for nothing in [json!({ "action": "x" }), json!("yes"), json!({})] {
            assert_eq!(said(Some(&answers(nothing.clone())), Some("code")), Said::Nothing, "{nothing}");
        }
    }

    #[test]
    fn a_preview_is_told_in_lines() {
        let mut lines = Vec::new();
        told(&json!({ "cliente": "Juan", "total": 1180.5, "lineas": [{ "producto": "Cemento", "cantidad": 2 }], "fin": { "dia": "hoy" } }), 0, &mut lines);
        assert_eq!(lines, ["cliente: Juan", "total: 1180.5", "lineas:", "  - producto Cemento, cantidad 2", "fin:", "  dia: hoy"]);
    }
}
