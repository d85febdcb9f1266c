//! *Mi acceso a Odoo*: a member's own user in their company's Odoo. The secret goes in and never comes back; an operator has none.

use axum::http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::live;
use super::may_have_own;
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash};
use crate::admin::error::PageError;
use crate::admin::forms::{Faults, Form, Hidden};
use crate::admin::pages::client::Head;
use crate::admin::pages::client_form::forget;
use crate::admin::pages::profile::Nothing;
use crate::admin::steps::StepView;
use crate::domain::connections::ConnectionError;
use crate::domain::tenants::{NewPersonalOdoo, PersonalPolicy, Tenant};
use crate::domain::users::{Level, TenantAccess};
use crate::tools::doctor::{Place, Reader};

const TEMPLATE: &str = "pages/client_odoo_own.html";

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin::pages) struct OwnForm {
    login: String,
    /// Empty tries the saved one; to save, it is given again.
    secret: Hidden,
    /// The version the page was made with: it shows to which server the secret goes.
    version: i32,
}

#[derive(Serialize)]
struct View<'a> {
    client: Head,
    form: &'a OwnForm,
    faults: Faults,
    /// Whether the reader may store one here.
    may: bool,
    operator: bool,
    required: bool,
    url: String,
    database: &'a str,
    /// When the secret was saved; empty when there is none.
    saved_at: String,
    action: String,
    back: String,
    steps: Vec<StepView>,
}

pub(in crate::admin::pages) async fn show(cx: Cx, access: TenantAccess) -> Answer {
    let tenant = cx.state().tenants.tenant_find(access.tenant()).await?;
    page(&cx, &access, &tenant, StatusCode::OK, None, Faults::default(), Vec::new()).await
}

pub(in crate::admin::pages) async fn save(cx: Cx, access: TenantAccess, Form(form): Form<OwnForm>) -> Answer {
    let tenant = members(&cx, &access).await?;
    let Some(secret) = typed(&form) else {
        let faults = Faults::one(&cx, "secret", "odoo_own_secret");
        return page(&cx, &access, &tenant, StatusCode::UNPROCESSABLE_ENTITY, Some(form), faults, Vec::new()).await;
    };
    let new = NewPersonalOdoo { login: form.login.clone(), secret, version: form.version };
    match cx.state().tenants.personal_odoo_save(&access, new).await {
        Ok(()) => {
            forget(&cx, tenant.id);
            cx.redirect_saying(&path(&tenant), &Flash::ok("odoo_own_saved"))
        }
        Err(error) => {
            let faults = Faults::of_tenant(&cx, error)?;
            page(&cx, &access, &tenant, StatusCode::UNPROCESSABLE_ENTITY, Some(form), faults, Vec::new()).await
        }
    }
}

/// Tries what is typed as the company's page does; nothing is saved.
pub(in crate::admin::pages) async fn test(cx: Cx, access: TenantAccess, headers: HeaderMap, Form(form): Form<OwnForm>) -> Answer {
    let tenant = members(&cx, &access).await?;
    // What is typed goes to the server that was shown, and to no other.
    if form.version != tenant.version {
        return Err(PageError::Stale);
    }
    let login = form.login.trim().to_owned();
    let fault = match (may_have_own(&access, &tenant), login.is_empty()) {
        (false, _) => Some(("form", "odoo_own_off")),
        (true, true) => Some(("login", "odoo_login")),
        (true, false) => None,
    };
    if let Some((field, key)) = fault {
        return page(&cx, &access, &tenant, StatusCode::UNPROCESSABLE_ENTITY, Some(form), Faults::one(&cx, field, key), Vec::new()).await;
    }
    let reader = Reader { language: cx.language(), place: Place::OwnPage, tenant: tenant.id.to_string(), user: login.clone() };
    let config = match cx.state().connections.config_own(&access, &tenant, login, typed(&form)).await {
        Ok(config) => config,
        Err(ConnectionError::NotConfigured) => {
            let faults = Faults::one(&cx, "secret", "odoo_own_secret");
            return page(&cx, &access, &tenant, StatusCode::UNPROCESSABLE_ENTITY, Some(form), faults, Vec::new()).await;
        }
        Err(error) => return Err(PageError::internal(error)),
    };
    if headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream")) {
        return Ok(live::stream(cx, config, tenant, reader));
    }
    let steps = live::steps(&cx, config, &tenant, &reader).await;
    page(&cx, &access, &tenant, StatusCode::OK, Some(form), Faults::default(), steps).await
}

pub(in crate::admin::pages) async fn remove(cx: Cx, access: TenantAccess, Form(Nothing {}): Form<Nothing>) -> Answer {
    let tenant = members(&cx, &access).await?;
    cx.state().tenants.personal_odoo_remove(&access).await?;
    forget(&cx, tenant.id);
    cx.redirect_saying(&path(&tenant), &Flash::ok("odoo_own_removed"))
}

/// The page's address.
pub(super) fn path(tenant: &Tenant) -> String {
    format!("{}/mine", super::path(tenant))
}

/// The tenant, of somebody who belongs to it: an operator has no Odoo user there.
async fn members(cx: &Cx, access: &TenantAccess) -> Result<Tenant, PageError> {
    if access.level() == Level::Operator {
        return Err(PageError::Forbidden);
    }
    Ok(cx.state().tenants.tenant_find(access.tenant()).await?)
}

fn typed(form: &OwnForm) -> Option<SecretString> {
    Some(form.secret.0.expose_secret().trim()).filter(|secret| !secret.is_empty()).map(|secret| secret.to_owned().into())
}

async fn page(cx: &Cx, access: &TenantAccess, tenant: &Tenant, status: StatusCode, form: Option<OwnForm>, faults: Faults, steps: Vec<StepView>) -> Answer {
    let saved = cx.state().tenants.personal_odoo_view(access).await?;
    let login = || saved.as_ref().map(|own| own.login.clone()).unwrap_or_default();
    let form = form.unwrap_or_else(|| OwnForm { login: login(), secret: Hidden::default(), version: tenant.version });
    let view = View {
        client: Head::of(cx, tenant),
        form: &form,
        faults,
        may: may_have_own(access, tenant),
        operator: access.level() == Level::Operator,
        required: tenant.odoo_personal == PersonalPolicy::Required,
        url: tenant.odoo.as_ref().map(|odoo| odoo.url.to_string()).unwrap_or_default(),
        database: tenant.odoo.as_ref().map(|odoo| odoo.database.as_str()).unwrap_or_default(),
        saved_at: saved.as_ref().map(|own| own.saved_at.to_rfc3339()).unwrap_or_default(),
        action: path(tenant),
        back: super::path(tenant),
        steps,
    };
    cx.page_with(status, TEMPLATE, view)
}
