//! The key of a client's Odoo connection: when it ends, whether it renews itself, and renewing it now.

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::clients::client;
use super::door::By;
use super::input::Body;
use super::problem::ApiError;
use crate::admin::Portal;
use crate::admin::forms::Hidden;
use crate::domain::odoo_keys::{self, KeyError, KeyView, Outcome, Source};
use crate::ids::TenantId;

/// What is known of the key of a client's Odoo connection.
#[derive(Serialize, ToSchema)]
pub(super) struct OdooKey {
    /// From where.
    source: Source,
    /// When it ends, UTC; none with the source `odoo` never does.
    expires_at: Option<DateTime<Utc>>,
    /// Whole days until then; 0 when it has ended.
    days_left: Option<i64>,
    /// Whether it is renewed before.
    renew: bool,
    /// When Odoo was last asked, UTC.
    checked_at: Option<DateTime<Utc>>,
    /// What came of the last try to renew it.
    outcome: Option<Outcome>,
    /// When that was, UTC.
    tried_at: Option<DateTime<Utc>>,
    /// Odoo's own words about it.
    said: Option<String>,
}

/// What an operator knows of a key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OdooKeyChange {
    /// The day on which it ends, where Odoo does not tell; absent or null leaves it as it is.
    ends_on: Option<NaiveDate>,
    /// Whether it is renewed before it ends, where Odoo lets it.
    renew: bool,
}

/// By which right a key is renewed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OdooKeyRenew {
    /// The password of the Odoo user, used once and not kept; absent renews the key by itself, where Odoo lets it.
    #[schema(value_type = Option<String>)]
    password: Option<Hidden>,
}

/// What came of renewing a key.
#[derive(Serialize, ToSchema)]
pub(super) struct OdooKeyRenewal {
    /// In a word; whatever it is but `renewed…`, the old key stays.
    outcome: Outcome,
    /// Odoo's own words.
    said: Option<String>,
    /// When the key ends that is used now, UTC.
    expires_at: Option<DateTime<Utc>>,
}

/// What is known of the key of a client's Odoo connection.
#[utoipa::path(get, path = "/admin/api/clients/{id}/odoo/key", tag = "odoo", params(("id" = TenantId, Path)), responses((status = 200, body = OdooKey, description = "As far as it is known.")))]
pub(super) async fn key_show(State(portal): State<Portal>, _: By, Path(path): Path<String>) -> Result<Json<OdooKey>, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    Ok(Json(shown(state.odoo_keys.view(&tenant).await.map_err(ApiError::internal)?)))
}

/// Says when a key ends, and whether it renews itself.
#[utoipa::path(put, path = "/admin/api/clients/{id}/odoo/key", tag = "odoo", params(("id" = TenantId, Path)), request_body = OdooKeyChange, responses((status = 200, body = OdooKey, description = "As it is now.")))]
pub(super) async fn key_set(State(portal): State<Portal>, by: By, Path(path): Path<String>, Body(change): Body<OdooKeyChange>) -> Result<Json<OdooKey>, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    if change.ends_on.is_some() {
        state.odoo_keys.typed(&tenant, change.ends_on, &by.actor()).await.map_err(failure)?;
    }
    state.odoo_keys.renew_set(&tenant, change.renew, &by.actor()).await.map_err(failure)?;
    Ok(Json(shown(state.odoo_keys.view(&tenant).await.map_err(ApiError::internal)?)))
}

/// Renews a key now. Whatever fails, the old one stays.
#[utoipa::path(post, path = "/admin/api/clients/{id}/odoo/key/renew", tag = "odoo", params(("id" = TenantId, Path)), request_body = OdooKeyRenew, responses((status = 200, body = OdooKeyRenewal, description = "What came of it; a key that is not renewed is no failure of the request.")))]
pub(super) async fn key_renew(State(portal): State<Portal>, by: By, Path(path): Path<String>, Body(asked): Body<OdooKeyRenew>) -> Result<Json<OdooKeyRenewal>, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    let way = asked.password.as_ref().map_or(odoo_keys::By::Itself, |password| odoo_keys::By::Password(&password.0));
    let renewal = state.odoo_keys.renew(&tenant, way, &by.actor()).await.map_err(failure)?;
    state.tokens.forget(tenant.id);
    Ok(Json(OdooKeyRenewal { outcome: renewal.outcome, said: Some(renewal.said).filter(|said| !said.is_empty()), expires_at: renewal.expires_at }))
}

fn failure(error: KeyError) -> ApiError {
    match error {
        KeyError::Day => ApiError::fault("ends_on", "A key ends between tomorrow and ten years from now."),
        KeyError::NotConnected => ApiError::Conflict("No Odoo is connected.".to_owned()),
        KeyError::Tenant(error) => error.into(),
        KeyError::Db(error) => ApiError::internal(error),
    }
}

fn shown(key: KeyView) -> OdooKey {
    let KeyView { source, expires_at, days_left, renew, checked_at, outcome, tried_at, said } = key;
    OdooKey { source, expires_at, days_left, renew, checked_at, outcome, tried_at, said }
}
