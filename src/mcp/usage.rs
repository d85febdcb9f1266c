//! Usage: opens the record of a request, closes it whatever comes of it, and hands it over without waiting.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::json_rpc;
use crate::clock::instant;
use crate::domain::usage::{OpenRecord, UsageRecord, UsageSink};
use crate::http::middleware::{Middleware, Next};
use crate::metrics::{Metrics, ToolCall};

/// Puts an [`OpenRecord`] into the request and closes it afterwards.
pub(super) struct Metering {
    sink: UsageSink,
    metrics: Metrics,
}

impl Metering {
    /// Hands records over to that sink, and counts them.
    pub(super) fn new(sink: UsageSink, metrics: Metrics) -> Self {
        Self { sink, metrics }
    }
}

impl Middleware for Metering {
    async fn handle(&self, mut request: Request, next: impl Next) -> Response {
        let record = OpenRecord::default();
        request.extensions_mut().insert(record.clone());
        let open = self.sink.open_request();
        let _in_flight = self.metrics.in_flight();
        // Closed on drop, so that a call whose client hangs up is recorded too.
        let _closing = Closing { record, metering: self, span: tracing::Span::current(), began: instant() };
        tokio::select! {
            response = next.run(request) => response,
            () = open.cut() => json_rpc::error(StatusCode::SERVICE_UNAVAILABLE, &Value::Null, json_rpc::UNAVAILABLE, "the service is stopping: try again in a moment", None),
        }
    }
}

struct Closing<'a> {
    record: OpenRecord,
    metering: &'a Metering,
    /// Who hangs up drops this outside of any span.
    span: tracing::Span,
    began: tokio::time::Instant,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
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
            self.metering.metrics.tool_call(&counted(&record));
            self.metering.sink.record(&record);
        }
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
