//! What the rows share: where things are, data folders with tenants and the listing, sandbox Odoos that can be slow or hang.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::ListenerExt;
use chrono::Utc;
use clap::Parser;
use dunet::clock::Clock;
use dunet::commands::Cli;
use dunet::demo::sandbox::SandboxOdoo;
use dunet::dgii::sample::{self, SampleOptions};
use dunet::dgii::{IdKind, ImportOptions, Padron, PadronLimits};
use dunet::domain::audit::Actor;
use dunet::domain::tenants::{NewOdoo, NewTenant, ToolEdit};
use dunet::domain::tokens::NewToken;
use dunet::domain::vault::Vault;
use dunet::odoo::ProtocolChoice;
use dunet::state::AppState;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::client::{Era, Script};
use crate::process::{Process, free_port};

/// The master key of measured services.
const KEY: [u8; 32] = [7; 32];
/// As many as the true listing has.
const TAXPAYERS: usize = 800_000;
const SEED: u64 = 7;
/// A listing older than this is made anew: answers from a stale one carry a warning.
const LISTING_DAYS_MAX: i64 = 5;
/// Numbers asked for in turn.
const NUMBERS: usize = 4_096;
/// The tool that needs no Odoo.
pub(crate) const TOOL: &str = "consultar_rnc_dgii";

/// Where things are and how long rounds are.
pub(crate) struct Rig {
    /// Raw data and data folders.
    pub(crate) out: PathBuf,
    /// The service.
    pub(crate) dunet: PathBuf,
    /// The yardstick.
    pub(crate) echo: PathBuf,
    /// Python with FastMCP, and the server's file.
    pub(crate) python: Option<(PathBuf, PathBuf)>,
    /// The core that servers run on; we and the sandbox Odoos run on the other.
    pub(crate) server_cores: String,
    /// Shorter rounds, and fewer.
    pub(crate) quick: bool,
    /// More settings for the service (`NAME=VALUE`).
    pub(crate) settings: Vec<(String, String)>,
    /// What `cargo bench --bench padron` said.
    pub(crate) padron_report: Option<PathBuf>,
    /// `kill -9` so often.
    pub(crate) kills: u32,
    /// Instead ask the service to end, which loses nothing: shows that the comparison finds nothing where nothing is.
    pub(crate) control: bool,
    /// Numbers of the listing, spread all over it.
    pub(crate) numbers: Vec<String>,
}

/// A tenant to be measured with.
#[derive(Clone)]
pub(crate) struct Tenant {
    pub(crate) token: String,
    /// The same tenant's token, limited to the voice pack.
    pub(crate) voice_token: String,
}

/// A service's folder: database, key, listing.
pub(crate) struct Data {
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
    env: Vec<(String, String)>,
}

impl Rig {
    /// `quick` or not.
    pub(crate) fn pick<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }

    /// The listing of 800,000 taxpayers, made once and kept.
    pub(crate) fn listing(&mut self) -> anyhow::Result<()> {
        let now = Utc::now();
        let dir = self.listing_dir();
        let active = Padron::open(&dir, PadronLimits::default())?.status().active;
        if active.is_none_or(|info| now.date_naive() - info.cutoff > chrono::Duration::days(LISTING_DAYS_MAX)) {
            eprintln!("load: making a listing of {TAXPAYERS} taxpayers, once");
            drop(std::fs::remove_dir_all(&dir));
            let files = tempfile::tempdir()?;
            let options = SampleOptions { rows: TAXPAYERS, seed: SEED, cutoff: (now - chrono::Duration::days(1)).date_naive(), defects: false };
            let zips = sample::write_zips(files.path(), &options)?;
            Padron::open(&dir, PadronLimits::default())?.import(&[zips.txt, zips.csv], &ImportOptions { rows_min: 1, ..ImportOptions::at(now) }, &|_| {})?;
        }
        let all = sample::rows(TAXPAYERS, SEED);
        let companies = all.iter().filter(|taxpayer| taxpayer.id.kind() == IdKind::Rnc).map(|taxpayer| taxpayer.id.digits().to_owned());
        self.numbers = companies.step_by(TAXPAYERS / 2 / NUMBERS).take(NUMBERS).collect();
        Ok(())
    }

    /// The kept listing's folder.
    pub(crate) fn listing_dir(&self) -> PathBuf {
        self.out.join("padron")
    }

    /// A new folder with the listing, and as many tenants as `odoos`, each with the Odoo given, if any.
    pub(crate) async fn data(&self, name: &str, odoos: &[Option<&Odoo>]) -> anyhow::Result<(Data, Vec<Tenant>)> {
        let dir = self.out.join(format!("data-{name}"));
        drop(std::fs::remove_dir_all(&dir));
        std::fs::create_dir_all(dir.join("padron"))?;
        for file in std::fs::read_dir(self.listing_dir())?.flatten() {
            // The index never changes: a second name for it is as good as a copy.
            std::fs::hard_link(file.path(), dir.join("padron").join(file.file_name()))?;
        }
        let key_file = dir.join("vault.key");
        std::fs::write(&key_file, base64_of(&KEY))?;
        let port = free_port()?;
        let mut env: Vec<(String, String)> = [
            ("DUNET_DATA_DIR", dir.display().to_string()),
            ("DUNET_VAULT_KEY_FILE", key_file.display().to_string()),
            ("DUNET_PORT", port.to_string()),
            ("DUNET_ALLOW_PRIVATE_ODOO", "1".to_owned()),
            // One tenant gives the whole load.
            ("DUNET_TENANT_CALLS_PER_MINUTE", "4000000000".to_owned()),
            ("DUNET_TENANT_BURST_CALLS", "1000000000".to_owned()),
            ("DUNET_REPEATED_CALLS_PER_MINUTE", "0".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        env.extend(self.settings.iter().cloned());
        let data = Data { dir, port, env };
        let tenants = data.tenants(odoos).await.context("making tenants")?;
        Ok((data, tenants))
    }

    /// Starts the service on that folder.
    pub(crate) fn serve(&self, data: &Data) -> anyhow::Result<Process> {
        Process::start(&self.dunet, &["serve"], &data.env, &self.server_cores, &data.dir.join("serve.log"), data.port)
    }

    /// Starts the yardstick, in its fastest form or with tokio's usual workers.
    pub(crate) async fn serve_echo(&self, workers: bool) -> anyhow::Result<Process> {
        let port = free_port()?;
        let mut args = vec!["--port".to_owned(), port.to_string()];
        if workers {
            args.push("--multi-thread".to_owned());
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut echo = Process::start(&self.echo, &args, &[], &self.server_cores, &self.out.join("echo.log"), port)?;
        echo.until_it_answers(&echo_script(port, Era::Legacy, 1)).await?;
        Ok(echo)
    }

    /// Look-ups of numbers all over the listing.
    pub(crate) fn lookups(&self, port: u16, token: Option<&str>, era: Era) -> Arc<Script> {
        Script::calls(port, token, era, TOOL, self.numbers.iter().map(|number| (json!({ "rnc": number }), format!("\"encontrado\":true,\"rnc\":\"{number}\""))))
    }

    /// Keeps raw data of a row.
    pub(crate) fn keep(&self, row: &str, data: &Value) -> anyhow::Result<()> {
        std::fs::write(self.out.join(format!("{row}.json")), serde_json::to_vec_pretty(data)?)?;
        Ok(())
    }
}

/// Messages of that many bytes and a few more.
pub(crate) fn echo_script(port: u16, era: Era, bytes: usize) -> Arc<Script> {
    let messages = (0..NUMBERS).map(|at| format!("{}{:09}", "x".repeat(bytes.saturating_sub(9)), 100_000_000 + at));
    Script::calls(port, None, era, "echo", messages.map(|message| (json!({ "message": message }), format!("\"text\":\"{message}\""))))
}

impl Data {
    /// Opens the service's own state on the folder, as another process beside a running service may.
    pub(crate) async fn state(&self) -> anyhow::Result<AppState> {
        let dir = self.dir.display().to_string();
        let config = Cli::try_parse_from(["dunet", "--data-dir", &dir, "--allow-private-odoo", "migrate"])?.config;
        let (state, _worker) = AppState::open(config, Vault::from_keys(&KEY, None), Clock::system()).await?;
        Ok(state)
    }

    async fn tenants(&self, odoos: &[Option<&Odoo>]) -> anyhow::Result<Vec<Tenant>> {
        let state = self.state().await?;
        dunet::db::prepare(&state.db, false).await?;
        let actor = Actor("bench".to_owned());
        let mut tenants = Vec::with_capacity(odoos.len());
        for (at, odoo) in odoos.iter().enumerate() {
            let new = NewTenant { name: format!("Empresa {at}"), rnc: None, plan: "pro".to_owned(), odoo: odoo.map(Odoo::settings), tools: Vec::new() };
            let id = state.tenants.tenant_add(new, &actor).await?;
            // Of many tenants each calls little.
            if odoos.len() <= 100 {
                let edit = ToolEdit { calls_per_hour: Some(2_000_000_000), ..ToolEdit::default() };
                for tool in dunet::tools::TOOLS.iter() {
                    state.tenants.tool_edit(id, tool.facts().name, edit, &actor).await?;
                }
            }
            let mut tokens = Vec::new();
            for packs in [None, Some(vec!["voice".to_owned()])].into_iter().take(if odoos.len() <= 100 { 2 } else { 1 }) {
                let new = NewToken { name: "bench".to_owned(), packs, language: None, expires_at: None };
                tokens.push(state.tokens.token_issue(id, new, &actor).await?.token.expose_secret().to_owned());
            }
            tenants.push(Tenant { token: tokens[0].clone(), voice_token: tokens.last().cloned().unwrap_or_default() });
        }
        state.db.clone().close().await?;
        Ok(tenants)
    }

    /// How often each request id stands in `tool_usage`.
    pub(crate) fn recorded(&self) -> anyhow::Result<std::collections::HashMap<u128, u32>> {
        let db = rusqlite::Connection::open(self.dir.join("dunet.db"))?;
        let mut select = db.prepare("select request_id, count(*) from tool_usage group by request_id")?;
        let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?)))?;
        rows.map(|row| {
            let (id, count) = row?;
            Ok((uuid::Uuid::parse_str(&id)?.as_u128(), count))
        })
        .collect()
    }

    /// One number out of the database.
    pub(crate) fn query(&self, sql: &str) -> anyhow::Result<f64> {
        Ok(rusqlite::Connection::open(self.dir.join("dunet.db"))?.query_row(sql, [], |row| row.get(0))?)
    }

    /// Removes the folder: logs and databases of a load are large.
    pub(crate) fn remove(self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A sandbox Odoo on a thread of its own, that can be slow, or never answer.
pub(crate) struct Odoo {
    sandbox: Arc<SandboxOdoo>,
    url: String,
    front: Arc<Front>,
}

#[derive(Default)]
struct Front {
    delay_ms: AtomicU64,
    hangs: AtomicBool,
    requests: AtomicU64,
    logins: AtomicU64,
    connections: AtomicU64,
}

/// What an Odoo has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) logins: u64,
    pub(crate) connections: u64,
}

impl Odoo {
    /// Starts one; it lives as long as this process.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let sandbox = Arc::new(SandboxOdoo::dominican_sample("Ferretería Nova"));
        let front = Arc::new(Front::default());
        let listener = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let app = Arc::clone(&sandbox).router().layer(axum::middleware::from_fn_with_state(Arc::clone(&front), Front::layer));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let counted = Arc::clone(&front);
        std::thread::spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let listener = listener.tap_io(move |stream| {
                    drop(stream.set_nodelay(true));
                    counted.connections.fetch_add(1, Ordering::Relaxed);
                });
                axum::serve(listener, app).await.expect("the sandbox serves");
            });
        });
        Ok(Self { sandbox, url, front })
    }

    fn settings(&self) -> NewOdoo {
        NewOdoo {
            url: self.url.parse().expect("an address"),
            database: self.sandbox.database().to_owned(),
            login: self.sandbox.login().to_owned(),
            secret: SecretString::from(self.sandbox.api_key().to_owned()),
            protocol: ProtocolChoice::Auto,
        }
    }

    /// Every answer takes that much longer.
    pub(crate) fn delay(&self, by: Duration) {
        self.front.delay_ms.store(by.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// From now on no answer comes, or they come again.
    pub(crate) fn hang(&self, hangs: bool) {
        self.front.hangs.store(hangs, Ordering::Relaxed);
    }

    /// What it has seen so far.
    pub(crate) fn seen(&self) -> Seen {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Seen { requests: of(&self.front.requests), logins: of(&self.front.logins), connections: of(&self.front.connections) }
    }
}

impl Front {
    async fn layer(State(front): State<Arc<Self>>, request: Request, next: Next) -> Response {
        front.requests.fetch_add(1, Ordering::Relaxed);
        let path = request.uri().path();
        if path.contains("version") || path.contains("common") || path.contains("authenticate") || path.contains("context_get") {
            front.logins.fetch_add(1, Ordering::Relaxed);
        }
        while front.hangs.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        match front.delay_ms.load(Ordering::Relaxed) {
            0 => {}
            delay => tokio::time::sleep(Duration::from_millis(delay)).await,
        }
        next.run(request).await
    }
}

/// The folder of built programs that this one lies in.
pub(crate) fn built(dunet: &Path, name: &str) -> PathBuf {
    dunet.parent().unwrap_or(Path::new(".")).join(name)
}
