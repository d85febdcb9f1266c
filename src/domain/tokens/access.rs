//! Access tokens of the authorization server (`domain/oauth`): what a grant allows becomes a [`Caller`].

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter};

use super::caller::CallerInner;
use super::{Caller, Kind, TokenRefusal, Tokens, well_formed_as};
use crate::db::entities::{memberships, oauth_grants, oauth_tokens, users};
use crate::domain::audit::hex;
use crate::domain::oauth::{ACCESS_PREFIX, list};
use crate::ids::{TenantId, TokenId, UserId};
use crate::text::Language;

/// What a caller has that an API token does not.
#[derive(Debug)]
pub(super) struct Access {
    /// In whose name; none for machines.
    pub(super) member: Option<UserId>,
    /// What it was made for.
    pub(super) resource: String,
    /// Tools that were taken out.
    pub(super) tools_off: Vec<String>,
    /// Its member may only look.
    pub(super) reads_only: bool,
}

impl Tokens {
    /// Checks a presented token of either kind: an API token, or an access token made for that resource.
    ///
    /// # Errors
    /// See [`TokenRefusal`].
    pub async fn verify_for(&self, presented: &str, resource: &str) -> Result<Caller, TokenRefusal> {
        if !well_formed_as(ACCESS_PREFIX, presented) {
            return self.verify(presented).await;
        }
        let caller = self.check(presented, Kind::Access).await?;
        if caller.inner.access.as_ref().is_some_and(|access| access.resource == resource) { Ok(caller) } else { Err(TokenRefusal::Audience) }
    }

    pub(super) async fn load_access(&self, hash: &[u8; 32]) -> Result<Caller, TokenRefusal> {
        let unavailable = |error: &dyn std::fmt::Display| TokenRefusal::Unavailable(error.to_string());
        let token = oauth_tokens::Entity::find_by_id(hex(hash)).one(&self.db).await.map_err(|error| unavailable(&error))?;
        let token = token.filter(|token| token.kind == "access").ok_or(TokenRefusal::Unknown)?;
        let grant = oauth_grants::Entity::find_by_id(token.grant_id).one(&self.db).await.map_err(|error| unavailable(&error))?.ok_or(TokenRefusal::Unknown)?;
        let (packs, end) = (list(&token.packs), token.expires_at.min(grant.expires_at));
        self.of_grant(grant, packs, end).await
    }

    /// The caller in whose name an owner approves a write that an agent with a grant asked for. As with API tokens: one that was revoked since is none,
    /// one that has ended was good when it asked.
    pub(super) async fn granted(&self, tenant: TenantId, token: TokenId) -> Result<Caller, TokenRefusal> {
        let grant = oauth_grants::Entity::find_by_id(token.uuid()).filter(oauth_grants::Column::ClientId.eq(tenant.uuid())).one(&self.db).await;
        let grant = grant.map_err(|error| TokenRefusal::Unavailable(error.to_string()))?.ok_or(TokenRefusal::Unknown)?;
        let (packs, end) = (list(&grant.packs), grant.expires_at);
        self.of_grant(grant, packs, end).await
    }

    async fn of_grant(&self, grant: oauth_grants::Model, packs: Vec<String>, expires_at: DateTime<Utc>) -> Result<Caller, TokenRefusal> {
        let unavailable = |error: &dyn std::fmt::Display| TokenRefusal::Unavailable(error.to_string());
        if grant.revoked_at.is_some() {
            return Err(TokenRefusal::Revoked);
        }
        let (language, reads_only) = match grant.user_id {
            Some(user) => {
                let person = person(&self.db, &grant, user).await.map_err(|error| unavailable(&error))?;
                let (language, reads_only) = person.ok_or(TokenRefusal::Revoked)?;
                (Some(language), reads_only)
            }
            None => (None, false),
        };
        let tenant = self.tenants.tenant_find(grant.client_id.into()).await.map_err(|error| unavailable(&error))?;
        let access = Access { member: grant.user_id.map(UserId::from), resource: grant.resource, tools_off: list(&grant.tools_off), reads_only };
        let inner =
            CallerInner { language: language.unwrap_or(tenant.language), tenant, token: grant.id.into(), packs: Some(packs), expires_at: Some(expires_at), access: Some(access) };
        Ok(Caller { inner: Arc::new(inner) })
    }
}

/// The language of a member who may still come in, and whether they may only look; none when they may not.
async fn person(db: &DatabaseConnection, grant: &oauth_grants::Model, user: uuid::Uuid) -> Result<Option<(Language, bool)>, DbErr> {
    let membership = memberships::Entity::find().filter(memberships::Column::ClientId.eq(grant.client_id)).filter(memberships::Column::UserId.eq(user)).one(db).await?;
    let person = users::Entity::find_by_id(user).filter(users::Column::Status.eq("active")).one(db).await?;
    Ok(membership.zip(person).map(|(membership, person)| (person.language.parse().unwrap_or_default(), membership.role != "owner")))
}
