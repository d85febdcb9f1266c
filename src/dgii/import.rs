//! The import: from zips to an active listing, or a refusal that leaves everything as it was.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use chrono::{DateTime, Days, FixedOffset, NaiveDate, Utc};

use super::archive::{Archive, ArchiveLimits, StreamError};
use super::build::{Built, build};
use super::error::{At, ImportError};
use super::lines::Lines;
use super::padron::PadronLimits;
use super::read::Index;
use super::report::{ImportInfo, ImportReport, Rejections, SourceInfo, SourceKind};
use super::stage::{Stage, count};
use super::store::{Entry, ImportLock, Store};
use super::txt::Event;
use super::{csv, txt};

/// TXT and CSV of one week carry the same date; more days than this between them are two listings.
const DAYS_BETWEEN_FILES_MAX: i64 = 6;
/// After this many records without a single good one, the layout is another.
const PROBE_RECORDS: u64 = 2000;

/// What an import may and may not do.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The time of the import: goes into the record, and no cut-off date may lie after it.
    pub now: DateTime<Utc>,
    /// Cut-off date of the TXT, instead of its member's time stamp.
    pub cutoff: Option<NaiveDate>,
    /// Fewest distinct taxpayers a listing must have.
    pub rows_min: u64,
    /// Largest change of their number against the active listing, in per cent; `None` allows any.
    pub change_max_percent: Option<u64>,
    /// Largest share of refused records, in thousandths.
    pub rejected_max_per_mille: u64,
    /// Accept a listing older than the active one, or one that was rolled back.
    pub allow_older: bool,
    /// Largest zip, in bytes.
    pub zip_bytes_max: u64,
    /// Largest unpacked member, in bytes.
    pub content_bytes_max: u64,
    /// Largest ratio of unpacked to packed size.
    pub ratio_max: u64,
}

impl ImportOptions {
    /// The rules for the true files (`dgii.md` §2.3).
    #[must_use]
    pub fn at(now: DateTime<Utc>) -> Self {
        Self {
            now,
            cutoff: None,
            rows_min: 500_000,
            change_max_percent: Some(30),
            rejected_max_per_mille: 10,
            allow_older: false,
            zip_bytes_max: 100_000_000,
            content_bytes_max: 300_000_000,
            ratio_max: 25,
        }
    }

    fn archive_limits(&self) -> ArchiveLimits {
        ArchiveLimits { zip_bytes_max: self.zip_bytes_max, content_bytes_max: self.content_bytes_max, ratio_max: self.ratio_max }
    }

    /// Today in Santo Domingo (UTC−4, no summer time), where the listing is made.
    fn today(&self) -> NaiveDate {
        let zone = FixedOffset::west_opt(4 * 3600).expect("four hours are less than a day");
        self.now.with_timezone(&zone).date_naive()
    }
}

/// What an import is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressStage {
    /// Reading records; the unit is bytes of the unpacked file.
    Reading(SourceKind),
    /// Writing the index; the unit is taxpayers.
    Indexing,
    /// Flushing and switching over.
    Activating,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub stage: ProgressStage,
    /// Units done.
    pub done: u64,
    /// Units altogether.
    pub total: u64,
}

pub(super) fn import(store: &Store, limits: PadronLimits, files: &[PathBuf], options: &ImportOptions, progress: &dyn Fn(Progress)) -> Result<ImportReport, ImportError> {
    let began = Instant::now();
    let lock = store.lock()?;
    // Whatever a crash left behind goes now; whatever a refusal leaves behind goes with it.
    store.clear_leftovers(&lock)?;
    let outcome = import_locked(store, &lock, limits, files, options, progress);
    if outcome.is_err() {
        store.clear_leftovers(&lock)?;
    }
    let (unchanged, active) = outcome?;
    Ok(ImportReport { unchanged, active, took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX) })
}

/// What a file is, before anything of it is imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Which of the two.
    pub kind: SourceKind,
    /// Name of the zip as it was given, without its folder.
    pub file_name: String,
    /// The day its data are of.
    pub cutoff: NaiveDate,
    /// Size of the unpacked member, as the zip declares it, in bytes.
    pub content_bytes: u64,
}

/// The outside of the files and their dates, against what is active; nothing is unpacked.
pub(super) fn check(store: &Store, files: &[PathBuf], options: &ImportOptions) -> Result<Vec<Checked>, ImportError> {
    let state = store.state()?.0;
    let (active, previous) = (state.active.map(|entry| entry.info), state.previous.map(|entry| entry.info));
    let archives = open_all(files, options)?;
    let dates = dates(&archives, active.as_ref(), previous.as_ref(), options)?;
    let one = |(archive, cutoff): (Archive, NaiveDate)| Checked { kind: archive.kind, content_bytes: archive.content_bytes, cutoff, file_name: archive.file_name };
    Ok(archives.into_iter().zip(dates).map(one).collect())
}

/// The date of each file, if they may follow what is active and what was before.
fn dates(archives: &[Archive], active: Option<&ImportInfo>, previous: Option<&ImportInfo>, options: &ImportOptions) -> Result<Vec<NaiveDate>, ImportError> {
    if let Some(info) = active.filter(|info| same_files(info, archives)) {
        return Ok(archives.iter().map(|archive| archive.cutoff.unwrap_or(info.cutoff)).collect());
    }
    // The daily download still has the file that the operator rolled back: it must not come back by itself.
    let newer_than_active = |info: &&ImportInfo| active.is_some_and(|a| a.imported_at < info.imported_at);
    if let Some(info) = previous.filter(newer_than_active).filter(|info| !options.allow_older && same_files(info, archives)) {
        return Err(ImportError::RolledBack { cutoff: info.cutoff });
    }
    let dates = cutoffs(archives, options)?;
    let cutoff = dates.iter().copied().max().ok_or(ImportError::NoFiles)?;
    if let Some(info) = active.filter(|info| info.cutoff > cutoff && !options.allow_older) {
        return Err(ImportError::Older { cutoff, active: info.cutoff });
    }
    Ok(dates)
}

fn import_locked(
    store: &Store,
    lock: &ImportLock,
    limits: PadronLimits,
    files: &[PathBuf],
    options: &ImportOptions,
    progress: &dyn Fn(Progress),
) -> Result<(bool, ImportInfo), ImportError> {
    let state = store.state()?.0;
    let (active, previous) = (state.active.map(|entry| entry.info), state.previous.map(|entry| entry.info));

    let mut archives = open_all(files, options)?;
    if let Some(info) = active.as_ref().filter(|info| same_files(info, &archives)) {
        return Ok((true, info.clone()));
    }
    let dates = dates(&archives, active.as_ref(), previous.as_ref(), options)?;
    let cutoff = dates.iter().copied().max().ok_or(ImportError::NoFiles)?;

    let staging = store.building("stage.sqlite");
    let mut stage = Stage::create(&staging)?;
    let sources = archives.iter_mut().zip(dates).map(|(archive, date)| read_source(archive, date, &mut stage, options, progress)).collect::<Result<Vec<_>, _>>()?;
    let rows = stage.rows()?;
    check_size(rows, active.as_ref(), options)?;

    let path = store.building("index.sqlite");
    let indexing = |done, total| progress(Progress { stage: ProgressStage::Indexing, done, total });
    let built = build(&stage, &path, &indexing)?;
    drop(stage);
    fs::remove_file(&staging).at(&staging)?;
    progress(Progress { stage: ProgressStage::Activating, done: 0, total: 1 });
    let info = ImportInfo { cutoff, rows: built.rows, active_rows: built.active_rows, imported_at: options.now, index_bytes: built.bytes, sources };
    activate(store, lock, limits, &path, &info, &built, rows)?;
    progress(Progress { stage: ProgressStage::Activating, done: 1, total: 1 });
    Ok((false, info))
}

/// Opens all files, the TXT first: what it says is completed by the CSV.
fn open_all(files: &[PathBuf], options: &ImportOptions) -> Result<Vec<Archive>, ImportError> {
    let mut archives = files.iter().map(|path| Archive::open(path, options.archive_limits())).collect::<Result<Vec<_>, _>>()?;
    archives.sort_by_key(|a| a.kind);
    match archives.windows(2).find(|pair| pair[0].kind == pair[1].kind) {
        Some(pair) => Err(ImportError::SameKindTwice(pair[0].kind)),
        None if archives.is_empty() => Err(ImportError::NoFiles),
        None => Ok(archives),
    }
}

fn same_files(info: &ImportInfo, archives: &[Archive]) -> bool {
    info.sources.len() == archives.len() && archives.iter().all(|a| info.sources.iter().any(|s| s.kind == a.kind && s.sha256 == a.sha256))
}

/// The date of each file, checked against today and against each other.
fn cutoffs(archives: &[Archive], options: &ImportOptions) -> Result<Vec<NaiveDate>, ImportError> {
    let date = |archive: &Archive| {
        let given = if archive.kind == SourceKind::Txt { options.cutoff.or(archive.cutoff) } else { archive.cutoff.or(options.cutoff) };
        given.ok_or_else(|| ImportError::NoCutoff { file: archive.file_name.clone() })
    };
    let dates = archives.iter().map(date).collect::<Result<Vec<_>, _>>()?;
    let tomorrow = options.today().checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX);
    if let Some(cutoff) = dates.iter().find(|d| **d > tomorrow) {
        return Err(ImportError::FutureCutoff { cutoff: *cutoff });
    }
    if let [txt, csv] = dates[..]
        && (txt - csv).num_days().abs() > DAYS_BETWEEN_FILES_MAX
    {
        return Err(ImportError::DifferentWeeks { txt, csv });
    }
    Ok(dates)
}

/// Reads one file into the stage and counts.
fn read_source(archive: &mut Archive, cutoff: NaiveDate, stage: &mut Stage, options: &ImportOptions, progress: &dyn Fn(Progress)) -> Result<SourceInfo, ImportError> {
    let (kind, file, member, sha256, total) = (archive.kind, archive.file_name.clone(), archive.member.clone(), archive.sha256.clone(), archive.content_bytes);
    let foreign = |cause: String| ImportError::ForeignLayout { file: file.clone(), cause };
    let reading = |done| progress(Progress { stage: ProgressStage::Reading(kind), done, total });
    reading(0);

    let (mut accepted, mut blank_lines, mut rejected) = (0_u64, 0_u64, Rejections::default());
    let mut writer = stage.writer(kind)?;
    let (physical_lines, content) = archive.stream(&reading, |member| {
        let mut lines = Lines::new(member);
        let mut each = |line, event| -> Result<(), StreamError> {
            match event {
                Event::Accepted(row) => {
                    writer.put(&row).map_err(|e| e.unwrap_or_else(|| foreign("too many different activities".to_owned())))?;
                    accepted += 1;
                }
                Event::Rejected(reason) => rejected.add(line, reason),
                Event::BlankLine => blank_lines += 1,
            }
            if accepted == 0 && rejected.total() >= PROBE_RECORDS {
                return Err(foreign(format!("none of its first {PROBE_RECORDS} records can be read")).into());
            }
            Ok(())
        };
        match kind {
            SourceKind::Txt => txt::read(&mut lines, &mut each)?,
            SourceKind::Csv => {
                let delimiter = csv::header(&mut lines)?.map_err(foreign)?;
                csv::read(&mut lines, delimiter, &mut each)?;
            }
        }
        Ok(lines.count())
    })?;
    drop(writer);
    let unique = stage.unique(kind)?;
    let records = accepted + rejected.total();
    if rejected.total() * 1000 > records * options.rejected_max_per_mille {
        if accepted == 0 {
            return Err(foreign("none of its records can be read".to_owned()));
        }
        return Err(ImportError::TooManyRejected { file, rejected: rejected.total(), records, rejected_max_per_mille: options.rejected_max_per_mille });
    }
    Ok(SourceInfo {
        kind,
        file_name: file,
        member,
        sha256,
        content_sha256: content.sha256,
        content_bytes: content.bytes,
        cutoff,
        physical_lines,
        blank_lines,
        accepted,
        unique,
        duplicates: accepted - unique,
        rejected,
    })
}

fn check_size(found: u64, active: Option<&ImportInfo>, options: &ImportOptions) -> Result<(), ImportError> {
    if found < options.rows_min.max(1) {
        return Err(ImportError::TooFewRows { found, rows_min: options.rows_min.max(1) });
    }
    match (active, options.change_max_percent) {
        (Some(info), Some(change_max_percent)) if found.abs_diff(info.rows) * 100 > info.rows * change_max_percent => {
            Err(ImportError::SizeChange { found, active: info.rows, change_max_percent })
        }
        _ => Ok(()),
    }
}

/// Opens the new index as a reader would, and switches over only if it answers.
fn activate(store: &Store, lock: &ImportLock, limits: PadronLimits, path: &std::path::Path, info: &ImportInfo, built: &Built, staged: u64) -> Result<(), ImportError> {
    let index = Index::open(path.to_path_buf(), limits)?;
    let (rows, words) = index.with(|db| Ok((db.query_row("SELECT count(*) FROM taxpayer", [], count)?, db.query_row("SELECT count(*) FROM word", [], count)?)))?;
    if rows != staged || built.rows != staged || words == 0 {
        return Err(ImportError::Unsound(format!("{rows} of {staged} taxpayers, {words} words")));
    }
    drop(index);
    Ok(store.activate(lock, path, Entry { file: Store::index_name(info), info: info.clone() })?)
}
