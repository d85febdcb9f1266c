//! The summary of a client, for operators and its own people.

use serde::Serialize;

use super::plan::PlanUse;
use crate::admin::Cx;
use crate::admin::cx::{Answer, tenant_path};
use crate::admin::error::PageError;
use crate::admin::log_row::RowView;
use crate::domain::reports::{ClientSummary, LogRow, OdooState, Onboarding, Times};
use crate::domain::tenants::{Tenant, rnc_formatted};
use crate::domain::users::TenantAccess;
use crate::ids::TenantId;
use crate::tools::TOOLS;

/// Calls shown.
const CALLS_SHOWN: u64 = 8;

/// The head of a client's pages (`partials/client_head.html`).
#[derive(Serialize)]
pub(super) struct Head {
    href: String,
    name: String,
    rnc: String,
    plan: String,
    active: bool,
    odoo: OdooState,
}

impl Head {
    /// Of that tenant, as it is now.
    pub(super) fn of(cx: &Cx, tenant: &Tenant) -> Self {
        let odoo = match (&tenant.odoo, paused(cx, tenant.id)) {
            (None, _) => OdooState::Missing,
            (Some(_), true) => OdooState::Paused,
            (Some(_), false) => OdooState::Connected,
        };
        Self {
            href: tenant_path(tenant.id),
            name: tenant.name.clone(),
            rnc: tenant.rnc.as_deref().map(rnc_formatted).unwrap_or_default(),
            plan: tenant.plan.name.clone(),
            active: tenant.active,
            odoo,
        }
    }
}

/// Whether the tenant's Odoo fails and is left alone at the moment.
fn paused(cx: &Cx, tenant: TenantId) -> bool {
    cx.state().connections.paused_tenants().contains(&tenant)
}

#[derive(Serialize)]
struct View<'a> {
    client: Head,
    odoo_host: String,
    odoo_database: String,
    #[serde(flatten)]
    usage: PlanUse,
    calls: i64,
    /// Per cent of thirty days, with one decimal; empty without calls.
    success: String,
    times: Times,
    last_call_at: String,
    tokens: i64,
    created_at: String,
    tasks: Vec<Task>,
    last: Vec<RowView<'a>>,
    may_change: bool,
}

/// A line of the checklist.
#[derive(Serialize)]
struct Task {
    /// `portal.client.tasks.<key>.title`, `.text` and `.action`.
    key: &'static str,
    /// `done`, `now` or `later`.
    state: &'static str,
    href: String,
}

pub(super) async fn show(cx: Cx, access: TenantAccess) -> Answer {
    let state = cx.state();
    let tenant = state.tenants.tenant_find(access.tenant()).await?;
    let names: Vec<&str> = TOOLS.iter().map(|tool| tool.facts().name).collect();
    let summary = state.reports.client_summary(&tenant, &names, paused(&cx, tenant.id)).await.map_err(PageError::internal)?;
    let last = state.reports.log_last(tenant.id, CALLS_SHOWN).await.map_err(PageError::internal)?;
    cx.page("pages/client.html", view(Head::of(&cx, &tenant), &tenant, &summary, &last, access.may_change()))
}

fn view<'a>(client: Head, tenant: &Tenant, summary: &ClientSummary, last: &'a [LogRow], may_change: bool) -> View<'a> {
    View {
        odoo_host: tenant.odoo.as_ref().and_then(|odoo| odoo.url.host_str().map(str::to_owned)).unwrap_or_default(),
        odoo_database: tenant.odoo.as_ref().map(|odoo| odoo.database.clone()).unwrap_or_default(),
        usage: PlanUse::of(&summary.usage),
        calls: summary.calls,
        success: summary.error_rate.map(|rate| format!("{:.1}", 100.0 - rate)).unwrap_or_default(),
        times: summary.times,
        last_call_at: summary.last_call_at.map(|at| at.to_rfc3339()).unwrap_or_default(),
        tokens: summary.tokens_active,
        created_at: summary.created_at.to_rfc3339(),
        tasks: tasks(&client.href, summary.onboarding),
        last: last.iter().map(|row| RowView::of_log(row, false)).collect(),
        client,
        may_change,
    }
}

/// What is open; nothing when all is done.
fn tasks(path: &str, done: Onboarding) -> Vec<Task> {
    let [_, odoo, tools, token, call] = done.done();
    let steps = [("odoo", odoo, "/odoo"), ("tools", tools, "/tools"), ("token", token, "/tokens"), ("call", call, "/connect")];
    if steps.iter().all(|(_, done, _)| *done) {
        return Vec::new();
    }
    let now = steps.iter().position(|(_, done, _)| !done);
    let task = |(at, (key, done, page)): (usize, (&'static str, bool, &str))| {
        let state = match (done, Some(at) == now) {
            (true, _) => "done",
            (false, true) => "now",
            (false, false) => "later",
        };
        Task { key, state, href: format!("{path}{page}") }
    };
    steps.into_iter().enumerate().map(task).collect()
}
