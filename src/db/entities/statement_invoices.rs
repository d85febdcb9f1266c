//! `statement_invoices`: closed statements that are draft invoices in the operator's own Odoo.

use sea_orm::entity::prelude::*;

/// An invoice of a tenant's closed month.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "statement_invoices")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Whose month.
    pub client_id: Uuid,
    /// YYYYMM in Santo Domingo.
    pub month: i32,
    /// Corrections of the month that it holds.
    pub corrections: i32,
    /// The tenant in whose Odoo it is.
    pub biller_id: Uuid,
    /// How it is found again in that Odoo.
    #[sea_orm(column_type = "Text", unique)]
    pub reference: String,
    /// `running`, `done` or `unknown`.
    #[sea_orm(column_type = "Text")]
    pub state: String,
    /// Its id there.
    pub odoo_id: Option<i64>,
    /// Its name there, once it has one.
    #[sea_orm(column_type = "Text", nullable)]
    pub odoo_name: Option<String>,
    /// Its page there.
    #[sea_orm(column_type = "Text", nullable)]
    pub url: Option<String>,
    /// `USD` or `DOP`.
    #[sea_orm(column_type = "Text", nullable)]
    pub currency: Option<String>,
    /// Whether its lines carry a tax.
    pub taxed: bool,
    /// Who made it.
    #[sea_orm(column_type = "Text")]
    pub actor: String,
    /// UTC.
    pub created_at: DateTimeUtc,
    /// UTC.
    pub updated_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
