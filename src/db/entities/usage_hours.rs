//! `usage_hours`: how many calls a tenant made in an hour. The nil id stands for all tenants together.

use sea_orm::entity::prelude::*;

/// An hour of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "usage_hours")]
pub struct Model {
    /// Whose; nil is everybody's.
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: Uuid,
    /// Whole hours since 1970, UTC.
    #[sea_orm(primary_key, auto_increment = false)]
    pub hour: i32,
    /// Calls.
    pub calls: i64,
    /// Calls that ended with an error.
    pub failed: i64,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
