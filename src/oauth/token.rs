//! `/oauth/token`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::Door;
use super::error::Refusal;
use super::form::{Params, Presented};
use crate::domain::oauth::{Fault, Issued};

/// Codes, refresh tokens and machines' secrets for tokens.
pub(super) async fn token(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    let params = Params::read(&headers, &body)?;
    let kind = params.must("grant_type", "grant_type is missing")?;
    let presented = Presented::read(&headers, &params)?;
    let (oauth, proof, resource) = (&door.oauth, presented.proof(), params.get("resource"));
    let issued = match kind {
        "authorization_code" => {
            let code = params.must("code", "code is missing")?;
            let verifier = params.must("code_verifier", "code_verifier is missing")?;
            oauth.code_change(&proof, code, params.get("redirect_uri"), verifier, resource).await
        }
        "refresh_token" => oauth.refresh(&proof, params.must("refresh_token", "refresh_token is missing")?, params.get("scope"), resource).await,
        "client_credentials" => oauth.machine(&proof, params.get("scope"), resource).await,
        _ => return Err(Refusal::new(Fault::UnsupportedGrantType, "these are served: authorization_code, refresh_token, client_credentials")),
    };
    match issued {
        Ok(issued) => Ok(Json(answer(&issued)).into_response()),
        Err(error) => Err(Refusal::from(error).of(presented.basic)),
    }
}

fn answer(issued: &Issued) -> Map<String, Value> {
    let mut answer = Map::new();
    answer.insert("access_token".to_owned(), json!(issued.access.expose_secret()));
    answer.insert("token_type".to_owned(), json!("Bearer"));
    answer.insert("expires_in".to_owned(), json!(issued.expires_in_s));
    if let Some(refresh) = &issued.refresh {
        answer.insert("refresh_token".to_owned(), json!(refresh.expose_secret()));
    }
    answer.insert("scope".to_owned(), json!(issued.scope));
    answer
}
