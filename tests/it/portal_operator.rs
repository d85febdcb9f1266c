//! What only operators do: the price list, the months, the settings, the audit; and what a client's own people see of it.

use chrono::{DateTime, Utc};
use dunet::db::entities::logs;
use dunet::domain::plans::plan_rows;
use dunet::domain::settings::Key;
use dunet::domain::tenants::NewTenant;
use dunet::domain::users::Level;
use dunet::ids::TenantId;
use http::StatusCode;
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel, Set};

use crate::support::calls::call;
use crate::support::portal::Page;
use crate::support::{TestApp, actor};

async fn client(app: &TestApp, name: &str) -> TenantId {
    let new = NewTenant { name: name.to_owned(), rnc: None, plan: "basic".to_owned(), odoo: None, tools: Vec::new() };
    app.state.tenants.tenant_add(new, &actor()).await.unwrap()
}

async fn rate(app: &TestApp) {
    let settings = &app.state.settings;
    settings.edit(&[(Key::UsdRate, "62.5".to_owned())], settings.get().edited_at, &actor()).await.unwrap();
}

fn go_to(app: &TestApp, at: &str) {
    app.clock.advance(at.parse::<DateTime<Utc>>().unwrap() - app.clock.now());
}

fn is_told_so(page: &Page) -> bool {
    page.status == StatusCode::CONFLICT && page.text.contains("class=\"error-page\"")
}

fn came_back(page: &Page, said: &str, typed: &str) -> bool {
    page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains(said) && page.text.contains(typed)
}

#[tokio::test]
async fn a_plan_is_edited_by_one_at_a_time() {
    TestApp::everywhere(|app| async move {
        client(&app, "Ferretería").await;
        let operator = app.operator().await;
        let edit = "/admin/billing/plan?code=basic";
        let page = operator.get(edit).await;
        let (csrf, version) = (page.hidden("csrf"), page.hidden("version"));
        let send = async |price: &str, version: &str, code: &str| {
            let fields = [
                ("csrf", csrf.as_str()),
                ("code", code),
                ("version", version),
                ("name", "Básico"),
                ("price", price),
                ("calls_per_month", "10,000"),
                ("tools_max", ""),
                ("position", "20"),
            ];
            operator.post_bare("/admin/billing/plan", &fields).await
        };
        for bad in ["doce", "-1", "1.234"] {
            let page = send(bad, &version, "basic").await;
            assert!(came_back(&page, "aria-invalid", &format!("value=\"{bad}\"")), "{bad}: {} {}", page.status, page.text);
        }
        assert_eq!(send("25,50", &version, "basic").await.status, StatusCode::SEE_OTHER);
        // The page of somebody who had it open meanwhile.
        let stale = send("99", &version, "basic").await;
        assert!(is_told_so(&stale), "{} {}", stale.status, stale.text);
        let plan = async |code: &str| plan_rows(&app.state.db).await.unwrap().into_iter().find(|row| row.code == code);
        let basic = plan("basic").await.unwrap();
        assert_eq!((basic.terms.price_usd_cents, basic.terms.calls_per_month, basic.terms.tools_max), (2_550, Some(10_000), None));
        assert!(operator.get("/admin/billing").await.text.contains("US$ 25.50"));

        // A new one; a second of its code is told so; removed when its code is typed, and never while somebody has it.
        assert_eq!(send("5", "", "chico").await.status, StatusCode::SEE_OTHER);
        assert!(came_back(&send("5", "", "chico").await, "aria-invalid", "value=\"chico\""));
        let delete = async |code: &str, confirm: &str| operator.post_bare("/admin/billing/plan/delete", &[("csrf", &csrf), ("code", code), ("confirm", confirm)]).await;
        assert!(came_back(&delete("chico", "otro").await, "aria-invalid", "chico"));
        assert_eq!(delete("basic", "basic").await.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(delete("chico", "chico").await.status, StatusCode::SEE_OTHER);
        assert!(plan("chico").await.is_none() && plan("basic").await.is_some());
        assert_eq!(operator.get("/admin/billing/plan?code=chico").await.status, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn settings_saved_over_newer_ones_are_told_so() {
    TestApp::everywhere(|app| async move {
        let operator = app.operator().await;
        let path = "/admin/configs";
        let page = operator.get(path).await;
        let (csrf, seen) = (page.hidden("csrf"), page.hidden("seen"));
        let send = async |seen: &str, rate: &str| operator.post_bare(path, &[("csrf", &csrf), ("seen", seen), ("usd_rate", rate), ("itbis_percent", "18")]).await;
        for bad in ["cero", "0", "62.123456"] {
            assert!(came_back(&send(&seen, bad).await, "aria-invalid", &format!("value=\"{bad}\"")), "{bad}");
        }
        assert_eq!(send(&seen, "62.45").await.status, StatusCode::SEE_OTHER);
        assert!(is_told_so(&send(&seen, "1").await));
        assert_eq!(app.state.settings.get().usd_rate.unwrap().to_string(), "62.45");
        // The other groups stay as they are; a plan that there is not is no choice.
        let now = operator.get(path).await.hidden("seen");
        let general = [("csrf", csrf.as_str()), ("seen", now.as_str()), ("public_mail", "hola@dunet.do"), ("maintenance", "")];
        assert_eq!(operator.post_bare(path, &general).await.status, StatusCode::SEE_OTHER);
        let settings = app.state.settings.get();
        assert_eq!((settings.public_mail.as_deref(), settings.usd_rate.map(|rate| rate.to_string()).as_deref()), (Some("hola@dunet.do"), Some("62.45")));
        let now = operator.get(path).await.hidden("seen");
        let sign_up = [("csrf", csrf.as_str()), ("seen", now.as_str()), ("sign_up", "open"), ("sign_up_plan", "platino"), ("tool_calls_per_hour", "60")];
        assert_eq!(operator.post_bare(path, &sign_up).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    })
    .await;
}

#[tokio::test]
async fn a_month_is_closed_corrected_and_taken_to_a_spreadsheet() {
    TestApp::everywhere(|app| async move {
        let evil = client(&app, "=HYPERLINK(\"http://evil.example\")").await;
        app.made(&[call(evil, "2026-11-22T12:00:00Z"), call(evil, "2026-11-22T12:00:01Z")]).await;
        let operator = app.operator().await;
        let owner = app.member(evil, "marta@ferre.do", Level::Owner).await;
        let statement = format!("/admin/clients/{evil}/usage/statement?month=202611");
        let close = "/admin/billing/close?month=202611";

        // While it runs, and while no rate is stated, it is not closed.
        assert!(operator.get(&statement).await.text.contains("US$"));
        let csrf = operator.get("/admin/billing").await.text;
        assert!(csrf.contains("tasa"), "{csrf}");
        let csrf = operator.get("/admin/profile").await.hidden("csrf");
        let close_it = async || operator.post_bare("/admin/billing/close", &[("csrf", &csrf), ("month", "202611")]).await;
        assert_eq!(close_it().await.status, StatusCode::UNPROCESSABLE_ENTITY);
        rate(&app).await;
        assert_eq!(close_it().await.status, StatusCode::UNPROCESSABLE_ENTITY);
        go_to(&app, "2026-12-02T12:00:00Z");
        let operator = app.signed_in("operador@dunet.do").await;
        let owner_again = app.signed_in("marta@ferre.do").await;
        drop(owner);
        let csrf = operator.get("/admin/profile").await.hidden("csrf");
        assert!(operator.get(close).await.text.contains("62.5"));
        assert_eq!(operator.post_bare("/admin/billing/close", &[("csrf", &csrf), ("month", "202611")]).await.status, StatusCode::SEE_OTHER);
        let page = operator.get(&statement).await;
        // 20.00 and 18 % of it, at 62.5.
        assert!(page.text.contains("23.60") && page.text.contains("1,475.00") && page.text.contains("62.50"), "{}", page.text);

        // Corrected by a row of its own; a second page with the same number is told so; nothing that is no amount.
        let correct = format!("/admin/clients/{evil}/usage/statement/correct");
        let part = page.hidden("part");
        let send =
            async |amount: &str, part: &str| operator.post_bare(&correct, &[("csrf", &csrf), ("month", "202611"), ("part", part), ("amount", amount), ("note", "Cortesía")]).await;
        assert!(came_back(&send("mucho", &part).await, "aria-invalid", "value=\"mucho\""));
        assert_eq!(send("-5.00", &part).await.status, StatusCode::SEE_OTHER);
        assert!(came_back(&send("-7.00", &part).await, "otra corrección", "value=\"-7.00\""));
        let page = operator.get(&statement).await;
        assert!(page.text.contains("Cortesía") && page.text.contains("-5.90") && page.text.contains("17.70") && page.text.contains("1,106.25"), "{}", page.text);

        // A name is no formula.
        let page = operator.get("/admin/billing/csv?month=202611").await;
        assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/csv") && page.headers["content-disposition"].to_str().unwrap().contains("attachment"));
        assert!(page.text.starts_with('\u{feff}') && page.text.lines().count() == 3, "{}", page.text);
        assert!(page.text.contains("\"'=HYPERLINK("), "{}", page.text);
        assert!(!page.text.lines().flat_map(|line| line.split(',')).any(|cell| cell.trim_matches('"').starts_with('=')), "{}", page.text);

        // Its own people see it, and cannot touch it.
        let page = owner_again.get(&statement).await;
        assert!(page.status == StatusCode::OK && page.text.contains("17.70") && !page.text.contains("/correct\""), "{}", page.text);
        assert!(owner_again.get(&format!("/admin/clients/{evil}/usage")).await.text.contains("17.70"));
        for month in ["202610", "209901", "x", "-1"] {
            let page = operator.get(&format!("/admin/clients/{evil}/usage/statement?month={month}")).await;
            assert!([StatusCode::NOT_FOUND, StatusCode::OK].contains(&page.status), "{month}: {}", page.status);
        }
    })
    .await;
}

#[tokio::test]
async fn the_audit_shows_who_changed_what_and_whether_it_is_whole() {
    TestApp::everywhere(|app| async move {
        let (ours, theirs) = (client(&app, "Ferretería Ñandú").await, client(&app, "Clínica").await);
        rate(&app).await;
        let operator = app.operator().await;
        let viewer = app.member(ours, "luis@ferre.do", Level::Viewer).await;
        let page = operator.get("/admin/audit").await;
        // Words instead of what is stored; what was made has no side of before.
        let made = page.text.split("<li").find(|item| item.contains("creó el cliente")).expect("a client was made");
        assert!(made.contains("<ins>activo</ins>") && made.contains("<ins>con confirmación</ins>") && !made.contains(">Antes</th>") && made.contains(">Después</th>"), "{made}");
        assert!(page.text.contains("Ferretería Ñandú") && page.text.contains("Clínica") && page.text.contains("62.5"), "{}", page.text);
        // Filtered: by area, by client, by who, by day.
        let found = async |query: &str| operator.get(&format!("/admin/audit?{query}")).await.text.matches("id=\"a-").count();
        assert_eq!(found("area=settings").await, 1);
        assert_eq!(found("scope=service&area=tenant").await, 0);
        assert_eq!(found("actor=nadie@x.do").await, 0);
        assert_eq!(found("from=2026-11-23").await, 0);
        assert!(found("to=2026-11-22").await > 2);
        assert!(found("client=%C3%91and%C3%BA").await >= 1);
        assert!(found("area=%00&from=ayer&after=x%27&actor=%25").await < 100, "nonsense finds something or nothing");
        // A client's people see theirs alone.
        let page = viewer.get(&format!("/admin/clients/{ours}/audit")).await;
        assert!(page.status == StatusCode::OK && !page.text.contains("Clínica") && !page.text.contains("62.5"), "{}", page.text);

        let verify = async |on: &str| {
            let page = operator.post(on, &format!("{on}/verify"), &[]).await;
            assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
            operator.get(page.location()).await.text
        };
        assert!(verify("/admin/audit").await.contains("íntegra"));
        // Somebody with the database at hand changes a row.
        let row = logs::Entity::find().all(&app.state.db).await.unwrap().into_iter().find(|row| row.client_id == Some(theirs.uuid())).unwrap();
        let mut row = row.into_active_model();
        row.actor = Set("nadie".to_owned());
        row.update(&app.state.db).await.unwrap();
        let text = verify("/admin/audit").await;
        assert!(text.contains("rota") && text.contains("Clínica"), "{text}");
        assert!(verify(&format!("/admin/clients/{ours}/audit")).await.contains("íntegra"));
        assert!(verify(&format!("/admin/clients/{theirs}/audit")).await.contains("rota"));
    })
    .await;
}
