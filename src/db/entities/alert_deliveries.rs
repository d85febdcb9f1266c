//! `alert_deliveries`: letters and webhooks on their way, and what became of them.

use sea_orm::entity::prelude::*;

/// One to somebody.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alert_deliveries")]
pub struct Model {
    /// UUIDv7; a webhook's id is made of it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Whose; none is the operator's.
    pub client_id: Option<Uuid>,
    /// The tenant's id; nil is the operator's.
    pub owner: Uuid,
    /// `mail` or `webhook`.
    #[sea_orm(column_type = "Text")]
    pub channel: String,
    /// To whom a letter goes.
    pub user_id: Option<Uuid>,
    /// A word of `domain/alerts`.
    #[sea_orm(column_type = "Text")]
    pub kind: String,
    /// What is said.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub facts: Option<Json>,
    /// `waiting`, `done` or `given_up`.
    #[sea_orm(column_type = "Text")]
    pub state: String,
    /// How often it was tried.
    pub attempts: i32,
    /// Not before, UTC.
    pub due_at: DateTimeUtc,
    /// The HTTP status of the last attempt.
    pub status: Option<i32>,
    /// Why the last attempt failed.
    #[sea_orm(column_type = "Text", nullable)]
    pub cause: Option<String>,
    /// UTC.
    pub created_at: DateTimeUtc,
    /// UTC.
    pub ended_at: Option<DateTimeUtc>,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
