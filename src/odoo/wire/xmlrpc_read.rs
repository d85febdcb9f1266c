//! The reading half of the XML-RPC codec: a small pull parser over `quick-xml` events.
//!
//! It never resolves anything: a DOCTYPE or an entity other than the five of XML ends the reading.

use super::limits::{Budget, DecodeError, DecodeLimits};
use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};
use serde_json::{Map, Number, Value};

/// Attributes are never used by XML-RPC; a tag that carries more than this is refused.
const ATTRIBUTE_BYTES_MAX: usize = 256;

pub(super) struct Parser<'a> {
    reader: Reader<&'a [u8]>,
    budget: Budget,
}

impl<'a> Parser<'a> {
    pub(super) fn new(bytes: &'a [u8], limits: &DecodeLimits) -> Result<Self, DecodeError> {
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)?;
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}').trim_start());
        reader.config_mut().expand_empty_elements = true;
        Ok(Self { reader, budget: Budget::new(limits) })
    }

    /// The next event that means something: comments and processing instructions are passed over.
    fn event(&mut self) -> Result<Event<'a>, DecodeError> {
        loop {
            let event = self.reader.read_event().map_err(|e| DecodeError::Malformed(e.to_string()))?;
            match event {
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
                Event::DocType(_) => return Err(DecodeError::Refused("a DOCTYPE")),
                Event::Start(ref tag) if tag.attributes_raw().len() > ATTRIBUTE_BYTES_MAX => {
                    return Err(DecodeError::Refused("a tag with long attributes"));
                }
                other => return Ok(other),
            }
        }
    }

    /// The name of the next opening tag, or nothing if the current element ends here.
    pub(super) fn start(&mut self) -> Result<Option<String>, DecodeError> {
        loop {
            match self.event()? {
                Event::Start(tag) => return Ok(Some(tag.name().into_inner().to_owned())),
                Event::End(_) => return Ok(None),
                Event::Text(text) if text.trim().is_empty() => {}
                Event::Eof => return Err(cut()),
                _ => return Err(DecodeError::WrongShape("text between tags".to_owned())),
            }
        }
    }

    pub(super) fn expect_start(&mut self, name: &str) -> Result<(), DecodeError> {
        match self.start()? {
            Some(found) if found == name => Ok(()),
            Some(found) => Err(DecodeError::WrongShape(format!("<{}> where <{name}> belongs", clip(&found)))),
            None => Err(DecodeError::WrongShape(format!("no <{name}>"))),
        }
    }

    pub(super) fn expect_end(&mut self) -> Result<(), DecodeError> {
        match self.start()? {
            None => Ok(()),
            Some(found) => Err(DecodeError::WrongShape(format!("<{}> too many", clip(&found)))),
        }
    }

    pub(super) fn expect_eof(&mut self) -> Result<(), DecodeError> {
        loop {
            match self.event()? {
                Event::Eof => return Ok(()),
                Event::Text(text) if text.trim().is_empty() => {}
                _ => {
                    return Err(DecodeError::WrongShape("something after the end".to_owned()));
                }
            }
        }
    }

    /// Text up to the end of the current element, which must hold no other element.
    pub(super) fn text(&mut self) -> Result<String, DecodeError> {
        let mut out = String::new();
        loop {
            match self.event()? {
                Event::Text(text) => out.push_str(&text.xml10_content()),
                Event::CData(data) => out.push_str(&data.xml10_content()),
                Event::GeneralRef(reference) => out.push(resolve(&reference)?),
                Event::End(_) => return Ok(out),
                Event::Eof => return Err(cut()),
                _ => return Err(DecodeError::WrongShape("an element inside text".to_owned())),
            }
        }
    }

    /// What stands in a `<value>` that was just opened; its end tag is read too.
    pub(super) fn value(&mut self, depth: usize) -> Result<Value, DecodeError> {
        self.budget.take(depth)?;
        let mut bare = String::new();
        loop {
            match self.event()? {
                Event::Text(text) => bare.push_str(&text.xml10_content()),
                Event::CData(data) => bare.push_str(&data.xml10_content()),
                Event::GeneralRef(reference) => bare.push(resolve(&reference)?),
                // A value without a type is a string.
                Event::End(_) => return Ok(Value::String(bare)),
                Event::Start(tag) => {
                    if !bare.trim().is_empty() {
                        return Err(DecodeError::WrongShape("text before a type".to_owned()));
                    }
                    let name = tag.name().into_inner().to_owned();
                    let value = self.typed(&name, depth)?;
                    self.expect_end()?;
                    return Ok(value);
                }
                Event::Eof => return Err(cut()),
                _ => return Err(DecodeError::WrongShape("a value".to_owned())),
            }
        }
    }

    fn typed(&mut self, name: &str, depth: usize) -> Result<Value, DecodeError> {
        match name {
            "string" => Ok(Value::String(self.text()?)),
            "int" | "i4" | "i8" | "i1" | "i2" | "ex:i8" | "ex:i2" | "ex:i1" => {
                let text = self.text()?;
                text.trim().parse::<i64>().map(Value::from).map_err(|_| not_a(name, &text))
            }
            "boolean" => {
                let text = self.text()?;
                match text.trim() {
                    "1" | "true" => Ok(Value::Bool(true)),
                    "0" | "false" => Ok(Value::Bool(false)),
                    _ => Err(not_a(name, &text)),
                }
            }
            "double" | "float" | "ex:float" => {
                let text = self.text()?;
                let number = text.trim().parse::<f64>().map_err(|_| not_a(name, &text))?;
                Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
            }
            "dateTime.iso8601" => Ok(Value::String(self.text()?.trim().to_owned())),
            "base64" => {
                let mut text = self.text()?;
                text.retain(|c| !c.is_ascii_whitespace());
                Ok(Value::String(text))
            }
            "nil" | "ex:nil" => {
                self.expect_end()?;
                Ok(Value::Null)
            }
            "array" => self.array(depth),
            "struct" => self.members(depth),
            other => Err(DecodeError::WrongShape(format!("type <{}>", clip(other)))),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let mut items = Vec::new();
        self.expect_start("data")?;
        while let Some(name) = self.start()? {
            if name != "value" {
                return Err(DecodeError::WrongShape(format!("<{}> in an array", clip(&name))));
            }
            if items.is_empty() {
                self.budget.list()?;
            }
            items.push(self.value(depth + 1)?);
        }
        self.expect_end()?;
        Ok(Value::Array(items))
    }

    fn members(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let mut members = Map::new();
        while let Some(name) = self.start()? {
            if name != "member" {
                return Err(DecodeError::WrongShape(format!("<{}> in a struct", clip(&name))));
            }
            if members.is_empty() {
                self.budget.object()?;
            }
            self.expect_start("name")?;
            let key = self.text()?;
            self.expect_start("value")?;
            let value = self.value(depth + 1)?;
            self.expect_end()?;
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<char, DecodeError> {
    if let Some(c) = reference.resolve_char_ref().map_err(|e| DecodeError::Malformed(e.to_string()))? {
        return Ok(c);
    }
    match &**reference {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(DecodeError::Refused("an entity")),
    }
}

fn cut() -> DecodeError {
    DecodeError::Malformed("the document breaks off".to_owned())
}

fn not_a(name: &str, text: &str) -> DecodeError {
    DecodeError::Malformed(format!("{:?} as {name}", clip(text)))
}

fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}
