//! The nodes: processes that serve from the same PostgreSQL. Each says every few seconds that it lives, and one of them leads: it does what must be done
//! once, not by each (fetching the listing, forgetting what is old). On SQLite there is one node, and it leads.
//!
//! Who lives is judged by the database's clock. Who leads holds a lock of its session: when its process or its connection ends, so does the lock, and the
//! next one to ask has it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sea_orm::sqlx::{self, Connection, PgConnection};
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, EntityTrait, QueryFilter, QuerySelect, Statement};
use uuid::Uuid;

use crate::db;
use crate::db::entities::nodes;

/// A node that was not heard of for so long does not count any more, seconds.
const SILENT_S_MAX: i64 = 10;
/// Rows of nodes that ended without a word are kept so long, for who looks what there was, seconds.
const KEPT_S: i64 = 86_400;
/// The lock of the leader: any number that nobody else uses.
const LEADER: i64 = 0x64_75_6e_65_74_01;
/// The longest time for saying that one lives, and for a question on the leader's own connection.
const WITHIN: Duration = Duration::from_secs(3);

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
    count: AtomicU32,
    several: AtomicBool,
    leads: AtomicBool,
    /// The connection on which the leader's lock is asked for, and hangs.
    held: Mutex<Option<PgConnection>>,
}

impl Nodes {
    /// This process, which calls itself so. Alone, until it hears of others.
    #[must_use]
    pub fn new(db: DatabaseConnection, name: String) -> Self {
        let id = Uuid::now_v7();
        let alone = db.get_database_backend() != DbBackend::Postgres;
        let short = id.simple().to_string().split_off(20);
        let inner = Inner { id, short, name, db, count: AtomicU32::new(1), several: AtomicBool::new(false), leads: AtomicBool::new(alone), held: Mutex::default() };
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

    /// Whether there were others at any time since the start: then the database has calls that this one does not know of.
    #[must_use]
    pub fn were_several(&self) -> bool {
        self.inner.several.load(Ordering::Relaxed)
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
        let beaten = db::within(WITHIN, self.tell()).await;
        let leads = beaten.is_ok() && self.lead().await;
        if self.inner.leads.swap(leads, Ordering::Relaxed) != leads {
            tracing::info!(node = self.short(), "{}", if leads { "this node leads" } else { "this node does not lead any more" });
        }
        let living = beaten?;
        if living > 1 {
            self.inner.several.store(true, Ordering::Relaxed);
        }
        if self.inner.count.swap(living, Ordering::Relaxed) != living {
            tracing::info!(nodes = living, "nodes that serve from this database");
        }
        Ok(())
    }

    /// Forgets those of this machine that were killed and so could not say that they end; for the start.
    ///
    /// # Errors
    /// The database.
    pub async fn begin(&self) -> Result<(), DbErr> {
        if !self.may_be_several() {
            return Ok(());
        }
        let rows: Vec<(Uuid, String)> = nodes::Entity::find().select_only().columns([nodes::Column::Id, nodes::Column::Name]).into_tuple().all(&self.inner.db).await?;
        let dead: Vec<Uuid> = rows.into_iter().filter(|(_, name)| ended(&self.inner.name, name)).map(|(id, _)| id).collect();
        nodes::Entity::delete_many().filter(nodes::Column::Id.is_in(dead)).exec(&self.inner.db).await.map(|_| ())
    }

    /// Says that it ends: the others need not find out. Never fails: they would find out.
    pub async fn leave(&self) {
        if !self.may_be_several() {
            return;
        }
        self.inner.leads.store(false, Ordering::Relaxed);
        let held = self.held().take();
        if let Some(held) = held {
            drop(tokio::time::timeout(WITHIN, held.close()).await);
        }
        if let Err(error) = nodes::Entity::delete_by_id(self.inner.id).exec(&self.inner.db).await {
            tracing::warn!(%error, "the other nodes were not told that this one ends");
        }
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
        match tokio::time::timeout(WITHIN, ask).await {
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

/// What this process calls itself among the nodes: its machine, its number there, and when that number began (ticks since the machine did), since
/// numbers are given again.
#[must_use]
pub fn process_name() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let pid = std::process::id().to_string();
    let began = began(&pid).unwrap_or_default();
    format!("{}:{pid}:{began}", machine.trim())
}

/// Whether a process of that name was of this machine, and is there no more.
fn ended(own: &str, name: &str) -> bool {
    let parts = |name: &str| {
        let mut parts = name.rsplitn(3, ':').map(str::to_owned);
        Some((parts.next()?, parts.next()?, parts.next()?))
    };
    match (parts(own), parts(name)) {
        (Some((.., here)), Some((begun, pid, machine))) => machine == here && began(&pid).as_ref() != Some(&begun),
        _ => false,
    }
}

/// When a process began: the 22nd field of its `stat`, counted behind its name, which may hold blanks.
fn began(pid: &str) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nodes").field("id", &self.inner.id).field("count", &self.count()).field("leads", &self.leads()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_gone_is_known_by_its_beginning() {
        let own = process_name();
        let (rest, began) = own.rsplit_once(':').unwrap();
        let (machine, _) = rest.rsplit_once(':').unwrap();
        assert!(began.parse::<u64>().unwrap() > 0, "{own}");
        for (name, is) in
            [(own.as_str(), false), (&format!("{rest}:1"), true), (&format!("{machine}:4194999:1"), true), ("elsewhere:4194999:1", false), ("", false), ("a:b", false)]
        {
            assert_eq!(ended(&own, name), is, "{name}");
        }
    }
}
