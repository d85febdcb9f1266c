//! What comes in, as types with `#[serde(deny_unknown_fields)]`: the query, the body, the ids of the path.

use std::str::FromStr;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::problem::ApiError;
use crate::admin::Portal;

/// A query.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let query = parts.uri.query().unwrap_or_default();
        // Databases take no NUL in texts.
        if query.contains("%00") {
            return Err(ApiError::Malformed("The query has a NUL in it.".to_owned()));
        }
        // `active=` says nothing: neither that it is so nor that it is not.
        if let Some((name, _)) = url::form_urlencoded::parse(query.as_bytes()).find(|(_, value)| value.is_empty()) {
            return Err(ApiError::Malformed(format!("The query: give {name} a value, or leave it away.")));
        }
        serde_html_form::from_str(query).map(Self).map_err(|error| ApiError::Malformed(format!("The query: {error}.")))
    }
}

/// A body of JSON.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Portal> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, portal: &Portal) -> Result<Self, Self::Rejection> {
        if !is_json(request.headers()) {
            return Err(ApiError::WrongType);
        }
        let bytes_max = portal.state().config.limits.form_bytes_max;
        let body = Limited::new(request.into_body(), bytes_max).collect().await;
        let body = body.map_err(|error| if error.is::<LengthLimitError>() { ApiError::TooLarge } else { ApiError::Malformed("The body broke off.".to_owned()) })?.to_bytes();
        if memchr::memmem::find(&body, b"\\u0000").is_some() {
            return Err(ApiError::Malformed("The body has a NUL in it.".to_owned()));
        }
        serde_json::from_slice(&body).map(Self).map_err(|error| ApiError::Malformed(format!("The body: {error}.")))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// A word of the path. What cannot be stored names nothing.
pub(super) fn word(text: &str) -> Result<&str, ApiError> {
    if text.contains('\0') { Err(ApiError::NotFound) } else { Ok(text) }
}

/// An id of the path: what is none names nothing.
pub(super) fn id<T: FromStr>(text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|_| ApiError::NotFound)
}
