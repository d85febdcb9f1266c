//! Writes that wait, and those decided lately, as a page shows them.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;
use serde_json::Value;

use super::{ApprovalError, Approvals, EXPIRED, PENDING, PENDING_MAX};
use crate::db::entities::{api_tokens, operations};
use crate::ids::{OperationId, TenantId};

/// Decided ones that are shown.
const DECIDED_SHOWN: u64 = 20;

/// A write that waits.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PendingView {
    /// Its row.
    pub id: OperationId,
    /// The tool.
    pub tool: String,
    /// What would be written, as the tool previews it; null when it cannot be opened.
    pub preview: Value,
    /// SHA-256 of the plan behind it, hex; for the form that approves it.
    #[serde(skip)]
    pub plan: String,
    /// What the agent calls itself.
    pub agent: Option<String>,
    /// The name of its token.
    pub token: Option<String>,
    /// When it asked.
    pub asked_at: DateTime<Utc>,
    /// Until when an owner may decide.
    pub until: DateTime<Utc>,
}

/// A write that was decided, or that nobody decided in time.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DecidedView {
    /// The tool.
    pub tool: String,
    /// `running`, `done`, `unknown`, `refused`, `expired`.
    pub state: &'static str,
    /// How its record in Odoo is found.
    pub reference: String,
    /// By whom; none when it expired.
    pub by: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// Why it was refused.
    pub reason: Option<String>,
}

impl Approvals {
    /// What waits at a tenant, oldest first, and what was decided lately, newest first.
    ///
    /// # Errors
    /// No such tenant, or the database.
    pub async fn list(&self, tenant: TenantId) -> Result<(Vec<PendingView>, Vec<DecidedView>), ApprovalError> {
        let tenant = self.tenants.tenant_find(tenant).await?;
        let waiting = self.pending(tenant.id).order_by_asc(operations::Column::Id).limit(PENDING_MAX).all(&self.db).await?;
        let names: Vec<(uuid::Uuid, String)> = api_tokens::Entity::find()
            .select_only()
            .columns([api_tokens::Column::Id, api_tokens::Column::Name])
            .filter(api_tokens::Column::ClientId.eq(tenant.id.uuid()))
            .filter(api_tokens::Column::Id.is_in(waiting.iter().filter_map(|row| row.token_id)))
            .into_tuple()
            .all(&self.db)
            .await?;
        let waits = waiting.into_iter().map(|row| {
            let preview = match self.unseal(&tenant, &row) {
                Ok(kept) => kept.preview,
                Err(error) => {
                    tracing::error!(%error, operation.id = %row.id, "a write that waits cannot be shown");
                    Value::Null
                }
            };
            PendingView {
                id: row.id.into(),
                preview,
                tool: row.tool,
                plan: row.plan_digest.unwrap_or_default(),
                agent: row.agent,
                token: names.iter().find(|(id, _)| Some(*id) == row.token_id).map(|(_, name)| name.clone()),
                asked_at: row.created_at,
                until: row.expires_at.unwrap_or(row.created_at),
            }
        });
        let waits = waits.collect();
        let now = self.clock.now();
        let ended = Condition::any().add(operations::Column::State.ne(PENDING)).add(operations::Column::ExpiresAt.lte(now));
        let rows = operations::Entity::find().filter(operations::Column::ClientId.eq(tenant.id.uuid())).filter(operations::Column::ExpiresAt.is_not_null()).filter(ended);
        let rows = rows.order_by_desc(operations::Column::UpdatedAt).limit(DECIDED_SHOWN).all(&self.db).await?;
        let decided = rows.into_iter().map(|row| DecidedView {
            state: self.operations.state_of(&row),
            at: row.decided_at.or(row.expires_at).unwrap_or(row.updated_at),
            tool: row.tool,
            reference: row.reference,
            by: row.decided_by,
            reason: row.reason,
        });
        Ok((waits, decided.collect()))
    }
}

/// A state as the page's words know it.
pub(in crate::domain) fn word(state: &str) -> &'static str {
    match state {
        "running" => "running",
        "done" => "done",
        super::REFUSED => "refused",
        PENDING | EXPIRED => "expired",
        _ => "unknown",
    }
}
