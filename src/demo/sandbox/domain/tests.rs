//! Domains against a handful of records.

use serde_json::json;

use super::*;
use crate::demo::sandbox::store::Row;

fn store() -> Store {
    let mut store = Store::default();
    let mut add = |model, row: Value| {
        let row: Row = row.as_object().unwrap().clone();
        store.insert(model, row).unwrap()
    };
    add("res.country", json!({"name": "República Dominicana", "code": "DO"}));
    add("res.partner", json!({"name": "Ferretería Peña", "vat": "145000014", "phone": "809-555-0101", "is_company": true, "country_id": 1, "active": true, "color": 3}));
    add("res.partner", json!({"name": "Ana Peña", "vat": false, "phone": "(829) 555-0102", "parent_id": 1, "country_id": false, "active": true, "color": 0}));
    add("res.partner", json!({"name": "PENA_y_Cía 100%", "vat": "", "active": false, "email": "x@example.com", "color": 7, "category_id": [2, 3]}));
    store
}

fn found(domain: &Value) -> Vec<i64> {
    let store = store();
    let domain = Domain::parse(model("res.partner").unwrap(), domain).unwrap();
    store.ids("res.partner").into_iter().filter(|id| domain.matches(&store, *id)).collect()
}

#[test]
fn operators() {
    for (domain, ids) in [
        (json!([]), vec![1, 2, 3]),
        (json!([["id", "=", 2]]), vec![2]),
        (json!([["id", "in", [1, 3, 99]]]), vec![1, 3]),
        (json!([["id", "not in", [1]]]), vec![2, 3]),
        (json!([["vat", "=", "145000014"]]), vec![1]),
        (json!([["vat", "=", false]]), vec![2, 3]),
        (json!([["vat", "!=", false]]), vec![1]),
        (json!([["vat", "!=", "145000014"]]), vec![2, 3]),
        (json!([["vat", "in", ["145000014", false]]]), vec![1, 2, 3]),
        (json!([["name", "ilike", "peña"]]), vec![1, 2]),
        (json!([["name", "ilike", "pena"]]), vec![3]),
        (json!([["name", "like", "peña"]]), vec![]),
        (json!([["name", "not ilike", "peña"]]), vec![3]),
        (json!([["name", "ilike", "pe_a"]]), vec![1, 2, 3]),
        (json!([["name", "=ilike", "ana%"]]), vec![2]),
        (json!([["name", "=like", "Ana"]]), vec![]),
        (json!([["name", "ilike", "100\\%"]]), vec![3]),
        (json!([["color", ">", 2]]), vec![1, 3]),
        (json!([["color", "<=", 3]]), vec![1, 2]),
        (json!([["active", "=", false]]), vec![3]),
        (json!([["is_company", "!=", true]]), vec![2, 3]),
        (json!([["country_id", "=", 1]]), vec![1]),
        (json!([["country_id", "=", false]]), vec![2, 3]),
        (json!([["country_id.code", "=", "DO"]]), vec![1]),
        (json!([["country_id", "ilike", "dominicana"]]), vec![1]),
        (json!([["parent_id.name", "ilike", "ferretería"]]), vec![2]),
        (json!([["child_ids", "any", [["name", "ilike", "ana"]]]]), vec![1]),
        (json!([["child_ids", "=", false]]), vec![2, 3]),
        (json!([["id", "child_of", 1]]), vec![1, 2]),
        (json!([["parent_id", "child_of", [1]]]), vec![2]),
        (json!([["category_id", "in", [3, 9]]]), vec![3]),
        (json!([["complete_name", "ilike", "peña, ana"]]), vec![2]),
        (json!([["phone_mobile_search", "ilike", "8295550102"]]), vec![2]),
        (json!([["phone_sanitized", "=", "+18095550101"]]), vec![1]),
        (json!([["name", "=?", false]]), vec![1, 2, 3]),
        (json!([[1, "=", 1]]), vec![1, 2, 3]),
        (json!([[0, "=", 1]]), vec![]),
    ] {
        assert_eq!(found(&domain), ids, "{domain}");
    }
}

#[test]
fn prefix_notation() {
    assert_eq!(found(&json!(["|", ["id", "=", 1], ["id", "=", 3]])), [1, 3]);
    assert_eq!(found(&json!(["!", ["id", "=", 1]])), [2, 3]);
    assert_eq!(found(&json!(["!", "|", ["id", "=", 1], ["id", "=", 2]])), [3]);
    assert_eq!(found(&json!(["|", "&", ["name", "ilike", "a"], ["vat", "!=", false], ["id", "=", 3], ["id", "<", 9]])), [1, 3]);
}

#[test]
fn long_domains_are_flat_and_deep_ones_refused() {
    let mut many = vec![json!("|"); 4_000];
    many.extend((0..4_001).map(|id| json!(["id", "=", id])));
    assert_eq!(found(&json!(many)), [1, 2, 3]);
    let mut alternating: Vec<Value> = (0..4_000).map(|at| json!(if at % 2 == 0 { "&" } else { "|" })).collect();
    alternating.extend((0..4_001).map(|id| json!(["id", "=", id])));
    assert!(Domain::parse(model("res.partner").unwrap(), &json!(alternating)).is_err());
    let mut denied = vec![json!("!"); 4_000];
    denied.push(json!(["id", "=", 1]));
    assert!(Domain::parse(model("res.partner").unwrap(), &json!(denied)).is_err());
}

#[test]
fn what_is_wrong_is_an_error_with_odoos_text() {
    for (domain, text) in [
        (json!([["nofield", "=", 1]]), "Invalid field res.partner.nofield in condition ('nofield', '=', 1)"),
        (json!([["nofield.name", "=", "x"]]), "Invalid field res.partner.nofield in condition ('nofield.name', '=', 'x')"),
        (json!([["country_id.nof", "=", "x"]]), "Invalid field res.country.nof in condition ('nof', '=', 'x')"),
        (json!(["&", ["name", "=", "x"]]), "Domain() malformed domain ['&', ['name', '=', 'x']]"),
        (json!([["name", "="]]), "Domain() invalid item in domain: ['name', '=']"),
        (json!("x"), "Domain() invalid argument type for domain: 'x'"),
        (json!([["name", "~~", "x"]]), "Invalid operator in condition ('name', '~~', 'x')"),
        (json!([["phone_mobile_search", "ilike", "80"]]), "Escribe al menos 3 caracteres al buscar un número telefónico."),
    ] {
        assert_eq!(Domain::parse(model("res.partner").unwrap(), &domain).unwrap_err().message(), text);
    }
}
