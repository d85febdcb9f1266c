//! The audit: who changed what, written in the same transaction as the change, hash-chained per tenant.

use std::collections::HashMap;

use ring::digest::{SHA256, digest};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait, IsolationLevel, QueryFilter, QueryOrder, QuerySelect,
    Set, TransactionTrait,
};
use serde_json::Value;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::entities::logs;
use crate::ids::TenantId;

/// Who makes a change.
#[derive(Clone, Debug)]
pub struct Actor(pub String);

impl Actor {
    /// Somebody at the shell of the box.
    #[must_use]
    pub fn shell() -> Self {
        Self("shell".to_owned())
    }

    /// The service itself.
    #[must_use]
    pub fn service() -> Self {
        Self("dunet".to_owned())
    }
}

/// A change, without secrets.
pub struct Change<'a> {
    /// Whose; none concerns the service.
    pub tenant: Option<TenantId>,
    /// Such as `tenant.edit`.
    pub action: &'a str,
    /// Which thing.
    pub subject: String,
    /// Before.
    pub before: Option<Value>,
    /// After.
    pub after: Option<Value>,
}

/// Appends a change to its chain. The caller's transaction makes it one with the change itself.
///
/// # Errors
/// The database does not answer.
pub async fn record(transaction: &DatabaseTransaction, clock: &Clock, actor: &Actor, change: Change<'_>) -> Result<(), DbErr> {
    let last = last(transaction, change.tenant).await?;
    // The chain is read in the order of its ids, and the clock of another process may be a little behind.
    let id = last.as_ref().map_or_else(Uuid::now_v7, |last| Uuid::now_v7().max(Uuid::from_u128(last.id.as_u128() + 1)));
    // Databases keep microseconds: hash what will be read back.
    let at = chrono::DateTime::from_timestamp_micros(clock.now().timestamp_micros()).unwrap_or_default();
    let row = logs::Model {
        id,
        client_id: change.tenant.map(TenantId::uuid),
        actor: actor.0.clone(),
        action: change.action.to_owned(),
        subject: change.subject,
        before: change.before,
        after: change.after,
        previous_hash: last.map(|row| row.hash).unwrap_or_default(),
        hash: String::new(),
        created_at: at,
    };
    let hash = row_hash(&row);
    let mut active: logs::ActiveModel = row.into();
    active.hash = Set(hash);
    active.insert(transaction).await?;
    Ok(())
}

/// When the last change was written, of whomever.
///
/// # Errors
/// The database does not answer.
pub async fn newest(db: &DatabaseConnection) -> Result<Option<chrono::DateTime<chrono::Utc>>, DbErr> {
    logs::Entity::find().select_only().column(logs::Column::CreatedAt).order_by_desc(logs::Column::Id).into_tuple().one(db).await
}

/// Checks a chain from its beginning.
///
/// # Errors
/// The id of the first row that was changed, removed from before, or inserted.
pub async fn chain_verify(db: &impl ConnectionTrait, tenant: Option<TenantId>) -> Result<Result<usize, Uuid>, DbErr> {
    let (verified, broken) = verify(db, Chains::One(tenant)).await?;
    Ok(broken.first().map_or(Ok(verified.rows), |broken| Err(broken.row)))
}

/// Checks every chain, as all of them were at one moment.
///
/// # Errors
/// The database does not answer.
pub async fn chains_verify(db: &DatabaseConnection) -> Result<(Verified, Vec<Broken>), DbErr> {
    // Else rows of one chain that are stored while another is read would seem to be missing. SQLite's transactions are so by themselves.
    let isolation = (db.get_database_backend() == DbBackend::Postgres).then_some(IsolationLevel::RepeatableRead);
    let transaction = db.begin_with_config(isolation, None).await?;
    let found = verify(&transaction, Chains::All).await?;
    transaction.commit().await?;
    Ok(found)
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Rows.
    pub rows: usize,
    /// Chains: one for each tenant that there is or was, and that of the service.
    pub chains: usize,
}

/// A chain that is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Whose; none is the service's.
    pub tenant: Option<TenantId>,
    /// The first row that was changed, inserted, or comes after one that is gone.
    pub row: Uuid,
}

/// Which chains.
enum Chains {
    All,
    One(Option<TenantId>),
}

/// Rows read at a time.
const VERIFY_ROWS: u64 = 1_000;

async fn verify(db: &impl ConnectionTrait, which: Chains) -> Result<(Verified, Vec<Broken>), DbErr> {
    /// A chain so far.
    struct Link {
        hash: String,
        whole: bool,
    }
    let query = match which {
        Chains::All => logs::Entity::find(),
        Chains::One(tenant) => chain(tenant),
    };
    let mut links = HashMap::<Option<Uuid>, Link>::new();
    let (mut verified, mut broken, mut after) = (Verified::default(), Vec::new(), Uuid::nil());
    loop {
        let rows = query.clone().filter(logs::Column::Id.gt(after)).order_by_asc(logs::Column::Id).limit(VERIFY_ROWS).all(db).await?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        for row in rows {
            verified.rows += 1;
            let link = links.entry(row.client_id).or_insert_with(|| Link { hash: String::new(), whole: true });
            if link.whole && (row.previous_hash != link.hash || row.hash != row_hash(&row)) {
                link.whole = false;
                broken.push(Broken { tenant: row.client_id.map(TenantId::from), row: row.id });
            }
            link.hash = row.hash;
        }
    }
    verified.chains = links.len();
    Ok((verified, broken))
}

/// Nobody else lengthens that chain before the transaction ends. On SQLite the transaction holds the write lock already.
///
/// # Errors
/// The database does not answer.
pub(super) async fn chain_lock(transaction: &DatabaseTransaction, tenant: Option<TenantId>) -> Result<(), DbErr> {
    if transaction.get_database_backend() == DbBackend::Postgres {
        let name = tenant.map_or_else(|| "service".to_owned(), |tenant| tenant.to_string());
        transaction.execute_unprepared(&format!("select pg_advisory_xact_lock(hashtextextended('dunet audit {name}', 0))")).await?;
    }
    Ok(())
}

/// The last row of a chain, locked.
async fn last(transaction: &DatabaseTransaction, tenant: Option<TenantId>) -> Result<Option<logs::Model>, DbErr> {
    chain_lock(transaction, tenant).await?;
    chain(tenant).order_by_desc(logs::Column::Id).one(transaction).await
}

fn chain(tenant: Option<TenantId>) -> sea_orm::Select<logs::Entity> {
    match tenant {
        Some(tenant) => logs::Entity::find().filter(logs::Column::ClientId.eq(tenant.uuid())),
        None => logs::Entity::find().filter(logs::Column::ClientId.is_null()),
    }
}

fn row_hash(row: &logs::Model) -> String {
    let json = |value: &Option<Value>| value.as_ref().map(canonical).unwrap_or_default();
    let parts = [
        row.previous_hash.clone(),
        row.id.to_string(),
        row.client_id.map(|id| id.to_string()).unwrap_or_default(),
        row.actor.clone(),
        row.action.clone(),
        row.subject.clone(),
        json(&row.before),
        json(&row.after),
        row.created_at.timestamp_micros().to_string(),
    ];
    // Lengths in front keep two different rows from having the same text.
    let text: String = parts.iter().map(|part| format!("{}:{part}\n", part.len())).collect();
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

/// JSON with sorted keys: databases may reorder them.
#[must_use]
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let entries: Vec<String> = keys.into_iter().map(|key| format!("{}:{}", Value::String(key.clone()), canonical(&map[key]))).collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
