//! To whom alerts go: letters to a tenant's owners (or the operators) and a webhook. Its secret is sealed, shown once, and after a rotation the one before
//! signs beside it for a day.

use chrono::{DateTime, Duration, Utc};
use sea_orm::{ActiveModelTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel};
use secrecy::SecretString;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::{Alerts, Owner, Topic, channels_of, webhook};
use crate::db::{
    self,
    entities::{alert_channels, clients},
};
use crate::domain::audit::{self, Actor, Change};
use crate::domain::vault::{Sealed, VaultError};
use crate::ids::TenantId;
use crate::odoo::address::check_url;

/// The field that binds a sealed secret to its place.
const FIELD: &str = "webhook_secret";
/// The longest address, characters.
const URL_CHARS_MAX: usize = 500;
/// How long the secret before a rotation signs too, hours.
const PREVIOUS_HOURS: i64 = 24;

/// The channels as they are. Never the secret.
#[derive(Clone, Debug)]
pub struct ChannelsView {
    /// Whether letters go out.
    pub mail: bool,
    /// Which topics are told.
    pub topics: Vec<(Topic, bool)>,
    /// Where webhooks go.
    pub webhook_url: Option<String>,
    /// Until when the secret before the last rotation signs too, UTC.
    pub previous_until: Option<DateTime<Utc>>,
    /// Counts edits.
    pub version: i32,
}

/// The channels as they are to be.
pub struct ChannelsChange {
    /// Whether letters go out.
    pub mail: bool,
    /// The topics that are told.
    pub topics: Vec<Topic>,
    /// Where webhooks go; an empty one sends none, and forgets the secret.
    pub webhook_url: String,
    /// The version that was seen.
    pub version: i32,
}

/// What is wrong with a value; the pages have words for it (`portal.faults.<key>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelsFault {
    /// No address, or one that may not be reached.
    Url,
    /// A topic of somebody else's.
    Topic,
    /// There is no webhook.
    NoWebhook,
}

impl ChannelsFault {
    /// The sentence's key.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Url => "webhook_url",
            Self::Topic => "choice",
            Self::NoWebhook => "webhook_none",
        }
    }
}

/// Why channels were not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChannelsError {
    /// A value is not acceptable.
    #[error("{0:?}")]
    Invalid(ChannelsFault),
    /// Somebody else edited them meanwhile.
    #[error("the channels were edited meanwhile")]
    Stale,
    /// There is no such tenant.
    #[error("no such tenant")]
    Unknown,
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The database.
    #[error("database: {0}")]
    Db(#[from] DbErr),
}

impl Alerts {
    /// The channels of that owner.
    ///
    /// # Errors
    /// The database.
    pub async fn channels(&self, owner: Owner) -> Result<ChannelsView, DbErr> {
        let row = channels_of(self.db(), owner).await?;
        let muted = row.as_ref().map(|row| row.muted.clone()).unwrap_or_default();
        let now = self.now();
        Ok(ChannelsView {
            mail: row.as_ref().is_none_or(|row| row.mail),
            topics: Topic::of(owner).iter().map(|topic| (*topic, !is_muted(&muted, *topic))).collect(),
            previous_until: row.as_ref().and_then(|row| row.previous_until).filter(|until| *until > now),
            version: row.as_ref().map_or(0, |row| row.version),
            webhook_url: row.and_then(|row| row.webhook_url),
        })
    }

    /// Changes them. A webhook that is new gets a secret, which is in this answer only.
    ///
    /// # Errors
    /// See [`ChannelsError`].
    pub async fn channels_edit(&self, owner: Owner, change: ChannelsChange, actor: &Actor) -> Result<Option<SecretString>, ChannelsError> {
        let url = self.checked(change.webhook_url.trim())?;
        if change.topics.iter().any(|topic| !Topic::of(owner).contains(topic)) {
            return Err(ChannelsError::Invalid(ChannelsFault::Topic));
        }
        let transaction = db::begin_write(self.db()).await?;
        let (mut row, new) = self.locked(&transaction, owner).await?;
        if row.version != change.version {
            return Err(ChannelsError::Stale);
        }
        let before = json!({ "mail": row.mail, "muted": row.muted, "webhook_url": row.webhook_url });
        row.mail = change.mail;
        row.muted = Topic::of(owner).iter().filter(|topic| !change.topics.contains(topic)).map(|topic| topic.as_str()).collect::<Vec<_>>().join(",");
        row.webhook_url = url.map(|url| url.to_string());
        let mut shown = None;
        if row.webhook_url.is_none() {
            (row.secret_sealed, row.previous_sealed, row.previous_until) = (None, None, None);
        } else if row.secret_sealed.is_none() {
            let secret = webhook::secret_make()?;
            row.secret_sealed = Some(self.sealed(&transaction, owner, &mut row, &secret).await?);
            shown = Some(secret);
        }
        let after = json!({ "mail": row.mail, "muted": row.muted, "webhook_url": row.webhook_url });
        self.store(transaction, owner, row, new, "alerts.edit", before, after, actor).await?;
        Ok(shown)
    }

    /// Makes another secret, which is in this answer only. The one before signs too for a day.
    ///
    /// # Errors
    /// See [`ChannelsError`].
    pub async fn secret_rotate(&self, owner: Owner, actor: &Actor) -> Result<SecretString, ChannelsError> {
        let transaction = db::begin_write(self.db()).await?;
        let (mut row, new) = self.locked(&transaction, owner).await?;
        if row.webhook_url.is_none() {
            return Err(ChannelsError::Invalid(ChannelsFault::NoWebhook));
        }
        let secret = webhook::secret_make()?;
        let sealed = self.sealed(&transaction, owner, &mut row, &secret).await?;
        row.previous_sealed = row.secret_sealed.replace(sealed);
        let until = self.now() + Duration::hours(PREVIOUS_HOURS);
        row.previous_until = Some(until);
        self.store(transaction, owner, row, new, "alerts.secret", json!({}), json!({ "secret": "replaced", "previous_until": until }), actor).await?;
        Ok(secret)
    }

    /// Wraps the operator's data key with the current master key; answers whether it had to be.
    ///
    /// # Errors
    /// Neither the current nor the previous master key opens it, or the database.
    pub async fn keys_rotate(&self, actor: &Actor) -> Result<usize, ChannelsError> {
        let transaction = db::begin_write(self.db()).await?;
        let (mut row, _) = self.locked(&transaction, Owner::Operator).await?;
        let Some(key) = row.data_key_sealed.clone() else { return Ok(0) };
        let Some(sealed) = self.parts.vault.data_key_rewrap(nobody(), &Sealed(key))? else { return Ok(0) };
        row.data_key_sealed = Some(sealed.0);
        row.into_active_model().reset_all().update(&transaction).await?;
        let change = Change { tenant: None, action: "vault.rewrap", subject: "alerts".to_owned(), before: None, after: None };
        audit::record(&transaction, &self.parts.clock, actor, change).await?;
        transaction.commit().await?;
        Ok(1)
    }

    /// What signs now: the secret, and the one before it for as long as that does.
    pub(super) async fn secrets(&self, owner: Owner, row: &alert_channels::Model) -> Result<Vec<SecretString>, ChannelsError> {
        let key = self.data_key(self.db(), owner, row).await?.ok_or(VaultError::Broken)?;
        let previous = row.previous_sealed.as_ref().filter(|_| row.previous_until.is_some_and(|until| until > self.now()));
        row.secret_sealed.iter().chain(previous).map(|sealed| Ok(self.parts.vault.open(sealer(owner), &key, FIELD, &Sealed(sealed.clone()))?)).collect()
    }

    /// No address, or one that may be reached: https, and no user in it.
    fn checked(&self, text: &str) -> Result<Option<Url>, ChannelsError> {
        if text.is_empty() {
            return Ok(None);
        }
        let url = Url::parse(text).ok().filter(|url| text.chars().count() <= URL_CHARS_MAX && url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
        let url = url.filter(|url| check_url(url, self.parts.addresses).is_ok());
        url.map(Some).ok_or(ChannelsError::Invalid(ChannelsFault::Url))
    }

    /// The row, and whether it is new; nobody else changes it until the transaction ends.
    async fn locked(&self, transaction: &DatabaseTransaction, owner: Owner) -> Result<(alert_channels::Model, bool), ChannelsError> {
        audit::chain_lock(transaction, owner.tenant()).await?;
        if let Some(row) = channels_of(transaction, owner).await? {
            return Ok((row, false));
        }
        let row = alert_channels::Model {
            id: owner.id(),
            client_id: owner.client(),
            mail: true,
            muted: String::new(),
            webhook_url: None,
            secret_sealed: None,
            previous_sealed: None,
            previous_until: None,
            data_key_sealed: None,
            version: 0,
            updated_at: self.now(),
        };
        Ok((row, true))
    }

    #[expect(clippy::too_many_arguments, reason = "a row and its line in the audit")]
    async fn store(
        &self,
        transaction: DatabaseTransaction,
        owner: Owner,
        mut row: alert_channels::Model,
        new: bool,
        action: &str,
        before: serde_json::Value,
        after: serde_json::Value,
        actor: &Actor,
    ) -> Result<(), ChannelsError> {
        row.version += 1;
        row.updated_at = self.now();
        let row = row.into_active_model().reset_all();
        if new {
            row.insert(&transaction).await?
        } else {
            row.update(&transaction).await?
        };
        let subject = owner.tenant().map_or_else(|| "alerts".to_owned(), |tenant| tenant.to_string());
        audit::record(&transaction, &self.parts.clock, actor, Change { tenant: owner.tenant(), action, subject, before: Some(before), after: Some(after) }).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn sealed(&self, transaction: &DatabaseTransaction, owner: Owner, row: &mut alert_channels::Model, secret: &SecretString) -> Result<String, ChannelsError> {
        let key = match self.data_key(transaction, owner, row).await? {
            Some(key) => key,
            None => {
                let key = self.parts.vault.data_key_make(nobody())?;
                row.data_key_sealed = Some(key.0.clone());
                key
            }
        };
        Ok(self.parts.vault.seal(sealer(owner), &key, FIELD, secret)?.0)
    }

    /// The data key: a tenant's is in its row; the operator may have none yet.
    async fn data_key(&self, db: &impl sea_orm::ConnectionTrait, owner: Owner, row: &alert_channels::Model) -> Result<Option<Sealed>, ChannelsError> {
        match owner.client() {
            None => Ok(row.data_key_sealed.clone().map(Sealed)),
            Some(client) => {
                let client = clients::Entity::find_by_id(client).one(db).await?.ok_or(ChannelsError::Unknown)?;
                Ok(Some(Sealed(client.data_key_sealed)))
            }
        }
    }
}

/// Whether that topic is not told.
pub(super) fn is_muted(muted: &str, topic: Topic) -> bool {
    muted.split(',').any(|word| word == topic.as_str())
}

fn sealer(owner: Owner) -> TenantId {
    owner.tenant().unwrap_or_else(nobody)
}

/// In whose name the operator's own secrets are sealed.
fn nobody() -> TenantId {
    TenantId::from(Uuid::nil())
}
