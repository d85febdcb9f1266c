//! A client's plan beside the others, and its wish for another one: a request that operators see here and on the client's page.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, tenant_path};
use crate::admin::error::PageError;
use crate::admin::forms::{Faults, Form};
use crate::domain::plans::plan_rows;
use crate::domain::reports::UsageAgainstPlan;
use crate::domain::tenants::{Tenant, TenantError};
use crate::domain::users::{Operator, TenantAccess};
use crate::ids::TenantId;

#[derive(Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    plan: String,
    note: String,
}

/// Nothing is filled in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Serialize)]
struct View<'a> {
    client: &'a str,
    client_path: String,
    action: String,
    may_ask: bool,
    #[serde(flatten)]
    usage: PlanUse,
    plans: Vec<PlanShown>,
    form: &'a Wish,
    faults: Faults,
    request: Option<Request>,
}

/// The month so far against the plan (`partials/plan_use.html`).
#[derive(Serialize)]
pub(super) struct PlanUse {
    used: i64,
    limit: Option<i64>,
    percent: i64,
    /// What the month will have used at this pace.
    forecast: i64,
    /// When the plan's calls will be used up at this pace; empty when they last.
    used_up_on: String,
    resets_on: String,
}

impl PlanUse {
    pub(super) fn of(usage: &UsageAgainstPlan) -> Self {
        Self {
            used: usage.used,
            limit: usage.limit,
            percent: usage.percent.unwrap_or_default(),
            forecast: usage.forecast,
            used_up_on: usage.used_up_on.map(noon).unwrap_or_default(),
            resets_on: noon(usage.resets_on),
        }
    }
}

/// A day of Santo Domingo as an instant of it, for the filter `day`.
fn noon(day: chrono::NaiveDate) -> String {
    format!("{day}T16:00:00Z")
}

#[derive(Serialize)]
struct PlanShown {
    code: String,
    name: String,
    /// US$ a month, as it is written.
    price: String,
    calls: Option<u32>,
    tools: Option<u32>,
    priority: bool,
    current: bool,
}

/// What a client waits for.
#[derive(Serialize)]
struct Request {
    plan: String,
    note: String,
    by: String,
    at: String,
}

pub(super) async fn show(cx: Cx, access: TenantAccess) -> Answer {
    page(&cx, &access, StatusCode::OK, &Wish::default(), Faults::default()).await
}

pub(super) async fn ask(cx: Cx, access: TenantAccess, Form(form): Form<Wish>) -> Answer {
    match cx.state().tenants.plan_request(access.tenant(), &form.plan, &form.note, &access.actor()).await {
        Ok(()) => cx.redirect_saying(&path(access.tenant()), &Flash::ok("plan_asked")),
        Err(TenantError::Invalid(_) | TenantError::UnknownPlan(_)) => page(&cx, &access, StatusCode::UNPROCESSABLE_ENTITY, &form, Faults::one(&cx, "plan", "plan_wish")).await,
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn answered(cx: Cx, operator: Operator, axum::extract::Path(id): axum::extract::Path<String>, Form(_): Form<Nothing>) -> Answer {
    let tenant = id.parse::<TenantId>().map_err(|_| PageError::NotFound)?;
    cx.state().tenants.tenant_find(tenant).await?;
    cx.state().tenants.plan_request_close(tenant, &operator.actor()).await?;
    cx.redirect_saying(&path(tenant), &Flash::ok("plan_answered"))
}

fn path(tenant: TenantId) -> String {
    format!("{}/plan", tenant_path(tenant))
}

async fn page(cx: &Cx, access: &TenantAccess, status: StatusCode, form: &Wish, faults: Faults) -> Answer {
    let state = cx.state();
    let tenant: Tenant = state.tenants.tenant_find(access.tenant()).await?;
    let usage = state.reports.usage_against_plan(&tenant).await.map_err(PageError::internal)?;
    let plans = plan_rows(&state.db).await.map_err(PageError::internal)?;
    let open = state.tenants.plan_request_open(&tenant).await?;
    let request = open.map(|open| Request {
        plan: plans.iter().find(|plan| plan.code == open.plan).map_or(open.plan.clone(), |plan| plan.terms.name.clone()),
        note: open.note,
        by: open.by,
        at: open.at.to_rfc3339(),
    });
    let shown = plans.into_iter().map(|plan| PlanShown {
        current: plan.code == tenant.plan.code,
        code: plan.code,
        name: plan.terms.name,
        price: format!("{}.{:02}", plan.terms.price_usd_cents / 100, plan.terms.price_usd_cents % 100),
        calls: plan.terms.calls_per_month,
        tools: plan.terms.tools_max,
        priority: plan.terms.priority_support,
    });
    let view = View {
        client: &tenant.name,
        client_path: tenant_path(tenant.id),
        action: path(tenant.id),
        may_ask: access.may_change() && access.user().operator().is_none(),
        usage: PlanUse::of(&usage),
        plans: shown.collect(),
        form,
        faults,
        request,
    };
    cx.page_with(status, "pages/plan.html", view)
}
