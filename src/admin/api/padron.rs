//! The padrón: which listing answers, what was imported, uploading another one, going back to the one before.

use axum::Json;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::door::By;
use super::failures::refused;
use super::input::Body;
use super::problem::ApiError;
use crate::admin::Portal;
use crate::admin::error::PageError;
use crate::admin::upload::{Upload, UploadFault, UploadLimits, receive};
use crate::clock::local_day;
use crate::domain::padron_history;
use crate::domain::padron_imports::{ImportError, ImportInfo, ImportOptions, Job, JobEnd, PadronJobError, ProgressStage, Refusal};
use crate::domain::reports::Page;
use crate::state::AppState;

/// Entries of the history.
const ENTRIES_MAX: u64 = 100;
/// The field of the files, and how many there may be.
const FILES: &str = "zip";
const FILES_MAX: usize = 2;

/// The padrón as it is.
#[derive(Serialize, ToSchema)]
pub(super) struct PadronState {
    /// The listing that answers; none before the first import.
    active: Option<Listing>,
    /// The one before, to which one can go back.
    previous: Option<Listing>,
    /// The latest import of this process.
    job: Option<ImportJob>,
}

/// A listing of the DGII.
#[derive(Serialize, ToSchema)]
pub(super) struct Listing {
    /// The day it is of.
    cutoff: NaiveDate,
    /// Its age, whole days.
    age_days: u64,
    /// Taxpayers.
    rows: u64,
    /// Those of them that are ACTIVO.
    active_rows: u64,
    /// When it was imported, UTC.
    imported_at: DateTime<Utc>,
    /// The official files it was made of.
    files: Vec<&'static str>,
}

/// An import.
#[derive(Serialize, ToSchema)]
pub(super) struct ImportJob {
    /// How far it is.
    state: JobState,
    /// Who began it.
    actor: String,
    /// When, UTC.
    began_at: DateTime<Utc>,
    /// What it is doing; none before it reads.
    stage: Option<JobStage>,
    /// How much of that is done, per cent.
    percent: Option<u64>,
    /// Why it was refused.
    refusal: Option<String>,
}

/// How far an import is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum JobState {
    /// It goes on.
    Running,
    /// The listing answers now.
    Activated,
    /// It was the active one already.
    Unchanged,
    /// The files were refused; what was active stays.
    Refused,
}

/// What an import is doing.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum JobStage {
    /// Reading the files.
    Reading,
    /// Making the index.
    Indexing,
    /// Changing over.
    Activating,
}

/// What was done with the padrón.
#[derive(Serialize, ToSchema)]
pub(super) struct ImportEntry {
    /// When, UTC.
    at: DateTime<Utc>,
    /// Who.
    actor: String,
    /// `import`, `fetch`, `upload` or `rollback`.
    action: String,
    /// `activated`, `unchanged` or `refused`.
    outcome: String,
    /// The day the listing is of.
    cutoff: Option<String>,
    /// Taxpayers.
    rows: Option<i64>,
    /// Why it was refused.
    refusal: Option<String>,
}

/// The official zip files (one or both) and what else is said about them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a form with files, which is read as it comes")]
pub(super) struct PadronUpload {
    /// `DGII_RNC.zip`, `RNC_CONTRIBUYENTES.zip`, or both: the field twice.
    #[schema(value_type = Vec<String>, format = Binary)]
    zip: Vec<Vec<u8>>,
    /// The day they are of, where they do not say it.
    #[schema(value_type = NaiveDate, required = false)]
    cutoff: Option<NaiveDate>,
    /// `1` takes them also when there are far more or fewer taxpayers than before.
    #[schema(value_type = String, required = false, pattern = "^1$")]
    any_size_change: Option<String>,
    /// `1` takes them also when they are older than the active listing.
    #[schema(value_type = String, required = false, pattern = "^1$")]
    allow_older: Option<String>,
}

/// Which listing one wants back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollbackAsked {
    /// The day of the listing that was seen as the previous one; another one by now is not taken (409).
    cutoff: NaiveDate,
}

/// The padrón as it is.
#[utoipa::path(get, path = "/admin/api/padron", tag = "padron", responses((status = 200, body = PadronState, description = "The listings, and the latest import.")))]
pub(super) async fn padron_show(State(portal): State<Portal>, _: By) -> Json<PadronState> {
    Json(shown(portal.state()))
}

/// What was done with the padrón, newest first: a hundred entries at most.
#[utoipa::path(get, path = "/admin/api/padron/imports", tag = "padron", responses((status = 200, body = Page<ImportEntry>, description = "The history.")))]
pub(super) async fn import_list(State(portal): State<Portal>, _: By) -> Result<Json<Page<ImportEntry>>, ApiError> {
    let history = padron_history::list(&portal.state().db, ENTRIES_MAX).await.map_err(ApiError::internal)?;
    let rows = history.into_iter().map(|entry| ImportEntry {
        at: entry.created_at,
        actor: entry.actor,
        action: entry.action,
        outcome: entry.outcome,
        refusal: entry.report.as_ref().and_then(Refusal::of_history).map(|refusal| refused(&refusal)).or(entry.message),
        cutoff: entry.cutoff,
        rows: entry.rows,
    });
    Ok(Json(Page { rows: rows.collect(), next: None }))
}

/// Uploads the official zips. They are looked at before the answer and imported after it: the state tells how it goes on.
#[utoipa::path(post, path = "/admin/api/padron/imports", tag = "padron", request_body(content = PadronUpload, content_type = "multipart/form-data"), responses((status = 202, body = PadronState, description = "The import has begun.")))]
pub(super) async fn import_upload(State(portal): State<Portal>, by: By, form: Multipart) -> Result<(StatusCode, Json<PadronState>), ApiError> {
    let state = portal.state();
    let imports = &state.padron_imports;
    if imports.is_running() {
        return Err(PadronJobError::Refused(ImportError::Busy).into());
    }
    let folder = imports.upload_folder().map_err(ApiError::internal)?;
    let limits = UploadLimits { bytes_max: state.config.padron.padron_upload_bytes_max, files_max: FILES_MAX, field: FILES };
    let upload = receive(form, folder.path(), limits).await.map_err(|fault| match fault {
        UploadFault::TooLarge => ApiError::TooLarge,
        UploadFault::TooMany => ApiError::fault(FILES, format!("Send {FILES_MAX} files at most.")),
        UploadFault::Page(PageError::Internal(cause)) => ApiError::Internal(cause),
        UploadFault::Page(_) => ApiError::Malformed("This is no form with files as the document describes it.".to_owned()),
    })?;
    let options = options(&upload, imports.options())?;
    if upload.files.is_empty() {
        return Err(PadronJobError::Refused(ImportError::NoFiles).into());
    }
    imports.upload_import(folder, upload.files, options, &by.actor()).await?;
    Ok((StatusCode::ACCEPTED, Json(shown(state))))
}

/// Makes the previous listing the active one.
#[utoipa::path(post, path = "/admin/api/padron/rollback", tag = "padron", request_body = RollbackAsked, responses((status = 200, body = PadronState, description = "The padrón as it is now.")))]
pub(super) async fn padron_rollback(State(portal): State<Portal>, by: By, Body(asked): Body<RollbackAsked>) -> Result<Json<PadronState>, ApiError> {
    let state = portal.state();
    state.padron_imports.rollback(Some(&asked.cutoff.to_string()), &by.actor()).await?;
    Ok(Json(shown(state)))
}

/// What came with the files.
fn options(upload: &Upload, usual: ImportOptions) -> Result<ImportOptions, ApiError> {
    let mut options = usual;
    for (name, value) in &upload.fields {
        match (name.as_str(), value.as_str()) {
            ("cutoff", value) => {
                let day = value.trim().parse().map_err(|_| ApiError::sentences([("cutoff", "date")]))?;
                options.cutoff = Some(day);
            }
            ("any_size_change", "1") => options.change_max_percent = None,
            ("allow_older", "1") => options.allow_older = true,
            _ => return Err(ApiError::Malformed("The form has a field, or a value of one, that the document does not describe.".to_owned())),
        }
    }
    Ok(options)
}

fn shown(state: &AppState) -> PadronState {
    let now = state.padron.status();
    let today = local_day(state.clock.now());
    let listing = |info: ImportInfo| Listing {
        cutoff: info.cutoff,
        age_days: info.age_days(today),
        rows: info.rows,
        active_rows: info.active_rows,
        imported_at: info.imported_at,
        files: info.sources.iter().map(|source| source.kind.official_name()).collect(),
    };
    let job = state.padron_imports.watch().borrow().as_ref().map(job);
    PadronState { active: now.active.map(listing), previous: now.previous.map(listing), job }
}

fn job(job: &Job) -> ImportJob {
    ImportJob {
        state: match &job.end {
            None => JobState::Running,
            Some(JobEnd::Activated(_)) => JobState::Activated,
            Some(JobEnd::Unchanged(_)) => JobState::Unchanged,
            Some(JobEnd::Refused(_)) => JobState::Refused,
        },
        actor: job.actor.clone(),
        began_at: job.began_at,
        stage: job.progress.map(|progress| match progress.stage {
            ProgressStage::Reading(_) => JobStage::Reading,
            ProgressStage::Indexing => JobStage::Indexing,
            ProgressStage::Activating => JobStage::Activating,
        }),
        percent: job.progress.and_then(|progress| progress.done.saturating_mul(100).checked_div(progress.total)).map(|percent| percent.min(100)),
        refusal: match &job.end {
            Some(JobEnd::Refused(refusal)) => Some(refused(refusal)),
            _ => None,
        },
    }
}
