//! The agents of a client: the programs that its people let in (and how to end that), and who calls, by what they call themselves. For operators, the
//! programs of all clients.

use serde::{Deserialize, Serialize};

use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, tenant_path};
use crate::admin::error::PageError;
use crate::admin::forms::Form;
use crate::domain::oauth::GrantView;
use crate::domain::users::{AnyOperator, Operator, TenantAccess};
use crate::ids::{GrantId, TenantId};

#[derive(Serialize)]
struct View {
    client_name: String,
    client_href: String,
    grants: Vec<Grant>,
    agents: Vec<Agent>,
}

#[derive(Serialize)]
struct AllView {
    grants: Vec<Grant>,
}

#[derive(Serialize)]
struct Agent {
    /// Empty for those that say nothing.
    name: String,
    calls: i64,
    failed: i64,
    last_at: String,
}

/// A program that was let in, as `partials/grants.html` shows it.
#[derive(Serialize)]
pub(super) struct Grant {
    id: GrantId,
    application: String,
    /// Empty for machines.
    host: String,
    /// Empty for machines.
    member: String,
    client: String,
    client_href: String,
    packs: Vec<String>,
    tools_off: Vec<String>,
    since: String,
    /// Empty when it was never used.
    used: String,
    ends: String,
    /// Where its end is sent to; empty where this person may not end it.
    revoke: String,
}

impl Grant {
    /// As shown to somebody who may end it, or not.
    pub(super) fn of(grant: GrantView, may_end: bool, revoke: impl FnOnce(TenantId) -> String) -> Self {
        let (tenant, client) = grant.tenant;
        Self {
            id: grant.id,
            application: grant.application,
            host: grant.host.unwrap_or_default(),
            member: grant.member.map(|(_, name)| name).unwrap_or_default(),
            client,
            client_href: tenant_path(tenant),
            packs: grant.packs,
            tools_off: grant.tools_off,
            since: grant.created_at.to_rfc3339(),
            used: grant.last_used_at.map(|at| at.to_rfc3339()).unwrap_or_default(),
            ends: grant.expires_at.to_rfc3339(),
            revoke: if may_end { revoke(tenant) } else { String::new() },
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    pub(super) grant: GrantId,
}

pub(super) async fn show(cx: Cx, access: TenantAccess) -> Answer {
    let reports = &cx.state().reports;
    let client_name = reports.client_name(access.tenant()).await.map_err(PageError::internal)?.ok_or(PageError::NotFound)?;
    let agents = reports.agents_seen(access.tenant()).await.map_err(PageError::internal)?;
    let agents = agents.into_iter().map(|agent| Agent { name: agent.agent.unwrap_or_default(), calls: agent.calls, failed: agent.failed, last_at: agent.last_at.to_rfc3339() });
    let grants = cx.state().oauth.grants_of_tenant(&access).await?;
    let own = |grant: &GrantView| grant.member.as_ref().is_some_and(|(member, _)| *member == access.user().id());
    let grants = grants.into_iter().map(|grant| {
        let may_end = access.may_change() || own(&grant);
        Grant::of(grant, may_end, revoke_path)
    });
    let view = View { client_name, client_href: tenant_path(access.tenant()), grants: grants.collect(), agents: agents.collect() };
    cx.page("pages/agents.html", view)
}

/// Ends what a program was allowed: an owner any, a viewer their own.
pub(super) async fn revoke(cx: Cx, access: TenantAccess, Form(form): Form<Revocation>) -> Answer {
    cx.state().oauth.grant_revoke(&access, form.grant).await?;
    cx.redirect_saying(&format!("{}/agents", tenant_path(access.tenant())), &Flash::ok("agent_revoked"))
}

/// Every program of every client.
pub(super) async fn show_all(cx: Cx, operator: Operator) -> Answer {
    let grants = cx.state().oauth.grants_seen(&AnyOperator::from(&operator), None).await?.into_iter().map(|grant| Grant::of(grant, true, revoke_path));
    cx.page("pages/agents_all.html", AllView { grants: grants.collect() })
}

fn revoke_path(tenant: TenantId) -> String {
    format!("{}/agents/revoke", tenant_path(tenant))
}
