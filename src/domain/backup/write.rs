//! Writing: of everything, or of one tenant.

use std::path::Path;

use anyhow::Context;
use futures::TryStreamExt;
use sea_orm::{AccessMode, DatabaseConnection, DatabaseTransaction, DbBackend, IsolationLevel, Statement, StreamTrait, TransactionTrait};
use uuid::Uuid;

use super::cells::line;
use super::file::Writer;
use super::{ColumnFacts, FORMAT, Manifest, TableFacts, list, ordered};
use crate::clock::Clock;
use crate::db::schema::{self, Table};
use crate::ids::TenantId;

/// Writes a backup of everything, or of what belongs to one tenant: its row and its plan, the rows with its id, and its people without their
/// sessions and links. The file must not exist.
///
/// # Errors
/// The database or the disk; there is no such tenant. Nothing is left behind.
pub async fn backup(db: &DatabaseConnection, clock: &Clock, path: &Path, tenant: Option<TenantId>) -> anyhow::Result<Manifest> {
    let mut file = Writer::create(path)?;
    // As it is at this moment, whatever is written meanwhile. SQLite's transactions are so by themselves.
    let postgres = db.get_database_backend() == DbBackend::Postgres;
    let transaction = db.begin_with_config(postgres.then_some(IsolationLevel::RepeatableRead), postgres.then_some(AccessMode::ReadOnly)).await?;
    let mut tables = Vec::new();
    for table in schema::tables(&transaction).await? {
        if let Some(filter) = filter(&table, tenant.map(|id| literal(id.uuid(), postgres)).as_deref()) {
            tables.push(write(&transaction, &mut file, &table, &filter, postgres).await.with_context(|| format!("writing the table {}", table.name))?);
        }
    }
    let found = |name: &str| tables.iter().any(|table| table.name == name && table.rows > 0);
    anyhow::ensure!(tenant.is_none() || found("clients"), "there is no such tenant");
    let migrations = schema::applied(&transaction).await?;
    transaction.commit().await?;
    let manifest = Manifest { format: FORMAT, dunet: env!("CARGO_PKG_VERSION").to_owned(), made_at: clock.now(), tenant: tenant.map(TenantId::uuid), migrations, tables };
    file.finish(&manifest)?;
    Ok(manifest)
}

/// Which rows of a table; none when the table does not belong in the file.
fn filter(table: &Table, tenant: Option<&str>) -> Option<String> {
    let Some(id) = tenant else { return Some(String::new()) };
    let members = format!("in (select user_id from memberships where client_id = {id})");
    // What somebody allowed who is not of it any more ended then, and they are not in the file.
    let grants = format!("client_id = {id} and (user_id is null or user_id {members} and user_id not in (select id from users where role = 'operator'))");
    Some(match table.name.as_str() {
        "plans" => format!(" where code = (select plan_code from clients where id = {id})"),
        "clients" => format!(" where id = {id}"),
        // Whoever runs a service is nobody's export.
        "users" => format!(" where id {members} and role <> 'operator'"),
        "memberships" => format!(" where client_id = {id} and user_id not in (select id from users where role = 'operator')"),
        "user_links" => return None,
        "oauth_grants" => format!(" where {grants}"),
        _ if table.has("client_id") && table.has("grant_id") => format!(" where client_id = {id} and grant_id in (select id from oauth_grants where {grants})"),
        _ if table.has("client_id") => format!(" where client_id = {id}"),
        _ => return None,
    })
}

/// SQLite keeps ids as bytes.
fn literal(id: Uuid, postgres: bool) -> String {
    if postgres { format!("'{id}'") } else { format!("x'{}'", id.simple()) }
}

async fn write(transaction: &DatabaseTransaction, file: &mut Writer, table: &Table, filter: &str, postgres: bool) -> anyhow::Result<TableFacts> {
    let backend = if postgres { DbBackend::Postgres } else { DbBackend::Sqlite };
    let sql = format!("select {} from \"{}\"{filter}{}", list(&table.columns), table.name, ordered(table, postgres));
    file.table_begin(&table.name)?;
    let mut rows = transaction.stream_raw(Statement::from_string(backend, sql)).await?;
    while let Some(row) = rows.try_next().await? {
        file.row(line(&row, &table.columns)?)?;
    }
    let (rows, sha256) = file.table_end();
    let columns = table.columns.iter().map(|column| ColumnFacts { name: column.name.clone(), kind: column.kind }).collect();
    Ok(TableFacts { name: table.name.clone(), columns, rows, sha256 })
}
