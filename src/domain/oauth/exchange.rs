//! Codes and refresh tokens are changed for tokens.
//!
//! A code works once; shown again, all that came of it ends. A refresh token is changed for another one each time. Hosted agents refresh from two
//! machines at once, and answers get lost: for a short while the same one may be changed again, for an equivalent pair. After that, whoever shows
//! it has a copy that they should not have, and the grant ends.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use ring::digest::{SHA256, digest};
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect, Set};
use secrecy::{ExposeSecret, SecretString};

use super::applications::{Application, hash};
use super::requests::same_resource;
use super::{ACCESS_PREFIX, ACCESS_S, CODE_PREFIX, Fault, OAuth, OAuthError, REFRESH_PREFIX, grants, refused, scopes};
use crate::db::{
    self,
    entities::{oauth_codes, oauth_grants, oauth_tokens},
};
use crate::domain::audit::Actor;
use crate::domain::tokens::{generate_as, well_formed_as};
use crate::ids::TenantId;

/// A refresh token that was changed may be changed again for so long, seconds.
pub(super) const GRACE_S: i64 = 30;
/// So often at most.
const SUCCESSORS_MAX: i32 = 5;
/// Tokens are kept so long after their end, and refresh tokens so long after their change: whoever shows one later is refused like anybody, days.
const KEPT_D: i64 = 1;
const CHANGED_KEPT_D: i64 = 30;
/// A verifier's length (RFC 7636 §4.1).
const VERIFIER_CHARS: std::ops::RangeInclusive<usize> = 43..=128;
pub(super) const ACCESS: &str = "access";
pub(super) const REFRESH: &str = "refresh";

/// Who asks for tokens.
pub struct ClientProof<'a> {
    /// The program's client id.
    pub identifier: &'a str,
    /// Its secret, if it showed one.
    pub secret: Option<&'a SecretString>,
}

/// Tokens just made: the one time their text exists outside the caller's hands.
pub struct Issued {
    /// For calls.
    pub access: SecretString,
    /// For the next ones; none where there is none.
    pub refresh: Option<SecretString>,
    /// The access token works for so long, seconds.
    pub expires_in_s: i64,
    /// What it is good for.
    pub scope: String,
}

impl OAuth {
    /// The program that proves to be one: by its secret if it has one. A program with a document needs no look at it here: what it was given is bound
    /// to its address, and to PKCE.
    ///
    /// # Errors
    /// Nobody we know, or not with that secret, or the database.
    pub async fn application_prove(&self, proof: &ClientProof<'_>) -> Result<Option<Application>, OAuthError> {
        if self.documents.address(proof.identifier).is_some() {
            return if proof.secret.is_none() { Ok(None) } else { Err(refused(Fault::InvalidClient, "a document's program has no secret")) };
        }
        let application = self.application_find(proof.identifier).await?;
        let wrong = || refused(Fault::InvalidClient, "unknown client, or not its secret");
        match (&application.secret_hash, proof.secret) {
            (None, None) => {}
            // Both are hashes of random secrets: how long the comparison takes tells nothing.
            (Some(stored), Some(shown)) if *stored == hash(shown.expose_secret()) => {}
            _ => return Err(wrong()),
        }
        Ok(Some(application))
    }

    /// A code for tokens.
    ///
    /// # Errors
    /// The program does not prove itself, the code is not good (any more) or not for it, or the database.
    pub async fn code_change(&self, proof: &ClientProof<'_>, code: &str, redirect_uri: Option<&str>, verifier: &str, resource: Option<&str>) -> Result<Issued, OAuthError> {
        self.application_prove(proof).await?;
        let bad = |about| refused(Fault::InvalidGrant, about);
        if !well_formed_as(CODE_PREFIX, code) {
            return Err(bad("no such code"));
        }
        let transaction = db::begin_write(&self.db).await?;
        let row = oauth_codes::Entity::find_by_id(hash(code)).lock_exclusive().one(&transaction).await?.ok_or_else(|| bad("no such code"))?;
        let grant = oauth_grants::Entity::find_by_id(row.grant_id).one(&transaction).await?.ok_or_else(|| bad("no such code"))?;
        if grant.identifier != proof.identifier {
            return Err(bad("the code is another client's"));
        }
        if row.used_at.is_some() {
            self.end_shown(transaction, grant, "a code was shown twice").await?;
            return Err(bad("the code was used: what came of it has ended"));
        }
        let now = self.clock.now();
        if row.expires_at <= now || grant.revoked_at.is_some() {
            return Err(bad("the code has ended"));
        }
        if redirect_uri.is_some_and(|uri| uri != row.redirect_uri) {
            return Err(bad("redirect_uri is not the one of the request"));
        }
        if !verifies(verifier, &row.challenge) {
            return Err(bad("code_verifier does not fit"));
        }
        self.target(&grant, resource)?;
        let mut used = row.into_active_model();
        used.used_at = Set(Some(now));
        used.update(&transaction).await?;
        let packs = grant.packs.clone();
        let issued = self.issue(&transaction, &grant, packs, now).await?;
        let mut active = grant.into_active_model();
        active.activated_at = Set(Some(now));
        active.update(&transaction).await?;
        transaction.commit().await?;
        Ok(issued)
    }

    /// A refresh token for new tokens.
    ///
    /// # Errors
    /// The program does not prove itself, the token is not good (any more) or not for it, more is asked for than was allowed, or the database.
    pub async fn refresh(&self, proof: &ClientProof<'_>, token: &str, scope: Option<&str>, resource: Option<&str>) -> Result<Issued, OAuthError> {
        self.application_prove(proof).await?;
        let bad = |about| refused(Fault::InvalidGrant, about);
        if !well_formed_as(REFRESH_PREFIX, token) {
            return Err(bad("no such refresh token"));
        }
        let transaction = db::begin_write(&self.db).await?;
        let row = oauth_tokens::Entity::find_by_id(hash(token)).lock_exclusive().one(&transaction).await?.filter(|row| row.kind == REFRESH);
        let row = row.ok_or_else(|| bad("no such refresh token"))?;
        let grant = oauth_grants::Entity::find_by_id(row.grant_id).one(&transaction).await?.ok_or_else(|| bad("no such refresh token"))?;
        if grant.identifier != proof.identifier {
            return Err(bad("the refresh token is another client's"));
        }
        let now = self.clock.now();
        if grant.revoked_at.is_some() || grant.expires_at <= now || row.expires_at <= now {
            return Err(bad("the refresh token has ended"));
        }
        if row.used_at.is_some_and(|used| (now - used).num_seconds() > GRACE_S) || row.successors >= SUCCESSORS_MAX {
            self.end_shown(transaction, grant, "a refresh token was shown again").await?;
            return Err(bad("the refresh token was used: what came of it has ended"));
        }
        self.target(&grant, resource)?;
        let packs = self.narrowed(&grant.packs, scope)?;
        let mut used = row.clone().into_active_model();
        used.used_at = Set(row.used_at.or(Some(now)));
        used.successors = Set(row.successors + 1);
        used.update(&transaction).await?;
        let issued = self.issue(&transaction, &grant, packs, now).await?;
        transaction.commit().await?;
        Ok(issued)
    }

    /// Tokens for a machine, which has a grant of its own.
    ///
    /// # Errors
    /// The program does not prove itself, or is no machine (any more), more is asked for than was allowed, or the database.
    pub async fn machine(&self, proof: &ClientProof<'_>, scope: Option<&str>, resource: Option<&str>) -> Result<Issued, OAuthError> {
        let not_allowed = || refused(Fault::UnauthorizedClient, "this client may not work without a person");
        let application = self.application_prove(proof).await?.filter(|application| application.machine).ok_or_else(not_allowed)?;
        let now = self.clock.now();
        let transaction = db::begin_write(&self.db).await?;
        let own = oauth_grants::Entity::find().filter(oauth_grants::Column::Identifier.eq(&application.identifier)).filter(oauth_grants::Column::UserId.is_null());
        let grant = own.filter(oauth_grants::Column::RevokedAt.is_null()).filter(oauth_grants::Column::ExpiresAt.gt(now)).one(&transaction).await?.ok_or_else(not_allowed)?;
        self.target(&grant, resource)?;
        let packs = self.narrowed(&grant.packs, scope)?;
        let issued = self.issue(&transaction, &grant, packs, now).await?;
        transaction.commit().await?;
        self.application_used(&application.identifier).await?;
        Ok(issued)
    }

    fn target(&self, grant: &oauth_grants::Model, resource: Option<&str>) -> Result<(), OAuthError> {
        if resource.is_none_or(|wanted| same_resource(wanted, &grant.resource)) { Ok(()) } else { Err(refused(Fault::InvalidTarget, "that is not what was allowed")) }
    }

    /// The packs asked for, if they were all allowed.
    fn narrowed(&self, granted: &str, scope: Option<&str>) -> Result<String, OAuthError> {
        let Some(scope) = scope.filter(|scope| !scope.trim().is_empty()) else { return Ok(granted.to_owned()) };
        let wanted = self.scopes_read(Some(scope))?;
        let all = scope.split_ascii_whitespace().all(|name| name == scopes::OFFLINE);
        let granted_packs = scopes::list(granted);
        if all {
            return Ok(granted.to_owned());
        }
        if wanted.packs.iter().any(|pack| !granted_packs.iter().any(|granted| granted == pack)) {
            return Err(refused(Fault::InvalidScope, "more than was allowed"));
        }
        Ok(wanted.packs.join(" "))
    }

    async fn issue(&self, transaction: &DatabaseTransaction, grant: &oauth_grants::Model, packs: String, now: DateTime<Utc>) -> Result<Issued, OAuthError> {
        let random = |prefix| generate_as(prefix).map_err(|()| OAuthError::Machine("this machine has no randomness"));
        let ends = grant.expires_at.min(now + chrono::Duration::seconds(ACCESS_S));
        let row = |token: &SecretString, kind: &str, packs: &str, expires_at| oauth_tokens::Model {
            hash: hash(token.expose_secret()),
            client_id: grant.client_id,
            grant_id: grant.id,
            kind: kind.to_owned(),
            packs: packs.to_owned(),
            expires_at,
            used_at: None,
            successors: 0,
            created_at: now,
        };
        let access = random(ACCESS_PREFIX)?;
        row(&access, ACCESS, &packs, ends).into_active_model().insert(transaction).await?;
        let refresh = if grant.refreshes { Some(random(REFRESH_PREFIX)?) } else { None };
        if let Some(refresh) = &refresh {
            row(refresh, REFRESH, &grant.packs, grant.expires_at).into_active_model().insert(transaction).await?;
        }
        Ok(Issued { access, scope: scopes::sent(&packs, refresh.is_some()), refresh, expires_in_s: (ends - now).num_seconds() })
    }

    /// Ends a grant because of what was shown; the refusal comes after.
    async fn end_shown(&self, transaction: DatabaseTransaction, grant: oauth_grants::Model, why: &'static str) -> Result<(), OAuthError> {
        let tenant = TenantId::from(grant.client_id);
        tracing::warn!(tenant.id = %tenant, grant.id = %grant.id, why, "a connection of an agent ends");
        if grant.revoked_at.is_none() {
            grants::revoke_rows(&transaction, &self.clock, vec![grant], &Actor::service()).await?;
        }
        transaction.commit().await?;
        self.tokens.forget(tenant);
        Ok(())
    }

    pub(super) async fn tokens_prune(&self) -> Result<(), DbErr> {
        let now = self.clock.now();
        oauth_codes::Entity::delete_many().filter(oauth_codes::Column::ExpiresAt.lt(now - chrono::Duration::days(KEPT_D))).exec(&self.db).await?;
        oauth_tokens::Entity::delete_many().filter(oauth_tokens::Column::ExpiresAt.lt(now - chrono::Duration::days(KEPT_D))).exec(&self.db).await?;
        oauth_tokens::Entity::delete_many().filter(oauth_tokens::Column::UsedAt.lt(now - chrono::Duration::days(CHANGED_KEPT_D))).exec(&self.db).await?;
        Ok(())
    }
}

/// RFC 7636 §4.6, S256.
fn verifies(verifier: &str, challenge: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    VERIFIER_CHARS.contains(&verifier.len()) && verifier.bytes().all(unreserved) && URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) == challenge
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_fits_its_challenge() {
        // RFC 7636, appendix B.
        let (verifier, challenge) = ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(verifies(verifier, challenge));
        assert!(!verifies(&verifier[1..], challenge) && !verifies(challenge, challenge) && !verifies("", ""));
        let short = "abc";
        assert!(!verifies(short, &URL_SAFE_NO_PAD.encode(digest(&SHA256, short.as_bytes()))));
    }
}
