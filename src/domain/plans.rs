//! The price list.

use sea_orm::{DatabaseConnection, DbErr, EntityTrait, QueryOrder};

use crate::db::entities::plans;

/// A plan as the rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `gratis`, `basic`, `pro`.
    pub code: String,
    /// For people.
    pub name: String,
    /// Calls a month; none is unlimited.
    pub calls_per_month: Option<u32>,
    /// Tools that may be enabled; none is all.
    pub tools_max: Option<usize>,
}

impl From<plans::Model> for Plan {
    fn from(row: plans::Model) -> Self {
        Self {
            code: row.code,
            name: row.name,
            calls_per_month: row.calls_per_month.and_then(|calls| u32::try_from(calls).ok()),
            tools_max: row.tools_max.and_then(|tools| usize::try_from(tools).ok()),
        }
    }
}

/// Every plan, cheapest first.
///
/// # Errors
/// The database does not answer.
pub async fn plan_list(db: &DatabaseConnection) -> Result<Vec<Plan>, DbErr> {
    let rows = plans::Entity::find().order_by_asc(plans::Column::Position).all(db).await?;
    Ok(rows.into_iter().map(Plan::from).collect())
}
