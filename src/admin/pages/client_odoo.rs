//! A client's Odoo connection: where it is, as whom, and trying it. The secret goes in and never comes back.

mod live;

use axum::http::{HeaderMap, StatusCode, header};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use url::Url;

use super::client::Head;
use super::client_form::forget;
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, tenant_path};
use crate::admin::error::PageError;
use crate::admin::forms::{Faults, Form, Hidden};
use crate::domain::connections::{ConnectionError, OdooDraft};
use crate::domain::tenants::{ProtocolChoice, Tenant, TenantEdit};
use crate::domain::users::TenantAccess;
use crate::tools::doctor::{Place, Reader};
use live::StepView;

const TEMPLATE: &str = "pages/client_odoo.html";
/// The longest text of a field, characters.
const FIELD_CHARS_MAX: usize = 300;
/// The fastest pace that can be asked for, requests a second.
const PACE_MAX: u32 = 1_000;

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
            version: tenant.version,
        }
    }
}

/// What the fields mean.
struct Given {
    draft: OdooDraft,
    pace: Option<u32>,
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
    steps: Vec<StepView>,
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
    let edit = TenantEdit {
        odoo_url: Some(given.draft.url),
        odoo_database: Some(given.draft.database),
        odoo_login: Some(given.draft.login),
        odoo_secret: given.draft.secret,
        odoo_protocol: Some(given.draft.protocol),
        odoo_requests_per_second: Some(given.pace),
        version: Some(form.version),
        ..TenantEdit::default()
    };
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
    let mut faults = Faults::default();
    let url = address(&form.url);
    match &url {
        None => faults.add(cx, "url", "odoo_url"),
        Some(url) if !cx.state().connections.address_may_be(url) => faults.add(cx, "url", "odoo_url_https"),
        Some(_) => {}
    }
    let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty() && text.chars().count() <= FIELD_CHARS_MAX && !text.chars().any(char::is_control));
    let (database, login) = (text(&form.database), text(&form.login));
    if database.is_none() {
        faults.add(cx, "database", "odoo_database");
    }
    if login.is_none() {
        faults.add(cx, "login", "odoo_login");
    }
    let secret = Some(form.secret.0.expose_secret().trim()).filter(|secret| !secret.is_empty()).map(|secret| secret.to_owned().into());
    // The saved secret is sent to the server it was given for, and to no other.
    if secret.is_none() && !url.as_ref().is_some_and(|url| tenant.odoo_secret_fits(url)) {
        faults.add(cx, "secret", if tenant.odoo.is_some() && url.is_some() { "odoo_secret_again" } else { "odoo_secret" });
    }
    let protocol = form.protocol.parse::<ProtocolChoice>();
    if protocol.is_err() {
        faults.add(cx, "protocol", "odoo_protocol");
    }
    let pace = match form.pace.trim() {
        "" => Ok(None),
        number => number.parse::<u32>().map_err(|_| ()).and_then(|pace| if pace <= PACE_MAX { Ok(Some(pace)) } else { Err(()) }),
    };
    if pace.is_err() {
        faults.add(cx, "pace", "odoo_pace");
    }
    match (url, database, login, protocol, pace) {
        (Some(url), Some(database), Some(login), Ok(protocol), Ok(pace)) if faults.is_empty() => Ok(Given { draft: OdooDraft { url, database, login, secret, protocol }, pace }),
        _ => Err(faults),
    }
}

/// An address as people type it: without `https://` in front it is meant.
fn address(text: &str) -> Option<Url> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > FIELD_CHARS_MAX {
        return None;
    }
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    Url::parse(&whole).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some() && url.username().is_empty() && url.password().is_none())
}

async fn page(cx: &Cx, access: &TenantAccess, tenant: &Tenant, status: StatusCode, form: &OdooForm, faults: Faults, steps: Vec<StepView>) -> Answer {
    let saved = if tenant.odoo.is_some() { cx.state().tenants.odoo_secret_saved_at(tenant.id).await? } else { None };
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
        steps,
    };
    cx.page_with(status, TEMPLATE, view)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_type_them() {
        let read = |text: &str| address(text).map(|url| url.to_string());
        assert_eq!(read(" empresa.odoo.com "), Some("https://empresa.odoo.com/".to_owned()));
        assert_eq!(read("http://192.168.1.5:8069"), Some("http://192.168.1.5:8069/".to_owned()));
        for bad in ["", "https://", "ftp://a.do", "https://user:clave@a.do", "javascript://x", "file:///etc/passwd", "con espacios .do"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
