//! Which agents call for a client.

use chrono::{DateTime, Utc};
use sea_orm::{DbErr, FromQueryResult};
use serde::Serialize;

use super::Reports;
use super::sql::Sql;
use crate::ids::TenantId;

/// The latest calls that are looked at.
const CALLS_LOOKED_AT: i64 = 5_000;
const AGENTS_MAX: i64 = 50;

/// An agent by what it calls itself. The name is the agent's word, nothing more.
#[derive(Clone, Debug, PartialEq, Serialize, FromQueryResult, utoipa::ToSchema)]
pub struct AgentSeen {
    /// Name and version; none for those that say nothing.
    pub agent: Option<String>,
    /// Calls among the latest five thousand.
    pub calls: i64,
    /// With an error.
    pub failed: i64,
    /// When its last call began, UTC.
    pub last_at: DateTime<Utc>,
}

impl Reports {
    /// The agents of the tenant's latest five thousand calls, the latest first, some fifty at most. One query.
    ///
    /// # Errors
    /// The database.
    pub async fn agents_seen(&self, tenant: TenantId) -> Result<Vec<AgentSeen>, DbErr> {
        let mut sql = Sql::new(
            "select agent, count(*) as calls, cast(sum(case when outcome = 'error' then 1 else 0 end) as bigint) as failed, max(started_at) as last_at \
             from (select agent, outcome, started_at from tool_usage where client_id = ",
        );
        sql.bind(tenant.uuid()).push(" order by started_at desc limit ").bind(CALLS_LOOKED_AT).push(") latest group by agent order by 4 desc, 1 limit ").bind(AGENTS_MAX);
        sql.all(&self.reads).await
    }
}
