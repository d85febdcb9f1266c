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
    /// User name of their own in the tenant's Odoo; none when they gave none.
    #[sea_orm(column_type = "Text", nullable)]
    pub odoo_login: Option<String>,
    /// Its password or API key, sealed with the tenant's data key for this person.
    #[sea_orm(column_type = "Text", nullable)]
    pub odoo_secret_sealed: Option<String>,
    /// When it was given, UTC.
    pub odoo_saved_at: Option<DateTimeUtc>,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
