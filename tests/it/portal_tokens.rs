//! Tokens through the portal: shown once, at work at once, gone at once; and the page that says what to paste, with its test.

use std::sync::Arc;

use dunet::db::entities::logs;
use dunet::domain::tenants::TenantEdit;
use dunet::domain::users::Level;
use dunet::text::{Language, fill, text};
use http::StatusCode;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::json;

use crate::support::TestApp;
use crate::support::calls::call;
use crate::support::portal::{Browser, Page};

/// A form for a token of that name.
fn form<'a>(name: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![("name", name), ("life", "year"), ("language", "")];
    fields.extend_from_slice(more);
    fields
}

/// The token that the page shows.
fn secret(page: &Page) -> String {
    page.text.split("id=\"tok\" readonly value=\"").nth(1).unwrap_or_else(|| panic!("no token in {}", page.text)).split('"').next().unwrap().to_owned()
}

/// Issues a token and gives what is shown once, and where.
async fn issue(browser: &Browser, path: &str, fields: &[(&str, &str)]) -> (String, String) {
    let page = browser.post(path, path, fields).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
    let shown = browser.get(page.location()).await;
    assert_eq!(shown.status, StatusCode::OK);
    (secret(&shown), page.location().to_owned())
}

fn says(page: &Page, key: &str) -> bool {
    page.text.contains(&text(Language::Es, key))
}

/// The id of the only token of that name, out of its link.
fn id(page: &Page, name: &str) -> String {
    let row = page.text.split("<tr").find(|row| row.contains(&format!("<th scope=\"row\">{name}<"))).unwrap_or_else(|| panic!("no {name} in {}", page.text));
    row.split("?rotate=").nth(1).expect("a link").split('"').next().expect("an end").to_owned()
}

#[tokio::test]
async fn a_token_is_shown_once_and_works_until_it_is_revoked() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        app.padron(3).await;
        let tenant = app.tenant("Ferretería").await;
        let owner = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let path = format!("/admin/clients/{}/tokens", tenant.id);

        let (token, shown_at) = issue(&owner, &path, &form("Claude de ventas", &[("packs", "sales"), ("packs", "voice")])).await;
        let client = app.client(&token);
        assert!(client.tool_names().await.contains(&"buscar_cliente".to_owned()));
        assert!(client.call_result("consultar_rnc_dgii", json!({ "rnc": "131793916" })).await.get("structuredContent").is_some());

        // Once: not on a second look, not to somebody else, not on any other page, not in the database.
        let again = owner.get(&shown_at).await;
        let hint = format!("{}…{}", &token[.."dunet_live_".len() + 8], &token[token.len() - 4..]);
        assert!(again.status == StatusCode::OK && !again.text.contains(&token) && again.text.contains(&hint), "{}", again.text);
        assert!(!again.text.contains("id=\"tok\""));
        let operator = app.operator().await;
        let (other, other_at) = issue(&owner, &path, &form("Otro", &[])).await;
        assert!(!operator.get(&other_at).await.text.contains(&other));
        for page in ["", "/tokens", "/connect", "/onboarding"] {
            let page = operator.get(&format!("/admin/clients/{}{page}", tenant.id)).await;
            assert!(!page.text.contains(&token) && !page.text.contains(&other));
        }
        assert!(app.dump().await.iter().all(|row| !row.contains(&token) && !row.contains(&other)));

        // Revoked: the very next call is refused, although it was verified a moment ago.
        let token_id = id(&owner.get(&path).await, "Claude de ventas");
        let asked = owner.get(&format!("{path}?revoke={token_id}")).await;
        assert!(says(&asked, "portal.tokens.revoke_text") && asked.text.contains("/tokens/revoke"));
        let page = owner.post(&path, &format!("{path}/revoke"), &[("token", &token_id)]).await;
        assert_eq!(page.location(), path);
        assert_eq!(client.request("tools/list", json!({})).await.status, 401);
        assert_eq!(app.client(&other).request("tools/list", json!({})).await.status, 200, "the other one lives on");
        let page = owner.get(&path).await;
        assert!(says(&page, "portal.tokens.statuses.revoked") && says(&page, "portal.flash.token_revoked"));
        assert!(!owner.get(&format!("{path}?revoke={token_id}")).await.text.contains("id=\"h-revoke\""), "nothing to revoke any more");

        let actions: Vec<(String, String)> = logs::Entity::find()
            .filter(logs::Column::ClientId.eq(tenant.id.uuid()))
            .filter(logs::Column::Actor.eq("marta@ferre.do"))
            .all(&app.state.db)
            .await
            .unwrap()
            .into_iter()
            .filter(|row| row.action.starts_with("token."))
            .map(|row| (row.action, row.actor))
            .collect();
        assert_eq!(actions.iter().map(|(action, _)| action.as_str()).collect::<Vec<_>>(), ["token.issue", "token.issue", "token.revoke"]);
    })
    .await;
}

#[tokio::test]
async fn a_rotated_token_has_its_grace_and_then_ends() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        let tenant = app.tenant("Ferretería").await;
        let owner = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let path = format!("/admin/clients/{}/tokens", tenant.id);
        let (old, _) = issue(&owner, &path, &form("n8n", &[("packs", "analyst")])).await;
        let token_id = id(&owner.get(&path).await, "n8n");
        let asked = owner.get(&format!("{path}?rotate={token_id}")).await;
        assert!(asked.text.contains("/tokens/rotate") && asked.text.contains("name=\"grace\""));
        let page = owner.post(&path, &format!("{path}/rotate"), &[("token", &token_id), ("grace", "hour")]).await;
        let new = secret(&owner.get(page.location()).await);
        let status = async |token: &str| app.client(token).request("tools/list", json!({})).await.status;
        assert_eq!((status(&old).await, status(&new).await), (200, 200));
        assert_eq!(app.client(&old).tool_names().await, app.client(&new).tool_names().await, "the same rights");
        assert!(says(&owner.get(&path).await, "portal.tokens.statuses.rotating"));
        app.clock.advance(chrono::Duration::seconds(3_601));
        assert_eq!((status(&old).await, status(&new).await), (401, 200));
        assert!(says(&owner.get(&path).await, "portal.tokens.statuses.replaced"));
        // The page that stood open asks for what cannot be done any more.
        let page = owner.post(&path, &format!("{path}/rotate"), &[("token", &token_id), ("grace", "now")]).await;
        assert_eq!(page.status, StatusCode::CONFLICT);
        let page = owner.post(&path, &format!("{path}/rotate"), &[("token", &token_id), ("grace", "99")]).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST);
    })
    .await;
}

#[tokio::test]
async fn a_bad_form_comes_back_and_others_tokens_are_nobodys() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        let (mine, theirs) = (app.tenant("Ferretería").await, app.tenant("Clínica").await);
        let owner = app.member(mine.id, "marta@ferre.do", Level::Owner).await;
        let path = format!("/admin/clients/{}/tokens", mine.id);
        for name in ["", "   ", &"x".repeat(101)] {
            let page = owner.post(&path, &path, &form(name, &[("packs", "writes")])).await;
            assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
            assert!(says(&page, "portal.faults.name") && page.text.contains("value=\"writes\" checked"), "what was typed comes back");
        }
        for bad in [form("a", &[("packs", "todo")]), vec![("name", "a"), ("life", "100"), ("language", "")], vec![("name", "a"), ("life", "year"), ("language", "fr")]] {
            assert_eq!(owner.post(&path, &path, &bad).await.status, StatusCode::BAD_REQUEST);
        }
        let theirs_id = theirs.token_id.to_string();
        for (way, more) in [("revoke", None), ("rotate", Some(("grace", "now")))] {
            let mut fields = vec![("token", theirs_id.as_str())];
            fields.extend(more);
            assert_eq!(owner.post(&path, &format!("{path}/{way}"), &fields).await.status, StatusCode::NOT_FOUND);
            assert_eq!(owner.get(&format!("{path}?{way}={theirs_id}")).await.status, StatusCode::NOT_FOUND);
        }
        assert_eq!(app.client(&theirs.token).request("tools/list", json!({})).await.status, 200);
        let viewer = app.member(mine.id, "luis@ferre.do", Level::Viewer).await;
        let page = viewer.get(&path).await;
        assert!(page.status == StatusCode::OK && !page.text.contains("id=\"nuevo\"") && !page.text.contains("?revoke="));
        let csrf = page.hidden("csrf");
        let mut fields = form("a", &[]);
        fields.push(("csrf", &csrf));
        assert_eq!(viewer.post_bare(&path, &fields).await.status, StatusCode::FORBIDDEN);
    })
    .await;
}

#[tokio::test]
async fn a_long_list_pages() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        let tenant = app.tenant("Ferretería").await;
        for _ in 0..60 {
            app.token(tenant.id, None).await;
        }
        let operator = app.operator().await;
        let path = format!("/admin/clients/{}/tokens", tenant.id);
        let first = operator.get(&path).await;
        let next = first.text.split("rel=\"next\" href=\"").nth(1).expect("a next page").split('"').next().unwrap().to_owned();
        let second = operator.get(&format!("{path}{next}")).await;
        let count = |page: &Page| page.text.matches("?revoke=").count();
        assert_eq!((count(&first), count(&second)), (50, 11));
    })
    .await;
}

#[tokio::test]
async fn what_to_paste_is_filled_in_and_a_token_can_be_tried() {
    TestApp::everywhere_with(&["--failed-auth-per-minute", "3"], |app: Arc<TestApp>| async move {
        let (mine, theirs) = (app.tenant("Ferretería").await, app.tenant("Clínica").await);
        let owner = app.member(mine.id, "marta@ferre.do", Level::Owner).await;
        let home = format!("/admin/clients/{}", mine.id);
        let (tokens, connect) = (format!("{home}/tokens"), format!("{home}/connect"));

        // Before: a word stands for the token. After issuing: the token itself, this once.
        let page = owner.get(&format!("{connect}?con=cursor")).await;
        for part in [format!("{}/mcp/token", app.base), "SU_TOKEN".to_owned(), "cursor://anysphere.cursor-deeplink".to_owned(), "vscode:mcp/install?".to_owned()] {
            assert!(page.text.contains(&part), "{part}");
        }
        assert!(page.text.contains("id=\"con-cursor\" open") && says(&page, "portal.programs.sign_in_text"));
        let made = owner.post(&tokens, &tokens, &form("Claude", &[("packs", "sales")])).await;
        let page = owner.get(made.location()).await;
        let token = secret(&page);
        assert!(page.text.contains(&format!("Authorization: Bearer {token}")) && !page.text.contains("SU_TOKEN"), "{}", page.text);

        let try_with = async |token: &str| owner.post(&connect, &connect, &[("token", token)]).await;
        let page = try_with(&format!("  {token} ")).await;
        assert!(page.status == StatusCode::OK && says(&page, "portal.connect.test.token_ok"), "{}", page.text);
        assert!(page.text.contains("<code>buscar_cliente</code>") && page.text.contains("2025-11-25"), "{}", page.text);
        assert!(!page.text.contains(&token), "it does not come back to the page");
        let page = try_with(&theirs.token).await;
        assert!(says(&page, "portal.connect.test.foreign") && !page.text.contains("<code>buscar_cliente</code>"));
        // Each program's panel asks as that program does.
        for (program, hello) in [("gemini", "2025-06-18"), ("livekit", "2025-11-25"), ("curl", "pregunta directamente")] {
            let page = owner.post(&connect, &connect, &[("token", &token), ("program", program)]).await;
            let panel = page
                .text
                .split(&format!("id=\"con-{program}\" open"))
                .nth(1)
                .and_then(|rest| rest.split("</details>").next())
                .unwrap_or_else(|| panic!("{program}: {}", page.text));
            assert!(says(&page, "portal.connect.test.token_ok") && panel.contains(hello) && panel.contains("<code>buscar_cliente</code>"), "{program}: {panel}");
            assert!(!page.text.contains(&token), "{program}");
        }
        for unknown in ["claude", "claude_code", "nadie"] {
            assert_eq!(owner.post(&connect, &connect, &[("token", &token), ("program", unknown)]).await.status, StatusCode::BAD_REQUEST);
        }
        assert!(app.usage_rows(0).await.is_empty(), "a test is no call");

        // Refused as an agent would be, and counted as one: nobody guesses tokens from here.
        for bad in ["dunet_live_x", "ñ\u{1}", ""] {
            let page = try_with(bad).await;
            assert!(page.status == StatusCode::OK && says(&page, "portal.connect.test.refused_401"), "{bad}: {}", page.text);
        }
        app.state.tokens.token_revoke(mine.id, mine.token_id, &crate::support::actor()).await.unwrap();
        assert!(says(&try_with(&mine.token).await, "portal.connect.test.refused_401"));
        let mut refused = 0;
        for _ in 0..4 {
            refused += usize::from(says(&try_with("dunet_live_x").await, "portal.connect.test.refused_429"));
        }
        assert!(refused >= 3, "{refused}");
        app.edit(mine.id, TenantEdit { active: Some(false), ..TenantEdit::default() }).await;
        assert!(says(&try_with(&token).await, "portal.connect.test.refused_403"));
    })
    .await;
}

#[tokio::test]
async fn a_client_asks_for_another_plan() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        let tenant = app.tenant_on("Ferretería", "gratis", dunet::odoo::ProtocolChoice::Auto).await;
        let owner = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let operator = app.operator().await;
        let path = format!("/admin/clients/{}/plan", tenant.id);
        assert_eq!(owner.post(&path, &path, &[("plan", "gratis"), ("note", "")]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(owner.post(&path, &path, &[("plan", "oro"), ("note", "")]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(owner.post(&path, &path, &[("plan", "pro"), ("note", "<b>ya</b>")]).await.location(), path);
        for browser in [&owner, &operator] {
            let page = browser.get(&path).await;
            assert!(page.text.contains("&lt;b&gt;ya") && page.text.contains("marta@ferre.do"), "{}", page.text);
        }
        assert_eq!(app.state.tenants.tenant_find(tenant.id).await.unwrap().plan.code, "gratis", "nothing changes by asking");
        // Dealt with: by changing the plan, or by saying so.
        app.edit(tenant.id, TenantEdit { plan: Some("pro".to_owned()), ..TenantEdit::default() }).await;
        assert!(!operator.get(&path).await.text.contains("marta@ferre.do"));
        owner.post(&path, &path, &[("plan", "basic"), ("note", "")]).await;
        assert_eq!(operator.post(&path, &format!("{path}/answered"), &[]).await.location(), path);
        assert!(!operator.get(&path).await.text.contains("marta@ferre.do"));
        assert_eq!(owner.post(&path, &format!("{path}/answered"), &[]).await.status, StatusCode::FORBIDDEN);
    })
    .await;
}

#[tokio::test]
async fn the_month_stands_beside_the_plan() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        let tenant = app.tenant_on("Ferretería", "gratis", dunet::odoo::ProtocolChoice::Auto).await;
        let viewer = app.member(tenant.id, "luis@ferre.do", Level::Viewer).await;
        let home = format!("/admin/clients/{}", tenant.id);
        let say = |key: &str, facts: &[(&str, &str)]| fill(Language::Es, &format!("portal.client.{key}"), facts);
        // The client's summary says the same.
        let both = async |used: usize, wanted: &str| {
            for path in [format!("{home}/plan"), home.clone()] {
                let page = viewer.get(&path).await;
                let bar = format!("value=\"{used}\"");
                assert!(page.text.contains(&say("of_plan", &[("limit", "100")])) && page.text.contains(&bar) && page.text.contains(wanted), "{wanted}: {}", page.text);
            }
        };
        both(0, &say("lasts", &[("forecast", "0")])).await;
        // It began two hours ago and has used ninety: eight days and thirteen hours at ninety a day are to come.
        let calls = |count: usize| (0..count).map(|_| call(tenant.id, "2026-11-22T13:00:00Z")).collect::<Vec<_>>();
        app.made(&calls(90)).await;
        both(90, &say("used_up", &[("day", "22 nov 2026"), ("forecast", "859")])).await;
        app.made(&calls(10)).await;
        both(100, &say("used_up_now", &[])).await;
    })
    .await;
}
