//! The padrón: which listing answers, uploading another, going back, and what was done before. The work itself is `domain/padron_imports.rs`.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Multipart;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use chrono::NaiveDate;
use futures::{Stream, stream};
use serde::{Deserialize, Serialize};

use super::actor_name;
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash};
use crate::admin::error::PageError;
use crate::admin::figures::written_day;
use crate::admin::forms::{Faults, Form};
use crate::admin::render::number;
use crate::admin::upload::{Upload, UploadFault, UploadLimits, receive};
use crate::clock::{day_start, local_day};
use crate::domain::padron_history;
use crate::domain::padron_imports::{ImportError, ImportInfo, ImportOptions, Job, JobEnd, OLD_DAYS, PadronError, PadronJobError, ProgressStage, Refusal};
use crate::domain::users::Operator;

const PATH: &str = "/admin/padron";
const TEMPLATE: &str = "pages/padron.html";
/// Entries of the history that are shown.
const ENTRIES_MAX: u64 = 30;
/// The field of the files, and how many there may be.
const FILES: &str = "zip";
const FILES_MAX: usize = 2;
/// Progress is told no more often.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// What was typed besides the files.
#[derive(Default, Serialize)]
struct UploadForm {
    cutoff: String,
    any_size_change: bool,
    allow_older: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RollbackForm {
    /// The listing that the page offered.
    cutoff: String,
}

#[derive(Serialize)]
struct View<'a> {
    active: Option<Listing>,
    previous: Option<Listing>,
    job: Option<JobView>,
    history: Vec<Entry>,
    megabytes_max: u64,
    form: &'a UploadForm,
    faults: Faults,
}

#[derive(Serialize)]
struct Listing {
    /// ISO, for forms.
    cutoff: String,
    cutoff_at: String,
    age_days: i64,
    old: bool,
    rows: u64,
    active_rows: u64,
    imported_at: String,
    files: Vec<&'static str>,
}

#[derive(Serialize)]
struct JobView {
    running: bool,
    state: &'static str,
    actor: String,
    began_at: String,
    steps: Vec<Step>,
}

#[derive(Serialize, Clone, PartialEq)]
struct Step {
    id: &'static str,
    state: &'static str,
    name: String,
    text: String,
}

#[derive(Serialize)]
struct Entry {
    at: String,
    actor: String,
    action: String,
    outcome: String,
    cutoff_at: Option<String>,
    rows: Option<i64>,
    refusal: String,
}

#[derive(Serialize)]
struct RollbackView {
    active: Option<Listing>,
    previous: Option<Listing>,
    fault: String,
}

pub(super) async fn show(cx: Cx, _: Operator) -> Answer {
    page(&cx, StatusCode::OK, &UploadForm::default(), Faults::default()).await
}

/// Takes the official zips, looks at their outside, and imports them after the answer.
pub(super) async fn import(cx: Cx, operator: Operator, form: Multipart) -> Answer {
    let imports = &cx.state().padron_imports;
    if imports.is_running() {
        let faults = refused(&cx, &Refusal::new(&ImportError::Busy));
        return page(&cx, StatusCode::CONFLICT, &UploadForm::default(), faults).await;
    }
    let folder = imports.upload_folder().map_err(PageError::internal)?;
    let bytes_max = cx.state().config.padron.padron_upload_bytes_max;
    let upload = match receive(form, folder.path(), UploadLimits { bytes_max, files_max: FILES_MAX, field: FILES }).await {
        Ok(upload) => upload,
        Err(UploadFault::Page(error)) => return Err(error),
        Err(fault @ (UploadFault::TooLarge | UploadFault::TooMany)) => {
            let (status, key) =
                if matches!(fault, UploadFault::TooLarge) { (StatusCode::PAYLOAD_TOO_LARGE, "upload_large") } else { (StatusCode::UNPROCESSABLE_ENTITY, "upload_many") };
            let mut faults = Faults::default();
            faults.say(FILES, cx.fill(&format!("portal.faults.{key}"), &[("megabytes", &megabytes(bytes_max).to_string())]));
            return page(&cx, status, &UploadForm::default(), faults).await;
        }
    };
    let form = typed(&upload)?;
    let options = match options(&cx, &form, &imports.options()) {
        Ok(options) => options,
        Err(faults) => return page(&cx, StatusCode::UNPROCESSABLE_ENTITY, &form, faults).await,
    };
    if upload.files.is_empty() {
        return page(&cx, StatusCode::UNPROCESSABLE_ENTITY, &form, refused(&cx, &Refusal::new(&ImportError::NoFiles))).await;
    }
    match imports.upload_import(folder, upload.files, options, &operator.actor()).await {
        Ok(()) => cx.redirect_saying(PATH, &Flash::ok("padron_upload")),
        Err(PadronJobError::Refused(error)) if !error.is_machine() => page(&cx, StatusCode::UNPROCESSABLE_ENTITY, &form, refused(&cx, &Refusal::new(&error))).await,
        Err(error) => Err(PageError::internal(error)),
    }
}

/// The import that is running, as steps that change; ends at once when there is none.
pub(super) async fn progress(cx: Cx, _: Operator) -> Answer {
    // axum's own is `no-cache`.
    Ok(([(header::CACHE_CONTROL, "no-store")], Sse::new(steps_stream(cx)).keep_alive(KeepAlive::default())).into_response())
}

pub(super) async fn rollback_ask(cx: Cx, _: Operator) -> Answer {
    rollback_page(&cx, StatusCode::OK, String::new())
}

pub(super) async fn rollback(cx: Cx, operator: Operator, Form(form): Form<RollbackForm>) -> Answer {
    match cx.state().padron_imports.rollback(Some(&form.cutoff), &operator.actor()).await {
        Ok(info) => cx.redirect_saying(PATH, &Flash::ok("padron_rollback").fact("cutoff", &written_day(cx.language(), info.cutoff))),
        Err(PadronJobError::Stale) => Err(PageError::Stale),
        Err(PadronJobError::Rollback(PadronError::Busy)) => rollback_page(&cx, StatusCode::CONFLICT, said(&cx, &Refusal::new(&ImportError::Busy))),
        Err(PadronJobError::Rollback(PadronError::NoPrevious)) => rollback_page(&cx, StatusCode::CONFLICT, String::new()),
        Err(error) => Err(PageError::internal(error)),
    }
}

fn rollback_page(cx: &Cx, status: StatusCode, fault: String) -> Answer {
    let now = cx.state().padron.status();
    let view = RollbackView { active: now.active.map(|info| listing(cx, &info)), previous: now.previous.map(|info| listing(cx, &info)), fault };
    cx.page_with(status, "pages/padron_rollback.html", view)
}

async fn page(cx: &Cx, status: StatusCode, form: &UploadForm, faults: Faults) -> Answer {
    let state = cx.state();
    let now = state.padron.status();
    let history = padron_history::list(&state.db, ENTRIES_MAX).await.map_err(PageError::internal)?;
    let entries = history.into_iter().map(|entry| Entry {
        at: entry.created_at.to_rfc3339(),
        actor: actor_name(cx, &entry.actor),
        refusal: entry.report.as_ref().and_then(Refusal::of_history).map(|refusal| said(cx, &refusal)).or(entry.message).unwrap_or_default(),
        action: entry.action,
        outcome: entry.outcome,
        cutoff_at: entry.cutoff.and_then(|cutoff| cutoff.parse::<NaiveDate>().ok()).map(|cutoff| day_start(cutoff).to_rfc3339()),
        rows: entry.rows,
    });
    let job = state.padron_imports.watch().borrow().as_ref().map(|job| job_view(cx, job));
    let view = View {
        active: now.active.map(|info| listing(cx, &info)),
        previous: now.previous.map(|info| listing(cx, &info)),
        job,
        history: entries.collect(),
        megabytes_max: megabytes(state.config.padron.padron_upload_bytes_max),
        form,
        faults,
    };
    cx.page_with(status, TEMPLATE, view)
}

fn megabytes(bytes: u64) -> u64 {
    bytes / 1_000_000
}

fn listing(cx: &Cx, info: &ImportInfo) -> Listing {
    let age_days = (local_day(cx.state().clock.now()) - info.cutoff).num_days().max(0);
    Listing {
        cutoff: info.cutoff.to_string(),
        cutoff_at: day_start(info.cutoff).to_rfc3339(),
        age_days,
        old: age_days > OLD_DAYS,
        rows: info.rows,
        active_rows: info.active_rows,
        imported_at: info.imported_at.to_rfc3339(),
        files: info.sources.iter().map(|source| source.kind.official_name()).collect(),
    }
}

/// The fields that came with the files.
fn typed(upload: &Upload) -> Result<UploadForm, PageError> {
    let mut form = UploadForm::default();
    for (name, value) in &upload.fields {
        match (name.as_str(), value.as_str()) {
            ("cutoff", value) => value.trim().clone_into(&mut form.cutoff),
            ("any_size_change", "1") => form.any_size_change = true,
            ("allow_older", "1") => form.allow_older = true,
            _ => return Err(PageError::BadForm),
        }
    }
    Ok(form)
}

fn options(cx: &Cx, form: &UploadForm, usual: &ImportOptions) -> Result<ImportOptions, Faults> {
    let cutoff = match form.cutoff.as_str() {
        "" => None,
        text => Some(text.parse::<NaiveDate>().map_err(|_| Faults::one(cx, "cutoff", "date"))?),
    };
    Ok(ImportOptions { cutoff, change_max_percent: usual.change_max_percent.filter(|_| !form.any_size_change), allow_older: form.allow_older, ..usual.clone() })
}

fn refused(cx: &Cx, refusal: &Refusal) -> Faults {
    let mut faults = Faults::default();
    faults.say(FILES, said(cx, refusal));
    faults
}

/// A refusal in the reader's language.
fn said(cx: &Cx, refusal: &Refusal) -> String {
    let facts: Vec<(&str, &str)> = refusal.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let key = format!("portal.padron.refused.{}", refusal.code);
    let text = cx.fill(&key, &facts);
    if text == key { cx.fill("portal.padron.refused.other", &[("code", &refusal.code)]) } else { text }
}

fn job_view(cx: &Cx, job: &Job) -> JobView {
    let state = match &job.end {
        None => "running",
        Some(JobEnd::Activated(_)) => "activated",
        Some(JobEnd::Unchanged(_)) => "unchanged",
        Some(JobEnd::Refused(_)) => "refused",
    };
    JobView { running: job.end.is_none(), state, actor: actor_name(cx, &job.actor), began_at: job.began_at.to_rfc3339(), steps: steps(cx, job) }
}

/// The four steps of an import: the files, their rows, the index, the switch.
fn steps(cx: &Cx, job: &Job) -> Vec<Step> {
    let at = match job.progress.map(|progress| progress.stage) {
        None => 0,
        Some(ProgressStage::Reading(_)) => 1,
        Some(ProgressStage::Indexing) => 2,
        Some(ProgressStage::Activating) => 3,
    };
    let names = ["files", "rows", "index", "activate"].map(|key| cx.t(&format!("portal.padron.steps.{key}")));
    let ids = ["imp-files", "imp-rows", "imp-index", "imp-activate"];
    let texts = [job.files.join(", "), String::new(), String::new(), String::new()];
    let mut steps: Vec<Step> = (0_usize..)
        .zip(ids)
        .zip(names)
        .zip(texts)
        .map(|(((step, id), name), text)| {
            let state = match &job.end {
                Some(JobEnd::Activated(_)) => "ok",
                _ if step < at => "ok",
                Some(JobEnd::Refused(_)) if step == at => "bad",
                Some(JobEnd::Unchanged(_)) if step == 0 => "ok",
                None if step == at => "wait",
                _ => "off",
            };
            Step { id, state, name, text }
        })
        .collect();
    let current = &mut steps[at].text;
    match (&job.end, job.progress) {
        (Some(JobEnd::Refused(refusal)), _) => *current = said(cx, refusal),
        (Some(JobEnd::Unchanged(_)), _) => steps[0].text = cx.t("portal.padron.steps.unchanged"),
        (Some(JobEnd::Activated(info)), _) => {
            let rows = number(i64::try_from(info.rows).unwrap_or(i64::MAX));
            steps[1].text = cx.fill("portal.padron.steps.rows_done", &[("rows", &rows)]);
            steps[3].text = cx.fill("portal.padron.steps.activated", &[("cutoff", &written_day(cx.language(), info.cutoff))]);
        }
        (None, Some(progress)) if progress.total > 0 => {
            let percent = (progress.done.saturating_mul(100) / progress.total).min(100).to_string();
            let file = match progress.stage {
                ProgressStage::Reading(kind) => kind.official_name(),
                ProgressStage::Indexing | ProgressStage::Activating => "",
            };
            *current = if file.is_empty() { format!("{percent} %") } else { format!("{file}: {percent} %") };
        }
        (None, _) => {}
    }
    steps
}

/// Each step that changed, until the import has ended; then back to the page, which says what came of it.
fn steps_stream(cx: Cx) -> impl Stream<Item = Result<Event, Infallible>> {
    struct At {
        cx: Cx,
        job: tokio::sync::watch::Receiver<Option<Job>>,
        told: Vec<Step>,
        waiting: std::vec::IntoIter<Event>,
        over: bool,
    }
    let job = cx.state().padron_imports.watch();
    stream::unfold(At { cx, job, told: Vec::new(), waiting: Vec::new().into_iter(), over: false }, |mut at| async move {
        loop {
            if let Some(event) = at.waiting.next() {
                return Some((Ok(event), at));
            }
            if at.over {
                return None;
            }
            if !at.told.is_empty() {
                tokio::time::sleep(PROGRESS_EVERY).await;
                at.over = at.job.changed().await.is_err();
            }
            let now = at.job.borrow_and_update().clone();
            let Some(now) = now.filter(|job| job.end.is_none()) else {
                at.over = true;
                at.waiting = vec![Event::default().event("end").data(if at.told.is_empty() { "" } else { PATH })].into_iter();
                continue;
            };
            let fresh = steps(&at.cx, &now);
            let changed = fresh.iter().filter(|step| !at.told.contains(step));
            at.waiting = changed.filter_map(|step| Some(Event::default().event("swap").data(at.cx.piece("partials/step.html", step).ok()?))).collect::<Vec<_>>().into_iter();
            at.told = fresh;
        }
    })
}
