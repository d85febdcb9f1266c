//! Usage: opens the record of a request, closes it whatever comes of it, and hands it over without waiting.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use serde_json::Value;

use super::json_rpc;
use crate::clock::instant;
use crate::domain::usage::{OpenRecord, UsageRecord, UsageSink};
use crate::metrics::{Metrics, ToolCall};

/// Puts an [`OpenRecord`] into the request and closes it afterwards.
pub(super) async fn layer(State((sink, metrics)): State<(UsageSink, Metrics)>, mut request: Request, next: Next) -> Response {
    let record = OpenRecord::default();
    request.extensions_mut().insert(record.clone());
    let open = sink.open_request();
    let _in_flight = metrics.in_flight();
    // Closed on drop, so that a call whose client hangs up is recorded too.
    let _closing = Closing { record, sink, metrics, span: tracing::Span::current(), began: instant() };
    tokio::select! {
        response = next.run(request) => response,
        () = open.cut() => json_rpc::error(StatusCode::SERVICE_UNAVAILABLE, &Value::Null, json_rpc::UNAVAILABLE, "the service is stopping: try again in a moment", None),
    }
}

struct Closing {
    record: OpenRecord,
    sink: UsageSink,
    metrics: Metrics,
    /// Who hangs up drops this outside of any span.
    span: tracing::Span,
    began: tokio::time::Instant,
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(mut record) = self.record.close() {
            let _inside = self.span.enter();
            record.total_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
            tracing::info!(
                tenant.id = %record.tenant,
                tool.name = record.tool,
                outcome = record.outcome.as_str(),
                error.code = record.error_code,
                total_us = record.total_us,
                odoo_us = record.odoo_us,
                odoo_requests = record.odoo_requests,
                request.id = %record.request_id,
                "tool call"
            );
            self.metrics.tool_call(&counted(&record));
            self.sink.record(&record);
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
