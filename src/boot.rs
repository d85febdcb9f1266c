//! Serve: bind, ready, signals, drain, last flush. Owns every background task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;
use url::Url;

use crate::config::{Config, Limits, ServeConfig};
use crate::db;
use crate::domain::usage::UsageWorker;
use crate::http::HttpSettings;
use crate::mcp;
use crate::router;
use crate::state::AppState;

mod jobs;

pub use jobs::calls_prune;
use jobs::{alerts, housekeeping, news, padron_fetch, padron_share, parts_ahead, stopped, watch};

/// Wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// A stopping service whose socket systemd keeps open gives connections that are at rest so long to bring the request that is on its way, before
/// it closes them: a proxy that had just sent one would not know what became of it.
const LAST_REQUESTS: Duration = Duration::from_millis(1_000);

/// A service that is bound and about to run.
pub struct Service {
    listener: TcpListener,
    /// The listener is systemd's, who keeps it open when we end: nobody is refused, they wait for the next one.
    handed_over: bool,
    settings: HttpSettings,
    state: AppState,
    worker: UsageWorker,
    signals: Signals,
    stop: CancellationToken,
}

impl Service {
    /// Migrates (unless switched off) and binds. From here on a signal is remembered until `run` can answer it.
    ///
    /// # Errors
    /// The database is not up to date and must not be migrated, or the port is taken.
    pub async fn bind(state: AppState, worker: UsageWorker, serve: &ServeConfig) -> anyhow::Result<Self> {
        let signals = Signals::listen()?;
        db::prepare(&state.db, state.config.no_migrate).await?;
        // Better no service than one that answers every call with an internal error.
        state.tenants.keys_check().await.context("the vault key does not fit the database")?;
        state.users.keys_check().await.context("the vault key does not fit the database")?;
        state.settings.load().await.context("reading the settings")?;
        parts_ahead(&state).await;
        worker.recover().await;
        if let Err(error) = async {
            state.nodes.begin().await?;
            state.nodes.beat().await
        }
        .await
        {
            tracing::warn!(%error, "the other nodes were not told that this one begins");
        }
        state.padron_imports.uploads_clear();
        let inherited = inherited()?;
        let handed_over = inherited.is_some();
        let listener = match inherited {
            Some(listener) => listener,
            None => {
                let address = SocketAddr::new(serve.host, serve.port);
                TcpListener::bind(address).await.with_context(|| format!("listening on {address} (is another program using the port? --port N takes another)"))?
            }
        };
        let stop = CancellationToken::new();
        let settings = settings(&state.config, serve, listener.local_addr()?, &stop)?;
        Ok(Self { listener, handed_over, settings, state, worker, signals, stop })
    }

    /// The address clients use.
    #[must_use]
    pub fn public_url(&self) -> &Url {
        &self.settings.public_url
    }

    /// The address listened on.
    ///
    /// # Errors
    /// The listener is gone.
    pub fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Cancelling it stops the service as a signal would.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs until a signal or the stop token; then drains open calls and writes what is left.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { listener, handed_over, settings, state, worker, signals, stop } = self;
        let background = TaskTracker::new();
        let flushed = CancellationToken::new();
        // The usage worker ends last, after the calls that feed it: it has a stop of its own.
        let usage = spawn(&background, "usage", worker.run(flushed.clone()));
        spawn(&background, "signals", signals.stop_on_one(stop.clone()));
        spawn(&background, "watch", watch(state.clone(), stop.clone()));
        spawn(&background, "housekeeping", housekeeping(state.clone(), stop.clone()));
        spawn(&background, "alerts", alerts(state.clone(), settings.public_url.clone(), stop.clone()));
        if let Some(longest) = sd_notify::watchdog_enabled() {
            spawn(&background, "watchdog", watchdog(longest, flushed.clone()));
        }
        if state.nodes.may_be_several() {
            spawn(&background, "news", news(state.clone(), stop.clone()));
            spawn(&background, "padron share", padron_share(state.clone(), stop.clone()));
        }
        if state.config.padron.padron_fetch {
            spawn(&background, "padron fetch", padron_fetch(state.clone(), stop.clone()));
        }
        let address = listener.local_addr()?;
        let app = router(&state, &settings);
        tracing::info!(%address, public_url = %settings.public_url, mcp = mcp::PATH, "ready");
        tell_systemd(sd_notify::NotifyState::Ready);
        let drain = Duration::from_millis(state.config.limits.drain_ms);
        let last_requests = if handed_over { LAST_REQUESTS } else { Duration::ZERO };
        serve(listener, &app, &state.config.limits, &stop, last_requests, drain).await;
        stop.cancel();
        // Writes under way finish and are recorded, even if their callers hung up.
        state.tasks.close();
        if tokio::time::timeout(drain, state.tasks.wait()).await.is_err() {
            tracing::error!("some writes did not end in time: they will count as unknown");
        }
        if let Err(error) = state.tokens.last_used_flush().await {
            tracing::warn!(%error, "the last use of tokens could not be written");
        }
        state.usage.cut_open().await;
        flushed.cancel();
        drop(usage.await);
        background.close();
        background.wait().await;
        state.limits.tell().await;
        state.nodes.leave().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// The socket that systemd holds for us (`dunet.socket`), if it started us so.
fn inherited() -> anyhow::Result<Option<TcpListener>> {
    let Some(listener) = listenfd::ListenFd::from_env().take_tcp_listener(0).context("the socket that was handed over (LISTEN_FDS) is no TCP listener")? else { return Ok(None) };
    listener.set_nonblocking(true).context("the socket that was handed over")?;
    Ok(Some(TcpListener::from_std(listener).context("the socket that was handed over")?))
}

/// Accepts until `stop`, answers what comes within `last_requests` on connections that are open, then gives open requests `drain` to end.
/// `axum::serve` would do most of it, but cannot be told how long the head of a request may take: a client that never finishes one would keep its
/// connection for ever.
#[expect(clippy::disallowed_methods, reason = "boot owns the connections: they end with the drain")]
async fn serve(listener: TcpListener, app: &Router, limits: &Limits, stop: &CancellationToken, last_requests: Duration, drain: Duration) {
    // HTTP/1.1 only: what comes in clear comes from a proxy, and looking for the first bytes of HTTP/2 has no time limit.
    let mut http = auto::Builder::new(TokioExecutor::new()).http1_only();
    http.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_millis(limits.http_head_timeout_ms));
    let places = Arc::new(Semaphore::new(limits.http_connections_max.max(1)));
    let open = GracefulShutdown::new();
    let leaving = Arc::new(AtomicBool::new(false));
    loop {
        let accept = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (stream, peer, place) = tokio::select! {
            () = stop.cancelled() => break,
            (accepted, place) = accept => match accepted {
                Ok((stream, peer)) => (stream, peer, place),
                Err(error) => {
                    // Out of descriptors, mostly: connections end, and then there are some.
                    tracing::error!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // Without it every streamed answer would wait for the peer's delayed acknowledgement, some 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let service = ServiceBuilder::new()
            .layer(Extension(ConnectInfo(peer)))
            .map_request(|request: http::Request<hyper::body::Incoming>| request.map(Body::new))
            .map_response(last_on_its_connection(Arc::clone(&leaving)))
            .service(app.clone());
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended badly");
            }
            drop(place);
        });
    }
    // Whoever comes now is refused at once instead of waiting for nobody; or waits for the next process, where systemd keeps the socket.
    drop(listener);
    if !last_requests.is_zero() && open.count() > 0 {
        leaving.store(true, Ordering::Relaxed);
        tokio::time::sleep(last_requests).await;
    }
    if tokio::time::timeout(drain, open.shutdown()).await.is_err() {
        tracing::warn!(drain_ms = drain.as_millis(), "some connections did not end in time and are cut");
    }
}

/// The one place where long-lived tasks begin.
#[expect(clippy::disallowed_methods, reason = "boot owns every background task")]
fn spawn<F>(tracker: &TaskTracker, name: &'static str, task: F) -> tokio::task::JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(tracker.track_future(async move {
        task.await;
        tracing::debug!(task = name, "background task ended");
    }))
}

fn settings(config: &Config, serve: &ServeConfig, address: SocketAddr, stopping: &CancellationToken) -> anyhow::Result<HttpSettings> {
    let public_url = match &serve.public_url {
        Some(url) => url.clone(),
        None => Url::parse(&format!("http://{address}")).context("the address listened on")?,
    };
    anyhow::ensure!(matches!(public_url.scheme(), "https" | "http") && public_url.host().is_some(), "DUNET_PUBLIC_URL must be an http(s) address, such as https://mcp.example.do");
    Ok(HttpSettings {
        public_url,
        allowed_origins: serve.allowed_origins.clone(),
        trusted_proxies: Arc::new(serve.trusted_proxies.clone()),
        body_bytes_max: config.limits.body_bytes_max,
        request_timeout: Duration::from_millis(config.limits.request_timeout_ms),
        failed_auth_per_minute: config.limits.failed_auth_per_minute,
        metrics_allowed: Arc::new(serve.metrics_allowed.clone()),
        stopping: stopping.clone(),
    })
}

/// While the service leaves, each answer says that it is the last one on its connection.
fn last_on_its_connection(leaving: Arc<AtomicBool>) -> impl Fn(axum::response::Response) -> axum::response::Response + Clone + Send + Sync + 'static {
    move |mut response| {
        if leaving.load(Ordering::Relaxed) {
            response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
        }
        response
    }
}

fn tell_systemd(state: sd_notify::NotifyState) {
    // Without systemd there is nobody to tell; that is no error.
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// Signs of life for systemd (`WatchdogSec=`), until the last record is written: a service that hangs is started anew.
async fn watchdog(longest: Duration, flushed: CancellationToken) {
    let mut wait = Duration::ZERO;
    while !stopped(wait, &flushed).await {
        // Away from the calls: it waits while systemd is busy.
        drop(tokio::task::spawn_blocking(|| tell_systemd(sd_notify::NotifyState::Watchdog)).await);
        wait = longest / 3;
    }
}

/// The two signals that mean "end well".
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate()).context("listening for SIGTERM")?, interrupt: signal(SignalKind::interrupt()).context("listening for SIGINT")? })
    }

    async fn stop_on_one(mut self, stop: CancellationToken) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM: draining"),
            _ = self.interrupt.recv() => tracing::info!("interrupted: draining"),
            () = stop.cancelled() => {}
        }
        tell_systemd(sd_notify::NotifyState::Stopping);
        stop.cancel();
    }
}
