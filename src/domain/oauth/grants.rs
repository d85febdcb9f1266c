//! Grants: what members allowed programs, as lists show them; and their end.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, Select, Set};

use super::{OAuth, OAuthError, scopes};
use crate::clock::Clock;
use crate::db::{
    self,
    entities::{clients, oauth_grants, users},
};
use crate::domain::audit::{self, Actor, Change};
use crate::domain::users::{AnyOperator, TenantAccess, User};
use crate::ids::{GrantId, TenantId, UserId};

/// Grants on a page at most.
const LISTED_MAX: u64 = 500;
/// A grant whose code nobody changed is forgotten after so long, hours; one that ended, after so many days.
const UNTAKEN_H: i64 = 1;
const ENDED_D: i64 = 90;

/// A grant as lists show it.
#[derive(Clone, Debug)]
pub struct GrantView {
    /// Which.
    pub id: GrantId,
    /// What the program calls itself.
    pub application: String,
    /// Where it lives; none for machines.
    pub host: Option<String>,
    /// Whose it is, and what they call themselves; none for machines.
    pub member: Option<(UserId, String)>,
    /// For which tenant, and its name.
    pub tenant: (TenantId, String),
    /// Packs.
    pub packs: Vec<String>,
    /// Tools that were taken out.
    pub tools_off: Vec<String>,
    /// Allowed, UTC.
    pub created_at: DateTime<Utc>,
    /// Ends, UTC.
    pub expires_at: DateTime<Utc>,
    /// Last used, UTC.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl OAuth {
    /// The grants of a tenant that are alive, the newest first.
    ///
    /// # Errors
    /// The database.
    pub async fn grants_of_tenant(&self, access: &TenantAccess) -> Result<Vec<GrantView>, OAuthError> {
        self.shown(self.alive_of(access.tenant())).await
    }

    /// One's own grants that are alive, in all of one's tenants, the newest first.
    ///
    /// # Errors
    /// The database.
    pub async fn grants_of_user(&self, user: &User) -> Result<Vec<GrantView>, OAuthError> {
        self.shown(self.alive().filter(oauth_grants::Column::UserId.eq(user.id().uuid()))).await
    }

    /// For operators and their programs: the grants of a tenant that are alive, or of all, the newest first, some hundred at most.
    ///
    /// # Errors
    /// The database.
    pub async fn grants_seen(&self, _by: &AnyOperator, tenant: Option<TenantId>) -> Result<Vec<GrantView>, OAuthError> {
        self.shown(tenant.map_or_else(|| self.alive(), |tenant| self.alive_of(tenant))).await
    }

    /// Ends a grant of a tenant for an operator, or a program of theirs.
    ///
    /// # Errors
    /// There is no such grant, or the database.
    pub async fn grant_end(&self, by: &AnyOperator, tenant: TenantId, grant: GrantId) -> Result<(), OAuthError> {
        self.end(self.alive_of(tenant).filter(oauth_grants::Column::Id.eq(grant.uuid())), &by.actor()).await
    }

    /// Ends a grant of a tenant: an owner any, a viewer their own.
    ///
    /// # Errors
    /// There is no such grant that they may end, or the database.
    pub async fn grant_revoke(&self, access: &TenantAccess, grant: GrantId) -> Result<(), OAuthError> {
        let of = self.alive_of(access.tenant()).filter(oauth_grants::Column::Id.eq(grant.uuid()));
        let of = if access.may_change() { of } else { of.filter(oauth_grants::Column::UserId.eq(access.user().id().uuid())) };
        self.end(of, &access.actor()).await
    }

    /// Ends one of one's own.
    ///
    /// # Errors
    /// It is not one of theirs, or the database.
    pub async fn grant_revoke_own(&self, user: &User, grant: GrantId) -> Result<(), OAuthError> {
        self.end(self.alive().filter(oauth_grants::Column::UserId.eq(user.id().uuid())).filter(oauth_grants::Column::Id.eq(grant.uuid())), &user.actor()).await
    }

    fn alive(&self) -> Select<oauth_grants::Entity> {
        oauth_grants::Entity::find()
            .filter(oauth_grants::Column::RevokedAt.is_null())
            .filter(oauth_grants::Column::ActivatedAt.is_not_null())
            .filter(oauth_grants::Column::ExpiresAt.gt(self.clock.now()))
    }

    fn alive_of(&self, tenant: TenantId) -> Select<oauth_grants::Entity> {
        self.alive().filter(oauth_grants::Column::ClientId.eq(tenant.uuid()))
    }

    async fn end(&self, which: Select<oauth_grants::Entity>, actor: &Actor) -> Result<(), OAuthError> {
        let transaction = db::begin_write(&self.db).await?;
        let row = which.lock_exclusive().one(&transaction).await?.ok_or(OAuthError::Unknown("grant"))?;
        let tenants = revoke_rows(&transaction, &self.clock, vec![row], actor).await?;
        transaction.commit().await?;
        for tenant in tenants {
            self.tokens.forget(tenant);
        }
        Ok(())
    }

    async fn shown(&self, rows: Select<oauth_grants::Entity>) -> Result<Vec<GrantView>, OAuthError> {
        let rows = rows.order_by_desc(oauth_grants::Column::Id).limit(LISTED_MAX).all(&self.db).await?;
        let people: Vec<(uuid::Uuid, String)> = users::Entity::find()
            .select_only()
            .columns([users::Column::Id, users::Column::Name])
            .filter(users::Column::Id.is_in(rows.iter().filter_map(|row| row.user_id)))
            .into_tuple()
            .all(&self.db)
            .await?;
        let tenants: Vec<(uuid::Uuid, String)> = clients::Entity::find()
            .select_only()
            .columns([clients::Column::Id, clients::Column::Name])
            .filter(clients::Column::Id.is_in(rows.iter().map(|row| row.client_id)))
            .into_tuple()
            .all(&self.db)
            .await?;
        let name = |of: &[(uuid::Uuid, String)], id| of.iter().find(|(known, _)| *known == id).map(|(_, name)| name.clone()).unwrap_or_default();
        let view = |row: oauth_grants::Model| GrantView {
            id: row.id.into(),
            application: row.application,
            host: row.redirect_host,
            member: row.user_id.map(|id| (id.into(), name(&people, id))),
            tenant: (row.client_id.into(), name(&tenants, row.client_id)),
            packs: scopes::list(&row.packs),
            tools_off: scopes::list(&row.tools_off),
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: self.tokens.used_at(row.id).max(row.last_used_at),
        };
        Ok(rows.into_iter().map(view).collect())
    }

    pub(super) async fn grants_prune(&self) -> Result<(), DbErr> {
        let now = self.clock.now();
        let untaken = oauth_grants::Entity::delete_many().filter(oauth_grants::Column::ActivatedAt.is_null());
        untaken.filter(oauth_grants::Column::CreatedAt.lt(now - chrono::Duration::hours(UNTAKEN_H))).exec(&self.db).await?;
        let long_ago = now - chrono::Duration::days(ENDED_D);
        let ended = sea_orm::Condition::any().add(oauth_grants::Column::RevokedAt.lt(long_ago)).add(oauth_grants::Column::ExpiresAt.lt(long_ago));
        oauth_grants::Entity::delete_many().filter(ended).exec(&self.db).await?;
        Ok(())
    }
}

/// Ends these grants, with an audit row in the chain of each one's tenant, by which every running service hears of it. Gives the tenants.
pub(super) async fn revoke_rows(transaction: &DatabaseTransaction, clock: &Clock, rows: Vec<oauth_grants::Model>, actor: &Actor) -> Result<Vec<TenantId>, DbErr> {
    let mut tenants = Vec::new();
    for row in rows {
        let tenant = TenantId::from(row.client_id);
        let subject = GrantId::from(row.id).to_string();
        let before = serde_json::json!({ "application": row.application, "host": row.redirect_host, "packs": row.packs });
        let mut update = row.into_active_model();
        update.revoked_at = Set(Some(clock.now()));
        update.update(transaction).await?;
        audit::record(transaction, clock, actor, Change { tenant: Some(tenant), action: "oauth.revoke", subject, before: Some(before), after: None }).await?;
        tenants.push(tenant);
    }
    Ok(tenants)
}

/// Ends what somebody allowed, in one tenant or in all of them: they were taken out, or may not come in any more.
pub(in crate::domain) async fn revoke_of_member(transaction: &DatabaseTransaction, clock: &Clock, user: UserId, tenant: Option<TenantId>, actor: &Actor) -> Result<(), DbErr> {
    let mut rows = oauth_grants::Entity::find().filter(oauth_grants::Column::UserId.eq(user.uuid())).filter(oauth_grants::Column::RevokedAt.is_null());
    if let Some(tenant) = tenant {
        rows = rows.filter(oauth_grants::Column::ClientId.eq(tenant.uuid()));
    }
    // In one order, so that two who do this lock the chains alike.
    let rows = rows.order_by_asc(oauth_grants::Column::ClientId).order_by_asc(oauth_grants::Column::Id).all(transaction).await?;
    revoke_rows(transaction, clock, rows, actor).await?;
    Ok(())
}
