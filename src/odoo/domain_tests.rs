//! Domains: what is written, what is read, and that writing and reading agree.

use super::super::domain_parse::DomainError;
use super::{Domain, Operator, Term, escape_like};
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn domains_are_written_in_prefix_notation() {
    for (domain, want) in [
        (Domain::all(), json!([])),
        (Domain::all().and(Term::eq("vat", "101")), json!([["vat", "=", "101"]])),
        (Domain::all().and(Term::eq("a", 1)).and(Term::ne("b", 2)), json!(["&", ["a", "=", 1], ["b", "!=", 2]])),
        (Domain::any([Term::eq("a", 1), Term::eq("b", 2), Term::eq("c", 3)]), json!(["|", "|", ["a", "=", 1], ["b", "=", 2], ["c", "=", 3]])),
        (Domain::from(Term::is_set("vat")).negate(), json!(["!", ["vat", "!=", false]])),
        (Domain::from(Term::is_set("vat")).negate().negate(), json!([["vat", "!=", false]])),
        (
            Domain::from(Term::in_("id", [1, 2])).and(Domain::any([Term::ilike("name", "a"), Term::child_of("parent_id", 5)])),
            json!(["&", ["id", "in", [1, 2]], "|", ["name", "ilike", "a"], ["parent_id", "child_of", 5]]),
        ),
        (Domain::And(vec![Domain::All, Domain::from(Term::gt("a", 1.5))]), json!([["a", ">", 1.5]])),
    ] {
        assert_eq!(domain.to_value(), want);
    }
}

#[test]
fn nothing_never_turns_into_everything() {
    let nothing = json!([["id", "in", []]]);
    assert_eq!(Domain::any(Vec::<Term>::new()).to_value(), nothing);
    assert_eq!(Domain::Or(Vec::new()).to_value(), nothing);
    assert_eq!(Domain::all().negate().to_value(), nothing);
    assert_eq!(Domain::Not(Box::new(Domain::And(vec![Domain::All]))).to_value(), nothing);
    assert_eq!(Domain::all().or(Term::eq("a", 1)).to_value(), json!([]));
}

#[test]
fn wildcards_of_the_caller_are_only_text() {
    assert_eq!(escape_like(r"50%_a\b"), r"50\%\_a\\b");
    assert_eq!(Domain::from(Term::ilike("name", "%")).to_value(), json!([["name", "ilike", "\\%"]]));
}

#[test]
fn domains_from_outside_are_read() {
    for (value, want) in [
        (json!([]), json!([])),
        (json!([["a", "=", 1], ["b", "=", 2]]), json!(["&", ["a", "=", 1], ["b", "=", 2]])),
        (json!(["|", ["a", "=", 1], "!", ["b", "in", [1, "x"]]]), json!(["|", ["a", "=", 1], "!", ["b", "in", [1, "x"]]])),
        (
            json!(["|", ["a", "=", 1], ["b", "=", 2], ["partner_id.country_id.code", "=", "DO"]]),
            json!(["&", "|", ["a", "=", 1], ["b", "=", 2], ["partner_id.country_id.code", "=", "DO"]]),
        ),
    ] {
        assert_eq!(Domain::parse(&value).unwrap().to_value(), want);
    }
}

#[test]
fn what_is_no_domain_is_an_error() {
    use DomainError as E;
    let deep: Vec<Value> = std::iter::repeat_n(json!("!"), 40).chain([json!(["a", "=", 1])]).collect();
    let long: Vec<Value> = std::iter::repeat_n(json!(["a", "=", 1]), 500).collect();
    let list: Vec<i32> = (0..3000).collect();
    for (value, want) in [
        (json!(null), E::NotAList),
        (json!({}), E::NotAList),
        (json!("[('a','=',1)]"), E::NotAList),
        (json!([1]), E::NotACondition(0)),
        (json!([["a", "="]]), E::NotACondition(0)),
        (json!([["a", "=", 1, 2]]), E::NotACondition(0)),
        (json!([["a", "=", 1], "and"]), E::NotACondition(1)),
        (json!([[1, "=", 1]]), E::NotACondition(0)),
        (json!([["A", "=", 1]]), E::BadField("A".into())),
        (json!([["_secret", "=", 1]]), E::BadField("_secret".into())),
        (json!([["a..b", "=", 1]]), E::BadField("a..b".into())),
        (json!([["a;drop", "=", 1]]), E::BadField("a;drop".into())),
        (json!([["", "=", 1]]), E::BadField(String::new())),
        (json!([["a", "~~", 1]]), E::BadOperator("~~".into())),
        (json!([["a", "inselect", 1]]), E::BadOperator("inselect".into())),
        (json!([["a", "any", [["b", "=", 1]]]]), E::BadOperator("any".into())),
        (json!([["a", "in", 1]]), E::BadValue("a".into())),
        (json!([["a", "in", list]]), E::BadValue("a".into())),
        (json!([["a", "ilike", 5]]), E::BadValue("a".into())),
        (json!([["a", "=", {"x": 1}]]), E::BadValue("a".into())),
        (json!([["a", "=", "x".repeat(1001)]]), E::BadValue("a".into())),
        (json!(["|", ["a", "=", 1]]), E::MissingOperand),
        (json!(["!"]), E::MissingOperand),
        (json!(deep), E::TooDeep),
        (json!(long), E::TooLong),
    ] {
        assert_eq!(Domain::parse(&value), Err(want), "{value}");
    }
}

fn domains() -> impl Strategy<Value = Domain> {
    let scalar = prop_oneof![any::<i32>().prop_map(Value::from), any::<bool>().prop_map(Value::from), "[a-zñ%_ ]{0,10}".prop_map(Value::from)];
    let term = ("[a-z][a-z0-9_]{0,8}(\\.[a-z][a-z_]{0,5}){0,2}", prop::sample::select(Operator::ALL), scalar, "[a-z]{0,5}").prop_map(|(field, operator, value, text)| {
        let value = match operator {
            Operator::In | Operator::NotIn => json!([value]),
            Operator::Like | Operator::Ilike | Operator::NotLike | Operator::NotIlike | Operator::LikeExactly | Operator::IlikeExactly => json!(text),
            _ => value,
        };
        Domain::Term(Term::new(field, operator, value))
    });
    term.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Domain::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Domain::Or),
            inner.prop_map(|part| Domain::Not(Box::new(part))),
        ]
    })
}

proptest! {
    /// Reading what was written means the same: it is written the same way again.
    #[test]
    fn what_is_written_is_read(domain in domains()) {
        let written = domain.to_value();
        let read = Domain::parse(&written).unwrap();
        prop_assert_eq!(&read.to_value(), &written);
        // Counting operands: in prefix notation every term closes one place, every & and | opens one.
        let items = written.as_array().unwrap();
        let terms = items.iter().filter(|item| item.is_array()).count();
        let joins = items.iter().filter(|item| matches!(item.as_str(), Some("&" | "|"))).count();
        prop_assert_eq!(terms, joins + 1);
    }
}
