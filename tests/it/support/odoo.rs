//! Around a tenant's Odoo: a direct client to look and change behind the service's back, a proxy that breaks one request at a chosen
//! point, and a service that does not allow private addresses.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dunet::boot::Service;
use dunet::clock::Clock;
use dunet::config::ServeConfig;
use dunet::demo::sandbox::SandboxOdoo;
use dunet::domain::tenants::NewOdoo;
use dunet::domain::vault::Vault;
use dunet::odoo::{AddressPolicy, OdooClient, OdooConfig, OdooLimits, ProtocolChoice};
use dunet::state::AppState;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::cutter::{self, Cut};
use super::{Backend, TestApp, VAULT_KEY, config, database};

/// Longest wait for something that must happen.
const WAIT: Duration = Duration::from_secs(20);

/// A client of the sandbox that does not go through the service.
pub(crate) async fn direct(sandbox: &SandboxOdoo, url: &str) -> OdooClient {
    let config = OdooConfig {
        url: url.parse().expect("an address"),
        database: sandbox.database().to_owned(),
        login: sandbox.login().to_owned(),
        secret: sandbox.api_key().into(),
        protocol: ProtocolChoice::Json2,
        limits: OdooLimits::default(),
        addresses: AddressPolicy::AllowPrivate,
    };
    OdooClient::connect(config).await.expect("the sandbox answers")
}

/// How many records of a model fit a domain.
pub(crate) async fn count(odoo: &OdooClient, model: &str, domain: Value) -> u64 {
    let named = Map::from_iter([("domain".to_owned(), domain)]);
    odoo.call_read(model, "search_count", None, named).await.expect("counted").as_u64().expect("a number")
}

/// The records of a model that fit a domain, with these fields.
pub(crate) async fn records(odoo: &OdooClient, model: &str, domain: Value, fields: &[&str]) -> Vec<Value> {
    let named = Map::from_iter([("domain".to_owned(), domain), ("fields".to_owned(), json!(fields))]);
    odoo.call_read(model, "search_read", None, named).await.expect("read").as_array().expect("a list").clone()
}

/// How a tenant's connection to a sandbox at that address is configured.
pub(crate) fn settings(sandbox: &SandboxOdoo, url: &str, protocol: ProtocolChoice) -> NewOdoo {
    NewOdoo {
        url: url.parse().expect("an address"),
        database: sandbox.database().to_owned(),
        login: sandbox.login().to_owned(),
        secret: SecretString::from(sandbox.api_key().to_owned()),
        protocol,
    }
}

/// What happens to the one request that holds the needle.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It is forwarded and executed; its answer is lost and the connection closed.
    LoseAnswer,
    /// It is answered; from then on nobody listens.
    CloseDoor,
    /// It is forwarded and executed; this is answered instead (a whole HTTP response).
    Answer(Vec<u8>),
    /// It is forwarded and executed; its answer waits for [`Proxy::release`].
    Hold,
    /// It is not forwarded; this is answered and the connection stays open (a hang, when it is not a whole response).
    Instead(Vec<u8>),
    /// It or its answer is cut.
    Cut(Cut),
}

struct Shared {
    upstream: SocketAddr,
    fault: Mutex<Option<(String, Fault)>>,
    seen: Mutex<Vec<String>>,
    open: watch::Sender<bool>,
    listening: watch::Sender<bool>,
    held: Notify,
    released: Notify,
}

/// A proxy in front of an Odoo that closes every connection after one answer, as a bare Odoo does.
pub(crate) struct Proxy {
    pub(crate) url: String,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// In front of the Odoo at that address.
    pub(crate) async fn start(upstream: &str) -> Self {
        let upstream = upstream.trim_start_matches("http://").parse().expect("an address");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            upstream,
            fault: Mutex::default(),
            seen: Mutex::default(),
            open: watch::channel(true).0,
            listening: watch::channel(true).0,
            held: Notify::new(),
            released: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(Arc::clone(&shared), listener, address));
        Self { url: format!("http://{address}"), shared, _tasks: tasks }
    }

    /// Breaks the next request that holds the needle.
    pub(crate) fn break_next(&self, needle: &str, fault: Fault) {
        *self.shared.fault.lock().expect("no panic") = Some((needle.to_owned(), fault));
    }

    /// How many requests held the needle so far.
    pub(crate) fn seen(&self, needle: &str) -> usize {
        self.shared.seen.lock().expect("no panic").iter().filter(|request| request.contains(needle)).count()
    }

    /// Listens again after [`Fault::CloseDoor`].
    pub(crate) async fn reopen(&self) {
        self.shared.open.send_replace(true);
        let mut listening = self.shared.listening.subscribe();
        tokio::time::timeout(WAIT, listening.wait_for(|yes| *yes)).await.expect("in time").expect("the proxy lives");
    }

    /// Waits until a request is held.
    pub(crate) async fn held(&self) {
        tokio::time::timeout(WAIT, self.shared.held.notified()).await.expect("a request is held in time");
    }

    /// Lets the held answer go.
    pub(crate) fn release(&self) {
        self.shared.released.notify_one();
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, address: SocketAddr) {
    let mut listener = Some(listener);
    let mut open = shared.open.subscribe();
    let mut connections = JoinSet::new();
    loop {
        let door = match listener.take() {
            Some(door) => door,
            None => TcpListener::bind(address).await.expect("the same port again"),
        };
        shared.listening.send_replace(true);
        loop {
            tokio::select! {
                accepted = door.accept() => {
                    let (stream, _) = accepted.expect("a connection");
                    connections.spawn(serve(Arc::clone(&shared), stream));
                }
                _ = open.wait_for(|yes| !*yes) => break,
            }
        }
        drop(door);
        shared.listening.send_replace(false);
        if open.wait_for(|yes| *yes).await.is_err() {
            return;
        }
    }
}

async fn serve(shared: Arc<Shared>, mut stream: TcpStream) {
    let Some(request) = request(&mut stream).await else { return };
    let text = String::from_utf8_lossy(&request).into_owned();
    let fault = {
        let mut fault = shared.fault.lock().expect("no panic");
        if fault.as_ref().is_some_and(|(needle, _)| text.contains(needle)) { fault.take().map(|(_, fault)| fault) } else { None }
    };
    shared.seen.lock().expect("no panic").push(text);
    if let Some(Fault::Instead(bytes)) = &fault {
        // What the other side does then is its own affair.
        drop(stream.write_all(bytes).await);
        drop(stream.read(&mut [0; 1]).await);
        return;
    }
    if let Some(Fault::Cut(cut)) = &fault {
        cutter::cut(stream, shared.upstream, &request, cut).await;
        return;
    }
    let mut upstream = TcpStream::connect(shared.upstream).await.expect("the Odoo behind the proxy listens");
    upstream.write_all(&request).await.expect("forwarded");
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await.expect("answered");
    match fault {
        Some(Fault::LoseAnswer) => return,
        Some(Fault::CloseDoor) => {
            shared.open.send_replace(false);
            let mut listening = shared.listening.subscribe();
            listening.wait_for(|yes| !*yes).await.expect("the proxy lives");
        }
        Some(Fault::Answer(bytes)) => answer = bytes,
        Some(Fault::Hold) => {
            shared.held.notify_one();
            shared.released.notified().await;
        }
        Some(Fault::Instead(_) | Fault::Cut(_)) | None => {}
    }
    drop(stream.write_all(&answer).await);
    drop(stream.shutdown().await);
}

/// One whole request, told to close its connection.
pub(crate) async fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let first = bytes.windows(2).position(|two| two == b"\r\n")? + 2;
    bytes.splice(first..first, *b"connection: close\r\n");
    Some(bytes)
}

/// A whole HTTP response that closes its connection.
pub(crate) fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

/// A service as `serve` starts it by default: Odoo addresses must be public.
pub(crate) async fn start_guarded(backend: Backend) -> TestApp {
    drop(rustls::crypto::ring::default_provider().install_default());
    let folder = tempfile::tempdir().expect("a folder");
    let database_url = database(backend, folder.path()).await;
    let clock = Clock::fixed("2026-11-22T15:00:00Z".parse().expect("a time"));
    let mut config = config(folder.path(), &database_url, &[]);
    config.allow_private_odoo = false;
    let (state, worker) = AppState::open(config, Vault::from_keys(&VAULT_KEY, None), clock.clone()).await.expect("the state opens");
    let serve = ServeConfig { host: Ipv4Addr::LOCALHOST.into(), port: 0, public_url: None, allowed_origins: Vec::new(), trusted_proxies: Vec::new(), metrics_allowed: Vec::new() };
    let service = Service::bind(state.clone(), worker, &serve).await.expect("the service binds");
    let base = service.public_url().as_str().trim_end_matches('/').to_owned();
    let stop = service.stop_token();
    #[expect(clippy::disallowed_methods, reason = "the service under test runs beside the test")]
    let running = Some(tokio::spawn(service.run()));
    TestApp { state, clock, base, backend, folder, database_url, queries: super::queries::Queries::default(), stop, running }
}
