//! `oauth_requests`: what programs ask for, until a person answers.

use sea_orm::entity::prelude::*;

/// A request to be let in, on its way through the sign-in to the consent.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "oauth_requests")]
pub struct Model {
    /// Random (v4): it stands in an address.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// SHA-256 of the cookie of the browser that began it, hex.
    #[sea_orm(column_type = "Text")]
    pub browser_hash: String,
    /// Who looked at it first; it is nobody else's then.
    pub user_id: Option<Uuid>,
    /// Which program asks.
    #[sea_orm(column_type = "Text")]
    pub identifier: String,
    /// Where the browser goes back to.
    #[sea_orm(column_type = "Text")]
    pub redirect_uri: String,
    /// What goes back with it.
    #[sea_orm(column_type = "Text", nullable)]
    pub state: Option<String>,
    /// PKCE, S256.
    #[sea_orm(column_type = "Text")]
    pub challenge: String,
    /// The packs asked for, with blanks between.
    #[sea_orm(column_type = "Text")]
    pub packs: String,
    /// Whether there will be refresh tokens.
    pub refreshes: bool,
    /// What the tokens will be for.
    #[sea_orm(column_type = "Text")]
    pub resource: String,
    /// UTC.
    pub expires_at: DateTimeUtc,
    /// UTC.
    pub created_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
