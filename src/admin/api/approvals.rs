//! Writes of a client that wait for an owner of it. They are decided in the portal only: an operator is not of the company.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::clients::client;
use super::door::By;
use super::problem::ApiError;
use crate::admin::Portal;
use crate::domain::approvals::{DecidedView, PendingView};
use crate::ids::TenantId;

/// What waits, and what was decided lately.
#[derive(Serialize, ToSchema)]
pub(super) struct Approvals {
    /// Oldest first, fifty at most.
    waiting: Vec<PendingView>,
    /// Newest first, twenty at most.
    decided: Vec<DecidedView>,
}

/// The writes of a client that wait for an owner of it, and those decided lately.
#[utoipa::path(get, path = "/admin/api/clients/{id}/approvals", tag = "clients", params(("id" = TenantId, Path)), responses((status = 200, body = Approvals, description = "As they are now.")))]
pub(super) async fn approval_list(State(portal): State<Portal>, _: By, Path(path): Path<String>) -> Result<Json<Approvals>, ApiError> {
    let state = portal.state();
    let id = client(state, &path).await?.id;
    let (waiting, decided) = state.approvals.list(id).await.map_err(ApiError::internal)?;
    Ok(Json(Approvals { waiting, decided }))
}
