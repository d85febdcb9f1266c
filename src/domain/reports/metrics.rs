//! The page of metrics: tools, errors, times, the week's hours, clients.

use std::collections::BTreeMap;

use sea_orm::{DbErr, FromQueryResult};
use serde::Serialize;
use uuid::Uuid;

use super::Reports;
use super::panel::{DayCalls, day_series};
use super::range::DayRange;
use super::sql::Sql;
use super::sums::{self, Sums};
use super::times::Times;
use crate::domain::usage::rollup::EVERYBODY;
use crate::ids::TenantId;

/// Clients ranked.
const CLIENTS_MAX: i64 = 50;
/// Over more days than this, clients' numbers are those of whole months.
const EXACT_DAYS_MAX: usize = 62;
/// Errors ranked.
const ERRORS_MAX: i64 = 50;
/// Hours since 1970 at which a Monday began (1970-01-01 was a Thursday), and hours of a week.
const THURSDAY: i64 = 3;
const WEEK_HOURS: i64 = 168;
/// How far Santo Domingo is behind, hours, all year round.
const BEHIND_HOURS: i64 = 4;

/// A tool's calls.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ToolCalls {
    /// Its name.
    pub tool: String,
    /// All calls.
    pub calls: i64,
    /// With a result.
    pub ok: i64,
    /// With an error.
    pub failed: i64,
    /// Refused by a limit or for their arguments.
    pub refused: i64,
    /// Given up by the caller.
    pub cancelled: i64,
    /// Errors among those carried out, per cent; none without any.
    pub error_rate: Option<f64>,
    /// How long they took.
    pub times: Times,
}

/// Errors of a kind.
#[derive(Clone, Debug, PartialEq, Serialize, FromQueryResult, utoipa::ToSchema)]
pub struct ErrorCalls {
    /// The tool.
    pub tool: String,
    /// The error code.
    pub error_code: String,
    /// How many.
    pub calls: i64,
}

/// A client's calls.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ClientCalls {
    /// Which.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// All calls of the range.
    pub calls: i64,
    /// With an error.
    pub failed: i64,
    /// Errors among those carried out, per cent; none without any.
    pub error_rate: Option<f64>,
}

/// Calls by hour of the week, in Santo Domingo.
#[derive(Clone, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct HeatMap {
    /// `hours[weekday][hour]`; 0 is Monday.
    pub hours: [[i64; 24]; 7],
    /// The largest of them.
    pub max: i64,
}

/// A range of days in numbers.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct MetricsReport {
    /// Which days.
    pub range: DayRange,
    /// Calls in all.
    pub calls: i64,
    /// Errors among those carried out, per cent; none without any.
    pub error_rate: Option<f64>,
    /// How long they took.
    pub times: Times,
    /// Every tool that was called, the most used first.
    pub tools: Vec<ToolCalls>,
    /// The most frequent errors, some fifty at most.
    pub errors: Vec<ErrorCalls>,
    /// Every day.
    pub days: Vec<DayCalls>,
    /// By hour of the week.
    pub heat: HeatMap,
    /// The busiest clients of the months that the range touches, at most fifty, with their calls of the range (over more than 62 days: of those
    /// months, with errors among counted calls as the rate); empty for one tenant.
    pub clients: Vec<ClientCalls>,
}

impl Reports {
    /// A tenant's numbers, or (for operators) everybody's. At most six queries.
    ///
    /// # Errors
    /// The database.
    pub async fn metrics(&self, range: DayRange, tenant: Option<TenantId>) -> Result<MetricsReport, DbErr> {
        let client = tenant.map_or(EVERYBODY, TenantId::uuid);
        let tools = sums::by_tool(&self.reads, client, range).await?;
        let mut all = Sums::default();
        tools.values().for_each(|tool| all.add(tool));
        let days = sums::by_day(&self.reads, client, range).await?;
        let clients = if tenant.is_none() { self.busiest(range).await? } else { Vec::new() };
        Ok(MetricsReport {
            range,
            calls: all.calls,
            error_rate: all.error_rate(),
            times: all.times(),
            tools: ranked(&tools),
            errors: self.errors(client, range).await?,
            days: day_series(range, &days),
            heat: self.heat(client, range).await?,
            clients,
        })
    }

    async fn errors(&self, client: Uuid, range: DayRange) -> Result<Vec<ErrorCalls>, DbErr> {
        let mut sql = Sql::new("select tool, error_code, cast(sum(calls) as bigint) as calls from usage_days where outcome = 'error' and client_id = ");
        sql.bind(client);
        sums::within(&mut sql, range).push(" group by tool, error_code order by 3 desc, 1, 2 limit ").bind(ERRORS_MAX);
        sql.all(&self.reads).await
    }

    async fn heat(&self, client: Uuid, range: DayRange) -> Result<HeatMap, DbErr> {
        let (from, after) = range.hours();
        let mut sql =
            Sql::new(&format!("select cast((hour - {BEHIND_HOURS}) % {WEEK_HOURS} as bigint) as slot, cast(sum(calls) as bigint) as calls from usage_hours where client_id = "));
        sql.bind(client).push(" and hour >= ").bind(from).push(" and hour < ").bind(after).push(" group by 1");
        let mut heat = HeatMap::default();
        for row in sql.rows(&self.reads).await? {
            let (slot, calls): (i64, i64) = (row.try_get("", "slot")?, row.try_get("", "calls")?);
            let (weekday, hour) = ((slot / 24 + THURSDAY) % 7, slot % 24);
            let place = usize::try_from(weekday).ok().zip(usize::try_from(hour).ok());
            if let Some(place) = place.and_then(|(weekday, hour)| heat.hours.get_mut(weekday)?.get_mut(hour)) {
                *place += calls;
                heat.max = heat.max.max(*place);
            }
        }
        Ok(heat)
    }

    /// Whom to look at comes from the months, which are few; their numbers from the days, or over a long range from the months too.
    async fn busiest(&self, range: DayRange) -> Result<Vec<ClientCalls>, DbErr> {
        let (first, last) = range.months();
        let mut sql = Sql::new(
            "select c.id as id, c.name as name, cast(sum(m.calls) as bigint) as calls, cast(sum(m.counted) as bigint) as counted, cast(sum(m.failed) as bigint) as failed \
             from usage_months m join clients c on c.id = m.client_id where m.month >= ",
        );
        sql.bind(first).push(" and m.month <= ").bind(last).push(" group by c.id, c.name order by sum(m.calls) desc, c.id limit ").bind(CLIENTS_MAX);
        let rows = sql.rows(&self.reads).await?;
        if range.days().count() > EXACT_DAYS_MAX {
            return rows
                .iter()
                .map(|row| {
                    let (calls, counted, failed): (i64, i64, i64) = (row.try_get("", "calls")?, row.try_get("", "counted")?, row.try_get("", "failed")?);
                    let id: Uuid = row.try_get("", "id")?;
                    Ok(ClientCalls { id: id.into(), name: row.try_get("", "name")?, calls, failed, error_rate: sums::error_rate(failed, (counted - failed).max(0)) })
                })
                .collect();
        }
        let named: Vec<(Uuid, String)> = rows.iter().map(|row| Ok((row.try_get("", "id")?, row.try_get("", "name")?))).collect::<Result<_, DbErr>>()?;
        let ids: Vec<Uuid> = named.iter().map(|(id, _)| *id).collect();
        let mut sums = sums::by_client(&self.reads, &ids, range).await?;
        let mut clients: Vec<ClientCalls> = named
            .into_iter()
            .map(|(id, name)| {
                let sums = sums.remove(&id).unwrap_or_default();
                ClientCalls { id: id.into(), name, calls: sums.calls, failed: sums.failed, error_rate: sums.error_rate() }
            })
            .filter(|client| client.calls > 0)
            .collect();
        clients.sort_by_key(|client| std::cmp::Reverse(client.calls));
        Ok(clients)
    }
}

/// The most used first.
pub(super) fn ranked(tools: &BTreeMap<String, Sums>) -> Vec<ToolCalls> {
    let mut ranked: Vec<ToolCalls> = tools
        .iter()
        .map(|(tool, sums)| ToolCalls {
            tool: tool.clone(),
            calls: sums.calls,
            ok: sums.ok,
            failed: sums.failed,
            refused: sums.refused,
            cancelled: sums.cancelled,
            error_rate: sums.error_rate(),
            times: sums.times(),
        })
        .collect();
    ranked.sort_by(|a, b| b.calls.cmp(&a.calls).then_with(|| a.tool.cmp(&b.tool)));
    ranked
}
