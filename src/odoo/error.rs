//! The one error of this client: a kind to branch on, a public sentence, a private cause.

use std::fmt;

/// Longest public sentence, in characters.
pub const MESSAGE_CHARS_MAX: usize = 500;
/// Longest private cause, in characters.
pub const CAUSE_CHARS_MAX: usize = 2_000;

/// Why a call to Odoo did not give a result.
#[derive(Clone, PartialEq, Eq)]
pub struct OdooError {
    /// What a caller branches on.
    pub kind: OdooErrorKind,
    /// One sentence that may be shown: Odoo's own words, cleaned, or ours in English. Never a traceback,
    /// a path of the server or a secret; at most [`MESSAGE_CHARS_MAX`] characters.
    pub message: String,
    /// For the log only; at most [`CAUSE_CHARS_MAX`] characters.
    pub cause: String,
}

/// Kinds of failure that a caller treats differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OdooErrorKind {
    /// Login, password or API key is wrong, expired or archived.
    BadCredentials,
    /// The user has no right to this (model, record rule, company, private method), or a wall in front says no.
    AccessDenied,
    /// The record does not exist (any more).
    RecordMissing,
    /// Odoo refuses the data or the step: `UserError`, `ValidationError`, a constraint.
    Validation,
    /// No such model: its module is not installed.
    UnknownModel,
    /// No such field on the model.
    UnknownField,
    /// No such method on the model.
    UnknownMethod,
    /// An argument is missing, unknown or of a wrong type or value.
    BadArguments,
    /// No such database (a server that cannot reach its database server says the same over JSON-2).
    DatabaseNotFound,
    /// Odoo Online without the plan that includes the external API.
    ApiNotInPlan,
    /// Too many requests, or records locked by others; nothing was done.
    Busy {
        /// Seconds to wait, where the server says so.
        retry_after_s: Option<u64>,
    },
    /// The gate in front of the client: too many requests at once, and the turn did not come. Nothing was sent.
    Crowded {
        /// How many may be under way at once.
        places: usize,
    },
    /// The gate in front of the client: this server failed several times in a row and is left alone. Nothing was sent.
    Paused {
        /// Seconds until it is tried again.
        retry_after_s: u64,
    },
    /// No answer in time.
    TimedOut {
        /// Whether the request had been (at least partly) sent.
        sent: bool,
    },
    /// The name does not resolve or nothing listens there; nothing was sent.
    Unreachable,
    /// The address is not one that may be reached (see `address.rs`); nothing was sent.
    AddressRefused,
    /// TLS could not be agreed (certificate, protocol); nothing was sent.
    TlsFailed,
    /// Something answers, but not an Odoo: a redirect, a web page, another service.
    NotOdoo,
    /// The answer is larger or deeper than the limits.
    AnswerTooLarge,
    /// The server's version is too old, or does not have the wire that was asked for.
    VersionNotSupported,
    /// Odoo failed inside.
    ServerFault,
    /// The connection broke (or the answer came garbled) after the request had been sent.
    ConnectionLost,
}

impl OdooError {
    /// An error with a sentence of our own and its private cause.
    pub fn new(kind: OdooErrorKind, message: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { kind, message: clip(message.into(), MESSAGE_CHARS_MAX), cause: clip(cause.into(), CAUSE_CHARS_MAX) }
    }

    /// How long to wait, told beside an answer that only says "busy".
    pub(super) fn wait(mut self, told_s: Option<u64>) -> Self {
        if let OdooErrorKind::Busy { retry_after_s } = &mut self.kind {
            *retry_after_s = retry_after_s.or(told_s);
        }
        self
    }

    /// Whether the request may have been executed although there is no (usable) answer. After a write this
    /// means: look before doing it again.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        matches!(self.kind, OdooErrorKind::TimedOut { sent: true } | OdooErrorKind::ConnectionLost | OdooErrorKind::AnswerTooLarge)
    }

    /// Whether the same **read** may succeed a little later. A write must look at [`Self::outcome_unknown`] first.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(
            self.kind,
            OdooErrorKind::Busy { .. }
                | OdooErrorKind::Crowded { .. }
                | OdooErrorKind::Paused { .. }
                | OdooErrorKind::TimedOut { .. }
                | OdooErrorKind::Unreachable
                | OdooErrorKind::ConnectionLost
        )
    }
}

impl fmt::Display for OdooError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

impl fmt::Debug for OdooError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OdooError").field("kind", &self.kind).field("message", &self.message).field("cause", &self.cause).finish()
    }
}

impl std::error::Error for OdooError {}

/// Cuts at a number of characters and says so with an ellipsis.
pub(crate) fn clip(text: String, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text,
        Some(_) => text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_have_happened_is_unknown() {
        for (kind, unknown, retryable) in [
            (OdooErrorKind::TimedOut { sent: true }, true, true),
            (OdooErrorKind::TimedOut { sent: false }, false, true),
            (OdooErrorKind::ConnectionLost, true, true),
            (OdooErrorKind::AnswerTooLarge, true, false),
            (OdooErrorKind::Busy { retry_after_s: None }, false, true),
            (OdooErrorKind::Unreachable, false, true),
            (OdooErrorKind::Validation, false, false),
            (OdooErrorKind::BadCredentials, false, false),
        ] {
            let error = OdooError::new(kind.clone(), "", "");
            assert_eq!((error.outcome_unknown(), error.retryable()), (unknown, retryable), "{kind:?}");
        }
    }

    #[test]
    fn long_sentences_are_cut_at_a_character() {
        let error = OdooError::new(OdooErrorKind::Validation, "ñ".repeat(600), "");
        assert_eq!(error.message.chars().count(), 500);
        assert!(error.message.ends_with('…'));
    }
}
