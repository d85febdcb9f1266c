//! From the door to `tool_usage`: the sink takes records without waiting for the database, the worker delivers them in batches, exactly once.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sea_orm::{DatabaseConnection, DbErr};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::UsageRecord;
use super::journal::{Journal, Segment};
use super::live::LiveFeed;
use super::store::{BATCH_RECORDS_MAX, insert, is_refusal};
use crate::db::entities::tool_usage;
use crate::db::parts::{self, Covered};

/// First and longest wait between tries while the database is away.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Longest wait for requests that were cut.
const CUT_WAIT_MAX: Duration = Duration::from_secs(2);
/// How often the journals of killed processes are looked for.
const ORPHANS_EVERY: Duration = Duration::from_secs(60);
/// Longest try to deliver what an earlier process left, before the service is ready.
const RECOVER_MAX: Duration = Duration::from_secs(20);

/// How much usage waits, and whether it is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageBacklog {
    /// Records that are not in the database yet.
    pub records: u64,
    /// Bytes of the journal that are not delivered yet.
    pub journal_bytes: u64,
    /// Records that are only in memory, because the journal cannot be written.
    pub in_memory: u64,
    /// Records that could be kept nowhere, since the start.
    pub dropped: u64,
    /// Whether the last try to deliver succeeded.
    pub delivering: bool,
}

/// Where records go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UsageSink {
    shared: Arc<Shared>,
    open: TaskTracker,
    cut: CancellationToken,
    pub(super) live: LiveFeed,
}

#[derive(Debug)]
struct Shared {
    journal: Journal,
    /// What the journal could not take.
    spilt: Mutex<VecDeque<tool_usage::Model>>,
    spilt_max: usize,
    wake: Notify,
    /// A whole batch waits.
    full: Notify,
    batch_records_max: u64,
    waiting: AtomicU64,
    delivered_to: AtomicU64,
    dropped: AtomicU64,
    failing: AtomicBool,
}

impl Shared {
    fn spilt(&self) -> std::sync::MutexGuard<'_, VecDeque<tool_usage::Model>> {
        self.spilt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UsageSink {
    /// A sink with its journal in that folder, and the worker behind it; the worker must be run. `memory_records_max` records are kept in
    /// memory while the journal cannot be written.
    #[must_use]
    pub fn new(db: DatabaseConnection, folder: PathBuf, memory_records_max: usize, batch_records_max: usize, flush: Duration) -> (Self, UsageWorker) {
        let batch_records_max = batch_records_max.clamp(1, BATCH_RECORDS_MAX);
        let shared = Arc::new(Shared {
            journal: Journal::new(folder),
            spilt: Mutex::default(),
            spilt_max: memory_records_max,
            wake: Notify::new(),
            full: Notify::new(),
            batch_records_max: batch_records_max as u64,
            waiting: AtomicU64::new(0),
            delivered_to: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        });
        let worker = UsageWorker { db, shared: Arc::clone(&shared), covered: Covered::default(), batch_records_max, flush };
        (Self { shared, open: TaskTracker::new(), cut: CancellationToken::new(), live: LiveFeed::new() }, worker)
    }

    /// Takes a record: into the journal, else into memory. It waits for no database. When even memory is full the record is written to
    /// the log and counted as dropped.
    pub fn record(&self, record: &UsageRecord) {
        self.live.tell(record);
        if let Err(failed) = self.shared.journal.append(super::row(record)) {
            let (error, row) = *failed;
            let mut spilt = self.shared.spilt();
            if spilt.len() >= self.shared.spilt_max {
                drop(spilt);
                let count = self.shared.dropped.fetch_add(1, Ordering::Relaxed) + 1;
                tracing::error!(usage.dropped = count, %error, usage.record = ?row, "a usage record could be kept nowhere but here");
                return;
            }
            if spilt.is_empty() {
                tracing::error!(%error, "the usage journal cannot be written: records are kept in memory until the database has them");
            }
            spilt.push_back(row);
        }
        let waiting = self.shared.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.wake.notify_one();
        if waiting >= self.shared.batch_records_max {
            self.shared.full.notify_one();
        }
    }

    /// A request that may yet hand a record over; [`Self::cut_open`] waits until it is dropped.
    #[must_use]
    pub fn open_request(&self) -> OpenRequest {
        OpenRequest { cut: self.cut.clone(), _counted: self.open.token() }
    }

    /// Requests under way.
    #[must_use]
    pub fn open_requests(&self) -> usize {
        self.open.len()
    }

    /// Cuts the requests that are still open and waits until their records are taken. The last thing before the worker's end.
    pub async fn cut_open(&self) {
        self.cut.cancel();
        self.open.close();
        if tokio::time::timeout(CUT_WAIT_MAX, self.open.wait()).await.is_err() {
            tracing::error!(requests = self.open.len(), "some requests could not be cut: their usage is lost");
        }
    }

    /// What waits.
    #[must_use]
    pub fn backlog(&self) -> UsageBacklog {
        let shared = &self.shared;
        UsageBacklog {
            records: shared.waiting.load(Ordering::Relaxed),
            journal_bytes: shared.journal.bytes_after(shared.delivered_to.load(Ordering::Relaxed)),
            in_memory: shared.spilt().len() as u64,
            dropped: self.dropped(),
            delivering: !shared.failing.load(Ordering::Relaxed),
        }
    }

    /// Records that could not be kept since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

/// An open request, counted as long as it lives.
#[derive(Debug)]
pub struct OpenRequest {
    cut: CancellationToken,
    _counted: TaskTrackerToken,
}

impl OpenRequest {
    /// Comes about when the service ends and waits for this request no longer.
    pub async fn cut(&self) {
        self.cut.cancelled().await;
    }
}

/// Delivers what the sink took.
pub struct UsageWorker {
    db: DatabaseConnection,
    shared: Arc<Shared>,
    covered: Covered,
    batch_records_max: usize,
    flush: Duration,
}

impl UsageWorker {
    /// Delivers what killed processes left. Done before the service answers its first call: quotas are counted from the table.
    pub async fn recover(&self) {
        let orphans = tokio::time::timeout(RECOVER_MAX, self.adopt());
        match orphans.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "usage left by an earlier process could not be delivered yet; it is kept"),
            Err(_) => tracing::error!("usage left by an earlier process is more than can be delivered before the start; the rest follows"),
        }
    }

    /// Runs until `stop`, then delivers what is left. What cannot be delivered stays in the journal for the next process.
    pub async fn run(self, stop: CancellationToken) {
        let mut orphans_due = tokio::time::Instant::now() + ORPHANS_EVERY;
        let mut wait = RETRY_FIRST;
        while !stop.is_cancelled() {
            tokio::select! {
                () = self.shared.wake.notified() => {}
                () = tokio::time::sleep_until(orphans_due) => {}
                () = stop.cancelled() => break,
            }
            // Gather for a moment: one statement for many calls. Not longer than until it is full: what was just written is still at hand.
            tokio::select! {
                () = pause(self.flush, &stop) => {}
                () = self.shared.full.notified() => {}
            }
            while let Err(error) = self.deliver_all().await {
                tracing::warn!(%error, records = self.shared.waiting.load(Ordering::Relaxed), "usage could not be delivered; it is kept and tried again");
                self.report(self.shared.journal.sync());
                pause(wait, &stop).await;
                wait = (wait * 2).min(RETRY_MAX);
                if stop.is_cancelled() {
                    break;
                }
            }
            wait = RETRY_FIRST;
            if tokio::time::Instant::now() >= orphans_due {
                orphans_due = tokio::time::Instant::now() + ORPHANS_EVERY;
                if let Err(error) = self.adopt().await {
                    tracing::warn!(%error, "usage left by an earlier process could not be delivered yet; it is kept");
                }
            }
        }
        if let Err(error) = self.deliver_all().await {
            let in_memory = self.shared.spilt().len();
            tracing::error!(%error, in_memory, "usage could not be delivered before the end: the journal is kept for the next start, what is in memory is lost");
            self.report(self.shared.journal.sync());
        }
        self.report(self.shared.journal.close(self.shared.delivered_to.load(Ordering::Relaxed)));
    }

    /// Everything that waits, memory first.
    async fn deliver_all(&self) -> Result<(), DeliveryError> {
        let result = self.deliver_waiting().await;
        self.shared.failing.store(result.is_err(), Ordering::Relaxed);
        result
    }

    async fn deliver_waiting(&self) -> Result<(), DeliveryError> {
        let shared = &self.shared;
        loop {
            let batch: Vec<tool_usage::Model> = shared.spilt().iter().take(self.batch_records_max).cloned().collect();
            if batch.is_empty() {
                break;
            }
            self.deliver(&batch).await?;
            shared.spilt().drain(..batch.len());
            self.settled(batch.len());
        }
        loop {
            let from = shared.delivered_to.load(Ordering::Relaxed);
            let (journal, rows_max) = (Arc::clone(shared), self.batch_records_max);
            let lines = blocking(move || journal.journal.read(from, rows_max)).await?;
            if lines.next == from {
                break;
            }
            if lines.spoilt > 0 {
                tracing::error!(lines = lines.spoilt, "lines of the usage journal are spoilt");
            }
            self.deliver(&lines.rows).await?;
            shared.delivered_to.store(lines.next, Ordering::Relaxed);
            self.settled(lines.rows.len());
            if shared.journal.recycle(lines.next)? {
                shared.delivered_to.store(0, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// The journals of processes that are gone.
    async fn adopt(&self) -> Result<(), DeliveryError> {
        let shared = Arc::clone(&self.shared);
        for orphan in blocking(move || shared.journal.orphans()).await? {
            self.adopt_one(orphan).await?;
        }
        Ok(())
    }

    async fn adopt_one(&self, orphan: Segment) -> Result<(), DeliveryError> {
        let (mut from, mut count, mut spoilt) = (0, 0, 0);
        loop {
            let lines = orphan.read(from, self.batch_records_max)?;
            if lines.next == from {
                break;
            }
            self.deliver(&lines.rows).await?;
            (from, count, spoilt) = (lines.next, count + lines.rows.len(), spoilt + lines.spoilt);
        }
        tracing::info!(records = count, spoilt, journal = %orphan.path().display(), "usage left by an earlier process is delivered");
        orphan.remove()?;
        Ok(())
    }

    fn settled(&self, count: usize) {
        // A recovered count may be larger than what was counted here; it never goes below nothing.
        let count = count as u64;
        self.shared.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| Some(waiting.saturating_sub(count))).ok();
    }

    fn report(&self, result: io::Result<()>) {
        if let Err(error) = result {
            tracing::error!(%error, "the usage journal");
        }
    }

    /// Inserts a batch. When the database refuses rows of it, they are tried one by one, and those it refuses alone are set aside.
    async fn deliver(&self, batch: &[tool_usage::Model]) -> Result<(), DeliveryError> {
        match self.insert(batch).await {
            Err(error) if is_refusal(&error) => {}
            other => return Ok(other?),
        }
        for row in batch {
            match self.insert(std::slice::from_ref(row)).await {
                Err(error) if is_refusal(&error) => {
                    let file = self.shared.journal.set_aside(row)?;
                    tracing::error!(%error, usage.id = %row.id, file = %file.display(), "the database refuses a usage record; it is set aside");
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Inserts a batch, with the parts of the table that its months need.
    async fn insert(&self, batch: &[tool_usage::Model]) -> Result<(), DbErr> {
        let began = || batch.iter().map(|row| row.started_at);
        self.covered.cover(&self.db, began()).await?;
        match insert(&self.db, batch).await {
            Err(error) if parts::is_missing(&error) => {}
            other => return other,
        }
        // One that was there is over, and was dropped; its straggler makes it anew.
        self.covered.forget();
        self.covered.cover(&self.db, began()).await?;
        insert(&self.db, batch).await
    }
}

/// Why delivery has to wait.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error("database: {0}")]
    Db(#[from] DbErr),
    #[error("journal: {0}")]
    Journal(#[from] io::Error),
}

/// Reading the journal may wait for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

async fn pause(time: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = stop.cancelled() => {}
    }
}
