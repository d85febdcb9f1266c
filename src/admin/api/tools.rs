//! What a client's agents may do: the whole matrix of tools, read and saved at once.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::clients::{WritePolicy, client};
use super::door::By;
use super::input::Body;
use super::problem::ApiError;
use crate::admin::Portal;
use crate::domain::tenants::{Tenant, ToolSetting};
use crate::ids::TenantId;
use crate::state::AppState;
use crate::tools::TOOLS;
use crate::tools::tool::{Effect, ToolFacts};

/// The highest limit of a tool, calls an hour; as on the page.
const CALLS_PER_HOUR_MAX: u32 = 100_000;

/// A client's tools.
#[derive(Serialize, ToSchema)]
pub(super) struct ToolMatrix {
    /// Another word after any change of the tools, the plan or the client's policy; a change names the one it has seen.
    mark: String,
    /// Code of its plan.
    plan: String,
    /// Tools the plan allows; none is all.
    tools_max: Option<usize>,
    /// Every tool there is.
    tools: Vec<ToolRow>,
}

/// A tool of a client.
#[derive(Serialize, ToSchema)]
struct ToolRow {
    /// Its name.
    tool: &'static str,
    /// For people.
    title: &'static str,
    /// Whether it writes into Odoo.
    writes: bool,
    /// Whether the client's agents may use it.
    enabled: bool,
    /// Whether its writes are previewed first; none for tools that only read.
    write_policy: Option<WritePolicy>,
    /// Calls an hour.
    calls_per_hour: u32,
    /// Calls of thirty days.
    calls: i64,
    /// Errors among those carried out, per cent; none without any.
    error_rate: Option<f64>,
    /// 95 of a hundred calls took no longer, milliseconds.
    p95_ms: Option<f64>,
}

/// All tools of a client as they are to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ToolMatrixNew {
    /// The `mark` that was seen: what somebody else changed meanwhile is not written over (409).
    mark: String,
    /// Every tool there is, once.
    tools: Vec<ToolNew>,
}

/// A tool as it is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ToolNew {
    /// Its name.
    tool: String,
    /// Whether the client's agents may use it.
    enabled: bool,
    /// Calls an hour.
    #[schema(minimum = 1, maximum = 100_000)]
    calls_per_hour: u32,
    /// Whether its writes are previewed first; only for tools that write, absent leaves it.
    write_policy: Option<WritePolicy>,
}

/// A client's tools.
#[utoipa::path(get, path = "/admin/api/clients/{id}/tools", tag = "tools", params(("id" = TenantId, Path)), responses((status = 200, body = ToolMatrix, description = "All of them.")))]
pub(super) async fn tools_show(State(portal): State<Portal>, _: By, Path(path): Path<String>) -> Result<Json<ToolMatrix>, ApiError> {
    let state = portal.state();
    shown(state, &client(state, &path).await?).await
}

/// Saves a client's tools, all at once.
#[utoipa::path(put, path = "/admin/api/clients/{id}/tools", tag = "tools", params(("id" = TenantId, Path)), request_body = ToolMatrixNew, responses((status = 200, body = ToolMatrix, description = "As they are now.")))]
pub(super) async fn tools_set(State(portal): State<Portal>, by: By, Path(path): Path<String>, Body(new): Body<ToolMatrixNew>) -> Result<Json<ToolMatrix>, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    let settings = settings(new.tools)?;
    state.tenants.tools_edit(tenant.id, &settings, &new.mark, &by.actor()).await?;
    state.tokens.forget(tenant.id);
    shown(state, &state.tenants.tenant_find(tenant.id).await?).await
}

fn facts() -> impl Iterator<Item = &'static ToolFacts> {
    TOOLS.iter().map(|tool| tool.facts())
}

/// The request as settings. Every tool must be there once: it is a whole, as the page's form.
fn settings(tools: Vec<ToolNew>) -> Result<Vec<ToolSetting>, ApiError> {
    let mut settings: Vec<ToolSetting> = Vec::new();
    for new in tools {
        let wrong = |detail: &str| ApiError::fault("tools", format!("{}: {detail}", new.tool.chars().take(40).collect::<String>()));
        let Some(facts) = facts().find(|facts| facts.name == new.tool) else { return Err(wrong("there is no such tool.")) };
        if settings.iter().any(|setting| setting.tool == new.tool) {
            return Err(wrong("it is there twice."));
        }
        if !(1..=CALLS_PER_HOUR_MAX).contains(&new.calls_per_hour) {
            return Err(wrong(&format!("give 1 to {CALLS_PER_HOUR_MAX} calls an hour.")));
        }
        if new.write_policy.is_some() && facts.effect != Effect::Writes {
            return Err(wrong("it only reads: leave `write_policy` away."));
        }
        settings.push(ToolSetting { tool: new.tool, enabled: new.enabled, calls_per_hour: new.calls_per_hour, write_policy: new.write_policy.map(WritePolicy::known) });
    }
    match facts().find(|facts| !settings.iter().any(|setting| setting.tool == facts.name)) {
        Some(missing) => Err(ApiError::fault("tools", format!("{} is missing: send every tool.", missing.name))),
        None => Ok(settings),
    }
}

async fn shown(state: &AppState, tenant: &Tenant) -> Result<Json<ToolMatrix>, ApiError> {
    let names: Vec<&str> = facts().map(|facts| facts.name).collect();
    let used = state.reports.client_tools(tenant, &names).await.map_err(ApiError::internal)?;
    let row = |facts: &'static ToolFacts| {
        let used = used.iter().find(|used| used.tool == facts.name);
        let (_, permit) = tenant.tool_setting(facts.name);
        let writes = facts.effect == Effect::Writes;
        ToolRow {
            tool: facts.name,
            title: facts.title,
            writes,
            enabled: tenant.permit(facts.name).is_some(),
            write_policy: writes.then(|| WritePolicy::of(permit.write_policy)),
            calls_per_hour: permit.calls_per_hour,
            calls: used.map_or(0, |used| used.calls),
            error_rate: used.and_then(|used| used.error_rate),
            p95_ms: used.and_then(|used| used.time.p95_ms),
        }
    };
    let tools = facts().map(row).collect();
    Ok(Json(ToolMatrix { mark: tenant.tools_mark(), plan: tenant.plan.code.clone(), tools_max: tenant.plan.tools_max, tools }))
}
