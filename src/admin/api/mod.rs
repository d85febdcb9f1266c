//! `/admin/api`: what operators' pages do, for their programs. JSON in and out; failures are `application/problem+json` (RFC 9457), in English.
//!
//! [`register`] is the one list of routes: a line there is in the router and in the OpenAPI document. The handlers call the same domain services
//! as the pages. The stack, outermost first: headers, problems (`problem.rs`), panic guard, time limit, who may (`door.rs`), one act per
//! `Idempotency-Key` (`once.rs`). What the pages do and where it is here: `docs/api.md`.

use std::sync::LazyLock;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::any;
use serde_json::{Value, json};
use tower::ServiceBuilder;
use utoipa::openapi::{Info, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Portal, csrf, headers_layer};
use crate::http::middleware::Around;
use crate::http::{self, HttpSettings};

mod alerts;
mod approvals;
mod clients;
mod connection;
mod connector;
mod door;
mod failures;
mod files;
mod grants;
mod input;
mod keys;
mod log;
mod members;
mod once;
mod padron;
mod people;
mod plans;
mod problem;
mod reports;
mod settings;
mod statements;
mod tokens;
mod tools;
mod waiting;

use door::Door;
use once::Once;

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
        .routes(routes!(clients::client_delete))
        .routes(routes!(reports::client_summary))
        .routes(routes!(connection::connection_show, connection::connection_set, connection::connection_remove))
        .routes(routes!(connection::connection_test))
        .routes(routes!(keys::key_show, keys::key_set))
        .routes(routes!(keys::key_renew))
        .routes(routes!(alerts::client_alerts, alerts::client_alerts_set))
        .routes(routes!(alerts::client_alerts_secret))
        .routes(routes!(alerts::client_alerts_test))
        .routes(routes!(alerts::alerts_show, alerts::alerts_set))
        .routes(routes!(alerts::alerts_secret))
        .routes(routes!(alerts::alerts_test))
        .routes(routes!(tools::tools_show, tools::tools_set))
        .routes(routes!(tokens::token_list, tokens::token_issue))
        .routes(routes!(tokens::token_rotate))
        .routes(routes!(tokens::token_revoke))
        .routes(routes!(approvals::approval_list))
        .routes(routes!(grants::client_grants))
        .routes(routes!(grants::grant_revoke))
        .routes(routes!(grants::grant_list))
        .routes(routes!(members::member_list, members::member_invite))
        .routes(routes!(members::member_edit, members::member_remove))
        .routes(routes!(reports::client_agents))
        .routes(routes!(reports::client_usage))
        .routes(routes!(reports::usage))
        .routes(routes!(reports::usage_csv))
        .routes(routes!(log::call_list))
        .routes(routes!(log::call_csv))
        .routes(routes!(statements::client_statements))
        .routes(routes!(statements::statement_show))
        .routes(routes!(statements::statement_close))
        .routes(routes!(statements::statement_correct))
        .routes(routes!(statements::invoice_make))
        .routes(routes!(statements::invoice_check))
        .routes(routes!(statements::month_show))
        .routes(routes!(statements::month_totals))
        .routes(routes!(statements::month_csv))
        .routes(routes!(statements::month_close))
        .routes(routes!(plans::plan_list, plans::plan_new))
        .routes(routes!(plans::plan_set))
        .routes(routes!(plans::plan_remove))
        .routes(routes!(waiting::sign_up_list))
        .routes(routes!(waiting::sign_up_approve))
        .routes(routes!(waiting::sign_up_refuse))
        .routes(routes!(waiting::plan_request_list))
        .routes(routes!(waiting::plan_request_decide))
        .routes(routes!(people::person_list, people::operator_invite))
        .routes(routes!(people::person_link))
        .routes(routes!(people::person_disable))
        .routes(routes!(people::person_enable))
        .routes(routes!(people::person_sign_out))
        .routes(routes!(people::person_second_factor_reset))
        .routes(routes!(padron::padron_show))
        .routes(routes!(padron::import_list, padron::import_upload))
        .routes(routes!(padron::padron_rollback))
        .routes(routes!(reports::audit_list))
        .routes(routes!(reports::audit_verify))
        .routes(routes!(reports::client_audit_verify))
        .routes(routes!(settings::settings_show, settings::settings_edit))
        .routes(routes!(connector::connector_test))
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
    let limits = TimeLimits { request: settings.request_timeout, upload: Duration::from_millis(portal.state().config.limits.upload_timeout_ms) };
    let stack = ServiceBuilder::new()
        .layer(from_fn_with_state(portal.clone(), headers_layer))
        .layer(from_fn(problem::layer))
        .layer(Around::new(http::PanicGuard(problem::panicked)))
        .layer(from_fn_with_state(limits, limit_layer))
        .layer(from_fn_with_state(Door::new(portal, settings.failed_auth_per_minute), door::layer))
        .layer(from_fn_with_state(Once::new(portal), once::layer))
        // Bodies have their own limits: `input.rs`, `upload.rs`.
        .layer(DefaultBodyLimit::disable());
    let (routes, _) = register().split_for_parts();
    routes.route("/admin/api/{*rest}", any(problem::not_found)).layer(stack).with_state(portal.clone())
}

/// The longest time until an answer begins.
#[derive(Clone, Copy)]
struct TimeLimits {
    request: Duration,
    /// Of a form with files, which may come over a slow line.
    upload: Duration,
}

async fn limit_layer(State(limits): State<TimeLimits>, request: Request, next: Next) -> Response {
    let longest = if csrf::is_upload(request.headers()) { limits.upload } else { limits.request };
    tokio::time::timeout(longest, next.run(request)).await.unwrap_or_else(|_| problem::too_slow())
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
         whose POST, PUT, PATCH and DELETE requests need the header `x-csrf-token`. Lists go on at `after`, with the `next` of the answer before. \
         A request that acts may carry `Idempotency-Key`, a text of its own: sent again within a quarter of an hour it is done once and answered alike."
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
        let sources = [
            include_str!("mod.rs"),
            include_str!("clients.rs"),
            include_str!("grants.rs"),
            include_str!("connector.rs"),
            include_str!("approvals.rs"),
            include_str!("alerts.rs"),
            include_str!("keys.rs"),
            include_str!("connection.rs"),
            include_str!("log.rs"),
            include_str!("members.rs"),
            include_str!("padron.rs"),
            include_str!("people.rs"),
            include_str!("plans.rs"),
            include_str!("reports.rs"),
            include_str!("settings.rs"),
            include_str!("statements.rs"),
            include_str!("tokens.rs"),
            include_str!("tools.rs"),
            include_str!("waiting.rs"),
        ];
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
