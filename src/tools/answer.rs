//! What a tool answers: compact JSON without what is empty, and bounded.
//!
//! It is written as text once, since every door sends it as text: a tree of it would be built, walked three times, and thrown away.

use serde::Serialize;
use serde_json::Value;

use super::bound;
use super::error::{Code, ToolError};

/// A result, as compact JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer(String);

impl Answer {
    /// Of a reading tool: without empty members (no nulls, no empty texts or objects; zeros, `false` and empty lists stay), outsized texts and
    /// lists cut.
    ///
    /// # Errors
    /// It weighs too much, or does not serialise.
    pub(super) fn of(output: &impl Serialize) -> Result<Self, ToolError> {
        let whole = serde_json::to_string(output).map_err(ToolError::internal)?;
        let text = match lean(&whole) {
            Some(text) => text,
            None => plain(output).to_string(),
        };
        if text.len() > bound::RESULT_BYTES_MAX {
            return Err(ToolError::new(Code::RespuestaGrande).cause("the result weighs too much"));
        }
        Ok(Self(text))
    }

    /// The JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The JSON, for whoever keeps it.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }

    /// As a tree.
    #[must_use]
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl From<Value> for Answer {
    fn from(value: Value) -> Self {
        // Writing a value to memory cannot fail.
        Self(serde_json::to_string(&value).unwrap_or_default())
    }
}

/// The same as a tree, for the results that are looked into before they are sent.
pub(super) fn plain<O: Serialize>(output: &O) -> Value {
    let mut value = serde_json::to_value(output).unwrap_or(Value::Null);
    drop_empty(&mut value);
    bound::cut(&mut value, bound::TEXT_CHARS_MAX, bound::ITEMS_MAX);
    value
}

fn drop_empty(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for entry in map.values_mut() {
                drop_empty(entry);
            }
            map.retain(|_, entry| match entry {
                Value::Null => false,
                Value::String(text) => !text.is_empty(),
                Value::Object(inner) => !inner.is_empty(),
                _ => true,
            });
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty),
        _ => {}
    }
}

/// The same JSON without empty members; none if something in it is so large that it must be cut, or so deep that a tree should be made of it.
fn lean(json: &str) -> Option<String> {
    let mut lean = Lean { json, at: 0, out: String::with_capacity(json.len()) };
    lean.value(LEVELS_MAX)?;
    (lean.at == json.len()).then_some(lean.out)
}

const LEVELS_MAX: usize = 32;

/// Copies compact JSON as serde_json writes it, from `json[at..]` to `out`.
struct Lean<'a> {
    json: &'a str,
    at: usize,
    out: String,
}

impl Lean<'_> {
    fn next(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    /// Copies up to there; `end` stands on a character's boundary, since what is looked for are ASCII signs.
    fn copy_to(&mut self, end: usize) -> Option<()> {
        self.out.push_str(self.json.get(self.at..end)?);
        self.at = end;
        Some(())
    }

    fn value(&mut self, levels: usize) -> Option<()> {
        match self.next()? {
            b'{' => self.object(levels.checked_sub(1)?),
            b'[' => self.list(levels.checked_sub(1)?),
            b'"' => self.text(),
            _ => {
                let length = self.json.as_bytes()[self.at..].iter().position(|byte| matches!(byte, b',' | b'}' | b']'));
                self.copy_to(length.map_or(self.json.len(), |length| self.at + length))
            }
        }
    }

    fn text(&mut self) -> Option<()> {
        let bytes = self.json.as_bytes();
        let mut end = self.at + 1;
        loop {
            end += memchr::memchr2(b'"', b'\\', bytes.get(end..)?)?;
            if bytes[end] == b'"' {
                break;
            }
            end += 2;
        }
        if end - self.at > bound::TEXT_CHARS_MAX {
            return None;
        }
        self.copy_to(end + 1)
    }

    fn list(&mut self, levels: usize) -> Option<()> {
        self.copy_to(self.at + 1)?;
        let mut items = 0;
        while self.next()? != b']' {
            if items > 0 {
                self.copy_to(self.at + 1)?;
            }
            self.value(levels)?;
            items += 1;
        }
        if items > bound::ITEMS_MAX {
            return None;
        }
        self.copy_to(self.at + 1)
    }

    fn object(&mut self, levels: usize) -> Option<()> {
        self.copy_to(self.at + 1)?;
        let inside = self.out.len();
        while self.next()? != b'}' {
            if self.next()? == b',' {
                self.at += 1;
            }
            let member = self.out.len();
            if member > inside {
                self.out.push(',');
            }
            self.text()?;
            self.copy_to(self.at + 1)?; // the colon
            let value = self.out.len();
            self.value(levels)?;
            if matches!(&self.out[value..], "null" | "\"\"" | "{}") {
                self.out.truncate(member);
            }
        }
        self.copy_to(self.at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_is_empty_is_left_out() {
        let output = json!({ "a": null, "b": "", "c": {}, "d": { "e": null, "f": { "g": "" } }, "h": [], "i": 0, "j": false, "k": [null, "", { "l": null }], "m\"": "\\\"," });
        assert_eq!(Answer::of(&output).unwrap().as_str(), r#"{"h":[],"i":0,"j":false,"k":[null,"",{}],"m\"":"\\\","}"#);
        assert_eq!(Answer::of(&json!({ "a": "x", "b": null })).unwrap().as_str(), r#"{"a":"x"}"#);
        assert_eq!(Answer::of(&json!({})).unwrap().as_str(), "{}");
    }

    #[test]
    fn what_is_too_large_is_cut_or_refused() {
        let long = Answer::of(&json!({ "a": "ñ".repeat(bound::TEXT_CHARS_MAX + 1), "b": null })).unwrap().to_value();
        assert_eq!(long["a"].as_str().unwrap().chars().count(), bound::TEXT_CHARS_MAX + 1, "with its ellipsis");
        assert!(long.get("b").is_none());
        let many = Answer::of(&json!({ "a": vec![1; bound::ITEMS_MAX + 1] })).unwrap().to_value();
        assert_eq!(many["a"].as_array().unwrap().len(), bound::ITEMS_MAX);
        let heavy = Answer::of(&json!({ "a": vec!["x".repeat(1_000); 400] })).unwrap_err();
        assert_eq!(heavy.code, Code::RespuestaGrande);
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(|flag| json!(flag)),
            any::<i64>().prop_map(|number| json!(number)),
            any::<f64>().prop_map(|number| json!(number)),
            Just(json!("")),
            ".{0,12}".prop_map(|text| json!(text)),
        ];
        leaf.prop_recursive(5, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec((".{0,6}", inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_text_is_that_of_the_tree(value in tree()) {
            let text = lean(&serde_json::to_string(&value).unwrap()).expect("nothing is too large");
            prop_assert_eq!(text, serde_json::to_string(&plain(&value)).unwrap());
        }
    }
}
