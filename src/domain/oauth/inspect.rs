//! A program asks about a token of its own (RFC 7662), or gives it back (RFC 7009).

use sea_orm::EntityTrait;

use super::applications::hash;
use super::exchange::{ACCESS, ClientProof};
use super::{ACCESS_PREFIX, Fault, OAuth, OAuthError, REFRESH_PREFIX, grants, refused, scopes};
use crate::db::{
    self,
    entities::{oauth_grants, oauth_tokens},
};
use crate::domain::audit::Actor;
use crate::domain::tokens::well_formed_as;

/// A token that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// What it is good for.
    pub scope: String,
    /// The program's client id.
    pub identifier: String,
    /// What for.
    pub resource: String,
    /// Whose grant it is.
    pub subject: String,
    /// Whether it is an access token.
    pub access: bool,
    /// Made and ends, Unix seconds.
    pub issued_at_s: i64,
    /// Ends, Unix seconds.
    pub expires_at_s: i64,
}

impl OAuth {
    /// What a token of that program is worth; none when it is nothing, or another's.
    ///
    /// # Errors
    /// The program has no secret or does not prove itself, or the database.
    pub async fn inspect(&self, proof: &ClientProof<'_>, token: &str) -> Result<Option<Inspected>, OAuthError> {
        let application = self.application_prove(proof).await?;
        if application.is_none_or(|application| application.secret_hash.is_none()) {
            return Err(refused(Fault::InvalidClient, "only a client with a secret may ask"));
        }
        let Some((token, grant)) = self.own(proof.identifier, token).await? else { return Ok(None) };
        let now = self.clock.now();
        let changed = token.kind != ACCESS && token.used_at.is_some();
        if token.expires_at <= now || grant.expires_at <= now || grant.revoked_at.is_some() || changed {
            return Ok(None);
        }
        Ok(Some(Inspected {
            scope: scopes::sent(&token.packs, false),
            identifier: grant.identifier,
            resource: grant.resource,
            subject: grant.user_id.unwrap_or(grant.id).to_string(),
            access: token.kind == ACCESS,
            issued_at_s: token.created_at.timestamp(),
            expires_at_s: token.expires_at.min(grant.expires_at).timestamp(),
        }))
    }

    /// Gives a token back: what it belongs to ends. A token that is nothing, or another's, is no error (RFC 7009 §2.2).
    ///
    /// # Errors
    /// The program does not prove itself, or the database.
    pub async fn give_back(&self, proof: &ClientProof<'_>, token: &str) -> Result<(), OAuthError> {
        self.application_prove(proof).await?;
        let Some((_, grant)) = self.own(proof.identifier, token).await? else { return Ok(()) };
        // A machine's grant is the operator's to end: its token just runs out.
        if grant.revoked_at.is_some() || grant.user_id.is_none() {
            return Ok(());
        }
        let actor = Actor(format!("{} (OAuth)", grant.application));
        let transaction = db::begin_write(&self.db).await?;
        let tenants = grants::revoke_rows(&transaction, &self.clock, vec![grant], &actor).await?;
        transaction.commit().await?;
        for tenant in tenants {
            self.tokens.forget(tenant);
        }
        Ok(())
    }

    async fn own(&self, identifier: &str, token: &str) -> Result<Option<(oauth_tokens::Model, oauth_grants::Model)>, OAuthError> {
        if !well_formed_as(ACCESS_PREFIX, token) && !well_formed_as(REFRESH_PREFIX, token) {
            return Ok(None);
        }
        let Some(token) = oauth_tokens::Entity::find_by_id(hash(token)).one(&self.db).await? else { return Ok(None) };
        let grant = oauth_grants::Entity::find_by_id(token.grant_id).one(&self.db).await?;
        Ok(grant.filter(|grant| grant.identifier == identifier).map(|grant| (token, grant)))
    }
}
