//! What must hold for every confirmation code and for the arguments of every write. See `src/fuzzing.rs`.

use super::{Code, Duration, Utc, Value, WriteArguments, Writes, canonical, json};
use crate::domain::tokens::Caller;
use chrono::DateTime;

const TOOL: &str = "crear_cliente";
const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Somebody who has been given one code.
pub(crate) struct Room {
    writes: Writes,
    callers: [Caller; 2],
    now: DateTime<Utc>,
    code: String,
}

impl Room {
    /// Gives the first caller a code at that time.
    pub(crate) fn new(writes: Writes, callers: [Caller; 2], now: DateTime<Utc>) -> Self {
        let code = writes.make(&callers[0], TOOL, HASH, &[9; 32], now).expect("a code");
        Self { writes, callers, now, code }
    }

    /// The same with a code that was not made here.
    #[cfg(test)]
    pub(crate) fn spoilt(&self) -> Self {
        Self { writes: self.writes.clone(), callers: self.callers.clone(), now: self.now, code: "A".repeat(self.code.len()) }
    }

    fn refused(&self, code: &str, caller: usize, tool: &str, hash: &str, age: Duration) -> Option<Code> {
        self.writes.check(code, &self.callers[caller], tool, hash, self.now + age).err().map(|error| error.code)
    }
}

/// A text as a code, as edits of the genuine one, as another call's tool and arguments, and as the arguments themselves.
pub(crate) fn code(room: &Room, data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let none = Duration::zero();
    // libFuzzer sees what is compared below, and has guessed the genuine one that way.
    let wanted = (text != room.code).then_some(Code::CodigoInvalido);
    assert_eq!(room.refused(&text, 0, TOOL, HASH, none), wanted, "a code that was not made here");

    // The genuine one is good for its caller, its call and its time.
    assert_eq!(room.refused(&room.code, 0, TOOL, HASH, Duration::minutes(10)), None);
    assert_eq!(room.refused(&room.code, 0, TOOL, HASH, Duration::seconds(601)), Some(Code::CodigoVencido));
    assert_eq!(room.refused(&room.code, 1, TOOL, HASH, none), Some(Code::CodigoInvalido), "another tenant's code");
    if text != TOOL {
        assert_eq!(room.refused(&room.code, 0, &text, HASH, none), Some(Code::CodigoInvalido), "the code of another tool");
    }
    if text != HASH {
        assert_eq!(room.refused(&room.code, 0, TOOL, &text, none), Some(Code::CodigoInvalido), "the code of other arguments");
    }

    // No other way of writing it is it.
    let mut edited = room.code.clone().into_bytes();
    for edit in data.chunks_exact(2).take(8) {
        let at = usize::from(edit[0]) % edited.len();
        edited[at] = edit[1];
    }
    let edited = String::from_utf8_lossy(&edited);
    assert_eq!(room.refused(&edited, 0, TOOL, HASH, none).is_none(), edited == room.code, "{edited} for {}", room.code);
    for longer in [format!("{}{text}", room.code), format!("{text}{}", room.code)] {
        assert_eq!(room.refused(&longer, 0, TOOL, HASH, none).is_none(), text.is_empty(), "{longer}");
    }

    if let Ok(value @ Value::Object(_)) = serde_json::from_slice::<Value>(data) {
        arguments(&value);
    }
}

/// The code and the key are no arguments, and the order of arguments does not matter to the hash.
fn arguments(value: &Value) {
    let split = WriteArguments::split(TOOL, value.clone());
    let own = split.own.as_object().expect("arguments are an object");
    assert!(!own.contains_key("codigo_confirmacion") && !own.contains_key("clave"));
    for text in [&split.code, &split.key].into_iter().flatten() {
        assert!(!text.is_empty() && text.trim() == text, "{text:?}");
    }
    let text = canonical(&split.own);
    let again = serde_json::from_str::<Value>(&text).expect("canonical JSON is JSON");
    assert!(crate::odoo::fuzzing::same(&split.own, &again), "{} became {text}", split.own);
    let mut other = Value::Object(own.iter().rev().map(|(name, value)| (name.clone(), value.clone())).collect());
    other["clave"] = json!("otra");
    assert_eq!(WriteArguments::split(TOOL, other).hash, split.hash, "the same arguments in another order");
    assert_ne!(WriteArguments::split("otra_herramienta", value.clone()).hash, split.hash, "another tool");
    let mut more = split.own.clone();
    more["\u{1}uno_mas"] = json!(1);
    assert_ne!(WriteArguments::split(TOOL, more).hash, split.hash, "other arguments");
}
