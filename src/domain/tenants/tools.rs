//! A tenant's tools all at once, as its page shows them.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect, sea_query::OnConflict};
use serde_json::json;

use super::{TenantError, Tenants, ToolEdit, tool_json, tool_row};
use crate::db::{
    self,
    entities::{client_tools, clients, plans},
};
use crate::domain::audit::{self, Actor, Change};
use crate::domain::tenant::{Tenant, WritePolicy};
use crate::ids::TenantId;

/// What a tenant is to do with one tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolSetting {
    /// Its name, checked by the caller against the register.
    pub tool: String,
    /// Whether it may be used.
    pub enabled: bool,
    /// Calls an hour.
    pub calls_per_hour: u32,
    /// Preview first, or at once; none leaves it.
    pub write_policy: Option<WritePolicy>,
}

impl Tenants {
    /// Makes a tenant's tools exactly these, in one transaction with an audit row for each that changes; a tool that is not named is switched
    /// off. `seen` is the [`Tenant::tools_mark`] the editor saw. Answers how many changed. A running service is told by the caller
    /// (`Tokens::forget`).
    ///
    /// # Errors
    /// The plan allows fewer tools, somebody changed them meanwhile, no such tenant, or the database. Then nothing is changed.
    pub async fn tools_edit(&self, id: TenantId, settings: &[ToolSetting], seen: &str, actor: &Actor) -> Result<usize, TenantError> {
        let transaction = db::begin_write(&self.db).await?;
        let client = clients::Entity::find_by_id(id.uuid()).lock_exclusive().one(&transaction).await?.ok_or_else(|| TenantError::Unknown(id.to_string()))?;
        let plan = plans::Entity::find_by_id(client.plan_code.clone()).one(&transaction).await?.ok_or_else(|| TenantError::UnknownPlan(client.plan_code.clone()))?;
        let rows = client_tools::Entity::find().filter(client_tools::Column::ClientId.eq(id.uuid())).all(&transaction).await?;
        let tenant = Tenant::from_rows(client, plan, rows.clone());
        if tenant.tools_mark() != seen {
            return Err(TenantError::Stale);
        }
        let enabled = settings.iter().filter(|setting| setting.enabled).count();
        if let Some(max) = tenant.plan.tools_max
            && enabled > max
        {
            return Err(TenantError::TooManyTools { plan: tenant.plan.name, max, enabled });
        }
        let unnamed = rows.iter().filter(|row| row.enabled && !settings.iter().any(|setting| setting.tool == row.tool));
        let off: Vec<ToolSetting> = unnamed
            .map(|row| ToolSetting { tool: row.tool.clone(), enabled: false, calls_per_hour: tenant.tool_setting(&row.tool).1.calls_per_hour, write_policy: None })
            .collect();
        let mut changed = 0;
        for setting in settings.iter().chain(&off) {
            let (was_on, was) = tenant.tool_setting(&setting.tool);
            let policy = setting.write_policy.filter(|policy| *policy != was.write_policy);
            if was_on == setting.enabled && was.calls_per_hour == setting.calls_per_hour && policy.is_none() {
                continue;
            }
            let row = rows.iter().find(|row| row.tool == setting.tool);
            let kept = row.and_then(|row| row.write_policy.as_deref().map(WritePolicy::parse));
            let edit = ToolEdit { enabled: Some(setting.enabled), calls_per_hour: Some(setting.calls_per_hour), write_policy: policy.or(kept) };
            let update = OnConflict::columns([client_tools::Column::ClientId, client_tools::Column::Tool])
                .update_columns([client_tools::Column::Enabled, client_tools::Column::RateLimitPerHour, client_tools::Column::WritePolicy])
                .to_owned();
            client_tools::Entity::insert(tool_row(id, &setting.tool, edit)).on_conflict(update).exec(&transaction).await?;
            let after = json!({ "enabled": setting.enabled, "calls_per_hour": setting.calls_per_hour, "write_policy": edit.write_policy.map(WritePolicy::as_str) });
            let change = Change { tenant: Some(id), action: "tool.edit", subject: setting.tool.clone(), before: row.map(tool_json), after: Some(after) };
            audit::record(&transaction, &self.clock, actor, change).await?;
            changed += 1;
        }
        transaction.commit().await?;
        Ok(changed)
    }
}
