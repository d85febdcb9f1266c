//! The connector doctor: whether programs would come through to this service by its public address.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::door::By;
use super::problem::ApiError;
use crate::admin::Portal;
use crate::admin::odoo_typed::EXAMINATION_S;
use crate::text::Language;
use crate::tools::connector::{Program, Step, Target, examine};

/// What came of going the way of Claude, ChatGPT and VS Code.
#[derive(Serialize, ToSchema)]
pub(super) struct Way {
    /// Whether all three come through.
    ok: bool,
    /// It took longer than 45 seconds and was given up.
    gave_up: bool,
    /// The steps in their order.
    steps: Vec<WayStep>,
}

/// A step of it.
#[derive(Serialize, ToSchema)]
struct WayStep {
    /// `address`, `challenge`, `resource`, `resource_root`, `server`, `unknown`, `token_door`, `methods`, `cors`; of each program `registration`,
    /// `authorize`, `token`, `verdict`.
    step: &'static str,
    /// As which program: `Claude`, `ChatGPT`, `VS Code`; absent for what all do alike.
    program: Option<&'static str>,
    /// `ok`, `warn` (it stops nobody), `bad`, or `off` (not tried).
    state: &'static str,
    /// What is wrong, as one word; of a `verdict`, the step at which the program stops.
    fault: Option<&'static str>,
    /// What was found.
    detail: String,
    /// What to do about it.
    remedy: Option<String>,
    /// Milliseconds.
    took_ms: u64,
}

/// Goes the way of Claude, ChatGPT and VS Code to this service. It registers three programs that are never used, as strangers may.
#[utoipa::path(post, path = "/admin/api/connector/test", tag = "settings", responses((status = 200, body = Way, description = "What came of it; a way that ends early is no failure of the request.")))]
pub(super) async fn connector_test(State(portal): State<Portal>, _: By) -> Result<Json<Way>, ApiError> {
    let target = Target::new(portal.inner.public_url.clone(), portal.state().config.allow_private_odoo);
    let mut steps = Vec::new();
    let mut each = |step: Step| {
        let Step { name, program, state, detail, fault, remedy, took_ms } = step;
        steps.push(WayStep { step: name, program: program.map(Program::as_str), state: state.as_str(), fault, detail, remedy, took_ms });
    };
    let end = tokio::time::timeout(Duration::from_secs(EXAMINATION_S), examine(&target, Language::En, &mut each)).await.ok();
    Ok(Json(Way { ok: end == Some(true), gave_up: end.is_none(), steps }))
}
