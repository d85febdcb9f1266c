//! Limits: calls per minute of a tenant, calls an hour of a tool, calls a month of a plan.
//!
//! All in memory; the month is counted from `tool_usage` when a tenant is first seen. A refusal says which limit and until when.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, NaiveDate, Utc};
use governor::clock::Clock as _;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use moka::future::Cache;
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, EntityTrait, PaginatorTrait, QueryFilter};

use super::plans::Plan;
use super::tenants::Tenant;
use crate::clock::{Clock, billing_month, next_billing_month};
use crate::db::entities::tool_usage;
use crate::ids::TenantId;

const HOUR_MICROS: i64 = 3_600_000_000;
/// Months remembered: one per tenant seen.
const MONTHS_MAX: u64 = 50_000;

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
    burst: Arc<DefaultKeyedRateLimiter<TenantId>>,
    hourly: Arc<Mutex<HashMap<(TenantId, &'static str), i64>>>,
    months: Cache<(TenantId, i32), Arc<AtomicU32>>,
}

impl Limits {
    /// `calls_per_minute` sustained and `burst_calls` at once, for every tenant.
    #[must_use]
    pub fn new(db: DatabaseConnection, clock: Clock, calls_per_minute: u32, burst_calls: u32) -> Self {
        let one = NonZeroU32::MIN;
        let quota = Quota::per_minute(NonZeroU32::new(calls_per_minute).unwrap_or(one)).allow_burst(NonZeroU32::new(burst_calls).unwrap_or(one));
        Self { db, clock, burst: Arc::new(RateLimiter::keyed(quota)), hourly: Arc::default(), months: Cache::builder().max_capacity(MONTHS_MAX).build() }
    }

    /// One more request of that tenant.
    ///
    /// # Errors
    /// Too many; the seconds to wait.
    pub fn tenant_take(&self, tenant: TenantId) -> Result<(), u64> {
        self.burst.check_key(&tenant).map_err(|refused| {
            let wait = refused.wait_time_from(governor::clock::DefaultClock::default().now());
            wait.as_secs().max(1)
        })
    }

    /// One more call of that tool, of `per_hour` allowed (generic cell rate algorithm: the whole hour's calls may come at once).
    ///
    /// # Errors
    /// Too many; the seconds to wait.
    pub fn tool_take(&self, tenant: TenantId, tool: &'static str, per_hour: u32) -> Result<(), u64> {
        let now = self.clock.now().timestamp_micros();
        let Some(step) = HOUR_MICROS.checked_div(i64::from(per_hour)) else { return Err(3600) };
        let mut hourly = self.hourly.lock().unwrap_or_else(PoisonError::into_inner);
        let due = hourly.entry((tenant, tool)).or_insert(now);
        let next = (*due).max(now) + step;
        if next - now > HOUR_MICROS {
            return Err(u64::try_from((next - now - HOUR_MICROS) / 1_000_000).unwrap_or_default().max(1));
        }
        *due = next;
        Ok(())
    }

    /// Reserves one call of the month.
    ///
    /// # Errors
    /// The outer: the database did not answer when the month was counted. The inner: the plan's calls are used up.
    pub async fn month_reserve(&self, tenant: &Tenant) -> Result<Result<Reservation, QuotaExhausted>, Arc<DbErr>> {
        let now = self.clock.now();
        let month = billing_month(now);
        let used = self.months.try_get_with((tenant.id, month), self.month_count(tenant.id, month)).await?;
        Ok(reserve(&used, &tenant.plan, now))
    }

    /// Forgets what has become meaningless. Called now and then.
    pub fn prune(&self) {
        self.burst.retain_recent();
        let now = self.clock.now().timestamp_micros();
        self.hourly.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, due| *due > now);
    }

    async fn month_count(&self, tenant: TenantId, month: i32) -> Result<Arc<AtomicU32>, DbErr> {
        let count = tool_usage::Entity::find()
            .filter(tool_usage::Column::ClientId.eq(tenant.uuid()))
            .filter(tool_usage::Column::BillingMonth.eq(month))
            .filter(tool_usage::Column::Counted.eq(true))
            .count(&self.db)
            .await?;
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

    #[tokio::test]
    async fn a_tool_refills_within_the_hour() {
        let clock = Clock::fixed("2026-11-22T12:00:00Z".parse().unwrap());
        let db = sea_orm::Database::connect("sqlite::memory:").await.unwrap();
        let limits = Limits::new(db, clock.clone(), 60, 10);
        let tenant = TenantId::new();
        for _ in 0..4 {
            limits.tool_take(tenant, "t", 4).unwrap();
        }
        assert_eq!(limits.tool_take(tenant, "t", 4), Err(900));
        limits.tool_take(TenantId::new(), "t", 4).unwrap();
        clock.advance(chrono::Duration::seconds(900));
        limits.tool_take(tenant, "t", 4).unwrap();
        assert!(limits.tool_take(tenant, "t", 4).is_err());
        assert!(limits.tool_take(tenant, "none", 0).is_err());
    }
}
