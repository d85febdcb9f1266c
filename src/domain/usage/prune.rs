//! Old calls go, their sums stay: `tool_usage` is pruned, the roll-ups are not.
//!
//! Each call is kept for as many days as it says, at least. On PostgreSQL a month's calls go together, when the last of them is old enough: its part
//! of the table is dropped, which costs the same for ten calls and for ten million. Only what was stored before there were parts goes as on SQLite,
//! some thousand calls at a time.

use chrono::{DateTime, Duration, Utc};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};

use crate::clock::{billing_month, day_start, month_start};
use crate::db::parts::{self, TABLE};

/// The shortest retention, days: the open month is counted from the calls themselves, and so is what a late journal brings.
pub const RETENTION_DAYS_MIN: u32 = 40;
/// Calls removed by one statement, so that nobody waits long for the database.
const CALLS_PER_STATEMENT: u64 = 2_000;
/// Statements of one go.
const STATEMENTS_MAX: usize = 25;

/// Removes calls older than so many days, the oldest first, whole months or some ten thousand at most; answers how many. Nothing of the open month
/// goes: its quota is counted from it.
///
/// # Errors
/// The database; what was removed before stays removed.
pub async fn prune(db: &DatabaseConnection, now: DateTime<Utc>, retention_days: u32) -> Result<u64, DbErr> {
    let oldest = now - Duration::days(retention_days.max(RETENTION_DAYS_MIN).into());
    let month = month_start(billing_month(now)).map_or(oldest, day_start);
    let before = oldest.min(month);
    if db.get_database_backend() != DbBackend::Postgres {
        return prune_rows(db, TABLE, before).await;
    }
    let mut gone = 0;
    for part in parts::parts(db).await? {
        if part.to <= before {
            gone += parts::drop_part(db, &part).await?;
        } else if part.from.is_none() {
            gone += prune_rows(db, &part.name, before).await?;
        }
    }
    Ok(gone)
}

async fn prune_rows(db: &DatabaseConnection, table: &str, before: DateTime<Utc>) -> Result<u64, DbErr> {
    let sql = format!("delete from {table} where id in (select id from {table} where started_at < $1 order by started_at, id limit $2)");
    let mut gone = 0;
    for _ in 0..STATEMENTS_MAX {
        let values = [before.into(), i64::try_from(CALLS_PER_STATEMENT).unwrap_or(i64::MAX).into()];
        let removed = db.execute_raw(Statement::from_sql_and_values(db.get_database_backend(), &sql, values)).await?.rows_affected();
        gone += removed;
        if removed < CALLS_PER_STATEMENT {
            break;
        }
    }
    Ok(gone)
}
