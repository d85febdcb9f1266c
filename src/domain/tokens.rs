//! API tokens: issue, verify, rotate, revoke. The only maker of a [`Caller`], also of one that comes with an access token (`access.rs`).
//!
//! A token is `dunet_live_<8 id>_<32 base62><6 checksum>`. Stored are the SHA-256 of the whole, the prefix and the last four
//! characters; the plain token is shown once. A typo is refused by the checksum before anything is looked up.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use moka::future::Cache;
use ring::digest::{SHA256, digest};
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseConnection, DbErr, EntityTrait, IntoActiveModel, QueryFilter, Set};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::time::Instant;

use super::audit::{self, Actor, Change, hex};
use super::epochs::Epochs;
use super::tenants::{Tenant, TenantError, Tenants};
use super::users::TenantAccess;
use crate::clock::{Clock, instant};
use crate::db::{self, entities::api_tokens};
use crate::ids::{TenantId, TokenId};
use crate::text::Language;

mod access;
mod caller;
mod list;
mod memory;
mod text;
mod used;

use caller::CallerInner;
pub use caller::{Caller, OdooAs};
pub use list::TokenPage;
pub use memory::TokenMemory;
pub use text::well_formed;
pub(super) use text::{ID_CHARS, generate_as, well_formed_as};
use text::{PREFIX, generate};
use used::Uses;

/// The longest grace a rotated token keeps working, seconds (7 days).
pub const ROTATION_GRACE_S_MAX: i64 = 7 * 24 * 3600;
/// A remembered token does not wait longer for the database than this; then the database counts as away for so long.
const AWAY_AFTER: Duration = Duration::from_secs(1);
const AWAY_FOR: Duration = Duration::from_secs(5);
/// The longest lifetime of a token, days (5 years).
pub const LIFETIME_DAYS_MAX: i64 = 5 * 366;

/// Why a token is refused. All but `Suspended` look the same to the outside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Not of our shape, or the checksum is wrong: a typo.
    #[error("malformed token")]
    Malformed,
    /// Nobody's.
    #[error("unknown token")]
    Unknown,
    /// Past its time.
    #[error("expired token")]
    Expired,
    /// Revoked.
    #[error("revoked token")]
    Revoked,
    /// Its tenant is suspended.
    #[error("suspended tenant")]
    Suspended,
    /// An access token that was made for another address.
    #[error("token of another audience")]
    Audience,
    /// The database did not answer: not the caller's fault.
    #[error("tokens cannot be checked now: {0}")]
    Unavailable(String),
}

/// What can go wrong with the management of tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// No such token for that tenant.
    #[error("no such token: {0} (`dunet token list --tenant ID` shows them)")]
    Unknown(String),
    /// A value that is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// The tenant.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// The database.
    #[error("database: {0}")]
    Db(#[from] DbErr),
}

/// A token about to be issued.
pub struct NewToken {
    /// For people.
    pub name: String,
    /// Packs to limit it to; none is all.
    pub packs: Option<Vec<String>>,
    /// Language; none follows the tenant.
    pub language: Option<Language>,
    /// End of its life.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A token just issued: the one time its text exists outside the caller's hands.
pub struct IssuedToken {
    /// Its id.
    pub id: TokenId,
    /// The text to show once.
    pub token: SecretString,
}

/// A token as lists show it.
#[derive(Clone, Debug)]
pub struct TokenView {
    /// Its id.
    pub id: TokenId,
    /// For people.
    pub name: String,
    /// `dunet_live_<8>…<4>`.
    pub hint: String,
    /// Packs.
    pub packs: Option<Vec<String>>,
    /// Made.
    pub created_at: DateTime<Utc>,
    /// Ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// Revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Last used.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Another token has taken its place.
    pub replaced: bool,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// A tenant's API token.
    Api,
    /// What the authorization server hands out.
    Access,
}

/// A token that was checked.
#[derive(Clone)]
struct Verified {
    caller: Caller,
    /// The epoch in which it was loaded.
    epoch: u64,
    at: Instant,
}

/// The operations on tokens, with the memory of verified ones. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    db: DatabaseConnection,
    tenants: Tenants,
    clock: Clock,
    verified: Cache<[u8; 32], Verified>,
    fresh_s: u64,
    /// The database did not answer; until then it is not asked about tokens that are remembered.
    away_until: Arc<Mutex<Option<Instant>>>,
    used: Uses,
    epochs: Epochs,
}

impl Tokens {
    /// Over that database; a verified token is believed for a while unless it is forgotten before.
    #[must_use]
    pub fn new(db: DatabaseConnection, tenants: Tenants, clock: Clock, memory: TokenMemory) -> Self {
        let verified = Cache::builder().max_capacity(memory.tokens_max).time_to_live(Duration::from_secs(memory.stale_s.max(memory.fresh_s))).build();
        Self { db, tenants, clock, verified, fresh_s: memory.fresh_s, away_until: Arc::default(), used: Uses::default(), epochs: Epochs::default() }
    }

    /// Checks a presented API token.
    ///
    /// # Errors
    /// See [`TokenRefusal`].
    pub async fn verify(&self, presented: &str) -> Result<Caller, TokenRefusal> {
        if well_formed(presented) { self.check(presented, Kind::Api).await } else { Err(TokenRefusal::Malformed) }
    }

    /// What is remembered, or what the database says; and what must be looked at every time.
    async fn check(&self, presented: &str, kind: Kind) -> Result<Caller, TokenRefusal> {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, presented.as_bytes()).as_ref());
        let remembered = self.verified.get(&hash).await.filter(|known| self.epochs.holds(known.caller.inner.tenant.id, known.epoch));
        let caller = match remembered {
            Some(known) if known.at.elapsed().as_secs() < self.fresh_s || self.is_away() => known.caller,
            known => self.load_or(known, &hash, kind).await?,
        };
        // Looked at every time: a remembered token does not outlive its end.
        let now = self.clock.now();
        if caller.inner.expires_at.is_some_and(|end| end <= now) {
            return Err(TokenRefusal::Expired);
        }
        if !caller.inner.tenant.active {
            return Err(TokenRefusal::Suspended);
        }
        self.used.note(kind, caller.inner.token.uuid(), now);
        Ok(caller)
    }

    /// The caller in whose name an owner approves a write. A token that was revoked since is none; one that has expired or was rotated was good
    /// when it asked.
    ///
    /// # Errors
    /// See [`TokenRefusal`]: unknown is also who does not decide for that tenant, or another tenant's token.
    pub async fn caller_approved(&self, access: &TenantAccess, token: TokenId) -> Result<Caller, TokenRefusal> {
        if !access.decides() {
            return Err(TokenRefusal::Unknown);
        }
        let row = api_tokens::Entity::find_by_id(token.uuid()).filter(api_tokens::Column::ClientId.eq(access.tenant().uuid())).one(&self.db).await;
        let caller = match row.map_err(|error| TokenRefusal::Unavailable(error.to_string()))? {
            Some(row) => self.caller(row).await?,
            None => self.granted(access.tenant(), token).await?,
        };
        if caller.inner.tenant.active { Ok(caller) } else { Err(TokenRefusal::Suspended) }
    }

    /// Forgets what is remembered of a tenant's tokens: the next call asks the database.
    pub fn forget(&self, tenant: TenantId) {
        self.epochs.forget(tenant);
    }

    /// Another number when something about the tenant changed: its tools, its plan, its tokens, its state.
    #[must_use]
    pub fn epoch(&self, tenant: TenantId) -> u64 {
        self.epochs.forgotten_at(tenant)
    }

    /// Issues a token.
    ///
    /// # Errors
    /// A blank name, an end in the past or too far away, no such tenant, or the database.
    pub async fn token_issue(&self, tenant: TenantId, new: NewToken, actor: &Actor) -> Result<IssuedToken, TokenError> {
        let tenant = self.tenants.tenant_find(tenant).await?;
        let name = new.name.trim();
        if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
            return Err(TokenError::Invalid("a token's name has 1 to 100 characters and no line breaks".to_owned()));
        }
        let now = self.clock.now();
        if new.expires_at.is_some_and(|end| end <= now || end > now + chrono::Duration::days(LIFETIME_DAYS_MAX)) {
            return Err(TokenError::Invalid(format!("a token ends in the future and within {LIFETIME_DAYS_MAX} days")));
        }
        let (plain, row) = make_row(&tenant, name, new.packs, new.language.unwrap_or(tenant.language), new.expires_at, None, now)?;
        let id = TokenId::from(row.id);
        let transaction = db::begin_write(&self.db).await?;
        let after = json!({ "name": row.name, "prefix": row.prefix, "packs": row.packs, "expires_at": row.expires_at });
        row.into_active_model().insert(&transaction).await?;
        let change = Change { tenant: Some(tenant.id), action: "token.issue", subject: id.to_string(), before: None, after: Some(after) };
        audit::record(&transaction, &self.clock, actor, change).await?;
        transaction.commit().await?;
        Ok(IssuedToken { id, token: plain })
    }

    /// Replaces a token by a new one of the same rights; the old one works for `grace_s` more seconds, never beyond its own end.
    ///
    /// # Errors
    /// Another tenant's or no token, one that is revoked or expired, a grace that is too long, or the database.
    pub async fn token_rotate(&self, tenant: TenantId, token: TokenId, grace_s: i64, actor: &Actor) -> Result<IssuedToken, TokenError> {
        if !(0..=ROTATION_GRACE_S_MAX).contains(&grace_s) {
            return Err(TokenError::Invalid(format!("a grace is between 0 and {ROTATION_GRACE_S_MAX} seconds")));
        }
        let owner = self.tenants.tenant_find(tenant).await?;
        let transaction = db::begin_write(&self.db).await?;
        let old = find(&transaction, tenant, token).await?;
        let now = self.clock.now();
        if old.revoked_at.is_some() || old.expires_at.is_some_and(|end| end <= now) {
            return Err(TokenError::Invalid("this token is revoked or expired: issue a new one".to_owned()));
        }
        let packs = packs_read(old.packs.as_ref());
        let language = old.language.parse().unwrap_or(owner.language);
        let (plain, row) = make_row(&owner, &old.name, packs, language, old.expires_at, Some(old.id), now)?;
        let id = TokenId::from(row.id);
        row.into_active_model().insert(&transaction).await?;
        let end = now + chrono::Duration::seconds(grace_s);
        let end = old.expires_at.map_or(end, |old_end| old_end.min(end));
        let mut update = old.clone().into_active_model();
        update.expires_at = Set(Some(end));
        update.update(&transaction).await?;
        let (before, after) = (json!({ "token": old.id, "expires_at": old.expires_at }), json!({ "token": id, "old_expires_at": end }));
        let change = Change { tenant: Some(tenant), action: "token.rotate", subject: token.to_string(), before: Some(before), after: Some(after) };
        audit::record(&transaction, &self.clock, actor, change).await?;
        transaction.commit().await?;
        self.forget(tenant);
        Ok(IssuedToken { id, token: plain })
    }

    /// Revokes a token for good. Revoking twice is fine.
    ///
    /// # Errors
    /// Another tenant's or no token, or the database.
    pub async fn token_revoke(&self, tenant: TenantId, token: TokenId, actor: &Actor) -> Result<(), TokenError> {
        let transaction = db::begin_write(&self.db).await?;
        let row = find(&transaction, tenant, token).await?;
        if row.revoked_at.is_none() {
            let now = self.clock.now();
            let mut update = row.into_active_model();
            update.revoked_at = Set(Some(now));
            update.update(&transaction).await?;
            let change = Change { tenant: Some(tenant), action: "token.revoke", subject: token.to_string(), before: None, after: None };
            audit::record(&transaction, &self.clock, actor, change).await?;
        }
        transaction.commit().await?;
        self.forget(tenant);
        Ok(())
    }

    /// Asks the database; when it does not answer, what is remembered is believed, so that calls go on without it.
    async fn load_or(&self, known: Option<Verified>, hash: &[u8; 32], kind: Kind) -> Result<Caller, TokenRefusal> {
        let epoch = self.epochs.now();
        let load = async {
            match kind {
                Kind::Api => self.load(hash).await,
                Kind::Access => self.load_access(hash).await,
            }
        };
        let loaded = match &known {
            None => load.await,
            Some(_) => tokio::time::timeout(AWAY_AFTER, load).await.unwrap_or_else(|_| Err(TokenRefusal::Unavailable("the database is slow".to_owned()))),
        };
        match (loaded, known) {
            (Ok(caller), _) => {
                self.verified.insert(*hash, Verified { caller: caller.clone(), epoch, at: instant() }).await;
                Ok(caller)
            }
            (Err(TokenRefusal::Unavailable(cause)), Some(known)) => {
                tracing::warn!(%cause, "tokens cannot be checked now: those that are remembered are believed");
                *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(instant() + AWAY_FOR);
                Ok(known.caller)
            }
            (Err(refusal), _) => {
                self.verified.invalidate(hash).await;
                Err(refusal)
            }
        }
    }

    fn is_away(&self) -> bool {
        self.away_until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| instant() < until)
    }

    async fn load(&self, hash: &[u8; 32]) -> Result<Caller, TokenRefusal> {
        let row = api_tokens::Entity::find().filter(api_tokens::Column::Hash.eq(hex(hash))).one(&self.db).await;
        self.caller(row.map_err(|error| TokenRefusal::Unavailable(error.to_string()))?.ok_or(TokenRefusal::Unknown)?).await
    }

    /// Of a token that was not revoked.
    async fn caller(&self, row: api_tokens::Model) -> Result<Caller, TokenRefusal> {
        if row.revoked_at.is_some() {
            return Err(TokenRefusal::Revoked);
        }
        let tenant = self.tenants.tenant_find(row.client_id.into()).await.map_err(|error| TokenRefusal::Unavailable(error.to_string()))?;
        let inner = CallerInner {
            language: row.language.parse().unwrap_or(tenant.language),
            tenant,
            token: row.id.into(),
            packs: packs_read(row.packs.as_ref()),
            expires_at: row.expires_at,
            access: None,
        };
        Ok(Caller { inner: Arc::new(inner) })
    }
}

async fn find(db: &impl sea_orm::ConnectionTrait, tenant: TenantId, token: TokenId) -> Result<api_tokens::Model, TokenError> {
    api_tokens::Entity::find_by_id(token.uuid()).filter(api_tokens::Column::ClientId.eq(tenant.uuid())).one(db).await?.ok_or_else(|| TokenError::Unknown(token.to_string()))
}

/// None is all packs; what cannot be read is none of them.
fn packs_read(packs: Option<&serde_json::Value>) -> Option<Vec<String>> {
    packs.filter(|packs| !packs.is_null()).map(|packs| serde_json::from_value(packs.clone()).unwrap_or_default())
}

fn make_row(
    tenant: &Tenant,
    name: &str,
    packs: Option<Vec<String>>,
    language: Language,
    expires_at: Option<DateTime<Utc>>,
    rotated_from: Option<uuid::Uuid>,
    now: DateTime<Utc>,
) -> Result<(SecretString, api_tokens::Model), TokenError> {
    let plain = generate().map_err(|()| TokenError::Invalid("this machine has no randomness".to_owned()))?;
    let text = plain.expose_secret();
    let row = api_tokens::Model {
        id: TokenId::new().uuid(),
        client_id: tenant.id.uuid(),
        name: name.to_owned(),
        prefix: text[..PREFIX.len() + ID_CHARS].to_owned(),
        last_four: text[text.len() - 4..].to_owned(),
        hash: hex(digest(&SHA256, text.as_bytes()).as_ref()),
        packs: packs.map(|packs| json!(packs)),
        language: language.as_str().to_owned(),
        expires_at,
        revoked_at: None,
        last_used_at: None,
        rotated_from,
        created_at: now,
    };
    Ok((plain, row))
}
