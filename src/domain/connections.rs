//! Warm Odoo clients, one per tenant: built once however many calls wait for it, dropped when unused or when the tenant is edited.

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
use super::tenants::{Tenant, Tenants};
use crate::clock::instant;
use crate::ids::TenantId;
pub use crate::odoo::OdooConfig;
use crate::odoo::address::check_url;
use crate::odoo::{AddressPolicy, CallMeter, OdooClient, OdooError, OdooLimits, OdooTraffic, ProtocolChoice};

/// How long facts about a tenant's Odoo (installed apps, field lists) are kept, seconds.
const FACTS_TTL_S: u64 = 300;
/// A warm client is made anew after so long, seconds: an Odoo may have been upgraded or restored meanwhile.
const CONNECTION_TTL_S: u64 = 3600;

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

/// The connections of all tenants. Cheap to clone.
#[derive(Clone)]
pub struct Connections {
    tenants: Tenants,
    addresses: AddressPolicy,
    limits: OdooLimits,
    /// Keyed by the tenant, its last edit and when it was last forgotten: a client that was being built from older settings can never be
    /// found by a caller who knows better, and what is no longer asked for goes by idleness.
    warm: Cache<(TenantId, DateTime<Utc>, u64), Arc<Connection>>,
    epochs: Epochs,
    lanes: Lanes,
    traffic: Arc<OdooTraffic>,
}

impl Connections {
    /// At most `connections_max` warm clients, each dropped after `idle_s` seconds without use.
    #[must_use]
    pub fn new(tenants: Tenants, addresses: AddressPolicy, limits: OdooLimits, lanes: Lanes, connections_max: u64, idle_s: u64) -> Self {
        let warm = Cache::builder().max_capacity(connections_max).time_to_idle(Duration::from_secs(idle_s)).time_to_live(Duration::from_secs(CONNECTION_TTL_S)).build();
        Self { tenants, addresses, limits, warm, epochs: Epochs::default(), lanes, traffic: Arc::default() }
    }

    /// The tenant's warm client; the first of several waiting calls builds it, the others get the same result.
    ///
    /// # Errors
    /// See [`ConnectionError`]. A failure is not remembered.
    pub async fn get(&self, tenant: &Tenant) -> Result<Arc<Connection>, Arc<ConnectionError>> {
        let key = (tenant.id, tenant.edited_at, self.epochs.forgotten_at(tenant.id));
        self.warm.try_get_with(key, self.build(tenant)).await
    }

    /// Forgets a tenant's client: the next call builds a new one from the settings as they are then.
    pub fn forget(&self, tenant: TenantId) {
        self.epochs.forget(tenant);
    }

    /// Requests to all Odoos, for the metrics.
    #[must_use]
    pub fn traffic(&self) -> &Arc<OdooTraffic> {
        &self.traffic
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
        Ok(OdooConfig {
            url: settings.url.clone(),
            database: settings.database.clone(),
            login: settings.login.clone(),
            secret,
            protocol: settings.protocol,
            limits: self.limits,
            addresses: self.addresses,
        })
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

    async fn build(&self, tenant: &Tenant) -> Result<Arc<Connection>, ConnectionError> {
        let meter = Arc::new(CallMeter::counted_in(&self.traffic));
        let client = OdooClient::connect_through(self.config(tenant)?, Some(self.lanes.get(tenant)), meter).await.map_err(ConnectionError::Odoo)?;
        tracing::info!(tenant.id = %tenant.id, odoo.version = %client.version().text, odoo.protocol = ?client.protocol(), "connected to the tenant's Odoo");
        Ok(Arc::new(Connection { client, facts: Mutex::default() }))
    }
}
