//! `/oauth/register` (RFC 7591): a program says who it is. What it says beyond what is read here is passed over, as §2 wants.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use super::Door;
use super::error::Refusal;
use crate::domain::oauth::{Fault, NewRegistration, SecretWay};

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    redirect_uris: Vec<String>,
    client_name: Option<String>,
    token_endpoint_auth_method: Option<String>,
    grant_types: Option<Vec<String>>,
    response_types: Option<Vec<String>>,
    scope: Option<String>,
}

/// Registers it.
pub(super) async fn register(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    let bad = |about| Refusal::new(Fault::InvalidClientMetadata, about);
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(bad("send JSON: application/json"));
    }
    let metadata: Metadata = serde_json::from_slice(&body).map_err(|_| bad("this is not the metadata of a client"))?;
    // RFC 7591 §2 says basic where nothing is said; programs of this protocol that say nothing are public ones.
    let way = SecretWay::parse(metadata.token_endpoint_auth_method.as_deref().unwrap_or("none"))
        .ok_or_else(|| bad("token_endpoint_auth_method must be none, client_secret_basic or client_secret_post"))?;
    let grants = metadata.grant_types.unwrap_or_else(|| vec!["authorization_code".to_owned(), "refresh_token".to_owned()]);
    if !grants.iter().any(|grant| grant == "authorization_code") {
        return Err(bad("grant_types must have authorization_code: machines are registered by the operator"));
    }
    if metadata.response_types.is_some_and(|types| !types.iter().any(|kind| kind == "code")) {
        return Err(bad("response_types must have code"));
    }
    let refreshes = grants.iter().any(|grant| grant == "refresh_token");
    let uris = metadata.redirect_uris.clone();
    let new = NewRegistration { name: metadata.client_name, redirect_uris: metadata.redirect_uris, way, refreshes };
    let made = door.oauth.application_register(new).await?;
    let mut answer = json!({
        "client_id": made.application.identifier,
        "client_id_issued_at": made.issued_at_s,
        "client_name": made.application.name,
        "redirect_uris": uris,
        "token_endpoint_auth_method": made.way.as_str(),
        "grant_types": if refreshes { &["authorization_code", "refresh_token"][..] } else { &["authorization_code"][..] },
        "response_types": ["code"],
        "scope": metadata.scope.unwrap_or_else(|| door.oauth.packs().join(" ")),
    });
    if let Some(secret) = &made.secret {
        answer["client_secret"] = json!(secret.expose_secret());
        answer["client_secret_expires_at"] = json!(0);
    }
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}
