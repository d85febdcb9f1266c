//! The audit: who changed what, written in the same transaction as the change, hash-chained per tenant.

use ring::digest::{SHA256, digest};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, QueryFilter, QueryOrder, Set};
use serde_json::Value;

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
    let id = last.as_ref().map_or_else(uuid::Uuid::now_v7, |last| uuid::Uuid::now_v7().max(uuid::Uuid::from_u128(last.id.as_u128() + 1)));
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

/// Checks a chain from its beginning.
///
/// # Errors
/// The id of the first row that was changed, removed from before, or inserted.
pub async fn chain_verify(db: &impl ConnectionTrait, tenant: Option<TenantId>) -> Result<Result<usize, uuid::Uuid>, DbErr> {
    let rows = chain(tenant).order_by_asc(logs::Column::Id).all(db).await?;
    let mut previous = String::new();
    for row in &rows {
        if row.previous_hash != previous || row.hash != row_hash(row) {
            return Ok(Err(row.id));
        }
        previous.clone_from(&row.hash);
    }
    Ok(Ok(rows.len()))
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
