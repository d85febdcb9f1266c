//! What a tenant did within the last hour: the state of its hourly limits.
//!
//! Each limit is a generic cell rate algorithm: one number, the instant at which everything taken so far is paid for. The whole hour's calls
//! may come at once, and come back one by one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};
use sea_orm::sea_query::{Expr, Func, Order};
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::limits::Refused;
use super::usage::Outcome;
use crate::db::entities::{operations, tool_usage};
use crate::ids::TenantId;

const HOUR_MICROS: i64 = 3_600_000_000;
/// Calls of the last hour that are read back, the latest.
const CALLS_READ_MAX: u64 = 20_000;

/// The hourly limits of one tenant.
#[derive(Debug, Default)]
pub(super) struct Hours {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tools: HashMap<&'static str, i64>,
    writes: i64,
    /// When calls were made before the process began, by tool; taken into account when the tool's limit is known.
    earlier: HashMap<String, Vec<i64>>,
    earlier_writes: Vec<i64>,
}

impl Hours {
    /// As the database knows them.
    ///
    /// # Errors
    /// The database.
    pub(super) async fn load(db: &DatabaseConnection, tenant: TenantId, now: DateTime<Utc>) -> Result<Self, DbErr> {
        let since = now - Duration::hours(1);
        let mut calls: Vec<(String, DateTime<Utc>)> = tool_usage::Entity::find()
            .select_only()
            .columns([tool_usage::Column::Tool, tool_usage::Column::StartedAt])
            .filter(tool_usage::Column::ClientId.eq(tenant.uuid()))
            .filter(tool_usage::Column::StartedAt.gt(since))
            .filter(tool_usage::Column::Outcome.ne(Outcome::Refused.as_str()))
            .order_by_desc(tool_usage::Column::StartedAt)
            .limit(CALLS_READ_MAX)
            .into_tuple()
            .all(db)
            .await?;
        calls.reverse();
        // One that an owner approved was executed then.
        let begun = Expr::from(Func::coalesce([Expr::col(operations::Column::DecidedAt), Expr::col(operations::Column::CreatedAt)]));
        let writes: Vec<DateTime<Utc>> = operations::Entity::find()
            .select_only()
            .expr(begun.clone())
            .filter(operations::Column::ClientId.eq(tenant.uuid()))
            .filter(sea_orm::sea_query::ExprTrait::gt(begun.clone(), since))
            // Those that wait for an owner, or that none approved, were not executed.
            .filter(operations::Column::State.is_in(["running", "done", "unknown"]))
            .order_by(begun, Order::Asc)
            .limit(CALLS_READ_MAX)
            .into_tuple()
            .all(db)
            .await?;
        let mut state = State { earlier_writes: writes.iter().map(DateTime::timestamp_micros).collect(), ..State::default() };
        for (tool, at) in calls {
            state.earlier.entry(tool).or_default().push(at.timestamp_micros());
        }
        Ok(Self { state: Mutex::new(state) })
    }

    pub(super) fn tool_take(&self, tool: &'static str, per_hour: u32, now: DateTime<Utc>) -> Result<(), Refused> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = match state.tools.get(tool) {
            Some(due) => *due,
            None => state.earlier.remove(tool).map_or(0, |calls| replay(&calls, per_hour)),
        };
        let taken = take(&mut due, per_hour, now);
        state.tools.insert(tool, due);
        taken
    }

    pub(super) fn write_take(&self, per_hour: u32, now: DateTime<Utc>) -> Result<(), Refused> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.earlier_writes.is_empty() {
            state.writes = replay(&std::mem::take(&mut state.earlier_writes), per_hour);
        }
        take(&mut state.writes, per_hour, now)
    }
}

fn take(due: &mut i64, per_hour: u32, now: DateTime<Utc>) -> Result<(), Refused> {
    let now = now.timestamp_micros();
    let Some(step) = HOUR_MICROS.checked_div(i64::from(per_hour)) else { return Err(Refused { limit: 0, wait_s: 3_600 }) };
    // More than an hour is never owed: the clock was set back. It must not lock a tool until it has caught up, so the count begins anew.
    if *due > now + HOUR_MICROS {
        *due = now;
    }
    let next = (*due).max(now) + step;
    if next - now > HOUR_MICROS {
        let wait_micros = u64::try_from(next - now - HOUR_MICROS).unwrap_or_default();
        return Err(Refused { limit: per_hour, wait_s: wait_micros.div_ceil(1_000_000).max(1) });
    }
    *due = next;
    Ok(())
}

fn replay(calls: &[i64], per_hour: u32) -> i64 {
    let step = HOUR_MICROS.checked_div(i64::from(per_hour)).unwrap_or_default();
    calls.iter().fold(0, |due: i64, at| due.max(*at) + step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_tool_refills_within_the_hour() {
        let hours = Hours::default();
        let now = at("2026-11-22T12:00:00Z");
        for _ in 0..4 {
            hours.tool_take("t", 4, now).unwrap();
        }
        assert_eq!(hours.tool_take("t", 4, now), Err(Refused { limit: 4, wait_s: 900 }));
        assert_eq!(hours.tool_take("t", 4, now + Duration::milliseconds(500)), Err(Refused { limit: 4, wait_s: 900 }), "rounded up: a wait that is told is long enough");
        hours.tool_take("t", 4, now + Duration::seconds(900)).unwrap();
        assert!(hours.tool_take("t", 4, now + Duration::seconds(900)).is_err());
        assert_eq!(hours.tool_take("none", 0, now), Err(Refused { limit: 0, wait_s: 3_600 }));
    }

    #[test]
    fn earlier_calls_count_as_if_they_had_been_made_here() {
        let now = at("2026-11-22T12:00:00Z");
        let calls: Vec<i64> = [-3_000, -2_000, -10, -5].iter().map(|s| (now + Duration::seconds(*s)).timestamp_micros()).collect();
        let (here, restored) = (Hours::default(), Hours::default());
        for call in &calls {
            here.tool_take("t", 5, DateTime::from_timestamp_micros(*call).unwrap()).unwrap();
        }
        restored.state.lock().unwrap().earlier.insert("t".to_owned(), calls);
        for _ in 0..4 {
            assert_eq!(here.tool_take("t", 5, now), restored.tool_take("t", 5, now));
        }
        assert!(restored.tool_take("t", 5, now).is_err());
    }
}
