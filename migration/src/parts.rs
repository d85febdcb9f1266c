//! `tool_usage` in parts, one a month, on PostgreSQL: how a part is called, where it begins, how it is made.
//!
//! A month turns at midnight in Santo Domingo, so that a part holds the calls of one billing month. Its clocks stand four hours behind all year
//! round; should that change, a part holds an hour of its neighbour's calls, which does no harm: who asks for a month asks for its instants.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, Statement};

/// The table that is in parts.
pub const TABLE: &str = "tool_usage";

/// The table of a month (YYYYMM).
#[must_use]
pub fn name(month: i32) -> String {
    format!("{TABLE}_{month:06}")
}

/// The instant at which a month (YYYYMM) begins, as PostgreSQL reads it.
#[must_use]
pub fn begins(month: i32) -> String {
    format!("'{:04}-{:02}-01T04:00:00Z'", month / 100, month % 100)
}

/// The month after.
#[must_use]
pub fn next(month: i32) -> i32 {
    if month % 100 == 12 { month + 89 } else { month + 1 }
}

/// Makes a month's part. Attaching takes no lock that a reader, an insert or a backup would have to wait for, as creating it in place would.
/// Where a table has the name (somebody detached the month to keep it), the part gets another.
///
/// # Errors
/// The database; there is such a part already.
pub async fn make<C: ConnectionTrait>(db: &C, month: i32) -> Result<(), DbErr> {
    let mut name = name(month);
    while is_taken(db, &name).await? {
        name.push('a');
    }
    db.execute_unprepared(&format!("create table {name} (like {TABLE} including all)")).await?;
    db.execute_unprepared(&format!("alter table {TABLE} attach partition {name} for values from ({}) to ({})", begins(month), begins(next(month)))).await?;
    Ok(())
}

async fn is_taken<C: ConnectionTrait>(db: &C, name: &str) -> Result<bool, DbErr> {
    let statement = Statement::from_string(db.get_database_backend(), format!("select to_regclass('{name}') is not null as taken"));
    db.query_one_raw(statement).await?.map_or(Ok(false), |row| row.try_get("", "taken"))
}
