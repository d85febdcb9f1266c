//! A client asks for another plan: a row of its audit, open until the plan is that one or an operator has answered. Nothing changes by it.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::json;

use super::{TenantError, Tenants, invalid};
use crate::db::{
    self,
    entities::{clients, logs},
};
use crate::domain::audit::{self, Actor, Change};
use crate::domain::tenant::Tenant;
use crate::ids::TenantId;

const ASKED: &str = "plan.request";
const ANSWERED: &str = "plan.answer";
/// The longest note, characters.
const NOTE_CHARS_MAX: usize = 500;
/// Requests and answers looked through for those that are open.
const LOOKED_AT: u64 = 1_000;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRequest {
    /// Code of the plan.
    pub plan: String,
    /// In their words; may be empty.
    pub note: String,
    /// Who asks.
    pub by: String,
    /// When, UTC.
    pub at: DateTime<Utc>,
}

impl PlanRequest {
    fn of(row: logs::Model) -> Self {
        let note = row.after.as_ref().and_then(|after| after["note"].as_str()).unwrap_or_default().to_owned();
        Self { plan: row.subject, note, by: row.actor, at: row.created_at }
    }
}

impl Tenants {
    /// Asks for another plan; a new request takes the place of an open one.
    ///
    /// # Errors
    /// No such plan or tenant, the plan it has already, a note that is too long, or the database.
    pub async fn plan_request(&self, id: TenantId, plan: &str, note: &str, actor: &Actor) -> Result<(), TenantError> {
        let tenant = self.tenant_find(id).await?;
        let plan = self.plan_find(plan).await?;
        let note = note.trim();
        if plan.code == tenant.plan.code || note.chars().count() > NOTE_CHARS_MAX {
            return Err(invalid("plan", "plan_wish", format!("another plan than {}, and a note of {NOTE_CHARS_MAX} characters at most", tenant.plan.code)));
        }
        let (before, after) = (json!({ "plan": tenant.plan.code }), json!({ "plan": plan.code, "note": note }));
        self.told(Change { tenant: Some(id), action: ASKED, subject: plan.code, before: Some(before), after: Some(after) }, actor).await
    }

    /// The request was dealt with.
    ///
    /// # Errors
    /// The database.
    pub async fn plan_request_close(&self, id: TenantId, actor: &Actor) -> Result<(), TenantError> {
        self.told(Change { tenant: Some(id), action: ANSWERED, subject: id.to_string(), before: None, after: None }, actor).await
    }

    /// What a client waits for, if it does.
    ///
    /// # Errors
    /// The database.
    pub async fn plan_request_open(&self, tenant: &Tenant) -> Result<Option<PlanRequest>, TenantError> {
        let rows = logs::Entity::find().filter(logs::Column::ClientId.eq(tenant.id.uuid())).filter(logs::Column::Action.is_in([ASKED, ANSWERED]));
        let Some(last) = rows.order_by_desc(logs::Column::Id).one(&self.db).await? else { return Ok(None) };
        let open = last.action == ASKED && last.subject != tenant.plan.code;
        Ok(open.then(|| PlanRequest::of(last)))
    }

    /// For operators: what clients wait for, the latest first, with their ids. Looked for among so many of the last requests and answers. Two
    /// queries.
    ///
    /// # Errors
    /// The database.
    pub async fn plan_requests_open(&self) -> Result<Vec<(TenantId, PlanRequest)>, TenantError> {
        let rows = logs::Entity::find().filter(logs::Column::ClientId.is_not_null()).filter(logs::Column::Action.is_in([ASKED, ANSWERED]));
        let rows = rows.order_by_desc(logs::Column::Id).limit(LOOKED_AT).all(&self.db).await?;
        let (mut seen, mut last) = (HashSet::new(), Vec::new());
        for row in rows {
            if let Some(client) = row.client_id.filter(|client| seen.insert(*client))
                && row.action == ASKED
            {
                last.push((client, row));
            }
        }
        let plans: Vec<(uuid::Uuid, String)> = clients::Entity::find()
            .select_only()
            .columns([clients::Column::Id, clients::Column::PlanCode])
            .filter(clients::Column::Id.is_in(last.iter().map(|(client, _)| *client)))
            .into_tuple()
            .all(&self.db)
            .await?;
        let plans: HashMap<uuid::Uuid, String> = plans.into_iter().collect();
        let open = last.into_iter().filter(|(client, row)| plans.get(client).is_some_and(|plan| *plan != row.subject));
        Ok(open.map(|(client, row)| (client.into(), PlanRequest::of(row))).collect())
    }

    async fn told(&self, change: Change<'_>, actor: &Actor) -> Result<(), TenantError> {
        let transaction = db::begin_write(&self.db).await?;
        audit::record(&transaction, &self.clock, actor, change).await?;
        transaction.commit().await?;
        Ok(())
    }
}
