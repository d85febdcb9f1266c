//! `alert_channels`: to whom alerts go.

use sea_orm::entity::prelude::*;

/// The channels of a tenant, or of the operator.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alert_channels")]
pub struct Model {
    /// The tenant's id; nil is the operator's.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant; none is the operator.
    pub client_id: Option<Uuid>,
    /// Whether letters go out.
    pub mail: bool,
    /// Topics that are not told, with commas.
    #[sea_orm(column_type = "Text")]
    pub muted: String,
    /// Where webhooks go; none sends none.
    #[sea_orm(column_type = "Text", nullable)]
    pub webhook_url: Option<String>,
    /// What they are signed with, sealed.
    #[sea_orm(column_type = "Text", nullable)]
    pub secret_sealed: Option<String>,
    /// What they were signed with before, sealed.
    #[sea_orm(column_type = "Text", nullable)]
    pub previous_sealed: Option<String>,
    /// Until when that signs too, UTC.
    pub previous_until: Option<DateTimeUtc>,
    /// The operator's data key, wrapped by the master key; a tenant's is in its row.
    #[sea_orm(column_type = "Text", nullable)]
    pub data_key_sealed: Option<String>,
    /// Counts edits.
    pub version: i32,
    /// UTC.
    pub updated_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
