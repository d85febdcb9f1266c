//! `nodes`: the processes that serve from this database (PostgreSQL; see `domain/nodes.rs`).

use sea_orm::entity::prelude::*;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "nodes")]
pub struct Model {
    /// Of the process.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// What it calls itself: its machine and process.
    #[sea_orm(column_type = "Text")]
    pub name: String,
    /// Of the program.
    #[sea_orm(column_type = "Text")]
    pub version: String,
    /// UTC, by the database's clock.
    pub started_at: DateTimeUtc,
    /// Last heard of, UTC, by the database's clock.
    pub seen_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
