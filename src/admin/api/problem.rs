//! Failures as `application/problem+json`: one match from what went wrong to status and sentence, logged once, with the request's id and the
//! fields that are wrong. Handlers give an [`ApiError`]; the layer writes it, also for what axum refuses by itself.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::{PartialSchema, ToSchema};

use crate::http::request_id;

/// The type of a failure's body.
pub(super) const KIND: &str = "application/problem+json";

/// What went wrong with a request (RFC 9457).
#[derive(Serialize, ToSchema)]
struct Problem {
    /// Always `about:blank`: the status says which kind it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// What went wrong and what to do.
    detail: String,
    /// The request's id, as in the log.
    request_id: String,
    /// The fields that are wrong.
    faults: Vec<Fault>,
}

/// What is wrong with a field.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Fault {
    /// Which.
    field: String,
    /// What is wrong with it.
    detail: String,
}

impl Fault {
    pub(super) fn new(field: &str, detail: impl Into<String>) -> Self {
        Self { field: field.to_owned(), detail: detail.into() }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum ApiError {
    /// There is no such thing.
    NotFound,
    /// Nobody, or not any more.
    Unauthorized,
    /// Signed in, but no operator.
    Forbidden,
    /// By a session without the token of its pages.
    Csrf,
    /// Not of the shape that the document says.
    Malformed(String),
    /// Fields that are not acceptable.
    Faults(Vec<Fault>),
    /// Not JSON.
    WrongType,
    /// Somebody else changed it meanwhile.
    Stale,
    /// It is not in a state in which that can be done; what to do.
    Conflict(String),
    /// Too often; seconds to wait.
    TooMany(u64),
    /// Too much to do at the moment.
    Busy,
    /// Larger than a body may be.
    TooLarge,
    /// Took too long.
    TooSlow,
    /// Our own fault; the cause is for the log.
    Internal(anyhow::Error),
}

impl ApiError {
    /// Our own fault.
    pub(super) fn internal(cause: impl Into<anyhow::Error>) -> Self {
        Self::Internal(cause.into())
    }

    /// One field that is not acceptable.
    pub(super) fn fault(field: &str, detail: impl Into<String>) -> Self {
        Self::Faults(vec![Fault::new(field, detail)])
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::Csrf => StatusCode::FORBIDDEN,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Faults(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::WrongType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Stale | Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Unauthorized => "Send `Authorization: Bearer dunet_op_…` with a key that works; `dunet admin api-key make` makes one.".to_owned(),
            Self::Forbidden => "Only operators may use this.".to_owned(),
            Self::Csrf => "A request by session needs the header `x-csrf-token`, with the token of one of its pages, and must come from them.".to_owned(),
            Self::Malformed(what) | Self::Conflict(what) => what.clone(),
            Self::TooMany(wait_s) => format!("Too many keys that do not work came from this address: wait {wait_s} s."),
            Self::Faults(_) => "Some fields are not acceptable: see `faults`.".to_owned(),
            Self::Stale => "Somebody else changed it meanwhile. Read it again and send the change with its new `version`.".to_owned(),
            other => said(other.status()).to_owned(),
        }
    }
}

/// What is said of a status when there is nothing more to say.
fn said(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "There is no such thing.",
        StatusCode::METHOD_NOT_ALLOWED => "This path does not know that method.",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "Send the body as `application/json`.",
        StatusCode::PAYLOAD_TOO_LARGE => "The body is too large.",
        StatusCode::SERVICE_UNAVAILABLE => "There is too much to do at the moment. Try again in a few seconds.",
        StatusCode::GATEWAY_TIMEOUT => "It took too long. Try a smaller range.",
        status if status.is_client_error() => "The request is not one that the document describes.",
        _ => "Our own fault. Quote the request's id.",
    }
}

/// What the layer writes.
#[derive(Clone)]
struct Told {
    detail: String,
    faults: Vec<Fault>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Internal(cause) = &self {
            tracing::error!(error = format!("{cause:#}"), "a request of the operators' API failed");
        }
        let mut response = self.status().into_response();
        if let Self::TooMany(wait_s) = &self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*wait_s));
        }
        let detail = self.detail();
        response.extensions_mut().insert(Told { detail, faults: if let Self::Faults(faults) = self { faults } else { Vec::new() } });
        response
    }
}

/// Writes failures.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let id = request_id(request.extensions()).to_owned();
    let mut response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let told = response.extensions_mut().remove::<Told>().unwrap_or_else(|| Told { detail: said(status).to_owned(), faults: Vec::new() });
    let title = status.canonical_reason().unwrap_or_default();
    let problem = Problem { kind: "about:blank", title, status: status.as_u16(), detail: told.detail, request_id: id, faults: told.faults };
    let mut written = (status, axum::Json(&problem)).into_response();
    let headers = written.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(KIND));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"dunet operators\""));
    }
    for kept in [header::ALLOW, header::RETRY_AFTER] {
        if let Some(value) = response.headers().get(&kept) {
            headers.insert(kept, value.clone());
        }
    }
    written
}

/// How a failure is described in the document.
pub(super) fn schema() -> Value {
    let mut schema = serde_json::to_value(Problem::schema()).expect("a schema is JSON");
    // Small enough to stand where it is used.
    schema["properties"]["faults"]["items"] = serde_json::to_value(Fault::schema()).expect("as above");
    schema
}

/// Whatever is no route of ours.
pub(super) async fn not_found() -> ApiError {
    ApiError::NotFound
}

/// The answer to a panic; it has been logged where it happened.
pub(super) fn panicked() -> Response {
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

/// The answer to what took too long.
pub(super) fn too_slow() -> Response {
    ApiError::TooSlow.into_response()
}
