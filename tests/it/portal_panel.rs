//! The operator's first page.

use dunet::domain::tenants::NewTenant;
use dunet::domain::usage::{Outcome, UsageRecord};
use dunet::domain::users::Level;
use dunet::ids::TenantId;
use http::StatusCode;

use crate::support::calls::call;
use crate::support::{TestApp, actor};

async fn plain(app: &TestApp, name: &str, plan: &str) -> TenantId {
    let new = NewTenant { name: name.to_owned(), rnc: None, plan: plan.to_owned(), odoo: None, tools: Vec::new() };
    app.state.tenants.tenant_add(new, &actor()).await.unwrap()
}

/// The value of the tile of that name.
fn tile(text: &str, name: &str) -> String {
    let rest = text.split(&format!("<dt>{name}</dt>")).nth(1).unwrap_or_else(|| panic!("no tile {name} in {text}"));
    rest.split("stat-value\">").nth(1).unwrap().split('<').next().unwrap().trim().to_owned()
}

#[tokio::test]
async fn the_panel_shows_the_service_at_a_glance() {
    TestApp::everywhere(|app| async move {
        let (a, b) = (plain(&app, "Ana <SRL>", "gratis").await, plain(&app, "Beto", "pro").await);
        let mut calls: Vec<UsageRecord> = (0..81).map(|_| UsageRecord { total_us: 40_000, odoo_us: 30_000, odoo_requests: 1, ..call(a, "2026-11-21T15:00:00Z") }).collect();
        calls.push(UsageRecord { outcome: Outcome::Error, error_code: Some("odoo_caido"), ..call(b, "2026-11-22T14:00:00Z") });
        calls.push(UsageRecord { outcome: Outcome::Refused, counted: false, ..call(b, "2026-10-30T14:00:00Z") });
        app.made(&calls).await;
        let operator = app.operator().await;
        let page = operator.get("/admin").await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        let tile = |name: &str| tile(&page.text, name);
        assert_eq!([tile("Clientes activos"), tile("Llamadas hoy"), tile("Este mes"), tile("Con éxito")], ["2", "1", "82", "98.8 %"]);
        assert!(page.text.contains("ayer 81") && tile("Tiempo, p95").ends_with("ms"), "{}", page.text);
        assert_eq!(tile("Ingresos del mes"), "50");
        // Ana has used 81 of her hundred.
        assert!(page.text.contains("Ana &lt;SRL&gt;") && page.text.contains("meter-warn") && page.text.contains("de 100"), "{}", page.text);
        assert!(page.text.contains("odoo_caido") && page.text.contains("data-chart=\"line\"") && page.text.contains("Todos responden"), "{}", page.text);
        // A member is sent to their own.
        let member = app.member(a, "ana@a.do", Level::Owner).await;
        assert_eq!(member.get("/admin").await.location(), format!("/admin/clients/{a}"));
    })
    .await;
}

#[tokio::test]
async fn an_empty_service_says_what_comes_next() {
    TestApp::everywhere(|app| async move {
        let operator = app.operator().await;
        let page = operator.get("/admin").await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        assert!(page.text.contains("Todavía no hay clientes") && tile(&page.text, "Con éxito") == "–", "{}", page.text);
    })
    .await;
}
