//! How to connect an agent: what to paste into which program, and a test that asks the agents' door with a token as an agent would.

use axum::extract::Query;
use axum::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::admin::Cx;
use crate::admin::agents::{Answered, AskedBy, Door, Hello};
use crate::admin::cx::{Answer, tenant_path};
use crate::admin::error::PageError;
use crate::admin::forms::{Form, Hidden};
use crate::domain::tenants::Tenant;
use crate::domain::users::TenantAccess;

mod asks;
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
    /// The program whose panel it is; empty for the page's own test.
    #[serde(default)]
    program: String,
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
    /// The program whose panel a test was made in; empty for the page's own.
    tried_as: &'a str,
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
    let (hello, door) =
        if form.program.is_empty() { (Hello::Handshake { revision: "2025-11-25", header: true }, Door::Token) } else { asks::of(&form.program).ok_or(PageError::BadForm)? };
    let (steps, tools) = tried(&cx, &tenant, &form.token.0, hello, door).await;
    page(&cx, &access, &tenant, Some(form.program.as_str()).filter(|key| !key.is_empty()), steps, tools).await
}

async fn page<'a>(cx: &Cx, access: &TenantAccess, tenant: &'a Tenant, chosen: Option<&'a str>, test: Vec<Step>, tools: Vec<String>) -> Answer {
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
        tried_as: chosen.filter(|_| !test.is_empty()).unwrap_or_default(),
        test,
        tools,
    };
    cx.page_with(StatusCode::OK, "pages/connect.html", view)
}

/// Introduces itself as that program does, then tools/list: what every agent does first.
async fn tried(cx: &Cx, tenant: &Tenant, token: &SecretString, hello: Hello, door: Door) -> (Vec<Step>, Vec<String>) {
    let agents = &cx.inner.portal.inner.agents;
    let by = AskedBy { address: cx.inner.from.address.as_deref(), request_id: &cx.inner.request_id, hello, door };
    let say = |key: &str, pairs: &[(&str, &str)]| crate::text::fill(cx.language(), &format!("portal.connect.test.{key}"), pairs);
    let took = |answered: &Answered| format!("{:.1} ms", answered.took.as_secs_f64() * 1_000.0);
    let skipped = |id| Step { id, state: "off", text: say("skipped", &[]), fix: String::new(), took: String::new() };

    let hello = agents.introduce(token, &by).await;
    if let Some(refusal) = hello.as_ref().filter(|hello| hello.result().is_none()) {
        let (text, fix) = refused(cx, refusal);
        return (vec![Step { id: "token", state: "bad", text, fix, took: took(refusal) }, skipped("hello"), skipped("tools")], Vec::new());
    }
    let list = agents.tools_list(token, &by).await;
    let listed = list.result().and_then(|result| result["tools"].as_array());
    if hello.is_none() && listed.is_none() {
        let (text, fix) = refused(cx, &list);
        return (vec![Step { id: "token", state: "bad", text, fix, took: took(&list) }, skipped("hello"), skipped("tools")], Vec::new());
    }
    // It works; whether it is this client's is said too: an operator has many at hand.
    let own = cx.state().tokens.verify(token.expose_secret().trim()).await.is_ok_and(|caller| caller.tenant().id == tenant.id);
    if !own {
        let step = Step { id: "token", state: "bad", text: say("foreign", &[]), fix: say("foreign_fix", &[]), took: hello.as_ref().map(took).unwrap_or_default() };
        return (vec![step, skipped("hello"), skipped("tools")], Vec::new());
    }
    let mut steps = vec![Step { id: "token", state: "ok", text: say("token_ok", &[]), fix: String::new(), took: String::new() }];
    steps.push(match &hello {
        Some(hello) => Step { id: "hello", state: "ok", text: say("hello_ok", &greeted(hello)), fix: String::new(), took: took(hello) },
        None => Step { id: "hello", state: "off", text: say("hello_none", &[]), fix: String::new(), took: String::new() },
    });
    let Some(tools) = listed else {
        let (text, fix) = refused(cx, &list);
        steps.push(Step { id: "tools", state: "bad", text, fix, took: took(&list) });
        return (steps, Vec::new());
    };
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: Vec<String> = tools.iter().map(|tool| word(&tool["name"])).collect();
    let (state, text, fix) = match names.len() {
        0 => ("warn", say("tools_none", &[]), say("tools_none_fix", &[])),
        count => ("ok", say("tools_ok", &[("count", &count.to_string())]), String::new()),
    };
    steps.push(Step { id: "tools", state, text, fix, took: took(&list) });
    (steps, names)
}

/// Who answered, and with which revision, in either form of introduction.
fn greeted(hello: &Answered) -> [(&'static str, &str); 2] {
    let result = hello.result().unwrap_or(&Value::Null);
    let server = [&result["serverInfo"]["name"], &result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"]];
    let revision = [&result["protocolVersion"], &result["supportedVersions"][0]];
    let [server, revision] = [server, revision].map(|among| among.into_iter().find_map(Value::as_str).unwrap_or_default());
    [("server", server), ("version", revision)]
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
