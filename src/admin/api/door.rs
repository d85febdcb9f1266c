//! Who may: an operator's API key, or an operator's session of the portal. Only under our own names.
//!
//! Keys that do not work are limited by address, good ones of the same address are not. A key is sent on purpose; a browser sends a cookie by itself. So what acts by session needs the CSRF token of its pages too.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::ApiError;
use crate::admin::{Portal, cookies, csrf};
use crate::http::limiter::Limiter;
use crate::http::names::authority;

/// Proof that an operator, or a program of theirs, asks.
pub(super) use crate::domain::users::AnyOperator as By;

/// The door, and how often an address may try a wrong key.
#[derive(Clone)]
pub(super) struct Door {
    portal: Portal,
    wrong_keys: Limiter,
}

impl Door {
    pub(super) fn new(portal: &Portal, failed_per_minute: u32) -> Self {
        Self { portal: portal.clone(), wrong_keys: Limiter::new(failed_per_minute, refused) }
    }
}

/// A wrong key is counted by hand ([`Limiter::take`]); the layer, which answers this, is put before nothing here.
fn refused(wait_s: Option<u64>) -> Response {
    wait_s.map_or_else(|| ApiError::internal(anyhow::anyhow!("the limiter failed")), ApiError::TooMany).into_response()
}

/// Lets in who may, with the proof.
pub(super) async fn layer(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let portal = &door.portal;
    let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
    match let_in(portal, &method, &uri, &headers).await {
        Ok(by) => {
            request.extensions_mut().insert(by);
            next.run(request).await
        }
        Err(ApiError::Unauthorized) if headers.contains_key(header::AUTHORIZATION) => {
            door.wrong_keys.take(&request).map_or_else(ApiError::TooMany, |()| ApiError::Unauthorized).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

async fn let_in(portal: &Portal, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<By, ApiError> {
    let state = portal.state();
    if !portal.inner.names.host(authority(headers, uri)) {
        return Err(ApiError::NotFound);
    }
    let mut signed = headers.get_all(header::AUTHORIZATION).iter();
    if let Some(sent) = signed.next() {
        // A key that does not work is not made up for by a cookie, and two are one too many.
        let key = sent.to_str().ok().and_then(bearer).filter(|_| signed.next().is_none()).ok_or(ApiError::Unauthorized)?;
        return state.operator_keys.verify(key).await.map_err(ApiError::internal)?.map(By::Key).ok_or(ApiError::Unauthorized);
    }
    let cookie = cookies::find(headers, portal.inner.cookies.session).ok_or(ApiError::Unauthorized)?;
    let user = state.users.session_find(&cookie).await.map_err(ApiError::internal)?.ok_or(ApiError::Unauthorized)?;
    let operator = user.operator().ok_or(ApiError::Forbidden)?;
    let safe = matches!(*method, Method::GET | Method::HEAD);
    if !safe && !csrf::header_fits(portal, headers, authority(headers, uri), &cookie) {
        return Err(ApiError::Csrf);
    }
    Ok(By::Session(operator))
}

/// What stands after `Bearer`.
fn bearer(sent: &str) -> Option<&str> {
    let (scheme, key) = sent.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::internal(anyhow::anyhow!("a route stands outside of the door")).into_response())
    }
}
