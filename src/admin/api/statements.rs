//! Monthly statements: a client's, a month's of all, closing, corrections, the file for a spreadsheet. Months are YYYYMM.

use axum::Json;
use axum::body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::clients::client;
use super::door::By;
use super::files;
use super::input::{Asked, Body, id};
use super::problem::ApiError;
use crate::admin::Portal;
use crate::domain::reports::Page;
use crate::domain::statements::{MonthRow, MonthTotals, Statement, StatementInvoice};
use crate::ids::TenantId;

/// Where a page begins.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct After {
    /// The `next` of the page before.
    #[param(min_length = 1)]
    after: Option<String>,
}

/// A correction of a closed month.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CorrectionNew {
    /// The number it gets among the month's corrections: one more than there are. Sent twice, it is made once.
    #[schema(minimum = 1)]
    part: i32,
    /// US cents before ITBIS; negative is a credit.
    amount_usd_cents: i64,
    /// Why, one line.
    #[schema(min_length = 1, max_length = 300)]
    note: String,
}

/// What came of looking for an invoice.
#[derive(Serialize, ToSchema)]
pub(super) struct InvoiceChecked {
    /// It; none when it is not there, and may be made again.
    invoice: Option<StatementInvoice>,
}

/// How many statements were closed.
#[derive(Serialize, ToSchema)]
pub(super) struct Closed {
    /// Those that were not closed before.
    closed: usize,
}

/// A client's months, the running one first, two years at most.
#[utoipa::path(get, path = "/admin/api/clients/{id}/statements", tag = "statements", params(("id" = TenantId, Path)), responses((status = 200, body = Page<MonthRow>, description = "The months; those that are closed with their statement.")))]
pub(super) async fn client_statements(State(portal): State<Portal>, _: By, Path(path): Path<String>) -> Result<Json<Page<MonthRow>>, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    Ok(Json(Page { rows: state.statements.months_of(tenant.id).await?, next: None }))
}

/// A client's month: what it used and owes. What was closed stays, also of a client that was removed.
#[utoipa::path(get, path = "/admin/api/clients/{id}/statements/{month}", tag = "statements", params(("id" = TenantId, Path), ("month" = i32, Path, description = "YYYYMM.")), responses((status = 200, body = Statement, description = "The statement.")))]
pub(super) async fn statement_show(State(portal): State<Portal>, _: By, Path((path, month)): Path<(String, String)>) -> Result<Json<Statement>, ApiError> {
    Ok(Json(portal.state().statements.statement(id(&path)?, id(&month)?).await?))
}

/// Closes a client's month: it is frozen and gets its number. One that is closed stays as it is and is answered.
#[utoipa::path(post, path = "/admin/api/clients/{id}/statements/{month}/close", tag = "statements", params(("id" = TenantId, Path), ("month" = i32, Path, description = "YYYYMM.")), responses((status = 200, body = Statement, description = "The closed statement.")))]
pub(super) async fn statement_close(State(portal): State<Portal>, by: By, Path((path, month)): Path<(String, String)>) -> Result<Json<Statement>, ApiError> {
    Ok(Json(portal.state().statements.close(id(&path)?, id(&month)?, &by.actor()).await?))
}

/// Corrects a closed month.
#[utoipa::path(post, path = "/admin/api/clients/{id}/statements/{month}/corrections", tag = "statements", params(("id" = TenantId, Path), ("month" = i32, Path, description = "YYYYMM.")), request_body = CorrectionNew, responses((status = 201, body = Statement, description = "The statement with its corrections.")))]
pub(super) async fn statement_correct(
    State(portal): State<Portal>,
    by: By,
    Path((path, month)): Path<(String, String)>,
    Body(new): Body<CorrectionNew>,
) -> Result<(StatusCode, Json<Statement>), ApiError> {
    let statements = &portal.state().statements;
    let statement = statements.correct(id(&path)?, id(&month)?, new.part, new.amount_usd_cents, &new.note, &by.actor()).await?;
    Ok((StatusCode::CREATED, Json(statement)))
}

/// Makes the draft invoice of a closed month in the operator's own Odoo (the setting `billing_client`). One that is there is answered; one whose
/// outcome is not known is not made again (409): check it.
#[utoipa::path(post, path = "/admin/api/clients/{id}/statements/{month}/invoice", tag = "statements", params(("id" = TenantId, Path), ("month" = i32, Path, description = "YYYYMM.")), responses((status = 200, body = StatementInvoice, description = "The invoice.")))]
pub(super) async fn invoice_make(State(portal): State<Portal>, by: By, Path((path, month)): Path<(String, String)>) -> Result<Json<StatementInvoice>, ApiError> {
    Ok(Json(portal.state().invoices.create(id(&path)?, id(&month)?, &by.actor()).await?))
}

/// Looks whether an invoice of unknown outcome was made: it is noted then, or the month is free for another try.
#[utoipa::path(post, path = "/admin/api/clients/{id}/statements/{month}/invoice/check", tag = "statements", params(("id" = TenantId, Path), ("month" = i32, Path, description = "YYYYMM.")), responses((status = 200, body = InvoiceChecked, description = "What was found.")))]
pub(super) async fn invoice_check(State(portal): State<Portal>, by: By, Path((path, month)): Path<(String, String)>) -> Result<Json<InvoiceChecked>, ApiError> {
    Ok(Json(InvoiceChecked { invoice: portal.state().invoices.check(id(&path)?, id(&month)?, &by.actor()).await? }))
}

/// All clients' statements of a month, page by page.
#[utoipa::path(get, path = "/admin/api/statements/{month}", tag = "statements", params(("month" = i32, Path, description = "YYYYMM."), After), responses((status = 200, body = Page<Statement>, description = "A page of statements, by the clients' names.")))]
pub(super) async fn month_show(State(portal): State<Portal>, _: By, Path(month): Path<String>, Asked(asked): Asked<After>) -> Result<Json<Page<Statement>>, ApiError> {
    Ok(Json(portal.state().statements.month_page(id(&month)?, asked.after.as_deref()).await?))
}

/// What the closed statements of a month come to.
#[utoipa::path(get, path = "/admin/api/statements/{month}/totals", tag = "statements", params(("month" = i32, Path, description = "YYYYMM.")), responses((status = 200, body = MonthTotals, description = "The sums, corrections included.")))]
pub(super) async fn month_totals(State(portal): State<Portal>, _: By, Path(month): Path<String>) -> Result<Json<MonthTotals>, ApiError> {
    Ok(Json(portal.state().statements.month_totals(id(&month)?).await?))
}

/// All clients' statements of a month, for a spreadsheet.
#[utoipa::path(get, path = "/admin/api/statements/{month}/csv", tag = "statements", params(("month" = i32, Path, description = "YYYYMM.")), responses((status = 200, body = String, content_type = "text/csv", description = "A line for each statement and each correction.")))]
pub(super) async fn month_csv(State(portal): State<Portal>, _: By, Path(month): Path<String>) -> Result<Response, ApiError> {
    let month: i32 = id(&month)?;
    let statements = &portal.state().statements;
    // Whether there is such a month is known before the file begins.
    statements.month_page(month, None).await?;
    Ok(files::csv(&month.to_string(), body::Body::from_stream(statements.month_csv(month))))
}

/// Closes every client's month that is not closed yet. What was closed before stays as it is.
#[utoipa::path(post, path = "/admin/api/statements/{month}/close", tag = "statements", params(("month" = i32, Path, description = "YYYYMM.")), responses((status = 200, body = Closed, description = "How many were closed now.")))]
pub(super) async fn month_close(State(portal): State<Portal>, by: By, Path(month): Path<String>) -> Result<Json<Closed>, ApiError> {
    Ok(Json(Closed { closed: portal.state().statements.close_all(id(&month)?, &by.actor()).await? }))
}
