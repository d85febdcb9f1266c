//! `statements`: closed months and their corrections; a row is never edited.

use sea_orm::entity::prelude::*;

/// A closed month of a tenant, or a correction of one.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "statements")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Whose.
    pub client_id: Uuid,
    /// YYYYMM in Santo Domingo.
    pub month: i32,
    /// 0: the statement of the month; 1, 2, …: its corrections.
    pub part: i32,
    /// Counted up without gaps.
    #[sea_orm(unique)]
    pub number: i32,
    /// The company's name on that day.
    #[sea_orm(column_type = "Text")]
    pub client_name: String,
    /// Its RNC on that day.
    #[sea_orm(column_type = "Text", nullable)]
    pub client_rnc: Option<String>,
    /// The month's plan.
    #[sea_orm(column_type = "Text")]
    pub plan_code: String,
    /// Its name.
    #[sea_orm(column_type = "Text")]
    pub plan_name: String,
    /// Calls.
    pub calls: i64,
    /// Calls that count against the plan.
    pub counted: i64,
    /// Before ITBIS, US cents; negative in a credit.
    pub amount_usd_cents: i64,
    /// ITBIS, US cents.
    pub itbis_usd_cents: i64,
    /// RD$ per US$, ten-thousandths.
    pub usd_rate_e4: i64,
    /// Per cent, hundredths.
    pub itbis_percent_e2: i32,
    /// What it consists of.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub lines: Option<Json>,
    /// Why, in words (corrections).
    #[sea_orm(column_type = "Text")]
    pub note: String,
    /// Who closed or corrected it.
    #[sea_orm(column_type = "Text")]
    pub actor: String,
    /// UTC.
    pub created_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
