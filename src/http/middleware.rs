//! Middleware that costs what it does.
//!
//! axum's `from_fn` is as easy to write, but boxes the service behind it for every request and clones all that is behind that: ten of them took
//! an eighth of a call's time. Here a layer is a type with one method, and passing through it is one count and one box.
//!
//! For the way every call of an agent takes. Where a request costs a database query anyway, `from_fn` is fine.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use tower::{Layer, Service};

/// What happens to a request on its way in, and to its answer on the way out.
pub trait Middleware: Send + Sync + 'static {
    /// Handles a request; to let it pass, runs `next` with it.
    fn handle(&self, request: Request, next: impl Next) -> impl Future<Output = Response> + Send;
}

/// What is behind a middleware.
pub trait Next: Send {
    /// Lets the request pass.
    fn run(self, request: Request) -> impl Future<Output = Response> + Send;
}

/// The layer of a middleware.
#[derive(Debug)]
pub struct Around<M>(Arc<M>);

impl<M> Around<M> {
    /// Of that middleware.
    pub fn new(middleware: M) -> Self {
        Self(Arc::new(middleware))
    }
}

impl<M> Clone for Around<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M, S> Layer<S> for Around<M> {
    type Service = Surrounded<M, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Surrounded(Arc::new((Arc::clone(&self.0), inner)))
    }
}

/// A service behind a middleware. For services that are always ready, as axum's are.
#[derive(Debug)]
pub struct Surrounded<M, S>(Arc<(Arc<M>, S)>);

impl<M, S> Clone for Surrounded<M, S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M, S> Service<Request> for Surrounded<M, S>
where
    M: Middleware,
    S: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Response: IntoResponse,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let both = Arc::clone(&self.0);
        Box::pin(async move {
            let (middleware, inner) = &*both;
            Ok(middleware.handle(request, Inner(inner)).await)
        })
    }
}

struct Inner<'a, S>(&'a S);

impl<S> Next for Inner<'_, S>
where
    S: Service<Request, Error = Infallible> + Clone + Send + Sync,
    S::Response: IntoResponse,
    S::Future: Send,
{
    async fn run(self, request: Request) -> Response {
        // What `oneshot` does, without moving the request about.
        let mut service = self.0.clone();
        let answered = match poll_fn(|cx| service.poll_ready(cx)).await {
            Ok(()) => service.call(request).await,
            Err(never) => match never {},
        };
        match answered {
            Ok(response) => response.into_response(),
            Err(never) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::routing::get;
    use tower::{ServiceBuilder, ServiceExt};

    struct Mark(&'static str);

    impl Middleware for Mark {
        async fn handle(&self, mut request: Request, next: impl Next) -> Response {
            if request.uri().path() == self.0 {
                return StatusCode::IM_A_TEAPOT.into_response();
            }
            request.headers_mut().append("seen", self.0.parse().unwrap());
            let mut response = next.run(request).await;
            response.headers_mut().append("left", self.0.parse().unwrap());
            response
        }
    }

    #[tokio::test]
    async fn requests_go_in_and_answers_come_out_in_order() {
        let seen = async |request: Request| request.headers().get_all("seen").iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ");
        let app = Router::new().fallback(get(seen)).layer(ServiceBuilder::new().layer(Around::new(Mark("/a"))).layer(Around::new(Mark("/b"))));
        let response = app.clone().oneshot(Request::get("/x").body(Body::empty()).unwrap()).await.unwrap();
        let left: Vec<_> = response.headers().get_all("left").iter().cloned().collect();
        assert_eq!(left, ["/b", "/a"]);
        assert_eq!(axum::body::to_bytes(response.into_body(), 100).await.unwrap(), "/a /b");
        let stopped = app.oneshot(Request::get("/b").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!((stopped.status(), stopped.headers().get_all("left").iter().count()), (StatusCode::IM_A_TEAPOT, 1));
    }
}
