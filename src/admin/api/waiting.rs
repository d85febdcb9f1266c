//! What waits for an operator: companies that signed up, clients that ask for another plan.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::clients::client;
use super::door::By;
use super::input::{Body, id};
use super::problem::ApiError;
use crate::admin::{Portal, SIGN_IN_PATH};
use crate::domain::mail::Letter;
use crate::domain::reports::Page;
use crate::domain::tenants::{TenantEdit, TenantError};
use crate::domain::users::SignUpView;
use crate::ids::TenantId;

/// A company that signed up and waits.
#[derive(Serialize, ToSchema)]
pub(super) struct SignUpWaiting {
    /// The client it would be.
    client: TenantId,
    /// The company's name.
    company: String,
    /// Its RNC.
    rnc: Option<String>,
    /// Whether another client has that RNC.
    rnc_known: bool,
    /// Who signed up.
    name: String,
    /// Their address.
    email: String,
    /// Whether the address was confirmed.
    confirmed: bool,
    /// When, UTC.
    created_at: DateTime<Utc>,
}

/// A client that asks for another plan.
#[derive(Serialize, ToSchema)]
pub(super) struct PlanWish {
    /// Which client.
    client: TenantId,
    /// Code of the plan it asks for.
    plan: String,
    /// In its words; may be empty.
    note: String,
    /// Who asks.
    by: String,
    /// When, UTC.
    at: DateTime<Utc>,
}

/// What an operator decides about such a wish.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanDecision {
    /// Code of the plan that the client was seen to ask for: another wish meanwhile is not decided by this (409).
    plan: String,
    /// What is done.
    decision: Decision,
}

/// What is done with a wish.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Decision {
    /// The client gets the plan.
    Accept,
    /// It keeps the plan it has; somebody has told it why.
    Refuse,
}

/// The companies that signed up and wait, oldest first.
#[utoipa::path(get, path = "/admin/api/sign-ups", tag = "waiting", responses((status = 200, body = Page<SignUpWaiting>, description = "All of them.")))]
pub(super) async fn sign_up_list(State(portal): State<Portal>, by: By) -> Result<Json<Page<SignUpWaiting>>, ApiError> {
    let waiting = portal.state().users.sign_up_list(&by).await?;
    Ok(Json(Page { rows: waiting.into_iter().map(shown).collect(), next: None }))
}

/// Lets a company in, with those who signed it up.
#[utoipa::path(post, path = "/admin/api/sign-ups/{id}/approve", tag = "waiting", params(("id" = TenantId, Path)), responses((status = 204, description = "It is a client now.")))]
pub(super) async fn sign_up_approve(State(portal): State<Portal>, by: By, Path(path): Path<String>) -> Result<StatusCode, ApiError> {
    let state = portal.state();
    let tenant: TenantId = id(&path)?;
    let applicant = state.users.sign_up_approve(&by, tenant).await?;
    state.tokens.forget(tenant);
    if let Some(applicant) = applicant {
        let link = format!("{}{SIGN_IN_PATH}", portal.inner.public_url.as_str().trim_end_matches('/'));
        state.mail.send(&applicant.email, applicant.language, &Letter::Approved { link, company: applicant.company });
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses a company: it and the account that signed it up are gone.
#[utoipa::path(post, path = "/admin/api/sign-ups/{id}/refuse", tag = "waiting", params(("id" = TenantId, Path)), responses((status = 204, description = "It is gone.")))]
pub(super) async fn sign_up_refuse(State(portal): State<Portal>, by: By, Path(path): Path<String>) -> Result<StatusCode, ApiError> {
    portal.state().users.sign_up_refuse(&by, id(&path)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The clients that ask for another plan, the latest first.
#[utoipa::path(get, path = "/admin/api/plan-requests", tag = "waiting", responses((status = 200, body = Page<PlanWish>, description = "Those that nobody has decided yet.")))]
pub(super) async fn plan_request_list(State(portal): State<Portal>, _: By) -> Result<Json<Page<PlanWish>>, ApiError> {
    let open = portal.state().tenants.plan_requests_open().await?;
    let rows = open.into_iter().map(|(client, wish)| PlanWish { client, plan: wish.plan, note: wish.note, by: wish.by, at: wish.at });
    Ok(Json(Page { rows: rows.collect(), next: None }))
}

/// Decides a client's wish for another plan.
#[utoipa::path(post, path = "/admin/api/plan-requests/{id}", tag = "waiting", params(("id" = TenantId, Path, description = "The client.")), request_body = PlanDecision, responses((status = 204, description = "It is decided.")))]
pub(super) async fn plan_request_decide(State(portal): State<Portal>, by: By, Path(path): Path<String>, Body(asked): Body<PlanDecision>) -> Result<StatusCode, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    let open = state.tenants.plan_request_open(&tenant).await?.ok_or(ApiError::NotFound)?;
    if open.plan != asked.plan {
        return Err(ApiError::Conflict(format!("The client asks for {} now: decide about that.", open.plan)));
    }
    if asked.decision == Decision::Accept {
        let edit = TenantEdit { plan: Some(open.plan), version: Some(tenant.version), ..TenantEdit::default() };
        match state.tenants.tenant_edit(tenant.id, edit, &by.actor()).await {
            // The plan was removed since it was asked for.
            Err(TenantError::UnknownPlan(plan)) => return Err(ApiError::Conflict(format!("There is no plan {plan} any more: refuse the wish."))),
            other => other?,
        }
        state.tokens.forget(tenant.id);
        state.connections.forget(tenant.id);
    }
    state.tenants.plan_request_close(tenant.id, &by.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(view: SignUpView) -> SignUpWaiting {
    SignUpWaiting {
        client: view.tenant,
        company: view.company,
        rnc: view.rnc,
        rnc_known: view.rnc_known,
        name: view.name,
        email: view.email,
        confirmed: view.confirmed,
        created_at: view.created_at,
    }
}
