//! A server that behaves as an Odoo while it is disarmed, and plays a script against every request while it is armed. It counts what it
//! could get rid of: what the other side took.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::odoo::request;

/// Between two bytes of a drip.
const DRIP: Duration = Duration::from_millis(20);

/// One step of a script.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Says this once.
    Say(Vec<u8>),
    /// Says this again and again, as fast as it is taken.
    Repeat(Vec<u8>),
    /// Says this again and again, a byte now and then.
    Drip(Vec<u8>),
    /// Says nothing more and keeps the connection.
    Hang,
    /// Resets the connection.
    Reset,
}

struct Shared {
    upstream: Option<SocketAddr>,
    script: Mutex<Option<Vec<Step>>>,
    sent: AtomicU64,
    requests: AtomicUsize,
}

/// The server, until it is dropped.
pub(crate) struct Hostile {
    pub(crate) url: String,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Hostile {
    /// In front of an Odoo at that address; without one it must stay armed.
    pub(crate) async fn start(upstream: Option<&str>) -> Self {
        let upstream = upstream.map(|url| url.trim_start_matches("http://").parse().expect("an address"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let shared = Arc::new(Shared { upstream, script: Mutex::default(), sent: AtomicU64::new(0), requests: AtomicUsize::new(0) });
        let mut tasks = JoinSet::new();
        let state = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(Arc::clone(&state), stream));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { url, shared, _tasks: tasks }
    }

    /// Plays this from now on, and counts from zero.
    pub(crate) fn arm(&self, script: Vec<Step>) {
        *self.shared.script.lock().expect("no panic") = Some(script);
        self.shared.sent.store(0, Ordering::SeqCst);
        self.shared.requests.store(0, Ordering::SeqCst);
    }

    /// Behaves again.
    pub(crate) fn disarm(&self) {
        *self.shared.script.lock().expect("no panic") = None;
    }

    /// Bytes that were taken since it was armed, with what lies in the buffers of both sockets.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Requests since it was armed.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

async fn serve(shared: Arc<Shared>, mut stream: TcpStream) {
    let Some(request) = request(&mut stream).await else { return };
    let script = shared.script.lock().expect("no panic").clone();
    shared.requests.fetch_add(1, Ordering::SeqCst);
    if let Some(script) = script {
        // It ends when the other side has gone.
        drop(play(&shared.sent, &mut stream, script).await);
        return;
    }
    let mut upstream = TcpStream::connect(shared.upstream.expect("an Odoo behind it")).await.expect("it listens");
    upstream.write_all(&request).await.expect("forwarded");
    drop(tokio::io::copy(&mut upstream, &mut stream).await);
}

async fn play(sent: &AtomicU64, stream: &mut TcpStream, script: Vec<Step>) -> std::io::Result<()> {
    for step in script {
        match step {
            Step::Say(bytes) => say(sent, stream, &bytes).await?,
            Step::Repeat(unit) => {
                // In pieces of some size, or the counting would be all the work.
                let block = unit.repeat((16 * 1024 / unit.len()).max(1));
                loop {
                    say(sent, stream, &block).await?;
                }
            }
            Step::Drip(unit) => loop {
                for byte in &unit {
                    say(sent, stream, &[*byte]).await?;
                    tokio::time::sleep(DRIP).await;
                }
            },
            Step::Hang => {
                drop(stream.read(&mut [0; 1]).await);
            }
            Step::Reset => stream.set_zero_linger()?,
        }
    }
    Ok(())
}

async fn say(sent: &AtomicU64, stream: &mut TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let count = stream.write(bytes).await?;
        sent.fetch_add(count as u64, Ordering::SeqCst);
        bytes = &bytes[count..];
    }
    Ok(())
}

/// Serves an Odoo over TLS with that certificate, until the set is dropped; gives the port.
pub(crate) async fn over_tls(tasks: &mut JoinSet<()>, upstream: &str, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> u16 {
    let upstream: SocketAddr = upstream.trim_start_matches("http://").parse().expect("an address");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("a certificate and its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                // A client that does not believe the certificate goes away here.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut odoo = TcpStream::connect(upstream).await.expect("it listens");
                drop(tokio::io::copy_bidirectional(&mut stream, &mut odoo).await);
            });
        }
    });
    port
}
