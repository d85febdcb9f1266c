//! The addresses of the sandbox and the answers that need no login. One router, as a small Odoo with one database.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{SandboxOdoo, json2, portal, rpc};

/// The largest request body; a call of a tool is a few kilobytes.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

type Sandbox = State<Arc<SandboxOdoo>>;

/// All routes.
pub(super) fn router(sandbox: Arc<SandboxOdoo>) -> Router {
    Router::new()
        .route("/web/webclient/version_info", post(version_info))
        .route("/web/version", get(version))
        .route("/json/version", get(version))
        .route("/web/health", get(health))
        .route("/xmlrpc/2/{service}", post(xmlrpc))
        .route("/jsonrpc", post(jsonrpc))
        .route("/json/2", any(json2_nowhere))
        .route("/json/2/{*path}", any(json2_call))
        .route("/my/orders/{id}", get(order_page))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(sandbox)
}

/// What `common.version` answers.
pub(super) fn version_answer() -> Value {
    json!({"server_version": "19.0", "server_version_info": [19, 0, 0, "final", 0, ""], "server_serie": "19.0", "protocol_version": 1})
}

async fn version_info(headers: HeaderMap, body: Bytes) -> Response {
    if !is_json(&headers) {
        return wrong_content_type("/web/webclient/version_info", "jsonrpc");
    }
    let id = serde_json::from_slice::<Value>(&body).ok().and_then(|call| call.get("id").cloned()).unwrap_or_default();
    Json(json!({"jsonrpc": "2.0", "id": id, "result": version_answer()})).into_response()
}

async fn version() -> Json<Value> {
    Json(json!({"version_info": [19, 0, 0, "final", 0, ""], "version": "19.0"}))
}

#[derive(Deserialize)]
struct HealthQuery {
    db_server_status: Option<String>,
}

async fn health(Query(query): Query<HealthQuery>) -> Response {
    let body = if query.db_server_status.is_some() { json!({"status": "pass", "db_server_status": true}) } else { json!({"status": "pass"}) };
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

async fn xmlrpc(State(sandbox): Sandbox, Path(service): Path<String>, body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], rpc::xml(&sandbox, &service, &body)).into_response()
}

async fn jsonrpc(State(sandbox): Sandbox, headers: HeaderMap, body: Bytes) -> Response {
    if !is_json(&headers) {
        return wrong_content_type("/jsonrpc", "jsonrpc");
    }
    match rpc::json(&sandbox, &body) {
        Ok(answer) => Json(answer).into_response(),
        Err(text) => (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
    }
}

async fn json2_call(State(sandbox): Sandbox, method: axum::http::Method, Path(path): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    if !chooses_database(&sandbox, &headers) {
        return nothing().await;
    }
    match path.split_once('/') {
        Some((model, name)) if method == axum::http::Method::POST && !name.contains('/') => {
            if !is_json(&headers) && !body.is_empty() {
                return wrong_content_type("/json/2/&lt;__model__&gt;/&lt;__method__&gt;", "json2");
            }
            json2::call(&sandbox, model, name, &headers, &body)
        }
        _ => json2::nowhere(),
    }
}

async fn json2_nowhere(State(sandbox): Sandbox, headers: HeaderMap) -> Response {
    if chooses_database(&sandbox, &headers) { json2::nowhere() } else { nothing().await }
}

#[derive(Deserialize)]
struct OrderQuery {
    access_token: Option<String>,
    report_type: Option<String>,
    download: Option<String>,
}

/// The customer's page of a quotation, and its PDF. Without the right token one is sent away, as Odoo does.
async fn order_page(State(sandbox): Sandbox, Path(id): Path<i64>, Query(query): Query<OrderQuery>) -> Response {
    let token = query.access_token.unwrap_or_default();
    let Some(quotation) = sandbox.with_store(|store| portal::quotation(store, id, &token)) else {
        return Redirect::to("/my").into_response();
    };
    match query.report_type.as_deref() {
        Some("pdf") => {
            let place = if query.download.as_deref() == Some("true") { "attachment" } else { "inline" };
            let headers =
                [(header::CONTENT_TYPE, "application/pdf".to_owned()), (header::CONTENT_DISPOSITION, format!("{place}; filename=\"Cotizacion-{}.pdf\"", quotation.number))];
            (headers, portal::pdf(&quotation)).into_response()
        }
        _ => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], portal::html(&quotation)).into_response(),
    }
}

/// One database: naming none chooses it, naming another chooses nothing.
fn chooses_database(sandbox: &SandboxOdoo, headers: &HeaderMap) -> bool {
    headers.get("x-odoo-database").is_none_or(|name| name.as_bytes() == sandbox.database().as_bytes())
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    matches!(content_type.split(';').next().map(str::trim), Some("application/json" | "application/json-rpc"))
}

fn wrong_content_type(route: &str, kind: &str) -> Response {
    let body = format!(
        "<!doctype html>\n<html lang=en>\n<title>415 Unsupported Media Type</title>\n<h1>Unsupported Media Type</h1>\n<p>Request inferred type is compatible with [&#39;http&#39;] but &#39;{route}&#39; is \
         type=&#39;{kind}&#39;.<br><br>Please verify the Content-Type request header and try again.</p>\n"
    );
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], body).into_response()
}

/// The page of an Odoo that does not know which database is meant, or where one wants to go.
async fn nothing() -> Response {
    let body = "<!DOCTYPE html>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>No database is selected and the requested URL was not found in the server-wide controllers.</p>\n<p>Please verify the hostname, <a \
                href=/web/login>login</a> and try again.</p>\n\n<!-- Alternatively, use the X-Odoo-Database header. -->\n";
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], body).into_response()
}
