//! `padron_imports`: history of the taxpayer listing.

use sea_orm::entity::prelude::*;

/// One import, roll-back or fetch.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "padron_imports")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Who.
    #[sea_orm(column_type = "Text")]
    pub actor: String,
    /// `import`, `fetch`, `rollback`.
    #[sea_orm(column_type = "Text")]
    pub action: String,
    /// `activated`, `unchanged`, `refused`.
    #[sea_orm(column_type = "Text")]
    pub outcome: String,
    /// Cut-off date of the listing, ISO.
    #[sea_orm(column_type = "Text", nullable)]
    pub cutoff: Option<String>,
    /// Taxpayers in it.
    pub rows: Option<i64>,
    /// The refusal, in words.
    #[sea_orm(column_type = "Text", nullable)]
    pub message: Option<String>,
    /// Counts and hashes.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub report: Option<Json>,
    /// UTC.
    pub created_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
