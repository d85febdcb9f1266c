//! `dunet backup`, `restore`, `export`, `import` and `move-database`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::{Out, vault};
use crate::clock::Clock;
use crate::config::Config;
use crate::db;
use crate::domain::audit::Actor;
use crate::domain::backup::{self, Manifest};
use crate::domain::usage::journal_in_use;
use crate::ids::TenantId;

/// Connections of a command that does one thing.
const CONNECTIONS: u32 = 2;

/// Where a backup is written.
#[derive(Args, Debug)]
pub struct BackupArgs {
    /// The file to make; it must not exist. Only its owner can read it.
    file: PathBuf,
}

/// What is restored.
#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// The backup.
    file: PathBuf,
    /// Put it in the place of what is in the database, which is lost.
    #[arg(long)]
    replace: bool,
    /// Only read the file to its end and say what is in it.
    #[arg(long, conflicts_with = "replace")]
    check: bool,
}

/// Whose export.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Whose.
    #[arg(long)]
    tenant: TenantId,
    /// The file to make; it must not exist. Only its owner can read it.
    file: PathBuf,
}

/// Which export.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// What `dunet export` of another service wrote.
    file: PathBuf,
}

/// Where to.
#[derive(Args, Debug)]
pub struct MoveArgs {
    /// File with the address of the new, empty database (`postgres://user:password@host/database`), or `-` for standard input.
    #[arg(long, value_name = "FILE")]
    to_file: PathBuf,
}

/// `dunet backup FILE`.
pub(super) async fn backup(args: &BackupArgs, config: &Config, out: Out) -> anyhow::Result<()> {
    let manifest = write(config, &args.file, None).await?;
    say(out, &format!("{} rows of {} tables are in {}", manifest.rows(), manifest.tables.len(), args.file.display()), &manifest)
}

/// `dunet export --tenant ID FILE`.
pub(super) async fn export(args: &ExportArgs, config: &Config, out: Out) -> anyhow::Result<()> {
    let manifest = write(config, &args.file, Some(args.tenant)).await?;
    say(out, &format!("{} rows of the client are in {}", manifest.rows(), args.file.display()), &manifest)
}

async fn write(config: &Config, file: &Path, tenant: Option<TenantId>) -> anyhow::Result<Manifest> {
    let db = db::connect(&config.database_url(), CONNECTIONS).await?;
    backup::backup(&db, &Clock::system(), file, tenant).await
}

/// `dunet restore FILE`.
pub(super) async fn restore(args: &RestoreArgs, config: &Config, out: Out) -> anyhow::Result<()> {
    if args.check {
        let manifest = backup::inspect(&args.file)?;
        return say(out, &format!("{} is whole: {} rows of {} tables, made at {}", args.file.display(), manifest.rows(), manifest.tables.len(), manifest.made_at), &manifest);
    }
    anyhow::ensure!(!in_use(config)?, "a service runs on {}: stop it first (systemctl stop dunet.socket dunet)", config.data_dir.display());
    let vault = vault(config)?;
    let db = db::connect(&config.database_url(), CONNECTIONS).await?;
    let manifest = backup::restore(&db, &Clock::system(), &vault, &args.file, args.replace, &Actor::shell()).await?.manifest;
    let text = format!(
        "{} rows of {} tables were restored, as they were at {}. Odoo keys are not renewed by themselves until their owners say so again",
        manifest.rows(),
        manifest.tables.len(),
        manifest.made_at
    );
    say(out, &text, &manifest)
}

/// `dunet import FILE`.
pub(super) async fn import(args: &ImportArgs, config: &Config, out: Out) -> anyhow::Result<()> {
    let vault = vault(config)?;
    let db = db::connect(&config.database_url(), CONNECTIONS).await?;
    db::prepare(&db, config.no_migrate).await?;
    let manifest = backup::tenant_import(&db, &Clock::system(), &vault, &args.file, &Actor::shell()).await?;
    say(out, &format!("{} rows of the client were taken in", manifest.rows()), &manifest)
}

/// `dunet move-database --to-file FILE`: a backup and its restore elsewhere, in one go.
pub(super) async fn move_database(args: &MoveArgs, config: &Config, out: Out) -> anyhow::Result<()> {
    let target = super::secret(&args.to_file).context("the address of the new database")?;
    anyhow::ensure!(
        !in_use(config)?,
        "a service runs on {}: stop it first (systemctl stop dunet.socket dunet), or what it writes meanwhile stays behind",
        config.data_dir.display()
    );
    let file = config.data_dir.join(format!("moving-{}.zip", uuid::Uuid::new_v4().simple()));
    let moved = async {
        write(config, &file, None).await.context("reading the old database")?;
        let vault = vault(config)?;
        let db = db::connect(&target, CONNECTIONS).await?;
        let moved = backup::restore_moved(&db, &Clock::system(), &vault, &file, &Actor::shell()).await;
        moved.map(|restored| restored.manifest).context("writing the new database")
    };
    let moved = moved.await;
    drop(std::fs::remove_file(&file));
    let manifest = moved?;
    let text = format!(
        "{} rows of {} tables are in the new database, each counted there; set DATABASE_URL to it and start the service. The old one was not touched",
        manifest.rows(),
        manifest.tables.len()
    );
    say(out, &text, &manifest)
}

fn in_use(config: &Config) -> anyhow::Result<bool> {
    journal_in_use(&config.journal_dir()).with_context(|| format!("looking into {}", config.journal_dir().display()))
}

fn say(out: Out, text: &str, manifest: &Manifest) -> anyhow::Result<()> {
    let tables: serde_json::Map<String, serde_json::Value> =
        manifest.tables.iter().map(|table| (table.name.clone(), json!({ "rows": table.rows, "sha256": table.sha256 }))).collect();
    out.say(text, &json!({ "made_at": manifest.made_at, "dunet": manifest.dunet, "tenant": manifest.tenant, "rows": manifest.rows(), "tables": tables }))
}
