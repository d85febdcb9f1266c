//! The log: single calls, newest first. Never argument values; they are not stored.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use futures::{Stream, stream};
use sea_orm::{DbErr, FromQueryResult};
use serde::Serialize;
use uuid::Uuid;

use super::csv::{Cell, csv_cells, csv_line, csv_number};
use super::sql::{Sql, pattern};
use super::{Reports, cursor};
use crate::ids::{TenantId, TokenId, UsageId};

/// Calls on a page.
pub const LOG_ROWS_PER_PAGE: u64 = 100;
const ROWS_PER_PAGE_MAX: u64 = 1_000;
/// Calls that one page looks at when it looks for something that no index knows.
const WINDOW: u64 = 5_000;
/// Calls of one download.
const CSV_ROWS_MAX: usize = 500_000;
const CSV_ROWS_PER_PAGE: u64 = 1_000;

/// Which calls; absent is all.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// Whose. What a member sees must have it.
    pub tenant: Option<TenantId>,
    /// The tool.
    pub tool: Option<String>,
    /// `ok`, `error`, `refused`, `cancelled`.
    pub outcome: Option<String>,
    /// Error codes that are left out.
    pub codes_but: Vec<&'static str>,
    /// The beginning of a request id.
    pub request_id: Option<String>,
    /// Begun then or later.
    pub from: Option<DateTime<Utc>>,
    /// Begun before.
    pub to: Option<DateTime<Utc>>,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct LogRow {
    /// Its id.
    pub id: UsageId,
    /// Whose.
    pub tenant: TenantId,
    /// The client's name; none when it was removed.
    pub client: Option<String>,
    /// By which token.
    pub token: Option<TokenId>,
    /// The tool.
    pub tool: String,
    /// What the agent calls itself.
    pub agent: Option<String>,
    /// `ok`, `error`, `refused`, `cancelled`.
    pub outcome: String,
    /// The error code.
    pub error_code: Option<String>,
    /// Whether it counts against the plan.
    pub counted: bool,
    /// In all, microseconds.
    pub total_us: i64,
    /// In Odoo, microseconds.
    pub odoo_us: i64,
    /// Requests to Odoo.
    pub odoo_requests: i32,
    /// Request id.
    pub request_id: String,
    /// Began, UTC.
    pub started_at: DateTime<Utc>,
}

/// A page of the log.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct LogPage {
    /// Its calls; there may be fewer than asked for, even none, with more to be found further back.
    pub rows: Vec<LogRow>,
    /// Where to look on; none when everything was looked at.
    pub next: Option<String>,
    /// When there is more to be looked at: back to when this page has looked.
    pub searched_to: Option<DateTime<Utc>>,
}

#[derive(FromQueryResult)]
struct Found {
    id: Uuid,
    client_id: Uuid,
    token_id: Option<Uuid>,
    tool: String,
    agent: Option<String>,
    outcome: String,
    error_code: Option<String>,
    counted: bool,
    total_us: i64,
    odoo_us: i64,
    odoo_requests: i32,
    request_id: String,
    started_at: DateTime<Utc>,
}

#[derive(Clone, Copy, FromQueryResult)]
struct Key {
    started_at: DateTime<Utc>,
    id: Uuid,
}

impl LogFilter {
    /// Whether it names what no index knows.
    fn is_fine(&self) -> bool {
        self.tool.is_some() || self.request_id.is_some() || !self.codes_but.is_empty() || self.outcome.as_deref().is_some_and(|outcome| outcome != "error")
    }

    fn coarse(&self, sql: &mut Sql, after: Option<Key>) {
        if let Some(tenant) = self.tenant {
            sql.push(" and client_id = ").bind(tenant.uuid());
        }
        if let Some(from) = self.from {
            sql.push(" and started_at >= ").bind(from);
        }
        if let Some(to) = self.to {
            sql.push(" and started_at < ").bind(to);
        }
        if self.outcome.as_deref() == Some("error") {
            sql.push(" and outcome = 'error'");
        }
        if let Some(key) = after {
            // The first condition is what an index of the time alone can use.
            sql.push(" and started_at <= ").bind(key.started_at).push(" and (started_at, id) < (").bind(key.started_at).push(", ").bind(key.id).push(")");
        }
    }

    fn fine(&self, sql: &mut Sql) {
        if let Some(tool) = &self.tool {
            sql.push(" and tool = ").bind(tool.as_str());
        }
        if let Some(outcome) = &self.outcome {
            sql.push(" and outcome = ").bind(outcome.as_str());
        }
        if !self.codes_but.is_empty() {
            sql.push(" and (error_code is null or error_code not in ").list(self.codes_but.iter().copied()).push(")");
        }
        if let Some(request_id) = &self.request_id {
            sql.push(" and request_id like ").bind(pattern(request_id.trim())).push(" escape '\\'");
        }
    }
}

const COLUMNS: &str = "select id, client_id, token_id, tool, agent, outcome, error_code, counted, total_us, odoo_us, odoo_requests, request_id, started_at from ";
const NEWEST_FIRST: &str = " order by started_at desc, id desc limit ";

impl Reports {
    /// A page of so many calls (at most a thousand), newest first. Without a tenant it is for operators. At most three queries.
    ///
    /// # Errors
    /// The database.
    pub async fn log_page(&self, filter: &LogFilter, after: Option<&str>, rows_max: u64) -> Result<LogPage, DbErr> {
        let after = cursor::decode(after, 2).and_then(|key| Some(Key { started_at: DateTime::from_timestamp_micros(key[0].parse().ok()?)?, id: key[1].parse().ok()? }));
        let limit = rows_max.clamp(1, ROWS_PER_PAGE_MAX);
        let wanted = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let window = i64::try_from(WINDOW).unwrap_or(i64::MAX);
        let mut sql = Sql::new(COLUMNS);
        if filter.is_fine() {
            sql.push("(select * from tool_usage where 1 = 1");
            filter.coarse(&mut sql, after);
            sql.push(NEWEST_FIRST).bind(window).push(") looked_at where 1 = 1");
            filter.fine(&mut sql);
        } else {
            sql.push("tool_usage where 1 = 1");
            filter.coarse(&mut sql, after);
        }
        sql.push(NEWEST_FIRST).bind(wanted);
        let mut found: Vec<Found> = sql.all(&self.reads).await?;
        let more = found.len() as u64 > limit;
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = if more { found.last().map(|row| Key { started_at: row.started_at, id: row.id }) } else { self.window_end(filter, after, window).await? };
        let clients: HashSet<Uuid> = found.iter().map(|row| row.client_id).collect();
        let names: HashMap<Uuid, String> = self.names(clients.into_iter().collect()).await?.into_iter().collect();
        Ok(LogPage {
            rows: found.into_iter().map(|row| row.named(&names)).collect(),
            next: next.map(|key| cursor::encode(&[&key.started_at.timestamp_micros().to_string(), &key.id.to_string()])),
            searched_to: next.map(|key| key.started_at),
        })
    }

    /// The last calls of a tenant, newest first, without the client's name. One query.
    ///
    /// # Errors
    /// The database.
    pub async fn log_last(&self, tenant: TenantId, rows_max: u64) -> Result<Vec<LogRow>, DbErr> {
        let mut sql = Sql::new(COLUMNS);
        sql.push("tool_usage where 1 = 1");
        LogFilter { tenant: Some(tenant), ..LogFilter::default() }.coarse(&mut sql, None);
        sql.push(NEWEST_FIRST).bind(i64::try_from(rows_max.min(ROWS_PER_PAGE_MAX)).unwrap_or(i64::MAX));
        let found: Vec<Found> = sql.all(&self.reads).await?;
        Ok(found.into_iter().map(|row| row.named(&HashMap::new())).collect())
    }

    /// The last call of a window that is full; none when there is nothing behind it.
    async fn window_end(&self, filter: &LogFilter, after: Option<Key>, window: i64) -> Result<Option<Key>, DbErr> {
        if !filter.is_fine() {
            return Ok(None);
        }
        let mut sql = Sql::new("select started_at, id from tool_usage where 1 = 1");
        filter.coarse(&mut sql, after);
        // Two: the end, and whether there is anything behind it.
        sql.push(NEWEST_FIRST).bind(2_i64).push(" offset ").bind(window - 1);
        let keys: Vec<Key> = sql.all(&self.reads).await?;
        Ok(keys.first().copied().filter(|_| keys.len() > 1))
    }

    /// The same calls as lines of CSV, head first, a page at a time; half a million at most.
    pub fn log_csv(&self, filter: LogFilter) -> impl Stream<Item = Result<String, DbErr>> + Send + use<> {
        let begin = Download { reports: self.clone(), filter, after: None, rows: 0, begun: false, ended: false };
        stream::try_unfold(begin, |mut at| async move {
            if !at.begun {
                at.begun = true;
                return Ok(Some((csv_line(HEAD), at)));
            }
            if at.ended {
                return Ok(None);
            }
            let page = at.reports.log_page(&at.filter, at.after.as_deref(), CSV_ROWS_PER_PAGE).await?;
            at.rows += page.rows.len();
            at.ended = page.next.is_none() || at.rows >= CSV_ROWS_MAX;
            at.after = page.next;
            Ok(Some((page.rows.iter().map(LogRow::csv).collect(), at)))
        })
    }
}

struct Download {
    reports: Reports,
    filter: LogFilter,
    after: Option<String>,
    rows: usize,
    begun: bool,
    ended: bool,
}

const HEAD: [&str; 13] = ["started_at", "client", "client_id", "tool", "outcome", "error_code", "counted", "total_ms", "odoo_ms", "odoo_requests", "agent", "request_id", "id"];

impl LogRow {
    fn csv(&self) -> String {
        let ms = |us: i64| Cell::Number(csv_number(&format!("{}.{:03}", us / 1_000, us % 1_000)));
        csv_cells(&[
            Cell::Text(&self.started_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
            Cell::Text(self.client.as_deref().unwrap_or_default()),
            Cell::Text(&self.tenant.to_string()),
            Cell::Text(&self.tool),
            Cell::Text(&self.outcome),
            Cell::Text(self.error_code.as_deref().unwrap_or_default()),
            Cell::Text(if self.counted { "1" } else { "0" }),
            ms(self.total_us),
            ms(self.odoo_us),
            Cell::Number(csv_number(&self.odoo_requests)),
            Cell::Text(self.agent.as_deref().unwrap_or_default()),
            Cell::Text(&self.request_id),
            Cell::Text(&self.id.to_string()),
        ])
    }
}

impl Found {
    fn named(self, names: &HashMap<Uuid, String>) -> LogRow {
        LogRow {
            client: names.get(&self.client_id).cloned(),
            id: self.id.into(),
            tenant: self.client_id.into(),
            token: self.token_id.map(TokenId::from),
            tool: self.tool,
            agent: self.agent,
            outcome: self.outcome,
            error_code: self.error_code,
            counted: self.counted,
            total_us: self.total_us,
            odoo_us: self.odoo_us,
            odoo_requests: self.odoo_requests,
            request_id: self.request_id,
            started_at: self.started_at,
        }
    }
}
