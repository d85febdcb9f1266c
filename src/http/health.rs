//! Health for load balancers.

use axum::Json;
use serde_json::{Value, json};

/// The process is alive.
pub async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}
