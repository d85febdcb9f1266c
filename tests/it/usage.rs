//! Usage: every call is recorded once, with what it cost and without what it was about.
//!
//! Numbers in comments are those of the attack list (platform reference, §3C).

use dunet::db::entities::tool_usage;
use dunet::domain::usage::{Outcome, UsageRecord, totals};
use dunet::ids::UsageId;
use dunet::odoo::ProtocolChoice;
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait};
use serde_json::{Value, json};

use crate::support::mcp::McpClient;
use crate::support::{Backend, Porter, TestApp, backends, until};

/// A taxpayer that every sample listing has.
const RNC: &str = "131793916";

fn call_body(tool: &str, arguments: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool, "arguments": arguments } }).to_string()
}

#[tokio::test]
async fn every_call_leaves_one_row() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Uno").await;
        let (modern, legacy) = (McpClient::modern(&app.mcp_url(), &tenant.token), app.client(&tenant.token));
        // What is no call of a tool leaves none.
        modern.request("server/discover", json!({})).await;
        legacy.request("tools/list", json!({})).await;
        legacy.request("ping", json!({})).await;
        legacy.raw("{", &[]).await;
        legacy.request("tools/call", json!({ "name": "no_existe", "arguments": {} })).await;

        modern.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        legacy.raw(call_body("buscar_cliente", &json!({ "consulta": "a" })), &[("user-agent", "n8n/1.0")]).await;
        legacy.fail("ver_cotizacion", json!({ "numero": "S99999" })).await;
        legacy.fail("consultar_rnc_dgii", json!({ "rnc": "abc" })).await;
        let answer = legacy.raw(call_body("buscar_cliente", &json!({ "consulta": 5 })), &[]).await;
        let refused_id = answer.header("x-request-id").to_owned();

        let rows = app.usage_rows(5).await;
        let short: Vec<_> = rows.iter().map(|row| (row.tool.as_str(), row.outcome.as_str(), row.error_code.as_deref(), row.counted)).collect();
        assert_eq!(
            short,
            [
                ("consultar_rnc_dgii", "ok", None, true),
                ("buscar_cliente", "ok", None, true),
                ("ver_cotizacion", "error", Some("no_encontrado"), true),
                ("consultar_rnc_dgii", "error", Some("identificador_invalido"), true),
                ("buscar_cliente", "refused", Some("argumento_invalido"), false),
            ]
        );
        for row in &rows {
            assert_eq!((row.client_id, row.token_id, row.billing_month, row.started_at), (tenant.id.uuid(), Some(tenant.token_id.uuid()), 202_611, app.clock.now()));
            assert!(row.total_us > 0 && row.odoo_us <= row.total_us, "{row:?}");
            assert!(uuid::Uuid::parse_str(&row.request_id).is_ok());
        }
        assert_eq!(rows[4].request_id, refused_id);
        let odoo: Vec<bool> = rows.iter().map(|row| row.odoo_requests > 0).collect();
        assert_eq!(odoo, [false, true, true, false, false]);
        assert!(rows[1].odoo_us > 0 && rows[0].odoo_us == 0);
        let agents: Vec<Option<&str>> = rows.iter().map(|row| row.agent.as_deref()).collect();
        assert_eq!((agents[0], agents[1]), (Some("prueba 1"), Some("n8n/1.0")));
    })
    .await;
}

/// 29: an agent's name of itself is cut and cannot break a line.
#[tokio::test]
async fn attack_29_an_agents_name_is_bounded() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Uno").await;
        let long = "x".repeat(5_000);
        app.client(&tenant.token).raw(call_body("consultar_rnc_dgii", &json!({ "rnc": RNC })), &[("user-agent", &long)]).await;
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": crate::support::mcp::MODERN,
            "io.modelcontextprotocol/clientInfo": { "name": "uno\r\ndos\u{0}\u{1b}[31m", "version": "9" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "consultar_rnc_dgii", "arguments": { "rnc": RNC }, "_meta": meta } });
        let headers = [("mcp-protocol-version", crate::support::mcp::MODERN), ("mcp-method", "tools/call"), ("mcp-name", "consultar_rnc_dgii")];
        assert_eq!(app.client(&tenant.token).raw(body.to_string(), &headers).await.status, 200);
        let rows = app.usage_rows(2).await;
        assert_eq!(rows[0].agent.as_deref(), Some("x".repeat(100).as_str()));
        assert_eq!(rows[1].agent.as_deref(), Some("unodos[31m 9"));
    })
    .await;
}

/// A client that hangs up is recorded as such, every time; Odoo is let go of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_is_recorded() {
    TestApp::everywhere_with(&["--odoo-places-per-tenant", "20"], |app| async move {
        let porter = Porter::new("Lenta").await;
        let (tenant, token) = app.tenant_at("Lenta", porter.odoo(ProtocolChoice::Json2)).await;
        app.state.changes.look().await.unwrap();
        let client = app.client(&token);
        client.call("buscar_cliente", json!({ "consulta": "a" })).await;
        porter.hold(true);
        let before = porter.asked().len();
        let mut calls = tokio::task::JoinSet::new();
        for turn in 0..20 {
            let client = client.clone();
            calls.spawn(async move { client.raw(call_body("buscar_cliente", &json!({ "consulta": format!("a{turn}") })), &[("user-agent", "impaciente/1")]).await.status });
        }
        porter.until_asked(before + 20).await;
        // Dropping a request closes its connection.
        calls.shutdown().await;
        let rows = app.usage_rows(21).await;
        for row in &rows[1..] {
            assert_eq!((row.outcome.as_str(), row.error_code.as_deref(), row.counted), ("cancelled", None, true), "{row:?}");
            assert_eq!((row.client_id, row.agent.as_deref()), (tenant.uuid(), Some("impaciente/1")));
        }
        porter.hold(false);
        client.call("buscar_cliente", json!({ "consulta": "a" })).await;
        let rows = app.usage_rows(22).await;
        assert_eq!((rows.len(), rows[21].outcome.as_str()), (22, "ok"), "nothing was recorded twice");
    })
    .await;
}

/// What a call was about is nowhere in its record.
#[tokio::test]
async fn no_argument_is_recorded() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Uno").await;
        let client = app.client(&tenant.token);
        let canary = "canario-xq7";
        let mut count = 0;
        for tool in dunet::tools::TOOLS.iter() {
            let facts = tool.facts();
            // Well formed or not: the same word in every text, and once under a name that is not known.
            let mut arguments = serde_json::Map::new();
            for (name, schema) in facts.input_schema["properties"].as_object().unwrap() {
                let value = match schema["type"].as_str() {
                    Some("string") if name != "codigo_confirmacion" => json!(canary),
                    Some("array") => json!([{ "producto": canary, "cantidad": 1 }]),
                    _ => continue,
                };
                arguments.insert(name.clone(), value);
            }
            client.call_result(facts.name, Value::Object(arguments.clone())).await;
            arguments.insert(canary.to_owned(), json!(canary));
            client.call_result(facts.name, Value::Object(arguments)).await;
            count += 2;
        }
        assert_eq!(app.usage_rows(count).await.len(), count);
        let dump = app.dump().await;
        assert_eq!(dump.iter().filter(|line| line.starts_with("tool_usage: ")).count(), count);
        for line in dump.iter().filter(|line| line.starts_with("tool_usage: ") || line.starts_with("logs: ")) {
            assert!(!line.contains(canary), "{line}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_record_delivered_twice_is_stored_once() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Uno").await;
        let record = UsageRecord {
            id: UsageId::new(),
            tenant: tenant.id,
            token: tenant.token_id,
            tool: "odoo_contexto",
            agent: None,
            outcome: Outcome::Ok,
            error_code: None,
            counted: true,
            total_us: 5,
            odoo_us: 0,
            odoo_requests: 0,
            request_id: "r".to_owned(),
            started_at: app.clock.now(),
        };
        app.state.usage.record(&record);
        app.state.usage.record(&record);
        app.usage_rows(1).await;
        // In a batch of its own too, changed or not: the first one counts.
        app.state.usage.record(&UsageRecord { total_us: 9, counted: false, ..record.clone() });
        app.state.usage.record(&UsageRecord { id: UsageId::new(), ..record });
        let rows = app.usage_rows(2).await;
        assert_eq!((rows.len(), rows[0].total_us, rows[0].counted), (2, 5, true));
        assert_eq!(app.state.usage.dropped(), 0);
    })
    .await;
}

/// Stopping loses nothing: neither what waits for its batch nor the calls that are under way.
#[tokio::test]
async fn a_clean_stop_loses_nothing() {
    for backend in backends() {
        // A batch waits for longer than the test lasts: only the end can have written it.
        let mut app = TestApp::start(backend, &["--tenant-burst-calls", "1000", "--odoo-places-per-tenant", "20"]).await;
        app.padron(3).await;
        let porter = Porter::new("Lenta").await;
        let (_, token) = app.tenant_at("Lenta", porter.odoo(ProtocolChoice::Json2)).await;
        app.state.changes.look().await.unwrap();
        let client = app.client(&token);
        client.call("buscar_cliente", json!({ "consulta": "a" })).await;
        let before = porter.asked().len();
        porter.hold(true);
        let mut calls = tokio::task::JoinSet::new();
        for turn in 0..60 {
            let client = client.clone();
            calls.spawn(async move {
                match turn % 6 {
                    0 => client.call("buscar_cliente", json!({ "consulta": format!("a{turn}") })).await,
                    _ => client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await,
                }
            });
        }
        porter.until_asked(before + 10).await;
        for _ in 0..50 {
            calls.join_next().await.unwrap().unwrap();
        }
        // Ten are in Odoo when the service is told to stop, and come back afterwards.
        let (stopping, _) = tokio::join!(app.stop(), async {
            porter.until_asked(before + 10).await;
            porter.hold(false);
        });
        assert_eq!(stopping, ());
        while let Some(done) = calls.join_next().await {
            done.expect("the call was answered");
        }
        let rows = tool_usage::Entity::find().count(&app.state.db).await.unwrap();
        assert_eq!((rows, app.state.usage.dropped()), (61, 0));
    }
}

/// A call that does not end within the drain is cut, and recorded.
#[tokio::test]
async fn a_call_that_is_cut_is_recorded() {
    for backend in backends() {
        let mut app = TestApp::start(backend, &["--drain-ms", "300"]).await;
        let porter = Porter::new("Lenta").await;
        let (_, token) = app.tenant_at("Lenta", porter.odoo(ProtocolChoice::Json2)).await;
        app.state.changes.look().await.unwrap();
        let client = app.client(&token);
        client.call("buscar_cliente", json!({ "consulta": "a" })).await;
        porter.hold(true);
        let before = porter.asked().len();
        let mut calls = tokio::task::JoinSet::new();
        calls.spawn(async move { client.raw(call_body("buscar_cliente", &json!({ "consulta": "a" })), &[]).await.status });
        porter.until_asked(before + 1).await;
        app.stop().await;
        let rows = app.usage_rows(2).await;
        assert_eq!((rows.len(), rows[1].outcome.as_str(), rows[1].counted), (2, "cancelled", true));
        assert_eq!(app.state.usage.dropped(), 0);
    }
}

#[tokio::test]
async fn totals_are_by_tenant_month_tool_and_outcome() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let (one, two) = (app.tenant("Uno").await, app.tenant("Dos").await);
        let client = app.client(&one.token);
        for _ in 0..3 {
            client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        }
        client.fail("consultar_rnc_dgii", json!({ "rnc": "abc" })).await;
        client.fail("consultar_rnc_dgii", json!({})).await;
        client.call("buscar_cliente", json!({ "consulta": "a" })).await;
        app.client(&two.token).call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        app.clock.advance(chrono::Duration::days(10));
        client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        app.usage_rows(8).await;
        let of = async |tenant, month| {
            let rows = totals(&app.state.db, tenant, month).await.unwrap();
            rows.into_iter().map(|row| (row.tool, row.outcome, row.calls, row.counted)).collect::<Vec<_>>()
        };
        let row = |tool: &str, outcome: &str, calls, counted| (tool.to_owned(), outcome.to_owned(), calls, counted);
        assert_eq!(
            of(one.id, 202_611).await,
            [row("buscar_cliente", "ok", 1, 1), row("consultar_rnc_dgii", "error", 1, 1), row("consultar_rnc_dgii", "ok", 3, 3), row("consultar_rnc_dgii", "refused", 1, 0),]
        );
        assert_eq!(of(one.id, 202_612).await, [row("consultar_rnc_dgii", "ok", 1, 1)]);
        assert_eq!(of(two.id, 202_611).await, [row("consultar_rnc_dgii", "ok", 1, 1)]);
        assert_eq!(of(two.id, 202_612).await, []);
    })
    .await;
}

/// DESIGN §9: a warm search costs Odoo one request, total included, on every wire.
#[tokio::test]
async fn a_warm_search_is_one_request() {
    TestApp::everywhere(|app| async move {
        for (rows, protocol, name) in [(6, ProtocolChoice::Json2, "Uno"), (12, ProtocolChoice::XmlRpc, "Dos"), (18, ProtocolChoice::JsonRpc, "Tres")] {
            let porter = Porter::new(name).await;
            let (tenant, token) = app.tenant_at(name, porter.odoo(protocol)).await;
            let client = app.client(&token);
            // What was done so far has been followed: the connection is not forgotten for it any more.
            app.state.changes.look().await.unwrap();
            for (tool, arguments) in [
                ("buscar_cliente", json!({ "consulta": "a" })),
                ("buscar_cliente", json!({ "consulta": "ferreteria", "limite": 2 })),
                ("buscar_productos", json!({ "consulta": "a" })),
            ] {
                client.call(tool, arguments.clone()).await;
                let before = porter.asked().len();
                let found = client.call(tool, arguments.clone()).await;
                assert_eq!(porter.asked().len() - before, 1, "{protocol} {tool} {arguments}: {:?}", &porter.asked()[before..]);
                assert!(found["total"].is_number(), "{found}");
            }
            let rows = app.usage_rows(rows).await;
            let last = rows.iter().rfind(|row| row.client_id == tenant.uuid()).unwrap();
            assert_eq!(last.odoo_requests, 1, "the meter agrees");
        }
    })
    .await;
}

/// DESIGN §4: a warm call of a reading tool needs no database.
#[tokio::test]
async fn a_warm_call_reads_no_database() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant_on("Gratis", "gratis", ProtocolChoice::Auto).await;
        app.state.changes.look().await.unwrap();
        let client = app.client(&tenant.token);
        let calls = async || {
            client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
            client.call("buscar_cliente", json!({ "consulta": "a" })).await;
            assert_eq!(client.tool_names().await.len(), 2);
        };
        calls().await;
        app.usage_rows(2).await;
        let tables = ["clients", "api_tokens", "client_tools", "plans", "tool_usage", "operations", "logs", "configs", "padron_imports"];
        for table in tables {
            app.state.db.execute_unprepared(&format!("alter table {table} rename to {table}_away")).await.unwrap();
        }
        for _ in 0..3 {
            calls().await;
        }
        for table in tables {
            app.state.db.execute_unprepared(&format!("alter table {table}_away rename to {table}")).await.unwrap();
        }
        // Afterwards everything goes on, and the records of the time without a table are there.
        calls().await;
        let rows = app.usage_rows(10).await;
        assert!(rows.len() == 10 && rows.iter().all(|row| row.counted && row.outcome == "ok"));
        assert_eq!(app.state.usage.dropped(), 0);
    })
    .await;
}

/// 38, 39, as far as one process can show it: the record does not wait for the database, nor the answer for the record.
#[tokio::test]
async fn an_answer_does_not_wait_for_its_record() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Uno").await;
        let client = app.client(&tenant.token);
        client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        app.usage_rows(1).await;
        // Somebody else holds the table: a write waits for seconds, a call does not.
        let holder = sea_orm::Database::connect(secrecy::ExposeSecret::expose_secret(&app.database_url)).await.unwrap();
        let lock = dunet::db::begin_write(&holder).await.unwrap();
        if app.backend == Backend::Postgres {
            lock.execute_unprepared("lock table tool_usage in access exclusive mode").await.unwrap();
        }
        for _ in 0..20 {
            client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        }
        lock.rollback().await.unwrap();
        until("21 rows", || async { app.usage_rows(21).await.len() == 21 }).await;
    })
    .await;
}
