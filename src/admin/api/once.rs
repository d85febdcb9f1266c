//! One act per `Idempotency-Key`: a program that did not hear the answer sends the same request with the same key again, and it is done once.
//!
//! Keys are those of whoever signs (a key, a person). The first request runs to its end even if its sender hangs up; the same again within
//! [`ACTS_FOR`] is given the same answer. An answer that shows a secret is not kept: whoever asks again is told that it was done. A refused
//! request did nothing and may be sent again. Held in memory, like the portal's forms (`admin/once.rs`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use moka::future::Cache;
use ring::digest::{Context, SHA256};

use super::door::By;
use super::problem::ApiError;
use crate::admin::Portal;

/// The header.
pub(super) const HEADER: &str = "idempotency-key";
/// The longest key, bytes.
const KEY_BYTES_MAX: usize = 100;
/// Acts remembered, and for how long.
const ACTS_MAX: u64 = 2_000;
const ACTS_FOR: Duration = Duration::from_secs(15 * 60);
/// Larger answers are not kept, bytes; those of acts are far smaller.
const ANSWER_BYTES_MAX: usize = 65_536;

/// Marks an answer that shows a secret this once.
#[derive(Clone, Copy)]
pub(super) struct ShownOnce;

/// What was done with which key.
#[derive(Clone)]
pub(super) struct Once {
    portal: Portal,
    acts: Cache<[u8; 32], Act>,
}

/// What came of it; none when nothing was done.
type Act = Option<Arc<Done>>;

struct Done {
    /// Of method, path and body.
    request: [u8; 32],
    status: StatusCode,
    kind: Option<HeaderValue>,
    /// None when it showed a secret.
    body: Option<Bytes>,
}

impl Once {
    pub(super) fn new(portal: &Portal) -> Self {
        Self { portal: portal.clone(), acts: Cache::builder().max_capacity(ACTS_MAX).time_to_live(ACTS_FOR).build() }
    }
}

/// Runs a request with a key once.
pub(super) async fn layer(State(once): State<Once>, by: By, request: Request, next: Next) -> Response {
    let key = match key(request.headers()) {
        Ok(Some(key)) if !matches!(*request.method(), Method::GET | Method::HEAD) => key,
        Ok(_) => return next.run(request).await,
        Err(refusal) => return refusal.into_response(),
    };
    let (parts, body) = request.into_parts();
    let bytes_max = once.portal.state().config.limits.form_bytes_max;
    let body = match Limited::new(body, bytes_max).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return ApiError::TooLarge.into_response(),
        Err(_) => return ApiError::Malformed("The body broke off.".to_owned()).into_response(),
    };
    let act = hash(&[by.actor().0.as_bytes(), key.as_bytes()]);
    let same = hash(&[parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), &body]);
    let request = Request::from_parts(parts, Body::from(body));
    let tasks = once.portal.state().tasks.clone();
    let task = tracing::Instrument::instrument(async move { run(&once, act, same, request, next).await }, tracing::Span::current());
    tasks.spawn(task).await.unwrap_or_else(|error| ApiError::internal(error).into_response())
}

async fn run(once: &Once, act: [u8; 32], same: [u8; 32], request: Request, next: Next) -> Response {
    let own: Mutex<Option<Response>> = Mutex::default();
    let first = async {
        let (response, done) = done(same, next.run(request).await).await;
        *own.lock().unwrap_or_else(PoisonError::into_inner) = Some(response);
        done
    };
    let came = once.acts.get_with(act, first).await;
    if came.is_none() {
        once.acts.invalidate(&act).await;
    }
    match (own.into_inner().unwrap_or_else(PoisonError::into_inner), came) {
        (Some(own), _) => own,
        (None, Some(done)) if done.request != same => ApiError::fault(HEADER, "This key was used with another request: make a new one for each act.").into_response(),
        (None, Some(done)) => done.again(),
        (None, None) => ApiError::Conflict("The same key is in use and that request came to nothing. Send it again.".to_owned()).into_response(),
    }
}

/// The answer, and what is remembered of it.
async fn done(request: [u8; 32], response: Response) -> (Response, Act) {
    if !response.status().is_success() {
        return (response, None);
    }
    let (parts, body) = response.into_parts();
    let body = match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return (ApiError::Internal(anyhow::anyhow!("an answer cannot be kept: {error}")).into_response(), None),
    };
    let kept = parts.extensions.get::<ShownOnce>().is_none().then(|| body.clone());
    let done = Done { request, status: parts.status, kind: parts.headers.get(header::CONTENT_TYPE).cloned(), body: kept };
    (Response::from_parts(parts, Body::from(body)), Some(Arc::new(done)))
}

impl Done {
    fn again(&self) -> Response {
        let Some(body) = &self.body else {
            return ApiError::Conflict("This was done already. What it showed is shown once: make another if it was lost.".to_owned()).into_response();
        };
        let mut response = (self.status, Body::from(body.clone())).into_response();
        let headers = response.headers_mut();
        if let Some(kind) = &self.kind {
            headers.insert(header::CONTENT_TYPE, kind.clone());
        }
        headers.insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
        response
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut sent = headers.get_all(HEADER).iter();
    let Some(key) = sent.next() else { return Ok(None) };
    let text = key.to_str().ok().filter(|text| (1..=KEY_BYTES_MAX).contains(&text.len()) && sent.next().is_none());
    text.map(|text| Some(text.to_owned())).ok_or_else(|| ApiError::fault(HEADER, format!("Give one key of 1 to {KEY_BYTES_MAX} plain characters.")))
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        assert_eq!(hash(&[b"a", b"b"]), hash(&[b"a", b"b"]));
        for other in [[b"ab".as_slice(), b""], [b"", b"ab"], [b"b", b"a"]] {
            assert_ne!(hash(&[b"a", b"b"]), hash(&other));
        }
    }

    #[test]
    fn a_key_is_one_plain_text() {
        let with = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, value.parse().unwrap());
            }
            key(&headers).map_err(|_| ())
        };
        assert_eq!((with(&[]), with(&["a-1"])), (Ok(None), Ok(Some("a-1".to_owned()))));
        for bad in [["", ""].as_slice(), &[""], &["a", "b"], &[&"x".repeat(101)]] {
            assert_eq!(with(bad), Err(()));
        }
    }
}
