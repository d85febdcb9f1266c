//! Maintenance: while the operator has a sentence for it, agents are told that and nothing else, whoever they are. Nobody is authenticated,
//! nothing is run and nothing counted; a write that is under way ends as always.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::json_rpc;
use crate::domain::settings::SettingsStore;
use crate::http::middleware::{Middleware, Next};

/// When agents may look again.
const RETRY_AFTER_S: u64 = 120;

/// Answers with the operator's sentence (503) while there is one.
pub(super) struct Maintenance(pub(super) SettingsStore);

impl Middleware for Maintenance {
    async fn handle(&self, request: Request, next: impl Next) -> Response {
        let settings = self.0.get();
        let Some(sentence) = &settings.maintenance else { return next.run(request).await };
        // One line: hosts show it in a list of servers.
        let sentence = sentence.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        let message = format!("Servicio en mantenimiento: {sentence} / Service under maintenance: {sentence}");
        let mut response = json_rpc::error(StatusCode::SERVICE_UNAVAILABLE, &Value::Null, json_rpc::UNAVAILABLE, &message, Some(json!({ "retry_after_s": RETRY_AFTER_S })));
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        response
    }
}
