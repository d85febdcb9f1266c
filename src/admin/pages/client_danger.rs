//! The danger zone of a client, for operators: suspending it, serving it again, removing it for good.

use axum::extract::Path;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::client::Head;
use super::client_form::{forget, tenant};
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, tenant_path};
use crate::admin::forms::{Faults, Form};
use crate::domain::tenants::{Tenant, TenantEdit};
use crate::domain::users::Operator;

const TEMPLATE: &str = "pages/client_danger.html";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusForm {
    /// `active` or `suspended`.
    status: String,
    /// The version the page was made with.
    version: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteForm {
    /// The client's name, typed.
    confirm: String,
}

#[derive(Serialize)]
struct View {
    client: Head,
    version: i32,
    confirm: String,
    faults: Faults,
}

pub(super) async fn show(cx: Cx, _: Operator, Path(id): Path<String>) -> Answer {
    let tenant = tenant(&cx, &id).await?;
    page(&cx, &tenant, StatusCode::OK, String::new(), Faults::default())
}

pub(super) async fn status(cx: Cx, operator: Operator, Path(id): Path<String>, Form(form): Form<StatusForm>) -> Answer {
    let tenant = tenant(&cx, &id).await?;
    let active = match form.status.as_str() {
        "active" => true,
        "suspended" => false,
        _ => return Err(crate::admin::error::PageError::BadForm),
    };
    let edit = TenantEdit { active: Some(active), version: Some(form.version), ..TenantEdit::default() };
    cx.state().tenants.tenant_edit(tenant.id, edit, &operator.actor()).await?;
    forget(&cx, tenant.id);
    let flash = Flash::ok(if active { "client_resumed" } else { "client_suspended" }).fact("name", &tenant.name);
    cx.redirect_saying(&format!("{}/danger", tenant_path(tenant.id)), &flash)
}

pub(super) async fn delete(cx: Cx, operator: Operator, Path(id): Path<String>, Form(form): Form<DeleteForm>) -> Answer {
    let tenant = tenant(&cx, &id).await?;
    if form.confirm.trim() != tenant.name.trim() {
        let faults = Faults::one(&cx, "confirm", "confirm_name");
        return page(&cx, &tenant, StatusCode::UNPROCESSABLE_ENTITY, form.confirm, faults);
    }
    cx.state().tenants.tenant_delete(tenant.id, &operator.actor()).await?;
    forget(&cx, tenant.id);
    cx.redirect_saying(super::clients::PATH, &Flash::ok("client_deleted").fact("name", &tenant.name))
}

fn page(cx: &Cx, tenant: &Tenant, status: StatusCode, confirm: String, faults: Faults) -> Answer {
    cx.page_with(status, TEMPLATE, View { client: Head::of(cx, tenant), version: tenant.version, confirm, faults })
}
