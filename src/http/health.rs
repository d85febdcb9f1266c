//! Health: is the process alive (`/healthz`), and can it answer calls (`/readyz`).

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use moka::future::Cache;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::state::AppState;

/// How long a check is believed: a flood of questions is one question per second to the database.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// Longest wait for the database.
const DATABASE_MAX: Duration = Duration::from_secs(2);
/// More usage records than this waiting says that the database does not keep up.
const WAITING_RECORDS_MAX: u64 = 10_000;

/// The process is alive.
pub async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// What readiness is judged by. Cheap to clone.
#[derive(Clone)]
pub struct Readiness {
    state: AppState,
    stopping: CancellationToken,
    known: Cache<(), Checks>,
}

/// What was found.
#[derive(Clone, Copy)]
struct Checks {
    database: bool,
    padron: bool,
    journal: bool,
}

impl Readiness {
    /// Of a service that stops when the token is cancelled.
    #[must_use]
    pub fn new(state: AppState, stopping: CancellationToken) -> Self {
        Self { state, stopping, known: Cache::builder().max_capacity(1).time_to_live(KNOWN_FOR).build() }
    }

    async fn checks(&self) -> Checks {
        let check = async {
            let usage = self.state.usage.backlog();
            Checks {
                database: self.state.database_answers(DATABASE_MAX).await,
                padron: self.state.padron.status().active.is_some(),
                // What is in memory only is not safe from a kill.
                journal: usage.dropped == 0 && usage.in_memory == 0 && usage.records < WAITING_RECORDS_MAX,
            }
        };
        // However many ask at once, one looks and the others wait for what it finds.
        self.known.get_with((), check).await
    }
}

/// Whether calls can be answered: 200 (`ok`, `degraded`, or `maintenance` while the operator says so to agents) or 503 (`unavailable`). It tells strangers nothing but words of this list.
pub async fn ready(State(readiness): State<Readiness>) -> Response {
    let stopping = readiness.stopping.is_cancelled();
    let maintenance = readiness.state.settings.get().maintenance.is_some();
    let checks = readiness.checks().await;
    let (status, word) = if stopping || !checks.database {
        // A service that is stopping takes no new calls: whoever sends it some should send them elsewhere.
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    } else if maintenance {
        // Ready in the balancer's sense: agents are told the operator's sentence, and people use the portal. A node that were taken out could tell
        // nobody anything.
        (StatusCode::OK, "maintenance")
    } else if checks.padron && checks.journal {
        (StatusCode::OK, "ok")
    } else {
        // Without a listing two of the tools say so and all others work; with a lagging journal all work. To take the service out of the
        // balancer's rota would turn a part that is missing into everything missing, on every node at once.
        (StatusCode::OK, "degraded")
    };
    let check = |good: bool, bad: &str| json!({ "status": if good { "ok" } else { bad } });
    let mut body = json!({
        "status": word,
        "checks": {
            "database": check(checks.database, "no_answer"),
            "padron": check(checks.padron, "not_loaded"),
            "journal": check(checks.journal, "behind"),
        },
    });
    if stopping {
        body["stopping"] = json!(true);
    }
    (status, Json(body)).into_response()
}
