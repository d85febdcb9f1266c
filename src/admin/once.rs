//! One act per form: a double click, or a form sent again by the browser, acts once and both get the same answer.
//!
//! Every rendered form carries a `form_key`. The first request with a key and a body runs, to its end even if the browser hangs up; whoever
//! sends the same again is given the redirect that came of it. A form that came back with faults did nothing and may be sent again.
//! Beside it: secrets that are shown once, on the page after the form.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use moka::future::Cache;
use ring::digest::{SHA256, digest};
use secrecy::SecretString;

use super::error::PageError;
use super::forms::Fields;
use super::{Cx, Portal, csrf};

/// The hidden field.
pub(super) const FIELD: &str = "form_key";
/// Acts remembered, and for how long.
const ACTS_MAX: u64 = 10_000;
const ACTS_FOR: Duration = Duration::from_secs(15 * 60);
/// Secrets kept for the next page, and for how long.
const REVEALS_MAX: u64 = 1_000;
const REVEALS_FOR: Duration = Duration::from_secs(5 * 60);

/// What was done with which form. Keyed by session, path and body: one session's forms are nobody else's.
pub(super) struct Once {
    acts: Cache<[u8; 32], Act>,
}

/// What came of it; none when nothing was done.
type Act = Option<Arc<HeaderMap>>;

impl Once {
    pub(super) fn new() -> Self {
        Self { acts: Cache::builder().max_capacity(ACTS_MAX).time_to_live(ACTS_FOR).build() }
    }
}

/// Runs a form once.
pub(super) async fn layer(State(portal): State<Portal>, cx: Cx, request: Request, next: Next) -> Response {
    let has_key = request.extensions().get::<Fields>().is_some_and(|fields| fields.get(FIELD).is_some_and(|key| !key.is_empty()));
    let Some(user) = cx.user().filter(|_| has_key) else { return next.run(request).await };
    let (parts, body) = request.into_parts();
    // In memory already: the CSRF layer has read it.
    let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else { return PageError::BadForm.into_response() };
    let key = act_key(user.session(), parts.uri.path(), &body);
    let again = move || Request::from_parts(parts.clone(), Body::from(body.clone()));
    let task = {
        let portal = portal.clone();
        let span = tracing::Span::current();
        tracing::Instrument::instrument(async move { act(&portal, key, again, next).await }, span)
    };
    portal.state().tasks.spawn(task).await.unwrap_or_else(|error| PageError::internal(error).into_response())
}

async fn act(portal: &Portal, key: [u8; 32], request: impl Fn() -> Request, next: Next) -> Response {
    let acts = &portal.inner.once.acts;
    let own: Mutex<Option<Response>> = Mutex::default();
    let run = async {
        let response = next.clone().run(request()).await;
        // Headers of a redirect are where to go and what to say there; a session's cookie never stands in a form with a key.
        let act = (response.status() == StatusCode::SEE_OTHER).then(|| Arc::new(response.headers().clone()));
        *own.lock().unwrap_or_else(PoisonError::into_inner) = Some(response);
        act
    };
    let act = acts.get_with(key, run).await;
    if act.is_none() {
        acts.invalidate(&key).await;
    }
    let own = own.into_inner().unwrap_or_else(PoisonError::into_inner);
    match (own, act) {
        (Some(own), _) => own,
        (None, Some(headers)) => {
            let mut response = StatusCode::SEE_OTHER.into_response();
            for name in [header::LOCATION, header::SET_COOKIE] {
                for value in headers.get_all(&name) {
                    response.headers_mut().append(name.clone(), value.clone());
                }
            }
            response
        }
        // The other one did nothing: this one is told what is wrong, too.
        (None, None) => next.run(request()).await,
    }
}

fn act_key(session: &str, path: &str, body: &Bytes) -> [u8; 32] {
    let mut text = format!("{}:{session}{}:{path}", session.len(), path.len()).into_bytes();
    text.extend_from_slice(body);
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, &text).as_ref());
    key
}

/// Secrets on their way to the page that shows them once.
pub(super) struct Reveals {
    kept: moka::sync::Cache<(String, String), SecretString>,
}

impl Reveals {
    pub(super) fn new() -> Self {
        Self { kept: moka::sync::Cache::builder().max_capacity(REVEALS_MAX).time_to_live(REVEALS_FOR).build() }
    }

    pub(super) fn keep(&self, session: &str, secret: SecretString) -> String {
        let word = csrf::seed_make();
        self.kept.insert((session.to_owned(), word.clone()), secret);
        word
    }

    pub(super) fn take(&self, session: &str, word: &str) -> Option<SecretString> {
        self.kept.remove(&(session.to_owned(), word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_once_and_to_one() {
        use secrecy::ExposeSecret;
        let reveals = Reveals::new();
        let word = reveals.keep("a", SecretString::from("s".to_owned()));
        assert!(reveals.take("b", &word).is_none(), "another session");
        assert_eq!(reveals.take("a", &word).unwrap().expose_secret(), "s");
        assert!(reveals.take("a", &word).is_none(), "twice");
    }

    #[test]
    fn forms_are_told_apart() {
        let body = |text: &'static str| Bytes::from_static(text.as_bytes());
        let key = act_key("s", "/a", &body("x=1"));
        assert_eq!(key, act_key("s", "/a", &body("x=1")));
        for other in [act_key("t", "/a", &body("x=1")), act_key("s", "/b", &body("x=1")), act_key("s", "/a", &body("x=2"))] {
            assert_ne!(key, other);
        }
    }
}
