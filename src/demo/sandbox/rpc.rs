//! XML-RPC (`/xmlrpc/2/common`, `/xmlrpc/2/object`) and JSON-RPC (`/jsonrpc`): the same services in two envelopes, the
//! login in every call.

use serde_json::{Value, json};

use super::fault::Fault;
use super::store::Row;
use super::{SandboxOdoo, call, http};
use crate::odoo::wire::{DecodeLimits, xmlrpc};

/// Answers an XML-RPC call; faults travel with status 200.
pub(super) fn xml(sandbox: &SandboxOdoo, service: &str, body: &[u8]) -> Vec<u8> {
    let answer = match xmlrpc::decode_call(body, &DecodeLimits::default()) {
        Ok((method, arguments)) => serve(sandbox, service, &method, arguments),
        Err(_) => Err(Fault::Python { class: "xml.parsers.expat.ExpatError", message: "not well-formed (invalid token): line 1, column 0".to_owned() }),
    };
    match answer {
        // It is done, but the answer cannot be written down: the well-known trap for clients.
        Ok(Value::Null) => {
            let fault = Fault::Python { class: "builtins.TypeError", message: "cannot marshal None unless allow_none is enabled".to_owned() };
            xmlrpc::encode_fault(1, &fault.traceback())
        }
        Ok(value) => xmlrpc::encode_answer(&value),
        Err(fault) => {
            let (code, text) = numbered(&fault);
            xmlrpc::encode_fault(code, &text)
        }
    }
}

/// 1 a Python traceback, 2 a warning for the user, 3 wrong credentials, 4 no access.
fn numbered(fault: &Fault) -> (i64, String) {
    match fault {
        Fault::Access(_) => (4, fault.message()),
        Fault::Denied => (3, fault.message()),
        Fault::Missing(_) | Fault::User(_) | Fault::Validation(_) | Fault::NoModel(_) => (2, fault.message()),
        Fault::NoMethod(_) | Fault::Arguments { .. } | Fault::Python { .. } => (1, fault.traceback()),
    }
}

/// Answers a JSON-RPC call.
///
/// # Errors
/// The text of the 400 page for what is no JSON-RPC at all.
pub(super) fn json(sandbox: &SandboxOdoo, body: &[u8]) -> Result<Value, &'static str> {
    let call: Value = serde_json::from_slice(body).map_err(|_| "Invalid JSON data")?;
    let call = call.as_object().ok_or("Invalid JSON-RPC data")?;
    let parameters = call.get("params").and_then(Value::as_object).cloned().unwrap_or_default();
    let word = |name: &str| parameters.get(name).and_then(Value::as_str).unwrap_or_default();
    let arguments = parameters.get("args").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut answer = Row::new();
    answer.insert("jsonrpc".into(), json!("2.0"));
    answer.insert("id".into(), call.get("id").cloned().unwrap_or_default());
    match serve(sandbox, word("service"), word("method"), arguments) {
        // A method that returns nothing gives neither result nor error.
        Ok(Value::Null) => {}
        Ok(value) => {
            answer.insert("result".into(), value);
        }
        Err(fault) => {
            let data = json!({"name": fault.class(), "message": fault.message(), "arguments": [fault.message()], "context": {}, "debug": fault.traceback()});
            answer.insert("error".into(), json!({"code": 0, "message": "Odoo Server Error", "data": data}));
        }
    }
    Ok(Value::Object(answer))
}

fn serve(sandbox: &SandboxOdoo, service: &str, method: &str, arguments: Vec<Value>) -> Result<Value, Fault> {
    match (service, method) {
        ("common", "version") => Ok(http::version_answer()),
        ("common", "authenticate" | "login") => authenticate(sandbox, method, &arguments),
        ("object", "execute_kw") => execute(sandbox, arguments, true),
        ("object", "execute") => execute(sandbox, arguments, false),
        ("common" | "object", _) => Err(Fault::Python { class: "builtins.Exception", message: format!("Method not found: {method}") }),
        _ => Err(Fault::Python { class: "builtins.KeyError", message: format!("'{service}'") }),
    }
}

/// The user's id, or `false`: a wrong password is no fault.
fn authenticate(sandbox: &SandboxOdoo, method: &str, arguments: &[Value]) -> Result<Value, Fault> {
    let names = ["db", "login", "password", "user_agent_env"];
    let wanted = if method == "login" { &names[..3] } else { &names[..] };
    if arguments.len() < wanted.len() {
        let missing: Vec<String> = wanted[arguments.len()..].iter().map(|name| format!("'{name}'")).collect();
        let plural = if missing.len() == 1 { "" } else { "s" };
        let message = format!("exp_{method}() missing {} required positional argument{plural}: {}", missing.len(), missing.join(" and "));
        return Err(Fault::Python { class: "builtins.TypeError", message });
    }
    let word = |at: usize| arguments.get(at).and_then(Value::as_str).unwrap_or_default();
    database(sandbox, word(0))?;
    let known = sandbox.account(|account| word(1) == account.login && account.is_secret(word(2)));
    Ok(known.map_or(json!(false), |account| json!(account.uid)))
}

fn database(sandbox: &SandboxOdoo, name: &str) -> Result<(), Fault> {
    if name == sandbox.database() {
        return Ok(());
    }
    let message = format!("connection to server on socket \"/run/postgresql/.s.PGSQL.5432\" failed: FATAL:  database \"{name}\" does not exist\n");
    Err(Fault::Python { class: "psycopg2.OperationalError", message })
}

/// `execute_kw(db, uid, secret, model, method, args, kwargs)`, or `execute(db, uid, secret, model, method, *args)`.
fn execute(sandbox: &SandboxOdoo, arguments: Vec<Value>, with_keywords: bool) -> Result<Value, Fault> {
    let mut rest = arguments.into_iter();
    let mut next = || rest.next().unwrap_or_default();
    let (name, uid, secret, model, method) = (next(), next(), next(), next(), next());
    database(sandbox, name.as_str().unwrap_or_default())?;
    let uid = uid.as_i64().filter(|uid| *uid > 0).ok_or(Fault::Denied)?;
    let account = sandbox.account(|account| account.uid == uid).ok_or_else(|| Fault::missing("res.users", uid, uid))?;
    if !account.is_secret(secret.as_str().unwrap_or_default()) {
        return Err(Fault::Denied);
    }
    let (positional, mut keywords) =
        if with_keywords { (next().as_array().cloned().unwrap_or_default(), next().as_object().cloned().unwrap_or_default()) } else { (rest.collect(), Row::new()) };
    let context = keywords.shift_remove("context").and_then(|context| context.as_object().cloned()).unwrap_or_default();
    let (model, method) = (model.as_str().unwrap_or_default().to_owned(), method.as_str().unwrap_or_default().to_owned());
    sandbox.with_env(&account, context, |env| {
        let of = call::find_model(&model)?;
        let bound = call::method(of, &method)?.bind_positional(positional, keywords)?;
        call::run(env, of, &bound)
    })
}
