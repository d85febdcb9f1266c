//! `dunet demo`: everything in one process, nothing installed, nothing kept. Two tenants on sandbox Odoos, 20,000 made-up taxpayers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use chrono::Duration;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::Out;
use crate::boot::Service;
use crate::clock::Clock;
use crate::config::{Config, ServeConfig};
use crate::demo::sandbox::SandboxOdoo;
use crate::dgii::sample::{SampleOptions, write_zips};
use crate::dgii::{ImportOptions, Padron};
use crate::domain::audit::Actor;
use crate::domain::tenants::{NewOdoo, NewTenant};
use crate::domain::tokens::NewToken;
use crate::domain::users::{NewUser, Role};
use crate::domain::vault::Vault;
use crate::ids::TenantId;
use crate::mcp;
use crate::odoo::ProtocolChoice;
use crate::state::AppState;
use crate::text::Language;

const TAXPAYERS: usize = 20_000;
const SEED: u64 = 20_261_121;
/// A public example: its owner's own documentation shows it.
const EXAMPLE_RNC: &str = "131793916";
/// The operator; the password is made anew each time.
const OPERATOR: &str = "demo@dunet.example";

/// Where the demo listens.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

struct DemoTenant {
    id: TenantId,
    name: &'static str,
    token: SecretString,
    odoo: Value,
    // Serving ends with the demo.
    _sandbox: AbortOnDropHandle<()>,
}

/// Runs it until it is interrupted.
pub(super) async fn run(mut config: Config, args: DemoArgs, out: Out) -> anyhow::Result<()> {
    let folder = TempFolder::make()?;
    config.data_dir = folder.0.clone();
    config.database_url = None;
    // The sandbox listens on loopback.
    config.allow_private_odoo = true;
    config.padron.padron_fetch = false;
    config.no_migrate = false;
    let mut key = [0; crate::domain::vault::KEY_BYTES];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut key).map_err(|_| anyhow::anyhow!("this machine has no randomness"))?;
    let clock = Clock::system();
    let (state, worker) = AppState::open(config, Vault::from_keys(&key, None), clock.clone()).await?;

    let serve = ServeConfig {
        host: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: args.port,
        public_url: None,
        allowed_origins: Vec::new(),
        trusted_proxies: Vec::new(),
        metrics_allowed: Vec::new(),
    };
    let service = Service::bind(state.clone(), worker, &serve).await?;
    let padron = state.padron.clone();
    let samples = folder.0.join("sample");
    let at = clock.clone();
    tokio::task::spawn_blocking(move || sample_import(&padron, &samples, &at)).await??;
    let nova = tenant_make(&state, SandboxOdoo::dominican_sample("Ferretería Nova"), "Ferretería Nova").await?;
    let aurora = tenant_make(&state, SandboxOdoo::dominican_sample_clinic("Clínica Aurora"), "Clínica Aurora").await?;

    let password = operator_make(&state).await?;

    let base = service.public_url().as_str().trim_end_matches('/').to_owned();
    let view = View { mcp_url: format!("{base}{}", mcp::PATH), base, nova: &nova, aurora: &aurora, password: &password, folder: &folder.0 };
    out.say(&view.text(), &view.json())?;
    service.run().await
}

/// Makes an operator, and gives their password.
async fn operator_make(state: &AppState) -> anyhow::Result<SecretString> {
    let password = SecretString::from(uuid::Uuid::new_v4().simple().to_string());
    let new = NewUser { email: OPERATOR.to_owned(), name: Some("Demo".to_owned()), role: Role::Operator, language: Language::Es, password: Some(password.clone()) };
    state.users.user_create(new, &Actor("demo".to_owned())).await?;
    Ok(password)
}

/// Makes and imports the sample listing.
fn sample_import(padron: &Padron, folder: &Path, clock: &Clock) -> anyhow::Result<()> {
    let now = clock.now();
    let options = SampleOptions { rows: TAXPAYERS, seed: SEED, cutoff: (now - Duration::days(1)).date_naive(), defects: false };
    let files = write_zips(folder, &options).context("writing the sample listing")?;
    let import = ImportOptions { rows_min: 1_000, ..ImportOptions::at(now) };
    padron.import(&[files.txt, files.csv], &import, &|_| {}).context("importing the sample listing")?;
    Ok(())
}

async fn tenant_make(state: &AppState, sandbox: SandboxOdoo, name: &'static str) -> anyhow::Result<DemoTenant> {
    let sandbox = Arc::new(sandbox);
    let (odoo_url, server) = sandbox_serve(Arc::clone(&sandbox).router()).await?;
    let odoo = NewOdoo {
        url: odoo_url.parse()?,
        database: sandbox.database().to_owned(),
        login: sandbox.login().to_owned(),
        secret: SecretString::from(sandbox.api_key().to_owned()),
        protocol: ProtocolChoice::Auto,
    };
    let actor = Actor("demo".to_owned());
    let id = state.tenants.tenant_add(NewTenant { name: name.to_owned(), rnc: None, plan: "pro".to_owned(), odoo: Some(odoo), tools: Vec::new() }, &actor).await?;
    let new = NewToken { name: "demo".to_owned(), packs: None, language: None, expires_at: None };
    let token = state.tokens.token_issue(id, new, &actor).await?.token;
    let odoo = json!({ "url": odoo_url, "database": sandbox.database(), "user": sandbox.login(), "api_key": sandbox.api_key(), "password": sandbox.password() });
    Ok(DemoTenant { id, name, token, odoo, _sandbox: server })
}

#[expect(clippy::disallowed_methods, reason = "the sandbox lives as long as the demo, which owns its handle")]
async fn sandbox_serve(app: Router) -> anyhow::Result<(String, AbortOnDropHandle<()>)> {
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.context("a port for the sandbox Odoo")?;
    let url = format!("http://{}", listener.local_addr()?);
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the sandbox Odoo ended");
        }
    });
    Ok((url, AbortOnDropHandle::new(task)))
}

/// A folder that is removed in the end.
struct TempFolder(PathBuf);

impl TempFolder {
    fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("dunet-demo-{}", uuid::Uuid::new_v4().simple()));
        crate::db::private_folder(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "the demo's folder could not be removed");
        }
    }
}

/// What the demo says of itself.
struct View<'a> {
    base: String,
    mcp_url: String,
    nova: &'a DemoTenant,
    aurora: &'a DemoTenant,
    password: &'a SecretString,
    folder: &'a Path,
}

impl View<'_> {
    fn json(&self) -> Value {
        json!({
            "mcp_url": self.mcp_url,
            "token_mcp_url": format!("{}{}", self.base, mcp::TOKEN_PATH),
            "token": self.nova.token.expose_secret(),
            "other_token": self.aurora.token.expose_secret(),
            "admin_url": format!("{}/admin", self.base),
            "admin_email": OPERATOR,
            "admin_password": self.password.expose_secret(),
            "data_dir": self.folder,
            "tenant_id": self.nova.id,
            "other_tenant_id": self.aurora.id,
            "odoo_url": self.nova.odoo["url"],
            "odoo": self.nova.odoo,
            "example_rnc": EXAMPLE_RNC,
            "curl": self.curl(),
        })
    }

    fn curl(&self) -> String {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "consultar_rnc_dgii", "arguments": { "rnc": EXAMPLE_RNC } } });
        format!("curl -s {} -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' -d '{body}'", self.mcp_url, self.nova.token.expose_secret())
    }

    /// The key is the sandbox's, new for each demo and worth nothing after it.
    fn tenant_add(&self) -> String {
        let word = |name: &str| self.nova.odoo[name].as_str().unwrap_or_default().to_owned();
        format!(
            "echo {} | DUNET_ALLOW_PRIVATE_ODOO=1 dunet tenant add --name Prueba --plan pro --odoo-url {} --odoo-db {} --odoo-user {} --odoo-secret-file -",
            word("api_key"),
            word("url"),
            word("database"),
            word("user"),
        )
    }

    fn text(&self) -> String {
        let (url, token) = (&self.mcp_url, self.nova.token.expose_secret());
        let header = json!({ "Authorization": format!("Bearer {token}") });
        let cursor = json!({ "mcpServers": { "dunet": { "url": url, "headers": header } } });
        let vscode = json!({ "name": "dunet", "type": "http", "url": url, "headers": header });
        format!(
            "\nDunet demo: two companies, a sandbox Odoo for each, {TAXPAYERS} made-up taxpayers. Nothing is kept. Ctrl-C ends it.\n\
             \n  MCP              {url}\n  {:<16} {token}\n  {:<16} {}\n\
             \n  Portal           {}/admin\n  {OPERATOR:<16} {}\n\
             \nAsk for a taxpayer (a public example):\n\n  {}\n\
             \nIts sandbox Odoo, to try a tenant of your own on (README, the first real company):\n\n  {}\n\
             \nClaude Code:\n\n  claude mcp add --transport http dunet {url} --header \"Authorization: Bearer {token}\"\n\
             \nCursor (~/.cursor/mcp.json):\n\n  {cursor}\n\
             \nVS Code:\n\n  code --add-mcp '{vscode}'\n\
             \nMCP inspector:\n\n  npx @modelcontextprotocol/inspector --cli {url} --header \"Authorization: Bearer {token}\" --method tools/call --tool-name consultar_rnc_dgii --tool-arg rnc={EXAMPLE_RNC}\n",
            self.nova.name,
            self.aurora.name,
            self.aurora.token.expose_secret(),
            self.base,
            self.password.expose_secret(),
            self.curl(),
            self.tenant_add(),
        )
    }
}
