//! What a client has used of its plan, how the month will go on, and its months' statements.

use serde::Serialize;

use super::billing::{month_text, state_word};
use super::client::Head;
use super::statement;
use crate::admin::Cx;
use crate::admin::cx::Answer;
use crate::admin::error::PageError;
use crate::clock::day_start;
use crate::domain::reports::UsageAgainstPlan;
use crate::domain::statements::MonthRow;
use crate::domain::users::TenantAccess;

#[derive(Serialize)]
struct View {
    client: Head,
    usage: UsageAgainstPlan,
    month_text: String,
    resets_at: String,
    used_up_at: Option<String>,
    /// Whether the plan's calls are used up already.
    used_up: bool,
    /// Of the plan's calls at the end of the month, per cent.
    forecast_percent: Option<i64>,
    months: Vec<Month>,
}

#[derive(Serialize)]
struct Month {
    href: String,
    text: String,
    state: &'static str,
    number: Option<i32>,
    calls: Option<i64>,
    usd: Option<i64>,
    dop: Option<i64>,
}

pub(super) async fn show(cx: Cx, access: TenantAccess) -> Answer {
    let state = cx.state();
    let tenant = state.tenants.tenant_find(access.tenant()).await?;
    let usage = state.reports.usage_against_plan(&tenant).await.map_err(PageError::internal)?;
    let months = state.statements.months_of(tenant.id).await?;
    let view = View {
        client: Head::of(&cx, &tenant),
        month_text: month_text(&cx, usage.month),
        resets_at: day_start(usage.resets_on).to_rfc3339(),
        used_up_at: usage.used_up_on.map(|day| day_start(day).to_rfc3339()),
        used_up: usage.left == Some(0),
        forecast_percent: usage.limit.map(|limit| usage.forecast.saturating_mul(100) / limit.max(1)),
        usage,
        months: months.iter().map(|row| month(&cx, &access, row)).collect(),
    };
    cx.page("pages/usage.html", view)
}

fn month(cx: &Cx, access: &TenantAccess, row: &MonthRow) -> Month {
    let closed = row.closed.as_ref();
    Month {
        href: statement::path(access.tenant(), row.month),
        text: month_text(cx, row.month),
        state: state_word(row.state),
        number: closed.and_then(|closed| closed.number),
        calls: closed.map(|closed| closed.counted),
        usd: closed.map(|closed| closed.balance_usd_cents),
        dop: closed.and_then(|closed| closed.balance_dop_cents),
    }
}
