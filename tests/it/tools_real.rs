//! The main job against a real Odoo 19, by JSON-2 and by XML-RPC. Left out, with a line, where there is none (`scripts/odoo` starts one).
//!
//! Amounts are compared with what Odoo itself says, read without the service. What was made is removed, also after a failure.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use dunet::dgii::{IdKind, Taxpayer, sample};
use dunet::domain::tenants::{NewOdoo, PersonalPolicy, TenantEdit, WritePolicy};
use dunet::domain::users::Level;
use dunet::odoo::{AddressPolicy, OdooClient, OdooConfig, OdooLimits, ProtocolChoice};
use futures::FutureExt;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::support::mcp::McpClient;
use crate::support::oauth::Program;
use crate::support::odoo::{count, records};
use crate::support::{TestApp, left_out, setting};

const PATIENT: [&str; 6] = ["--call-deadline-ms", "55000", "--odoo-request-timeout-ms", "50000", "--request-timeout-ms", "90000"];

/// One of the Odoo's users: `""` is the administrator.
fn user(prefix: &str, protocol: ProtocolChoice) -> Option<NewOdoo> {
    let Some(url) = setting("ODOO_TEST_URL") else {
        left_out("the tools against a real Odoo (ODOO_TEST_URL is not set; scripts/test starts one)");
        return None;
    };
    let named = |name: &str| setting(&format!("ODOO_TEST_{prefix}{name}")).unwrap_or_else(|| panic!("ODOO_TEST_{prefix}{name} is missing"));
    Some(NewOdoo {
        url: url.parse().expect("an address"),
        database: setting("ODOO_TEST_DB").expect("ODOO_TEST_DB"),
        login: named("LOGIN"),
        secret: SecretString::from(named("API_KEY")),
        protocol,
    })
}

/// The administrator, without the service in between.
async fn administrator() -> OdooClient {
    let odoo = user("", ProtocolChoice::Json2).expect("asked before");
    let NewOdoo { url, database, login, secret, protocol } = odoo;
    let limits = OdooLimits { request_timeout_ms: 60_000, ..OdooLimits::default() };
    OdooClient::connect(OdooConfig { url, database, login, secret, protocol, limits, addresses: AddressPolicy::AllowPrivate }).await.expect("the real Odoo answers")
}

/// A company of the sample listing that this Odoo does not know.
async fn unknown_company(odoo: &OdooClient) -> Taxpayer {
    let companies: Vec<Taxpayer> = sample::rows(2_000, 1).into_iter().skip(3).filter(|taxpayer| taxpayer.id.kind() == IdKind::Rnc && taxpayer.is_active()).collect();
    // Begun anywhere, so that two runs at once hardly meet.
    let start = usize::try_from(uuid::Uuid::new_v4().as_u128() % 500).expect("small");
    for taxpayer in companies.iter().cycle().skip(start).take(companies.len()) {
        let forms = json!([taxpayer.id.digits(), taxpayer.id.formatted()]);
        if count(odoo, "res.partner", json!([["vat", "in", forms], ["active", "in", [true, false]]])).await == 0 {
            return taxpayer.clone();
        }
    }
    panic!("this Odoo knows every company of the sample");
}

async fn remove(odoo: &OdooClient, rnc: &str) {
    let partners: Vec<i64> = records(odoo, "res.partner", json!([["vat", "=", rnc]]), &["id"]).await.iter().filter_map(|row| row["id"].as_i64()).collect();
    let orders: Vec<i64> = records(odoo, "sale.order", json!([["partner_id", "in", partners]]), &["id"]).await.iter().filter_map(|row| row["id"].as_i64()).collect();
    for (model, ids) in [("sale.order", orders), ("res.partner", partners)] {
        if !ids.is_empty() {
            odoo.call_write(model, "unlink", Some(&ids), Map::new()).await.unwrap_or_else(|error| panic!("{model} {ids:?} stay behind: {error}"));
        }
    }
}

/// Two products of which Odoo says that they are sold and taxed.
async fn products(odoo: &OdooClient) -> Vec<Value> {
    let domain = json!([["sale_ok", "=", true], ["list_price", ">", 10], ["taxes_id.amount", ">", 0], ["type", "=", "consu"]]);
    let found = records(odoo, "product.product", domain, &["default_code", "lst_price", "display_name"]).await;
    assert!(found.len() >= 2, "the test Odoo has too few products: {found:?}");
    found.into_iter().take(2).collect()
}

async fn main_job(app: Arc<TestApp>, wire: ProtocolChoice, odoo: OdooClient, taxpayer: Taxpayer) {
    let (_, token) = app.tenant_at("Real", user("API_", wire).expect("asked before")).await;
    let client = app.client(&token);
    let context = client.call("odoo_contexto", json!({})).await;
    assert!(context["version"].as_str().expect("a text").starts_with("19") && context["moneda"].is_string(), "{context}");

    // A customer is found, by name and by id.
    let known = records(&odoo, "res.partner", json!([["is_company", "=", true], ["parent_id", "=", false], ["name", "!=", false], ["company_id", "=", false]]), &["name"]).await;
    let known = known.first().expect("the test Odoo has customers");
    let found = client.call("buscar_cliente", json!({ "consulta": known["name"], "limite": 10 })).await;
    assert!(found["clientes"].as_array().expect("a list").iter().any(|customer| customer["cliente_id"] == known["id"]), "{wire} {known}: {found}");
    let found = client.call("buscar_cliente", json!({ "consulta": known["id"].to_string() })).await;
    assert_eq!(found["clientes"][0]["nombre"], known["name"]);

    // Another is made from an RNC.
    let rnc = taxpayer.id.digits();
    let mut arguments = json!({ "rnc": taxpayer.id.formatted() });
    let preview = client.call("crear_cliente", arguments.clone()).await;
    assert_eq!((preview["vista_previa"]["nombre"].as_str(), preview["vista_previa"]["rnc"].as_str()), (Some(taxpayer.name.as_str()), Some(rnc)), "{preview}");
    assert_eq!(count(&odoo, "res.partner", json!([["vat", "=", rnc]])).await, 0, "{wire}: a preview writes nothing");
    arguments["codigo_confirmacion"] = preview["codigo_confirmacion"].clone();
    let made = client.call("crear_cliente", arguments).await;
    let kept = records(&odoo, "res.partner", json!([["vat", "=", rnc]]), &["name", "is_company", "country_code"]).await;
    assert_eq!((kept.len(), &kept[0]["name"], &kept[0]["is_company"], &kept[0]["country_code"]), (1, &json!(taxpayer.name), &json!(true), &json!("DO")), "{wire}");
    assert_eq!(kept[0]["id"], made["cliente_id"]);
    assert_eq!(client.call("crear_cliente", json!({ "rnc": rnc })).await["ya_existia"], true);

    // Two lines are previewed, confirmed and read back.
    let products = products(&odoo).await;
    let quote = json!({ "cliente": rnc, "vigencia_dias": 10, "notas": "Prueba", "lineas": [
        { "producto": format!("id:{}", products[0]["id"]), "cantidad": 3, "descuento": 10 }, { "producto": format!("id:{}", products[1]["id"]), "cantidad": 2 }] });
    let preview = client.call("crear_cotizacion", quote.clone()).await;
    let customer = json!([["partner_id", "=", made["cliente_id"]]]);
    assert_eq!(count(&odoo, "sale.order", customer.clone()).await, 0, "{wire}: a preview writes nothing");
    let mut confirmed = quote;
    confirmed["codigo_confirmacion"] = preview["codigo_confirmacion"].clone();
    let made = client.call("crear_cotizacion", confirmed.clone()).await;
    assert_eq!(client.fail("crear_cotizacion", confirmed).await["codigo"], "codigo_usado");
    let seen = client.call("ver_cotizacion", json!({ "numero": made["numero"] })).await;

    let orders = records(&odoo, "sale.order", customer, &["name", "state", "amount_untaxed", "amount_tax", "amount_total", "validity_date", "origin", "order_line"]).await;
    assert_eq!(orders.len(), 1, "{wire}: exactly one");
    let order = &orders[0];
    assert_eq!((&order["name"], &order["state"], &order["validity_date"]), (&made["numero"], &json!("draft"), &json!("2026-12-02")), "{wire}: {order}");
    assert!(order["origin"].as_str().expect("a text").starts_with("dunet:"), "{order}");
    assert!(order["amount_tax"].as_f64().expect("a number") > 0.0, "{order}");
    for told in [&preview["vista_previa"], &made, &seen] {
        for (ours, odoos) in [("subtotal", "amount_untaxed"), ("impuestos", "amount_tax"), ("total", "amount_total")] {
            assert_eq!(told[ours].as_f64(), order[odoos].as_f64(), "{wire} {ours}: {told} / {order}");
        }
        assert_eq!(told["lineas"].as_array().expect("a list").len(), 2, "{wire}: {told}");
    }
    assert_eq!(seen["estado"], "borrador");

    // The links open without a login.
    let browser = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    // On a server with several databases Odoo shows a visitor no page before the database is chosen (a cookie).
    let choose = odoo.base_url().join(&format!("web/login?db={}", odoo.database())).expect("an address");
    let chosen = browser.get(choose).send().await.expect("an answer");
    let cookie = chosen.headers()["set-cookie"].to_str().expect("a text").split(';').next().expect("a cookie").to_owned();
    let open = |url: String| browser.get(url).header("cookie", cookie.clone()).send();
    let page = open(made["enlace"].as_str().expect("a text").to_owned()).await.expect("an answer");
    assert_eq!(page.status(), 200, "{wire}: {}", made["enlace"]);
    assert!(page.text().await.expect("a body").contains(made["numero"].as_str().expect("a text")), "{wire}: the page of this quotation");
    let stranger = made["enlace"].as_str().expect("a text").replace("access_token=", "access_token=0");
    assert_ne!(open(stranger).await.expect("an answer").status(), 200, "{wire}: the token is what opens it");
}

#[tokio::test]
async fn the_main_job_by_json2_and_by_xml_rpc() {
    if user("API_", ProtocolChoice::Auto).is_none() {
        return;
    }
    TestApp::everywhere_with(&PATIENT, |app| async move {
        app.padron(2_000).await;
        let odoo = administrator().await;
        for wire in [ProtocolChoice::Json2, ProtocolChoice::XmlRpc] {
            let taxpayer = unknown_company(&odoo).await;
            let story = AssertUnwindSafe(main_job(Arc::clone(&app), wire, odoo.clone(), taxpayer.clone())).catch_unwind().await;
            remove(&odoo, taxpayer.id.digits()).await;
            if let Err(panic) = story {
                resume_unwind(panic);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_user_without_rights_and_a_wrong_key_are_told_apart() {
    if user("API_", ProtocolChoice::Auto).is_none() {
        return;
    }
    TestApp::everywhere_with(&PATIENT, |app| async move {
        let odoo = administrator().await;
        let product = format!("id:{}", products(&odoo).await[0]["id"]);
        for wire in [ProtocolChoice::Json2, ProtocolChoice::XmlRpc, ProtocolChoice::JsonRpc] {
            let (_, token) = app.tenant_at("Limitada", user("LIMITED_", wire).expect("asked before")).await;
            let client = app.client(&token);
            let quote = json!({ "cliente": "1", "lineas": [{ "producto": product }] });
            // It may read customers, and so may preview one; Odoo refuses the write.
            let mut customer = json!({ "nombre": format!("Prueba {}", uuid::Uuid::new_v4()) });
            customer["codigo_confirmacion"] = client.call("crear_cliente", customer.clone()).await["codigo_confirmacion"].clone();
            for (tool, arguments) in [("ver_cotizacion", json!({ "numero": "S00001" })), ("crear_cotizacion", quote), ("crear_cliente", customer.clone())] {
                let denied = client.fail(tool, arguments).await;
                assert_eq!((denied["codigo"].as_str(), denied["reintentable"].as_bool()), (Some("odoo_sin_permiso"), Some(false)), "{wire} {tool}: {denied}");
                assert!(!denied.to_string().contains("Traceback"), "{denied}");
            }
            assert_eq!(count(&odoo, "res.partner", json!([["name", "=", customer["nombre"]]])).await, 0);
            let wrong = NewOdoo { secret: SecretString::from("0123456789abcdef0123456789abcdef01234567".to_owned()), ..user("API_", wire).expect("asked before") };
            let (_, token) = app.tenant_at("Equivocada", wrong).await;
            let refused = app.client(&token).fail("buscar_cliente", json!({ "consulta": "Pérez" })).await;
            assert_eq!((refused["codigo"].as_str(), refused["reintentable"].as_bool()), (Some("odoo_credenciales"), Some(false)), "{wire}: {refused}");
            assert!(!refused.to_string().contains("0123456789abcdef"), "{refused}");
        }
    })
    .await;
}

/// A quotation of one product, made at once: what Odoo itself says of it.
async fn quoted(client: &McpClient, odoo: &OdooClient, customer: &Value, product: &Value, made: &mut Vec<i64>) -> Value {
    let quote = json!({ "cliente": customer.to_string(), "lineas": [{ "producto": format!("id:{product}") }], "clave": uuid::Uuid::new_v4().to_string() });
    let answer = client.call("crear_cotizacion", quote).await;
    let order = records(odoo, "sale.order", json!([["name", "=", answer["numero"]]]), &["create_uid", "user_id"]).await.remove(0);
    made.push(order["id"].as_i64().expect("an id"));
    order
}

async fn people(app: Arc<TestApp>, wire: ProtocolChoice, odoo: &OdooClient, made: &mut Vec<i64>) {
    let (id, token) = app.tenant_at("Personas", user("API_", wire).expect("asked before")).await;
    let edit = TenantEdit { write_policy: Some(WritePolicy::Direct), odoo_personal: Some(PersonalPolicy::Required), ..TenantEdit::default() };
    app.edit(id, edit).await;
    let page = format!("/admin/clients/{id}/odoo/mine");
    let program = Program::registered(&app).await;
    let mut clients = Vec::new();
    for (prefix, email) in [("", "marta"), ("LIMITED_", "luis")] {
        let browser = app.member(id, &format!("{email}@{wire}.do"), Level::Owner).await;
        let (own, version) = (user(prefix, wire).expect("asked before"), browser.get(&page).await.hidden("version"));
        let fields = [("login", own.login.as_str()), ("secret", own.secret.expose_secret()), ("version", version.as_str())];
        let tried = browser.post(&page, &format!("{page}/test"), &fields).await;
        assert_eq!(tried.text.contains("step-bad"), prefix == "LIMITED_", "{wire} {email}: the doctor sees what each may: {}", tried.text);
        assert_eq!(browser.post(&page, &page, &fields).await.status, 303, "{wire} {email}");
        clients.push(app.client(&program.connected(&browser).await.0));
    }
    let customers = records(odoo, "res.partner", json!([["is_company", "=", true], ["parent_id", "=", false], ["company_id", "=", false]]), &["id"]).await;
    let (customer, product) = (&customers[0]["id"], &products(odoo).await[0]["id"]);
    let uid = |name: &str| setting(name).expect("scripts/odoo says it").parse::<i64>().expect("a number");
    for (client, who) in [(&clients[0], uid("ODOO_TEST_UID")), (&app.client(&token), uid("ODOO_TEST_API_UID"))] {
        let order = quoted(client, odoo, customer, product, made).await;
        assert_eq!(order["create_uid"][0], json!(who), "{wire}: {order}");
    }
    // Odoo refuses who may not sell, in its own words, and only them.
    let quote = json!({ "cliente": customer.to_string(), "lineas": [{ "producto": format!("id:{product}") }], "clave": uuid::Uuid::new_v4().to_string() });
    let denied = clients[1].fail("crear_cotizacion", quote).await;
    assert_eq!((denied["codigo"].as_str(), denied["reintentable"].as_bool()), (Some("odoo_sin_permiso"), Some(false)), "{wire}: {denied}");
    let order = quoted(&clients[0], odoo, customer, product, made).await;
    assert_eq!(order["create_uid"][0], json!(uid("ODOO_TEST_UID")), "{wire}: {order}");
}

#[tokio::test]
async fn odoo_names_the_person_who_let_the_agent_in() {
    if user("API_", ProtocolChoice::Auto).is_none() {
        return;
    }
    TestApp::everywhere_with(&PATIENT, |app| async move {
        let odoo = administrator().await;
        for wire in [ProtocolChoice::Json2, ProtocolChoice::XmlRpc] {
            let mut made = Vec::new();
            let story = AssertUnwindSafe(people(Arc::clone(&app), wire, &odoo, &mut made)).catch_unwind().await;
            if !made.is_empty() {
                odoo.call_write("sale.order", "unlink", Some(&made), Map::new()).await.expect("what was made is removed");
            }
            if let Err(panic) = story {
                resume_unwind(panic);
            }
        }
    })
    .await;
}
