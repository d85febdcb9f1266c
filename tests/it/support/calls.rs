//! Made-up calls, delivered as the service delivers them.

use chrono::{DateTime, Utc};
use dunet::domain::usage::{Outcome, UsageRecord};
use dunet::ids::{TenantId, TokenId, UsageId};

use super::{TestApp, until};

/// A call of that tenant that began then, as if it had; the rest by name.
pub(crate) fn call(tenant: TenantId, at: &str) -> UsageRecord {
    UsageRecord {
        id: UsageId::new(),
        tenant,
        token: TokenId::new(),
        tool: "consultar_rnc_dgii",
        agent: Some("prueba 1".to_owned()),
        outcome: Outcome::Ok,
        error_code: None,
        counted: true,
        total_us: 800,
        odoo_us: 0,
        odoo_requests: 0,
        request_id: uuid::Uuid::new_v4().to_string(),
        started_at: at.parse::<DateTime<Utc>>().expect("a time"),
    }
}

impl TestApp {
    /// Hands calls over and waits until they are delivered.
    pub(crate) async fn made(&self, calls: &[UsageRecord]) {
        for call in calls {
            self.state.usage.record(call);
        }
        until("the calls are delivered", || async { self.state.usage.backlog().records == 0 }).await;
    }
}
