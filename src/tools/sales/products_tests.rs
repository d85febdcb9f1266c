use serde_json::{Map, Value, json};

use super::*;

const SHAPE: Shape = Shape { stock: true, storable_flag: true, variants: true };

fn product(row: Value) -> Product {
    let Value::Object(row) = row else { panic!("an object") };
    Product::of(&row, SHAPE).unwrap()
}

fn chairs() -> Vec<Product> {
    [
        json!({"id": 31, "display_name": "[FURN_0269] Silla de oficina negra", "name": "Silla de oficina negra", "default_code": "FURN_0269", "lst_price": 120.5}),
        json!({"id": 5, "display_name": "[FURN_7777] Silla de oficina", "name": "Silla de oficina", "default_code": "FURN_7777", "lst_price": 70.0}),
        json!({"id": 39, "display_name": "[FURN_8855] Cajón", "name": "Cajón", "default_code": "FURN_8855", "barcode": "31", "lst_price": 110.5}),
        json!({"id": 13, "display_name": "[FURN_0096] Escritorio (Blanco, Acero)", "name": "Escritorio", "default_code": "FURN_0096", "lst_price": 750.0}),
        json!({"id": 16, "display_name": "[FURN_0097] Escritorio (Negro, Acero)", "name": "Escritorio", "default_code": "FURN_0097", "lst_price": 750.0}),
    ]
    .map(product)
    .to_vec()
}

fn chosen(text: &str) -> Result<i64, Vec<i64>> {
    match choose(&Wanted::parse(text), &chairs(), false) {
        Choice::One(product) => Ok(product.id),
        Choice::Several(products) => Err(products.iter().map(|product| product.id).collect()),
        Choice::None => Err(Vec::new()),
    }
}

#[test]
fn a_line_is_resolved_by_id_code_barcode_or_words() {
    assert_eq!(chosen("5"), Ok(5));
    assert_eq!(chosen("id:13"), Ok(13));
    assert_eq!(chosen("furn_8855"), Ok(39));
    assert_eq!(chosen("silla de oficina"), Ok(5), "the whole name wins over a longer one");
    assert_eq!(chosen("sillas negras"), Ok(31));
    assert_eq!(chosen("silla negro"), Err(Vec::new()), "gender is not bent");
    assert_eq!(chosen("cajones"), Ok(39));
    assert_eq!(chosen("escritorio blanco"), Ok(13));
    assert_eq!(chosen("mesa"), Err(Vec::new()));
}

#[test]
fn doubts_are_asked_about() {
    assert_eq!(chosen("silla"), Err(vec![5, 31]));
    assert_eq!(chosen("escritorio"), Err(vec![16, 13]), "one name, two variants");
    assert_eq!(chosen("31"), Err(vec![39, 31]), "an id and somebody else's barcode");
    assert_eq!(chosen("id:31"), Ok(31));
}

#[test]
fn every_line_in_doubt_is_reported() {
    let lines: Vec<String> = ["silla", "cajon", "mesa"].map(str::to_owned).to_vec();
    let choices = lines.iter().map(|line| choose(&Wanted::parse(line), &chairs(), false)).collect();
    let error = settle(&lines, choices).unwrap_err();
    assert_eq!(error.code.as_str(), "varios_posibles");
    let data = error.data.unwrap();
    assert_eq!(data["candidatos"][0]["producto_id"], 5);
    assert_eq!(data["lineas"].as_array().map(Vec::len), Some(2));
    assert_eq!((&data["lineas"][1]["linea"], &data["lineas"][1]["producto"]), (&json!(2), &json!("mesa")));
}

#[test]
fn stock_is_only_told_of_what_has_stock() {
    let row = |storable| product(json!({"id": 1, "display_name": "X", "free_qty": 4.0, "is_storable": storable}));
    assert_eq!(row(true).available, Some(4.0));
    assert_eq!(row(false).available, None);
    let old = Shape { stock: true, storable_flag: false, variants: false };
    let Value::Object(row) = json!({"id": 1, "display_name": "X", "free_qty": 4.0, "type": "product"}) else { unreachable!() };
    assert_eq!(Product::of(&row, old).unwrap().available, Some(4.0));
    assert_eq!(Product::of(&Map::new(), old), None);
}

#[test]
fn the_code_is_taken_out_of_the_name() {
    assert_eq!(without_code("[A-1] Silla", Some("A-1")), "Silla");
    assert_eq!(without_code("[Rojo] Silla", Some("A-1")), "[Rojo] Silla");
    assert_eq!(without_code("Silla", None), "Silla");
}

#[test]
fn domains_hold_no_empty_word() {
    let text = Wanted::parse("la silla").domain(SHAPE).to_value().to_string();
    assert!(text.contains("s_ll_") && !text.contains("\"la\""), "{text}");
    assert!(!Wanted::parse("silla").domain(Shape::default()).to_value().to_string().contains("attribute"));
    assert_eq!(Wanted::parse("id:7").domain(SHAPE).to_value(), json!([["id", "=", 7]]));
    assert!(Wanted::parse(" %% ").is_empty());
    assert_eq!(Wanted::parse("123456789").id, None, "nine digits are no id");
}
