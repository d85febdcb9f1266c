//! `clients`: tenants. Secrets are sealed by the vault.

use sea_orm::entity::prelude::*;

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "clients")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The company's name.
    #[sea_orm(column_type = "Text")]
    pub name: String,
    /// Its RNC, digits only.
    #[sea_orm(column_type = "Text", nullable)]
    pub rnc: Option<String>,
    /// `active` or `suspended`.
    #[sea_orm(column_type = "Text")]
    pub status: String,
    /// Its plan.
    #[sea_orm(column_type = "Text")]
    pub plan_code: String,
    /// `es` or `en`.
    #[sea_orm(column_type = "Text")]
    pub language: String,
    /// IANA name.
    #[sea_orm(column_type = "Text")]
    pub timezone: String,
    /// `confirm` (two-step) or `direct`.
    #[sea_orm(column_type = "Text")]
    pub write_policy: String,
    /// Base address of its Odoo.
    #[sea_orm(column_type = "Text", nullable)]
    pub odoo_url: Option<String>,
    /// Database name.
    #[sea_orm(column_type = "Text", nullable)]
    pub odoo_database: Option<String>,
    /// User name.
    #[sea_orm(column_type = "Text", nullable)]
    pub odoo_login: Option<String>,
    /// Password or API key, sealed with the tenant's data key.
    #[sea_orm(column_type = "Text", nullable)]
    pub odoo_secret_sealed: Option<String>,
    /// `auto`, `json2`, `xmlrpc`, `jsonrpc`.
    #[sea_orm(column_type = "Text")]
    pub odoo_protocol: String,
    /// The data key, wrapped by the master key.
    #[sea_orm(column_type = "Text")]
    pub data_key_sealed: String,
    /// UTC.
    pub created_at: DateTimeUtc,
    /// UTC; changes with every edit.
    pub updated_at: DateTimeUtc,
    /// Requests per second its Odoo likes; null goes by its address, 0 is no limit.
    pub odoo_requests_per_second: Option<i32>,
    /// Counts edits, so that a stale page is noticed.
    pub version: i32,
    /// Calls an hour of a tool without a limit of its own; what the settings said when it was added.
    pub tool_calls_per_hour: i32,
    /// Whether its people use an Odoo user of their own: `off`, `allowed` or `required`.
    #[sea_orm(column_type = "Text")]
    pub odoo_personal: String,
}

/// What is read together with a tenant.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// Its plan.
    #[sea_orm(belongs_to = "super::plans::Entity", from = "Column::PlanCode", to = "super::plans::Column::Code")]
    Plan,
}

impl Related<super::plans::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Plan.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
