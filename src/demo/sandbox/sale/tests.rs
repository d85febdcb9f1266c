//! Totals against what a real Odoo 19 answered to the same lines (Dominican company, ITBIS 18 %).

use chrono::DateTime;
use serde_json::{Value, json};

use super::*;
use crate::demo::sandbox::store::Store;
use crate::demo::sandbox::{SandboxRights, call};

fn shop() -> Store {
    let mut store = Store::default();
    let mut add = |name: &'static str, values: Value| store.insert(name, row_of(&values)).unwrap();
    add("res.currency", json!({"name": "DOP", "symbol": "RD$"}));
    add("res.country", json!({"name": "Dominican Republic", "code": "DO"}));
    add("uom.uom", json!({"name": "Unidad"}));
    add("account.tax", json!({"name": "18% ITBIS", "amount": 18.0, "amount_type": "percent"}));
    add("account.tax", json!({"name": "ITBIS Exempt", "amount": 0.0, "amount_type": "percent"}));
    add("product.pricelist", json!({"name": "Lista", "currency_id": 1}));
    add("product.pricelist", json!({"name": "Menos diez", "currency_id": 1}));
    add("product.pricelist.item", json!({"pricelist_id": 2, "applied_on": "3_global", "compute_price": "percentage", "percent_price": 10.0}));
    add("product.pricelist.item", json!({"pricelist_id": 2, "applied_on": "3_global", "compute_price": "percentage", "percent_price": 20.0, "min_quantity": 100.0}));
    add("res.company", json!({"name": "Prueba", "currency_id": 1}));
    add("res.users", json!({"name": "x"}));
    add("res.users", json!({"name": "y", "lang": "es_DO", "tz": "America/Santo_Domingo"}));
    add("res.partner", json!({"name": "Cliente", "active": true}));
    add("res.partner", json!({"name": "Mayorista", "active": true, "property_product_pricelist": 2}));
    for (code, price, tax) in [("A", 33.33, 1), ("B", 0.37, 1), ("C", 1.37, 2)] {
        add("product.product", json!({"name": format!("Producto {code}"), "default_code": code, "list_price": price, "taxes_id": [tax], "uom_id": 1, "active": true}));
    }
    store.commit();
    store
}

const A: i64 = 1;
const B: i64 = 2;
const C: i64 = 3;

fn with_env<T>(store: &mut Store, work: impl FnOnce(&mut Env<'_>) -> T) -> T {
    // 02:30 UTC on the 23rd is still the 22nd in Santo Domingo.
    let now = DateTime::parse_from_rfc3339("2026-11-23T02:30:00Z").unwrap().to_utc();
    work(&mut Env { store, context: Row::new(), uid: 2, rights: SandboxRights::Seller, now })
}

fn invoke(store: &mut Store, model_name: &str, method: &str, body: Value) -> Result<Value, Fault> {
    let Value::Object(body) = body else { panic!("arguments are named: {body}") };
    with_env(store, |env| {
        let of = call::find_model(model_name)?;
        let bound = call::method(of, method)?.bind_named(of, body)?;
        call::run(env, of, &bound)
    })
}

fn spec() -> Value {
    let named = json!({"fields": {"display_name": {}}});
    json!({
        "name": {}, "partner_id": named, "pricelist_id": named, "currency_id": named, "validity_date": {}, "amount_untaxed": {}, "amount_tax": {}, "amount_total": {},
        "order_line": {"fields": {"product_id": named, "name": {}, "product_uom_qty": {}, "price_unit": {}, "discount": {}, "price_subtotal": {}, "price_total": {}, "price_tax": {}, "tax_ids": named}},
    })
}

fn preview(store: &mut Store, partner: i64, lines: &[Value]) -> Value {
    let commands: Vec<Value> = lines.iter().enumerate().map(|(at, line)| json!([0, format!("v{at}"), line])).collect();
    let body = json!({"ids": [], "values": {"partner_id": partner, "order_line": commands}, "field_names": [], "fields_spec": spec()});
    invoke(store, "sale.order", "onchange", body).unwrap()["value"].clone()
}

/// `[[untaxed, tax, total], [[price, subtotal, total] of each line]]`
fn amounts(answer: &Value) -> Value {
    let of = |value: &Value, names: [&str; 3]| json!(names.map(|name| value[name].clone()));
    let lines = answer["order_line"].as_array().unwrap().iter();
    let lines: Vec<Value> = lines.map(|line| of(line.get(2).unwrap_or(line), ["price_unit", "price_subtotal", "price_total"])).collect();
    json!([of(answer, ["amount_untaxed", "amount_tax", "amount_total"]), lines])
}

#[test]
fn totals_are_those_of_a_real_odoo() {
    let b = json!({"product_id": B, "product_uom_qty": 3, "discount": 5});
    let b_line = [0.37, 1.05, 1.24];
    for (partner, lines, totals, each) in [
        (1, vec![b.clone(), b.clone(), b.clone()], [3.16, 0.57, 3.73], vec![b_line; 3]),
        (
            1,
            vec![b.clone(), b.clone(), b.clone(), json!({"product_id": A, "product_uom_qty": 1.5}), json!({"product_id": C, "product_uom_qty": 2.5, "discount": 3})],
            [56.48, 9.57, 66.05],
            vec![b_line, b_line, b_line, [33.33, 50.0, 59.0], [1.37, 3.32, 3.32]],
        ),
        (
            2,
            vec![json!({"product_id": A}), json!({"product_id": B}), json!({"product_id": C})],
            [31.56, 5.46, 37.02],
            vec![[29.997, 30.0, 35.4], [0.333, 0.33, 0.39], [1.233, 1.23, 1.23]],
        ),
        (
            1,
            vec![json!({"product_id": A, "price_unit": 1.005}), json!({"product_id": A, "product_uom_qty": 1.005})],
            [34.67, 6.24, 40.91],
            vec![[1.005, 1.01, 1.19], [33.33, 33.66, 39.72]],
        ),
        (
            1,
            vec![json!({"product_id": A, "price_unit": -0.375}), json!({"product_id": A, "price_unit": 0.075})],
            [-0.3, -0.05, -0.35],
            vec![[-0.375, -0.38, -0.45], [0.075, 0.08, 0.09]],
        ),
        (1, vec![json!({"product_id": A, "price_unit": 0.125}), json!({"product_id": C, "price_unit": 0.125})], [0.25, 0.02, 0.27], vec![[0.125, 0.13, 0.15], [0.125, 0.13, 0.13]]),
        (
            1,
            vec![json!({"product_id": A, "product_uom_qty": 3, "price_unit": 525.5}), json!({"product_id": C, "price_unit": 180.45})],
            [1756.95, 283.77, 2040.72],
            vec![[525.5, 1576.5, 1860.27], [180.45, 180.45, 180.45]],
        ),
    ] {
        let answer = preview(&mut shop(), partner, &lines);
        assert_eq!(amounts(&answer), json!([totals, each]), "{lines:?}");
    }
}

#[test]
fn the_preview_is_what_is_stored() {
    let mut store = shop();
    let lines =
        [json!({"product_id": A, "product_uom_qty": 7}), json!({"product_id": B, "product_uom_qty": 11, "discount": 2.5}), json!({"display_type": "line_note", "name": "Nota"})];
    let before = preview(&mut store, 2, &lines);
    assert!(store.ids("sale.order").is_empty() && store.ids("sale.order.line").is_empty(), "a preview writes nothing");
    assert_eq!(before["name"], "Nuevo");
    assert_eq!(before["validity_date"], "2026-12-22");
    assert_eq!(before["pricelist_id"], json!({"id": 2, "display_name": "Menos diez (DOP)"}));
    assert_eq!(before["order_line"][0][2]["tax_ids"], json!([[4, 1, {"id": 1, "display_name": "18% ITBIS"}]]));
    assert_eq!(before["order_line"][2][2]["product_id"], json!(false));
    assert!(before["order_line"][2][2].get("tax_ids").is_none(), "an empty x2many is left out");
    let commands: Vec<Value> = lines.iter().map(|line| json!([0, 0, line])).collect();
    let stored = invoke(&mut store, "sale.order", "web_save", json!({"ids": [], "vals": {"partner_id": 2, "order_line": commands}, "specification": spec()})).unwrap()[0].clone();
    assert_eq!(stored["name"], "S00001");
    assert_eq!(amounts(&stored), amounts(&before));
    for field in ["partner_id", "pricelist_id", "currency_id", "validity_date"] {
        assert_eq!(stored[field], before[field], "{field}");
    }
    assert_eq!(stored["order_line"][1]["name"], before["order_line"][1][2]["name"]);
}

#[test]
fn quantity_rules_of_a_price_list() {
    let answer = preview(&mut shop(), 2, &[json!({"product_id": A, "product_uom_qty": 99}), json!({"product_id": A, "product_uom_qty": 100})]);
    let lines = &amounts(&answer)[1];
    assert_eq!((&lines[0][0], &lines[1][0]), (&json!(29.997), &json!(26.664)));
}

#[test]
fn onchange_refuses_what_odoo_refuses() {
    let mut store = shop();
    let line = |values: Value| json!({"partner_id": 1, "order_line": [[0, "v", values]]});
    for (values, fields_spec, text) in [
        (json!({"partner_id": 1}), json!({"name": {}}), "partner_id"),
        (json!({"nofield": 1}), json!({"nofield": {}}), "nofield"),
        (line(json!({"product_id": A, "nofield": 1})), json!({"partner_id": {}, "order_line": {"fields": {"name": {}}}}), "Invalid field 'nofield' on model 'sale.order.line'"),
        (line(json!({"product_id": 99})), json!({"partner_id": {}, "order_line": {}}), "Record does not exist or has been deleted.\n(Record: product.product(99,), User: 2)"),
        (line(json!({"product_id": A, "product_uom_qty": "abc"})), json!({"partner_id": {}, "order_line": {}}), "could not convert string to float: 'abc'"),
        (line(json!({"product_id": A, "product_uom_qty": 1e300})), json!({"partner_id": {}, "order_line": {}}), "numeric field overflow\n"),
    ] {
        let body = json!({"ids": [], "values": values, "field_names": [], "fields_spec": fields_spec});
        assert_eq!(invoke(&mut store, "sale.order", "onchange", body).unwrap_err().message(), text);
    }
    let empty = invoke(&mut store, "sale.order", "onchange", json!({"ids": [], "values": {}, "field_names": [], "fields_spec": spec()})).unwrap();
    assert_eq!((&empty["value"]["partner_id"], &empty["value"]["amount_total"], empty["value"].get("order_line")), (&json!(false), &json!(0.0), None));
    let later = json!({"ids": [], "values": {"partner_id": 2}, "field_names": ["partner_id"], "fields_spec": {"partner_id": {}, "pricelist_id": {}, "amount_total": {}}});
    assert_eq!(invoke(&mut store, "sale.order", "onchange", later).unwrap(), json!({"value": {"pricelist_id": 2}}));
}

#[test]
fn lines_change_and_the_totals_follow() {
    let mut store = shop();
    let b = json!([0, 0, {"product_id": B, "product_uom_qty": 3, "discount": 5}]);
    let save = |store: &mut Store, ids: Value, vals: Value| invoke(store, "sale.order", "web_save", json!({"ids": ids, "vals": vals, "specification": spec()})).unwrap()[0].clone();
    save(&mut store, json!([]), json!({"partner_id": 1, "order_line": [b, b, b]}));
    let answer = save(&mut store, json!([1]), json!({"order_line": [[1, 1, {"product_uom_qty": 7}], [2, 2], [0, 0, {"product_id": A}]]}));
    assert_eq!(amounts(&answer), json!([[36.85, 6.63, 43.48], [[0.37, 2.46, 2.9], [0.37, 1.05, 1.24], [33.33, 33.33, 39.33]]]));
    // Another price list leaves the prices of existing lines alone until one of them changes.
    let answer = save(&mut store, json!([1]), json!({"pricelist_id": 2}));
    assert_eq!(amounts(&answer)[0], json!([36.85, 6.63, 43.48]));
    invoke(&mut store, "sale.order.line", "write", json!({"ids": [1], "vals": {"product_uom_qty": 1}})).unwrap();
    assert_eq!(store.raw("sale.order", 1, "amount_total"), &json!(40.95));
    invoke(&mut store, "sale.order", "unlink", json!({"ids": [1]})).unwrap();
    assert!(store.ids("sale.order.line").is_empty());
}

#[test]
fn a_failed_order_leaves_nothing() {
    let mut store = shop();
    let vals = json!({"partner_id": 1, "order_line": [[0, 0, {"product_id": A}], [0, 0, {"product_uom_qty": 1}]]});
    let fault = invoke(&mut store, "sale.order", "create", json!({"vals_list": [vals]})).unwrap_err();
    assert!(matches!(&fault, Fault::Validation(text) if text.contains("'Description' (name)")), "{fault:?}");
    let fault = invoke(&mut store, "sale.order", "create", json!({"vals_list": [{}]})).unwrap_err();
    assert!(matches!(&fault, Fault::Validation(text) if text.contains("'Customer' (partner_id)")), "{fault:?}");
    assert!(store.ids("sale.order").is_empty() && store.ids("sale.order.line").is_empty());
}

#[test]
fn the_states_of_an_order() {
    let mut store = shop();
    invoke(&mut store, "sale.order", "create", json!({"vals_list": [{"partner_id": 1, "order_line": [[0, 0, {"product_id": A}]], "note": "Gracias & <hasta> luego"}]})).unwrap();
    assert_eq!(store.raw("sale.order", 1, "note"), "<p>Gracias &amp; &lt;hasta&gt; luego</p>");
    let mut run = |method: &str| invoke(&mut store, "sale.order", method, json!({"ids": [1]}));
    assert_eq!(run("action_quotation_sent"), Ok(Value::Null));
    assert!(matches!(run("action_quotation_sent"), Err(Fault::User(_))));
    assert!(matches!(run("unlink"), Err(Fault::User(_))), "a sent quotation is cancelled first");
    assert_eq!(run("action_confirm"), Ok(json!(true)));
    assert!(matches!(run("action_confirm"), Err(Fault::User(_))));
    let url = run("get_portal_url").unwrap();
    let expected = format!("/my/orders/1?access_token={}", store.raw("sale.order", 1, "access_token").as_str().unwrap());
    assert_eq!(url, json!(expected));
    let url = invoke(&mut store, "sale.order", "get_portal_url", json!({"ids": [1], "report_type": "pdf", "download": true})).unwrap();
    assert_eq!(url, json!(format!("{expected}&report_type=pdf&download=true")));
    assert_eq!(invoke(&mut store, "sale.order", "get_portal_url", json!({"ids": []})).unwrap_err().message(), "Expected singleton: sale.order()");
}
