//! The people of a tenant.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, ModelTrait, QueryFilter, QuerySelect};
use serde_json::json;

use super::{Level, TenantAccess, UserError, Users};
use crate::db::{
    self,
    entities::{memberships, users},
};
use crate::domain::audit::{self, Change};
use crate::domain::oauth;
use crate::ids::UserId;

/// People of one tenant, as far as pages show them.
const MEMBERS_MAX: u64 = 500;

/// Somebody of a tenant.
#[derive(Clone, Debug)]
pub struct MemberView {
    /// Who.
    pub user: UserId,
    /// As they call themselves.
    pub name: String,
    /// E-mail address.
    pub email: String,
    /// What they may do.
    pub level: Level,
    /// Whether they can sign in.
    pub active: bool,
    /// Since when.
    pub since: DateTime<Utc>,
}

impl Users {
    /// The people of a tenant, by name.
    ///
    /// # Errors
    /// The database.
    pub async fn member_list(&self, access: &TenantAccess) -> Result<Vec<MemberView>, UserError> {
        let rows = memberships::Entity::find().filter(memberships::Column::ClientId.eq(access.tenant().uuid())).limit(MEMBERS_MAX).all(&self.db).await?;
        let people = users::Entity::find().filter(users::Column::Id.is_in(rows.iter().map(|row| row.user_id))).all(&self.db).await?;
        let mut list: Vec<MemberView> = rows
            .iter()
            .filter_map(|row| {
                let user = people.iter().find(|user| user.id == row.user_id)?;
                Some(MemberView {
                    user: user.id.into(),
                    name: user.name.clone(),
                    email: user.email.clone(),
                    level: Level::of_membership(&row.role),
                    active: user.status == "active",
                    since: row.created_at,
                })
            })
            .collect();
        list.sort_by(|a, b| (&a.name, &a.email).cmp(&(&b.name, &b.email)));
        Ok(list)
    }

    /// Takes somebody out of a tenant. The last owner stays, unless an operator acts.
    ///
    /// # Errors
    /// They are not of this tenant, they are its last owner, or the database.
    pub async fn member_remove(&self, access: &TenantAccess, user: UserId) -> Result<(), UserError> {
        let tenant = access.tenant();
        let transaction = db::begin_write(&self.db).await?;
        let rows = memberships::Entity::find().filter(memberships::Column::ClientId.eq(tenant.uuid())).lock_exclusive().all(&transaction).await?;
        let row = rows.iter().find(|row| row.user_id == user.uuid()).cloned().ok_or(UserError::Unknown("member"))?;
        let owners = rows.iter().filter(|row| Level::of_membership(&row.role) == Level::Owner).count();
        if access.level() < Level::Operator && owners == 1 && Level::of_membership(&row.role) == Level::Owner {
            return Err(super::invalid("form", "last_owner"));
        }
        let before = json!({ "user": user, "role": row.role });
        row.delete(&transaction).await?;
        let change = Change { tenant: Some(tenant), action: "member.remove", subject: user.to_string(), before: Some(before), after: None };
        audit::record(&transaction, &self.clock, &access.actor(), change).await?;
        // The agents they let in go with them.
        oauth::revoke_of_member(&transaction, &self.clock, user, Some(tenant), &access.actor()).await?;
        transaction.commit().await?;
        Ok(())
    }
}
