//! Old calls go, their sums stay: `tool_usage` is pruned, the roll-ups are not.

use chrono::{DateTime, Duration, Utc};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};

use crate::clock::{billing_month, day_start, month_start};

/// The shortest retention, days: the open month is counted from the calls themselves, and so is what a late journal brings.
pub const RETENTION_DAYS_MIN: u32 = 40;
/// Calls removed by one statement, so that nobody waits long for the database.
const CALLS_PER_STATEMENT: u64 = 2_000;
/// Statements of one go.
const STATEMENTS_MAX: usize = 25;

/// Removes calls older than so many days, the oldest first, some ten thousand at most; answers how many. Nothing of the open month goes: its
/// quota is counted from it.
///
/// # Errors
/// The database; what was removed before stays removed.
pub async fn prune(db: &DatabaseConnection, now: DateTime<Utc>, retention_days: u32) -> Result<u64, DbErr> {
    let oldest = now - Duration::days(retention_days.max(RETENTION_DAYS_MIN).into());
    let month = month_start(billing_month(now)).map_or(oldest, day_start);
    let before = oldest.min(month);
    let sql = "delete from tool_usage where id in (select id from tool_usage where started_at < $1 order by started_at, id limit $2)";
    let mut gone = 0;
    for _ in 0..STATEMENTS_MAX {
        let values = [before.into(), i64::try_from(CALLS_PER_STATEMENT).unwrap_or(i64::MAX).into()];
        let removed = db.execute_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values)).await?.rows_affected();
        gone += removed;
        if removed < CALLS_PER_STATEMENT {
            break;
        }
    }
    Ok(gone)
}
