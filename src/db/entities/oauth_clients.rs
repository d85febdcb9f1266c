//! `oauth_clients`: programs that may ask to be let in.

use sea_orm::entity::prelude::*;

/// A program that registered itself, or that the operator registered. Those known by a metadata document have no row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "oauth_clients")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The only tenant it works for; none leaves it to who consents.
    pub client_id: Option<Uuid>,
    /// What OAuth calls its client id.
    #[sea_orm(column_type = "Text")]
    pub identifier: String,
    /// `dynamic` or `registered`.
    #[sea_orm(column_type = "Text")]
    pub kind: String,
    /// What it calls itself.
    #[sea_orm(column_type = "Text")]
    pub name: String,
    /// A JSON array.
    #[sea_orm(column_type = "Text")]
    pub redirect_uris: String,
    /// `none`, `client_secret_basic` or `client_secret_post`.
    #[sea_orm(column_type = "Text")]
    pub auth_method: String,
    /// SHA-256 of its secret, hex.
    #[sea_orm(column_type = "Text", nullable)]
    pub secret_hash: Option<String>,
    /// Whether it gets refresh tokens.
    pub refreshes: bool,
    /// Whether it works without a person (`client_credentials`).
    pub machine: bool,
    /// Who registered it; none when it did so itself.
    #[sea_orm(column_type = "Text", nullable)]
    pub made_by: Option<String>,
    /// UTC.
    pub created_at: DateTimeUtc,
    /// When somebody last consented, or a machine last asked, UTC.
    pub last_used_at: Option<DateTimeUtc>,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
