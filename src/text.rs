//! The sentences people and agents read, from `locales/`: Spanish first, English beside it.
//!
//! Not here: text for developers (logs, docstrings), which is English and stays in the code.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A language Dunet speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Language {
    /// Spanish as spoken in the Dominican Republic.
    #[default]
    Es,
    /// English.
    En,
}

impl Language {
    /// The code used in tables, tokens and `locales/`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es => "es",
            Self::En => "en",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "es" => Ok(Self::Es),
            "en" => Ok(Self::En),
            other => Err(format!("unknown language '{other}': use es or en")),
        }
    }
}

/// The sentence of that key. A missing key gives the key itself, which the tests of the registers catch.
#[must_use]
pub fn text(language: Language, key: &str) -> String {
    pattern(language, key).into_owned()
}

fn pattern(language: Language, key: &str) -> Cow<'_, str> {
    rust_i18n::t!(key, locale = language.as_str())
}

/// The sentence of that key with `%{name}` replaced by the facts. Values are inserted as they are.
#[must_use]
pub fn fill(language: Language, key: &str, facts: &[(&str, &str)]) -> String {
    let pattern = pattern(language, key);
    let mut out = String::with_capacity(pattern.len() + 32);
    let mut rest = &*pattern;
    // One pass, so that a value that itself contains "%{…}" is never expanded.
    while let Some(start) = rest.find('%') {
        let named = rest[start + 1..].strip_prefix('{').and_then(|named| named.split_once('}'));
        let fact = named.and_then(|(name, _)| facts.iter().find(|(fact, _)| *fact == name));
        out.push_str(&rest[..start]);
        match (fact, named) {
            (Some((_, value)), Some((_, behind))) => {
                out.push_str(value);
                rest = behind;
            }
            _ => {
                out.push('%');
                rest = &rest[start + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_filled_in_once() {
        let sentence = fill(Language::Es, "argumentos.falta", &[("campo", "%{campo}")]);
        assert_eq!(sentence.matches("%{campo}").count(), 1, "{sentence}");
        assert_ne!(text(Language::Es, "argumentos.falta"), text(Language::En, "argumentos.falta"));
    }
}
