//! Odoo search domains, typed: conditions joined by *and*, *or*, *not*, written in Odoo's prefix notation.
//!
//! A domain that does not parse is an error and never "no filter": a filter that fell away would show
//! (or change) everything. Nothing here knows a model; a wrong field name is Odoo's to refuse.

use serde_json::{Value, json};

pub use super::domain_parse::DomainError;

/// Deepest nesting of *and* / *or* / *not* that [`Domain::parse`] accepts.
pub const DEPTH_MAX: usize = 16;
/// Most terms of one domain that [`Domain::parse`] accepts.
pub const TERMS_MAX: usize = 200;
/// Most elements of the list of an `in`.
pub const LIST_MAX: usize = 2_000;
/// Longest text that is compared with, in characters.
pub const TEXT_CHARS_MAX: usize = 1_000;

/// A search domain.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// Everything.
    All,
    /// One condition.
    Term(Term),
    /// All of these.
    And(Vec<Domain>),
    /// Any of these.
    Or(Vec<Domain>),
    /// Not this.
    Not(Box<Domain>),
}

/// One condition: field, operator, value.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    pub(super) field: String,
    pub(super) operator: Operator,
    pub(super) value: Value,
}

macro_rules! operators {
    ($($(#[$doc:meta])* $name:ident $text:literal,)*) => {
        /// The comparison operators that Odoo 14 to 20 share.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operator { $($(#[$doc])* $name,)* }

        impl Operator {
            /// Every operator.
            pub const ALL: &'static [Operator] = &[$(Operator::$name,)*];

            /// As Odoo writes it.
            pub fn as_str(self) -> &'static str {
                match self { $(Operator::$name => $text,)* }
            }

            /// Reads Odoo's spelling; nothing else is known.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Operator::$name),)* _ => None }
            }
        }
    };
}

operators! {
    /// Equal.
    Eq "=",
    /// Not equal.
    Ne "!=",
    /// Less.
    Lt "<",
    /// Less or equal.
    Le "<=",
    /// Greater.
    Gt ">",
    /// Greater or equal.
    Ge ">=",
    /// Equal, or no condition at all when the value is empty.
    EqOrUnset "=?",
    /// Like, with `%` and `_` of the caller.
    LikeExactly "=like",
    /// The same, upper and lower case alike.
    IlikeExactly "=ilike",
    /// Contains.
    Like "like",
    /// Contains, upper and lower case alike.
    Ilike "ilike",
    /// Does not contain.
    NotLike "not like",
    /// Does not contain, upper and lower case alike.
    NotIlike "not ilike",
    /// One of a list.
    In "in",
    /// None of a list.
    NotIn "not in",
    /// The record or one below it.
    ChildOf "child_of",
    /// The record or one above it.
    ParentOf "parent_of",
}

impl Term {
    /// A condition with any operator. Field names are the program's own here; what comes from outside goes through [`Domain::parse`].
    pub fn new(field: impl Into<String>, operator: Operator, value: impl Into<Value>) -> Self {
        Self { field: field.into(), operator, value: value.into() }
    }

    /// `field = value`.
    pub fn eq(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(field, Operator::Eq, value)
    }

    /// `field != value`.
    pub fn ne(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(field, Operator::Ne, value)
    }

    /// `field < value`.
    pub fn lt(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(field, Operator::Lt, value)
    }

    /// `field <= value`.
    pub fn le(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(field, Operator::Le, value)
    }

    /// `field > value`.
    pub fn gt(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(field, Operator::Gt, value)
    }

    /// `field >= value`.
    pub fn ge(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(field, Operator::Ge, value)
    }

    /// The field contains the text, upper and lower case alike; `%`, `_` and `\` in the text are meant literally.
    pub fn ilike(field: impl Into<String>, text: &str) -> Self {
        Self::new(field, Operator::Ilike, escape_like(text))
    }

    /// The whole field is the text, upper and lower case alike.
    pub fn same_text(field: impl Into<String>, text: &str) -> Self {
        Self::new(field, Operator::IlikeExactly, escape_like(text))
    }

    /// The field is one of these.
    pub fn in_<V: Into<Value>>(field: impl Into<String>, values: impl IntoIterator<Item = V>) -> Self {
        Self::new(field, Operator::In, Value::Array(values.into_iter().map(Into::into).collect()))
    }

    /// The field is none of these.
    pub fn not_in<V: Into<Value>>(field: impl Into<String>, values: impl IntoIterator<Item = V>) -> Self {
        Self::new(field, Operator::NotIn, Value::Array(values.into_iter().map(Into::into).collect()))
    }

    /// The record or one below it in the tree.
    pub fn child_of(field: impl Into<String>, id: i64) -> Self {
        Self::new(field, Operator::ChildOf, id)
    }

    /// The field is set.
    pub fn is_set(field: impl Into<String>) -> Self {
        Self::new(field, Operator::Ne, false)
    }

    /// The field is empty.
    pub fn is_empty(field: impl Into<String>) -> Self {
        Self::new(field, Operator::Eq, false)
    }
}

/// Makes `%`, `_` and `\` of a text stand for themselves in `like` and `ilike`.
#[must_use]
pub fn escape_like(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

impl From<Term> for Domain {
    fn from(term: Term) -> Self {
        Domain::Term(term)
    }
}

impl Domain {
    /// No condition: said out loud, never the result of a failure.
    #[must_use]
    pub fn all() -> Self {
        Domain::All
    }

    /// Any of these; of none of them, nothing (an empty *or* must not turn into "everything").
    pub fn any(parts: impl IntoIterator<Item = impl Into<Domain>>) -> Self {
        let mut parts: Vec<Domain> = parts.into_iter().map(Into::into).collect();
        match parts.len() {
            0 => Domain::nothing(),
            1 => parts.swap_remove(0),
            _ => Domain::Or(parts),
        }
    }

    /// A domain that no record fits.
    #[must_use]
    pub fn nothing() -> Self {
        Domain::Term(Term::new("id", Operator::In, Value::Array(Vec::new())))
    }

    /// This and also that.
    #[must_use]
    pub fn and(self, other: impl Into<Domain>) -> Self {
        match (self, other.into()) {
            (Domain::All, one) | (one, Domain::All) => one,
            (Domain::And(mut parts), Domain::And(more)) => {
                parts.extend(more);
                Domain::And(parts)
            }
            (Domain::And(mut parts), one) => {
                parts.push(one);
                Domain::And(parts)
            }
            (first, second) => Domain::And(vec![first, second]),
        }
    }

    /// This or that. Everything, if one side is everything.
    #[must_use]
    pub fn or(self, other: impl Into<Domain>) -> Self {
        match (self, other.into()) {
            (Domain::All, _) | (_, Domain::All) => Domain::All,
            (Domain::Or(mut parts), one) => {
                parts.push(one);
                Domain::Or(parts)
            }
            (first, second) => Domain::Or(vec![first, second]),
        }
    }

    /// The contrary.
    #[must_use]
    pub fn negate(self) -> Self {
        match self {
            Domain::All => Domain::nothing(),
            Domain::Not(inner) => *inner,
            other => Domain::Not(Box::new(other)),
        }
    }

    /// Odoo's prefix notation: `["|", ["a", "=", 1], ["b", "=", 2]]`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut out = Vec::new();
        self.push(&mut out);
        Value::Array(out)
    }

    fn push(&self, out: &mut Vec<Value>) {
        match self {
            Domain::All => {}
            Domain::Term(term) => out.push(json!([term.field, term.operator.as_str(), term.value])),
            // `All` inside would leave an operator without operand: an *and* drops it, an *or* becomes it.
            Domain::And(parts) => join("&", parts.iter().filter(|part| !part.is_all()), out),
            Domain::Or(parts) if parts.is_empty() => Domain::nothing().push(out),
            Domain::Or(parts) if parts.iter().any(Domain::is_all) => {}
            Domain::Or(parts) => join("|", parts.iter(), out),
            Domain::Not(inner) if inner.is_all() => Domain::nothing().push(out),
            Domain::Not(inner) => {
                out.push(json!("!"));
                inner.push(out);
            }
        }
    }

    fn is_all(&self) -> bool {
        match self {
            Domain::All => true,
            Domain::Term(_) | Domain::Not(_) => false,
            Domain::And(parts) => parts.iter().all(Domain::is_all),
            Domain::Or(parts) => parts.iter().any(Domain::is_all),
        }
    }
}

fn join<'a>(operator: &str, parts: impl Iterator<Item = &'a Domain>, out: &mut Vec<Value>) {
    let parts: Vec<&Domain> = parts.collect();
    out.extend(std::iter::repeat_n(json!(operator), parts.len().saturating_sub(1)));
    for part in parts {
        part.push(out);
    }
}

#[cfg(test)]
#[path = "domain_tests.rs"]
mod tests;
