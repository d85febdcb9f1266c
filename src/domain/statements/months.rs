//! Lists of months: a client's, and what a month's closed statements come to.

use std::collections::HashMap;

use chrono::{DateTime, Months, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;

use super::money::{dop, rate_of};
use super::{Statement, StatementError, StatementState, Statements};
use crate::clock::{billing_month, day_start, local_day};
use crate::db::entities::{clients, statements};
use crate::ids::TenantId;

/// Months that a client's list goes back.
const MONTHS_MAX: u32 = 24;
/// Closed months and corrections read for it.
const PARTS_MAX: u64 = 500;

/// A client's month in a list.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct MonthRow {
    /// YYYYMM.
    pub month: i32,
    /// How far it is.
    pub state: StatementState,
    /// What it came to, once closed; until then it is made up by [`Statements::statement`].
    pub closed: Option<Statement>,
}

/// What the closed statements of a month come to, corrections included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct MonthTotals {
    /// Clients whose month is closed.
    pub closed: u64,
    /// Before ITBIS, US cents.
    pub amount_usd_cents: i64,
    /// ITBIS, US cents.
    pub itbis_usd_cents: i64,
    /// Both in RD$, cents, each client's at its rate.
    pub total_dop_cents: i64,
}

impl Statements {
    /// A client's months, the running one first, back to its first or two years. Three queries.
    ///
    /// # Errors
    /// No such client, or the database.
    pub async fn months_of(&self, tenant: TenantId) -> Result<Vec<MonthRow>, StatementError> {
        let since: Option<DateTime<Utc>> = clients::Entity::find_by_id(tenant.uuid()).select_only().column(clients::Column::CreatedAt).into_tuple().one(&self.db).await?;
        let since = since.ok_or(StatementError::Unknown)?;
        let rows = statements::Entity::find().filter(statements::Column::ClientId.eq(tenant.uuid()));
        let rows = rows.order_by_desc(statements::Column::Month).order_by_asc(statements::Column::Part).limit(PARTS_MAX).all(&self.db).await?;
        let mut parts = HashMap::<i32, Vec<Statement>>::new();
        for row in rows {
            parts.entry(row.month).or_default().push(Statement::frozen(row));
        }
        let now = self.clock.now();
        let mut invoices = super::invoices::of(&self.db, &[tenant.uuid()], None, now).await?;
        let days = (0..MONTHS_MAX).map_while(|back| local_day(now).checked_sub_months(Months::new(back)));
        let months = days.map(|day| billing_month(day_start(day))).take_while(|month| *month >= billing_month(since));
        let row = |month| {
            let mut parts = parts.remove(&month).unwrap_or_default().into_iter();
            let closed = parts
                .next()
                .filter(|first| first.part == 0)
                .map(|first| first.corrected(parts.collect()))
                .map(|closed| Statement { invoice: invoices.remove(&(tenant.uuid(), month)), ..closed });
            let state = match &closed {
                Some(_) => StatementState::Closed,
                None if month == billing_month(now) => StatementState::Running,
                None => StatementState::Open,
            };
            MonthRow { month, state, closed }
        };
        Ok(months.map(row).collect())
    }

    /// For operators: what is closed of a month. One query.
    ///
    /// # Errors
    /// The database.
    pub async fn month_totals(&self, month: i32) -> Result<MonthTotals, StatementError> {
        let columns = [statements::Column::ClientId, statements::Column::AmountUsdCents, statements::Column::ItbisUsdCents, statements::Column::UsdRateE4];
        let rows: Vec<(uuid::Uuid, i64, i64, i64)> =
            statements::Entity::find().select_only().columns(columns).filter(statements::Column::Month.eq(month)).into_tuple().all(&self.db).await?;
        let (mut totals, mut balances) = (MonthTotals::default(), HashMap::<uuid::Uuid, (i64, i64)>::new());
        for (client, amount, itbis, rate) in rows {
            totals.amount_usd_cents += amount;
            totals.itbis_usd_cents += itbis;
            balances.entry(client).or_insert((0, rate)).0 += amount + itbis;
        }
        totals.closed = balances.len() as u64;
        // Rounded as each client's own statement is.
        totals.total_dop_cents = balances.values().map(|(usd_cents, rate)| dop(*usd_cents, rate_of(*rate, 4))).sum();
        Ok(totals)
    }
}
