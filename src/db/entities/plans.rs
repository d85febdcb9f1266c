//! `plans`: the price list.

use sea_orm::entity::prelude::*;

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "plans")]
pub struct Model {
    /// `gratis`, `basic`, `pro`.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub code: String,
    /// For people.
    #[sea_orm(column_type = "Text")]
    pub name: String,
    /// Price a month, US cents.
    pub price_usd_cents: i32,
    /// Calls a month; none is unlimited.
    pub calls_per_month: Option<i32>,
    /// Tools that may be enabled; none is all.
    pub tools_max: Option<i32>,
    /// Served first by support.
    pub priority_support: bool,
    /// Order on pages.
    pub position: i32,
    /// Counts edits.
    pub version: i32,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
