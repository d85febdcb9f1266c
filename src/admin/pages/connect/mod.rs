//! How to connect an agent: what to paste into which program, and a test that asks the agents' door with a token as an agent would.

use axum::extract::Query;
use axum::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::admin::Cx;
use crate::admin::agents::{Answered, AskedBy};
use crate::admin::cx::{Answer, tenant_path};
use crate::admin::forms::{Form, Hidden};
use crate::domain::tenants::Tenant;
use crate::domain::users::TenantAccess;

pub(super) mod programs;

use programs::Shown as ShownProgram;

#[derive(Deserialize)]
pub(super) struct Chosen {
    /// The program that is opened.
    con: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Test {
    token: Hidden,
}

#[derive(Serialize)]
struct View<'a> {
    client: &'a str,
    client_path: String,
    action: String,
    may_change: bool,
    active: bool,
    /// Whether hosted programs can reach us.
    public: bool,
    url: String,
    token_url: String,
    tokens: usize,
    programs: Vec<ShownProgram>,
    /// The steps of a test; empty when none was made.
    test: Vec<Step>,
    tools: Vec<String>,
}

/// A step of a test: `portal.connect.test.<key>`.
#[derive(Serialize)]
struct Step {
    id: &'static str,
    /// `ok`, `bad`, `off`.
    state: &'static str,
    text: String,
    fix: String,
    took: String,
}

pub(super) async fn show(cx: Cx, access: TenantAccess, Query(chosen): Query<Chosen>) -> Answer {
    let tenant = cx.state().tenants.tenant_find(access.tenant()).await?;
    page(&cx, &access, &tenant, chosen.con.as_deref(), Vec::new(), Vec::new()).await
}

/// Tries a token. Nothing is changed by it, so that whoever may look may try.
pub(super) async fn test(cx: Cx, access: TenantAccess, Form(form): Form<Test>) -> Answer {
    let tenant = cx.state().tenants.tenant_find(access.tenant()).await?;
    let (steps, tools) = tried(&cx, &tenant, &form.token.0).await;
    page(&cx, &access, &tenant, None, steps, tools).await
}

async fn page(cx: &Cx, access: &TenantAccess, tenant: &Tenant, chosen: Option<&str>, test: Vec<Step>, tools: Vec<String>) -> Answer {
    let state = cx.state();
    let agents = &cx.inner.portal.inner.agents;
    let now = state.clock.now();
    let listed = state.tokens.token_page(tenant.id, None, 50).await?;
    let works = listed.tokens.iter().filter(|token| token.revoked_at.is_none() && token.expires_at.is_none_or(|end| end > now));
    let view = View {
        client: &tenant.name,
        client_path: tenant_path(tenant.id),
        action: format!("{}/connect", tenant_path(tenant.id)),
        may_change: access.may_change(),
        active: tenant.active,
        public: cx.inner.portal.inner.scheme == "https",
        url: agents.url(),
        token_url: agents.token_url(),
        tokens: works.count(),
        programs: programs::shown(cx, None, chosen),
        test,
        tools,
    };
    cx.page_with(StatusCode::OK, "pages/connect.html", view)
}

/// initialize, then tools/list: what every agent does first.
async fn tried(cx: &Cx, tenant: &Tenant, token: &SecretString) -> (Vec<Step>, Vec<String>) {
    let agents = &cx.inner.portal.inner.agents;
    let by = AskedBy { address: cx.inner.from.address.as_deref(), request_id: &cx.inner.request_id };
    let say = |key: &str, pairs: &[(&str, &str)]| crate::text::fill(cx.language(), &format!("portal.connect.test.{key}"), pairs);
    let took = |answered: &Answered| format!("{:.1} ms", answered.took.as_secs_f64() * 1_000.0);
    let skipped = |id| Step { id, state: "off", text: say("skipped", &[]), fix: String::new(), took: String::new() };

    let hello = agents.initialize(token, &by).await;
    let Some(result) = hello.result() else {
        let (text, fix) = refused(cx, &hello);
        return (vec![Step { id: "token", state: "bad", text, fix, took: took(&hello) }, skipped("hello"), skipped("tools")], Vec::new());
    };
    // It works; whether it is this client's is said too: an operator has many at hand.
    let own = cx.state().tokens.verify(token.expose_secret().trim()).await.is_ok_and(|caller| caller.tenant().id == tenant.id);
    if !own {
        let step = Step { id: "token", state: "bad", text: say("foreign", &[]), fix: say("foreign_fix", &[]), took: took(&hello) };
        return (vec![step, skipped("hello"), skipped("tools")], Vec::new());
    }
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let spoken = say("hello_ok", &[("server", &word(&result["serverInfo"]["name"])), ("version", &word(&result["protocolVersion"]))]);
    let mut steps = vec![
        Step { id: "token", state: "ok", text: say("token_ok", &[]), fix: String::new(), took: String::new() },
        Step { id: "hello", state: "ok", text: spoken, fix: String::new(), took: took(&hello) },
    ];
    let list = agents.tools_list(token, &by).await;
    let Some(tools) = list.result().and_then(|result| result["tools"].as_array()) else {
        let (text, fix) = refused(cx, &list);
        steps.push(Step { id: "tools", state: "bad", text, fix, took: took(&list) });
        return (steps, Vec::new());
    };
    let names: Vec<String> = tools.iter().map(|tool| word(&tool["name"])).collect();
    let (state, text, fix) = match names.len() {
        0 => ("warn", say("tools_none", &[]), say("tools_none_fix", &[])),
        count => ("ok", say("tools_ok", &[("count", &count.to_string())]), String::new()),
    };
    steps.push(Step { id: "tools", state, text, fix, took: took(&list) });
    (steps, names)
}

/// Why the door said no, and what to do.
fn refused(cx: &Cx, answered: &Answered) -> (String, String) {
    let key = match answered.status {
        StatusCode::UNAUTHORIZED => "refused_401",
        StatusCode::FORBIDDEN => "refused_403",
        StatusCode::TOO_MANY_REQUESTS => "refused_429",
        StatusCode::SERVICE_UNAVAILABLE if cx.state().settings.get().maintenance.is_some() => "refused_maintenance",
        StatusCode::SERVICE_UNAVAILABLE => "refused_503",
        _ => "refused_other",
    };
    let status = answered.status.as_u16().to_string();
    let say = |key: &str| crate::text::fill(cx.language(), &format!("portal.connect.test.{key}"), &[("status", &status)]);
    (say(key), say(&format!("{key}_fix")))
}
