//! A client's Odoo connection: showing it (never its secret), setting it, trying it as the doctor does, taking it away.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::clients::client;
use super::door::By;
use super::input::{Asked, Body};
use super::problem::ApiError;
use crate::admin::Portal;
use crate::admin::forms::Hidden;
use crate::admin::odoo_typed::{EXAMINATION_S, Given, Typed};
use crate::domain::connections::ConnectionError;
use crate::domain::tenants::{PersonalPolicy, ProtocolChoice, Tenant, TenantEdit};
use crate::ids::TenantId;
use crate::state::AppState;
use crate::text;
use crate::tools::doctor::{Place, Reader, Step, examine};

/// A client's Odoo connection.
#[derive(Serialize, ToSchema)]
pub(super) struct Connection {
    /// What is connected; none when nothing is.
    odoo: Option<Connected>,
    /// Requests a second that its Odoo likes; none goes by its address, 0 is no limit.
    requests_per_second: Option<u32>,
    /// Whether it fails and is left alone at the moment.
    paused: bool,
    /// Whether its people use an Odoo user of their own.
    personal: Personal,
    /// Counts edits of the client; a change may name the one it has seen.
    version: i32,
}

/// Whether the people of a client use an Odoo user of their own, where they connect an agent. API tokens and machines use the company's.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Personal {
    /// Everybody uses the company's.
    Off,
    /// Who stored their own uses it, the others the company's.
    Allowed,
    /// Who stored none cannot use Odoo through an agent.
    Required,
}

/// Where an Odoo is and who calls it.
#[derive(Serialize, ToSchema)]
struct Connected {
    /// Its address.
    url: String,
    /// Database.
    database: String,
    /// User.
    login: String,
    /// How it is spoken to.
    protocol: Wire,
    /// When the secret was given, UTC; none when that is not known any more.
    secret_saved_at: Option<DateTime<Utc>>,
}

/// How an Odoo is spoken to.
#[derive(Clone, Copy, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Wire {
    /// The best that it and the secret allow.
    #[default]
    Auto,
    /// JSON-2 (Odoo 19 and later, with an API key).
    Json2,
    /// JSON-RPC.
    JsonRpc,
    /// XML-RPC.
    XmlRpc,
}

/// A connection to be set. The secret is sealed and never shown.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectionNew {
    /// Its address.
    #[schema(min_length = 1, max_length = 300)]
    url: String,
    /// Database.
    #[schema(min_length = 1, max_length = 300)]
    database: String,
    /// User.
    #[schema(min_length = 1, max_length = 300)]
    login: String,
    /// Password or API key; absent keeps the saved one, which goes only to the server it was given for.
    #[schema(value_type = Option<String>)]
    secret: Option<Hidden>,
    /// The best that it and the secret allow unless said otherwise.
    protocol: Option<Wire>,
    /// Requests a second, at most 1,000; absent goes by the address, 0 is no limit.
    #[schema(maximum = 1000)]
    requests_per_second: Option<u32>,
    /// Whether its people use an Odoo user of their own; absent keeps it, `off` removes what they stored.
    personal: Option<Personal>,
    /// The version that was seen: somebody else's newer change is then not written over (409).
    version: Option<i32>,
}

/// A connection to be tried; nothing is saved. What is absent is as saved.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectionTry {
    /// Its address.
    url: Option<String>,
    /// Database.
    database: Option<String>,
    /// User.
    login: Option<String>,
    /// Password or API key; absent is the saved one, which goes only to the server it was given for.
    #[schema(value_type = Option<String>)]
    secret: Option<Hidden>,
    /// How it is spoken to.
    protocol: Option<Wire>,
}

/// What came of trying a connection.
#[derive(Serialize, ToSchema)]
pub(super) struct Examination {
    /// Whether all went well.
    ok: bool,
    /// It took longer than 45 seconds and was given up.
    gave_up: bool,
    /// The steps in their order, as far as it came.
    steps: Vec<ExaminationStep>,
}

/// A step of trying a connection.
#[derive(Serialize, ToSchema)]
struct ExaminationStep {
    /// `name`, `address`, `connection`, `version`, `database`, `login`, `rights: <tool>`, `latency`, `key`.
    step: String,
    /// Whether it went well.
    ok: bool,
    /// What was found, or what went wrong.
    detail: String,
    /// What to do about a failure.
    remedy: Option<String>,
    /// Milliseconds.
    took_ms: u64,
}

/// Which version was seen.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Seen {
    /// The version that was seen: somebody else's newer change is then not written over (409).
    version: Option<i32>,
}

/// Shows a client's Odoo connection.
#[utoipa::path(get, path = "/admin/api/clients/{id}/odoo", tag = "odoo", params(("id" = TenantId, Path)), responses((status = 200, body = Connection, description = "The connection.")))]
pub(super) async fn connection_show(State(portal): State<Portal>, _: By, Path(path): Path<String>) -> Result<Json<Connection>, ApiError> {
    let state = portal.state();
    shown(state, &client(state, &path).await?).await
}

/// Sets a client's Odoo connection, as a whole.
#[utoipa::path(put, path = "/admin/api/clients/{id}/odoo", tag = "odoo", params(("id" = TenantId, Path)), request_body = ConnectionNew, responses((status = 200, body = Connection, description = "The connection as it is now.")))]
pub(super) async fn connection_set(State(portal): State<Portal>, by: By, Path(path): Path<String>, Body(new): Body<ConnectionNew>) -> Result<Json<Connection>, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    let pace = new.requests_per_second.map(|pace| pace.to_string()).unwrap_or_default();
    let given = given(state, &tenant, [&new.url, &new.database, &new.login], new.secret.as_ref(), new.protocol.unwrap_or_default(), &pace)?;
    let edit = TenantEdit { odoo_personal: new.personal.map(Personal::known), version: new.version, ..given.edit() };
    state.tenants.tenant_edit(tenant.id, edit, &by.actor()).await?;
    forget(state, tenant.id);
    shown(state, &state.tenants.tenant_find(tenant.id).await?).await
}

/// Tries a connection: the doctor's steps. Nothing is saved.
#[utoipa::path(post, path = "/admin/api/clients/{id}/odoo/test", tag = "odoo", params(("id" = TenantId, Path)), request_body = ConnectionTry, responses((status = 200, body = Examination, description = "What came of it; a connection that fails is no failure of the request.")))]
pub(super) async fn connection_test(State(portal): State<Portal>, _: By, Path(path): Path<String>, Body(asked): Body<ConnectionTry>) -> Result<Json<Examination>, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    let saved = tenant.odoo.as_ref();
    let or_saved = |given: Option<String>, saved: Option<String>| given.or(saved).unwrap_or_default();
    let url = or_saved(asked.url, saved.map(|odoo| odoo.url.to_string()));
    let database = or_saved(asked.database, saved.map(|odoo| odoo.database.clone()));
    let login = or_saved(asked.login, saved.map(|odoo| odoo.login.clone()));
    let protocol = asked.protocol.unwrap_or_else(|| saved.map_or(Wire::Auto, |odoo| Wire::of(odoo.protocol)));
    let given = given(state, &tenant, [&url, &database, &login], asked.secret.as_ref(), protocol, "")?;
    let reader = Reader { language: text::Language::En, place: Place::Page, tenant: tenant.id.to_string(), user: given.draft.login.clone() };
    let config = match state.connections.config_draft(&tenant, given.draft) {
        Ok(config) => config,
        Err(ConnectionError::NotConfigured) => return Err(ApiError::sentences([("secret", "odoo_secret")])),
        Err(error) => return Err(ApiError::internal(error)),
    };
    let mut steps = Vec::new();
    let mut each = |step: Step| steps.push(ExaminationStep { step: step.code(), ok: step.ok, detail: step.detail, remedy: step.remedy, took_ms: step.took_ms });
    let end = tokio::time::timeout(Duration::from_secs(EXAMINATION_S), examine(config, &tenant, &reader, &mut each)).await.ok();
    Ok(Json(Examination { ok: end == Some(true), gave_up: end.is_none(), steps }))
}

/// Takes a client's Odoo connection away, its secret with it. Twice is fine.
#[utoipa::path(delete, path = "/admin/api/clients/{id}/odoo", tag = "odoo", params(("id" = TenantId, Path), Seen), responses((status = 204, description = "There is none any more.")))]
pub(super) async fn connection_remove(State(portal): State<Portal>, by: By, Path(path): Path<String>, Asked(seen): Asked<Seen>) -> Result<StatusCode, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    state.tenants.odoo_remove(tenant.id, seen.version, &by.actor()).await?;
    forget(state, tenant.id);
    Ok(StatusCode::NO_CONTENT)
}

fn given(state: &AppState, tenant: &Tenant, [url, database, login]: [&str; 3], secret: Option<&Hidden>, wire: Wire, pace: &str) -> Result<Given, ApiError> {
    let protocol = wire.known().to_string();
    let secret = secret.map(|secret| secret.0.expose_secret()).unwrap_or_default();
    let typed = Typed { url, database, login, secret, protocol: &protocol, pace };
    let named = |(field, key): (&'static str, &'static str)| (if field == "pace" { "requests_per_second" } else { field }, key);
    typed.given(state, tenant).map_err(|faults| ApiError::sentences(faults.into_iter().map(named)))
}

/// Nothing that was remembered of the old connection is used any more.
fn forget(state: &AppState, id: TenantId) {
    state.tokens.forget(id);
    state.connections.forget(id);
}

async fn shown(state: &AppState, tenant: &Tenant) -> Result<Json<Connection>, ApiError> {
    let secret_saved_at = if tenant.odoo.is_some() { state.tenants.odoo_secret_saved_at(tenant.id).await? } else { None };
    let odoo = tenant.odoo.as_ref().map(|odoo| Connected {
        url: odoo.url.to_string(),
        database: odoo.database.clone(),
        login: odoo.login.clone(),
        protocol: Wire::of(odoo.protocol),
        secret_saved_at,
    });
    let paused = state.connections.paused_tenants().contains(&tenant.id);
    Ok(Json(Connection { odoo, requests_per_second: tenant.odoo_requests_per_second, paused, personal: Personal::of(tenant.odoo_personal), version: tenant.version }))
}

impl Personal {
    fn known(self) -> PersonalPolicy {
        match self {
            Self::Off => PersonalPolicy::Off,
            Self::Allowed => PersonalPolicy::Allowed,
            Self::Required => PersonalPolicy::Required,
        }
    }

    fn of(policy: PersonalPolicy) -> Self {
        match policy {
            PersonalPolicy::Off => Self::Off,
            PersonalPolicy::Allowed => Self::Allowed,
            PersonalPolicy::Required => Self::Required,
        }
    }
}

impl Wire {
    fn known(self) -> ProtocolChoice {
        match self {
            Self::Auto => ProtocolChoice::Auto,
            Self::Json2 => ProtocolChoice::Json2,
            Self::JsonRpc => ProtocolChoice::JsonRpc,
            Self::XmlRpc => ProtocolChoice::XmlRpc,
        }
    }

    fn of(protocol: ProtocolChoice) -> Self {
        match protocol {
            ProtocolChoice::Auto => Self::Auto,
            ProtocolChoice::Json2 => Self::Json2,
            ProtocolChoice::JsonRpc => Self::JsonRpc,
            ProtocolChoice::XmlRpc => Self::XmlRpc,
        }
    }
}
