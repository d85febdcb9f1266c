//! Serve: bind, ready, signals, drain, last flush. Owns every background task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use chrono::TimeDelta;
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
use crate::domain::padron_history;
use crate::domain::padron_share::Shared;
use crate::domain::usage::{self, UsageWorker};
use crate::http::HttpSettings;
use crate::router;
use crate::state::AppState;
use crate::{commands, mcp};

/// How often limits are pruned and the last use of tokens is written.
const HOUSEKEEPING: Duration = Duration::from_secs(60);
/// Wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// A sign-up whose address is not confirmed is kept so long, days: where letters are sent, and where an operator has to look.
const SIGN_UP_DAYS_BY_LETTER: i64 = 3;
const SIGN_UP_DAYS_BY_HAND: i64 = 30;
/// How often alerts are looked for and sent, and after how many looks keys are cared for too.
const ALERTS: Duration = Duration::from_secs(30);
const KEYS_EVERY_LOOKS: u32 = 10;
/// How often is looked whether a new listing is to be fetched, and how often it is.
const PADRON_FETCH_LOOK: Duration = Duration::from_secs(60);
const PADRON_FETCH_EVERY: TimeDelta = TimeDelta::hours(24);
/// Nodes that could not hand on a listing try again after so long.
const PADRON_SHARE_AGAIN: Duration = Duration::from_secs(30);

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
        if let Err(error) = state.nodes.beat().await {
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

/// Changes made by other processes: tenants and tokens edited, another listing activated. In the same rhythm the metrics are tidied.
async fn watch(state: AppState, stop: CancellationToken) {
    let every = Duration::from_millis(state.config.limits.watch_ms);
    while !stopped(every, &stop).await {
        state.metrics.upkeep();
        if let Err(error) = state.nodes.beat().await {
            tracing::warn!(%error, "the other nodes could not be told that this one lives");
        }
        state.reads.look().await;
        state.limits.tell().await;
        if let Err(error) = state.changes.look().await {
            tracing::warn!(%error, "changes could not be looked for");
        }
        match state.padron.reload_if_changed() {
            Ok(true) => tracing::info!("another listing of taxpayers is active"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the listing of taxpayers could not be reloaded; the old one stays"),
        }
    }
}

/// What nodes tell each other at once.
async fn news(state: AppState, stop: CancellationToken) {
    tokio::select! {
        () = state.news.run() => {}
        () = stop.cancelled() => {}
    }
}

/// Listings that other nodes imported, and those that they want of this one.
async fn padron_share(state: AppState, stop: CancellationToken) {
    let every = Duration::from_millis(state.config.limits.watch_ms);
    let mut wait = Duration::ZERO;
    while !stopped(wait, &stop).await {
        wait = match state.padron_share.look().await {
            Ok(Shared::Same) => every,
            Ok(Shared::Given(listing)) => {
                tracing::info!(listing, "the listing of taxpayers was handed to the other nodes");
                every
            }
            Ok(Shared::Taken(listing)) => {
                tracing::info!(listing, "the listing of taxpayers that another node imported is active");
                every
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the listing of taxpayers could not be shared with the other nodes; the active one stays");
                PADRON_SHARE_AGAIN
            }
        };
    }
}

/// What each node forgets, and what one of them does for all.
async fn housekeeping(state: AppState, stop: CancellationToken) {
    while !stopped(HOUSEKEEPING, &stop).await {
        state.limits.prune();
        if let Err(error) = state.tokens.last_used_flush().await {
            tracing::warn!(%error, "the last use of tokens could not be written");
        }
        if !state.nodes.leads() {
            continue;
        }
        if let Err(error) = state.users.prune().await {
            tracing::warn!(%error, "ended sessions could not be forgotten");
        }
        let days = if state.mail.configured() { SIGN_UP_DAYS_BY_LETTER } else { SIGN_UP_DAYS_BY_HAND };
        if let Err(error) = state.users.sign_up_prune(days).await {
            tracing::warn!(%error, "old sign-ups could not be forgotten");
        }
        if let Err(error) = state.oauth.prune().await {
            tracing::warn!(%error, "what programs left behind could not be forgotten");
        }
        if let Err(error) = state.approvals.sweep().await {
            tracing::warn!(%error, "writes that nobody approved in time could not be forgotten");
        }
        parts_ahead(&state).await;
        if let Err(error) = state.alerts.prune().await {
            tracing::warn!(%error, "old alerts could not be forgotten");
        }
        match calls_prune(&state).await {
            Ok(0) => {}
            Ok(calls) => tracing::info!(calls, "old calls were removed; their sums stay"),
            Err(error) => tracing::warn!(%error, "old calls could not be removed"),
        }
    }
}

/// The coming months' parts of the usage table. Without them a month's first call makes its own.
async fn parts_ahead(state: &AppState) {
    match db::parts::make_ahead(&state.db, state.clock.now()).await {
        Ok(months) if months.is_empty() => {}
        Ok(months) => tracing::info!(?months, "parts were made for the calls of the coming months"),
        Err(error) => tracing::warn!(%error, "parts for the calls of the coming months could not be made yet"),
    }
}

/// Looks for what somebody should hear of, and sends it. Every node does: what is told is a row that only one of them can write.
async fn alerts(state: AppState, public_url: Url, stop: CancellationToken) {
    let mut looks: u32 = 0;
    while !stopped(ALERTS, &stop).await {
        // A look that is cut has told nothing that it had not written down.
        stop.run_until_cancelled(state.alerts.look()).await;
        if looks.is_multiple_of(KEYS_EVERY_LOOKS)
            && let Err(error) = state.alerts.care(&stop).await
        {
            tracing::warn!(%error, "Odoo keys could not be cared for");
        }
        looks = looks.wrapping_add(1);
        if let Err(error) = state.alerts.deliver(&public_url, &stop).await {
            tracing::warn!(%error, "alerts could not be sent");
        }
    }
}

/// Removes calls that are older than the settings keep them, or the start says where they say nothing; answers how many.
///
/// # Errors
/// The database.
pub async fn calls_prune(state: &AppState) -> anyhow::Result<u64> {
    let days = state.settings.get().usage_retention_days.unwrap_or(state.config.limits.usage_retention_days);
    Ok(usage::prune(&state.db, state.clock.now(), days).await?)
}

async fn padron_fetch(state: AppState, stop: CancellationToken) {
    while !stopped(PADRON_FETCH_LOOK, &stop).await {
        // By one node; who begins to lead does not ask again what another one asked this morning.
        match padron_history::latest(&state.db, "fetch").await {
            _ if !state.nodes.leads() => continue,
            Ok(Some(at)) if state.clock.now() - at < PADRON_FETCH_EVERY => continue,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "when the listing of taxpayers was fetched last is not known");
                continue;
            }
        }
        if let Err(error) = commands::padron::fetch_and_import(&state.config, &state.db, &state.clock, &state.padron_imports).await {
            tracing::error!(error = format!("{error:#}"), "the listing of taxpayers could not be fetched; the active one stays");
        }
    }
}

/// Waits; true when the service stops meanwhile.
async fn stopped(wait: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(wait) => false,
        () = stop.cancelled() => true,
    }
}
