//! Operators' API keys: make, verify, revoke. The only maker of a [`KeyHolder`].
//!
//! A key is `dunet_op_<8 id>_<32 base62><6 checksum>`: a tenant's token with another beginning, so that neither is ever taken for the other.
//! Stored are the SHA-256 of the whole, its beginning and its last four characters; the key itself is shown once. It is looked up at every
//! request: operators' programs call seldom, and a revoked key must be refused at once.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use ring::digest::{SHA256, digest};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseConnection, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, Set};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::audit::{self, Actor, Change, hex};
use super::tokens::{ID_CHARS, generate_as, well_formed_as};
use crate::clock::Clock;
use crate::db::{self, entities::operator_keys};
use crate::ids::OperatorKeyId;

/// How a key begins.
pub const KEY_PREFIX: &str = "dunet_op_";
/// The longest lifetime of a key, days.
pub const KEY_DAYS_MAX: u16 = 2 * 366;
/// The longest name, characters.
const NAME_CHARS_MAX: usize = 100;
/// Its last use is written so often at most, seconds.
const USED_EVERY_S: i64 = 60;
/// Keys listed at most.
const KEYS_MAX: u64 = 1_000;

/// What can go wrong with the management of keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No such key.
    #[error("no such API key: {0} (`dunet admin api-key list` shows them)")]
    Unknown(OperatorKeyId),
    /// A value that is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// The database.
    #[error("database: {0}")]
    Db(#[from] DbErr),
}

/// Proof that a valid key of an operator was presented. Only [`OperatorKeys::verify`] makes one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeyHolder {
    actor: Arc<str>,
}

impl KeyHolder {
    /// Who a change is written down under: the key, not a person.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor(self.actor.as_ref().to_owned())
    }
}

/// A key just made: the one time its text exists outside the caller's hands.
pub struct MadeKey {
    /// Its id.
    pub id: OperatorKeyId,
    /// The text to show once.
    pub key: SecretString,
    /// Its end.
    pub expires_at: DateTime<Utc>,
}

/// A key as lists show it.
#[derive(Clone, Debug)]
pub struct KeyView {
    /// Its id.
    pub id: OperatorKeyId,
    /// For people.
    pub name: String,
    /// `dunet_op_<8>…<4>`.
    pub hint: String,
    /// Who made it.
    pub made_by: String,
    /// Made.
    pub created_at: DateTime<Utc>,
    /// Ends.
    pub expires_at: DateTime<Utc>,
    /// Revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// The operations on keys. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OperatorKeys {
    db: DatabaseConnection,
    clock: Clock,
}

impl OperatorKeys {
    /// Over that database.
    #[must_use]
    pub fn new(db: DatabaseConnection, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// Who holds that key; nobody when it is none of ours, revoked or past its end.
    ///
    /// # Errors
    /// The database.
    pub async fn verify(&self, presented: &str) -> Result<Option<KeyHolder>, DbErr> {
        if !well_formed_as(KEY_PREFIX, presented) {
            return Ok(None);
        }
        let Some(row) = operator_keys::Entity::find().filter(operator_keys::Column::Hash.eq(hash(presented))).one(&self.db).await? else { return Ok(None) };
        let now = self.clock.now();
        if row.revoked_at.is_some() || row.expires_at <= now {
            return Ok(None);
        }
        if row.last_used_at.is_none_or(|used| (now - used).num_seconds() >= USED_EVERY_S) {
            let used = operator_keys::Entity::update_many().col_expr(operator_keys::Column::LastUsedAt, Expr::value(now));
            used.filter(operator_keys::Column::Id.eq(row.id)).exec(&self.db).await?;
        }
        Ok(Some(KeyHolder { actor: format!("{} ({})", row.prefix, row.name).into() }))
    }

    /// Makes a key that works for so many days.
    ///
    /// # Errors
    /// A blank or long name, no days or too many, or the database.
    pub async fn key_make(&self, name: &str, days: u16, actor: &Actor) -> Result<MadeKey, KeyError> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            return Err(KeyError::Invalid(format!("a key's name has 1 to {NAME_CHARS_MAX} characters and no line breaks")));
        }
        if !(1..=KEY_DAYS_MAX).contains(&days) {
            return Err(KeyError::Invalid(format!("a key works for 1 to {KEY_DAYS_MAX} days")));
        }
        let key = generate_as(KEY_PREFIX).map_err(|()| KeyError::Invalid("this machine has no randomness".to_owned()))?;
        let text = key.expose_secret();
        let now = self.clock.now();
        let id = OperatorKeyId::new();
        let row = operator_keys::Model {
            id: id.uuid(),
            name: name.to_owned(),
            prefix: text[..KEY_PREFIX.len() + ID_CHARS].to_owned(),
            last_four: text[text.len() - 4..].to_owned(),
            hash: hash(text),
            made_by: actor.0.clone(),
            expires_at: now + chrono::Duration::days(i64::from(days)),
            revoked_at: None,
            last_used_at: None,
            created_at: now,
        };
        let expires_at = row.expires_at;
        let after = json!({ "name": row.name, "prefix": row.prefix, "expires_at": row.expires_at });
        let transaction = db::begin_write(&self.db).await?;
        row.into_active_model().insert(&transaction).await?;
        let change = Change { tenant: None, action: "operator_key.make", subject: id.to_string(), before: None, after: Some(after) };
        audit::record(&transaction, &self.clock, actor, change).await?;
        transaction.commit().await?;
        Ok(MadeKey { id, key, expires_at })
    }

    /// The keys, newest first.
    ///
    /// # Errors
    /// The database.
    pub async fn key_list(&self) -> Result<Vec<KeyView>, KeyError> {
        let rows = operator_keys::Entity::find().order_by_desc(operator_keys::Column::Id).limit(KEYS_MAX).all(&self.db).await?;
        Ok(rows.into_iter().map(view).collect())
    }

    /// Revokes a key for good, from its next use on. Revoking twice is fine.
    ///
    /// # Errors
    /// There is none, or the database.
    pub async fn key_revoke(&self, id: OperatorKeyId, actor: &Actor) -> Result<(), KeyError> {
        let transaction = db::begin_write(&self.db).await?;
        let row = operator_keys::Entity::find_by_id(id.uuid()).one(&transaction).await?.ok_or(KeyError::Unknown(id))?;
        if row.revoked_at.is_none() {
            let mut update = row.into_active_model();
            update.revoked_at = Set(Some(self.clock.now()));
            update.update(&transaction).await?;
            let change = Change { tenant: None, action: "operator_key.revoke", subject: id.to_string(), before: None, after: None };
            audit::record(&transaction, &self.clock, actor, change).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

fn hash(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

fn view(row: operator_keys::Model) -> KeyView {
    KeyView {
        id: row.id.into(),
        name: row.name,
        hint: format!("{}…{}", row.prefix, row.last_four),
        made_by: row.made_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
        last_used_at: row.last_used_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tokens::well_formed;

    #[test]
    fn a_key_is_no_token() {
        let key = generate_as(KEY_PREFIX).unwrap();
        let text = key.expose_secret();
        assert!(well_formed_as(KEY_PREFIX, text) && !well_formed(text), "{text}");
        for junk in ["", KEY_PREFIX, &text[1..], &format!("{text}x"), &text.replace("_op_", "_live_")] {
            assert!(!well_formed_as(KEY_PREFIX, junk), "{junk}");
        }
    }
}
