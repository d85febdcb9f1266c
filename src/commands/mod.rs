//! The operator's shell: every `dunet …` command. A thin door: it reads arguments, asks `domain`, and prints for people or as JSON.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use secrecy::SecretString;
use serde_json::Value;

use crate::clock::Clock;
use crate::config::{Config, ServeConfig};
use crate::domain::vault::{self, Vault};
use crate::state::AppState;

mod admin;
mod api_key;
mod backup;
mod check;
mod connect;
mod demo;
mod doctor;
mod oauth;
pub mod padron;
mod tenant;
mod token;
mod tool;
mod usage;

/// The longest secret read from a file or standard input, bytes.
const SECRET_BYTES_MAX: u64 = 4096;

/// Dunet: MCP between AI agents and the Odoo of Dominican businesses.
#[derive(Parser, Debug)]
#[command(
    name = "dunet",
    version,
    about,
    max_term_width = 110,
    after_help = "Try it: `dunet demo`. Settings can also be given as environment variables; `.env.example` lists them all."
)]
pub struct Cli {
    /// Print JSON, for scripts.
    #[arg(long, global = true)]
    pub json: bool,

    /// The settings.
    #[command(flatten)]
    pub config: Config,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the service.
    Serve(ServeConfig),
    /// Try everything with a sandbox Odoo and sample taxpayers; nothing is installed or kept.
    Demo(demo::DemoArgs),
    /// Look at every setting before a start; each fault comes with its remedy, and the exit code is 1 if there is one.
    Check(check::CheckArgs),
    /// Run pending database migrations, all or none.
    Migrate {
        /// Run them and take them back: would they succeed on this database?
        #[arg(long)]
        dry_run: bool,
    },
    /// Write everything in the database to a file, while the service runs.
    ///
    /// The file restores on SQLite and PostgreSQL alike. Secrets in it stay sealed: keep a copy of the vault key elsewhere, it is not in it. Nor is the
    /// padrón, which is fetched or imported anew.
    Backup(backup::BackupArgs),
    /// Put a backup back, into a new database or in place of what is there; the service must not run.
    Restore(backup::RestoreArgs),
    /// Write one tenant to a file, for another service.
    Export(backup::ExportArgs),
    /// Take in a tenant that another service exported. Its vault key must be the current or the previous one here.
    Import(backup::ImportArgs),
    /// Move everything to another database, from SQLite to PostgreSQL for instance, each table counted there; the service must not run.
    MoveDatabase(backup::MoveArgs),
    /// Write a new vault key to a file only you can read.
    Keygen {
        /// The file to make; it must not exist.
        file: PathBuf,
    },
    /// Wrap every tenant's data key with the current vault key, while the service runs.
    ///
    /// In this order: 1. a new key (`dunet keygen`); 2. restart `serve` with DUNET_VAULT_KEY_FILE=new and
    /// DUNET_VAULT_PREVIOUS_KEY_FILE=old; 3. `dunet rotate-keys` with the same two; 4. drop the old key.
    RotateKeys,
    /// Operators of the portal.
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// Tenants: the client companies.
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// API tokens of a tenant.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Programs that sign in (OAuth) with a secret.
    #[command(subcommand, name = "oauth")]
    OAuth(oauth::OAuthCommand),
    /// Tools a tenant may use.
    #[command(subcommand)]
    Tool(tool::ToolCommand),
    /// Calls of a month, by tool.
    Usage(usage::UsageArgs),
    /// The DGII's listing of taxpayers.
    #[command(subcommand)]
    Padron(padron::PadronCommand),
    /// Whether programs can be connected to a service.
    #[command(subcommand)]
    Connect(connect::ConnectCommand),
    /// Check a tenant's Odoo step by step, with a remedy for each failure.
    Doctor(doctor::DoctorArgs),
}

/// Runs a command.
///
/// # Errors
/// What a person must be told.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let out = Out { json: cli.json };
    match cli.command {
        Command::Serve(serve) => {
            let (state, worker) = AppState::open(cli.config.clone(), vault(&cli.config)?, Clock::system()).await?;
            let handles = state.clone();
            let service = crate::boot::Service::bind(state, worker, &serve).await?;
            welcome(&handles, service.public_url()).await?;
            service.run().await?;
        }
        Command::Demo(args) => demo::run(cli.config, args, out).await?,
        Command::Check(args) => return check::run(&args, &cli.config, out).await,
        Command::Backup(args) => backup::backup(&args, &cli.config, out).await?,
        Command::Restore(args) => backup::restore(&args, &cli.config, out).await?,
        Command::Export(args) => backup::export(&args, &cli.config, out).await?,
        Command::Import(args) => backup::import(&args, &cli.config, out).await?,
        Command::MoveDatabase(args) => backup::move_database(&args, &cli.config, out).await?,
        Command::Migrate { dry_run: true } => {
            let db = crate::db::connect(&cli.config.database_url(), cli.config.limits.database_connections_max).await?;
            let pending = crate::db::migrate_dry(&db).await?;
            out.say(&format!("{pending} migrations would run, and succeed; nothing was changed"), &serde_json::json!({ "migrations_pending": pending }))?;
        }
        Command::Migrate { dry_run: false } => {
            let db = crate::db::connect(&cli.config.database_url(), cli.config.limits.database_connections_max).await?;
            let pending = crate::db::pending(&db).await?;
            crate::db::migrate(&db).await?;
            out.say(&format!("{pending} migrations run; the database is up to date"), &serde_json::json!({ "migrations_run": pending }))?;
        }
        Command::Keygen { file } => {
            keygen(&file)?;
            let text = format!(
                "a new vault key is in {0}\nset DUNET_VAULT_KEY_FILE={0} and keep a copy in a safe place: without it the stored Odoo credentials cannot be opened",
                file.display()
            );
            out.say(&text, &serde_json::json!({ "file": file }))?;
        }
        Command::RotateKeys => {
            let state = open(&cli.config).await?;
            let actor = crate::domain::audit::Actor::shell();
            let count = state.tenants.keys_rotate(&actor).await? + state.users.keys_rotate(&actor).await? + state.alerts.keys_rotate(&actor).await?;
            out.say(&format!("{count} data keys wrapped anew. A running service needs both key files from before this command on (`dunet rotate-keys --help`); once it runs with the new one, the old one is no longer needed"), &serde_json::json!({ "rewrapped": count }))?;
        }
        Command::Admin(command) => admin::run(command, &cli.config, out).await?,
        Command::Tenant(command) => tenant::run(command, &cli.config, out).await?,
        Command::Token(command) => token::run(command, &cli.config, out).await?,
        Command::OAuth(command) => oauth::run(command, &cli.config, out).await?,
        Command::Tool(command) => tool::run(command, &cli.config, out).await?,
        Command::Usage(args) => usage::run(&args, &cli.config, out).await?,
        Command::Padron(command) => padron::run(command, &cli.config, out).await?,
        Command::Connect(command) => return connect::run(command, &cli.config, out).await,
        Command::Doctor(args) => return doctor::run(&args, &cli.config, out).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// While nobody can run the service from the portal, says how the first one begins. On standard error and not by the log: it is for the person
/// who starts the service, whatever the log's filter is.
async fn welcome(state: &AppState, public_url: &url::Url) -> anyhow::Result<()> {
    use secrecy::ExposeSecret;
    let Some(secret) = state.users.first_link().await? else { return Ok(()) };
    let link = crate::admin::link_url(public_url, &secret);
    let message = "there is no operator yet; make the first account here, within 24 hours";
    let mut stderr = std::io::stderr().lock();
    // A closed standard error leaves nobody to tell.
    drop(if state.config.log_format == "json" {
        let line = serde_json::json!({ "timestamp": state.clock.now(), "level": "WARN", "message": message, "link": link.expose_secret() });
        writeln!(stderr, "{line}")
    } else {
        writeln!(stderr, "dunet: {message}: {}", link.expose_secret())
    });
    Ok(())
}

/// Prints an error and its causes to standard error.
pub fn complain(error: &anyhow::Error) {
    let mut stderr = std::io::stderr().lock();
    // A closed standard error leaves nobody to tell.
    drop(writeln!(stderr, "dunet: {error:#}"));
}

/// The state for a command that changes things: the database must be up to date.
async fn open(config: &Config) -> anyhow::Result<AppState> {
    let (state, worker) = AppState::open(config.clone(), vault(config)?, Clock::system()).await?;
    drop(worker);
    crate::db::prepare(&state.db, state.config.no_migrate).await?;
    Ok(state)
}

fn vault(config: &Config) -> anyhow::Result<Vault> {
    Ok(Vault::from_files(config.vault_key_file.as_deref(), config.vault_previous_key_file.as_deref())?)
}

fn keygen(file: &Path) -> anyhow::Result<()> {
    use secrecy::ExposeSecret;
    use std::os::unix::fs::OpenOptionsExt;
    let mut handle =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).with_context(|| format!("making {} (a key file is never overwritten)", file.display()))?;
    writeln!(handle, "{}", vault::key_generate()?.expose_secret())?;
    handle.sync_all()?;
    Ok(())
}

/// A secret from a file, or from standard input when the file is `-` (asked for, unseen, at a terminal). Never from an argument:
/// arguments are seen by everybody.
fn secret(file: &Path) -> anyhow::Result<SecretString> {
    use std::io::Read;
    let mut text = zeroize::Zeroizing::new(String::new());
    if file == Path::new("-") {
        if std::io::stdin().is_terminal() {
            text = zeroize::Zeroizing::new(rpassword::prompt_password("Secret (API key or password, not shown): ").context("reading the secret from the terminal")?);
        } else {
            std::io::stdin().take(SECRET_BYTES_MAX).read_to_string(&mut text).context("reading the secret from standard input")?;
        }
    } else {
        let handle = std::fs::File::open(file).with_context(|| format!("reading the secret from {}", file.display()))?;
        handle.take(SECRET_BYTES_MAX).read_to_string(&mut text).with_context(|| format!("reading the secret from {}", file.display()))?;
    }
    let secret = text.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(!secret.is_empty(), "the secret is empty");
    Ok(SecretString::from(secret.to_owned()))
}

/// Where commands print.
#[derive(Clone, Copy, Debug)]
pub struct Out {
    json: bool,
}

impl Out {
    /// A text for people, or the same as one line of JSON.
    fn say(self, text: &str, json: &Value) -> anyhow::Result<()> {
        let mut stdout = std::io::stdout().lock();
        if self.json {
            writeln!(stdout, "{json}")?;
        } else {
            writeln!(stdout, "{text}")?;
        }
        stdout.flush()?;
        Ok(())
    }

    /// A table for people, or the rows as a JSON array.
    fn table(self, header: &[&str], rows: &[Vec<String>], json: &Value) -> anyhow::Result<()> {
        if self.json || rows.is_empty() {
            return self.say("nothing to show", json);
        }
        let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            padded.join("  ").trim_end().to_owned()
        };
        let mut text = line(&mut header.iter().copied());
        for row in rows {
            text.push('\n');
            text.push_str(&line(&mut row.iter().map(String::as_str)));
        }
        self.say(&text, json)
    }
}

/// Whether somebody watches standard error.
fn watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Asks for a tool by its name.
///
/// # Errors
/// There is none; the message lists them.
fn known_tool(name: &str) -> anyhow::Result<&'static str> {
    crate::tools::find(name).map(|tool| tool.facts().name).with_context(|| {
        let names: Vec<&str> = crate::tools::TOOLS.iter().map(|tool| tool.facts().name).collect();
        format!("no such tool: {name}; there are {}", names.join(", "))
    })
}
