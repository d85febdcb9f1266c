//! Statements: a month is made up, closed once, and corrected by signed rows.

use chrono::Duration;
use dunet::domain::plans::{plan_edit, plan_rows};
use dunet::domain::reports::{AuditFilter, AuditScope};
use dunet::domain::settings::Key;
use dunet::domain::statements::{LineKind, StatementError, StatementState};
use dunet::domain::tenants::{NewTenant, TenantEdit};
use dunet::domain::usage::{UsageRecord, prune};
use dunet::ids::TenantId;
use futures::StreamExt;

use crate::support::calls::call;
use crate::support::{TestApp, actor};

async fn plain(app: &TestApp, name: &str, plan: &str) -> TenantId {
    let new = NewTenant { name: name.to_owned(), rnc: Some("131793916".to_owned()), plan: plan.to_owned(), odoo: None, tools: Vec::new() };
    app.state.tenants.tenant_add(new, &actor()).await.unwrap()
}

async fn rate(app: &TestApp, rate: &str) {
    let settings = &app.state.settings;
    settings.edit(&[(Key::UsdRate, rate.to_owned())], settings.get().edited_at, &actor()).await.unwrap();
}

#[tokio::test]
async fn a_month_is_closed_once_and_never_edited() {
    TestApp::everywhere(|app| async move {
        let (a, b) = (plain(&app, "Ana", "basic").await, plain(&app, "Beto", "pro").await);
        let statements = &app.state.statements;
        app.made(&[
            call(a, "2026-11-22T12:00:00Z"),
            UsageRecord { tool: "buscar_cliente", counted: false, ..call(a, "2026-11-22T12:00:00Z") },
            // The last second of November there, and the first of December.
            call(a, "2026-12-01T03:59:59Z"),
            call(a, "2026-12-01T04:00:00Z"),
            call(b, "2026-11-22T12:00:00Z"),
        ])
        .await;
        let running = statements.statement(a, 202_611).await.unwrap();
        assert_eq!((running.state, running.number, running.calls, running.counted), (StatementState::Running, None, 3, 2));
        assert_eq!((running.amount_usd_cents, running.itbis_usd_cents, running.total_usd_cents, running.total_dop_cents), (2_000, 360, 2_360, None));
        assert_eq!(
            running.lines.iter().map(|line| (line.kind, line.text.as_str(), line.counted)).collect::<Vec<_>>(),
            [(LineKind::Plan, "Basic", 0), (LineKind::Calls, "buscar_cliente", 0), (LineKind::Calls, "consultar_rnc_dgii", 2)]
        );
        assert!(matches!(statements.close(a, 202_611, &actor()).await, Err(StatementError::NoRate)));
        rate(&app, "62.5").await;
        assert!(matches!(statements.close(a, 202_611, &actor()).await, Err(StatementError::Running)));
        for (month, tenant) in [(202_610, a), (202_612, a), (202_613, a), (202_611, TenantId::new())] {
            assert!(matches!(statements.statement(tenant, month).await, Err(StatementError::Unknown)), "{month}");
        }

        // On the first of December at one o'clock there.
        app.clock.advance("2026-12-01T04:59:59Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - app.clock.now());
        assert!(matches!(statements.close(a, 202_611, &actor()).await, Err(StatementError::Running)));
        app.clock.advance(Duration::seconds(1));
        assert!(matches!(statements.correct(a, 202_611, 1, -500, "Cortesía", &actor()).await, Err(StatementError::NotClosed)));
        // The button twice, at once.
        let (one, two) = (actor(), actor());
        let (first, second) = tokio::join!(statements.close(a, 202_611, &one), statements.close(a, 202_611, &two));
        let closed = first.unwrap();
        assert_eq!(closed, second.unwrap());
        assert_eq!((closed.state, closed.number, closed.total_dop_cents, closed.closed_by.as_deref()), (StatementState::Closed, Some(1), Some(147_500), Some("test")));
        assert_eq!((&closed.lines, closed.calls, closed.rnc.as_deref()), (&running.lines, 3, Some("131793916")));

        // Whatever happens later, it stays.
        rate(&app, "70").await;
        app.edit(a, TenantEdit { name: Some("Ana Nueva".to_owned()), plan: Some("pro".to_owned()), ..TenantEdit::default() }).await;
        app.made(&[call(a, "2026-11-30T12:00:00Z")]).await;
        assert_eq!(statements.statement(a, 202_611).await.unwrap(), closed);

        // Corrections are rows of their own, at its rate.
        for _ in 0..2 {
            let corrected = statements.correct(a, 202_611, 1, -500, "Cortesía", &actor()).await.unwrap();
            assert_eq!((corrected.total_usd_cents, corrected.balance_usd_cents, corrected.balance_dop_cents), (2_360, 2_360 - 590, Some(110_625)));
            let correction = &corrected.corrections[0];
            assert_eq!((corrected.corrections.len(), correction.number, correction.part, correction.note.as_str()), (1, Some(2), 1, "Cortesía"));
        }
        assert!(matches!(statements.correct(a, 202_611, 1, -900, "Otra", &actor()).await, Err(StatementError::Invalid("part"))));
        assert!(matches!(statements.correct(a, 202_611, 3, -900, "Otra", &actor()).await, Err(StatementError::Invalid("part"))));
        assert!(matches!(statements.correct(a, 202_611, 2, 0, "Nada", &actor()).await, Err(StatementError::Invalid("amount"))));
        assert!(matches!(statements.correct(a, 202_611, 2, 1, " ", &actor()).await, Err(StatementError::Invalid("note"))));
        assert_eq!(statements.close_all(202_611, &actor()).await.unwrap(), 1);
        assert_eq!(statements.statement(b, 202_611).await.unwrap().number, Some(3));
        assert!(statements.statement(b, 202_611).await.unwrap().corrections.is_empty());

        let audit =
            app.state.reports.audit_page(&AuditFilter { scope: AuditScope::Tenant(a), action: Some("statement.".to_owned()), ..AuditFilter::default() }, None, 10).await.unwrap();
        assert_eq!(audit.rows.iter().map(|row| row.action.as_str()).collect::<Vec<_>>(), ["statement.correct", "statement.close"]);
        let lines: Vec<String> = statements.month_csv(202_611).map(Result::unwrap).collect().await;
        let lines: Vec<&str> = lines.iter().flat_map(|page| page.lines()).collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[2].starts_with("202611,2,1,closed,Ana,131793916,") && lines[2].contains(",-5.00,-0.90,-5.90,18,62.5,-368.75,"), "{}", lines[2]);
        let months = statements.statements_of(a).await.unwrap();
        assert_eq!(months.iter().map(|month| (month.month, month.state)).collect::<Vec<_>>(), [(202_612, StatementState::Running), (202_611, StatementState::Closed)]);
    })
    .await;
}

/// A month that is closed late costs what it cost when it ended.
#[tokio::test]
async fn the_plan_of_a_month_is_the_one_it_ended_with() {
    TestApp::everywhere(|app| async move {
        let (a, b, shut) = (plain(&app, "Ana", "basic").await, plain(&app, "Beto", "pro").await, plain(&app, "Cero", "pro").await);
        app.edit(a, TenantEdit { plan: Some("pro".to_owned()), ..TenantEdit::default() }).await;
        app.edit(shut, TenantEdit { active: Some(false), ..TenantEdit::default() }).await;
        app.clock.advance(Duration::days(10));
        rate(&app, "60").await;
        // In December: Ana goes down, and Pro becomes dearer.
        app.edit(a, TenantEdit { plan: Some("gratis".to_owned()), ..TenantEdit::default() }).await;
        let pro = plan_rows(&app.state.db).await.unwrap().into_iter().find(|plan| plan.code == "pro").unwrap();
        let terms = dunet::domain::plans::PlanTerms { name: "Pro+".to_owned(), price_usd_cents: 9_900, ..pro.terms };
        plan_edit(&app.state.db, &app.clock, "pro", pro.version, terms, &actor()).await.unwrap();
        let statements = &app.state.statements;
        let page = statements.month_page(202_611, None).await.unwrap();
        let found: Vec<_> = page.rows.iter().map(|row| (row.client.as_str(), row.plan.as_str(), row.amount_usd_cents, row.state)).collect();
        assert_eq!(found, [("Ana", "Pro", 5_000, StatementState::Open), ("Beto", "Pro", 5_000, StatementState::Open), ("Cero", "Pro", 0, StatementState::Open)]);
        assert_eq!(statements.close(b, 202_611, &actor()).await.unwrap().amount_usd_cents, 5_000);
        let december = statements.statement(b, 202_612).await.unwrap();
        assert_eq!((december.plan.as_str(), december.amount_usd_cents), ("Pro+", 9_900));
        assert_eq!(statements.statement(a, 202_612).await.unwrap().plan, "Gratis");
    })
    .await;
}

#[tokio::test]
async fn a_month_is_paged_and_outlives_its_calls() {
    TestApp::everywhere(|app| async move {
        let mut ids = Vec::new();
        for number in 0..53 {
            ids.push(plain(&app, &format!("Cliente {number:02}"), "basic").await);
        }
        app.made(&[call(ids[52], "2026-11-22T12:00:00Z")]).await;
        app.clock.advance(Duration::days(60));
        assert_eq!(prune(&app.state.db, app.clock.now(), 40).await.unwrap(), 1);
        let statements = &app.state.statements;
        let first = statements.month_page(202_611, None).await.unwrap();
        let second = statements.month_page(202_611, first.next.as_deref()).await.unwrap();
        assert_eq!((first.rows.len(), second.rows.len(), second.next), (50, 3, None));
        assert_eq!((second.rows[2].tenant, second.rows[2].counted), (ids[52], 1));
        assert!(matches!(statements.month_page(202_600, None).await, Err(StatementError::Unknown)));
    })
    .await;
}
