//! A client's Odoo connection: where it is, as whom, and trying it. The secret goes in and never comes back.

pub(super) mod key;
mod live;
pub(super) mod own;

use axum::http::{HeaderMap, StatusCode, header};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::client::Head;
use super::client_form::forget;
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, tenant_path};
use crate::admin::error::PageError;
use crate::admin::forms::{Faults, Form, Hidden};
use crate::admin::odoo_typed::{Given, Typed};
use crate::admin::steps::StepView;
use crate::domain::connections::ConnectionError;
use crate::domain::tenants::{PersonalPolicy, ProtocolChoice, Tenant, TenantEdit};
use crate::domain::users::{Level, TenantAccess};
use crate::tools::doctor::{Place, Reader};

const TEMPLATE: &str = "pages/client_odoo.html";

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OdooForm {
    url: String,
    database: String,
    login: String,
    /// Empty keeps the saved one.
    secret: Hidden,
    protocol: String,
    /// Requests a second; empty goes by the address.
    pace: String,
    /// Whether people use an Odoo user of their own; empty keeps it as it is.
    #[serde(default)]
    personal: String,
    /// The version the page was made with.
    version: i32,
}

impl OdooForm {
    fn of(tenant: &Tenant) -> Self {
        let odoo = tenant.odoo.as_ref();
        Self {
            url: odoo.map(|odoo| odoo.url.to_string()).unwrap_or_default(),
            database: odoo.map(|odoo| odoo.database.clone()).unwrap_or_default(),
            login: odoo.map(|odoo| odoo.login.clone()).unwrap_or_default(),
            secret: Hidden::default(),
            protocol: odoo.map_or(ProtocolChoice::Auto, |odoo| odoo.protocol).to_string(),
            pace: tenant.odoo_requests_per_second.map(|pace| pace.to_string()).unwrap_or_default(),
            personal: tenant.odoo_personal.as_str().to_owned(),
            version: tenant.version,
        }
    }
}

#[derive(Serialize)]
struct View<'a> {
    client: Head,
    form: &'a OdooForm,
    faults: Faults,
    connected: bool,
    /// When the secret was saved; empty when that is not known.
    secret_saved_at: String,
    may_change: bool,
    action: String,
    protocols: [Choice; 4],
    personals: Vec<Choice>,
    /// Where the reader's own Odoo user is stored; empty when they store none here.
    own: String,
    steps: Vec<StepView>,
    /// Of a connection that is saved.
    key: Option<key::KeyCard>,
}

#[derive(Serialize)]
struct Choice {
    value: &'static str,
    text: String,
}

pub(super) async fn show(cx: Cx, access: TenantAccess) -> Answer {
    let tenant = cx.state().tenants.tenant_find(access.tenant()).await?;
    page(&cx, &access, &tenant, StatusCode::OK, &OdooForm::of(&tenant), Faults::default(), Vec::new()).await
}

pub(super) async fn save(cx: Cx, access: TenantAccess, Form(form): Form<OdooForm>) -> Answer {
    let tenant = cx.state().tenants.tenant_find(access.tenant()).await?;
    let given = match given(&cx, &tenant, &form) {
        Ok(given) => given,
        Err(faults) => return page(&cx, &access, &tenant, StatusCode::UNPROCESSABLE_ENTITY, &form, faults, Vec::new()).await,
    };
    let edit = TenantEdit { odoo_personal: PersonalPolicy::known(&form.personal), version: Some(form.version), ..given.edit() };
    match cx.state().tenants.tenant_edit(tenant.id, edit, &access.actor()).await {
        Ok(()) => {
            forget(&cx, tenant.id);
            cx.redirect_saying(&path(&tenant), &Flash::ok("odoo_saved"))
        }
        Err(error) => {
            let faults = Faults::of_tenant(&cx, error)?;
            page(&cx, &access, &tenant, StatusCode::UNPROCESSABLE_ENTITY, &form, faults, Vec::new()).await
        }
    }
}

/// Tries what is typed; nothing is saved. With script the steps come one by one, without it when all is done.
pub(super) async fn test(cx: Cx, access: TenantAccess, headers: HeaderMap, Form(form): Form<OdooForm>) -> Answer {
    let tenant = cx.state().tenants.tenant_find(access.tenant()).await?;
    let given = match given(&cx, &tenant, &form) {
        Ok(given) => given,
        Err(faults) => return page(&cx, &access, &tenant, StatusCode::UNPROCESSABLE_ENTITY, &form, faults, Vec::new()).await,
    };
    let reader = Reader { language: cx.language(), place: Place::Page, tenant: tenant.id.to_string(), user: given.draft.login.clone() };
    let config = match cx.state().connections.config_draft(&tenant, given.draft) {
        Ok(config) => config,
        Err(ConnectionError::NotConfigured) => {
            let faults = Faults::one(&cx, "secret", "odoo_secret");
            return page(&cx, &access, &tenant, StatusCode::UNPROCESSABLE_ENTITY, &form, faults, Vec::new()).await;
        }
        Err(error) => return Err(PageError::internal(error)),
    };
    let wants_stream = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"));
    if wants_stream {
        return Ok(live::stream(cx, config, tenant, reader));
    }
    let steps = live::steps(&cx, config, &tenant, &reader).await;
    page(&cx, &access, &tenant, StatusCode::OK, &form, Faults::default(), steps).await
}

fn path(tenant: &Tenant) -> String {
    format!("{}/odoo", tenant_path(tenant.id))
}

/// What the fields mean, or what is wrong with each.
fn given(cx: &Cx, tenant: &Tenant, form: &OdooForm) -> Result<Given, Faults> {
    let secret = form.secret.0.expose_secret();
    let typed = Typed { url: &form.url, database: &form.database, login: &form.login, secret, protocol: &form.protocol, pace: &form.pace };
    typed
        .given(cx.state(), tenant)
        .map_err(|wrong| {
            let mut faults = Faults::default();
            wrong.into_iter().for_each(|(field, key)| faults.add(cx, field, key));
            faults
        })
        .and_then(|given| {
            let known = form.personal.is_empty() || PersonalPolicy::known(&form.personal).is_some();
            if known { Ok(given) } else { Err(Faults::one(cx, "personal", "odoo_personal")) }
        })
}

/// Whether that reader may store an Odoo user of their own: a member of a company that lets its people.
fn may_have_own(access: &TenantAccess, tenant: &Tenant) -> bool {
    access.level() != Level::Operator && tenant.odoo.is_some() && tenant.odoo_personal != PersonalPolicy::Off
}

async fn page(cx: &Cx, access: &TenantAccess, tenant: &Tenant, status: StatusCode, form: &OdooForm, faults: Faults, steps: Vec<StepView>) -> Answer {
    let saved = if tenant.odoo.is_some() { cx.state().tenants.odoo_secret_saved_at(tenant.id).await? } else { None };
    let key = match &tenant.odoo {
        Some(_) => Some(key::KeyCard::of(cx, tenant, &cx.state().odoo_keys.view(tenant).await.map_err(PageError::internal)?)),
        None => None,
    };
    let protocol = |value, text: &str| Choice { value, text: text.to_owned() };
    let view = View {
        client: Head::of(cx, tenant),
        form,
        faults,
        connected: tenant.odoo.is_some(),
        secret_saved_at: saved.map(|at| at.to_rfc3339()).unwrap_or_default(),
        may_change: access.may_change(),
        action: path(tenant),
        protocols: [protocol("auto", &cx.t("portal.odoo.protocol_auto")), protocol("json2", "JSON-2"), protocol("jsonrpc", "JSON-RPC"), protocol("xmlrpc", "XML-RPC")],
        personals: PersonalPolicy::ALL.map(|policy| Choice { value: policy.as_str(), text: cx.t(&format!("portal.odoo.personal_{}", policy.as_str())) }).into(),
        own: if may_have_own(access, tenant) { own::path(tenant) } else { String::new() },
        steps,
        key,
    };
    cx.page_with(status, TEMPLATE, view)
}
