//! Usage: one record per call, in the journal before the answer leaves and in `tool_usage` exactly once. Never argument values.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, SubsecRound, Utc};
use sea_orm::sea_query::{Expr, Func};
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, Select};

use crate::clock::{billing_month, month_bounds};
use crate::db::entities::tool_usage;
use crate::ids::{TenantId, TokenId, UsageId};

mod delivery;
mod journal;
mod live;
mod prune;
pub(super) mod rollup;
mod store;

pub use journal::in_use as journal_in_use;
pub use live::{LiveCall, LiveCalls, LiveEvent};
pub use prune::{RETENTION_DAYS_MIN, prune};

pub use delivery::{OpenRequest, UsageBacklog, UsageSink, UsageWorker};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a result.
    Ok,
    /// With a tool error.
    Error,
    /// Refused by a limit, before anything was done.
    Refused,
    /// The caller went away.
    Cancelled,
}

impl Outcome {
    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct UsageRecord {
    /// Made when the call begins; delivering a record twice stores it once.
    pub id: UsageId,
    /// Whose.
    pub tenant: TenantId,
    /// By which token.
    pub token: TokenId,
    /// The tool.
    pub tool: &'static str,
    /// What the agent calls itself.
    pub agent: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// The error code.
    pub error_code: Option<&'static str>,
    /// Whether it counts against the plan.
    pub counted: bool,
    /// In all, microseconds.
    pub total_us: u64,
    /// In Odoo, microseconds.
    pub odoo_us: u64,
    /// Requests to Odoo.
    pub odoo_requests: u64,
    /// Request id.
    pub request_id: String,
    /// Began, UTC.
    pub started_at: DateTime<Utc>,
}

/// The record of a call under way: the door opens it, the dispatcher fills it in, the door closes it.
#[derive(Clone, Debug, Default)]
pub struct OpenRecord {
    record: Arc<Mutex<Option<UsageRecord>>>,
}

impl OpenRecord {
    /// A tool call began.
    pub fn begin(&self, record: UsageRecord) {
        *self.record.lock().unwrap_or_else(PoisonError::into_inner) = Some(record);
    }

    /// Fills in what became known.
    pub fn fill(&self, change: impl FnOnce(&mut UsageRecord)) {
        if let Some(record) = self.record.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            change(record);
        }
    }

    /// Takes the record out; none when the request was no tool call.
    #[must_use]
    pub fn close(&self) -> Option<UsageRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn row(record: &UsageRecord) -> tool_usage::Model {
    let big = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    tool_usage::Model {
        id: record.id.uuid(),
        client_id: record.tenant.uuid(),
        token_id: Some(record.token.uuid()),
        tool: record.tool.to_owned(),
        agent: record.agent.clone(),
        outcome: record.outcome.as_str().to_owned(),
        error_code: record.error_code.map(str::to_owned),
        counted: record.counted,
        billing_month: billing_month(record.started_at),
        total_us: big(record.total_us),
        odoo_us: big(record.odoo_us),
        odoo_requests: i32::try_from(record.odoo_requests).unwrap_or(i32::MAX),
        request_id: record.request_id.clone(),
        // As both databases keep it: the same record is the same row, from wherever it is delivered.
        started_at: record.started_at.trunc_subsecs(6),
    }
}

/// Calls and how many of them went well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// All, refused ones included.
    pub all: u64,
    /// With a result.
    pub ok: u64,
}

/// Calls since an instant: of one tenant, or of all.
///
/// # Errors
/// The database.
pub async fn calls_since(db: &DatabaseConnection, tenant: Option<TenantId>, since: DateTime<Utc>) -> Result<CallCounts, DbErr> {
    let mut select = tool_usage::Entity::find().filter(tool_usage::Column::StartedAt.gte(since));
    if let Some(tenant) = tenant {
        select = select.filter(tool_usage::Column::ClientId.eq(tenant.uuid()));
    }
    let rows: Vec<(String, i64)> = select
        .select_only()
        .column(tool_usage::Column::Outcome)
        .column_as(tool_usage::Column::Id.count(), "calls")
        .group_by(tool_usage::Column::Outcome)
        .into_tuple()
        .all(db)
        .await?;
    let mut counts = CallCounts::default();
    for (outcome, calls) in rows {
        let calls = u64::try_from(calls).unwrap_or_default();
        counts.all += calls;
        if outcome == Outcome::Ok.as_str() {
            counts.ok += calls;
        }
    }
    Ok(counts)
}

/// A month's calls of one tool of one tenant.
#[derive(Clone, Debug, PartialEq, FromQueryResult, serde::Serialize)]
pub struct UsageTotal {
    /// The tool.
    pub tool: String,
    /// How they ended.
    pub outcome: String,
    /// How many.
    pub calls: i64,
    /// How many of them count against the plan.
    pub counted: i64,
}

/// A tenant's calls of a month (YYYYMM). The month's instants say the same as its number, and in which part of the table to look.
pub(super) fn of_month(tenant: TenantId, month: i32) -> Select<tool_usage::Entity> {
    let mut select = tool_usage::Entity::find().filter(tool_usage::Column::ClientId.eq(tenant.uuid())).filter(tool_usage::Column::BillingMonth.eq(month));
    if let Some((from, to)) = month_bounds(month) {
        select = select.filter(tool_usage::Column::StartedAt.gte(from)).filter(tool_usage::Column::StartedAt.lt(to));
    }
    select
}

/// A tenant's calls of a month (YYYYMM), by tool and outcome.
///
/// # Errors
/// The database.
pub async fn totals(db: &DatabaseConnection, tenant: TenantId, month: i32) -> Result<Vec<UsageTotal>, DbErr> {
    let counted = Expr::case(tool_usage::Column::Counted.eq(true), 1).finally(0);
    of_month(tenant, month)
        .select_only()
        .column(tool_usage::Column::Tool)
        .column(tool_usage::Column::Outcome)
        .column_as(tool_usage::Column::Id.count(), "calls")
        .expr_as(Func::sum(counted), "counted")
        .group_by(tool_usage::Column::Tool)
        .group_by(tool_usage::Column::Outcome)
        .order_by_asc(tool_usage::Column::Tool)
        .order_by_asc(tool_usage::Column::Outcome)
        .into_model::<UsageTotal>()
        .all(db)
        .await
}
