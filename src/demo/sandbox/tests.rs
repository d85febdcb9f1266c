//! The wires, seen from outside: shapes and error texts, and the project's own client against the sandbox.

mod client;
mod json2_refusals;
mod rpc_refusals;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use chrono::DateTime;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::odoo::wire::{DecodeLimits, Fault, xmlrpc};

fn sandbox() -> Arc<SandboxOdoo> {
    let noon = DateTime::parse_from_rfc3339("2026-11-22T16:00:00Z").unwrap().to_utc();
    Arc::new(SandboxOdoo::new(Sample::HardwareStore, "Ferretería Nova", Clock::fixed(noon)))
}

async fn send(sandbox: &Arc<SandboxOdoo>, request: Request<Body>) -> (StatusCode, String, Vec<u8>) {
    let response = Arc::clone(sandbox).router().oneshot(request).await.unwrap();
    let status = response.status();
    let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    (status, content_type, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header("content-type", "application/json").body(body.into()).unwrap()
}

fn keyed(sandbox: &SandboxOdoo, path: &str, body: &Value) -> Request<Body> {
    let mut request = post(&format!("/json/2/{path}"), body.to_string());
    request.headers_mut().insert("authorization", format!("bearer {}", sandbox.api_key()).parse().unwrap());
    request.headers_mut().insert("x-odoo-database", sandbox.database().parse().unwrap());
    request
}

async fn json2(sandbox: &Arc<SandboxOdoo>, path: &str, body: Value) -> (u16, Value) {
    let (status, _, bytes) = send(sandbox, keyed(sandbox, path, &body)).await;
    (status.as_u16(), serde_json::from_slice(&bytes).unwrap())
}

async fn xml(sandbox: &Arc<SandboxOdoo>, service: &str, method: &str, arguments: Value) -> Result<Value, Fault> {
    let body = xmlrpc::encode_call(method, arguments.as_array().unwrap());
    let request = Request::post(format!("/xmlrpc/2/{service}")).header("content-type", "text/xml").body(Body::from(body)).unwrap();
    let (status, content_type, bytes) = send(sandbox, request).await;
    assert_eq!((status.as_u16(), content_type.as_str()), (200, "text/xml; charset=utf-8"), "faults too");
    xmlrpc::decode_answer(&bytes, &DecodeLimits::default()).unwrap()
}

async fn execute(sandbox: &Arc<SandboxOdoo>, model: &str, method: &str, arguments: Value, keywords: Value) -> Result<Value, Fault> {
    xml(sandbox, "object", "execute_kw", json!([sandbox.database(), 2, sandbox.password(), model, method, arguments, keywords])).await
}

#[test]
fn names_of_databases() {
    assert_eq!(slug("Ferretería Nova"), "ferreteria-nova");
    assert_eq!(slug("Clínica Aurora, S.R.L."), "clinica-aurora-s-r-l");
    assert_eq!(slug("漢字"), "demo");
}

#[test]
fn secrets_are_random_and_not_printed() {
    let (one, other) = (sandbox(), sandbox());
    assert!(one.api_key() != other.api_key() && one.password() != other.password());
    assert_eq!(one.api_key().len(), 40);
    let printed = format!("{one:?}");
    assert!(!printed.contains(one.api_key()) && !printed.contains(one.password()));
}

#[tokio::test]
async fn the_version_needs_no_login() {
    let sandbox = sandbox();
    let (status, _, body) = send(&sandbox, post("/web/webclient/version_info", "{}")).await;
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &answer["result"]["server_version"], &answer["id"]), (StatusCode::OK, &json!("19.0"), &Value::Null));
    let (_, _, body) = send(&sandbox, Request::get("/web/version").body(Body::empty()).unwrap()).await;
    assert_eq!(body, br#"{"version_info":[19,0,0,"final",0,""],"version":"19.0"}"#);
    let (_, _, body) = send(&sandbox, Request::get("/web/health").body(Body::empty()).unwrap()).await;
    assert_eq!(body, br#"{"status":"pass"}"#);
    assert_eq!(xml(&sandbox, "common", "version", json!([])).await.unwrap()["server_version_info"], json!([19, 0, 0, "final", 0, ""]));
}

#[tokio::test]
async fn create_and_read_back() {
    let sandbox = sandbox();
    let name = "Peña & Núñez <SRL> «ñ» 漢字 😀";
    let (_, ids) = json2(&sandbox, "res.partner/create", json!({"vals_list": {"name": name, "vat": "145000014", "child_ids": [[0, 0, {"name": "Ana"}]]}})).await;
    let id = ids[0].as_i64().unwrap();
    let (_, read) = json2(&sandbox, "res.partner/read", json!({"ids": [id, 99_999], "fields": ["name", "country_id", "email", "active", "child_ids", "create_date"]})).await;
    assert_eq!(
        read,
        json!([{"id": id, "name": name, "country_id": [1, "Dominican Republic"], "email": false, "active": true, "child_ids": [id + 1], "create_date": "2026-11-22 16:00:00"}])
    );
    let specification = json!({"name": {}, "country_id": {"fields": {"code": {}}}, "parent_id": {}, "child_ids": {"fields": {"display_name": {}}}});
    let (_, page) = json2(&sandbox, "res.partner/web_search_read", json!({"domain": [["vat", "in", ["145000014", "x"]]], "specification": specification, "limit": 5})).await;
    let ana = json!({"id": id + 1, "display_name": format!("{name}, Ana")});
    assert_eq!(page, json!({"length": 1, "records": [{"id": id, "name": name, "country_id": {"id": 1, "code": "DO"}, "parent_id": false, "child_ids": [ana]}]}));
    assert_eq!(execute(&sandbox, "res.partner", "read", json!([id, ["name"]]), json!({})).await.unwrap(), json!([{"id": id, "name": name}]));
    assert_eq!(json2(&sandbox, "res.partner/action_archive", json!({"ids": [id]})).await, (200, Value::Null));
    assert_eq!(json2(&sandbox, "res.partner/search", json!({"domain": [["id", "=", id]]})).await.1, json!([]));
    assert_eq!(json2(&sandbox, "res.partner/search", json!({"domain": [["id", "=", id]], "context": {"active_test": false}})).await.1, json!([id]));
    assert_eq!(json2(&sandbox, "res.partner/unlink", json!({"ids": [id]})).await.1, json!(true));
    assert_eq!(json2(&sandbox, "res.partner/search_count", json!({"domain": [["id", "=", id], ["active", "=", false]]})).await.1, json!(0));
}

#[tokio::test]
async fn searches_of_the_tools() {
    let sandbox = sandbox();
    let names = |answer: &Value| -> Vec<String> { answer["records"].as_array().unwrap().iter().map(|row| row["display_name"].as_str().unwrap().to_owned()).collect() };
    let specification = json!({"display_name": {}, "free_qty": {}, "uom_id": {"fields": {"display_name": {}}}});
    let domain =
        json!(["&", ["sale_ok", "=", true], "&", "|", "|", ["name", "ilike", "taladro"], ["default_code", "ilike", "taladro"], ["barcode", "=", "taladro"], ["free_qty", ">", 0]]);
    let (_, page) = json2(&sandbox, "product.product/web_search_read", json!({"domain": domain, "specification": specification, "limit": 1, "order": "list_price desc"})).await;
    assert_eq!((&page["length"], names(&page)), (&json!(2), vec!["[TAL-020] Taladro inalámbrico 20 V".to_owned()]));
    let (_, page) = json2(&sandbox, "res.partner/web_search_read", json!({"domain": [["name", "ilike", "Pérez"]], "specification": {"display_name": {}}, "limit": 10})).await;
    assert_eq!(names(&page), ["Juan Carlos Pérez Matos", "Juan Pérez", "Juana Pérez", "Pérez Electromecánica, SRL"]);
    assert_eq!(json2(&sandbox, "res.users/context_get", json!({})).await.1, json!({"lang": "es_DO", "tz": "America/Santo_Domingo", "uid": 2}));
    let company = json!({"domain": [], "specification": {"name": {}, "currency_id": {"fields": {"name": {}, "symbol": {}}}, "country_id": {"fields": {"code": {}}}}});
    let (_, page) = json2(&sandbox, "res.company/web_search_read", company).await;
    assert_eq!(page["records"], json!([{"id": 1, "name": "Ferretería Nova", "currency_id": {"id": 1, "name": "DOP", "symbol": "RD$"}, "country_id": {"id": 1, "code": "DO"}}]));
    for (path, body, answer) in [
        ("sale.order/has_access", json!({"ids": [], "operation": "create"}), json!(true)),
        ("res.users/has_access", json!({"ids": [], "operation": "write"}), json!(false)),
        ("res.company/check_access_rights", json!({"operation": "create", "raise_exception": false}), json!(false)),
        ("res.partner/name_search", json!({"name": "cibaeño"}), json!([[12, "Taller El Cibaeño, EIRL"]])),
        ("ir.module.module/search_count", json!({"domain": [["state", "=", "installed"], ["name", "in", ["sale_management", "l10n_do", "helpdesk"]]]}), json!(2)),
    ] {
        assert_eq!(json2(&sandbox, path, body).await, (200, answer), "{path}");
    }
}

#[tokio::test]
async fn the_customers_page_and_its_pdf() {
    let sandbox = sandbox();
    let (_, url) = json2(&sandbox, "sale.order/get_portal_url", json!({"ids": [1]})).await;
    let get = |path: String| Request::get(path).body(Body::empty()).unwrap();
    let url = url.as_str().unwrap().to_owned();
    let (status, content_type, body) = send(&sandbox, get(url.clone())).await;
    let page = String::from_utf8(body).unwrap();
    assert_eq!((status.as_u16(), content_type.as_str()), (200, "text/html; charset=utf-8"));
    assert!(page.contains("S00001") && page.contains("Constructora Peña &amp; Asociados, SRL") && page.contains("RD$ 34,153.92"), "{page}");
    let (_, content_type, body) = send(&sandbox, get(format!("{url}&report_type=pdf&download=true"))).await;
    assert!(content_type == "application/pdf" && body.starts_with(b"%PDF-1.4") && body.ends_with(b"%%EOF\n"));
    for path in ["/my/orders/1?access_token=no".to_owned(), "/my/orders/1".to_owned(), url.replace("/1?", "/2?")] {
        assert_eq!(send(&sandbox, get(path)).await.0, StatusCode::SEE_OTHER);
    }
}
