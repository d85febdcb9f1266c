//! What a failed request means: from the errors of the HTTP client to error kinds.

use super::address::RefusedAddress;
use super::error::{OdooError, OdooErrorKind as Kind};
use std::error::Error as StdError;
use url::Url;

/// Why a request gave no whole answer, and how far it had come.
pub(super) struct Failure {
    pub(super) error: OdooError,
    /// Nothing of an answer had arrived.
    pub(super) before_answer: bool,
    /// Whether anything of the request had been sent.
    pub(super) sent: bool,
}

impl Failure {
    pub(super) fn new(error: OdooError, before_answer: bool) -> Self {
        Self { error, before_answer, sent: true }
    }

    pub(super) fn into_error(self) -> OdooError {
        // What was never sent has no unknown outcome.
        if !self.sent && self.error.kind == Kind::ConnectionLost {
            return OdooError { kind: Kind::Unreachable, ..self.error };
        }
        self.error
    }
}

pub(super) fn timed_out(sent: bool) -> OdooError {
    let message = if sent { "Odoo did not answer in time" } else { "There was no time left to ask Odoo" };
    OdooError::new(Kind::TimedOut { sent }, message, "")
}

/// Why `send` gave no response.
pub(super) fn send_error(error: &reqwest::Error, sent: bool) -> OdooError {
    let why = chain(error);
    if let Some(refused) = find::<RefusedAddress>(error) {
        return OdooError::new(Kind::AddressRefused, "The name leads to a private or reserved network", refused.to_string());
    }
    if error.is_connect() && error.is_timeout() {
        return OdooError::new(Kind::TimedOut { sent: false }, "The server does not take the connection in time", why);
    }
    // Once something was sent, a failure of TLS is a connection that broke.
    if !sent && find::<rustls::Error>(error).is_some() {
        return OdooError::new(Kind::TlsFailed, "TLS with the server failed (certificate or protocol)", why);
    }
    if error.is_connect() {
        return OdooError::new(Kind::Unreachable, "The server cannot be reached (name, port or network)", why);
    }
    if error.is_timeout() {
        return OdooError { cause: why, ..timed_out(sent) };
    }
    if error.is_builder() {
        return OdooError::new(Kind::BadArguments, "The request cannot be built", why);
    }
    OdooError::new(Kind::ConnectionLost, "The connection broke before an answer came", why)
}

/// Finds an error of a type in the chain, also inside an `io::Error`, which does not show its inner error as a source.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut current = Some(error);
    while let Some(here) = current {
        if let Some(found) = here.downcast_ref::<E>() {
            return Some(found);
        }
        let inside = here.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = inside.and_then(|inner| find::<E>(inner)) {
            return Some(found);
        }
        current = here.source();
    }
    None
}

pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut current = error.source();
    while let Some(here) = current {
        text.push_str(": ");
        text.push_str(&here.to_string());
        current = here.source();
    }
    text
}

/// Where a redirect leads: scheme and host, never a path or a query (they may hold tokens).
pub(super) fn target(from: &Url, location: &str) -> String {
    match from.join(location) {
        Ok(url) => {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
        }
        Err(_) => "an address that is not one".to_owned(),
    }
}
