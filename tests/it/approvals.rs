//! The policy *owner approves*: an agent asks, an owner decides in the portal, it happens once, and the agent hears of it.

use std::sync::Arc;

use dunet::db::entities::operations;
use dunet::demo::sandbox::SandboxOdoo;
use dunet::domain::approvals::PENDING_MAX;
use dunet::domain::tenants::{TenantEdit, WritePolicy};
use dunet::domain::users::Level;
use dunet::ids::TenantId;
use dunet::odoo::{OdooClient, ProtocolChoice};
use http::StatusCode;
use sea_orm::{EntityTrait, QueryOrder};
use serde_json::{Map, Value, json};

use crate::support::mcp::McpClient;
use crate::support::odoo::{self, Fault, Proxy, count, direct, records};
use crate::support::portal::{Browser, Page};
use crate::support::{TestApp, actor, serve, until};

/// A company behind a proxy, whose writes its owner approves.
struct Company {
    id: TenantId,
    path: String,
    client: McpClient,
    owner: Browser,
    odoo: OdooClient,
    proxy: Proxy,
    _server: tokio_util::task::AbortOnDropHandle<()>,
}

async fn company(app: &TestApp, name: &str) -> Company {
    let sandbox = Arc::new(SandboxOdoo::dominican_sample(name));
    let (url, server) = serve(Arc::clone(&sandbox).router()).await;
    let proxy = Proxy::start(&url).await;
    let (id, token) = app.tenant_at(name, odoo::settings(&sandbox, &proxy.url, ProtocolChoice::Json2)).await;
    app.write_policy(id, WritePolicy::OwnerApproves).await;
    let owner = app.member(id, &format!("dueno@{}.do", name.to_lowercase()), Level::Owner).await;
    Company { id, path: format!("/admin/clients/{id}/approvals"), client: app.client(&token), owner, odoo: direct(&sandbox, &url).await, proxy, _server: server }
}

impl Company {
    async fn orders(&self) -> u64 {
        count(&self.odoo, "sale.order", json!([])).await
    }

    /// The page, and what its first forms hold.
    async fn waiting(&self) -> (Page, String, String) {
        let page = self.owner.get(&self.path).await;
        let (id, plan) = (page.hidden("id"), page.hidden("plan"));
        (page, id, plan)
    }

    /// Presses *Aprobar* on the first one and gives the page that follows.
    async fn approve(&self) -> Page {
        let (_, id, plan) = self.waiting().await;
        let sent = self.owner.post(&self.path, &format!("{}/approve", self.path), &[("id", &id), ("plan", &plan)]).await;
        assert_eq!((sent.status, sent.location()), (StatusCode::SEE_OTHER, self.path.as_str()), "{}", sent.text);
        self.owner.get(&self.path).await
    }

    async fn refuse(&self, reason: &str) -> Page {
        let (_, id, _) = self.waiting().await;
        let sent = self.owner.post(&self.path, &format!("{}/refuse", self.path), &[("id", &id), ("reason", reason)]).await;
        assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text);
        self.owner.get(&self.path).await
    }
}

fn quote(key: &str) -> Value {
    json!({ "cliente": "Colegio Nuevo Amanecer", "lineas": [{ "producto": "MAR-016", "cantidad": 2 }, { "producto": "CIN-005" }], "clave": key })
}

async fn rows(app: &TestApp) -> Vec<operations::Model> {
    operations::Entity::find().order_by_asc(operations::Column::Id).all(&app.state.db).await.expect("rows")
}

#[tokio::test]
async fn an_owner_approves_once_and_the_agent_hears_of_it() {
    TestApp::everywhere(|app| async move {
        let nova = company(&app, "Nova").await;
        let before = nova.orders().await;
        let asked = nova.client.call("crear_cotizacion", quote("pedido-1")).await;
        assert_eq!((asked["estado"].as_str(), asked["clave"].as_str()), (Some("pendiente_de_aprobacion"), Some("pedido-1")), "{asked}");
        assert_eq!(asked["vence"], "2026-11-25T11:00:00-04:00", "three days, in the company's zone");
        assert!(asked["vista_previa"]["total"].as_f64() > Some(0.0) && asked.get("codigo_confirmacion").is_none(), "{asked}");
        assert!(asked["avisos"][0].as_str().unwrap().contains("clave «pedido-1»") && asked["frase"].as_str().unwrap().contains("dueño"), "{asked}");
        // Asking again changes nothing.
        let again = nova.client.call("crear_cotizacion", quote("pedido-1")).await;
        assert_eq!((again["estado"].as_str(), again["vence"].as_str()), (Some("pendiente_de_aprobacion"), asked["vence"].as_str()), "{again}");
        let mut other = quote("pedido-1");
        other["lineas"][0]["cantidad"] = json!(9);
        assert_eq!(nova.client.fail("crear_cotizacion", other).await["codigo"], "clave_reutilizada");
        assert_eq!((nova.orders().await, rows(&app).await.len()), (before, 1), "nothing is written");
        let kept = rows(&app).await.remove(0);
        assert!(kept.state == "pending" && !format!("{kept:?}").contains("Colegio") && kept.request_sealed.is_some(), "sealed: {kept:?}");

        // In words, with who asked; the menu counts it.
        let (page, id, plan) = nova.waiting().await;
        for shown in
            ["Crear cotización", "Colegio Nuevo Amanecer", "<th scope=\"col\" class=\"num\">Cantidad</th>", "prueba", "<span class=\"count\">1</span>", "25 nov 2026, 11:00"]
        {
            assert!(page.text.contains(shown), "{shown}: {}", page.text);
        }
        assert!(nova.owner.get("/admin/profile").await.text.contains("<span class=\"count\">1</span>"));

        // A double click and two owners at once: one quotation.
        let second = app.member(nova.id, "socia@nova.do", Level::Owner).await;
        let form_key = page.hidden("form_key");
        let (csrf, others) = (page.hidden("csrf"), second.get(&nova.path).await.hidden("csrf"));
        let fields = |csrf: &str| vec![("csrf".to_owned(), csrf.to_owned()), ("id".to_owned(), id.clone()), ("plan".to_owned(), plan.clone())];
        let path = format!("{}/approve", nova.path);
        let send = async |browser: &Browser, mut fields: Vec<(String, String)>, key: Option<&str>| {
            fields.extend(key.map(|key| ("form_key".to_owned(), key.to_owned())));
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            browser.post_bare(&path, &fields).await.status
        };
        let sent = tokio::join!(
            send(&nova.owner, fields(&csrf), Some(&form_key)),
            send(&nova.owner, fields(&csrf), Some(&form_key)),
            send(&nova.owner, fields(&csrf), None),
            send(&second, fields(&others), None),
        );
        assert!([sent.0, sent.1, sent.2, sent.3].iter().all(|status| *status == StatusCode::SEE_OTHER), "{sent:?}");
        assert_eq!((nova.orders().await, nova.proxy.seen("web_save")), (before + 1, 1));

        // The agent asks again, as often as it likes: the same result, and the quotation is the one that was approved.
        let made = nova.client.call("crear_cotizacion", quote("pedido-1")).await;
        assert!(made["numero"].is_string() && made["total"] == asked["vista_previa"]["total"] && made.get("estado").is_none(), "{made}");
        app.clock.advance(chrono::Duration::hours(60));
        assert_eq!(nova.client.call("crear_cotizacion", quote("pedido-1")).await, made, "longer than a day: as long as an owner had, and a day more");
        assert_eq!(nova.orders().await, before + 1);
        let row = rows(&app).await.remove(0);
        assert!(row.state == "done" && row.request_sealed.is_none() && row.decided_by.is_some(), "{row:?}");

        // The first call was counted; what only asked for the outcome was not, nor was the execution.
        let usage = app.usage_rows(5).await;
        assert_eq!((usage.len(), usage.iter().filter(|row| row.counted).map(|row| row.outcome.as_str()).collect::<Vec<_>>()), (5, vec!["ok", "error"]));
        // The session of before has ended.
        let owner = app.signed_in("dueno@nova.do").await;
        let page = owner.get(&format!("/admin/clients/{}/audit", nova.id)).await;
        assert!(page.text.contains("aprobó una escritura") && page.text.contains("terminó una escritura aprobada"), "{}", page.text);
        assert!(dunet::domain::audit::chain_verify(&app.state.db, Some(nova.id)).await.unwrap().is_ok());
        let page = owner.get(&nova.path).await;
        assert!(page.text.contains("Nada espera su aprobación") && page.text.contains("Hecha") && !page.text.contains("class=\"count\""), "{}", page.text);
    })
    .await;
}

#[tokio::test]
async fn without_a_key_one_is_given_and_the_same_call_waits_once() {
    TestApp::everywhere(|app| async move {
        let nova = company(&app, "Nova").await;
        let mut call = quote("");
        call.as_object_mut().unwrap().remove("clave");
        let asked = nova.client.call("crear_cotizacion", call.clone()).await;
        let key = asked["clave"].as_str().unwrap().to_owned();
        assert!(key.starts_with("dunet-") && asked["avisos"][0].as_str().unwrap().contains(&key), "{asked}");
        assert_eq!(nova.client.call("crear_cotizacion", call.clone()).await["clave"], json!(key));
        assert_eq!(rows(&app).await.len(), 1);
        nova.approve().await;
        assert!(nova.client.call("crear_cotizacion", quote(&key)).await["numero"].is_string());
        // Decided: the same call is another wish.
        assert_ne!(nova.client.call("crear_cotizacion", call).await["clave"], json!(key));
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_or_late_is_never_written() {
    TestApp::everywhere(|app| async move {
        let nova = company(&app, "Nova").await;
        let before = nova.orders().await;
        nova.client.call("crear_cotizacion", quote("no")).await;
        let (_, id, plan) = nova.waiting().await;
        // A reason that is too long refuses nothing.
        let page = nova.owner.post(&nova.path, &format!("{}/refuse", nova.path), &[("id", &id), ("reason", &"x".repeat(301))]).await;
        assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("300 caracteres"), "{}", page.text);
        assert!(nova.refuse("Ese cliente  debe tres facturas").await.text.contains("Rechazada. El agente"));
        let told = nova.client.fail("crear_cotizacion", quote("no")).await;
        assert_eq!((told["codigo"].as_str(), told["reintentable"].as_bool()), (Some("aprobacion_rechazada"), Some(false)), "{told}");
        assert_eq!(told["datos"]["motivo"], "Ese cliente debe tres facturas");
        assert!(told["mensaje"].as_str().unwrap().contains("no aprobó esta operación: Ese cliente debe tres facturas."), "{told}");
        // Too late to approve what was refused.
        let page = nova.owner.post(&nova.path, &format!("{}/approve", nova.path), &[("id", &id), ("plan", &plan)]).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER);
        assert!(nova.owner.get(&nova.path).await.text.contains("ya estaba decidida"));

        nova.client.call("crear_cotizacion", quote("tarde")).await;
        let (_, id, plan) = nova.waiting().await;
        app.clock.advance(chrono::Duration::hours(72));
        nova.owner.get(&nova.path).await;
        let owner = app.signed_in("dueno@nova.do").await;
        for (act, field) in [("approve", ("plan", plan.as_str())), ("refuse", ("reason", ""))] {
            owner.post(&nova.path, &format!("{}/{act}", nova.path), &[("id", &id), field]).await;
            let page = owner.get(&nova.path).await;
            assert!(page.text.contains("ya estaba decidida, o venció") && page.text.contains("Venció sin decisión"), "{act}: {}", page.text);
        }
        assert_eq!(nova.client.fail("crear_cotizacion", quote("tarde")).await["codigo"], "aprobacion_vencida");
        // What was asked for is forgotten.
        assert_eq!(app.state.approvals.sweep().await.unwrap(), 1);
        assert!(rows(&app).await.iter().all(|row| row.request_sealed.is_none()));
        assert_eq!(nova.client.fail("crear_cotizacion", quote("tarde")).await["codigo"], "aprobacion_vencida");
        assert_eq!((nova.orders().await, nova.proxy.seen("web_save")), (before, 0));
        // Being told so costs nothing.
        until("a row for each call", || async { app.usage_rows(0).await.len() == 5 }).await;
        assert_eq!(app.usage_rows(5).await.iter().filter(|row| row.counted).count(), 2);
    })
    .await;
}

#[tokio::test]
async fn another_plan_is_shown_before_it_is_written() {
    TestApp::everywhere(|app| async move {
        let nova = company(&app, "Nova").await;
        let before = nova.orders().await;
        let asked = nova.client.call("crear_cotizacion", quote("precio")).await;
        let product = nova.client.call("buscar_productos", json!({ "consulta": "MAR-016" })).await["productos"][0]["producto_id"].as_i64().unwrap();
        nova.odoo.write("product.product", &[product], Map::from_iter([("list_price".to_owned(), json!(999.0))])).await.unwrap();
        let (_, id, old) = nova.waiting().await;
        let page = nova.approve().await;
        assert!(page.text.contains("Algo cambió desde que se pidió") && page.text.contains("999.00"), "{}", page.text);
        assert_eq!(nova.orders().await, before, "nothing at a price that nobody saw");
        // Who still has the old page open approves nothing with it.
        nova.owner.post(&nova.path, &format!("{}/approve", nova.path), &[("id", &id), ("plan", &old)]).await;
        assert_eq!(nova.orders().await, before);
        assert!(nova.approve().await.text.contains("Aprobada y escrita en Odoo"));
        let made = nova.client.call("crear_cotizacion", quote("precio")).await;
        assert!(made["total"].as_f64() > asked["vista_previa"]["total"].as_f64(), "{made}");
        assert_eq!(nova.orders().await, before + 1);

        // Nothing left to write: that is the answer.
        let customer = json!({ "nombre": "Taller Único", "email": "unico@taller.do", "clave": "cliente" });
        let asked = nova.client.call("crear_cliente", customer.clone()).await;
        assert_eq!(asked["estado"], "pendiente_de_aprobacion", "{asked}");
        nova.odoo.create("res.partner", Map::from_iter([("name".to_owned(), json!("Taller Único")), ("email".to_owned(), json!("unico@taller.do"))])).await.unwrap();
        let page = nova.approve().await;
        assert!(page.text.contains("Ya no había nada que escribir"), "{}", page.text);
        let told = nova.client.call("crear_cliente", customer).await;
        assert!(told.get("estado").is_none() && told["cliente_id"].is_i64(), "{told}");
        assert_eq!(count(&nova.odoo, "res.partner", json!([["email", "=", "unico@taller.do"]])).await, 1);
    })
    .await;
}

#[tokio::test]
async fn what_odoo_does_not_take_waits_again_and_what_nobody_knows_is_not_repeated() {
    TestApp::everywhere(|app| async move {
        let nova = company(&app, "Nova").await;
        let before = nova.orders().await;
        nova.client.call("crear_cotizacion", quote("rechazo")).await;
        let body =
            r#"{"name": "odoo.exceptions.ValidationError", "message": "El cliente está bloqueado.", "arguments": ["El cliente está bloqueado."], "context": {}, "debug": "x"}"#;
        nova.proxy.break_next("web_save", Fault::Instead(odoo::response("422 Unprocessable Entity", "content-type: application/json\r\n", body)));
        let page = nova.approve().await;
        assert!(page.text.contains("No se escribió nada:") && page.text.contains("El cliente está bloqueado.") && page.text.contains("Sigue esperando"), "{}", page.text);
        assert_eq!(nova.client.call("crear_cotizacion", quote("rechazo")).await["estado"], "pendiente_de_aprobacion");
        // An Odoo that is away is no decision either.
        nova.proxy.break_next("onchange", Fault::CloseDoor);
        assert!(nova.approve().await.text.contains("Sigue esperando"));
        nova.proxy.reopen().await;
        assert_eq!(nova.orders().await, before);

        nova.proxy.break_next("web_save", Fault::LoseAnswer);
        let page = nova.approve().await;
        assert!(page.text.contains("No se sabe si Odoo la escribió") && page.text.contains("No se sabe si se escribió"), "{}", page.text);
        assert_eq!(nova.orders().await, before + 1);
        for _ in 0..2 {
            let told = nova.client.fail("crear_cotizacion", quote("rechazo")).await;
            assert_eq!(told["codigo"], "resultado_desconocido", "{told}");
            let found = records(&nova.odoo, "sale.order", json!([["origin", "=", told["datos"]["referencia"]]]), &["name"]).await;
            assert_eq!(found.len(), 1, "{told}");
        }
        assert!(!nova.owner.get(&nova.path).await.text.contains("/approve\""), "nobody can approve it twice");
        assert_eq!(nova.orders().await, before + 1);
    })
    .await;
}

#[tokio::test]
async fn only_an_owner_of_the_company_decides() {
    TestApp::everywhere(|app| async move {
        let (nova, aurora) = (company(&app, "Nova").await, company(&app, "Aurora").await);
        let before = nova.orders().await;
        nova.client.call("crear_cotizacion", quote("mía")).await;
        let (_, id, plan) = nova.waiting().await;
        let viewer = app.member(nova.id, "mira@nova.do", Level::Viewer).await;
        let operator = app.operator().await;
        // Both see it, and neither decides.
        for browser in [&viewer, &operator] {
            let page = browser.get(&nova.path).await;
            assert!(page.text.contains("Colegio Nuevo Amanecer") && page.text.contains("Solo un dueño") && !page.text.contains("/approve\""), "{}", page.text);
            for (act, field) in [("approve", ("plan", plan.as_str())), ("refuse", ("reason", "x"))] {
                let page = browser.post(&nova.path, &format!("{}/{act}", nova.path), &[("id", &id), field]).await;
                assert_eq!(page.status, StatusCode::FORBIDDEN, "{act}");
            }
        }
        let listed: Value = serde_json::from_str(&operator.get(&format!("/admin/api/clients/{}/approvals", nova.id)).await.text).unwrap();
        assert_eq!(
            (&listed["waiting"][0]["tool"], &listed["waiting"][0]["token"], listed["decided"].as_array().map(Vec::len)),
            (&json!("crear_cotizacion"), &json!("prueba"), Some(0)),
            "{listed}"
        );
        // Another company's is not there: neither its page, nor its write under one's own page.
        assert_eq!(aurora.owner.get(&nova.path).await.status, StatusCode::NOT_FOUND);
        for (on, status) in [(&nova.path, StatusCode::NOT_FOUND), (&aurora.path, StatusCode::NOT_FOUND)] {
            for (act, field) in [("approve", ("plan", plan.as_str())), ("refuse", ("reason", "x"))] {
                let page = aurora.owner.post(&aurora.path, &format!("{on}/{act}"), &[("id", &id), field]).await;
                assert_eq!(page.status, status, "{on} {act}");
            }
        }
        // The same key at another company is another wish.
        assert_eq!(aurora.client.call("crear_cotizacion", quote("mía")).await["estado"], "pendiente_de_aprobacion");
        assert!(aurora.approve().await.text.contains("Aprobada y escrita"));
        assert_eq!((nova.orders().await, rows(&app).await[0].state.as_str()), (before, "pending"));

        // What a revoked token asked for is not done in its name, nor for a company that is not served.
        let (token_id, token) = app.token(nova.id, None).await;
        app.client(&token).call("crear_cotizacion", quote("suya")).await;
        nova.refuse("").await;
        app.state.tokens.token_revoke(nova.id, token_id, &actor()).await.unwrap();
        assert!(nova.approve().await.text.contains("quien la pidió ya no puede hacerlo"));
        app.edit(nova.id, TenantEdit { active: Some(false), ..TenantEdit::default() }).await;
        assert!(nova.approve().await.text.contains("quien la pidió ya no puede hacerlo"));
        assert_eq!(nova.orders().await, before);
    })
    .await;
}

#[tokio::test]
async fn so_many_wait_and_no_more() {
    TestApp::everywhere_with(&["--tenant-burst-calls", "1000"], |app| async move {
        let nova = company(&app, "Nova").await;
        for at in 0..PENDING_MAX {
            nova.client.call("crear_cliente", json!({ "nombre": format!("Cliente {at}"), "clave": format!("c{at}") })).await;
        }
        let full = nova.client.fail("crear_cliente", json!({ "nombre": "Uno más", "clave": "otro" })).await;
        assert_eq!((full["codigo"].as_str(), rows(&app).await.len() as u64), (Some("aprobaciones_llenas"), PENDING_MAX), "{full}");
        nova.refuse("").await;
        assert_eq!(nova.client.call("crear_cliente", json!({ "nombre": "Uno más", "clave": "otro" })).await["estado"], "pendiente_de_aprobacion");
    })
    .await;
}

#[tokio::test]
async fn the_policy_is_chosen_in_the_matrix_the_form_and_by_the_api() {
    TestApp::everywhere(|app| async move {
        let nova = company(&app, "Nova").await;
        let operator = app.operator().await;
        let tools = format!("/admin/clients/{}/tools", nova.id);
        let page = nova.owner.get(&tools).await;
        assert!(page.text.contains("value=\"crear_cotizacion:owner_approves\" selected"), "{}", page.text);
        // One tool is the owner's to approve, another writes at once.
        let mark = page.hidden("mark");
        let mut fields = vec![("mark", mark.as_str())];
        let names: Vec<&str> = dunet::tools::TOOLS.iter().map(|tool| tool.facts().name).collect();
        for name in &names {
            fields.extend([("tool", *name), ("limit", "1000"), ("on", *name)]);
        }
        fields.extend([("writes", "crear_cotizacion:owner_approves"), ("writes", "crear_cliente:direct")]);
        assert_eq!(nova.owner.post(&tools, &tools, &fields).await.status, StatusCode::SEE_OTHER);
        assert_eq!(nova.client.call("crear_cotizacion", quote("a")).await["estado"], "pendiente_de_aprobacion");
        assert!(nova.client.call("crear_cliente", json!({ "nombre": "Directo", "clave": "b" })).await["cliente_id"].is_i64());
        let page = operator.get(&format!("/admin/clients/{}/edit", nova.id)).await;
        assert!(page.text.contains("value=\"owner_approves\" checked"), "{}", page.text);
        let shown = operator.get(&format!("/admin/api/clients/{}", nova.id)).await;
        assert_eq!(serde_json::from_str::<Value>(&shown.text).unwrap()["write_policy"], "owner_approves");
    })
    .await;
}
