//! What must hold for every answer of an Odoo and for every domain, whoever wrote it. See `src/fuzzing.rs`.

use serde_json::{Map, Value};

use super::classify::Subject;
use super::domain::Domain;
use super::error::{CAUSE_CHARS_MAX, MESSAGE_CHARS_MAX, OdooError};
use super::wire::limits::{DecodeError, DecodeLimits};
use super::wire::page::Incoming;
use super::wire::xmlrpc::{decode_answer, encode_answer};
use super::wire::xmlrpc_object::{self, Outcome};
use super::wire::{json, json2, jsonrpc};

/// Small, so that small inputs break them.
const LIMITS: DecodeLimits = DecodeLimits { depth_max: 12, values_max: 200 };

/// (status, may have changed something, Odoo Online): the roads through the classification.
const SETTINGS: [(u16, bool, bool); 6] = [(200, false, false), (200, true, false), (500, true, false), (404, true, true), (403, false, true), (503, true, false)];

/// An answer over JSON-2.
pub(crate) fn json2_answer(body: &[u8]) {
    let value = read_json(body);
    for (status, writes, online) in SETTINGS {
        let result = json2::answer(&incoming(status, body), &LIMITS, &subject(writes), online);
        match (&value, &result) {
            (Some(value), _) if status == 200 => assert_eq!(result.as_ref().ok(), Some(value), "what a 200 says is the result"),
            (Some(value), Ok(read)) => assert!(value.get("jsonrpc").is_some() && value.get("error").is_none() && *read == result_of(value), "only a 200 is a result"),
            (None, Ok(_)) => panic!("a result out of what is no JSON"),
            (_, Err(error)) => {
                let said = value
                    .as_ref()
                    .is_some_and(|value| value.get("jsonrpc").is_some() || value.get("name").is_some_and(|name| name.as_str().is_some_and(|name| name.contains('.'))));
                error_holds(error, status, writes, said);
            }
        }
    }
}

/// An answer over JSON-RPC.
pub(crate) fn jsonrpc_answer(body: &[u8]) {
    let value = read_json(body);
    for (status, writes, online) in SETTINGS {
        let ours = value.as_ref().filter(|value| value.get("jsonrpc").is_some());
        match jsonrpc::answer(&incoming(status, body), &LIMITS, &subject(writes), online) {
            Ok(read) => {
                let value = ours.expect("only what says jsonrpc is an answer");
                assert!(value.get("error").is_none() && read == result_of(value), "an error is no result");
            }
            Err(error) => error_holds(&error, status, writes, ours.is_some()),
        }
    }
}

/// An answer over XML-RPC.
pub(crate) fn xmlrpc_answer(body: &[u8]) {
    let decoded = decode_answer(body, &LIMITS);
    if let Ok(Ok(value)) = &decoded {
        within_limits(value);
        let written = as_written(value);
        assert_eq!(decode_answer(&encode_answer(value), &LIMITS), Ok(Ok(written)), "what is written is read");
    }
    for (status, writes, online) in SETTINGS {
        let result = xmlrpc_object::answer(&incoming(status, body), &LIMITS, &subject(writes), online);
        match (&decoded, result) {
            (Ok(Ok(value)), Ok(Outcome::Value(read))) => assert_eq!(&read, value),
            (Ok(Err(fault)), Ok(Outcome::Unwritable)) => assert!(fault.code == 1 && fault.text.contains("cannot marshal"), "only that fault is a success"),
            (_, Err(error)) => error_holds(&error, status, writes, matches!(decoded, Ok(Err(_)))),
            (_, Ok(outcome)) => panic!("{outcome:?} out of {decoded:?}"),
        }
    }
}

/// A domain that came from outside.
pub(crate) fn domain(text: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(text) else { return };
    let Ok(domain) = Domain::parse(&value) else { return };
    let written = domain.to_value();
    let (read, out) = (value.as_array().expect("a domain is a list"), written.as_array().expect("a domain is a list"));
    assert_eq!(read.is_empty(), out.is_empty(), "a filter never falls away");
    assert!(conditions(read).eq(conditions(out)), "the conditions stay, in their order");
    assert_eq!(Domain::parse(&written).map(|again| again.to_value()), Ok(written.clone()), "what is written is read");
    // Whatever the conditions are, both mean the same, and the contrary means the contrary.
    let negated = domain.clone().negate().to_value();
    for seed in [0, 1, 0x5555_5555, 0x0f0f_3c5a, text.iter().fold(7_u32, |seed, byte| seed.wrapping_mul(31).wrapping_add(u32::from(*byte)))] {
        let meant = holds(read, seed);
        assert_eq!(holds(out, seed), meant, "{value} became {written}");
        assert_eq!(holds(negated.as_array().expect("a list"), seed), !meant, "the contrary of {value} became {negated}");
    }
}

/// Equal but for the last digits of numbers with a fraction, which `serde_json` does not read exactly.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| (a - b).abs() <= a.abs() * 1e-12),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b))),
        _ => one == other,
    }
}

fn incoming(status: u16, body: &[u8]) -> Incoming {
    Incoming { status, retry_after_s: None, location: None, body: body.to_vec() }
}

fn subject(writes: bool) -> Subject<'static> {
    Subject { model: "res.partner", method: "create", uid: 7, database: "empresa", writes }
}

/// Our reader against `serde_json`'s own: it reads the same, and refuses more only for its limits.
fn read_json(body: &[u8]) -> Option<Value> {
    match (json::decode(body, &LIMITS), serde_json::from_slice::<Value>(body)) {
        (Ok(value), Ok(plain)) => {
            assert_eq!(value, plain, "both readers read the same");
            within_limits(&value);
            let again = json::decode(value.to_string().as_bytes(), &LIMITS).expect("what is written is read");
            assert!(same(&value, &again), "{value} became {again}");
            Some(value)
        }
        (Ok(value), Err(_)) => panic!("read {value} out of what is no JSON"),
        (Err(DecodeError::TooDeep(_) | DecodeError::TooManyValues(_)), _) | (Err(_), Err(_)) => None,
        (Err(why), Ok(_)) => panic!("refused what is JSON: {why}"),
    }
}

fn result_of(value: &Value) -> Value {
    value.get("result").cloned().unwrap_or_default()
}

fn within_limits(value: &Value) {
    fn measure(value: &Value, depth: usize) -> usize {
        assert!(depth <= LIMITS.depth_max, "too deep");
        match value {
            Value::Array(items) => items.iter().map(|item| measure(item, depth + 1)).sum::<usize>() + 1,
            Value::Object(members) => members.values().map(|member| measure(member, depth + 1)).sum::<usize>() + 1,
            _ => 1,
        }
    }
    assert!(measure(value, 1) <= LIMITS.values_max, "too many values");
}

/// An error is fit to be shown, and a write that may have been done is never said to have failed.
/// `said`: Odoo itself says in the body what went wrong.
fn error_holds(error: &OdooError, status: u16, writes: bool, said: bool) {
    assert!(error.message.chars().count() <= MESSAGE_CHARS_MAX && error.cause.chars().count() <= CAUSE_CHARS_MAX, "longer than allowed");
    assert!(!error.message.chars().any(char::is_control), "control characters in {:?}", error.message);
    for server_only in ["Traceback (most recent call last)", "/usr/", "/opt/", "/home/"] {
        assert!(!error.message.contains(server_only), "{:?} is not for people", error.message);
    }
    let taken = !(300..500).contains(&status);
    assert!(!writes || said || !taken || error.outcome_unknown(), "status {status}, nothing that Odoo wrote, and yet {error:?}");
}

/// What remains of a value when it is written as an XML-RPC answer.
fn as_written(value: &Value) -> Value {
    fn text(text: &str) -> String {
        text.chars().filter(|c| matches!(c, '\t' | '\n' | '\r') || !matches!(c, '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')).collect()
    }
    match value {
        Value::Null => Value::Bool(false),
        Value::String(said) => Value::String(text(said)),
        Value::Array(items) => Value::Array(items.iter().map(as_written).collect()),
        Value::Object(members) => Value::Object(members.iter().map(|(name, member)| (text(name), as_written(member))).collect::<Map<_, _>>()),
        other => other.clone(),
    }
}

fn conditions(items: &[Value]) -> impl Iterator<Item = &Value> {
    items.iter().filter(|item| item.is_array())
}

/// Evaluates prefix notation as Odoo does, the truth of each condition drawn from its place and `seed`.
fn holds(items: &[Value], seed: u32) -> bool {
    fn operand(items: &[Value], at: &mut usize, place: &mut u32, seed: u32) -> bool {
        let item = &items[*at];
        *at += 1;
        match item.as_str() {
            Some("!") => !operand(items, at, place, seed),
            Some(sign) => {
                let (one, other) = (operand(items, at, place, seed), operand(items, at, place, seed));
                if sign == "&" { one && other } else { one || other }
            }
            None => {
                *place += 1;
                *item != Value::Array(vec!["id".into(), "in".into(), Value::Array(Vec::new())]) && seed.rotate_left(*place) & 1 == 1
            }
        }
    }
    let (mut at, mut place, mut all) = (0, 0, true);
    while at < items.len() {
        all &= operand(items, &mut at, &mut place, seed);
    }
    all
}
