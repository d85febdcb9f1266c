//! The client against a real Odoo (19 when written). Left out, with one line, where there is none:
//! `scripts/odoo` starts one and tells its settings as `ODOO_TEST_*`.

use dunet::odoo::{AddressPolicy, CallMeter, Domain, Fields, OdooClient, OdooConfig, OdooError, OdooErrorKind as Kind, OdooLimits, Page, Protocol, ProtocolChoice, Term, probe};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::sync::Arc;
use tokio::time::{Duration, Instant};

const WIRES: [(ProtocolChoice, Protocol); 3] = [(ProtocolChoice::Json2, Protocol::Json2), (ProtocolChoice::XmlRpc, Protocol::XmlRpc), (ProtocolChoice::JsonRpc, Protocol::JsonRpc)];

#[expect(clippy::disallowed_methods, reason = "the settings of the real Odoo come from the environment of the test run")]
fn setting(name: &str) -> Option<String> {
    std::env::var(format!("ODOO_TEST_{name}")).ok().filter(|value| !value.is_empty())
}

/// The configuration of a user (`""` is the administrator), or a line that says what was left out.
fn user(prefix: &str, protocol: ProtocolChoice, with_key: bool) -> Option<OdooConfig> {
    let Some(url) = setting("URL") else {
        // Past the capture of the test harness: a test that was left out must not look like one that ran.
        let _ = writeln!(std::io::stdout(), "left out: needs a real Odoo (scripts/odoo)");
        return None;
    };
    let named = |name: &str| setting(&format!("{prefix}{name}")).unwrap_or_else(|| panic!("ODOO_TEST_{prefix}{name} is missing"));
    Some(OdooConfig {
        url: url.parse().unwrap(),
        database: setting("DB").unwrap(),
        login: named("LOGIN"),
        secret: named(if with_key { "API_KEY" } else { "PASSWORD" }).into(),
        protocol,
        limits: OdooLimits { request_timeout_ms: 60_000, ..OdooLimits::default() },
        addresses: AddressPolicy::AllowPrivate,
    })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("{other} is no object"),
    }
}

fn kind<T: std::fmt::Debug>(result: Result<T, OdooError>) -> Kind {
    result.unwrap_err().kind
}

#[tokio::test]
async fn it_signs_in_over_every_wire() {
    for (choice, wire) in WIRES {
        let Some(config) = user("API_", choice, true) else {
            return;
        };
        let client = OdooClient::connect(config).await.unwrap();
        assert_eq!(client.protocol(), wire);
        assert!(client.version().major >= 19 && client.version().has_json2());
        assert_eq!(Some(client.uid().to_string()), setting("API_UID"));
        assert_eq!((client.user_lang(), client.user_tz()), (Some("es_DO"), Some("America/Santo_Domingo")), "{wire}");
    }
}

#[tokio::test]
async fn auto_takes_json2_with_a_key_and_json_rpc_with_a_password() {
    for (with_key, wire) in [(true, Protocol::Json2), (false, Protocol::JsonRpc)] {
        let Some(config) = user("API_", ProtocolChoice::Auto, with_key) else {
            return;
        };
        let client = OdooClient::connect(config).await.unwrap();
        assert_eq!(client.protocol(), wire);
        assert_eq!(Some(client.uid().to_string()), setting("API_UID"));
    }
}

#[tokio::test]
async fn wrong_credentials_and_wrong_database() {
    for choice in [ProtocolChoice::Json2, ProtocolChoice::XmlRpc, ProtocolChoice::JsonRpc, ProtocolChoice::Auto] {
        let Some(config) = user("API_", choice, true) else {
            return;
        };
        let wrong = OdooConfig { secret: "0123456789abcdef0123456789abcdef01234567".into(), ..config.clone() };
        assert_eq!(kind(OdooClient::connect(wrong).await), Kind::BadCredentials, "{choice}");
        let wrong = OdooConfig { database: "no_such_db".into(), ..config.clone() };
        let error = OdooClient::connect(wrong).await.unwrap_err();
        assert_eq!(error.kind, Kind::DatabaseNotFound, "{choice}");
        assert!(error.message.contains("\"no_such_db\""), "{}", error.message);
        let odd = OdooConfig { secret: "clave con\nsalto".into(), ..config };
        assert_eq!(kind(OdooClient::connect(odd).await), Kind::BadCredentials, "{choice}");
    }
}

#[tokio::test]
async fn a_page_and_its_total_come_in_one_request() {
    let fields = Fields::new().texts(&["name", "vat", "email"]).boolean("is_company").number("credit_limit").many2one("country_id", &["code"]).many2one("parent_id", &[]).x2many(
        "child_ids",
        "res.partner",
        Fields::new().text("name"),
    );
    let mut seen = Vec::new();
    for (choice, wire) in WIRES {
        let Some(config) = user("", choice, true) else {
            return;
        };
        let client = OdooClient::connect(config).await.unwrap();
        let all = client.call_read("res.partner", "search_count", None, object(json!({"domain": [["is_company", "=", true]]}))).await.unwrap().as_u64().unwrap();
        assert!(all > 3);
        let meter = Arc::new(CallMeter::default());
        let counted = client.with_meter(Arc::clone(&meter));
        let rows = counted.search_page("res.partner", &Domain::from(Term::eq("is_company", true)), &fields, &Page::first(3).ordered("id")).await.unwrap();
        assert_eq!(meter.requests(), 1, "{wire}");
        assert!(meter.micros() > 0);
        assert_eq!((rows.records.len(), rows.total), (3, all), "{wire}");
        for record in &rows.records {
            assert!(record["vat"].is_string() || record["vat"].is_null());
            assert!(record["parent_id"].is_null() || record["parent_id"]["id"].is_i64());
            assert!(record["country_id"].is_null() || (record["country_id"]["display_name"].is_string() && record["country_id"]["code"].is_string()));
            assert!(record["child_ids"].as_array().unwrap().iter().all(|child| child["id"].is_i64()));
        }
        let none = client.search_page("res.partner", &Domain::nothing(), &fields, &Page::first(3)).await.unwrap();
        assert_eq!((none.records.len(), none.total), (0, 0));
        // `read` gives the same records, and leaves out what does not exist.
        let ids: Vec<i64> = rows.records.iter().map(|record| record["id"].as_i64().unwrap()).collect();
        assert_eq!(client.read("res.partner", &ids, &fields).await.unwrap(), rows.records, "{wire}");
        assert!(client.read("res.partner", &[], &fields).await.unwrap().is_empty());
        seen.push(rows);
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "the wires differ");
}

#[tokio::test]
async fn records_are_made_changed_and_removed() {
    for (choice, wire) in WIRES {
        let Some(config) = user("", choice, true) else {
            return;
        };
        let client = OdooClient::connect(config).await.unwrap();
        let name = format!("Peña & Ñ <{wire}> \"漢字\" 😀");
        let id = client.create("res.partner", object(json!({"name": name, "email": null, "is_company": true}))).await.unwrap();
        client.write("res.partner", &[id], object(json!({"street": "Línea 1\nLínea 2", "vat": false}))).await.unwrap();
        let read = client.read("res.partner", &[id], &Fields::new().texts(&["name", "street", "vat", "email"])).await.unwrap();
        assert_eq!(Value::from(read[0].clone()), json!({"id": id, "name": name, "street": "Línea 1\nLínea 2", "vat": null, "email": null}), "{wire}");
        // A method without a result: over XML-RPC Odoo says "cannot marshal None", and it is done.
        assert_eq!(client.call_write("res.partner", "action_archive", Some(&[id]), Map::new()).await.unwrap(), Value::Null, "{wire}");
        assert_eq!(client.call_write("res.partner", "unlink", Some(&[id]), Map::new()).await.unwrap(), json!(true), "{wire}");
        assert_eq!(kind(client.write("res.partner", &[id], object(json!({"name": "x"}))).await), Kind::RecordMissing, "{wire}");
        assert!(client.read("res.partner", &[id], &Fields::new().text("name")).await.unwrap().is_empty(), "{wire}");
    }
}

#[tokio::test]
async fn every_refusal_has_its_kind() {
    for (choice, wire) in WIRES {
        let Some(config) = user("LIMITED_", choice, true) else {
            return;
        };
        let limited = OdooClient::connect(config).await.unwrap();
        let denied = limited.create("res.partner", object(json!({"name": "x"}))).await.unwrap_err();
        assert_eq!(denied.kind, Kind::AccessDenied, "{wire}");
        assert!(denied.message.contains("res.partner") && !denied.message.contains("Traceback"), "{}", denied.message);

        let client = OdooClient::connect(user("API_", choice, true).unwrap()).await.unwrap();
        let page = Page::first(1);
        for (got, want) in [
            (kind(client.search_page("res.partner", &Domain::from(Term::eq("nofield", 1)), &Fields::new().text("name"), &page).await), Kind::UnknownField),
            (kind(client.read("res.partner", &[1], &Fields::new().text("nofield")).await), Kind::UnknownField),
            (kind(client.search_page("no.such.model", &Domain::all(), &Fields::new().text("name"), &page).await), Kind::UnknownModel),
            (kind(client.call_read("res.partner", "no_such_method", Some(&[1]), Map::new()).await), Kind::UnknownMethod),
            (kind(client.call_read("res.partner", "search_count", None, object(json!({"domain": [], "nokw": 1}))).await), Kind::BadArguments),
            (kind(client.create("res.partner", Map::new()).await), Kind::Validation),
            (
                kind(client.with_context(object(json!({"allowed_company_ids": [1]}))).search_page("res.partner", &Domain::all(), &Fields::new().text("name"), &page).await),
                Kind::AccessDenied,
            ),
        ] {
            assert_eq!(got, want, "{wire}");
        }
        let small = OdooConfig { limits: OdooLimits { answer_bytes_max: 200, ..OdooLimits::default() }, ..user("API_", choice, true).unwrap() };
        let client = OdooClient::connect(small).await.map_or_else(|error| Err(error.kind), Ok);
        if let Ok(client) = client {
            assert_eq!(kind(client.fields_get("res.partner", None).await), Kind::AnswerTooLarge, "{wire}");
        }
        let hurried = OdooClient::connect(user("API_", choice, true).unwrap()).await.unwrap().with_deadline(Instant::now() + Duration::from_millis(1));
        assert!(matches!(kind(hurried.fields_get("res.partner", None).await), Kind::TimedOut { .. }));
    }
}

#[tokio::test]
async fn fields_are_told_with_bounded_attributes() {
    for (choice, wire) in WIRES {
        let Some(config) = user("API_", choice, true) else {
            return;
        };
        let client = OdooClient::connect(config).await.unwrap();
        let some = client.fields_get("res.partner", Some(&["name", "country_id", "nofield"])).await.unwrap();
        assert_eq!(some.len(), 2, "{wire}");
        assert_eq!(some["country_id"]["relation"], "res.country");
        assert_eq!(some["name"]["type"], "char");
        assert!(client.fields_get("product.pricelist", None).await.unwrap().len() > 5, "{wire}");
    }
}

/// The preview writes nothing and says what the order then says.
#[tokio::test]
async fn a_preview_of_a_quotation_equals_what_is_saved() {
    for (choice, wire) in WIRES {
        let Some(config) = user("API_", choice, true) else {
            return;
        };
        let client = OdooClient::connect(config).await.unwrap();
        let partner = client.create("res.partner", object(json!({"name": format!("Cliente de prueba {wire}")}))).await.unwrap();
        let (mut lines, mut products) = (Vec::new(), Vec::new());
        for (name, price, quantity) in [("Cemento", 525.5, 10.0), ("Varilla", 33.33, 7.0)] {
            let product = client.create("product.product", object(json!({"name": name, "list_price": price}))).await.unwrap();
            products.push(product);
            lines.push(json!([0, format!("v{product}"), {"product_id": product, "product_uom_qty": quantity, "discount": 5.0}]));
        }
        let fields = Fields::new().text("name").numbers(&["amount_untaxed", "amount_tax", "amount_total"]).many2one("currency_id", &["name"]).many2one("partner_id", &[]).x2many(
            "order_line",
            "sale.order.line",
            Fields::new().many2one("product_id", &[]).numbers(&["product_uom_qty", "price_unit", "discount", "price_subtotal", "price_total"]),
        );
        let values = json!({"partner_id": partner, "order_line": lines});
        let count = || client.call_read("sale.order", "search_count", None, object(json!({"domain": []})));
        let before = count().await.unwrap();
        let preview =
            client.call_read("sale.order", "onchange", Some(&[]), object(json!({"values": values, "field_names": [], "fields_spec": fields.specification()}))).await.unwrap();
        assert_eq!(count().await.unwrap(), before, "{wire}: the preview wrote something");
        let value = &preview["value"];
        let saved = client.call_write("sale.order", "web_save", Some(&[]), object(json!({"vals": values, "specification": fields.specification()}))).await.unwrap();
        let saved = &saved[0];
        for amount in ["amount_untaxed", "amount_tax", "amount_total"] {
            let (shown, kept) = (value[amount].as_f64().unwrap(), saved[amount].as_f64().unwrap());
            assert!((shown - kept).abs() < 0.005, "{wire} {amount}: {shown} shown, {kept} saved");
        }
        assert!(saved["amount_total"].as_f64().unwrap() > 5_000.0);
        assert_eq!(saved["order_line"].as_array().unwrap().len(), 2);
        // A field of `values` that the specification does not name is our mistake, and is told as one.
        let wrong = client.call_read("sale.order", "onchange", Some(&[]), object(json!({"values": values, "field_names": [], "fields_spec": {}}))).await;
        assert_eq!(kind(wrong), Kind::BadArguments, "{wire}");
        let id = saved["id"].as_i64().unwrap();
        let link = client.call_write("sale.order", "get_portal_url", Some(&[id]), Map::new()).await.unwrap();
        assert!(link.as_str().unwrap().contains("access_token="), "{wire}");
        for (model, ids) in [("sale.order", &[id][..]), ("product.product", &products), ("res.partner", &[partner])] {
            client.call_write(model, "unlink", Some(ids), Map::new()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_doctor_says_which_step_fails() {
    let Some(config) = user("API_", ProtocolChoice::Auto, true) else {
        return;
    };
    let names = |steps: &[dunet::odoo::ProbeStep]| steps.iter().map(|step| (step.name, step.ok)).collect::<Vec<_>>();
    let good = probe(config.clone()).await;
    assert_eq!(names(&good), [("name", true), ("address", true), ("connection", true), ("version", true), ("database", true), ("login", true)]);
    assert!(good[5].detail.contains("json2"), "{}", good[5].detail);
    let wrong = probe(OdooConfig { database: "no_such_db".into(), ..config.clone() }).await;
    assert_eq!(names(&wrong)[4..], [("database", false)]);
    let wrong = probe(OdooConfig { secret: "x".into(), ..config.clone() }).await;
    assert_eq!(names(&wrong)[4..], [("database", true), ("login", false)]);
    let wrong = probe(OdooConfig { addresses: AddressPolicy::PublicOnly, ..config }).await;
    assert_eq!(names(&wrong), [("address", false)]);
}
