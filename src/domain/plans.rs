//! The price list.

use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;
use serde_json::{Value, json};

use super::audit::{self, Actor, Change};
use super::settings::Settings;
use crate::clock::Clock;
use crate::db::{
    self,
    entities::{clients, plans},
};

/// The highest price, US cents a month.
const PRICE_USD_CENTS_MAX: u32 = 100_000_000;
const NUMBER_MAX: u32 = 1_000_000_000;
const NAME_CHARS_MAX: usize = 60;
const CODE_CHARS_MAX: usize = 30;

/// A plan as the rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `gratis`, `basic`, `pro`.
    pub code: String,
    /// For people.
    pub name: String,
    /// Calls a month; none is unlimited.
    pub calls_per_month: Option<u32>,
    /// Tools that may be enabled; none is all.
    pub tools_max: Option<usize>,
}

impl From<plans::Model> for Plan {
    fn from(row: plans::Model) -> Self {
        Self {
            code: row.code,
            name: row.name,
            calls_per_month: row.calls_per_month.and_then(|calls| u32::try_from(calls).ok()),
            tools_max: row.tools_max.and_then(|tools| usize::try_from(tools).ok()),
        }
    }
}

/// A plan as the price list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PlanRow {
    /// `gratis`, `basic`, `pro`.
    pub code: String,
    /// What can be changed.
    #[serde(flatten)]
    pub terms: PlanTerms,
    /// Counts edits; an edit names the one it has seen.
    pub version: i32,
    /// Clients that have it.
    pub clients: u64,
}

/// What a plan says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PlanTerms {
    /// For people, 1 to 60 characters.
    pub name: String,
    /// Price a month, US cents.
    pub price_usd_cents: u32,
    /// Calls a month; none is unlimited.
    pub calls_per_month: Option<u32>,
    /// Tools that may be enabled; none is all.
    pub tools_max: Option<u32>,
    /// Served first by support.
    pub priority_support: bool,
    /// Order on pages.
    pub position: u32,
}

/// What can go wrong with plans.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No such plan.
    #[error("no such plan: {0}")]
    Unknown(String),
    /// There is one of that code.
    #[error("there is a plan {0} already")]
    Exists(String),
    /// Somebody edited it meanwhile.
    #[error("plan {code} was edited meanwhile: it is at version {version} now")]
    Stale {
        /// Which.
        code: String,
        /// Its version now.
        version: i32,
    },
    /// Clients have it.
    #[error("plan {code} is that of {clients} clients: move them to another one first")]
    InUse {
        /// Which.
        code: String,
        /// How many.
        clients: u64,
    },
    /// Who registers gets it.
    #[error("plan {0} is that of who signs up: choose another one in the settings first")]
    SignUp(String),
    /// A field that is not acceptable: its name.
    #[error("{0} is not acceptable")]
    Invalid(&'static str),
    /// The database.
    #[error("database: {0}")]
    Db(#[from] DbErr),
}

/// Every plan, cheapest first.
///
/// # Errors
/// The database does not answer.
pub async fn plan_list(db: &DatabaseConnection) -> Result<Vec<Plan>, DbErr> {
    let rows = plans::Entity::find().order_by_asc(plans::Column::Position).all(db).await?;
    Ok(rows.into_iter().map(Plan::from).collect())
}

/// Every plan as the price list shows it.
///
/// # Errors
/// The database does not answer.
pub async fn plan_rows(db: &DatabaseConnection) -> Result<Vec<PlanRow>, DbErr> {
    let rows = plans::Entity::find().order_by_asc(plans::Column::Position).order_by_asc(plans::Column::Code).all(db).await?;
    let counts: Vec<(String, i64)> = clients::Entity::find()
        .select_only()
        .column(clients::Column::PlanCode)
        .column_as(clients::Column::Id.count(), "clients")
        .group_by(clients::Column::PlanCode)
        .into_tuple()
        .all(db)
        .await?;
    let clients = |code: &str| counts.iter().find(|(plan, _)| plan == code).and_then(|(_, count)| u64::try_from(*count).ok()).unwrap_or_default();
    Ok(rows.into_iter().map(|row| PlanRow { clients: clients(&row.code), version: row.version, terms: terms(&row), code: row.code }).collect())
}

/// Adds a plan. Its code has small letters, digits and hyphens.
///
/// # Errors
/// See [`PlanError`].
pub async fn plan_add(db: &DatabaseConnection, clock: &Clock, code: &str, terms: PlanTerms, actor: &Actor) -> Result<(), PlanError> {
    let well_formed = !code.is_empty() && code.len() <= CODE_CHARS_MAX && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !well_formed {
        return Err(PlanError::Invalid("code"));
    }
    let row = row(code, checked(terms)?, 1);
    let transaction = db::begin_write(db).await?;
    if plans::Entity::find_by_id(code.to_owned()).one(&transaction).await?.is_some() {
        return Err(PlanError::Exists(code.to_owned()));
    }
    let after = public_json(&row);
    row.into_active_model().insert(&transaction).await?;
    record(&transaction, clock, actor, "plan.add", code, None, Some(after)).await?;
    Ok(transaction.commit().await?)
}

/// Changes a plan as it was when it had that version; answers the new one.
///
/// # Errors
/// See [`PlanError`]: a newer version is `Stale`.
pub async fn plan_edit(db: &DatabaseConnection, clock: &Clock, code: &str, version: i32, terms: PlanTerms, actor: &Actor) -> Result<i32, PlanError> {
    let terms = checked(terms)?;
    let transaction = db::begin_write(db).await?;
    let before = locked(&transaction, code).await?;
    if before.version != version {
        return Err(PlanError::Stale { code: code.to_owned(), version: before.version });
    }
    let row = row(code, terms, version + 1);
    let (before, after) = (public_json(&before), public_json(&row));
    row.into_active_model().reset_all().update(&transaction).await?;
    record(&transaction, clock, actor, "plan.edit", code, Some(before), Some(after)).await?;
    transaction.commit().await?;
    Ok(version + 1)
}

/// Removes a plan that nobody has, and that nobody gets who signs up.
///
/// # Errors
/// See [`PlanError`].
pub async fn plan_delete(db: &DatabaseConnection, clock: &Clock, code: &str, actor: &Actor) -> Result<(), PlanError> {
    let transaction = db::begin_write(db).await?;
    let before = locked(&transaction, code).await?;
    if Settings::stored(&transaction).await?.sign_up_plan == code {
        return Err(PlanError::SignUp(code.to_owned()));
    }
    let clients = clients::Entity::find().filter(clients::Column::PlanCode.eq(code)).count(&transaction).await?;
    if clients > 0 {
        return Err(PlanError::InUse { code: code.to_owned(), clients });
    }
    plans::Entity::delete_by_id(code.to_owned()).exec(&transaction).await?;
    record(&transaction, clock, actor, "plan.delete", code, Some(public_json(&before)), None).await?;
    Ok(transaction.commit().await?)
}

/// The chain first, as an edit of the settings does: nobody makes it the plan of sign-ups meanwhile.
async fn locked(transaction: &DatabaseTransaction, code: &str) -> Result<plans::Model, PlanError> {
    audit::chain_lock(transaction, None).await?;
    let row = plans::Entity::find_by_id(code.to_owned()).lock_exclusive().one(transaction).await?;
    row.ok_or_else(|| PlanError::Unknown(code.to_owned()))
}

async fn record(transaction: &DatabaseTransaction, clock: &Clock, actor: &Actor, action: &str, code: &str, before: Option<Value>, after: Option<Value>) -> Result<(), DbErr> {
    audit::record(transaction, clock, actor, Change { tenant: None, action, subject: code.to_owned(), before, after }).await
}

fn checked(mut terms: PlanTerms) -> Result<PlanTerms, PlanError> {
    terms.name = terms.name.trim().to_owned();
    let name = &terms.name;
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(PlanError::Invalid("name"));
    }
    if terms.price_usd_cents > PRICE_USD_CENTS_MAX {
        return Err(PlanError::Invalid("price_usd_cents"));
    }
    for (field, number) in [("calls_per_month", terms.calls_per_month), ("tools_max", terms.tools_max), ("position", Some(terms.position))] {
        if number.is_some_and(|number| number > NUMBER_MAX) {
            return Err(PlanError::Invalid(field));
        }
    }
    Ok(terms)
}

fn terms(row: &plans::Model) -> PlanTerms {
    let number = |number: i32| u32::try_from(number).unwrap_or_default();
    PlanTerms {
        name: row.name.clone(),
        price_usd_cents: number(row.price_usd_cents),
        calls_per_month: row.calls_per_month.map(number),
        tools_max: row.tools_max.map(number),
        priority_support: row.priority_support,
        position: number(row.position),
    }
}

fn row(code: &str, terms: PlanTerms, version: i32) -> plans::Model {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    plans::Model {
        code: code.to_owned(),
        name: terms.name,
        price_usd_cents: number(terms.price_usd_cents),
        calls_per_month: terms.calls_per_month.map(number),
        tools_max: terms.tools_max.map(number),
        priority_support: terms.priority_support,
        position: number(terms.position),
        version,
    }
}

fn public_json(row: &plans::Model) -> Value {
    json!({
        "name": row.name, "price_usd_cents": row.price_usd_cents, "calls_per_month": row.calls_per_month, "tools_max": row.tools_max,
        "priority_support": row.priority_support, "position": row.position,
    })
}
