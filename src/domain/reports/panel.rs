//! The operator's first page.

use chrono::NaiveDate;
use sea_orm::{DbErr, FromQueryResult};
use serde::Serialize;
use uuid::Uuid;

use super::Reports;
use super::log::{LogFilter, LogRow};
use super::range::DayRange;
use super::sql::Sql;
use super::sums::{self, Sums};
use super::times::Times;
use crate::clock::{billing_day, billing_month, day_number};
use crate::domain::usage::rollup::EVERYBODY;
use crate::ids::TenantId;

/// Clients named that are near their quota.
const NEAR_QUOTA_ROWS_MAX: u64 = 20;
/// From so many per cent of its quota a client is near it.
const NEAR_QUOTA_PERCENT: i64 = 80;
const ERRORS_SHOWN: u64 = 10;

/// A day's calls.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DayCalls {
    /// The day, in Santo Domingo.
    pub day: NaiveDate,
    /// All.
    pub calls: i64,
    /// Those that ended with an error.
    pub failed: i64,
}

/// A client that has used most of its month.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ClientNearQuota {
    /// Which.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// Its plan's name.
    pub plan: String,
    /// Counted calls of this month.
    pub used: i64,
    /// The plan's calls a month.
    pub limit: i64,
    /// Used, per cent, rounded down.
    pub percent: i64,
}

/// A client whose Odoo fails.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PausedClient {
    /// Which.
    pub id: TenantId,
    /// Its name.
    pub name: String,
}

/// The service at a glance.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Panel {
    /// The days that the charts, rates and times are of.
    pub range: DayRange,
    /// Clients that may be served.
    pub clients_active: i64,
    /// All clients.
    pub clients: i64,
    /// Calls of today.
    pub calls_today: i64,
    /// Calls of this month.
    pub calls_month: i64,
    /// Calls of the range.
    pub calls: i64,
    /// Results among the calls of the range that were carried out, per cent; none without any.
    pub success_rate: Option<f64>,
    /// Where their time went.
    pub times: Times,
    /// Tools of the range, the most used first: all of them, with everything the metrics page shows too.
    pub tools: Vec<super::ToolCalls>,
    /// Every day of the range.
    pub days: Vec<DayCalls>,
    /// Clients that have used 80 % of their month or more, the fullest first, some twenty at most.
    pub near_quota: Vec<ClientNearQuota>,
    /// How many there are in all.
    pub near_quota_count: i64,
    /// Clients whose Odoo is left alone at the moment.
    pub paused: Vec<PausedClient>,
    /// The prices of active clients' plans, US cents a month.
    pub revenue_usd_cents: i64,
    /// The latest calls in which something broke.
    pub errors: Vec<LogRow>,
}

#[derive(FromQueryResult)]
struct Clients {
    clients: i64,
    active: i64,
    revenue: i64,
}

#[derive(FromQueryResult)]
struct NearQuota {
    id: Uuid,
    name: String,
    plan: String,
    used: i64,
    quota: i64,
    clients: i64,
}

impl Reports {
    /// For operators. `paused` are the tenants whose Odoo is left alone, from `Connections::paused_tenants`; `answers` are the error codes that are
    /// ordinary answers, in which nothing broke. At most eight queries.
    ///
    /// # Errors
    /// The database.
    pub async fn panel(&self, range: DayRange, paused: &[TenantId], answers: Vec<&'static str>) -> Result<Panel, DbErr> {
        let now = self.clock.now();
        let sql = "select count(*) as clients, cast(coalesce(sum(case when c.status = 'active' then 1 else 0 end), 0) as bigint) as active, \
                   cast(coalesce(sum(case when c.status = 'active' then p.price_usd_cents else 0 end), 0) as bigint) as revenue \
                   from clients c join plans p on p.code = c.plan_code";
        let clients = Sql::new(sql).one::<Clients>(&self.reads).await?.unwrap_or(Clients { clients: 0, active: 0, revenue: 0 });
        let tools = sums::by_tool(&self.reads, EVERYBODY, range).await?;
        let mut all = Sums::default();
        tools.values().for_each(|tool| all.add(tool));
        let month = DayRange::month_to_date(now);
        let days = sums::by_day(&self.reads, EVERYBODY, DayRange::new(range.from().min(month.from()), range.to().max(month.to()))).await?;
        let (first, last) = month.day_numbers();
        let near_quota = self.near_quota(billing_month(now)).await?;
        let names = self.names(paused.iter().map(|tenant| tenant.uuid()).collect()).await?;
        let errors = self.log_page(&LogFilter { outcome: Some("error".to_owned()), codes_but: answers, ..LogFilter::default() }, None, ERRORS_SHOWN).await?;
        Ok(Panel {
            range,
            clients_active: clients.active,
            clients: clients.clients,
            calls_today: days.get(&billing_day(now)).map_or(0, |day| day.calls),
            calls_month: days.range(first..=last).map(|(_, day)| day.calls).sum(),
            calls: all.calls,
            success_rate: all.error_rate().map(|rate| ((100.0 - rate) * 100.0).round() / 100.0),
            times: all.times(),
            tools: super::metrics::ranked(&tools),
            days: day_series(range, &days),
            near_quota_count: near_quota.first().map_or(0, |row| row.clients),
            near_quota: near_quota
                .into_iter()
                .map(|row| ClientNearQuota { id: row.id.into(), name: row.name, plan: row.plan, used: row.used, limit: row.quota, percent: row.used * 100 / row.quota.max(1) })
                .collect(),
            paused: names.into_iter().map(|(id, name)| PausedClient { id: id.into(), name }).collect(),
            revenue_usd_cents: clients.revenue,
            errors: errors.rows,
        })
    }

    async fn near_quota(&self, month: i32) -> Result<Vec<NearQuota>, DbErr> {
        let mut sql = Sql::new(
            "select c.id as id, c.name as name, p.name as plan, m.counted as used, cast(p.calls_per_month as bigint) as quota, count(*) over () as clients \
             from usage_months m join clients c on c.id = m.client_id join plans p on p.code = c.plan_code where c.status = 'active' and m.month = ",
        );
        sql.bind(month).push(" and p.calls_per_month > 0 and m.counted * 100 >= p.calls_per_month * ").bind(NEAR_QUOTA_PERCENT);
        sql.push(" order by m.counted * 100 / p.calls_per_month desc, c.id limit ").bind(i64::try_from(NEAR_QUOTA_ROWS_MAX).unwrap_or(i64::MAX));
        sql.all(&self.reads).await
    }

    /// The names of clients, by name.
    pub(super) async fn names(&self, ids: Vec<Uuid>) -> Result<Vec<(Uuid, String)>, DbErr> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut sql = Sql::new("select id, name from clients where id in ");
        sql.list(ids).push(" order by name, id");
        sql.rows(&self.reads).await?.iter().map(|row| Ok((row.try_get("", "id")?, row.try_get("", "name")?))).collect()
    }
}

/// Every day of the range, those without calls too.
pub(super) fn day_series(range: DayRange, days: &std::collections::BTreeMap<i32, Sums>) -> Vec<DayCalls> {
    range
        .days()
        .map(|day| {
            let (calls, failed) = days.get(&day_number(day)).map_or((0, 0), |sums| (sums.calls, sums.failed));
            DayCalls { day, calls, failed }
        })
        .collect()
}
