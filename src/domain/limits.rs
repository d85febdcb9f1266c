//! Limits: calls per minute of a tenant, calls an hour of a tool, writes an hour of a tenant, repetitions of the same call, calls a month of
//! a plan.
//!
//! All are counted in memory, so that a warm call asks no database. What a restart must not forget is read back when a tenant is first seen:
//! the month and the last hour from `tool_usage` (where the journal of a killed process was delivered before), the writes from
//! `operations`. The burst per minute and the repetitions start anew: they are shorter than a restart. A refusal says which limit and
//! until when.
//!
//! Several nodes count in Redis ([`SharedCounters`]). While it is away, or where there is none, each takes its share, by the number of nodes that live:
//! of the month's rest as it was last known, with the database asked every other second what the others took; of the hours and the minute likewise.
//! Nobody is refused because Redis is away, and together they take no more than there was; of an hour that allows fewer calls than there are nodes each takes one.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use governor::clock::Clock as _;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use moka::future::Cache;
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, PaginatorTrait, QueryFilter};

use self::month::{Account, Month};
pub(super) use self::shared::AHEAD_MICROS;
use self::shared::{Away, MonthSaid, Rate};
pub use self::shared::{SharedCounters, redis_answers};
use super::hours::{HOUR_MICROS, Hourly, Hours, step};
use super::nodes::Nodes;
use super::plans::Plan;
use super::tenants::Tenant;
use super::usage;
use crate::clock::{Clock, billing_month, instant, next_billing_month};
use crate::db::entities::tool_usage;
use crate::ids::{TenantId, TokenId};

mod month;
mod shared;

/// Months remembered: one per tenant seen.
const MONTHS_MAX: u64 = 50_000;
/// Tenants whose last hour is remembered.
const HOURS_MAX: u64 = 50_000;
/// An hour that nobody asked for means nothing any more.
const HOURS_IDLE: Duration = Duration::from_secs(2 * 3600);
/// Different calls of the last minute that are remembered.
const REPEATS_MAX: u64 = 100_000;
const REPEATS_WINDOW_S: i64 = 60;
const MINUTE_MICROS: i64 = 60_000_000;
/// The longest time for that: the next time goes on.
const TELL_WITHIN: Duration = Duration::from_secs(1);
/// Counts of a month in Redis that may end while one is asking.
const GENERATIONS_MAX: u32 = 4;
/// Months told to Redis in one go, of those that it was not told of.
const TOLD_MAX: usize = 1_000;

/// The limits that are the same for every tenant.
#[derive(Clone, Copy, Debug)]
pub struct LimitSettings {
    /// Sustained calls of one tenant per minute.
    pub calls_per_minute: u32,
    /// Calls of one tenant at once.
    pub burst_calls: u32,
    /// Executed writes of one tenant an hour.
    pub writes_per_hour: u32,
    /// The same call (token, tool, arguments) within a minute; 0 is no limit.
    pub repeats_per_minute: u32,
}

/// A limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// How many are allowed.
    pub limit: u32,
    /// Seconds until one more is, at least 1.
    pub wait_s: u64,
}

impl Refused {
    /// Nothing is allowed, whatever one waits.
    pub(super) const NONE: Self = Self { limit: 0, wait_s: 3_600 };

    /// Of so many, until so many microseconds have passed.
    pub(super) fn wait(limit: u32, micros: u64) -> Self {
        Self { limit, wait_s: micros.div_ceil(1_000_000).max(1) }
    }
}

/// The month's quota as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaView {
    /// The plan's name.
    pub plan: String,
    /// Calls a month; none is unlimited.
    pub limit: Option<u32>,
    /// Calls used, this one included.
    pub used: u32,
    /// Calls left.
    pub left: Option<u32>,
    /// The day the count begins anew, in Santo Domingo.
    pub resets_on: NaiveDate,
}

/// The month's calls are used up.
#[derive(Debug, PartialEq, Eq)]
pub struct QuotaExhausted {
    /// The plan's calls a month.
    pub limit: u32,
    /// The day the count begins anew.
    pub resets_on: NaiveDate,
}

/// A call reserved from the month's quota. Dropped unsettled it counts: a call that vanished was made.
#[derive(Debug)]
pub struct Reservation {
    month: Arc<Month>,
    /// The quota with this call in it.
    pub view: QuotaView,
}

impl Reservation {
    /// Gives the call back: it was refused before it did anything.
    pub fn release(self) {
        self.month.release();
    }
}

/// All limits. Cheap to clone.
#[derive(Clone)]
pub struct Limits {
    db: DatabaseConnection,
    clock: Clock,
    settings: LimitSettings,
    began: DateTime<Utc>,
    burst: Arc<DefaultKeyedRateLimiter<TenantId>>,
    hours: Cache<TenantId, Arc<Hours>>,
    repeats: Cache<(TenantId, Call), Arc<Repeat>>,
    months: Cache<(TenantId, i32), Arc<Month>>,
    accounts: Arc<AtomicU32>,
    nodes: Nodes,
    shared: Option<SharedCounters>,
}

/// A call, by the hash of its token, tool and arguments: the same on all nodes.
type Call = [u8; 16];

/// How often the same call was made since.
struct Repeat {
    since_s: i64,
    calls: AtomicU32,
}

impl Limits {
    /// Over that database, by one of these nodes; several count together in `shared`.
    #[must_use]
    pub fn new(db: DatabaseConnection, clock: Clock, settings: LimitSettings, nodes: Nodes, shared: Option<SharedCounters>) -> Self {
        let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(at_least_one(settings.calls_per_minute)).allow_burst(at_least_one(settings.burst_calls));
        Self {
            db,
            began: clock.now(),
            clock,
            settings,
            burst: Arc::new(RateLimiter::keyed(quota)),
            hours: Cache::builder().max_capacity(HOURS_MAX).time_to_idle(HOURS_IDLE).build(),
            repeats: Cache::builder().max_capacity(REPEATS_MAX).time_to_live(Duration::from_secs(REPEATS_WINDOW_S.unsigned_abs())).build(),
            months: Cache::builder().max_capacity(MONTHS_MAX).build(),
            accounts: Arc::default(),
            nodes,
            shared,
        }
    }

    /// One more request of that tenant.
    ///
    /// # Errors
    /// Too many per minute.
    pub async fn tenant_take(&self, tenant: TenantId) -> Result<(), Refused> {
        let LimitSettings { calls_per_minute, burst_calls, .. } = self.settings;
        if let Some(shared) = &self.shared {
            let step = MINUTE_MICROS / i64::from(calls_per_minute.max(1));
            let window = step.saturating_mul(i64::from(burst_calls.max(1)));
            let now = self.clock.now().timestamp_micros();
            match shared.rate_take(key(tenant, "minute"), now, step, window, 0).await {
                Ok(Rate::Taken(_)) => return Ok(()),
                Ok(Rate::Wait(micros)) => return Err(Refused::wait(calls_per_minute, micros)),
                Err(Away) => {}
            }
        }
        // Each of several nodes that cannot ask each other lets its share pass: a call weighs as much as there are nodes.
        let weight = NonZeroU32::new(self.nodes.count().min(burst_calls)).unwrap_or(NonZeroU32::MIN);
        let taken = self.burst.check_key_n(&tenant, weight).unwrap_or(Ok(()));
        taken.map_err(|refused| {
            let wait = refused.wait_time_from(governor::clock::DefaultClock::default().now());
            Refused::wait(calls_per_minute, u64::try_from(wait.as_micros()).unwrap_or(u64::MAX))
        })
    }

    /// One more call of that tool, of `per_hour` allowed; the whole hour's calls may come at once.
    ///
    /// # Errors
    /// Too many.
    pub async fn tool_take(&self, tenant: TenantId, tool: &'static str, per_hour: u32) -> Result<(), Refused> {
        self.hour_take(tenant, Hourly::Tool(tool), per_hour).await
    }

    /// One more write that is about to be executed.
    ///
    /// # Errors
    /// Too many.
    pub async fn write_take(&self, tenant: TenantId) -> Result<(), Refused> {
        self.hour_take(tenant, Hourly::Writes, self.settings.writes_per_hour).await
    }

    async fn hour_take(&self, tenant: TenantId, what: Hourly, per_hour: u32) -> Result<(), Refused> {
        let (hours, now) = (self.hours(tenant).await, self.clock.now());
        if let Some(shared) = &self.shared {
            let Some(step) = step(per_hour) else { return Err(Refused::NONE) };
            let known = hours.due(what, per_hour);
            match shared.rate_take(key(tenant, &format!("hour:{}", what.name())), now.timestamp_micros(), step, HOUR_MICROS, known).await {
                Ok(Rate::Taken(due)) => {
                    hours.due_is(what, per_hour, due);
                    return Ok(());
                }
                Ok(Rate::Wait(micros)) => {
                    let due = now.timestamp_micros() + HOUR_MICROS - step + i64::try_from(micros).unwrap_or_default();
                    hours.due_is(what, per_hour, due);
                    return Err(Refused::wait(per_hour, micros));
                }
                Err(Away) => {}
            }
        }
        hours.take(what, per_hour, self.nodes.count(), now)
    }

    /// The same call once more: an agent that goes round in circles is told so before it has used up the month.
    ///
    /// # Errors
    /// Too often within a minute.
    pub async fn repeat_take(&self, tenant: TenantId, token: TokenId, tool: &str, arguments: &serde_json::Value) -> Result<(), Refused> {
        let limit = self.settings.repeats_per_minute;
        if limit == 0 {
            return Ok(());
        }
        let call = call_hash(token, tool, arguments);
        if let Some(shared) = &self.shared {
            let name = format!("call:{}", u128::from_be_bytes(call));
            if let Ok((count, rest_ms)) = shared.repeat_take(key(tenant, &name), REPEATS_WINDOW_S.unsigned_abs() * 1_000).await {
                return if count <= limit { Ok(()) } else { Err(Refused::wait(limit, rest_ms.saturating_mul(1_000))) };
            }
        }
        let now_s = self.clock.now().timestamp();
        let begin = async { Arc::new(Repeat { since_s: now_s, calls: AtomicU32::new(0) }) };
        let mut repeat = self.repeats.get_with((tenant, call), begin).await;
        if now_s - repeat.since_s >= REPEATS_WINDOW_S {
            repeat = Arc::new(Repeat { since_s: now_s, calls: AtomicU32::new(0) });
            self.repeats.insert((tenant, call), Arc::clone(&repeat)).await;
        }
        if repeat.calls.fetch_add(1, Ordering::Relaxed) < limit {
            return Ok(());
        }
        Err(Refused { limit, wait_s: u64::try_from(repeat.since_s + REPEATS_WINDOW_S - now_s).unwrap_or_default().max(1) })
    }

    /// Reserves one call of the month.
    ///
    /// # Errors
    /// The outer: the database did not answer when the month was counted. The inner: the plan's calls are used up.
    pub async fn month_reserve(&self, tenant: &Tenant) -> Result<Result<Reservation, QuotaExhausted>, Arc<DbErr>> {
        let now = self.clock.now();
        let of = billing_month(now);
        let load = async { Ok::<_, DbErr>(Arc::new(Month::new(self.month_count(tenant.id, of).await?))) };
        let month = match self.months.try_get_with((tenant.id, of), load).await {
            Ok(month) => month,
            // The month turned while we ran and the database is away: every call of this month has passed here, so the count begins at nothing.
            Err(error) if billing_month(self.began) < of => {
                tracing::warn!(%error, tenant.id = %tenant.id, "a new month is counted without the database");
                self.months.get_with((tenant.id, of), async { Arc::new(Month::new(0)) }).await
            }
            Err(error) => return Err(error),
        };
        let taken = self.month_take(&month, tenant, of, now).await;
        Ok(reservation(month, taken, &tenant.plan, now))
    }

    async fn month_take(&self, month: &Month, tenant: &Tenant, of: i32, now: DateTime<Utc>) -> Option<u32> {
        let limit = tenant.plan.calls_per_month;
        if let Some(shared) = &self.shared {
            let asked = month.ask();
            match self.month_ask(shared, month, (tenant.id, of), limit, asked.account.clone()).await {
                Ok((taken, total)) => return asked.said(taken, total),
                Err(Away) => drop(asked),
            }
        }
        if self.shared.is_none() && !self.nodes.were_several() {
            return month.take_alone(limit);
        }
        if month.look_due(now) {
            match self.month_count(tenant.id, of).await {
                Ok(counted) => month.looked(counted, now),
                Err(error) => tracing::warn!(%error, tenant.id = %tenant.id, "what other nodes took of a month is not known"),
            }
        }
        month.take_apart(limit, self.nodes.count(), now)
    }

    /// Asks Redis for the last call of that account: whether it was taken, and the calls of the month.
    async fn month_ask(&self, shared: &SharedCounters, month: &Month, (tenant, of): (TenantId, i32), limit: Option<u32>, account: Account) -> Result<(bool, u32), Away> {
        let (key, mut account, mut counted) = (key(tenant, &format!("month:{of}")), account, None);
        let name = || format!("{}-{}", self.nodes.short(), self.accounts.fetch_add(1, Ordering::Relaxed));
        for _ in 0..GENERATIONS_MAX {
            match shared.month_take(&key, limit, &account, counted).await? {
                MonthSaid::Taken(total) => {
                    month.told(&account);
                    return Ok((true, total));
                }
                MonthSaid::Refused(total) => return Ok((false, total)),
                MonthSaid::Other(generation, total) => account = month.join(&account.generation, &generation, total, self.month_known(month, tenant, of).await, name),
                // It is new, or was emptied.
                MonthSaid::Nothing => {
                    let known = self.month_known(month, tenant, of).await;
                    counted = Some(known);
                    account = month.join(&account.generation, &name(), known, known, name);
                }
            }
        }
        Err(Away)
    }

    /// What the database counts; what is known here, where it does not say.
    async fn month_known(&self, month: &Month, tenant: TenantId, of: i32) -> u32 {
        self.month_count(tenant, of).await.unwrap_or_else(|error| {
            tracing::warn!(%error, tenant.id = %tenant, "a month is counted in Redis without the database");
            month.used()
        })
    }

    /// Tells Redis what it was not told: what was decided while it was away, what was given back. Called every few seconds, and at the end.
    pub async fn tell(&self) {
        let Some(shared) = &self.shared else { return };
        let until = instant() + TELL_WITHIN;
        let untold = self.months.iter().filter_map(|(of, month)| month.untold().map(|account| (*of, month, account))).take(TOLD_MAX);
        for (of, month, account) in untold.collect::<Vec<_>>() {
            // Without a limit: what was taken was taken.
            if self.month_ask(shared, &month, of, None, account).await.is_err() || instant() > until {
                return;
            }
        }
    }

    /// Whether limits are exact over all nodes: there is one, or Redis answers. None where there is no Redis.
    #[must_use]
    pub fn shared_answers(&self) -> Option<bool> {
        self.shared.as_ref().map(SharedCounters::answers)
    }

    /// The month as it stands, without another call.
    ///
    /// # Errors
    /// The database did not answer when the month was counted.
    pub async fn month_look(&self, tenant: &Tenant) -> Result<QuotaView, Arc<DbErr>> {
        Ok(match self.month_reserve(tenant).await? {
            Ok(reserved) => {
                let QuotaView { plan, limit, used, left, resets_on } = reserved.view.clone();
                reserved.release();
                QuotaView { plan, limit, used: used.saturating_sub(1), left: left.map(|left| left.saturating_add(1)), resets_on }
            }
            Err(QuotaExhausted { limit, resets_on }) => QuotaView { plan: tenant.plan.name.clone(), limit: Some(limit), used: limit, left: Some(0), resets_on },
        })
    }

    /// Forgets what has become meaningless. Called now and then.
    pub fn prune(&self) {
        self.burst.retain_recent();
    }

    async fn hours(&self, tenant: TenantId) -> Arc<Hours> {
        let load = async {
            Arc::new(Hours::load(&self.db, tenant, self.clock.now()).await.unwrap_or_else(|error| {
                // A limit is no reason to refuse everybody while the database is away.
                tracing::warn!(%error, tenant.id = %tenant, "the last hour of a tenant could not be read: its hourly limits begin anew");
                Hours::default()
            }))
        };
        self.hours.get_with(tenant, load).await
    }

    async fn month_count(&self, tenant: TenantId, month: i32) -> Result<u32, DbErr> {
        let count = usage::of_month(tenant, month).filter(tool_usage::Column::Counted.eq(true)).count(&self.db).await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

/// Of a count that a call was taken into, or of none.
fn reservation(month: Arc<Month>, taken: Option<u32>, plan: &Plan, now: DateTime<Utc>) -> Result<Reservation, QuotaExhausted> {
    let resets_on = next_billing_month(now);
    let limit = plan.calls_per_month;
    let used = taken.ok_or(QuotaExhausted { limit: limit.unwrap_or_default(), resets_on })?;
    let view = QuotaView { plan: plan.name.clone(), limit, used, left: limit.map(|limit| limit.saturating_sub(used)), resets_on };
    Ok(Reservation { month, view })
}

/// Of a tenant's counter. The braces keep a tenant's keys together on a cluster.
fn key(tenant: TenantId, what: &str) -> String {
    format!("dunet:{{{tenant}}}:{what}")
}

fn call_hash(token: TokenId, tool: &str, arguments: &serde_json::Value) -> Call {
    let text = format!("{token} {tool} {arguments}");
    let mut hash = Call::default();
    hash.copy_from_slice(&ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref()[..16]);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn limits(clock: &Clock) -> Limits {
        let db = sea_orm::Database::connect("sqlite::memory:").await.unwrap();
        let nodes = Nodes::new(db.clone(), String::new());
        Limits::new(db, clock.clone(), LimitSettings { calls_per_minute: 60, burst_calls: 10, writes_per_hour: 2, repeats_per_minute: 3 }, nodes, None)
    }

    #[tokio::test]
    async fn without_a_database_limits_count_all_the_same() {
        let clock = Clock::fixed("2026-11-22T12:00:00Z".parse().unwrap());
        let limits = limits(&clock).await;
        let tenant = TenantId::new();
        for _ in 0..4 {
            limits.tool_take(tenant, "t", 4).await.unwrap();
        }
        assert_eq!(limits.tool_take(tenant, "t", 4).await, Err(Refused { limit: 4, wait_s: 900 }));
        limits.tool_take(TenantId::new(), "t", 4).await.unwrap();
        limits.write_take(tenant).await.unwrap();
        limits.write_take(tenant).await.unwrap();
        assert_eq!(limits.write_take(tenant).await, Err(Refused { limit: 2, wait_s: 1800 }));
        let mut refused = None;
        for _ in 0..20 {
            refused = refused.or(limits.tenant_take(tenant).await.err());
        }
        assert_eq!(refused, Some(Refused { limit: 60, wait_s: 1 }));
    }

    #[tokio::test]
    async fn the_same_call_again_and_again_is_refused_for_the_rest_of_its_minute() {
        let clock = Clock::fixed("2026-11-22T12:00:00Z".parse().unwrap());
        let limits = limits(&clock).await;
        let (tenant, token) = (TenantId::new(), TokenId::new());
        for _ in 0..3 {
            limits.repeat_take(tenant, token, "t", &serde_json::json!({})).await.unwrap();
        }
        clock.advance(chrono::Duration::seconds(20));
        assert_eq!(limits.repeat_take(tenant, token, "t", &serde_json::json!({})).await, Err(Refused { limit: 3, wait_s: 40 }));
        // Another call, token or tenant is another call.
        limits.repeat_take(tenant, token, "t", &serde_json::json!([1])).await.unwrap();
        limits.repeat_take(tenant, token, "u", &serde_json::json!({})).await.unwrap();
        limits.repeat_take(tenant, TokenId::new(), "t", &serde_json::json!({})).await.unwrap();
        limits.repeat_take(TenantId::new(), token, "t", &serde_json::json!({})).await.unwrap();
        clock.advance(chrono::Duration::seconds(40));
        limits.repeat_take(tenant, token, "t", &serde_json::json!({})).await.unwrap();
    }
}
