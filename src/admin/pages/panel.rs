//! The operator's first page: the service at a glance.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Serialize;

use crate::admin::Cx;
use crate::admin::cx::{Answer, tenant_path};
use crate::admin::error::PageError;
use crate::admin::log_row::RowView;
use crate::domain::reports::{DayCalls, DayRange, Times, ToolCalls};
use crate::domain::users::Operator;
use crate::ids::TenantId;
use crate::tools::error::Code;

/// The days of charts, rates and times.
const DAYS: u64 = 30;
/// Tools shown; the others are on the page of metrics.
const TOOLS_SHOWN: usize = 8;
/// Paused Odoos named; the others are in the list of clients.
const PAUSED_SHOWN: usize = 10;

#[derive(Serialize)]
struct View<'a> {
    days_shown: u64,
    clients_active: i64,
    clients: i64,
    calls_today: i64,
    calls_yesterday: i64,
    calls_month: i64,
    calls: i64,
    success_rate: Option<f64>,
    times: &'a Times,
    revenue_usd: i64,
    /// At the rate that the operator states; none without one.
    revenue_dop: Option<i64>,
    days: &'a [DayCalls],
    tools: Vec<Tool<'a>>,
    paused: Vec<Client<'a>>,
    paused_count: i64,
    near_quota: Vec<NearQuota<'a>>,
    near_quota_count: i64,
    errors: Vec<RowView<'a>>,
}

#[derive(Serialize)]
struct Tool<'a> {
    calls: &'a ToolCalls,
    /// Of the most used one, per cent.
    share: i64,
}

#[derive(Serialize)]
struct Client<'a> {
    name: &'a str,
    href: String,
}

#[derive(Serialize)]
struct NearQuota<'a> {
    client: Client<'a>,
    plan: &'a str,
    used: i64,
    limit: i64,
    percent: i64,
}

pub(super) async fn show(cx: &Cx, _: &Operator) -> Answer {
    let state = cx.state();
    let paused = state.connections.paused_tenants();
    let panel = state.reports.panel(DayRange::last_days(state.clock.now(), DAYS), &paused, Code::ANSWERS.map(Code::as_str).to_vec()).await.map_err(PageError::internal)?;
    let client = |id: TenantId, name| Client { name, href: tenant_path(id) };
    let most = panel.tools.first().map_or(0, |tool| tool.calls).max(1);
    let rate = state.settings.get().usd_rate;
    let view = View {
        days_shown: DAYS,
        clients_active: panel.clients_active,
        clients: panel.clients,
        calls_today: panel.calls_today,
        calls_yesterday: panel.days.iter().rev().nth(1).map_or(0, |day| day.calls),
        calls_month: panel.calls_month,
        calls: panel.calls,
        success_rate: panel.success_rate,
        times: &panel.times,
        revenue_usd: panel.revenue_usd_cents / 100,
        revenue_dop: rate.and_then(|rate| (Decimal::new(panel.revenue_usd_cents, 2) * rate).round().to_i64()),
        days: &panel.days,
        tools: panel.tools.iter().take(TOOLS_SHOWN).map(|calls| Tool { calls, share: calls.calls * 100 / most }).collect(),
        paused_count: i64::try_from(panel.paused.len()).unwrap_or(i64::MAX),
        paused: panel.paused.iter().take(PAUSED_SHOWN).map(|paused| client(paused.id, &paused.name)).collect(),
        near_quota: panel
            .near_quota
            .iter()
            .map(|near| NearQuota { client: client(near.id, &near.name), plan: &near.plan, used: near.used, limit: near.limit, percent: near.percent })
            .collect(),
        near_quota_count: panel.near_quota_count,
        errors: panel.errors.iter().map(|row| RowView::of_log(row, true)).collect(),
    };
    cx.page("pages/panel.html", view)
}
