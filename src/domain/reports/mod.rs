//! Reports: what the pages of the portal show of calls, clients, the log and the audit. They read; nothing here changes anything.
//!
//! Sums come from the roll-ups (`usage_months`, `usage_days`, `usage_hours`), single calls from `tool_usage`. No report reads more than it
//! shows, whatever the number of tenants and calls: lists go by keys, and what cannot be found by an index is looked for in a window of
//! calls at a time. Days and months are those of Santo Domingo.
//!
//! Who may see whose: each function says whether it is for operators. What takes a [`TenantId`](crate::ids::TenantId) answers with that
//! tenant's rows and nobody else's.

use sea_orm::DatabaseConnection;

use crate::clock::Clock;
use crate::db::reads::ReadSide;

mod agents;
mod audit;
mod client;
mod clients;
pub(super) mod csv;
mod cursor;
mod log;
mod metrics;
mod named;
mod panel;
mod range;
pub(super) mod sql;
mod sums;
mod times;

pub use agents::AgentSeen;
pub use audit::{AuditFilter, AuditRow, AuditScope};
pub use client::{ClientSummary, ClientTool, Onboarding, UsageAgainstPlan};
pub use clients::{CLIENTS_PER_PAGE, ClientFilter, ClientRow, ClientSort, OdooState};
pub use csv::{csv_cell, csv_line};
pub use log::{LOG_ROWS_PER_PAGE, LogFilter, LogPage, LogRow};
pub use metrics::{ClientCalls, ErrorCalls, HeatMap, MetricsReport, ToolCalls};
pub use named::ClientName;
pub use panel::{ClientNearQuota, DayCalls, Panel, PausedClient};
pub use range::{DAYS_MAX, DayRange};
pub use times::{Quantiles, Times};

/// A page of a list.
#[derive(Clone, Debug, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// Its rows.
    pub rows: Vec<T>,
    /// Where the next page begins; none when this is the last one.
    pub next: Option<String>,
}

/// Makes the reports. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reports {
    db: DatabaseConnection,
    /// For calls and their sums; lists of what somebody may just have changed are read from the database itself.
    reads: ReadSide,
    clock: Clock,
}

impl Reports {
    /// Over that database, and what may be read of it elsewhere.
    #[must_use]
    pub fn new(db: DatabaseConnection, reads: ReadSide, clock: Clock) -> Self {
        Self { db, reads, clock }
    }
}
