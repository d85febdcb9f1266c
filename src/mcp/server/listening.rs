//! Who listens for changes (`subscriptions/listen` of 2026-07-28): told when something about the tenant changed, and then let go, so that whoever
//! listens again is asked for their token again. Bounded per tenant: each is a connection that stays open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{ErrorData, SubscriptionFilter};
use rmcp::service::SubscriptionContext;
use tokio_util::sync::CancellationToken;

use super::caller;
use crate::domain::tokens::Tokens;
use crate::ids::TenantId;

/// Nobody listens longer than this, seconds: a token may have ended meanwhile.
const LISTENING_S_MAX: u64 = 3_600;

/// Those who listen. Cheap to clone.
#[derive(Clone)]
pub(super) struct Listening {
    tokens: Tokens,
    stopping: CancellationToken,
    every: Duration,
    each_max: usize,
    now: Arc<Mutex<HashMap<TenantId, usize>>>,
}

/// One who listens; counted until it is dropped.
struct Listener<'a> {
    tenant: TenantId,
    among: &'a Listening,
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        let mut now = self.among.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = now.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                now.remove(&self.tenant);
            }
        }
    }
}

impl Listening {
    /// At most `each_max` of one tenant; what changed is looked for that often.
    pub(super) fn new(tokens: Tokens, stopping: CancellationToken, every: Duration, each_max: usize) -> Self {
        Self { tokens, stopping, every, each_max, now: Arc::default() }
    }

    fn enter(&self, tenant: TenantId) -> Option<Listener<'_>> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let count = now.entry(tenant).or_default();
        if *count >= self.each_max {
            return None;
        }
        *count += 1;
        Some(Listener { tenant, among: self })
    }

    /// Tools and prompts change with what the tenant may do. Resources are records: their list does not change.
    pub(super) fn accepted(requested: &SubscriptionFilter) -> SubscriptionFilter {
        let mut accepted = SubscriptionFilter::new();
        accepted.tools_list_changed = requested.tools_list_changed;
        accepted.prompts_list_changed = requested.prompts_list_changed;
        accepted
    }

    /// Until something changed, the service stops, or the client goes.
    pub(super) async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let tenant = caller(subscription.request_context())?.tenant().id;
        // Who is one too many is told so by an end, as a stop would: it may come again.
        let Some(_listener) = self.enter(tenant) else {
            return Err(ErrorData::invalid_request(
                format!("this company already has {} programs listening: close one, or ask for the list again when needed", self.each_max),
                None,
            ));
        };
        let seen = self.tokens.epoch(tenant);
        let mut looks = tokio::time::interval(self.every);
        let end = tokio::time::sleep(Duration::from_secs(LISTENING_S_MAX));
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = subscription.cancelled() => return Ok(()),
                () = self.stopping.cancelled() => return Ok(()),
                () = &mut end => return Ok(()),
                _ = looks.tick() => {}
            }
            if self.tokens.epoch(tenant) != seen {
                // The sink sends nothing that was not asked for.
                for told in [subscription.sink().notify_tool_list_changed().await, subscription.sink().notify_prompt_list_changed().await] {
                    if let Err(error) = told {
                        tracing::debug!(%error, "a change was not told");
                    }
                }
                return Ok(());
            }
        }
    }
}
