//! `alerts`: what is told once.

use sea_orm::entity::prelude::*;

/// A condition that is or was.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alerts")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Whose; none is the operator's.
    pub client_id: Option<Uuid>,
    /// A word of `domain/alerts`.
    #[sea_orm(column_type = "Text")]
    pub kind: String,
    /// Tenant, kind and subject while it lasts; its id once it has ended and may come again.
    #[sea_orm(column_type = "Text", unique)]
    pub mark: String,
    /// Which thing, or which period.
    #[sea_orm(column_type = "Text")]
    pub subject: String,
    /// What is said of it.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub facts: Option<Json>,
    /// When it began, UTC.
    pub since: DateTimeUtc,
    /// When it was last seen, UTC.
    pub seen_at: DateTimeUtc,
    /// Since when it has been well again, UTC.
    pub well_since: Option<DateTimeUtc>,
    /// When it was told, UTC; none while it is only watched.
    pub told_at: Option<DateTimeUtc>,
    /// When it stood in a letter to the operators, UTC.
    pub operators_told_at: Option<DateTimeUtc>,
    /// When it ended, UTC.
    pub ended_at: Option<DateTimeUtc>,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
