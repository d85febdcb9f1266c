//! Alerts: what somebody should hear without looking at a page, each told once. A condition is a row of `alerts` with a mark that only one row can have,
//! written together with the letters and webhooks that tell it (`outbox.rs`): so it is told once over restarts, and by one of several nodes.
//!
//! What is looked for is in `watch.rs`, to whom it goes in `channels.rs`, how it gets there in `outbox.rs` and `webhook.rs`. `boot.rs` calls
//! [`Alerts::look`] and [`Alerts::deliver`] in turn.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connections::Connections;
use super::mail::Mail;
use super::odoo_keys::OdooKeys;
use super::tenants::Tenants;
use super::usage::UsageSink;
use super::vault::Vault;
use crate::clock::Clock;
use crate::db::{
    self,
    entities::{alert_channels, alerts},
};
use crate::dgii::Padron;
use crate::ids::TenantId;
use crate::odoo::AddressPolicy;

mod channels;
mod outbox;
mod watch;
mod webhook;

pub use channels::{ChannelsChange, ChannelsError, ChannelsFault, ChannelsView};
pub use outbox::{DeliveryState, DeliveryView, LetterFacts, title};
pub use webhook::{Signed, sign};

/// Alerts shown on a page.
const SHOWN_MAX: u64 = 20;
/// What has ended is kept so long, days.
const KEPT_DAYS: i64 = 90;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A tenant's Odoo does not answer.
    OdooDown,
    /// It answers again.
    OdooBack,
    /// For operators: whose Odoos do not answer.
    OdooDownMany,
    /// Its API key ends soon.
    KeyExpiring,
    /// Its API key has ended.
    KeyExpired,
    /// Its API key was renewed.
    KeyRenewed,
    /// Its API key could not be renewed.
    KeyNotRenewed,
    /// Most of the month's calls are used.
    QuotaNear,
    /// All of them are.
    QuotaReached,
    /// Writes wait for an owner.
    ApprovalWaiting,
    /// The listing of taxpayers is old.
    PadronOld,
    /// The database does not take usage records.
    JournalGrowing,
    /// It takes them again.
    JournalBack,
    /// Somebody tries whether it arrives.
    Test,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 14] = [
        Self::OdooDown,
        Self::OdooBack,
        Self::OdooDownMany,
        Self::KeyExpiring,
        Self::KeyExpired,
        Self::KeyRenewed,
        Self::KeyNotRenewed,
        Self::QuotaNear,
        Self::QuotaReached,
        Self::ApprovalWaiting,
        Self::PadronOld,
        Self::JournalGrowing,
        Self::JournalBack,
        Self::Test,
    ];

    /// As stored, as a webhook's `type`, and as the last part of its sentences' keys (with `_` for `.`).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OdooDown => "odoo.down",
            Self::OdooBack => "odoo.back",
            Self::OdooDownMany => "odoo.down_many",
            Self::KeyExpiring => "odoo_key.expiring",
            Self::KeyExpired => "odoo_key.expired",
            Self::KeyRenewed => "odoo_key.renewed",
            Self::KeyNotRenewed => "odoo_key.not_renewed",
            Self::QuotaNear => "quota.near",
            Self::QuotaReached => "quota.reached",
            Self::ApprovalWaiting => "approval.waiting",
            Self::PadronOld => "padron.old",
            Self::JournalGrowing => "journal.growing",
            Self::JournalBack => "journal.back",
            Self::Test => "test",
        }
    }

    /// The kind of that word.
    #[must_use]
    pub fn known(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The key of its letter: `portal.mail.<key>.subject` and `.text`.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Self::OdooDown => "alert_odoo_down",
            Self::OdooBack => "alert_odoo_back",
            Self::OdooDownMany => "alert_odoo_down_many",
            Self::KeyExpiring => "alert_odoo_key_expiring",
            Self::KeyExpired => "alert_odoo_key_expired",
            Self::KeyRenewed => "alert_odoo_key_renewed",
            Self::KeyNotRenewed => "alert_odoo_key_not_renewed",
            Self::QuotaNear => "alert_quota_near",
            Self::QuotaReached => "alert_quota_reached",
            Self::ApprovalWaiting => "alert_approval_waiting",
            Self::PadronOld => "alert_padron_old",
            Self::JournalGrowing => "alert_journal_growing",
            Self::JournalBack => "alert_journal_back",
            Self::Test => "alert_test",
        }
    }

    /// Whether it is over when it is told: of an event or a period there is no end to look for. Its mark stays, so that it is told once.
    fn is_over_at_once(self) -> bool {
        matches!(self, Self::KeyRenewed | Self::KeyNotRenewed | Self::QuotaNear | Self::QuotaReached)
    }

    /// What it is switched off with; none cannot be.
    #[must_use]
    pub fn topic(self) -> Option<Topic> {
        match self {
            Self::OdooDown | Self::OdooBack | Self::OdooDownMany => Some(Topic::Odoo),
            Self::KeyExpiring | Self::KeyExpired | Self::KeyRenewed | Self::KeyNotRenewed => Some(Topic::Key),
            Self::QuotaNear | Self::QuotaReached => Some(Topic::Quota),
            Self::ApprovalWaiting => Some(Topic::Approvals),
            Self::PadronOld => Some(Topic::Padron),
            Self::JournalGrowing | Self::JournalBack => Some(Topic::Journal),
            Self::Test => None,
        }
    }
}

/// What is switched on and off together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// Odoo does not answer, and answers again.
    Odoo,
    /// The Odoo API key ends.
    Key,
    /// The month's calls.
    Quota,
    /// Writes wait.
    Approvals,
    /// The listing of taxpayers.
    Padron,
    /// Usage records.
    Journal,
}

impl Topic {
    /// Those of a tenant.
    pub const OF_TENANTS: [Self; 4] = [Self::Odoo, Self::Key, Self::Quota, Self::Approvals];
    /// Those of the operator.
    pub const OF_OPERATORS: [Self; 3] = [Self::Odoo, Self::Padron, Self::Journal];

    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Odoo => "odoo",
            Self::Key => "key",
            Self::Quota => "quota",
            Self::Approvals => "approvals",
            Self::Padron => "padron",
            Self::Journal => "journal",
        }
    }

    /// Those of that owner.
    #[must_use]
    pub fn of(owner: Owner) -> &'static [Self] {
        match owner {
            Owner::Tenant(_) => &Self::OF_TENANTS,
            Owner::Operator => &Self::OF_OPERATORS,
        }
    }
}

/// Whose alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A tenant's: for its owners.
    Tenant(TenantId),
    /// The service's: for its operators.
    Operator,
}

impl Owner {
    /// As stored: nil is the operator.
    fn id(self) -> Uuid {
        self.client().unwrap_or(Uuid::nil())
    }

    fn client(self) -> Option<Uuid> {
        self.tenant().map(TenantId::uuid)
    }

    fn tenant(self) -> Option<TenantId> {
        match self {
            Self::Tenant(tenant) => Some(tenant),
            Self::Operator => None,
        }
    }

    fn of(client: Option<Uuid>) -> Self {
        client.map_or(Self::Operator, |client| Self::Tenant(client.into()))
    }

    /// What only one row can have while a condition lasts.
    fn mark(self, kind: Kind, subject: &str) -> String {
        format!("{}/{}/{subject}", self.id(), kind.as_str())
    }
}

/// An alert as a page shows it.
#[derive(Clone, Debug)]
pub struct AlertView {
    /// What.
    pub kind: Kind,
    /// What is said of it.
    pub facts: Value,
    /// When it was told, UTC.
    pub told_at: DateTime<Utc>,
    /// When it ended, UTC.
    pub ended_at: Option<DateTime<Utc>>,
}

/// What alerts are put together from.
pub struct AlertParts {
    /// The database.
    pub db: DatabaseConnection,
    /// Now.
    pub clock: Clock,
    /// Seals what webhooks are signed with.
    pub vault: Vault,
    /// Whose Odoo.
    pub tenants: Tenants,
    /// Which Odoo fails.
    pub connections: Connections,
    /// What is known of their keys.
    pub odoo_keys: OdooKeys,
    /// What the database does not take.
    pub usage: UsageSink,
    /// How old the listing is.
    pub padron: Padron,
    /// Sends letters.
    pub mail: Mail,
    /// Which addresses webhooks may go to.
    pub addresses: AddressPolicy,
}

/// Watches and tells. Cheap to clone.
#[derive(Clone)]
pub struct Alerts {
    parts: Arc<AlertParts>,
    memory: Arc<Mutex<watch::Memory>>,
}

impl Alerts {
    /// Watches what `look` is called for.
    #[must_use]
    pub fn new(parts: AlertParts) -> Self {
        Self { parts: Arc::new(parts), memory: Arc::default() }
    }

    /// The latest that were told, newest first.
    ///
    /// # Errors
    /// The database.
    pub async fn list(&self, owner: Owner) -> Result<Vec<AlertView>, DbErr> {
        let rows = alerts::Entity::find().filter(owned(owner)).filter(alerts::Column::ToldAt.is_not_null()).order_by_desc(alerts::Column::ToldAt).limit(SHOWN_MAX);
        let rows = rows.all(self.db()).await?;
        let view = |row: alerts::Model| Some(AlertView { kind: Kind::known(&row.kind)?, facts: row.facts.unwrap_or_default(), told_at: row.told_at?, ended_at: row.ended_at });
        Ok(rows.into_iter().filter_map(view).collect())
    }

    /// Cares for the tenants' Odoo keys: asks when they end, renews those that are to be renewed, revokes their predecessors, and tells what came of it.
    /// After `stop` nothing is begun, and only a renewal that is under way is waited for: it must not end half-way.
    ///
    /// # Errors
    /// The database; what was not done is done next time.
    pub async fn care(&self, stop: &CancellationToken) -> Result<(), DbErr> {
        let keys = &self.parts.odoo_keys;
        let asked = async {
            keys.revoke_due().await?;
            keys.ask_due().await
        };
        stop.run_until_cancelled(asked).await.transpose()?;
        for (tenant, ended_at, renewal) in keys.renew_due(stop).await? {
            let kind = if renewal.outcome.is_renewed() { Kind::KeyRenewed } else { Kind::KeyNotRenewed };
            let facts = serde_json::json!({ "old_expires_at": ended_at, "expires_at": renewal.expires_at, "reason": renewal.outcome.as_str(), "said": renewal.said });
            // Once for each key and each reason, not once a day.
            self.tell_once(Owner::Tenant(tenant), kind, &format!("{}/{}", ended_at.timestamp(), renewal.outcome.as_str()), facts).await?;
        }
        Ok(())
    }

    /// Forgets what ended or was delivered long ago.
    ///
    /// # Errors
    /// The database.
    pub async fn prune(&self) -> Result<(), DbErr> {
        let before = self.now() - chrono::Duration::days(KEPT_DAYS);
        alerts::Entity::delete_many().filter(alerts::Column::EndedAt.lt(before)).exec(self.db()).await?;
        self.outbox_prune().await
    }

    fn db(&self) -> &DatabaseConnection {
        &self.parts.db
    }

    fn now(&self) -> DateTime<Utc> {
        self.parts.clock.now()
    }

    /// Tells a condition unless it was told before. True when it is told now.
    async fn tell_once(&self, owner: Owner, kind: Kind, subject: &str, facts: Value) -> Result<bool, DbErr> {
        let transaction = db::begin_write(self.db()).await?;
        let told = self.mark(&transaction, owner, kind, subject, &facts, true).await?;
        if told {
            self.enqueue(&transaction, owner, kind, &facts).await?;
        }
        transaction.commit().await?;
        Ok(told)
    }

    /// Writes a condition down. False when it stands there.
    async fn mark(&self, transaction: &DatabaseTransaction, owner: Owner, kind: Kind, subject: &str, facts: &Value, told: bool) -> Result<bool, DbErr> {
        let now = self.now();
        let row = alerts::Model {
            id: Uuid::now_v7(),
            client_id: owner.client(),
            kind: kind.as_str().to_owned(),
            mark: owner.mark(kind, subject),
            subject: subject.to_owned(),
            facts: Some(facts.clone()),
            since: now,
            seen_at: now,
            well_since: None,
            told_at: told.then_some(now),
            operators_told_at: None,
            ended_at: kind.is_over_at_once().then_some(now),
        };
        let ignored = OnConflict::column(alerts::Column::Mark).do_nothing().to_owned();
        let inserted = alerts::Entity::insert(row.into_active_model()).on_conflict(ignored).exec_without_returning(transaction).await;
        match inserted {
            Ok(rows) => Ok(rows > 0),
            Err(DbErr::RecordNotInserted) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl std::fmt::Debug for Alerts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Alerts")
    }
}

/// The rows of that owner.
fn owned(owner: Owner) -> sea_orm::sea_query::SimpleExpr {
    match owner.client() {
        Some(client) => alerts::Column::ClientId.eq(client),
        None => alerts::Column::ClientId.is_null(),
    }
}

/// The channels of that owner; none where nothing was changed yet.
async fn channels_of(db: &impl sea_orm::ConnectionTrait, owner: Owner) -> Result<Option<alert_channels::Model>, DbErr> {
    alert_channels::Entity::find_by_id(owner.id()).one(db).await
}
