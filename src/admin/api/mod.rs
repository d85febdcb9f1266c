//! `/admin/api`: what operators' pages do, for their programs. JSON in and out; failures are `application/problem+json` (RFC 9457), in English.
//!
//! [`register`] is the one list of routes: a line there is in the router and in the OpenAPI document. The handlers call the same domain services
//! as the pages. The stack, outermost first: headers, problems (`problem.rs`), panic guard, time limit, who may (`door.rs`).

use std::sync::LazyLock;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::any;
use serde_json::{Value, json};
use tower::ServiceBuilder;
use utoipa::openapi::{Info, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Portal, headers_layer};
use crate::http::middleware::Around;
use crate::http::{self, HttpSettings};

mod clients;
mod door;
mod input;
mod problem;
mod reports;
mod tokens;

/// Where the document is.
pub(super) const DOCUMENT_PATH: &str = "/admin/api/openapi.json";

/// Every route.
fn register() -> OpenApiRouter<Portal> {
    OpenApiRouter::new()
        .routes(routes!(document_show))
        .routes(routes!(clients::client_list, clients::client_add))
        .routes(routes!(clients::client_show, clients::client_edit))
        .routes(routes!(clients::client_suspend))
        .routes(routes!(clients::client_resume))
        .routes(routes!(tokens::token_list, tokens::token_issue))
        .routes(routes!(tokens::token_revoke))
        .routes(routes!(reports::client_usage))
        .routes(routes!(reports::usage))
        .routes(routes!(reports::plan_list))
        .routes(routes!(reports::audit_list))
        .routes(routes!(reports::settings_show))
        .routes(routes!(reports::panel_show))
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| dressed(&register().into_openapi()));

/// The OpenAPI 3.1 document.
#[must_use]
pub fn document() -> &'static Value {
    &DOCUMENT
}

/// The routes of this door.
pub(super) fn router(portal: &Portal, settings: &HttpSettings) -> Router {
    let limit = http::TimeLimit { longest: settings.request_timeout, answer: problem::too_slow };
    let stack = ServiceBuilder::new()
        .layer(from_fn_with_state(portal.clone(), headers_layer))
        .layer(from_fn(problem::layer))
        .layer(Around::new(http::PanicGuard(problem::panicked)))
        .layer(Around::new(limit))
        .layer(from_fn_with_state(portal.clone(), door::layer));
    let (routes, _) = register().split_for_parts();
    routes.route("/admin/api/{*rest}", any(problem::not_found)).layer(stack).with_state(portal.clone())
}

/// This document.
#[utoipa::path(get, path = "/admin/api/openapi.json", tag = "document", responses((status = 200, body = Value, description = "The OpenAPI document.")))]
async fn document_show(_: door::By) -> axum::Json<&'static Value> {
    axum::Json(document())
}

/// What all operations have in common: who may, and what failures look like.
fn dressed(routes: &OpenApi) -> Value {
    let mut document = serde_json::to_value(routes).expect("a document is JSON");
    document["openapi"] = json!("3.1.0");
    document["info"] = serde_json::to_value(Info::new("Dunet, operators' API", env!("CARGO_PKG_VERSION"))).expect("as above");
    document["info"]["description"] = json!(
        "What operators do in the portal, for their programs. Sign with an API key (`dunet admin api-key make`) or with the portal's session, \
         whose POST and PATCH requests need the header `x-csrf-token`. Lists go on at `after`, with the `next` of the answer before."
    );
    document["security"] = json!([{ "key": [] }, { "session": [] }]);
    document["components"]["securitySchemes"] = json!({
        "key": { "type": "http", "scheme": "bearer", "bearerFormat": "dunet_op_…" },
        "session": { "type": "apiKey", "in": "cookie", "name": "__Host-dunet" },
    });
    document["components"]["schemas"]["Problem"] = problem::schema();
    let failure = json!({
        "description": "A failure: what, which field, and the request's id.",
        "content": { problem::KIND: { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    for operations in document["paths"].as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
        for operation in operations.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
            operation["responses"]["default"] = failure.clone();
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handler that is described but stands in no line would be in neither.
    #[test]
    fn every_handler_stands_in_the_register() {
        let sources = [include_str!("mod.rs"), include_str!("clients.rs"), include_str!("tokens.rs"), include_str!("reports.rs")];
        let described: usize = sources.iter().map(|source| source.lines().filter(|line| line.starts_with("#[utoipa::path(")).count()).sum();
        let paths = document()["paths"].as_object().unwrap();
        let operations: Vec<&Value> = paths.values().flat_map(|operations| operations.as_object().unwrap().values()).collect();
        assert_eq!(operations.len(), described);
        let mut names: Vec<&str> = operations.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), operations.len(), "two operations of one name: {names:?}");
        for operation in operations {
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{operation}");
        }
        for (path, _) in paths {
            assert!(path.starts_with("/admin/api/"), "{path}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        assert!(jsonschema::draft202012::meta::is_valid(&document["components"]["schemas"]["Problem"]));
    }
}
