//! `usage_days`: a tenant's calls of a day by tool and outcome, and how long they took.
//!
//! The nil id stands for all tenants together. The buckets' bounds are in the migration crate (`rollups`).

use sea_orm::entity::prelude::*;

/// The calls of one tool of one tenant on one day that ended in the same way.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "usage_days")]
pub struct Model {
    /// Whose; nil is everybody's.
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: Uuid,
    /// YYYYMMDD in Santo Domingo.
    #[sea_orm(primary_key, auto_increment = false)]
    pub day: i32,
    /// The tool.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub tool: String,
    /// `ok`, `error`, `refused`, `cancelled`.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub outcome: String,
    /// The tool's error code; empty when there is none.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub error_code: String,
    /// How many.
    pub calls: i64,
    /// How many of them count against the plan.
    pub counted: i64,
    /// Microseconds in all, summed.
    pub total_us: i64,
    /// Microseconds in Odoo, summed.
    pub odoo_us: i64,
    /// Calls of up to 1 ms in all.
    pub total_0: i32,
    /// Calls of up to 2.5 ms in all.
    pub total_1: i32,
    /// Calls of up to 5 ms in all.
    pub total_2: i32,
    /// Calls of up to 10 ms in all.
    pub total_3: i32,
    /// Calls of up to 25 ms in all.
    pub total_4: i32,
    /// Calls of up to 50 ms in all.
    pub total_5: i32,
    /// Calls of up to 100 ms in all.
    pub total_6: i32,
    /// Calls of up to 250 ms in all.
    pub total_7: i32,
    /// Calls of up to 500 ms in all.
    pub total_8: i32,
    /// Calls of up to 1 s in all.
    pub total_9: i32,
    /// Calls of up to 2.5 s in all.
    pub total_10: i32,
    /// Calls of up to 5 s in all.
    pub total_11: i32,
    /// Calls of up to 10 s in all.
    pub total_12: i32,
    /// Calls of up to 25 s in all.
    pub total_13: i32,
    /// Calls of more in all.
    pub total_14: i32,
    /// Calls of up to 1 ms in Odoo (of calls that asked it).
    pub odoo_0: i32,
    /// Calls of up to 2.5 ms in Odoo (of calls that asked it).
    pub odoo_1: i32,
    /// Calls of up to 5 ms in Odoo (of calls that asked it).
    pub odoo_2: i32,
    /// Calls of up to 10 ms in Odoo (of calls that asked it).
    pub odoo_3: i32,
    /// Calls of up to 25 ms in Odoo (of calls that asked it).
    pub odoo_4: i32,
    /// Calls of up to 50 ms in Odoo (of calls that asked it).
    pub odoo_5: i32,
    /// Calls of up to 100 ms in Odoo (of calls that asked it).
    pub odoo_6: i32,
    /// Calls of up to 250 ms in Odoo (of calls that asked it).
    pub odoo_7: i32,
    /// Calls of up to 500 ms in Odoo (of calls that asked it).
    pub odoo_8: i32,
    /// Calls of up to 1 s in Odoo (of calls that asked it).
    pub odoo_9: i32,
    /// Calls of up to 2.5 s in Odoo (of calls that asked it).
    pub odoo_10: i32,
    /// Calls of up to 5 s in Odoo (of calls that asked it).
    pub odoo_11: i32,
    /// Calls of up to 10 s in Odoo (of calls that asked it).
    pub odoo_12: i32,
    /// Calls of up to 25 s in Odoo (of calls that asked it).
    pub odoo_13: i32,
    /// Calls of more in Odoo (of calls that asked it).
    pub odoo_14: i32,
    /// Calls of up to 1 ms in Dunet.
    pub own_0: i32,
    /// Calls of up to 2.5 ms in Dunet.
    pub own_1: i32,
    /// Calls of up to 5 ms in Dunet.
    pub own_2: i32,
    /// Calls of up to 10 ms in Dunet.
    pub own_3: i32,
    /// Calls of up to 25 ms in Dunet.
    pub own_4: i32,
    /// Calls of up to 50 ms in Dunet.
    pub own_5: i32,
    /// Calls of up to 100 ms in Dunet.
    pub own_6: i32,
    /// Calls of up to 250 ms in Dunet.
    pub own_7: i32,
    /// Calls of up to 500 ms in Dunet.
    pub own_8: i32,
    /// Calls of up to 1 s in Dunet.
    pub own_9: i32,
    /// Calls of up to 2.5 s in Dunet.
    pub own_10: i32,
    /// Calls of up to 5 s in Dunet.
    pub own_11: i32,
    /// Calls of up to 10 s in Dunet.
    pub own_12: i32,
    /// Calls of up to 25 s in Dunet.
    pub own_13: i32,
    /// Calls of more in Dunet.
    pub own_14: i32,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
