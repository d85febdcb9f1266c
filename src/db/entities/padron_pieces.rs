//! `padron_pieces`: the index files of `padron_listings`, piece by piece.

use sea_orm::entity::prelude::*;

/// A piece.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "padron_pieces")]
pub struct Model {
    /// The index's file name.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub name: String,
    /// Its place, from 0.
    #[sea_orm(primary_key, auto_increment = false)]
    pub piece: i32,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
