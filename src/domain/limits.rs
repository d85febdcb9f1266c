//! Limits: calls per minute of a tenant, calls an hour of a tool, writes an hour of a tenant, repetitions of the same call, calls a month of
//! a plan.
//!
//! All are counted in memory, so that a warm call asks no database. What a restart must not forget is read back when a tenant is first seen:
//! the month and the last hour from `tool_usage` (where the journal of a killed process was delivered before), the writes from
//! `operations`. The burst per minute and the repetitions start anew: they are shorter than a restart. A refusal says which limit and
//! until when.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use governor::clock::Clock as _;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use moka::future::Cache;
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, PaginatorTrait, QueryFilter};

use super::hours::Hours;
use super::plans::Plan;
use super::tenants::Tenant;
use super::usage;
use crate::clock::{Clock, billing_month, next_billing_month};
use crate::db::entities::tool_usage;
use crate::ids::{TenantId, TokenId};

/// Months remembered: one per tenant seen.
const MONTHS_MAX: u64 = 50_000;
/// Tenants whose last hour is remembered.
const HOURS_MAX: u64 = 50_000;
/// An hour that nobody asked for means nothing any more.
const HOURS_IDLE: Duration = Duration::from_secs(2 * 3600);
/// Different calls of the last minute that are remembered.
const REPEATS_MAX: u64 = 100_000;
const REPEATS_WINDOW_S: i64 = 60;

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
    month: Arc<AtomicU32>,
    /// The quota with this call in it.
    pub view: QuotaView,
}

impl Reservation {
    /// Gives the call back: it was refused before it did anything.
    pub fn release(self) {
        self.month.fetch_sub(1, Ordering::SeqCst);
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
    repeats: Cache<(TenantId, u64), Arc<Repeat>>,
    hasher: Arc<RandomState>,
    months: Cache<(TenantId, i32), Arc<AtomicU32>>,
}

/// How often the same call was made since.
struct Repeat {
    since_s: i64,
    calls: AtomicU32,
}

impl Limits {
    /// Over that database.
    #[must_use]
    pub fn new(db: DatabaseConnection, clock: Clock, settings: LimitSettings) -> Self {
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
            hasher: Arc::default(),
            months: Cache::builder().max_capacity(MONTHS_MAX).build(),
        }
    }

    /// One more request of that tenant.
    ///
    /// # Errors
    /// Too many per minute.
    pub fn tenant_take(&self, tenant: TenantId) -> Result<(), Refused> {
        self.burst.check_key(&tenant).map_err(|refused| {
            let wait = refused.wait_time_from(governor::clock::DefaultClock::default().now());
            Refused { limit: self.settings.calls_per_minute, wait_s: wait.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX).max(1) }
        })
    }

    /// One more call of that tool, of `per_hour` allowed; the whole hour's calls may come at once.
    ///
    /// # Errors
    /// Too many.
    pub async fn tool_take(&self, tenant: TenantId, tool: &'static str, per_hour: u32) -> Result<(), Refused> {
        self.hours(tenant).await.tool_take(tool, per_hour, self.clock.now())
    }

    /// One more write that is about to be executed.
    ///
    /// # Errors
    /// Too many.
    pub async fn write_take(&self, tenant: TenantId) -> Result<(), Refused> {
        self.hours(tenant).await.write_take(self.settings.writes_per_hour, self.clock.now())
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
        let now_s = self.clock.now().timestamp();
        let key = (tenant, self.hasher.hash_one((token, tool, arguments.to_string())));
        let begin = async { Arc::new(Repeat { since_s: now_s, calls: AtomicU32::new(0) }) };
        let mut repeat = self.repeats.get_with(key, begin).await;
        if now_s - repeat.since_s >= REPEATS_WINDOW_S {
            repeat = Arc::new(Repeat { since_s: now_s, calls: AtomicU32::new(0) });
            self.repeats.insert(key, Arc::clone(&repeat)).await;
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
        let month = billing_month(now);
        let used = match self.months.try_get_with((tenant.id, month), self.month_count(tenant.id, month)).await {
            Ok(used) => used,
            // The month turned while we ran and the database is away: every call of this month has passed here, so the count begins at nothing.
            Err(error) if billing_month(self.began) < month => {
                tracing::warn!(%error, tenant.id = %tenant.id, "a new month is counted without the database");
                self.months.get_with((tenant.id, month), async { Arc::default() }).await
            }
            Err(error) => return Err(error),
        };
        Ok(reserve(&used, &tenant.plan, now))
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

    async fn month_count(&self, tenant: TenantId, month: i32) -> Result<Arc<AtomicU32>, DbErr> {
        let count = usage::of_month(tenant, month).filter(tool_usage::Column::Counted.eq(true)).count(&self.db).await?;
        Ok(Arc::new(AtomicU32::new(u32::try_from(count).unwrap_or(u32::MAX))))
    }
}

fn reserve(used: &Arc<AtomicU32>, plan: &Plan, now: DateTime<Utc>) -> Result<Reservation, QuotaExhausted> {
    let resets_on = next_billing_month(now);
    let limit = plan.calls_per_month;
    let before = used
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| if limit.is_some_and(|limit| used >= limit) { None } else { Some(used.saturating_add(1)) })
        .map_err(|_| QuotaExhausted { limit: limit.unwrap_or_default(), resets_on })?;
    let used_now = before.saturating_add(1);
    let view = QuotaView { plan: plan.name.clone(), limit, used: used_now, left: limit.map(|limit| limit.saturating_sub(used_now)), resets_on };
    Ok(Reservation { month: Arc::clone(used), view })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(calls: Option<u32>) -> Plan {
        Plan { code: "p".to_owned(), name: "P".to_owned(), calls_per_month: calls, tools_max: None }
    }

    #[test]
    fn a_quota_is_exact_under_threads() {
        let used = Arc::new(AtomicU32::new(0));
        let now = Clock::system().now();
        let got: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| (0..100).filter(|_| reserve(&used, &plan(Some(100)), now).is_ok()).count())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(got, 100);
        assert_eq!(used.load(Ordering::SeqCst), 100);
    }

    #[test]
    fn a_released_call_is_free_again() {
        let used = Arc::new(AtomicU32::new(99));
        let now = Clock::system().now();
        let taken = reserve(&used, &plan(Some(100)), now).unwrap();
        assert_eq!(taken.view.left, Some(0));
        assert!(reserve(&used, &plan(Some(100)), now).is_err());
        taken.release();
        assert!(reserve(&used, &plan(Some(100)), now).is_ok());
    }

    async fn limits(clock: &Clock) -> Limits {
        let db = sea_orm::Database::connect("sqlite::memory:").await.unwrap();
        Limits::new(db, clock.clone(), LimitSettings { calls_per_minute: 60, burst_calls: 10, writes_per_hour: 2, repeats_per_minute: 3 })
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
        let refused = (0..20).find_map(|_| limits.tenant_take(tenant).err());
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
