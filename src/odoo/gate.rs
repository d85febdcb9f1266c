//! What may stand before every request of a client: it lets requests in one by one, or refuses them, and hears how each ended.
//!
//! The client itself knows no limits but its own deadlines; who shares one Odoo among many callers puts a gate there.

use super::error::{OdooError, OdooErrorKind as Kind};
use super::wire::page::Incoming;
use futures::future::BoxFuture;
use std::fmt;
use tokio::time::Instant;

/// Whose request goes first when not all can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Urgency {
    /// Somebody is waiting on the telephone.
    High,
    /// Anything else.
    #[default]
    Normal,
    /// Somebody reads reports.
    Low,
}

/// What a request told about the health of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answered, be it with an error of its own.
    Alive,
    /// It did not, or something in front of it answered in its place.
    Failing,
    /// It asks to slow down.
    Busy {
        /// Seconds to wait, where it says so.
        retry_after_s: Option<u64>,
    },
}

/// A request that was let in. It is called with what the request told; dropped without a call when the request was given up.
pub type Pass = Box<dyn FnOnce(Health) + Send>;

/// Lets requests in.
pub trait RequestGate: fmt::Debug + Send + Sync {
    /// Waits for its turn, until then at most.
    ///
    /// # Errors
    /// [`Kind::Crowded`] or [`Kind::Paused`]; nothing was sent.
    fn enter(&self, urgency: Urgency, until: Instant) -> BoxFuture<'_, Result<Pass, OdooError>>;
}

/// How a request may wait: until when, and before whom.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    pub(crate) deadline: Option<Instant>,
    pub(crate) urgency: Urgency,
}

/// What an exchange tells. An error that Odoo itself wrote is a sign of life, whatever its status.
pub(crate) fn health(result: &Result<Incoming, OdooError>) -> Health {
    match result {
        Ok(answer) => match answer.status {
            429 | 503 => Health::Busy { retry_after_s: answer.retry_after_s },
            502 | 504 | 520..=526 => Health::Failing,
            500..=599 if !matches!(answer.body.trim_ascii_start().first(), Some(b'{')) => Health::Failing,
            _ => Health::Alive,
        },
        Err(error) => match &error.kind {
            Kind::Busy { retry_after_s } => Health::Busy { retry_after_s: *retry_after_s },
            Kind::TimedOut { .. } | Kind::Unreachable | Kind::TlsFailed | Kind::ConnectionLost | Kind::AnswerTooLarge => Health::Failing,
            _ => Health::Alive,
        },
    }
}
