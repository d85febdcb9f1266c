//! Reports: roll-ups that count each call once, and what pages read from them.

use std::collections::HashSet;

use chrono::NaiveDate;
use dunet::db::entities::{tool_usage, usage_days, usage_hours, usage_months};
use dunet::domain::reports::{AuditFilter, AuditScope, CLIENTS_PER_PAGE, ClientFilter, ClientSort, DayRange, LogFilter, OdooState};
use dunet::domain::tenants::{NewTenant, TenantEdit};
use dunet::domain::usage::{LiveEvent, Outcome, UsageRecord, prune};
use dunet::ids::{TenantId, UsageId};
use futures::StreamExt;
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait, QueryOrder};

use crate::support::calls::call;
use crate::support::{Backend, TestApp, actor, until};

/// A tenant without an Odoo.
async fn plain(app: &TestApp, name: &str, plan: &str) -> TenantId {
    let new = NewTenant { name: name.to_owned(), rnc: None, plan: plan.to_owned(), odoo: None, tools: Vec::new() };
    app.state.tenants.tenant_add(new, &actor()).await.unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn failed(call: UsageRecord, code: &'static str) -> UsageRecord {
    UsageRecord { outcome: Outcome::Error, error_code: Some(code), ..call }
}

/// Every roll-up, as it stands.
async fn sums(app: &TestApp) -> (Vec<usage_months::Model>, Vec<usage_days::Model>, Vec<usage_hours::Model>) {
    use usage_days::Column as Day;
    let db = &app.state.db;
    let days = usage_days::Entity::find().order_by_asc(Day::ClientId).order_by_asc(Day::Day).order_by_asc(Day::Tool).order_by_asc(Day::Outcome).order_by_asc(Day::ErrorCode);
    (
        usage_months::Entity::find().order_by_asc(usage_months::Column::ClientId).order_by_asc(usage_months::Column::Month).all(db).await.unwrap(),
        days.all(db).await.unwrap(),
        usage_hours::Entity::find().order_by_asc(usage_hours::Column::ClientId).order_by_asc(usage_hours::Column::Hour).all(db).await.unwrap(),
    )
}

fn some_calls(a: TenantId, b: TenantId) -> Vec<UsageRecord> {
    let mut calls = vec![
        // The last minute of October and the first of November there.
        UsageRecord { total_us: 30_000, odoo_us: 20_000, odoo_requests: 2, ..call(a, "2026-11-01T03:59:59Z") },
        call(a, "2026-11-01T04:00:00Z"),
        failed(call(a, "2026-11-22T14:10:00Z"), "no_encontrado"),
        UsageRecord { outcome: Outcome::Refused, error_code: Some("argumento_invalido"), counted: false, ..call(b, "2026-11-22T14:20:00.123456Z") },
        UsageRecord { tool: "buscar_cliente", total_us: 60_000_000, odoo_us: 59_000_000, odoo_requests: 1, ..call(b, "2026-11-22T14:30:00Z") },
    ];
    calls.extend((0..150).map(|second| call(b, &format!("2026-11-{:02}T{:02}:00:00Z", 1 + second % 21, second % 24))));
    calls
}

#[tokio::test]
async fn the_sums_are_those_of_the_calls_however_often_they_are_delivered() {
    TestApp::everywhere(|app| async move {
        let (a, b) = (plain(&app, "A", "pro").await, plain(&app, "B", "pro").await);
        let calls = some_calls(a, b);
        app.made(&calls).await;
        let first = sums(&app).await;
        // Again, and within one batch; changed too.
        app.made(&calls).await;
        // (Its id and its beginning are made once, together.)
        let twice = UsageRecord { id: calls[0].id, started_at: calls[0].started_at, counted: false, total_us: 1, ..call(b, "2026-11-22T14:10:00Z") };
        let fresh = UsageRecord { id: UsageId::new(), ..calls[1].clone() };
        app.made(&[twice, fresh.clone(), fresh]).await;
        let second = sums(&app).await;
        assert_eq!(second.0.iter().map(|month| month.calls).sum::<i64>(), i64::try_from(calls.len()).unwrap() + 1);
        assert_eq!(tool_usage::Entity::find().count(&app.state.db).await.unwrap(), calls.len() as u64 + 1);
        let months: Vec<_> = first.0.iter().map(|row| (row.client_id == a.uuid(), row.month, row.calls, row.counted, row.failed)).collect();
        assert_eq!(months, [(true, 202_610, 1, 1, 0), (true, 202_611, 2, 2, 1), (false, 202_610, 2, 2, 0), (false, 202_611, 150, 149, 0)]);
        // Filled from the calls themselves, they are the same to the last bucket.
        migration::rollups::fill(&app.state.db).await.unwrap();
        assert_eq!(sums(&app).await, second);
    })
    .await;
}

/// A process that is killed between storing a batch and forgetting it delivers it again.
#[tokio::test]
async fn calls_of_a_killed_process_are_summed_once() {
    for backend in crate::support::backends() {
        let mut app = TestApp::start(backend, &[]).await;
        let tenant = plain(&app, "A", "pro").await;
        let calls: Vec<UsageRecord> = (0..20).map(|_| call(tenant, "2026-11-22T14:00:00Z")).collect();
        app.made(&calls).await;
        app.stop().await;
        // Its journal, as if it had not come to emptying it: another process writes one and is killed.
        let other = app.another_process().await;
        for call in &calls {
            other.usage.record(call);
        }
        other.usage.record(&call(tenant, "2026-11-22T14:00:00Z"));
        drop(other);
        let app = app.restarted().await;
        let (months, _, hours) = sums(&app).await;
        assert_eq!((months[0].calls, hours.len(), hours[0].calls), (21, 2, 21));
    }
}

#[tokio::test]
async fn the_panel_shows_the_service() {
    TestApp::everywhere(|app| async move {
        let (a, b) = (plain(&app, "Ana", "gratis").await, plain(&app, "Beto", "basic").await);
        let gone = plain(&app, "Gone", "pro").await;
        app.edit(gone, TenantEdit { active: Some(false), ..TenantEdit::default() }).await;
        let mut calls = vec![failed(call(a, "2026-11-22T14:59:00Z"), "odoo_caido"), UsageRecord { outcome: Outcome::Cancelled, ..call(b, "2026-11-20T12:00:00Z") }];
        calls.extend((0..79).map(|_| UsageRecord { total_us: 40_000, odoo_us: 30_000, odoo_requests: 1, ..call(a, "2026-11-21T15:00:00Z") }));
        calls.push(call(b, "2026-10-31T15:00:00Z"));
        app.made(&calls).await;
        let panel = app.state.reports.panel(DayRange::last_days(app.clock.now(), 7), &[b], Vec::new()).await.unwrap();
        assert_eq!((panel.clients, panel.clients_active, panel.revenue_usd_cents), (3, 2, 2_000));
        assert_eq!((panel.calls_today, panel.calls_month, panel.calls), (1, 81, 81));
        assert_eq!(panel.success_rate, Some(98.75));
        assert_eq!(panel.days.iter().map(|day| (day.calls, day.failed)).collect::<Vec<_>>(), [(0, 0), (0, 0), (0, 0), (0, 0), (1, 0), (79, 0), (1, 1)]);
        assert_eq!((panel.tools.len(), panel.tools[0].calls, panel.tools[0].cancelled), (1, 81, 1));
        let p95 = |of: dunet::domain::reports::Quantiles| of.p95_ms.unwrap();
        assert!(
            (25.0..50.0).contains(&p95(panel.times.total)) && (25.0..50.0).contains(&p95(panel.times.odoo)) && (5.0..10.0).contains(&p95(panel.times.own)),
            "{:?}",
            panel.times
        );
        assert_eq!((panel.times.odoo.calls, panel.times.odoo.mean_ms), (79, Some(30.0)));
        // Eighty of a hundred are used.
        assert_eq!(panel.near_quota.iter().map(|client| (client.name.as_str(), client.used, client.percent)).collect::<Vec<_>>(), [("Ana", 80, 80)]);
        assert_eq!((panel.near_quota_count, panel.paused[0].name.as_str()), (1, "Beto"));
        assert_eq!(panel.errors.iter().map(|row| (row.client.as_deref(), row.error_code.as_deref())).collect::<Vec<_>>(), [(Some("Ana"), Some("odoo_caido"))]);
        // What is an ordinary answer is none of them.
        app.made(&[failed(call(a, "2026-11-22T15:00:00Z"), "no_encontrado"), failed(call(b, "2026-11-22T15:00:00Z"), "error_interno")]).await;
        let panel = app.state.reports.panel(DayRange::last_days(app.clock.now(), 7), &[], vec!["no_encontrado", "varios_posibles"]).await.unwrap();
        assert_eq!(panel.errors.iter().filter_map(|row| row.error_code.as_deref()).collect::<Vec<_>>(), ["error_interno", "odoo_caido"]);
    })
    .await;
}

#[tokio::test]
async fn an_empty_service_has_reports_too() {
    TestApp::everywhere(|app| async move {
        let reports = &app.state.reports;
        let range = DayRange::last_days(app.clock.now(), 30);
        let panel = reports.panel(range, &[], Vec::new()).await.unwrap();
        assert_eq!((panel.clients, panel.success_rate, panel.times.total.p95_ms, panel.errors.len()), (0, None, None, 0));
        assert_eq!(reports.metrics(range, None).await.unwrap().heat.max, 0);
        assert!(reports.client_rows(&ClientFilter::default(), ClientSort::Calls, None).await.unwrap().rows.is_empty());
        assert_eq!(reports.log_page(&LogFilter::default(), None, 100).await.unwrap().next, None);
        assert_eq!(reports.agents_seen(TenantId::new()).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn clients_are_found_sorted_and_paged() {
    TestApp::everywhere(|app| async move {
        let mut ids = Vec::new();
        for number in 0..CLIENTS_PER_PAGE + 10 {
            ids.push(plain(&app, &format!("Cliente {:02}", (number * 7) % 60), if number % 2 == 0 { "basic" } else { "pro" }).await);
        }
        let odd = plain(&app, "100%_Ñandú", "gratis").await;
        app.edit(odd, TenantEdit { rnc: Some("131-79391-6".to_owned()), ..TenantEdit::default() }).await;
        app.made(&[
            call(ids[3], "2026-11-22T10:00:00Z"),
            call(ids[3], "2026-11-22T11:00:00Z"),
            failed(call(ids[5], "2026-11-22T12:00:00Z"), "x"),
            call(odd, "2026-10-01T12:00:00Z"),
        ])
        .await;
        let reports = &app.state.reports;
        for sort in [ClientSort::Name, ClientSort::Newest, ClientSort::Calls] {
            let first = reports.client_rows(&ClientFilter::default(), sort, None).await.unwrap();
            assert_eq!(first.rows.len(), CLIENTS_PER_PAGE);
            // Somebody new before the second page moves nothing on it.
            let new = plain(&app, "AAA nueva", "pro").await;
            let second = reports.client_rows(&ClientFilter::default(), sort, first.next.as_deref()).await.unwrap();
            assert_eq!(second.next, None);
            let seen: HashSet<TenantId> = first.rows.iter().chain(&second.rows).map(|row| row.id).collect();
            let extra = usize::from(seen.contains(&new));
            assert_eq!(first.rows.len() + second.rows.len(), seen.len(), "none twice");
            assert!(ids.iter().chain([&odd]).all(|id| seen.contains(id)), "none left out by {sort:?}");
            assert!(extra == 0 || sort == ClientSort::Calls);
            match sort {
                ClientSort::Name => assert!(first.rows.is_sorted_by_key(|row| row.name.to_lowercase())),
                ClientSort::Newest => assert_eq!(first.rows[0].created_at, app.clock.now()),
                ClientSort::Calls => assert_eq!(first.rows.iter().take(3).map(|row| (row.id == ids[3], row.calls)).collect::<Vec<_>>(), [(true, 2), (false, 1), (false, 0)]),
            }
            app.state.db.execute_unprepared("delete from clients where name = 'AAA nueva'").await.unwrap();
        }
        let find = async |filter: ClientFilter| reports.client_rows(&filter, ClientSort::Name, None).await.unwrap().rows;
        for search in ["ñandú", "NANDU", "131-79", "13179391", "100%"] {
            let rows = find(ClientFilter { search: Some(search.to_owned()), ..ClientFilter::default() }).await;
            assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [odd], "{search}");
        }
        assert_eq!(find(ClientFilter { search: Some("%".to_owned()), ..ClientFilter::default() }).await, []);
        let rows = find(ClientFilter { plan: Some("gratis".to_owned()), active: Some(true), odoo: Some(OdooState::Missing), ..ClientFilter::default() }).await;
        assert_eq!((rows.len(), rows[0].quota, rows[0].calls, rows[0].error_rate), (1, Some(100), 0, None));
        assert_eq!(rows[0].last_call_at, Some("2026-10-01T12:00:00Z".parse().unwrap()), "in a month before this one too");
        assert_eq!(find(ClientFilter { odoo: Some(OdooState::Paused), paused: vec![odd], ..ClientFilter::default() }).await.len(), 0, "without an Odoo it cannot be down");
        let five = find(ClientFilter { search: Some("cliente 35".to_owned()), ..ClientFilter::default() }).await;
        assert_eq!((five[0].id, five[0].calls, five[0].error_rate), (ids[5], 1, Some(100.0)));
    })
    .await;
}

#[tokio::test]
async fn a_clients_page_knows_only_its_own_and_foresees_the_month() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant_on("Uno", "gratis", dunet::odoo::ProtocolChoice::Auto).await;
        let other = plain(&app, "Otro", "pro").await;
        app.made(&[failed(call(other, "2026-11-22T14:00:00Z"), "x"), UsageRecord { agent: Some("ajeno".to_owned()), ..call(other, "2026-11-22T14:00:00Z") }]).await;
        let reports = &app.state.reports;
        let (tools, found) = (dunet::tools::TOOLS.iter().map(|tool| tool.facts().name).collect::<Vec<_>>(), app.state.tenants.tenant_find(tenant.id).await.unwrap());
        let fresh = reports.client_summary(&found, &tools, false).await.unwrap();
        assert_eq!((fresh.calls, fresh.last_call_at, fresh.tokens_active, fresh.odoo), (0, None, 1, OdooState::Connected));
        assert_eq!((fresh.onboarding.done(), fresh.onboarding.tools, fresh.onboarding.tokens), ([true, true, true, true, false], 2, 1));
        assert_eq!(reports.onboarding(&found, &tools).await.unwrap(), fresh.onboarding);
        assert_eq!((fresh.usage.forecast, fresh.usage.used_up_on, fresh.usage.left), (0, None, Some(100)));

        // Two weeks later it has used 28 in them, two a day; there are eight days to the month's end.
        app.state.db.execute_unprepared("update clients set created_at = '2026-10-01T00:00:00+00:00'").await.unwrap();
        let mut calls: Vec<UsageRecord> = (9..=22).flat_map(|day| (0..2).map(move |_| call(tenant.id, &format!("2026-11-{day:02}T12:00:00Z")))).collect();
        calls.push(UsageRecord { outcome: Outcome::Refused, counted: false, ..call(tenant.id, "2026-11-22T12:00:00Z") });
        app.made(&calls).await;
        let usage = reports.usage_against_plan(&found).await.unwrap();
        assert_eq!((usage.used, usage.limit, usage.percent, usage.resets_on), (28, Some(100), Some(28), day("2026-12-01")));
        // 13 days and 11 hours since the 9th: 2.1 a day; 8 days and 13 hours to come.
        assert_eq!((usage.pace_per_day, usage.forecast, usage.used_up_on), (2.1, 28 + 18, None));
        // The same for a client that was made today and brought its calls along.
        app.state.db.execute_unprepared("update clients set created_at = '2026-11-22T14:00:00+00:00'").await.unwrap();
        assert_eq!(reports.usage_against_plan(&found).await.unwrap().pace_per_day, 2.1);
        app.made(&(0..60).map(|_| call(tenant.id, "2026-11-22T13:00:00Z")).collect::<Vec<_>>()).await;
        let usage = reports.usage_against_plan(&found).await.unwrap();
        // Twelve left at six and a half a day.
        assert_eq!((usage.left, usage.used_up_on), (Some(12), Some(day("2026-11-24"))));
        app.made(&(0..12).map(|_| call(tenant.id, "2026-11-22T13:00:00Z")).collect::<Vec<_>>()).await;
        assert_eq!(reports.usage_against_plan(&found).await.unwrap().used_up_on, Some(day("2026-11-22")));

        let rows = reports.client_tools(&found, &tools).await.unwrap();
        let row = rows.iter().find(|row| row.tool == "consultar_rnc_dgii").unwrap();
        assert_eq!((rows.len(), row.enabled, row.calls, row.error_rate, row.calls_per_hour), (tools.len(), true, 101, Some(0.0), Some(1_000)));
        assert_eq!(rows.iter().filter(|row| row.enabled).count(), 2);
        let agents = reports.agents_seen(tenant.id).await.unwrap();
        assert_eq!(agents.iter().map(|agent| (agent.agent.as_deref(), agent.calls, agent.failed)).collect::<Vec<_>>(), [(Some("prueba 1"), 101, 0)]);
        assert_eq!(agents[0].last_at, "2026-11-22T13:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap());
        let metrics = reports.metrics(DayRange::last_days(app.clock.now(), 30), Some(tenant.id)).await.unwrap();
        assert_eq!((metrics.calls, metrics.errors.len(), metrics.clients.len()), (101, 0, 0));
        let log = reports.log_page(&LogFilter { tenant: Some(tenant.id), ..LogFilter::default() }, None, 1_000).await.unwrap();
        assert!(log.rows.len() == 101 && log.rows.iter().all(|row| row.tenant == tenant.id));
    })
    .await;
}

#[tokio::test]
async fn metrics_are_of_any_range() {
    TestApp::everywhere(|app| async move {
        let (a, b) = (plain(&app, "Ana", "pro").await, plain(&app, "Beto", "pro").await);
        app.made(&[
            // Sunday the 22nd at ten in the morning there; Monday the 2nd at eleven at night.
            call(a, "2026-11-22T14:00:00Z"),
            failed(UsageRecord { tool: "buscar_cliente", ..call(a, "2026-11-22T14:30:00Z") }, "no_encontrado"),
            call(b, "2026-11-03T03:30:00Z"),
            call(b, "2026-10-15T12:00:00Z"),
        ])
        .await;
        let all = app.state.reports.metrics(DayRange::new(day("2026-11-01"), day("2026-11-30")), None).await.unwrap();
        assert_eq!((all.calls, all.error_rate, all.heat.max), (3, Some(33.33), 2));
        assert_eq!((all.heat.hours[6][10], all.heat.hours[0][23]), (2, 1));
        assert_eq!(all.errors.iter().map(|error| (error.tool.as_str(), error.error_code.as_str(), error.calls)).collect::<Vec<_>>(), [("buscar_cliente", "no_encontrado", 1)]);
        assert_eq!(all.clients.iter().map(|client| (client.name.as_str(), client.calls)).collect::<Vec<_>>(), [("Ana", 2), ("Beto", 1)]);
        let one = app.state.reports.metrics(DayRange::new(day("2026-11-02"), day("2026-11-02")), None).await.unwrap();
        assert_eq!((one.calls, one.days.len(), one.clients.len(), one.heat.max), (1, 1, 1, 1));
    })
    .await;
}

#[tokio::test]
async fn the_log_is_searched_and_paged() {
    TestApp::everywhere(|app| async move {
        let (a, b) = (plain(&app, "=Fórmula, S.A.", "pro").await, plain(&app, "Beto", "pro").await);
        // Several at the same instant: the page's end must tell them apart.
        let mut calls: Vec<UsageRecord> = (0..25).map(|number| call(a, &format!("2026-11-2{}T12:00:00Z", number / 10))).collect();
        calls[7] = UsageRecord { request_id: "abc_1-x".to_owned(), tool: "buscar_cliente", agent: Some("-2+3".to_owned()), ..calls[7].clone() };
        calls[8] = failed(calls[8].clone(), "no_encontrado");
        calls.push(UsageRecord { request_id: "abcd1".to_owned(), ..call(b, "2026-11-22T12:00:00Z") });
        app.made(&calls).await;
        let reports = &app.state.reports;
        let filter = LogFilter { tenant: Some(a), ..LogFilter::default() };
        let (mut seen, mut after) = (Vec::new(), None);
        for _ in 0..4 {
            let page = reports.log_page(&filter, after.as_deref(), 7).await.unwrap();
            seen.extend(page.rows);
            after = page.next;
            // New calls come at the other end.
            app.made(&[call(a, "2026-11-22T14:00:00Z")]).await;
        }
        assert_eq!(after, None);
        assert_eq!((seen.len(), seen.iter().map(|row| row.id).collect::<HashSet<_>>().len()), (25, 25));
        assert!(seen.is_sorted_by_key(|row| std::cmp::Reverse((row.started_at, row.id))));

        let count = async |filter: LogFilter| {
            let page = reports.log_page(&filter, None, 100).await.unwrap();
            assert_eq!(page.next, None);
            page.rows.len()
        };
        let all = LogFilter::default;
        assert_eq!(count(LogFilter { tool: Some("buscar_cliente".to_owned()), ..all() }).await, 1);
        assert_eq!(count(LogFilter { outcome: Some("error".to_owned()), ..all() }).await, 1);
        assert_eq!(count(LogFilter { outcome: Some("error".to_owned()), tenant: Some(b), ..all() }).await, 0);
        // An underscore is an underscore.
        assert_eq!(count(LogFilter { request_id: Some("abc_1".to_owned()), ..all() }).await, 1);
        assert_eq!(count(LogFilter { request_id: Some("abc".to_owned()), tenant: Some(a), ..all() }).await, 1);
        let at = |text: &str| Some(text.parse().unwrap());
        assert_eq!(count(LogFilter { from: at("2026-11-21T12:00:00Z"), to: at("2026-11-22T12:00:00Z"), ..all() }).await, 10);

        let lines: Vec<String> = reports.log_csv(LogFilter { tool: Some("buscar_cliente".to_owned()), ..all() }).map(Result::unwrap).collect().await;
        assert!(lines[0].starts_with("started_at,client,"));
        assert!(lines[1].starts_with("2026-11-20T12:00:00.000Z,\"'=Fórmula, S.A.\",") && lines[1].contains(",0.800,0.000,0,'-2+3,abc_1-x,"), "{}", lines[1]);
        let all_lines: Vec<String> = reports.log_csv(all()).map(Result::unwrap).collect().await;
        assert_eq!(all_lines.concat().matches("\r\n").count(), 31);
    })
    .await;
}

#[tokio::test]
async fn the_audit_is_paged_and_a_tenants_is_its_own() {
    TestApp::everywhere(|app| async move {
        let (a, b) = (plain(&app, "Ana", "pro").await, plain(&app, "Beto", "pro").await);
        for number in 0..5 {
            app.edit(a, TenantEdit { name: Some(format!("Ana {number}")), ..TenantEdit::default() }).await;
        }
        let reports = &app.state.reports;
        let first = reports.audit_page(&AuditFilter { scope: AuditScope::Tenant(a), ..AuditFilter::default() }, None, 4).await.unwrap();
        let second = reports.audit_page(&AuditFilter { scope: AuditScope::Tenant(a), ..AuditFilter::default() }, first.next.as_deref(), 4).await.unwrap();
        assert_eq!((first.rows.len(), second.rows.len(), second.next), (4, 2, None));
        assert_eq!((first.rows[0].client.as_deref(), first.rows[0].after.as_ref().unwrap()["name"].as_str()), (Some("Ana 4"), Some("Ana 4")));
        assert!(first.rows.iter().chain(&second.rows).all(|row| row.tenant == Some(a)));
        let count = async |filter: AuditFilter| reports.audit_page(&filter, None, 500).await.unwrap().rows.len();
        assert_eq!(count(AuditFilter { action: Some("tenant.add".to_owned()), ..AuditFilter::default() }).await, 2);
        assert_eq!(count(AuditFilter { scope: AuditScope::Tenant(b), ..AuditFilter::default() }).await, 1);
        assert_eq!(count(AuditFilter { scope: AuditScope::Service, ..AuditFilter::default() }).await, 0);
        assert_eq!(count(AuditFilter { actor: Some("nobody".to_owned()), ..AuditFilter::default() }).await, 0);
        assert_eq!(count(AuditFilter { to: Some(app.clock.now()), ..AuditFilter::default() }).await, 0);
    })
    .await;
}

#[tokio::test]
async fn old_calls_go_and_their_sums_stay() {
    TestApp::everywhere(|app| async move {
        let tenant = plain(&app, "Ana", "pro").await;
        app.made(&[call(tenant, "2026-01-01T12:00:00Z"), call(tenant, "2026-10-10T12:00:00Z"), call(tenant, "2026-10-20T12:00:00Z"), call(tenant, "2026-11-01T12:00:00Z")]).await;
        let before = sums(&app).await;
        let now = app.clock.now();
        assert_eq!(prune(&app.state.db, now, 400).await.unwrap(), 0);
        // Forty days at least are kept: from the 13th of October. On PostgreSQL October goes as a whole, when its last day may.
        let parted = app.backend == Backend::Postgres;
        let left = async || {
            let left = tool_usage::Entity::find().order_by_asc(tool_usage::Column::StartedAt).all(&app.state.db).await.unwrap();
            left.iter().map(|row| row.billing_month).collect::<Vec<_>>()
        };
        assert_eq!(prune(&app.state.db, now, 1).await.unwrap(), if parted { 1 } else { 2 });
        assert_eq!(left().await, if parted { vec![202_610, 202_610, 202_611] } else { vec![202_610, 202_611] });
        assert_eq!(prune(&app.state.db, now + chrono::Duration::hours(18 * 24 + 14), 1).await.unwrap(), if parted { 2 } else { 1 });
        assert_eq!(left().await, [202_611]);
        assert_eq!(sums(&app).await, before);
    })
    .await;
}

#[tokio::test]
async fn calls_are_heard_as_they_end() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let (a, b) = (app.tenant("Uno").await, app.tenant("Dos").await);
        let mut heard = app.state.usage.live(Some(a.id));
        app.client(&b.token).call("consultar_rnc_dgii", serde_json::json!({ "rnc": "131793916" })).await;
        app.client(&a.token).call("consultar_rnc_dgii", serde_json::json!({ "rnc": "131793916" })).await;
        let Some(LiveEvent::Call(call)) = heard.next().await else { panic!("a call") };
        assert_eq!((call.tenant, &*call.tool, &*call.outcome), (a.id, "consultar_rnc_dgii", "ok"));
        app.usage_rows(2).await;
        until("the sums", || async { usage_months::Entity::find().count(&app.state.db).await.unwrap() == 2 }).await;
    })
    .await;
}
