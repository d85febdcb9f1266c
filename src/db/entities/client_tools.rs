//! `client_tools`: what a tenant may use. No row means the plan's default.

use sea_orm::entity::prelude::*;

/// One tool of one tenant.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "client_tools")]
pub struct Model {
    /// Whose.
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: Uuid,
    /// The tool's name.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub tool: String,
    /// Whether it may be used.
    pub enabled: bool,
    /// `confirm` or `direct`; none follows the tenant.
    #[sea_orm(column_type = "Text", nullable)]
    pub write_policy: Option<String>,
    /// Calls an hour.
    pub rate_limit_per_hour: i32,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
