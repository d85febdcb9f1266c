//! Reads JSON into a value while counting depth and values, so that a small hostile answer cannot
//! unfold into hundreds of megabytes.

use super::limits::{Budget, DecodeError, DecodeLimits};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::RefCell;
use std::fmt;

/// Reads one JSON document.
///
/// # Errors
/// [`DecodeError`] when it is not JSON, goes on after its end, or breaks a limit.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Value, DecodeError> {
    let state = RefCell::new(State { budget: Budget::new(limits), broken: None });
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Seed { state: &state, depth: 1 }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| state.into_inner().broken.unwrap_or_else(|| DecodeError::Malformed(error.to_string())))
}

struct State {
    budget: Budget,
    /// Which limit was broken: serde's error can only carry text.
    broken: Option<DecodeError>,
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    state: &'a RefCell<State>,
    depth: usize,
}

impl Seed<'_> {
    fn deeper(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }

    /// Takes something out of the budget.
    fn take<E: serde::de::Error>(self, take: impl FnOnce(&mut Budget) -> Result<(), DecodeError>) -> Result<(), E> {
        let mut state = self.state.borrow_mut();
        take(&mut state.budget).map_err(|broken| {
            state.broken = Some(broken);
            E::custom("a limit was broken")
        })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.take(|budget| budget.take(self.depth))?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self.deeper())? {
            if items.is_empty() {
                self.take(Budget::list)?;
            }
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if members.is_empty() {
                self.take(Budget::object)?;
            }
            let value = access.next_value_seed(self.deeper())?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const LIMITS: DecodeLimits = DecodeLimits { depth_max: 8, values_max: 50 };

    #[test]
    fn it_reads_what_serde_json_reads() {
        for text in ["null", "true", "-5", "18446744073709551615", "1.5e3", "\"ñ\\u00e1\\n\"", "[1,[2,{}]]", "{\"a\":{\"b\":[null]},\"a\":2}", " [ ] "] {
            assert_eq!(decode(text.as_bytes(), &LIMITS).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn limits_are_kept() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(decode(nested(8).as_bytes(), &LIMITS).is_ok());
        assert_eq!(decode(nested(9).as_bytes(), &LIMITS), Err(DecodeError::TooDeep(8)));
        assert_eq!(decode("[".repeat(1_000_000).as_bytes(), &DecodeLimits { depth_max: usize::MAX, values_max: usize::MAX }), Err(DecodeError::TooDeep(127)));
        let wide = format!("[{}0]", "0,".repeat(60));
        assert_eq!(decode(wide.as_bytes(), &LIMITS), Err(DecodeError::TooManyValues(50)));
        // Small containers take more room than they show.
        for (unit, fit) in [("{},", 40), ("[0],", 8), ("{\"a\":0},", 6)] {
            let text = |count: usize| format!("[{}0]", unit.repeat(count));
            assert!(decode(text(fit).as_bytes(), &LIMITS).is_ok(), "{unit}");
            assert_eq!(decode(text(fit + 6).as_bytes(), &LIMITS), Err(DecodeError::TooManyValues(50)), "{unit}");
        }
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for text in ["", "<html>", "{", "[1,]", "1 2", "{\"a\" 1}", "nul", "\"\\ud800\""] {
            assert!(matches!(decode(text.as_bytes(), &LIMITS), Err(DecodeError::Malformed(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "[\\[\\]{}\",:0-9a-z .-]{0,100}") {
            let _ = decode(&bytes, &LIMITS);
            if let Ok(value) = decode(text.as_bytes(), &LIMITS) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap_or(json!("differs")));
            }
        }
    }
}
