//! From a configuration to a signed-in client: which Odoo, which wire, which user.
//!
//! The version is asked without credentials. With `auto`, JSON-2 is taken when the server has it and the
//! secret looks like an API key that the server accepts; a plain password (or a key that is not for RPC)
//! goes over JSON-RPC, and over XML-RPC where JSON-RPC is closed. JSON-RPC comes first of the two because
//! its errors name their exception and its methods may return nothing.

use super::classify::Subject;
use super::client::{OdooClient, Shared, object, without};
use super::config::{OdooConfig, Protocol, ProtocolChoice};
use super::error::{OdooError, OdooErrorKind as Kind};
use super::flights::Flights;
use super::gate::{RequestGate, Turn};
use super::http::{Credentials, Http};
use super::meter::CallMeter;
use super::version::{MAJOR_MIN, OdooVersion};
use super::wire::call::{Call, Outgoing};
use super::wire::page::foreign;
use super::wire::xmlrpc_object::{self, Outcome};
use super::wire::{DecodeError, json, json2, jsonrpc};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use std::sync::Arc;

impl OdooClient {
    /// Finds out the server's version, chooses the wire, signs in and learns the user's id, language and time zone.
    ///
    /// # Errors
    /// Any [`OdooError`] whose kind fits: the address, the server, the version, the database or the credentials.
    pub async fn connect(config: OdooConfig) -> Result<OdooClient, OdooError> {
        Self::connect_through(config, None, Arc::default()).await
    }

    /// The same, with a gate before every request (those of the login, too), counted there.
    ///
    /// # Errors
    /// Any [`OdooError`] whose kind fits, those of the gate among them.
    pub async fn connect_through(config: OdooConfig, gate: Option<Arc<dyn RequestGate>>, meter: Arc<CallMeter>) -> Result<OdooClient, OdooError> {
        let http = Http::new(&config, gate)?;
        let version = detect(&http, &meter).await?;
        sign_in(config, http, version, meter).await
    }
}

/// What a login gave.
struct Login {
    protocol: Protocol,
    credentials: Option<Credentials>,
    uid: i64,
    lang: Option<String>,
    tz: Option<String>,
}

/// Asks for the version, without credentials.
pub(super) async fn detect(http: &Http, meter: &CallMeter) -> Result<OdooVersion, OdooError> {
    let asked = Outgoing { path: "web/webclient/version_info".to_owned(), content_type: "application/json", body: b"{}".to_vec(), in_headers: false };
    let mut answer = http.post(&asked, None, Turn::default(), true, meter).await?;
    if matches!(answer.status, 404 | 405) {
        // A proxy that only lets the API through.
        answer = http.post(&jsonrpc::service("common", "version", &[]), None, Turn::default(), true, meter).await?;
    }
    let subject = Subject::default();
    let value = json::decode(&answer.body, &http.limits.decode()).map_err(|why| foreign(&answer, None, &why, &subject, false))?;
    let result = jsonrpc::result_of(value, &answer, &subject, http.online)?;
    let version = OdooVersion::from_answer(&result).ok_or_else(|| foreign(&answer, None, &DecodeError::WrongShape("no version".to_owned()), &subject, false))?;
    if !version.is_supported() {
        return Err(OdooError::new(Kind::VersionNotSupported, format!("Odoo {} is too old; {MAJOR_MIN} or later is needed", version.text), ""));
    }
    Ok(version)
}

/// Chooses the wire and signs in.
pub(super) async fn sign_in(config: OdooConfig, http: Http, version: OdooVersion, meter: Arc<CallMeter>) -> Result<OdooClient, OdooError> {
    let attempt = Attempt { config: &config, http: &http, version: &version, meter: &meter };
    let login = attempt.choose().await.map_err(|error| without(error, config.secret.expose_secret()))?;
    let Login { protocol, credentials, uid, lang, tz } = login;
    let mut client = OdooClient {
        shared: Arc::new(Shared { http, version, protocol, database: config.database, secret: config.secret, credentials, uid, lang, tz, flights: Flights::default() }),
        context: Arc::new(Map::new()),
        turn: Turn::default(),
        meter,
    };
    if protocol != Protocol::Json2 {
        // `context_get` of Odoo 14 cannot be written as XML-RPC; one's own language may always be read.
        let named = object(json!({"fields": ["lang", "tz"]}));
        let mut own = client.call_read("res.users", "read", Some(&[uid]), named).await.map_or(Value::Null, |mut rows| rows[0].take());
        if let Some(shared) = Arc::get_mut(&mut client.shared) {
            (shared.lang, shared.tz) = (text(&mut own, "lang"), text(&mut own, "tz"));
        }
    }
    Ok(client)
}

/// Whether a secret has the form of Odoo's API keys: 20 random bytes in hexadecimal.
pub(super) fn looks_like_api_key(secret: &str) -> bool {
    secret.len() == 40 && secret.bytes().all(|b| b.is_ascii_hexdigit())
}

struct Attempt<'a> {
    config: &'a OdooConfig,
    http: &'a Http,
    version: &'a OdooVersion,
    meter: &'a CallMeter,
}

impl Attempt<'_> {
    async fn choose(&self) -> Result<Login, OdooError> {
        let version = self.version;
        match self.config.protocol {
            ProtocolChoice::Json2 if !version.has_json2() => Err(self.not_served("JSON-2")),
            ProtocolChoice::Json2 => self.json2().await,
            ProtocolChoice::XmlRpc if !version.has_legacy_rpc() => Err(self.not_served("XML-RPC")),
            ProtocolChoice::XmlRpc => self.legacy(Protocol::XmlRpc).await,
            ProtocolChoice::JsonRpc if !version.has_legacy_rpc() => Err(self.not_served("JSON-RPC")),
            ProtocolChoice::JsonRpc => self.legacy(Protocol::JsonRpc).await,
            ProtocolChoice::Auto if !version.has_legacy_rpc() => self.json2().await,
            ProtocolChoice::Auto if version.has_json2() && looks_like_api_key(self.secret()) => match self.json2().await {
                Err(error) if error.kind == Kind::BadCredentials => self.older().await,
                other => other,
            },
            ProtocolChoice::Auto => self.older().await,
        }
    }

    async fn older(&self) -> Result<Login, OdooError> {
        match self.legacy(Protocol::JsonRpc).await {
            // Closed by a proxy, or not there.
            Err(error) if matches!(error.kind, Kind::VersionNotSupported | Kind::AccessDenied | Kind::NotOdoo) => self.legacy(Protocol::XmlRpc).await,
            other => other,
        }
    }

    /// One request: the key is checked and the user's id, language and time zone come back.
    async fn json2(&self) -> Result<Login, OdooError> {
        let credentials = Credentials::new(self.secret(), &self.config.database)?;
        let call = Call { model: "res.users", method: "context_get", ids: None, named: Map::new(), context: Map::new() };
        let answer = self.http.post(&json2::request(&call), Some(&credentials), Turn::default(), true, self.meter).await?;
        let subject = Subject { model: "res.users", method: "context_get", database: &self.config.database, ..Subject::default() };
        let mut found = json2::answer(&answer, &self.http.limits.decode(), &subject, self.online())?;
        let uid = found["uid"].as_i64().ok_or_else(|| OdooError::new(Kind::ServerFault, "Odoo did not say who signed in", found.to_string()))?;
        Ok(Login { protocol: Protocol::Json2, credentials: Some(credentials), uid, lang: text(&mut found, "lang"), tz: text(&mut found, "tz") })
    }

    /// `authenticate` of the service `common`, over either of the older wires. It answers an id, or `false`.
    async fn legacy(&self, protocol: Protocol) -> Result<Login, OdooError> {
        let params = [json!(self.config.database), json!(self.config.login), json!(self.secret()), json!({})];
        let xml = protocol == Protocol::XmlRpc;
        let outgoing = if xml { xmlrpc_object::common("authenticate", &params) } else { jsonrpc::service("common", "authenticate", &params) };
        let answer = self.http.post(&outgoing, None, Turn::default(), true, self.meter).await?;
        let limits = self.http.limits.decode();
        let subject = Subject { method: "authenticate", database: &self.config.database, ..Subject::default() };
        let found =
            if xml { xmlrpc_object::answer(&answer, &limits, &subject, self.online())? } else { Outcome::Value(jsonrpc::answer(&answer, &limits, &subject, self.online())?) };
        let uid = match found {
            Outcome::Value(found) => found.as_i64().filter(|uid| *uid > 0),
            Outcome::Unwritable => None,
        };
        match uid {
            Some(uid) => Ok(Login { protocol, credentials: None, uid, lang: None, tz: None }),
            // `false` for a wrong login, password or key, and for a password where two-factor login is on.
            None => Err(OdooError::new(Kind::BadCredentials, "Odoo does not accept the login, password or API key", "authenticate answered no user")),
        }
    }

    fn secret(&self) -> &str {
        self.config.secret.expose_secret()
    }

    fn online(&self) -> bool {
        self.http.online || self.version.is_saas()
    }

    fn not_served(&self, wire: &str) -> OdooError {
        OdooError::new(Kind::VersionNotSupported, format!("Odoo {} does not serve {wire}", self.version.text), "")
    }
}

fn text(from: &mut Value, name: &str) -> Option<String> {
    match from.get_mut(name).map(Value::take) {
        Some(Value::String(text)) if !text.is_empty() && text.len() <= 64 => Some(text),
        _ => None,
    }
}
