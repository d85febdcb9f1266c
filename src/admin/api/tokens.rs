//! A client's tokens: the list, issuing one (its text is in that answer only), rotating one with a grace, revoking one.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Duration, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::clients::{Language, client};
use super::door::By;
use super::input::{Body, id};
use super::once::ShownOnce;
use super::problem::ApiError;
use crate::admin::Portal;
use crate::domain::reports::Page;
use crate::domain::tokens::{IssuedToken, LIFETIME_DAYS_MAX, NewToken, ROTATION_GRACE_S_MAX, TokenError, TokenView};
use crate::ids::{TenantId, TokenId};
use crate::tools::tool;

/// A token, without its text.
#[derive(Serialize, ToSchema)]
pub(super) struct Token {
    /// Its id.
    id: TokenId,
    /// For people: which agent uses it.
    name: String,
    /// Its beginning and end.
    hint: String,
    /// The packs it is limited to; none is all.
    packs: Option<Vec<String>>,
    /// UTC.
    created_at: DateTime<Utc>,
    /// Its end, UTC; none is never.
    expires_at: Option<DateTime<Utc>>,
    /// When it was revoked, UTC.
    revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, UTC.
    last_used_at: Option<DateTime<Utc>>,
    /// Whether another token has taken its place.
    replaced: bool,
}

/// A new token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenNew {
    /// For people: which agent uses it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Limits it to packs; absent or empty is all.
    packs: Option<Vec<Pack>>,
    /// The language of its answers; absent follows the client.
    language: Option<Language>,
    /// Its end, within five years; absent is never.
    expires_at: Option<DateTime<Utc>>,
}

/// How a token is rotated.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRotate {
    /// How long the old one works on, seconds; a week at most.
    #[schema(minimum = 0, maximum = 604_800)]
    grace_s: i64,
}

/// A pack of tools.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Pack {
    /// For telephone agents.
    Voice,
    /// For the sales desk.
    Sales,
    /// For analysts.
    Analyst,
    /// Tools that write.
    Writes,
}

/// A token just issued.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenIssued {
    /// Its id.
    id: TokenId,
    /// Its text. It is never shown again.
    token: String,
}

/// A client's tokens, newest first.
#[utoipa::path(get, path = "/admin/api/clients/{id}/tokens", tag = "tokens", params(("id" = TenantId, Path)), responses((status = 200, body = Page<Token>, description = "All of them.")))]
pub(super) async fn token_list(State(portal): State<Portal>, _: By, Path(path): Path<String>) -> Result<Json<Page<Token>>, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    let tokens = state.tokens.token_list(tenant.id).await?;
    Ok(Json(Page { rows: tokens.into_iter().map(shown).collect(), next: None }))
}

/// Issues a token.
#[utoipa::path(post, path = "/admin/api/clients/{id}/tokens", tag = "tokens", params(("id" = TenantId, Path)), request_body = TokenNew, responses((status = 201, body = TokenIssued, description = "The token, this once.")))]
pub(super) async fn token_issue(State(portal): State<Portal>, by: By, Path(path): Path<String>, Body(new): Body<TokenNew>) -> Result<Response, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    let now = state.clock.now();
    if new.expires_at.is_some_and(|end| end <= now || end > now + Duration::days(LIFETIME_DAYS_MAX)) {
        return Err(ApiError::fault("expires_at", format!("A token ends in the future and within {LIFETIME_DAYS_MAX} days.")));
    }
    let packs: Vec<String> = new.packs.unwrap_or_default().into_iter().map(|pack| pack.known().as_str().to_owned()).collect();
    let new = NewToken { name: new.name, packs: (!packs.is_empty()).then_some(packs), language: new.language.map(Language::known), expires_at: new.expires_at };
    let issued = state.tokens.token_issue(tenant.id, new, &by.actor()).await?;
    Ok(shown_once(&issued))
}

/// Replaces a token by a new one of the same rights; the old one works on for the grace, never beyond its own end.
#[utoipa::path(post, path = "/admin/api/clients/{id}/tokens/{token}/rotate", tag = "tokens", params(("id" = TenantId, Path), ("token" = TokenId, Path)), request_body = TokenRotate, responses((status = 201, body = TokenIssued, description = "The new token, this once.")))]
pub(super) async fn token_rotate(State(portal): State<Portal>, by: By, Path((path, token)): Path<(String, String)>, Body(asked): Body<TokenRotate>) -> Result<Response, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    let token: TokenId = id(&token)?;
    if !(0..=ROTATION_GRACE_S_MAX).contains(&asked.grace_s) {
        return Err(ApiError::fault("grace_s", format!("Give 0 to {ROTATION_GRACE_S_MAX} seconds.")));
    }
    let old = state.tokens.token_find(tenant.id, token).await?;
    // Rotated already: another rotation would be a second token that nobody asked for.
    if old.replaced {
        return Err(ApiError::Conflict("Another token has taken its place already: rotate that one.".to_owned()));
    }
    match state.tokens.token_rotate(tenant.id, token, asked.grace_s, &by.actor()).await {
        Ok(issued) => Ok(shown_once(&issued)),
        Err(TokenError::Invalid(_)) => Err(ApiError::Conflict("It is revoked or has ended: issue a new one.".to_owned())),
        Err(error) => Err(error.into()),
    }
}

/// Revokes a token for good. Revoking twice is fine.
#[utoipa::path(post, path = "/admin/api/clients/{id}/tokens/{token}/revoke", tag = "tokens", params(("id" = TenantId, Path), ("token" = TokenId, Path)), responses((status = 204, description = "It is revoked.")))]
pub(super) async fn token_revoke(State(portal): State<Portal>, by: By, Path((path, token)): Path<(String, String)>) -> Result<StatusCode, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    state.tokens.token_revoke(tenant.id, id(&token)?, &by.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A new token's text, in this answer only.
fn shown_once(issued: &IssuedToken) -> Response {
    let mut response = (StatusCode::CREATED, Json(TokenIssued { id: issued.id, token: issued.token.expose_secret().to_owned() })).into_response();
    response.extensions_mut().insert(ShownOnce);
    response
}

fn shown(token: TokenView) -> Token {
    Token {
        id: token.id,
        name: token.name,
        hint: token.hint,
        packs: token.packs,
        created_at: token.created_at,
        expires_at: token.expires_at,
        revoked_at: token.revoked_at,
        last_used_at: token.last_used_at,
        replaced: token.replaced,
    }
}

impl Pack {
    fn known(self) -> tool::Pack {
        match self {
            Self::Voice => tool::Pack::Voice,
            Self::Sales => tool::Pack::Sales,
            Self::Analyst => tool::Pack::Analyst,
            Self::Writes => tool::Pack::Writes,
        }
    }
}
