//! `dunet padron …`, and the daily fetch that `boot` runs.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Subcommand};
use sea_orm::DatabaseConnection;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::{Out, watched};
use crate::clock::Clock;
use crate::config::Config;
use crate::db;
use crate::dgii::fetch::{FetchOptions, FetchReport, fetch};
use crate::dgii::{ImportInfo, ImportOptions, ImportReport, Progress, ProgressStage};
use crate::domain::audit::Actor;
use crate::domain::padron_history::{self, PadronEvent};
use crate::domain::padron_imports::PadronImports;
use crate::state::open_padron;

/// What to do with the listing.
#[derive(Subcommand, Debug)]
pub enum PadronCommand {
    /// Import the official zips (DGII_RNC.zip, RNC_CONTRIBUYENTES.zip; one or both).
    Import(ImportArgs),
    /// Fetch the official zips and import them, once.
    Fetch,
    /// Which listing is active, and its history.
    Status,
    /// Go back to the listing before.
    Rollback,
}

/// Which files, and what is let pass.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The zips.
    #[arg(required = true, num_args = 1..=2)]
    files: Vec<PathBuf>,
    /// Cut-off date of DGII_RNC.zip, when it is not the one of the file inside.
    #[arg(long, value_name = "YYYY-MM-DD")]
    cutoff: Option<NaiveDate>,
    /// Let any change of size pass (else 30 % at most).
    #[arg(long)]
    any_size_change: bool,
    /// Let a listing pass that is older than the active one.
    #[arg(long)]
    allow_older: bool,
}

/// Runs it.
pub(super) async fn run(command: PadronCommand, config: &Config, out: Out) -> anyhow::Result<()> {
    let db = db::connect(&config.database_url(), config.limits.database_connections_max).await?;
    db::prepare(&db, config.no_migrate).await?;
    let clock = Clock::system();
    let padron = open_padron(config)?;
    let imports = PadronImports::new(db.clone(), clock.clone(), padron.clone(), TaskTracker::new(), config.padron.padron_rows_min, config.uploads_dir());
    match command {
        PadronCommand::Import(args) => {
            let options = ImportOptions {
                cutoff: args.cutoff,
                change_max_percent: imports.options().change_max_percent.filter(|_| !args.any_size_change),
                allow_older: args.allow_older,
                ..imports.options()
            };
            let report = imports.import(args.files, options, "import", &Actor::shell(), drawn(watched())).await?;
            out.say(&words(&report), &serde_json::to_value(&report)?)
        }
        PadronCommand::Fetch => {
            let report = fetch_and_import(config, &db, &clock, &imports).await?;
            out.say(&report.as_ref().map_or_else(|| "the DGII has nothing newer".to_owned(), words), &json!({ "changed": report.is_some(), "report": report }))
        }
        PadronCommand::Status => {
            let status = padron.status();
            let today = clock.now().with_timezone(&chrono_tz::America::Santo_Domingo).date_naive();
            let history = padron_history::list(&db, 10).await?;
            let mut lines = match &status.active {
                Some(info) => vec![format!("active: {}, {} days old", describe(info), info.age_days(today))],
                None => vec!["no listing yet: `dunet padron import FILE…` or `dunet padron fetch`".to_owned()],
            };
            lines.extend(status.previous.as_ref().map(|info| format!("previous: {}", describe(info))));
            lines.extend(history.iter().map(|entry| {
                format!(
                    "{}  {:<8} {:<9} {} {}",
                    entry.created_at.format("%Y-%m-%d %H:%M"),
                    entry.action,
                    entry.outcome,
                    entry.cutoff.as_deref().unwrap_or(""),
                    entry.message.as_deref().unwrap_or("")
                )
            }));
            let history: Vec<Value> = history
                .iter()
                .map(|entry| json!({ "at": entry.created_at, "actor": entry.actor, "action": entry.action, "outcome": entry.outcome, "cutoff": entry.cutoff, "rows": entry.rows, "message": entry.message }))
                .collect();
            out.say(&lines.join("\n"), &json!({ "active": status.active, "previous": status.previous, "history": history }))
        }
        PadronCommand::Rollback => {
            let info = imports.rollback(None, &Actor::shell()).await?;
            out.say(&format!("active again: {}", describe(&info)), &serde_json::to_value(&info)?)
        }
    }
}

/// Fetches what is newer and imports it; none when there is nothing newer.
///
/// # Errors
/// The files could not be fetched, or were refused.
pub async fn fetch_and_import(config: &Config, db: &DatabaseConnection, clock: &Clock, imports: &PadronImports) -> anyhow::Result<Option<ImportReport>> {
    let options = FetchOptions { base_url: config.padron.padron_url.clone(), user_agent: config.padron.padron_user_agent.clone(), ..FetchOptions::default() };
    let actor = Actor::service();
    let fetched = fetch(&config.padron_dir().join("fetched"), &options).await;
    let refused = |message: String| PadronEvent { action: "fetch", outcome: "refused", cutoff: None, rows: None, message: Some(message), report: None };
    let report = match fetched {
        Ok(report) => report,
        Err(error) => {
            padron_history::record(db, clock, &actor, refused(error.to_string())).await?;
            return Err(error.into());
        }
    };
    for (kind, error) in &report.failures {
        padron_history::record(db, clock, &actor, refused(format!("{}: {error}", kind.official_name()))).await?;
    }
    // Either file suffices for a first listing; later one alone would lose the other's columns, and the active listing stays.
    let enough = report.is_complete() || (imports.none_active() && !report.files.is_empty());
    anyhow::ensure!(enough, "{}", failures(&report));
    let files: Vec<PathBuf> = report.files.iter().map(|file| file.path.clone()).collect();
    // Imported even if nothing was new: an import that failed yesterday gets its second chance, an identical one is recognised.
    let imported = imports.import(files, imports.options(), "fetch", &actor, drawn(watched())).await?;
    Ok((!imported.unchanged).then_some(imported))
}

fn failures(report: &FetchReport) -> String {
    let lines: Vec<String> = report.failures.iter().map(|(kind, error)| format!("{}: {error}", kind.official_name())).collect();
    lines.join("; ")
}

/// Draws the progress for whoever watches.
fn drawn(watched: bool) -> impl Fn(Progress) + Send + 'static {
    let bar = watched.then(bar);
    move |progress| {
        if let Some(bar) = &bar {
            draw(bar, progress);
        }
    }
}

fn bar() -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new(0);
    if let Ok(style) = indicatif::ProgressStyle::with_template("{msg:<32} {wide_bar} {percent:>3} %  {elapsed}") {
        bar.set_style(style);
    }
    bar
}

fn draw(bar: &indicatif::ProgressBar, progress: Progress) {
    let what = match progress.stage {
        ProgressStage::Reading(kind) => format!("reading {}", kind.official_name()),
        ProgressStage::Indexing => "building the index".to_owned(),
        ProgressStage::Activating => "activating".to_owned(),
    };
    bar.set_message(what);
    bar.set_length(progress.total);
    bar.set_position(progress.done);
}

fn describe(info: &ImportInfo) -> String {
    format!("cut-off {}, {} taxpayers ({} active)", info.cutoff, info.rows, info.active_rows)
}

fn words(report: &ImportReport) -> String {
    let what = if report.unchanged { "unchanged, nothing to do" } else { "active now" };
    let mut text = format!("{what}: {} in {:.1} s", describe(&report.active), std::time::Duration::from_millis(report.took_ms).as_secs_f64());
    for source in &report.active.sources {
        text.push_str(&format!(
            "\n  {}: {} lines, {} accepted, {} repeated, {} refused",
            source.file_name,
            source.physical_lines,
            source.accepted,
            source.duplicates,
            source.rejected.total()
        ));
    }
    text
}
