//! Reading everything back: in one transaction, so that a restore that fails has changed nothing.

use std::path::Path;

use anyhow::Context;
use chrono::{DateTime, Utc};
use migration::{Migrator, MigratorTrait};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseConnection, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Statement, Value as Cell};
use serde_json::{Value, json};

use super::cells::cell;
use super::file::Archive;
use super::{Manifest, TableFacts, list};
use crate::clock::Clock;
use crate::db::entities::{alert_deliveries, odoo_keys};
use crate::db::parts::{self, Covered};
use crate::db::schema::{self, Column, Table};
use crate::db::{self, push_place};
use crate::domain::audit::{self, Actor, Change};
use crate::domain::odoo_keys::Outcome;
use crate::domain::vault::{Sealed, Vault};

/// Rows of one statement, and its values: databases have a limit (SQLite 32,766).
const ROWS_MAX: usize = 256;
const VALUES_MAX: usize = 30_000;
/// What a new database has of its own: the price list.
const SEEDED: [&str; 1] = ["plans"];

/// What a restore did.
#[derive(Debug)]
pub struct Restored {
    /// What was in the file.
    pub manifest: Manifest,
    /// Migrations that were run on it afterwards, because the file is older than the program.
    pub migrated: usize,
}

/// Restores a backup into a database that is new, or with `replace` in place of what is there. Counts and keys are checked before it counts. The service that it is
/// of may run on: what a copy beside it must not do is switched off (`quieten`).
///
/// # Errors
/// The file is not whole, newer than the program, or a tenant's export; the database is not empty and must not be replaced, or is newer; the
/// vault's key is not the one of the file. Nothing was changed then.
pub async fn restore(db: &DatabaseConnection, clock: &Clock, vault: &Vault, path: &Path, replace: bool, actor: &Actor) -> anyhow::Result<Restored> {
    put_back(db, clock, vault, path, replace, false, actor).await
}

/// The same into a new database that takes the place of the one that the backup is of: nothing is switched off.
///
/// # Errors
/// As [`restore`].
pub async fn restore_moved(db: &DatabaseConnection, clock: &Clock, vault: &Vault, path: &Path, actor: &Actor) -> anyhow::Result<Restored> {
    put_back(db, clock, vault, path, false, true, actor).await
}

async fn put_back(db: &DatabaseConnection, clock: &Clock, vault: &Vault, path: &Path, replace: bool, moved: bool, actor: &Actor) -> anyhow::Result<Restored> {
    let mut archive = Archive::open(path)?;
    let manifest = archive.manifest.clone();
    anyhow::ensure!(manifest.tenant.is_none(), "the file is the export of one tenant: `dunet import` takes it");
    let known = schema::known();
    if let Some(newer) = manifest.migrations.iter().find(|name| !known.contains(name)) {
        anyhow::bail!("the backup was made by a newer Dunet ({}, it has {newer}): update first", manifest.dunet);
    }
    anyhow::ensure!(known.starts_with(&manifest.migrations), "the backup was made by a version of Dunet with another history: restore it with that version ({})", manifest.dunet);

    let transaction = db::migrating(db).await?;
    let applied = schema::applied(&transaction).await?;
    if !replace && let Some((table, rows)) = first_filled(&transaction).await? {
        anyhow::bail!("the database is in use ({rows} rows in {table}): restore into a new one, or say --replace to lose what is there");
    }
    if applied != manifest.migrations {
        // The tables as they were then; what came later is run on the rows.
        Migrator::down(&transaction, None).await.context("taking the tables away")?;
        let steps = u32::try_from(manifest.migrations.len()).unwrap_or(u32::MAX);
        Migrator::up(&transaction, Some(steps)).await.context("making the tables of the backup")?;
    }
    let tables = schema::tables(&transaction).await?;
    for table in tables.iter().rev() {
        transaction.execute_unprepared(&format!("delete from \"{}\"", table.name)).await?;
    }
    for facts in &manifest.tables {
        let table = tables.iter().find(|table| table.name == facts.name).with_context(|| format!("the backup has a table that is not known: {}", facts.name))?;
        let columns = columns(table, facts)?;
        insert_all(&transaction, &mut archive, facts, &columns).await?;
        let rows = count(&transaction, &table.name).await?;
        anyhow::ensure!(rows == facts.rows, "{} rows of {} were restored, not {}", rows, facts.name, facts.rows);
    }
    keys_check(&transaction, vault).await?;
    Migrator::up(&transaction, None).await.context("running the migrations that the backup has not seen")?;
    let mut after = json!({ "made_at": manifest.made_at, "rows": manifest.rows(), "dunet": manifest.dunet });
    if !moved {
        let renewals_off = quieten(&transaction, clock).await.context("switching off what a copy must not do")?;
        after["odoo_key_renewals_off"] = json!(renewals_off);
    }
    let change = Change { tenant: None, action: "database.restore", subject: "database".to_owned(), before: None, after: Some(after) };
    audit::record(&transaction, clock, actor, change).await?;
    transaction.commit().await?;
    let migrated = known.len() - manifest.migrations.len();
    Ok(Restored { manifest, migrated })
}

/// A copy beside the service that it is of must not renew Odoo keys, which would revoke them under that one, nor revoke any, nor send its letters a second time.
/// Answers whose renewals were switched off: where the service is lost, their owners switch them on again.
async fn quieten(transaction: &DatabaseTransaction, clock: &Clock) -> anyhow::Result<Vec<uuid::Uuid>> {
    let renewing = odoo_keys::Entity::find().select_only().column(odoo_keys::Column::ClientId).filter(odoo_keys::Column::Renew.eq(true));
    let renewing = renewing.order_by_asc(odoo_keys::Column::ClientId).into_tuple().all(transaction).await?;
    odoo_keys::Entity::update_many()
        .col_expr(odoo_keys::Column::Outcome, Expr::value(Outcome::RenewedOldStays.as_str()))
        .filter(odoo_keys::Column::OldSealed.is_not_null())
        .exec(transaction)
        .await?;
    odoo_keys::Entity::update_many()
        .col_expr(odoo_keys::Column::Renew, Expr::value(false))
        .col_expr(odoo_keys::Column::OldSealed, Expr::value(Option::<String>::None))
        .col_expr(odoo_keys::Column::ClaimedUntil, Expr::value(Option::<DateTime<Utc>>::None))
        .exec(transaction)
        .await?;
    alert_deliveries::Entity::update_many()
        .col_expr(alert_deliveries::Column::State, Expr::value("given_up"))
        .col_expr(alert_deliveries::Column::EndedAt, Expr::value(Some(clock.now())))
        .filter(alert_deliveries::Column::State.eq("waiting"))
        .exec(transaction)
        .await?;
    Ok(renewing)
}

/// The columns of a table in the order of the file.
pub(super) fn columns(table: &Table, facts: &TableFacts) -> anyhow::Result<Vec<Column>> {
    let find = |name: &str| table.columns.iter().find(|column| column.name == name).cloned();
    facts.columns.iter().map(|column| find(&column.name).with_context(|| format!("the backup has a column that is not known: {}.{}", facts.name, column.name))).collect()
}

async fn insert_all(transaction: &DatabaseTransaction, archive: &mut Archive, facts: &TableFacts, columns: &[Column]) -> anyhow::Result<()> {
    let mut rows = archive.rows(facts)?;
    let covered = Covered::default();
    loop {
        let batch = rows.batch(rows_of_one(columns))?;
        if batch.is_empty() {
            return Ok(());
        }
        cover(transaction, &covered, &facts.name, columns, &batch).await?;
        insert(transaction, &facts.name, columns, &batch, "").await.with_context(|| format!("restoring the table {}", facts.name))?;
    }
}

/// Makes the parts of the table that the rows need.
pub(super) async fn cover(transaction: &DatabaseTransaction, covered: &Covered, table: &str, columns: &[Column], rows: &[Vec<Value>]) -> anyhow::Result<()> {
    if table == parts::TABLE {
        let place = columns.iter().position(|column| column.name == parts::KEY).context("calls without a beginning")?;
        let times = rows.iter().filter_map(|row| row.get(place)?.as_str()?.parse().ok());
        covered.cover_within(transaction, times).await?;
    }
    Ok(())
}

/// How many rows one statement takes.
pub(super) fn rows_of_one(columns: &[Column]) -> usize {
    (VALUES_MAX / columns.len().max(1)).clamp(1, ROWS_MAX)
}

/// Inserts rows; `conflict` is what follows the values.
pub(super) async fn insert(transaction: &DatabaseTransaction, table: &str, columns: &[Column], rows: &[Vec<Value>], conflict: &str) -> anyhow::Result<()> {
    let backend = transaction.get_database_backend();
    let mut sql = format!("insert into \"{table}\" ({}) values ", list(columns));
    let mut values: Vec<Cell> = Vec::with_capacity(rows.len() * columns.len());
    for (number, row) in rows.iter().enumerate() {
        sql.push_str(if number == 0 { "(" } else { ", (" });
        for (place, (value, column)) in row.iter().zip(columns).enumerate() {
            if place > 0 {
                sql.push_str(", ");
            }
            values.push(cell(value, column)?);
            push_place(&mut sql, backend, values.len());
        }
        sql.push(')');
    }
    sql.push_str(conflict);
    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(())
}

/// The first table with rows of somebody's.
async fn first_filled(transaction: &DatabaseTransaction) -> anyhow::Result<Option<(String, u64)>> {
    for table in schema::tables(transaction).await? {
        let rows = if SEEDED.contains(&table.name.as_str()) { 0 } else { count(transaction, &table.name).await? };
        if rows > 0 {
            return Ok(Some((table.name, rows)));
        }
    }
    Ok(None)
}

async fn count(transaction: &DatabaseTransaction, table: &str) -> anyhow::Result<u64> {
    let statement = Statement::from_string(transaction.get_database_backend(), format!("select count(*) as n from \"{table}\""));
    let row = transaction.query_one_raw(statement).await?.context("a count")?;
    Ok(u64::try_from(row.try_get::<i64>("", "n")?)?)
}

/// Whether our master keys wrapped the data keys in these tables.
pub(super) async fn keys_check(transaction: &DatabaseTransaction, vault: &Vault) -> anyhow::Result<()> {
    for table in schema::tables(transaction).await?.iter().filter(|table| table.has("data_key_sealed")) {
        let sql = format!("select data_key_sealed as k from \"{}\" where data_key_sealed is not null", table.name);
        for row in transaction.query_all_raw(Statement::from_string(transaction.get_database_backend(), sql)).await? {
            vault.knows(&Sealed(row.try_get("", "k")?)).context("the vault key is not the one of the file: DUNET_VAULT_KEY_FILE must name the key that was in use then")?;
        }
    }
    Ok(())
}
