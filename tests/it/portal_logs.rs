//! The log: calls as they end, as a stream of rows, and the history. Each sees their own and no values of arguments.

use chrono::Duration;
use dunet::domain::tenants::NewTenant;
use dunet::domain::usage::{Outcome, UsageRecord};
use dunet::domain::users::Level;
use dunet::ids::TenantId;
use http::StatusCode;
use serde_json::json;

use crate::support::calls::call;
use crate::support::portal::{Browser, Events, Said};
use crate::support::{TestApp, actor, backends};

const NOW: &str = "2026-11-22T14:59:00Z";

/// A tenant without an Odoo.
async fn plain(app: &TestApp, name: &str) -> TenantId {
    let new = NewTenant { name: name.to_owned(), rnc: None, plan: "pro".to_owned(), odoo: None, tools: Vec::new() };
    app.state.tenants.tenant_add(new, &actor()).await.unwrap()
}

/// A call by an agent of that name.
fn by(agent: &str, tenant: TenantId) -> UsageRecord {
    UsageRecord { agent: Some(agent.to_owned()), ..call(tenant, NOW) }
}

fn logs(tenant: TenantId) -> String {
    format!("/admin/clients/{tenant}/logs")
}

/// Reads to the end, and gives what ended it.
async fn end(events: &mut Events) -> Option<Said> {
    let mut last = None;
    while let Some(said) = events.next().await {
        last = Some(said);
    }
    last
}

async fn told_to_go(events: &mut Events, to: &str) {
    let said = end(events).await.expect("something said");
    assert_eq!((said.event.as_str(), said.data.as_str()), ("end", to));
}

fn rows(text: &str) -> usize {
    text.matches("<tr id=\"c-").count()
}

#[tokio::test]
async fn each_sees_their_own_calls_in_stream_history_and_file() {
    TestApp::everywhere(|app| async move {
        let (a, b) = (plain(&app, "Ana SRL").await, plain(&app, "Beto SRL").await);
        let (member, operator) = (app.member(a, "ana@a.do", Level::Viewer).await, app.operator().await);
        app.made(&[by("canario-a-viejo", a), by("canario-b-viejo", b)]).await;
        let mut own = member.stream(&logs(a), None).await;
        assert_eq!(own.response.status(), StatusCode::OK);
        let header = |name: &str| own.response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!([header("content-type"), header("cache-control"), header("x-accel-buffering")], ["text/event-stream", "no-store", "no"]);
        // Asking for somebody else's by the filter changes nothing.
        let mut asked = member.stream(&format!("{}?cliente={b}", logs(a)), None).await;
        let mut all = operator.stream("/admin/logs", None).await;
        let mut one = operator.stream(&format!("/admin/logs?cliente={b}"), None).await;
        app.made(&[by("canario-b", b), by("canario-a", a)]).await;
        app.made(&[by("canario-b-final", b), by("canario-a-final", a)]).await;
        for events in [&mut own, &mut asked] {
            let said = events.until("canario-a-final").await;
            assert!(
                said.iter().any(|said| said.data.contains("canario-a<")) && said.iter().all(|said| !said.data.contains("canario-b") && !said.data.contains("Beto")),
                "{said:?}"
            );
            assert!(said.iter().all(|said| said.event == "swap" && said.data.starts_with("<tr id=\"c-")), "{said:?}");
        }
        let said = all.until("canario-a-final").await;
        let has = |text: &str| said.iter().any(|said| said.data.contains(text));
        assert!(has("canario-b<") && has("Beto SRL") && has("Ana SRL") && has(&format!("/admin/clients/{a}")), "{said:?}");
        let said = one.until("canario-b-final").await;
        assert!(said.iter().all(|said| !said.data.contains("canario-a")), "{said:?}");
        for path in
            [logs(a), format!("{}/history", logs(a)), format!("{}/history?cliente={b}", logs(a)), format!("{}/csv?cliente={b}", logs(a)), format!("/admin/clients/{a}/agents")]
        {
            let page = member.get(&path).await;
            assert!(
                page.status == StatusCode::OK && page.text.contains("canario-a-viejo") && !page.text.contains("canario-b") && !page.text.contains("Beto"),
                "{path}: {}",
                page.text
            );
        }
        for path in ["/admin/logs", "/admin/logs/history", "/admin/logs/csv"] {
            let page = operator.get(path).await;
            assert!(page.text.contains("canario-a-viejo") && page.text.contains("canario-b-viejo"), "{path}");
            assert_eq!(member.get(path).await.status, StatusCode::FORBIDDEN, "{path}");
        }
        // Streams are behind the same door as pages.
        assert_eq!(member.stream("/admin/logs", None).await.response.status(), StatusCode::FORBIDDEN);
        assert_eq!(member.stream(&logs(b), None).await.response.status(), StatusCode::NOT_FOUND);
        assert_eq!(operator.stream(&logs(TenantId::new()), None).await.response.status(), StatusCode::NOT_FOUND);
        assert_eq!(operator.stream("/admin/logs?cliente=nadie", None).await.response.status(), StatusCode::NOT_FOUND);
        assert_eq!(Browser::new(&app).stream("/admin/logs", None).await.response.status(), StatusCode::SEE_OTHER);
    })
    .await;
}

#[tokio::test]
async fn a_call_appears_without_its_arguments() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let operator = app.operator().await;
        let mut events = operator.stream("/admin/logs", None).await;
        app.client(&tenant.token).call("buscar_cliente", json!({ "consulta": "canario-argumento" })).await;
        let said = events.until("buscar_cliente").await.pop().unwrap();
        assert!(said.data.contains("Ferretería") && said.data.contains("Bien") && !said.data.contains("canario-argumento"), "{said:?}");
        app.usage_rows(1).await;
        for path in ["/admin/logs", "/admin/logs/history", "/admin/logs/csv"] {
            let page = operator.get(path).await;
            assert!(page.text.contains("buscar_cliente") && !page.text.contains("canario-argumento"), "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_follows_its_filter() {
    TestApp::everywhere(|app| async move {
        let tenant = plain(&app, "Ana").await;
        let operator = app.operator().await;
        let mut events = operator.stream("/admin/logs?herramienta=buscar_cliente&resultado=error", None).await;
        let other = UsageRecord { tool: "buscar_cliente", ..by("otro-resultado", tenant) };
        let failed = UsageRecord { outcome: Outcome::Error, error_code: Some("odoo_caido"), ..by("otra-herramienta", tenant) };
        let both = UsageRecord { tool: "buscar_cliente", outcome: Outcome::Error, error_code: Some("odoo_caido"), ..by("<b>ambos</b>", tenant) };
        app.made(&[other, failed, both]).await;
        let said = events.until("ambos").await;
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].data.contains("odoo_caido") && said[0].data.contains("&lt;b&gt;ambos") && said[0].data.contains("data-resultado=\"error\""), "{said:?}");
    })
    .await;
}

/// Between the page and its stream, and while the browser was away.
#[tokio::test]
async fn what_ended_meanwhile_is_caught_up_with() {
    TestApp::everywhere(|app| async move {
        let tenant = plain(&app, "Ana").await;
        let operator = app.operator().await;
        let at = |agent: &str, second: u32| UsageRecord { agent: Some(agent.to_owned()), ..call(tenant, &format!("2026-11-22T14:59:{second:02}Z")) };
        let (old, between) = (at("viejo", 1), at("entretanto", 2));
        app.made(std::slice::from_ref(&old)).await;
        let page = operator.get("/admin/logs").await;
        let stream = page.text.split("data-stream=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
        assert!(stream.ends_with(&old.id.to_string()), "{stream}");
        app.made(std::slice::from_ref(&between)).await;
        let said = operator.stream(&stream, None).await.until("entretanto").await;
        assert_eq!((said.len(), said[0].id.as_str()), (1, between.id.to_string().as_str()));
        app.made(&[at("lejos", 3)]).await;
        let said = operator.stream(&stream, Some(&said[0].id)).await.until("lejos").await;
        assert_eq!(said.len(), 1, "{said:?}");
        // More than can be caught up with: it is said.
        app.made(&(10..59).map(|second| at("muchas", second)).chain([at("muchas", 4), at("muchas", 5)]).collect::<Vec<_>>()).await;
        let said = operator.stream(&stream, None).await.until("Aquí faltan llamadas").await;
        assert_eq!(said.len(), 51, "{said:?}");
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_with_its_session_and_with_its_right() {
    TestApp::everywhere_with(&["--session-idle-s", "600"], |app| async move {
        let tenant = plain(&app, "Ana").await;
        // Signing out.
        let operator = app.operator().await;
        let mut events = operator.stream("/admin/logs", None).await;
        app.made(&[by("antes", tenant)]).await;
        events.until("antes").await;
        assert_eq!(operator.post("/admin/profile", "/admin/salir", &[]).await.status, StatusCode::SEE_OTHER);
        told_to_go(&mut events, "/admin/entrar?to=%2Fadmin%2Flogs").await;
        // Losing the membership.
        let (owner, viewer) = (app.member(tenant, "due@a.do", Level::Owner).await, app.member(tenant, "ve@a.do", Level::Viewer).await);
        let mut events = viewer.stream(&logs(tenant), None).await;
        let user = app.state.users.user_by_email("ve@a.do").await.unwrap().to_string();
        let members = format!("/admin/clients/{tenant}/members");
        assert_eq!(owner.post(&members, &format!("{members}/remove"), &[("user", &user)]).await.status, StatusCode::SEE_OTHER);
        told_to_go(&mut events, "/admin").await;
        // An open page does not keep a session open.
        let mut events = owner.stream(&logs(tenant), None).await;
        app.clock.advance(Duration::seconds(400));
        app.made(&[by("todavía", tenant)]).await;
        events.until("todavía").await;
        app.clock.advance(Duration::seconds(201));
        told_to_go(&mut events, &format!("/admin/entrar?to=%2Fadmin%2Fclients%2F{tenant}%2Flogs")).await;
    })
    .await;
}

#[tokio::test]
async fn streams_end_when_the_service_stops() {
    for backend in backends() {
        let mut app = TestApp::start(backend, &[]).await;
        let tenant = plain(&app, "Ana").await;
        let operator = app.operator().await;
        let mut events = operator.stream("/admin/logs", None).await;
        app.made(&[by("antes", tenant)]).await;
        events.until("antes").await;
        // Within the time that requests have to end: nobody is cut.
        tokio::time::timeout(std::time::Duration::from_secs(5), app.stop()).await.expect("nobody waits for a stream");
        assert_eq!(end(&mut events).await, None, "no word to stay away: the browser comes back");
    }
}

#[tokio::test]
async fn a_reader_who_is_slow_is_told_that_calls_are_missing() {
    TestApp::everywhere(|app| async move {
        let tenant = plain(&app, "Ana").await;
        let operator = app.operator().await;
        let mut events = operator.stream("/admin/logs", None).await;
        let many: Vec<UsageRecord> = (0..2_000).map(|_| by("muchas", tenant)).collect();
        app.made(&many).await;
        let said = events.until("Aquí faltan llamadas").await;
        assert!(said.len() < 200, "{}", said.len());
        // And it goes on, as soon as there is room again.
        for _ in 0..500 {
            app.made(&[by("después", tenant)]).await;
            if events.next().await.expect("it goes on").data.contains("después") {
                return;
            }
        }
        panic!("nothing more came");
    })
    .await;
}

#[tokio::test]
async fn the_oldest_stream_of_a_person_makes_room() {
    TestApp::everywhere(|app| async move {
        let tenant = plain(&app, "Ana").await;
        let (operator, other) = (app.operator().await, app.operator_named("otra@dunet.do").await);
        let mut others = other.stream("/admin/logs", None).await;
        let mut first = operator.stream("/admin/logs", None).await;
        let mut rest = Vec::new();
        for _ in 0..4 {
            rest.push(operator.stream("/admin/logs", None).await);
        }
        told_to_go(&mut first, "").await;
        app.made(&[by("todas", tenant)]).await;
        others.until("todas").await;
        for events in &mut rest {
            events.until("todas").await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_history_is_searched() {
    TestApp::everywhere(|app| async move {
        let (a, b) = (plain(&app, "Ferretería Ñandú").await, plain(&app, "Colmado Uno").await);
        plain(&app, "Colmado Dos").await;
        let operator = app.operator().await;
        let known = UsageRecord { request_id: "0198f3c2-aaaa-4000-8000-000000000001".to_owned(), ..by("sola", a) };
        let failed = UsageRecord { outcome: Outcome::Error, error_code: Some("odoo_caido"), tool: "buscar_cliente", ..by("fallida", b) };
        // The last minute of the 20th and the first of the 21st, there.
        let late = UsageRecord { agent: Some("veinte".to_owned()), ..call(a, "2026-11-21T03:59:59Z") };
        let early = UsageRecord { agent: Some("veintiuno".to_owned()), ..call(a, "2026-11-21T04:00:00Z") };
        app.made(&[known, failed, late, early]).await;
        let found = async |query: &str| {
            let page = operator.get(&format!("/admin/logs/history?{query}")).await;
            assert_eq!(page.status, StatusCode::OK, "{query}");
            ["sola", "fallida", "veinte<", "veintiuno"].into_iter().filter(|agent| page.text.contains(&format!(">{agent}"))).collect::<Vec<_>>()
        };
        assert_eq!(found("solicitud=0198F3C2").await, ["sola"]);
        assert_eq!(found("solicitud=%25").await, [""; 0], "no pattern");
        assert_eq!(found("resultado=error").await, ["fallida"]);
        assert_eq!(found("resultado=nada").await, [""; 0], "what does not exist finds nothing");
        assert_eq!(found("herramienta=buscar_cliente").await, ["fallida"]);
        assert_eq!(found("cliente=nandu").await, ["sola", "veinte<", "veintiuno"]);
        assert_eq!(found("cliente=colmado+uno").await, ["fallida"]);
        assert_eq!(found(&format!("cliente={b}")).await, ["fallida"]);
        assert_eq!(found("desde=2026-11-20&hasta=2026-11-20").await, ["veinte<"]);
        assert_eq!(found("desde=2026-11-21&hasta=2026-11-21").await, ["veintiuno"]);
        assert_eq!(found("cliente=colmado").await, [""; 0], "which one?");
        let page = operator.get("/admin/logs/history?cliente=colmado&resultado=error").await;
        assert!(page.text.contains("Hay varios clientes") && page.text.contains(">Colmado Dos</a>") && page.text.contains("resultado=error"), "{}", page.text);
        assert!(operator.get("/admin/logs/history?cliente=%3Cb%3Enadie").await.text.contains("&lt;b&gt;nadie"));
        for bad in ["desde=ayer", "hasta=2026-02-31", "desde=2026-11-22&hasta=2026-11-21"] {
            let page = operator.get(&format!("/admin/logs/history?{bad}")).await;
            assert!(page.text.contains("field-error") && rows(&page.text) == 0, "{bad}");
        }
        assert_eq!(operator.get("/admin/logs/csv?desde=ayer").await.status, StatusCode::BAD_REQUEST);
        assert_eq!(operator.get("/admin/logs/csv?cliente=colmado").await.status, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn the_history_goes_by_pages_and_leaves_nothing_out() {
    TestApp::everywhere(|app| async move {
        let tenant = plain(&app, "Ana").await;
        let member = app.member(tenant, "ana@a.do", Level::Viewer).await;
        // Many in the same second: the key is more than the time.
        let calls: Vec<UsageRecord> = (0..250).map(|number| call(tenant, &format!("2026-11-22T14:{:02}:00Z", number / 50))).collect();
        app.made(&calls).await;
        let (mut path, mut seen, mut pages) = (format!("{}/history?resultado=ok", logs(tenant)), Vec::new(), Vec::new());
        while !path.is_empty() {
            let page = member.get(&path).await;
            pages.push(rows(&page.text));
            seen.extend(page.text.split("<tr id=\"c-").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
            path = page.text.split("rel=\"next\" href=\"").nth(1).map(|rest| rest.split('"').next().unwrap().replace("&amp;", "&")).unwrap_or_default();
        }
        assert_eq!(pages, [100, 100, 50]);
        let mut wanted: Vec<String> = calls.iter().map(|call| call.id.to_string()).collect();
        wanted.sort();
        seen.sort();
        assert_eq!(seen, wanted);
    })
    .await;
}

#[tokio::test]
async fn the_file_is_whole_and_holds_no_formula() {
    TestApp::everywhere(|app| async move {
        let tenant = plain(&app, "=HYPERLINK(\"http://x\")").await;
        let operator = app.operator().await;
        let mut calls: Vec<UsageRecord> = (0..1_200).map(|number| call(tenant, &format!("2026-11-22T14:{:02}:00Z", number % 60))).collect();
        calls.push(by("+cmd|' /C calc'!A0", tenant));
        app.made(&calls).await;
        let page = operator.get("/admin/logs/csv").await;
        let header = |name: &str| page.headers[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "text/csv; charset=utf-8");
        assert_eq!(header("content-disposition"), "attachment; filename=\"dunet-registros-2026-11-22.csv\"");
        let text = page.text.strip_prefix('\u{feff}').expect("a mark that it is UTF-8");
        assert_eq!(text.lines().count(), calls.len() + 1);
        assert!(text.starts_with("started_at,client,") && text.contains("\"'=HYPERLINK(\"\"http://x\"\")\"") && text.contains("'+cmd|"), "{}", &text[..400]);
        assert!(text.lines().skip(1).all(|line| line.split(',').all(|cell| !cell.trim_start_matches('"').starts_with(['=', '+', '@']))));
    })
    .await;
}
