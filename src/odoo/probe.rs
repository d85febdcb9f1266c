//! The steps of a doctor for one configuration, each with its time and its own failure, so that a person
//! learns *which* part is wrong. It writes nothing. Rights are not looked at: only a caller knows which are needed.

use super::address::{allowed, check_url};
use super::client::OdooClient;
use super::config::OdooConfig;
use super::connect::{detect, sign_in};
use super::error::{OdooError, OdooErrorKind as Kind};
use super::http::Http;
use super::meter::CallMeter;
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
    /// Milliseconds.
    pub took_ms: u64,
    /// Why it did not go well.
    pub error: Option<OdooError>,
}

/// Goes through the steps and stops at the first that fails.
pub async fn probe(config: OdooConfig) -> Vec<ProbeStep> {
    probe_client(config).await.0
}

/// The same, and the signed-in client if all went well, for steps of the caller's own.
pub async fn probe_client(config: OdooConfig) -> (Vec<ProbeStep>, Option<OdooClient>) {
    let mut steps = Steps { list: Vec::new(), since: Instant::now() };
    let client = run(config, &mut steps).await;
    (steps.list, client)
}

async fn run(config: OdooConfig, steps: &mut Steps) -> Option<OdooClient> {
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
    let number = found.len();
    steps.pass("name", format!("{host}: {number} address(es)"));
    match allowed(found, config.addresses) {
        Ok(kept) => steps.pass("address", kept.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ")),
        Err(refused) => {
            return steps.fail("address", OdooError::new(Kind::AddressRefused, "The name leads to a private or reserved network", refused.to_string()));
        }
    }

    ask(config, checked.scheme() == "https", steps).await
}

/// The steps that need an answer of the server.
async fn ask(config: OdooConfig, tls: bool, steps: &mut Steps) -> Option<OdooClient> {
    let http = match Http::new(&config) {
        Ok(http) => http,
        Err(error) => return steps.fail("connection", error),
    };
    let meter = Arc::new(CallMeter::default());
    let version = match detect(&http, &meter).await {
        Ok(version) => version,
        Err(error) => {
            let before = matches!(error.kind, Kind::Unreachable | Kind::TlsFailed | Kind::AddressRefused | Kind::ConnectionLost | Kind::TimedOut { .. });
            if !before {
                steps.pass("connection", "something answers".to_owned());
            }
            return steps.fail(if before { "connection" } else { "version" }, error);
        }
    };
    steps.pass("connection", if tls { "TLS agreed, HTTP answers".to_owned() } else { "HTTP answers, without TLS".to_owned() });
    steps.pass("version", format!("Odoo {}", version.text));

    let database = config.database.clone();
    match sign_in(config, http, version, meter).await {
        Ok(client) => {
            steps.pass("database", database);
            steps.pass("login", format!("user {} over {}", client.uid(), client.protocol()));
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

struct Steps {
    list: Vec<ProbeStep>,
    since: Instant,
}

impl Steps {
    fn took(&mut self) -> u64 {
        let took = self.since.elapsed().as_millis();
        self.since = Instant::now();
        u64::try_from(took).unwrap_or(u64::MAX)
    }

    fn pass(&mut self, name: &'static str, detail: String) {
        let took_ms = self.took();
        self.list.push(ProbeStep { name, ok: true, detail, took_ms, error: None });
    }

    fn fail<T>(&mut self, name: &'static str, error: OdooError) -> Option<T> {
        let took_ms = self.took();
        self.list.push(ProbeStep { name, ok: false, detail: error.message.clone(), took_ms, error: Some(error) });
        None
    }
}
