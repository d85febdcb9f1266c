use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn taxpayer(text: &str) -> Query {
    Query::Taxpayer(TaxpayerId::parse(text).unwrap())
}

#[test]
fn digits_decide_what_a_text_is() {
    let phone = |digits: &str| Query::Phone(digits.to_owned());
    for (text, want) in [
        ("131793916", taxpayer("131793916")),
        (" 131-79391-6 ", taxpayer("131793916")),
        ("RNC 1-31-79391-6", taxpayer("131793916")),
        ("cédula: 001-1391820-5", taxpayer("00113918205")),
        ("00113918205", taxpayer("00113918205")),
        ("8095550123", phone("8095550123")),
        ("(809) 555-0123", phone("8095550123")),
        ("+1 829 555 0123", phone("8295550123")),
        ("18495550123", phone("8495550123")),
        ("tel. 809.555.0123", phone("8095550123")),
        ("180-9555012-3", taxpayer("18095550123")),
        ("555-0123", phone("5550123")),
        ("+58 212 681 0538", phone("2126810538")),
        ("6039963829", phone("6039963829")),
        ("42", Query::Number { id: 42, digits: "42".to_owned() }),
        ("id:42", Query::Number { id: 42, digits: "42".to_owned() }),
        ("cliente 00042", Query::Number { id: 42, digits: "00042".to_owned() }),
        ("info@nova.do", Query::Email("info@nova.do".to_owned())),
        ("correo info@nova.do", Query::Email("info@nova.do".to_owned())),
        ("Ferretería Nova", Query::Name("Ferretería Nova".to_owned())),
        ("Colmado 809", Query::Name("Colmado 809".to_owned())),
        ("3M", Query::Name("3M".to_owned())),
        ("", Query::Name(String::new())),
        ("1234567890123456", Query::Name("1234567890123456".to_owned())),
        ("１３１７９３９１６", Query::Name("１３１７９３９１６".to_owned())),
    ] {
        assert_eq!(classify(text), want, "{text}");
    }
}

#[test]
fn phones_are_found_in_every_notation() {
    for stored in ["(809) 555-0123", "+1 809-555-0123", "8095550123", "809 555 01 23", "1.809.555.0123", "Casa 809-555-0123 / 829-555-9999"] {
        assert!(has_digits(stored, "8095550123"), "{stored}");
    }
    assert!(!has_digits("809-555-0124", "8095550123"));
    assert_eq!(digits_pattern("809"), "8%0%9");
    let two = phone_domain("5550123", true).to_value();
    assert_eq!(two, json!(["|", ["phone", "ilike", "5%5%5%0%1%2%3"], ["mobile", "ilike", "5%5%5%0%1%2%3"]]));
    assert!(!phone_domain("5550123", false).to_value().to_string().contains("mobile"));
}

#[test]
fn a_number_is_looked_up_in_all_its_forms() {
    let value = domain(&taxpayer("131793916"), false).to_value();
    assert_eq!(value, json!(["&", ["vat", "in", ["131793916", "131-79391-6", "DO131793916", "1-31-79391-6"]], ["parent_id", "=", false]]));
    assert_eq!(vat_forms(&TaxpayerId::parse("00113918205").unwrap()), ["00113918205", "001-1391820-5", "DO00113918205"]);
}

#[test]
fn an_empty_name_finds_nobody_rather_than_everybody() {
    assert_eq!(domain(&Query::Name("% _".to_owned()), false).to_value()[1], json!(["id", "in", []]));
    assert_eq!(similar_domain("name", &[]), Domain::nothing());
}

fn customer(id: i64, name: &str) -> Customer {
    Customer { cliente_id: id, nombre: name.to_owned(), rnc: None, telefono: None, email: None, ciudad: None, es_empresa: true, empresa: None, empresa_id: None }
}

#[test]
fn one_is_chosen_only_when_it_is_clear() {
    let found = |customers: &[(i64, &str)], similar| Found { customers: customers.iter().map(|(id, name)| customer(*id, name)).collect(), total: customers.len() as u64, similar };
    let pick = |found: Found, text: &str| choose(found, &classify(text), text).map(|customer| customer.cliente_id).map_err(|error| error.code.as_str());
    assert_eq!(pick(found(&[(7, "Nova SRL")], false), "nova"), Ok(7));
    assert_eq!(pick(found(&[(7, "Nova SRL"), (8, "Nóva")], false), "nova"), Ok(8));
    assert_eq!(pick(found(&[(7, "Nova SRL"), (8, "Nova Norte")], false), "nova"), Err("varios_posibles"));
    assert_eq!(pick(found(&[(7, "Nova"), (8, "NOVA")], false), "nova"), Err("varios_posibles"));
    assert_eq!(pick(found(&[(7, "Nova")], true), "noba"), Err("varios_posibles"));
    assert_eq!(pick(found(&[], false), "nova"), Err("no_encontrado"));
    assert_eq!(pick(found(&[(9, "Con código 42"), (42, "El del id")], false), "42"), Ok(42));
}

#[test]
fn candidates_carry_their_ids() {
    let found = Found { customers: (1..9).map(|id| customer(id, "Nova")).collect(), total: 8, similar: false };
    let error = choose(found, &classify("nova"), "nova").unwrap_err();
    let candidates = error.data.unwrap()["candidatos"].clone();
    assert_eq!(candidates.as_array().map(Vec::len), Some(CANDIDATES_MAX));
    assert_eq!(candidates[0]["cliente_id"], Value::from(1));
}

proptest! {
    #[test]
    fn any_text_is_something(text in "\\PC{0,40}") {
        let query = classify(&text);
        let _ = domain(&query, true).to_value();
    }
}
