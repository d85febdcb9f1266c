//! A call as a row of the log: `partials/log_row.html`, the same in pages and in streams.

use serde::Serialize;

use super::cx::tenant_path;
use crate::domain::reports::LogRow;
use crate::domain::usage::LiveCall;
use crate::ids::TenantId;
use crate::tools::error::Code;

/// Characters of a request id that are shown; the whole of it is copied.
const ID_CHARS_SHOWN: usize = 8;

/// What the row shows.
#[derive(Serialize)]
pub(super) struct RowView<'a> {
    id: String,
    at: String,
    /// Where the page shows the calls of many; the name is empty for a client that was removed.
    client: Option<ClientView<'a>>,
    tool: &'a str,
    outcome: &'a str,
    /// How the outcome looks.
    kind: &'static str,
    /// How it is called: `portal.log.outcomes.<word>`.
    word: &'a str,
    error_code: &'a str,
    total_ms: f64,
    /// None when Odoo was not asked.
    odoo_ms: Option<f64>,
    agent: &'a str,
    request_id: &'a str,
    request_id_shown: &'a str,
}

#[derive(Serialize)]
struct ClientView<'a> {
    name: &'a str,
    href: String,
}

impl<'a> RowView<'a> {
    /// Of a call in the log. Whose it is stands in it where `with_client`.
    pub(super) fn of_log(row: &'a LogRow, with_client: bool) -> Self {
        Self {
            id: row.id.to_string(),
            at: row.started_at.to_rfc3339(),
            client: with_client.then(|| client(row.tenant, row.client.as_deref().unwrap_or_default())),
            tool: &row.tool,
            outcome: &row.outcome,
            kind: kind(&row.outcome, answered(row.error_code.as_deref())),
            word: word(&row.outcome, answered(row.error_code.as_deref())),
            error_code: row.error_code.as_deref().unwrap_or_default(),
            total_ms: row.total_us as f64 / 1_000.0,
            odoo_ms: (row.odoo_requests > 0).then_some(row.odoo_us as f64 / 1_000.0),
            agent: row.agent.as_deref().unwrap_or_default(),
            request_id: &row.request_id,
            request_id_shown: shown(&row.request_id),
        }
    }

    /// Of a call that just ended; with its client's name where the page shows the calls of many.
    pub(super) fn of_live(call: &'a LiveCall, name: Option<&'a str>) -> Self {
        Self {
            id: call.id.to_string(),
            at: call.started_at.to_rfc3339(),
            client: name.map(|name| client(call.tenant, name)),
            tool: &call.tool,
            outcome: &call.outcome,
            kind: kind(&call.outcome, answered(call.error_code.as_deref())),
            word: word(&call.outcome, answered(call.error_code.as_deref())),
            error_code: call.error_code.as_deref().unwrap_or_default(),
            total_ms: call.total_us as f64 / 1_000.0,
            odoo_ms: (call.odoo_us > 0).then_some(call.odoo_us as f64 / 1_000.0),
            agent: call.agent.as_deref().unwrap_or_default(),
            request_id: &call.request_id,
            request_id_shown: shown(&call.request_id),
        }
    }
}

fn client(tenant: TenantId, name: &str) -> ClientView<'_> {
    ClientView { name, href: tenant_path(tenant) }
}

fn shown(request_id: &str) -> &str {
    request_id.char_indices().nth(ID_CHARS_SHOWN).map_or(request_id, |(end, _)| &request_id[..end])
}

/// Whether the error is an ordinary answer to what was asked.
fn answered(error_code: Option<&str>) -> bool {
    error_code.is_some_and(|text| Code::ANSWERS.iter().any(|code| code.as_str() == text))
}

fn kind(outcome: &str, answered: bool) -> &'static str {
    match outcome {
        "ok" => "ok",
        "error" if !answered => "bad",
        "error" | "refused" => "warn",
        _ => "off",
    }
}

fn word(outcome: &str, answered: bool) -> &str {
    if outcome == "error" && answered { "notice" } else { outcome }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_found_is_no_fault() {
        let look = |outcome, code| (kind(outcome, answered(code)), word(outcome, answered(code)));
        assert_eq!(look("error", Some("no_encontrado")), ("warn", "notice"));
        assert_eq!(look("error", Some("odoo_caido")), ("bad", "error"));
        assert_eq!(look("refused", Some("limite_herramienta")), ("warn", "refused"));
        assert_eq!(look("ok", None), ("ok", "ok"));
    }
}
