//! Into the table: a batch is stored and added to the sums in one transaction, and only what was not there yet counts.

use std::collections::HashSet;

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait, IdenStatic, IntoActiveModel, Iterable, ModelTrait, QueryTrait, Statement, Value,
};

use super::rollup::roll_up;
use crate::db;
use crate::db::entities::tool_usage::{self, Column};

/// Records in one statement at most: SQLite takes 32,766 parameters, and a record has 14.
pub(super) const BATCH_RECORDS_MAX: usize = 2_048;

/// Whether the database refuses the rows themselves. Anything else (away, busy, full, a table that is not there) may pass, and the rows wait.
pub(super) fn is_refusal(error: &DbErr) -> bool {
    use sea_orm::{RuntimeErr, sqlx};
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) = error else { return false };
    let sqlx::Error::Database(cause) = cause.as_ref() else { return false };
    // PostgreSQL's classes 22 (data) and 23 (constraints), of five characters; SQLite's TOOBIG, CONSTRAINT and MISMATCH.
    cause.code().is_some_and(|code| match code.len() {
        5 => code.starts_with("22") || code.starts_with("23"),
        _ => code.parse::<u32>().is_ok_and(|code| [18, 19, 20].contains(&(code & 0xff))),
    })
}

/// Stores a batch and adds it to the roll-ups, in one transaction: only rows that were not there yet count.
pub(super) async fn insert(db: &DatabaseConnection, batch: &[tool_usage::Model]) -> Result<(), DbErr> {
    if batch.is_empty() {
        return Ok(());
    }
    let transaction = db::begin_write(db).await?;
    if store(&transaction, batch).await? == batch.len() as u64 {
        roll_up(&transaction, &batch.iter().collect::<Vec<_>>()).await?;
        return transaction.commit().await;
    }
    // Some were there, from a delivery that was cut off: once more, and the database says which. It is not asked every time, since each row that
    // SQLite gives back costs two switches between threads.
    transaction.rollback().await?;
    let transaction = db::begin_write(db).await?;
    let active = batch.iter().map(|row| row.clone().into_active_model());
    let mut statement = tool_usage::Entity::insert_many(active).on_conflict(OnConflict::new().do_nothing().to_owned()).into_query();
    let mut inserted: HashSet<uuid::Uuid> = HashSet::with_capacity(batch.len());
    for row in transaction.query_all(statement.returning_col(Column::Id)).await? {
        inserted.insert(row.try_get("", "id")?);
    }
    // The first of two with the same id is the one that was stored.
    let fresh: Vec<&tool_usage::Model> = batch.iter().filter(|row| inserted.remove(&row.id)).collect();
    roll_up(&transaction, &fresh).await?;
    transaction.commit().await
}

/// Inserts the rows that are not there yet; how many those were.
async fn store(transaction: &DatabaseTransaction, batch: &[tool_usage::Model]) -> Result<u64, DbErr> {
    let backend = transaction.get_database_backend();
    let (mut rest, mut stored) = (batch, 0);
    // Statements of few sizes: each is prepared once, and then known to the connection. To prepare one costs more than to run it.
    while let Some(bits) = rest.len().checked_ilog2() {
        let (rows, behind) = rest.split_at(1 << bits);
        rest = behind;
        let values: Vec<Value> = rows.iter().flat_map(|row| Column::iter().map(|column| row.get(column))).collect();
        let statement = Statement::from_sql_and_values(backend, insert_sql(backend, rows.len()), values);
        stored += transaction.execute_raw(statement).await?.rows_affected();
    }
    Ok(stored)
}

/// The statement for so many rows, its columns as [`Column`] has them.
fn insert_sql(backend: DbBackend, rows: usize) -> String {
    let columns: Vec<&str> = Column::iter().map(|column| column.as_str()).collect();
    let mut sql = format!("insert into tool_usage ({}) values ", columns.join(", "));
    for place in 1..=rows * columns.len() {
        let before = match place % columns.len() {
            1 if place == 1 => "(",
            1 => "), (",
            _ => ", ",
        };
        sql.push_str(before);
        db::push_place(&mut sql, backend, place);
    }
    // Not by name: on PostgreSQL the key is the id and the beginning. Both are made once, with the record, so that a record is there once.
    sql.push_str(") on conflict do nothing");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_a_place_for_each_value() {
        let columns = Column::iter().count();
        let sql = insert_sql(DbBackend::Postgres, 2);
        assert!(sql.starts_with("insert into tool_usage (id, client_id, token_id, ") && sql.ends_with(&format!(", ${}) on conflict do nothing", columns * 2)), "{sql}");
        assert_eq!((sql.matches('(').count(), sql.matches(&format!("), (${}, ", columns + 1)).count()), (3, 1), "{sql}");
        assert!(columns * BATCH_RECORDS_MAX < 32_766, "SQLite's limit on parameters");
    }
}
