//! A closed statement as a draft invoice in the operator's own Odoo, once.
//!
//! The operator's firm is a client like any other; the setting `billing_client` names it. What is known of the invoice is stored before anything
//! is sent (`domain/statements/invoices.rs`). The invoice's `invoice_origin` is the statement's reference: one that is there already is taken for
//! it, so that nothing is made twice, whatever was lost in between. What is sent: `draft.rs`.

mod draft;

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::error::ToolError;
use crate::dgii::Padron;
use crate::domain::audit::Actor;
use crate::domain::connections::{ConnectionError, Connections};
use crate::domain::settings::SettingsStore;
use crate::domain::statements::{InvoiceEnd, InvoiceState, Statement, StatementError, StatementInvoice, Statements};
use crate::domain::tenants::{Tenant, TenantError, Tenants};
use crate::ids::TenantId;
use crate::odoo::{OdooClient, OdooError};
use crate::text::{Language, fill};
use draft::{Draft, DraftError};

/// Why there is no invoice.
#[derive(Debug, thiserror::Error)]
pub enum InvoiceError {
    /// No client is named in the settings, or there is none of that id any more.
    #[error("the settings name no client that invoices")]
    NoBiller,
    /// That client has no Odoo connection.
    #[error("the client that invoices has no Odoo connection")]
    NotConnected,
    /// A month whose balance is nothing, or a credit.
    #[error("there is nothing to invoice")]
    Nothing,
    /// It is being made at this moment.
    #[error("it is being made at this moment")]
    Running,
    /// It was sent, and nobody knows whether it was made: look first.
    #[error("it is not known whether it was made")]
    Unknown,
    /// It cannot be looked for yet: Odoo may still be making it.
    #[error("it was sent a moment ago")]
    Fresh,
    /// That Odoo has neither dollars nor pesos that are active.
    #[error("that Odoo has neither US$ nor RD$")]
    NoCurrency,
    /// Odoo refused or did not answer; nothing was made.
    #[error("{0:?}")]
    Odoo(OdooError),
    /// The statement.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Our own fault.
    #[error("{0}")]
    Internal(String),
}

impl InvoiceError {
    /// What Odoo said, as a sentence with what to do; none for the other failures.
    #[must_use]
    pub fn odoo_said(&self, language: Language) -> Option<String> {
        let Self::Odoo(error) = self else { return None };
        let own = error.message.clone();
        let code = ToolError::from(error.clone()).code;
        let said = fill(language, &format!("errores.{}.mensaje", code.as_str()), &[("detalle", &own)]);
        Some(if own.is_empty() || said.contains(&own) { said } else { format!("{said} ({own})") })
    }
}

impl From<OdooError> for InvoiceError {
    fn from(error: OdooError) -> Self {
        Self::Odoo(error)
    }
}

/// Makes invoices of statements. Cheap to clone.
#[derive(Clone)]
pub struct Invoices {
    inner: Arc<InvoiceParts>,
}

/// What [`Invoices`] is put together from.
pub struct InvoiceParts {
    /// Statements, and what is known of their invoices.
    pub statements: Statements,
    /// Tenants, the biller among them.
    pub tenants: Tenants,
    /// Warm Odoo clients.
    pub connections: Connections,
    /// Names the biller.
    pub settings: SettingsStore,
    /// The taxpayer listing, for a customer that is new.
    pub padron: Padron,
    /// Runs what must come to its end, whoever hangs up.
    pub tasks: TaskTracker,
}

impl Invoices {
    /// Out of these.
    #[must_use]
    pub fn new(parts: InvoiceParts) -> Self {
        Self { inner: Arc::new(parts) }
    }

    /// The tenant in whose Odoo invoices are made.
    ///
    /// # Errors
    /// None is named, there is none of that id, or the database.
    pub async fn biller(&self) -> Result<Tenant, InvoiceError> {
        let id = self.inner.settings.get().billing_client.ok_or(InvoiceError::NoBiller)?;
        match self.inner.tenants.tenant_find(id).await {
            Ok(tenant) => Ok(tenant),
            Err(TenantError::Unknown(_)) => Err(InvoiceError::NoBiller),
            Err(error) => Err(InvoiceError::Internal(error.to_string())),
        }
    }

    /// Makes the draft invoice of a closed month, or answers the one there is. What was begun comes to its end, whoever hangs up.
    ///
    /// # Errors
    /// See [`InvoiceError`].
    pub async fn create(&self, tenant: TenantId, month: i32, actor: &Actor) -> Result<StatementInvoice, InvoiceError> {
        let (own, actor) = (self.clone(), actor.clone());
        self.to_the_end(async move { own.make(tenant, month, &actor).await }).await
    }

    /// Looks whether an invoice of unknown outcome was made: it is taken over, or the month is free for another try (none).
    ///
    /// # Errors
    /// See [`InvoiceError`]: [`InvoiceError::Fresh`] while Odoo may still be making it.
    pub async fn check(&self, tenant: TenantId, month: i32, actor: &Actor) -> Result<Option<StatementInvoice>, InvoiceError> {
        let (own, actor) = (self.clone(), actor.clone());
        self.to_the_end(async move { own.look(tenant, month, &actor).await }).await
    }

    async fn to_the_end<T: Send + 'static>(&self, work: impl Future<Output = Result<T, InvoiceError>> + Send + 'static) -> Result<T, InvoiceError> {
        let task = tracing::Instrument::instrument(work, tracing::Span::current());
        self.inner.tasks.spawn(task).await.map_err(|error| InvoiceError::Internal(error.to_string()))?
    }

    async fn make(&self, tenant: TenantId, month: i32, actor: &Actor) -> Result<StatementInvoice, InvoiceError> {
        let statements = &self.inner.statements;
        let statement = statements.statement(tenant, month).await?;
        if let Some(there) = &statement.invoice {
            return known(there.clone());
        }
        let biller = self.biller().await?;
        if statement.balance_usd_cents <= 0 && statement.number.is_some() {
            return Err(InvoiceError::Nothing);
        }
        // Before anything is stored: an Odoo that is not there costs nothing.
        let odoo = self.odoo(&biller).await?;
        let begun = match statements.invoice_begin(&statement, biller.id, actor).await? {
            Ok(begun) => begun,
            Err(there) => return known(there),
        };
        let draft = Draft { odoo: &odoo, padron: &self.inner.padron, statement: &statement, reference: &begun.reference, language: biller.language };
        let (end, failure) = match draft.find_or_make().await {
            Ok(made) => (InvoiceEnd::Done(made), None),
            Err(DraftError::Unknown(error)) => {
                tracing::warn!(?error, reference = begun.reference, "it is not known whether an invoice was made");
                (InvoiceEnd::Unknown, None)
            }
            Err(DraftError::Not(error)) => (InvoiceEnd::Failed(error.to_string()), Some(error)),
        };
        let stored = statements.invoice_end(tenant, month, end, actor).await?;
        match (failure, stored) {
            (Some(failure), _) => Err(failure),
            (None, Some(stored)) => known(stored),
            (None, None) => Err(InvoiceError::Internal("an invoice was lost".to_owned())),
        }
    }

    async fn look(&self, tenant: TenantId, month: i32, actor: &Actor) -> Result<Option<StatementInvoice>, InvoiceError> {
        let statements = &self.inner.statements;
        let statement = statements.statement(tenant, month).await?;
        let open = statement.invoice.clone().ok_or(StatementError::Unknown)?;
        match open.state {
            InvoiceState::Done => return Ok(Some(open)),
            InvoiceState::Running => return Err(InvoiceError::Running),
            InvoiceState::Unknown => {}
        }
        // In the Odoo it was sent to, whatever the settings say now.
        let biller = self.inner.tenants.tenant_find(open.biller).await.map_err(|_| InvoiceError::NoBiller)?;
        let odoo = self.odoo(&biller).await?;
        let draft = Draft { odoo: &odoo, padron: &self.inner.padron, statement: &statement, reference: &open.reference, language: biller.language };
        match draft.find().await? {
            Some(found) => Ok(statements.invoice_end(tenant, month, InvoiceEnd::Done(found), actor).await?),
            None if statements.invoice_is_fresh(&open) => Err(InvoiceError::Fresh),
            None => Ok(statements.invoice_end(tenant, month, InvoiceEnd::Failed("not found in Odoo".to_owned()), actor).await?),
        }
    }

    async fn odoo(&self, biller: &Tenant) -> Result<OdooClient, InvoiceError> {
        match self.inner.connections.get(biller, None).await {
            Ok(connection) => Ok(draft::in_its_language(connection.client(), biller)),
            Err(error) => Err(match &*error {
                ConnectionError::NotConfigured => InvoiceError::NotConnected,
                ConnectionError::Odoo(error) => InvoiceError::Odoo(error.clone()),
                ConnectionError::Internal(cause) => InvoiceError::Internal(cause.clone()),
            }),
        }
    }
}

/// An invoice as an answer: one that is there, or why there is none yet.
fn known(invoice: StatementInvoice) -> Result<StatementInvoice, InvoiceError> {
    match invoice.state {
        InvoiceState::Done => Ok(invoice),
        InvoiceState::Running => Err(InvoiceError::Running),
        InvoiceState::Unknown => Err(InvoiceError::Unknown),
    }
}

/// Whether there is something to invoice.
#[must_use]
pub fn may_be_invoiced(statement: &Statement) -> bool {
    statement.number.is_some() && statement.balance_usd_cents > 0
}
