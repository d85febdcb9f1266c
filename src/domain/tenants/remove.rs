//! Removing a tenant for good, and what is known of its Odoo secret without opening it.
//!
//! With the row go its tokens, permissions, operations, memberships and invitations (foreign keys), and its data key: what the vault sealed
//! for it can never be opened again. What outlives it: the audit, the statements, and its usage rows with their sums, since a statement must
//! stay explicable; these go with the retention of usage. Calls of the open month that no statement has yet can still be read in the metrics.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};

use super::{TenantError, Tenants, forget_everybodys, public_json};
use crate::db::{
    self,
    entities::{clients, logs},
};
use crate::domain::audit::{self, Actor, Change};
use crate::ids::TenantId;

/// Edits looked through for the last one of the secret.
const EDITS_LOOKED_AT: u64 = 100;

impl Tenants {
    /// Removes a tenant and all that is only its own. Whoever holds caches of it forgets them (`Tokens::forget`, `Connections::forget`).
    ///
    /// # Errors
    /// There is none, or the database.
    pub async fn tenant_delete(&self, id: TenantId, actor: &Actor) -> Result<(), TenantError> {
        let transaction = db::begin_write(&self.db).await?;
        let client = clients::Entity::find_by_id(id.uuid()).lock_exclusive().one(&transaction).await?.ok_or_else(|| TenantError::Unknown(id.to_string()))?;
        clients::Entity::delete_by_id(id.uuid()).exec(&transaction).await?;
        let change = Change { tenant: Some(id), action: "tenant.delete", subject: id.to_string(), before: Some(public_json(&client)), after: None };
        audit::record(&transaction, &self.clock, actor, change).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Takes a tenant's Odoo connection away, its secret and those of its people with it. One that has none stays as it is. Whoever holds caches of it forgets them.
    /// `version` is the one the editor saw.
    ///
    /// # Errors
    /// There is no such tenant, somebody else edited it meanwhile, or the database.
    pub async fn odoo_remove(&self, id: TenantId, version: Option<i32>, actor: &Actor) -> Result<(), TenantError> {
        let transaction = db::begin_write(&self.db).await?;
        let mut client = clients::Entity::find_by_id(id.uuid()).lock_exclusive().one(&transaction).await?.ok_or_else(|| TenantError::Unknown(id.to_string()))?;
        if version.is_some_and(|seen| seen != client.version) {
            return Err(TenantError::Stale);
        }
        if client.odoo_url.is_none() && client.odoo_secret_sealed.is_none() {
            return Ok(());
        }
        let before = public_json(&client);
        (client.odoo_url, client.odoo_database, client.odoo_login, client.odoo_secret_sealed) = (None, None, None, None);
        client.version += 1;
        client.updated_at = self.clock.now();
        forget_everybodys(&transaction, id).await?;
        let after = public_json(&client);
        client.into_active_model().reset_all().update(&transaction).await?;
        let change = Change { tenant: Some(id), action: "tenant.edit", subject: id.to_string(), before: Some(before), after: Some(after) };
        audit::record(&transaction, &self.clock, actor, change).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// When the tenant's Odoo secret was last given, as far as the last edits tell. One query.
    ///
    /// # Errors
    /// The database.
    pub async fn odoo_secret_saved_at(&self, id: TenantId) -> Result<Option<DateTime<Utc>>, TenantError> {
        let changes = logs::Entity::find().filter(logs::Column::ClientId.eq(id.uuid())).filter(logs::Column::Action.is_in(["tenant.add", "tenant.edit"]));
        let rows = changes.order_by_desc(logs::Column::Id).limit(EDITS_LOOKED_AT).all(&self.db).await?;
        let gave = |row: &logs::Model| {
            let after = row.after.as_ref();
            let field = |name: &str| after.and_then(|after| after.get(name)).is_some_and(|value| !value.is_null());
            field("odoo_secret") || (row.action == "tenant.add" && field("odoo_url"))
        };
        Ok(rows.iter().find(|row| gave(row)).map(|row| row.created_at))
    }
}
