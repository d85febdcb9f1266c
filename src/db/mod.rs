//! The cellar: connect and migrate. The tables' shapes are in [`entities`]; what is done with them is in `domain`.

use std::time::Duration;

use anyhow::Context;
use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, DatabaseTransaction, SqliteTransactionMode, TransactionOptions, TransactionTrait};
use secrecy::{ExposeSecret, SecretString};

pub mod entities;

/// How long a query may wait for a connection, seconds.
const ACQUIRE_TIMEOUT_S: u64 = 10;

/// Opens the pool. SQLite is put into WAL mode with foreign keys on; its folder is made if missing.
///
/// # Errors
/// The address does not parse, or the database does not answer.
pub async fn connect(url: &SecretString, connections_max: u32) -> anyhow::Result<DatabaseConnection> {
    let text = url.expose_secret();
    if let Some(rest) = text.strip_prefix("sqlite://") {
        let file = std::path::Path::new(rest.split('?').next().unwrap_or(rest));
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("making the folder {}", parent.display()))?;
        }
    }
    let mut options = ConnectOptions::new(text.to_owned());
    options
        .max_connections(connections_max)
        .acquire_timeout(Duration::from_secs(ACQUIRE_TIMEOUT_S))
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .journal_mode(sea_orm::sqlx::sqlite::SqliteJournalMode::Wal)
                .synchronous(sea_orm::sqlx::sqlite::SqliteSynchronous::Normal)
                .foreign_keys(true)
                .busy_timeout(Duration::from_secs(ACQUIRE_TIMEOUT_S))
        });
    // The address may hold a password: the error names the kind of database only.
    let kind = text.split(':').next().unwrap_or_default().to_owned();
    Database::connect(options).await.with_context(|| format!("opening the {kind} database (DATABASE_URL)"))
}

/// Runs pending migrations. On PostgreSQL all of them in one transaction, under a lock that keeps two processes from doing it at once.
///
/// # Errors
/// A migration failed; it was rolled back where the database can.
pub async fn migrate(db: &DatabaseConnection) -> anyhow::Result<()> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Migrator::up(db, None).await.context("running migrations");
    }
    let transaction = db.begin().await?;
    transaction.execute_unprepared("select pg_advisory_xact_lock(hashtext('dunet migrations'))").await?;
    Migrator::up(&transaction, None).await.context("running migrations")?;
    transaction.commit().await?;
    Ok(())
}

/// How many migrations have not been run.
///
/// # Errors
/// The database does not answer.
pub async fn pending(db: &DatabaseConnection) -> anyhow::Result<usize> {
    Ok(Migrator::get_pending_migrations(db).await?.len())
}

/// Begins a transaction that will write. On SQLite it takes the write lock at once: one that reads first and writes later would be
/// refused when somebody else wrote in between.
///
/// # Errors
/// The database does not answer, or the lock is not to be had in time.
pub async fn begin_write(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    db.begin_with_options(TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..TransactionOptions::default() }).await
}
