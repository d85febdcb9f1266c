//! Imports of the padrón: one at a time, with its progress for whoever watches, its history (`padron_history`) and its audit. What a file must
//! be like is `dgii`'s to say; where files come from is the caller's business.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::{DatabaseConnection, DbErr};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::audit::{self, Actor, Change};
use super::padron_history::{self, PadronEvent};
use crate::clock::Clock;
use crate::db;
pub use crate::dgii::{Checked, ImportError, ImportInfo, ImportOptions, ImportReport, Padron, PadronError, Progress, ProgressStage};

/// An import, while it runs and after.
#[derive(Clone, Debug)]
pub struct Job {
    /// Who.
    pub actor: String,
    /// The files' names.
    pub files: Vec<String>,
    /// UTC.
    pub began_at: DateTime<Utc>,
    /// How far it is; none before it began to read.
    pub progress: Option<Progress>,
    /// What came of it; none while it runs.
    pub end: Option<JobEnd>,
}

/// What came of an import.
#[derive(Clone, Debug)]
pub enum JobEnd {
    /// The listing is active now.
    Activated(Box<ImportInfo>),
    /// It was active already.
    Unchanged(Box<ImportInfo>),
    /// The files were refused, or the machine failed; what was active stays.
    Refused(Refusal),
}

/// A refusal that can be said in any language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// See [`ImportError::code`].
    pub code: String,
    /// See [`ImportError::facts`].
    pub facts: Vec<(String, String)>,
}

impl Refusal {
    /// Of that error.
    #[must_use]
    pub fn new(error: &ImportError) -> Self {
        Self { code: error.code().to_owned(), facts: error.facts().into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
    }

    /// As the history keeps it.
    fn json(&self) -> Value {
        let facts: serde_json::Map<String, Value> = self.facts.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
        json!({ "code": self.code, "facts": facts })
    }

    /// From the history; none when the entry is no refusal with a code.
    #[must_use]
    pub fn of_history(report: &Value) -> Option<Self> {
        let facts = report.get("facts")?.as_object()?;
        let facts = facts.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        Some(Self { code: report.get("code")?.as_str()?.to_owned(), facts: facts.collect() })
    }
}

/// Why an import or a roll-back did not come about.
#[derive(Debug, thiserror::Error)]
pub enum PadronJobError {
    /// The files were refused.
    #[error(transparent)]
    Refused(#[from] ImportError),
    /// The roll-back was refused.
    #[error(transparent)]
    Rollback(#[from] PadronError),
    /// Another listing became the previous one meanwhile.
    #[error("another listing is the previous one now")]
    Stale,
    /// The database.
    #[error("database: {0}")]
    Db(#[from] DbErr),
    /// The machine.
    #[error("{0}")]
    Machine(String),
}

/// A listing older than this is said to be old, days: the DGII publishes one a week.
pub const OLD_DAYS: i64 = 14;

/// A folder of our own that is gone when nobody holds it any more.
#[derive(Debug)]
pub struct UploadFolder(PathBuf);

impl UploadFolder {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for UploadFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "an upload could not be removed; the next start does");
        }
    }
}

/// Makes imports. Cheap to clone; clones see the same job.
#[derive(Clone)]
pub struct PadronImports {
    inner: Arc<Inner>,
}

struct Inner {
    db: DatabaseConnection,
    clock: Clock,
    padron: Padron,
    tasks: TaskTracker,
    rows_min: u64,
    uploads: PathBuf,
    job: watch::Sender<Option<Job>>,
}

impl PadronImports {
    /// Over that padrón. Uploads wait in that folder; a listing must have so many rows; `tasks` runs what goes on after the answer.
    #[must_use]
    pub fn new(db: DatabaseConnection, clock: Clock, padron: Padron, tasks: TaskTracker, rows_min: u64, uploads: PathBuf) -> Self {
        Self { inner: Arc::new(Inner { db, clock, padron, tasks, rows_min, uploads, job: watch::Sender::new(None) }) }
    }

    /// The usual rules, now.
    #[must_use]
    pub fn options(&self) -> ImportOptions {
        ImportOptions { rows_min: self.inner.rows_min, ..ImportOptions::at(self.inner.clock.now()) }
    }

    /// The latest import of this process, and how it goes on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Job>> {
        self.inner.job.subscribe()
    }

    /// Whether one is running in this process.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.inner.job.borrow().as_ref().is_some_and(|job| job.end.is_none())
    }

    /// Whether there is no listing yet.
    #[must_use]
    pub fn none_active(&self) -> bool {
        self.inner.padron.status().active.is_none()
    }

    /// An empty folder for an upload.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn upload_folder(&self) -> anyhow::Result<UploadFolder> {
        let folder = self.inner.uploads.join(Uuid::now_v7().to_string());
        db::private_folder(&folder)?;
        Ok(UploadFolder(folder))
    }

    /// Removes what a killed process left behind; for the start, before anybody uploads.
    pub fn uploads_clear(&self) {
        match std::fs::remove_dir_all(&self.inner.uploads) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => tracing::warn!(%error, "old uploads could not be removed"),
            _ => {}
        }
    }

    /// Imports files; writes down what came of it. `seen` hears of the progress, as [`Self::watch`] does.
    ///
    /// # Errors
    /// The files are refused, another import is running, or the machine failed. What was active stays.
    pub async fn import(
        &self,
        files: Vec<PathBuf>,
        options: ImportOptions,
        action: &'static str,
        actor: &Actor,
        seen: impl Fn(Progress) + Send + 'static,
    ) -> Result<ImportReport, PadronJobError> {
        let running = self.begin(&files, actor)?;
        self.run(running, files, options, action, actor, seen).await
    }

    /// Checks uploaded files, and imports them after this has returned; the folder goes when that is done.
    ///
    /// # Errors
    /// The files are refused (which is written down), another import is running, or the machine failed.
    pub async fn upload_import(&self, folder: UploadFolder, files: Vec<PathBuf>, options: ImportOptions, actor: &Actor) -> Result<(), PadronJobError> {
        let running = self.begin(&files, actor)?;
        let (padron, to_check, with) = (self.inner.padron.clone(), files.clone(), options.clone());
        let checked = tokio::task::spawn_blocking(move || padron.check(&to_check, &with)).await.map_err(|error| PadronJobError::Machine(error.to_string()))?;
        if let Err(error) = checked {
            self.finish(running, "upload", actor, None, &Err(&error)).await?;
            return Err(error.into());
        }
        let (imports, actor) = (self.clone(), actor.clone());
        self.inner.tasks.spawn(async move {
            if let Err(error) = imports.run(running, files, options, "upload", &actor, |_| {}).await {
                tracing::warn!(%error, "an uploaded listing was not imported; the active one stays");
            }
            drop(folder);
        });
        Ok(())
    }

    /// Makes the previous listing the active one. `cutoff` is that of the listing that whoever asks wants back; none takes any.
    ///
    /// # Errors
    /// There is none, another one, an import is running, or the machine failed.
    pub async fn rollback(&self, cutoff: Option<&str>, actor: &Actor) -> Result<ImportInfo, PadronJobError> {
        let before = self.inner.padron.status();
        if let Some(cutoff) = cutoff
            && before.previous.as_ref().is_some_and(|previous| previous.cutoff.to_string() != cutoff)
        {
            return Err(PadronJobError::Stale);
        }
        let padron = self.inner.padron.clone();
        let info = tokio::task::spawn_blocking(move || padron.rollback()).await.map_err(|error| PadronJobError::Machine(error.to_string()))??;
        let event = PadronEvent { action: "rollback", outcome: "activated", cutoff: Some(info.cutoff.to_string()), rows: Some(info.rows), message: None, report: None };
        self.write_down(event, actor, Some(("padron.rollback", before.active.as_ref(), &info))).await?;
        Ok(info)
    }

    fn begin(&self, files: &[PathBuf], actor: &Actor) -> Result<Running, PadronJobError> {
        let files = files.iter().filter_map(|file| file.file_name()).map(|name| name.to_string_lossy().into_owned()).collect();
        let new = Job { actor: actor.0.clone(), files, began_at: self.inner.clock.now(), progress: None, end: None };
        let began = self.inner.job.send_if_modified(|job| {
            let free = job.as_ref().is_none_or(|job| job.end.is_some());
            if free {
                *job = Some(new);
            }
            free
        });
        if began { Ok(Running(Arc::clone(&self.inner))) } else { Err(ImportError::Busy.into()) }
    }

    async fn run(
        &self,
        running: Running,
        files: Vec<PathBuf>,
        options: ImportOptions,
        action: &'static str,
        actor: &Actor,
        seen: impl Fn(Progress) + Send + 'static,
    ) -> Result<ImportReport, PadronJobError> {
        let before = self.inner.padron.status().active;
        let inner = Arc::clone(&self.inner);
        let work = move || {
            inner.padron.import(&files, &options, &|progress| {
                seen(progress);
                inner.job.send_modify(|job| {
                    if let Some(job) = job {
                        job.progress = Some(progress);
                    }
                });
            })
        };
        let result = tokio::task::spawn_blocking(work).await.map_err(|error| PadronJobError::Machine(error.to_string()))?;
        self.finish(running, action, actor, before.as_ref(), &result.as_ref()).await?;
        Ok(result?)
    }

    async fn finish(
        &self,
        running: Running,
        action: &'static str,
        actor: &Actor,
        before: Option<&ImportInfo>,
        result: &Result<&ImportReport, &ImportError>,
    ) -> Result<(), PadronJobError> {
        let (event, change, end) = match result {
            Ok(report) => {
                let info = &report.active;
                let event = PadronEvent {
                    action,
                    outcome: if report.unchanged { "unchanged" } else { "activated" },
                    cutoff: Some(info.cutoff.to_string()),
                    rows: Some(info.rows),
                    message: None,
                    report: Some(serde_json::to_value(report).map_err(|error| PadronJobError::Machine(error.to_string()))?),
                };
                let boxed = Box::new(info.clone());
                let end = if report.unchanged { JobEnd::Unchanged(boxed) } else { JobEnd::Activated(boxed) };
                (event, (!report.unchanged).then_some(("padron.import", before, info)), end)
            }
            Err(error) => {
                let refusal = Refusal::new(error);
                let event = PadronEvent { action, outcome: "refused", cutoff: None, rows: None, message: Some(error.to_string()), report: Some(refusal.json()) };
                (event, None, JobEnd::Refused(refusal))
            }
        };
        let written = self.write_down(event, actor, change).await;
        running.end(end);
        Ok(written?)
    }

    /// The history's entry, and the audit's when another listing is active now.
    async fn write_down(&self, event: PadronEvent<'_>, actor: &Actor, change: Option<(&str, Option<&ImportInfo>, &ImportInfo)>) -> Result<(), DbErr> {
        let transaction = db::begin_write(&self.inner.db).await?;
        padron_history::record(&transaction, &self.inner.clock, actor, event).await?;
        if let Some((action, before, after)) = change {
            let shown = |info: &ImportInfo| json!({ "cutoff": info.cutoff.to_string(), "rows": info.rows, "active_rows": info.active_rows });
            let change = Change { tenant: None, action, subject: "padron".to_owned(), before: before.map(shown), after: Some(shown(after)) };
            audit::record(&transaction, &self.inner.clock, actor, change).await?;
        }
        transaction.commit().await
    }
}

/// The right to import in this process; given back also when the import ends in a panic or its caller goes away.
struct Running(Arc<Inner>);

impl Running {
    fn end(self, end: JobEnd) {
        self.set(end);
    }

    fn set(&self, end: JobEnd) {
        self.0.job.send_modify(|job| {
            if let Some(job) = job.as_mut().filter(|job| job.end.is_none()) {
                job.end = Some(end);
            }
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.set(JobEnd::Refused(Refusal { code: "interrupted".to_owned(), facts: Vec::new() }));
    }
}
