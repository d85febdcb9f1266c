//! The log of calls: search, page by page, and the file for a spreadsheet. Never argument values; they are not stored.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::door::By;
use super::files;
use super::input::Asked;
use super::problem::ApiError;
use crate::admin::Portal;
use crate::clock::local_day;
use crate::domain::reports::{LOG_ROWS_PER_PAGE, LogFilter, LogPage};
use crate::ids::TenantId;

/// Calls on a page at most.
const ROWS_MAX: u64 = 1_000;
/// The longest value of a filter, characters.
const VALUE_CHARS_MAX: usize = 80;

/// Which calls; absent is all.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CallsAsked {
    /// A client's.
    client: Option<TenantId>,
    /// Of that tool.
    #[param(min_length = 1, max_length = 80)]
    tool: Option<String>,
    /// That ended so.
    #[param(inline)]
    outcome: Option<CallOutcome>,
    /// The beginning of a request id.
    #[param(min_length = 1, max_length = 80)]
    request_id: Option<String>,
    /// Begun then or later.
    from: Option<DateTime<Utc>>,
    /// Begun before.
    to: Option<DateTime<Utc>>,
    /// So many at most; 100 unless said otherwise. Files have all of them, half a million at most.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<u64>,
    /// Where the page begins: the `next` of the one before.
    #[param(min_length = 1)]
    after: Option<String>,
}

/// How a call ended.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum CallOutcome {
    /// With a result.
    Ok,
    /// With an error.
    Error,
    /// Refused by a limit or for its arguments.
    Refused,
    /// Given up by the caller.
    Cancelled,
}

impl CallsAsked {
    fn rows_max(&self) -> Result<u64, ApiError> {
        let limit = self.limit.unwrap_or(LOG_ROWS_PER_PAGE);
        if (1..=ROWS_MAX).contains(&limit) { Ok(limit) } else { Err(ApiError::fault("limit", format!("Give a number from 1 to {ROWS_MAX}."))) }
    }

    fn filter(self) -> Result<LogFilter, ApiError> {
        let short = |field: &str, value: Option<String>| match value {
            Some(value) if value.chars().count() > VALUE_CHARS_MAX => Err(ApiError::fault(field, format!("Give {VALUE_CHARS_MAX} characters at most."))),
            value => Ok(value),
        };
        let outcome = self.outcome.map(|outcome| match outcome {
            CallOutcome::Ok => "ok",
            CallOutcome::Error => "error",
            CallOutcome::Refused => "refused",
            CallOutcome::Cancelled => "cancelled",
        });
        Ok(LogFilter {
            tenant: self.client,
            tool: short("tool", self.tool)?,
            outcome: outcome.map(str::to_owned),
            codes_but: Vec::new(),
            request_id: short("request_id", self.request_id)?.map(|id| id.to_lowercase()),
            from: self.from,
            to: self.to,
        })
    }
}

/// Calls, newest first. A search for a tool, an outcome or a request looks at so many calls for each page: follow `next` until there is none.
#[utoipa::path(get, path = "/admin/api/log", tag = "log", params(CallsAsked), responses((status = 200, body = LogPage, description = "A page of calls.")))]
pub(super) async fn call_list(State(portal): State<Portal>, _: By, Asked(asked): Asked<CallsAsked>) -> Result<Json<LogPage>, ApiError> {
    let limit = asked.rows_max()?;
    let after = asked.after.clone();
    portal.state().reports.log_page(&asked.filter()?, after.as_deref(), limit).await.map(Json).map_err(ApiError::internal)
}

/// The same calls for a spreadsheet; `limit` and `after` do not matter.
#[utoipa::path(get, path = "/admin/api/log/csv", tag = "log", params(CallsAsked), responses((status = 200, body = String, content_type = "text/csv", description = "A line for each call.")))]
pub(super) async fn call_csv(State(portal): State<Portal>, _: By, Asked(asked): Asked<CallsAsked>) -> Result<Response, ApiError> {
    let state = portal.state();
    asked.rows_max()?;
    let lines = state.reports.log_csv(asked.filter()?).inspect_err(|error| tracing::error!(%error, "a download of the log broke off"));
    Ok(files::csv(&format!("registros-{}", local_day(state.clock.now())), Body::from_stream(lines)))
}
