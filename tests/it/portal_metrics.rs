//! Metrics and agents: any range, for everybody or one client, as pages and as files.

use dunet::domain::tenants::NewTenant;
use dunet::domain::usage::{Outcome, UsageRecord};
use dunet::domain::users::Level;
use dunet::ids::TenantId;
use http::StatusCode;

use crate::support::calls::call;
use crate::support::{TestApp, actor};

async fn plain(app: &TestApp, name: &str) -> TenantId {
    let new = NewTenant { name: name.to_owned(), rnc: None, plan: "pro".to_owned(), odoo: None, tools: Vec::new() };
    app.state.tenants.tenant_add(new, &actor()).await.unwrap()
}

/// Calls of two clients; the clock stands on Sunday 2026-11-22 at eleven in the morning, there.
async fn some(app: &TestApp) -> (TenantId, TenantId) {
    let (a, b) = (plain(app, "Ana").await, plain(app, "=Beto").await);
    let failed = |call: UsageRecord| UsageRecord { outcome: Outcome::Error, error_code: Some("odoo_caido"), ..call };
    let slow = UsageRecord { tool: "buscar_cliente", total_us: 400_000, odoo_us: 390_000, odoo_requests: 1, agent: Some("Claude".to_owned()), ..call(a, "2026-11-22T14:00:00Z") };
    // Saturday at eleven at night there is Sunday in London.
    let mut calls = vec![slow, failed(call(a, "2026-11-22T03:30:00Z")), call(a, "2026-10-31T15:00:00Z")];
    calls.extend((0..7).map(|_| UsageRecord { agent: Some("canario-b".to_owned()), tool: "buscar_productos", ..call(b, "2026-11-20T15:00:00Z") }));
    app.made(&calls).await;
    (a, b)
}

#[tokio::test]
async fn a_range_is_shown_in_numbers() {
    TestApp::everywhere(|app| async move {
        let (a, _) = some(&app).await;
        let operator = app.operator().await;
        let calls = async |path: &str| {
            let page = operator.get(path).await;
            assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
            page.text.split("<dd class=\"stat-value\">").nth(1).map(|rest| rest.split('<').next().unwrap().to_owned()).unwrap_or_default()
        };
        assert_eq!(calls("/admin/metrics").await, "10", "thirty days");
        assert_eq!(calls("/admin/metrics?rango=hoy").await, "1");
        assert_eq!(calls("/admin/metrics?rango=7d").await, "9");
        assert_eq!(calls("/admin/metrics?rango=mes").await, "9");
        assert_eq!(calls("/admin/metrics?desde=2026-10-31&hasta=2026-10-31").await, "1");
        assert_eq!(calls("/admin/metrics?desde=2026-01-01&hasta=2026-01-31").await, "", "nothing to show is said");
        assert_eq!(calls("/admin/metrics?rango=mes&cliente=ana").await, "2");
        assert_eq!(calls(&format!("/admin/clients/{a}/metrics?rango=mes")).await, "2");
        let page = operator.get("/admin/metrics?rango=mes").await;
        // The busiest tool first; sorted by p95, the slow one.
        let first = |text: &str| text.split("<th scope=\"row\"><code>").nth(1).unwrap().split('<').next().unwrap().to_owned();
        assert_eq!(first(&page.text), "buscar_productos");
        assert_eq!(first(&operator.get("/admin/metrics?rango=mes&orden=p95").await.text), "buscar_cliente");
        assert!(page.text.contains("odoo_caido") && page.text.contains(">Ana</a>") && page.text.contains(">=Beto</a>"), "{}", page.text);
        // Friday at eleven is the darkest; the call at eleven on Saturday night is there, not on Sunday.
        let day = |name: &str| page.text.split(&format!("<tr><th scope=\"row\">{name}</th>")).nth(1).unwrap().split("</tr>").next().unwrap().to_owned();
        assert!(day("Vie").contains("<td class=\"h8\">7</td>") && day("Sáb").ends_with("<td class=\"h2\">1</td>"), "{}", day("Sáb"));
        assert!(page.text.contains("data-chart=\"line\"") && page.text.contains("chart.umd.min"), "{}", page.text);
    })
    .await;
}

#[tokio::test]
async fn files_hold_the_tables() {
    TestApp::everywhere(|app| async move {
        let (a, b) = some(&app).await;
        let (operator, member) = (app.operator().await, app.member(a, "ana@a.do", Level::Viewer).await);
        let file = async |path: &str| {
            let page = operator.get(path).await;
            assert_eq!(page.status, StatusCode::OK, "{path}");
            page.text.trim_start_matches('\u{feff}').lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let tools = file("/admin/metrics/csv?rango=mes").await;
        assert!(tools[0].starts_with("tool,calls,ok,failed,") && tools[1].starts_with("buscar_productos,7,7,0,0,0,0,"), "{tools:?}");
        assert_eq!(file("/admin/metrics/csv?rango=mes&tabla=errores").await[1..], ["consultar_rnc_dgii,odoo_caido,1"]);
        assert_eq!(file("/admin/metrics/csv?rango=7d&tabla=dias").await[5..], ["2026-11-20,7,0", "2026-11-21,1,1", "2026-11-22,1,0"]);
        let clients = file("/admin/metrics/csv?rango=mes&tabla=clientes").await;
        assert_eq!(clients[1..], [format!("'=Beto,{b},7,0,0"), format!("Ana,{a},2,1,50")]);
        assert_eq!(operator.get("/admin/metrics/csv?tabla=nada").await.status, StatusCode::NOT_FOUND);
        // A member's: only theirs, whomever they name.
        let path = format!("/admin/clients/{a}/metrics");
        let page = member.get(&format!("{path}?rango=mes&cliente={b}")).await;
        assert!(page.text.contains("buscar_cliente") && !page.text.contains("buscar_productos") && !page.text.contains("Beto"), "{}", page.text);
        let page = member.get(&format!("{path}/csv?rango=mes&cliente={b}")).await;
        assert!(page.text.contains("buscar_cliente") && !page.text.contains("buscar_productos"), "{}", page.text);
        assert_eq!(member.get(&format!("{path}/csv?tabla=clientes")).await.status, StatusCode::NOT_FOUND);
        for path in ["/admin/metrics", "/admin/metrics/csv"] {
            assert_eq!(member.get(path).await.status, StatusCode::FORBIDDEN);
        }
    })
    .await;
}

#[tokio::test]
async fn agents_are_listed_by_what_they_say() {
    TestApp::everywhere(|app| async move {
        let (a, _) = some(&app).await;
        let nameless = UsageRecord { agent: None, ..call(a, "2026-11-22T14:30:00Z") };
        let hostile = UsageRecord { agent: Some("<script>alert(1)</script>".to_owned()), ..call(a, "2026-11-22T14:40:00Z") };
        app.made(&[nameless, hostile]).await;
        let member = app.member(a, "ana@a.do", Level::Viewer).await;
        let page = member.get(&format!("/admin/clients/{a}/agents")).await;
        let names: Vec<&str> = page.text.split("<th scope=\"row\">").skip(1).map(|rest| rest.split("</th>").next().unwrap()).collect();
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(names[0].starts_with("&lt;script") && names[1].contains("No dice su nombre") && names[2] == "Claude", "{names:?}");
        assert!(!page.text.contains("canario-b"));
    })
    .await;
}

#[tokio::test]
async fn without_calls_pages_say_what_to_do() {
    TestApp::everywhere(|app| async move {
        let tenant = plain(&app, "Ana").await;
        let operator = app.operator().await;
        for path in ["/admin/logs", "/admin/logs/history", "/admin/metrics", &format!("/admin/clients/{tenant}/agents"), &format!("/admin/clients/{tenant}/metrics")] {
            let page = operator.get(path).await;
            assert!(page.status == StatusCode::OK && page.text.contains("class=\"empty\""), "{path}: {}", page.text);
        }
    })
    .await;
}
