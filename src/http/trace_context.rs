//! W3C trace context: which trace of the caller's a request belongs to, for the log only.
//!
//! An MCP client sends `traceparent` in the `_meta` of its request (SEP-414), any HTTP client in the header of that name. Both are written
//! by strangers: they are taken only if they are exactly of the form, and decide nothing. `tracestate` and `baggage` are not looked at:
//! they are for whoever hands the trace on, which nobody does here, and hold what their sender likes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::HeaderMap;
use tracing::Span;

const HEADER: &str = "traceparent";
/// `00-` trace (32) `-` parent (16) `-` flags (2).
const LENGTH_BYTES: usize = 55;

/// A `traceparent` of version 00 that is well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent<'a> {
    /// The trace, 32 lower-case hexadecimal digits.
    pub trace: &'a str,
    /// The caller's span, 16 lower-case hexadecimal digits.
    pub parent: &'a str,
}

impl<'a> TraceParent<'a> {
    /// Reads it; anything that is not exactly of the form is nothing.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        // The length first: `split` on a megabyte is a megabyte's work.
        if text.len() != LENGTH_BYTES {
            return None;
        }
        let mut parts = text.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length| text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let some = |text: &str| text.bytes().any(|b| b != b'0');
        let good = parts.next().is_none() && version == "00" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2) && some(trace) && some(parent);
        good.then_some(Self { trace, parent })
    }
}

/// A request's span, on which its trace is noted once.
#[derive(Clone, Debug)]
pub struct RequestTrace {
    span: Span,
    header: Option<Arc<str>>,
    noted: Arc<AtomicBool>,
}

impl RequestTrace {
    /// Of a request with that span and these headers.
    #[must_use]
    pub fn new(span: Span, headers: &HeaderMap) -> Self {
        Self { span, header: header(headers), noted: Arc::default() }
    }

    /// Notes the trace on the request's span: the one of the message's `_meta`, else the one of the header. A second note is ignored.
    pub fn note(&self, in_meta: Option<&str>) {
        if self.noted.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(found) = in_meta.and_then(TraceParent::parse).or_else(|| self.header.as_deref().and_then(TraceParent::parse)) {
            self.span.record("trace.id", found.trace);
            self.span.record("trace.parent", found.parent);
        }
    }
}

/// Two headers of the name contradict each other: then there is none.
fn header(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut all = headers.get_all(HEADER).iter();
    let (first, second) = (all.next()?, all.next());
    let text = first.to_str().ok()?;
    (second.is_none() && TraceParent::parse(text).is_some()).then(|| Arc::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_form_is_a_trace() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let found = TraceParent::parse(good).unwrap();
        assert_eq!((found.trace, found.parent), ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"));
        for bad in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e47é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn two_headers_are_none() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = HeaderMap::new();
        assert_eq!(header(&headers), None);
        headers.append(HEADER, good.parse().unwrap());
        assert_eq!(header(&headers).as_deref(), Some(good));
        headers.append(HEADER, good.parse().unwrap());
        assert_eq!(header(&headers), None);
    }
}
