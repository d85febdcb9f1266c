//! The people of a tenant.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, ModelTrait, QueryFilter, QuerySelect};
use serde_json::json;

use super::{AnyOperator, Level, TenantAccess, UserError, Users, invalid};
use crate::db::{
    self,
    entities::{memberships, users},
};
use crate::domain::audit::{self, Actor, Change};
use crate::domain::oauth;
use crate::ids::{TenantId, UserId};

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
    pub async fn member_list(&self, tenant: TenantId) -> Result<Vec<MemberView>, UserError> {
        let rows = memberships::Entity::find().filter(memberships::Column::ClientId.eq(tenant.uuid())).limit(MEMBERS_MAX).all(&self.db).await?;
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
    pub async fn member_remove(&self, by: &MemberBy, user: UserId) -> Result<(), UserError> {
        let (transaction, row) = self.member_locked(by, user, None).await?;
        let before = json!({ "user": user, "role": row.role });
        row.delete(&transaction).await?;
        let change = Change { tenant: Some(by.tenant), action: "member.remove", subject: user.to_string(), before: Some(before), after: None };
        audit::record(&transaction, &self.clock, &by.actor, change).await?;
        // The agents they let in go with them.
        oauth::revoke_of_member(&transaction, &self.clock, user, Some(by.tenant), &by.actor).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Makes somebody of a tenant its owner or viewer. The last owner stays one, unless an operator acts. The same level again changes nothing.
    ///
    /// # Errors
    /// They are not of this tenant, they are its last owner, no level that members have, or the database.
    pub async fn member_level(&self, by: &MemberBy, user: UserId, level: Level) -> Result<(), UserError> {
        if level == Level::Operator {
            return Err(invalid("level", "role"));
        }
        let (transaction, mut row) = self.member_locked(by, user, Some(level)).await?;
        if Level::of_membership(&row.role) == level {
            return Ok(());
        }
        let (before, after) = (json!({ "user": user, "role": row.role }), json!({ "user": user, "role": level.as_str() }));
        level.as_str().clone_into(&mut row.role);
        row.into_active_model().reset_all().update(&transaction).await?;
        let change = Change { tenant: Some(by.tenant), action: "member.edit", subject: user.to_string(), before: Some(before), after: Some(after) };
        audit::record(&transaction, &self.clock, &by.actor, change).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// A membership that is about to become that (none: to end), with all of the tenant's under the lock: of two owners who take each other out,
    /// the second finds the last one.
    async fn member_locked(&self, by: &MemberBy, user: UserId, becomes: Option<Level>) -> Result<(DatabaseTransaction, memberships::Model), UserError> {
        let transaction = db::begin_write(&self.db).await?;
        let rows = memberships::Entity::find().filter(memberships::Column::ClientId.eq(by.tenant.uuid())).lock_exclusive().all(&transaction).await?;
        let row = rows.iter().find(|row| row.user_id == user.uuid()).cloned().ok_or(UserError::Unknown("member"))?;
        let owners = rows.iter().filter(|row| Level::of_membership(&row.role) == Level::Owner).count();
        if !by.operator && owners == 1 && Level::of_membership(&row.role) == Level::Owner && becomes != Some(Level::Owner) {
            return Err(invalid("form", "last_owner"));
        }
        Ok((transaction, row))
    }
}

/// Who changes the people of a tenant: one of its owners, or an operator.
#[derive(Clone, Debug)]
pub struct MemberBy {
    tenant: TenantId,
    actor: Actor,
    operator: bool,
}

impl MemberBy {
    /// By somebody who may see the tenant; whether they may change it is the route's to check.
    #[must_use]
    pub fn access(access: &TenantAccess) -> Self {
        Self { tenant: access.tenant(), actor: access.actor(), operator: access.level() == Level::Operator }
    }

    /// By an operator or a program of theirs.
    #[must_use]
    pub fn operator(operator: &AnyOperator, tenant: TenantId) -> Self {
        Self { tenant, actor: operator.actor(), operator: true }
    }
}
