//! What a tool may touch: its own tenant's Odoo, the padrón, the clock. No database, no vault, no other tenant.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::error::{Code, ToolError};
use super::tool::Pack;
use crate::clock::Clock;
use crate::dgii::Padron;
use crate::domain::connections::{Connection, ConnectionError, Connections};
use crate::domain::limits::QuotaView;
use crate::domain::tokens::{Caller, OdooAs};
use crate::odoo::{CallMeter, OdooClient, Urgency};
use crate::text::{Language, fill};

/// The context of one call. Cheap to clone.
#[derive(Clone)]
pub struct ToolCx {
    inner: Arc<Inner>,
}

struct Inner {
    caller: Caller,
    connections: Connections,
    padron: Padron,
    clock: Clock,
    meter: Arc<CallMeter>,
    deadline: Instant,
    quota: QuotaView,
    reference: String,
    progress: Option<Progress>,
}

/// How far a call is, for who asked to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Steps done.
    pub done: u32,
    /// Steps in all.
    pub of: u32,
    /// What is being done, as the key of a sentence.
    pub doing: &'static str,
}

/// Hears of the steps of a call. It must not wait.
pub type Progress = Arc<dyn Fn(Step) + Send + Sync>;

/// What `dispatch` puts a [`ToolCx`] together from.
pub struct ToolCxParts {
    /// Who calls.
    pub caller: Caller,
    /// The warm Odoo clients.
    pub connections: Connections,
    /// The taxpayer listing.
    pub padron: Padron,
    /// Now.
    pub clock: Clock,
    /// Counts requests to Odoo and the time in them.
    pub meter: Arc<CallMeter>,
    /// When the call must have ended.
    pub deadline: Instant,
    /// The month's quota as it stands.
    pub quota: QuotaView,
    /// Names this operation in Odoo's own fields (a quotation's `origin`): `dunet:…`.
    pub reference: String,
    /// Who wants to hear of its steps.
    pub progress: Option<Progress>,
}

impl ToolCx {
    /// Only `dispatch` makes one.
    #[must_use]
    pub(super) fn new(parts: ToolCxParts) -> Self {
        let ToolCxParts { caller, connections, padron, clock, meter, deadline, quota, reference, progress } = parts;
        Self { inner: Arc::new(Inner { caller, connections, padron, clock, meter, deadline, quota, reference, progress }) }
    }

    /// Who calls: only to read names and permissions from.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.inner.caller
    }

    /// The names of the tools this caller may use, in the register's order.
    #[must_use]
    pub fn tools_permitted(&self) -> Vec<&'static str> {
        super::dispatch::permitted(self.caller()).map(|facts| facts.name).collect()
    }

    /// The language of the token.
    #[must_use]
    pub fn language(&self) -> Language {
        self.inner.caller.language()
    }

    /// A sentence from `locales/` in the caller's language.
    #[must_use]
    pub fn say(&self, key: &str, facts: &[(&str, &str)]) -> String {
        fill(self.language(), key, facts)
    }

    /// The taxpayer listing.
    #[must_use]
    pub fn padron(&self) -> &Padron {
        &self.inner.padron
    }

    /// The tenant's zone; dates shown are in it.
    #[must_use]
    pub fn timezone(&self) -> Tz {
        self.inner.caller.tenant().timezone
    }

    /// Now, UTC.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.inner.clock.now()
    }

    /// Today in the tenant's zone.
    #[must_use]
    pub fn today(&self) -> NaiveDate {
        self.now().with_timezone(&self.timezone()).date_naive()
    }

    /// The month's quota as it stood when the call began.
    #[must_use]
    pub fn quota(&self) -> &QuotaView {
        &self.inner.quota
    }

    /// Names this write in Odoo's own fields, so that it can be found again: `dunet:…`. New at every call: leave it out of the plan.
    #[must_use]
    pub fn reference(&self) -> &str {
        &self.inner.reference
    }

    /// Tells a step to who asked for it.
    pub fn step(&self, done: u32, of: u32, doing: &'static str) {
        if let Some(progress) = &self.inner.progress {
            progress(Step { done, of, doing });
        }
    }

    /// The tenant's Odoo: warm, with the language and zone of its user, bound to the deadline of this call.
    ///
    /// # Errors
    /// No connection is configured, or it cannot be made.
    pub async fn odoo(&self) -> Result<OdooClient, ToolError> {
        let connection = self.connection().await?;
        let client = connection.client();
        let mut context = Map::new();
        context.insert("lang".to_owned(), json!(client.user_lang().unwrap_or("en_US")));
        context.insert("tz".to_owned(), json!(self.timezone().name()));
        Ok(client.with_context(context).with_deadline(self.inner.deadline).with_urgency(self.urgency()).with_meter(Arc::clone(&self.inner.meter)))
    }

    /// A value about this tenant's Odoo that changes rarely (companies, installed apps, field lists), computed at most once in five
    /// minutes per connection and forgotten when the connection is edited.
    ///
    /// # Errors
    /// Those of `make`, which are not remembered.
    pub async fn remembered<F>(&self, key: &'static str, make: F) -> Result<Arc<Value>, ToolError>
    where
        F: Future<Output = Result<Value, ToolError>> + Send,
    {
        let connection = self.connection().await?;
        if let Some(value) = connection.fact(key) {
            return Ok(value);
        }
        let value = make.await?;
        if super::bound::weight(&value) > super::bound::RESULT_BYTES_MAX {
            return Err(ToolError::new(Code::RespuestaGrande).cause(format!("the fact {key:?} weighs too much to be remembered")));
        }
        let value = Arc::new(value);
        connection.fact_keep(key, Arc::clone(&value));
        Ok(value)
    }

    /// Somebody on the telephone goes before somebody who reads reports.
    fn urgency(&self) -> Urgency {
        let is = |pack: Pack| move |own: &String| own == pack.as_str();
        match self.inner.caller.packs() {
            Some(packs) if packs.iter().any(is(Pack::Voice)) => Urgency::High,
            Some(packs) if !packs.is_empty() && packs.iter().all(is(Pack::Analyst)) => Urgency::Low,
            _ => Urgency::Normal,
        }
    }

    async fn connection(&self) -> Result<Arc<Connection>, ToolError> {
        let caller = &self.inner.caller;
        let own = match caller.odoo_as() {
            OdooAs::Company => None,
            OdooAs::Member(own) => Some(own),
            OdooAs::Nobody => return Err(ToolError::new(Code::OdooPropioFalta)),
        };
        // The first call of a cold tenant logs in; that too must end by the deadline, whatever Odoo does.
        let get = self.inner.connections.get(caller.tenant(), own);
        match tokio::time::timeout_at(self.inner.deadline, get).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => match &*error {
                ConnectionError::NotConfigured => Err(ToolError::new(Code::OdooSinConfigurar)),
                ConnectionError::Odoo(error) => {
                    let mut error = ToolError::from(error.clone());
                    error.outcome_unknown = false; // logging in writes nothing
                    Err(error)
                }
                ConnectionError::Internal(cause) => Err(ToolError::internal(cause)),
            },
            Err(_) => Err(ToolError::new(Code::OdooLento).cause("login did not end by the deadline")),
        }
    }
}
