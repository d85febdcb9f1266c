//! `tool_usage` in parts by month on PostgreSQL: those that are there, those that are needed, those that are over. On SQLite it is one table, and
//! nothing is done here.
//!
//! A part is made ahead, or when the first call of its month is stored, however late or early that is. There is no part for "the rest": a month
//! could not get its own any more once the rest had calls of it, and every page of the log would have to look there.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Datelike, Duration, Utc};
use migration::parts;
pub use migration::parts::TABLE;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement, TransactionTrait};

/// The column that says which part a row is in.
pub const KEY: &str = "started_at";
/// Parts are made for these months (YYYYMM); what claims to be of another is refused by the database.
const MONTHS: std::ops::RangeInclusive<i32> = 200_001..=219_912;
/// Months made ahead, besides the running one.
const AHEAD: usize = 2;
/// Longest wait for a lock. Whoever waits for one keeps others waiting behind: better once more later.
const MAKE_WAIT: &str = "set local lock_timeout = '2s'";
const DROP_WAIT: &str = "set local lock_timeout = '250ms'";
/// One at a time makes and drops parts, of all nodes.
const ALONE: &str = "hashtext('dunet parts')";

/// A part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its table.
    pub name: String,
    /// When its first call may have begun; none is any time.
    pub from: Option<DateTime<Utc>>,
    /// Its calls began before.
    pub to: DateTime<Utc>,
}

/// The month (YYYYMM) whose part holds a call that began then.
#[must_use]
pub fn month_of(at: DateTime<Utc>) -> i32 {
    let local = at.checked_sub_signed(Duration::hours(4)).unwrap_or(at);
    local.year().saturating_mul(100).saturating_add(i32::try_from(local.month()).unwrap_or_default())
}

/// The parts there are, oldest first; none when the table is whole.
///
/// # Errors
/// The database does not answer, or has no such table.
pub async fn parts(db: &impl ConnectionTrait) -> Result<Vec<Part>, DbErr> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok(Vec::new());
    }
    // The bounds are to be had as a text only, which the same session reads as it wrote it.
    let sql = format!(
        "select c.relname::text as name, substring(b.text from 'FROM \\(''([^'']+)''\\)')::timestamptz as begins, substring(b.text from 'TO \\(''([^'']+)''\\)')::timestamptz as ends \
         from pg_inherits i join pg_class c on c.oid = i.inhrelid cross join lateral (select pg_get_expr(c.relpartbound, c.oid) as text) b \
         where i.inhparent = '{TABLE}'::regclass and b.text like '%TO (''%' order by 3"
    );
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    rows.iter().map(|row| Ok(Part { name: row.try_get("", "name")?, from: row.try_get("", "begins")?, to: row.try_get("", "ends")? })).collect()
}

/// Makes the parts of this month and the next ones, those that are not there; answers which were made.
///
/// # Errors
/// The database, or somebody holds the table for too long: they are tried again later, and made by whoever needs them.
pub async fn make_ahead(db: &DatabaseConnection, now: DateTime<Utc>) -> Result<Vec<i32>, DbErr> {
    let months: BTreeSet<i32> = std::iter::successors(Some(month_of(now)), |month| Some(parts::next(*month))).take(AHEAD + 1).collect();
    make_missing(db, &months).await
}

async fn make_missing(db: &DatabaseConnection, months: &BTreeSet<i32>) -> Result<Vec<i32>, DbErr> {
    // Nearly always all of them are there, and nobody has to be waited for.
    if missing(db, months).await?.is_empty() {
        return Ok(Vec::new());
    }
    let transaction = db.begin().await?;
    transaction.execute_unprepared(MAKE_WAIT).await?;
    let made = make_missing_within(&transaction, months).await?;
    transaction.commit().await?;
    Ok(made)
}

async fn make_missing_within(transaction: &impl ConnectionTrait, months: &BTreeSet<i32>) -> Result<Vec<i32>, DbErr> {
    if missing(transaction, months).await?.is_empty() {
        return Ok(Vec::new());
    }
    transaction.execute_unprepared(&format!("select pg_advisory_xact_lock({ALONE})")).await?;
    // Once more: somebody may have made them while we waited.
    let missing = missing(transaction, months).await?;
    for month in &missing {
        parts::make(transaction, *month).await?;
    }
    Ok(missing)
}

/// The months that no part is for; none when the table is whole.
async fn missing(db: &impl ConnectionTrait, months: &BTreeSet<i32>) -> Result<Vec<i32>, DbErr> {
    let backend = db.get_database_backend();
    if backend != DbBackend::Postgres {
        return Ok(Vec::new());
    }
    let sql = format!("select relkind = 'p' as parted from pg_class where oid = '{TABLE}'::regclass");
    let parted = db.query_one_raw(Statement::from_string(backend, sql)).await?.map(|row| row.try_get::<bool>("", "parted")).transpose()?;
    if parted != Some(true) {
        return Ok(Vec::new());
    }
    let there = parts(db).await?;
    // A part ends where a month begins, and a month is its part's or, before the parts, the first one's.
    let covers = |part: &Part, month: i32| part.from.is_none_or(|from| month_of(from) <= month) && month < month_of(part.to);
    Ok(months.iter().copied().filter(|month| MONTHS.contains(month) && !there.iter().any(|part| covers(part, *month))).collect())
}

/// Drops a part with its calls, unless somebody holds it; answers how many those were.
///
/// # Errors
/// The database, or the table is in use (a backup reads it): another time.
pub async fn drop_part(db: &DatabaseConnection, part: &Part) -> Result<u64, DbErr> {
    let transaction = db.begin().await?;
    transaction.execute_unprepared(DROP_WAIT).await?;
    let ask = async |sql: String| transaction.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
    let alone = ask(format!("select pg_try_advisory_xact_lock({ALONE}) as alone")).await?.map(|row| row.try_get::<bool>("", "alone")).transpose()?;
    if alone != Some(true) || !parts(&transaction).await?.contains(part) {
        return Ok(0);
    }
    // Counted before anybody has to wait. A straggler that comes in between goes with its month.
    let calls = ask(format!("select count(*) as calls from {}", part.name)).await?.map_or(Ok(0), |row| row.try_get::<i64>("", "calls"))?;
    transaction.execute_unprepared(&format!("drop table {}", part.name)).await?;
    transaction.commit().await?;
    Ok(u64::try_from(calls).unwrap_or_default())
}

/// The months whose parts are known to be there, so that storing calls asks nothing.
#[derive(Debug, Default)]
pub struct Covered {
    months: Mutex<BTreeSet<i32>>,
}

impl Covered {
    /// Makes sure that calls which began then can be stored.
    ///
    /// # Errors
    /// As [`make_ahead`].
    pub async fn cover(&self, db: &DatabaseConnection, times: impl IntoIterator<Item = DateTime<Utc>>) -> Result<(), DbErr> {
        let new = self.unknown(times);
        if !new.is_empty() {
            let made = make_missing(db, &new).await?;
            if !made.is_empty() {
                tracing::info!(months = ?made, "parts were made for calls");
            }
            self.known(new);
        }
        Ok(())
    }

    /// The same within a transaction, with which the parts come about or not.
    ///
    /// # Errors
    /// The database.
    pub async fn cover_within(&self, transaction: &impl ConnectionTrait, times: impl IntoIterator<Item = DateTime<Utc>>) -> Result<(), DbErr> {
        let new = self.unknown(times);
        if !new.is_empty() {
            make_missing_within(transaction, &new).await?;
            self.known(new);
        }
        Ok(())
    }

    /// Knows nothing any more: a part that was there was not.
    pub fn forget(&self) {
        self.months.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn unknown(&self, times: impl IntoIterator<Item = DateTime<Utc>>) -> BTreeSet<i32> {
        let months = self.months.lock().unwrap_or_else(PoisonError::into_inner);
        times.into_iter().map(month_of).filter(|month| !months.contains(month)).collect()
    }

    fn known(&self, new: BTreeSet<i32>) {
        self.months.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
    }
}

/// Whether a row was refused because no part is for it.
#[must_use]
pub fn is_missing(error: &DbErr) -> bool {
    use sea_orm::{RuntimeErr, sqlx};
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) = error else { return false };
    // PostgreSQL calls it a failed check; the table has none of its own.
    matches!(cause.as_ref(), sqlx::Error::Database(cause) if cause.code().as_deref() == Some("23514"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_each_other_as_they_are_billed() {
        for at in ["2027-01-01T03:59:59.999999Z", "2027-01-01T04:00:00Z", "2026-11-15T00:00:00Z", "2028-03-01T03:00:00Z"] {
            let at: DateTime<Utc> = at.parse().unwrap();
            assert_eq!(month_of(at), crate::clock::billing_month(at), "{at}");
        }
        assert_eq!((parts::next(202_611), parts::next(202_612), parts::name(202_701)), (202_612, 202_701, "tool_usage_202701".to_owned()));
        let turn: DateTime<Utc> = parts::begins(202_701).trim_matches('\'').parse().unwrap();
        assert_eq!(Some(turn), crate::clock::month_start(202_701).map(crate::clock::day_start));
    }
}
