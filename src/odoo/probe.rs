//! The steps of a doctor for one configuration, each with its time and its own failure, so that a person
//! learns *which* part is wrong. It writes nothing. Rights are not looked at: only a caller knows which are needed.

use super::address::{allowed, check_url};
use super::client::OdooClient;
use super::config::{OdooConfig, Protocol};
use super::connect::{detect, sign_in};
use super::error::{OdooError, OdooErrorKind as Kind};
use super::http::Http;
use super::meter::CallMeter;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// One step and how it went.
#[derive(Clone, Debug)]
pub struct ProbeStep {
    /// `name`, `address`, `connection`, `version`, `database` or `login`.
    pub name: &'static str,
    /// Whether it went well.
    pub ok: bool,
    /// What was found, in a few words of English; no secret.
    pub detail: String,
    /// The same as parts, for readers of other languages; nothing when the step failed.
    pub found: Option<Found>,
    /// Milliseconds.
    pub took_ms: u64,
    /// Why it did not go well.
    pub error: Option<OdooError>,
}

/// What a step that went well found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The name has addresses.
    Addresses {
        /// The name.
        host: String,
        /// How many it has.
        count: usize,
    },
    /// The addresses that may be connected to.
    Allowed(String),
    /// TLS was agreed and HTTP answers.
    Tls,
    /// HTTP answers, without TLS.
    Plain,
    /// Something answers; whether it is an Odoo is the next step's matter.
    Something,
    /// The server's version.
    Version(String),
    /// The database's name.
    Database(String),
    /// Who signed in.
    User {
        /// The user's id.
        uid: i64,
        /// The wire in use.
        protocol: Protocol,
    },
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses { host, count } => write!(f, "{host}: {count} address(es)"),
            Self::Allowed(text) | Self::Database(text) => f.write_str(text),
            Self::Tls => f.write_str("TLS agreed, HTTP answers"),
            Self::Plain => f.write_str("HTTP answers, without TLS"),
            Self::Something => f.write_str("something answers"),
            Self::Version(text) => write!(f, "Odoo {text}"),
            Self::User { uid, protocol } => write!(f, "user {uid} over {protocol}"),
        }
    }
}

/// Goes through the steps and stops at the first that fails.
pub async fn probe(config: OdooConfig) -> Vec<ProbeStep> {
    let mut steps = Vec::new();
    probe_each(config, &mut |step| steps.push(step)).await;
    steps
}

/// The same step by step, as each ends; gives the signed-in client if all went well, for steps of the caller's own.
pub async fn probe_each(config: OdooConfig, each: &mut (dyn FnMut(ProbeStep) + Send)) -> Option<OdooClient> {
    run(config, &mut Steps { each, since: Instant::now() }).await
}

async fn run(config: OdooConfig, steps: &mut Steps<'_>) -> Option<OdooClient> {
    let checked = match check_url(&config.url, config.addresses) {
        Ok(url) => url,
        Err(error) => return steps.fail("address", error),
    };
    let host = checked.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = checked.port_or_known_default().unwrap_or(443);
    let wait = Duration::from_millis(config.limits.connect_timeout_ms);
    let found: Vec<_> = match tokio::time::timeout(wait, tokio::net::lookup_host((host.as_str(), port))).await {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => {
            return steps.fail("name", OdooError::new(Kind::Unreachable, format!("The name {host} does not resolve"), error.to_string()));
        }
        Err(_) => {
            return steps.fail("name", OdooError::new(Kind::TimedOut { sent: false }, format!("The name {host} does not resolve in time"), ""));
        }
    };
    let count = found.len();
    steps.pass("name", Found::Addresses { host, count });
    match allowed(found, config.addresses) {
        Ok(kept) => steps.pass("address", Found::Allowed(kept.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", "))),
        Err(refused) => {
            return steps.fail("address", OdooError::new(Kind::AddressRefused, "The name leads to a private or reserved network", refused.to_string()));
        }
    }

    ask(config, checked.scheme() == "https", steps).await
}

/// The steps that need an answer of the server.
async fn ask(config: OdooConfig, tls: bool, steps: &mut Steps<'_>) -> Option<OdooClient> {
    let http = match Http::new(&config, None) {
        Ok(http) => http,
        Err(error) => return steps.fail("connection", error),
    };
    let meter = Arc::new(CallMeter::default());
    let version = match detect(&http, &meter).await {
        Ok(version) => version,
        Err(error) => {
            let before = matches!(error.kind, Kind::Unreachable | Kind::TlsFailed | Kind::AddressRefused | Kind::ConnectionLost | Kind::TimedOut { .. });
            if !before {
                steps.pass("connection", Found::Something);
            }
            return steps.fail(if before { "connection" } else { "version" }, error);
        }
    };
    steps.pass("connection", if tls { Found::Tls } else { Found::Plain });
    steps.pass("version", Found::Version(version.text.clone()));

    let database = Found::Database(config.database.clone());
    match sign_in(config, http, version, meter).await {
        Ok(client) => {
            steps.pass("database", database);
            steps.pass("login", Found::User { uid: client.uid(), protocol: client.protocol() });
            Some(client)
        }
        Err(error) if error.kind == Kind::DatabaseNotFound => steps.fail("database", error),
        Err(error) => {
            if matches!(error.kind, Kind::BadCredentials | Kind::AccessDenied) {
                steps.pass("database", database);
            }
            steps.fail("login", error)
        }
    }
}

struct Steps<'a> {
    each: &'a mut (dyn FnMut(ProbeStep) + Send),
    since: Instant,
}

impl Steps<'_> {
    fn took(&mut self) -> u64 {
        let took = self.since.elapsed().as_millis();
        self.since = Instant::now();
        u64::try_from(took).unwrap_or(u64::MAX)
    }

    fn pass(&mut self, name: &'static str, found: Found) {
        let took_ms = self.took();
        (self.each)(ProbeStep { name, ok: true, detail: found.to_string(), found: Some(found), took_ms, error: None });
    }

    fn fail<T>(&mut self, name: &'static str, error: OdooError) -> Option<T> {
        let took_ms = self.took();
        (self.each)(ProbeStep { name, ok: false, detail: error.message.clone(), found: None, took_ms, error: Some(error) });
        None
    }
}
