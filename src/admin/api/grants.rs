//! The programs that people of a client let in (OAuth), and how to end that.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::clients::client;
use super::door::By;
use super::input::id;
use super::problem::ApiError;
use crate::admin::Portal;
use crate::domain::oauth::{GrantView, OAuthError};
use crate::ids::{GrantId, TenantId, UserId};

/// A program that was let in.
#[derive(Serialize, ToSchema)]
pub(super) struct Grant {
    /// Its id.
    id: GrantId,
    /// What the program calls itself.
    application: String,
    /// Where it lives; none for machines.
    host: Option<String>,
    /// Who let it in; none for machines.
    member: Option<UserId>,
    /// What they call themselves.
    member_name: Option<String>,
    /// The client.
    client: TenantId,
    /// Its name.
    client_name: String,
    /// Packs it may use.
    packs: Vec<String>,
    /// Tools that were taken out.
    tools_off: Vec<String>,
    /// Since when, UTC.
    created_at: DateTime<Utc>,
    /// Its end, UTC.
    expires_at: DateTime<Utc>,
    /// Last used, UTC.
    last_used_at: Option<DateTime<Utc>>,
}

impl From<GrantView> for Grant {
    fn from(grant: GrantView) -> Self {
        let (member, member_name) = grant.member.unzip();
        let (client, client_name) = grant.tenant;
        Self {
            id: grant.id,
            application: grant.application,
            host: grant.host,
            member,
            member_name,
            client,
            client_name,
            packs: grant.packs,
            tools_off: grant.tools_off,
            created_at: grant.created_at,
            expires_at: grant.expires_at,
            last_used_at: grant.last_used_at,
        }
    }
}

/// Every program of every client, the newest first, 500 at most.
#[utoipa::path(get, path = "/admin/api/grants", tag = "grants", responses((status = 200, body = Vec<Grant>, description = "Those that are alive.")))]
pub(super) async fn grant_list(State(portal): State<Portal>, by: By) -> Result<Json<Vec<Grant>>, ApiError> {
    let grants = portal.state().oauth.grants_seen(&by, None).await?;
    Ok(Json(grants.into_iter().map(Grant::from).collect()))
}

/// The programs of a client, the newest first, 500 at most.
#[utoipa::path(get, path = "/admin/api/clients/{id}/grants", tag = "grants", params(("id" = TenantId, Path)), responses((status = 200, body = Vec<Grant>, description = "Those that are alive.")))]
pub(super) async fn client_grants(State(portal): State<Portal>, by: By, Path(path): Path<String>) -> Result<Json<Vec<Grant>>, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?.id;
    let grants = state.oauth.grants_seen(&by, Some(tenant)).await?;
    Ok(Json(grants.into_iter().map(Grant::from).collect()))
}

/// Ends what a program was allowed: its tokens open nothing any more.
#[utoipa::path(post, path = "/admin/api/clients/{id}/grants/{grant}/revoke", tag = "grants", params(("id" = TenantId, Path), ("grant" = GrantId, Path)), responses((status = 204, description = "It is ended.")))]
pub(super) async fn grant_revoke(State(portal): State<Portal>, by: By, Path((path, grant)): Path<(String, String)>) -> Result<StatusCode, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?.id;
    state.oauth.grant_end(&by, tenant, id(&grant)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<OAuthError> for ApiError {
    fn from(error: OAuthError) -> Self {
        match error {
            OAuthError::Unknown(_) => Self::NotFound,
            other => Self::internal(other),
        }
    }
}
