//! What another process changes (the commands, later other nodes) takes effect in the running service, for the tenant concerned only.

use std::sync::Arc;
use std::time::Duration;

use dunet::domain::audit::Actor;
use dunet::domain::tenants::{TenantEdit, ToolEdit};
use dunet::odoo::ProtocolChoice;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::support::mcp::McpClient;
use crate::support::{Porter, TestApp, until};

/// The first request of every new connection.
const HELLO: &str = "/web/webclient/version_info";

fn shell() -> Actor {
    Actor::shell()
}

async fn search(client: &McpClient) -> serde_json::Value {
    client.call_result("buscar_cliente", json!({ "consulta": "a" })).await
}

/// Attack list 5: a revoked token is cut within seconds on every node.
#[tokio::test]
async fn attack_05_a_token_revoked_elsewhere_is_refused_here() {
    TestApp::everywhere(|app| async move {
        let (one, two) = (app.tenant("Uno").await, app.tenant("Dos").await);
        let (client, other) = (app.client(&one.token), app.client(&two.token));
        assert_eq!((client.request("ping", json!({})).await.status, other.request("ping", json!({})).await.status), (200, 200));
        let process = app.another_process().await;
        process.tokens.token_revoke(one.id, one.token_id, &shell()).await.unwrap();
        until("the revoked token is refused", || async { client.request("ping", json!({})).await.status == 401 }).await;
        assert_eq!(other.request("ping", json!({})).await.status, 200);

        // Rotated elsewhere without a grace: the old one ends, the new one works at once.
        let issued = process.tokens.token_rotate(two.id, two.token_id, 0, &shell()).await.unwrap();
        assert_eq!(app.client(issued.token.expose_secret()).request("ping", json!({})).await.status, 200);
        until("the rotated token is refused", || async { other.request("ping", json!({})).await.status == 401 }).await;
    })
    .await;
}

#[tokio::test]
async fn a_tenant_edited_elsewhere_is_edited_here() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Uno").await;
        let client = McpClient::modern(&app.mcp_url(), &tenant.token);
        let instructions = async || client.request("server/discover", json!({})).await.json()["result"]["instructions"].to_string();
        assert!(instructions().await.contains("Uno"));
        let process = app.another_process().await;
        let edit = async |edit: TenantEdit| process.tenants.tenant_edit(tenant.id, edit, &shell()).await.unwrap();

        edit(TenantEdit { name: Some("Renombrada".to_owned()), ..TenantEdit::default() }).await;
        until("the new name", || async { instructions().await.contains("Renombrada") }).await;
        edit(TenantEdit { active: Some(false), ..TenantEdit::default() }).await;
        until("suspended", || async { client.request("tools/list", json!({})).await.status == 403 }).await;
        edit(TenantEdit { active: Some(true), ..TenantEdit::default() }).await;
        until("active again", || async { client.request("tools/list", json!({})).await.status == 200 }).await;
    })
    .await;
}

#[tokio::test]
async fn a_tool_disabled_elsewhere_is_unknown_here() {
    TestApp::everywhere(|app| async move {
        let (one, two) = (app.tenant("Uno").await, app.tenant("Dos").await);
        let (client, other) = (app.client(&one.token), app.client(&two.token));
        assert_eq!((client.tool_names().await.len(), other.tool_names().await.len()), (8, 8));
        let process = app.another_process().await;
        let edit = async |edit: ToolEdit| process.tenants.tool_edit(one.id, "buscar_cliente", edit, &shell()).await.unwrap();

        edit(ToolEdit { enabled: Some(false), ..ToolEdit::default() }).await;
        until("the tool is not listed", || async { client.tool_names().await.len() == 7 }).await;
        let answer = client.request("tools/call", json!({ "name": "buscar_cliente", "arguments": { "consulta": "a" } })).await;
        assert_eq!(answer.code(), -32602);
        edit(ToolEdit { enabled: Some(true), calls_per_hour: Some(0), ..ToolEdit::default() }).await;
        until("the limit", || async { client.tool_names().await.len() == 8 }).await;
        assert_eq!(client.fail("buscar_cliente", json!({ "consulta": "a" })).await["codigo"], "limite_herramienta");
        assert_eq!(other.tool_names().await.len(), 8);
    })
    .await;
}

/// An edit moves the next call to the new Odoo; the old one is not asked again, and nobody else connects anew.
#[tokio::test]
async fn an_edit_forgets_the_connection() {
    TestApp::everywhere(|app| async move {
        let (old, new, neighbour) = (Porter::new("Vieja").await, Porter::new("Nueva").await, Porter::new("Vecina").await);
        let (tenant, token) = app.tenant_at("Mudanza", old.odoo(ProtocolChoice::Json2)).await;
        let (_, beside) = app.tenant_at("Vecina", neighbour.odoo(ProtocolChoice::Json2)).await;
        app.state.changes.look().await.unwrap();
        let (client, beside) = (app.client(&token), app.client(&beside));
        for _ in 0..3 {
            assert_ne!(search(&client).await["isError"], true);
            assert_ne!(search(&beside).await["isError"], true);
        }
        assert_eq!((old.asked_for(HELLO), neighbour.asked_for(HELLO)), (1, 1));

        let process = app.another_process().await;
        let odoo = new.odoo(ProtocolChoice::Json2);
        let edit = TenantEdit { odoo_url: Some(odoo.url), odoo_database: Some(odoo.database), odoo_secret: Some(odoo.secret), ..TenantEdit::default() };
        // The moment of an edit tells its connection from the one of before, even if a late call builds that one again just now.
        app.clock.advance(chrono::Duration::milliseconds(1));
        process.tenants.tenant_edit(tenant, edit, &shell()).await.unwrap();
        until("the new Odoo is asked", || async {
            search(&client).await;
            new.asked_for(HELLO) == 1
        })
        .await;
        let asked = old.asked().len();
        for _ in 0..3 {
            assert_ne!(search(&client).await["isError"], true);
            assert_ne!(search(&beside).await["isError"], true);
        }
        assert_eq!((old.asked().len(), new.asked_for(HELLO), neighbour.asked_for(HELLO)), (asked, 1, 1));

        // A key that Odoo refuses shows at the next call; the right one mends it, without a restart.
        let secret = |text: &str| TenantEdit { odoo_secret: Some(SecretString::from(text.to_owned())), ..TenantEdit::default() };
        app.clock.advance(chrono::Duration::milliseconds(1));
        process.tenants.tenant_edit(tenant, secret("clave-equivocada"), &shell()).await.unwrap();
        until("the wrong key", || async { search(&client).await["structuredContent"]["codigo"] == "odoo_credenciales" }).await;
        app.clock.advance(chrono::Duration::milliseconds(1));
        process.tenants.tenant_edit(tenant, secret(new.sandbox.api_key()), &shell()).await.unwrap();
        until("the right key", || async { search(&client).await["isError"] != json!(true) }).await;
    })
    .await;
}

/// Twenty calls of a cold tenant build one connection: one login, whoever came first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_tenant_is_connected_once() {
    TestApp::everywhere(|app| async move {
        for protocol in [ProtocolChoice::Json2, ProtocolChoice::XmlRpc, ProtocolChoice::JsonRpc, ProtocolChoice::Auto] {
            let porter = Porter::new(&format!("Fría {protocol}")).await;
            let (_, token) = app.tenant_at("Fría", porter.odoo(protocol)).await;
            app.state.changes.look().await.unwrap();
            let client = app.client(&token);
            // Verified beforehand, so that all twenty go straight to the connection.
            assert_eq!(client.request("ping", json!({})).await.status, 200);
            porter.hold(true);
            let mut calls = tokio::task::JoinSet::new();
            for _ in 0..20 {
                let client = client.clone();
                calls.spawn(async move { search(&client).await });
            }
            porter.until_asked(1).await;
            // While the first greeting waits, nobody else greets.
            let second = tokio::time::timeout(Duration::from_millis(300), porter.until_asked(2)).await;
            assert!(second.is_err(), "{protocol}: {:?}", porter.asked());
            porter.hold(false);
            while let Some(result) = calls.join_next().await {
                assert_ne!(result.unwrap()["isError"], true);
            }
            assert_eq!(porter.asked_for(HELLO), 1, "{protocol}");
            let logins = porter.asked().iter().filter(|path| path.ends_with("/context_get") || path.ends_with("/common")).count();
            assert!(logins <= 1, "{protocol}: {:?}", porter.asked());
        }
    })
    .await;
}

/// A connection that could not be made is tried again by the next call, and its failure is everybody's who waited.
#[tokio::test]
async fn a_failed_connection_is_not_remembered() {
    TestApp::everywhere(|app| async move {
        let porter = Porter::new("Cerrada").await;
        let mut odoo = porter.odoo(ProtocolChoice::Json2);
        odoo.secret = SecretString::from("0".repeat(40));
        let (tenant, token) = app.tenant_at("Cerrada", odoo).await;
        app.state.changes.look().await.unwrap();
        let client = app.client(&token);
        for round in 1..=2 {
            assert_eq!(client.fail("buscar_cliente", json!({ "consulta": "a" })).await["codigo"], "odoo_credenciales");
            assert_eq!(porter.asked_for(HELLO), round);
        }
        let secret = SecretString::from(porter.sandbox.api_key().to_owned());
        app.edit(tenant, TenantEdit { odoo_secret: Some(secret), ..TenantEdit::default() }).await;
        assert_ne!(search(&client).await["isError"], true);
    })
    .await;
}

/// Only what changed is forgotten, and once.
#[tokio::test]
async fn the_watch_sees_every_change_once() {
    TestApp::everywhere(|app| async move {
        let mut tenants = Vec::new();
        for turn in 0..4 {
            tenants.push(app.tenant(&format!("Cliente {turn}")).await);
        }
        let watch = app.another_process().await.changes;
        assert_eq!(watch.look().await.unwrap(), 4, "the last half minute, in case something was under way at the start");
        assert_eq!(watch.look().await.unwrap(), 0);
        let process = app.another_process().await;
        let edit = |name: &str| TenantEdit { name: Some(name.to_owned()), ..TenantEdit::default() };
        process.tenants.tenant_edit(tenants[1].id, edit("Otro"), &shell()).await.unwrap();
        process.tenants.tenant_edit(tenants[1].id, edit("Otro más"), &shell()).await.unwrap();
        process.tokens.token_revoke(tenants[2].id, tenants[2].token_id, &shell()).await.unwrap();
        assert_eq!(watch.look().await.unwrap(), 2);
        assert_eq!(watch.look().await.unwrap(), 0);
        // However long nobody looked; and a clock that lags behind by less than half a minute is no excuse.
        for seconds in [40, 3_600, 86_400] {
            app.clock.advance(chrono::Duration::seconds(seconds));
            assert_eq!(watch.look().await.unwrap(), 0);
            app.clock.advance(chrono::Duration::seconds(-25));
            process.tenants.tenant_edit(tenants[3].id, edit("Tarde"), &shell()).await.unwrap();
            app.clock.advance(chrono::Duration::seconds(25));
            assert_eq!(watch.look().await.unwrap(), 1, "{seconds}");
            assert_eq!(watch.look().await.unwrap(), 0, "{seconds}");
        }
        // A change between two looks that are far apart.
        process.tenants.tenant_edit(tenants[0].id, edit("Temprano"), &shell()).await.unwrap();
        app.clock.advance(chrono::Duration::days(2));
        assert_eq!(watch.look().await.unwrap(), 1);
    })
    .await;
}

/// Edits while calls go on: every call is answered by the Odoo of before or the one of after, never by a mixture.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_under_load_break_no_call() {
    TestApp::everywhere_with(&["--tenant-burst-calls", "1000"], |app| async move {
        let odoos = [Porter::new("Par Uno").await, Porter::new("Par Dos").await];
        let (tenant, token) = app.tenant_at("Par", odoos[0].odoo(ProtocolChoice::Json2)).await;
        let process = app.another_process().await;
        let client = app.client(&token);
        let calls = async {
            let mut calls = tokio::task::JoinSet::new();
            for _ in 0..4 {
                let client = client.clone();
                calls.spawn(async move {
                    for _ in 0..15 {
                        let context = client.call("odoo_contexto", json!({})).await.to_string();
                        assert!(context.contains("Par Uno") != context.contains("Par Dos"), "{context}");
                    }
                });
            }
            while let Some(done) = calls.join_next().await {
                done.unwrap();
            }
        };
        let edits = async {
            for turn in 1..=8 {
                let odoo = Arc::clone(&odoos[turn % 2]).odoo(ProtocolChoice::Json2);
                let edit = TenantEdit { odoo_url: Some(odoo.url), odoo_database: Some(odoo.database), odoo_secret: Some(odoo.secret), ..TenantEdit::default() };
                let asked = odoos[turn % 2].asked().len();
                // The moment of an edit tells its connection from the one of before, even if that one is being built just now.
                app.clock.advance(chrono::Duration::milliseconds(1));
                process.tenants.tenant_edit(tenant, edit, &shell()).await.unwrap();
                until("the other Odoo is asked", || async {
                    client.call("odoo_contexto", json!({})).await;
                    odoos[turn % 2].asked().len() > asked
                })
                .await;
            }
        };
        tokio::join!(calls, edits);
    })
    .await;
}
