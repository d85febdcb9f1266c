//! Usage: opens the record of a request, closes it whatever comes of it, and hands it over without waiting.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::Value;

use super::json_rpc;
use crate::clock::instant;
use crate::domain::usage::{OpenRecord, OpenRequest, UsageRecord, UsageSink};
use crate::http::middleware::{Middleware, Next};
use crate::metrics::{Metrics, ToolCall};

const EVENT_STREAM: &str = "text/event-stream";

/// Puts an [`OpenRecord`] into the request and closes it afterwards.
pub(super) struct Metering {
    books: Arc<Books>,
}

/// Where records go.
struct Books {
    sink: UsageSink,
    metrics: Metrics,
}

impl Metering {
    /// Hands records over to that sink, and counts them.
    pub(super) fn new(sink: UsageSink, metrics: Metrics) -> Self {
        Self { books: Arc::new(Books { sink, metrics }) }
    }
}

impl Middleware for Metering {
    async fn handle(&self, mut request: Request, next: impl Next) -> Response {
        let record = OpenRecord::default();
        let metered = Metered(Arc::new(Closing {
            record: record.clone(),
            books: Arc::clone(&self.books),
            span: tracing::Span::current(),
            began: instant(),
            open: self.books.sink.open_request(),
        }));
        request.extensions_mut().insert(record);
        request.extensions_mut().insert(metered.clone());
        let _in_flight = self.books.metrics.in_flight();
        let response = tokio::select! {
            response = next.run(request) => response,
            () = metered.0.open.cut() => json_rpc::error(StatusCode::SERVICE_UNAVAILABLE, &Value::Null, json_rpc::UNAVAILABLE, "the service is stopping: try again in a moment", None),
        };
        // An event stream has only begun: its call is closed by who ends it.
        if response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind != EVENT_STREAM) {
            metered.close();
        }
        response
    }
}

/// The open record of a request, for who knows that its call has ended. Closed at the latest when nobody holds it any more, so that a call whose
/// client hangs up is recorded too.
#[derive(Clone)]
pub(super) struct Metered(Arc<Closing>);

impl Metered {
    /// The call has ended: its record goes into the journal before its answer leaves. A second time does nothing.
    pub(super) fn close(&self) {
        self.0.close();
    }
}

struct Closing {
    record: OpenRecord,
    books: Arc<Books>,
    /// Who hangs up drops this outside of any span.
    span: tracing::Span,
    began: tokio::time::Instant,
    open: OpenRequest,
}

impl Closing {
    fn close(&self) {
        if let Some(mut record) = self.record.close() {
            let _inside = self.span.enter();
            record.total_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
            // Whose it was and its id are the span's.
            tracing::info!(
                tool.name = record.tool,
                outcome = record.outcome.as_str(),
                error.code = record.error_code,
                total_us = record.total_us,
                odoo_us = record.odoo_us,
                odoo_requests = record.odoo_requests,
                "tool call"
            );
            self.books.metrics.tool_call(&counted(&record));
            self.books.sink.record(&record);
        }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.close();
    }
}

fn counted(record: &UsageRecord) -> ToolCall {
    ToolCall {
        tool: record.tool,
        outcome: record.outcome.as_str(),
        error_code: record.error_code,
        total_us: record.total_us,
        odoo_us: record.odoo_us,
        odoo_requests: record.odoo_requests,
    }
}
