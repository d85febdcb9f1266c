//! `user_links`: one-time links, hashed.

use sea_orm::entity::prelude::*;

/// A link that works once.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user_links")]
pub struct Model {
    /// SHA-256 of the link's random part, hex.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub hash: String,
    /// `first`, `invite`, `reset` or `confirm`.
    #[sea_orm(column_type = "Text")]
    pub purpose: String,
    /// Whom it concerns, if they exist already.
    pub user_id: Option<Uuid>,
    /// Into which tenant it invites.
    pub client_id: Option<Uuid>,
    /// Whom it invites, in lower case; none lets them say.
    #[sea_orm(column_type = "Text", nullable)]
    pub email: Option<String>,
    /// As what: `operator`, `owner` or `viewer`.
    #[sea_orm(column_type = "Text", nullable)]
    pub role: Option<String>,
    /// Who made it.
    #[sea_orm(column_type = "Text")]
    pub made_by: String,
    /// UTC.
    pub expires_at: DateTimeUtc,
    /// UTC.
    pub used_at: Option<DateTimeUtc>,
    /// UTC.
    pub created_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
