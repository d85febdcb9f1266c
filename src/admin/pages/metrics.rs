//! Metrics: tools, errors, times, the week's hours and clients over any range of days. For operators everybody's, for the people of a client its own.

use axum::extract::Query;
use serde::{Deserialize, Serialize};

use super::filters::{Days, Picked, RANGES, address};
use super::logs::file_of;
use crate::admin::Cx;
use crate::admin::cx::{Answer, tenant_path};
use crate::admin::error::PageError;
use crate::admin::metrics_csv::{MetricsTable, metrics_csv};
use crate::domain::reports::{ClientCalls, DayCalls, ErrorCalls, HeatMap, MetricsReport, Times, ToolCalls};
use crate::domain::users::{Operator, TenantAccess};

const PATH: &str = "/admin/metrics";
/// Shades of the heat map, besides none.
const SHADES: i64 = 8;
/// Columns by which tools can be sorted.
const SORTS: [&str; 5] = ["llamadas", "errores", "media", "p95", "odoo"];

#[derive(Deserialize)]
pub(super) struct MetricsQuery {
    #[serde(default)]
    rango: String,
    #[serde(default)]
    desde: String,
    #[serde(default)]
    hasta: String,
    /// A client's id, name or RNC; for operators.
    #[serde(default)]
    cliente: String,
    /// The column by which tools are sorted.
    #[serde(default)]
    orden: String,
    /// Which table a file is of.
    #[serde(default)]
    tabla: String,
}

#[derive(Serialize)]
struct View<'a> {
    base: &'a str,
    client_name: &'a str,
    client_href: String,
    with_client: bool,
    picked: Picked,
    ranges: Vec<Range>,
    from: String,
    to: String,
    /// None while it is open whose numbers are wanted.
    report: Option<Report<'a>>,
}

#[derive(Serialize)]
struct Report<'a> {
    calls: i64,
    error_rate: Option<f64>,
    times: &'a Times,
    tools: Vec<Tool<'a>>,
    sorts: Vec<Sort>,
    errors: &'a [ErrorCalls],
    days: &'a [DayCalls],
    heat: Vec<Weekday>,
    clients: Vec<Client<'a>>,
    /// Addresses of the files.
    csv_tools: String,
    csv_errors: String,
    csv_days: String,
    csv_clients: String,
}

#[derive(Serialize)]
struct Range {
    href: String,
    text: String,
    current: bool,
}

#[derive(Serialize)]
struct Sort {
    key: &'static str,
    href: String,
    current: bool,
}

#[derive(Serialize)]
struct Tool<'a> {
    calls: &'a ToolCalls,
    /// Of all calls, per cent.
    share: i64,
}

#[derive(Serialize)]
struct Client<'a> {
    calls: &'a ClientCalls,
    href: String,
    share: i64,
}

#[derive(Serialize)]
struct Weekday {
    name: String,
    hours: Vec<Hour>,
}

#[derive(Serialize)]
struct Hour {
    calls: i64,
    shade: i64,
}

/// Whose numbers, and where.
struct Scope {
    base: String,
    client_name: String,
    client_href: String,
    /// Whether it is the operator's page.
    with_client: bool,
    picked: Picked,
}

impl Scope {
    async fn all(cx: &Cx, _: &Operator, query: &MetricsQuery) -> Result<Self, PageError> {
        let picked = Picked::find(cx, &query.cliente).await?;
        Ok(Self { base: PATH.to_owned(), client_name: String::new(), client_href: String::new(), with_client: true, picked })
    }

    async fn own(cx: &Cx, access: &TenantAccess) -> Result<Self, PageError> {
        let name = cx.state().reports.client_name(access.tenant()).await.map_err(PageError::internal)?.ok_or(PageError::NotFound)?;
        let href = tenant_path(access.tenant());
        let picked = Picked { text: name.clone(), id: Some(access.tenant()), ..Picked::default() };
        Ok(Self { base: format!("{href}/metrics"), client_name: name, client_href: href, with_client: false, picked })
    }
}

pub(super) async fn show_all(cx: Cx, operator: Operator, Query(query): Query<MetricsQuery>) -> Answer {
    let scope = Scope::all(&cx, &operator, &query).await?;
    show(&cx, scope, &query).await
}

pub(super) async fn show_own(cx: Cx, access: TenantAccess, Query(query): Query<MetricsQuery>) -> Answer {
    let scope = Scope::own(&cx, &access).await?;
    show(&cx, scope, &query).await
}

pub(super) async fn csv_all(cx: Cx, operator: Operator, Query(query): Query<MetricsQuery>) -> Answer {
    let scope = Scope::all(&cx, &operator, &query).await?;
    csv(&cx, &scope, &query).await
}

pub(super) async fn csv_own(cx: Cx, access: TenantAccess, Query(query): Query<MetricsQuery>) -> Answer {
    let scope = Scope::own(&cx, &access).await?;
    csv(&cx, &scope, &query).await
}

impl MetricsQuery {
    fn days(&self) -> Days {
        Days { rango: self.rango.clone(), desde: self.desde.clone(), hasta: self.hasta.clone() }
    }

    fn sort(&self) -> &'static str {
        SORTS.into_iter().find(|sort| *sort == self.orden).unwrap_or(SORTS[0])
    }

    /// The same range and client at another address.
    fn address(&self, path: &str, scope: &Scope, more: &[(&str, &str)]) -> String {
        let client = if scope.with_client { scope.picked.id_text() } else { String::new() };
        let mut query = vec![("rango", self.rango.as_str()), ("desde", self.desde.as_str()), ("hasta", self.hasta.as_str()), ("cliente", client.as_str())];
        query.extend_from_slice(more);
        address(path, &query)
    }
}

async fn show(cx: &Cx, mut scope: Scope, query: &MetricsQuery) -> Answer {
    let state = cx.state();
    let (range, usual) = query.days().range(state.clock.now());
    let report = if scope.picked.is_open() { None } else { Some(state.reports.metrics(range, scope.picked.id).await.map_err(PageError::internal)?) };
    let client = if scope.with_client { scope.picked.id_text() } else { String::new() };
    let ranges = RANGES.map(|name| Range {
        href: address(&scope.base, &[("rango", name), ("cliente", &client)]),
        text: cx.t(&format!("portal.metrics.ranges.{name}")),
        current: name == usual,
    });
    let report = report.as_ref().map(|report| shown(cx, report, &scope, query));
    for choice in &mut scope.picked.several {
        choice.value = address("", &[("rango", &query.rango), ("desde", &query.desde), ("hasta", &query.hasta), ("cliente", &choice.value)]);
    }
    let view = View {
        base: &scope.base,
        client_name: &scope.client_name,
        client_href: scope.client_href.clone(),
        with_client: scope.with_client,
        picked: scope.picked,
        ranges: ranges.into(),
        from: range.from().to_string(),
        to: range.to().to_string(),
        report,
    };
    cx.page("pages/metrics.html", view)
}

fn shown<'a>(cx: &Cx, report: &'a MetricsReport, scope: &Scope, query: &MetricsQuery) -> Report<'a> {
    let sort = query.sort();
    let mut tools: Vec<&ToolCalls> = report.tools.iter().collect();
    tools.sort_by(|a, b| sort_key(b, sort).total_cmp(&sort_key(a, sort)));
    let share = |calls: i64| if report.calls > 0 { calls * 100 / report.calls } else { 0 };
    let table = |name: &str| query.address(&format!("{}/csv", scope.base), scope, &[("tabla", name)]);
    Report {
        calls: report.calls,
        error_rate: report.error_rate,
        times: &report.times,
        tools: tools.into_iter().map(|calls| Tool { calls, share: share(calls.calls) }).collect(),
        sorts: SORTS.map(|key| Sort { key, href: query.address(&scope.base, scope, &[("orden", key)]), current: key == sort }).into(),
        errors: &report.errors,
        days: &report.days,
        heat: heat(cx, &report.heat),
        clients: report.clients.iter().map(|calls| Client { calls, href: format!("{}/metrics", tenant_path(calls.id)), share: share(calls.calls) }).collect(),
        csv_tools: table("herramientas"),
        csv_errors: table("errores"),
        csv_days: table("dias"),
        csv_clients: table("clientes"),
    }
}

fn sort_key(tool: &ToolCalls, sort: &str) -> f64 {
    let of = |value: Option<f64>| value.unwrap_or(-1.0);
    match sort {
        "errores" => of(tool.error_rate),
        "media" => of(tool.times.total.mean_ms),
        "p95" => of(tool.times.total.p95_ms),
        "odoo" => of(tool.times.odoo.p95_ms),
        _ => tool.calls as f64,
    }
}

fn heat(cx: &Cx, heat: &HeatMap) -> Vec<Weekday> {
    let names = cx.t("portal.metrics.weekdays");
    let hours = |hours: &[i64; 24]| hours.iter().map(|calls| Hour { calls: *calls, shade: shade(*calls, heat.max) }).collect();
    names.split(' ').zip(&heat.hours).map(|(name, day)| Weekday { name: name.to_owned(), hours: hours(day) }).collect()
}

/// None is 0, the busiest hour the darkest.
fn shade(calls: i64, max: i64) -> i64 {
    if calls <= 0 || max <= 0 { 0 } else { (calls * SHADES + max - 1) / max }
}

async fn csv(cx: &Cx, scope: &Scope, query: &MetricsQuery) -> Answer {
    if scope.picked.is_open() {
        return Err(PageError::NotFound);
    }
    let (range, _) = query.days().range(cx.state().clock.now());
    let report = cx.state().reports.metrics(range, scope.picked.id).await.map_err(PageError::internal)?;
    let table = match query.tabla.as_str() {
        "errores" => MetricsTable::Errors,
        "dias" => MetricsTable::Days,
        "clientes" if scope.with_client => MetricsTable::Clients,
        "" | "herramientas" => MetricsTable::Tools,
        _ => return Err(PageError::NotFound),
    };
    Ok(file_of(cx, &format!("{}-{}-{}", table.file_name(), range.from(), range.to()), &metrics_csv(table, &report)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_hour_is_the_darkest() {
        assert_eq!([0, 1, 50, 51, 100].map(|calls| shade(calls, 100)), [0, 1, 4, 5, 8]);
        assert_eq!((shade(1, 1), shade(0, 0)), (8, 0));
    }
}
