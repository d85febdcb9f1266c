//! The agents that call for a client, by what they call themselves.

use serde::Serialize;

use crate::admin::Cx;
use crate::admin::cx::{Answer, tenant_path};
use crate::admin::error::PageError;
use crate::domain::users::TenantAccess;

#[derive(Serialize)]
struct View {
    client_name: String,
    client_href: String,
    agents: Vec<Agent>,
}

#[derive(Serialize)]
struct Agent {
    /// Empty for those that say nothing.
    name: String,
    calls: i64,
    failed: i64,
    last_at: String,
}

pub(super) async fn show(cx: Cx, access: TenantAccess) -> Answer {
    let reports = &cx.state().reports;
    let client_name = reports.client_name(access.tenant()).await.map_err(PageError::internal)?.ok_or(PageError::NotFound)?;
    let agents = reports.agents_seen(access.tenant()).await.map_err(PageError::internal)?;
    let agents = agents.into_iter().map(|agent| Agent { name: agent.agent.unwrap_or_default(), calls: agent.calls, failed: agent.failed, last_at: agent.last_at.to_rfc3339() });
    cx.page("pages/agents.html", View { client_name, client_href: tenant_path(access.tenant()), agents: agents.collect() })
}
