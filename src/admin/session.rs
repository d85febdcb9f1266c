//! The session layer: refuses names that are not ours, finds out who comes, and makes the request's [`Cx`].

use std::sync::{Arc, OnceLock};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;

use super::cx::{CxInner, Flash};
use super::error::{self, PageError};
use super::{Cx, Portal, cookies, csrf};
use crate::domain::users::{SessionFrom, User};
use crate::http::client_address::ClientAddress;
use crate::http::names::authority;
use crate::http::{not_found, request_id};
use crate::text::Language;

/// Makes the request's [`Cx`].
pub(super) async fn layer(State(portal): State<Portal>, mut request: Request, next: Next) -> Response {
    if !portal.inner.names.host(authority(request.headers(), request.uri())) {
        // Nothing here under that name, not even a page that says so.
        return not_found().await.into_response();
    }
    let names = &portal.inner.cookies;
    let cookie = cookies::find(request.headers(), names.session);
    let (user, fault) = match &cookie {
        Some(cookie) => match portal.state().users.session_find(cookie).await {
            Ok(user) => (user, None),
            Err(fault) => (None, Some(fault)),
        },
        None => (None, None),
    };
    // Forms are tied to the session, or to the visitor who has none yet.
    let visitor = cookies::find(request.headers(), names.visitor).filter(|visitor| csrf::seed_shaped(visitor));
    let mut visitor_new = None;
    let seed = match (&user, &cookie) {
        (Some(_), Some(cookie)) => cookie.clone(),
        _ => visitor.unwrap_or_else(|| visitor_new.insert(csrf::seed_make()).clone()),
    };
    let set_visitor = visitor_new.map(|visitor| names.set(names.visitor, &visitor, None));
    let flash = cookies::find(request.headers(), names.flash).and_then(|cookie| Flash::parse(&cookie));
    let cx = cx(portal.clone(), &request, user, cookie, csrf::token(&seed), flash);
    let mut response = match fault {
        // Whoever is signed in must not be sent to the door because the database is away.
        Some(fault) => error::dress(&cx, PageError::from(fault).into_response()),
        None => {
            request.extensions_mut().insert(cx);
            next.run(request).await
        }
    };
    if let Some(set) = set_visitor
        && response.status() != StatusCode::SEE_OTHER
    {
        response.headers_mut().append(header::SET_COOKIE, set);
    }
    response
}

fn cx(portal: Portal, request: &Request, user: Option<User>, cookie: Option<String>, csrf: String, flash: Option<Flash>) -> Cx {
    let headers = request.headers();
    let language = user.as_ref().map_or_else(|| preferred(headers), User::language);
    let from = SessionFrom {
        address: request.extensions().get::<ClientAddress>().map(|client| client.0.to_string()),
        agent: headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).map(str::to_owned),
        previous: cookie.map(SecretString::from),
    };
    let theme = match cookies::find(headers, "theme").as_deref() {
        Some("light") => Some("light"),
        Some("dark") => Some("dark"),
        _ => None,
    };
    let inner = CxInner {
        portal,
        user,
        language,
        csrf,
        path: request.uri().path().to_owned(),
        flash,
        theme,
        request_id: request_id(request.extensions()).to_owned(),
        from,
        waiting: OnceLock::new(),
    };
    Cx { inner: Arc::new(inner) }
}

/// The first language of the browser's list that we speak; Spanish when there is none.
fn preferred(headers: &HeaderMap) -> Language {
    let list = headers.get(header::ACCEPT_LANGUAGE).and_then(|list| list.to_str().ok()).unwrap_or_default();
    list.split(',').filter_map(|item| item.trim().get(..2)?.to_lowercase().parse().ok()).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_browsers_language_counts() {
        let of = |list: &'static str| preferred(&HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, HeaderValue::from_static(list))]));
        assert_eq!(of("en-US,en;q=0.9,es;q=0.8"), Language::En);
        assert_eq!(of("fr-FR,fr;q=0.9,en;q=0.8"), Language::En);
        assert_eq!(of("es-DO"), Language::Es);
        assert_eq!(of("*"), Language::Es);
        assert_eq!(preferred(&HeaderMap::new()), Language::Es);
    }
}
