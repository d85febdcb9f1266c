//! `memberships`: which people serve which tenant.

use sea_orm::entity::prelude::*;

/// A person of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "memberships")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Of which tenant.
    pub client_id: Uuid,
    /// Who.
    pub user_id: Uuid,
    /// `owner` or `viewer`.
    #[sea_orm(column_type = "Text")]
    pub role: String,
    /// UTC.
    pub created_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
