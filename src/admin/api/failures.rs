//! What goes wrong in the hall, as the API's failures.

use super::problem::{ApiError, Fault};
use crate::admin::pages::invoice_fault;
use crate::domain::padron_imports::{ImportError, PadronError, PadronJobError, Refusal};
use crate::domain::plans::PlanError;
use crate::domain::settings::SettingsError;
use crate::domain::statements::StatementError;
use crate::domain::tenants::TenantError;
use crate::domain::tokens::TokenError;
use crate::domain::users::UserError;
use crate::text::{Language, fill, text};
use crate::tools::invoice::InvoiceError;

impl ApiError {
    /// Fields with the portal's sentences of what is wrong with them (`portal.faults.<key>`).
    pub(super) fn sentences(faults: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        Self::Faults(faults.into_iter().map(|(field, key)| Fault::new(field, sentence(key))).collect())
    }
}

fn sentence(key: &str) -> String {
    text(Language::En, &format!("portal.faults.{key}"))
}

impl From<TenantError> for ApiError {
    fn from(error: TenantError) -> Self {
        match error {
            TenantError::Unknown(_) => Self::NotFound,
            TenantError::Stale => Self::Stale,
            TenantError::UnknownPlan(_) => Self::fault("plan", "There is no such plan; GET /admin/api/plans lists them."),
            TenantError::Invalid(fault) => Self::fault(fault.field, text(Language::En, &format!("portal.faults.{}", fault.key))),
            TenantError::TooManyTools { plan, max, enabled } => Self::fault("plan", format!("{plan} allows {max} tools and {enabled} are enabled.")),
            other @ (TenantError::Vault(_) | TenantError::Db(_)) => Self::internal(other),
        }
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Unknown(_) => Self::NotFound,
            TokenError::Invalid(detail) => Self::fault("name", detail),
            TokenError::Tenant(tenant) => tenant.into(),
            other @ TokenError::Db(_) => Self::internal(other),
        }
    }
}

impl From<UserError> for ApiError {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Unknown(_) => Self::NotFound,
            UserError::Invalid { field, fault } => Self::fault(field, sentence(fault)),
            UserError::Stale => Self::Stale,
            UserError::Busy => Self::Busy,
            other @ (UserError::Db(_) | UserError::Vault(_) | UserError::Machine(_)) => Self::internal(other),
        }
    }
}

impl From<PlanError> for ApiError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Unknown(_) => Self::NotFound,
            PlanError::Exists(code) => Self::fault("code", format!("There is a plan {code} already.")),
            PlanError::Stale { .. } => Self::Stale,
            PlanError::InUse { code, clients } => Self::Conflict(format!("{code} is the plan of {clients} clients: move them to another one first.")),
            PlanError::SignUp(code) => Self::Conflict(format!("{code} is the plan of who registers: name another one as `sign_up_plan` in the settings first.")),
            PlanError::Invalid(field) => Self::fault(field, "It is out of range, empty or too long."),
            other @ PlanError::Db(_) => Self::internal(other),
        }
    }
}

impl From<StatementError> for ApiError {
    fn from(error: StatementError) -> Self {
        match error {
            StatementError::Unknown => Self::NotFound,
            StatementError::Running => Self::Conflict("The month is not over, or has been for less than an hour.".to_owned()),
            StatementError::NoRate => Self::Conflict("State `usd_rate` in the settings first.".to_owned()),
            StatementError::NotClosed => Self::Conflict("The month is not closed: what is wrong in it can still be mended.".to_owned()),
            StatementError::Invalid("part") => {
                Self::Conflict("Another correction was made meanwhile: read the statement again; `part` is one more than its corrections.".to_owned())
            }
            StatementError::Invalid("amount") => Self::fault("amount_usd_cents", sentence("correction_amount")),
            StatementError::Invalid(field) => Self::fault(field, sentence("correction_note")),
            other @ StatementError::Db(_) => Self::internal(other),
        }
    }
}

impl From<InvoiceError> for ApiError {
    fn from(error: InvoiceError) -> Self {
        match error {
            InvoiceError::Statement(error) => error.into(),
            InvoiceError::Internal(cause) => Self::internal(anyhow::anyhow!(cause)),
            error => Self::Conflict(invoice_fault(Language::En, &error)),
        }
    }
}

impl From<SettingsError> for ApiError {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Invalid { key, fault } => Self::fault(key.as_str(), sentence(crate::admin::pages::setting_fault(key, fault))),
            SettingsError::Stale => Self::Conflict("Somebody else edited the settings meanwhile. Read them again and send the change with their `edited_at`.".to_owned()),
            other @ SettingsError::Db(_) => Self::internal(other),
        }
    }
}

impl From<PadronJobError> for ApiError {
    fn from(error: PadronJobError) -> Self {
        match error {
            PadronJobError::Stale => Self::Conflict("Another listing is the previous one now: read the state again.".to_owned()),
            PadronJobError::Refused(ImportError::Busy) | PadronJobError::Rollback(PadronError::Busy) => Self::Conflict("An import is running: wait for its end.".to_owned()),
            PadronJobError::Rollback(PadronError::NoPrevious) => Self::Conflict("There is no previous listing.".to_owned()),
            PadronJobError::Refused(error) if !error.is_machine() => Self::fault("zip", refused(&Refusal::new(&error))),
            other => Self::internal(other),
        }
    }
}

/// A refusal of the official files, in words.
pub(super) fn refused(refusal: &Refusal) -> String {
    let facts: Vec<(&str, &str)> = refusal.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let key = format!("portal.padron.refused.{}", refusal.code);
    let said = fill(Language::En, &key, &facts);
    if said == key { fill(Language::En, "portal.padron.refused.other", &[("code", &refusal.code)]) } else { said }
}
