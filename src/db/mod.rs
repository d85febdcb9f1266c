//! The cellar: connect and migrate. The tables' shapes are in [`entities`]; what is done with them is in `domain`.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use migration::{Migrator, MigratorTrait};
use sea_orm::sqlx::Connection;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait, QuerySelect, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};
use secrecy::{ExposeSecret, SecretString};

pub mod entities;
pub mod parts;
pub mod reads;
pub mod schema;

/// How long a query may wait for a connection, seconds.
const ACQUIRE_TIMEOUT_S: u64 = 10;

/// Opens the pool. SQLite is put into WAL mode with foreign keys on; its folder is made if missing.
///
/// # Errors
/// The address does not parse, or the database does not answer.
pub async fn connect(url: &SecretString, connections_max: u32) -> anyhow::Result<DatabaseConnection> {
    let text = url.expose_secret();
    if let Some(rest) = text.strip_prefix("sqlite://") {
        let file = Path::new(rest.split('?').next().unwrap_or(rest));
        if let Some(parent) = file.parent() {
            private_folder(parent)?;
        }
    }
    let mut options = ConnectOptions::new(text.to_owned());
    options.max_connections(connections_max).acquire_timeout(Duration::from_secs(ACQUIRE_TIMEOUT_S)).sqlx_logging(false).map_sqlx_sqlite_opts(|sqlite| {
        sqlite
            .journal_mode(sea_orm::sqlx::sqlite::SqliteJournalMode::Wal)
            .synchronous(sea_orm::sqlx::sqlite::SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(ACQUIRE_TIMEOUT_S))
    });
    // A full disk makes SQLite end a transaction by itself; sqlx goes on counting it, and that connection could begin no other.
    options.map_sqlx_sqlite_before_acquire(|connection, _| Box::pin(std::future::ready(Ok(!connection.is_in_transaction()))));
    // The address may hold a password: the error names the kind of database only.
    let kind = text.split(':').next().unwrap_or_default().to_owned();
    Database::connect(options).await.with_context(|| format!("opening the {kind} database (DATABASE_URL)"))
}

/// Makes a folder that only we can read, with its parents. One that exists stays as it is.
///
/// # Errors
/// It cannot be made.
pub fn private_folder(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| format!("making the folder {}", folder.display()))
}

/// Runs pending migrations, all of them or none: in one transaction, on PostgreSQL under a lock that keeps two processes from doing it at once
/// (SQLite lets one write).
///
/// # Errors
/// A migration failed, and the database is as it was; or it has seen migrations that we do not know.
pub async fn migrate(db: &DatabaseConnection) -> anyhow::Result<()> {
    let transaction = migrating(db).await?;
    Migrator::up(&transaction, None).await.context("running migrations")?;
    transaction.commit().await?;
    Ok(())
}

/// Runs pending migrations and takes them back; gives how many there are.
///
/// # Errors
/// One of them would fail.
pub async fn migrate_dry(db: &DatabaseConnection) -> anyhow::Result<usize> {
    let transaction = migrating(db).await?;
    let pending = schema::pending(&transaction).await?;
    Migrator::up(&transaction, None).await.context("trying the migrations; nothing was changed")?;
    transaction.rollback().await?;
    Ok(pending)
}

/// A transaction in which nobody else migrates. The database must not be newer than the program.
///
/// # Errors
/// It is, or does not answer.
pub async fn migrating(db: &DatabaseConnection) -> anyhow::Result<DatabaseTransaction> {
    let transaction = begin_write(db).await?;
    if transaction.get_database_backend() == DbBackend::Postgres {
        transaction.execute_unprepared("select pg_advisory_xact_lock(hashtext('dunet migrations'))").await?;
    }
    schema::pending(&transaction).await?;
    Ok(transaction)
}

/// Migrates, or refuses a database that is not up to date when migrations are switched off.
///
/// # Errors
/// A migration failed, or some are pending and must not be run.
pub async fn prepare(db: &DatabaseConnection, no_migrate: bool) -> anyhow::Result<()> {
    if !no_migrate {
        return migrate(db).await;
    }
    let pending = pending(db).await?;
    anyhow::ensure!(pending == 0, "the database lacks {pending} migrations: run `dunet migrate` first, or unset DUNET_NO_MIGRATE");
    Ok(())
}

/// How many migrations have not been run.
///
/// # Errors
/// The database does not answer, or is newer than the program.
pub async fn pending(db: &DatabaseConnection) -> anyhow::Result<usize> {
    schema::pending(db).await
}

/// What the database answers within that time.
///
/// # Errors
/// It fails, or does not answer in time.
pub async fn within<T>(time: Duration, question: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
    tokio::time::timeout(time, question).await.unwrap_or_else(|_| Err(DbErr::Custom("no answer in time".to_owned())))
}

/// Whether the database reads a row for us (or says that there is none).
pub async fn answers(db: &DatabaseConnection) -> bool {
    // A ping would not leave the process on SQLite.
    entities::clients::Entity::find().select_only().column(entities::clients::Column::Id).limit(1).into_tuple::<uuid::Uuid>().one(db).await.is_ok()
}

/// How far the database's clock is ahead of `now`; none where it has no clock of its own.
///
/// # Errors
/// The database does not answer.
pub async fn clock_ahead(db: &DatabaseConnection, now: DateTime<Utc>) -> Result<Option<TimeDelta>, DbErr> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok(None);
    }
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, "select clock_timestamp() as at")).await?;
    let at: Option<DateTime<Utc>> = row.map(|row| row.try_get("", "at")).transpose()?;
    Ok(at.map(|at| at - now))
}

/// Begins a transaction that will write. On SQLite it takes the write lock at once: one that reads first and writes later would be
/// refused when somebody else wrote in between.
///
/// # Errors
/// The database does not answer, or the lock is not to be had in time.
pub async fn begin_write(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    db.begin_with_options(TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..TransactionOptions::default() }).await
}

/// Appends the place of a statement's value, counted from 1. For SQLite without its number: it looks numbered ones up by name, one by one, which
/// makes long statements quadratic.
pub fn push_place(sql: &mut String, backend: DbBackend, place: usize) {
    if backend == DbBackend::Sqlite {
        sql.push('?');
    } else {
        // Writing to memory cannot fail.
        let _ = write!(sql, "${place}");
    }
}
