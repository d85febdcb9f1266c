//! Monthly statements: what a client used and owes.
//!
//! A month is *running*, then *open* (made up anew at each look), then *closed* by the operator: frozen, numbered, never edited. What was
//! wrong is put right by corrections, signed rows of their own that name the closed month. A month costs the price of the plan that the
//! client had when it ended; calls beyond the plan are refused, not charged. Months are those of Santo Domingo.

use chrono::{DateTime, Duration, Utc};
use rust_decimal::Decimal;
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::audit::{self, Actor, Change};
use super::reports::{DayRange, Page};
use super::settings::{Settings, SettingsStore};
use crate::clock::{Clock, day_start};
use crate::db::{self, entities::statements};
use crate::ids::TenantId;

mod csv;
mod invoices;
mod money;
mod months;
mod open;

pub use invoices::{InvoiceEnd, InvoiceState, MadeInvoice, StatementInvoice};
pub use months::{MonthRow, MonthTotals};

use money::{itbis, rate_of, scaled};

/// A month is closed no earlier than so long after its end, hours: its last calls must have arrived.
const CLOSE_AFTER_HOURS: i64 = 1;
/// The largest correction, US cents.
const CORRECTION_USD_CENTS_MAX: i64 = 100_000_000;
const NOTE_CHARS_MAX: usize = 300;

/// How far a month is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatementState {
    /// It is not over; the numbers are those so far.
    Running,
    /// It is over, and not closed.
    Open,
    /// Frozen.
    Closed,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// The plan's price; the text is the plan's name.
    Plan,
    /// Calls of a tool, which is the text; included in the plan.
    Calls,
    /// A correction; the text is its reason.
    Correction,
}

/// A line of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatementLine {
    /// What it is about.
    pub kind: LineKind,
    /// The plan, the tool or the reason.
    pub text: String,
    /// All calls.
    pub calls: i64,
    /// Calls that count against the plan.
    pub counted: i64,
    /// US cents, before ITBIS.
    pub amount_usd_cents: i64,
}

/// A client's month, or a correction of one.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Statement {
    /// Whose.
    pub tenant: TenantId,
    /// Its name (when closed: on that day).
    pub client: String,
    /// Its RNC.
    pub rnc: Option<String>,
    /// YYYYMM.
    pub month: i32,
    /// How far it is.
    pub state: StatementState,
    /// Counted up over all clients; none before it is closed.
    pub number: Option<i32>,
    /// 0 is the month itself, 1, 2, … its corrections.
    pub part: i32,
    /// Plan code.
    pub plan_code: String,
    /// Plan name.
    pub plan: String,
    /// All calls.
    pub calls: i64,
    /// Calls that count against the plan.
    pub counted: i64,
    /// The plan first, then the tools.
    pub lines: Vec<StatementLine>,
    /// Before ITBIS, US cents; negative in a credit.
    pub amount_usd_cents: i64,
    /// ITBIS, US cents.
    pub itbis_usd_cents: i64,
    /// Both.
    pub total_usd_cents: i64,
    /// ITBIS, per cent.
    pub itbis_percent: Decimal,
    /// RD$ per US$; none while the operator has stated none.
    pub usd_rate: Option<Decimal>,
    /// The total in RD$, cents.
    pub total_dop_cents: Option<i64>,
    /// Why (corrections).
    pub note: String,
    /// When it was closed or corrected, UTC.
    pub closed_at: Option<DateTime<Utc>>,
    /// By whom.
    pub closed_by: Option<String>,
    /// Its corrections, oldest first.
    #[schema(no_recursion)]
    pub corrections: Vec<Statement>,
    /// The total with its corrections, US cents.
    pub balance_usd_cents: i64,
    /// The same in RD$, cents.
    pub balance_dop_cents: Option<i64>,
    /// Its invoice in the operator's own Odoo, if one was made.
    pub invoice: Option<StatementInvoice>,
}

/// Why there is no statement, or why it cannot be closed or corrected.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// No such client, or it was none yet in that month.
    #[error("there is no such statement")]
    Unknown,
    /// The month is not over, or has been for less than an hour.
    #[error("the month is not over")]
    Running,
    /// The operator has stated no rate.
    #[error("no rate of RD$ per US$ is stated in the settings")]
    NoRate,
    /// Only what is closed is corrected.
    #[error("the month is not closed: what is wrong in it can still be mended")]
    NotClosed,
    /// A field that is not acceptable: its name.
    #[error("{0} is not acceptable")]
    Invalid(&'static str),
    /// The database.
    #[error("database: {0}")]
    Db(#[from] DbErr),
}

/// The operations on statements. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Statements {
    db: DatabaseConnection,
    clock: Clock,
    settings: SettingsStore,
}

impl Statements {
    /// Over that database.
    #[must_use]
    pub fn new(db: DatabaseConnection, clock: Clock, settings: SettingsStore) -> Self {
        Self { db, clock, settings }
    }

    /// A client's month. At most six queries.
    ///
    /// # Errors
    /// There is none, or the database.
    pub async fn statement(&self, tenant: TenantId, month: i32) -> Result<Statement, StatementError> {
        let mut rows = self.of(&self.db, month, open::Who::One(tenant.uuid())).await?;
        rows.pop().ok_or(StatementError::Unknown)
    }

    /// A client's months, the latest first: the running one, those before it that were closed or are open, twelve at most. Some five queries each.
    ///
    /// # Errors
    /// The database.
    pub async fn statements_of(&self, tenant: TenantId) -> Result<Vec<Statement>, StatementError> {
        let mut months = Vec::new();
        let mut day = crate::clock::local_day(self.clock.now());
        for _ in 0..12 {
            match self.statement(tenant, crate::clock::billing_month(day_start(day))).await {
                Ok(statement) => months.push(statement),
                Err(StatementError::Unknown) => break,
                Err(error) => return Err(error),
            }
            let Some(before) = day.checked_sub_months(chrono::Months::new(1)) else { break };
            day = before;
        }
        Ok(months)
    }

    /// For operators: a page of fifty clients' months, by name. At most six queries.
    ///
    /// # Errors
    /// There is no such month, or the database.
    pub async fn month_page(&self, month: i32, after: Option<&str>) -> Result<Page<Statement>, StatementError> {
        let (rows, next) = open::page(&self.db, month, after).await?;
        let rows = self.of(&self.db, month, open::Who::These(rows)).await?;
        Ok(Page { rows, next })
    }

    /// Freezes a month that is over and gives it its number. One that is closed stays as it is and is answered.
    ///
    /// # Errors
    /// See [`StatementError`].
    pub async fn close(&self, tenant: TenantId, month: i32, actor: &Actor) -> Result<Statement, StatementError> {
        let settings = self.settings.get();
        let rate = settings.usd_rate.ok_or(StatementError::NoRate)?;
        let range = DayRange::of_month(month).ok_or(StatementError::Unknown)?;
        let after = range.to().succ_opt().ok_or(StatementError::Unknown)?;
        let transaction = db::begin_write(&self.db).await?;
        numbers_lock(&transaction).await?;
        let statement = self.of(&transaction, month, open::Who::One(tenant.uuid())).await?.pop().ok_or(StatementError::Unknown)?;
        if statement.state == StatementState::Closed {
            return Ok(statement);
        }
        if self.clock.now() < day_start(after) + Duration::hours(CLOSE_AFTER_HOURS) {
            return Err(StatementError::Running);
        }
        let row = statements::Model {
            id: Uuid::now_v7(),
            client_id: tenant.uuid(),
            month,
            part: 0,
            number: next_number(&transaction).await?,
            client_name: statement.client,
            client_rnc: statement.rnc,
            plan_code: statement.plan_code,
            plan_name: statement.plan,
            calls: statement.calls,
            counted: statement.counted,
            amount_usd_cents: statement.amount_usd_cents,
            itbis_usd_cents: statement.itbis_usd_cents,
            usd_rate_e4: scaled(rate, 4),
            itbis_percent_e2: i32::try_from(scaled(settings.itbis_percent, 2)).unwrap_or(i32::MAX),
            lines: Some(serde_json::to_value(&statement.lines).unwrap_or_default()),
            note: String::new(),
            actor: actor.0.clone(),
            created_at: self.clock.now(),
        };
        self.store(transaction, row, "statement.close", actor).await?;
        self.statement(tenant, month).await
    }

    /// For operators: closes every client's month that is not closed yet; answers how many were.
    ///
    /// # Errors
    /// See [`StatementError`]; those closed before stay closed.
    pub async fn close_all(&self, month: i32, actor: &Actor) -> Result<usize, StatementError> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.month_page(month, after.as_deref()).await?;
            for statement in page.rows.iter().filter(|statement| statement.state != StatementState::Closed) {
                self.close(statement.tenant, month, actor).await?;
                count += 1;
            }
            after = page.next;
            if after.is_none() {
                return Ok(count);
            }
        }
    }

    /// Corrects a closed month by so many US cents before ITBIS; negative is a credit. `part` is the number this correction gets among those
    /// of the month (the page knows how many it has seen, plus one): pressed twice, it is made once.
    ///
    /// # Errors
    /// See [`StatementError`].
    pub async fn correct(&self, tenant: TenantId, month: i32, part: i32, amount_usd_cents: i64, note: &str, actor: &Actor) -> Result<Statement, StatementError> {
        let note = note.trim();
        if note.is_empty() || note.chars().count() > NOTE_CHARS_MAX || note.chars().any(char::is_control) {
            return Err(StatementError::Invalid("note"));
        }
        if amount_usd_cents == 0 || amount_usd_cents.unsigned_abs() > CORRECTION_USD_CENTS_MAX.unsigned_abs() {
            return Err(StatementError::Invalid("amount"));
        }
        let transaction = db::begin_write(&self.db).await?;
        numbers_lock(&transaction).await?;
        let parts = parts(&transaction, tenant, month).await?;
        let closed = parts.first().ok_or(StatementError::NotClosed)?;
        if let Some(made) = parts.iter().find(|made| made.part == part && part > 0) {
            // The same button twice, or another correction in between.
            let same = made.amount_usd_cents == amount_usd_cents && made.note == note;
            return if same { self.statement(tenant, month).await } else { Err(StatementError::Invalid("part")) };
        }
        if usize::try_from(part).ok() != Some(parts.len()) {
            return Err(StatementError::Invalid("part"));
        }
        let line = StatementLine { kind: LineKind::Correction, text: note.to_owned(), calls: 0, counted: 0, amount_usd_cents };
        let row = statements::Model {
            id: Uuid::now_v7(),
            part,
            number: next_number(&transaction).await?,
            calls: 0,
            counted: 0,
            amount_usd_cents,
            itbis_usd_cents: itbis(amount_usd_cents, rate_of(closed.itbis_percent_e2.into(), 2)),
            lines: Some(serde_json::to_value([line]).unwrap_or_default()),
            note: note.to_owned(),
            actor: actor.0.clone(),
            created_at: self.clock.now(),
            ..closed.clone()
        };
        self.store(transaction, row, "statement.correct", actor).await?;
        self.statement(tenant, month).await
    }

    async fn store(&self, transaction: DatabaseTransaction, row: statements::Model, action: &str, actor: &Actor) -> Result<(), StatementError> {
        let after = json!({
            "number": row.number, "month": row.month, "part": row.part, "plan": row.plan_code, "calls": row.calls, "amount_usd_cents": row.amount_usd_cents,
            "itbis_usd_cents": row.itbis_usd_cents, "usd_rate_e4": row.usd_rate_e4, "note": row.note,
        });
        let change = Change { tenant: Some(row.client_id.into()), action, subject: format!("{} {}", row.month, row.part), before: None, after: Some(after) };
        row.into_active_model().insert(&transaction).await?;
        audit::record(&transaction, &self.clock, actor, change).await?;
        Ok(transaction.commit().await?)
    }

    async fn of<C: ConnectionTrait>(&self, db: &C, month: i32, who: open::Who) -> Result<Vec<Statement>, StatementError> {
        open::statements(db, month, who, self.clock.now(), &self.settings.get()).await
    }
}

async fn parts<C: ConnectionTrait>(db: &C, tenant: TenantId, month: i32) -> Result<Vec<statements::Model>, DbErr> {
    let rows = statements::Entity::find().filter(statements::Column::ClientId.eq(tenant.uuid())).filter(statements::Column::Month.eq(month));
    rows.order_by_asc(statements::Column::Part).all(db).await
}

/// Numbers are given one after the other. On SQLite the transaction holds the write lock already.
async fn numbers_lock(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    if transaction.get_database_backend() == DbBackend::Postgres {
        transaction.execute_unprepared("select pg_advisory_xact_lock(hashtext('dunet statements'))").await?;
    }
    Ok(())
}

async fn next_number(transaction: &DatabaseTransaction) -> Result<i32, DbErr> {
    let last = statements::Entity::find().order_by_desc(statements::Column::Number).one(transaction).await?;
    Ok(last.map_or(1, |last| last.number + 1))
}

impl Statement {
    /// A row as it was frozen, without its corrections.
    fn frozen(row: statements::Model) -> Self {
        let usd_rate = rate_of(row.usd_rate_e4, 4);
        let total = row.amount_usd_cents + row.itbis_usd_cents;
        Self {
            tenant: row.client_id.into(),
            client: row.client_name,
            rnc: row.client_rnc,
            month: row.month,
            state: StatementState::Closed,
            number: Some(row.number),
            part: row.part,
            plan_code: row.plan_code,
            plan: row.plan_name,
            calls: row.calls,
            counted: row.counted,
            lines: row.lines.and_then(|lines| serde_json::from_value(lines).ok()).unwrap_or_default(),
            amount_usd_cents: row.amount_usd_cents,
            itbis_usd_cents: row.itbis_usd_cents,
            total_usd_cents: total,
            itbis_percent: rate_of(row.itbis_percent_e2.into(), 2),
            usd_rate: Some(usd_rate),
            total_dop_cents: Some(money::dop(total, usd_rate)),
            note: row.note,
            closed_at: Some(row.created_at),
            closed_by: Some(row.actor),
            corrections: Vec::new(),
            balance_usd_cents: total,
            balance_dop_cents: Some(money::dop(total, usd_rate)),
            invoice: None,
        }
    }

    /// What has not been frozen.
    fn live(facts: open::Facts, month: i32, state: StatementState, lines: Vec<StatementLine>, settings: &Settings) -> Self {
        let amount: i64 = lines.iter().map(|line| line.amount_usd_cents).sum();
        let itbis = itbis(amount, settings.itbis_percent);
        let total = amount + itbis;
        let dop = settings.usd_rate.map(|rate| money::dop(total, rate));
        Self {
            tenant: facts.id.into(),
            client: facts.name,
            rnc: facts.rnc,
            month,
            state,
            number: None,
            part: 0,
            plan_code: facts.plan_code,
            plan: facts.plan,
            calls: lines.iter().map(|line| line.calls).sum(),
            counted: lines.iter().map(|line| line.counted).sum(),
            lines,
            amount_usd_cents: amount,
            itbis_usd_cents: itbis,
            total_usd_cents: total,
            itbis_percent: settings.itbis_percent,
            usd_rate: settings.usd_rate,
            total_dop_cents: dop,
            note: String::new(),
            closed_at: None,
            closed_by: None,
            corrections: Vec::new(),
            balance_usd_cents: total,
            balance_dop_cents: dop,
            invoice: None,
        }
    }

    fn corrected(mut self, corrections: Vec<Statement>) -> Self {
        self.balance_usd_cents += corrections.iter().map(|correction| correction.total_usd_cents).sum::<i64>();
        self.balance_dop_cents = self.usd_rate.map(|rate| money::dop(self.balance_usd_cents, rate));
        self.corrections = corrections;
        self
    }
}
