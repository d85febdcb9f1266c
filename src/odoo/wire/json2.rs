//! JSON-2 (Odoo 19 and later): `POST /json/2/<model>/<method>`, arguments by name, plain JSON back.

use super::super::classify::{Subject, exception};
use super::super::config::Protocol;
use super::super::error::OdooError;
use super::call::{Call, Outgoing};
use super::limits::DecodeLimits;
use super::page::{Incoming, foreign};
use super::{json, jsonrpc};
use serde_json::Value;

pub(crate) fn request(call: &Call<'_>) -> Outgoing {
    let mut body = call.named.clone();
    if let Some(ids) = call.ids {
        body.insert("ids".to_owned(), Value::from(ids));
    }
    if !call.context.is_empty() {
        body.insert("context".to_owned(), Value::Object(call.context.clone()));
    }
    Outgoing {
        path: format!("json/2/{}/{}", call.model, call.method),
        content_type: "application/json; charset=utf-8",
        body: Value::Object(body).to_string().into_bytes(),
        in_headers: true,
    }
}

pub(crate) fn answer(answer: &Incoming, limits: &DecodeLimits, subject: &Subject<'_>, online: bool) -> Result<Value, OdooError> {
    let value = json::decode(&answer.body, limits).map_err(|why| foreign(answer, Some(Protocol::Json2), &why, subject, online))?;
    if answer.status == 200 {
        return Ok(value);
    }
    // Odoo before 19 does not know the path and answers in JSON-RPC's shape.
    if value.get("jsonrpc").is_some() {
        return jsonrpc::result_of(value, answer, subject, online);
    }
    let word = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    // The full Python name of the exception: a proxy that answers in JSON has none.
    if !word("name").contains('.') {
        let why = super::DecodeError::WrongShape("no exception name".to_owned());
        return Err(foreign(answer, None, &why, subject, online));
    }
    Err(super::super::classify::in_plan(exception(word("name"), word("message"), word("debug"), subject), word("message"), online))
}
