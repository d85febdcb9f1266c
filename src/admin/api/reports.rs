//! What is only read: usage, the audit and whether it is whole, a client at a glance, the panel.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::clients::client;
use super::door::By;
use super::files;
use super::input::Asked;
use super::problem::ApiError;
use crate::admin::Portal;
use crate::admin::metrics_csv::{MetricsTable, metrics_csv};
use crate::domain::audit::{Broken, chain_verify, chains_verify};
use crate::domain::reports::{AgentSeen, AuditFilter, AuditRow, AuditScope, ClientSummary, DayRange, MetricsReport, Page, Panel};
use crate::ids::TenantId;
use crate::tools::TOOLS;
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

/// Which table of the numbers.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TableAsked {
    /// Which.
    #[param(inline)]
    table: MetricsTable,
    /// The first day, as in the numbers themselves.
    from: Option<NaiveDate>,
    /// The last.
    to: Option<NaiveDate>,
    /// Only a client's.
    client: Option<TenantId>,
}

/// Whether the audit is whole.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditVerified {
    /// Whether every chain is.
    whole: bool,
    /// Rows that were looked at.
    rows: usize,
    /// Chains: one for each client that there is or was, and that of the service.
    chains: usize,
    /// Those that are not whole.
    broken: Vec<BrokenChain>,
}

/// A chain of the audit that is not whole.
#[derive(Serialize, ToSchema)]
struct BrokenChain {
    /// Whose; none is the service's.
    client: Option<TenantId>,
    /// The first row that was changed, inserted, or comes after one that is gone.
    row: Uuid,
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

/// A table of the numbers for a spreadsheet.
#[utoipa::path(get, path = "/admin/api/usage/csv", tag = "reports", params(TableAsked), responses((status = 200, body = String, content_type = "text/csv", description = "A line for each row of the table.")))]
pub(super) async fn usage_csv(State(portal): State<Portal>, _: By, Asked(asked): Asked<TableAsked>) -> Result<Response, ApiError> {
    let state = portal.state();
    let range = Days { from: asked.from, to: asked.to }.range(state.clock.now())?;
    if let Some(tenant) = asked.client {
        state.tenants.tenant_find(tenant).await?;
    }
    let report = state.reports.metrics(range, asked.client).await.map_err(ApiError::internal)?;
    Ok(files::csv(&format!("{}-{}-{}", asked.table.file_name(), range.from(), range.to()), metrics_csv(asked.table, &report)))
}

/// A client at a glance: its month against the plan, thirty days of calls, how far it has come.
#[utoipa::path(get, path = "/admin/api/clients/{id}/summary", tag = "reports", params(("id" = TenantId, Path)), responses((status = 200, body = ClientSummary, description = "The numbers of the client's first page.")))]
pub(super) async fn client_summary(State(portal): State<Portal>, _: By, Path(path): Path<String>) -> Result<Json<ClientSummary>, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    let names: Vec<&str> = TOOLS.iter().map(|tool| tool.facts().name).collect();
    let paused = state.connections.paused_tenants().contains(&tenant.id);
    state.reports.client_summary(&tenant, &names, paused).await.map(Json).map_err(ApiError::internal)
}

/// The agents that called for a client, the latest first.
#[utoipa::path(get, path = "/admin/api/clients/{id}/agents", tag = "reports", params(("id" = TenantId, Path)), responses((status = 200, body = Page<AgentSeen>, description = "Those of its latest five thousand calls, fifty at most.")))]
pub(super) async fn client_agents(State(portal): State<Portal>, _: By, Path(path): Path<String>) -> Result<Json<Page<AgentSeen>>, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    let rows = state.reports.agents_seen(tenant.id).await.map_err(ApiError::internal)?;
    Ok(Json(Page { rows, next: None }))
}

/// Checks every chain of the audit.
#[utoipa::path(get, path = "/admin/api/audit/verify", tag = "reports", responses((status = 200, body = AuditVerified, description = "What came of it.")))]
pub(super) async fn audit_verify(State(portal): State<Portal>, _: By) -> Result<Json<AuditVerified>, ApiError> {
    let (verified, broken) = chains_verify(&portal.state().db).await.map_err(ApiError::internal)?;
    if let Some(first) = broken.first() {
        tracing::error!(chains = broken.len(), row = %first.row, "the audit is not whole: a row was changed, removed or inserted");
    }
    Ok(Json(verdict(verified.rows, verified.chains, &broken)))
}

/// Checks a client's chain of the audit.
#[utoipa::path(get, path = "/admin/api/clients/{id}/audit/verify", tag = "reports", params(("id" = TenantId, Path)), responses((status = 200, body = AuditVerified, description = "What came of it.")))]
pub(super) async fn client_audit_verify(State(portal): State<Portal>, _: By, Path(path): Path<String>) -> Result<Json<AuditVerified>, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    Ok(Json(match chain_verify(&state.db, Some(tenant.id)).await.map_err(ApiError::internal)? {
        Ok(rows) => verdict(rows, 1, &[]),
        Err(row) => verdict(0, 1, &[Broken { tenant: Some(tenant.id), row }]),
    }))
}

fn verdict(rows: usize, chains: usize, broken: &[Broken]) -> AuditVerified {
    let broken: Vec<BrokenChain> = broken.iter().map(|broken| BrokenChain { client: broken.tenant, row: broken.row }).collect();
    AuditVerified { whole: broken.is_empty(), rows, chains, broken }
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

/// The service at a glance.
#[utoipa::path(get, path = "/admin/api/panel", tag = "reports", params(Days), responses((status = 200, body = Panel, description = "The numbers of the operators' first page.")))]
pub(super) async fn panel_show(State(portal): State<Portal>, _: By, Asked(days): Asked<Days>) -> Result<Json<Panel>, ApiError> {
    let state = portal.state();
    state.reports.panel(days.range(state.clock.now())?, &state.connections.paused_tenants(), Code::ANSWERS.map(Code::as_str).to_vec()).await.map(Json).map_err(ApiError::internal)
}
