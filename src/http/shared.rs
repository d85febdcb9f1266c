//! A layer that makes cloning what is behind it cheap.
//!
//! axum's `from_fn` clones the service behind it for each request, boxes and all; a stack of ten of them clones ten, nine, eight … services. With
//! this between two of them each clones the next one only.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::util::Oneshot;
use tower::{Layer, Service, ServiceExt};

/// Makes [`Shared`] services.
#[derive(Clone, Copy, Debug, Default)]
pub struct SharedLayer;

/// A service behind one count. For services that are always ready, as axum's are.
#[derive(Debug)]
pub struct Shared<S>(Arc<S>);

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Layer<S> for SharedLayer {
    type Service = Shared<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Shared(Arc::new(inner))
    }
}

impl<S, R> Service<R> for Shared<S>
where
    S: Service<R, Error = Infallible> + Clone,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Oneshot<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        (*self.0).clone().oneshot(request)
    }
}
