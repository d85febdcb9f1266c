//! The history of the padrón: who imported what, and what came of it.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;

use super::audit::Actor;
use crate::clock::Clock;
use crate::db::entities::padron_imports;

/// One entry of the history.
pub struct PadronEvent<'a> {
    /// `import`, `fetch` or `rollback`.
    pub action: &'a str,
    /// `activated`, `unchanged` or `refused`.
    pub outcome: &'a str,
    /// Cut-off date, ISO.
    pub cutoff: Option<String>,
    /// Taxpayers.
    pub rows: Option<u64>,
    /// The refusal, in words.
    pub message: Option<String>,
    /// Counts and hashes; of a refusal its code and facts.
    pub report: Option<Value>,
}

/// Writes an entry.
///
/// # Errors
/// The database.
pub async fn record(db: &impl ConnectionTrait, clock: &Clock, actor: &Actor, event: PadronEvent<'_>) -> Result<(), DbErr> {
    let row = padron_imports::Model {
        id: uuid::Uuid::now_v7(),
        actor: actor.0.clone(),
        action: event.action.to_owned(),
        outcome: event.outcome.to_owned(),
        cutoff: event.cutoff,
        rows: event.rows.and_then(|rows| i64::try_from(rows).ok()),
        message: event.message,
        report: event.report,
        created_at: clock.now(),
    };
    row.into_active_model().insert(db).await.map(|_| ())
}

/// The newest entries.
///
/// # Errors
/// The database.
pub async fn list(db: &DatabaseConnection, entries_max: u64) -> Result<Vec<padron_imports::Model>, DbErr> {
    padron_imports::Entity::find().order_by_desc(padron_imports::Column::Id).limit(entries_max).all(db).await
}

/// When that was done last, whatever came of it.
///
/// # Errors
/// The database.
pub async fn latest(db: &DatabaseConnection, action: &str) -> Result<Option<DateTime<Utc>>, DbErr> {
    padron_imports::Entity::find()
        .select_only()
        .column(padron_imports::Column::CreatedAt)
        .filter(padron_imports::Column::Action.eq(action))
        .order_by_desc(padron_imports::Column::Id)
        .into_tuple()
        .one(db)
        .await
}
