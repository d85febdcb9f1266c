//! Who may: checked for every route by its line in the register, before the handler; and the extractors by which a handler gets the proof.
//! A handler that asks for a proof its line does not give fails for everybody, so that the two cannot drift apart.

use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::form_urlencoded;

use super::error::PageError;
use super::pages::second_factor;
use super::{Cx, PATH, SIGN_IN_PATH, Who, render};
use crate::domain::users::{Operator, TenantAccess, User};
use crate::ids::TenantId;

/// The parameter of a path that is a tenant's id.
const TENANT: &str = "id";
/// Where somebody may go who must set a second factor up first.
const PROFILE_PATH: &str = "/admin/profile";
const SIGN_OUT_PATH: &str = "/admin/salir";

/// Lets in who may, with the proof.
pub(super) async fn layer(State(who): State<Who>, cx: Cx, params: RawPathParams, mut request: Request, next: Next) -> Response {
    match let_in(who, &cx, &params, &mut request) {
        Ok(()) => {
            if let Some(tenant) = counted_for(&cx, &request) {
                count_waiting(&cx, tenant).await;
            }
            next.run(request).await
        }
        Err(PageError::SecondFactorFirst) if matches!(*request.method(), Method::GET | Method::HEAD) => {
            (StatusCode::SEE_OTHER, [(header::LOCATION, second_factor::PATH)]).into_response()
        }
        Err(PageError::SignInFirst) if matches!(*request.method(), Method::GET | Method::HEAD) => to_sign_in(&request),
        Err(refusal) => refusal.into_response(),
    }
}

/// The tenant whose menu the answer shows, if it is a page.
fn counted_for(cx: &Cx, request: &Request) -> Option<TenantId> {
    let streams = request.headers().get(header::ACCEPT).is_some_and(|accept| accept.as_bytes() == b"text/event-stream");
    let page = request.method() == Method::GET && !streams;
    cx.user().filter(|_| page).and_then(|user| render::menu_tenant(request.uri().path(), user))
}

/// What the menu shows. A page without a number is better than none.
async fn count_waiting(cx: &Cx, tenant: TenantId) {
    match cx.state().approvals.count(tenant).await {
        // Set once: a request passes here once.
        Ok(count) => drop(cx.inner.waiting.set(count)),
        Err(error) => tracing::warn!(%error, "the writes that wait could not be counted"),
    }
}

fn let_in(who: Who, cx: &Cx, params: &RawPathParams, request: &mut Request) -> Result<(), PageError> {
    if who == Who::Anyone {
        return Ok(());
    }
    let user = cx.user().ok_or(PageError::SignInFirst)?;
    // Their own account and the way out, and nothing else.
    let path = request.uri().path();
    if user.must_enrol() && path != SIGN_OUT_PATH && path != PROFILE_PATH && !path.starts_with(&format!("{PROFILE_PATH}/")) {
        return Err(PageError::SecondFactorFirst);
    }
    match who {
        Who::Anyone | Who::SignedIn => {}
        Who::Operator => {
            request.extensions_mut().insert(user.operator().ok_or(PageError::Forbidden)?);
        }
        Who::Tenant | Who::TenantOwner => {
            let id = params.iter().find(|(name, _)| *name == TENANT).and_then(|(_, id)| id.parse::<TenantId>().ok()).ok_or(PageError::NotFound)?;
            let access = user.access(id).ok_or(PageError::NotFound)?;
            if who == Who::TenantOwner && !access.may_change() {
                return Err(PageError::Forbidden);
            }
            tracing::Span::current().record("tenant.id", tracing::field::display(id));
            request.extensions_mut().insert(access);
        }
    }
    request.extensions_mut().insert(user.clone());
    Ok(())
}

/// To the door, and afterwards back to where they wanted to go.
fn to_sign_in(request: &Request) -> Response {
    let wanted = request.uri().path_and_query().map_or(PATH, |path| path.as_str());
    let location = if wanted == PATH { SIGN_IN_PATH.to_owned() } else { format!("{SIGN_IN_PATH}?to={}", form_urlencoded::byte_serialize(wanted.as_bytes()).collect::<String>()) };
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

/// Where to go after signing in: a page of ours, never another site.
pub(super) fn local_path(wanted: &str) -> Option<&str> {
    let inside = wanted.strip_prefix(PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let plain = wanted.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') && !wanted.contains("//");
    (inside && plain && wanted.len() <= 500).then_some(wanted)
}

macro_rules! proof {
    ($($proof:ty),*) => {$(
        impl<S: Send + Sync> FromRequestParts<S> for $proof {
            type Rejection = PageError;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
                parts.extensions.get::<Self>().cloned().ok_or_else(|| PageError::internal(anyhow::anyhow!("the register does not give this page its {}", stringify!($proof))))
            }
        }
    )*};
}

proof!(User, Operator, TenantAccess);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_sent_back_to_our_own_pages_only() {
        for good in ["/admin", "/admin/clients?q=a%20b", "/admin?x=1"] {
            assert_eq!(local_path(good), Some(good));
        }
        for bad in ["", "/", "//evil.com", "https://evil.com", "/admin//evil.com", "/admin\\evil", "/administrator", "/admin/\n", "/admin/ñ", "/mcp", "javascript:alert(1)"] {
            assert_eq!(local_path(bad), None, "{bad}");
        }
    }
}
