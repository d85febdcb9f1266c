//! `POST /json/2/<model>/<method>`: named arguments, a bearer key, HTTP statuses.

use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::fault::Fault;
use super::store::Row;
use super::{SandboxOdoo, call};

/// Answers one call; the database and the content type are checked already.
pub(super) fn call(sandbox: &SandboxOdoo, model: &str, method: &str, headers: &HeaderMap, body: &[u8]) -> Response {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some((_, key)) = authorization.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
        return unauthorized("User not authenticated, use an API Key with a Bearer Authorization header.");
    };
    let Some(account) = sandbox.key_holder(key.trim()) else { return unauthorized("Invalid apikey") };
    // A list, a number or nothing at all counts as "no arguments".
    let mut arguments = match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(arguments)) => arguments,
        Ok(_) => Row::new(),
        Err(_) if body.is_empty() => Row::new(),
        Err(error) => {
            let text = format!("could not parse the body as json: {error}");
            return problem(StatusCode::BAD_REQUEST, "werkzeug.exceptions.BadRequest", &text, &json!([text, 400]), &text);
        }
    };
    let context = arguments.shift_remove("context").and_then(|context| context.as_object().cloned()).unwrap_or_default();
    let answer = sandbox.with_env(&account, context, |env| {
        let of = call::find_model(model)?;
        let bound = call::method(of, method)?.bind_named(of, arguments)?;
        call::run(env, of, &bound)
    });
    match answer {
        // `create` answers a list here even for one dictionary.
        Ok(Value::Number(id)) if method == "create" => Json(json!([id])).into_response(),
        Ok(value) => Json(value).into_response(),
        Err(fault) => refuse(&fault),
    }
}

/// Any other path or verb below `/json/2`.
pub(super) fn nowhere() -> Response {
    let text = "Did you mean POST /json/2/<model>/<method>?";
    problem(StatusCode::NOT_FOUND, "werkzeug.exceptions.NotFound", text, &json!([text, 404]), text)
}

fn refuse(fault: &Fault) -> Response {
    let message = fault.message();
    let (status, class, text) = match fault {
        Fault::Access(_) => (StatusCode::FORBIDDEN, fault.class(), message),
        Fault::Denied => (StatusCode::UNAUTHORIZED, fault.class(), message),
        Fault::Missing(_) => (StatusCode::NOT_FOUND, fault.class(), message),
        Fault::User(_) | Fault::Validation(_) => (StatusCode::UNPROCESSABLE_ENTITY, fault.class(), message),
        Fault::NoModel(model) => (StatusCode::NOT_FOUND, "werkzeug.exceptions.NotFound", format!("the model '{model}' does not exist")),
        Fault::NoMethod(_) => (StatusCode::NOT_FOUND, "werkzeug.exceptions.NotFound", message),
        Fault::Arguments { json2, .. } => (StatusCode::UNPROCESSABLE_ENTITY, "werkzeug.exceptions.UnprocessableEntity", json2.clone()),
        Fault::Python { .. } => (StatusCode::INTERNAL_SERVER_ERROR, fault.class(), message),
    };
    let arguments = if class.starts_with("werkzeug.") { json!([text, status.as_u16()]) } else { json!([text]) };
    problem(status, class, &text, &arguments, &fault.traceback())
}

fn unauthorized(text: &str) -> Response {
    let mut response = problem(StatusCode::UNAUTHORIZED, "werkzeug.exceptions.Unauthorized", text, &json!([text, 401]), text);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, axum::http::HeaderValue::from_static("Bearer "));
    response
}

fn problem(status: StatusCode, class: &str, message: &str, arguments: &Value, debug: &str) -> Response {
    (status, Json(json!({"name": class, "message": message, "arguments": arguments, "context": {}, "debug": debug}))).into_response()
}
