//! Host and Origin. rmcp has the same checks; they are done here so that the answer is JSON-RPC and comes before authentication.

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::Value;

use super::json_rpc;
use crate::http::middleware::{Middleware, Next};
use crate::http::names::{Allowed, authority};

/// Refuses foreign hosts and origins with 403.
#[derive(Clone, Debug)]
pub(super) struct Gate(pub(super) Allowed);

impl Middleware for Gate {
    async fn handle(&self, request: Request, next: impl Next) -> Response {
        if !self.0.host(authority(request.headers(), request.uri())) {
            return refuse("this host is not served here: call the public address of the service");
        }
        if let Some(origin) = request.headers().get(header::ORIGIN)
            && !origin.to_str().is_ok_and(|origin| self.0.origin(origin))
        {
            return refuse("this origin may not call: the operator can add it to DUNET_ALLOWED_ORIGINS");
        }
        next.run(request).await
    }
}

fn refuse(message: &str) -> Response {
    json_rpc::error(StatusCode::FORBIDDEN, &Value::Null, json_rpc::FORBIDDEN, message, None)
}
