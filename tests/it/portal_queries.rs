//! Every page asks little of the database: at most ten statements for a page, the check of who asks included, however much there is.

use dunet::admin::{Who, routes};
use dunet::domain::settings::Key;
use dunet::domain::tenants::NewTenant;
use dunet::domain::usage::{Outcome, UsageRecord};
use dunet::domain::users::Level;
use dunet::ids::TenantId;
use http::{Method, StatusCode};

use crate::support::calls::call;
use crate::support::oauth::Program;
use crate::support::portal::{Browser, PASSWORD};
use crate::support::{TestApp, actor};

const QUERIES_MAX: usize = 10;
/// The way to a consent.
const CONSENT: &str = "/admin/autorizar";
/// Nothing of the service's own asks meanwhile.
const QUIET: [&str; 2] = ["--watch-ms", "3600000"];

/// A page, opened twice: what is learnt once (the first sign of a session, a cache) does not count, nor what somebody else asks in between.
async fn queries(app: &TestApp, browser: &Browser, path: &str) -> (StatusCode, Vec<String>) {
    let mut best: Option<(StatusCode, Vec<String>)> = None;
    for _ in 0..2 {
        let (page, heard) = app.queries.during(browser.get(path)).await;
        if best.as_ref().is_none_or(|(_, fewest)| heard.len() < fewest.len()) {
            best = Some((page.status, heard));
        }
    }
    best.unwrap()
}

#[tokio::test]
async fn every_page_asks_at_most_ten_times() {
    TestApp::everywhere_with(&QUIET, |app| async move {
        let tenant = filled(&app).await;
        // Closed months, one with a correction.
        app.clock.advance(chrono::Duration::days(12));
        app.state.statements.close_all(202_611, &actor()).await.unwrap();
        app.state.statements.correct(tenant, 202_611, 1, -100, "Cortesía", &actor()).await.unwrap();
        let operator = app.operator().await;
        let (owner, viewer) = (app.member(tenant, "duena@ferre.do", Level::Owner).await, app.member(tenant, "mira@ferre.do", Level::Viewer).await);
        let (mut looked, mut most) = (0, 0);
        let mut over = Vec::new();
        for route in routes().iter().filter(|route| route.methods.contains(&Method::GET)) {
            // What a program brings with it is looked at below.
            if route.path.starts_with(CONSENT) {
                continue;
            }
            let path = route.path.replace("{id}", &tenant.to_string()).replace("{link}", "no-hay");
            let queries_of = if route.path.ends_with("/statement") { format!("{path}?month=202611") } else { path };
            for (who, browser) in [("operator", &operator), ("owner", &owner), ("viewer", &viewer)] {
                if route.who == Who::Operator && who != "operator" {
                    continue;
                }
                let (status, heard) = queries(&app, browser, &queries_of).await;
                // A member of one client is sent on to its page.
                let seen = status == StatusCode::OK || (route.path == "/admin" && who != "operator");
                assert!(seen || route.who == Who::Anyone, "{queries_of} {who}: {status}");
                looked += 1;
                most = most.max(heard.len());
                if heard.len() > QUERIES_MAX {
                    over.push(format!("{queries_of} as {who}: {}\n  {}", heard.len(), heard.join("\n  ")));
                }
            }
        }
        let consent = Program::registered(&app).await;
        for (who, browser) in [("operator", &operator), ("owner", &owner), ("viewer", &viewer)] {
            let (path, _) = consent.consent_page(browser, &consent.ask()).await;
            let (status, heard) = queries(&app, browser, &path).await;
            assert_eq!(status, StatusCode::OK, "{path} {who}");
            if heard.len() > QUERIES_MAX {
                over.push(format!("{path} as {who}: {}\n  {}", heard.len(), heard.join("\n  ")));
            }
        }
        assert!(looked > 90 && most >= 5, "{looked} pages, {most} statements for the one that asks most: are they heard?");
        assert!(over.is_empty(), "{}", over.join("\n"));
    })
    .await;
}

/// A service with some of everything, so that a query for each row of a list is seen.
async fn filled(app: &TestApp) -> TenantId {
    app.padron(200).await;
    let settings = &app.state.settings;
    settings.edit(&[(Key::UsdRate, "62.5".to_owned()), (Key::SignUp, "approval".to_owned())], None, &actor()).await.unwrap();
    let mut tenants = Vec::new();
    for number in 0..12 {
        let rnc = (number == 3).then(|| "131793916".to_owned());
        let new = NewTenant { name: format!("Cliente {number:02}"), rnc, plan: ["basic", "pro"][number % 2].to_owned(), odoo: None, tools: Vec::new() };
        tenants.push(app.state.tenants.tenant_add(new, &actor()).await.unwrap());
    }
    let own = app.tenant("Ferretería").await;
    for name in ["uno", "dos", "tres"] {
        app.token(own.id, None).await;
        app.member(own.id, &format!("{name}@ferre.do"), Level::Viewer).await;
    }
    tenants.push(own.id);
    let calls: Vec<UsageRecord> = tenants
        .iter()
        .flat_map(|tenant| {
            (0..8).map(|second| UsageRecord {
                tool: ["buscar_cliente", "consultar_rnc_dgii"][second % 2],
                outcome: if second == 5 { Outcome::Error } else { Outcome::Ok },
                error_code: (second == 5).then_some("no_encontrado"),
                ..call(*tenant, &format!("2026-11-2{}T12:00:0{second}Z", second % 3))
            })
        })
        .collect();
    app.made(&calls).await;
    for tenant in tenants.iter().take(4) {
        app.state.tenants.plan_request(*tenant, "gratis", "", &actor()).await.unwrap();
    }
    for company in ["Uno", "Dos", "Tres"] {
        let browser = Browser::new(app);
        let email = format!("{}@x.do", company.to_lowercase());
        let fields = [("rnc", ""), ("company", company), ("name", "Ana"), ("email", email.as_str()), ("password", PASSWORD), ("act", "send")];
        assert_eq!(browser.post("/admin/registro", "/admin/registro", &fields).await.status, StatusCode::SEE_OTHER);
    }
    own.id
}
