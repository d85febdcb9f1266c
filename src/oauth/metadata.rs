//! What the resource (RFC 9728) and the authorization server (RFC 8414) say of themselves.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Door, INTROSPECT_PATH, REGISTER_PATH, REVOKE_PATH, TOKEN_PATH};
use crate::domain::oauth::OFFLINE;
use crate::http::places;

/// May be kept for so long: it changes with the program or its public address only.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// `/.well-known/oauth-protected-resource` and the same with `/mcp` behind it.
pub(super) async fn resource(State(door): State<Door>) -> Response {
    kept(json!({
        "resource": door.places.resource(),
        "resource_name": "Dunet",
        "authorization_servers": [door.places.issuer()],
        "scopes_supported": door.oauth.packs(),
        "bearer_methods_supported": ["header"],
    }))
}

/// `/.well-known/oauth-authorization-server`.
pub(super) async fn server(State(door): State<Door>) -> Response {
    let (places, with_secret) = (&door.places, ["client_secret_basic", "client_secret_post"]);
    let scopes: Vec<&str> = door.oauth.packs().iter().copied().chain([OFFLINE]).collect();
    kept(json!({
        "issuer": places.issuer(),
        "authorization_endpoint": places.at(places::AUTHORIZE),
        "token_endpoint": places.at(TOKEN_PATH),
        "registration_endpoint": places.at(REGISTER_PATH),
        "revocation_endpoint": places.at(REVOKE_PATH),
        "introspection_endpoint": places.at(INTROSPECT_PATH),
        "scopes_supported": scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "token_endpoint_auth_methods_supported": ["none", with_secret[0], with_secret[1]],
        "revocation_endpoint_auth_methods_supported": ["none", with_secret[0], with_secret[1]],
        "introspection_endpoint_auth_methods_supported": with_secret,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "client_id_metadata_document_supported": true,
        "protected_resources": [places.resource()],
        "ui_locales_supported": ["es-DO", "en"],
    }))
}

fn kept(document: Value) -> Response {
    ([(header::CACHE_CONTROL, KEPT)], Json(document)).into_response()
}
