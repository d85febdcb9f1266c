//! Another key in the place of the one that ends. The new one is made, tried and sealed before the old one is let go; whatever fails, the old one
//! stays. What Odoo may have made without our hearing of it is said, and never asked for again by itself.
//!
//! By itself: `res.users.apikeys.generate` and `.revoke`, where this Odoo has them and lets the user. The old key is revoked some minutes later, when no process
//! uses it any more; its sealed text stays in the row until then. With a person's password: over a session of the web client, the old one is removed at once
//! where it is known which one it is.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, Set, Unchanged};
use secrecy::SecretString;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::outcome::{Failed, Outcome, Renewal};
use super::{KeyError, OdooKeys, Source, mark_of, ours, secret_mark};
use crate::clock::instant;
use crate::db::{
    self,
    entities::{clients, odoo_keys},
};
use crate::domain::audit::{self, Actor, Change};
use crate::domain::connections::Connection;
use crate::domain::tenants::{ODOO_SECRET_FIELD, Tenant};
use crate::domain::vault::Sealed;
use crate::ids::TenantId;
use crate::odoo::keys::{KeyByPassword, KeyByPasswordError, OwnKey, is_api_key};
use crate::odoo::{OdooClient, OdooConfig, OdooErrorKind};

/// A key is renewed when so much is left: of its life, and at most days.
const LEFT_PART: i32 = 3;
const LEFT_DAYS_MAX: i64 = 15;
/// After a failure it is tried again so much later, hours.
const AGAIN_H: i64 = 24;
/// Whoever renews a key has so long, minutes.
const CLAIM_MIN: i64 = 10;
/// The old key is revoked so much later, minutes: until then other processes may use it.
const REVOKE_MIN: i64 = 5;
/// Lives that are asked for when Odoo refuses longer ones, days.
const LIVES: [i64; 4] = [90, 30, 7, 1];
const LIFE_DAYS_MAX: i64 = 365;
/// Keys renewed, or revoked, in one go.
const AT_ONCE_MAX: u64 = 20;
/// The longest time for one request.
const WITHIN: std::time::Duration = std::time::Duration::from_secs(20);
/// Odoo's own words that are kept, characters.
const SAID_CHARS_MAX: usize = 300;

/// By which right a key is made.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// By the key itself.
    Itself,
    /// By the password of the Odoo user, which is kept nowhere.
    Password(&'a SecretString),
}

/// A key that was made, and how the old one is let go.
struct Made<'a> {
    key: SecretString,
    /// Whose it has to be.
    uid: i64,
    by: Right<'a>,
    old: Option<i64>,
}

/// By what it was made.
enum Right<'a> {
    Key(Arc<Connection>),
    Password(KeyByPassword<'a>, &'a SecretString),
}

impl OdooKeys {
    /// Renews those that their owners want renewed and that end soon; with what came of each that was tried. After `stop` none is begun.
    ///
    /// # Errors
    /// The database.
    pub async fn renew_due(&self, stop: &CancellationToken) -> Result<Vec<(TenantId, DateTime<Utc>, Renewal)>, DbErr> {
        let now = self.parts.clock.now();
        let rows = odoo_keys::Entity::find().filter(odoo_keys::Column::Renew.eq(true)).filter(odoo_keys::Column::ExpiresAt.gt(now));
        let rows = rows.filter(odoo_keys::Column::ExpiresAt.lte(now + Duration::days(LEFT_DAYS_MAX))).order_by_asc(odoo_keys::Column::ExpiresAt).all(&self.parts.db).await?;
        let mut renewed = Vec::new();
        for row in rows {
            let Some(ends) = row.expires_at.filter(|ends| is_due(&row, *ends, now)) else { continue };
            let Some(tenant) = self.fitting(&row, row.client_id.into()).await? else { continue };
            if renewed.len() as u64 >= AT_ONCE_MAX || stop.is_cancelled() {
                break;
            }
            match self.renew(&tenant, By::Itself, &Actor::service()).await {
                Ok(renewal) if renewal.outcome == Outcome::Busy => {}
                Ok(renewal) => renewed.push((tenant.id, ends, renewal)),
                Err(error) => tracing::warn!(tenant.id = %tenant.id, %error, "an Odoo key could not be renewed"),
            }
        }
        Ok(renewed)
    }

    /// Revokes old keys whose successors are in use everywhere by now.
    ///
    /// # Errors
    /// The database.
    pub async fn revoke_due(&self) -> Result<usize, DbErr> {
        let before = self.parts.clock.now() - Duration::minutes(REVOKE_MIN);
        let rows = odoo_keys::Entity::find()
            .filter(odoo_keys::Column::OldSealed.is_not_null())
            .filter(odoo_keys::Column::TriedAt.lte(before))
            .limit(AT_ONCE_MAX)
            .all(&self.parts.db)
            .await?;
        let mut revoked = 0;
        for row in rows {
            let Some(tenant) = self.fitting(&row, row.client_id.into()).await? else { continue };
            let Some(old) = row.old_sealed.clone() else { continue };
            let Ok(key) = self.parts.vault.open(tenant.id, &tenant.data_key, ODOO_SECRET_FIELD, &Sealed(old.clone())) else { continue };
            let Ok(connection) = self.parts.connections.get(&tenant, None).await else { continue };
            let client = connection.client().with_deadline(instant() + WITHIN);
            let outcome = match client.key_revoke(&key).await {
                Ok(()) => Outcome::Renewed,
                // It may be none any more (ended, or removed by somebody), or may not be revoked so. Or the new one is the one that is gone: then this is the
                // only copy of the old one, and it stays.
                Err(error) if refuses(&error.kind) => match client.own_keys().await {
                    // Only the one that asks.
                    Ok(Some(keys)) if keys.len() == 1 => Outcome::Renewed,
                    Ok(_) => Outcome::RenewedOldStays,
                    Err(_) => continue,
                },
                // Twice is fine: the second time it is gone.
                Err(_) => continue,
            };
            let transaction = db::begin_write(&self.parts.db).await?;
            let update = odoo_keys::Entity::update_many()
                .col_expr(odoo_keys::Column::OldSealed, Expr::value(Option::<String>::None))
                .col_expr(odoo_keys::Column::Outcome, Expr::value(outcome.as_str()))
                .filter(odoo_keys::Column::ClientId.eq(row.client_id))
                .filter(odoo_keys::Column::OldSealed.eq(old));
            if update.exec(&transaction).await?.rows_affected == 1 {
                let after = json!({ "outcome": outcome.as_str() });
                let change = Change { tenant: Some(tenant.id), action: "odoo.key_revoke", subject: tenant.id.to_string(), before: None, after: Some(after) };
                audit::record(&transaction, &self.parts.clock, &Actor::service(), change).await?;
                revoked += 1;
            }
            transaction.commit().await?;
        }
        Ok(revoked)
    }

    /// Renews the tenant's key now. What came of it stands in the row and in the audit, whatever it is; not where somebody else was there first.
    ///
    /// # Errors
    /// There is no Odoo, or the database: the old key stays.
    pub async fn renew(&self, tenant: &Tenant, by: By<'_>, actor: &Actor) -> Result<Renewal, KeyError> {
        let config = self.parts.connections.config(tenant).map_err(|_| KeyError::NotConnected)?;
        let now = self.parts.clock.now();
        // Claimed before anything is looked at: what is read then nobody else renews.
        let transaction = db::begin_write(&self.parts.db).await?;
        let row = self.locked(&transaction, tenant.id).await?.ok_or(KeyError::NotConnected)?;
        let taken = |outcome| Ok(Renewal { outcome, said: String::new(), expires_at: row.expires_at });
        if row.claimed_until.is_some_and(|until| until >= now) {
            return taken(Outcome::Busy);
        }
        if mark_of(tenant).is_none_or(|mark| mark != row.secret_mark) {
            return taken(Outcome::Edited);
        }
        let claim = odoo_keys::ActiveModel { client_id: Unchanged(row.client_id), claimed_until: Set(Some(now + Duration::minutes(CLAIM_MIN))), ..Default::default() };
        claim.update(&transaction).await?;
        transaction.commit().await?;
        let renewal = match self.renewed(tenant, &config, &row, by, actor).await {
            Ok(renewal) => renewal,
            Err(Failed { outcome, said }) => {
                let said: String = said.chars().take(SAID_CHARS_MAX).collect();
                self.failed(&row, tenant.id, outcome, &said, actor).await?;
                Renewal { outcome, said, expires_at: row.expires_at }
            }
        };
        let free = odoo_keys::Entity::update_many().col_expr(odoo_keys::Column::ClaimedUntil, Expr::value(Option::<DateTime<Utc>>::None));
        free.filter(odoo_keys::Column::ClientId.eq(tenant.id.uuid())).exec(&self.parts.db).await?;
        Ok(renewal)
    }

    /// Writes down what came of it, in the row only if that is about the same key still.
    async fn failed(&self, row: &odoo_keys::Model, tenant: TenantId, outcome: Outcome, said: &str, actor: &Actor) -> Result<(), DbErr> {
        let transaction = db::begin_write(&self.parts.db).await?;
        odoo_keys::Entity::update_many()
            .col_expr(odoo_keys::Column::TriedAt, Expr::value(Some(self.parts.clock.now())))
            .col_expr(odoo_keys::Column::Outcome, Expr::value(outcome.as_str()))
            .col_expr(odoo_keys::Column::Said, Expr::value(Some(said.to_owned()).filter(|said| !said.is_empty())))
            .filter(odoo_keys::Column::ClientId.eq(row.client_id))
            .filter(odoo_keys::Column::SecretMark.eq(row.secret_mark.as_str()))
            .exec(&transaction)
            .await?;
        self.audited(&transaction, tenant, "odoo.key_renew", json!({}), json!({ "outcome": outcome.as_str(), "said": said }), actor).await?;
        transaction.commit().await
    }

    async fn renewed(&self, tenant: &Tenant, config: &OdooConfig, row: &odoo_keys::Model, by: By<'_>, actor: &Actor) -> Result<Renewal, Failed> {
        let now = self.parts.clock.now();
        let random = uuid::Uuid::new_v4().simple().to_string();
        let name = format!("Dunet {} {}", now.format("%Y-%m-%d"), &random[..8]);
        let mut made = match by {
            By::Itself if !is_api_key(&config.secret) => return Err(Failed::new(Outcome::NoKey, "")),
            By::Itself => {
                let connection = self.parts.connections.get(tenant, None).await.map_err(|error| Failed::new(Outcome::Unanswered, error.to_string()))?;
                let key = made_by_itself(connection.client(), config, row, &name, now).await?;
                Made { key, uid: connection.client().uid(), by: Right::Key(connection), old: None }
            }
            // Without the stored key, which may have ended: that is when it is needed most.
            By::Password(password) => made_by_password(config, row, password, &name, now).await?,
        };
        // Tried before anything is let go.
        let tried = OdooClient::connect(OdooConfig { secret: made.key.clone(), ..config.clone() }).await;
        let new = match tried {
            Ok(new) if new.uid() == made.uid => new,
            other => {
                let said = other.err().map(|error| error.message).unwrap_or_default();
                let_go(&mut made, &name).await;
                return Err(Failed::new(Outcome::NewKeyFails, said));
            }
        };
        let keys = new.own_keys().await.ok().flatten().unwrap_or_default();
        let facts = keys.iter().find(|key| key.name == name).cloned();
        let by_itself = matches!(made.by, Right::Key(_));
        let swapped = self.swapped(tenant, row, &made.key, &name, facts.as_ref(), by_itself, actor).await;
        if let Err(failed) = swapped {
            // The new key may be the one that is in use: then both stay.
            if failed.outcome == Outcome::Unknown {
                tracing::error!(tenant.id = %tenant.id, key = name, "whether the new Odoo key is in use is not known: both stay");
                self.parts.connections.forget(tenant.id);
            } else {
                let_go(&mut made, &name).await;
            }
            return Err(failed);
        }
        self.parts.connections.forget(tenant.id);
        let mut outcome = Outcome::Renewed;
        if let (Right::Password(session, password), old) = (&mut made.by, made.old) {
            // By then no process signs in with the old one.
            tokio::time::sleep(self.parts.settled_within).await;
            let removed = match old {
                Some(old) => session.remove(password, old).await.is_ok(),
                None => !is_api_key(&config.secret),
            };
            if !removed {
                outcome = Outcome::RenewedOldStays;
                let stays = odoo_keys::Entity::update_many().col_expr(odoo_keys::Column::Outcome, Expr::value(outcome.as_str()));
                if let Err(error) = stays.filter(odoo_keys::Column::ClientId.eq(tenant.id.uuid())).exec(&self.parts.db).await {
                    tracing::warn!(tenant.id = %tenant.id, %error, "that the old Odoo key stays could not be written down");
                }
            }
        }
        tracing::info!(tenant.id = %tenant.id, outcome = outcome.as_str(), "the tenant's Odoo key was renewed");
        Ok(Renewal { outcome, said: String::new(), expires_at: facts.and_then(|key| key.expires_at) })
    }

    /// Seals the new key in the place of the old one, if that is still there.
    #[expect(clippy::too_many_arguments, reason = "one change with all its parts")]
    async fn swapped(
        &self,
        tenant: &Tenant,
        row: &odoo_keys::Model,
        key: &SecretString,
        name: &str,
        facts: Option<&OwnKey>,
        revoke_later: bool,
        actor: &Actor,
    ) -> Result<(), Failed> {
        let now = self.parts.clock.now();
        let sealed = self.parts.vault.seal(tenant.id, &tenant.data_key, ODOO_SECRET_FIELD, key).map_err(|error| Failed::new(Outcome::NewKeyFails, error.to_string()))?;
        let transaction = db::begin_write(&self.parts.db).await?;
        let found = clients::Entity::find_by_id(tenant.id.uuid()).lock_exclusive().one(&transaction).await?;
        let old = tenant.odoo.as_ref().map(|odoo| odoo.secret.0.clone());
        // The row is about the key that is replaced: `renew` made it so, and whoever edits the connection edits the client.
        let Some(mut client) = found.filter(|client| client.odoo_secret_sealed == old) else { return Err(Failed::new(Outcome::Edited, "")) };
        client.odoo_secret_sealed = Some(sealed.0.clone());
        client.updated_at = now;
        client.into_active_model().reset_all().update(&transaction).await?;
        // Not the wish to renew, nor the claim.
        let new = odoo_keys::ActiveModel {
            client_id: Unchanged(row.client_id),
            secret_mark: Set(secret_mark(&sealed.0)),
            source: Set(if facts.is_some() { Source::Odoo } else { Source::Unknown }.as_str().to_owned()),
            expires_at: Set(facts.and_then(|key| key.expires_at)),
            made_at: Set(facts.and_then(|key| key.made_at)),
            name: Set(Some(name.to_owned())),
            checked_at: Set(Some(now)),
            tried_at: Set(Some(now)),
            outcome: Set(Some(Outcome::Renewed.as_str().to_owned())),
            said: Set(None),
            old_sealed: Set(old.filter(|_| revoke_later)),
            ..Default::default()
        };
        new.update(&transaction).await?;
        let after = json!({ "outcome": Outcome::Renewed.as_str(), "odoo_secret": "replaced", "name": name, "expires_at": facts.and_then(|key| key.expires_at) });
        let change =
            Change { tenant: Some(tenant.id), action: "odoo.key_renew", subject: tenant.id.to_string(), before: Some(json!({ "expires_at": row.expires_at })), after: Some(after) };
        audit::record(&transaction, &self.parts.clock, actor, change).await?;
        match transaction.commit().await {
            Ok(()) => Ok(()),
            Err(error) => self.stands(tenant.id, &sealed.0, error).await,
        }
    }

    /// Whether the new key stands there although the answer to the commit was an error: the database may have ended behind it. The lock waits for a
    /// transaction that is still under way.
    async fn stands(&self, tenant: TenantId, sealed: &str, error: DbErr) -> Result<(), Failed> {
        let look = async {
            let transaction = db::begin_write(&self.parts.db).await?;
            let client = clients::Entity::find_by_id(tenant.uuid()).lock_exclusive().one(&transaction).await?;
            transaction.rollback().await?;
            Ok::<_, DbErr>(client)
        };
        match look.await {
            Ok(Some(client)) if client.odoo_secret_sealed.as_deref() == Some(sealed) => Ok(()),
            Ok(_) => Err(error.into()),
            Err(_) => Err(Failed::new(Outcome::Unknown, error.to_string())),
        }
    }
}

/// A key that was made and is not used is taken back, as far as that goes: it would end by itself.
async fn let_go(made: &mut Made<'_>, name: &str) {
    let gone = match &mut made.by {
        Right::Key(connection) => connection.client().with_deadline(instant() + WITHIN).key_revoke(&made.key).await.is_ok(),
        Right::Password(session, password) => match session.keys().await.ok().and_then(|keys| keys.iter().find(|key| key.name == name).map(|key| key.id)) {
            Some(id) => session.remove(password, id).await.is_ok(),
            None => false,
        },
    };
    if !gone {
        tracing::warn!(key = name, "a new Odoo key that is not used could not be revoked: it ends by itself");
    }
}

/// Whether Odoo said no, and would again.
fn refuses(kind: &OdooErrorKind) -> bool {
    matches!(kind, OdooErrorKind::AccessDenied | OdooErrorKind::BadCredentials | OdooErrorKind::Validation | OdooErrorKind::UnknownMethod)
}

/// Whether it is time, and not too soon after a failure. What may have made a key unheard is not repeated.
fn is_due(row: &odoo_keys::Model, ends: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    let part = row.made_at.map_or(Duration::days(LEFT_DAYS_MAX), |made| (ends - made) / LEFT_PART);
    let soon = ends - now <= part.min(Duration::days(LEFT_DAYS_MAX));
    let failed = row.outcome.as_deref().and_then(Outcome::known).filter(|outcome| !outcome.is_renewed());
    let again = failed.is_none_or(|outcome| outcome != Outcome::Unknown && row.tried_at.is_none_or(|at| now - at >= Duration::hours(AGAIN_H)));
    soon && again
}

/// As long as the old one was to last, else shorter and shorter: how long Odoo allows is the user's groups' matter, and it says so only by refusing.
async fn made_by_itself(client: &OdooClient, config: &OdooConfig, row: &odoo_keys::Model, name: &str, now: DateTime<Utc>) -> Result<SecretString, Failed> {
    let life = row.expires_at.zip(row.made_at).map(|(ends, made)| (ends - made).num_days() + 1).filter(|days| (1..=LIFE_DAYS_MAX).contains(days));
    let mut refused = None;
    for days in life.into_iter().chain(LIVES.into_iter().filter(|days| life.is_none_or(|life| *days < life))) {
        // A little less: Odoo's clock is not ours.
        let ends = now + Duration::days(days) - Duration::hours(1);
        match client.with_deadline(instant() + WITHIN).key_make(&config.secret, name, ends).await {
            Ok(key) => return Ok(key),
            Err(error) if error.kind == OdooErrorKind::Validation => refused = refused.or(Some(Failed::making(&error))),
            Err(error) => return Err(Failed::making(&error)),
        }
    }
    Err(refused.unwrap_or_else(|| Failed::new(Outcome::Refused, "")))
}

async fn made_by_password<'a>(config: &'a OdooConfig, row: &odoo_keys::Model, password: &'a SecretString, name: &str, now: DateTime<Utc>) -> Result<Made<'a>, Failed> {
    let mut session = KeyByPassword::sign_in(config, password).await.map_err(|error| Failed::session(&error, false))?;
    let keys = session.keys().await.map_err(|error| Failed::session(&error, false))?;
    // One that merely ends on the same day as the others may be another program's.
    let found = ours(&keys, row.name.as_deref().map(|name| (name, row.made_at)), now).filter(|key| keys.len() == 1 || row.name.as_deref() == Some(key.name.as_str()));
    let old = found.filter(|_| is_api_key(&config.secret)).map(|key| key.id);
    let mut refused = None;
    for days in LIVES {
        match session.make(password, name, u32::try_from(days).unwrap_or(1)).await {
            Ok(key) => return Ok(Made { key, uid: session.uid(), by: Right::Password(session, password), old }),
            Err(error @ KeyByPasswordError::Refused(_)) => refused = refused.or(Some(Failed::session(&error, true))),
            Err(error) => return Err(Failed::session(&error, true)),
        }
    }
    Err(refused.unwrap_or_else(|| Failed::new(Outcome::Refused, "")))
}
