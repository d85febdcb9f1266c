//! `tool_usage` in parts by month on PostgreSQL, so that old calls go with their month instead of one by one. SQLite keeps one table.
//!
//! The calls that are there are not copied: their table becomes the first part, for everything up to the end of this month. What takes time is one
//! index, during which calls can be read, and one look at every row, during which they cannot (docs/operations.md says how long).

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DbBackend, QueryResult, Statement};

use crate::parts;

/// Every index of the table but its key, with what stands behind its name.
const INDICES: [(&str, &str); 5] = [
    ("ix_tool_usage_month", "(client_id, billing_month)"),
    ("ix_tool_usage_started", "(client_id, started_at)"),
    ("ix_tool_usage_time", "(started_at, id)"),
    ("ix_tool_usage_errors", "(started_at, id) where outcome = 'error'"),
    ("ix_tool_usage_client_errors", "(client_id, started_at, id) where outcome = 'error'"),
];

/// The month of a call, and the one after today's, as YYYYMM.
const MONTH: &str = "cast(to_char(started_at at time zone 'UTC' - interval '4 hours', 'YYYYMM') as integer)";
const NEXT_MONTH: &str = "cast(to_char(now() at time zone 'UTC' - interval '4 hours' + interval '1 month', 'YYYYMM') as integer)";

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        if manager.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        // The key of a table in parts has what it is parted by. A call's beginning is fixed when its id is made: it is still there once.
        db.execute_unprepared("create unique index tool_usage_earlier_pkey on tool_usage (id, started_at)").await?;
        db.execute_unprepared("lock table tool_usage in access exclusive mode").await?;
        db.execute_unprepared("alter table tool_usage drop constraint tool_usage_pkey").await?;
        db.execute_unprepared("alter table tool_usage rename to tool_usage_earlier").await?;
        db.execute_unprepared("alter table tool_usage_earlier add primary key using index tool_usage_earlier_pkey").await?;
        for (index, _) in INDICES {
            db.execute_unprepared(&format!("alter index {index} rename to {index}_earlier")).await?;
        }
        db.execute_unprepared("create table tool_usage (like tool_usage_earlier including defaults, primary key (id, started_at)) partition by range (started_at)").await?;
        for (index, definition) in INDICES {
            db.execute_unprepared(&format!("create index {index} on tool_usage {definition}")).await?;
        }
        if numbers(db, "select 1 as n from tool_usage_earlier limit 1").await?.is_empty() {
            db.execute_unprepared("drop table tool_usage_earlier").await?;
            return Ok(());
        }
        let bound = numbers(db, &format!("select {NEXT_MONTH} as n")).await?.first().copied().unwrap_or_default();
        let begins = parts::begins(bound);
        // Calls from a clock that was wrong: into their own months, or the first part would be for all months until then.
        let later = numbers(db, &format!("select distinct {MONTH} as n from tool_usage_earlier where started_at >= {begins} order by 1")).await?;
        for month in &later {
            parts::make(db, *month).await?;
        }
        if !later.is_empty() {
            db.execute_unprepared(&format!("insert into tool_usage select * from tool_usage_earlier where started_at >= {begins}")).await?;
            db.execute_unprepared(&format!("delete from tool_usage_earlier where started_at >= {begins}")).await?;
        }
        // Reads every row once, to be sure of the bound.
        db.execute_unprepared(&format!("alter table tool_usage attach partition tool_usage_earlier for values from (minvalue) to ({begins})")).await?;
        Ok(())
    }

    /// One table again; every row is copied.
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        if manager.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        db.execute_unprepared("lock table tool_usage in access exclusive mode").await?;
        db.execute_unprepared("create table tool_usage_whole (like tool_usage including defaults)").await?;
        db.execute_unprepared("insert into tool_usage_whole select * from tool_usage").await?;
        db.execute_unprepared("drop table tool_usage").await?;
        db.execute_unprepared("alter table tool_usage_whole rename to tool_usage").await?;
        db.execute_unprepared("alter table tool_usage add constraint tool_usage_pkey primary key (id)").await?;
        for (index, definition) in INDICES {
            db.execute_unprepared(&format!("create index {index} on tool_usage {definition}")).await?;
        }
        Ok(())
    }
}

async fn numbers(db: &SchemaManagerConnection<'_>, sql: &str) -> Result<Vec<i32>, DbErr> {
    let rows: Vec<QueryResult> = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    rows.iter().map(|row| row.try_get("", "n")).collect()
}
