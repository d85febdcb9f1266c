//! Adding a tenant: at once, or checked first and added in a transaction of somebody else (a sign-up's).

use sea_orm::{ActiveModelTrait, DatabaseTransaction, IntoActiveModel};

use super::{
    NewTenant, ODOO_SECRET_FIELD, PersonalPolicy, ProtocolChoice, TenantError, TenantHabits, Tenants, ToolEdit, checked_name, checked_rnc, checked_url, public_json, tool_row,
};
use crate::db::{self, entities::clients};
use crate::domain::audit::{self, Actor, Change};
use crate::domain::settings::Settings;
use crate::ids::TenantId;

/// A tenant that was checked and is about to be added.
pub(in crate::domain) struct PreparedTenant {
    row: clients::Model,
    tools: Vec<String>,
}

impl Tenants {
    /// Adds a tenant with its own data key, in Spanish, with previewed writes.
    ///
    /// # Errors
    /// A blank name, an unknown plan, more tools than the plan allows, or the database.
    pub async fn tenant_add(&self, new: NewTenant, actor: &Actor) -> Result<TenantId, TenantError> {
        self.tenant_add_with(new, TenantHabits::default(), actor).await
    }

    /// The same with habits of its own.
    ///
    /// # Errors
    /// As [`Tenants::tenant_add`].
    pub async fn tenant_add_with(&self, new: NewTenant, habits: TenantHabits, actor: &Actor) -> Result<TenantId, TenantError> {
        let prepared = self.tenant_prepare(new, habits, "active").await?;
        let transaction = db::begin_write(&self.db).await?;
        let id = self.tenant_insert(&transaction, prepared, actor).await?;
        transaction.commit().await?;
        Ok(id)
    }

    /// Checks a tenant about to be added, whose status is `active` or `pending`, and makes its data key.
    pub(in crate::domain) async fn tenant_prepare(&self, new: NewTenant, habits: TenantHabits, status: &str) -> Result<PreparedTenant, TenantError> {
        let name = checked_name(&new.name)?;
        let rnc = new.rnc.as_deref().map(checked_rnc).transpose()?;
        let odoo_url = new.odoo.as_ref().map(|odoo| checked_url(&odoo.url)).transpose()?;
        let plan = self.plan_find(&new.plan).await?;
        if let Some(max) = plan.tools_max
            && new.tools.len() > max
        {
            return Err(TenantError::TooManyTools { plan: plan.name, max, enabled: new.tools.len() });
        }
        // Whoever adds it, a command too: what is stored, not what a process remembers.
        let settings = Settings::stored(&self.db).await?;
        let id = TenantId::new();
        let now = self.clock.now();
        let data_key = self.vault.data_key_make(id)?;
        let sealed = match &new.odoo {
            Some(odoo) => Some(self.vault.seal(id, &data_key, ODOO_SECRET_FIELD, &odoo.secret)?.0),
            None => None,
        };
        let row = clients::Model {
            id: id.uuid(),
            name,
            rnc,
            status: status.to_owned(),
            plan_code: plan.code,
            language: habits.language.as_str().to_owned(),
            timezone: habits.timezone.name().to_owned(),
            write_policy: habits.write_policy.as_str().to_owned(),
            odoo_url,
            odoo_database: new.odoo.as_ref().map(|odoo| odoo.database.clone()),
            odoo_login: new.odoo.as_ref().map(|odoo| odoo.login.clone()),
            odoo_secret_sealed: sealed,
            odoo_protocol: new.odoo.as_ref().map_or(ProtocolChoice::Auto, |odoo| odoo.protocol).to_string(),
            data_key_sealed: data_key.0,
            created_at: now,
            updated_at: now,
            odoo_requests_per_second: None,
            version: 1,
            tool_calls_per_hour: i32::try_from(settings.tool_calls_per_hour).unwrap_or(i32::MAX),
            odoo_personal: PersonalPolicy::Off.as_str().to_owned(),
        };
        Ok(PreparedTenant { row, tools: new.tools })
    }

    /// Adds a prepared tenant.
    pub(in crate::domain) async fn tenant_insert(&self, transaction: &DatabaseTransaction, tenant: PreparedTenant, actor: &Actor) -> Result<TenantId, TenantError> {
        let id = TenantId::from(tenant.row.id);
        let after = public_json(&tenant.row);
        let calls_per_hour = u32::try_from(tenant.row.tool_calls_per_hour).ok();
        tenant.row.into_active_model().insert(transaction).await?;
        for tool in &tenant.tools {
            tool_row(id, tool, ToolEdit { enabled: Some(true), calls_per_hour, ..ToolEdit::default() }).insert(transaction).await?;
        }
        let change = Change { tenant: Some(id), action: "tenant.add", subject: id.to_string(), before: None, after: Some(after) };
        audit::record(transaction, &self.clock, actor, change).await?;
        Ok(id)
    }
}
