//! The audit, newest first. To check a chain is `domain::audit::chain_verify`.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::sql::pattern;
use super::{Page, Reports};
use crate::db::entities::logs;
use crate::ids::TenantId;

const ROWS_PER_PAGE_MAX: u64 = 500;

/// Whose changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditScope {
    /// Everybody's; for operators.
    #[default]
    All,
    /// Those that concern the service and no tenant; for operators.
    Service,
    /// A tenant's.
    Tenant(TenantId),
}

/// Which changes; absent is all.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Whose.
    pub scope: AuditScope,
    /// Who did it, exactly.
    pub actor: Option<String>,
    /// The beginning of the action, such as `tenant.` or `tenant.edit`.
    pub action: Option<String>,
    /// Then or later.
    pub from: Option<DateTime<Utc>>,
    /// Before.
    pub to: Option<DateTime<Utc>>,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct AuditRow {
    /// Its id.
    pub id: Uuid,
    /// Whose; none concerns the service.
    pub tenant: Option<TenantId>,
    /// The client's name; none when it was removed, or the service is meant.
    pub client: Option<String>,
    /// Who did it.
    pub actor: String,
    /// What.
    pub action: String,
    /// Which thing.
    pub subject: String,
    /// Before, without secrets.
    pub before: Option<Value>,
    /// After, without secrets.
    pub after: Option<Value>,
    /// UTC.
    pub created_at: DateTime<Utc>,
}

impl Reports {
    /// A page of so many changes (at most 500), newest first. At most two queries.
    ///
    /// # Errors
    /// The database.
    pub async fn audit_page(&self, filter: &AuditFilter, after: Option<&str>, rows_max: u64) -> Result<Page<AuditRow>, DbErr> {
        let limit = rows_max.clamp(1, ROWS_PER_PAGE_MAX);
        let mut query = logs::Entity::find().order_by_desc(logs::Column::Id).limit(limit + 1);
        query = match filter.scope {
            AuditScope::All => query,
            AuditScope::Service => query.filter(logs::Column::ClientId.is_null()),
            AuditScope::Tenant(tenant) => query.filter(logs::Column::ClientId.eq(tenant.uuid())),
        };
        if let Some(actor) = &filter.actor {
            query = query.filter(logs::Column::Actor.eq(actor.as_str()));
        }
        if let Some(action) = &filter.action {
            query = query.filter(logs::Column::Action.like(sea_orm::sea_query::LikeExpr::new(pattern(action)).escape('\\')));
        }
        if let Some(from) = filter.from {
            query = query.filter(logs::Column::CreatedAt.gte(from));
        }
        if let Some(to) = filter.to {
            query = query.filter(logs::Column::CreatedAt.lt(to));
        }
        if let Some(after) = after.and_then(|after| after.parse::<Uuid>().ok()) {
            query = query.filter(logs::Column::Id.lt(after));
        }
        let mut rows = query.all(&self.db).await?;
        let more = rows.len() as u64 > limit;
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = rows.last().filter(|_| more).map(|row| row.id.to_string());
        let clients: HashSet<Uuid> = rows.iter().filter_map(|row| row.client_id).collect();
        let names: HashMap<Uuid, String> = self.names(clients.into_iter().collect()).await?.into_iter().collect();
        let rows = rows
            .into_iter()
            .map(|row| AuditRow {
                id: row.id,
                client: row.client_id.and_then(|id| names.get(&id).cloned()),
                tenant: row.client_id.map(TenantId::from),
                actor: row.actor,
                action: row.action,
                subject: row.subject,
                before: row.before,
                after: row.after,
                created_at: row.created_at,
            })
            .collect();
        Ok(Page { rows, next })
    }
}
