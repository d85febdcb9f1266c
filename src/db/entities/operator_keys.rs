//! `operator_keys`: the API keys of operators. The key itself is nowhere.

use sea_orm::entity::prelude::*;

/// An operator's API key.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "operator_keys")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// For people: which program uses it.
    #[sea_orm(column_type = "Text")]
    pub name: String,
    /// The beginning of its text.
    #[sea_orm(column_type = "Text")]
    pub prefix: String,
    /// The end of its text.
    #[sea_orm(column_type = "Text")]
    pub last_four: String,
    /// SHA-256 of the whole, hex.
    #[sea_orm(column_type = "Text", unique)]
    pub hash: String,
    /// Who made it.
    #[sea_orm(column_type = "Text")]
    pub made_by: String,
    /// UTC.
    pub expires_at: DateTimeUtc,
    /// UTC.
    pub revoked_at: Option<DateTimeUtc>,
    /// UTC, to the minute.
    pub last_used_at: Option<DateTimeUtc>,
    /// UTC.
    pub created_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
