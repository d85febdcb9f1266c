//! What a client's agents may do: every tool on or off, how it writes, how often, and how it went. One form, saved as a whole.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, tenant_path};
use crate::admin::error::PageError;
use crate::admin::forms::{Faults, Form};
use crate::domain::tenants::{Tenant, TenantError, ToolSetting, WritePolicy};
use crate::domain::users::TenantAccess;
use crate::tools::TOOLS;
use crate::tools::tool::{Effect, ToolFacts};

/// The highest limit of a tool, calls an hour.
const CALLS_PER_HOUR_MAX: u32 = 100_000;

/// `tool` and `limit` go side by side, one of each per row.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Matrix {
    /// What the page was made of.
    mark: String,
    tool: Vec<String>,
    limit: Vec<String>,
    /// The tools that are on.
    #[serde(default)]
    on: Vec<String>,
    /// `tool:policy` of the tools that write.
    #[serde(default)]
    writes: Vec<String>,
}

#[derive(Serialize)]
struct View {
    client: String,
    client_path: String,
    action: String,
    may_change: bool,
    mark: String,
    plan: String,
    /// Tools the plan allows; none is all.
    max: Option<usize>,
    on: usize,
    policies: [&'static str; 3],
    rows: Vec<Row>,
    faults: Faults,
}

#[derive(Clone, Serialize)]
struct Row {
    name: &'static str,
    about: String,
    on: bool,
    /// Whether it writes, and then how.
    writes: bool,
    policy: &'static str,
    limit: String,
    calls: i64,
    error_rate: Option<String>,
    p95: Option<String>,
}

pub(super) async fn show(cx: Cx, access: TenantAccess) -> Answer {
    let tenant = cx.state().tenants.tenant_find(access.tenant()).await?;
    let mark = tenant.tools_mark();
    let rows = rows(&cx, &tenant).await?;
    page(&cx, &access, StatusCode::OK, &tenant, rows, mark, Faults::default())
}

pub(super) async fn save(cx: Cx, access: TenantAccess, Form(form): Form<Matrix>) -> Answer {
    let state = cx.state();
    let tenant = state.tenants.tenant_find(access.tenant()).await?;
    let mut rows = rows(&cx, &tenant).await?;
    typed(&mut rows, &form)?;
    let mut faults = Faults::default();
    let mut settings = Vec::new();
    for row in &rows {
        let limit = row.limit.trim().parse::<u32>().ok().filter(|limit| (1..=CALLS_PER_HOUR_MAX).contains(limit));
        if limit.is_none() {
            faults.add(&cx, row.name, "tool_limit");
        }
        let policy = WritePolicy::parse(row.policy);
        settings.push(ToolSetting { tool: row.name.to_owned(), enabled: row.on, calls_per_hour: limit.unwrap_or_default(), write_policy: row.writes.then_some(policy) });
    }
    if faults.is_empty() {
        match state.tenants.tools_edit(tenant.id, &settings, &form.mark, &access.actor()).await {
            Ok(_) => {
                state.tokens.forget(tenant.id);
                return cx.redirect_saying(&path(&access), &Flash::ok("tools_saved"));
            }
            // Said on the page, with the numbers.
            Err(TenantError::TooManyTools { .. }) => faults.add(&cx, "form", "tools_too_many"),
            Err(error) => return Err(error.into()),
        }
    }
    page(&cx, &access, StatusCode::UNPROCESSABLE_ENTITY, &tenant, rows, form.mark, faults)
}

fn path(access: &TenantAccess) -> String {
    format!("{}/tools", tenant_path(access.tenant()))
}

fn facts() -> impl Iterator<Item = &'static ToolFacts> {
    TOOLS.iter().map(|tool| tool.facts())
}

/// What was typed, over what there is. Every tool must be there once: the form is a whole.
fn typed(rows: &mut [Row], form: &Matrix) -> Result<(), PageError> {
    let known = |name: &str| facts().any(|facts| facts.name == name);
    if form.tool.len() != form.limit.len() || form.tool.len() != rows.len() || !form.on.iter().all(|name| known(name)) {
        return Err(PageError::BadForm);
    }
    for row in rows {
        let at = form.tool.iter().position(|name| name == row.name).ok_or(PageError::BadForm)?;
        row.limit.clone_from(&form.limit[at]);
        row.on = form.on.iter().any(|name| name == row.name);
        if row.writes {
            let policy = form.writes.iter().find_map(|pair| pair.strip_prefix(row.name)?.strip_prefix(':')).ok_or(PageError::BadForm)?;
            row.policy = WritePolicy::ALL.into_iter().map(WritePolicy::as_str).find(|known| *known == policy).ok_or(PageError::BadForm)?;
        }
    }
    Ok(())
}

async fn rows(cx: &Cx, tenant: &Tenant) -> Result<Vec<Row>, PageError> {
    let names: Vec<&str> = facts().map(|facts| facts.name).collect();
    let used = cx.state().reports.client_tools(tenant, &names).await.map_err(PageError::internal)?;
    let row = |facts: &'static ToolFacts| {
        let used = used.iter().find(|used| used.tool == facts.name);
        let (_, permit) = tenant.tool_setting(facts.name);
        let key = format!("portal.tools.about.{}", facts.name);
        let said = cx.t(&key);
        Row {
            name: facts.name,
            about: if said == key { facts.title.to_owned() } else { said },
            on: tenant.permit(facts.name).is_some(),
            writes: facts.effect == Effect::Writes,
            policy: permit.write_policy.as_str(),
            limit: permit.calls_per_hour.to_string(),
            calls: used.map_or(0, |used| used.calls),
            error_rate: used.and_then(|used| used.error_rate).map(|rate| format!("{rate:.1} %")),
            p95: used.and_then(|used| used.time.p95_ms).map(|ms| if ms < 1_000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1_000.0) }),
        }
    };
    Ok(facts().map(row).collect())
}

fn page(cx: &Cx, access: &TenantAccess, status: StatusCode, tenant: &Tenant, rows: Vec<Row>, mark: String, faults: Faults) -> Answer {
    let view = View {
        client: tenant.name.clone(),
        client_path: tenant_path(tenant.id),
        action: path(access),
        may_change: access.may_change(),
        mark,
        plan: tenant.plan.name.clone(),
        max: tenant.plan.tools_max,
        on: rows.iter().filter(|row| row.on).count(),
        policies: [WritePolicy::Confirm, WritePolicy::OwnerApproves, WritePolicy::Direct].map(WritePolicy::as_str),
        rows,
        faults,
    };
    cx.page_with(status, "pages/tools.html", view)
}
