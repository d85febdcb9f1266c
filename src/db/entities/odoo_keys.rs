//! `odoo_keys`: what is known of the tenants' Odoo API keys.

use sea_orm::entity::prelude::*;

/// Of a tenant's key.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "odoo_keys")]
pub struct Model {
    /// Whose.
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: Uuid,
    /// SHA-256 of the sealed secret that this is about, hex: of another one nothing is known.
    #[sea_orm(column_type = "Text")]
    pub secret_mark: String,
    /// `odoo`, `typed`, `several`, `password` or `unknown`.
    #[sea_orm(column_type = "Text")]
    pub source: String,
    /// When it ends, UTC; none with the source `odoo` never does.
    pub expires_at: Option<DateTimeUtc>,
    /// When it was made, UTC.
    pub made_at: Option<DateTimeUtc>,
    /// Its name in Odoo, where we made it or there is only one.
    #[sea_orm(column_type = "Text", nullable)]
    pub name: Option<String>,
    /// Whether it is renewed before it ends.
    pub renew: bool,
    /// When Odoo was last asked, UTC.
    pub checked_at: Option<DateTimeUtc>,
    /// When it was last tried to renew it, UTC.
    pub tried_at: Option<DateTimeUtc>,
    /// `renewed`, or why not.
    #[sea_orm(column_type = "Text", nullable)]
    pub outcome: Option<String>,
    /// Odoo's own words about it.
    #[sea_orm(column_type = "Text", nullable)]
    pub said: Option<String>,
    /// The key before, sealed, until it is revoked.
    #[sea_orm(column_type = "Text", nullable)]
    pub old_sealed: Option<String>,
    /// Somebody renews it until then, UTC.
    pub claimed_until: Option<DateTimeUtc>,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
