//! What came of renewing a key: in a word, and with Odoo's own.

use chrono::{DateTime, Utc};
use sea_orm::DbErr;

use crate::odoo::keys::KeyByPasswordError;
use crate::odoo::{OdooError, OdooErrorKind};

/// What came of it; as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// There is a new key; the old one is revoked, or will be.
    Renewed,
    /// There is a new key; the old one could not be revoked.
    RenewedOldStays,
    /// This Odoo has no such method.
    NotOffered,
    /// Odoo refused. The old key stays.
    Refused,
    /// A key may have been made that nobody knows. The old key stays.
    Unknown,
    /// No answer, and nothing was made. The old key stays.
    Unanswered,
    /// The password does not fit.
    Password,
    /// The user signs in with a second factor.
    SecondFactor,
    /// The new key did not work. The old key stays.
    NewKeyFails,
    /// The connection was edited meanwhile: that stays.
    Edited,
    /// The secret is a password.
    NoKey,
    /// Somebody renews it already.
    Busy,
}

impl Outcome {
    const ALL: [Self; 12] = [
        Self::Renewed,
        Self::RenewedOldStays,
        Self::NotOffered,
        Self::Refused,
        Self::Unknown,
        Self::Unanswered,
        Self::Password,
        Self::SecondFactor,
        Self::NewKeyFails,
        Self::Edited,
        Self::NoKey,
        Self::Busy,
    ];

    /// As stored, and the key of its sentence (`portal.odoo.renewal.<key>`).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::RenewedOldStays => "renewed_old_stays",
            Self::NotOffered => "not_offered",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Unanswered => "unanswered",
            Self::Password => "password",
            Self::SecondFactor => "second_factor",
            Self::NewKeyFails => "new_key_fails",
            Self::Edited => "edited",
            Self::NoKey => "no_key",
            Self::Busy => "busy",
        }
    }

    pub(super) fn known(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }

    /// Whether there is a new key.
    #[must_use]
    pub fn is_renewed(self) -> bool {
        matches!(self, Self::Renewed | Self::RenewedOldStays)
    }
}

/// What came of renewing a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// In a word.
    pub outcome: Outcome,
    /// Odoo's own words; empty where there are none.
    pub said: String,
    /// When the key ends that is used now, UTC.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Why no new key is in use.
pub(super) struct Failed {
    pub(super) outcome: Outcome,
    pub(super) said: String,
}

impl Failed {
    pub(super) fn new(outcome: Outcome, said: impl Into<String>) -> Self {
        Self { outcome, said: said.into() }
    }

    /// Of a request that makes a key.
    pub(super) fn making(error: &OdooError) -> Self {
        let outcome = match &error.kind {
            OdooErrorKind::UnknownMethod | OdooErrorKind::UnknownModel => Outcome::NotOffered,
            _ if error.outcome_unknown() => Outcome::Unknown,
            OdooErrorKind::Validation | OdooErrorKind::AccessDenied | OdooErrorKind::BadCredentials | OdooErrorKind::BadArguments | OdooErrorKind::ServerFault => Outcome::Refused,
            _ => Outcome::Unanswered,
        };
        Self::new(outcome, error.message.clone())
    }

    /// Of a person's session. `made` when a key had been asked for.
    pub(super) fn session(error: &KeyByPasswordError, made: bool) -> Self {
        let outcome = match error {
            KeyByPasswordError::Password => Outcome::Password,
            KeyByPasswordError::SecondFactor => Outcome::SecondFactor,
            KeyByPasswordError::Refused(_) => Outcome::Refused,
            KeyByPasswordError::Unanswered(_) if made => Outcome::Unknown,
            KeyByPasswordError::Unanswered(_) => Outcome::Unanswered,
        };
        Self::new(outcome, error.to_string())
    }
}

impl From<DbErr> for Failed {
    fn from(error: DbErr) -> Self {
        Self::new(Outcome::NewKeyFails, error.to_string())
    }
}
