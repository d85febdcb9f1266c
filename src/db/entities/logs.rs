//! `logs`: the audit, hash-chained per tenant.

use sea_orm::entity::prelude::*;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "logs")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Whose; none concerns the service.
    pub client_id: Option<Uuid>,
    /// Who did it.
    #[sea_orm(column_type = "Text")]
    pub actor: String,
    /// What, such as `tenant.edit`.
    #[sea_orm(column_type = "Text")]
    pub action: String,
    /// Which thing.
    #[sea_orm(column_type = "Text")]
    pub subject: String,
    /// Before, without secrets.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub before: Option<Json>,
    /// After, without secrets.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub after: Option<Json>,
    /// Hash of the row before it in the same chain.
    #[sea_orm(column_type = "Text")]
    pub previous_hash: String,
    /// SHA-256 over this row and `previous_hash`.
    #[sea_orm(column_type = "Text")]
    pub hash: String,
    /// UTC.
    pub created_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
