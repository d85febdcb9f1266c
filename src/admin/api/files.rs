//! Answers that are files of comma-separated values: formula-safe, UTF-8, sent while they are read.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// A file to be saved under that name.
pub(super) fn csv(name: &str, body: impl Into<Body>) -> Response {
    let mut response = ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], body.into()).into_response();
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"dunet-{name}.csv\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}
