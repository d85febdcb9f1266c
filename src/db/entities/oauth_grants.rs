//! `oauth_grants`: what people allowed programs to do.

use sea_orm::entity::prelude::*;

/// A connection: a program that may act for a member, or for itself, within one tenant.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "oauth_grants")]
pub struct Model {
    /// UUIDv7. Stands as the token of its calls.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Of which tenant.
    pub client_id: Uuid,
    /// Who allowed it; none for machines.
    pub user_id: Option<Uuid>,
    /// Which program.
    #[sea_orm(column_type = "Text")]
    pub identifier: String,
    /// What it called itself.
    #[sea_orm(column_type = "Text")]
    pub application: String,
    /// Where it lives; none for machines.
    #[sea_orm(column_type = "Text", nullable)]
    pub redirect_host: Option<String>,
    /// The granted packs, with blanks between.
    #[sea_orm(column_type = "Text")]
    pub packs: String,
    /// Tools of these packs that were taken out, with blanks between.
    #[sea_orm(column_type = "Text")]
    pub tools_off: String,
    /// What its tokens are for.
    #[sea_orm(column_type = "Text")]
    pub resource: String,
    /// Whether it gets refresh tokens.
    pub refreshes: bool,
    /// UTC.
    pub expires_at: DateTimeUtc,
    /// When its first token was handed out, UTC.
    pub activated_at: Option<DateTimeUtc>,
    /// UTC.
    pub revoked_at: Option<DateTimeUtc>,
    /// UTC, to the minute or so.
    pub last_used_at: Option<DateTimeUtc>,
    /// UTC.
    pub created_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
