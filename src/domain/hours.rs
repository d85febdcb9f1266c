//! What a tenant did within the last hour: the state of its hourly limits.
//!
//! Each limit is a generic cell rate algorithm: one number, the instant at which everything taken so far is paid for. The whole hour's calls
//! may come at once, and come back one by one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};
use sea_orm::sea_query::{Expr, Func, Order};
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::limits::{AHEAD_MICROS, Refused};
use super::usage::Outcome;
use crate::db::entities::{operations, tool_usage};
use crate::ids::TenantId;

pub(super) const HOUR_MICROS: i64 = 3_600_000_000;
/// Calls of the last hour that are read back, the latest.
const CALLS_READ_MAX: u64 = 20_000;

/// What is limited.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hourly {
    /// Calls of a tool.
    Tool(&'static str),
    /// Writes, all tools together.
    Writes,
}

impl Hourly {
    /// Its name among the tenant's limits.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tool(tool) => tool,
            Self::Writes => "-writes",
        }
    }
}

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

    /// One more of `per_hour`, which `nodes` nodes share and this one decides alone.
    pub(super) fn take(&self, what: Hourly, per_hour: u32, nodes: u32, now: DateTime<Utc>) -> Result<(), Refused> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        take(state.due(what, per_hour), per_hour, nodes, now)
    }

    /// When everything taken so far is paid for, as far as is known here; microseconds.
    pub(super) fn due(&self, what: Hourly, per_hour: u32) -> i64 {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner).due(what, per_hour)
    }

    /// The same, as others say.
    pub(super) fn due_is(&self, what: Hourly, per_hour: u32, due: i64) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner).due(what, per_hour) = due;
    }
}

impl State {
    fn due(&mut self, what: Hourly, per_hour: u32) -> &mut i64 {
        match what {
            Hourly::Tool(tool) => {
                let earlier = &mut self.earlier;
                self.tools.entry(tool).or_insert_with(|| earlier.remove(tool).map_or(0, |calls| replay(&calls, per_hour)))
            }
            Hourly::Writes => {
                if !self.earlier_writes.is_empty() {
                    self.writes = replay(&std::mem::take(&mut self.earlier_writes), per_hour);
                }
                &mut self.writes
            }
        }
    }
}

/// What one of an hourly limit costs, microseconds; none when nothing is allowed.
pub(super) fn step(per_hour: u32) -> Option<i64> {
    HOUR_MICROS.checked_div(i64::from(per_hour))
}

fn take(due: &mut i64, per_hour: u32, nodes: u32, now: DateTime<Utc>) -> Result<(), Refused> {
    let now = now.timestamp_micros();
    let Some(step) = step(per_hour) else { return Err(Refused::NONE) };
    // Each of several nodes has its share of what the hour allows.
    let step = step.saturating_mul(i64::from(nodes)).min(HOUR_MICROS);
    // More than an hour is owed by another node's clock, if little; else the clock was set back. That must not lock a tool until it has caught up, so the
    // count begins anew.
    if *due > now + HOUR_MICROS + AHEAD_MICROS {
        *due = now;
    }
    let next = (*due).max(now) + step;
    if next - now > HOUR_MICROS {
        return Err(Refused::wait(per_hour, u64::try_from(next - now - HOUR_MICROS).unwrap_or_default()));
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
        let take = |per_hour, now| hours.take(Hourly::Tool("t"), per_hour, 1, now);
        let now = at("2026-11-22T12:00:00Z");
        for _ in 0..4 {
            take(4, now).unwrap();
        }
        assert_eq!(take(4, now), Err(Refused { limit: 4, wait_s: 900 }));
        assert_eq!(take(4, now + Duration::milliseconds(500)), Err(Refused { limit: 4, wait_s: 900 }), "rounded up: a wait that is told is long enough");
        take(4, now + Duration::seconds(900)).unwrap();
        assert!(take(4, now + Duration::seconds(900)).is_err());
        assert_eq!(hours.take(Hourly::Tool("none"), 0, 1, now), Err(Refused { limit: 0, wait_s: 3_600 }));
    }

    #[test]
    fn earlier_calls_count_as_if_they_had_been_made_here() {
        let now = at("2026-11-22T12:00:00Z");
        let calls: Vec<i64> = [-3_000, -2_000, -10, -5].iter().map(|s| (now + Duration::seconds(*s)).timestamp_micros()).collect();
        let (here, restored) = (Hours::default(), Hours::default());
        for call in &calls {
            here.take(Hourly::Tool("t"), 5, 1, DateTime::from_timestamp_micros(*call).unwrap()).unwrap();
        }
        restored.state.lock().unwrap().earlier.insert("t".to_owned(), calls);
        for _ in 0..4 {
            assert_eq!(here.take(Hourly::Tool("t"), 5, 1, now), restored.take(Hourly::Tool("t"), 5, 1, now));
        }
        assert!(restored.take(Hourly::Tool("t"), 5, 1, now).is_err());
    }
    #[test]
    fn nodes_that_cannot_ask_each_other_share_the_hour() {
        let now = at("2026-11-22T12:00:00Z");
        let taken = |nodes| {
            let hours = Hours::default();
            (0..20).filter(|_| hours.take(Hourly::Writes, 12, nodes, now).is_ok()).count()
        };
        assert_eq!([1, 2, 3, 50].map(taken), [12, 6, 4, 1]);
    }
}
