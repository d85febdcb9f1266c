//! What is known of a statement's invoice in the operator's own Odoo: begun before anything is sent, ended when the answer is there. Making it
//! is `tools/invoice`'s.
//!
//! One row for each closed month decides races. A definite failure removes it, so that the button works again; an unknown outcome stays
//! and blocks, until somebody has looked.

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{Statement, StatementError, StatementState, Statements};
use crate::db::{self, entities::statement_invoices};
use crate::domain::audit::{self, Actor, Change};
use crate::ids::TenantId;

/// One still "running" after this long ended with its process, seconds. What Odoo has not done by then it will not do any more.
const RUNNING_S_MAX: i64 = 180;
/// The audit's word.
const ACTION: &str = "statement.invoice";

/// How far an invoice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceState {
    /// It is being made at this moment.
    Running,
    /// It is there, as a draft.
    Done,
    /// It was sent, and nobody knows whether it was made.
    Unknown,
}

/// A statement's invoice in the operator's own Odoo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct StatementInvoice {
    /// How far it is.
    pub state: InvoiceState,
    /// The client in whose Odoo it is: the operator's own firm.
    pub biller: TenantId,
    /// How it is found in that Odoo (`invoice_origin`).
    pub reference: String,
    /// Its id there.
    pub odoo_id: Option<i64>,
    /// Its name there; drafts have none.
    pub name: Option<String>,
    /// Its page there.
    pub url: Option<String>,
    /// `USD`, or `DOP` where that Odoo has no dollars.
    pub currency: Option<String>,
    /// Whether its lines carry ITBIS; not where that Odoo has no sale tax of that rate.
    pub taxed: bool,
    /// Corrections of the month that it holds; later ones it does not.
    pub corrections: i32,
    /// Begun, UTC.
    pub created_at: DateTime<Utc>,
}

/// What is known of an invoice that was made or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeInvoice {
    /// Its id.
    pub odoo_id: i64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its page.
    pub url: String,
    /// Its currency.
    pub currency: String,
    /// Whether its lines carry a tax.
    pub taxed: bool,
}

/// What an invoice ended as.
pub enum InvoiceEnd {
    /// It is there.
    Done(MadeInvoice),
    /// Sent, and no answer came.
    Unknown,
    /// It was not made: the button works again. Why, for the audit.
    Failed(String),
}

impl Statements {
    /// Begins the invoice of a closed month; exactly one of several that ask at once gets `Ok`.
    ///
    /// # Errors
    /// The outer: not closed, or the database. The inner: there is one already, as it stands.
    pub async fn invoice_begin(&self, statement: &Statement, biller: TenantId, actor: &Actor) -> Result<Result<StatementInvoice, StatementInvoice>, StatementError> {
        let number = statement.number.filter(|_| statement.state == StatementState::Closed).ok_or(StatementError::NotClosed)?;
        if let Some(there) = self.invoice_find(statement.tenant, statement.month).await? {
            return Ok(Err(there));
        }
        let now = self.clock.now();
        let row = statement_invoices::Model {
            id: Uuid::now_v7(),
            client_id: statement.tenant.uuid(),
            month: statement.month,
            corrections: i32::try_from(statement.corrections.len()).unwrap_or(i32::MAX),
            biller_id: biller.uuid(),
            // The same after a restored backup: what is in that Odoo is then found.
            reference: format!("dunet:estado:{number}:{}", statement.tenant),
            state: "running".to_owned(),
            odoo_id: None,
            odoo_name: None,
            url: None,
            currency: None,
            taxed: false,
            actor: actor.0.clone(),
            created_at: now,
            updated_at: now,
        };
        let transaction = db::begin_write(&self.db).await?;
        match row.clone().into_active_model().insert(&transaction).await {
            Ok(_) => {}
            Err(error) if matches!(error.sql_err(), Some(sea_orm::SqlErr::UniqueConstraintViolation(_))) => {
                drop(transaction);
                return self.invoice_find(statement.tenant, statement.month).await?.map(Err).ok_or_else(|| StatementError::Db(error));
            }
            Err(error) => return Err(error.into()),
        }
        let after = json!({ "state": row.state, "reference": row.reference, "biller": row.biller_id });
        audit::record(&transaction, &self.clock, actor, change(&row, Some(after))).await?;
        transaction.commit().await?;
        Ok(Ok(shown(row, now)))
    }

    /// Writes down what came of it.
    ///
    /// # Errors
    /// There is none, or the database: it stays "running" and becomes "unknown" by age.
    pub async fn invoice_end(&self, tenant: TenantId, month: i32, end: InvoiceEnd, actor: &Actor) -> Result<Option<StatementInvoice>, StatementError> {
        let transaction = db::begin_write(&self.db).await?;
        let mut row = find(tenant, month).lock_exclusive().one(&transaction).await?.ok_or(StatementError::Unknown)?;
        let now = self.clock.now();
        row.updated_at = now;
        let after = match end {
            InvoiceEnd::Done(made) => {
                "done".clone_into(&mut row.state);
                (row.odoo_id, row.odoo_name, row.url) = (Some(made.odoo_id), made.name, Some(made.url));
                (row.currency, row.taxed) = (Some(made.currency), made.taxed);
                json!({ "state": row.state, "reference": row.reference, "odoo_id": row.odoo_id, "taxed": row.taxed })
            }
            InvoiceEnd::Unknown => {
                "unknown".clone_into(&mut row.state);
                json!({ "state": row.state, "reference": row.reference })
            }
            InvoiceEnd::Failed(why) => {
                statement_invoices::Entity::delete_by_id(row.id).exec(&transaction).await?;
                audit::record(&transaction, &self.clock, actor, change(&row, Some(json!({ "state": "failed", "reference": row.reference, "reason": why })))).await?;
                transaction.commit().await?;
                return Ok(None);
            }
        };
        audit::record(&transaction, &self.clock, actor, change(&row, Some(after))).await?;
        row.clone().into_active_model().reset_all().update(&transaction).await?;
        transaction.commit().await?;
        Ok(Some(shown(row, now)))
    }

    /// A closed month's invoice, if there is one.
    ///
    /// # Errors
    /// The database.
    pub async fn invoice_find(&self, tenant: TenantId, month: i32) -> Result<Option<StatementInvoice>, StatementError> {
        let now = self.clock.now();
        Ok(find(tenant, month).one(&self.db).await?.map(|row| shown(row, now)))
    }

    /// Whether Odoo may still be making it: it was begun or left open a moment ago.
    #[must_use]
    pub fn invoice_is_fresh(&self, invoice: &StatementInvoice) -> bool {
        invoice.created_at > self.clock.now() - Duration::seconds(RUNNING_S_MAX)
    }
}

/// The invoices of those tenants' months, by tenant and month. One query.
pub(super) async fn of<C: ConnectionTrait>(db: &C, tenants: &[Uuid], month: Option<i32>, now: DateTime<Utc>) -> Result<HashMap<(Uuid, i32), StatementInvoice>, DbErr> {
    let mut rows = statement_invoices::Entity::find().filter(statement_invoices::Column::ClientId.is_in(tenants.iter().copied()));
    if let Some(month) = month {
        rows = rows.filter(statement_invoices::Column::Month.eq(month));
    }
    Ok(rows.all(db).await?.into_iter().map(|row| ((row.client_id, row.month), shown(row, now))).collect())
}

fn find(tenant: TenantId, month: i32) -> sea_orm::Select<statement_invoices::Entity> {
    statement_invoices::Entity::find().filter(statement_invoices::Column::ClientId.eq(tenant.uuid())).filter(statement_invoices::Column::Month.eq(month))
}

fn change(row: &statement_invoices::Model, after: Option<serde_json::Value>) -> Change<'static> {
    Change { tenant: Some(row.client_id.into()), action: ACTION, subject: format!("{} 0", row.month), before: None, after }
}

fn shown(row: statement_invoices::Model, now: DateTime<Utc>) -> StatementInvoice {
    let state = match row.state.as_str() {
        "done" => InvoiceState::Done,
        "running" if row.updated_at > now - Duration::seconds(RUNNING_S_MAX) => InvoiceState::Running,
        _ => InvoiceState::Unknown,
    };
    StatementInvoice {
        state,
        biller: row.biller_id.into(),
        reference: row.reference,
        odoo_id: row.odoo_id,
        name: row.odoo_name,
        url: row.url,
        currency: row.currency,
        taxed: row.taxed,
        corrections: row.corrections,
        created_at: row.created_at,
    }
}
