//! JSON-RPC (`POST /jsonrpc`): the services `common` and `object`, until Odoo 22.

use super::super::classify::{Subject, exception, in_plan};
use super::super::config::Protocol;
use super::super::error::OdooError;
use super::call::{Call, Outgoing};
use super::json;
use super::limits::{DecodeError, DecodeLimits};
use super::page::{Incoming, foreign};
use serde_json::{Value, json};

/// A call of any service.
pub(crate) fn service(service: &str, method: &str, args: &[Value]) -> Outgoing {
    let body = json!({"jsonrpc": "2.0", "method": "call", "id": 1, "params": {"service": service, "method": method, "args": args}});
    Outgoing { path: "jsonrpc".to_owned(), content_type: "application/json", body: body.to_string().into_bytes(), in_headers: false }
}

/// `execute_kw` of the service `object`.
pub(crate) fn request(call: &Call<'_>, database: &str, uid: i64, secret: &str) -> Outgoing {
    service("object", "execute_kw", &call.execute_kw(database, uid, secret))
}

pub(crate) fn answer(answer: &Incoming, limits: &DecodeLimits, subject: &Subject<'_>, online: bool) -> Result<Value, OdooError> {
    let value = json::decode(&answer.body, limits).map_err(|why| foreign(answer, Some(Protocol::JsonRpc), &why, subject, online))?;
    result_of(value, answer, subject, online)
}

/// The result, the error, or null: a method that returns None leaves both members out.
pub(crate) fn result_of(mut value: Value, answer: &Incoming, subject: &Subject<'_>, online: bool) -> Result<Value, OdooError> {
    if value.get("jsonrpc").is_none() {
        let why = DecodeError::WrongShape("no JSON-RPC answer".to_owned());
        return Err(foreign(answer, None, &why, subject, online));
    }
    if let Some(error) = value.get("error") {
        let data = &error["data"];
        let text = data["message"].as_str().or_else(|| data["arguments"][0].as_str()).or_else(|| error["message"].as_str()).unwrap_or_default();
        let name = data["name"].as_str().unwrap_or("unknown");
        return Err(in_plan(exception(name, text, data["debug"].as_str().unwrap_or_default(), subject), text, online));
    }
    Ok(value.get_mut("result").map(Value::take).unwrap_or_default())
}
