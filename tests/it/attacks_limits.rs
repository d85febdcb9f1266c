//! Attacks on what is counted: a thousand calls at the last place, a clock that jumps.

use chrono::{DateTime, Duration, Utc};
use dunet::domain::tenants::ToolEdit;
use dunet::ids::TenantId;
use dunet::odoo::ProtocolChoice;
use sea_orm::ConnectionTrait;
use serde_json::json;
use tokio::task::JoinSet;

use super::attacks::Inside;
use crate::support::{TestApp, actor};

const ROOM: [&str; 4] = ["--tenant-burst-calls", "1000000", "--tenant-calls-per-minute", "600000"];
/// Calls at once.
const RACERS: u32 = 1_000;

async fn free_plan_of(app: &TestApp, calls: u32) {
    app.state.db.execute_unprepared(&format!("update plans set calls_per_month = {calls} where code = 'gratis'")).await.unwrap();
}

async fn per_hour(app: &TestApp, tenant: TenantId, calls: u32) {
    let edit = ToolEdit { calls_per_hour: Some(calls), ..ToolEdit::default() };
    app.state.tenants.tool_edit(tenant, "consultar_rnc_dgii", edit, &actor()).await.unwrap();
    app.state.tokens.forget(tenant);
}

/// What a thousand calls at once came to: how many succeeded, and the codes of the others.
async fn race(app: &TestApp, inside: &Inside, token: &str) -> (u32, Vec<String>) {
    // A thousand cold look-ups of one token at once are another matter: it is remembered first.
    assert_eq!(app.client(token).request("ping", json!({})).await.status, 200);
    let mut racers = JoinSet::new();
    for n in 0..RACERS {
        // Each another number, so that no guard against loops answers instead.
        racers.spawn(inside.call(token, "consultar_rnc_dgii", &json!({ "rnc": format!("13{n:07}") })));
    }
    let (mut good, mut codes) = (0, Vec::new());
    while let Some(result) = racers.join_next().await {
        let result = result.unwrap();
        match result["structuredContent"]["codigo"].as_str() {
            Some(code) => codes.push(code.to_owned()),
            None => {
                assert!(result["structuredContent"]["encontrado"].is_boolean(), "{result}");
                good += 1;
            }
        }
    }
    codes.sort_unstable();
    codes.dedup();
    (good, codes)
}

/// 36: a thousand calls for the one that is left of the month, and for the one that a tool has an hour: one gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_36_a_thousand_calls_for_one_place() {
    TestApp::everywhere_with(&ROOM, |app| async move {
        app.padron(3).await;
        free_plan_of(&app, 1).await;
        let inside = Inside::of(&app);
        let tenant = app.tenant_on("Gratis", "gratis", ProtocolChoice::Auto).await;
        per_hour(&app, tenant.id, 1_000_000).await;
        assert_eq!(race(&app, &inside, &tenant.token).await, (1, vec!["cuota_agotada".to_owned()]), "of the month");
        // A second wave finds nothing, nor does another token.
        let (_, second) = app.token(tenant.id, None).await;
        assert_eq!(race(&app, &inside, &second).await, (0, vec!["cuota_agotada".to_owned()]));
        let rows = app.usage_rows(2 * RACERS as usize).await;
        assert_eq!((rows.len(), rows.iter().filter(|row| row.counted).count()), (2 * RACERS as usize, 1), "charged once");

        let hourly = app.tenant("Pro").await;
        per_hour(&app, hourly.id, 1).await;
        assert_eq!(race(&app, &inside, &hourly.token).await, (1, vec!["limite_herramienta".to_owned()]), "of the hour");
    })
    .await;
}

/// 37: the month turns at midnight in Santo Domingo (UTC−4, no summer time), the year with it; a clock that jumps back finds the old month as it
/// was, one that jumps ahead a new one, and neither gives a call away.
#[tokio::test]
async fn attack_37_a_clock_that_jumps_gives_nothing_away() {
    TestApp::everywhere_with(&ROOM, |app| async move {
        app.padron(3).await;
        free_plan_of(&app, 2).await;
        let tenant = app.tenant_on("Gratis", "gratis", ProtocolChoice::Auto).await;
        let client = app.client(&tenant.token);
        let to = |text: &str| {
            let moment: DateTime<Utc> = text.parse().unwrap();
            app.clock.advance(moment - app.clock.now());
        };
        let mut asked = 0;
        let mut call = async || {
            asked += 1;
            let result = client.call_result("consultar_rnc_dgii", json!({ "rnc": format!("13{asked:07}") })).await["structuredContent"].clone();
            let code = result["codigo"].as_str().map(str::to_owned);
            (code.is_none(), result["que_hacer"].as_str().unwrap_or_default().to_owned())
        };
        let exhausted = |(good, what): (bool, String), until: &str| assert!(!good && what.contains(until), "until {until}: {what}");
        to("2026-12-31T23:59:59-04:00");
        assert!(call().await.0 && call().await.0);
        exhausted(call().await, "2027-01-01");
        // In UTC and in London the new year began hours ago: that is not the point.
        to("2027-01-01T03:59:59Z");
        exhausted(call().await, "2027-01-01");
        to("2027-01-01T04:00:00Z");
        assert!(call().await.0, "the new year");
        // Back across the turn: the old month is as used as it was.
        to("2026-12-31T23:59:59-04:00");
        exhausted(call().await, "2027-01-01");
        // Ahead again: the one that was left, and no more.
        to("2027-01-31T23:59:59-04:00");
        assert!(call().await.0);
        exhausted(call().await, "2027-02-01");
        // A leap year's last day of February, in the evening: already March in UTC.
        to("2028-02-29T23:59:59-04:00");
        assert!(call().await.0 && call().await.0);
        exhausted(call().await, "2028-03-01");
        to("2028-03-01T00:00:00-04:00");
        assert!(call().await.0);
        let rows = app.usage_rows(12).await;
        let months: Vec<i32> = rows.iter().filter(|row| row.counted).map(|row| row.billing_month).collect();
        let of = |month: i32| months.iter().filter(|found| **found == month).count();
        assert_eq!((of(202_612), of(202_701), of(202_802), of(202_803), months.len()), (2, 2, 2, 1, 7), "{months:?}");
    })
    .await;
}

/// 37: a token's end is a moment, not a month: a clock that jumps ahead ends it, in whichever zone one reads it.
#[tokio::test]
async fn attack_37_a_token_ends_when_the_clock_says_so() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Uno").await;
        let end = app.clock.now() + Duration::hours(1);
        let new = dunet::domain::tokens::NewToken { name: "con fin".to_owned(), packs: None, language: None, expires_at: Some(end) };
        let issued = app.state.tokens.token_issue(tenant.id, new, &actor()).await.unwrap();
        let client = app.client(secrecy::ExposeSecret::expose_secret(&issued.token));
        let status = async || client.request("ping", json!({})).await.status;
        assert_eq!(status().await, 200);
        app.clock.advance(Duration::days(400));
        assert_eq!(status().await, 401);
    })
    .await;
}

/// 37: a clock that was wrong and is set back by a day does not lock a tool for that day: the hour's calls are there.
#[tokio::test]
async fn attack_37_a_clock_set_back_locks_no_tool() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Uno").await;
        let client = app.client(&tenant.token);
        client.call("consultar_rnc_dgii", json!({ "rnc": "131793916" })).await;
        app.clock.advance(Duration::days(-1));
        client.call("consultar_rnc_dgii", json!({ "rnc": "131793916" })).await;
    })
    .await;
}
