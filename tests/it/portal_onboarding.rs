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

use crate::support::portal::{Browser, Events, Page};
use crate::support::{Backend, TestApp, actor, serve};

/// A browser's stream that is open.
async fn open(browser: &Browser, path: &str) -> Events {
    let stream = browser.stream(path, None).await;
    assert_eq!(stream.response.status(), StatusCode::OK);
    assert_eq!(stream.response.headers()[header::CONTENT_TYPE], "text/event-stream");
    assert!(stream.response.headers().contains_key(header::CONTENT_SECURITY_POLICY));
    stream
}

/// Reads on until a step is shown as done.
async fn until_done(stream: &mut Events, step: &str) {
    let said = stream.until(&format!("<li class=\"is-done\" id=\"step-{step}\"")).await;
    assert_eq!(said.last().map(|said| said.event.as_str()), Some("swap"));
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
        let mut stream = open(&owner, &path).await;
        until_done(&mut stream, "account").await;

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
        until_done(&mut stream, "odoo").await;

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
        until_done(&mut stream, "tools").await;

        // A token, and the first call with it.
        let tokens = format!("{home}/tokens");
        let made = owner.post(&tokens, &tokens, &[("name", "Claude"), ("life", "month"), ("language", "es")]).await;
        let shown = owner.get(made.location()).await;
        let token = shown.text.split("id=\"tok\" readonly value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        until_done(&mut stream, "token").await;
        assert_eq!(done(&owner.get(&path).await), ["account", "odoo", "tools", "token"]);
        let found = app.client(&token).call("buscar_cliente", json!({ "consulta": "Pérez" })).await;
        assert!(found.is_object(), "{found}");
        until_done(&mut stream, "call").await;
        // Complete: it says so and ends; nobody looks any more.
        let mut last = Vec::new();
        while let Some(event) = stream.next().await {
            last.push(event);
        }
        assert_eq!(last.last().map(|said| (said.event.as_str(), said.data.as_str())), Some(("end", "")), "{last:?}");
        assert!(last.iter().any(|said| said.event == "swap" && said.data.contains("onboarding-state") && said.data.contains("status-ok")), "{last:?}");
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
        let (mut own, mut other) = (open(&owner, &path).await, open(&viewer, &path).await);
        until_done(&mut own, "token").await;
        until_done(&mut other, "token").await;
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
            assert_eq!(last.map(|said| (said.event, said.data)), Some(("end".to_owned(), "/admin/entrar".to_owned())));
        }
        assert_eq!(viewer.stream(&path, None).await.response.status(), StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn streams_are_so_many_and_end_with_the_service() {
    let mut app = TestApp::start(Backend::Sqlite, &[]).await;
    let (tenant, other) = (app.tenant("Ferretería").await, app.tenant("Clínica").await);
    let operator = app.operator().await;
    let path = |id| format!("/admin/clients/{id}/onboarding");
    let mut all = Vec::new();
    for _ in 0..8 {
        all.push(open(&operator, &path(tenant.id)).await);
    }
    let full = operator.stream(&path(tenant.id), None).await.response;
    assert_eq!(full.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(full.headers().contains_key(header::RETRY_AFTER));
    let mut neighbour = open(&operator, &path(other.id)).await;
    // One goes, and there is room again.
    all.pop();
    crate::support::until("a place is free", || async { operator.stream(&path(tenant.id), None).await.response.status() == StatusCode::OK }).await;
    until_done(&mut neighbour, "token").await;
    let began = std::time::Instant::now();
    app.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "open streams do not hold the service up");
    while neighbour.next().await.is_some() {}
}
