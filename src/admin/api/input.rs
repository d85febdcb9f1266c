//! What comes in, as types with `#[serde(deny_unknown_fields)]`: the query, the body, the ids of the path.

use std::str::FromStr;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

use super::problem::ApiError;
use crate::admin::Portal;

/// Below this a binary fraction holds whole numbers exactly (2^53).
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

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
        // The fields in a row without their names would be taken for an object.
        if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(ApiError::Malformed("The body: send an object.".to_owned()));
        }
        read(&body).map(Self).map_err(|error| ApiError::Malformed(format!("The body: {error}.")))
    }
}

/// The body as its type. A whole number may be written `5.0`, as JSON Schema has it.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(body).or_else(|error| {
        let Ok(mut value) = serde_json::from_slice(body) else { return Err(error) };
        if whole(&mut value) { serde_json::from_value(value).map_err(|_| error) } else { Err(error) }
    })
}

/// Makes numbers whole that are; whether there was one.
fn whole(value: &mut Value) -> bool {
    match value {
        Value::Array(items) => items.iter_mut().fold(false, |changed, item| whole(item) | changed),
        Value::Object(members) => members.values_mut().fold(false, |changed, member| whole(member) | changed),
        Value::Number(number) if number.is_f64() => match number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < EXACT_MAX) {
            Some(exact) => {
                *number = Number::from(exact as i64);
                true
            }
            None => false,
        },
        _ => false,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        count: u32,
        name: Option<String>,
    }

    #[test]
    fn whole_numbers_are_whole_however_they_are_written() {
        let sample = |text: &str| read::<Sample>(text.as_bytes()).ok().map(|sample| sample.count);
        for good in [r#"{"count":5}"#, r#"{"count":5.0}"#, r#"{"count":5e0,"name":null}"#] {
            assert_eq!(sample(good), Some(5), "{good}");
        }
        for bad in [r#"{"count":5.5}"#, r#"{"count":-5.0}"#, r#"{"count":1e300}"#, r#"{"count":5.0,"other":1}"#, r#"{"count":"5"}"#, "{"] {
            assert_eq!(sample(bad), None, "{bad}");
        }
    }
}
