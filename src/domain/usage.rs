//! Usage: one record per call, handed over without waiting and written in batches. Never argument values.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, Func, OnConflict};
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, EntityTrait, FromQueryResult, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::clock::billing_month;
use crate::db::entities::tool_usage;
use crate::ids::{TenantId, TokenId, UsageId};

/// First and longest wait between tries while the database is away.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Records in one statement at most: SQLite takes 32,766 parameters, and a record has 14.
const BATCH_RECORDS_MAX: usize = 2_000;
/// Tries when the service stops and the database is away.
const LAST_TRIES_MAX: u32 = 5;
/// Longest wait for requests that were cut.
const CUT_WAIT_MAX: Duration = Duration::from_secs(2);

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a result.
    Ok,
    /// With a tool error.
    Error,
    /// Refused by a limit, before anything was done.
    Refused,
    /// The caller went away.
    Cancelled,
}

impl Outcome {
    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct UsageRecord {
    /// Made when the call begins; delivering a record twice stores it once.
    pub id: UsageId,
    /// Whose.
    pub tenant: TenantId,
    /// By which token.
    pub token: TokenId,
    /// The tool.
    pub tool: &'static str,
    /// What the agent calls itself.
    pub agent: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// The error code.
    pub error_code: Option<&'static str>,
    /// Whether it counts against the plan.
    pub counted: bool,
    /// In all, microseconds.
    pub total_us: u64,
    /// In Odoo, microseconds.
    pub odoo_us: u64,
    /// Requests to Odoo.
    pub odoo_requests: u64,
    /// Request id.
    pub request_id: String,
    /// Began, UTC.
    pub started_at: DateTime<Utc>,
}

/// The record of a call under way: the door opens it, the dispatcher fills it in, the door closes it.
#[derive(Clone, Debug, Default)]
pub struct OpenRecord {
    record: Arc<Mutex<Option<UsageRecord>>>,
}

impl OpenRecord {
    /// A tool call began.
    pub fn begin(&self, record: UsageRecord) {
        *self.record.lock().unwrap_or_else(PoisonError::into_inner) = Some(record);
    }

    /// Fills in what became known.
    pub fn fill(&self, change: impl FnOnce(&mut UsageRecord)) {
        if let Some(record) = self.record.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            change(record);
        }
    }

    /// Takes the record out; none when the request was no tool call.
    #[must_use]
    pub fn close(&self) -> Option<UsageRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Where records go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UsageSink {
    queue: mpsc::Sender<UsageRecord>,
    dropped: Arc<AtomicU64>,
    open: TaskTracker,
    cut: CancellationToken,
}

impl UsageSink {
    /// A sink and the worker behind it; the worker must be run.
    #[must_use]
    pub fn new(db: DatabaseConnection, queue_records_max: usize, batch_records_max: usize, flush: Duration) -> (Self, UsageWorker) {
        let (queue, records) = mpsc::channel(queue_records_max.max(1));
        let worker = UsageWorker { db, records, batch_records_max: batch_records_max.clamp(1, BATCH_RECORDS_MAX), flush };
        (Self { queue, dropped: Arc::default(), open: TaskTracker::new(), cut: CancellationToken::new() }, worker)
    }

    /// Hands a record over. Never waits; a record that finds the queue full is counted as dropped and said so.
    pub fn record(&self, record: UsageRecord) {
        if let Err(error) = self.queue.try_send(record) {
            let count = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::error!(usage.dropped = count, %error, "a usage record could not be kept");
        }
    }

    /// A request that may yet hand a record over; [`Self::cut_open`] waits until it is dropped.
    #[must_use]
    pub fn open_request(&self) -> OpenRequest {
        OpenRequest { cut: self.cut.clone(), _counted: self.open.token() }
    }

    /// Cuts the requests that are still open and waits until their records are in the queue. The last thing before the worker's end.
    pub async fn cut_open(&self) {
        self.cut.cancel();
        self.open.close();
        if tokio::time::timeout(CUT_WAIT_MAX, self.open.wait()).await.is_err() {
            tracing::error!(requests = self.open.len(), "some requests could not be cut: their usage is lost");
        }
    }

    /// Records on their way to the database.
    #[must_use]
    pub fn queued(&self) -> u64 {
        (self.queue.max_capacity() - self.queue.capacity()) as u64
    }

    /// Records that could not be kept since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
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

/// Writes what the sink hands over.
pub struct UsageWorker {
    db: DatabaseConnection,
    records: mpsc::Receiver<UsageRecord>,
    batch_records_max: usize,
    flush: Duration,
}

impl UsageWorker {
    /// Runs until `stop`, then writes what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(self.batch_records_max);
        loop {
            let more = tokio::select! {
                count = self.records.recv_many(&mut batch, self.batch_records_max) => count > 0,
                () = stop.cancelled() => false,
            };
            if !more {
                break;
            }
            // Gather for a moment: one statement for many calls.
            let gather = tokio::time::sleep(self.flush);
            tokio::pin!(gather);
            while batch.len() < self.batch_records_max {
                let room = self.batch_records_max - batch.len();
                tokio::select! {
                    count = self.records.recv_many(&mut batch, room) => if count == 0 { break },
                    () = &mut gather => break,
                    () = stop.cancelled() => break,
                }
            }
            self.deliver(&mut batch, &stop).await;
        }
        self.records.close();
        while self.records.recv_many(&mut batch, self.batch_records_max).await > 0 {
            self.deliver(&mut batch, &stop).await;
        }
    }

    async fn deliver(&self, batch: &mut Vec<UsageRecord>, stop: &CancellationToken) {
        let mut wait = RETRY_FIRST;
        let mut last_tries = 0;
        while let Err(error) = insert(&self.db, batch).await {
            if !is_passing(&error) {
                // Waiting would hold every tenant's records back: what the database does not take is written one by one, or named.
                self.deliver_singly(batch).await;
                break;
            }
            tracing::warn!(%error, records = batch.len(), "usage could not be written; trying again");
            if stop.is_cancelled() {
                last_tries += 1;
                if last_tries >= LAST_TRIES_MAX {
                    tracing::error!(records = batch.len(), "usage records lost: the database did not come back before the service ended");
                    break;
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
        batch.clear();
    }

    async fn deliver_singly(&self, batch: &[UsageRecord]) {
        for record in batch {
            if let Err(error) = insert(&self.db, std::slice::from_ref(record)).await {
                tracing::error!(%error, usage.id = %record.id, tenant.id = %record.tenant, tool.name = record.tool, "a usage record could not be written");
            }
        }
    }
}

/// Whether a later try may succeed: the database is away or busy, not unwilling.
fn is_passing(error: &DbErr) -> bool {
    use sea_orm::{RuntimeErr, sqlx};
    match error {
        DbErr::Conn(_) | DbErr::ConnectionAcquire(_) => true,
        DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)) => match cause.as_ref() {
            // SQLite's BUSY, LOCKED, IOERR and FULL; PostgreSQL's classes 08 (connection), 40 (rollback), 53 (resources) and 57 (intervention).
            sqlx::Error::Database(cause) => cause.code().is_some_and(|code| {
                let of_sqlite = code.parse::<u32>().is_ok_and(|code| [5, 6, 10, 13].contains(&(code & 0xff)) && code < 10_000);
                of_sqlite || (code.len() == 5 && ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class)))
            }),
            _ => true,
        },
        _ => false,
    }
}

async fn insert(db: &DatabaseConnection, batch: &[UsageRecord]) -> Result<(), DbErr> {
    let rows = batch.iter().map(|record| row(record).into_active_model());
    tool_usage::Entity::insert_many(rows).on_conflict(OnConflict::column(tool_usage::Column::Id).do_nothing().to_owned()).exec_without_returning(db).await.map(|_| ())
}

fn row(record: &UsageRecord) -> tool_usage::Model {
    let big = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    tool_usage::Model {
        id: record.id.uuid(),
        client_id: record.tenant.uuid(),
        token_id: Some(record.token.uuid()),
        tool: record.tool.to_owned(),
        agent: record.agent.clone(),
        outcome: record.outcome.as_str().to_owned(),
        error_code: record.error_code.map(str::to_owned),
        counted: record.counted,
        billing_month: billing_month(record.started_at),
        total_us: big(record.total_us),
        odoo_us: big(record.odoo_us),
        odoo_requests: i32::try_from(record.odoo_requests).unwrap_or(i32::MAX),
        request_id: record.request_id.clone(),
        started_at: record.started_at,
    }
}

/// A month's calls of one tool of one tenant.
#[derive(Clone, Debug, PartialEq, FromQueryResult, serde::Serialize)]
pub struct UsageTotal {
    /// The tool.
    pub tool: String,
    /// How they ended.
    pub outcome: String,
    /// How many.
    pub calls: i64,
    /// How many of them count against the plan.
    pub counted: i64,
}

/// A tenant's calls of a month (YYYYMM), by tool and outcome.
///
/// # Errors
/// The database.
pub async fn totals(db: &DatabaseConnection, tenant: TenantId, month: i32) -> Result<Vec<UsageTotal>, DbErr> {
    let counted = Expr::case(tool_usage::Column::Counted.eq(true), 1).finally(0);
    tool_usage::Entity::find()
        .select_only()
        .column(tool_usage::Column::Tool)
        .column(tool_usage::Column::Outcome)
        .column_as(tool_usage::Column::Id.count(), "calls")
        .expr_as(Func::sum(counted), "counted")
        .filter(tool_usage::Column::ClientId.eq(tenant.uuid()))
        .filter(tool_usage::Column::BillingMonth.eq(month))
        .group_by(tool_usage::Column::Tool)
        .group_by(tool_usage::Column::Outcome)
        .order_by_asc(tool_usage::Column::Tool)
        .order_by_asc(tool_usage::Column::Outcome)
        .into_model::<UsageTotal>()
        .all(db)
        .await
}
