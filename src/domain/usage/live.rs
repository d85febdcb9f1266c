//! The live feed: calls as they end, for those who watch. Nothing is kept for anybody: who watches too slowly is told how many it missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::UsageRecord;
use crate::ids::{TenantId, UsageId};

/// Calls that a watcher may be behind.
const CALLS_BEHIND_MAX: usize = 512;

/// A call that ended. No argument values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LiveCall {
    /// Its id, the same as in the log.
    pub id: UsageId,
    /// Whose.
    pub tenant: TenantId,
    /// The tool.
    pub tool: &'static str,
    /// What the agent calls itself.
    pub agent: Option<String>,
    /// `ok`, `error`, `refused`, `cancelled`.
    pub outcome: &'static str,
    /// The error code.
    pub error_code: Option<&'static str>,
    /// Whether it counts against the plan.
    pub counted: bool,
    /// In all, microseconds.
    pub total_us: u64,
    /// In Odoo, microseconds.
    pub odoo_us: u64,
    /// Request id.
    pub request_id: String,
    /// Began, UTC.
    pub started_at: DateTime<Utc>,
}

impl From<&UsageRecord> for LiveCall {
    fn from(record: &UsageRecord) -> Self {
        Self {
            id: record.id,
            tenant: record.tenant,
            tool: record.tool,
            agent: record.agent.clone(),
            outcome: record.outcome.as_str(),
            error_code: record.error_code,
            counted: record.counted,
            total_us: record.total_us,
            odoo_us: record.odoo_us,
            request_id: record.request_id.clone(),
            started_at: record.started_at,
        }
    }
}

/// What a watcher hears.
#[derive(Clone, Debug, PartialEq)]
pub enum LiveEvent {
    /// A call ended.
    Call(Arc<LiveCall>),
    /// So many calls, of all tenants, were not told: the watcher was too slow.
    Missed(u64),
}

/// The feed's mouth.
#[derive(Clone, Debug)]
pub(super) struct LiveFeed {
    calls: broadcast::Sender<Arc<LiveCall>>,
    /// Beside the channel's own count, which asks for its lock.
    watchers: Arc<AtomicUsize>,
}

impl LiveFeed {
    pub(super) fn new() -> Self {
        Self { calls: broadcast::Sender::new(CALLS_BEHIND_MAX), watchers: Arc::default() }
    }

    /// Tells whoever watches; costs one load of a number when nobody does.
    pub(super) fn tell(&self, record: &UsageRecord) {
        if self.watchers.load(Ordering::Relaxed) > 0 {
            // Fails when the last one has just left.
            drop(self.calls.send(Arc::new(LiveCall::from(record))));
        }
    }

    pub(super) fn watch(&self, tenant: Option<TenantId>) -> LiveCalls {
        let calls = self.calls.subscribe();
        self.watchers.fetch_add(1, Ordering::Relaxed);
        LiveCalls { calls, tenant, watchers: Arc::clone(&self.watchers) }
    }
}

/// A watcher's ear.
#[derive(Debug)]
pub struct LiveCalls {
    calls: broadcast::Receiver<Arc<LiveCall>>,
    tenant: Option<TenantId>,
    watchers: Arc<AtomicUsize>,
}

impl LiveCalls {
    /// The next event; none when the service has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<LiveEvent> {
        loop {
            match self.calls.recv().await {
                Ok(call) if self.tenant.is_none_or(|tenant| tenant == call.tenant) => return Some(LiveEvent::Call(call)),
                Ok(_) => {}
                Err(RecvError::Lagged(calls)) => return Some(LiveEvent::Missed(calls)),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

impl Drop for LiveCalls {
    fn drop(&mut self) {
        self.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::domain::usage::Outcome;
    use crate::ids::TokenId;

    fn record(tenant: TenantId) -> UsageRecord {
        UsageRecord {
            id: UsageId::new(),
            tenant,
            token: TokenId::new(),
            tool: "consultar_rnc_dgii",
            agent: None,
            outcome: Outcome::Ok,
            error_code: None,
            counted: true,
            total_us: 5,
            odoo_us: 0,
            odoo_requests: 0,
            request_id: "r".to_owned(),
            started_at: Clock::system().now(),
        }
    }

    #[tokio::test]
    async fn a_tenant_hears_its_own_calls_and_a_slow_one_what_it_missed() {
        let feed = LiveFeed::new();
        let (a, b) = (TenantId::new(), TenantId::new());
        feed.tell(&record(a));
        let (mut own, mut all) = (feed.watch(Some(a)), feed.watch(None));
        let (first, second) = (record(b), record(a));
        feed.tell(&first);
        feed.tell(&second);
        let call = |record: &UsageRecord| Some(LiveEvent::Call(Arc::new(LiveCall::from(record))));
        assert_eq!(own.next().await, call(&second));
        assert_eq!((all.next().await, all.next().await), (call(&first), call(&second)));
        for _ in 0..CALLS_BEHIND_MAX + 3 {
            feed.tell(&record(b));
        }
        assert_eq!(all.next().await, Some(LiveEvent::Missed(3)));
        drop((own, all));
        assert_eq!(feed.watchers.load(Ordering::Relaxed), 0);
        let mut last = feed.watch(None);
        drop(feed);
        assert_eq!(last.next().await, None);
    }
}
