//! What tables a database has, asked of the database itself, in words that are the same for both kinds; and which migrations it has seen.

use std::collections::BTreeMap;

use anyhow::Context;
use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};
use serde::{Deserialize, Serialize};

/// Where the migrations are noted.
const MIGRATIONS: &str = "seaql_migrations";
/// What is true for the moment only, or can be made again: who lives, and the padrón.
const PASSING: [&str; 3] = ["nodes", "padron_listings", "padron_pieces"];

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// Yes or no.
    Flag,
    /// A UUID.
    Uuid,
    /// A UTC instant.
    Instant,
    /// A JSON document.
    Json,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether a number has 64 bits in this database.
    pub wide: bool,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// In the database's order.
    pub columns: Vec<Column>,
    /// The names of the primary key's columns.
    pub key: Vec<String>,
    /// The tables it points to.
    points_to: Vec<String>,
}

impl Table {
    /// Whether it has that column.
    #[must_use]
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|found| found.name == column)
    }
}

/// The migrations this program knows, oldest first.
#[must_use]
pub fn known() -> Vec<String> {
    Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect()
}

/// The migrations this database has seen, oldest first; none when it is new.
///
/// # Errors
/// The database does not answer.
pub async fn applied(db: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
    if !names(db).await?.iter().any(|name| name == MIGRATIONS) {
        return Ok(Vec::new());
    }
    texts(db, &format!("select version as name from {MIGRATIONS} order by 1")).await
}

/// How many migrations the database has not seen.
///
/// # Errors
/// The database does not answer, or has seen migrations that we do not know.
pub async fn pending(db: &impl ConnectionTrait) -> anyhow::Result<usize> {
    let (known, applied) = (known(), applied(db).await?);
    if let Some(newer) = applied.iter().find(|name| !known.contains(name)) {
        anyhow::bail!("the database is newer than this program (it has {newer}): install the version that made it, or restore a backup from before");
    }
    Ok(known.len() - applied.len())
}

/// Every table but the list of migrations, those first that others point to.
///
/// # Errors
/// The database does not answer, or has a column of a kind that is not known here.
pub async fn tables(db: &impl ConnectionTrait) -> anyhow::Result<Vec<Table>> {
    let mut waiting = BTreeMap::new();
    for name in names(db).await? {
        if name != MIGRATIONS && !PASSING.contains(&name.as_str()) {
            waiting.insert(name.clone(), table(db, name).await?);
        }
    }
    let mut sorted: Vec<Table> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let free = |table: &&Table| !table.points_to.iter().any(|other| *other != table.name && waiting.contains_key(other));
        let name = waiting.values().find(free).context("tables point to each other in a circle")?.name.clone();
        sorted.extend(waiting.remove(&name));
    }
    Ok(sorted)
}

async fn names(db: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
    let sql = match db.get_database_backend() {
        DbBackend::Sqlite => "select name from sqlite_master where type = 'table' and name not like 'sqlite_%' order by 1",
        // A table in parts is one table.
        _ => "select relname::text as name from pg_class where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p') and not relispartition order by 1",
    };
    texts(db, sql).await
}

async fn table(db: &impl ConnectionTrait, name: String) -> anyhow::Result<Table> {
    let sqlite = db.get_database_backend() == DbBackend::Sqlite;
    let (columns, key, points_to) = if sqlite {
        (
            format!("select name, type as kind from pragma_table_info('{name}') order by cid"),
            format!("select name from pragma_table_info('{name}') where pk > 0 order by pk"),
            format!("select \"table\" as name from pragma_foreign_key_list('{name}')"),
        )
    } else {
        (
            format!(
                "select column_name::text as name, data_type::text as kind from information_schema.columns where table_schema = current_schema() and table_name = '{name}' order by ordinal_position"
            ),
            format!(
                "select a.attname::text as name from pg_index i cross join unnest(i.indkey) with ordinality as k(place, position) \
                 join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.place \
                 where i.indrelid = '\"{name}\"'::regclass and i.indisprimary order by k.position"
            ),
            format!("select confrelid::regclass::text as name from pg_constraint where contype = 'f' and conrelid = '\"{name}\"'::regclass"),
        )
    };
    let mut found = Vec::new();
    for row in rows(db, &columns).await? {
        let (column, declared): (String, String) = (row.try_get("", "name")?, row.try_get("", "kind")?);
        let kind = kind(&declared).with_context(|| format!("{name}.{column} is of the kind {declared}, which a copy cannot hold"))?;
        found.push(Column { name: column, kind, wide: sqlite || declared == "bigint" });
    }
    Ok(Table { columns: found, key: texts(db, &key).await?, points_to: texts(db, &points_to).await?, name })
}

fn kind(declared: &str) -> Option<Kind> {
    Some(match declared.to_ascii_lowercase().as_str() {
        "text" | "varchar" | "character varying" => Kind::Text,
        "integer" | "bigint" => Kind::Number,
        "boolean" => Kind::Flag,
        "uuid" | "uuid_text" => Kind::Uuid,
        "timestamp with time zone" | "timestamp_with_timezone_text" => Kind::Instant,
        "jsonb" | "jsonb_text" => Kind::Json,
        _ => return None,
    })
}

async fn rows(db: &impl ConnectionTrait, sql: &str) -> Result<Vec<QueryResult>, DbErr> {
    db.query_all_raw(Statement::from_string(db.get_database_backend(), sql.to_owned())).await
}

async fn texts(db: &impl ConnectionTrait, sql: &str) -> Result<Vec<String>, DbErr> {
    rows(db, sql).await?.iter().map(|row| row.try_get("", "name")).collect()
}
