//! A whole service on a free port, with its own folder and database, and sandbox Odoos for its tenants.
//!
//! `TestApp::everywhere` tells a story once per database: SQLite always, PostgreSQL when `DUNET_TEST_POSTGRES` names a server
//! (`scripts/test` starts one); else it says what it left out.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use dunet::boot::Service;
use dunet::clock::Clock;
use dunet::commands::Cli;
use dunet::config::{Config, ServeConfig};
use dunet::demo::sandbox::SandboxOdoo;
use dunet::dgii::ImportOptions;
use dunet::dgii::sample::{SampleOptions, write_zips};
use dunet::domain::audit::Actor;
use dunet::domain::tenants::{NewOdoo, NewTenant, TenantEdit, WritePolicy};
use dunet::domain::tokens::NewToken;
use dunet::domain::vault::Vault;
use dunet::ids::{TenantId, TokenId};
use dunet::odoo::ProtocolChoice;
use dunet::state::AppState;
use sea_orm::ConnectionTrait;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) mod api;
pub(crate) mod calls;
pub(crate) mod cutter;
pub(crate) mod hostile;
pub(crate) mod mcp;
pub(crate) mod oauth;
pub(crate) mod odoo;
pub(crate) mod portal;
pub(crate) mod process;
pub(crate) mod queries;
pub(crate) mod redis;
pub(crate) mod smtp;

/// The master key of test services.
pub(crate) const VAULT_KEY: [u8; 32] = [7; 32];

/// Which database a story runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// A setting of the machine; none when it is not set.
#[expect(clippy::disallowed_methods, reason = "tests are told by the gate where its servers are")]
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Says what was left out, past the capture of test output.
pub(crate) fn left_out(what: &str) {
    use std::io::Write;
    drop(writeln!(std::io::stderr().lock(), "left out: {what}"));
}

/// The databases at hand.
pub(crate) fn backends() -> Vec<Backend> {
    if setting("DUNET_TEST_POSTGRES").is_some() {
        vec![Backend::Sqlite, Backend::Postgres]
    } else {
        left_out("PostgreSQL (DUNET_TEST_POSTGRES is not set; scripts/test sets it)");
        vec![Backend::Sqlite]
    }
}

/// A fresh, empty database and its address.
pub(crate) async fn database(backend: Backend, folder: &std::path::Path) -> SecretString {
    match backend {
        Backend::Sqlite => SecretString::from(format!("sqlite://{}?mode=rwc", folder.join("test.db").display())),
        Backend::Postgres => {
            let server = setting("DUNET_TEST_POSTGRES").expect("backends() looked");
            let name = format!("t{}", uuid::Uuid::new_v4().simple());
            let admin = sea_orm::Database::connect(&server).await.expect("the test PostgreSQL answers");
            admin.execute_unprepared(&format!("create database {name}")).await.expect("a new database");
            admin.close().await.expect("closed");
            let mut url: url::Url = server.parse().expect("an address");
            url.set_path(&name);
            SecretString::from(url.to_string())
        }
    }
}

/// A running service.
pub(crate) struct TestApp {
    pub state: AppState,
    pub clock: Clock,
    pub base: String,
    pub backend: Backend,
    pub folder: tempfile::TempDir,
    pub database_url: SecretString,
    /// What is asked of its database.
    pub queries: queries::Queries,
    stop: CancellationToken,
    running: Option<JoinHandle<anyhow::Result<()>>>,
}

/// A tenant of a test, with its own sandbox Odoo.
pub(crate) struct TestTenant {
    pub id: TenantId,
    pub token: String,
    pub token_id: TokenId,
    pub sandbox: Arc<SandboxOdoo>,
    pub odoo_url: String,
    _server: tokio_util::task::AbortOnDropHandle<()>,
}

impl TestApp {
    /// Tells the story on every database at hand, on a clock that stands.
    pub(crate) async fn everywhere<F, Fut>(story: F)
    where
        F: Fn(Arc<TestApp>) -> Fut,
        Fut: Future<Output = ()>,
    {
        Self::everywhere_with(&[], story).await;
    }

    /// The same with settings, as they would stand on the command line.
    pub(crate) async fn everywhere_with<F, Fut>(settings: &[&str], story: F)
    where
        F: Fn(Arc<TestApp>) -> Fut,
        Fut: Future<Output = ()>,
    {
        for backend in backends() {
            let app = Arc::new(Self::start(backend, settings).await);
            story(Arc::clone(&app)).await;
            let app = Arc::into_inner(app).expect("the story let go of the service");
            app.end().await;
        }
    }

    /// Starts a service.
    pub(crate) async fn start(backend: Backend, settings: &[&str]) -> Self {
        // Fails only if it was done before.
        drop(rustls::crypto::ring::default_provider().install_default());
        let folder = tempfile::tempdir().expect("a folder");
        let database_url = database(backend, folder.path()).await;
        let clock = Clock::fixed("2026-11-22T15:00:00Z".parse().expect("a time"));
        Self::start_at(backend, folder, database_url, clock, settings).await
    }

    /// Starts a service on a folder and a database that are there.
    pub(crate) async fn start_at(backend: Backend, folder: tempfile::TempDir, database_url: SecretString, clock: Clock, settings: &[&str]) -> Self {
        let config = config(folder.path(), &database_url, settings);
        let mut db = dunet::db::connect(&database_url, config.limits.database_connections_max).await.expect("the database opens");
        let queries = queries::Queries::default();
        db.set_metric_callback(queries.listener());
        let (state, worker) = AppState::assemble(config, &Vault::from_keys(&VAULT_KEY, None), &clock, &db).await.expect("the state opens");
        let serve = ServeConfig {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            public_url: None,
            allowed_origins: vec!["http://localhost:6274".to_owned()],
            trusted_proxies: Vec::new(),
            metrics_allowed: vec!["127.0.0.1/32".parse().expect("a network")],
        };
        let service = Service::bind(state.clone(), worker, &serve).await.expect("the service binds");
        let base = service.public_url().as_str().trim_end_matches('/').to_owned();
        let stop = service.stop_token();
        let running = Some(tokio::spawn(service.run()));
        Self { state, clock, base, backend, folder, database_url, queries, stop, running }
    }

    /// Stops the service as a signal would and waits until everything is written.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.await.expect("no panic").expect("a clean end");
        }
    }

    pub(crate) async fn end(mut self) {
        self.stop().await;
    }

    /// A tenant on plan Pro with a sandbox Odoo reached by JSON-2, whose writes are two-step.
    pub(crate) async fn tenant(&self, name: &str) -> TestTenant {
        self.tenant_on(name, "pro", ProtocolChoice::Auto).await
    }

    /// A tenant on that plan and wire. On a plan with a number of tools the default pair is enabled.
    pub(crate) async fn tenant_on(&self, name: &str, plan: &str, protocol: ProtocolChoice) -> TestTenant {
        let sandbox = Arc::new(SandboxOdoo::dominican_sample(name));
        let (odoo_url, server) = serve(Arc::clone(&sandbox).router()).await;
        let odoo = NewOdoo {
            url: odoo_url.parse().expect("an address"),
            database: sandbox.database().to_owned(),
            login: sandbox.login().to_owned(),
            secret: SecretString::from(sandbox.api_key().to_owned()),
            protocol,
        };
        let tools = if plan == "gratis" { dunet::tools::TOOLS_BY_DEFAULT.map(str::to_owned).to_vec() } else { Vec::new() };
        let new = NewTenant { name: name.to_owned(), rnc: None, plan: plan.to_owned(), odoo: Some(odoo), tools };
        let id = self.state.tenants.tenant_add(new, &actor()).await.expect("a tenant");
        let (token_id, token) = self.token(id, None).await;
        TestTenant { id, token, token_id, sandbox, odoo_url, _server: server }
    }

    /// A tenant whose Odoo is at that address (a stub, a proxy, a real one).
    pub(crate) async fn tenant_at(&self, name: &str, odoo: NewOdoo) -> (TenantId, String) {
        let new = NewTenant { name: name.to_owned(), rnc: None, plan: "pro".to_owned(), odoo: Some(odoo), tools: Vec::new() };
        let id = self.state.tenants.tenant_add(new, &actor()).await.expect("a tenant");
        (id, self.token(id, None).await.1)
    }

    /// One more token, limited to packs if any are named.
    pub(crate) async fn token(&self, tenant: TenantId, packs: Option<&[&str]>) -> (TokenId, String) {
        let packs = packs.map(|packs| packs.iter().map(|pack| (*pack).to_owned()).collect());
        let new = NewToken { name: "prueba".to_owned(), packs, language: None, expires_at: None };
        let issued = self.state.tokens.token_issue(tenant, new, &actor()).await.expect("a token");
        (issued.id, issued.token.expose_secret().to_owned())
    }

    /// Sets a tenant's policy for writes; what is remembered of it is forgotten at once.
    pub(crate) async fn write_policy(&self, tenant: TenantId, policy: WritePolicy) {
        let edit = TenantEdit { write_policy: Some(policy), ..TenantEdit::default() };
        self.edit(tenant, edit).await;
    }

    /// Edits a tenant; what is remembered of it is forgotten at once (a running service does so by itself within `DUNET_WATCH_MS`).
    pub(crate) async fn edit(&self, tenant: TenantId, edit: TenantEdit) {
        self.state.tenants.tenant_edit(tenant, edit, &actor()).await.expect("edited");
        self.state.tokens.forget(tenant);
        self.state.connections.forget(tenant);
    }

    /// Loads a sample listing of that many taxpayers.
    pub(crate) async fn padron(&self, rows: usize) {
        let (padron, folder, now) = (self.state.padron.clone(), self.folder.path().join("sample"), self.clock.now());
        tokio::task::spawn_blocking(move || {
            let cutoff = (now - chrono::Duration::days(1)).date_naive();
            let files = write_zips(&folder, &SampleOptions { rows, seed: 1, cutoff, defects: false }).expect("a sample");
            padron.import(&[files.txt, files.csv], &ImportOptions { rows_min: 3, ..ImportOptions::at(now) }, &|_| {}).expect("an import");
        })
        .await
        .expect("no panic");
    }

    /// Waits until the usage table has that many rows, and gives them oldest first.
    pub(crate) async fn usage_rows(&self, count: usize) -> Vec<dunet::db::entities::tool_usage::Model> {
        use sea_orm::{EntityTrait, QueryOrder};
        for _ in 0..200 {
            let rows = dunet::db::entities::tool_usage::Entity::find().order_by_asc(dunet::db::entities::tool_usage::Column::Id).all(&self.state.db).await.expect("rows");
            if rows.len() >= count {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{count} usage rows did not appear");
    }

    /// The address of the door.
    pub(crate) fn mcp_url(&self) -> String {
        format!("{}/mcp", self.base)
    }

    /// A client of the legacy era with that token.
    pub(crate) fn client(&self, token: &str) -> mcp::McpClient {
        mcp::McpClient::legacy(&self.mcp_url(), token)
    }
}

/// Settings as the command line would give them, with quick flushes.
pub(crate) fn config(folder: &Path, database_url: &SecretString, settings: &[&str]) -> Config {
    let folder = folder.display().to_string();
    let mut line = vec!["dunet", "--data-dir", &folder, "--database-url", database_url.expose_secret(), "--allow-private-odoo", "--usage-flush-ms", "20"];
    // Passwords of tests are not worth the time.
    line.extend(["--password-memory-kib", "64", "--password-passes", "1"]);
    if !settings.contains(&"--watch-ms") {
        line.extend(["--watch-ms", "100"]);
    }
    // Stories repeat themselves; the one about repetitions sets it.
    if !settings.contains(&"--repeated-calls-per-minute") {
        line.extend(["--repeated-calls-per-minute", "0"]);
    }
    line.extend(settings);
    line.push("migrate");
    Cli::try_parse_from(line).expect("settings").config
}

/// Who acts in tests.
pub(crate) fn actor() -> Actor {
    Actor("test".to_owned())
}

/// Serves an app on a free port until the handle is dropped.
pub(crate) async fn serve(app: axum::Router) -> (String, tokio_util::task::AbortOnDropHandle<()>) {
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("served") });
    (url, tokio_util::task::AbortOnDropHandle::new(task))
}

/// A sandbox Odoo behind a porter who writes down what is asked and can keep everybody waiting.
pub(crate) struct Porter {
    pub sandbox: Arc<SandboxOdoo>,
    pub odoo_url: String,
    asked: std::sync::Mutex<Vec<String>>,
    held: tokio::sync::watch::Sender<Option<String>>,
    waiting: std::sync::atomic::AtomicUsize,
    server: std::sync::Mutex<Option<tokio_util::task::AbortOnDropHandle<()>>>,
}

impl Porter {
    /// Serves a sandbox of that name behind a porter.
    pub(crate) async fn new(name: &str) -> Arc<Self> {
        let sandbox = Arc::new(SandboxOdoo::dominican_sample(name));
        let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a port");
        let odoo_url = format!("http://{}", listener.local_addr().expect("bound"));
        let porter = Arc::new(Self {
            sandbox: Arc::clone(&sandbox),
            odoo_url,
            asked: std::sync::Mutex::default(),
            held: tokio::sync::watch::channel(None).0,
            waiting: std::sync::atomic::AtomicUsize::new(0),
            server: std::sync::Mutex::default(),
        });
        // A weak handle: the server must not keep the porter, who keeps the server.
        let app = sandbox.router().layer(axum::middleware::from_fn_with_state(Arc::downgrade(&porter), porter_layer));
        let server = served_on(listener, app);
        *porter.server.lock().expect("not poisoned") = Some(server);
        porter
    }

    /// How a tenant reaches it.
    pub(crate) fn odoo(&self, protocol: ProtocolChoice) -> NewOdoo {
        NewOdoo {
            url: self.odoo_url.parse().expect("an address"),
            database: self.sandbox.database().to_owned(),
            login: self.sandbox.login().to_owned(),
            secret: SecretString::from(self.sandbox.api_key().to_owned()),
            protocol,
        }
    }

    /// The paths asked for so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }

    /// How often a path that ends so was asked for.
    pub(crate) fn asked_for(&self, end: &str) -> usize {
        self.asked().iter().filter(|path| path.ends_with(end)).count()
    }

    /// Keeps every request waiting from now on, or lets all go.
    pub(crate) fn hold(&self, hold: bool) {
        self.held.send_replace(hold.then(String::new));
    }

    /// Keeps requests waiting whose path ends so.
    pub(crate) fn hold_only(&self, end: &str) {
        self.held.send_replace(Some(end.to_owned()));
    }

    /// Requests that wait now.
    pub(crate) fn held_now(&self) -> usize {
        self.waiting.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Waits until so many wait.
    pub(crate) async fn until_held(&self, count: usize) {
        until(&format!("{count} requests waiting at Odoo"), || async { self.held_now() == count }).await;
    }

    /// Waits until so many requests came in all.
    pub(crate) async fn until_asked(&self, count: usize) {
        until(&format!("{count} requests to Odoo"), || async { self.asked().len() >= count }).await;
    }
}

/// Counts a request while it waits, also if its sender goes away.
struct Waits(std::sync::Weak<Porter>);

impl Waits {
    fn new(porter: &Arc<Porter>) -> Self {
        porter.waiting.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Self(Arc::downgrade(porter))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(porter) = self.0.upgrade() {
            porter.waiting.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
}

async fn porter_layer(
    axum::extract::State(porter): axum::extract::State<std::sync::Weak<Porter>>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    if let Some(porter) = porter.upgrade() {
        let path = request.uri().path().to_owned();
        porter.asked.lock().expect("not poisoned").push(path.clone());
        let mut held = porter.held.subscribe();
        let waits = Waits::new(&porter);
        drop(porter);
        // Fails when the porter is gone, and with it the test.
        drop(held.wait_for(|held| held.as_ref().is_none_or(|end| !path.ends_with(end))).await);
        drop(waits);
    }
    next.run(request).await
}

fn served_on(listener: tokio::net::TcpListener, app: axum::Router) -> tokio_util::task::AbortOnDropHandle<()> {
    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, app).await.expect("served") }))
}

/// Asks again until it is so, for ten seconds at most.
pub(crate) async fn until<F, Fut>(what: &str, is_so: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    for _ in 0..400 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("did not come about in ten seconds: {what}");
}

impl TestApp {
    /// A new service on the folder and database of one that has stopped.
    pub(crate) async fn restarted(self) -> Self {
        assert!(self.running.is_none(), "stop it first");
        Self::start_at(self.backend, self.folder, self.database_url, self.clock, &[]).await
    }

    /// What another process on the same database and vault key sees: a state of its own, nothing running.
    pub(crate) async fn another_process(&self) -> AppState {
        self.another_process_with_settings(&[]).await
    }

    /// The same with settings.
    pub(crate) async fn another_process_with_settings(&self, settings: &[&str]) -> AppState {
        let config = config(self.folder.path(), &self.database_url, settings);
        AppState::open(config, Vault::from_keys(&VAULT_KEY, None), self.clock.clone()).await.expect("the state opens").0
    }

    /// The same with other master keys.
    pub(crate) async fn another_process_with(&self, vault: Vault) -> AppState {
        let config = config(self.folder.path(), &self.database_url, &[]);
        AppState::open(config, vault, self.clock.clone()).await.expect("the state opens").0
    }

    /// Every row of every table as text: `table: row`.
    pub(crate) async fn dump(&self) -> Vec<String> {
        use sea_orm::Statement;
        let db = &self.state.db;
        let backend = db.get_database_backend();
        let query = async |sql: String| db.query_all_raw(Statement::from_string(backend, sql)).await.expect("rows");
        let names = match self.backend {
            Backend::Sqlite => "select name from sqlite_master where type = 'table'",
            Backend::Postgres => "select relname::text as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition",
        };
        let mut all = Vec::new();
        for table in query(names.to_owned()).await {
            let table: String = table.try_get("", "name").expect("a name");
            let sql = match self.backend {
                Backend::Postgres => format!("select row_to_json(t)::text as line from \"{table}\" t"),
                Backend::Sqlite => {
                    let columns = query(format!("select name from pragma_table_info('{table}')")).await;
                    let columns: Vec<String> = columns.iter().map(|row| format!("quote(\"{}\")", row.try_get::<String>("", "name").expect("a name"))).collect();
                    format!("select {} as line from \"{table}\"", columns.join(" || ' ' || "))
                }
            };
            all.extend(query(sql).await.iter().map(|row| format!("{table}: {}", row.try_get::<String>("", "line").expect("a line"))));
        }
        all
    }
}
