//! What goes wrong, as pages: one match from failures to what is shown and what is logged, in the reader's language, with the request's id and
//! what to do. Handlers give a [`PageError`]; the layer makes it a page, also of what axum refuses by itself.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::{Cx, SIGN_IN_PATH};
use crate::domain::oauth::{Fault, OAuthError};
use crate::domain::statements::StatementError;
use crate::domain::tenants::TenantError;
use crate::domain::tokens::TokenError;
use crate::domain::users::UserError;

/// Why there is no page.
#[derive(Debug)]
pub enum PageError {
    /// There is no such thing, or it is somebody else's.
    NotFound,
    /// A one-time link that was used, has ended, or never was.
    LinkGone,
    /// A request to connect a program that cannot be answered; which sentence. The browser is not sent on: it is not known whose it is.
    NoConnection(&'static str),
    /// Signed in, but not for this.
    Forbidden,
    /// Nobody is signed in.
    SignInFirst,
    /// An operator without a second factor, where they must have one.
    SecondFactorFirst,
    /// Not sent by a page of ours, or by one of another session.
    Foreign,
    /// Not a form of ours.
    BadForm,
    /// Somebody else changed it meanwhile.
    Stale,
    /// Larger than a form may be.
    TooLarge,
    /// Too often; seconds to wait.
    TooMany(u64),
    /// Too much to do at the moment.
    Busy,
    /// Took too long.
    TooSlow,
    /// Our own fault; the cause is for the log.
    Internal(anyhow::Error),
}

impl PageError {
    /// Our own fault.
    pub(super) fn internal(cause: impl Into<anyhow::Error>) -> Self {
        Self::Internal(cause.into())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::LinkGone => StatusCode::NOT_FOUND,
            Self::Forbidden | Self::SecondFactorFirst | Self::Foreign => StatusCode::FORBIDDEN,
            Self::SignInFirst => StatusCode::UNAUTHORIZED,
            Self::BadForm | Self::NoConnection(_) => StatusCode::BAD_REQUEST,
            Self::Stale => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooSlow => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The sentences: `portal.errors.<key>.title` and `.text`.
    fn key(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::LinkGone => "link_gone",
            Self::NoConnection(key) => key,
            Self::Forbidden => "forbidden",
            Self::SignInFirst => "sign_in_first",
            Self::SecondFactorFirst => "second_factor_first",
            Self::Foreign => "foreign",
            Self::BadForm => "bad_form",
            Self::Stale => "stale",
            Self::TooLarge => "too_large",
            Self::TooMany(_) => "too_many",
            Self::Busy => "busy",
            Self::TooSlow => "too_slow",
            Self::Internal(_) => "internal",
        }
    }
}

impl From<UserError> for PageError {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Unknown("link") => Self::LinkGone,
            UserError::Unknown(_) => Self::NotFound,
            // A page that can show it beside the field does not come here.
            UserError::Invalid { .. } => Self::BadForm,
            UserError::Stale => Self::Stale,
            UserError::Busy => Self::Busy,
            other @ (UserError::Db(_) | UserError::Vault(_) | UserError::Machine(_)) => Self::internal(other),
        }
    }
}

impl From<TenantError> for PageError {
    fn from(error: TenantError) -> Self {
        match error {
            TenantError::Unknown(_) => Self::NotFound,
            TenantError::Stale => Self::Stale,
            TenantError::UnknownPlan(_) | TenantError::TooManyTools { .. } | TenantError::Invalid(_) => Self::BadForm,
            other @ (TenantError::Vault(_) | TenantError::Db(_)) => Self::internal(other),
        }
    }
}

impl From<TokenError> for PageError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Unknown(_) => Self::NotFound,
            TokenError::Invalid(_) => Self::BadForm,
            TokenError::Tenant(tenant) => tenant.into(),
            other @ TokenError::Db(_) => Self::internal(other),
        }
    }
}

impl From<OAuthError> for PageError {
    fn from(error: OAuthError) -> Self {
        match error {
            OAuthError::Unknown("request") => Self::NoConnection("connect_gone"),
            OAuthError::Unknown(_) => Self::NotFound,
            // A page that can show it does not come here.
            OAuthError::Refused { fault: Fault::InvalidClient, .. } => Self::NoConnection("connect_program"),
            OAuthError::Refused { .. } => Self::BadForm,
            OAuthError::Tenant(tenant) => tenant.into(),
            other @ (OAuthError::Db(_) | OAuthError::Machine(_)) => Self::internal(other),
        }
    }
}

impl From<StatementError> for PageError {
    fn from(error: StatementError) -> Self {
        match error {
            StatementError::Unknown => Self::NotFound,
            // A page that can show them does not come here.
            StatementError::Running | StatementError::NoRate | StatementError::NotClosed | StatementError::Invalid(_) => Self::BadForm,
            other @ StatementError::Db(_) => Self::internal(other),
        }
    }
}

/// What the layer makes a page of.
#[derive(Clone, Copy, Debug)]
struct Problem(&'static str);

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        if let Self::Internal(cause) = &self {
            tracing::error!(error = format!("{cause:#}"), "a page failed");
        }
        let mut response = self.status().into_response();
        if let Self::TooMany(seconds) = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Problem(self.key()));
        response
    }
}

/// Makes failures pages.
pub(super) async fn layer(cx: Cx, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    dress(&cx, response)
}

/// A failure as a page; anything else as it is.
pub(super) fn dress(cx: &Cx, response: Response) -> Response {
    let status = response.status();
    let key = match response.extensions().get::<Problem>() {
        Some(Problem(key)) => *key,
        // What axum refuses by itself, such as a method a page does not have. A handler that answers with a body has said what it wants.
        None if (status.is_client_error() || status.is_server_error()) && !response.headers().get(header::CONTENT_TYPE).is_some_and(is_own) => match status {
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::UNSUPPORTED_MEDIA_TYPE => "bad_form",
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            StatusCode::TOO_MANY_REQUESTS => "too_many",
            _ => "internal",
        },
        None => return response,
    };
    let retry_after = response.headers().get(header::RETRY_AFTER).cloned();
    let allow = response.headers().get(header::ALLOW).cloned();
    let view = ErrorView {
        code: status.as_u16(),
        key,
        wait_s: retry_after.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default(),
        request_id: &cx.inner.request_id,
        sign_in: SIGN_IN_PATH,
    };
    let mut page = match cx.page_with(status, "pages/error.html", &view) {
        Ok(page) => page,
        Err(PageError::Internal(cause)) => {
            tracing::error!(error = format!("{cause:#}"), "the page of a failure failed");
            status.into_response()
        }
        Err(_) => status.into_response(),
    };
    for (name, value) in [(header::RETRY_AFTER, retry_after), (header::ALLOW, allow)] {
        if let Some(value) = value {
            page.headers_mut().insert(name, value);
        }
    }
    page
}

#[derive(Serialize)]
struct ErrorView<'a> {
    code: u16,
    key: &'static str,
    wait_s: &'a str,
    request_id: &'a str,
    sign_in: &'static str,
}

fn is_own(kind: &HeaderValue) -> bool {
    // axum's own refusals are plain text.
    kind.to_str().is_ok_and(|kind| kind.starts_with("text/html") || kind.starts_with("application/"))
}

/// Whatever is no page of ours.
pub(super) async fn not_found() -> PageError {
    PageError::NotFound
}

/// The answer to a panic; it has been logged where it happened.
pub(super) fn panicked() -> Response {
    let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
    response.extensions_mut().insert(Problem("internal"));
    response
}

/// The answer to a page that took too long.
pub(super) fn too_slow() -> Response {
    PageError::TooSlow.into_response()
}
