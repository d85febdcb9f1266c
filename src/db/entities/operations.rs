//! `operations`: writes into tenants' Odoos.

use sea_orm::entity::prelude::*;

/// One write.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "operations")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Whose.
    pub client_id: Uuid,
    /// By which token.
    pub token_id: Option<Uuid>,
    /// The tool.
    #[sea_orm(column_type = "Text")]
    pub tool: String,
    /// Idempotency key; unique per tenant.
    #[sea_orm(column_type = "Text", nullable)]
    pub key: Option<String>,
    /// Random part of the confirmation code; unique per tenant.
    #[sea_orm(column_type = "Text", nullable)]
    pub confirmation: Option<String>,
    /// SHA-256 of the canonical arguments, hex.
    #[sea_orm(column_type = "Text")]
    pub arguments_hash: String,
    /// `running`, `done`, `unknown`; of one that an owner approves also `pending`, `refused`, `expired`.
    #[sea_orm(column_type = "Text")]
    pub state: String,
    /// How the record in Odoo can be found again.
    #[sea_orm(column_type = "Text")]
    pub reference: String,
    /// The structured result.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub result: Option<Json>,
    /// UTC.
    pub created_at: DateTimeUtc,
    /// UTC.
    pub updated_at: DateTimeUtc,
    /// Arguments and preview of one that waits for an owner, sealed with the tenant's data key.
    #[sea_orm(column_type = "Text", nullable)]
    pub request_sealed: Option<String>,
    /// SHA-256 of the plan that the owner is shown, hex.
    #[sea_orm(column_type = "Text", nullable)]
    pub plan_digest: Option<String>,
    /// What the agent calls itself.
    #[sea_orm(column_type = "Text", nullable)]
    pub agent: Option<String>,
    /// Until when an owner may decide, UTC; null where nobody has to.
    pub expires_at: Option<DateTimeUtc>,
    /// The address of who decided.
    #[sea_orm(column_type = "Text", nullable)]
    pub decided_by: Option<String>,
    /// When, UTC.
    pub decided_at: Option<DateTimeUtc>,
    /// Why it was refused.
    #[sea_orm(column_type = "Text", nullable)]
    pub reason: Option<String>,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
