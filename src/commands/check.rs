//! `dunet check`: every setting looked at before a start, each fault with its remedy. Changes nothing; run by the unit before `serve` and by the
//! deploy.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use chrono::{Duration, NaiveDate};
use clap::Args;
use ipnet::IpNet;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio_util::task::TaskTracker;
use url::Host;

use super::{Out, vault};
use crate::clock::Clock;
use crate::config::{Config, ServeConfig};
use crate::db::{self, schema};
use crate::domain::audit;
use crate::domain::mail::Mail;
use crate::domain::tenants::Tenants;
use crate::state::open_padron;

/// Two clocks may differ by so much, seconds: tokens expire and limits are counted by them.
const CLOCK_OFF_S_MAX: i64 = 30;
/// What was written last may lie so far ahead, seconds: another node's clock.
const CLOCK_BEHIND_S_MAX: i64 = 120;
/// Less room on the disk is worth a word, bytes.
const FREE_BYTES_MIN: u64 = 512 * 1_048_576;
/// Others may not read or write the key.
const OTHERS: u32 = 0o007;

/// What is looked at.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// What `serve` would be started with.
    #[command(flatten)]
    serve: ServeConfig,
    /// The service runs, or systemd holds its socket: the port is not looked at.
    #[arg(long)]
    running: bool,
}

/// How it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    Doubtful,
    Wrong,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Doubtful => "warning",
            Self::Wrong => "fault",
        }
    }
}

/// What was found, in the order in which it was looked for.
#[derive(Default)]
struct Findings(Vec<(State, &'static str, String)>);

impl Findings {
    fn good(&mut self, what: &'static str, said: impl Into<String>) {
        self.0.push((State::Good, what, said.into()));
    }

    fn doubtful(&mut self, what: &'static str, said: impl Into<String>) {
        self.0.push((State::Doubtful, what, said.into()));
    }

    fn wrong(&mut self, what: &'static str, said: impl Into<String>) {
        self.0.push((State::Wrong, what, said.into()));
    }
}

/// Runs it: exit code 0 when nothing is wrong, 1 when something is.
pub(super) async fn run(args: &CheckArgs, config: &Config, out: Out) -> anyhow::Result<ExitCode> {
    let (mut findings, clock) = (Findings::default(), Clock::system());
    key(config, &mut findings);
    folder(&config.data_dir, &mut findings);
    address(&args.serve, config, &mut findings);
    if !args.running {
        port(&args.serve, &mut findings);
    }
    time(&clock, &mut findings);
    database(config, &clock, &mut findings).await;
    letters(config, &clock, &mut findings);
    padron(config, &mut findings);

    let rows: Vec<Vec<String>> = findings.0.iter().map(|(state, what, said)| vec![state.word().to_owned(), (*what).to_owned(), said.clone()]).collect();
    let all: Vec<_> = findings.0.iter().map(|(state, what, said)| json!({ "state": state.word(), "what": what, "said": said })).collect();
    out.table(&["state", "what", "found"], &rows, &json!(all))?;
    let wrong = findings.0.iter().any(|(state, ..)| *state == State::Wrong);
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn key(config: &Config, findings: &mut Findings) {
    if let Err(error) = vault(config) {
        return findings.wrong("vault key", format!("{error:#}"));
    }
    for file in config.vault_key_file.iter().chain(&config.vault_previous_key_file) {
        let mode = std::fs::metadata(file).map_or(0, |facts| facts.permissions().mode());
        if mode & OTHERS != 0 {
            return findings.wrong("vault key", format!("everybody on this machine may read {0}: chmod o= {0}", file.display()));
        }
    }
    if config.vault_previous_key_file.is_some() {
        return findings.doubtful("vault key", "there is a previous key too: once `dunet rotate-keys` has finished, drop DUNET_VAULT_PREVIOUS_KEY_FILE");
    }
    findings.good("vault key", "is there, and nobody else's to read");
}

fn folder(folder: &Path, findings: &mut Findings) {
    let probe = folder.join(format!(".check-{}", uuid::Uuid::new_v4().simple()));
    if let Err(error) = db::private_folder(folder).and_then(|()| Ok(std::fs::write(&probe, b"")?)) {
        return findings.wrong("data folder", format!("{} cannot be written ({error:#}): give it to the user of the service (chown) or set DUNET_DATA_DIR", folder.display()));
    }
    drop(std::fs::remove_file(&probe));
    match rustix::fs::statvfs(folder) {
        Ok(disk) if disk.f_bavail.saturating_mul(disk.f_frsize) < FREE_BYTES_MIN => {
            findings
                .doubtful("data folder", format!("only {} MiB are free on the disk of {}: make room", disk.f_bavail.saturating_mul(disk.f_frsize) / 1_048_576, folder.display()));
        }
        _ => findings.good("data folder", format!("{} can be written", folder.display())),
    }
}

fn address(serve: &ServeConfig, config: &Config, findings: &mut Findings) {
    match &serve.public_url {
        None => findings.doubtful("public address", "DUNET_PUBLIC_URL is not set: only this machine is served; set it to what agents use, such as https://mcp.example.do"),
        Some(url) => {
            let here = match url.host() {
                Some(Host::Domain(name)) => name == "localhost",
                Some(Host::Ipv4(address)) => address.is_loopback(),
                Some(Host::Ipv6(address)) => address.is_loopback(),
                None => false,
            };
            if url.scheme() == "https" || (url.scheme() == "http" && here) {
                findings.good("public address", url.to_string());
            } else {
                findings
                    .wrong("public address", format!("{url} is not https: tokens would travel in clear; put nginx in front (nginx.conf) and set DUNET_PUBLIC_URL to https://…"));
            }
        }
    }
    if serve.trusted_proxies.iter().any(|net: &IpNet| net.prefix_len() == 0) {
        findings.wrong("trusted proxies", "DUNET_TRUSTED_PROXIES names everybody: any client could say that it is another; name nginx only");
    }
    if config.allow_private_odoo {
        findings.doubtful("private Odoo", "DUNET_ALLOW_PRIVATE_ODOO is on: whoever may set an Odoo's address reaches this network; unset it where strangers sign up");
    }
}

fn port(serve: &ServeConfig, findings: &mut Findings) {
    let address = SocketAddr::new(serve.host, serve.port);
    match TcpListener::bind(address) {
        Ok(_) => findings.good("port", format!("{address} is free")),
        Err(error) => findings.wrong(
            "port",
            format!("{address} is not to be had ({error}): stop who uses it (ss -ltnp 'sport = :{}'), or set DUNET_PORT; --running if that is the service itself", address.port()),
        ),
    }
}

/// A clock that was never set is before the program was written.
fn time(clock: &Clock, findings: &mut Findings) {
    let newest = schema::known().last().and_then(|name| NaiveDate::parse_from_str(name.get(1..9)?, "%Y%m%d").ok());
    if newest.is_some_and(|day| clock.now().date_naive() < day - Duration::days(1)) {
        findings.wrong("clock", format!("this machine's clock says {}: set it (timedatectl set-ntp true)", clock.now().format("%Y-%m-%d %H:%M UTC")));
    }
}

async fn database(config: &Config, clock: &Clock, findings: &mut Findings) {
    let url = config.database_url();
    let file = url.expose_secret().strip_prefix("sqlite://").map(|rest| Path::new(rest.split('?').next().unwrap_or(rest)).to_owned());
    if file.as_ref().is_some_and(|file| !file.exists()) {
        return findings.good("database", "is new: the first start makes it");
    }
    let look = async {
        let db = db::connect(&url, 1).await?;
        let applied = schema::applied(&db).await?;
        anyhow::Ok((db, applied))
    };
    let (db, applied) = match look.await {
        Ok(found) => found,
        Err(error) => return findings.wrong("database", format!("{error:#}: is the server up, is DATABASE_URL right, may the service's user read the file?")),
    };
    let known = schema::known();
    if let Some(newer) = applied.iter().find(|name| !known.contains(name)) {
        return findings.wrong("database", format!("is newer than this program (it has {newer}): install the version that made it, or restore a backup from before"));
    }
    let pending = known.len() - applied.len();
    match (pending, config.no_migrate) {
        (0, _) => findings.good("database", "is up to date"),
        (_, false) => findings.good("database", format!("lacks {pending} migrations: the start runs them (`dunet migrate --dry-run` tries them first)")),
        (_, true) => return findings.wrong("database", format!("is too old, it lacks {pending} migrations: run `dunet migrate`, or unset DUNET_NO_MIGRATE")),
    }
    if let Ok(Some(ahead)) = db::clock_ahead(&db, clock.now()).await
        && ahead.num_seconds().abs() > CLOCK_OFF_S_MAX
    {
        findings.wrong("clock", format!("the database's clock and this machine's differ by {} s: set both (timedatectl set-ntp true)", ahead.num_seconds().abs()));
    }
    if pending > 0 {
        return;
    }
    if let Ok(Some(last)) = audit::newest(&db).await
        && (last - clock.now()).num_seconds() > CLOCK_BEHIND_S_MAX
    {
        findings.wrong("clock", format!("this machine's clock is behind what was written last, by {} s: set it (timedatectl set-ntp true)", (last - clock.now()).num_seconds()));
    }
    if let Ok(vault) = vault(config)
        && let Err(error) = Tenants::new(db, vault, clock.clone()).keys_check().await
    {
        findings.wrong("vault key", format!("does not fit the database: {error}"));
    }
}

fn letters(config: &Config, clock: &Clock, findings: &mut Findings) {
    match Mail::new(config.smtp_url.as_ref(), config.mail_from.as_deref(), clock.clone(), TaskTracker::new()) {
        Err(error) => findings.wrong("letters", format!("{error:#}")),
        Ok(mail) if !mail.configured() => {
            findings.doubtful("letters", "DUNET_SMTP_URL is not set: pages show links to copy instead of sending them, and alerts go out by webhook only");
        }
        Ok(_) => findings.good("letters", "are sent (whether the server takes them is not tried here)"),
    }
}

fn padron(config: &Config, findings: &mut Findings) {
    match open_padron(config) {
        Err(error) => findings.wrong("padrón", format!("{error:#}: give the folder to the service's user, or remove it and import anew")),
        Ok(padron) => match padron.status().active {
            None => findings.doubtful("padrón", "no listing of taxpayers yet: `dunet padron import`, or DUNET_PADRON_FETCH=true"),
            Some(active) => findings.good("padrón", format!("is of {}", active.cutoff)),
        },
    }
}
