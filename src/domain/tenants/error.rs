//! What can go wrong with tenants.

use std::fmt;

use sea_orm::DbErr;

use crate::domain::vault::VaultError;

/// What is wrong with one value: for a form by field and key, for the shell as a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantFault {
    /// The field: `name`, `rnc`, `url`, or `form` for several together.
    pub field: &'static str,
    /// The sentence in `locales/`, under `portal.faults`.
    pub key: &'static str,
    /// For operators at the shell.
    pub text: String,
}

impl fmt::Display for TenantFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A value that is not acceptable.
pub(super) fn invalid(field: &'static str, key: &'static str, text: impl Into<String>) -> TenantError {
    TenantError::Invalid(TenantFault { field, key, text: text.into() })
}

/// What can go wrong with tenants. The texts are for operators.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// No such tenant.
    #[error("no such tenant: {0} (`dunet tenant list` shows them)")]
    Unknown(String),
    /// No such plan.
    #[error("no such plan: {0} (gratis, basic or pro)")]
    UnknownPlan(String),
    /// The plan allows no more tools.
    #[error("plan {plan} allows {max} tools and {enabled} are enabled: disable one first, or change the plan")]
    TooManyTools {
        /// Its name.
        plan: String,
        /// Allowed.
        max: usize,
        /// Enabled now.
        enabled: usize,
    },
    /// Somebody else edited it meanwhile.
    #[error("somebody else changed this tenant meanwhile: look at it again")]
    Stale,
    /// A value that is not acceptable.
    #[error("{0}")]
    Invalid(TenantFault),
    /// The vault does not seal or open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The database.
    #[error("database: {0}")]
    Db(#[from] DbErr),
}
