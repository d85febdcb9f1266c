//! The log: calls as they end, and the history. For operators everybody's, for the people of a client its own. Never argument values.

use axum::body::Body;
use axum::extract::Query;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::filters::{Choice, Picked, address, day};
use crate::admin::cx::{Answer, tenant_path};
use crate::admin::error::PageError;
use crate::admin::forms::Faults;
use crate::admin::log_row::RowView;
use crate::admin::{Cx, live};
use crate::clock::{day_start, local_day};
use crate::domain::reports::{LOG_ROWS_PER_PAGE, LogFilter, LogPage, Reports};
use crate::domain::users::{Operator, TenantAccess, User};
use crate::ids::UsageId;
use crate::tools::TOOLS;

const PATH: &str = "/admin/logs";
const OUTCOMES: [&str; 4] = ["ok", "error", "refused", "cancelled"];
/// The longest value of a filter, characters.
const VALUE_CHARS_MAX: usize = 80;
/// A spreadsheet takes the file for UTF-8 by this.
const UTF_8: &str = "\u{feff}";

/// The filter, as it stands in the address.
#[derive(Deserialize, Serialize, Default)]
pub(super) struct LogQuery {
    /// Looked for in the rows on the page, by script.
    #[serde(default)]
    q: String,
    /// A client's id, name or RNC; for operators.
    #[serde(default)]
    cliente: String,
    #[serde(default)]
    herramienta: String,
    #[serde(default)]
    resultado: String,
    /// The beginning of a request id.
    #[serde(default)]
    solicitud: String,
    #[serde(default)]
    desde: String,
    #[serde(default)]
    hasta: String,
    /// Where a page of the history begins.
    #[serde(default)]
    after: String,
    /// The newest call on the page that opens a stream.
    #[serde(default)]
    visto: String,
}

#[derive(Serialize)]
struct View<'a> {
    base: &'a str,
    /// The client whose page it is; empty on the operator's.
    client_name: &'a str,
    client_href: String,
    /// Whether rows say whose they are.
    with_client: bool,
    query: &'a LogQuery,
    picked: Picked,
    tools: Vec<Choice>,
    outcomes: Vec<Choice>,
    filtered: bool,
    faults: Faults,
    rows: Vec<RowView<'a>>,
    stream: String,
    csv: String,
    history: String,
    /// Where the history begins with this filter.
    first: String,
    next: String,
    /// When not everything was looked at: back to when.
    searched_to: Option<String>,
}

/// Who looks, and where.
enum Viewer {
    Operator(Operator),
    Tenant(TenantAccess, String),
}

impl Viewer {
    async fn tenant(cx: &Cx, access: TenantAccess) -> Result<Self, PageError> {
        // For operators: there is a tenant of that id.
        let name = cx.state().reports.client_name(access.tenant()).await.map_err(PageError::internal)?.ok_or(PageError::NotFound)?;
        Ok(Self::Tenant(access, name))
    }

    fn user(&self) -> &User {
        match self {
            Self::Operator(operator) => operator.user(),
            Self::Tenant(access, _) => access.user(),
        }
    }

    fn base(&self) -> String {
        match self {
            Self::Operator(_) => PATH.to_owned(),
            Self::Tenant(access, _) => format!("{}/logs", tenant_path(access.tenant())),
        }
    }

    /// Whom the filter names: only an operator can name somebody.
    async fn picked(&self, cx: &Cx, query: &LogQuery) -> Result<Picked, PageError> {
        match self {
            Self::Operator(_) => Picked::find(cx, &query.cliente).await,
            Self::Tenant(access, name) => Ok(Picked { text: name.clone(), id: Some(access.tenant()), ..Picked::default() }),
        }
    }
}

pub(super) async fn live_all(cx: Cx, operator: Operator, Query(query): Query<LogQuery>, headers: HeaderMap) -> Answer {
    live_page(&cx, &Viewer::Operator(operator), &query, &headers).await
}

pub(super) async fn live_own(cx: Cx, access: TenantAccess, Query(query): Query<LogQuery>, headers: HeaderMap) -> Answer {
    live_page(&cx, &Viewer::tenant(&cx, access).await?, &query, &headers).await
}

pub(super) async fn history_all(cx: Cx, operator: Operator, Query(query): Query<LogQuery>) -> Answer {
    history(&cx, &Viewer::Operator(operator), &query).await
}

pub(super) async fn history_own(cx: Cx, access: TenantAccess, Query(query): Query<LogQuery>) -> Answer {
    history(&cx, &Viewer::tenant(&cx, access).await?, &query).await
}

pub(super) async fn csv_all(cx: Cx, operator: Operator, Query(query): Query<LogQuery>) -> Answer {
    csv(&cx, &Viewer::Operator(operator), &query).await
}

pub(super) async fn csv_own(cx: Cx, access: TenantAccess, Query(query): Query<LogQuery>) -> Answer {
    csv(&cx, &Viewer::tenant(&cx, access).await?, &query).await
}

impl LogQuery {
    /// What the live log and the history have in common.
    fn filter(&self, picked: &Picked) -> LogFilter {
        LogFilter { tenant: picked.id, tool: value(&self.herramienta), outcome: value(&self.resultado), ..LogFilter::default() }
    }

    /// The same with what only the history has, or what is wrong with it.
    fn history_filter(&self, cx: &Cx, picked: &Picked) -> Result<LogFilter, Faults> {
        let mut faults = Faults::default();
        let from = day(&self.desde).unwrap_or_else(|()| {
            faults.add(cx, "desde", "day");
            None
        });
        let to = day(&self.hasta).unwrap_or_else(|()| {
            faults.add(cx, "hasta", "day");
            None
        });
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            faults.add(cx, "hasta", "days_turned");
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let filter = self.filter(picked);
        let request_id = value(&self.solicitud).map(|id| id.to_lowercase());
        Ok(LogFilter { request_id, from: from.map(day_start), to: to.and_then(|to| to.succ_opt()).map(day_start), ..filter })
    }

    /// The address of a page with this filter.
    fn address(&self, path: &str, picked: &Picked, with_client: bool, more: &[(&str, &str)]) -> String {
        let client = if with_client { picked.id_text() } else { String::new() };
        let mut query = vec![("cliente", client.as_str()), ("herramienta", self.herramienta.as_str()), ("resultado", self.resultado.as_str())];
        query.extend_from_slice(more);
        address(path, &query)
    }

    fn history_address(&self, path: &str, picked: &Picked, with_client: bool, after: &str) -> String {
        self.address(path, picked, with_client, &[("solicitud", &self.solicitud), ("desde", &self.desde), ("hasta", &self.hasta), ("after", after)])
    }
}

fn value(text: &str) -> Option<String> {
    let text: String = text.trim().chars().take(VALUE_CHARS_MAX).collect();
    (!text.is_empty()).then_some(text)
}

async fn live_page(cx: &Cx, viewer: &Viewer, query: &LogQuery, headers: &HeaderMap) -> Answer {
    let picked = viewer.picked(cx, query).await?;
    let filter = query.filter(&picked);
    if live::wanted(headers) {
        if picked.is_open() {
            return Err(PageError::NotFound);
        }
        let watch = match viewer {
            Viewer::Operator(operator) => live::Watch::everybody(operator, filter),
            Viewer::Tenant(access, _) => live::Watch::tenant(access, filter),
        };
        return live::open(cx, viewer.user(), watch.seen(live::last_seen(headers).or_else(|| query.visto.parse::<UsageId>().ok())));
    }
    let page = read(&cx.state().reports, &picked, &filter, None).await?;
    let mut view = view(cx, viewer, query, picked, &page, Faults::default());
    // The newest call there is, whatever the filter hides: what is newer comes by the stream.
    let newest = page.rows.first().map(|row| row.id.to_string()).unwrap_or_default();
    let base = viewer.base();
    view.stream = if view.picked.is_open() { String::new() } else { query.address(&base, &view.picked, view.with_client, &[("visto", &newest)]) };
    view.base = &base;
    let mut response = cx.page("pages/logs.html", view)?;
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

async fn history(cx: &Cx, viewer: &Viewer, query: &LogQuery) -> Answer {
    let picked = viewer.picked(cx, query).await?;
    let after = Some(query.after.as_str()).filter(|after| !after.is_empty());
    let (page, faults) = match query.history_filter(cx, &picked) {
        Ok(filter) => (read(&cx.state().reports, &picked, &filter, after).await?, Faults::default()),
        Err(faults) => (nothing(), faults),
    };
    let base = viewer.base();
    let path = format!("{base}/history");
    let mut view = view(cx, viewer, query, picked, &page, faults);
    view.base = &base;
    view.filtered |= [&query.solicitud, &query.desde, &query.hasta].iter().any(|value| !value.is_empty());
    view.csv = query.history_address(&format!("{base}/csv"), &view.picked, view.with_client, "");
    view.first = query.history_address(&path, &view.picked, view.with_client, "");
    view.next = page.next.as_deref().map(|next| query.history_address(&path, &view.picked, view.with_client, next)).unwrap_or_default();
    cx.page("pages/logs_history.html", view)
}

/// A page of the log; nothing while it is open whose.
async fn read(reports: &Reports, picked: &Picked, filter: &LogFilter, after: Option<&str>) -> Result<LogPage, PageError> {
    if picked.is_open() { Ok(nothing()) } else { reports.log_page(filter, after, LOG_ROWS_PER_PAGE).await.map_err(PageError::internal) }
}

fn nothing() -> LogPage {
    LogPage { rows: Vec::new(), next: None, searched_to: None }
}

fn view<'a>(cx: &Cx, viewer: &'a Viewer, query: &'a LogQuery, mut picked: Picked, page: &'a LogPage, faults: Faults) -> View<'a> {
    let (client_name, client_href, with_client) = match viewer {
        Viewer::Operator(_) => ("", String::new(), true),
        Viewer::Tenant(access, name) => (name.as_str(), tenant_path(access.tenant()), false),
    };
    for choice in &mut picked.several {
        let one = Picked { id: choice.value.parse().ok(), ..Picked::default() };
        choice.value = query.history_address("", &one, true, "");
    }
    let tools = TOOLS.iter().map(|tool| Choice { value: tool.facts().name.to_owned(), text: tool.facts().name.to_owned() });
    let outcomes = OUTCOMES.map(|outcome| Choice { value: outcome.to_owned(), text: cx.t(&format!("portal.log.outcomes.{outcome}")) });
    let any = |key: &str| Choice { value: String::new(), text: cx.t(key) };
    View {
        base: PATH,
        client_name,
        client_href,
        with_client,
        query,
        tools: std::iter::once(any("portal.log.all_tools")).chain(tools).collect(),
        outcomes: std::iter::once(any("portal.log.all_outcomes")).chain(outcomes).collect(),
        filtered: [&query.herramienta, &query.resultado].iter().any(|value| !value.is_empty()) || (with_client && !picked.text.is_empty()),
        picked,
        faults,
        rows: page.rows.iter().map(|row| RowView::of_log(row, with_client)).collect(),
        stream: String::new(),
        csv: String::new(),
        history: format!("{}/history", viewer.base()),
        first: String::new(),
        next: String::new(),
        searched_to: page.searched_to.filter(|_| (page.rows.len() as u64) < LOG_ROWS_PER_PAGE).map(|at| at.to_rfc3339()),
    }
}

async fn csv(cx: &Cx, viewer: &Viewer, query: &LogQuery) -> Answer {
    let picked = viewer.picked(cx, query).await?;
    if picked.is_open() {
        return Err(PageError::NotFound);
    }
    let filter = query.history_filter(cx, &picked).map_err(|_| PageError::BadForm)?;
    let lines = cx.state().reports.log_csv(filter).map_ok(Bytes::from).inspect_err(|error| tracing::error!(%error, "a download of the log broke off"));
    let begin = stream::once(async { Ok(Bytes::from_static(UTF_8.as_bytes())) });
    Ok(file(cx, "registros", Body::from_stream(begin.chain(lines))))
}

/// A file of comma-separated values to be saved, under that name and today's date.
pub(super) fn file(cx: &Cx, name: &str, body: Body) -> Response {
    let disposition = format!("attachment; filename=\"dunet-{name}-{}.csv\"", local_day(cx.state().clock.now()));
    let mut response = ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], body).into_response();
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

/// The same out of lines that are there.
pub(super) fn file_of(cx: &Cx, name: &str, lines: &str) -> Response {
    file(cx, name, Body::from(format!("{UTF_8}{lines}")))
}
