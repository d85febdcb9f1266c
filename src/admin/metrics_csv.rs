//! The tables of the metrics as files for a spreadsheet.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::reports::{MetricsReport, Quantiles, csv_line};

/// The head of the file of tools.
const TOOLS_HEAD: &str = "tool calls ok failed refused cancelled error_percent mean_ms p50_ms p95_ms odoo_mean_ms odoo_p50_ms odoo_p95_ms own_mean_ms own_p50_ms own_p95_ms";

/// A table of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum MetricsTable {
    /// By tool.
    Tools,
    /// By tool and error.
    Errors,
    /// By day.
    Days,
    /// By client; empty for one client.
    Clients,
}

impl MetricsTable {
    /// In the file's name.
    pub(super) fn file_name(self) -> &'static str {
        match self {
            Self::Tools => "herramientas",
            Self::Errors => "errores",
            Self::Days => "dias",
            Self::Clients => "clientes",
        }
    }
}

/// Its lines, head first.
pub(super) fn metrics_csv(table: MetricsTable, report: &MetricsReport) -> String {
    match table {
        MetricsTable::Tools => tools_csv(report),
        MetricsTable::Errors => errors_csv(report),
        MetricsTable::Days => days_csv(report),
        MetricsTable::Clients => clients_csv(report),
    }
}

fn text(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn tools_csv(report: &MetricsReport) -> String {
    let times = |times: &Quantiles| [text(times.mean_ms), text(times.p50_ms), text(times.p95_ms)];
    let mut lines = csv_line(TOOLS_HEAD.split(' '));
    for tool in &report.tools {
        let counts = [tool.calls, tool.ok, tool.failed, tool.refused, tool.cancelled].map(|count| count.to_string());
        let mut cells = vec![tool.tool.clone()];
        cells.extend(counts);
        cells.push(text(tool.error_rate));
        cells.extend([&tool.times.total, &tool.times.odoo, &tool.times.own].into_iter().flat_map(times));
        lines.push_str(&csv_line(cells));
    }
    lines
}

fn errors_csv(report: &MetricsReport) -> String {
    let head = csv_line(["tool", "error_code", "calls"]);
    let lines = report.errors.iter().map(|error| csv_line([&error.tool, &error.error_code, &error.calls.to_string()]));
    std::iter::once(head).chain(lines).collect()
}

fn days_csv(report: &MetricsReport) -> String {
    let head = csv_line(["day", "calls", "failed"]);
    let lines = report.days.iter().map(|day| csv_line([day.day.to_string(), day.calls.to_string(), day.failed.to_string()]));
    std::iter::once(head).chain(lines).collect()
}

fn clients_csv(report: &MetricsReport) -> String {
    let head = csv_line(["client", "client_id", "calls", "failed", "error_percent"]);
    let lines =
        report.clients.iter().map(|client| csv_line([client.name.clone(), client.id.to_string(), client.calls.to_string(), client.failed.to_string(), text(client.error_rate)]));
    std::iter::once(head).chain(lines).collect()
}
