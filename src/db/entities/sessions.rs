//! `sessions`: where people are signed in. The cookie is nowhere.

use sea_orm::entity::prelude::*;

/// A signed-in browser.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sessions")]
pub struct Model {
    /// SHA-256 of the cookie, hex.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub hash: String,
    /// Whose.
    pub user_id: Uuid,
    /// Whether the second factor was shown, or none is needed.
    pub second_factor_done: bool,
    /// Where it was begun.
    #[sea_orm(column_type = "Text", nullable)]
    pub address: Option<String>,
    /// The browser, as it calls itself.
    #[sea_orm(column_type = "Text", nullable)]
    pub agent: Option<String>,
    /// UTC.
    pub created_at: DateTimeUtc,
    /// UTC, to the minute.
    pub last_seen_at: DateTimeUtc,
    /// UTC; its end at the latest.
    pub expires_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// Whose it is.
    #[sea_orm(belongs_to = "super::users::Entity", from = "Column::UserId", to = "super::users::Column::Id")]
    User,
}

impl Related<super::users::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::User.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
