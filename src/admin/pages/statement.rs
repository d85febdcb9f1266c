//! One client's month: what it used and owes. Operators close it and correct it; it prints.

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use super::actor_name;
use super::billing::{month_text, rate_written, state_word};
use super::plans::cents;
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, tenant_path};
use crate::admin::error::PageError;
use crate::admin::forms::{Faults, Form};
use crate::clock::{billing_month, day_start, month_start};
use crate::domain::statements::{InvoiceState, LineKind, Statement, StatementError, StatementState};
use crate::domain::tenants::rnc_formatted;
use crate::domain::users::{Operator, TenantAccess};
use crate::ids::TenantId;
use crate::text::{Language, fill};
use crate::tools::invoice::{InvoiceError, may_be_invoiced};

const TEMPLATE: &str = "pages/statement.html";

#[derive(Deserialize)]
pub(super) struct Shown {
    #[serde(default)]
    month: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CloseForm {
    month: i32,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct CorrectForm {
    #[serde(default)]
    month: i32,
    /// The number of this correction among those of the month.
    part: i32,
    /// US$ before ITBIS; negative is a credit.
    amount: String,
    note: String,
}

#[derive(Serialize)]
struct View<'a> {
    client: String,
    client_href: String,
    action: String,
    rnc: Option<String>,
    month: i32,
    month_text: String,
    from_at: String,
    to_at: String,
    state: &'static str,
    number: Option<i32>,
    plan: String,
    calls: i64,
    counted: i64,
    lines: Vec<Line>,
    totals: Totals,
    itbis_percent: String,
    rate: String,
    closed_at: Option<String>,
    closed_by: Option<String>,
    corrections: Vec<Correction>,
    balance_usd: i64,
    balance_dop: Option<i64>,
    operator: bool,
    /// For operators.
    invoice: Option<InvoiceView>,
    form: &'a CorrectForm,
    faults: Faults,
}

/// The month's invoice in the operator's own Odoo.
#[derive(Serialize)]
struct InvoiceView {
    /// The client whose Odoo it is; empty while none is named.
    biller: String,
    /// Whether there is something to invoice.
    worth: bool,
    /// `none`, `running`, `done` or `unknown`.
    state: &'static str,
    reference: String,
    odoo_id: Option<i64>,
    name: String,
    url: String,
    currency: String,
    /// It carries no ITBIS, though it should.
    untaxed: bool,
    /// There are corrections that it does not hold.
    later: bool,
}

#[derive(Serialize)]
struct Line {
    plan: bool,
    text: String,
    calls: i64,
    counted: i64,
    usd: i64,
    dop: Option<i64>,
}

/// Cents; RD$ none while no rate is stated.
#[derive(Serialize)]
struct Totals {
    amount_usd: i64,
    amount_dop: Option<i64>,
    itbis_usd: i64,
    itbis_dop: Option<i64>,
    total_usd: i64,
    total_dop: Option<i64>,
}

#[derive(Serialize)]
struct Correction {
    number: Option<i32>,
    note: String,
    at: Option<String>,
    by: Option<String>,
    amount_usd: i64,
    itbis_usd: i64,
    total_usd: i64,
    total_dop: Option<i64>,
}

pub(super) async fn show(cx: Cx, access: TenantAccess, Query(shown): Query<Shown>) -> Answer {
    let month = shown.month.parse().unwrap_or_else(|_| billing_month(cx.state().clock.now()));
    page(&cx, StatusCode::OK, access.tenant(), month, None, Faults::default()).await
}

pub(super) async fn close(cx: Cx, operator: Operator, Path(tenant): Path<TenantId>, Form(form): Form<CloseForm>) -> Answer {
    let key = match cx.state().statements.close(tenant, form.month, &operator.actor()).await {
        Ok(_) => return cx.redirect_saying(&path(tenant, form.month), &Flash::ok("statement_closed").fact("month", &month_text(&cx, form.month))),
        Err(StatementError::NoRate) => "no_rate",
        Err(StatementError::Running) => "month_running",
        Err(other) => return Err(other.into()),
    };
    page(&cx, StatusCode::UNPROCESSABLE_ENTITY, tenant, form.month, None, Faults::one(&cx, "form", key)).await
}

pub(super) async fn correct(cx: Cx, operator: Operator, Path(tenant): Path<TenantId>, Form(form): Form<CorrectForm>) -> Answer {
    let month = form.month;
    let Some(amount) = cents(&form.amount) else {
        let faults = Faults::one(&cx, "amount", "correction_amount");
        return page(&cx, StatusCode::UNPROCESSABLE_ENTITY, tenant, month, Some(&form), faults).await;
    };
    let (field, key) = match cx.state().statements.correct(tenant, month, form.part, amount, &form.note, &operator.actor()).await {
        Ok(_) => return cx.redirect_saying(&path(tenant, month), &Flash::ok("statement_corrected")),
        Err(StatementError::Invalid("note")) => ("note", "correction_note"),
        Err(StatementError::Invalid("amount")) => ("amount", "correction_amount"),
        Err(StatementError::Invalid("part")) => ("form", "correction_meanwhile"),
        Err(StatementError::NotClosed) => ("form", "not_closed"),
        Err(other) => return Err(other.into()),
    };
    page(&cx, StatusCode::UNPROCESSABLE_ENTITY, tenant, month, Some(&form), Faults::one(&cx, field, key)).await
}

/// Makes the draft invoice in the operator's own Odoo.
pub(super) async fn invoice(cx: Cx, operator: Operator, Path(tenant): Path<TenantId>, Form(form): Form<CloseForm>) -> Answer {
    match cx.state().invoices.create(tenant, form.month, &operator.actor()).await {
        Ok(_) => cx.redirect_saying(&path(tenant, form.month), &Flash::ok("invoice_made")),
        Err(error) => invoice_refused(&cx, tenant, form.month, error).await,
    }
}

/// Looks whether an invoice of unknown outcome was made.
pub(super) async fn invoice_check(cx: Cx, operator: Operator, Path(tenant): Path<TenantId>, Form(form): Form<CloseForm>) -> Answer {
    match cx.state().invoices.check(tenant, form.month, &operator.actor()).await {
        Ok(found) => cx.redirect_saying(&path(tenant, form.month), &Flash::ok(if found.is_some() { "invoice_there" } else { "invoice_free" })),
        Err(error) => invoice_refused(&cx, tenant, form.month, error).await,
    }
}

async fn invoice_refused(cx: &Cx, tenant: TenantId, month: i32, error: InvoiceError) -> Answer {
    let mut faults = Faults::default();
    match error {
        InvoiceError::Statement(StatementError::NotClosed) => faults.add(cx, "form", "not_closed"),
        InvoiceError::Statement(error) => return Err(error.into()),
        InvoiceError::Internal(cause) => return Err(PageError::internal(anyhow::anyhow!(cause))),
        error => faults.say("form", invoice_fault(cx.language(), &error)),
    }
    page(cx, StatusCode::UNPROCESSABLE_ENTITY, tenant, month, None, faults).await
}

/// Why there is no invoice, in words.
pub(in crate::admin) fn invoice_fault(language: Language, error: &InvoiceError) -> String {
    let key = match error {
        InvoiceError::NoBiller => "no_biller",
        InvoiceError::NotConnected => "not_connected",
        InvoiceError::Nothing => "nothing",
        InvoiceError::Running => "running",
        InvoiceError::Unknown => "unknown",
        InvoiceError::Fresh => "fresh",
        InvoiceError::NoCurrency => "no_currency",
        InvoiceError::Odoo(_) | InvoiceError::Statement(_) | InvoiceError::Internal(_) => "odoo",
    };
    fill(language, &format!("portal.faults.invoice_{key}"), &[("said", &error.odoo_said(language).unwrap_or_default())])
}

/// Where a client's month is.
pub(super) fn path(tenant: TenantId, month: i32) -> String {
    format!("{}/usage/statement?month={month}", tenant_path(tenant))
}

async fn page(cx: &Cx, status: StatusCode, tenant: TenantId, month: i32, typed: Option<&CorrectForm>, faults: Faults) -> Answer {
    let statement = cx.state().statements.statement(tenant, month).await?;
    let part = i32::try_from(statement.corrections.len() + 1).unwrap_or(i32::MAX);
    // The next number, also in a form that came back: whoever sends it again has seen what is there now.
    let own = CorrectForm { month, part, amount: typed.map(|form| form.amount.clone()).unwrap_or_default(), note: typed.map(|form| form.note.clone()).unwrap_or_default() };
    let invoice = if operator(cx) { Some(invoice_view(cx, &statement).await?) } else { None };
    cx.page_with(status, TEMPLATE, View { invoice, ..view(cx, statement, &own, faults) })
}

fn operator(cx: &Cx) -> bool {
    cx.user().is_some_and(|user| user.operator().is_some())
}

async fn invoice_view(cx: &Cx, statement: &Statement) -> Result<InvoiceView, PageError> {
    let biller = match cx.state().invoices.biller().await {
        Ok(biller) => biller.name,
        Err(InvoiceError::NoBiller) => String::new(),
        Err(error) => return Err(PageError::internal(error)),
    };
    let made = statement.invoice.as_ref();
    Ok(InvoiceView {
        biller,
        worth: may_be_invoiced(statement),
        state: made.map_or("none", |made| match made.state {
            InvoiceState::Running => "running",
            InvoiceState::Done => "done",
            InvoiceState::Unknown => "unknown",
        }),
        reference: made.map(|made| made.reference.clone()).unwrap_or_default(),
        odoo_id: made.and_then(|made| made.odoo_id),
        name: made.and_then(|made| made.name.clone()).unwrap_or_default(),
        url: made.and_then(|made| made.url.clone()).unwrap_or_default(),
        currency: made.and_then(|made| made.currency.clone()).unwrap_or_default(),
        untaxed: made.is_some_and(|made| !made.taxed) && !statement.itbis_percent.is_zero(),
        later: made.is_some_and(|made| usize::try_from(made.corrections).is_ok_and(|held| held < statement.corrections.len())),
    })
}

fn view<'a>(cx: &Cx, statement: Statement, form: &'a CorrectForm, faults: Faults) -> View<'a> {
    let dop = |usd_cents: i64| statement.usd_rate.and_then(|rate| (Decimal::from(usd_cents) * rate).round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero).to_i64());
    let from = month_start(statement.month).unwrap_or_default();
    let to = from.checked_add_months(chrono::Months::new(1)).and_then(|next| next.pred_opt()).unwrap_or(from);
    let itbis_dop = dop(statement.itbis_usd_cents);
    View {
        totals: Totals {
            amount_usd: statement.amount_usd_cents,
            // The total is what is owed; its parts add up to it.
            amount_dop: statement.total_dop_cents.zip(itbis_dop).map(|(total, itbis)| total - itbis),
            itbis_usd: statement.itbis_usd_cents,
            itbis_dop,
            total_usd: statement.total_usd_cents,
            total_dop: statement.total_dop_cents,
        },
        lines: statement
            .lines
            .iter()
            .map(|line| Line {
                plan: line.kind == LineKind::Plan,
                text: line.text.clone(),
                calls: line.calls,
                counted: line.counted,
                usd: line.amount_usd_cents,
                dop: dop(line.amount_usd_cents),
            })
            .collect(),
        corrections: statement.corrections.iter().map(|correction| correction_view(cx, correction)).collect(),
        client_href: tenant_path(statement.tenant),
        action: format!("{}/usage/statement", tenant_path(statement.tenant)),
        month: statement.month,
        month_text: month_text(cx, statement.month),
        from_at: day_start(from).to_rfc3339(),
        to_at: day_start(to).to_rfc3339(),
        state: state_word(statement.state),
        number: statement.number,
        calls: statement.calls,
        counted: statement.counted,
        itbis_percent: statement.itbis_percent.to_string(),
        rate: statement.usd_rate.map(rate_written).unwrap_or_default(),
        closed_at: statement.closed_at.filter(|_| statement.state == StatementState::Closed).map(|at| at.to_rfc3339()),
        closed_by: statement.closed_by.as_deref().map(|by| actor_name(cx, by)),
        balance_usd: statement.balance_usd_cents,
        balance_dop: statement.balance_dop_cents,
        operator: operator(cx),
        invoice: None,
        client: statement.client,
        rnc: statement.rnc.as_deref().map(rnc_formatted),
        plan: statement.plan,
        form,
        faults,
    }
}

fn correction_view(cx: &Cx, correction: &Statement) -> Correction {
    Correction {
        number: correction.number,
        note: correction.note.clone(),
        at: correction.closed_at.map(|at| at.to_rfc3339()),
        by: correction.closed_by.as_deref().map(|by| actor_name(cx, by)),
        amount_usd: correction.amount_usd_cents,
        itbis_usd: correction.itbis_usd_cents,
        total_usd: correction.total_usd_cents,
        total_dop: correction.total_dop_cents,
    }
}
