//! Sums over `usage_days`, by whatever the report wants.

use std::collections::BTreeMap;

use migration::rollups::{PARTS, column};
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use uuid::Uuid;

use super::range::DayRange;
use super::sql::Sql;
use super::times::{BUCKETS, Quantiles, Times};

/// The calls of something.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub(super) calls: i64,
    pub(super) ok: i64,
    pub(super) failed: i64,
    pub(super) refused: i64,
    pub(super) cancelled: i64,
    pub(super) counted: i64,
    /// Of calls that ended with a result or an error.
    total_us: i64,
    odoo_us: i64,
    times: [[i64; BUCKETS]; 3],
}

impl Sums {
    fn take(&mut self, row: &QueryResult, timed: bool) -> Result<(), DbErr> {
        let calls: i64 = row.try_get("", "calls")?;
        self.calls += calls;
        self.counted += row.try_get::<i64>("", "counted")?;
        let outcome: String = row.try_get("", "outcome")?;
        match outcome.as_str() {
            "ok" => self.ok += calls,
            "error" => self.failed += calls,
            "refused" => self.refused += calls,
            _ => self.cancelled += calls,
        }
        if timed && matches!(outcome.as_str(), "ok" | "error") {
            self.total_us += row.try_get::<i64>("", "total_us")?;
            self.odoo_us += row.try_get::<i64>("", "odoo_us")?;
            for (part, buckets) in PARTS.iter().zip(&mut self.times) {
                for (bucket, sum) in buckets.iter_mut().enumerate() {
                    *sum += row.try_get::<i64>("", &column(part, bucket))?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.calls, other.calls),
            (&mut self.ok, other.ok),
            (&mut self.failed, other.failed),
            (&mut self.refused, other.refused),
            (&mut self.cancelled, other.cancelled),
            (&mut self.counted, other.counted),
            (&mut self.total_us, other.total_us),
            (&mut self.odoo_us, other.odoo_us),
        ] {
            *sum += more;
        }
        for (sum, more) in self.times.as_flattened_mut().iter_mut().zip(other.times.as_flattened()) {
            *sum += more;
        }
    }

    pub(super) fn times(&self) -> Times {
        Times {
            total: Quantiles::of(&self.times[0], self.total_us),
            odoo: Quantiles::of(&self.times[1], self.odoo_us),
            own: Quantiles::of(&self.times[2], self.total_us - self.odoo_us),
        }
    }

    pub(super) fn error_rate(&self) -> Option<f64> {
        error_rate(self.failed, self.ok)
    }
}

/// Errors among the calls that were carried out, per cent to the hundredth; none without any. Refusals and calls that were given up are neither.
pub(super) fn error_rate(failed: i64, ok: i64) -> Option<f64> {
    let tried = failed + ok;
    (tried > 0).then(|| (failed as f64 * 10_000.0 / tried as f64).round() / 100.0)
}

fn timed_columns() -> String {
    let mut columns = vec!["cast(sum(total_us) as bigint) as total_us".to_owned(), "cast(sum(odoo_us) as bigint) as odoo_us".to_owned()];
    columns.extend(PARTS.iter().flat_map(|part| (0..BUCKETS).map(|bucket| column(part, bucket))).map(|name| format!("cast(sum({name}) as bigint) as {name}")));
    columns.join(", ")
}

/// By tool, with times.
pub(super) async fn by_tool(db: &impl ConnectionTrait, client: Uuid, range: DayRange) -> Result<BTreeMap<String, Sums>, DbErr> {
    let mut sql = Sql::new("select tool, outcome, cast(sum(calls) as bigint) as calls, cast(sum(counted) as bigint) as counted, ");
    sql.push(&timed_columns()).push(" from usage_days where client_id = ").bind(client);
    within(&mut sql, range).push(" group by tool, outcome");
    let mut found = BTreeMap::<String, Sums>::new();
    for row in sql.rows(db).await? {
        found.entry(row.try_get("", "tool")?).or_default().take(&row, true)?;
    }
    Ok(found)
}

/// By day (YYYYMMDD), without times.
pub(super) async fn by_day(db: &impl ConnectionTrait, client: Uuid, range: DayRange) -> Result<BTreeMap<i32, Sums>, DbErr> {
    let mut sql = Sql::new("select day, outcome, cast(sum(calls) as bigint) as calls, cast(sum(counted) as bigint) as counted from usage_days where client_id = ");
    sql.bind(client);
    within(&mut sql, range).push(" group by day, outcome");
    let mut found = BTreeMap::<i32, Sums>::new();
    for row in sql.rows(db).await? {
        found.entry(row.try_get("", "day")?).or_default().take(&row, false)?;
    }
    Ok(found)
}

/// By client, without times; of those clients only.
pub(super) async fn by_client(db: &impl ConnectionTrait, clients: &[Uuid], range: DayRange) -> Result<BTreeMap<Uuid, Sums>, DbErr> {
    if clients.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut sql = Sql::new("select client_id, outcome, cast(sum(calls) as bigint) as calls, cast(sum(counted) as bigint) as counted from usage_days where client_id in ");
    sql.list(clients.iter().copied());
    within(&mut sql, range).push(" group by client_id, outcome");
    let mut found = BTreeMap::<Uuid, Sums>::new();
    for row in sql.rows(db).await? {
        found.entry(row.try_get("", "client_id")?).or_default().take(&row, false)?;
    }
    Ok(found)
}

pub(super) fn within(sql: &mut Sql, range: DayRange) -> &mut Sql {
    let (from, to) = range.day_numbers();
    sql.push(" and day >= ").bind(from).push(" and day <= ").bind(to)
}
