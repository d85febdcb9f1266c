//! The client: one signed-in user of one Odoo, the same over every wire and version.
//!
//! Reads are repeated once when their connection dies before a byte of the answer; writes never once
//! anything of them was sent. Cloning is cheap: clones share connections, login and (unless given another)
//! the meter.

use super::config::Protocol;
use super::error::{OdooError, OdooErrorKind as Kind};
use super::flights::{Flights, flight_key};
use super::gate::{Turn, Urgency};
use super::http::{Credentials, Http};
use super::meter::CallMeter;
use super::version::OdooVersion;
use super::wire::call::{Call, Outgoing};
use super::wire::xmlrpc_object::Outcome;
use super::wire::{json2, jsonrpc, xmlrpc_object};
use super::{classify::Subject, domain_parse::is_field_path};
use regex::Regex;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::{Arc, LazyLock};
use tokio::time::Instant;
use url::Url;

/// How Odoo 14 writes records over JSON-RPC: `account.move(5,)`.
static RECORDS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*\((?:\d+(?:, ?\d+)*,?)?\)$").expect("the pattern is constant and was tested"));

/// A signed-in user of one Odoo.
#[derive(Clone)]
pub struct OdooClient {
    pub(super) shared: Arc<Shared>,
    pub(super) context: Arc<Map<String, Value>>,
    pub(super) turn: Turn,
    pub(super) meter: Arc<CallMeter>,
}

/// What clones have in common.
pub(super) struct Shared {
    pub(super) http: Http,
    pub(super) version: OdooVersion,
    pub(super) protocol: Protocol,
    pub(super) database: String,
    pub(super) secret: SecretString,
    pub(super) credentials: Option<Credentials>,
    pub(super) uid: i64,
    pub(super) lang: Option<String>,
    pub(super) tz: Option<String>,
    pub(super) flights: Flights,
}

impl fmt::Debug for OdooClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &self.shared;
        f.debug_struct("OdooClient")
            .field("base", &shared.http.base.as_str())
            .field("database", &shared.database)
            .field("version", &shared.version.text)
            .field("protocol", &shared.protocol)
            .field("uid", &shared.uid)
            .finish_non_exhaustive()
    }
}

impl OdooClient {
    /// The server's version.
    #[must_use]
    pub fn version(&self) -> &OdooVersion {
        &self.shared.version
    }

    /// The wire in use.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.shared.protocol
    }

    /// The user's id.
    #[must_use]
    pub fn uid(&self) -> i64 {
        self.shared.uid
    }

    /// The server's address, ending in `/`.
    #[must_use]
    pub fn base_url(&self) -> &Url {
        &self.shared.http.base
    }

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.shared.database
    }

    /// The user's language (`es_DO`), where Odoo told it. It is not sent by itself: see [`Self::with_context`].
    #[must_use]
    pub fn user_lang(&self) -> Option<&str> {
        self.shared.lang.as_deref()
    }

    /// The user's time zone (`America/Santo_Domingo`), where Odoo told it.
    #[must_use]
    pub fn user_tz(&self) -> Option<&str> {
        self.shared.tz.as_deref()
    }

    /// Requests and time so far, over all clones that share the meter.
    #[must_use]
    pub fn metrics(&self) -> &CallMeter {
        &self.meter
    }

    /// A clone whose every call carries these members in its `context`, over those it already carries.
    #[must_use]
    pub fn with_context(&self, context: Map<String, Value>) -> OdooClient {
        let mut merged = (*self.context).clone();
        merged.extend(context);
        OdooClient { context: Arc::new(merged), ..self.clone() }
    }

    /// A clone whose every request ends by then, with [`Kind::TimedOut`].
    #[must_use]
    pub fn with_deadline(&self, at: Instant) -> OdooClient {
        OdooClient { turn: Turn { deadline: Some(at), ..self.turn }, ..self.clone() }
    }

    /// A clone whose requests go before or after those of others where not all can go at once.
    #[must_use]
    pub fn with_urgency(&self, urgency: Urgency) -> OdooClient {
        OdooClient { turn: Turn { urgency, ..self.turn }, ..self.clone() }
    }

    /// A clone that counts its requests here.
    #[must_use]
    pub fn with_meter(&self, meter: Arc<CallMeter>) -> OdooClient {
        OdooClient { meter, ..self.clone() }
    }

    /// Calls a method that changes nothing. It is sent again, once, when the connection dies before a byte of the answer.
    ///
    /// # Errors
    /// Any [`OdooError`].
    pub async fn call_read(&self, model: &str, method: &str, ids: Option<&[i64]>, named: Map<String, Value>) -> Result<Value, OdooError> {
        match self.invoke(model, method, ids, named, true).await? {
            Outcome::Value(value) => Ok(value),
            Outcome::Unwritable => Err(OdooError::new(Kind::ServerFault, "Odoo cannot write this answer as XML-RPC; use another protocol", format!("{model}.{method}"))),
        }
    }

    /// Calls a method that changes something. It is never sent again. A method that returns nothing answers null, also
    /// over XML-RPC, where Odoo says "cannot marshal" *after* it has committed.
    ///
    /// # Errors
    /// Any [`OdooError`]; look at [`OdooError::outcome_unknown`] before doing it again.
    pub async fn call_write(&self, model: &str, method: &str, ids: Option<&[i64]>, named: Map<String, Value>) -> Result<Value, OdooError> {
        match self.invoke(model, method, ids, named, false).await? {
            Outcome::Value(value) => Ok(value),
            Outcome::Unwritable => Ok(Value::Null),
        }
    }

    async fn invoke(&self, model: &str, method: &str, ids: Option<&[i64]>, mut named: Map<String, Value>, repeatable: bool) -> Result<Outcome, OdooError> {
        if !is_field_path(model) || !is_field_path(method) || method.contains('.') {
            return Err(OdooError::new(Kind::BadArguments, "That is not the name of a model and a public method", format!("{model:?}.{method:?}")));
        }
        let shared = &*self.shared;
        let mut context = (*self.context).clone();
        if let Some(Value::Object(own)) = named.shift_remove("context") {
            context.extend(own);
        }
        let call = Call { model, method, ids, named, context };
        let secret = shared.secret.expose_secret();
        let outgoing = match shared.protocol {
            Protocol::Json2 => json2::request(&call),
            Protocol::JsonRpc => jsonrpc::request(&call, &shared.database, shared.uid, secret),
            Protocol::XmlRpc => xmlrpc_object::request(&call, &shared.database, shared.uid, secret),
        };
        if repeatable {
            let key = flight_key(&outgoing, self.turn.urgency);
            let (client, model, method) = (self.clone(), model.to_owned(), method.to_owned());
            return shared.flights.join(key, self.turn.deadline, &self.meter, move || async move { client.perform(&outgoing, &model, &method, true).await }).await;
        }
        // What is read from now on must not be the answer to a question that was asked before this write.
        shared.flights.forget();
        let result = self.perform(&outgoing, model, method, false).await;
        shared.flights.forget();
        result
    }

    async fn perform(&self, outgoing: &Outgoing, model: &str, method: &str, repeatable: bool) -> Result<Outcome, OdooError> {
        let shared = &*self.shared;
        let secret = shared.secret.expose_secret();
        let answer = shared.http.post(outgoing, shared.credentials.as_ref(), self.turn, repeatable, &self.meter).await?;
        let subject = Subject { model, method, uid: shared.uid, database: &shared.database, writes: !repeatable };
        let limits = shared.http.limits.decode();
        let online = shared.http.online || shared.version.is_saas();
        let outcome = match shared.protocol {
            Protocol::Json2 => json2::answer(&answer, &limits, &subject, online).map(Outcome::Value),
            Protocol::JsonRpc => jsonrpc::answer(&answer, &limits, &subject, online).map(|value| Outcome::Value(records_as_ids(value))),
            Protocol::XmlRpc => xmlrpc_object::answer(&answer, &limits, &subject, online),
        };
        outcome.map_err(|error| without(error.wait(answer.retry_after_s), secret))
    }
}

/// `"account.move(5,)"` → `[5]`, what newer servers answer for records.
pub(super) fn records_as_ids(value: Value) -> Value {
    if let Value::String(text) = &value
        && text.len() < 100_000
        && text.ends_with(')')
        && RECORDS.is_match(text)
    {
        let inside = text.split_once('(').map_or("", |(_, inside)| inside);
        return inside.split([',', ')', ' ']).filter_map(|id| id.parse::<i64>().ok()).map(Value::from).collect();
    }
    value
}

/// Takes the secret out, should Odoo (or whoever answers in its place) have sent it back.
pub(super) fn without(error: OdooError, secret: &str) -> OdooError {
    if secret.len() < 4 || !(error.message.contains(secret) || error.cause.contains(secret)) {
        return error;
    }
    OdooError { message: error.message.replace(secret, "…"), cause: error.cause.replace(secret, "…"), kind: error.kind }
}

/// The members of an object that was written out in this file.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn records_written_as_text_become_ids() {
        for (from, want) in [
            (json!("account.move(5,)"), json!([5])),
            (json!("mail.activity(24, 25)"), json!([24, 25])),
            (json!("account.move()"), json!([])),
            (json!("Cemento (42)"), json!("Cemento (42)")),
            (json!("tornillo(5x)"), json!("tornillo(5x)")),
            (json!(5), json!(5)),
        ] {
            assert_eq!(records_as_ids(from), want);
        }
    }

    #[test]
    fn a_secret_that_comes_back_is_taken_out() {
        let error = without(OdooError::new(Kind::ServerFault, "bad hunter2!", "x hunter2"), "hunter2");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
