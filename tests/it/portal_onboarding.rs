//! The first steps of a client, done one after the other against the sandbox Odoo, and seen by somebody who watches.

use std::sync::Arc;
use std::time::Duration;

use dunet::demo::sandbox::SandboxOdoo;
use dunet::domain::tenants::{NewTenant, TenantEdit};
use dunet::domain::users::Level;
use dunet::tools::TOOLS;
use http::{StatusCode, header};
use secrecy::SecretString;
use serde_json::json;

use crate::support::portal::{Browser, Page};
use crate::support::{Backend, TestApp, actor, serve};

/// Longest wait for something that a stream must say.
const WAIT: Duration = Duration::from_secs(20);

/// A browser's stream.
struct Stream {
    response: reqwest::Response,
    rest: String,
}

impl Stream {
    async fn open(browser: &Browser, path: &str) -> Self {
        let response = Self::ask(browser, path).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        assert!(response.headers().contains_key(header::CONTENT_SECURITY_POLICY));
        Self { response, rest: String::new() }
    }

    async fn ask(browser: &Browser, path: &str) -> reqwest::Response {
        let cookie = browser.cookie("dunet").expect("signed in");
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let url = format!("{}{path}", browser.base);
        http.get(url).header(header::ACCEPT, "text/event-stream").header(header::COOKIE, format!("dunet={cookie}")).send().await.expect("an answer")
    }

    /// The next event (its name and data); none at the end.
    async fn next(&mut self) -> Option<(String, String)> {
        loop {
            while let Some((event, rest)) = self.rest.clone().split_once("\n\n") {
                self.rest = rest.to_owned();
                let field = |name: &str| event.lines().filter_map(|line| line.strip_prefix(name)).map(str::trim_start).collect::<Vec<_>>().join("\n");
                let (name, data) = (field("event:"), field("data:"));
                if !name.is_empty() {
                    return Some((name, data.replace("&#x2f;", "/")));
                }
            }
            let chunk = tokio::time::timeout(WAIT, self.response.chunk()).await.expect("the stream says something in time").expect("no cut")?;
            self.rest.push_str(std::str::from_utf8(&chunk).expect("whole characters"));
        }
    }

    /// Reads on until a step is shown as done.
    async fn until_done(&mut self, step: &str) {
        let wanted = format!("<li class=\"is-done\" id=\"step-{step}\"");
        loop {
            let (name, data) = self.next().await.unwrap_or_else(|| panic!("the stream ended before {step} was done"));
            if name == "swap" && data.contains(&wanted) {
                return;
            }
        }
    }
}

fn done(page: &Page) -> Vec<&str> {
    page.text.split("<li class=\"is-done\" id=\"step-").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn the_list_ticks_itself_through_real_steps() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        app.padron(3).await;
        let new = NewTenant { name: "Ferretería El Progreso".to_owned(), rnc: Some("131246796".to_owned()), plan: "gratis".to_owned(), odoo: None, tools: Vec::new() };
        let tenant = app.state.tenants.tenant_add(new, &actor()).await.unwrap();
        let owner = app.member(tenant, "marta@ferre.do", Level::Owner).await;
        let home = format!("/admin/clients/{tenant}");
        let path = format!("{home}/onboarding");
        let page = owner.get(&path).await;
        assert_eq!(done(&page), ["account"]);
        assert!(
            page.text.contains("RNC 131-24679-6") && page.text.contains(&format!("data-stream=\"{path}\"")) && page.text.contains(&format!("href=\"{home}/odoo\"")),
            "{}",
            page.text
        );
        let mut stream = Stream::open(&owner, &path).await;
        stream.until_done("account").await;

        // Its Odoo.
        let sandbox = Arc::new(SandboxOdoo::dominican_sample("Ferretería"));
        let (url, _server) = serve(Arc::clone(&sandbox).router()).await;
        let odoo = TenantEdit {
            odoo_url: Some(url.parse().unwrap()),
            odoo_database: Some(sandbox.database().to_owned()),
            odoo_login: Some(sandbox.login().to_owned()),
            odoo_secret: Some(SecretString::from(sandbox.api_key().to_owned())),
            ..TenantEdit::default()
        };
        app.edit(tenant, odoo).await;
        stream.until_done("odoo").await;

        // Its tools, on the page.
        let tools = format!("{home}/tools");
        let page = owner.get(&tools).await;
        let mut fields = vec![("csrf", page.hidden("csrf")), ("mark", page.hidden("mark")), ("on", "buscar_cliente".to_owned())];
        for tool in TOOLS.iter().map(|tool| tool.facts()) {
            fields.extend([("tool", tool.name.to_owned()), ("limit", "100".to_owned())]);
            if tool.effect == dunet::tools::tool::Effect::Writes {
                fields.push(("writes", format!("{}:confirm", tool.name)));
            }
        }
        let pairs: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(owner.post_bare(&tools, &pairs).await.status, StatusCode::SEE_OTHER);
        stream.until_done("tools").await;

        // A token, and the first call with it.
        let tokens = format!("{home}/tokens");
        let made = owner.post(&tokens, &tokens, &[("name", "Claude"), ("life", "month"), ("language", "es")]).await;
        let shown = owner.get(made.location()).await;
        let token = shown.text.split("id=\"tok\" readonly value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        stream.until_done("token").await;
        assert_eq!(done(&owner.get(&path).await), ["account", "odoo", "tools", "token"]);
        let found = app.client(&token).call("buscar_cliente", json!({ "consulta": "Pérez" })).await;
        assert!(found.is_object(), "{found}");
        stream.until_done("call").await;
        // Complete: it says so and ends; nobody looks any more.
        let mut last = Vec::new();
        while let Some(event) = stream.next().await {
            last.push(event);
        }
        assert_eq!(last.last().map(|(name, data)| (name.as_str(), data.as_str())), Some(("end", "")), "{last:?}");
        assert!(last.iter().any(|(name, data)| name == "swap" && data.contains("onboarding-state") && data.contains("status-ok")), "{last:?}");
        // The page without script says the same, to whoever may look.
        for browser in [&owner, &app.operator().await, &app.member(tenant, "luis@ferre.do", Level::Viewer).await] {
            let page = browser.get(&path).await;
            assert_eq!(done(&page), ["account", "odoo", "tools", "token", "call"]);
            assert!(!page.text.contains("data-stream") && page.text.contains("buscar_cliente"));
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_signs_out_is_shown_nothing_more() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        let tenant = app.tenant("Ferretería").await;
        let owner = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let viewer = app.member(tenant.id, "luis@ferre.do", Level::Viewer).await;
        let path = format!("/admin/clients/{}/onboarding", tenant.id);
        let (mut own, mut other) = (Stream::open(&owner, &path).await, Stream::open(&viewer, &path).await);
        own.until_done("token").await;
        other.until_done("token").await;
        // One signs out, the other is taken out of the company.
        assert_eq!(owner.post("/admin/profile", "/admin/salir", &[]).await.status, StatusCode::SEE_OTHER);
        let luis = app.state.users.user_by_email("luis@ferre.do").await.unwrap();
        let operator = app.operator().await;
        let members = format!("/admin/clients/{}/members", tenant.id);
        assert_eq!(operator.post(&members, &format!("{members}/remove"), &[("user", &luis.to_string())]).await.status, StatusCode::SEE_OTHER);
        for stream in [&mut own, &mut other] {
            let mut last = None;
            while let Some(event) = stream.next().await {
                last = Some(event);
            }
            assert_eq!(last, Some(("end".to_owned(), "/admin/entrar".to_owned())));
        }
        assert_eq!(Stream::ask(&viewer, &path).await.status(), StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn streams_are_so_many_and_end_with_the_service() {
    let mut app = TestApp::start(Backend::Sqlite, &[]).await;
    let (tenant, other) = (app.tenant("Ferretería").await, app.tenant("Clínica").await);
    let operator = app.operator().await;
    let path = |id| format!("/admin/clients/{id}/onboarding");
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(Stream::open(&operator, &path(tenant.id)).await);
    }
    let full = Stream::ask(&operator, &path(tenant.id)).await;
    assert_eq!(full.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(full.headers().contains_key(header::RETRY_AFTER));
    let mut neighbour = Stream::open(&operator, &path(other.id)).await;
    // One goes, and there is room again.
    open.pop();
    crate::support::until("a place is free", || async { Stream::ask(&operator, &path(tenant.id)).await.status() == StatusCode::OK }).await;
    neighbour.until_done("token").await;
    let began = std::time::Instant::now();
    app.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "open streams do not hold the service up");
    while neighbour.next().await.is_some() {}
}
