//! Settings in the database and the price list: checked, audited, heard by every process.

use dunet::domain::plans::{PlanError, PlanTerms, plan_add, plan_delete, plan_edit, plan_rows};
use dunet::domain::reports::{AuditFilter, AuditScope};
use dunet::domain::settings::{Fault, Key, SettingsError, SignUp};
use dunet::domain::users::Level;
use http::StatusCode;
use serde_json::json;

use crate::support::mcp::{self, McpClient};
use crate::support::portal::{Browser, PASSWORD};
use crate::support::smtp::Sink;
use crate::support::{TestApp, actor, until};

#[tokio::test]
async fn settings_are_edited_once_audited_and_heard() {
    TestApp::everywhere(|app| async move {
        let (store, other) = (&app.state.settings, app.another_process().await);
        assert_eq!((store.get().sign_up, store.get().edited_at), (SignUp::Closed, None));
        let edit = [(Key::SignUp, "open".to_owned()), (Key::UsdRate, "62,50".to_owned()), (Key::ItbisPercent, "18".to_owned())];
        other.settings.edit(&edit, None, &actor()).await.unwrap();
        until("the service heard of it", || async { store.get().sign_up == SignUp::Open }).await;
        let seen = store.get().edited_at;
        assert_eq!((store.get().field(Key::UsdRate), seen), ("62.5".to_owned(), Some(app.clock.now())));
        // One bad value, and nothing is changed.
        let bad = [(Key::SignUp, "closed".to_owned()), (Key::PublicMail, "x".to_owned())];
        assert!(matches!(store.edit(&bad, seen, &actor()).await, Err(SettingsError::Invalid { key: Key::PublicMail, fault: Fault::Mail })));
        assert_eq!(store.get().sign_up, SignUp::Open);
        // A stale page is told so; back to the default is an edit too.
        assert!(matches!(store.edit(&[(Key::SignUp, String::new())], None, &actor()).await, Err(SettingsError::Stale)));
        app.clock.advance(chrono::Duration::seconds(1));
        store.edit(&[(Key::SignUp, String::new())], seen, &actor()).await.unwrap();
        assert_eq!((store.get().sign_up, store.get().edited_at), (SignUp::Closed, Some(app.clock.now())));
        store.edit(&[(Key::SignUp, "closed".to_owned())], store.get().edited_at, &actor()).await.unwrap();
        let audit = app.state.reports.audit_page(&AuditFilter { scope: AuditScope::Service, ..AuditFilter::default() }, None, 10).await.unwrap();
        let changes: Vec<_> = audit.rows.iter().map(|row| (row.action.as_str(), row.before.clone().unwrap(), row.after.clone().unwrap())).collect();
        assert_eq!(
            changes,
            [
                ("settings.edit", json!({ "sign_up": "open" }), json!({ "sign_up": "closed" })),
                ("settings.edit", json!({ "sign_up": "closed", "usd_rate": "" }), json!({ "sign_up": "open", "usd_rate": "62.5" })),
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn plans_are_edited_and_what_is_in_use_stays() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Uno").await;
        let client = app.client(&tenant.token);
        client.call("consultar_rnc_dgii", json!({ "rnc": "131793916" })).await;
        let (db, clock) = (&app.state.db, &app.clock);
        let pro = plan_rows(db).await.unwrap().into_iter().find(|plan| plan.code == "pro").unwrap();
        assert_eq!((pro.clients, pro.version, pro.terms.price_usd_cents), (1, 1, 5_000));
        let terms = PlanTerms { name: " Pro 2 ".to_owned(), calls_per_month: Some(1), ..pro.terms.clone() };
        assert_eq!(plan_edit(db, clock, "pro", 1, terms.clone(), &actor()).await.unwrap(), 2);
        assert!(matches!(plan_edit(db, clock, "pro", 1, terms.clone(), &actor()).await, Err(PlanError::Stale { version: 2, .. })));
        assert!(matches!(plan_edit(db, clock, "no", 1, terms.clone(), &actor()).await, Err(PlanError::Unknown(_))));
        assert!(matches!(plan_edit(db, clock, "pro", 2, PlanTerms { name: " ".to_owned(), ..terms.clone() }, &actor()).await, Err(PlanError::Invalid("name"))));
        // The running service follows: the one call of the month was made.
        until("the plan's new limit counts", || async { client.call_result("consultar_rnc_dgii", json!({ "rnc": "131793916" })).await["isError"] == true }).await;

        assert!(matches!(plan_delete(db, clock, "pro", &actor()).await, Err(PlanError::InUse { clients: 1, .. })));
        assert!(matches!(plan_add(db, clock, "pro", terms.clone(), &actor()).await, Err(PlanError::Exists(_))));
        assert!(matches!(plan_add(db, clock, "Voz y más", terms.clone(), &actor()).await, Err(PlanError::Invalid("code"))));
        plan_add(db, clock, "voz", terms, &actor()).await.unwrap();
        plan_delete(db, clock, "voz", &actor()).await.unwrap();
        assert_eq!(plan_rows(db).await.unwrap().iter().map(|plan| plan.code.as_str()).collect::<Vec<_>>(), ["gratis", "basic", "pro"]);
        let audit = app.state.reports.audit_page(&AuditFilter { scope: AuditScope::Service, ..AuditFilter::default() }, None, 10).await.unwrap();
        assert_eq!(audit.rows.iter().map(|row| row.action.as_str()).collect::<Vec<_>>(), ["plan.delete", "plan.add", "plan.edit"]);
        assert_eq!(dunet::domain::audit::chain_verify(db, None).await.unwrap(), Ok(3));
    })
    .await;
}

/// Sets one, as the operator sees it now.
async fn set(app: &TestApp, key: Key, value: &str) {
    let store = &app.state.settings;
    store.edit(&[(key, value.to_owned())], store.get().edited_at, &actor()).await.unwrap();
}

#[tokio::test]
async fn under_maintenance_agents_are_told_so_and_people_read_it() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Uno").await;
        let member = app.member(tenant.id, "ana@uno.do", Level::Viewer).await;
        let operator = app.operator().await;
        let (legacy, modern) = (app.client(&tenant.token), McpClient::modern(&app.mcp_url(), &tenant.token));
        let stranger = McpClient::anonymous(&app.mcp_url());
        let home = format!("/admin/clients/{}", tenant.id);
        legacy.call("consultar_rnc_dgii", json!({ "rnc": "131793916" })).await;
        assert!(!operator.get("/admin").await.text.contains("En mantenimiento"));

        let said = "Volvemos a las 6 <b>";
        let page = operator.post("/admin/configs", "/admin/configs", &[("seen", ""), ("public_mail", "ayuda@dunet.do"), ("maintenance", said)]).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        for (client, method, params) in [
            (&legacy, "tools/call", json!({ "name": "consultar_rnc_dgii", "arguments": { "rnc": "131793916" } })),
            (&modern, "tools/call", json!({ "name": "crear_cliente", "arguments": { "nombre": "X" } })),
            (&legacy, "initialize", json!({})),
            (&stranger, "tools/list", json!({})),
        ] {
            let answer = client.request(method, params).await;
            let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
            assert_eq!((answer.status, answer.header("retry-after"), answer.code()), (503, "120", -31_053), "{method}");
            assert!(message.contains("en mantenimiento: Volvemos a las 6 <b>") && message.contains("under maintenance: Volvemos"), "{message}");
        }
        // Nothing was counted, not even an attempt without a token.
        assert_eq!(app.usage_rows(1).await.len(), 1);
        assert_eq!(mcp::send("GET", &format!("{}/healthz", app.base), &[], "").await.status, 200);
        let ready = mcp::send("GET", &format!("{}/readyz", app.base), &[], "").await;
        assert_eq!((ready.status, ready.json()["status"].clone()), (200, json!("maintenance")));
        // The portal goes on, and says it to everybody; as text, not as markup.
        let shown = "En mantenimiento:</strong> Volvemos a las 6 &lt;b&gt;";
        for (browser, path) in [(&operator, "/admin"), (&operator, "/admin/configs"), (&member, home.as_str()), (&member, "/admin/profile"), (&Browser::new(&app), "/admin/entrar")]
        {
            let page = browser.get(path).await;
            assert!(page.status == StatusCode::OK && page.text.contains(shown), "{path}: {}", page.text);
        }
        assert!(!member.get(&home).await.text.contains("href=\"/admin/configs\""));
        // Who tries a token is told why, not that the token is bad.
        let connect = format!("{home}/connect");
        let page = member.post(&connect, &connect, &[("token", &tenant.token)]).await;
        assert!(page.text.contains("mantenimiento y no atiende"), "{}", page.text);

        set(&app, Key::Maintenance, "").await;
        legacy.call("consultar_rnc_dgii", json!({ "rnc": "131793916" })).await;
        assert!(!member.get(&home).await.text.contains("En mantenimiento"));
    })
    .await;
}

#[tokio::test]
async fn people_know_where_to_write() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Uno").await;
        let member = app.member(tenant.id, "ana@uno.do", Level::Viewer).await;
        let link = "href=\"mailto:ayuda@dunet.do\"";
        let pages = [("/admin/profile", true), ("/admin/entrar", false), ("/admin/registro", false), ("/admin/olvido", false)];
        for (path, signed_in) in pages {
            let page = if signed_in { member.get(path).await } else { Browser::new(&app).get(path).await };
            assert!(!page.text.contains("mailto:"), "{path}");
        }
        set(&app, Key::PublicMail, "ayuda@dunet.do").await;
        for (path, signed_in) in pages {
            let page = if signed_in { member.get(path).await } else { Browser::new(&app).get(path).await };
            assert!(page.text.contains(link), "{path}: {}", page.text);
        }
    })
    .await;
}

#[tokio::test]
async fn a_new_client_begins_with_the_settings_limit_and_keeps_it() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let old = app.tenant("Viejo").await;
        set(&app, Key::ToolCallsPerHour, "2").await;
        // On a plan with every tool, on one with some by name, by the page, by the API's and the shell's way, and by signing up.
        let all = app.tenant("Nuevo").await;
        let some = app.tenant_on("Gratis", "gratis", dunet::odoo::ProtocolChoice::Auto).await;
        let operator = app.operator().await;
        let fields = [("name", "De la página"), ("rnc", ""), ("plan", "pro"), ("language", "es"), ("timezone", "America/Santo_Domingo"), ("write_policy", "confirm")];
        let page = operator.post("/admin/clients/new", "/admin/clients/new", &fields).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        set(&app, Key::SignUp, "approval").await;
        let stranger = Browser::new(&app);
        let fields = [("rnc", ""), ("company", "Registrada"), ("name", "Ana"), ("email", "ana@r.do"), ("password", PASSWORD), ("act", "send")];
        assert_eq!(stranger.post("/admin/registro", "/admin/registro", &fields).await.location(), "/admin/registro/recibido");
        let mut limits: Vec<(String, u32)> = Vec::new();
        for tenant in app.state.tenants.tenant_list().await.unwrap() {
            limits.push((tenant.name.clone(), tenant.tool_setting("consultar_rnc_dgii").1.calls_per_hour));
        }
        limits.sort();
        let of = |name: &str, limit| (name.to_owned(), limit);
        assert_eq!(limits, [of("De la página", 2), of("Gratis", 2), of("Nuevo", 2), of("Registrada", 2), of("Viejo", 1_000)]);
        for (tenant, calls) in [(&all, 2), (&some, 2), (&old, 3)] {
            let client = app.client(&tenant.token);
            for _ in 0..calls {
                client.call("consultar_rnc_dgii", json!({ "rnc": "131793916" })).await;
            }
        }
        for tenant in [&all, &some] {
            assert_eq!(app.client(&tenant.token).fail("consultar_rnc_dgii", json!({ "rnc": "131793916" })).await["codigo"], "limite_herramienta");
        }
        // A tool that is switched on later begins with it too, and another setting is for others.
        set(&app, Key::ToolCallsPerHour, "50").await;
        let edit = dunet::domain::tenants::ToolEdit { enabled: Some(true), ..Default::default() };
        app.state.tenants.tool_edit(all.id, "buscar_cliente", edit, &actor()).await.unwrap();
        assert_eq!(app.state.tenants.tenant_find(all.id).await.unwrap().tool_setting("buscar_cliente").1.calls_per_hour, 2);
    })
    .await;
}

#[tokio::test]
async fn the_plan_of_sign_ups_stays_and_is_one_that_exists() {
    TestApp::everywhere(|app| async move {
        let operator = app.operator().await;
        let (db, clock) = (&app.state.db, &app.clock);
        let terms = plan_rows(db).await.unwrap().remove(0).terms;
        plan_add(db, clock, "nuevos", terms, &actor()).await.unwrap();
        let page = operator.post("/admin/configs", "/admin/configs", &[("seen", ""), ("sign_up", "open"), ("sign_up_plan", "nadie")]).await;
        assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("id=\"sign_up_plan-error\""), "{}", page.text);
        assert_eq!(app.state.settings.get().sign_up, SignUp::Closed);
        set(&app, Key::SignUpPlan, "nuevos").await;
        let edit = "/admin/billing/plan?code=nuevos";
        let page = operator.post(edit, "/admin/billing/plan/delete", &[("code", "nuevos"), ("confirm", "nuevos")]).await;
        assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("Es el plan de quien se registra"), "{}", page.text);
        assert!(matches!(plan_delete(db, clock, "nuevos", &actor()).await, Err(PlanError::SignUp(_))));
        set(&app, Key::SignUpPlan, "").await;
        let page = operator.post(edit, "/admin/billing/plan/delete", &[("code", "nuevos"), ("confirm", "nuevos")]).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        // The default is as much a choice as any other.
        assert!(matches!(plan_delete(db, clock, "gratis", &actor()).await, Err(PlanError::SignUp(_))));
    })
    .await;
}

#[tokio::test]
async fn what_comes_from_the_environment_is_shown_and_mail_is_tried() {
    let sink = Sink::start().await;
    TestApp::everywhere(|app| async move {
        // Without a server there is nothing to try.
        let page = app.operator().await.get("/admin/configs").await;
        assert!(page.text.contains("DUNET_SMTP_URL") && page.text.contains("ninguno") && !page.text.contains("action=\"/admin/configs/mail\""), "{}", page.text);
    })
    .await;
    let settings = sink.settings();
    TestApp::everywhere_with(&settings, |app| {
        let sink = std::sync::Arc::clone(&sink);
        async move {
            let operator = app.operator().await;
            let page = operator.get("/admin/configs").await;
            for shown in ["DUNET_PUBLIC_URL", "DUNET_MAIL_FROM", "no-reply@dunet.do", sink.url.trim_start_matches("smtp://"), app.base.as_str()] {
                assert!(page.text.contains(shown), "{shown}: {}", page.text);
            }
            let page = operator.post("/admin/configs", "/admin/configs/mail", &[]).await;
            assert_eq!(page.location(), "/admin/configs");
            let letter = sink.letter().await;
            assert!(letter.to == "operador@dunet.do" && letter.body.contains("Este correo prueba"), "{letter:?}");
            assert!(operator.get("/admin/configs").await.text.contains("El correo de prueba salió para operador@dunet.do"));
            sink.refuses.store(true, std::sync::atomic::Ordering::SeqCst);
            operator.post("/admin/configs", "/admin/configs/mail", &[]).await;
            let page = operator.get("/admin/configs").await;
            assert!(page.text.contains("El correo de prueba no salió: the server refused it (550)"), "{}", page.text);
            sink.refuses.store(false, std::sync::atomic::Ordering::SeqCst);
        }
    })
    .await;
}

#[tokio::test]
async fn calls_are_kept_as_long_as_the_settings_say() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Uno").await;
        app.client(&tenant.token).call("consultar_rnc_dgii", json!({ "rnc": "131793916" })).await;
        app.usage_rows(1).await;
        let kept = async || dunet::boot::calls_prune(&app.state).await.unwrap();
        app.clock.advance(chrono::Duration::days(100));
        assert_eq!(kept().await, 0);
        set(&app, Key::UsageRetentionDays, "90").await;
        assert_eq!(kept().await, 1);
    })
    .await;
}
