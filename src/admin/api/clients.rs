//! Clients: the list, adding, showing, editing, suspending, resuming, removing.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::door::By;
use super::input::{Asked, Body, id};
use super::problem::ApiError;
use crate::admin::Portal;
use crate::domain::plans::plan_list;
use crate::domain::reports::{ClientFilter, ClientRow, ClientSort, OdooState, Page};
use crate::domain::tenants::{self, NewTenant, Tenant, TenantEdit, TenantHabits};
use crate::ids::TenantId;
use crate::state::AppState;
use crate::text;
use crate::tools::TOOLS_BY_DEFAULT;

/// The longest search, characters.
const SEARCH_CHARS_MAX: usize = 100;

/// Which clients.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ClientsAsked {
    /// In the name (marks and capitals do not matter), or the beginning of the RNC.
    #[param(min_length = 1, max_length = 100)]
    search: Option<String>,
    /// Code of a plan.
    #[param(min_length = 1)]
    plan: Option<String>,
    /// Active or suspended ones.
    active: Option<bool>,
    /// By the state of their Odoo.
    #[param(inline)]
    odoo: Option<OdooState>,
    /// Only active ones that somebody should look at.
    attention: Option<bool>,
    /// By name unless said otherwise.
    #[param(inline)]
    sort: Option<ClientSort>,
    /// Where the page begins: the `next` of the one before.
    #[param(min_length = 1)]
    after: Option<String>,
}

/// A client.
#[derive(Serialize, ToSchema)]
pub(super) struct Client {
    /// Its id.
    id: TenantId,
    /// The company's name.
    name: String,
    /// RNC or cédula, digits only.
    rnc: Option<String>,
    /// Whether it is served; otherwise it is suspended.
    active: bool,
    /// Code of its plan.
    plan: String,
    /// The language of its agents' answers.
    language: Language,
    /// IANA name of its zone.
    timezone: String,
    /// Whether writes are previewed first.
    write_policy: WritePolicy,
    /// Its Odoo, once connected.
    odoo: Option<ClientOdoo>,
    /// Counts edits; an edit may name the one it has seen.
    version: i32,
    /// When it was last edited, UTC.
    edited_at: DateTime<Utc>,
}

/// A client's Odoo. Its secret is never shown.
#[derive(Serialize, ToSchema)]
struct ClientOdoo {
    /// Its address.
    url: String,
    /// Database.
    database: String,
    /// User.
    login: String,
}

/// A language.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Language {
    /// Spanish.
    Es,
    /// English.
    En,
}

/// Whether writes are previewed first.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum WritePolicy {
    /// Preview, then confirm.
    Confirm,
    /// At once.
    Direct,
    /// Preview, then an owner of the company approves it in the portal.
    OwnerApproves,
}

/// A new client. Its Odoo is connected afterwards, in the portal or at the shell.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientNew {
    /// The company's name.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// RNC (9 digits) or cédula (11), with or without hyphens.
    rnc: Option<String>,
    /// Code of a plan.
    plan: String,
    /// Spanish unless said otherwise.
    language: Option<Language>,
    /// IANA name; `America/Santo_Domingo` unless said otherwise.
    timezone: Option<String>,
    /// Previewed first unless said otherwise.
    write_policy: Option<WritePolicy>,
}

/// Changes of a client; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientChanges {
    /// The company's name.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// RNC or cédula; an empty one takes it away.
    rnc: Option<String>,
    /// Code of a plan.
    plan: Option<String>,
    /// The language of its agents' answers.
    language: Option<Language>,
    /// IANA name of its zone.
    timezone: Option<String>,
    /// Whether writes are previewed first.
    write_policy: Option<WritePolicy>,
    /// The version that was seen: somebody else's newer change is then not written over (409).
    version: Option<i32>,
}

/// A removal, confirmed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientDelete {
    /// The client's name, written out.
    confirm: String,
}

/// The clients, page by page.
#[utoipa::path(get, path = "/admin/api/clients", tag = "clients", params(ClientsAsked), responses((status = 200, body = Page<ClientRow>, description = "A page of clients.")))]
pub(super) async fn client_list(State(portal): State<Portal>, _: By, Asked(asked): Asked<ClientsAsked>) -> Result<Json<Page<ClientRow>>, ApiError> {
    let state = portal.state();
    if asked.search.as_ref().is_some_and(|search| search.chars().count() > SEARCH_CHARS_MAX) {
        return Err(ApiError::fault("search", format!("Search for {SEARCH_CHARS_MAX} characters at most.")));
    }
    let filter = ClientFilter {
        search: asked.search.map(|search| search.trim().to_owned()).filter(|search| !search.is_empty()),
        plan: asked.plan,
        active: asked.active,
        odoo: asked.odoo,
        attention: asked.attention.unwrap_or_default(),
        paused: state.connections.paused_tenants(),
    };
    let page = state.reports.client_rows(&filter, asked.sort.unwrap_or_default(), asked.after.as_deref()).await;
    page.map(Json).map_err(ApiError::internal)
}

/// Adds a client.
#[utoipa::path(post, path = "/admin/api/clients", tag = "clients", request_body = ClientNew, responses((status = 201, body = Client, description = "The new client.")))]
pub(super) async fn client_add(State(portal): State<Portal>, by: By, Body(new): Body<ClientNew>) -> Result<(StatusCode, Json<Client>), ApiError> {
    let state = portal.state();
    let usual = TenantHabits::default();
    let habits = TenantHabits {
        language: new.language.map_or(usual.language, Language::known),
        timezone: new.timezone.as_deref().map(zone).transpose()?.unwrap_or(usual.timezone),
        write_policy: new.write_policy.map_or(usual.write_policy, WritePolicy::known),
    };
    // As on the page: a plan with a number of tools needs them named.
    let plans = plan_list(&state.db).await.map_err(ApiError::internal)?;
    let limited = plans.iter().any(|plan| plan.code == new.plan && plan.tools_max.is_some());
    let tools = if limited { TOOLS_BY_DEFAULT.map(str::to_owned).to_vec() } else { Vec::new() };
    let rnc = new.rnc.filter(|rnc| !rnc.trim().is_empty());
    let id = state.tenants.tenant_add_with(NewTenant { name: new.name, rnc, plan: new.plan, odoo: None, tools }, habits, &by.actor()).await?;
    Ok((StatusCode::CREATED, Json(shown(&state.tenants.tenant_find(id).await?))))
}

/// Shows a client.
#[utoipa::path(get, path = "/admin/api/clients/{id}", tag = "clients", params(("id" = TenantId, Path)), responses((status = 200, body = Client, description = "The client.")))]
pub(super) async fn client_show(State(portal): State<Portal>, _: By, Path(path): Path<String>) -> Result<Json<Client>, ApiError> {
    Ok(Json(shown(&client(portal.state(), &path).await?)))
}

/// Changes a client.
#[utoipa::path(patch, path = "/admin/api/clients/{id}", tag = "clients", params(("id" = TenantId, Path)), request_body = ClientChanges, responses((status = 200, body = Client, description = "The client as it is now.")))]
pub(super) async fn client_edit(State(portal): State<Portal>, by: By, Path(path): Path<String>, Body(changes): Body<ClientChanges>) -> Result<Json<Client>, ApiError> {
    let edit = TenantEdit {
        name: changes.name,
        rnc: changes.rnc,
        plan: changes.plan,
        language: changes.language.map(Language::known),
        timezone: changes.timezone.as_deref().map(zone).transpose()?,
        write_policy: changes.write_policy.map(WritePolicy::known),
        version: changes.version,
        ..TenantEdit::default()
    };
    edited(portal.state(), &by, &path, edit).await
}

/// Suspends a client: its next call is refused.
#[utoipa::path(post, path = "/admin/api/clients/{id}/suspend", tag = "clients", params(("id" = TenantId, Path)), responses((status = 200, body = Client, description = "The client as it is now.")))]
pub(super) async fn client_suspend(State(portal): State<Portal>, by: By, Path(path): Path<String>) -> Result<Json<Client>, ApiError> {
    edited(portal.state(), &by, &path, TenantEdit { active: Some(false), ..TenantEdit::default() }).await
}

/// Serves a suspended client again.
#[utoipa::path(post, path = "/admin/api/clients/{id}/resume", tag = "clients", params(("id" = TenantId, Path)), responses((status = 200, body = Client, description = "The client as it is now.")))]
pub(super) async fn client_resume(State(portal): State<Portal>, by: By, Path(path): Path<String>) -> Result<Json<Client>, ApiError> {
    edited(portal.state(), &by, &path, TenantEdit { active: Some(true), ..TenantEdit::default() }).await
}

/// Removes a client for good, with its tokens and people. Its audit, statements and usage stay.
#[utoipa::path(post, path = "/admin/api/clients/{id}/delete", tag = "clients", params(("id" = TenantId, Path)), request_body = ClientDelete, responses((status = 204, description = "It is gone.")))]
pub(super) async fn client_delete(State(portal): State<Portal>, by: By, Path(path): Path<String>, Body(delete): Body<ClientDelete>) -> Result<StatusCode, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    if delete.confirm.trim() != tenant.name.trim() {
        return Err(ApiError::sentences([("confirm", "confirm_name")]));
    }
    state.tenants.tenant_delete(tenant.id, &by.actor()).await?;
    state.tokens.forget(tenant.id);
    state.connections.forget(tenant.id);
    Ok(StatusCode::NO_CONTENT)
}

async fn edited(state: &AppState, by: &By, path: &str, edit: TenantEdit) -> Result<Json<Client>, ApiError> {
    let id = client(state, path).await?.id;
    state.tenants.tenant_edit(id, edit, &by.actor()).await?;
    state.tokens.forget(id);
    state.connections.forget(id);
    Ok(Json(shown(&state.tenants.tenant_find(id).await?)))
}

/// The client that a path names.
pub(super) async fn client(state: &AppState, path: &str) -> Result<Tenant, ApiError> {
    let id: TenantId = id(path)?;
    tracing::Span::current().record("tenant.id", tracing::field::display(id));
    Ok(state.tenants.tenant_find(id).await?)
}

fn zone(name: &str) -> Result<Tz, ApiError> {
    name.parse().map_err(|_| ApiError::fault("timezone", "Give a name of the IANA database, such as America/Santo_Domingo."))
}

fn shown(tenant: &Tenant) -> Client {
    Client {
        id: tenant.id,
        name: tenant.name.clone(),
        rnc: tenant.rnc.clone(),
        active: tenant.active,
        plan: tenant.plan.code.clone(),
        language: match tenant.language {
            text::Language::Es => Language::Es,
            text::Language::En => Language::En,
        },
        timezone: tenant.timezone.name().to_owned(),
        write_policy: WritePolicy::of(tenant.write_policy),
        odoo: tenant.odoo.as_ref().map(|odoo| ClientOdoo { url: odoo.url.to_string(), database: odoo.database.clone(), login: odoo.login.clone() }),
        version: tenant.version,
        edited_at: tenant.edited_at,
    }
}

impl Language {
    /// As the rules call it.
    pub(super) fn known(self) -> text::Language {
        match self {
            Self::Es => text::Language::Es,
            Self::En => text::Language::En,
        }
    }
}

impl WritePolicy {
    /// As the API calls it.
    pub(super) fn of(policy: tenants::WritePolicy) -> Self {
        match policy {
            tenants::WritePolicy::Confirm => Self::Confirm,
            tenants::WritePolicy::Direct => Self::Direct,
            tenants::WritePolicy::OwnerApproves => Self::OwnerApproves,
        }
    }

    /// As the rules call it.
    pub(super) fn known(self) -> tenants::WritePolicy {
        match self {
            Self::Confirm => tenants::WritePolicy::Confirm,
            Self::Direct => tenants::WritePolicy::Direct,
            Self::OwnerApproves => tenants::WritePolicy::OwnerApproves,
        }
    }
}
