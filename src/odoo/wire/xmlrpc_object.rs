//! Odoo's use of XML-RPC (`/xmlrpc/2/common`, `/xmlrpc/2/object`), until Odoo 22.

use super::super::classify::{Subject, fault, in_plan, is_cannot_marshal};
use super::super::config::Protocol;
use super::super::error::OdooError;
use super::call::{Call, Outgoing};
use super::limits::DecodeLimits;
use super::page::{Incoming, foreign};
use super::xmlrpc::{decode_answer, encode_call};
use serde_json::Value;

/// What came back of an `execute_kw`.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Value(Value),
    /// The method ran and was committed; Odoo could not write its result (None, records) as XML.
    Unwritable,
}

/// A call of the service `common`.
pub(crate) fn common(method: &str, params: &[Value]) -> Outgoing {
    outgoing("xmlrpc/2/common", method, params)
}

/// `execute_kw` of the service `object`.
pub(crate) fn request(call: &Call<'_>, database: &str, uid: i64, secret: &str) -> Outgoing {
    outgoing("xmlrpc/2/object", "execute_kw", &call.execute_kw(database, uid, secret))
}

fn outgoing(path: &str, method: &str, params: &[Value]) -> Outgoing {
    Outgoing { path: path.to_owned(), content_type: "text/xml; charset=utf-8", body: encode_call(method, params), in_headers: false }
}

pub(crate) fn answer(answer: &Incoming, limits: &DecodeLimits, subject: &Subject<'_>, online: bool) -> Result<Outcome, OdooError> {
    match decode_answer(&answer.body, limits) {
        Ok(Ok(value)) => Ok(Outcome::Value(value)),
        Ok(Err(found)) if is_cannot_marshal(found.code, &found.text) => Ok(Outcome::Unwritable),
        Ok(Err(found)) => Err(in_plan(fault(found.code, &found.text, subject), &found.text, online)),
        Err(why) => Err(foreign(answer, Some(Protocol::XmlRpc), &why, subject, online)),
    }
}
