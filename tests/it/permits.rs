//! Who may use what, and how often: tools, packs, tenants, limits and quotas.
//!
//! Numbers in comments are those of the attack list (platform reference, §3C).

use std::sync::Arc;

use dunet::domain::tenants::{TenantEdit, TenantError, ToolEdit};
use dunet::odoo::ProtocolChoice;
use serde_json::{Value, json};

use crate::support::mcp::McpClient;
use crate::support::{TestApp, TestTenant, actor};

/// A taxpayer that every sample listing has.
const RNC: &str = "131793916";

impl TestApp {
    async fn tool_edit(&self, tenant: &TestTenant, tool: &str, edit: ToolEdit) {
        self.state.tenants.tool_edit(tenant.id, tool, edit, &actor()).await.expect("edited");
        self.state.tokens.forget(tenant.id);
    }

    async fn enable(&self, tenant: &TestTenant, tool: &str, enabled: bool) {
        self.tool_edit(tenant, tool, ToolEdit { enabled: Some(enabled), ..ToolEdit::default() }).await;
    }

    async fn per_hour(&self, tenant: &TestTenant, tool: &str, calls: u32) {
        self.tool_edit(tenant, tool, ToolEdit { calls_per_hour: Some(calls), ..ToolEdit::default() }).await;
    }
}

async fn lookup(client: &McpClient) -> Value {
    client.call_result("consultar_rnc_dgii", json!({ "rnc": RNC })).await
}

fn is_ok(result: &Value) -> bool {
    result["isError"] != json!(true)
}

/// What a call of that tool answers, with the tool's name taken out.
async fn refusal(client: &McpClient, tool: &str) -> String {
    let answer = client.request("tools/call", json!({ "name": tool, "arguments": { "rnc": RNC, "consulta": "x" } })).await;
    assert_eq!(answer.status, 200);
    let json = answer.json();
    assert!(json.get("result").is_none(), "{tool}: {json}");
    json["error"].to_string().replace(tool, "TOOL")
}

/// 16: a tool that is not enabled does not exist.
#[tokio::test]
async fn attack_16_a_tool_one_may_not_use_is_unknown() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Uno").await;
        for client in [app.client(&tenant.token), McpClient::modern(&app.mcp_url(), &tenant.token)] {
            assert!(client.tool_names().await.contains(&"consultar_rnc_dgii".to_owned()));
            assert!(is_ok(&lookup(&client).await));
            app.enable(&tenant, "consultar_rnc_dgii", false).await;
            assert!(!client.tool_names().await.contains(&"consultar_rnc_dgii".to_owned()));
            assert_eq!(client.tool_names().await.len(), 7);
            let forbidden = refusal(&client, "consultar_rnc_dgii").await;
            assert_eq!(forbidden, refusal(&client, "no_existe").await);
            assert!(forbidden.contains("-32602"), "{forbidden}");
            // What a tool tells about the others is no way round.
            let context = client.call("odoo_contexto", json!({})).await.to_string();
            assert!(!context.contains("consultar_rnc_dgii"), "{context}");
            app.enable(&tenant, "consultar_rnc_dgii", true).await;
            assert!(is_ok(&lookup(&client).await));
        }
        // A call of a tool that does not exist is no call of a tool.
        let rows = app.usage_rows(6).await;
        assert!(rows.iter().all(|row| row.outcome == "ok"), "{rows:?}");
    })
    .await;
}

#[tokio::test]
async fn the_free_plan_has_two_tools() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant_on("Gratis", "gratis", ProtocolChoice::Auto).await;
        let client = app.client(&tenant.token);
        assert_eq!(client.tool_names().await, ["consultar_rnc_dgii", "buscar_cliente"]);
        assert!(is_ok(&lookup(&client).await));
        assert!(is_ok(&client.call_result("buscar_cliente", json!({ "consulta": "a" })).await));
        assert_eq!(refusal(&client, "crear_cliente").await, refusal(&client, "no_existe").await);
        // A third is refused; exchanging one is fine.
        let edit = ToolEdit { enabled: Some(true), ..ToolEdit::default() };
        let third = app.state.tenants.tool_edit(tenant.id, "odoo_contexto", edit, &actor()).await;
        assert!(matches!(third, Err(TenantError::TooManyTools { max: 2, enabled: 2, .. })), "{third:?}");
        // Nor does setting a limit switch it on.
        app.per_hour(&tenant, "odoo_contexto", 5).await;
        assert_eq!(client.tool_names().await.len(), 2);
        app.enable(&tenant, "buscar_cliente", false).await;
        app.enable(&tenant, "odoo_contexto", true).await;
        assert_eq!(client.tool_names().await, ["consultar_rnc_dgii", "odoo_contexto"]);
        // A bigger plan has all but what was disabled by name; back on the small one no more than two remain.
        app.edit(tenant.id, TenantEdit { plan: Some("basic".to_owned()), ..TenantEdit::default() }).await;
        assert_eq!(client.tool_names().await.len(), 7);
        for tool in ["buscar_cliente", "buscar_productos", "ver_cotizacion"] {
            app.enable(&tenant, tool, true).await;
        }
        app.edit(tenant.id, TenantEdit { plan: Some("gratis".to_owned()), ..TenantEdit::default() }).await;
        assert_eq!(client.tool_names().await.len(), 2);
        let unknown = refusal(&client, "no_existe").await;
        let mut usable = 0;
        for tool in dunet::tools::TOOLS.iter() {
            let answer = client.request("tools/call", json!({ "name": tool.facts().name, "arguments": {} })).await.json();
            usable += usize::from(answer.get("result").is_some());
        }
        assert_eq!(usable, 2, "what the list shows is what can be called");
        assert!(unknown.contains("TOOL"));
    })
    .await;
}

#[tokio::test]
async fn packs_limit_a_token() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Uno").await;
        for packs in [&["voice"][..], &["analyst"], &["writes"], &["analyst", "writes"], &["no_existe"], &[]] {
            let (_, token) = app.token(tenant.id, Some(packs)).await;
            let client = app.client(&token);
            let names = client.tool_names().await;
            let expected: Vec<&str> =
                dunet::tools::TOOLS.iter().map(|tool| tool.facts()).filter(|facts| facts.packs.iter().any(|pack| packs.contains(&pack.as_str()))).map(|facts| facts.name).collect();
            assert_eq!(names, expected, "{packs:?}");
            let unknown = refusal(&client, "no_existe").await;
            for tool in dunet::tools::TOOLS.iter().map(|tool| tool.facts().name).filter(|name| !expected.contains(name)) {
                assert_eq!(refusal(&client, tool).await, unknown, "{packs:?} {tool}");
            }
        }
        let (_, analyst) = app.token(tenant.id, Some(&["analyst"])).await;
        assert_eq!(app.client(&analyst).tool_names().await, ["odoo_contexto"]);
        // The tenant's other token is as it was, and what a pack has can still be disabled.
        assert_eq!(app.client(&tenant.token).tool_names().await.len(), 8);
        app.enable(&tenant, "odoo_contexto", false).await;
        assert!(app.client(&analyst).tool_names().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn attack_16_a_suspended_tenant_is_403() {
    TestApp::everywhere(|app| async move {
        let (tenant, other) = (app.tenant("Uno").await, app.tenant("Dos").await);
        let client = app.client(&tenant.token);
        assert_eq!(client.request("ping", json!({})).await.status, 200);
        app.edit(tenant.id, TenantEdit { active: Some(false), ..TenantEdit::default() }).await;
        for client in [client.clone(), McpClient::modern(&app.mcp_url(), &tenant.token)] {
            let answer = client.request("tools/list", json!({})).await;
            assert_eq!((answer.status, answer.code()), (403, -31003), "{}", answer.text);
            assert!(answer.text.contains("suspendida") && answer.text.contains("suspended"), "{}", answer.text);
        }
        assert_eq!(app.client(&other.token).request("ping", json!({})).await.status, 200);
        app.edit(tenant.id, TenantEdit { active: Some(true), ..TenantEdit::default() }).await;
        assert_eq!(client.request("ping", json!({})).await.status, 200);
    })
    .await;
}

/// 14, 15: another tenant's things are not there, whatever one asks for.
#[tokio::test]
async fn attack_14_15_a_tenant_never_sees_another() {
    TestApp::everywhere(|app| async move {
        let (one, two) = (app.tenant("Canario Uno").await, app.tenant("Canario Dos").await);
        let (first, second) = (app.client(&one.token), app.client(&two.token));
        app.write_policy(one.id, dunet::domain::tenants::WritePolicy::Direct).await;
        // A customer that only the first has.
        let created = first.call("crear_cliente", json!({ "nombre": "Zutano Exclusivo", "telefono": "809-555-0177" })).await;
        let id = created["cliente_id"].as_i64().unwrap_or_else(|| panic!("{created}"));
        assert_eq!(first.call("buscar_cliente", json!({ "consulta": "Zutano Exclusivo" })).await["total"], 1);
        assert_eq!(second.call("buscar_cliente", json!({ "consulta": "Zutano Exclusivo" })).await["total"], 0);
        let by_id = second.call_result("buscar_cliente", json!({ "consulta": id.to_string() })).await.to_string();
        assert!(!by_id.contains("Zutano"), "{by_id}");
        // A quotation likewise.
        let line =
            json!({ "producto": first.call("buscar_productos", json!({ "consulta": "cemento" })).await["productos"][0]["producto"].as_str().expect("a product"), "cantidad": 1 });
        let quotation = first.call("crear_cotizacion", json!({ "cliente": id.to_string(), "lineas": [line] })).await;
        let number = quotation["numero"].as_str().unwrap_or_else(|| panic!("{quotation}")).to_owned();
        assert!(is_ok(&first.call_result("ver_cotizacion", json!({ "numero": number })).await));
        let foreign = second.call_result("ver_cotizacion", json!({ "numero": number })).await.to_string();
        assert!(!foreign.contains("Zutano"), "{foreign}");
        // Nor the other's company or permissions.
        let context = second.call("odoo_contexto", json!({})).await.to_string();
        assert!(context.contains("Canario Dos") && !context.contains("Canario Uno"), "{context}");
        app.enable(&one, "odoo_contexto", false).await;
        assert_eq!((first.tool_names().await.len(), second.tool_names().await.len()), (7, 8));
    })
    .await;
}

/// 17: two tenants hammer at the same time; no answer crosses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_17_parallel_tenants_do_not_cross() {
    TestApp::everywhere_with(&["--tenant-burst-calls", "1000"], |app| async move {
        let tenants = Arc::new([app.tenant("Canario Azul").await, app.tenant("Canario Rojo").await, app.tenant("Canario Verde").await]);
        let mut hammer = tokio::task::JoinSet::new();
        for turn in 0..150 {
            let (tenants, url) = (Arc::clone(&tenants), app.mcp_url());
            hammer.spawn(async move {
                let own = ["Canario Azul", "Canario Rojo", "Canario Verde"][turn % 3];
                let client = McpClient::legacy(&url, &tenants[turn % 3].token);
                let text = client.call("odoo_contexto", json!({})).await.to_string();
                assert_eq!((text.contains(own), text.matches("Canario").count() > 0), (true, true), "{text}");
                for other in ["Canario Azul", "Canario Rojo", "Canario Verde"].into_iter().filter(|name| *name != own) {
                    assert!(!text.contains(other), "{own} saw {other}: {text}");
                }
            });
        }
        while let Some(done) = hammer.join_next().await {
            done.unwrap();
        }
        for (tenant, rows) in tenants.iter().map(|tenant| (tenant.id, 50)) {
            let all = app.usage_rows(150).await;
            assert_eq!(all.iter().filter(|row| row.client_id == tenant.uuid()).count(), rows);
        }
    })
    .await;
}

#[tokio::test]
async fn a_tool_has_a_limit_an_hour() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let (tenant, other) = (app.tenant("Uno").await, app.tenant("Dos").await);
        let client = app.client(&tenant.token);
        app.per_hour(&tenant, "consultar_rnc_dgii", 3).await;
        for _ in 0..3 {
            assert!(is_ok(&lookup(&client).await));
        }
        let refused = client.fail("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        assert_eq!((&refused["codigo"], &refused["reintentable"]), (&json!("limite_herramienta"), &json!(true)), "{refused}");
        assert!(refused["mensaje"].as_str().unwrap().contains('3') && refused["que_hacer"].as_str().unwrap().contains("1200"), "the limit and the wait: {refused}");
        // Another token of the tenant shares it; other tools and other tenants do not.
        let (_, second) = app.token(tenant.id, None).await;
        assert_eq!(app.client(&second).fail("consultar_rnc_dgii", json!({ "rnc": RNC })).await["codigo"], "limite_herramienta");
        assert!(is_ok(&client.call_result("buscar_cliente", json!({ "consulta": "a" })).await));
        assert!(is_ok(&lookup(&app.client(&other.token)).await));
        // What was refused is recorded and not counted.
        let rows = app.usage_rows(7).await;
        let refused: Vec<_> = rows.iter().filter(|row| row.outcome == "refused").collect();
        assert_eq!(refused.len(), 2);
        assert!(refused.iter().all(|row| !row.counted && row.error_code.as_deref() == Some("limite_herramienta")), "{refused:?}");
        // A third of an hour gives one of three back.
        app.clock.advance(chrono::Duration::seconds(1200));
        assert!(is_ok(&lookup(&client).await));
        assert!(!is_ok(&lookup(&client).await));
        // None at all is a limit too.
        app.per_hour(&tenant, "buscar_cliente", 0).await;
        assert_eq!(client.fail("buscar_cliente", json!({ "consulta": "a" })).await["codigo"], "limite_herramienta");
    })
    .await;
}

/// 36: exact under 200 parallel calls; 37: the month turns in Santo Domingo.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_36_37_the_free_plan_has_a_hundred_calls_a_month() {
    TestApp::everywhere_with(&["--tenant-burst-calls", "10000"], |app| async move {
        app.padron(3).await;
        let tenant = app.tenant_on("Gratis", "gratis", ProtocolChoice::Auto).await;
        let other = app.tenant_on("Otra", "gratis", ProtocolChoice::Auto).await;
        let client = app.client(&tenant.token);
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let client = client.clone();
            calls.spawn(async move { lookup(&client).await });
        }
        let (mut good, mut exhausted) = (0, 0);
        while let Some(result) = calls.join_next().await {
            let result = result.unwrap();
            if is_ok(&result) {
                good += 1;
            } else {
                exhausted += 1;
                let error = &result["structuredContent"];
                assert_eq!((&error["codigo"], &error["reintentable"]), (&json!("cuota_agotada"), &json!(false)), "{error}");
                assert!(error["mensaje"].as_str().unwrap().contains("100") && error["que_hacer"].as_str().unwrap().contains("2026-12-01"), "the limit and its end: {error}");
            }
        }
        assert_eq!((good, exhausted), (100, 100));
        let rows = app.usage_rows(200).await;
        assert_eq!((rows.len(), rows.iter().filter(|row| row.counted).count()), (200, 100));
        assert!(is_ok(&lookup(&app.client(&other.token)).await), "the other tenant's month is its own");

        // Until the last moment of November in Santo Domingo (UTC−4), and not a moment longer.
        let turn = "2026-12-01T04:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        app.clock.advance(turn - app.clock.now() - chrono::Duration::seconds(1));
        assert!(!is_ok(&lookup(&client).await));
        app.clock.advance(chrono::Duration::seconds(1));
        assert!(is_ok(&lookup(&client).await));
        let rows = app.usage_rows(203).await;
        let months: Vec<i32> = rows.iter().filter(|row| row.client_id == tenant.id.uuid()).map(|row| row.billing_month).collect();
        assert_eq!((months.iter().filter(|month| **month == 202_611).count(), months.iter().filter(|month| **month == 202_612).count()), (201, 1));
        // 37: a clock that goes back finds the old month as it was left.
        app.clock.advance(chrono::Duration::seconds(-60));
        assert!(!is_ok(&lookup(&client).await));
    })
    .await;
}

#[tokio::test]
async fn the_month_is_counted_from_what_is_stored() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant_on("Gratis", "gratis", ProtocolChoice::Auto).await;
        let client = app.client(&tenant.token);
        for _ in 0..5 {
            assert!(is_ok(&lookup(&client).await));
        }
        // Wrong arguments do not count.
        client.fail("consultar_rnc_dgii", json!({})).await;
        app.usage_rows(6).await;
        // Another process that meets the tenant for the first time starts from there.
        let other = app.another_process().await;
        let caller = other.tokens.verify(&tenant.token).await.unwrap();
        let quota = other.limits.month_reserve(caller.tenant()).await.unwrap().unwrap().view;
        assert_eq!((quota.limit, quota.used, quota.left), (Some(100), 6, Some(94)));
        // The bigger plan takes effect at once, with what was used.
        app.edit(tenant.id, TenantEdit { plan: Some("basic".to_owned()), ..TenantEdit::default() }).await;
        let caller = app.state.tokens.verify(&tenant.token).await.unwrap();
        let quota = app.state.limits.month_reserve(caller.tenant()).await.unwrap().unwrap().view;
        assert_eq!((quota.limit, quota.used), (Some(5_000), 6));
    })
    .await;
}

#[tokio::test]
async fn too_many_requests_of_one_tenant_wait() {
    TestApp::everywhere_with(&["--tenant-burst-calls", "5", "--tenant-calls-per-minute", "6"], |app| async move {
        let (tenant, other) = (app.tenant("Uno").await, app.tenant("Dos").await);
        let client = app.client(&tenant.token);
        for _ in 0..5 {
            assert_eq!(client.request("ping", json!({})).await.status, 200);
        }
        let answer = client.request("ping", json!({})).await;
        assert_eq!((answer.status, answer.code()), (429, -31029), "{}", answer.text);
        let wait: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=10).contains(&wait), "{wait}");
        assert_eq!(answer.json()["error"]["data"]["retry_after_s"], wait);
        assert!(answer.text.contains("6 llamadas por minuto") && answer.text.contains("6 calls a minute"), "{}", answer.text);
        // Its other tokens share the rate; other tenants at the same address do not.
        let (_, second) = app.token(tenant.id, None).await;
        assert_eq!(app.client(&second).request("ping", json!({})).await.status, 429);
        assert_eq!(app.client(&other.token).request("ping", json!({})).await.status, 200);
    })
    .await;
}
