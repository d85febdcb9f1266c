//! `usage_months`: how many calls a tenant made in a month, and the last of them.

use sea_orm::entity::prelude::*;

/// A tenant's month.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "usage_months")]
pub struct Model {
    /// Whose.
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: Uuid,
    /// YYYYMM in Santo Domingo.
    #[sea_orm(primary_key, auto_increment = false)]
    pub month: i32,
    /// Calls.
    pub calls: i64,
    /// Calls that count against the plan.
    pub counted: i64,
    /// Calls that ended with an error.
    pub failed: i64,
    /// When the last one began, UTC.
    pub last_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
