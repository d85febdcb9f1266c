//! `padron_listings`: listings of taxpayers that nodes hand to each other (PostgreSQL; see `domain/padron_share.rs`).

use sea_orm::entity::prelude::*;

/// A listing's index file.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "padron_listings")]
pub struct Model {
    /// The index's file name.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub name: String,
    /// What is known of it.
    pub info: Option<Json>,
    /// Of the whole file, hexadecimal.
    #[sea_orm(column_type = "Text")]
    pub sha256: String,
    /// Its size.
    pub bytes: i64,
    /// Pieces it is kept in.
    pub pieces: i32,
    /// When it became the active one, the last time. UTC.
    pub activated_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
