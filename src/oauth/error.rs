//! Refusals in the form of RFC 6749 §5.2 and RFC 7591 §3.2.2, mapped and logged once.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::domain::oauth::{Fault, OAuthError};

/// A refusal on its way out.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: &'static str,
    about: &'static str,
    /// The program used the header: RFC 6749 §5.2 wants a challenge.
    basic: bool,
}

impl Refusal {
    pub(super) fn new(fault: Fault, about: &'static str) -> Self {
        let status = match fault {
            Fault::InvalidClient => StatusCode::UNAUTHORIZED,
            Fault::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Fault::InvalidRequest
            | Fault::InvalidGrant
            | Fault::UnauthorizedClient
            | Fault::UnsupportedGrantType
            | Fault::InvalidScope
            | Fault::InvalidTarget
            | Fault::InvalidRedirectUri
            | Fault::InvalidClientMetadata => StatusCode::BAD_REQUEST,
        };
        Self { status, error: fault.as_str(), about, basic: false }
    }

    /// Of a program that used the header, or did not.
    pub(super) fn of(self, basic: bool) -> Self {
        Self { basic, ..self }
    }
}

impl From<OAuthError> for Refusal {
    fn from(error: OAuthError) -> Self {
        match error {
            OAuthError::Refused { fault, about } => Self::new(fault, about),
            OAuthError::Unknown(_) => Self::new(Fault::InvalidGrant, "there is no such thing"),
            other @ (OAuthError::Tenant(_) | OAuthError::Db(_) | OAuthError::Machine(_)) => {
                tracing::error!(error = %other, "a program could not be answered");
                Self { status: StatusCode::INTERNAL_SERVER_ERROR, error: "server_error", about: "this failed on our side: try again in a moment", basic: false }
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "error": self.error, "error_description": self.about }))).into_response();
        if self.status == StatusCode::UNAUTHORIZED && self.basic {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"dunet\""));
        }
        response
    }
}

/// The answer to an address that asks too often.
pub(super) fn too_many(wait_s: Option<u64>) -> Response {
    let body = Json(json!({ "error": "temporarily_unavailable", "error_description": "too many requests from this address: wait" }));
    let mut response = (StatusCode::TOO_MANY_REQUESTS, body).into_response();
    if let Some(seconds) = wait_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
