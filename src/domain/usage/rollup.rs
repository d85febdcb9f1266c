//! Roll-ups: the calls of a delivered batch, added to the sums that reports are made of, in the transaction that stores the calls.
//!
//! `usage_months` (a tenant's calls), `usage_days` (by tool and outcome, with buckets of time) and `usage_hours` (calls and errors). Days and
//! hours are kept for everybody together too, under the nil id: a page about the whole service reads some hundred rows, however many
//! tenants there are. Sums only: who may see whose is decided where they are read (`domain/reports`).

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::{DateTime, Utc};
use migration::rollups::{PARTS, TIME_BOUNDS_US, column};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement, Value};
use uuid::Uuid;

use super::Outcome;
use crate::clock::{billing_day, hour_number};
use crate::db::{self, entities::tool_usage};

/// Everybody's sums stand under this id, which no tenant has.
pub(in crate::domain) const EVERYBODY: Uuid = Uuid::nil();

/// Rows of one statement: few sizes, so that few statements are kept prepared.
const CHUNKS: [usize; 3] = [64, 8, 1];
const BUCKETS: usize = TIME_BOUNDS_US.len() + 1;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct DayKey<'a> {
    client: Uuid,
    day: i32,
    tool: &'a str,
    outcome: &'a str,
    error_code: &'a str,
}

#[derive(Default)]
struct Day {
    calls: i64,
    counted: i64,
    total_us: i64,
    odoo_us: i64,
    /// As [`PARTS`]: in all, in Odoo, in Dunet.
    times: [[i32; BUCKETS]; 3],
}

#[derive(Default)]
struct Month {
    calls: i64,
    counted: i64,
    failed: i64,
    last_at: DateTime<Utc>,
}

#[derive(Default)]
struct Hour {
    calls: i64,
    failed: i64,
}

/// Adds calls that were stored just now. They must be new: what was stored before has been added before.
///
/// # Errors
/// The database; the transaction must not be committed then.
pub(super) async fn roll_up(transaction: &DatabaseTransaction, calls: &[&tool_usage::Model]) -> Result<(), DbErr> {
    // Sorted: two processes that deliver at once take the rows in the same order, and so never wait for each other in a circle.
    let (mut months, mut days, mut hours) = (BTreeMap::<(Uuid, i32), Month>::new(), BTreeMap::<DayKey<'_>, Day>::new(), BTreeMap::<(Uuid, i32), Hour>::new());
    for call in calls {
        let failed = i64::from(call.outcome == Outcome::Error.as_str());
        let counted = i64::from(call.counted);
        let month = months.entry((call.client_id, call.billing_month)).or_default();
        month.calls += 1;
        month.counted += counted;
        month.failed += failed;
        month.last_at = month.last_at.max(call.started_at);
        for client in [call.client_id, EVERYBODY] {
            let hour = hours.entry((client, hour_number(call.started_at))).or_default();
            hour.calls += 1;
            hour.failed += failed;
            let key = DayKey { client, day: billing_day(call.started_at), tool: &call.tool, outcome: &call.outcome, error_code: call.error_code.as_deref().unwrap_or_default() };
            let day = days.entry(key).or_default();
            day.calls += 1;
            day.counted += counted;
            day.total_us = day.total_us.saturating_add(call.total_us);
            day.odoo_us = day.odoo_us.saturating_add(call.odoo_us);
            day.times[0][bucket(call.total_us)] += 1;
            if call.odoo_requests > 0 {
                day.times[1][bucket(call.odoo_us)] += 1;
            }
            day.times[2][bucket(call.total_us - call.odoo_us)] += 1;
        }
    }
    let months = months.into_iter().map(|((client, month), sums)| {
        let values: [Value; 6] = [client.into(), month.into(), sums.calls.into(), sums.counted.into(), sums.failed.into(), sums.last_at.into()];
        values.to_vec()
    });
    MONTHS.add(transaction, months.collect()).await?;
    let days = days.into_iter().map(|(key, sums)| {
        let mut values: Vec<Value> = vec![key.client.into(), key.day.into(), key.tool.into(), key.outcome.into(), key.error_code.into()];
        values.extend([sums.calls, sums.counted, sums.total_us, sums.odoo_us].map(Value::from));
        values.extend(sums.times.as_flattened().iter().map(|calls| Value::from(*calls)));
        values
    });
    DAYS.add(transaction, days.collect()).await?;
    let hours = hours.into_iter().map(|((client, hour), sums)| vec![client.into(), hour.into(), sums.calls.into(), sums.failed.into()]);
    HOURS.add(transaction, hours.collect()).await
}

fn bucket(us: i64) -> usize {
    TIME_BOUNDS_US.partition_point(|bound| *bound < us)
}

/// A table of sums.
struct Sums {
    table: &'static str,
    key: &'static [&'static str],
    added: &'static [&'static str],
    latest: Option<&'static str>,
    timed: bool,
}

const MONTHS: Sums = Sums { table: "usage_months", key: &["client_id", "month"], added: &["calls", "counted", "failed"], latest: Some("last_at"), timed: false };
const DAYS: Sums =
    Sums { table: "usage_days", key: &["client_id", "day", "tool", "outcome", "error_code"], added: &["calls", "counted", "total_us", "odoo_us"], latest: None, timed: true };
const HOURS: Sums = Sums { table: "usage_hours", key: &["client_id", "hour"], added: &["calls", "failed"], latest: None, timed: false };

impl Sums {
    async fn add(&self, transaction: &DatabaseTransaction, rows: Vec<Vec<Value>>) -> Result<(), DbErr> {
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let size = CHUNKS.into_iter().find(|size| *size <= rows.len()).unwrap_or(1);
            let values: Vec<Value> = rows.by_ref().take(size).flatten().collect();
            let backend = transaction.get_database_backend();
            transaction.execute_raw(Statement::from_sql_and_values(backend, self.sql(backend, size), values)).await?;
        }
        Ok(())
    }

    /// Inserts so many rows, or adds them to those that are there.
    fn sql(&self, backend: DbBackend, rows: usize) -> String {
        let Self { table, key, added, latest, timed } = self;
        let mut added: Vec<String> = added.iter().map(|name| (*name).to_owned()).collect();
        if *timed {
            added.extend(PARTS.iter().flat_map(|part| (0..BUCKETS).map(|bucket| column(part, bucket))));
        }
        let columns: Vec<&str> = key.iter().copied().chain(added.iter().map(String::as_str)).chain(*latest).collect();
        let mut sql = format!("insert into {table} ({}) values ", columns.join(", "));
        for row in 0..rows {
            for place in 1..=columns.len() {
                sql.push_str(match (row, place) {
                    (0, 1) => "(",
                    (_, 1) => "), (",
                    _ => ", ",
                });
                db::push_place(&mut sql, backend, row * columns.len() + place);
            }
        }
        let mut changes: Vec<String> = added.iter().map(|name| format!("{name} = {table}.{name} + excluded.{name}")).collect();
        changes.extend(latest.map(|name| format!("{name} = case when excluded.{name} > {table}.{name} then excluded.{name} else {table}.{name} end")));
        let _ = write!(sql, ") on conflict ({}) do update set {}", key.join(", "), changes.join(", "));
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_one_bucket() {
        assert_eq!([0, 1_000, 1_001, 2_500, 25_000_000, 25_000_001].map(bucket), [0, 0, 1, 1, 13, 14]);
    }

    #[test]
    fn few_statements_are_ever_made() {
        assert!(HOURS.sql(DbBackend::Postgres, 2).starts_with("insert into usage_hours (client_id, hour, calls, failed) values ($1, $2, $3, $4), ($5, $6, $7, $8) on conflict"));
        // SQLite's limit on parameters.
        assert!(DAYS.sql(DbBackend::Sqlite, CHUNKS[0]).matches('?').count() < 32_766);
    }
}
