//! The XML-RPC codec, both directions and both sides: calls and answers, encoded and decoded.
//!
//! It is not a client: it knows no HTTP and no Odoo, only how values travel. Reading is a pull over
//! the events of `quick-xml`; no document tree is built, no DTD or entity is accepted.
//!
//! How values map (seen on Odoo 14 and 19): whole numbers beyond 32 bits are `<i8>`, `null` in a call is
//! `<nil/>` and in an answer `<boolean>0</boolean>`, dates and base64 arrive as strings, a number that is
//! not finite arrives as `null`.

use super::limits::{DecodeError, DecodeLimits};
use super::xmlrpc_read::Parser;
use serde_json::{Map, Value};

/// A fault, as the other side wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `faultCode`; 0 when it is not a number (version 1 of Odoo's endpoint answers words).
    pub code: i64,
    /// `faultString`, untouched: it may be a whole traceback.
    pub text: String,
}

/// A `methodCall` document. `null` becomes `<nil/>`, which Odoo 14 to 19 accept.
#[must_use]
pub fn encode_call(method: &str, params: &[Value]) -> Vec<u8> {
    let mut out = String::with_capacity(256);
    out.push_str("<?xml version=\"1.0\"?><methodCall><methodName>");
    push_text(&mut out, method);
    out.push_str("</methodName><params>");
    for param in params {
        out.push_str("<param>");
        push_value(&mut out, param, Null::Nil);
        out.push_str("</param>");
    }
    out.push_str("</params></methodCall>");
    out.into_bytes()
}

/// A `methodResponse` with a value. `null` becomes `<boolean>0</boolean>`, as Odoo writes empty fields.
#[must_use]
pub fn encode_answer(value: &Value) -> Vec<u8> {
    let mut out = String::with_capacity(256);
    out.push_str("<?xml version=\"1.0\"?>\n<methodResponse><params><param>");
    push_value(&mut out, value, Null::False);
    out.push_str("</param></params></methodResponse>");
    out.into_bytes()
}

/// A `methodResponse` with a fault. Odoo sends it with HTTP status 200.
#[must_use]
pub fn encode_fault(code: i64, text: &str) -> Vec<u8> {
    let mut fault = Map::new();
    fault.insert("faultCode".to_owned(), Value::from(code));
    fault.insert("faultString".to_owned(), Value::from(text));
    let mut out = String::with_capacity(256);
    out.push_str("<?xml version=\"1.0\"?>\n<methodResponse><fault>");
    push_value(&mut out, &Value::Object(fault), Null::False);
    out.push_str("</fault></methodResponse>");
    out.into_bytes()
}

/// Reads a `methodResponse`: the value, or the fault that the other side answered.
///
/// # Errors
/// [`DecodeError`] when the bytes are no such document or break a limit.
pub fn decode_answer(bytes: &[u8], limits: &DecodeLimits) -> Result<Result<Value, Fault>, DecodeError> {
    let mut parser = Parser::new(bytes, limits)?;
    parser.expect_start("methodResponse")?;
    let answer = match parser.start()?.as_deref() {
        Some("params") => {
            parser.expect_start("param")?;
            parser.expect_start("value")?;
            let value = parser.value(1)?;
            parser.expect_end()?;
            parser.expect_end()?;
            Ok(value)
        }
        Some("fault") => {
            parser.expect_start("value")?;
            let fault = fault_of(&parser.value(1)?);
            parser.expect_end()?;
            Err(fault)
        }
        other => {
            return Err(DecodeError::WrongShape(format!("methodResponse holds {other:?}")));
        }
    };
    parser.expect_end()?;
    parser.expect_eof()?;
    Ok(answer)
}

/// Reads a `methodCall`: the method's name and its positional parameters.
///
/// # Errors
/// [`DecodeError`] when the bytes are no such document or break a limit.
pub fn decode_call(bytes: &[u8], limits: &DecodeLimits) -> Result<(String, Vec<Value>), DecodeError> {
    let mut parser = Parser::new(bytes, limits)?;
    parser.expect_start("methodCall")?;
    parser.expect_start("methodName")?;
    let method = parser.text()?;
    let mut params = Vec::new();
    if let Some(name) = parser.start()? {
        if name != "params" {
            return Err(DecodeError::WrongShape(format!("methodCall holds {name}")));
        }
        while let Some(name) = parser.start()? {
            if name != "param" {
                return Err(DecodeError::WrongShape(format!("params holds {name}")));
            }
            parser.expect_start("value")?;
            params.push(parser.value(1)?);
            parser.expect_end()?;
        }
        parser.expect_end()?;
    }
    parser.expect_eof()?;
    Ok((method.trim().to_owned(), params))
}

fn fault_of(value: &Value) -> Fault {
    let code = match value.get("faultCode") {
        Some(Value::String(word)) => word.trim().parse().unwrap_or(0),
        Some(number) => number.as_i64().unwrap_or(0),
        None => 0,
    };
    let text = match value.get("faultString") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    Fault { code, text }
}

#[derive(Clone, Copy)]
enum Null {
    Nil,
    False,
}

fn push_value(out: &mut String, value: &Value, null: Null) {
    out.push_str("<value>");
    match value {
        Value::Null => out.push_str(match null {
            Null::Nil => "<nil/>",
            Null::False => "<boolean>0</boolean>",
        }),
        Value::Bool(yes) => out.push_str(if *yes { "<boolean>1</boolean>" } else { "<boolean>0</boolean>" }),
        Value::Number(number) => {
            let tag = match number.as_i64() {
                Some(whole) if i32::try_from(whole).is_ok() => "int",
                Some(_) => "i8",
                None if number.is_u64() => "i8",
                None => "double",
            };
            let text = number.to_string();
            for part in ["<", tag, ">", &text, "</", tag, ">"] {
                out.push_str(part);
            }
        }
        Value::String(text) => {
            out.push_str("<string>");
            push_text(out, text);
            out.push_str("</string>");
        }
        Value::Array(items) => {
            out.push_str("<array><data>");
            for item in items {
                push_value(out, item, null);
            }
            out.push_str("</data></array>");
        }
        Value::Object(members) => {
            out.push_str("<struct>");
            for (name, member) in members {
                out.push_str("<member><name>");
                push_text(out, name);
                out.push_str("</name>");
                push_value(out, member, null);
                out.push_str("</member>");
            }
            out.push_str("</struct>");
        }
    }
    out.push_str("</value>");
}

/// Escapes text. Control characters that XML 1.0 cannot carry are left out: Odoo's parser answers a
/// traceback to them. A carriage return is written as a reference, or the reader would make it a line feed.
fn push_text(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#13;"),
            '\t' | '\n' => out.push(c),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            _ => out.push(c),
        }
    }
}

#[cfg(test)]
#[path = "xmlrpc_tests.rs"]
mod tests;
