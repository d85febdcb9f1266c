//! The live feed: calls as they end, on this node and, where somebody asks them, on the others, for those who watch. Nothing is kept for anybody: who
//! watches too slowly is told how many it missed.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};

use super::{UsageRecord, UsageSink};
use crate::ids::{TenantId, UsageId};

/// Calls that a watcher may be behind.
const CALLS_BEHIND_MAX: usize = 512;

/// A call that ended. No argument values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveCall {
    /// Its id, the same as in the log.
    pub id: UsageId,
    /// Whose.
    pub tenant: TenantId,
    /// The tool.
    pub tool: Cow<'static, str>,
    /// What the agent calls itself.
    pub agent: Option<String>,
    /// `ok`, `error`, `refused`, `cancelled`.
    pub outcome: Cow<'static, str>,
    /// The error code.
    pub error_code: Option<Cow<'static, str>>,
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
    /// Whether this node answered it; the others tell only their own.
    #[serde(skip)]
    pub(super) here: bool,
}

impl From<&UsageRecord> for LiveCall {
    fn from(record: &UsageRecord) -> Self {
        Self {
            id: record.id,
            tenant: record.tenant,
            tool: record.tool.into(),
            agent: record.agent.clone(),
            outcome: record.outcome.as_str().into(),
            error_code: record.error_code.map(Into::into),
            counted: record.counted,
            total_us: record.total_us,
            odoo_us: record.odoo_us,
            request_id: record.request_id.clone(),
            started_at: record.started_at,
            here: true,
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
    /// Those among them that are not there for other nodes.
    people: Arc<AtomicUsize>,
    begun: Arc<Notify>,
}

impl LiveFeed {
    pub(super) fn new() -> Self {
        Self { calls: broadcast::Sender::new(CALLS_BEHIND_MAX), watchers: Arc::default(), people: Arc::default(), begun: Arc::default() }
    }

    /// Tells whoever watches; costs one load of a number when nobody does.
    pub(super) fn tell(&self, record: &UsageRecord) {
        if self.watchers.load(Ordering::Relaxed) > 0 {
            // Fails when the last one has just left.
            drop(self.calls.send(Arc::new(LiveCall::from(record))));
        }
    }

    /// A call that another node answered.
    pub(super) fn hear(&self, call: LiveCall) {
        if self.people() > 0 {
            drop(self.calls.send(Arc::new(call)));
        }
    }

    pub(super) fn watch(&self, tenant: Option<TenantId>) -> LiveCalls {
        let watching = self.ear(tenant, Some(Arc::clone(&self.people)));
        self.people.fetch_add(1, Ordering::Relaxed);
        self.begun.notify_one();
        watching
    }

    /// For other nodes, where people watch: the calls of this one.
    pub(super) fn watch_for_others(&self) -> LiveCalls {
        self.ear(None, None)
    }

    /// How many people watch here.
    pub(super) fn people(&self) -> usize {
        self.people.load(Ordering::Relaxed)
    }

    /// Waits until one more begins to.
    pub(super) async fn begun(&self) {
        self.begun.notified().await;
    }

    fn ear(&self, tenant: Option<TenantId>, people: Option<Arc<AtomicUsize>>) -> LiveCalls {
        let calls = self.calls.subscribe();
        self.watchers.fetch_add(1, Ordering::Relaxed);
        LiveCalls { calls, tenant, watchers: Arc::clone(&self.watchers), people }
    }
}

impl UsageSink {
    /// Watches calls as they end: a tenant's, or everybody's.
    #[must_use]
    pub fn live(&self, tenant: Option<TenantId>) -> LiveCalls {
        self.live.watch(tenant)
    }

    /// This node's calls, to be told to other nodes.
    #[must_use]
    pub fn live_for_others(&self) -> LiveCalls {
        self.live.watch_for_others()
    }

    /// A call that another node answered, for those who watch here.
    pub fn live_heard(&self, call: LiveCall) {
        self.live.hear(call);
    }

    /// How many people watch here.
    #[must_use]
    pub fn live_people(&self) -> usize {
        self.live.people()
    }

    /// Waits until one more begins to.
    pub async fn live_begun(&self) {
        self.live.begun().await;
    }
}

/// A watcher's ear.
#[derive(Debug)]
pub struct LiveCalls {
    calls: broadcast::Receiver<Arc<LiveCall>>,
    tenant: Option<TenantId>,
    watchers: Arc<AtomicUsize>,
    /// None of one who listens for other nodes, and hears this one's calls only.
    people: Option<Arc<AtomicUsize>>,
}

impl LiveCalls {
    /// The next event; none when the service has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<LiveEvent> {
        loop {
            match self.calls.recv().await {
                Ok(call) if self.tenant.is_none_or(|tenant| tenant == call.tenant) && (call.here || self.people.is_some()) => return Some(LiveEvent::Call(call)),
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
        if let Some(people) = &self.people {
            people.fetch_sub(1, Ordering::Relaxed);
        }
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

    #[tokio::test]
    async fn what_is_told_to_other_nodes_is_this_node_s_own() {
        let feed = LiveFeed::new();
        let (mut others, mut person) = (feed.watch_for_others(), feed.watch(None));
        let own = record(TenantId::new());
        let text = serde_json::to_string(&LiveCall { agent: Some("otro".to_owned()), ..LiveCall::from(&record(TenantId::new())) }).unwrap();
        let foreign: LiveCall = serde_json::from_str(&text).unwrap();
        feed.hear(foreign.clone());
        feed.tell(&own);
        assert_eq!(person.next().await, Some(LiveEvent::Call(Arc::new(foreign.clone()))));
        for watcher in [&mut person, &mut others] {
            assert_eq!(watcher.next().await, Some(LiveEvent::Call(Arc::new(LiveCall::from(&own)))));
        }
        assert_eq!(feed.people(), 1);
        drop((person, others));
        assert_eq!((feed.people(), feed.watchers.load(Ordering::Relaxed)), (0, 0));
        // Nobody is there any more: it is not even sent.
        feed.hear(foreign);
    }
}
