//! Warm Odoo clients, one per tenant and one for each member who has an Odoo user of their own: built once however many calls wait for it, dropped
//! when unused or when the tenant is edited. All of a tenant go through its one lane: its places, its breaker and its pace are the company's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use moka::future::Cache;
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::Instant;

use super::epochs::Epochs;
use super::lanes::Lanes;
use super::tenants::{OdooSettings, PersonalOdoo, Tenant, Tenants};
use super::users::TenantAccess;
use crate::clock::instant;
use crate::ids::{TenantId, UserId};
pub use crate::odoo::OdooConfig;
use crate::odoo::address::check_url;
use crate::odoo::{AddressPolicy, CallMeter, OdooClient, OdooError, OdooErrorKind, OdooLimits, OdooTraffic, ProtocolChoice};

/// How long facts about a tenant's Odoo (installed apps, field lists) are kept, seconds.
const FACTS_TTL_S: u64 = 300;
/// A warm client is made anew after so long, seconds: an Odoo may have been upgraded or restored meanwhile.
const CONNECTION_TTL_S: u64 = 3600;
/// A member's credentials that Odoo refused are not tried again for so long, seconds, unless they are given anew: Odoo counts wrong log-ins by
/// the address they come from, which is everybody's, and then lets nobody of that address in.
const REFUSED_TTL_S: u64 = 300;
/// Refusals remembered.
const REFUSED_MAX: u64 = 10_000;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The tenant has not connected its Odoo.
    #[error("no Odoo connection is configured")]
    NotConfigured,
    /// Odoo refused or did not answer.
    #[error("{0:?}")]
    Odoo(OdooError),
    /// Our own fault, such as a secret that does not open.
    #[error("{0}")]
    Internal(String),
}

/// A tenant's warm client and the facts learnt about its Odoo.
pub struct Connection {
    client: OdooClient,
    /// Few, named by the code: a map of its own for each tenant is smaller than a cache.
    facts: Mutex<HashMap<&'static str, (Instant, Arc<Value>)>>,
}

impl Connection {
    /// The client: logged in, version known.
    #[must_use]
    pub fn client(&self) -> &OdooClient {
        &self.client
    }

    /// A fact that was kept within the last five minutes.
    #[must_use]
    pub fn fact(&self, name: &'static str) -> Option<Arc<Value>> {
        let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        facts.get(name).filter(|(at, _)| at.elapsed().as_secs() < FACTS_TTL_S).map(|(_, fact)| Arc::clone(fact))
    }

    /// Keeps a fact.
    pub fn fact_keep(&self, name: &'static str, fact: Arc<Value>) {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).insert(name, (instant(), fact));
    }
}

/// An Odoo connection as somebody typed it.
pub struct OdooDraft {
    /// Base address.
    pub url: url::Url,
    /// Database.
    pub database: String,
    /// User.
    pub login: String,
    /// Password or API key; none is the saved one.
    pub secret: Option<SecretString>,
    /// Wire.
    pub protocol: ProtocolChoice,
}

/// What a client is built from: the tenant, its last edit and when it was last forgotten; of a member's, whose and when it was given. A client that
/// was being built from older settings can never be found by a caller who knows better, and what is no longer asked for goes by idleness.
type Version = (TenantId, DateTime<Utc>, u64, Option<(UserId, DateTime<Utc>)>);
/// And when this one client was last forgotten.
type Key = (Version, u64);

/// The connections of all tenants. Cheap to clone.
#[derive(Clone)]
pub struct Connections {
    tenants: Tenants,
    addresses: AddressPolicy,
    limits: OdooLimits,
    warm: Cache<Key, Arc<Connection>>,
    /// Members' credentials that Odoo refused.
    refused: Cache<Version, OdooError>,
    epochs: Epochs,
    /// Of a single client of a tenant: the company's, or a member's.
    own_epochs: Epochs<(TenantId, Option<UserId>)>,
    lanes: Lanes,
    traffic: Arc<OdooTraffic>,
}

impl Connections {
    /// At most `connections_max` warm clients, each dropped after `idle_s` seconds without use.
    #[must_use]
    pub fn new(tenants: Tenants, addresses: AddressPolicy, limits: OdooLimits, lanes: Lanes, connections_max: u64, idle_s: u64) -> Self {
        let warm = Cache::builder().max_capacity(connections_max).time_to_idle(Duration::from_secs(idle_s)).time_to_live(Duration::from_secs(CONNECTION_TTL_S)).build();
        let refused = Cache::builder().max_capacity(REFUSED_MAX).time_to_live(Duration::from_secs(REFUSED_TTL_S)).build();
        Self { tenants, addresses, limits, warm, refused, epochs: Epochs::default(), own_epochs: Epochs::default(), lanes, traffic: Arc::default() }
    }

    /// The tenant's warm client, or that of one of its members; the first of several waiting calls builds it, the others get the same result.
    ///
    /// # Errors
    /// See [`ConnectionError`]. A failure is not remembered, but that Odoo refused a member's credentials.
    pub async fn get(&self, tenant: &Tenant, own: Option<&PersonalOdoo>) -> Result<Arc<Connection>, Arc<ConnectionError>> {
        let version: Version = (tenant.id, tenant.edited_at, self.epochs.forgotten_at(tenant.id), own.map(|own| (own.user, own.saved_at)));
        let key = (version, self.own_epochs.forgotten_at((tenant.id, own.map(|own| own.user))));
        if let Some(found) = self.warm.get(&key).await {
            return Ok(found);
        }
        if own.is_some()
            && let Some(refusal) = self.refused.get(&version).await
        {
            return Err(Arc::new(ConnectionError::Odoo(refusal)));
        }
        let built = self.warm.try_get_with(key, self.build(tenant, own)).await;
        if own.is_some()
            && let Err(error) = &built
            && let ConnectionError::Odoo(refusal) = &**error
            && refusal.kind == OdooErrorKind::BadCredentials
        {
            self.refused.insert(version, refusal.clone()).await;
        }
        built
    }

    /// Forgets a tenant's clients, its members' too: the next call builds a new one from the settings as they are then.
    pub fn forget(&self, tenant: TenantId) {
        self.epochs.forget(tenant);
    }

    /// Forgets one client of a tenant, the company's or a member's; the others stay warm.
    pub fn forget_one(&self, tenant: TenantId, member: Option<UserId>) {
        self.own_epochs.forget((tenant, member));
    }

    /// Requests to all Odoos, for the metrics.
    #[must_use]
    pub fn traffic(&self) -> &Arc<OdooTraffic> {
        &self.traffic
    }

    /// Whether the tenant's Odoo answers: one small read, through its lane. An answer that it is not pleased with (wrong credentials) is one.
    pub async fn answers(&self, tenant: &Tenant, within: Duration) -> bool {
        let until = instant() + within;
        let asked = async {
            let connection = self.get(tenant, None).await?;
            connection
                .client()
                .with_deadline(until)
                .call_read("res.users", "context_get", None, serde_json::Map::new())
                .await
                .map_err(|error| Arc::new(ConnectionError::Odoo(error)))
        };
        match tokio::time::timeout_at(until, asked).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => match &*error {
                ConnectionError::Odoo(error) => !matches!(
                    error.kind,
                    OdooErrorKind::Unreachable
                        | OdooErrorKind::TimedOut { .. }
                        | OdooErrorKind::TlsFailed
                        | OdooErrorKind::ConnectionLost
                        | OdooErrorKind::AnswerTooLarge
                        | OdooErrorKind::Busy { .. }
                        | OdooErrorKind::Paused { .. }
                        | OdooErrorKind::Crowded { .. }
                        | OdooErrorKind::NotOdoo
                        | OdooErrorKind::AddressRefused
                ),
                // Our own fault, or nothing to look at: no news of Odoo.
                ConnectionError::NotConfigured | ConnectionError::Internal(_) => true,
            },
            Err(_) => false,
        }
    }

    /// Warm clients, about.
    #[must_use]
    pub fn warm_count(&self) -> u64 {
        self.warm.entry_count()
    }

    /// Requests that wait for a place at their Odoo.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lanes.waiting()
    }

    /// Tenants whose Odoo fails and is left alone at the moment.
    #[must_use]
    pub fn paused(&self) -> usize {
        self.lanes.paused()
    }

    /// Which tenants' Odoos fail and are left alone at the moment.
    #[must_use]
    pub fn paused_tenants(&self) -> Vec<TenantId> {
        self.lanes.paused_tenants()
    }

    /// Whether an address is one that may be connected to at all (`https`, unless private networks are allowed). Where its name leads is
    /// looked at when connecting.
    #[must_use]
    pub fn address_may_be(&self, url: &url::Url) -> bool {
        check_url(url, self.addresses).is_ok()
    }

    /// How a tenant's Odoo would be connected to, for the doctor.
    ///
    /// # Errors
    /// Not configured, or the secret does not open.
    pub fn config(&self, tenant: &Tenant) -> Result<OdooConfig, ConnectionError> {
        let settings = tenant.odoo.as_ref().ok_or(ConnectionError::NotConfigured)?;
        let secret = self.tenants.odoo_secret(tenant, settings).map_err(|error| ConnectionError::Internal(error.to_string()))?;
        Ok(self.config_as(settings, settings.login.clone(), secret))
    }

    /// How a member would be connected to it with what they typed; without a secret the one they saved is taken.
    ///
    /// # Errors
    /// The company has no Odoo, there is no saved secret, or it does not open.
    pub async fn config_own(&self, access: &TenantAccess, tenant: &Tenant, login: String, secret: Option<SecretString>) -> Result<OdooConfig, ConnectionError> {
        let settings = tenant.odoo.as_ref().ok_or(ConnectionError::NotConfigured)?;
        let secret = match secret {
            Some(secret) => secret,
            None => {
                let saved = self.tenants.personal_odoo_saved(access, tenant).await.map_err(|error| ConnectionError::Internal(error.to_string()))?;
                saved.ok_or(ConnectionError::NotConfigured)?
            }
        };
        Ok(self.config_as(settings, login, secret))
    }

    fn config_as(&self, settings: &OdooSettings, login: String, secret: SecretString) -> OdooConfig {
        OdooConfig { url: settings.url.clone(), database: settings.database.clone(), login, secret, protocol: settings.protocol, limits: self.limits, addresses: self.addresses }
    }

    /// The same for settings that are not saved yet. Without a secret the saved one is taken, but only for the server it was given for.
    ///
    /// # Errors
    /// There is no saved secret for that server, or it does not open.
    pub fn config_draft(&self, tenant: &Tenant, draft: OdooDraft) -> Result<OdooConfig, ConnectionError> {
        let secret = match draft.secret {
            Some(secret) => secret,
            None if tenant.odoo_secret_fits(&draft.url) => self.config(tenant)?.secret,
            None => return Err(ConnectionError::NotConfigured),
        };
        Ok(OdooConfig { url: draft.url, database: draft.database, login: draft.login, secret, protocol: draft.protocol, limits: self.limits, addresses: self.addresses })
    }

    async fn build(&self, tenant: &Tenant, own: Option<&PersonalOdoo>) -> Result<Arc<Connection>, ConnectionError> {
        let config = match (own, &tenant.odoo) {
            (Some(own), Some(settings)) => {
                let secret = self.tenants.personal_odoo_secret(tenant, own).map_err(|error| ConnectionError::Internal(error.to_string()))?;
                self.config_as(settings, own.login.clone(), secret)
            }
            _ => self.config(tenant)?,
        };
        let meter = Arc::new(CallMeter::counted_in(&self.traffic));
        let client = OdooClient::connect_through(config, Some(self.lanes.get(tenant)), meter).await.map_err(ConnectionError::Odoo)?;
        let as_member = own.is_some();
        tracing::info!(tenant.id = %tenant.id, odoo.version = %client.version().text, odoo.protocol = ?client.protocol(), as_member, "connected to the tenant's Odoo");
        Ok(Arc::new(Connection { client, facts: Mutex::default() }))
    }
}
