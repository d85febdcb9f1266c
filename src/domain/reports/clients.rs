//! The operator's list of clients.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{DbErr, FromQueryResult};
use serde::Serialize;
use uuid::Uuid;

use super::range::DayRange;
use super::sql::Sql;
use super::{Page, Reports, cursor, sums};
use crate::clock::billing_month;
use crate::dgii::text::fold;
use crate::ids::TenantId;

/// Clients on a page.
pub const CLIENTS_PER_PAGE: usize = 50;
/// The days that the error rate is of.
const ERROR_RATE_DAYS: u64 = 7;
/// Clients whose names are compared with a search, and those it may find.
const SEARCHED_MAX: i64 = 20_000;
const FOUND_MAX: usize = 5_000;

/// The state of a client's Odoo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OdooState {
    /// Not connected yet.
    Missing,
    /// Connected.
    Connected,
    /// It fails and is left alone for a moment.
    Paused,
}

/// How the list is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientSort {
    /// By name.
    #[default]
    Name,
    /// The newest first.
    Newest,
    /// Those with the most calls of this month first.
    Calls,
}

/// Which clients; absent is all.
#[derive(Clone, Debug, Default)]
pub struct ClientFilter {
    /// In the name (marks and capitals do not matter), or the beginning of the RNC.
    pub search: Option<String>,
    /// Plan code.
    pub plan: Option<String>,
    /// Active or suspended.
    pub active: Option<bool>,
    /// The state of their Odoo.
    pub odoo: Option<OdooState>,
    /// Only active ones that somebody should look at: without an Odoo, with one that fails, or with four fifths of the plan used.
    pub attention: bool,
    /// The tenants whose Odoo is left alone, from `Connections::paused_tenants`.
    pub paused: Vec<TenantId>,
}

/// A client in the list.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ClientRow {
    /// Which.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// Its RNC.
    pub rnc: Option<String>,
    /// Plan code.
    pub plan_code: String,
    /// Plan name.
    pub plan: String,
    /// Whether it may be served.
    pub active: bool,
    /// Its Odoo.
    pub odoo: OdooState,
    /// Calls of this month.
    pub calls: i64,
    /// Those that count against the plan.
    pub counted: i64,
    /// The plan's calls a month; none is unlimited.
    pub quota: Option<i64>,
    /// Used of it, per cent, rounded down.
    pub quota_percent: Option<i64>,
    /// Errors among the calls of seven days that were carried out, per cent; none without any.
    pub error_rate: Option<f64>,
    /// When its last call began, UTC.
    pub last_call_at: Option<DateTime<Utc>>,
    /// UTC.
    pub created_at: DateTime<Utc>,
}

#[derive(FromQueryResult)]
struct Named {
    id: Uuid,
    name: String,
    rnc: Option<String>,
}

#[derive(FromQueryResult)]
struct Found {
    id: Uuid,
    name: String,
    sort_name: String,
    rnc: Option<String>,
    plan_code: String,
    plan: String,
    status: String,
    has_odoo: i32,
    calls: i64,
    counted: i64,
    quota: Option<i32>,
    created_at: DateTime<Utc>,
}

impl Reports {
    /// For operators: a page of fifty clients. Three queries; four with a search.
    ///
    /// # Errors
    /// The database.
    pub async fn client_rows(&self, filter: &ClientFilter, sort: ClientSort, after: Option<&str>) -> Result<Page<ClientRow>, DbErr> {
        let now = self.clock.now();
        let mut sql = Sql::new(
            "select c.id as id, c.name as name, lower(c.name) as sort_name, c.rnc as rnc, c.plan_code as plan_code, p.name as plan, c.status as status, \
             case when c.odoo_url is null then 0 else 1 end as has_odoo, coalesce(m.calls, 0) as calls, coalesce(m.counted, 0) as counted, \
             p.calls_per_month as quota, c.created_at as created_at \
             from clients c join plans p on p.code = c.plan_code left join usage_months m on m.client_id = c.id and m.month = ",
        );
        sql.bind(billing_month(now)).push(" where 1 = 1");
        let found = match filter.search.as_deref().map(str::trim).filter(|search| !search.is_empty()) {
            Some(search) => Some(self.found(search).await?),
            None => None,
        };
        filtered(&mut sql, filter, found);
        begun(&mut sql, sort, after);
        sql.push(" limit ").bind(i64::try_from(CLIENTS_PER_PAGE + 1).unwrap_or(i64::MAX));
        let mut found: Vec<Found> = sql.all(&self.db).await?;
        let more = found.len() > CLIENTS_PER_PAGE;
        found.truncate(CLIENTS_PER_PAGE);
        let next = found.last().filter(|_| more).map(|row| match sort {
            ClientSort::Name => cursor::encode(&[&row.sort_name, &row.id.to_string()]),
            ClientSort::Newest => cursor::encode(&[&row.id.to_string()]),
            ClientSort::Calls => cursor::encode(&[&row.calls.to_string(), &row.id.to_string()]),
        });
        let ids: Vec<Uuid> = found.iter().map(|row| row.id).collect();
        let week = sums::by_client(&self.db, &ids, DayRange::last_days(now, ERROR_RATE_DAYS)).await?;
        let last = self.last_calls(&ids).await?;
        let rows = found
            .into_iter()
            .map(|row| ClientRow {
                error_rate: week.get(&row.id).and_then(sums::Sums::error_rate),
                last_call_at: last.get(&row.id).copied(),
                odoo: odoo_state(row.has_odoo != 0, filter.paused.contains(&row.id.into())),
                quota: row.quota.map(i64::from),
                quota_percent: row.quota.filter(|quota| *quota > 0).map(|quota| row.counted * 100 / i64::from(quota)),
                id: row.id.into(),
                name: row.name,
                rnc: row.rnc,
                plan_code: row.plan_code,
                plan: row.plan,
                active: row.status == "active",
                calls: row.calls,
                counted: row.counted,
                created_at: row.created_at,
            })
            .collect();
        Ok(Page { rows, next })
    }

    /// Clients whose name has that in it, whatever its marks and capitals, or whose RNC begins so. Neither database knows a Spanish letter's
    /// relatives by itself, and names are few: they are compared here.
    pub(super) async fn found(&self, search: &str) -> Result<Vec<Uuid>, DbErr> {
        let word = fold(search);
        let digits: String = search.chars().filter(char::is_ascii_digit).collect();
        // An RNC is written with or without its hyphens.
        let rnc = (!digits.is_empty() && search.chars().all(|c| c.is_ascii_digit() || c == '-' || c == ' ')).then_some(digits);
        let mut sql = Sql::new("select id, name, rnc from clients order by id desc limit ");
        sql.bind(SEARCHED_MAX);
        let rows: Vec<Named> = sql.all(&self.db).await?;
        let is_it = |row: &Named| {
            let by_rnc = rnc.as_deref().zip(row.rnc.as_deref()).is_some_and(|(digits, rnc)| rnc.starts_with(digits));
            by_rnc || (!word.is_empty() && fold(&row.name).contains(&word))
        };
        Ok(rows.into_iter().filter(is_it).take(FOUND_MAX).map(|row| row.id).collect())
    }

    pub(super) async fn last_calls(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, DateTime<Utc>>, DbErr> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let mut sql = Sql::new("select client_id, max(last_at) as last_at from usage_months where client_id in ");
        sql.list(ids.iter().copied()).push(" group by client_id");
        sql.rows(&self.db).await?.iter().map(|row| Ok((row.try_get("", "client_id")?, row.try_get("", "last_at")?))).collect()
    }
}

pub(super) fn odoo_state(connected: bool, paused: bool) -> OdooState {
    match (connected, paused) {
        (false, _) => OdooState::Missing,
        (true, false) => OdooState::Connected,
        (true, true) => OdooState::Paused,
    }
}

fn filtered(sql: &mut Sql, filter: &ClientFilter, found: Option<Vec<Uuid>>) {
    if let Some(found) = found {
        sql.push(" and c.id in ").list(found);
    }
    if let Some(plan) = &filter.plan {
        sql.push(" and c.plan_code = ").bind(plan.as_str());
    }
    if let Some(active) = filter.active {
        sql.push(if active { " and c.status = 'active'" } else { " and c.status <> 'active'" });
    }
    let paused = filter.paused.iter().map(|tenant| tenant.uuid());
    if filter.attention {
        sql.push(" and c.status = 'active' and (c.odoo_url is null or coalesce(m.counted, 0) * 5 >= cast(p.calls_per_month as bigint) * 4 or c.id in ");
        sql.list(paused.clone()).push(")");
    }
    match filter.odoo {
        None => {}
        Some(OdooState::Missing) => {
            sql.push(" and c.odoo_url is null");
        }
        Some(OdooState::Connected) => {
            sql.push(" and c.odoo_url is not null");
        }
        Some(OdooState::Paused) => {
            sql.push(" and c.odoo_url is not null and c.id in ").list(paused);
        }
    }
}

/// After the last row of the page before, in that order.
fn begun(sql: &mut Sql, sort: ClientSort, after: Option<&str>) {
    let id = |text: &str| text.parse::<Uuid>().ok();
    match sort {
        ClientSort::Name => {
            if let Some((name, id)) = cursor::decode(after, 2).and_then(|key| Some((key[0].clone(), id(&key[1])?))) {
                sql.push(" and (lower(c.name), c.id) > (").bind(name).push(", ").bind(id).push(")");
            }
            sql.push(" order by lower(c.name), c.id");
        }
        ClientSort::Newest => {
            if let Some(id) = cursor::decode(after, 1).and_then(|key| id(&key[0])) {
                sql.push(" and c.id < ").bind(id);
            }
            sql.push(" order by c.id desc");
        }
        ClientSort::Calls => {
            if let Some((calls, id)) = cursor::decode(after, 2).and_then(|key| Some((key[0].parse::<i64>().ok()?, id(&key[1])?))) {
                sql.push(" and (coalesce(m.calls, 0), c.id) < (").bind(calls).push(", ").bind(id).push(")");
            }
            sql.push(" order by coalesce(m.calls, 0) desc, c.id desc");
        }
    }
}
