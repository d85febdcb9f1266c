//! Where reports are read: a replica (`DATABASE_READ_URL`) while it is near enough to the database, else the database itself. Who asks does not notice
//! which; what the replica does not answer is asked again of the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, Statement};
use secrecy::{ExposeSecret, SecretString};

use super::within;

/// The longest wait for a connection to the replica, and for its word on how far it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest wait for the replica's answer to a report: some take a tenth of a second.
const ANSWER: Duration = Duration::from_secs(5);

/// A database and its replica, for reading. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReadSide {
    primary: DatabaseConnection,
    replica: Option<Replica>,
}

#[derive(Clone, Debug)]
struct Replica {
    db: DatabaseConnection,
    behind_s_max: u64,
    near: Arc<AtomicBool>,
}

impl ReadSide {
    /// The database alone.
    #[must_use]
    pub fn of(primary: &DatabaseConnection) -> Self {
        Self { primary: primary.clone(), replica: None }
    }

    /// With a replica, which is asked once [`Self::look`] has found it no further behind than that. Connects when it is first asked.
    ///
    /// # Errors
    /// One of the two is not PostgreSQL, or the address is none.
    pub async fn with_replica(primary: &DatabaseConnection, replica: &SecretString, connections_max: u32, behind_s_max: u64) -> anyhow::Result<Self> {
        let postgres = replica.expose_secret().starts_with("postgres") && primary.get_database_backend() == DbBackend::Postgres;
        anyhow::ensure!(postgres, "DATABASE_READ_URL must be a replica (postgres://…) of a PostgreSQL that DATABASE_URL names");
        let mut options = ConnectOptions::new(replica.expose_secret().to_owned());
        options.max_connections(connections_max).acquire_timeout(PATIENCE).connect_lazy(true).sqlx_logging(false);
        // The cause may hold the password.
        let db = Database::connect(options).await.ok().context("DATABASE_READ_URL must be an address such as postgres://user@replica/dunet")?;
        Ok(Self { primary: primary.clone(), replica: Some(Replica { db, behind_s_max, near: Arc::default() }) })
    }

    /// Whether the replica is asked; none where there is none.
    #[must_use]
    pub fn replica_near(&self) -> Option<bool> {
        self.replica.as_ref().map(|replica| replica.near.load(Ordering::Relaxed))
    }

    /// Looks how far behind the replica is. The nodes' signs of life tell, which come every few seconds however quiet the database is.
    pub async fn look(&self) {
        let Some(replica) = &self.replica else { return };
        let behind = self.behind_s().await;
        let near = matches!(behind, Ok(Some(behind_s)) if behind_s <= replica.behind_s_max as f64);
        if replica.near.swap(near, Ordering::Relaxed) != near {
            if near {
                tracing::info!("the replica is near enough: reports are read from it");
            } else {
                let how = match behind {
                    Ok(Some(behind_s)) => format!("{behind_s:.0} s behind"),
                    Ok(None) => "it has seen no node".to_owned(),
                    Err(error) => error.to_string(),
                };
                tracing::warn!(how, "the replica is not asked: reports are read from the database");
            }
        }
    }

    /// How far behind the replica is by the nodes' signs of life, seconds; none when there were none, or there is no replica.
    ///
    /// # Errors
    /// It does not answer, or is no replica of a database of ours.
    pub async fn behind_s(&self) -> Result<Option<f64>, DbErr> {
        let Some(replica) = &self.replica else { return Ok(None) };
        within(PATIENCE, behind_s(&replica.db)).await
    }

    fn near(&self) -> Option<&Replica> {
        self.replica.as_ref().filter(|replica| replica.near.load(Ordering::Relaxed))
    }

    /// Asks the replica, and the database where it fails: it went away, or took a row away while it was read.
    async fn ask<T>(&self, statement: Statement, how: impl AsyncFn(&DatabaseConnection, Statement) -> Result<T, DbErr>) -> Result<T, DbErr> {
        if let Some(replica) = self.near() {
            match within(ANSWER, how(&replica.db, statement.clone())).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    // Until it is looked at again.
                    replica.near.store(false, Ordering::Relaxed);
                    tracing::warn!(%error, "the replica did not answer: the database is asked");
                }
            }
        }
        how(&self.primary, statement).await
    }
}

async fn behind_s(replica: &DatabaseConnection) -> Result<Option<f64>, DbErr> {
    let sql = "select cast(extract(epoch from clock_timestamp() - max(seen_at)) as double precision) as behind from nodes";
    let row = replica.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    row.map_or(Ok(None), |row| row.try_get("", "behind"))
}

#[sea_orm::prelude::async_trait::async_trait]
impl ConnectionTrait for ReadSide {
    fn get_database_backend(&self) -> DbBackend {
        self.primary.get_database_backend()
    }

    async fn execute_raw(&self, _: Statement) -> Result<ExecResult, DbErr> {
        Err(DbErr::Custom("reports only read".to_owned()))
    }

    async fn execute_unprepared(&self, _: &str) -> Result<ExecResult, DbErr> {
        Err(DbErr::Custom("reports only read".to_owned()))
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.ask(statement, async |db, statement| db.query_one_raw(statement).await).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.ask(statement, async |db, statement| db.query_all_raw(statement).await).await
    }
}
