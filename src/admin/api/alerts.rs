//! Alerts of a client and of the service: what is told and to whom, the webhook, its secret, its deliveries.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::clients::client;
use super::door::By;
use super::input::Body;
use super::once::ShownOnce;
use super::problem::ApiError;
use crate::admin::Portal;
use crate::domain::alerts::{AlertView, ChannelsChange, ChannelsError, ChannelsView, DeliveryState, DeliveryView, Owner, Topic};
use crate::domain::audit::Actor;
use crate::ids::TenantId;
use crate::state::AppState;

/// What is told, to whom, and what became of it.
#[derive(Serialize, ToSchema)]
pub(super) struct Alerts {
    /// Whether letters go to the client's owners, or to the operators.
    mail: bool,
    /// What is told.
    topics: Vec<Topic>,
    /// Where webhooks go; none sends none.
    webhook_url: Option<String>,
    /// Until when the secret before the last rotation signs too, UTC.
    previous_secret_until: Option<DateTime<Utc>>,
    /// Counts edits.
    version: i32,
    /// The latest that were told, newest first, twenty at most.
    alerts: Vec<Alert>,
    /// The latest webhooks, newest first, ten at most.
    deliveries: Vec<Delivery>,
    /// What webhooks are signed with (Standard Webhooks); only when it was just made, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// Something that was told.
#[derive(Serialize, ToSchema)]
pub(super) struct Alert {
    /// A webhook's `type`.
    r#type: &'static str,
    /// What is said of it.
    data: Value,
    /// When it was told, UTC.
    told_at: DateTime<Utc>,
    /// When it ended, UTC.
    ended_at: Option<DateTime<Utc>>,
}

/// A webhook on its way, or what became of it.
#[derive(Serialize, ToSchema)]
pub(super) struct Delivery {
    /// Its `type`.
    r#type: &'static str,
    /// What became of it.
    state: DeliveryState,
    /// Attempts so far.
    attempts: i32,
    /// The HTTP status of the last attempt.
    status: Option<i32>,
    /// Why the last attempt failed.
    cause: Option<String>,
    /// When it was written, UTC.
    created_at: DateTime<Utc>,
    /// When it is tried next, UTC.
    due_at: Option<DateTime<Utc>>,
}

/// What is to be told, and to whom.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertsNew {
    /// Whether letters go out.
    mail: bool,
    /// What is told; a client's are `odoo`, `key`, `quota` and `approvals`, the service's `odoo`, `padron` and `journal`.
    topics: Vec<Topic>,
    /// A public https address; null sends none and forgets the secret.
    #[schema(max_length = 500)]
    webhook_url: Option<String>,
    /// The version that was seen: somebody else's newer change is not written over (409).
    version: i32,
}

/// A secret that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct WebhookSecret {
    /// `whsec_…`. It is never shown again; the one before signs too for a day.
    secret: String,
}

/// What a client is told, to whom, and what became of it.
#[utoipa::path(get, path = "/admin/api/clients/{id}/alerts", tag = "alerts", params(("id" = TenantId, Path)), responses((status = 200, body = Alerts, description = "As it is now.")))]
pub(super) async fn client_alerts(State(portal): State<Portal>, _: By, Path(path): Path<String>) -> Result<Json<Alerts>, ApiError> {
    let state = portal.state();
    let owner = Owner::Tenant(client(state, &path).await?.id);
    Ok(Json(shown(state, owner, None).await?))
}

/// Changes what a client is told, and to whom. The answer has the secret of a webhook that is new, this once.
#[utoipa::path(put, path = "/admin/api/clients/{id}/alerts", tag = "alerts", params(("id" = TenantId, Path)), request_body = AlertsNew, responses((status = 200, body = Alerts, description = "As it is now.")))]
pub(super) async fn client_alerts_set(State(portal): State<Portal>, by: By, Path(path): Path<String>, Body(new): Body<AlertsNew>) -> Result<Response, ApiError> {
    let state = portal.state();
    let owner = Owner::Tenant(client(state, &path).await?.id);
    set(state, owner, new, &by.actor()).await
}

/// Makes another secret for a client's webhook.
#[utoipa::path(post, path = "/admin/api/clients/{id}/alerts/secret", tag = "alerts", params(("id" = TenantId, Path)), responses((status = 201, body = WebhookSecret, description = "The secret, this once.")))]
pub(super) async fn client_alerts_secret(State(portal): State<Portal>, by: By, Path(path): Path<String>) -> Result<Response, ApiError> {
    let state = portal.state();
    let owner = Owner::Tenant(client(state, &path).await?.id);
    rotated(state, owner, &by.actor()).await
}

/// Sends a client's webhook once, to see whether it arrives.
#[utoipa::path(post, path = "/admin/api/clients/{id}/alerts/test", tag = "alerts", params(("id" = TenantId, Path)), responses((status = 200, body = Delivery, description = "What came of it; one that does not arrive is no failure of the request.")))]
pub(super) async fn client_alerts_test(State(portal): State<Portal>, _: By, Path(path): Path<String>) -> Result<Json<Delivery>, ApiError> {
    let owner = Owner::Tenant(client(portal.state(), &path).await?.id);
    tried(&portal, owner).await
}

/// What operators are told, how, and what became of it.
#[utoipa::path(get, path = "/admin/api/alerts", tag = "alerts", responses((status = 200, body = Alerts, description = "As it is now.")))]
pub(super) async fn alerts_show(State(portal): State<Portal>, _: By) -> Result<Json<Alerts>, ApiError> {
    Ok(Json(shown(portal.state(), Owner::Operator, None).await?))
}

/// Changes what operators are told, and how. The answer has the secret of a webhook that is new, this once.
#[utoipa::path(put, path = "/admin/api/alerts", tag = "alerts", request_body = AlertsNew, responses((status = 200, body = Alerts, description = "As it is now.")))]
pub(super) async fn alerts_set(State(portal): State<Portal>, by: By, Body(new): Body<AlertsNew>) -> Result<Response, ApiError> {
    set(portal.state(), Owner::Operator, new, &by.actor()).await
}

/// Makes another secret for the operators' webhook.
#[utoipa::path(post, path = "/admin/api/alerts/secret", tag = "alerts", responses((status = 201, body = WebhookSecret, description = "The secret, this once.")))]
pub(super) async fn alerts_secret(State(portal): State<Portal>, by: By) -> Result<Response, ApiError> {
    rotated(portal.state(), Owner::Operator, &by.actor()).await
}

/// Sends the operators' webhook once, to see whether it arrives.
#[utoipa::path(post, path = "/admin/api/alerts/test", tag = "alerts", responses((status = 200, body = Delivery, description = "What came of it; one that does not arrive is no failure of the request.")))]
pub(super) async fn alerts_test(State(portal): State<Portal>, _: By) -> Result<Json<Delivery>, ApiError> {
    tried(&portal, Owner::Operator).await
}

async fn set(state: &AppState, owner: Owner, new: AlertsNew, actor: &Actor) -> Result<Response, ApiError> {
    let change = ChannelsChange { mail: new.mail, topics: new.topics, webhook_url: new.webhook_url.unwrap_or_default(), version: new.version };
    let secret = state.alerts.channels_edit(owner, change, actor).await.map_err(failure)?;
    let made = secret.is_some();
    let mut response = Json(shown(state, owner, secret).await?).into_response();
    if made {
        response.extensions_mut().insert(ShownOnce);
    }
    Ok(response)
}

async fn rotated(state: &AppState, owner: Owner, actor: &Actor) -> Result<Response, ApiError> {
    let secret = state.alerts.secret_rotate(owner, actor).await.map_err(failure)?;
    let mut response = (StatusCode::CREATED, Json(WebhookSecret { secret: secret.expose_secret().to_owned() })).into_response();
    response.extensions_mut().insert(ShownOnce);
    Ok(response)
}

async fn tried(portal: &Portal, owner: Owner) -> Result<Json<Delivery>, ApiError> {
    let tried = portal.state().alerts.webhook_test(owner, &portal.inner.public_url).await.map_err(ApiError::internal)?;
    tried.map(delivery).map(Json).ok_or_else(|| ApiError::sentences([("webhook_url", "webhook_none")]))
}

fn failure(error: ChannelsError) -> ApiError {
    match error {
        ChannelsError::Invalid(fault) => ApiError::sentences([(if fault.key() == "choice" { "topics" } else { "webhook_url" }, fault.key())]),
        ChannelsError::Stale => ApiError::Conflict("Somebody else changed this meanwhile: look at it again.".to_owned()),
        ChannelsError::Unknown => ApiError::NotFound,
        error => ApiError::internal(error),
    }
}

async fn shown(state: &AppState, owner: Owner, secret: Option<SecretString>) -> Result<Alerts, ApiError> {
    let ChannelsView { mail, topics, webhook_url, previous_until, version } = state.alerts.channels(owner).await.map_err(ApiError::internal)?;
    let alerts = state.alerts.list(owner).await.map_err(ApiError::internal)?;
    let deliveries = state.alerts.deliveries(owner).await.map_err(ApiError::internal)?;
    let alert = |alert: AlertView| Alert { r#type: alert.kind.as_str(), data: alert.facts, told_at: alert.told_at, ended_at: alert.ended_at };
    Ok(Alerts {
        mail,
        topics: topics.into_iter().filter(|(_, on)| *on).map(|(topic, _)| topic).collect(),
        webhook_url,
        previous_secret_until: previous_until,
        version,
        alerts: alerts.into_iter().map(alert).collect(),
        deliveries: deliveries.into_iter().map(delivery).collect(),
        secret: secret.map(|secret| secret.expose_secret().to_owned()),
    })
}

fn delivery(view: DeliveryView) -> Delivery {
    Delivery { r#type: view.kind.as_str(), state: view.state, attempts: view.attempts, status: view.status, cause: view.cause, created_at: view.created_at, due_at: view.due_at }
}
