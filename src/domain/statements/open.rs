//! Statements as they stand: the closed ones from their rows, the others made up from the roll-ups and the plan the client had.

use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, FromQueryResult, QueryFilter, QueryOrder};
use serde_json::Value;
use uuid::Uuid;

use super::{LineKind, Statement, StatementError, StatementLine, StatementState};
use crate::clock::{billing_month, day_number, day_start};
use crate::db::entities::{logs, plans, statements};
use crate::domain::reports::DayRange;
use crate::domain::reports::sql::Sql;
use crate::domain::settings::Settings;

/// Clients on a page.
const CLIENTS_PER_PAGE: usize = 50;

/// Whose statements.
pub(super) enum Who {
    One(Uuid),
    These(Vec<Facts>),
}

/// A client, and the plan that counts.
#[derive(Clone, Debug, FromQueryResult)]
pub(super) struct Facts {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) rnc: Option<String>,
    pub(super) status: String,
    pub(super) plan_code: String,
    pub(super) plan: String,
    pub(super) price_usd_cents: i32,
}

const FACTS: &str = "select c.id as id, c.name as name, c.rnc as rnc, c.status as status, c.plan_code as plan_code, p.name as plan, \
                     p.price_usd_cents as price_usd_cents from clients c join plans p on p.code = c.plan_code where ";

/// A page of clients that there were in that month, by name; and where the next one begins.
pub(super) async fn page(db: &DatabaseConnection, month: i32, after: Option<&str>) -> Result<(Vec<Facts>, Option<String>), StatementError> {
    let end = end(month)?;
    let mut sql = Sql::new(FACTS);
    sql.push("c.created_at < ").bind(end);
    let after = after.and_then(|after| String::from_utf8(URL_SAFE_NO_PAD.decode(after).ok()?).ok());
    if let Some((id, name)) = after.as_deref().and_then(|after| after.split_once(' ')).and_then(|(id, name)| Some((id.parse::<Uuid>().ok()?, name))) {
        sql.push(" and (c.name, c.id) > (").bind(name).push(", ").bind(id).push(")");
    }
    sql.push(" order by c.name, c.id limit ").bind(i64::try_from(CLIENTS_PER_PAGE + 1).unwrap_or(i64::MAX));
    let mut rows: Vec<Facts> = sql.all(db).await?;
    let more = rows.len() > CLIENTS_PER_PAGE;
    rows.truncate(CLIENTS_PER_PAGE);
    let next = rows.last().filter(|_| more).map(|row| URL_SAFE_NO_PAD.encode(format!("{} {}", row.id, row.name)));
    Ok((rows, next))
}

/// Their statements of that month, in the same order; corrections inside.
pub(super) async fn statements<C: ConnectionTrait>(db: &C, month: i32, who: Who, now: DateTime<Utc>, settings: &Settings) -> Result<Vec<Statement>, StatementError> {
    let end = end(month)?;
    if month > billing_month(now) {
        return Err(StatementError::Unknown);
    }
    let (clients, wanted) = match who {
        Who::One(id) => {
            let mut sql = Sql::new(FACTS);
            sql.push("c.id = ").bind(id).push(" and c.created_at < ").bind(end);
            (sql.all(db).await?, vec![id])
        }
        Who::These(clients) => {
            let ids = clients.iter().map(|client| client.id).collect();
            (clients, ids)
        }
    };
    let mut closed = closed(db, month, &wanted).await?;
    if !closed.is_empty() {
        let ids: Vec<Uuid> = closed.keys().copied().collect();
        for ((id, _), invoice) in super::invoices::of(db, &ids, Some(month), now).await? {
            if let Some(statement) = closed.get_mut(&id) {
                statement.invoice = Some(invoice);
            }
        }
    }
    let running: Vec<Uuid> = wanted.iter().copied().filter(|id| !closed.contains_key(id)).collect();
    let mut calls = calls(db, month, &running).await?;
    let state = if now < end { StatementState::Running } else { StatementState::Open };
    let plans = if running.is_empty() || state == StatementState::Running { Then::default() } else { Then::read(db, &running, end).await? };
    let mut clients: HashMap<Uuid, Facts> = clients.into_iter().map(|client| (client.id, client)).collect();
    let one = |id: &Uuid| {
        // What was closed stays, also when the client was removed.
        if let Some(statement) = closed.remove(id) {
            return Some(statement);
        }
        let mut facts = clients.remove(id)?;
        plans.apply(&mut facts);
        let calls = calls.remove(id).unwrap_or_default();
        let counted: i64 = calls.iter().map(|line| line.counted).sum();
        // Who was shut out and called nothing owes nothing.
        let owes = facts.status == "active" || counted > 0;
        let amount_usd_cents = if owes { facts.price_usd_cents.into() } else { 0 };
        let mut lines = vec![StatementLine { kind: LineKind::Plan, text: facts.plan.clone(), calls: 0, counted: 0, amount_usd_cents }];
        lines.extend(calls);
        Some(Statement::live(facts, month, state, lines, settings))
    };
    Ok(wanted.iter().filter_map(one).collect())
}

fn end(month: i32) -> Result<DateTime<Utc>, StatementError> {
    let range = DayRange::of_month(month).ok_or(StatementError::Unknown)?;
    range.to().succ_opt().map(day_start).ok_or(StatementError::Unknown)
}

async fn closed<C: ConnectionTrait>(db: &C, month: i32, ids: &[Uuid]) -> Result<HashMap<Uuid, Statement>, DbErr> {
    let rows = statements::Entity::find()
        .filter(statements::Column::Month.eq(month))
        .filter(statements::Column::ClientId.is_in(ids.iter().copied()))
        .order_by_asc(statements::Column::Part)
        .all(db)
        .await?;
    let mut parts = BTreeMap::<Uuid, Vec<Statement>>::new();
    for row in rows {
        parts.entry(row.client_id).or_default().push(Statement::frozen(row));
    }
    Ok(parts
        .into_iter()
        .filter_map(|(id, parts)| {
            let mut parts = parts.into_iter();
            let month = parts.next().filter(|month| month.part == 0)?;
            Some((id, month.corrected(parts.collect())))
        })
        .collect())
}

async fn calls<C: ConnectionTrait>(db: &C, month: i32, ids: &[Uuid]) -> Result<HashMap<Uuid, Vec<StatementLine>>, StatementError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let range = DayRange::of_month(month).ok_or(StatementError::Unknown)?;
    let mut sql = Sql::new("select client_id, tool, cast(sum(calls) as bigint) as calls, cast(sum(counted) as bigint) as counted from usage_days where client_id in ");
    sql.list(ids.iter().copied()).push(" and day >= ").bind(day_number(range.from())).push(" and day <= ").bind(day_number(range.to()));
    sql.push(" group by client_id, tool order by client_id, tool");
    let mut lines = HashMap::<Uuid, Vec<StatementLine>>::new();
    for row in sql.rows(db).await? {
        let line =
            StatementLine { kind: LineKind::Calls, text: row.try_get("", "tool")?, calls: row.try_get("", "calls")?, counted: row.try_get("", "counted")?, amount_usd_cents: 0 };
        lines.entry(row.try_get("", "client_id")?).or_default().push(line);
    }
    Ok(lines)
}

/// What was different when the month ended, out of the audit of what was changed since.
#[derive(Default)]
struct Then {
    /// Clients' plans: of the first edit since, what was there before.
    of_clients: HashMap<Uuid, String>,
    /// Plans' name and price.
    terms: HashMap<String, (String, i32)>,
}

impl Then {
    async fn read<C: ConnectionTrait>(db: &C, ids: &[Uuid], end: DateTime<Utc>) -> Result<Self, DbErr> {
        let service = Condition::all().add(logs::Column::ClientId.is_null()).add(logs::Column::Action.is_in(["plan.edit", "plan.delete"]));
        let clients = Condition::all().add(logs::Column::ClientId.is_in(ids.iter().copied())).add(logs::Column::Action.eq("tenant.edit"));
        let either = Condition::any().add(service).add(clients);
        let rows = logs::Entity::find().filter(logs::Column::CreatedAt.gte(end)).filter(either).order_by_asc(logs::Column::Id).all(db).await?;
        let mut then = Self::default();
        for row in rows {
            let (Some(before), client) = (row.before, row.client_id) else { continue };
            let text = |name: &str| before.get(name).and_then(Value::as_str).map(str::to_owned);
            match client {
                Some(client) => {
                    if let Some(plan) = text("plan") {
                        then.of_clients.entry(client).or_insert(plan);
                    }
                }
                None => {
                    let price = before.get("price_usd_cents").and_then(Value::as_i64).and_then(|price| i32::try_from(price).ok());
                    if let Some(terms) = text("name").zip(price) {
                        then.terms.entry(row.subject).or_insert(terms);
                    }
                }
            }
        }
        if !then.of_clients.is_empty() {
            for plan in plans::Entity::find().all(db).await? {
                then.terms.entry(plan.code).or_insert((plan.name, plan.price_usd_cents));
            }
        }
        Ok(then)
    }

    fn apply(&self, facts: &mut Facts) {
        if let Some(plan) = self.of_clients.get(&facts.id) {
            facts.plan_code.clone_from(plan);
        }
        if let Some((name, price)) = self.terms.get(&facts.plan_code) {
            facts.plan.clone_from(name);
            facts.price_usd_cents = *price;
        }
    }
}
