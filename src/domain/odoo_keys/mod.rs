//! The tenants' Odoo API keys: when each ends, as far as Odoo or its owner tells, and another in its place before it does (`renew.rs`).
//!
//! Odoo does not tell which of a user's keys one is using: it is known where there is only one, where all end alike, or where we made it.
//! What is known is about one sealed secret; of another one nothing is. A member's own key (`tenants/personal.rs`) is theirs to look after.

use std::collections::{HashMap, HashSet};
use std::time::Duration as Wait;

use chrono::{DateTime, Duration, NaiveDate, Utc};
use futures::StreamExt;
use ring::digest::{SHA256, digest};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait, FromQueryResult, IntoActiveModel, QueryFilter, QuerySelect, Set, Unchanged,
};
use serde_json::json;
use uuid::Uuid;

use super::audit::{self, Actor, Change};
use super::connections::{ConnectionError, Connections};
use super::reports::sql::Sql;
use super::tenants::{Tenant, TenantError, Tenants};
use super::vault::Vault;
use crate::clock::{Clock, day_start, instant};
use crate::db::{
    self,
    entities::{clients, odoo_keys},
};
use crate::ids::TenantId;
use crate::odoo::keys::{OwnKey, is_api_key};

mod outcome;
mod renew;

pub use outcome::{Outcome, Renewal};
pub use renew::By;

/// Odoo is asked so often, hours, and after a failure so soon again.
const ASKED_EVERY_H: i64 = 24;
const ASKED_AGAIN_H: i64 = 1;
/// Odoos asked in one go and at the same time, and how long one may take.
const ASKED_MAX: i64 = 20;
const ASKED_AT_ONCE: usize = 4;
const ASKED_WITHIN: Wait = Wait::from_secs(15);
/// The farthest end that may be typed, days.
const TYPED_DAYS_MAX: i64 = 3_660;

/// From where the end of a key is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Odoo told it. Without an end the key never ends.
    Odoo,
    /// An owner typed it.
    Typed,
    /// There are several keys, and Odoo does not tell which one this is.
    Several,
    /// The secret is a password, which does not end.
    Password,
    /// Nobody has told it yet.
    Unknown,
}

impl Source {
    const ALL: [Self; 5] = [Self::Odoo, Self::Typed, Self::Several, Self::Password, Self::Unknown];

    /// As stored, and the key of its sentence (`portal.odoo.key.<key>`).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Odoo => "odoo",
            Self::Typed => "typed",
            Self::Several => "several",
            Self::Password => "password",
            Self::Unknown => "unknown",
        }
    }
}

/// What is known of a tenant's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyView {
    /// From where.
    pub source: Source,
    /// When it ends, UTC.
    pub expires_at: Option<DateTime<Utc>>,
    /// Whole days until then; 0 when it has ended.
    pub days_left: Option<i64>,
    /// Whether it is renewed before.
    pub renew: bool,
    /// When Odoo was last asked, UTC.
    pub checked_at: Option<DateTime<Utc>>,
    /// What came of the last try to renew it.
    pub outcome: Option<Outcome>,
    /// When that was, UTC.
    pub tried_at: Option<DateTime<Utc>>,
    /// Odoo's own words about it.
    pub said: Option<String>,
}

/// Why something was not done with a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The day is not acceptable.
    #[error("a day between tomorrow and ten years from now")]
    Day,
    /// The tenant has no Odoo.
    #[error("no Odoo is connected")]
    NotConnected,
    /// The tenant.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// The database.
    #[error("database: {0}")]
    Db(#[from] DbErr),
}

/// What it is put together from.
pub struct KeyParts {
    /// The database.
    pub db: DatabaseConnection,
    /// Now.
    pub clock: Clock,
    /// Seals new keys.
    pub vault: Vault,
    /// Whose.
    pub tenants: Tenants,
    /// Their Odoos.
    pub connections: Connections,
    /// By then every process has forgotten the old key.
    pub settled_within: Wait,
}

/// The care of keys. Cheap to clone.
#[derive(Clone)]
pub struct OdooKeys {
    parts: std::sync::Arc<KeyParts>,
}

impl std::fmt::Debug for OdooKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OdooKeys")
    }
}

/// What Odoo tells, or the secret itself.
enum Told {
    Keys(Option<Vec<OwnKey>>),
    Password,
}

#[derive(FromQueryResult)]
struct Due {
    id: Uuid,
}

impl OdooKeys {
    /// Put together from that.
    #[must_use]
    pub fn new(parts: KeyParts) -> Self {
        Self { parts: std::sync::Arc::new(parts) }
    }

    /// What is known of a tenant's key. One query.
    ///
    /// # Errors
    /// The database.
    pub async fn view(&self, tenant: &Tenant) -> Result<KeyView, DbErr> {
        Ok(self.shown(&self.row(tenant).await?))
    }

    /// Asks the tenant's Odoo, and keeps what it tells of the key that was in use when it was asked.
    ///
    /// # Errors
    /// It does not answer (nothing is changed then but the time of the next look), there is none, or the database.
    pub async fn ask(&self, tenant: &Tenant) -> Result<KeyView, ConnectionError> {
        let internal = |error: DbErr| ConnectionError::Internal(error.to_string());
        let config = self.parts.connections.config(tenant)?;
        let told = if is_api_key(&config.secret) {
            let asked = async {
                let connection = self.parts.connections.get(tenant, None).await.map_err(|error| error.to_string())?;
                connection.client().with_deadline(instant() + ASKED_WITHIN).own_keys().await.map_err(|error| error.message)
            };
            asked.await.map(Told::Keys)
        } else {
            Ok(Told::Password)
        };
        let row = self.told(tenant, told.as_ref().ok()).await.map_err(internal)?;
        told.map_err(ConnectionError::Internal)?;
        row.map(|row| self.shown(&row)).ok_or(ConnectionError::NotConfigured)
    }

    /// Keeps what was told; nothing where Odoo did not answer. The row is read only now: while Odoo was waited for, an owner may have typed an end or the key
    /// may have been renewed, and that stays.
    async fn told(&self, tenant: &Tenant, told: Option<&Told>) -> Result<Option<odoo_keys::Model>, DbErr> {
        let now = self.parts.clock.now();
        let transaction = db::begin_write(&self.parts.db).await?;
        let Some(mut row) = self.locked(&transaction, tenant.id).await? else { return Ok(None) };
        if mark_of(tenant).is_some_and(|mark| mark == row.secret_mark) {
            match told {
                Some(Told::Password) => (row.source, row.expires_at, row.made_at, row.checked_at) = (Source::Password.as_str().to_owned(), None, None, Some(now)),
                Some(Told::Keys(keys)) => learn(&mut row, keys.as_deref(), now),
                None => row.checked_at = Some(now - Duration::hours(ASKED_EVERY_H - ASKED_AGAIN_H)),
            }
            let own = odoo_keys::ActiveModel {
                client_id: Unchanged(row.client_id),
                source: Set(row.source.clone()),
                expires_at: Set(row.expires_at),
                made_at: Set(row.made_at),
                name: Set(row.name.clone()),
                checked_at: Set(row.checked_at),
                ..Default::default()
            };
            own.update(&transaction).await?;
        }
        transaction.commit().await?;
        Ok(Some(row))
    }

    /// Asks those that were not asked for a day, or whose settings were changed since; some of them each time.
    ///
    /// # Errors
    /// The database.
    pub async fn ask_due(&self) -> Result<usize, DbErr> {
        let before = self.parts.clock.now() - Duration::hours(ASKED_EVERY_H);
        let mut sql = Sql::new(
            "select c.id as id from clients c left join odoo_keys k on k.client_id = c.id where c.status = 'active' and c.odoo_secret_sealed is not null \
             and (k.client_id is null or k.checked_at is null or k.checked_at <= c.updated_at or k.checked_at <= ",
        );
        sql.bind(before).push(") order by k.checked_at limit ").bind(ASKED_MAX);
        let due: Vec<Due> = sql.all(&self.parts.db).await?;
        let asked: Vec<_> = due.into_iter().map(|due| self.ask_one(due.id.into())).collect();
        Ok(futures::stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).collect::<Vec<()>>().await.len())
    }

    async fn ask_one(&self, tenant: TenantId) {
        let Ok(tenant) = self.parts.tenants.tenant_find(tenant).await else { return };
        if let Err(error) = self.ask(&tenant).await {
            tracing::debug!(tenant.id = %tenant.id, %error, "its Odoo does not tell when its key ends");
        }
    }

    /// An owner says on which day the key ends; none takes that back. Odoo's own word, where there is one, goes before it.
    ///
    /// # Errors
    /// No acceptable day, no Odoo, or the database.
    pub async fn typed(&self, tenant: &Tenant, day: Option<NaiveDate>, actor: &Actor) -> Result<(), KeyError> {
        if tenant.odoo.is_none() {
            return Err(KeyError::NotConnected);
        }
        let now = self.parts.clock.now();
        let ends = day.map(day_start);
        if ends.is_some_and(|ends| ends <= now || ends > now + Duration::days(TYPED_DAYS_MAX)) {
            return Err(KeyError::Day);
        }
        let transaction = db::begin_write(&self.parts.db).await?;
        let row = self.locked(&transaction, tenant.id).await?.ok_or(KeyError::NotConnected)?;
        let source = if ends.is_some() { Source::Typed } else { Source::Unknown };
        let own = odoo_keys::ActiveModel {
            client_id: Unchanged(row.client_id),
            source: Set(source.as_str().to_owned()),
            expires_at: Set(ends),
            made_at: Set(None),
            ..Default::default()
        };
        own.update(&transaction).await?;
        self.audited(&transaction, tenant.id, "odoo.key_end", json!({ "expires_at": row.expires_at }), json!({ "expires_at": ends }), actor).await?;
        Ok(transaction.commit().await?)
    }

    /// Whether the key is renewed before it ends.
    ///
    /// # Errors
    /// No Odoo, or the database.
    pub async fn renew_set(&self, tenant: &Tenant, renew: bool, actor: &Actor) -> Result<(), KeyError> {
        if tenant.odoo.is_none() {
            return Err(KeyError::NotConnected);
        }
        let transaction = db::begin_write(&self.parts.db).await?;
        let row = self.locked(&transaction, tenant.id).await?.ok_or(KeyError::NotConnected)?;
        if row.renew != renew {
            let own = odoo_keys::ActiveModel { client_id: Unchanged(row.client_id), renew: Set(renew), ..Default::default() };
            own.update(&transaction).await?;
            self.audited(&transaction, tenant.id, "odoo.key_renewal", json!({ "renew": !renew }), json!({ "renew": renew }), actor).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// The tenant, if it is served and that row is about the key that it has.
    pub(super) async fn fitting(&self, row: &odoo_keys::Model, tenant: TenantId) -> Result<Option<Tenant>, DbErr> {
        match self.parts.tenants.tenant_find(tenant).await {
            Ok(tenant) => Ok(Some(tenant).filter(|tenant| tenant.active && mark_of(tenant).is_some_and(|mark| mark == row.secret_mark))),
            Err(TenantError::Db(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Whose rows are about the key that an active tenant has. One query.
    pub(super) async fn current(&self, rows: &[odoo_keys::Model]) -> Result<HashSet<Uuid>, DbErr> {
        if rows.is_empty() {
            return Ok(HashSet::new());
        }
        let found: Vec<(Uuid, Option<String>)> = clients::Entity::find()
            .select_only()
            .columns([clients::Column::Id, clients::Column::OdooSecretSealed])
            .filter(clients::Column::Status.eq("active"))
            .filter(clients::Column::Id.is_in(rows.iter().map(|row| row.client_id)))
            .into_tuple()
            .all(&self.parts.db)
            .await?;
        let marks: HashMap<Uuid, String> = found.into_iter().filter_map(|(id, sealed)| Some((id, secret_mark(&sealed?)))).collect();
        Ok(rows.iter().filter(|row| marks.get(&row.client_id) == Some(&row.secret_mark)).map(|row| row.client_id).collect())
    }

    /// The row about the key that the tenant has now; of another key only the wish to renew is kept, and the key before until it is revoked.
    async fn row(&self, tenant: &Tenant) -> Result<odoo_keys::Model, DbErr> {
        let stored = odoo_keys::Entity::find_by_id(tenant.id.uuid()).one(&self.parts.db).await?;
        Ok(fitted(stored, tenant.id, mark_of(tenant).unwrap_or_default()))
    }

    /// The row about the key that the tenant has now, made where there is none. Until the transaction ends nobody else changes it, nor the key. None where
    /// there is no key. Whoever writes sets columns of their own only, so that nobody takes back what others wrote.
    async fn locked(&self, transaction: &DatabaseTransaction, tenant: TenantId) -> Result<Option<odoo_keys::Model>, DbErr> {
        let client = clients::Entity::find_by_id(tenant.uuid()).lock_exclusive().one(transaction).await?;
        let Some(sealed) = client.and_then(|client| client.odoo_secret_sealed) else { return Ok(None) };
        let mark = secret_mark(&sealed);
        let stored = odoo_keys::Entity::find_by_id(tenant.uuid()).one(transaction).await?;
        let fits = stored.as_ref().is_some_and(|row| row.secret_mark == mark);
        let row = fitted(stored, tenant, mark);
        if !fits {
            use odoo_keys::Column as C;
            let over = [C::SecretMark, C::Source, C::ExpiresAt, C::MadeAt, C::Name, C::CheckedAt, C::TriedAt, C::Outcome, C::Said];
            let over = OnConflict::column(C::ClientId).update_columns(over).to_owned();
            odoo_keys::Entity::insert(row.clone().into_active_model()).on_conflict(over).exec_without_returning(transaction).await?;
        }
        Ok(Some(row))
    }

    async fn audited(
        &self,
        transaction: &DatabaseTransaction,
        tenant: TenantId,
        action: &str,
        before: serde_json::Value,
        after: serde_json::Value,
        actor: &Actor,
    ) -> Result<(), DbErr> {
        let change = Change { tenant: Some(tenant), action, subject: tenant.to_string(), before: Some(before), after: Some(after) };
        audit::record(transaction, &self.parts.clock, actor, change).await
    }

    fn shown(&self, row: &odoo_keys::Model) -> KeyView {
        let now = self.parts.clock.now();
        KeyView {
            source: Source::ALL.into_iter().find(|source| source.as_str() == row.source).unwrap_or(Source::Unknown),
            expires_at: row.expires_at,
            days_left: row.expires_at.map(|ends| (ends - now).num_days().max(0)),
            renew: row.renew,
            checked_at: row.checked_at,
            outcome: row.outcome.as_deref().and_then(Outcome::known),
            tried_at: row.tried_at,
            said: row.said.clone(),
        }
    }
}

/// What is stored as it is about the key of that mark.
fn fitted(stored: Option<odoo_keys::Model>, tenant: TenantId, mark: String) -> odoo_keys::Model {
    match stored {
        Some(row) if row.secret_mark == mark => row,
        stored => odoo_keys::Model {
            client_id: tenant.uuid(),
            secret_mark: mark,
            source: Source::Unknown.as_str().to_owned(),
            expires_at: None,
            made_at: None,
            name: None,
            renew: stored.as_ref().is_some_and(|row| row.renew),
            checked_at: None,
            tried_at: None,
            outcome: None,
            said: None,
            claimed_until: stored.as_ref().and_then(|row| row.claimed_until),
            old_sealed: stored.and_then(|row| row.old_sealed),
        },
    }
}

/// What a row is about: the secret as it is sealed, without being opened.
fn mark_of(tenant: &Tenant) -> Option<String> {
    tenant.odoo.as_ref().map(|odoo| secret_mark(&odoo.secret.0))
}

fn secret_mark(sealed: &str) -> String {
    audit::hex(digest(&SHA256, sealed.as_bytes()).as_ref())
}

/// Takes over what Odoo tells; what an owner typed stays where Odoo cannot tell.
fn learn(row: &mut odoo_keys::Model, keys: Option<&[OwnKey]>, now: DateTime<Utc>) {
    row.checked_at = Some(now);
    let Some(keys) = keys else {
        // Keys of this Odoo do not end.
        (row.source, row.expires_at, row.made_at) = (Source::Odoo.as_str().to_owned(), None, None);
        return;
    };
    match ours(keys, row.name.as_deref().map(|name| (name, row.made_at)), now) {
        Some(key) => {
            (row.source, row.expires_at, row.made_at) = (Source::Odoo.as_str().to_owned(), key.expires_at, key.made_at);
            // The only one: it is known again when there are more.
            if keys.len() == 1 {
                row.name = Some(key.name.clone());
            }
        }
        None if row.source == Source::Typed.as_str() => {}
        None => {
            let source = if keys.is_empty() { Source::Unknown } else { Source::Several };
            (row.source, row.expires_at, row.made_at) = (source.as_str().to_owned(), None, None);
        }
    }
}

/// Which of the keys is the one in use; none when that cannot be known. `known` is the name it had, and when it was made. Those that have ended are
/// not: the one in use works.
#[must_use]
pub fn ours<'a>(keys: &'a [OwnKey], known: Option<(&str, Option<DateTime<Utc>>)>, now: DateTime<Utc>) -> Option<&'a OwnKey> {
    let live: Vec<&OwnKey> = keys.iter().filter(|key| key.expires_at.is_none_or(|ends| ends > now)).collect();
    if let Some((name, made_at)) = known
        && let Some(named) = live.iter().find(|key| key.name == name && (made_at.is_none() || made_at == key.made_at))
    {
        return Some(named);
    }
    let first = *live.first()?;
    live.iter().all(|key| key.expires_at == first.expires_at).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_key_it_is_is_known_or_said_not_to_be() {
        let now: DateTime<Utc> = "2026-11-22T12:00:00Z".parse().unwrap();
        let key = |id: i64, name: &str, days: Option<i64>| OwnKey { id, name: name.to_owned(), made_at: Some(now), expires_at: days.map(|days| now + Duration::days(days)) };
        let found = |keys: &[OwnKey], name: Option<&str>| ours(keys, name.map(|name| (name, Some(now))), now).map(|key| key.id);
        assert_eq!(found(&[], None), None);
        assert_eq!(found(&[key(1, "a", Some(3))], None), Some(1));
        assert_eq!(found(&[key(1, "a", Some(3)), key(2, "b", Some(4))], None), None, "two, and nobody says which");
        assert_eq!(found(&[key(1, "a", Some(3)), key(2, "b", Some(4))], Some("b")), Some(2), "we made it");
        assert_eq!(found(&[key(1, "a", Some(-3)), key(2, "b", Some(4))], None), Some(2), "one has ended");
        assert_eq!(found(&[key(1, "a", None), key(2, "b", None)], None), Some(1), "neither ends");
    }
}
