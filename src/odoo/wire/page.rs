//! What an HTTP answer means that is not Odoo's own: statuses of proxies, redirects, web pages, answers that break
//! off. An error that Odoo itself wrote never comes here, whatever its status: the wires read that first.

use super::super::classify::Subject;
use super::super::clean::html_text;
use super::super::config::Protocol;
use super::super::error::{OdooError, OdooErrorKind as Kind};
use super::limits::DecodeError;

/// One answer, read whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incoming {
    pub(crate) status: u16,
    pub(crate) retry_after_s: Option<u64>,
    /// Host (and port) of a `Location` header, else its first characters.
    pub(crate) location: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// The error of an answer that is not Odoo's own, because its body is not of the wire's format.
pub(crate) fn foreign(answer: &Incoming, wire: Option<Protocol>, why: &DecodeError, subject: &Subject<'_>, online: bool) -> OdooError {
    let error = by_status(answer).unwrap_or_else(|| unreadable(answer, wire, why, subject, online));
    if !subject.writes || error.outcome_unknown() || refused_before(answer.status) {
        return error;
    }
    OdooError::new(
        Kind::ConnectionLost,
        "What came back is not an answer of Odoo: it may have done what it was asked",
        format!("{:?}: {}; {}", error.kind, error.message, error.cause),
    )
}

/// Whether whoever answered this, in front of Odoo, cannot have handed the request on.
///
/// A redirect and a 4xx say that the request was not taken (429 among them: who counts requests does so before
/// it passes them on), except where somebody gave up waiting (408, 460, 499) or speaks of a state that Odoo would
/// be in (409). Of the 5xx only Cloudflare's own count: 521 and 523 (nothing was connected to), 525 and 526 (no
/// TLS). 522 does not: it also means that a request that was sent was not acknowledged. Nor does 503, even with
/// `Retry-After`: Varnish, for one, writes `Retry-After: 5` on the page it shows when its server broke off in
/// the middle. It says when to come back, not that nothing was done.
fn refused_before(status: u16) -> bool {
    match status {
        408 | 409 | 460 | 499 => false,
        300..=499 | 521 | 523 | 525 | 526 => true,
        _ => false,
    }
}

/// Statuses that mean the same on every wire. `None`: look at the body.
fn by_status(answer: &Incoming) -> Option<OdooError> {
    let error = |kind, message: &str| Some(OdooError::new(kind, message, cause(answer)));
    match answer.status {
        300..=399 => {
            let target = answer.location.as_deref().unwrap_or("nowhere");
            error(Kind::NotOdoo, &format!("The address redirects to {target}; give the final address of the Odoo server"))
        }
        429 | 503 => error(Kind::Busy { retry_after_s: answer.retry_after_s }, "Odoo (or the proxy in front of it) asks to slow down"),
        // A proxy that lost its Odoo in the middle of a request says 502 as well: nobody knows what was done.
        502 | 520 => error(Kind::ConnectionLost, "The proxy in front of Odoo got no usable answer from it"),
        504 | 524 => error(Kind::TimedOut { sent: true }, "Odoo did not answer the proxy in front of it in time"),
        521..=523 => error(Kind::Unreachable, "The proxy in front of Odoo does not reach it"),
        525 | 526 => error(Kind::TlsFailed, "The proxy in front of Odoo cannot agree on TLS with it"),
        413 => error(Kind::BadArguments, "The request is larger than the server accepts"),
        402 => error(Kind::ApiNotInPlan, "The subscription of this Odoo does not include the external API"),
        _ => None,
    }
}

/// An answer whose body is not of the wire's format, and whose status alone does not say why.
fn unreadable(answer: &Incoming, wire: Option<Protocol>, why: &DecodeError, subject: &Subject<'_>, online: bool) -> OdooError {
    let error = |kind, message: String| OdooError::new(kind, message, format!("{why}; {}", cause(answer)));
    if let DecodeError::TooDeep(_) | DecodeError::TooManyValues(_) = why {
        return error(Kind::AnswerTooLarge, "The answer holds more than this client reads".to_owned());
    }
    if let (200, DecodeError::Refused(what)) = (answer.status, why) {
        return error(Kind::NotOdoo, format!("The answer holds {what}, which Odoo never sends"));
    }
    match answer.status {
        // The right beginning and no end: it was cut on its way, or the server died while it wrote.
        200 if begins_like(&answer.body, wire) => error(Kind::ConnectionLost, "The answer came incomplete".to_owned()),
        200 => error(Kind::NotOdoo, "Something answers at this address, but it is not an Odoo".to_owned()),
        401 => error(Kind::AccessDenied, "A proxy in front of Odoo asks for a login of its own".to_owned()),
        403 if online => error(Kind::ApiNotInPlan, "This Odoo Online does not let the external API in; its plan may not include it".to_owned()),
        403 => error(Kind::AccessDenied, "A proxy or firewall in front of Odoo refuses the request".to_owned()),
        404 if wire == Some(Protocol::Json2) && contains(&answer.body, b"No database is selected") => {
            error(Kind::DatabaseNotFound, format!("There is no database \"{}\" on this server (or it cannot reach it now)", subject.database))
        }
        404 if wire.is_some() && online => error(Kind::ApiNotInPlan, "This Odoo Online does not serve the external API; its plan may not include it".to_owned()),
        404 | 405 if wire.is_some() => error(Kind::VersionNotSupported, "This server does not serve the chosen protocol".to_owned()),
        400 | 415 | 422 if wire.is_some() => error(Kind::BadArguments, "The server does not understand the request".to_owned()),
        500..=599 => error(Kind::ServerFault, "Odoo failed inside".to_owned()),
        status => error(Kind::NotOdoo, format!("Something answers at this address (status {status}), but it is not an Odoo")),
    }
}

fn begins_like(body: &[u8], wire: Option<Protocol>) -> bool {
    let body = body.trim_ascii_start();
    match wire {
        Some(Protocol::XmlRpc) => body.is_empty() || body.starts_with(b"<?xml") || body.starts_with(b"<methodResponse"),
        Some(Protocol::Json2 | Protocol::JsonRpc) => matches!(body.first(), None | Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n')),
        None => false,
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).take(4_096).any(|window| window == needle)
}

/// For the log: the status and the beginning of the body, without tags.
fn cause(answer: &Incoming) -> String {
    let head = &answer.body[..answer.body.len().min(4_000)];
    format!("HTTP {} {}", answer.status, html_text(&String::from_utf8_lossy(head)))
}
