//! Two nodes on one PostgreSQL: limits are exact over both while Redis answers and never exceeded while it does not; what one changes, the other knows
//! at once; one of them leads; a listing that one imports answers on both.

use std::sync::Arc;
use std::time::Duration;

use dunet::clock::Clock;
use dunet::db::entities::nodes;
use dunet::domain::audit::Actor;
use dunet::domain::tenants::ToolEdit;
use dunet::domain::usage::{LiveCall, LiveEvent};
use dunet::ids::TenantId;
use dunet::odoo::ProtocolChoice;
use sea_orm::{ConnectionTrait, EntityTrait, QueryOrder};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::mcp::McpClient;
use crate::support::redis::Redis;
use crate::support::{Backend, TestApp, actor, setting, until};

/// A taxpayer that every sample listing has.
const RNC: &str = "131793916";
/// Calls a month of the plan "gratis".
const QUOTA: usize = 100;

/// Two services on one database, on one clock, each with a folder of its own; none where there is no PostgreSQL.
async fn two(settings: &[&str]) -> Option<(TestApp, TestApp)> {
    setting("DUNET_TEST_POSTGRES")?;
    let settings = &roomy(settings);
    let one = TestApp::start(Backend::Postgres, settings).await;
    let two = TestApp::start_at(Backend::Postgres, tempfile::tempdir().unwrap(), one.database_url.clone(), one.clock.clone(), settings).await;
    until("each knows of the other", || async { one.state.nodes.count() == 2 && two.state.nodes.count() == 2 }).await;
    Some((one, two))
}

/// The minute has a limit of its own, and Redis time enough on a busy machine.
fn roomy<'a>(settings: &[&'a str]) -> Vec<&'a str> {
    [settings, &["--tenant-calls-per-minute", "100000", "--tenant-burst-calls", "10000", "--redis-timeout-ms", "5000"]].concat()
}

fn taxpayer() -> Value {
    json!({ "rnc": RNC })
}

/// Calls by both in turn, so many, all at once; how many were answered.
async fn answered(clients: [&McpClient; 2], calls: usize) -> usize {
    let all = (0..calls).map(|call| {
        let client = clients[call % 2];
        async move {
            let result = client.call_result("consultar_rnc_dgii", taxpayer()).await;
            let refused = result["isError"] == true;
            assert!(!refused || ["cuota_agotada", "limite_herramienta"].contains(&result["structuredContent"]["codigo"].as_str().unwrap_or_default()), "{result}");
            !refused
        }
    });
    futures::future::join_all(all).await.into_iter().filter(|ok| *ok).count()
}

#[tokio::test]
async fn with_redis_a_minute_is_one_minute() {
    let Some(redis) = Redis::start().await else { return };
    if setting("DUNET_TEST_POSTGRES").is_none() {
        return;
    }
    let settings = ["--redis-url", &redis.url(), "--redis-timeout-ms", "5000", "--tenant-calls-per-minute", "10", "--tenant-burst-calls", "10", "--repeated-calls-per-minute", "4"];
    let one = TestApp::start(Backend::Postgres, &settings).await;
    let two = TestApp::start_at(Backend::Postgres, tempfile::tempdir().unwrap(), one.database_url.clone(), one.clock.clone(), &settings).await;
    one.padron(3).await;
    two.padron(3).await;
    let (tenant, other) = (one.tenant("Uno").await, one.tenant("Dos").await);
    let (here, there) = (one.client(&tenant.token), two.client(&tenant.token));
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.extend([here.request("ping", json!({})).await.status, there.request("ping", json!({})).await.status]);
    }
    assert_eq!((statuses.iter().filter(|status| **status == 200).count(), statuses[9], statuses[10]), (10, 200, 429), "{statuses:?}");
    one.clock.advance(chrono::Duration::seconds(60));
    // An agent that goes round in circles is told so by whichever node it comes to; another company is not concerned.
    for client in [&here, &there, &here, &there] {
        client.call("consultar_rnc_dgii", taxpayer()).await;
    }
    for client in [&here, &there] {
        assert_eq!(client.fail("consultar_rnc_dgii", taxpayer()).await["codigo"], "llamada_repetida");
    }
    two.client(&other.token).call("consultar_rnc_dgii", taxpayer()).await;
    for app in [one, two] {
        app.end().await;
    }
}

/// The clock of one node is some milliseconds behind: that is no amnesty.
#[tokio::test]
async fn clocks_that_differ_make_no_limit_larger() {
    let Some(redis) = Redis::start().await else { return };
    if setting("DUNET_TEST_POSTGRES").is_none() {
        return;
    }
    let settings = ["--redis-url", &redis.url(), "--redis-timeout-ms", "5000"];
    let one = TestApp::start(Backend::Postgres, &settings).await;
    let behind = Clock::fixed(one.clock.now() - chrono::Duration::milliseconds(5));
    let two = TestApp::start_at(Backend::Postgres, tempfile::tempdir().unwrap(), one.database_url.clone(), behind, &settings).await;
    let tenant = TenantId::new();
    let limits = [&one.state.limits, &two.state.limits, &one.state.limits, &two.state.limits];
    let mut taken = 0;
    for which in limits.iter().cycle().take(20) {
        taken += usize::from(which.tool_take(tenant, "consultar_rnc_dgii", 6).await.is_ok());
    }
    assert_eq!(taken, 6);
    drop(redis);
    for which in limits.iter().cycle().take(8) {
        assert!(which.tool_take(tenant, "consultar_rnc_dgii", 6).await.is_err(), "nor without Redis");
    }
    for app in [one, two] {
        app.end().await;
    }
}

#[tokio::test]
async fn with_redis_limits_are_exact_over_both() {
    let Some(redis) = Redis::start().await else { return };
    let Some((one, two)) = two(&["--redis-url", &redis.url()]).await else { return };
    one.padron(3).await;
    two.padron(3).await;
    // An hour of a tool.
    let tenant = one.tenant("Uno").await;
    let edit = ToolEdit { calls_per_hour: Some(6), ..ToolEdit::default() };
    one.state.tenants.tool_edit(tenant.id, "consultar_rnc_dgii", edit, &actor()).await.unwrap();
    let clients = [&one.client(&tenant.token), &two.client(&tenant.token)];
    assert_eq!(answered(clients, 20).await, 6);
    let refused = clients[1].fail("consultar_rnc_dgii", taxpayer()).await;
    assert_eq!((&refused["codigo"], &refused["datos"]["reintentar_en_s"]), (&json!("limite_herramienta"), &json!(600)), "{refused}");
    one.clock.advance(chrono::Duration::seconds(600));
    assert_eq!(answered(clients, 2).await, 1);
    // A month, with both asked for its last call at the same time.
    let tenant = one.tenant_on("Gratis", "gratis", ProtocolChoice::Auto).await;
    let clients = [&one.client(&tenant.token), &two.client(&tenant.token)];
    assert_eq!(answered(clients, QUOTA - 3).await, QUOTA - 3);
    assert_eq!(answered(clients, 50).await, 3);
    // What came to nothing is free again, for the other one too.
    let caller = two.state.tokens.verify(&tenant.token).await.unwrap();
    assert!(two.state.limits.month_reserve(caller.tenant()).await.unwrap().is_err());
    for app in [one, two] {
        app.end().await;
    }
}

#[tokio::test]
async fn a_call_that_is_given_back_is_free_for_the_other_node() {
    let Some(redis) = Redis::start().await else { return };
    let Some((one, two)) = two(&["--redis-url", &redis.url()]).await else { return };
    let tenant = one.tenant_on("Gratis", "gratis", ProtocolChoice::Auto).await;
    let callers = [one.state.tokens.verify(&tenant.token).await.unwrap(), two.state.tokens.verify(&tenant.token).await.unwrap()];
    let limits = [&one.state.limits, &two.state.limits];
    let mut taken = Vec::new();
    for call in 0..QUOTA {
        taken.push(limits[call % 2].month_reserve(callers[call % 2].tenant()).await.unwrap().unwrap());
    }
    assert_eq!(taken[QUOTA - 1].view.left, Some(0));
    assert!(limits[1].month_reserve(callers[1].tenant()).await.unwrap().is_err());
    taken.swap_remove(0).release();
    // By the node's rhythm, also when it makes no other call.
    until("what was given back is told", || async { limits[1].month_reserve(callers[1].tenant()).await.unwrap().is_ok() }).await;
    assert!(limits[0].month_reserve(callers[0].tenant()).await.unwrap().is_err());
    for app in [one, two] {
        app.end().await;
    }
}

#[tokio::test]
async fn without_redis_for_a_while_nobody_is_refused_for_it_and_nothing_is_exceeded() {
    let Some(mut redis) = Redis::start().await else { return };
    let Some((one, two)) = two(&["--redis-url", &redis.url()]).await else { return };
    one.padron(3).await;
    two.padron(3).await;
    let tenant = one.tenant_on("Gratis", "gratis", ProtocolChoice::Auto).await;
    let clients = [&one.client(&tenant.token), &two.client(&tenant.token)];
    let mut all = answered(clients, 40).await;
    assert_eq!(all, 40);
    redis.kill();
    // Sixty are left, thirty for each: twenty of them go to one.
    let calls: Vec<Value> = futures::future::join_all((0..20).map(|_| clients[0].call_result("consultar_rnc_dgii", taxpayer()))).await;
    assert!(calls.iter().all(|result| result["isError"] != true), "Redis is no reason to refuse: {calls:?}");
    all += calls.len();
    assert_eq!((one.state.limits.shared_answers(), two.state.limits.shared_answers()), (Some(false), Some(true)), "the other did not ask yet");
    all += answered(clients, 8).await;
    assert_eq!(all, 68);
    // It comes back and remembers nothing, and one of the nodes is another process by then: the count begins with what the database has.
    one.usage_rows(68).await;
    one.clock.advance(chrono::Duration::seconds(5));
    let mut two = two;
    two.stop().await;
    let two = TestApp::start_at(Backend::Postgres, two.folder, two.database_url, two.clock, &roomy(&["--redis-url", &redis.url()])).await;
    two.padron(3).await;
    redis.again().await;
    let clients = [&one.client(&tenant.token), &two.client(&tenant.token)];
    until("Redis answers the node that knew that it was away", || async {
        let _ = one.state.limits.tenant_take(tenant.id).await;
        one.state.limits.shared_answers() == Some(true)
    })
    .await;
    assert_eq!(answered(clients, 10).await, 10);
    assert_eq!(answered(clients, 60).await, QUOTA - 78);
    let rows = one.usage_rows(40 + 20 + 8 + 10 + 60).await;
    assert_eq!(rows.iter().filter(|row| row.counted).count(), QUOTA, "nothing over, nothing doubled, nothing left");
    for app in [one, two] {
        app.end().await;
    }
}

#[tokio::test]
async fn nodes_without_redis_share_what_there_is() {
    let Some((one, two)) = two(&[]).await else { return };
    one.padron(3).await;
    two.padron(3).await;
    let tenant = one.tenant_on("Gratis", "gratis", ProtocolChoice::Auto).await;
    let clients = [&one.client(&tenant.token), &two.client(&tenant.token)];
    let mut all = answered(clients, 150).await;
    // Not over; under by what was held against the limit twice, when it was looked in the midst of it.
    assert!((QUOTA / 2..=QUOTA).contains(&all), "{all}");
    // What one left, the other may take once the database says so. The clock stands: each look is two seconds later.
    for round in 0..6 {
        one.usage_rows(150 + 40 * round).await;
        one.clock.advance(chrono::Duration::seconds(2));
        all += answered(clients, 40).await;
    }
    assert!((QUOTA - 1..=QUOTA).contains(&all), "{all}");
    for app in [one, two] {
        app.end().await;
    }
}

/// With looks a minute apart only PostgreSQL's word can be as quick.
#[tokio::test]
async fn what_one_changes_the_other_knows_at_once() {
    let settings = ["--watch-ms", "60000"];
    if setting("DUNET_TEST_POSTGRES").is_none() {
        return;
    }
    let one = TestApp::start(Backend::Postgres, &settings).await;
    let two = TestApp::start_at(Backend::Postgres, tempfile::tempdir().unwrap(), one.database_url.clone(), one.clock.clone(), &settings).await;
    let tenant = one.tenant("Uno").await;
    let clients = [&one.client(&tenant.token), &two.client(&tenant.token)];
    for client in clients {
        assert_eq!(client.request("ping", json!({})).await.status, 200);
    }
    let (_, second) = one.token(tenant.id, None).await;
    let (here, there) = (one.client(&second), two.client(&second));
    assert_eq!((here.request("ping", json!({})).await.status, there.request("ping", json!({})).await.status), (200, 200));
    two.state.tokens.token_revoke(tenant.id, tenant.token_id, &Actor::shell()).await.unwrap();
    until("the revoked token is refused by both", || async {
        clients[0].request("ping", json!({})).await.status == 401 && clients[1].request("ping", json!({})).await.status == 401
    })
    .await;
    assert_eq!(here.request("ping", json!({})).await.status, 200);

    // Who watches calls on one sees those of the other, once, and none of another tenant.
    two.padron(3).await;
    let other = one.tenant("Dos").await;
    let mut watching = one.state.usage.live(Some(tenant.id));
    let mut everything = one.state.usage.live(None);
    // The word that somebody watches needs a moment; what comes before it is not told.
    loop {
        there.call("consultar_rnc_dgii", taxpayer()).await;
        if tokio::time::timeout(Duration::from_millis(200), everything.next()).await.is_ok() {
            break;
        }
    }
    two.client(&other.token).call("consultar_rnc_dgii", taxpayer()).await;
    there.call("odoo_contexto", json!({})).await;
    let mut seen = Vec::new();
    while !seen.iter().any(|call: &LiveCall| call.tool == "odoo_contexto") {
        match watching.next().await.unwrap() {
            LiveEvent::Call(call) => seen.push(Arc::unwrap_or_clone(call)),
            LiveEvent::Missed(calls) => panic!("{calls} missed"),
        }
    }
    assert!(seen.iter().all(|call| call.tenant == tenant.id), "{seen:?}");
    let mut ids: Vec<String> = seen.iter().map(|call| call.id.to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), seen.len(), "each once");
    for app in [one, two] {
        app.end().await;
    }
}

#[tokio::test]
async fn one_leads_and_another_when_it_ends() {
    let Some((mut one, two)) = two(&[]).await else { return };
    until("one of them leads", || async { one.state.nodes.leads() != two.state.nodes.leads() }).await;
    assert!(one.state.nodes.leads(), "the first that was there");
    let rows = nodes::Entity::find().order_by_asc(nodes::Column::StartedAt).all(&two.state.db).await.unwrap();
    assert_eq!(rows.iter().map(|node| node.id).collect::<Vec<_>>(), [one.state.nodes.id(), two.state.nodes.id()]);
    one.stop().await;
    until("the other leads, alone", || async { two.state.nodes.leads() && two.state.nodes.count() == 1 }).await;
    two.end().await;
}

#[tokio::test]
async fn a_listing_that_one_imports_answers_on_both() {
    let Some((one, two)) = two(&[]).await else { return };
    let tenant = one.tenant("Uno").await;
    let there = two.client(&tenant.token);
    assert_eq!(there.fail("consultar_rnc_dgii", taxpayer()).await["codigo"], "padron_sin_datos");
    one.padron(1_000).await;
    until("the other has it", || async { two.state.padron.status().active.is_some() }).await;
    assert_eq!(two.state.padron.status(), one.state.padron.status());
    assert_eq!(there.call("consultar_rnc_dgii", taxpayer()).await["rnc"], RNC);
    // A newer one by the other node, and back by the first.
    one.clock.advance(chrono::Duration::days(7));
    let first = one.state.padron.status().active.unwrap();
    two.padron(1_200).await;
    until("the first has the newer one", || async { one.state.padron.status().active.is_some_and(|now| now.rows == two.state.padron.status().active.unwrap().rows) }).await;
    assert_ne!(one.state.padron.status().active.unwrap().cutoff, first.cutoff);
    one.state.padron_imports.rollback(None, &actor()).await.unwrap();
    until("both went back", || async { two.state.padron.status().active.is_some_and(|now| now.cutoff == first.cutoff) }).await;
    assert_eq!(one.state.padron.status(), two.state.padron.status());
    for app in [one, two] {
        app.end().await;
    }
}

/// Reports from a replica that is near, from the database when it is not.
#[tokio::test]
async fn a_replica_is_asked_while_it_is_near() {
    if setting("DUNET_TEST_POSTGRES").is_none() {
        return;
    }
    let plain = TestApp::start(Backend::Postgres, &[]).await;
    // An empty database is a replica that has seen nothing yet; one with a service of its own is as near as can be, and has no calls: who asks it is seen.
    let empty = crate::support::database(Backend::Postgres, plain.folder.path()).await;
    let elsewhere = TestApp::start(Backend::Postgres, &[]).await;
    let with = |url: String| {
        let (at, clock) = (plain.database_url.clone(), plain.clock.clone());
        async move { TestApp::start_at(Backend::Postgres, tempfile::tempdir().unwrap(), at, clock, &["--database-read-url", &url]).await }
    };
    let far = with(empty.expose_secret().to_owned()).await;
    let near = with(elsewhere.database_url.expose_secret().to_owned()).await;
    until("it is looked how far they are", || async { near.state.reads.replica_near() == Some(true) }).await;
    assert_eq!((plain.state.reads.replica_near(), far.state.reads.replica_near()), (None, Some(false)));
    let tenant = plain.tenant("Uno").await;
    plain.padron(3).await;
    plain.client(&tenant.token).call("consultar_rnc_dgii", taxpayer()).await;
    plain.usage_rows(1).await;
    let range = dunet::domain::reports::DayRange::last_days(plain.clock.now(), 1);
    let calls = async |app: &TestApp| app.state.reports.metrics(range, None).await.unwrap().calls;
    assert_eq!((calls(&plain).await, calls(&far).await, calls(&near).await), (1, 1, 0));
    // It loses what it had: the database answers, in the same breath.
    elsewhere.state.db.execute_unprepared("drop table usage_days, usage_hours").await.unwrap();
    assert_eq!(calls(&near).await, 1);
    for app in [plain, far, near, elsewhere] {
        app.end().await;
    }
}
