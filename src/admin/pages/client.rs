//! The summary of a client, for operators and its own people.

use serde::Serialize;

use crate::admin::Cx;
use crate::admin::cx::Answer;
use crate::admin::error::PageError;
use crate::clock::{day_start, local_day};
use crate::domain::usage;
use crate::domain::users::TenantAccess;

#[derive(Serialize)]
struct View {
    name: String,
    rnc: Option<String>,
    plan: String,
    active: bool,
    odoo_host: Option<String>,
    calls_today: u64,
    calls_today_ok: u64,
    may_change: bool,
}

pub(super) async fn show(cx: Cx, access: TenantAccess) -> Answer {
    let state = cx.state();
    let tenant = state.tenants.tenant_find(access.tenant()).await?;
    let calls = usage::calls_since(&state.db, Some(access.tenant()), day_start(local_day(state.clock.now()))).await.map_err(PageError::internal)?;
    let view = View {
        name: tenant.name,
        rnc: tenant.rnc,
        plan: tenant.plan.name,
        active: tenant.active,
        odoo_host: tenant.odoo.as_ref().and_then(|odoo| odoo.url.host_str().map(str::to_owned)),
        calls_today: calls.all,
        calls_today_ok: calls.ok,
        may_change: access.may_change(),
    };
    cx.page("pages/client.html", view)
}
