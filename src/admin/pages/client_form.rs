//! A client's own data: adding one, editing one. The RNC fills in the name from the DGII's listing.

use axum::extract::Path;
use axum::http::StatusCode;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::client::Head;
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, tenant_path};
use crate::admin::error::PageError;
use crate::admin::figures::written_day;
use crate::admin::forms::{Faults, Form};
use crate::domain::plans::{Plan, plan_list};
use crate::domain::tenants::{NewTenant, Registered, Tenant, TenantEdit, TenantHabits, WritePolicy, registered, rnc_formatted};
use crate::domain::users::Operator;
use crate::ids::TenantId;
use crate::text::{self, Language};
use crate::tools::TOOLS_BY_DEFAULT;

const TEMPLATE: &str = "pages/client_form.html";
/// What the button beside the RNC sends.
const LOOK_UP: &str = "look_up";
/// Zones offered first; any other IANA name is kept as it is.
const ZONES: [Tz; 9] = [
    Tz::America__Santo_Domingo,
    Tz::America__Puerto_Rico,
    Tz::America__New_York,
    Tz::America__PortauPrince,
    Tz::America__Panama,
    Tz::America__Bogota,
    Tz::America__Mexico_City,
    Tz::America__Argentina__Buenos_Aires,
    Tz::Europe__Madrid,
];

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientForm {
    name: String,
    rnc: String,
    plan: String,
    language: String,
    timezone: String,
    write_policy: String,
    /// Which button: the one that saves, or [`LOOK_UP`].
    #[serde(default)]
    act: String,
    /// The version the page was made with; 0 on a new one.
    #[serde(default)]
    version: i32,
}

impl Default for ClientForm {
    fn default() -> Self {
        let habits = TenantHabits::default();
        Self {
            name: String::new(),
            rnc: String::new(),
            plan: "gratis".to_owned(),
            language: habits.language.as_str().to_owned(),
            timezone: habits.timezone.name().to_owned(),
            write_policy: habits.write_policy.as_str().to_owned(),
            act: String::new(),
            version: 0,
        }
    }
}

impl ClientForm {
    fn of(tenant: &Tenant) -> Self {
        Self {
            name: tenant.name.clone(),
            rnc: tenant.rnc.as_deref().map(rnc_formatted).unwrap_or_default(),
            plan: tenant.plan.code.clone(),
            language: tenant.language.as_str().to_owned(),
            timezone: tenant.timezone.name().to_owned(),
            write_policy: tenant.write_policy.as_str().to_owned(),
            act: String::new(),
            version: tenant.version,
        }
    }

    /// What is chosen from lists, as types; a fault for each that is in none.
    fn habits(&self, cx: &Cx) -> Result<TenantHabits, Faults> {
        let mut faults = Faults::default();
        let language = self.language.parse::<Language>();
        if language.is_err() {
            faults.add(cx, "language", "language");
        }
        let timezone = self.timezone.parse::<Tz>();
        if timezone.is_err() {
            faults.add(cx, "timezone", "timezone");
        }
        let write_policy = WritePolicy::ALL.into_iter().find(|policy| policy.as_str() == self.write_policy);
        if write_policy.is_none() {
            faults.add(cx, "write_policy", "write_policy");
        }
        match (language, timezone, write_policy) {
            (Ok(language), Ok(timezone), Some(write_policy)) => Ok(TenantHabits { language, timezone, write_policy }),
            _ => Err(faults),
        }
    }

    fn rnc_given(&self) -> Option<String> {
        Some(self.rnc.trim().to_owned()).filter(|rnc| !rnc.is_empty())
    }
}

#[derive(Serialize)]
struct View<'a> {
    /// None on a new one.
    client: Option<Head>,
    form: &'a ClientForm,
    faults: Faults,
    found: Option<Found>,
    plans: Vec<Choice>,
    zones: Vec<Choice>,
    action: String,
    back: String,
}

#[derive(Serialize)]
struct Choice {
    value: String,
    text: String,
}

/// What the listing said.
#[derive(Serialize)]
struct Found {
    /// `ok`, `warn` or `info`.
    kind: &'static str,
    text: String,
}

pub(super) async fn blank(cx: Cx, _: Operator) -> Answer {
    page(&cx, None, StatusCode::OK, &ClientForm::default(), Faults::default(), None).await
}

pub(super) async fn add(cx: Cx, operator: Operator, Form(mut form): Form<ClientForm>) -> Answer {
    if form.act == LOOK_UP {
        return looked_up(&cx, None, &mut form).await;
    }
    let habits = match form.habits(&cx) {
        Ok(habits) => habits,
        Err(faults) => return page(&cx, None, StatusCode::UNPROCESSABLE_ENTITY, &form, faults, None).await,
    };
    let state = cx.state();
    let plans = plan_list(&state.db).await.map_err(PageError::internal)?;
    // A plan with a number of tools needs them named.
    let limited = plans.iter().any(|plan| plan.code == form.plan && plan.tools_max.is_some());
    let tools = if limited { TOOLS_BY_DEFAULT.map(str::to_owned).to_vec() } else { Vec::new() };
    let new = NewTenant { name: form.name.clone(), rnc: form.rnc_given(), plan: form.plan.clone(), odoo: None, tools };
    match state.tenants.tenant_add_with(new, habits, &operator.actor()).await {
        Ok(id) => cx.redirect_saying(&tenant_path(id), &Flash::ok("client_added").fact("name", form.name.trim())),
        Err(error) => {
            let faults = Faults::of_tenant(&cx, error)?;
            page(&cx, None, StatusCode::UNPROCESSABLE_ENTITY, &form, faults, None).await
        }
    }
}

pub(super) async fn show(cx: Cx, _: Operator, Path(id): Path<String>) -> Answer {
    let tenant = tenant(&cx, &id).await?;
    page(&cx, Some(&tenant), StatusCode::OK, &ClientForm::of(&tenant), Faults::default(), None).await
}

pub(super) async fn save(cx: Cx, operator: Operator, Path(id): Path<String>, Form(mut form): Form<ClientForm>) -> Answer {
    let tenant = tenant(&cx, &id).await?;
    if form.act == LOOK_UP {
        return looked_up(&cx, Some(&tenant), &mut form).await;
    }
    let habits = match form.habits(&cx) {
        Ok(habits) => habits,
        Err(faults) => return page(&cx, Some(&tenant), StatusCode::UNPROCESSABLE_ENTITY, &form, faults, None).await,
    };
    let edit = TenantEdit {
        name: Some(form.name.clone()),
        rnc: Some(form.rnc.clone()),
        plan: Some(form.plan.clone()),
        language: Some(habits.language),
        timezone: Some(habits.timezone),
        write_policy: Some(habits.write_policy),
        version: Some(form.version),
        ..TenantEdit::default()
    };
    match cx.state().tenants.tenant_edit(tenant.id, edit, &operator.actor()).await {
        Ok(()) => {
            forget(&cx, tenant.id);
            cx.redirect_saying(&tenant_path(tenant.id), &Flash::ok("saved"))
        }
        Err(error) => {
            let faults = Faults::of_tenant(&cx, error)?;
            page(&cx, Some(&tenant), StatusCode::UNPROCESSABLE_ENTITY, &form, faults, None).await
        }
    }
}

/// The tenant that a path names.
pub(super) async fn tenant(cx: &Cx, id: &str) -> Result<Tenant, PageError> {
    let id = id.parse::<TenantId>().map_err(|_| PageError::NotFound)?;
    Ok(cx.state().tenants.tenant_find(id).await?)
}

/// What is remembered of a tenant that was changed here: its next call sees the change.
pub(super) fn forget(cx: &Cx, tenant: TenantId) {
    cx.state().tokens.forget(tenant);
    cx.state().connections.forget(tenant);
}

/// The form again, with what the listing says of the number; nothing is saved.
async fn looked_up(cx: &Cx, tenant: Option<&Tenant>, form: &mut ClientForm) -> Answer {
    let say = |key: &str, facts: &[(&str, &str)]| text::fill(cx.language(), &format!("portal.client_form.{key}"), facts);
    let mut faults = Faults::default();
    let found = match registered(&cx.state().padron, &form.rnc) {
        Registered::NoNumber => {
            faults.add(cx, "rnc", "rnc");
            None
        }
        Registered::NoListing => Some(Found { kind: "info", text: say("no_listing", &[]) }),
        Registered::NotListed { cutoff } => Some(Found { kind: "warn", text: say("not_listed", &[("day", &written_day(cx.language(), cutoff))]) }),
        Registered::Listed { name, status, active, cutoff } => {
            let status = status.unwrap_or_else(|| say("no_status", &[]));
            let text = say("listed", &[("name", &name), ("status", &status), ("day", &written_day(cx.language(), cutoff))]);
            form.name = name;
            Some(Found { kind: if active { "ok" } else { "warn" }, text })
        }
    };
    let status = if faults.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    page(cx, tenant, status, form, faults, found).await
}

async fn page(cx: &Cx, tenant: Option<&Tenant>, status: StatusCode, form: &ClientForm, faults: Faults, found: Option<Found>) -> Answer {
    let plans: Vec<Plan> = plan_list(&cx.state().db).await.map_err(PageError::internal)?;
    let mut zones: Vec<String> = ZONES.iter().map(|zone| zone.name().to_owned()).collect();
    if form.timezone.parse::<Tz>().is_ok() && !zones.contains(&form.timezone) {
        zones.push(form.timezone.clone());
    }
    let own = tenant.map(|tenant| tenant_path(tenant.id));
    let view = View {
        client: tenant.map(|tenant| Head::of(cx, tenant)),
        form,
        faults,
        found,
        plans: plans.into_iter().map(|plan| Choice { value: plan.code, text: plan.name }).collect(),
        zones: zones.into_iter().map(|zone| Choice { text: zone.replace('_', " "), value: zone }).collect(),
        action: own.as_ref().map_or_else(|| format!("{}/new", super::clients::PATH), |own| format!("{own}/edit")),
        back: own.unwrap_or_else(|| super::clients::PATH.to_owned()),
    };
    cx.page_with(status, TEMPLATE, view)
}
