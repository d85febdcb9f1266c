//! The price list and a month's statements of all clients: what they come to, closing them, the file for a spreadsheet.

use axum::body::Body;
use axum::extract::Query;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use chrono::Months;
use futures::{StreamExt, future, stream};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::statement;
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash};
use crate::admin::error::PageError;
use crate::admin::forms::Form;
use crate::clock::{billing_month, day_start, local_day, month_start};
use crate::domain::plans::{PlanRow, plan_rows};
use crate::domain::statements::{MonthTotals, Statement, StatementError, StatementState};
use crate::domain::tenants::rnc_formatted;
use crate::domain::users::Operator;

pub(super) const PATH: &str = "/admin/billing";
/// Months that can be chosen.
const MONTHS: u32 = 24;

#[derive(Deserialize)]
pub(super) struct Shown {
    #[serde(default)]
    month: String,
    after: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CloseForm {
    month: i32,
}

#[derive(Serialize)]
struct View {
    plans: Vec<PlanRow>,
    month: i32,
    month_text: String,
    months: Vec<Choice>,
    state: &'static str,
    /// Whether there is something left to close.
    open: bool,
    rows: Vec<Row>,
    /// Of the rows on this page, cents.
    page_usd: i64,
    page_dop: Option<i64>,
    totals: MonthTotals,
    rate: String,
    next: String,
    first: String,
}

#[derive(Serialize)]
pub(super) struct Choice {
    value: String,
    text: String,
}

#[derive(Serialize)]
struct Row {
    href: String,
    client: String,
    rnc: Option<String>,
    plan: String,
    calls: i64,
    state: &'static str,
    number: Option<i32>,
    corrections: usize,
    amount: i64,
    itbis: i64,
    balance_usd: i64,
    balance_dop: Option<i64>,
}

#[derive(Serialize)]
struct CloseView {
    month: i32,
    month_text: String,
    rate: String,
    itbis: String,
    totals: MonthTotals,
    over: bool,
    fault: String,
}

pub(super) async fn show(cx: Cx, _: Operator, Query(shown): Query<Shown>) -> Answer {
    let state = cx.state();
    let month = chosen(&cx, &shown.month);
    let page = state.statements.month_page(month, shown.after.as_deref()).await?;
    let rows: Vec<Row> = page.rows.iter().map(row).collect();
    let running = month == billing_month(state.clock.now());
    let view = View {
        plans: plan_rows(&state.db).await.map_err(PageError::internal)?,
        month,
        month_text: month_text(&cx, month),
        months: months(&cx),
        state: if running { "running" } else { "over" },
        open: !running && (page.next.is_some() || rows.iter().any(|row| row.state == "open")),
        page_usd: rows.iter().map(|row| row.balance_usd).sum(),
        page_dop: rows.iter().map(|row| row.balance_dop).sum(),
        rows,
        totals: state.statements.month_totals(month).await?,
        rate: rate_text(&cx),
        next: page.next.map(|after| format!("?month={month}&after={after}")).unwrap_or_default(),
        first: if shown.after.is_some() { format!("?month={month}") } else { String::new() },
    };
    cx.page("pages/billing.html", view)
}

pub(super) async fn close_ask(cx: Cx, _: Operator, Query(shown): Query<Shown>) -> Answer {
    let month = chosen(&cx, &shown.month);
    close_page(&cx, StatusCode::OK, month, String::new()).await
}

/// Closes what is open of a month.
pub(super) async fn close(cx: Cx, operator: Operator, Form(form): Form<CloseForm>) -> Answer {
    let key = match cx.state().statements.close_all(form.month, &operator.actor()).await {
        Ok(count) => {
            let flash = Flash::ok("month_closed").fact("month", &month_text(&cx, form.month)).fact("count", &count.to_string());
            return cx.redirect_saying(&format!("{PATH}?month={}", form.month), &flash);
        }
        Err(StatementError::NoRate) => "no_rate",
        Err(StatementError::Running) => "month_running",
        Err(other) => return Err(other.into()),
    };
    close_page(&cx, StatusCode::UNPROCESSABLE_ENTITY, form.month, cx.t(&format!("portal.faults.{key}"))).await
}

/// Every client's statement of a month, for a spreadsheet.
pub(super) async fn csv(cx: Cx, _: Operator, Query(shown): Query<Shown>) -> Answer {
    let month = chosen(&cx, &shown.month);
    // With it a spreadsheet knows that this is UTF-8.
    let mark = stream::once(future::ready(Ok("\u{feff}".to_owned())));
    let body = Body::from_stream(mark.chain(cx.state().statements.month_csv(month)));
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, format!("attachment; filename=\"dunet-{month}.csv\""))];
    Ok((headers, body).into_response())
}

async fn close_page(cx: &Cx, status: StatusCode, month: i32, fault: String) -> Answer {
    let view = CloseView {
        month,
        month_text: month_text(cx, month),
        rate: rate_text(cx),
        itbis: cx.state().settings.get().itbis_percent.to_string(),
        totals: cx.state().statements.month_totals(month).await?,
        over: month < billing_month(cx.state().clock.now()),
        fault,
    };
    cx.page_with(status, "pages/billing_close.html", view)
}

fn row(of: &Statement) -> Row {
    Row {
        href: statement::path(of.tenant, of.month),
        client: of.client.clone(),
        rnc: of.rnc.as_deref().map(rnc_formatted),
        plan: of.plan.clone(),
        calls: of.counted,
        state: state_word(of.state),
        number: of.number,
        corrections: of.corrections.len(),
        amount: of.amount_usd_cents,
        itbis: of.itbis_usd_cents,
        balance_usd: of.balance_usd_cents,
        balance_dop: of.balance_dop_cents,
    }
}

/// `running`, `open` or `closed`.
pub(super) fn state_word(state: StatementState) -> &'static str {
    match state {
        StatementState::Running => "running",
        StatementState::Open => "open",
        StatementState::Closed => "closed",
    }
}

/// The month of an address, YYYYMM; what is none, or not yet, is the last one that is over.
fn chosen(cx: &Cx, text: &str) -> i32 {
    let now = cx.state().clock.now();
    let last = local_day(now).checked_sub_months(Months::new(1)).map_or_else(|| billing_month(now), |day| billing_month(day_start(day)));
    text.parse::<i32>().ok().filter(|month| month_start(*month).is_some() && *month <= billing_month(now)).unwrap_or(last)
}

fn months(cx: &Cx) -> Vec<Choice> {
    let today = local_day(cx.state().clock.now());
    let days = (0..MONTHS).map_while(|back| today.checked_sub_months(Months::new(back)));
    let months = days.map(|day| billing_month(day_start(day)));
    months.map(|month| Choice { value: month.to_string(), text: month_text(cx, month) }).collect()
}

/// 202610 as "octubre de 2026".
pub(super) fn month_text(cx: &Cx, month: i32) -> String {
    let names = cx.t("portal.billing.month_names");
    let name = usize::try_from(month % 100).ok().and_then(|number| names.split(' ').nth(number.checked_sub(1)?)).unwrap_or_default();
    cx.fill("portal.billing.month_of", &[("month", name), ("year", &(month / 100).to_string())])
}

/// RD$ per US$ as the settings have it; empty when none is stated.
fn rate_text(cx: &Cx) -> String {
    cx.state().settings.get().usd_rate.map(rate_written).unwrap_or_default()
}

/// A rate as money is written, with more decimals where it has them: 62.50, 62.415.
pub(super) fn rate_written(mut rate: Decimal) -> String {
    if rate.scale() < 2 {
        rate.rescale(2);
    }
    rate.to_string()
}
