//! CORS, for those who need it: a request without `Origin` comes from no browser's page and passes by.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::response::Response;
use futures::future::Either;
use tower::{Layer, Service};
use tower_http::cors::{AllowOrigin, Cors, CorsLayer};

use crate::http::HttpSettings;
use crate::http::names::Allowed;

/// Makes [`Browsers`] services.
#[derive(Clone)]
pub(super) struct BrowsersLayer(CorsLayer);

impl BrowsersLayer {
    /// For pages of the allowed origins.
    pub(super) fn new(settings: &HttpSettings) -> Self {
        Self(cors(settings))
    }
}

impl<S: Clone> Layer<S> for BrowsersLayer {
    type Service = Browsers<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Browsers { cors: self.0.layer(inner.clone()), inner }
    }
}

/// A service that pages of allowed origins may call. For services that are always ready.
#[derive(Clone)]
pub(super) struct Browsers<S> {
    cors: Cors<S>,
    inner: S,
}

impl<S> Service<Request> for Browsers<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    Cors<S>: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<<Cors<S> as Service<Request>>::Future, S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if request.headers().contains_key(header::ORIGIN) { Either::Left(self.cors.call(request)) } else { Either::Right(self.inner.call(request)) }
    }
}

fn cors(settings: &HttpSettings) -> CorsLayer {
    let allowed = Allowed::new(settings);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin: &HeaderValue, _| origin.to_str().is_ok_and(|origin| allowed.origin(origin))))
        .allow_methods([Method::POST, Method::GET, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            HeaderName::from_static("mcp-protocol-version"),
            HeaderName::from_static("mcp-method"),
            HeaderName::from_static("mcp-name"),
            HeaderName::from_static("mcp-session-id"),
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([header::WWW_AUTHENTICATE, HeaderName::from_static("mcp-session-id"), HeaderName::from_static("x-request-id")])
}
