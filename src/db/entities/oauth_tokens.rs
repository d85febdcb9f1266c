//! `oauth_tokens`: access and refresh tokens.

use sea_orm::entity::prelude::*;

/// A token of a grant. The token itself is nowhere.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "oauth_tokens")]
pub struct Model {
    /// SHA-256, hex.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub hash: String,
    /// Of which tenant.
    pub client_id: Uuid,
    /// Of which grant.
    pub grant_id: Uuid,
    /// `access` or `refresh`.
    #[sea_orm(column_type = "Text")]
    pub kind: String,
    /// What it is good for: the grant's packs or fewer, with blanks between.
    #[sea_orm(column_type = "Text")]
    pub packs: String,
    /// UTC.
    pub expires_at: DateTimeUtc,
    /// When a refresh token was first changed for another, UTC.
    pub used_at: Option<DateTimeUtc>,
    /// How often it was changed.
    pub successors: i32,
    /// UTC.
    pub created_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
