//! What is only read: usage, plans, the audit, settings, the panel.

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::clients::client;
use super::door::By;
use super::input::Asked;
use super::problem::ApiError;
use crate::admin::Portal;
use crate::domain::plans::{PlanRow, plan_rows};
use crate::domain::reports::{AuditFilter, AuditRow, AuditScope, DayRange, MetricsReport, Page, Panel};
use crate::domain::settings::Settings;
use crate::ids::TenantId;
use crate::tools::error::Code;

/// Years that days may be of: no calls are older or younger.
const YEARS: std::ops::RangeInclusive<i32> = 2000..=2200;
/// Changes on a page unless said otherwise, and at most.
const CHANGES: u64 = 100;
const CHANGES_MAX: u64 = 500;

/// Which days, in Santo Domingo, both included: the last thirty unless said otherwise, 400 at most (the answer says which).
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Days {
    /// The first.
    from: Option<NaiveDate>,
    /// The last.
    to: Option<NaiveDate>,
}

impl Days {
    fn range(&self, now: DateTime<Utc>) -> Result<DayRange, ApiError> {
        let text = |field, day: Option<NaiveDate>| match day {
            Some(day) if !YEARS.contains(&day.year()) => Err(ApiError::fault(field, "Give a day of the years 2000 to 2200.")),
            day => Ok(day.map(|day| day.to_string())),
        };
        Ok(DayRange::parse(text("from", self.from)?.as_deref(), text("to", self.to)?.as_deref(), now))
    }
}

/// Which changes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditAsked {
    /// A client's.
    client: Option<TenantId>,
    /// Only those that concern the service and no client.
    service: Option<bool>,
    /// Who did it, exactly.
    #[param(min_length = 1)]
    actor: Option<String>,
    /// The beginning of the action, such as `tenant.`.
    #[param(min_length = 1)]
    action: Option<String>,
    /// Then or later.
    from: Option<DateTime<Utc>>,
    /// Before.
    to: Option<DateTime<Utc>>,
    /// So many at most; 100 unless said otherwise.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u64>,
    /// Where the page begins: the `next` of the one before.
    after: Option<Uuid>,
}

/// A client's calls over a range of days.
#[utoipa::path(get, path = "/admin/api/clients/{id}/usage", tag = "reports", params(("id" = TenantId, Path), Days), responses((status = 200, body = MetricsReport, description = "The client's numbers.")))]
pub(super) async fn client_usage(State(portal): State<Portal>, _: By, Path(path): Path<String>, Asked(days): Asked<Days>) -> Result<Json<MetricsReport>, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    state.reports.metrics(days.range(state.clock.now())?, Some(tenant.id)).await.map(Json).map_err(ApiError::internal)
}

/// Everybody's calls over a range of days.
#[utoipa::path(get, path = "/admin/api/usage", tag = "reports", params(Days), responses((status = 200, body = MetricsReport, description = "Everybody's numbers.")))]
pub(super) async fn usage(State(portal): State<Portal>, _: By, Asked(days): Asked<Days>) -> Result<Json<MetricsReport>, ApiError> {
    let state = portal.state();
    state.reports.metrics(days.range(state.clock.now())?, None).await.map(Json).map_err(ApiError::internal)
}

/// The price list.
#[utoipa::path(get, path = "/admin/api/plans", tag = "reports", responses((status = 200, body = Page<PlanRow>, description = "All plans, in the order of the page.")))]
pub(super) async fn plan_list(State(portal): State<Portal>, _: By) -> Result<Json<Page<PlanRow>>, ApiError> {
    let rows = plan_rows(&portal.state().db).await.map_err(ApiError::internal)?;
    Ok(Json(Page { rows, next: None }))
}

/// Who changed what, newest first.
#[utoipa::path(get, path = "/admin/api/audit", tag = "reports", params(AuditAsked), responses((status = 200, body = Page<AuditRow>, description = "A page of changes.")))]
pub(super) async fn audit_list(State(portal): State<Portal>, _: By, Asked(asked): Asked<AuditAsked>) -> Result<Json<Page<AuditRow>>, ApiError> {
    let scope = match (asked.client, asked.service.unwrap_or_default()) {
        (Some(_), true) => return Err(ApiError::fault("service", "Ask for a client's changes or for the service's, not for both.")),
        (Some(tenant), false) => AuditScope::Tenant(tenant),
        (None, true) => AuditScope::Service,
        (None, false) => AuditScope::All,
    };
    let limit = asked.limit.unwrap_or(CHANGES);
    if !(1..=CHANGES_MAX).contains(&limit) {
        return Err(ApiError::fault("limit", format!("Give a number from 1 to {CHANGES_MAX}.")));
    }
    let filter = AuditFilter { scope, actor: asked.actor, action: asked.action, from: asked.from, to: asked.to };
    let after = asked.after.map(|after| after.to_string());
    portal.state().reports.audit_page(&filter, after.as_deref(), limit).await.map(Json).map_err(ApiError::internal)
}

/// The settings of the service.
#[utoipa::path(get, path = "/admin/api/settings", tag = "reports", responses((status = 200, body = Settings, description = "As they are now.")))]
pub(super) async fn settings_show(State(portal): State<Portal>, _: By) -> Json<Settings> {
    Json(portal.state().settings.get().as_ref().clone())
}

/// The service at a glance.
#[utoipa::path(get, path = "/admin/api/panel", tag = "reports", params(Days), responses((status = 200, body = Panel, description = "The numbers of the operators' first page.")))]
pub(super) async fn panel_show(State(portal): State<Portal>, _: By, Asked(days): Asked<Days>) -> Result<Json<Panel>, ApiError> {
    let state = portal.state();
    state.reports.panel(days.range(state.clock.now())?, &state.connections.paused_tenants(), Code::ANSWERS.map(Code::as_str).to_vec()).await.map(Json).map_err(ApiError::internal)
}
