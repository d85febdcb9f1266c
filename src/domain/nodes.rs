//! The nodes: processes that serve from the same PostgreSQL. Each says every few seconds that it lives, and one of them leads: it does what must be done
//! once, not by each (fetching the listing, forgetting what is old). On SQLite there is one node, and it leads.
//!
//! Who lives is judged by the database's clock. Who leads holds a lock of its session: when its process or its connection ends, so does the lock, and the
//! next one to ask has it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sqlx::{self, Connection, PgConnection};
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, EntityTrait, QueryFilter, QueryOrder, Statement};
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::entities::nodes;

/// A node that was not heard of for so long does not count any more, seconds.
pub const SILENT_S_MAX: i64 = 10;
/// Rows of nodes that ended without a word are kept so long, for who looks what there was, seconds.
const KEPT_S: i64 = 86_400;
/// The lock of the leader: any number that nobody else uses.
const LEADER: i64 = 0x64_75_6e_65_74_01;
/// The longest time for a question to the leader's own connection.
const LEADER_WITHIN: Duration = Duration::from_secs(3);

/// This node among the others. Cheap to clone.
#[derive(Clone)]
pub struct Nodes {
    inner: Arc<Inner>,
}

struct Inner {
    id: Uuid,
    short: String,
    name: String,
    db: DatabaseConnection,
    clock: Clock,
    count: AtomicU32,
    leads: AtomicBool,
    /// The connection on which the leader's lock is asked for, and hangs.
    held: Mutex<Option<PgConnection>>,
}

impl Nodes {
    /// This process, which calls itself so. Alone, until it hears of others.
    #[must_use]
    pub fn new(db: DatabaseConnection, clock: Clock, name: String) -> Self {
        let id = Uuid::now_v7();
        let alone = db.get_database_backend() != DbBackend::Postgres;
        let short = id.simple().to_string().split_off(20);
        let inner = Inner { id, short, name, db, clock, count: AtomicU32::new(1), leads: AtomicBool::new(alone), held: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// This process, for no other process the same.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.inner.id
    }

    /// The same in twelve letters.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.inner.short
    }

    /// How many there are, this one included.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.inner.count.load(Ordering::Relaxed)
    }

    /// Whether this one does what is done once.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.inner.leads.load(Ordering::Relaxed)
    }

    /// Whether there can be others.
    #[must_use]
    pub fn may_be_several(&self) -> bool {
        self.inner.db.get_database_backend() == DbBackend::Postgres
    }

    /// Says that it lives, looks who else does, and whether it leads.
    ///
    /// # Errors
    /// The database. What was known stays, but that it does not lead.
    pub async fn beat(&self) -> Result<(), DbErr> {
        if !self.may_be_several() {
            return Ok(());
        }
        let beaten = self.tell().await;
        let leads = beaten.is_ok() && self.lead().await;
        if self.inner.leads.swap(leads, Ordering::Relaxed) != leads {
            tracing::info!(node = self.short(), "{}", if leads { "this node leads" } else { "this node does not lead any more" });
        }
        let living = beaten?;
        if self.inner.count.swap(living, Ordering::Relaxed) != living {
            tracing::info!(nodes = living, "nodes that serve from this database");
        }
        Ok(())
    }

    /// Says that it ends: the others need not find out. Never fails: they would find out.
    pub async fn leave(&self) {
        if !self.may_be_several() {
            return;
        }
        self.inner.leads.store(false, Ordering::Relaxed);
        let held = self.held().take();
        if let Some(held) = held {
            drop(tokio::time::timeout(LEADER_WITHIN, held.close()).await);
        }
        if let Err(error) = nodes::Entity::delete_by_id(self.inner.id).exec(&self.inner.db).await {
            tracing::warn!(%error, "the other nodes were not told that this one ends");
        }
    }

    /// Those that live, the eldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn living(&self) -> Result<Vec<nodes::Model>, DbErr> {
        if !self.may_be_several() {
            return Ok(Vec::new());
        }
        let now = self.database_now().await?;
        nodes::Entity::find().filter(nodes::Column::SeenAt.gt(now - chrono::TimeDelta::seconds(SILENT_S_MAX))).order_by_asc(nodes::Column::StartedAt).all(&self.inner.db).await
    }

    async fn database_now(&self) -> Result<DateTime<Utc>, DbErr> {
        let ahead = crate::db::clock_ahead(&self.inner.db, self.inner.clock.now()).await?.unwrap_or_default();
        Ok(self.inner.clock.now() + ahead)
    }

    /// The row of this node, and how many live.
    async fn tell(&self) -> Result<u32, DbErr> {
        let inner = &self.inner;
        let sql = "with gone as (delete from nodes where seen_at < now() - $4 * interval '1 second') \
            insert into nodes (id, name, version, started_at, seen_at) values ($1, $2, $3, now(), now()) \
            on conflict (id) do update set seen_at = now()";
        let values = [inner.id.into(), inner.name.clone().into(), env!("CARGO_PKG_VERSION").into(), KEPT_S.into()];
        inner.db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
        let sql = "select count(*) as living from nodes where seen_at > now() - $1 * interval '1 second'";
        let row = inner.db.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [SILENT_S_MAX.into()])).await?;
        let living: i64 = row.map(|row| row.try_get("", "living")).transpose()?.unwrap_or(1);
        Ok(u32::try_from(living).unwrap_or(u32::MAX).max(1))
    }

    /// Whether the leader's lock is held: still, or from now on. The lock is as good as the connection it hangs on: where that fails, or does not answer
    /// in time, it is dropped, and the server lets the lock go.
    async fn lead(&self) -> bool {
        let held = self.held().take();
        let ask = async {
            let mut connection = match held {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            if self.leads() {
                connection.ping().await?;
                return Ok((connection, true));
            }
            let (got,): (bool,) = sqlx::query_as("select pg_try_advisory_lock($1)").bind(LEADER).fetch_one(&mut connection).await?;
            Ok::<_, sqlx::Error>((connection, got))
        };
        match tokio::time::timeout(LEADER_WITHIN, ask).await {
            Ok(Ok((connection, leads))) => {
                *self.held() = Some(connection);
                return leads;
            }
            Ok(Err(error)) => tracing::warn!(%error, "who leads could not be found out"),
            Err(_) => tracing::warn!("who leads could not be found out in time"),
        }
        false
    }

    /// A connection of its own, not the pool's, which would hand it to others and close it when it is at rest. The server soon notices when this
    /// machine is gone without a word.
    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let options = self.inner.db.get_postgres_connection_pool().connect_options();
        let mut connection = PgConnection::connect_with(&options).await?;
        sqlx::raw_sql("set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3").execute(&mut connection).await?;
        Ok(connection)
    }

    fn held(&self) -> MutexGuard<'_, Option<PgConnection>> {
        self.inner.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nodes").field("id", &self.inner.id).field("count", &self.count()).field("leads", &self.leads()).finish_non_exhaustive()
    }
}
