//! What every request is put into, whichever door it is for: an id, a span with the trace it belongs to, the client's address, a count, and the
//! headers that every answer carries.
//!
//! One middleware, not eight: each of them was a few lines, and together they cost more than they did.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use ipnet::IpNet;
use tracing::Instrument;

use super::client_address::{self, ClientAddress};
use super::middleware::{Middleware, Next};
use super::trace_context::RequestTrace;
use crate::clock::instant;
use crate::metrics::{Metrics, method_label, path_label};
use crate::telemetry::REQUEST_TARGET;

/// The header under which a request's id is sent back.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that every answer carries, unless it has its own.
static SECURITY_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// The id of a request: ours, never what a client sends under that name, so that logs can be trusted.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    fn new() -> Self {
        let mut buffer = uuid::Uuid::encode_buffer();
        let text = uuid::Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
        // Hexadecimal digits and hyphens are a header's value.
        Self(HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("")))
    }

    /// For logs and answers.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Puts every request into its envelope: into its extensions go its [`RequestId`], its [`RequestTrace`] and the [`ClientAddress`].
pub struct Envelope {
    metrics: Metrics,
    trusted_proxies: Arc<Vec<IpNet>>,
}

impl Envelope {
    /// Counts in `metrics`; believes these proxies about the client's address.
    #[must_use]
    pub fn new(metrics: Metrics, trusted_proxies: Arc<Vec<IpNet>>) -> Self {
        Self { metrics, trusted_proxies }
    }
}

impl Middleware for Envelope {
    async fn handle(&self, mut request: Request, next: impl Next) -> Response {
        let id = RequestId::new();
        let (method, path) = (method_label(request.method().as_str()), path_label(request.uri().path()));
        let span = span(id.as_str(), method, path);
        let mut counting = Counting { metrics: &self.metrics, path, method, status: None };
        let trace = RequestTrace::new(span.clone(), request.headers());
        let address = client_address::of(&request, &self.trusted_proxies);
        request.headers_mut().remove(&REQUEST_ID);
        let extensions = request.extensions_mut();
        extensions.insert(id.clone());
        extensions.insert(trace.clone());
        extensions.insert(ClientAddress(address));
        let answer = async {
            let began = instant();
            let mut response = next.run(request).await;
            // What no door noted is noted here, for the requests that are refused early.
            trace.note(None);
            seal(response.headers_mut(), id);
            tracing::debug!(http.status = response.status().as_u16(), total_us = began.elapsed().as_micros(), "answered");
            response
        };
        let response = answer.instrument(span).await;
        counting.status = Some(response.status().as_u16());
        response
    }
}

/// A span per request; never headers, never bodies, and of the address only which route of ours it is: in a path or a query there may be a
/// token that was put there by mistake. What is found out later is filled in: the tenant by authentication, the trace by the door.
fn span(id: &str, method: &'static str, path: &'static str) -> tracing::Span {
    // At the level of an error, so that errors carry it even where nothing else is logged.
    tracing::error_span!(
        target: REQUEST_TARGET,
        "request",
        request.id = id,
        http.method = method,
        http.path = path,
        tenant.id = tracing::field::Empty,
        trace.id = tracing::field::Empty,
        trace.parent = tracing::field::Empty,
    )
}

fn seal(headers: &mut HeaderMap, id: RequestId) {
    headers.insert(&REQUEST_ID, id.0);
    for (name, value) in &SECURITY_HEADERS {
        headers.entry(name).or_insert_with(|| value.clone());
    }
}

/// Counts a request by route, method and status; also one whose client hangs up.
struct Counting<'a> {
    metrics: &'a Metrics,
    path: &'static str,
    method: &'static str,
    status: Option<u16>,
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        self.metrics.http_request(self.path, self.method, self.status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_keeps_its_own_headers() {
        let mut headers = HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static("max-age=1"))]);
        let (one, two) = (RequestId::new(), RequestId::new());
        assert!(one.as_str().len() == 36 && one.as_str() != two.as_str());
        seal(&mut headers, one.clone());
        assert_eq!(headers[header::CACHE_CONTROL], "max-age=1");
        assert_eq!((&headers[header::X_CONTENT_TYPE_OPTIONS], headers[&REQUEST_ID].to_str().unwrap()), (&HeaderValue::from_static("nosniff"), one.as_str()));
    }
}
