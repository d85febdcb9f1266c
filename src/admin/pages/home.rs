//! `/admin`: the operator's panel; a member is sent to their tenant, or chooses among several.

use serde::Serialize;

use crate::admin::Cx;
use crate::admin::cx::{Answer, home, tenant_path};
use crate::admin::error::PageError;
use crate::clock::{day_start, local_day};
use crate::domain::usage;
use crate::domain::users::{Operator, User};

#[derive(Serialize)]
struct Panel {
    clients_active: u64,
    clients: u64,
    calls_today: u64,
    calls_today_ok: u64,
}

#[derive(Serialize)]
struct Choice<'a> {
    tenants: Vec<Place<'a>>,
}

#[derive(Serialize)]
struct Place<'a> {
    href: String,
    name: &'a str,
    level: &'static str,
}

pub(super) async fn show(cx: Cx, user: User) -> Answer {
    if let Some(operator) = user.operator() {
        return panel(&cx, &operator).await;
    }
    if user.memberships().len() == 1 {
        return cx.redirect(&home(&user));
    }
    let tenants = user.memberships().iter().map(|membership| Place { href: tenant_path(membership.tenant), name: &membership.tenant_name, level: membership.level.as_str() });
    cx.page("pages/choose.html", Choice { tenants: tenants.collect() })
}

async fn panel(cx: &Cx, _: &Operator) -> Answer {
    let state = cx.state();
    let tenants = state.tenants.tenant_counts().await?;
    let calls = usage::calls_since(&state.db, None, day_start(local_day(state.clock.now()))).await.map_err(PageError::internal)?;
    cx.page("pages/panel.html", Panel { clients_active: tenants.active, clients: tenants.all, calls_today: calls.all, calls_today_ok: calls.ok })
}
