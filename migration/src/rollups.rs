//! Fills the roll-ups of usage from `tool_usage`: for databases that are older than the roll-ups, and for benchmarks. From then on the
//! delivery of usage keeps them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::prelude::Uuid;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, Statement, Value};

/// Upper bounds of the buckets of time, microseconds; one more bucket holds what took longer. The same as those of `/metrics`.
pub const TIME_BOUNDS_US: [i64; 14] = [1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000];

/// What is timed: the whole call, its part in Odoo (of calls that asked Odoo), its part in Dunet.
pub const PARTS: [&str; 3] = ["total", "odoo", "own"];

/// The column of a bucket: `total_0` counts calls of up to the first bound.
#[must_use]
pub fn column(part: &str, bucket: usize) -> String {
    format!("{part}_{bucket}")
}

/// Empties the roll-ups and fills them from all calls that are there, a month at a time. Nobody may deliver usage meanwhile.
///
/// # Errors
/// The database.
pub async fn fill<C: ConnectionTrait>(db: &C) -> Result<(), DbErr> {
    let backend = db.get_database_backend();
    for table in ["usage_months", "usage_days", "usage_hours"] {
        db.execute_unprepared(&format!("delete from {table}")).await?;
    }
    let (day, hour) = match backend {
        // Santo Domingo is four hours behind all year round.
        DbBackend::Postgres => {
            ("cast(to_char(started_at at time zone 'UTC' - interval '4 hours', 'YYYYMMDD') as integer)", "cast(floor(extract(epoch from started_at) / 3600) as integer)")
        }
        _ => ("cast(strftime('%Y%m%d', started_at, '-4 hours') as integer)", "cast(strftime('%s', started_at) as integer) / 3600"),
    };
    let mut names = Vec::new();
    let mut sums = Vec::new();
    for (part, value) in PARTS.iter().zip(["total_us", "case when odoo_requests > 0 then odoo_us end", "total_us - odoo_us"]) {
        for bucket in 0..=TIME_BOUNDS_US.len() {
            let over = bucket.checked_sub(1).map(|below| format!("({value}) > {}", TIME_BOUNDS_US[below]));
            let up_to = TIME_BOUNDS_US.get(bucket).map(|bound| format!("({value}) <= {bound}"));
            let within: Vec<String> = [over, up_to].into_iter().flatten().collect();
            names.push(column(part, bucket));
            sums.push(format!("sum(case when {} then 1 else 0 end)", within.join(" and ")));
        }
    }
    let (names, sums) = (names.join(", "), sums.join(", "));
    let failed = "sum(case when outcome = 'error' then 1 else 0 end)";
    let counted = "sum(case when counted then 1 else 0 end)";
    for month in months(db).await? {
        let range = format!("from tool_usage where billing_month = {month}");
        db.execute_unprepared(&format!(
            "insert into usage_months (client_id, month, calls, counted, failed, last_at) \
             select client_id, billing_month, count(*), {counted}, {failed}, max(started_at) {range} group by 1, 2"
        ))
        .await?;
        db.execute_unprepared(&format!(
            "insert into usage_days (client_id, day, tool, outcome, error_code, calls, counted, total_us, odoo_us, {names}) \
             select client_id, {day}, tool, outcome, coalesce(error_code, ''), count(*), {counted}, sum(total_us), sum(odoo_us), {sums} {range} group by 1, 2, 3, 4, 5"
        ))
        .await?;
        db.execute_unprepared(&format!("insert into usage_hours (client_id, hour, calls, failed) select client_id, {hour}, count(*), {failed} {range} group by 1, 2")).await?;
    }
    everybody(db).await
}

/// The sums over all tenants, under the nil id.
async fn everybody<C: ConnectionTrait>(db: &C) -> Result<(), DbErr> {
    let mut columns: Vec<String> = ["calls", "counted", "total_us", "odoo_us"].map(str::to_owned).to_vec();
    columns.extend(PARTS.iter().flat_map(|part| (0..=TIME_BOUNDS_US.len()).map(|bucket| column(part, bucket))));
    let sums: Vec<String> = columns.iter().map(|column| format!("sum({column})")).collect();
    let (columns, sums) = (columns.join(", "), sums.join(", "));
    for sql in [
        format!(
            "insert into usage_days (client_id, day, tool, outcome, error_code, {columns}) select $1, day, tool, outcome, error_code, {sums} from usage_days group by 2, 3, 4, 5"
        ),
        "insert into usage_hours (client_id, hour, calls, failed) select $1, hour, sum(calls), sum(failed) from usage_hours group by 2".to_owned(),
    ] {
        db.execute_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, [Value::from(Uuid::nil())])).await?;
    }
    Ok(())
}

async fn months<C: ConnectionTrait>(db: &C) -> Result<Vec<i32>, DbErr> {
    let sql = "select distinct billing_month as month from tool_usage order by 1";
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    rows.iter().map(|row| row.try_get("", "month")).collect()
}
