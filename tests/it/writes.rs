//! Writes happen once: preview and code, `clave`, races, answers that get lost, callers that hang up.

use std::sync::Arc;
use std::time::Duration;

use dunet::db::entities::operations;
use dunet::demo::sandbox::SandboxOdoo;
use dunet::domain::tenants::WritePolicy;
use dunet::ids::TenantId;
use dunet::odoo::{OdooClient, ProtocolChoice};
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel, Set};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use crate::support::mcp::McpClient;
use crate::support::odoo::{self, Fault, Proxy, count, direct, records};
use crate::support::{TestApp, TestTenant, serve, until};

const WIRES: [ProtocolChoice; 2] = [ProtocolChoice::Json2, ProtocolChoice::XmlRpc];

fn quote() -> Value {
    json!({ "cliente": "Colegio Nuevo Amanecer", "lineas": [{ "producto": "MAR-016", "cantidad": 2 }, { "producto": "CIN-005" }] })
}

fn with(mut arguments: Value, name: &str, value: &str) -> Value {
    arguments[name] = json!(value);
    arguments
}

async fn orders(odoo: &OdooClient) -> u64 {
    count(odoo, "sale.order", json!([])).await
}

async fn operations_of(app: &TestApp) -> Vec<operations::Model> {
    operations::Entity::find().all(&app.state.db).await.expect("rows")
}

/// A tenant, its caller and a look behind the service's back.
async fn desk(app: &TestApp, name: &str) -> (TestTenant, McpClient, OdooClient) {
    let tenant = app.tenant(name).await;
    let client = app.client(&tenant.token);
    let odoo = direct(&tenant.sandbox, &tenant.odoo_url).await;
    (tenant, client, odoo)
}

async fn code(client: &McpClient, arguments: Value) -> String {
    client.call("crear_cotizacion", arguments).await["codigo_confirmacion"].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn a_preview_writes_nothing_and_its_code_writes_once() {
    TestApp::everywhere(|app| async move {
        let (_tenant, client, odoo) = desk(&app, "Nova").await;
        let before = orders(&odoo).await;
        let preview = client.call("crear_cotizacion", quote()).await;
        assert_eq!(preview["vence"], "2026-11-22T11:10:00-04:00", "ten minutes, in the tenant's zone");
        assert_eq!(preview["vista_previa"]["lineas"].as_array().unwrap().len(), 2);
        assert!(preview.get("numero").is_none() && preview.get("cotizacion_id").is_none(), "{preview}");
        assert_eq!(orders(&odoo).await, before, "a preview writes nothing");
        assert!(operations_of(&app).await.is_empty());

        let code = preview["codigo_confirmacion"].as_str().unwrap();
        // The order of the arguments says nothing.
        let confirmed = json!({ "codigo_confirmacion": code, "lineas": quote()["lineas"], "cliente": quote()["cliente"] });
        let made = client.call("crear_cotizacion", confirmed.clone()).await;
        assert!(made["numero"].as_str().unwrap().starts_with('S') && made.get("codigo_confirmacion").is_none(), "{made}");
        assert_eq!(made["total"], preview["vista_previa"]["total"]);
        assert_eq!(orders(&odoo).await, before + 1);

        let again = client.fail("crear_cotizacion", confirmed).await;
        assert_eq!((again["codigo"].as_str(), again["reintentable"].as_bool()), (Some("codigo_usado"), Some(false)), "{again}");
        assert_eq!(again["datos"]["resultado"], made, "what came of the first use");
        assert_eq!(orders(&odoo).await, before + 1);
        let rows = operations_of(&app).await;
        assert_eq!((rows.len(), rows[0].state.as_str()), (1, "done"));
    })
    .await;
}

#[tokio::test]
async fn attack_25_a_code_is_good_for_exactly_the_call_it_was_given_for() {
    TestApp::everywhere(|app| async move {
        let (tenant, client, odoo) = desk(&app, "Nova").await;
        let (_other, stranger, others_odoo) = desk(&app, "Aurora").await;
        let (_, second_token) = app.token(tenant.id, None).await;
        let before = (orders(&odoo).await, orders(&others_odoo).await);
        let code = code(&client, quote()).await;
        let confirmed = with(quote(), "codigo_confirmacion", &code);

        let mut other_arguments = confirmed.clone();
        other_arguments["lineas"][0]["cantidad"] = json!(3);
        let mut more_arguments = confirmed.clone();
        more_arguments["notas"] = json!("entregar hoy");
        let refused = [
            ("other arguments", &client, "crear_cotizacion", other_arguments),
            ("one argument more", &client, "crear_cotizacion", more_arguments),
            ("another tool", &client, "crear_cliente", json!({ "nombre": "Nuevo", "codigo_confirmacion": code })),
            ("another token", &app.client(&second_token), "crear_cotizacion", confirmed.clone()),
            ("another tenant", &stranger, "crear_cotizacion", confirmed.clone()),
            ("cut", &client, "crear_cotizacion", with(quote(), "codigo_confirmacion", &code[..code.len() - 1])),
            ("longer", &client, "crear_cotizacion", with(quote(), "codigo_confirmacion", &format!("{code}A"))),
            ("no code", &client, "crear_cotizacion", with(quote(), "codigo_confirmacion", "sí, señor")),
        ];
        for (what, client, tool, arguments) in refused {
            assert_eq!(client.fail(tool, arguments).await["codigo"], "codigo_invalido", "{what}");
        }
        for at in 0..code.len() {
            let mut bytes = code.clone().into_bytes();
            bytes[at] = if bytes[at] == b'B' { b'C' } else { b'B' };
            let forged = String::from_utf8(bytes).unwrap();
            assert_eq!(client.fail("crear_cotizacion", with(quote(), "codigo_confirmacion", &forged)).await["codigo"], "codigo_invalido", "character {at}");
        }
        assert_eq!((orders(&odoo).await, orders(&others_odoo).await), before, "nothing was written");
        // All that did not wear it out.
        client.call("crear_cotizacion", confirmed).await;
        assert_eq!((orders(&odoo).await, orders(&others_odoo).await), (before.0 + 1, before.1));
    })
    .await;
}

#[tokio::test]
async fn a_code_lives_ten_minutes() {
    TestApp::everywhere(|app| async move {
        let (_tenant, client, odoo) = desk(&app, "Nova").await;
        let before = orders(&odoo).await;
        let first = code(&client, quote()).await;
        app.clock.advance(chrono::Duration::minutes(10) + chrono::Duration::seconds(1));
        let late = client.fail("crear_cotizacion", with(quote(), "codigo_confirmacion", &first)).await;
        assert_eq!(late["codigo"], "codigo_vencido");
        assert!(late["que_hacer"].as_str().unwrap().contains("vista previa"), "{late}");
        assert_eq!(orders(&odoo).await, before);

        let second = code(&client, quote()).await;
        app.clock.advance(chrono::Duration::minutes(10));
        client.call("crear_cotizacion", with(quote(), "codigo_confirmacion", &second)).await;
        assert_eq!(orders(&odoo).await, before + 1);
    })
    .await;
}

#[tokio::test]
async fn a_plan_that_changed_is_shown_again_and_not_written() {
    TestApp::everywhere(|app| async move {
        let (_tenant, client, odoo) = desk(&app, "Nova").await;
        let before = orders(&odoo).await;
        let shown = client.call("crear_cotizacion", quote()).await;
        let product = client.call("buscar_productos", json!({ "consulta": "MAR-016" })).await["productos"][0]["producto_id"].as_i64().unwrap();
        odoo.write("product.product", &[product], Map::from_iter([("list_price".to_owned(), json!(999.0))])).await.unwrap();

        let code = shown["codigo_confirmacion"].as_str().unwrap();
        let anew = client.call("crear_cotizacion", with(quote(), "codigo_confirmacion", code)).await;
        assert!(anew.get("numero").is_none() && anew["vista_previa"]["total"].as_f64() > shown["vista_previa"]["total"].as_f64(), "{anew}");
        assert!(anew["avisos"][0].as_str().unwrap().contains("cambió"), "says why: {}", anew["avisos"]);
        assert_eq!(orders(&odoo).await, before, "nothing was written at a price that nobody saw");

        let fresh = anew["codigo_confirmacion"].as_str().unwrap();
        assert_ne!(fresh, code);
        let made = client.call("crear_cotizacion", with(quote(), "codigo_confirmacion", fresh)).await;
        assert_eq!(made["total"], anew["vista_previa"]["total"]);
        assert_eq!(orders(&odoo).await, before + 1);
    })
    .await;
}

#[tokio::test]
async fn the_policy_direct_writes_at_once() {
    TestApp::everywhere(|app| async move {
        let (tenant, client, odoo) = desk(&app, "Nova").await;
        app.write_policy(tenant.id, WritePolicy::Direct).await;
        let before = orders(&odoo).await;
        let made = client.call("crear_cotizacion", quote()).await;
        assert!(made["numero"].is_string() && made.get("codigo_confirmacion").is_none() && made.get("vista_previa").is_none(), "{made}");
        assert_eq!(orders(&odoo).await, before + 1);
        // Without a key every call is a call of its own.
        assert_ne!(client.call("crear_cotizacion", quote()).await["numero"], made["numero"]);
        assert_eq!(orders(&odoo).await, before + 2);
    })
    .await;
}

#[tokio::test]
async fn a_key_gives_the_same_result_for_a_day() {
    TestApp::everywhere(|app| async move {
        let (tenant, client, odoo) = desk(&app, "Nova").await;
        let (other, stranger, others_odoo) = desk(&app, "Aurora").await;
        app.write_policy(tenant.id, WritePolicy::Direct).await;
        app.write_policy(other.id, WritePolicy::Direct).await;
        let before = (orders(&odoo).await, orders(&others_odoo).await);
        let keyed = with(quote(), "clave", "pedido-77");
        let made = client.call("crear_cotizacion", keyed.clone()).await;
        assert_eq!(client.call("crear_cotizacion", keyed.clone()).await, made);
        // Another token of the same tenant asks about the same thing.
        let (_, second) = app.token(tenant.id, None).await;
        assert_eq!(app.client(&second).call("crear_cotizacion", keyed.clone()).await, made);
        let mut other_arguments = keyed.clone();
        other_arguments["lineas"][0]["cantidad"] = json!(9);
        assert_eq!(client.fail("crear_cotizacion", other_arguments.clone()).await["codigo"], "clave_reutilizada");
        assert_eq!(client.fail("crear_cliente", json!({ "nombre": "Nuevo Cliente", "clave": "pedido-77" })).await["codigo"], "clave_reutilizada");
        assert_eq!(orders(&odoo).await, before.0 + 1);
        // Another tenant's key is another key.
        stranger.call("crear_cotizacion", keyed.clone()).await;
        assert_eq!(orders(&others_odoo).await, before.1 + 1);

        app.clock.advance(chrono::Duration::hours(24) - chrono::Duration::seconds(1));
        assert_eq!(client.call("crear_cotizacion", keyed.clone()).await["numero"], made["numero"], "still remembered");
        app.clock.advance(chrono::Duration::seconds(2));
        let later = client.call("crear_cotizacion", other_arguments).await;
        assert_ne!(later["numero"], made["numero"], "after a day the key is free, also for other arguments");
        assert_eq!(orders(&odoo).await, before.0 + 2);
    })
    .await;
}

#[tokio::test]
async fn a_key_holds_through_both_steps() {
    TestApp::everywhere(|app| async move {
        let (_tenant, client, odoo) = desk(&app, "Nova").await;
        let before = orders(&odoo).await;
        let keyed = with(quote(), "clave", "k");
        let code = code(&client, keyed.clone()).await;
        let made = client.call("crear_cotizacion", with(keyed.clone(), "codigo_confirmacion", &code)).await;
        // Whoever lost the answer asks again: with the code, or with the key alone.
        assert_eq!(client.call("crear_cotizacion", with(keyed.clone(), "codigo_confirmacion", &code)).await, made);
        assert_eq!(client.call("crear_cotizacion", keyed).await, made);
        // The code alone, or under another key, is used up.
        for arguments in [with(quote(), "codigo_confirmacion", &code), with(with(quote(), "clave", "k2"), "codigo_confirmacion", &code)] {
            assert_eq!(client.fail("crear_cotizacion", arguments).await["codigo"], "codigo_usado");
        }
        assert_eq!(orders(&odoo).await, before + 1);
    })
    .await;
}

/// Two hundred at once; gives the results by what they came to.
async fn race(client: &McpClient, arguments: &Value) -> (Vec<Value>, Vec<String>) {
    let mut calls = JoinSet::new();
    for _ in 0..200 {
        let (client, arguments) = (client.clone(), arguments.clone());
        calls.spawn(async move { client.call_result("crear_cotizacion", arguments).await });
    }
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for result in calls.join_all().await {
        let content = result["structuredContent"].clone();
        if result["isError"] == json!(true) { refused.push(content["codigo"].as_str().expect("a text").to_owned()) } else { done.push(content) }
    }
    (done, refused)
}

#[tokio::test]
async fn two_hundred_at_once_make_one_record() {
    TestApp::everywhere_with(&["--tenant-burst-calls", "1000"], |app| async move {
        let (tenant, client, odoo) = desk(&app, "Nova").await;
        let before = orders(&odoo).await;
        let code = code(&client, quote()).await;
        let (done, refused) = race(&client, &with(quote(), "codigo_confirmacion", &code)).await;
        assert_eq!(done.len(), 1, "{refused:?}");
        assert!(refused.iter().all(|code| code == "operacion_en_curso" || code == "codigo_usado"), "{refused:?}");
        assert_eq!(orders(&odoo).await, before + 1);

        app.write_policy(tenant.id, WritePolicy::Direct).await;
        let keyed = with(quote(), "clave", "una-vez");
        let (done, refused) = race(&client, &keyed).await;
        assert!(!done.is_empty() && done.iter().all(|result| *result == done[0]), "{done:?}");
        assert!(refused.iter().all(|code| code == "operacion_en_curso"), "{refused:?}");
        assert_eq!(client.call("crear_cotizacion", keyed).await, done[0]);
        assert_eq!(orders(&odoo).await, before + 2);
        assert!(operations_of(&app).await.iter().all(|row| row.state == "done"));
    })
    .await;
}

/// A tenant behind a proxy that can break a request; its writes are direct.
struct Fragile {
    id: TenantId,
    client: McpClient,
    odoo: OdooClient,
    proxy: Proxy,
    _server: tokio_util::task::AbortOnDropHandle<()>,
}

async fn fragile(app: &TestApp, wire: ProtocolChoice) -> Fragile {
    let sandbox = Arc::new(SandboxOdoo::dominican_sample("Frágil"));
    let (url, server) = serve(Arc::clone(&sandbox).router()).await;
    let proxy = Proxy::start(&url).await;
    let (id, token) = app.tenant_at("Frágil", odoo::settings(&sandbox, &proxy.url, wire)).await;
    app.write_policy(id, WritePolicy::Direct).await;
    Fragile { id, client: app.client(&token), odoo: direct(&sandbox, &url).await, proxy, _server: server }
}

#[tokio::test]
async fn an_answer_that_got_lost_blocks_the_key() {
    TestApp::everywhere(|app| async move {
        for wire in WIRES {
            let there = fragile(&app, wire).await;
            let before = orders(&there.odoo).await;
            there.proxy.break_next("web_save", Fault::LoseAnswer);
            let keyed = with(quote(), "clave", "perdida");
            let lost = there.client.fail("crear_cotizacion", keyed.clone()).await;
            assert_eq!((lost["codigo"].as_str(), lost["reintentable"].as_bool()), (Some("resultado_desconocido"), Some(false)), "{wire}: {lost}");
            assert!(lost["que_hacer"].as_str().unwrap().contains("No la repita"), "{lost}");
            let reference = lost["datos"]["referencia"].as_str().unwrap().to_owned();
            assert_eq!(orders(&there.odoo).await, before + 1, "{wire}: the write was done");
            let found = records(&there.odoo, "sale.order", json!([["origin", "=", reference]]), &["name"]).await;
            assert_eq!(found.len(), 1, "{wire}: the reference finds it");

            for _ in 0..3 {
                let again = there.client.fail("crear_cotizacion", keyed.clone()).await;
                assert_eq!((again["codigo"].as_str(), again["datos"]["referencia"].as_str()), (Some("resultado_desconocido"), Some(reference.as_str())), "{again}");
            }
            assert_eq!(
                there.client.fail("crear_cotizacion", with(json!({ "cliente": "Juan Pérez", "lineas": [{ "producto": "CIN-005" }] }), "clave", "perdida")).await["codigo"],
                "clave_reutilizada"
            );
            assert_eq!((orders(&there.odoo).await, there.proxy.seen("web_save")), (before + 1, 1), "{wire}: never sent again");
            // Rows are written in the journal's time: only this tenant's are counted, and the order of two batches is not promised.
            until("a row for each call", || async {
                let rows = app.usage_rows(0).await.into_iter().filter(|row| row.client_id == there.id.uuid()).collect::<Vec<_>>();
                rows.len() == 5 && rows.iter().filter(|row| row.error_code.as_deref() == Some("resultado_desconocido")).count() == 4
            })
            .await;
            // What the answer tells to do, done: the reference leads to the quotation, and one of nobody's to none.
            assert!(lost["que_hacer"].as_str().unwrap().contains(&reference), "{lost}");
            let seen = there.client.call("ver_cotizacion", json!({ "numero": reference })).await;
            assert_eq!(seen["numero"], found[0]["name"], "{wire}: {seen}");
            assert_eq!(there.client.fail("ver_cotizacion", json!({ "numero": "dunet:0123456789abcdef" })).await["codigo"], "no_encontrado");
            // Another key is another decision.
            there.client.call("crear_cotizacion", with(quote(), "clave", "otra")).await;
            assert_eq!(orders(&there.odoo).await, before + 2);
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_got_lost_uses_up_the_code() {
    TestApp::everywhere(|app| async move {
        let there = fragile(&app, ProtocolChoice::Json2).await;
        app.write_policy(there.id, WritePolicy::Confirm).await;
        let before = orders(&there.odoo).await;
        let confirmed = with(quote(), "codigo_confirmacion", &code(&there.client, quote()).await);
        there.proxy.break_next("web_save", Fault::LoseAnswer);
        let lost = there.client.fail("crear_cotizacion", confirmed.clone()).await;
        let again = there.client.fail("crear_cotizacion", confirmed).await;
        for answer in [&lost, &again] {
            assert_eq!(answer["codigo"], "resultado_desconocido", "{answer}");
            let found = records(&there.odoo, "sale.order", json!([["origin", "=", answer["datos"]["referencia"]]]), &["name"]).await;
            assert_eq!(found.len(), 1, "{answer}");
        }
        assert_eq!((orders(&there.odoo).await, there.proxy.seen("web_save")), (before + 1, 1));
    })
    .await;
}

#[tokio::test]
async fn what_was_never_sent_can_be_tried_again() {
    TestApp::everywhere(|app| async move {
        for wire in WIRES {
            let there = fragile(&app, wire).await;
            let before = orders(&there.odoo).await;
            let keyed = with(quote(), "clave", "sin-enviar");
            there.proxy.break_next("onchange", Fault::CloseDoor);
            let failed = there.client.fail("crear_cotizacion", keyed.clone()).await;
            assert_eq!((failed["codigo"].as_str(), failed["reintentable"].as_bool()), (Some("odoo_caido"), Some(true)), "{wire}: {failed}");
            assert_eq!((orders(&there.odoo).await, there.proxy.seen("web_save")), (before, 0));
            assert!(operations_of(&app).await.iter().all(|row| row.client_id != there.id.uuid()), "nothing blocks the key");
            there.proxy.reopen().await;
            there.client.call("crear_cotizacion", keyed).await;
            assert_eq!(orders(&there.odoo).await, before + 1);

            app.write_policy(there.id, WritePolicy::Confirm).await;
            let confirmed = with(quote(), "codigo_confirmacion", &code(&there.client, quote()).await);
            there.proxy.break_next("onchange", Fault::CloseDoor);
            assert_eq!(there.client.fail("crear_cotizacion", confirmed.clone()).await["codigo"], "odoo_caido");
            there.proxy.reopen().await;
            there.client.call("crear_cotizacion", confirmed).await;
            assert_eq!(orders(&there.odoo).await, before + 2, "{wire}: the code was still good");
        }
    })
    .await;
}

#[tokio::test]
async fn what_odoo_refuses_frees_the_key() {
    TestApp::everywhere(|app| async move {
        let there = fragile(&app, ProtocolChoice::Json2).await;
        let before = orders(&there.odoo).await;
        let keyed = with(quote(), "clave", "rechazada");
        let body = r#"{"name": "odoo.exceptions.ValidationError", "message": "El cliente está bloqueado.", "arguments": ["El cliente está bloqueado."], "context": {}, "debug": "Traceback (most recent call last):\n secreto"}"#;
        there.proxy.break_next("web_save", Fault::Instead(odoo::response("422 Unprocessable Entity", "content-type: application/json\r\n", body)));
        let refused = there.client.fail("crear_cotizacion", keyed.clone()).await;
        assert_eq!(refused["codigo"], "odoo_rechazo", "{refused}");
        assert!(refused["mensaje"].as_str().unwrap().contains("El cliente está bloqueado.") && !refused.to_string().contains("Traceback"), "{refused}");
        there.client.call("crear_cotizacion", keyed).await;
        assert_eq!(orders(&there.odoo).await, before + 1);
    })
    .await;
}

/// What Odoo answers over XML-RPC after it has committed a method that returns nothing it can write.
const CANNOT_MARSHAL: &str = "<?xml version='1.0'?>\n<methodResponse>\n<fault>\n<value><struct>\n<member>\n<name>faultCode</name>\n<value><int>1</int></value>\n</member>\n<member>\n<name>faultString</name>\n<value><string>Traceback (most recent call last):\n  File \"/usr/lib/python3/dist-packages/odoo/addons/rpc/controllers/xmlrpc.py\", line 148, in xmlrpc_2\n    response = self._xmlrpc(service)\n  File \"/usr/lib/python3.13/xmlrpc/client.py\", line 529, in __dump\n    raise TypeError(\"cannot marshal None unless allow_none is enabled\")\nTypeError: cannot marshal None unless allow_none is enabled\n</string></value>\n</member>\n</struct></value>\n</fault>\n</methodResponse>\n";

#[tokio::test]
async fn cannot_marshal_means_that_it_was_written() {
    TestApp::everywhere(|app| async move {
        let there = fragile(&app, ProtocolChoice::XmlRpc).await;
        let before = orders(&there.odoo).await;
        there.proxy.break_next("web_save", Fault::Answer(odoo::response("200 OK", "content-type: text/xml\r\n", CANNOT_MARSHAL)));
        let keyed = with(quote(), "clave", "marshal");
        let made = there.client.call("crear_cotizacion", keyed.clone()).await;
        let found = records(&there.odoo, "sale.order", json!([["name", "=", made["numero"]]]), &["origin", "amount_total"]).await;
        assert_eq!(found.len(), 1, "{made}");
        assert_eq!(found[0]["amount_total"], made["total"]);
        assert_eq!(there.client.call("crear_cotizacion", keyed).await, made);
        assert_eq!((orders(&there.odoo).await, there.proxy.seen("web_save")), (before + 1, 1));
        assert_eq!(operations_of(&app).await[0].state, "done");
    })
    .await;
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_stop_a_write() {
    TestApp::everywhere(|app| async move {
        let there = fragile(&app, ProtocolChoice::Json2).await;
        let before = orders(&there.odoo).await;
        there.proxy.break_next("web_save", Fault::Hold);
        let keyed = with(quote(), "clave", "colgada");
        let mut calls = JoinSet::new();
        let (client, arguments) = (there.client.clone(), keyed.clone());
        calls.spawn(async move { client.call_result("crear_cotizacion", arguments).await });
        there.proxy.held().await;
        calls.shutdown().await;
        // The service has noticed when the call's record is closed.
        let row = app.usage_rows(1).await.remove(0);
        assert_eq!((row.tool.as_str(), row.outcome.as_str()), ("crear_cotizacion", "cancelled"));
        assert_eq!(operations_of(&app).await[0].state, "running");
        assert_eq!(there.client.fail("crear_cotizacion", keyed.clone()).await["codigo"], "operacion_en_curso");

        there.proxy.release();
        let mut state = String::new();
        for _ in 0..400 {
            state.clone_from(&operations_of(&app).await[0].state);
            if state != "running" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        assert_eq!(state, "done");
        let made = there.client.call("crear_cotizacion", keyed).await;
        assert!(made["numero"].is_string(), "{made}");
        assert_eq!((orders(&there.odoo).await, there.proxy.seen("web_save")), (before + 1, 1));
    })
    .await;
}

#[tokio::test]
async fn a_write_of_a_dead_process_becomes_unknown_by_age() {
    TestApp::everywhere(|app| async move {
        let (tenant, client, odoo) = desk(&app, "Nova").await;
        app.write_policy(tenant.id, WritePolicy::Direct).await;
        let keyed = with(quote(), "clave", "huérfana");
        client.call("crear_cotizacion", keyed.clone()).await;
        let written = orders(&odoo).await;
        // As a process that was killed between the write and its record leaves it.
        let row = operations_of(&app).await.remove(0);
        let reference = row.reference.clone();
        let mut orphan = row.into_active_model();
        orphan.state = Set("running".to_owned());
        orphan.result = Set(None);
        orphan.update(&app.state.db).await.unwrap();

        let young = client.fail("crear_cotizacion", keyed.clone()).await;
        assert_eq!((young["codigo"].as_str(), young["reintentable"].as_bool()), (Some("operacion_en_curso"), Some(true)));
        app.clock.advance(chrono::Duration::seconds(181));
        let old = client.fail("crear_cotizacion", keyed).await;
        assert_eq!((old["codigo"].as_str(), old["datos"]["referencia"].as_str()), (Some("resultado_desconocido"), Some(reference.as_str())), "{old}");
        assert_eq!(orders(&odoo).await, written);
    })
    .await;
}
