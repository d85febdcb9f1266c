//! Tenants: the client companies, their Odoo settings and what they may use.

use std::collections::HashMap;

use chrono_tz::Tz;
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseConnection, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, Set, sea_query::OnConflict};
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use super::audit::{self, Actor, Change};
use super::plans::Plan;
pub use super::tenant::{OdooSettings, Permit, PersonalPolicy, TOOL_CALLS_PER_HOUR_DEFAULT, Tenant, WritePolicy};
use super::vault::{Sealed, Vault, VaultError};
use crate::clock::Clock;
use crate::db::{
    self,
    entities::{client_tools, clients, plans},
};
use crate::dgii::TaxpayerId;
use crate::ids::TenantId;
use crate::odoo::AddressPolicy;
use crate::odoo::address::check_url;
use crate::text::Language;

mod add;
mod error;
mod personal;
mod plan_request;
mod registry;
mod remove;
mod tools;

use error::invalid;
pub use error::{TenantError, TenantFault};
use personal::forget_everybodys;
pub(super) use personal::forget_of_person;
pub use personal::{NewPersonalOdoo, PersonalOdoo, PersonalView};
pub use plan_request::PlanRequest;
pub use registry::{Registered, registered, rnc_formatted};
pub use tools::ToolSetting;

pub use crate::odoo::ProtocolChoice;

/// The field name that binds the sealed Odoo secret to its place.
pub(super) const ODOO_SECRET_FIELD: &str = "odoo_secret";

/// Tenants read at most at once by a listing.
const TENANTS_PER_PAGE_MAX: u64 = 10_000;

/// What is needed to add a tenant.
pub struct NewTenant {
    /// The company's name.
    pub name: String,
    /// Its RNC.
    pub rnc: Option<String>,
    /// Its plan's code.
    pub plan: String,
    /// Its Odoo, if known already.
    pub odoo: Option<NewOdoo>,
    /// Tools enabled by name; needed for plans with a number of tools.
    pub tools: Vec<String>,
}

/// How a tenant is spoken to and may write, when it is added.
#[derive(Clone, Copy, Debug)]
pub struct TenantHabits {
    /// Language.
    pub language: Language,
    /// Zone.
    pub timezone: Tz,
    /// Policy for writing tools.
    pub write_policy: WritePolicy,
}

impl Default for TenantHabits {
    fn default() -> Self {
        Self { language: Language::Es, timezone: chrono_tz::America::Santo_Domingo, write_policy: WritePolicy::Confirm }
    }
}

/// An Odoo connection as it is given.
pub struct NewOdoo {
    /// Base address.
    pub url: Url,
    /// Database.
    pub database: String,
    /// User.
    pub login: String,
    /// Password or API key.
    pub secret: SecretString,
    /// Wire.
    pub protocol: ProtocolChoice,
}

/// What to change; absent stays.
#[derive(Default)]
pub struct TenantEdit {
    /// Name.
    pub name: Option<String>,
    /// RNC; an empty one takes it away.
    pub rnc: Option<String>,
    /// Plan code.
    pub plan: Option<String>,
    /// Odoo address.
    pub odoo_url: Option<Url>,
    /// Database.
    pub odoo_database: Option<String>,
    /// User.
    pub odoo_login: Option<String>,
    /// Password or API key.
    pub odoo_secret: Option<SecretString>,
    /// Wire.
    pub odoo_protocol: Option<ProtocolChoice>,
    /// Requests per second its Odoo likes; the inner none goes by its address, 0 is no limit.
    pub odoo_requests_per_second: Option<Option<u32>>,
    /// Whether its people use an Odoo user of their own; switched off, what they stored is removed.
    pub odoo_personal: Option<PersonalPolicy>,
    /// Language.
    pub language: Option<Language>,
    /// Zone.
    pub timezone: Option<Tz>,
    /// Policy for writing tools.
    pub write_policy: Option<WritePolicy>,
    /// Active or suspended.
    pub active: Option<bool>,
    /// The version the editor saw; another one by now is [`TenantError::Stale`]. None edits whatever is there.
    pub version: Option<i32>,
}

/// A change of one tool's permission; absent stays.
#[derive(Clone, Copy, Default)]
pub struct ToolEdit {
    /// Whether it may be used.
    pub enabled: Option<bool>,
    /// Calls an hour.
    pub calls_per_hour: Option<u32>,
    /// Preview first, or at once.
    pub write_policy: Option<WritePolicy>,
}

/// The operations on tenants. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tenants {
    db: DatabaseConnection,
    vault: Vault,
    clock: Clock,
}

impl Tenants {
    /// Over that database and vault.
    #[must_use]
    pub fn new(db: DatabaseConnection, vault: Vault, clock: Clock) -> Self {
        Self { db, vault, clock }
    }

    /// The tenant of that id.
    ///
    /// # Errors
    /// There is none, or the database.
    pub async fn tenant_find(&self, id: TenantId) -> Result<Tenant, TenantError> {
        let (client, plan) = self.client_find(id).await?;
        let tools = client_tools::Entity::find().filter(client_tools::Column::ClientId.eq(id.uuid())).all(&self.db).await?;
        Ok(Tenant::from_rows(client, plan, tools))
    }

    /// Every tenant, oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn tenant_list(&self) -> Result<Vec<Tenant>, TenantError> {
        let clients = clients::Entity::find().order_by_asc(clients::Column::Id).limit(TENANTS_PER_PAGE_MAX).all(&self.db).await?;
        let plans: HashMap<String, plans::Model> = plans::Entity::find().all(&self.db).await?.into_iter().map(|plan| (plan.code.clone(), plan)).collect();
        let mut tools: HashMap<uuid::Uuid, Vec<client_tools::Model>> = HashMap::new();
        for row in client_tools::Entity::find().all(&self.db).await? {
            tools.entry(row.client_id).or_default().push(row);
        }
        Ok(clients
            .into_iter()
            .filter_map(|client| {
                let plan = plans.get(&client.plan_code)?.clone();
                let rows = tools.remove(&client.id).unwrap_or_default();
                Some(Tenant::from_rows(client, plan, rows))
            })
            .collect())
    }

    /// Changes a tenant.
    ///
    /// # Errors
    /// There is none, an unknown plan, an incomplete Odoo connection, or the database.
    pub async fn tenant_edit(&self, id: TenantId, edit: TenantEdit, actor: &Actor) -> Result<(), TenantError> {
        let plan = match edit.plan {
            Some(code) => Some(self.plan_find(&code).await?),
            None => None,
        };
        // Read under the lock: two edits, or an edit and a change of keys, must not undo each other.
        let transaction = db::begin_write(&self.db).await?;
        let client = clients::Entity::find_by_id(id.uuid()).lock_exclusive().one(&transaction).await?.ok_or_else(|| TenantError::Unknown(id.to_string()))?;
        if edit.version.is_some_and(|seen| seen != client.version) {
            return Err(TenantError::Stale);
        }
        let before = public_json(&client);
        let server = personal::server(&client);
        let mut row = client;
        row.version += 1;
        if let Some(name) = edit.name {
            row.name = checked_name(&name)?;
        }
        if let Some(plan) = plan {
            row.plan_code = plan.code;
        }
        if let Some(secret) = &edit.odoo_secret {
            row.odoo_secret_sealed = Some(self.vault.seal(id, &Sealed(row.data_key_sealed.clone()), ODOO_SECRET_FIELD, secret)?.0);
        }
        match edit.rnc.as_deref() {
            Some(rnc) if rnc.trim().is_empty() => row.rnc = None,
            Some(rnc) => row.rnc = Some(checked_rnc(rnc)?),
            None => {}
        }
        row.odoo_url = edit.odoo_url.as_ref().map(checked_url).transpose()?.or(row.odoo_url);
        row.odoo_database = edit.odoo_database.or(row.odoo_database);
        row.odoo_login = edit.odoo_login.or(row.odoo_login);
        row.odoo_protocol = edit.odoo_protocol.map_or(row.odoo_protocol, |protocol| protocol.to_string());
        row.odoo_requests_per_second = edit.odoo_requests_per_second.map_or(row.odoo_requests_per_second, |pace| pace.map(|pace| i32::try_from(pace).unwrap_or(i32::MAX)));
        row.odoo_personal = edit.odoo_personal.map_or(row.odoo_personal, |policy| policy.as_str().to_owned());
        row.language = edit.language.map_or(row.language, |language| language.as_str().to_owned());
        row.timezone = edit.timezone.map_or(row.timezone, |zone| zone.name().to_owned());
        row.write_policy = edit.write_policy.map_or(row.write_policy, |policy| policy.as_str().to_owned());
        row.status = edit.active.map_or(row.status, |active| if active { "active" } else { "suspended" }.to_owned());
        let given = [row.odoo_url.is_some(), row.odoo_database.is_some(), row.odoo_login.is_some(), row.odoo_secret_sealed.is_some()];
        if given.contains(&true) && given.contains(&false) {
            return Err(invalid("form", "odoo_whole", "an Odoo connection needs all of: address, database, user and secret"));
        }
        row.updated_at = self.clock.now();
        let mut after = public_json(&row);
        if edit.odoo_secret.is_some() {
            after["odoo_secret"] = json!("replaced");
        }
        // What people stored was for that server and database, and is sent to no other.
        if personal::server(&row) != server || row.odoo_personal == PersonalPolicy::Off.as_str() {
            let forgotten = forget_everybodys(&transaction, id).await?;
            if forgotten > 0 {
                after["odoo_personal_forgotten"] = json!(forgotten);
            }
        }
        row.into_active_model().reset_all().update(&transaction).await?;
        let change = Change { tenant: Some(id), action: "tenant.edit", subject: id.to_string(), before: Some(before), after: Some(after) };
        audit::record(&transaction, &self.clock, actor, change).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Changes what a tenant may do with one tool. The tool's name has been checked by the caller against the register.
    ///
    /// # Errors
    /// The plan allows no more tools, no such tenant, or the database.
    pub async fn tool_edit(&self, id: TenantId, tool: &str, edit: ToolEdit, actor: &Actor) -> Result<(), TenantError> {
        let (client, plan) = self.client_find(id).await?;
        let plan = Plan::from(plan);
        let transaction = db::begin_write(&self.db).await?;
        let rows = client_tools::Entity::find().filter(client_tools::Column::ClientId.eq(id.uuid())).all(&transaction).await?;
        let before = rows.iter().find(|row| row.tool == tool);
        let enabled = rows.iter().filter(|row| row.enabled && row.tool != tool).count();
        if let Some(max) = plan.tools_max
            && edit.enabled == Some(true)
            && enabled >= max
        {
            return Err(TenantError::TooManyTools { plan: plan.name, max, enabled });
        }
        let merged = ToolEdit {
            // Setting a limit must not switch a tool on that the plan's default keeps off.
            enabled: edit.enabled.or_else(|| Some(before.map_or(plan.tools_max.is_none(), |row| row.enabled))),
            calls_per_hour: edit.calls_per_hour.or_else(|| u32::try_from(before.map_or(client.tool_calls_per_hour, |row| row.rate_limit_per_hour)).ok()),
            write_policy: edit.write_policy.or_else(|| before.and_then(|row| row.write_policy.as_deref().map(WritePolicy::parse))),
        };
        let before = before.map(tool_json);
        let row = tool_row(id, tool, merged);
        client_tools::Entity::insert(row)
            .on_conflict(
                OnConflict::columns([client_tools::Column::ClientId, client_tools::Column::Tool])
                    .update_columns([client_tools::Column::Enabled, client_tools::Column::RateLimitPerHour, client_tools::Column::WritePolicy])
                    .to_owned(),
            )
            .exec(&transaction)
            .await?;
        let after = json!({ "enabled": merged.enabled, "calls_per_hour": merged.calls_per_hour, "write_policy": merged.write_policy.map(WritePolicy::as_str) });
        let change = Change { tenant: Some(id), action: "tool.edit", subject: tool.to_owned(), before, after: Some(after) };
        audit::record(&transaction, &self.clock, actor, change).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Wraps every data key with the current master key, while the service runs. Answers how many were re-wrapped.
    ///
    /// # Errors
    /// A data key that neither the current nor the previous master key opens, or the database. What was re-wrapped before stays so.
    pub async fn keys_rotate(&self, actor: &Actor) -> Result<usize, TenantError> {
        let mut count = 0;
        for row in clients::Entity::find().order_by_asc(clients::Column::Id).all(&self.db).await? {
            let Some(sealed) = self.vault.data_key_rewrap(TenantId::from(row.id), &Sealed(row.data_key_sealed.clone()))? else { continue };
            let transaction = db::begin_write(&self.db).await?;
            let done = clients::Entity::update_many()
                .col_expr(clients::Column::DataKeySealed, sea_orm::sea_query::Expr::value(sealed.0))
                .filter(clients::Column::Id.eq(row.id))
                .filter(clients::Column::DataKeySealed.eq(row.data_key_sealed))
                .exec(&transaction)
                .await?;
            if done.rows_affected == 1 {
                let change = Change { tenant: Some(row.id.into()), action: "vault.rewrap", subject: row.id.to_string(), before: None, after: None };
                audit::record(&transaction, &self.clock, actor, change).await?;
                count += 1;
            }
            transaction.commit().await?;
        }
        Ok(count)
    }

    /// Whether every tenant's secrets can be opened with the keys at hand.
    ///
    /// # Errors
    /// The first data key wrapped by a master key we do not have, or the database.
    pub async fn keys_check(&self) -> Result<(), TenantError> {
        let sealed: Vec<String> = clients::Entity::find().select_only().column(clients::Column::DataKeySealed).into_tuple().all(&self.db).await?;
        for key in sealed {
            self.vault.knows(&Sealed(key))?;
        }
        Ok(())
    }

    /// Opens a tenant's Odoo secret, for the one who connects.
    pub(super) fn odoo_secret(&self, tenant: &Tenant, settings: &OdooSettings) -> Result<SecretString, VaultError> {
        self.vault.open(tenant.id, &tenant.data_key, ODOO_SECRET_FIELD, &settings.secret)
    }

    async fn client_find(&self, id: TenantId) -> Result<(clients::Model, plans::Model), TenantError> {
        let found = clients::Entity::find_by_id(id.uuid()).find_also_related(plans::Entity).one(&self.db).await?;
        let (client, plan) = found.ok_or_else(|| TenantError::Unknown(id.to_string()))?;
        let plan = plan.ok_or_else(|| TenantError::UnknownPlan(client.plan_code.clone()))?;
        Ok((client, plan))
    }

    pub(super) async fn plan_find(&self, code: &str) -> Result<Plan, TenantError> {
        let plan = plans::Entity::find_by_id(code.to_owned()).one(&self.db).await?;
        plan.map(Plan::from).ok_or_else(|| TenantError::UnknownPlan(code.to_owned()))
    }
}

fn checked_name(name: &str) -> Result<String, TenantError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
        return Err(invalid("name", "tenant_name", "a name has 1 to 200 characters and no line breaks"));
    }
    Ok(name.to_owned())
}

/// Digits only. A wrong check digit is let pass: hundreds of issued numbers have one.
fn checked_rnc(rnc: &str) -> Result<String, TenantError> {
    TaxpayerId::parse(rnc).map(|id| id.digits().to_owned()).map_err(|error| invalid("rnc", "rnc", format!("--rnc: {error}")))
}

/// http(s), without user and password in it (they would be stored in the open). Whether its network may be reached is looked at when
/// connecting, since that is a setting of the service.
fn checked_url(url: &Url) -> Result<String, TenantError> {
    let url = check_url(url, AddressPolicy::AllowPrivate).map_err(|error| invalid("url", "odoo_url", format!("the Odoo address: {}", error.message)))?;
    Ok(url.to_string())
}

fn tool_row(id: TenantId, tool: &str, edit: ToolEdit) -> client_tools::ActiveModel {
    client_tools::ActiveModel {
        client_id: Set(id.uuid()),
        tool: Set(tool.to_owned()),
        enabled: Set(edit.enabled.unwrap_or(true)),
        write_policy: Set(edit.write_policy.map(|policy| policy.as_str().to_owned())),
        rate_limit_per_hour: Set(i32::try_from(edit.calls_per_hour.unwrap_or(TOOL_CALLS_PER_HOUR_DEFAULT)).unwrap_or(i32::MAX)),
    }
}

fn tool_json(row: &client_tools::Model) -> Value {
    json!({ "enabled": row.enabled, "calls_per_hour": row.rate_limit_per_hour, "write_policy": row.write_policy })
}

/// What the audit may show of a tenant.
fn public_json(row: &clients::Model) -> Value {
    json!({
        "name": row.name, "rnc": row.rnc, "status": row.status, "plan": row.plan_code, "language": row.language, "timezone": row.timezone,
        "write_policy": row.write_policy, "odoo_url": row.odoo_url, "odoo_database": row.odoo_database, "odoo_login": row.odoo_login,
        "odoo_protocol": row.odoo_protocol, "odoo_personal": row.odoo_personal, "tool_calls_per_hour": row.tool_calls_per_hour,
    })
}
