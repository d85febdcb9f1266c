//! Settings that the operator changes while the service runs (`configs`). What a start needs is in `config.rs`.
//!
//! Each key has a check and a default. They are held in memory; the audit tells other processes of an edit (`changes`).

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, IntoActiveModel};
use serde::Serialize;
use serde_json::Value;

use super::audit::{self, Actor, Change};
use super::usage::RETENTION_DAYS_MIN;
use crate::clock::Clock;
use crate::db::{
    self,
    entities::{configs, plans},
};
use crate::ids::TenantId;

/// The audit's word for an edit; other processes listen to it.
pub(super) const ACTION: &str = "settings.edit";

const RETENTION_DAYS_MAX: u32 = 3_660;
const MESSAGE_CHARS_MAX: usize = 500;
const MAIL_CHARS_MAX: usize = 254;
const TOOL_CALLS_PER_HOUR_MAX: u32 = 1_000_000;

/// Whether strangers may register a company.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignUp {
    /// They may not.
    #[default]
    Closed,
    /// The operator approves each.
    Approval,
    /// They may.
    Open,
}

impl SignUp {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Approval, Self::Open];

    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Approval => "approval",
            Self::Open => "open",
        }
    }
}

/// The name of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The address people write to.
    PublicMail,
    /// Whether strangers may register a company.
    SignUp,
    /// The plan of who registers.
    SignUpPlan,
    /// How long single calls are kept, days.
    UsageRetentionDays,
    /// RD$ per US$ on statements.
    UsdRate,
    /// ITBIS on statements, per cent.
    ItbisPercent,
    /// What everybody is told while the service is under maintenance.
    Maintenance,
    /// Calls an hour of a tool that is enabled for a new client.
    ToolCallsPerHour,
    /// The client that is the operator's own firm: invoices are made in its Odoo.
    BillingClient,
}

impl Key {
    /// Every setting, in the order of the page.
    pub const ALL: [Self; 9] = [
        Self::PublicMail,
        Self::SignUp,
        Self::SignUpPlan,
        Self::ToolCallsPerHour,
        Self::UsageRetentionDays,
        Self::UsdRate,
        Self::ItbisPercent,
        Self::BillingClient,
        Self::Maintenance,
    ];

    /// As stored, and as a form calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PublicMail => "public_mail",
            Self::SignUp => "sign_up",
            Self::SignUpPlan => "sign_up_plan",
            Self::UsageRetentionDays => "usage_retention_days",
            Self::UsdRate => "usd_rate",
            Self::ItbisPercent => "itbis_percent",
            Self::Maintenance => "maintenance",
            Self::ToolCallsPerHour => "tool_calls_per_hour",
            Self::BillingClient => "billing_client",
        }
    }
}

/// The settings as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Settings {
    /// The address people write to.
    pub public_mail: Option<String>,
    /// Whether strangers may register a company.
    pub sign_up: SignUp,
    /// The plan of who registers; it is not removed while it is that.
    pub sign_up_plan: String,
    /// How long single calls are kept, days; none follows `DUNET_USAGE_RETENTION_DAYS`.
    pub usage_retention_days: Option<u32>,
    /// RD$ per US$ on statements; none until the operator states one, and no month is closed before.
    pub usd_rate: Option<Decimal>,
    /// ITBIS on statements, per cent.
    pub itbis_percent: Decimal,
    /// What everybody is told while the service is under maintenance; none when it is not.
    pub maintenance: Option<String>,
    /// Calls an hour with which the tools of a new client begin; who is there keeps theirs.
    pub tool_calls_per_hour: u32,
    /// The client that is the operator's own firm: statements become draft invoices in its Odoo. None makes no invoices; whether there is one of
    /// that id is looked at when an invoice is made.
    pub billing_client: Option<TenantId>,
    /// When one was last edited, UTC: an edit names the moment it has seen.
    pub edited_at: Option<DateTime<Utc>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_mail: None,
            sign_up: SignUp::Closed,
            sign_up_plan: "gratis".to_owned(),
            usage_retention_days: None,
            usd_rate: None,
            itbis_percent: Decimal::from(18),
            maintenance: None,
            tool_calls_per_hour: super::tenant::TOOL_CALLS_PER_HOUR_DEFAULT,
            billing_client: None,
            edited_at: None,
        }
    }
}

impl Settings {
    /// As the field of a form shows it; empty is the default.
    #[must_use]
    pub fn field(&self, key: Key) -> String {
        let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
        match key {
            Key::PublicMail => self.public_mail.clone().unwrap_or_default(),
            Key::SignUp => self.sign_up.as_str().to_owned(),
            Key::SignUpPlan => self.sign_up_plan.clone(),
            Key::UsageRetentionDays => number(self.usage_retention_days),
            Key::UsdRate => self.usd_rate.map(|rate| rate.to_string()).unwrap_or_default(),
            Key::ItbisPercent => self.itbis_percent.to_string(),
            Key::Maintenance => self.maintenance.clone().unwrap_or_default(),
            Key::ToolCallsPerHour => self.tool_calls_per_hour.to_string(),
            Key::BillingClient => self.billing_client.map(|client| client.to_string()).unwrap_or_default(),
        }
    }

    /// Takes a value over if it is acceptable; an empty one is the default.
    fn set(&mut self, key: Key, text: &str) -> Result<(), Fault> {
        let text = text.trim();
        let default = Self::default();
        let given = (!text.is_empty()).then_some(text);
        match key {
            Key::PublicMail => self.public_mail = given.map(mail).transpose()?,
            Key::SignUp => {
                self.sign_up = match given {
                    Some(text) => SignUp::ALL.into_iter().find(|choice| choice.as_str() == text).ok_or(Fault::Choice)?,
                    None => default.sign_up,
                }
            }
            Key::SignUpPlan => self.sign_up_plan = given.map_or(default.sign_up_plan, str::to_owned),
            Key::UsageRetentionDays => self.usage_retention_days = given.map(|text| whole(text, RETENTION_DAYS_MIN, RETENTION_DAYS_MAX)).transpose()?,
            Key::UsdRate => self.usd_rate = given.map(|text| decimal(text, Decimal::ONE, Decimal::from(1_000), 4)).transpose()?,
            Key::ItbisPercent => self.itbis_percent = given.map_or(Ok(default.itbis_percent), |text| decimal(text, Decimal::ZERO, Decimal::ONE_HUNDRED, 2))?,
            Key::Maintenance => self.maintenance = given.map(message).transpose()?,
            Key::ToolCallsPerHour => self.tool_calls_per_hour = given.map_or(Ok(default.tool_calls_per_hour), |text| whole(text, 1, TOOL_CALLS_PER_HOUR_MAX))?,
            Key::BillingClient => self.billing_client = given.map(|text| text.parse().map_err(|_| Fault::Choice)).transpose()?,
        }
        Ok(())
    }

    /// As they are stored.
    ///
    /// # Errors
    /// The database.
    pub(super) async fn stored(db: &impl ConnectionTrait) -> Result<Self, DbErr> {
        Ok(Self::from_rows(configs::Entity::find().all(db).await?))
    }

    fn from_rows(rows: Vec<configs::Model>) -> Self {
        let mut settings = Self { edited_at: rows.iter().filter(|row| Key::ALL.iter().any(|key| key.as_str() == row.key)).map(|row| row.updated_at).max(), ..Self::default() };
        let rows: HashMap<String, String> = rows.into_iter().map(|row| (row.key, row.value)).collect();
        for key in Key::ALL {
            if let Some(value) = rows.get(key.as_str())
                && let Err(fault) = settings.set(key, value)
            {
                tracing::error!(setting = key.as_str(), ?fault, "a stored setting is not acceptable: its default is used");
            }
        }
        settings
    }
}

/// What is wrong with a value; the page has words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// No mail address.
    Mail,
    /// None of the choices.
    Choice,
    /// No number, or with too many decimals.
    Number,
    /// Too small or too large.
    Range,
    /// Too long, or with characters that do not belong there.
    Text,
}

/// Why an edit was not made.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value is not acceptable; nothing was changed.
    #[error("setting {}: {fault:?}", .key.as_str())]
    Invalid {
        /// Which.
        key: Key,
        /// Why.
        fault: Fault,
    },
    /// Somebody edited them meanwhile.
    #[error("the settings were edited meanwhile")]
    Stale,
    /// The database.
    #[error("database: {0}")]
    Db(#[from] DbErr),
}

/// Holds the settings. Cheap to clone; clones hold the same.
#[derive(Clone, Debug)]
pub struct SettingsStore {
    db: DatabaseConnection,
    clock: Clock,
    current: Arc<ArcSwap<Settings>>,
}

impl SettingsStore {
    /// The defaults, until [`Self::load`] was called.
    #[must_use]
    pub fn new(db: DatabaseConnection, clock: Clock) -> Self {
        Self { db, clock, current: Arc::default() }
    }

    /// The settings as last loaded; asks no database.
    #[must_use]
    pub fn get(&self) -> Arc<Settings> {
        self.current.load_full()
    }

    /// Reads them anew.
    ///
    /// # Errors
    /// The database; the old ones stay.
    pub async fn load(&self) -> Result<(), DbErr> {
        self.current.store(Arc::new(Settings::stored(&self.db).await?));
        Ok(())
    }

    /// Changes all of those or none. `seen` is the `edited_at` of the settings that the page showed.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub async fn edit(&self, changes: &[(Key, String)], seen: Option<DateTime<Utc>>, actor: &Actor) -> Result<(), SettingsError> {
        let transaction = db::begin_write(&self.db).await?;
        audit::chain_lock(&transaction, None).await?;
        let before = Settings::stored(&transaction).await?;
        if before.edited_at != seen {
            return Err(SettingsError::Stale);
        }
        let mut after = before.clone();
        for (key, value) in changes {
            after.set(*key, value).map_err(|fault| SettingsError::Invalid { key: *key, fault })?;
        }
        // Under the lock that removing a plan takes too (`plans::plan_delete`).
        if changes.iter().any(|(key, _)| *key == Key::SignUpPlan) && plans::Entity::find_by_id(after.sign_up_plan.clone()).one(&transaction).await?.is_none() {
            return Err(SettingsError::Invalid { key: Key::SignUpPlan, fault: Fault::Choice });
        }
        let now = self.clock.now();
        let (mut old, mut new) = (serde_json::Map::new(), serde_json::Map::new());
        for (key, value) in changes.iter().filter(|(key, _)| before.field(*key) != after.field(*key)) {
            // The row stays when the default comes back: it knows when that was.
            let row = configs::Model { key: key.as_str().to_owned(), value: value.trim().to_owned(), updated_at: now };
            let replaced = OnConflict::column(configs::Column::Key).update_columns([configs::Column::Value, configs::Column::UpdatedAt]).to_owned();
            configs::Entity::insert(row.into_active_model()).on_conflict(replaced).exec_without_returning(&transaction).await?;
            old.insert(key.as_str().to_owned(), Value::String(before.field(*key)));
            new.insert(key.as_str().to_owned(), Value::String(after.field(*key)));
        }
        if new.is_empty() {
            return Ok(());
        }
        let change = Change { tenant: None, action: ACTION, subject: "settings".to_owned(), before: Some(Value::Object(old)), after: Some(Value::Object(new)) };
        audit::record(&transaction, &self.clock, actor, change).await?;
        transaction.commit().await?;
        Ok(self.load().await?)
    }
}

fn mail(text: &str) -> Result<String, Fault> {
    let well_formed = text.len() <= MAIL_CHARS_MAX
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ',' | '"'))
        && text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.contains('@') && host.contains('.') && !host.starts_with('.') && !host.ends_with('.'));
    if well_formed { Ok(text.to_owned()) } else { Err(Fault::Mail) }
}

fn message(text: &str) -> Result<String, Fault> {
    let acceptable = text.chars().count() <= MESSAGE_CHARS_MAX && !text.chars().any(|c| c.is_control() && c != '\n');
    if acceptable { Ok(text.to_owned()) } else { Err(Fault::Text) }
}

fn whole(text: &str, min: u32, max: u32) -> Result<u32, Fault> {
    let number: u32 = text.parse().map_err(|_| Fault::Number)?;
    if (min..=max).contains(&number) { Ok(number) } else { Err(Fault::Range) }
}

/// A decimal point or comma, as people write it.
fn decimal(text: &str, min: Decimal, max: Decimal, decimals_max: u32) -> Result<Decimal, Fault> {
    let number: Decimal = text.replace(',', ".").parse().map_err(|_| Fault::Number)?;
    let number = number.normalize();
    if number.scale() > decimals_max {
        return Err(Fault::Number);
    }
    if number >= min && number <= max { Ok(number) } else { Err(Fault::Range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_checks_what_it_is_given() {
        let mut settings = Settings::default();
        for (key, good, shown) in [
            (Key::PublicMail, " hola@dunet.do ", "hola@dunet.do"),
            (Key::SignUp, "approval", "approval"),
            (Key::UsageRetentionDays, "90", "90"),
            (Key::UsdRate, "62,4150", "62.415"),
            (Key::ItbisPercent, "16", "16"),
            (Key::Maintenance, "Volvemos a las 6", "Volvemos a las 6"),
            (Key::ToolCallsPerHour, "500", "500"),
            (Key::SignUpPlan, "basic", "basic"),
            (Key::BillingClient, "0199b3c8-7c00-7000-8000-000000000001", "0199b3c8-7c00-7000-8000-000000000001"),
        ] {
            settings.set(key, good).unwrap();
            assert_eq!(settings.field(key), shown);
        }
        for (key, bad, fault) in [
            (Key::PublicMail, "hola", Fault::Mail),
            (Key::PublicMail, "a@b@c.do", Fault::Mail),
            (Key::SignUp, "yes", Fault::Choice),
            (Key::UsageRetentionDays, "5", Fault::Range),
            (Key::UsageRetentionDays, "-5", Fault::Number),
            (Key::UsdRate, "0", Fault::Range),
            (Key::UsdRate, "62.41501", Fault::Number),
            (Key::ItbisPercent, "101", Fault::Range),
            (Key::Maintenance, "\u{7}", Fault::Text),
            (Key::BillingClient, "Ferretería", Fault::Choice),
        ] {
            assert_eq!(settings.clone().set(key, bad), Err(fault), "{key:?} {bad}");
        }
        for key in Key::ALL {
            settings.set(key, "").unwrap();
        }
        assert_eq!(settings, Settings::default());
    }
}
