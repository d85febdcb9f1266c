//! `api_tokens`: tokens of tenants, hashed.

use sea_orm::entity::prelude::*;

/// A token. The plain token is nowhere.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_tokens")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Whose.
    pub client_id: Uuid,
    /// For people.
    #[sea_orm(column_type = "Text")]
    pub name: String,
    /// `dunet_live_<8>`: enough to recognise it, not to use it.
    #[sea_orm(column_type = "Text", unique)]
    pub prefix: String,
    /// The last four characters.
    #[sea_orm(column_type = "Text")]
    pub last_four: String,
    /// SHA-256 of the token, hex.
    #[sea_orm(column_type = "Text", unique)]
    pub hash: String,
    /// Packs it is limited to; none is all.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub packs: Option<Json>,
    /// `es` or `en`.
    #[sea_orm(column_type = "Text")]
    pub language: String,
    /// UTC; none is never.
    pub expires_at: Option<DateTimeUtc>,
    /// UTC.
    pub revoked_at: Option<DateTimeUtc>,
    /// UTC, to the minute.
    pub last_used_at: Option<DateTimeUtc>,
    /// The token it replaces.
    pub rotated_from: Option<Uuid>,
    /// UTC.
    pub created_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
