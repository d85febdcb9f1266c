//! One client's page: what it is, how its month goes, what its tools do.

use chrono::{DateTime, Days, NaiveDate, Utc};
use sea_orm::{DbErr, FromQueryResult};
use serde::Serialize;

use super::clients::{OdooState, odoo_state};
use super::range::DayRange;
use super::sql::Sql;
use super::times::Quantiles;
use super::{Reports, Times, sums};
use crate::clock::{billing_month, day_number, day_start, local_day, next_billing_month};
use crate::domain::tenants::{Tenant, WritePolicy};
use crate::ids::TenantId;

/// The days whose pace the forecast believes will last.
const PACE_DAYS: u64 = 14;
/// The days that a client's numbers are of.
const RECENT_DAYS: u64 = 30;
const DAY_S: f64 = 86_400.0;

/// The month so far against the plan, and how it will go on.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct UsageAgainstPlan {
    /// YYYYMM.
    pub month: i32,
    /// Plan code.
    pub plan_code: String,
    /// Plan name.
    pub plan: String,
    /// Calls a month; none is unlimited.
    pub limit: Option<i64>,
    /// Counted calls of this month.
    pub used: i64,
    /// Left of them; none is unlimited.
    pub left: Option<i64>,
    /// Used, per cent, rounded down; none is unlimited.
    pub percent: Option<i64>,
    /// The day the count begins anew, in Santo Domingo.
    pub resets_on: NaiveDate,
    /// Calls a day at the pace of the last two weeks, to the tenth.
    pub pace_per_day: f64,
    /// What the whole month will have used at that pace.
    pub forecast: i64,
    /// The day on which the plan's calls will be used up at that pace; none when they last, today when they are.
    pub used_up_on: Option<NaiveDate>,
}

/// How far a client has come, from facts: nothing is stored about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Onboarding {
    /// Its Odoo is connected.
    pub odoo_connected: bool,
    /// Tools it may use.
    pub tools: usize,
    /// Tokens that work.
    pub tokens: i64,
    /// A call came, however long ago.
    pub called: bool,
}

impl Onboarding {
    /// Whether each step is done: account, Odoo, tools, token, first call. Whoever has called has had a token.
    #[must_use]
    pub fn done(&self) -> [bool; 5] {
        [true, self.odoo_connected, self.tools > 0, self.tokens > 0 || self.called, self.called]
    }
}

/// A client at a glance. No secret is in it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ClientSummary {
    /// Which.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// Its RNC.
    pub rnc: Option<String>,
    /// Whether it may be served.
    pub active: bool,
    /// Its Odoo.
    pub odoo: OdooState,
    /// UTC.
    pub created_at: DateTime<Utc>,
    /// UTC; changes with every edit.
    pub edited_at: DateTime<Utc>,
    /// Tokens that work.
    pub tokens_active: i64,
    /// Its month.
    pub usage: UsageAgainstPlan,
    /// Calls of thirty days.
    pub calls: i64,
    /// Errors among those of them that were carried out, per cent; none without any.
    pub error_rate: Option<f64>,
    /// How long they took.
    pub times: Times,
    /// When its last call began, UTC.
    pub last_call_at: Option<DateTime<Utc>>,
    /// What it has done already.
    pub onboarding: Onboarding,
}

/// A tool of a client.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClientTool {
    /// Its name.
    pub tool: String,
    /// Whether the client may use it.
    pub enabled: bool,
    /// `confirm` or `direct`; the client's own when the tool is off.
    pub write_policy: &'static str,
    /// Calls an hour; none when it is off.
    pub calls_per_hour: Option<u32>,
    /// Calls of thirty days.
    pub calls: i64,
    /// With an error.
    pub failed: i64,
    /// Errors among those carried out, per cent; none without any.
    pub error_rate: Option<f64>,
    /// How long they took.
    pub time: Quantiles,
}

#[derive(FromQueryResult)]
struct Facts {
    created_at: DateTime<Utc>,
    tokens: i64,
    used: i64,
}

impl Reports {
    /// The tenant's page. `tools` are the names of all tools there are; `paused` says whether its Odoo is left alone at the moment. Four queries.
    ///
    /// # Errors
    /// The database; also when the tenant was removed meanwhile.
    pub async fn client_summary(&self, tenant: &Tenant, tools: &[&str], paused: bool) -> Result<ClientSummary, DbErr> {
        let now = self.clock.now();
        let id = tenant.id.uuid();
        let facts = self.facts(tenant.id).await?;
        let mut all = sums::Sums::default();
        sums::by_tool(&self.db, id, DayRange::last_days(now, RECENT_DAYS)).await?.values().for_each(|tool| all.add(tool));
        let usage = self.against_plan(tenant, &facts).await?;
        let last_call_at = self.last_calls(&[id]).await?.remove(&id);
        Ok(ClientSummary {
            id: tenant.id,
            name: tenant.name.clone(),
            rnc: tenant.rnc.clone(),
            active: tenant.active,
            odoo: odoo_state(tenant.odoo.is_some(), paused),
            created_at: facts.created_at,
            edited_at: tenant.edited_at,
            tokens_active: facts.tokens,
            usage,
            calls: all.calls,
            error_rate: all.error_rate(),
            times: all.times(),
            last_call_at,
            onboarding: onboarding(tenant, tools, facts.tokens, last_call_at.is_some()),
        })
    }

    /// How far the tenant has come. `tools` are the names of all tools there are. Two queries.
    ///
    /// # Errors
    /// The database; also when the tenant was removed meanwhile.
    pub async fn onboarding(&self, tenant: &Tenant, tools: &[&str]) -> Result<Onboarding, DbErr> {
        let tokens = self.facts(tenant.id).await?.tokens;
        let called = !self.last_calls(&[tenant.id.uuid()]).await?.is_empty();
        Ok(onboarding(tenant, tools, tokens, called))
    }

    /// The tenant's month against its plan. Two queries.
    ///
    /// # Errors
    /// The database; also when the tenant was removed meanwhile.
    pub async fn usage_against_plan(&self, tenant: &Tenant) -> Result<UsageAgainstPlan, DbErr> {
        let facts = self.facts(tenant.id).await?;
        self.against_plan(tenant, &facts).await
    }

    /// The tenant's tools, in the order of `tools` (the names of all tools there are). One query.
    ///
    /// # Errors
    /// The database.
    pub async fn client_tools(&self, tenant: &Tenant, tools: &[&str]) -> Result<Vec<ClientTool>, DbErr> {
        let mut sums = sums::by_tool(&self.db, tenant.id.uuid(), DayRange::last_days(self.clock.now(), RECENT_DAYS)).await?;
        let row = |tool: &&str| {
            let permit = tenant.permit(tool);
            let sums = sums.remove(*tool).unwrap_or_default();
            ClientTool {
                tool: (*tool).to_owned(),
                enabled: permit.is_some(),
                write_policy: permit.map_or(tenant.write_policy, |permit| permit.write_policy).as_str(),
                calls_per_hour: permit.map(|permit| permit.calls_per_hour),
                calls: sums.calls,
                failed: sums.failed,
                error_rate: sums.error_rate(),
                time: sums.times().total,
            }
        };
        Ok(tools.iter().map(row).collect())
    }

    async fn facts(&self, tenant: TenantId) -> Result<Facts, DbErr> {
        let now = self.clock.now();
        let mut sql = Sql::new(
            "select c.created_at as created_at, (select count(*) from api_tokens t where t.client_id = c.id and t.revoked_at is null and (t.expires_at is null or t.expires_at > ",
        );
        sql.bind(now).push(")) as tokens, coalesce((select counted from usage_months m where m.client_id = c.id and m.month = ").bind(billing_month(now));
        sql.push("), 0) as used from clients c where c.id = ").bind(tenant.uuid());
        sql.one(&self.db).await?.ok_or_else(|| DbErr::RecordNotFound(format!("client {tenant}")))
    }

    async fn against_plan(&self, tenant: &Tenant, facts: &Facts) -> Result<UsageAgainstPlan, DbErr> {
        let now = self.clock.now();
        let range = DayRange::last_days(now, PACE_DAYS);
        let days = sums::by_day(&self.db, tenant.id.uuid(), range).await?;
        let counted: i64 = days.values().map(|day| day.counted).sum();
        // A client may be newer than its calls: they came from elsewhere with it.
        let first = range.days().find(|day| days.get(&day_number(*day)).is_some_and(|day| day.counted > 0)).map(day_start);
        let since = day_start(range.from()).max(first.map_or(facts.created_at, |first| first.min(facts.created_at)));
        Ok(against(tenant, facts.used, pace(counted, since, now), now))
    }
}

fn onboarding(tenant: &Tenant, tools: &[&str], tokens: i64, called: bool) -> Onboarding {
    Onboarding { odoo_connected: tenant.odoo.is_some(), tools: tools.iter().filter(|tool| tenant.permit(tool).is_some()).count(), tokens, called }
}

/// Calls a day since then. Less than a day is not enough to tell: it counts as one.
fn pace(counted: i64, since: DateTime<Utc>, now: DateTime<Utc>) -> f64 {
    let days = (now - since).as_seconds_f64() / DAY_S;
    counted as f64 / days.max(1.0)
}

fn against(tenant: &Tenant, used: i64, pace: f64, now: DateTime<Utc>) -> UsageAgainstPlan {
    let resets_on = next_billing_month(now);
    let limit = tenant.plan.calls_per_month.map(i64::from);
    let left = limit.map(|limit| (limit - used).max(0));
    let days_left = (day_start(resets_on) - now).as_seconds_f64() / DAY_S;
    let used_up_on = match left {
        Some(0) => Some(local_day(now)),
        Some(left) if pace > 0.0 => {
            let days = left as f64 / pace;
            (days < days_left).then(|| local_day(now + chrono::Duration::milliseconds((days * DAY_S * 1_000.0) as i64)))
        }
        _ => None,
    };
    UsageAgainstPlan {
        month: billing_month(now),
        plan_code: tenant.plan.code.clone(),
        plan: tenant.plan.name.clone(),
        limit,
        used,
        left,
        percent: limit.map(|limit| used * 100 / limit.max(1)),
        resets_on,
        pace_per_day: (pace * 10.0).round() / 10.0,
        forecast: used + (pace * days_left).round() as i64,
        used_up_on: used_up_on.map(|day| day.min(resets_on.checked_sub_days(Days::new(1)).unwrap_or(resets_on))),
    }
}

impl ClientTool {
    /// Whether writes of this tool are previewed first.
    #[must_use]
    pub fn confirms(&self) -> bool {
        WritePolicy::parse(self.write_policy) == WritePolicy::Confirm
    }
}
