//! The whole job of the first tools, through the project's own client, over every wire.

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use url::Url;

use super::super::{Sample, SandboxOdoo};
use crate::clock::Clock;
use crate::odoo::{AddressPolicy, Domain, Fields, OdooClient, OdooConfig, OdooErrorKind, OdooLimits, Page, ProtocolChoice, Term};

/// A sandbox on a port of its own; it ends with the returned set.
async fn serve(sample: Sample) -> (Arc<SandboxOdoo>, Url, JoinSet<()>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let sandbox = Arc::new(SandboxOdoo::new(sample, "Empresa de prueba", Clock::system()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let router = Arc::clone(&sandbox).router();
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (sandbox, url, server)
}

fn config(sandbox: &SandboxOdoo, url: &Url, secret: &str, protocol: ProtocolChoice) -> OdooConfig {
    OdooConfig {
        url: url.clone(),
        database: sandbox.database().to_owned(),
        login: sandbox.login().to_owned(),
        secret: SecretString::from(secret.to_owned()),
        protocol,
        limits: OdooLimits::default(),
        addresses: AddressPolicy::AllowPrivate,
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

#[tokio::test]
async fn a_quotation_over_every_wire() {
    let (sandbox, url, _server) = serve(Sample::HardwareStore).await;
    let mut totals = Vec::new();
    for protocol in [ProtocolChoice::Json2, ProtocolChoice::XmlRpc, ProtocolChoice::JsonRpc, ProtocolChoice::Auto] {
        let secret = if protocol == ProtocolChoice::XmlRpc { sandbox.password() } else { sandbox.api_key() };
        let odoo = OdooClient::connect(config(&sandbox, &url, secret, protocol)).await.unwrap();
        assert_eq!((odoo.version().major, odoo.uid(), odoo.user_lang(), odoo.user_tz()), (19, 2, Some("es_DO"), Some("America/Santo_Domingo")));

        let fields = Fields::new().text("name").text("vat").many2one("parent_id", &["display_name"]).many2one("property_product_pricelist", &["display_name"]);
        let found = odoo.search_page("res.partner", &Domain::all().and(Term::eq("name", "Constructora Peña & Asociados, SRL")), &fields, &Page::first(5)).await.unwrap();
        assert_eq!(found.total, 1, "{protocol}");
        assert_eq!(found.records[0]["parent_id"], Value::Null);
        assert_eq!(found.records[0]["property_product_pricelist"]["display_name"], "Mayoristas 10 % (DOP)");
        let customer = found.records[0]["id"].as_i64().unwrap();

        let products = odoo
            .search_page(
                "product.product",
                &Domain::all().and(Term::in_("default_code", ["CEM-001", "ABO-015"])),
                &Fields::new().text("default_code"),
                &Page::first(5).ordered("default_code"),
            )
            .await
            .unwrap();
        let id_of = |at: usize| products.records[at]["id"].as_i64().unwrap();
        let lines = json!([[0, "v1", {"product_id": id_of(1), "product_uom_qty": 10}], [0, "v2", {"product_id": id_of(0), "product_uom_qty": 2, "discount": 5}]]);
        let specification = json!({
            "name": {}, "partner_id": {"fields": {"display_name": {}}}, "amount_untaxed": {}, "amount_tax": {}, "amount_total": {}, "currency_id": {"fields": {"name": {}}},
            "order_line": {"fields": {"product_id": {"fields": {"display_name": {}}}, "price_unit": {}, "price_subtotal": {}, "product_uom_qty": {}}},
        });
        let values = json!({"partner_id": customer, "order_line": lines});
        let preview = odoo.call_read("sale.order", "onchange", Some(&[]), object(json!({"values": values, "field_names": [], "fields_spec": specification}))).await.unwrap();
        let saved = odoo.call_write("sale.order", "web_save", Some(&[]), object(json!({"vals": values, "specification": specification}))).await.unwrap();
        let amounts = |of: &Value| ["amount_untaxed", "amount_tax", "amount_total"].map(|name| of[name].clone());
        assert_eq!(amounts(&preview["value"]), amounts(&saved[0]));
        // 10 x 436.50 with ITBIS, 2 x 2205 less 5 % without.
        assert_eq!(amounts(&saved[0]), [json!(8554.5), json!(785.7), json!(9340.2)]);
        let order = saved[0]["id"].as_i64().unwrap();
        let link = odoo.call_read("sale.order", "get_portal_url", Some(&[order]), object(json!({"report_type": "pdf", "download": true}))).await.unwrap();
        assert!(link.as_str().unwrap().starts_with(&format!("/my/orders/{order}?access_token=")));
        assert_eq!(odoo.call_write("sale.order", "action_quotation_sent", Some(&[order]), Map::new()).await.unwrap(), Value::Null);
        let read = odoo.read("sale.order", &[order], &Fields::new().text("state").number("amount_total").many2one("partner_id", &["display_name"])).await.unwrap();
        assert_eq!((&read[0]["state"], &read[0]["partner_id"]["id"]), (&json!("sent"), &json!(customer)));
        totals.push(read[0]["amount_total"].clone());

        let made = odoo.create("res.partner", object(json!({"name": format!("Nuevo por {protocol}"), "phone": "809-555-0199"}))).await.unwrap();
        odoo.write("res.partner", &[made], object(json!({"city": "Azua"}))).await.unwrap();
        assert_eq!(odoo.read("res.partner", &[made], &Fields::new().text("city").text("email")).await.unwrap()[0]["city"], "Azua");
        let missing = odoo.write("res.partner", &[99_999], object(json!({"city": "x"}))).await.unwrap_err();
        assert_eq!(missing.kind, OdooErrorKind::RecordMissing, "{protocol}");
        for (model, method, ids, named, kind) in [
            ("no.model", "search", None, json!({"domain": []}), OdooErrorKind::UnknownModel),
            ("res.partner", "nothing", Some(&[1_i64][..]), json!({}), OdooErrorKind::UnknownMethod),
            ("res.partner", "search", None, json!({"domain": [["nofield", "=", 1]]}), OdooErrorKind::UnknownField),
            ("res.company", "write", Some(&[1]), json!({"vals": {"name": "x"}}), OdooErrorKind::AccessDenied),
            ("res.partner", "create", None, json!({"vals_list": [{"email": "x"}]}), OdooErrorKind::Validation),
        ] {
            assert_eq!(odoo.call_write(model, method, ids, object(named)).await.unwrap_err().kind, kind, "{protocol} {model}.{method}");
        }
    }
    assert!(totals.iter().all(|total| *total == json!(9340.2)), "{totals:?}");
}

#[tokio::test]
async fn wrong_credentials_and_databases() {
    let (sandbox, url, _server) = serve(Sample::Clinic).await;
    for protocol in [ProtocolChoice::Json2, ProtocolChoice::XmlRpc, ProtocolChoice::JsonRpc] {
        let wrong = OdooClient::connect(config(&sandbox, &url, "0000000000000000000000000000000000000000", protocol)).await.unwrap_err();
        assert_eq!(wrong.kind, OdooErrorKind::BadCredentials, "{protocol}");
        let elsewhere = OdooConfig { database: "otra".to_owned(), ..config(&sandbox, &url, sandbox.api_key(), protocol) };
        assert_eq!(OdooClient::connect(elsewhere).await.unwrap_err().kind, OdooErrorKind::DatabaseNotFound, "{protocol}");
    }
    let steps = crate::odoo::probe(config(&sandbox, &url, sandbox.api_key(), ProtocolChoice::Auto)).await;
    assert!(steps.iter().all(|step| step.ok), "{steps:?}");
}
