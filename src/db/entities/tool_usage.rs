//! `tool_usage`: one row per call. Never argument values.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// One call. The usage journal holds it as JSON.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "tool_usage")]
pub struct Model {
    /// UUIDv7, made when the call begins.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Whose.
    pub client_id: Uuid,
    /// By which token.
    pub token_id: Option<Uuid>,
    /// The tool.
    #[sea_orm(column_type = "Text")]
    pub tool: String,
    /// Name and version the agent gives of itself.
    #[sea_orm(column_type = "Text", nullable)]
    pub agent: Option<String>,
    /// `ok`, `error`, `refused`, `cancelled`.
    #[sea_orm(column_type = "Text")]
    pub outcome: String,
    /// The tool's error code.
    #[sea_orm(column_type = "Text", nullable)]
    pub error_code: Option<String>,
    /// Whether it counts against the plan.
    pub counted: bool,
    /// YYYYMM in Santo Domingo.
    pub billing_month: i32,
    /// Microseconds in all.
    pub total_us: i64,
    /// Microseconds of them in Odoo.
    pub odoo_us: i64,
    /// Requests to Odoo.
    pub odoo_requests: i32,
    /// Request id.
    #[sea_orm(column_type = "Text")]
    pub request_id: String,
    /// UTC.
    pub started_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
