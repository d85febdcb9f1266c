//! Backups: every table as lines of JSON in a zip, with a manifest of counts, checksums and the migrations that made the tables. The same file
//! restores on SQLite and PostgreSQL, so that it also moves a service from one to the other; a tenant's export is such a file with its rows only.
//!
//! Written within one transaction that sees the database as it was when it began, while others go on writing. What is sealed stays sealed: without
//! the vault's key a backup opens no secret, and is refused where the key is another. The padrón is not in it: it is public and fetched anew.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::db::schema::{Column, Kind, Table};

mod cells;
mod file;
mod restore;
mod tenant;
mod write;

pub use restore::{Restored, restore, restore_moved};
pub use tenant::tenant_import;
pub use write::backup;

/// The form of the file.
const FORMAT: u32 = 1;
/// The member that describes the others, the last one.
const MANIFEST: &str = "manifest.json";

/// What a backup holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// The version of the program that wrote it.
    pub dunet: String,
    /// When.
    pub made_at: DateTime<Utc>,
    /// The only tenant whose rows are in it.
    pub tenant: Option<Uuid>,
    /// The migrations the database had seen, oldest first.
    migrations: Vec<String>,
    /// Its tables, those first that others point to.
    pub tables: Vec<TableFacts>,
}

/// A table in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFacts {
    /// Its name.
    pub name: String,
    columns: Vec<ColumnFacts>,
    /// How many.
    pub rows: u64,
    /// SHA-256 of its lines, hexadecimal. The same rows have the same on both databases.
    pub sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ColumnFacts {
    name: String,
    kind: Kind,
}

impl Manifest {
    /// Rows of all tables.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }
}

impl TableFacts {
    fn member(&self) -> String {
        member(&self.name)
    }
}

fn member(table: &str) -> String {
    format!("{table}.jsonl")
}

/// Reads a backup to its end and gives its manifest; nothing else is done with it.
///
/// # Errors
/// It is no backup, not whole, or was changed.
pub fn inspect(path: &Path) -> anyhow::Result<Manifest> {
    Ok(file::Archive::open(path)?.manifest)
}

/// `"a", "b"`: names of columns in SQL.
fn list(columns: &[Column]) -> String {
    columns.iter().map(|column| format!("\"{}\"", column.name)).collect::<Vec<_>>().join(", ")
}

/// In an order that both databases agree on: by the bytes of the key.
fn ordered(table: &Table, postgres: bool) -> String {
    let keys: Vec<String> = table
        .key
        .iter()
        .map(|name| {
            let text = table.columns.iter().any(|column| column.name == *name && column.kind == Kind::Text);
            format!("\"{name}\"{}", if text && postgres { " collate \"C\"" } else { "" })
        })
        .collect();
    if keys.is_empty() { String::new() } else { format!(" order by {}", keys.join(", ")) }
}
