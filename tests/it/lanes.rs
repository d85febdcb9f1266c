//! A tenant's way to its Odoo: so many at once, the urgent first, none while it fails, no faster than it likes, the same question once.
//! And nobody else notices.

use std::time::{Duration, Instant};

use dunet::domain::tenants::TenantEdit;
use dunet::odoo::ProtocolChoice;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::mcp::McpClient;
use crate::support::{Porter, TestApp, until};

async fn warm(app: &TestApp, porter: &Porter, name: &str) -> (dunet::ids::TenantId, McpClient) {
    let (tenant, token) = app.tenant_at(name, porter.odoo(ProtocolChoice::Json2)).await;
    app.state.changes.look().await.unwrap();
    let client = app.client(&token);
    client.call("buscar_cliente", question(9)).await;
    (tenant, client)
}

/// A search that finds something, and so is one request to Odoo; different numbers are different questions.
fn search(client: &McpClient, set: &mut JoinSet<Value>, number: usize) {
    let client = client.clone();
    set.spawn(async move { client.call_result("buscar_cliente", question(number)).await });
}

fn question(number: usize) -> Value {
    let letter = ["a", "e", "i", "o", "r", "n", "s", "l", "c", "t"][number];
    json!({ "consulta": letter })
}

fn code(result: &Value) -> &str {
    result["structuredContent"]["codigo"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_odoo_holds_only_its_tenants_places() {
    let settings = ["--odoo-places-per-tenant", "2", "--odoo-waiting-per-tenant-max", "3", "--call-deadline-ms", "6000", "--odoo-request-timeout-ms", "5000"];
    TestApp::everywhere_with(&settings, |app| async move {
        app.padron(3).await;
        let (slow, quick) = (Porter::new("Lenta").await, Porter::new("Rápida").await);
        let (_, client) = warm(&app, &slow, "Lenta").await;
        let (_, other) = warm(&app, &quick, "Rápida").await;
        slow.hold(true);
        let before = slow.asked().len();
        let mut calls = JoinSet::new();
        for turn in 0..6 {
            search(&client, &mut calls, turn);
        }
        // Two are at Odoo, three wait, and the sixth is told so at once.
        let crowded = calls.join_next().await.unwrap().unwrap();
        assert_eq!(code(&crowded), "odoo_saturado", "{crowded}");
        let told = &crowded["structuredContent"];
        assert!(told["mensaje"].as_str().unwrap().contains('2') && told["reintentable"] == json!(true), "{told}");
        slow.until_held(2).await;
        assert_eq!(slow.asked().len() - before, 2);
        // Meanwhile the other company works, and this one where Odoo is not needed.
        for turn in 0..10 {
            other.call("buscar_cliente", question(turn)).await;
        }
        client.call("consultar_rnc_dgii", json!({ "rnc": "131793916" })).await;
        assert_eq!(slow.held_now(), 2);
        slow.hold(false);
        while let Some(result) = calls.join_next().await {
            assert_eq!(result.unwrap()["isError"], json!(false));
        }
        assert_eq!(slow.asked().len() - before, 5);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_hangs_up_frees_its_place() {
    TestApp::everywhere_with(&["--odoo-places-per-tenant", "1"], |app| async move {
        let porter = Porter::new("Lenta").await;
        let (_, client) = warm(&app, &porter, "Lenta").await;
        porter.hold(true);
        let mut calls = JoinSet::new();
        search(&client, &mut calls, 1);
        porter.until_held(1).await;
        let before = porter.asked().len();
        let mut waiting = JoinSet::new();
        search(&client, &mut waiting, 2);
        // The one at Odoo hangs up: Odoo is let go of, and the next one is there.
        calls.shutdown().await;
        until("the next request is at Odoo", || async { porter.asked().len() == before + 1 }).await;
        porter.hold(false);
        assert_eq!(waiting.join_next().await.unwrap().unwrap()["isError"], json!(false));
        let rows = app.usage_rows(3).await;
        assert_eq!(rows.iter().filter(|row| row.outcome == "cancelled").count(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_telephone_goes_before_the_report() {
    TestApp::everywhere_with(&["--odoo-places-per-tenant", "1"], |app| async move {
        let porter = Porter::new("Llena").await;
        let (tenant, client) = warm(&app, &porter, "Llena").await;
        let voice = app.client(&app.token(tenant, Some(&["voice"])).await.1);
        let analyst = app.client(&app.token(tenant, Some(&["analyst"])).await.1);
        app.state.changes.look().await.unwrap();
        client.call("buscar_cliente", question(9)).await;
        porter.hold(true);
        let mut first = JoinSet::new();
        search(&client, &mut first, 3);
        porter.until_held(1).await;
        let before = porter.asked().len();
        let mut calls = JoinSet::new();
        for (client, tool, arguments) in [(&analyst, "odoo_contexto", json!({})), (&client, "buscar_cliente", question(0)), (&voice, "buscar_productos", question(0))] {
            let client = client.clone();
            let waiting = app.state.connections.waiting();
            calls.spawn(async move {
                let found = client.call_result(tool, arguments).await;
                assert_eq!(found["isError"], json!(false), "{found}");
            });
            // One after the other, the least urgent first.
            until("the call waits for a place", || async { app.state.connections.waiting() > waiting }).await;
        }
        porter.hold(false);
        while let Some(done) = calls.join_next().await {
            done.unwrap();
        }
        // With one place they come to Odoo one by one: the telephone's products, then the customers, then the report.
        let asked = porter.asked().split_off(before);
        let at = |is: &dyn Fn(&str) -> bool| asked.iter().position(|path| is(path)).unwrap_or_else(|| panic!("{asked:?}"));
        let (voice, all) = (at(&|path| path.contains("/product.")), at(&|path| path.contains("/res.partner/")));
        let analyst = at(&|path| !path.contains("/product.") && !path.contains("/res.partner/"));
        assert!(voice < all && all < analyst, "{asked:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_odoo_that_fails_is_left_alone_and_found_again() {
    let settings = ["--odoo-failures-max", "3", "--odoo-pause-s", "1", "--odoo-pause-s-max", "2", "--call-deadline-ms", "2000", "--odoo-request-timeout-ms", "300"];
    TestApp::everywhere_with(&settings, |app| async move {
        let (bad, good) = (Porter::new("Mala").await, Porter::new("Buena").await);
        let (tenant, client) = warm(&app, &bad, "Mala").await;
        let (_, other) = warm(&app, &good, "Buena").await;
        bad.hold(true);
        for turn in 0..3 {
            assert_eq!(client.fail("buscar_cliente", question(turn)).await["codigo"], "odoo_lento");
        }
        // Nobody is sent there any more, and it costs no time.
        let (asked, began) = (bad.asked().len(), Instant::now());
        let paused = client.fail("buscar_cliente", question(5)).await;
        assert_eq!((&paused["codigo"], &paused["datos"]["reintentar_en_s"]), (&json!("odoo_en_pausa"), &json!(1)), "{paused}");
        assert!(bad.asked().len() == asked && began.elapsed() < Duration::from_millis(1_000));
        assert_eq!(app.state.connections.paused(), 1);
        other.call("buscar_cliente", question(5)).await;
        // It is looked after: still bad, so longer; and then it is back, without anybody doing anything.
        bad.hold(false);
        until("Odoo is found again", || async { client.call_result("buscar_cliente", question(5)).await["isError"] == json!(false) }).await;
        assert_eq!(app.state.connections.paused(), 0);
        // Who mends an address does not wait for the old one's pause.
        bad.hold(true);
        for turn in 0..3 {
            client.fail("buscar_cliente", question(turn)).await;
        }
        assert_eq!(client.fail("buscar_cliente", question(5)).await["codigo"], "odoo_en_pausa");
        bad.hold(false);
        app.clock.advance(chrono::Duration::seconds(1));
        let odoo = good.odoo(ProtocolChoice::Json2);
        app.edit(
            tenant,
            TenantEdit { odoo_url: Some(odoo.url), odoo_database: Some(odoo.database), odoo_login: Some(odoo.login), odoo_secret: Some(odoo.secret), ..TenantEdit::default() },
        )
        .await;
        client.call("buscar_cliente", question(5)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_odoo_is_asked_no_faster_than_it_likes() {
    TestApp::everywhere(|app| async move {
        let porter = Porter::new("Pausada").await;
        let (tenant, client) = warm(&app, &porter, "Pausada").await;
        app.edit(tenant, TenantEdit { odoo_requests_per_second: Some(Some(5)), ..TenantEdit::default() }).await;
        client.call("buscar_cliente", question(9)).await;
        let (before, began) = (porter.asked().len(), Instant::now());
        let mut calls = JoinSet::new();
        for turn in 0..6 {
            search(&client, &mut calls, turn);
        }
        while let Some(result) = calls.join_next().await {
            assert_eq!(result.unwrap()["isError"], json!(false));
        }
        let (asked, took) = (porter.asked().len() - before, began.elapsed());
        assert!(asked >= 6 && took >= Duration::from_millis(200 * (asked as u64 - 1) - 50), "{asked} requests, five a second: {took:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_question_at_the_same_time_is_asked_once() {
    TestApp::everywhere(|app| async move {
        let (porter, neighbour) = (Porter::new("Una").await, Porter::new("Otra").await);
        let (tenant, client) = warm(&app, &porter, "Una").await;
        let (_, theirs) = warm(&app, &neighbour, "Otra").await;
        let second = app.client(&app.token(tenant, None).await.1);
        app.state.changes.look().await.unwrap();
        client.call("buscar_cliente", question(9)).await;
        porter.hold(true);
        neighbour.hold(true);
        let (before, before_theirs) = (porter.asked().len(), neighbour.asked().len());
        let mut calls = JoinSet::new();
        for _ in 0..10 {
            search(&client, &mut calls, 4);
            search(&second, &mut calls, 4);
        }
        // Another company's question is its own, in the same words.
        search(&theirs, &mut calls, 4);
        porter.until_held(1).await;
        neighbour.until_held(1).await;
        until("all are under way", || async { app.state.usage.open_requests() == 21 }).await;
        porter.hold(false);
        neighbour.hold(false);
        let mut answers = Vec::new();
        while let Some(result) = calls.join_next().await {
            answers.push(result.unwrap());
        }
        assert_eq!((porter.asked().len() - before, neighbour.asked().len() - before_theirs), (1, 1));
        assert!(answers.iter().all(|answer| answer["isError"] == json!(false)));
        // Each of them is a call all the same; one of them made the request.
        let rows = app.usage_rows(24).await;
        let of_them = rows.iter().filter(|row| row.client_id == tenant.uuid()).skip(2);
        let requests: Vec<i32> = of_them.map(|row| row.odoo_requests).collect();
        assert_eq!((requests.len(), requests.iter().sum::<i32>()), (20, 1));
        // Asked again later it is asked again: nothing is remembered.
        client.call("buscar_cliente", question(4)).await;
        assert_eq!(porter.asked().len() - before, 2);
    })
    .await;
}
