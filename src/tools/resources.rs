//! Resources: what a program can read by address instead of calling a tool. A record's address is a call of the tool that shows it: the same
//! permission, limits, quota and usage. The guide is said from what the caller may do.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::dispatch::{may, permitted};
use crate::domain::tokens::Caller;
use crate::text::{fill, text};

/// The guide's address.
pub const GUIDE: &str = "dunet://guia";
/// Longest address that is looked at, characters.
const URI_CHARS_MAX: usize = 200;
/// What is encoded in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// A kind of records that have addresses.
pub struct Records {
    /// What stands before the variable.
    pub prefix: &'static str,
    /// The variable, which is an argument of the tool.
    pub variable: &'static str,
    /// The tool that shows one.
    pub tool: &'static str,
    /// The writing tool that makes one, whose result has the variable's value under its name.
    made_by: Option<&'static str>,
}

/// Every kind, in the order they are listed.
pub const RECORDS: &[Records] = &[
    Records { prefix: "odoo://cotizacion/", variable: "numero", tool: "ver_cotizacion", made_by: Some("crear_cotizacion") },
    Records { prefix: "dgii://contribuyente/", variable: "rnc", tool: "consultar_rnc_dgii", made_by: None },
];

impl Records {
    /// As RFC 6570 writes it.
    #[must_use]
    pub fn template(&self) -> String {
        format!("{}{{{}}}", self.prefix, self.variable)
    }

    /// A few words for people.
    #[must_use]
    pub fn title(&self, caller: &Caller) -> String {
        text(caller.language(), &format!("recursos.{}.titulo", self.tool))
    }

    /// What one is.
    #[must_use]
    pub fn about(&self, caller: &Caller) -> String {
        text(caller.language(), &format!("recursos.{}.resumen", self.tool))
    }
}

/// The kinds a caller may read, in the register's order.
pub fn readable(caller: &Caller) -> impl Iterator<Item = &'static Records> + '_ {
    RECORDS.iter().filter(|records| may(caller, records.tool).is_some())
}

/// What an address asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// The guide.
    Guide,
    /// That tool, with these arguments.
    Record(&'static str, Map<String, Value>),
}

/// Reads an address; none when there is nothing of ours at it, or nothing for this caller.
#[must_use]
pub fn asked(caller: &Caller, uri: &str) -> Option<Asked> {
    if uri == GUIDE {
        return Some(Asked::Guide);
    }
    if uri.chars().count() > URI_CHARS_MAX {
        return None;
    }
    readable(caller).find_map(|records| {
        let value = decoded(uri.strip_prefix(records.prefix)?)?;
        let named = !value.is_empty() && !value.contains(['/', '?', '#']);
        named.then(|| Asked::Record(records.tool, Map::from_iter([(records.variable.to_owned(), json!(value))])))
    })
}

/// A record that a result is about, with its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Address.
    pub uri: String,
    /// The record's own name.
    pub name: String,
}

/// The record that a write made, if the caller may read it.
#[must_use]
pub fn made(caller: &Caller, tool: &str, result: &Value) -> Option<Link> {
    let records = readable(caller).find(|records| records.made_by == Some(tool))?;
    let name = result.get(records.variable)?.as_str()?;
    Some(Link { uri: format!("{}{}", records.prefix, utf8_percent_encode(name, SEGMENT)), name: name.to_owned() })
}

/// The guide's text: Markdown.
#[must_use]
pub fn guide(caller: &Caller) -> String {
    let company = caller.tenant().name.as_str();
    let tools: String = permitted(caller).map(|facts| format!("- **{}** (`{}`): {}\n", facts.title, facts.name, facts.about)).collect();
    let instructions = fill(caller.language(), "mcp.instrucciones", &[("empresa", company)]);
    fill(caller.language(), "guia.texto", &[("empresa", company), ("instrucciones", &instructions), ("herramientas", tools.trim_end())])
}

/// Without per cent signs; none when it is no text.
fn decoded(value: &str) -> Option<String> {
    percent_decode_str(value).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_was_encoded() {
        for name in ["S00012", "SO/2026/0007", "Ñandú 5 %", "dunet:0123456789abcdef"] {
            let written = utf8_percent_encode(name, SEGMENT).to_string();
            assert!(!written.contains(['/', ' ']), "{written}");
            assert_eq!(decoded(&written).as_deref(), Some(name));
        }
        assert_eq!(decoded("%ff"), None, "that is no text");
    }
}
