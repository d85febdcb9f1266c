//! The price list: all plans, a new one, changing one, removing one.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::door::By;
use super::input::{Body, word};
use super::problem::ApiError;
use crate::admin::Portal;
use crate::domain::plans::{PlanRow, PlanTerms, plan_add, plan_delete, plan_edit, plan_rows};
use crate::domain::reports::Page;

/// A new plan.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanNew {
    /// Small letters, digits and hyphens; it never changes.
    #[schema(min_length = 1, max_length = 30, pattern = "^[a-z0-9-]+$")]
    code: String,
    /// What it says.
    terms: Terms,
}

/// A plan as it is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanChange {
    /// The version that was seen: somebody else's newer change is not written over (409).
    version: i32,
    /// What it says.
    terms: Terms,
}

/// What a plan says.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Terms {
    /// For people.
    #[schema(min_length = 1, max_length = 60)]
    name: String,
    /// Price a month, US cents.
    #[schema(maximum = 100_000_000)]
    price_usd_cents: u32,
    /// Calls a month; absent is unlimited.
    #[schema(maximum = 1_000_000_000)]
    calls_per_month: Option<u32>,
    /// Tools that may be enabled; absent is all.
    #[schema(maximum = 1_000_000_000)]
    tools_max: Option<u32>,
    /// Served first by support.
    #[serde(default)]
    priority_support: bool,
    /// Order on pages.
    #[serde(default)]
    #[schema(maximum = 1_000_000_000)]
    position: u32,
}

/// A removal, confirmed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanDelete {
    /// The plan's code once more.
    confirm: String,
}

/// The price list.
#[utoipa::path(get, path = "/admin/api/plans", tag = "plans", responses((status = 200, body = Page<PlanRow>, description = "All plans, in the order of the page.")))]
pub(super) async fn plan_list(State(portal): State<Portal>, _: By) -> Result<Json<Page<PlanRow>>, ApiError> {
    let rows = plan_rows(&portal.state().db).await.map_err(ApiError::internal)?;
    Ok(Json(Page { rows, next: None }))
}

/// Adds a plan.
#[utoipa::path(post, path = "/admin/api/plans", tag = "plans", request_body = PlanNew, responses((status = 201, body = PlanRow, description = "The new plan.")))]
pub(super) async fn plan_new(State(portal): State<Portal>, by: By, Body(new): Body<PlanNew>) -> Result<(StatusCode, Json<PlanRow>), ApiError> {
    let state = portal.state();
    plan_add(&state.db, &state.clock, &new.code, new.terms.known(), &by.actor()).await?;
    Ok((StatusCode::CREATED, shown(&portal, &new.code).await?))
}

/// Changes a plan, as a whole.
#[utoipa::path(put, path = "/admin/api/plans/{code}", tag = "plans", params(("code" = String, Path)), request_body = PlanChange, responses((status = 200, body = PlanRow, description = "The plan as it is now.")))]
pub(super) async fn plan_set(State(portal): State<Portal>, by: By, Path(code): Path<String>, Body(change): Body<PlanChange>) -> Result<Json<PlanRow>, ApiError> {
    let state = portal.state();
    plan_edit(&state.db, &state.clock, word(&code)?, change.version, change.terms.known(), &by.actor()).await?;
    shown(&portal, &code).await
}

/// Removes a plan that no client has.
#[utoipa::path(post, path = "/admin/api/plans/{code}/delete", tag = "plans", params(("code" = String, Path)), request_body = PlanDelete, responses((status = 204, description = "It is gone.")))]
pub(super) async fn plan_remove(State(portal): State<Portal>, by: By, Path(code): Path<String>, Body(delete): Body<PlanDelete>) -> Result<StatusCode, ApiError> {
    let state = portal.state();
    if delete.confirm.trim() != code {
        return Err(ApiError::sentences([("confirm", "confirm")]));
    }
    plan_delete(&state.db, &state.clock, word(&code)?, &by.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn shown(portal: &Portal, code: &str) -> Result<Json<PlanRow>, ApiError> {
    let rows = plan_rows(&portal.state().db).await.map_err(ApiError::internal)?;
    rows.into_iter().find(|row| row.code == code).map(Json).ok_or(ApiError::NotFound)
}

impl Terms {
    fn known(self) -> PlanTerms {
        PlanTerms {
            name: self.name,
            price_usd_cents: self.price_usd_cents,
            calls_per_month: self.calls_per_month,
            tools_max: self.tools_max,
            priority_support: self.priority_support,
            position: self.position,
        }
    }
}
