//! How far a client has come, from facts: nothing is stored about it.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, Condition, DatabaseConnection, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};

use super::tenants::{TenantError, Tenants};
use crate::clock::Clock;
use crate::db::entities::{api_tokens, tool_usage, usage_months};
use crate::ids::TenantId;

/// The facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onboarding {
    /// The client's name.
    pub name: String,
    /// Its RNC.
    pub rnc: Option<String>,
    /// The host of its Odoo, once connected.
    pub odoo_host: Option<String>,
    /// Tools it may use.
    pub tools: usize,
    /// Tokens that work.
    pub tokens: u64,
    /// Its last call.
    pub call: Option<LastCall>,
    /// Whether a call came, also when it is too old to be told.
    pub called: bool,
}

/// A call as the last step tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastCall {
    /// Which tool.
    pub tool: String,
    /// What the agent calls itself.
    pub agent: Option<String>,
    /// When it began, UTC.
    pub at: DateTime<Utc>,
}

impl Onboarding {
    /// The facts of a tenant; `tools` are the names of all tools there are. Six queries at most.
    ///
    /// # Errors
    /// No such tenant, or the database.
    pub async fn of(db: &DatabaseConnection, tenants: &Tenants, clock: &Clock, tenant: TenantId, tools: &[&str]) -> Result<Self, TenantError> {
        let owner = tenants.tenant_find(tenant).await?;
        let id = tenant.uuid();
        let working = Condition::any().add(api_tokens::Column::ExpiresAt.is_null()).add(api_tokens::Column::ExpiresAt.gt(clock.now()));
        let tokens = api_tokens::Entity::find().filter(api_tokens::Column::ClientId.eq(id)).filter(api_tokens::Column::RevokedAt.is_null()).filter(working);
        let tokens = tokens.count(db).await?;
        let call = tool_usage::Entity::find().filter(tool_usage::Column::ClientId.eq(id)).order_by_desc(tool_usage::Column::StartedAt).one(db).await?;
        // Single calls are pruned some day, their sums are not.
        let called = match &call {
            Some(_) => true,
            None => usage_months::Entity::find().filter(usage_months::Column::ClientId.eq(id)).one(db).await?.is_some(),
        };
        Ok(Self {
            tools: tools.iter().filter(|tool| owner.permit(tool).is_some()).count(),
            odoo_host: owner.odoo.as_ref().and_then(|odoo| odoo.url.host_str().map(str::to_owned)),
            name: owner.name,
            rnc: owner.rnc,
            tokens,
            call: call.map(|call| LastCall { tool: call.tool, agent: call.agent, at: call.started_at }),
            called,
        })
    }

    /// Whether each step is done: account, Odoo, tools, token, first call.
    #[must_use]
    pub fn done(&self) -> [bool; 5] {
        [true, self.odoo_host.is_some(), self.tools > 0, self.tokens > 0 || self.called, self.called]
    }
}
