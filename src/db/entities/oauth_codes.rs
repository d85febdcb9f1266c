//! `oauth_codes`: authorization codes.

use sea_orm::entity::prelude::*;

/// A code that is changed for tokens once.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "oauth_codes")]
pub struct Model {
    /// SHA-256, hex.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub hash: String,
    /// Of which tenant.
    pub client_id: Uuid,
    /// What it opens.
    pub grant_id: Uuid,
    /// Where it was sent.
    #[sea_orm(column_type = "Text")]
    pub redirect_uri: String,
    /// PKCE, S256.
    #[sea_orm(column_type = "Text")]
    pub challenge: String,
    /// UTC.
    pub expires_at: DateTimeUtc,
    /// UTC.
    pub used_at: Option<DateTimeUtc>,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
