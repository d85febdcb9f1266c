//! Reads a domain that came from outside. Everything that is not plainly a domain is an error.

use super::domain::{DEPTH_MAX, Domain, LIST_MAX, Operator, TERMS_MAX, TEXT_CHARS_MAX, Term};
use serde_json::Value;

/// Longest path of a field (`partner_id.country_id.code`), in bytes.
const FIELD_BYTES_MAX: usize = 128;

/// Why a value is no domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// It is not a list.
    #[error("a domain is a list of conditions")]
    NotAList,
    /// An element is neither a condition of three parts nor `&`, `|`, `!`.
    #[error("element {0} of the domain is neither a condition [field, operator, value] nor & | !")]
    NotACondition(usize),
    /// The field is not a path of lower-case names.
    #[error("{0:?} is not a field name")]
    BadField(String),
    /// Odoo has no such operator.
    #[error("{0:?} is not an operator")]
    BadOperator(String),
    /// The value does not fit its operator, or is longer than allowed.
    #[error("the value of {0:?} does not fit its operator")]
    BadValue(String),
    /// `&`, `|` or `!` without enough conditions after it.
    #[error("an operator (& | !) lacks its conditions")]
    MissingOperand,
    /// Too deep.
    #[error("the domain is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// Too many conditions.
    #[error("the domain has more than {TERMS_MAX} conditions")]
    TooLong,
}

impl Domain {
    /// Reads Odoo's prefix notation. Conditions that stand side by side are joined by *and*, as Odoo does.
    ///
    /// # Errors
    /// [`DomainError`]; there is no lenient reading.
    pub fn parse(value: &Value) -> Result<Domain, DomainError> {
        let items = value.as_array().ok_or(DomainError::NotAList)?;
        let number = |wanted: fn(&Value) -> bool| items.iter().filter(|item| wanted(item)).count();
        // Joins are not counted by themselves: there is one fewer than conditions, or one of them lacks its operand.
        if number(Value::is_array) > TERMS_MAX || number(|item| item == "!") > TERMS_MAX || items.len() > TERMS_MAX * 3 {
            return Err(DomainError::TooLong);
        }
        let mut at = 0;
        let mut domain = Domain::All;
        while at < items.len() {
            domain = domain.and(operand(items, &mut at, 1, "&")?);
        }
        Ok(domain)
    }
}

/// Reads one operand of `within`. Only another operator inside is a level deeper: `& a & b c` is as deep as the list `a b c`.
fn operand(items: &[Value], at: &mut usize, depth: usize, within: &str) -> Result<Domain, DomainError> {
    if depth > DEPTH_MAX {
        return Err(DomainError::TooDeep);
    }
    let index = *at;
    let item = items.get(index).ok_or(DomainError::MissingOperand)?;
    *at += 1;
    match item {
        // A run of the same operator (`| | a b c`) is one level, not one level per condition.
        Value::String(sign) if sign == "&" || sign == "|" => {
            let mut count = 2;
            while items.get(*at) == Some(item) {
                *at += 1;
                count += 1;
            }
            let depth = depth + usize::from(sign != within);
            let mut parts = Vec::with_capacity(count);
            for _ in 0..count {
                parts.push(operand(items, at, depth, sign)?);
            }
            Ok(if sign == "&" { Domain::And(parts) } else { Domain::Or(parts) })
        }
        Value::String(sign) if sign == "!" => Ok(Domain::Not(Box::new(operand(items, at, depth + 1, sign)?))),
        Value::Array(parts) => term(parts, index).map(Domain::Term),
        _ => Err(DomainError::NotACondition(index)),
    }
}

fn term(parts: &[Value], index: usize) -> Result<Term, DomainError> {
    let [Value::String(field), Value::String(operator), value] = parts else {
        return Err(DomainError::NotACondition(index));
    };
    if !is_field_path(field) {
        return Err(DomainError::BadField(field.chars().take(60).collect()));
    }
    let operator = Operator::parse(operator).ok_or_else(|| DomainError::BadOperator(operator.chars().take(20).collect()))?;
    if !fits(operator, value) {
        return Err(DomainError::BadValue(field.clone()));
    }
    Ok(Term::new(field.as_str(), operator, value.clone()))
}

/// `name`, `partner_id.country_id.code`: lower-case names, no private ones (`_x`), no empty step.
pub(super) fn is_field_path(text: &str) -> bool {
    text.len() <= FIELD_BYTES_MAX
        && text.split('.').all(|step| step.starts_with(|c: char| c.is_ascii_lowercase()) && step.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
}

fn fits(operator: Operator, value: &Value) -> bool {
    let scalar = |value: &Value| match value {
        Value::String(text) => text.chars().count() <= TEXT_CHARS_MAX,
        Value::Bool(_) | Value::Number(_) => true,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    let list = |value: &Value| value.as_array().is_some_and(|items| items.len() <= LIST_MAX && items.iter().all(scalar));
    match operator {
        Operator::In | Operator::NotIn => list(value),
        Operator::ChildOf | Operator::ParentOf => list(value) || scalar(value),
        Operator::Like | Operator::Ilike | Operator::NotLike | Operator::NotIlike | Operator::LikeExactly | Operator::IlikeExactly => value.is_string() && scalar(value),
        Operator::Eq | Operator::Ne | Operator::Lt | Operator::Le | Operator::Gt | Operator::Ge | Operator::EqOrUnset => scalar(value),
    }
}
