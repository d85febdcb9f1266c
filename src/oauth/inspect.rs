//! `/oauth/revoke` (RFC 7009) and `/oauth/introspect` (RFC 7662).

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Door;
use super::error::Refusal;
use super::form::{Params, Presented};

/// Gives a token back.
pub(super) async fn revoke(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    let params = Params::read(&headers, &body)?;
    let presented = Presented::read(&headers, &params)?;
    let token = params.must("token", "token is missing")?;
    door.oauth.give_back(&presented.proof(), token).await.map_err(|error| Refusal::from(error).of(presented.basic))?;
    Ok(StatusCode::OK.into_response())
}

/// Says what one of the program's own tokens is worth.
pub(super) async fn introspect(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Result<Json<Value>, Refusal> {
    let params = Params::read(&headers, &body)?;
    let presented = Presented::read(&headers, &params)?;
    let token = params.must("token", "token is missing")?;
    let found = door.oauth.inspect(&presented.proof(), token).await.map_err(|error| Refusal::from(error).of(presented.basic))?;
    Ok(Json(match found {
        None => json!({ "active": false }),
        Some(token) => json!({
            "active": true,
            "scope": token.scope,
            "client_id": token.identifier,
            "sub": token.subject,
            "aud": token.resource,
            "iss": door.places.issuer(),
            "iat": token.issued_at_s,
            "exp": token.expires_at_s,
            "token_type": if token.access { "Bearer" } else { "refresh_token" },
        }),
    }))
}
