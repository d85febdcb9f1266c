//! The attack list (platform reference, §3C), items 1 to 12 as far as they concern programs that sign in. `docs/attacks.md` names every test.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dunet::domain::users::Level;
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::mcp::{McpClient, send};
use crate::support::oauth::{Program, REDIRECT, VERIFIER, allow, challenge, encoded, form, grants, query, text, ticks};
use crate::support::portal::Browser;
use crate::support::{TestApp, serve, until};

async fn ping(app: &TestApp, token: &str) -> u16 {
    app.client(token).request("ping", json!({})).await.status
}

#[tokio::test]
async fn attack_01_every_refusal_says_where_to_sign_in() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let (access, refresh) = Program::registered(&app).await.connected(&browser).await;
        let mistyped = format!("{}{}", &access[..access.len() - 1], if access.ends_with('x') { 'y' } else { 'x' });
        let pointer = format!("resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\", scope=\"voice sales analyst writes\"", app.base);
        for token in ["x", "dunet_oat_", &mistyped, &refresh, "dunet_live_abcdefgh_0123456789012345678901234567890123456789"] {
            let refused = app.client(token).request("tools/list", json!({})).await;
            let header = refused.header("www-authenticate");
            assert_eq!(refused.status, 401, "{token}");
            assert!(header.starts_with("Bearer ") && header.contains("error=\"invalid_token\"") && header.contains(&pointer), "{header}");
        }
        for (method, headers) in [("POST", vec![]), ("GET", vec![]), ("DELETE", vec![]), ("POST", vec![("authorization", "Basic eA==")])] {
            let refused = send(method, &app.mcp_url(), &headers, "").await;
            assert!(refused.status == 401 && refused.header("www-authenticate").contains(&pointer), "{method}: {}", refused.status);
        }
        // However often a program begins: nothing was guessed, and many share an address.
        for _ in 0..50 {
            assert_eq!(McpClient::anonymous(&app.mcp_url()).request("initialize", json!({})).await.status, 401);
        }
        // Expired: the same.
        app.clock.advance(chrono::Duration::hours(1));
        let refused = app.client(&access).request("tools/list", json!({})).await;
        assert!(refused.status == 401 && refused.header("www-authenticate").contains(&pointer));
    })
    .await;
}

#[tokio::test]
async fn attack_02_a_token_for_another_address_is_refused() {
    TestApp::everywhere(|app| async move {
        use dunet::db::entities::oauth_grants;
        use sea_orm::EntityTrait;
        use sea_orm::sea_query::Expr;
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let program = Program::registered(&app).await;
        // Nobody gets one for elsewhere: not when asking, not when changing.
        for foreign in ["https://evil.com/mcp", &app.base, &format!("{}/mcp/token", app.base), &format!("{}/mcp#x", app.base), "mcp"] {
            let back = browser.get(&program.ask_with(&[("resource", foreign)])).await;
            let answer = query(back.location());
            assert_eq!((answer["error"].as_str(), answer["iss"].as_str()), ("invalid_target", app.base.as_str()), "{foreign}");
        }
        let code = program.code(&browser).await;
        assert_eq!(program.change(&code, &[("resource", "https://evil.com/mcp")]).await.json()["error"], "invalid_target");
        let tokens = program.change(&code, &[]).await.json();
        let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
        let elsewhere = form(
            &app.base,
            "/oauth/token",
            &[("grant_type", "refresh_token"), ("client_id", &program.client_id), ("refresh_token", &refresh), ("resource", "https://evil.com/mcp")],
            &[],
        )
        .await;
        assert_eq!(elsewhere.json()["error"], "invalid_target");
        assert_eq!(ping(&app, &access).await, 200);
        // One that was made for another address (the service moved) opens nothing here.
        oauth_grants::Entity::update_many().col_expr(oauth_grants::Column::Resource, Expr::value("https://old.example.do/mcp")).exec(&app.state.db).await.unwrap();
        app.state.tokens.forget(tenant.id);
        assert_eq!((ping(&app, &access).await, ping(&app, &access).await), (401, 401), "remembered or not");
    })
    .await;
}

#[tokio::test]
async fn attack_03_a_token_in_the_address_opens_nothing() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let (access, _) = Program::registered(&app).await.connected(&browser).await;
        for name in ["access_token", "token", "authorization"] {
            assert_eq!(McpClient::anonymous(&format!("{}?{name}={access}", app.mcp_url())).request("ping", json!({})).await.status, 401);
        }
        let in_form = form(&app.base, "/mcp", &[("access_token", &access)], &[]).await;
        assert_eq!(in_form.status, 401);
    })
    .await;
}

#[tokio::test]
async fn attack_05_a_grant_ended_elsewhere_is_refused_here() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let program = Program::registered(&app).await;
        let (access, refresh) = program.connected(&browser).await;
        assert_eq!(ping(&app, &access).await, 200);
        let process = app.another_process().await;
        let user = process.users.session_find(&browser.cookie("dunet").unwrap()).await.unwrap().unwrap();
        let grant = grants(&app, tenant.id).await[0];
        let began = Instant::now();
        process.oauth.grant_revoke(&user.access(tenant.id).unwrap(), grant.into()).await.unwrap();
        until("the token is refused", || async { ping(&app, &access).await == 401 }).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(program.refresh(&refresh).await.json()["error"], "invalid_grant");
    })
    .await;
}

#[tokio::test]
async fn attack_07_a_token_is_no_jwt() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let (access, _) = Program::registered(&app).await.connected(&browser).await;
        assert!(access.starts_with("dunet_oat_") && !access.contains('.'), "it says nothing by itself");
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let payload = part(json!({ "iss": app.base, "aud": app.mcp_url(), "sub": tenant.id, "scope": "voice sales analyst writes", "exp": 4_000_000_000_i64 }));
        for head in [json!({ "alg": "none" }), json!({ "alg": "HS256", "kid": "../../../../dev/null" }), json!({ "alg": "RS256", "jku": "http://127.0.0.1/keys" })] {
            for signature in ["", "x"] {
                assert_eq!(ping(&app, &format!("{}.{payload}.{signature}", part(head.clone()))).await, 401);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn attack_08_a_code_shown_twice_ends_what_came_of_it() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let (program, thief) = (Program::registered(&app).await, Program::registered(&app).await);
        let code = program.code(&browser).await;
        // Not without the verifier, not by another program, not for another address; and none of that uses it up.
        for (other, error) in [
            (vec![("code_verifier", "")], "invalid_request"),
            (vec![("code_verifier", "x")], "invalid_grant"),
            (vec![("code_verifier", &*challenge(VERIFIER))], "invalid_grant"),
            (vec![("client_id", &*thief.client_id)], "invalid_grant"),
            (vec![("redirect_uri", "https://claude.ai/api/mcp/auth_callback/")], "invalid_grant"),
            (vec![("code", "dunet_oac_x")], "invalid_grant"),
        ] {
            let refused = program.change(&code, &other).await;
            assert_eq!((refused.status, &refused.json()["error"]), (400, &json!(error)), "{other:?}");
        }
        let (one, two) = tokio::join!(program.change(&code, &[]), program.change(&code, &[]));
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 400], "of two at once one wins");
        let won = if one.status == 200 { one } else { two }.json();
        let (access, refresh) = (text(&won, "access_token"), text(&won, "refresh_token"));
        until("what the code gave has ended", || async { ping(&app, &access).await == 401 }).await;
        assert_eq!(program.refresh(&refresh).await.json()["error"], "invalid_grant");
        assert!(grants(&app, tenant.id).await.is_empty());
        // A minute, and not longer.
        let late = program.code(&browser).await;
        app.clock.advance(chrono::Duration::seconds(60));
        assert_eq!(program.change(&late, &[]).await.json()["error"], "invalid_grant");
    })
    .await;
}

#[tokio::test]
async fn attack_08_a_refresh_token_shown_again_ends_its_family() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let (program, thief) = (Program::registered(&app).await, Program::registered(&app).await);
        let (access, first) = program.connected(&browser).await;
        assert_eq!(thief.refresh(&first).await.json()["error"], "invalid_grant", "it is the other's");
        assert_eq!(program.refresh(&access).await.json()["error"], "invalid_grant", "an access token renews nothing");
        let second = text(&program.refresh(&first).await.json(), "refresh_token");
        app.clock.advance(chrono::Duration::seconds(31));
        let third = program.refresh(&second).await.json();
        assert_eq!(ping(&app, &text(&third, "access_token")).await, 200);
        assert_eq!(program.refresh(&first).await.json()["error"], "invalid_grant");
        assert_eq!((ping(&app, &text(&third, "access_token")).await, ping(&app, &access).await), (401, 401));
        assert_eq!(program.refresh(&text(&third, "refresh_token")).await.json()["error"], "invalid_grant");
        // Nor does the grace multiply them without end.
        let (_, first) = program.connected(&browser).await;
        let mut last = 200;
        for _ in 0..7 {
            last = program.refresh(&first).await.status;
        }
        assert_eq!((last, grants(&app, tenant.id).await.len()), (400, 0));
    })
    .await;
}

#[tokio::test]
async fn attack_08_only_s256_and_only_our_words() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let program = Program::registered(&app).await;
        for (other, error) in [
            (vec![("code_challenge_method", "plain")], "invalid_request"),
            (vec![("code_challenge_method", "")], "invalid_request"),
            (vec![("code_challenge_method", "s256")], "invalid_request"),
            (vec![("code_challenge", "")], "invalid_request"),
            (vec![("code_challenge", VERIFIER), ("code_challenge_method", "plain")], "invalid_request"),
            (vec![("code_challenge", "short")], "invalid_request"),
            (vec![("response_type", "token")], "unsupported_response_type"),
            (vec![("response_type", "")], "unsupported_response_type"),
            (vec![("response_mode", "fragment")], "invalid_request"),
            (vec![("scope", "admin")], "invalid_scope"),
            (vec![("prompt", "none")], "interaction_required"),
        ] {
            let back = browser.get(&program.ask_with(&other)).await;
            let answer = query(back.location());
            assert!(back.location().starts_with(&format!("{REDIRECT}?")), "{}", back.location());
            assert_eq!((answer["error"].as_str(), answer["state"].as_str(), answer["iss"].as_str()), (error, "abc 123", app.base.as_str()), "{other:?}");
            assert!(!answer.contains_key("code"));
        }
    })
    .await;
}

#[tokio::test]
async fn attack_08_nobody_is_sent_where_the_program_does_not_live() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let metadata = json!({ "redirect_uris": [REDIRECT, "http://localhost/callback", "cursor://anysphere.cursor-mcp/oauth/callback"] });
        let program = Program::registered_with(&app, &metadata).await;
        for good in [REDIRECT, "http://localhost:51234/callback", "http://localhost/callback", "cursor://anysphere.cursor-mcp/oauth/callback"] {
            let begun = browser.get(&program.ask_with(&[("redirect_uri", good)])).await;
            assert!(begun.location().starts_with("/admin/autorizar/"), "{good}: {}", begun.text);
        }
        for bad in [
            "https://evil.com/api/mcp/auth_callback",
            "https://claude.ai/api/mcp/auth_callback/",
            "https://claude.ai/api/mcp/auth_callback?next=https://evil.com",
            "https://claude.ai/api/mcp/auth_callback#x",
            "https://claude.ai/api/mcp/../mcp/auth_callback",
            "https://claude.ai/api/mcp/%2e%2e/mcp/auth_callback",
            "https://claude.ai@evil.com/api/mcp/auth_callback",
            "https://claude.ai.evil.com/api/mcp/auth_callback",
            "http://claude.ai/api/mcp/auth_callback",
            "https://CLAUDE.AI/api/mcp/auth_callback",
            "http://127.0.0.1:51234/callback",
            "http://localhost:51234/other",
            "http://localhost:51234@evil.com/callback",
            "javascript:alert(1)",
            "data:text/html,x",
            "cursor://evil/oauth/callback",
            "//claude.ai/api/mcp/auth_callback",
        ] {
            let page = browser.get(&program.ask_with(&[("redirect_uri", bad)])).await;
            assert!(page.status == StatusCode::BAD_REQUEST && page.location().is_empty() && page.text.contains("error-page"), "{bad}: {} {}", page.status, page.location());
        }
        // None named, and several known: it is not clear where.
        assert_eq!(browser.get(&program.ask_with(&[("redirect_uri", "")])).await.status, StatusCode::BAD_REQUEST);
        // Nor on the word of somebody unknown, or said twice.
        for ask in [
            "/admin/autorizar".to_owned(),
            program.ask_with(&[("client_id", "dunet_app_x")]),
            format!("{}&client_id=x", program.ask()),
            format!("{}&redirect_uri=x", program.ask()),
        ] {
            let page = browser.get(&ask).await;
            assert!(page.status == StatusCode::BAD_REQUEST && page.location().is_empty(), "{ask}");
        }
        // And nobody registers such a place.
        for bad in [
            "javascript:alert(1)",
            "data:text/html,x",
            "http://evil.com/cb",
            "https://a.do/cb#x",
            "https://u:p@a.do/cb",
            "file:///etc/passwd",
            "cursor:cb",
            "https://",
            "",
            "http://127.0.0.1.evil.com/",
        ] {
            let metadata = json!({ "redirect_uris": [REDIRECT, bad] });
            let refused = send("POST", &format!("{}/oauth/register", app.base), &[("content-type", "application/json")], metadata.to_string()).await;
            assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("invalid_redirect_uri")), "{bad}");
        }
    })
    .await;
}

#[tokio::test]
async fn attack_09_a_captured_address_is_nobodys_consent() {
    TestApp::everywhere(|app| async move {
        let (one, two) = (app.tenant("Uno").await, app.tenant("Dos").await);
        let (victim, attacker) = (app.member(one.id, "marta@uno.do", Level::Owner).await, app.member(two.id, "eva@dos.do", Level::Owner).await);
        let program = Program::registered(&app).await;
        // The consent page of one browser is nothing in another, whoever is signed in there.
        let (path, page) = program.consent_page(&attacker, &program.ask()).await;
        let _own = program.consent_page(&victim, &program.ask()).await;
        let seen = victim.get(&path).await;
        assert!(seen.status == StatusCode::BAD_REQUEST && seen.text.contains("Esta solicitud ya no sirve"), "{}", seen.text);
        let csrf = victim.get("/admin/profile").await.hidden("csrf");
        let (tenant, key) = (one.id.to_string(), page.hidden("form_key"));
        let fields = [("csrf", csrf.as_str()), ("form_key", &key), ("tenant", &tenant), ("tools", "odoo_contexto"), ("days", "30"), ("decision", "allow")];
        assert_eq!(victim.post_bare(&path, &fields).await.status, StatusCode::BAD_REQUEST);
        assert!(grants(&app, one.id).await.is_empty());
        // Even with the attacker's cookie planted: it belongs to whoever looked first.
        victim.put_cookie("dunet-connect", &attacker.cookie("dunet-connect").unwrap());
        assert_eq!((victim.get(&path).await.status, victim.post_bare(&path, &fields).await.status), (StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST));
        // The address that began it, opened by somebody else, is a request of theirs, for their account.
        let (theirs, page) = program.consent_page(&victim, &program.ask()).await;
        assert!(theirs != path && page.text.contains("marta@uno.do") && !page.text.contains("eva@dos.do"));
        let back = allow(&attacker, &path, &attacker.get(&path).await, &["odoo_contexto".to_owned()]).await;
        let access = text(&program.change(&query(back.location())["code"], &[]).await.json(), "access_token");
        assert_eq!(ping(&app, &access).await, 200);
        assert!(grants(&app, one.id).await.is_empty() && grants(&app, two.id).await.len() == 1);
        // A quarter of an hour, and not longer.
        app.clock.advance(chrono::Duration::minutes(15));
        assert_eq!(victim.get(&theirs).await.status, StatusCode::BAD_REQUEST);
    })
    .await;
}

#[tokio::test]
async fn attack_09_consent_is_a_form_of_ours_and_in_no_frame() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let program = Program::registered(&app).await;
        let (path, page) = program.consent_page(&browser, &program.ask()).await;
        let header = |name: &str| page.headers.get(name).unwrap().to_str().unwrap();
        assert!(header("content-security-policy").contains("frame-ancestors 'none'") && !header("content-security-policy").contains('*') && header("x-frame-options") == "DENY");
        let (csrf, tenant_id) = (page.hidden("csrf"), tenant.id.to_string());
        let fields = |csrf: &'static str| vec![("csrf", csrf), ("tools", "odoo_contexto"), ("days", "30"), ("decision", "allow")];
        let mut forged = fields("");
        forged.push(("tenant", &tenant_id));
        assert_eq!(browser.post_bare(&path, &forged).await.status, StatusCode::FORBIDDEN);
        let good = [("csrf", csrf.as_str()), ("tenant", &tenant_id), ("tools", "odoo_contexto"), ("days", "30"), ("decision", "allow")];
        for headers in [[("origin", "https://evil.com")], [("origin", "null")], [("sec-fetch-site", "cross-site")]] {
            assert_eq!(browser.post_with(&path, &good, &headers).await.status, StatusCode::FORBIDDEN);
        }
        // What is asked for cannot be widened in the form, nor can it last longer than is offered.
        for (name, value) in [("packs", "writes"), ("scope", "writes"), ("redirect_uri", "https://evil.com"), ("user", "x")] {
            let mut more = good.to_vec();
            more.push((name, value));
            assert_eq!(browser.post_bare(&path, &more).await.status, StatusCode::BAD_REQUEST, "{name}");
        }
        let long = [("csrf", csrf.as_str()), ("tenant", &tenant_id), ("tools", "odoo_contexto"), ("days", "36500"), ("decision", "allow")];
        assert_eq!(browser.post_bare(&path, &long).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        // A GET decides nothing.
        assert_eq!(browser.get(&format!("{path}?decision=allow&tenant={tenant_id}&tools=odoo_contexto&days=30")).await.status, StatusCode::OK);
        assert!(grants(&app, tenant.id).await.is_empty());
        // A name is text, whatever is in it.
        let odd = json!({ "client_name": "<b>Claude</b>{{ 7*7 }}\u{202e}", "redirect_uris": [REDIRECT] });
        let odd = Program::registered_with(&app, &odd).await;
        let (_, page) = odd.consent_page(&browser, &odd.ask()).await;
        assert!(page.text.contains("&lt;b&gt;Claude") && !page.text.contains("<b>Claude") && !page.text.contains('\u{202e}') && !page.text.contains("/b&gt;49"), "{}", page.text);
        assert!(page.text.contains("Nadie ha comprobado"), "it registered itself");
    })
    .await;
}

#[tokio::test]
async fn attack_10_a_hostile_document_leads_nowhere() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let document = |host: &str, name: &str| json!({ "client_id": format!("http://{host}/{name}"), "client_name": "Malo", "redirect_uris": ["http://127.0.0.1/cb"] });
        let site = axum::Router::new()
            .route("/redirect", axum::routing::get(|| async { axum::response::Redirect::temporary("/good") }))
            .route("/good", axum::routing::get(move |headers: http::HeaderMap| async move { axum::Json(document(headers["host"].to_str().unwrap(), "good")) }))
            .route("/other", axum::routing::get(move |headers: http::HeaderMap| async move { axum::Json(document(headers["host"].to_str().unwrap(), "good")) }))
            .route(
                "/large",
                axum::routing::get(move |headers: http::HeaderMap| async move {
                    let mut large = document(headers["host"].to_str().unwrap(), "large");
                    large["x"] = json!("x".repeat(6_000));
                    axum::Json(large)
                }),
            )
            .route("/html", axum::routing::get(|| async { axum::response::Html("<p>hola</p>") }))
            .route("/error", axum::routing::get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
            .route("/slow", axum::routing::get(|| async { std::future::pending::<&'static str>().await }))
            .route(
                "/drip",
                axum::routing::get(|| async {
                    let drops = futures::stream::unfold((), |()| async {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        Some((Ok::<_, std::io::Error>(bytes::Bytes::from_static(b" ")), ()))
                    });
                    ([("content-type", "application/json")], axum::body::Body::from_stream(drops))
                }),
            );
        let (url, _site) = serve(site).await;
        let ask = |client_id: &str| Program { base: app.base.clone(), client_id: client_id.to_owned(), redirect_uri: "http://127.0.0.1/cb".to_owned() }.ask();
        let good = browser.get(&ask(&format!("{url}/good"))).await;
        assert!(good.location().starts_with("/admin/autorizar/"), "{}", good.text);
        for bad in ["redirect", "other", "large", "html", "error", "nothing", "slow", "drip"] {
            let began = Instant::now();
            let page = browser.get(&ask(&format!("{url}/{bad}"))).await;
            assert!(page.status == StatusCode::BAD_REQUEST && page.location().is_empty() && page.text.contains("no dice bien quién es"), "{bad}: {}", page.status);
            assert!(began.elapsed() < Duration::from_secs(8), "{bad}: {:?}", began.elapsed());
            let began = Instant::now();
            assert_eq!(browser.get(&ask(&format!("{url}/{bad}"))).await.status, StatusCode::BAD_REQUEST);
            assert!(began.elapsed() < Duration::from_secs(2), "{bad}: a failure is remembered");
        }
        // Ids that are no address of a document are nobody's.
        for bad in [format!("{url}/good?x=1"), format!("{url}/good#x"), url.clone(), format!("{url}/"), "http://10.0.0.1/x".to_owned(), "ftp://127.0.0.1/x".to_owned()] {
            assert_eq!(browser.get(&ask(&bad)).await.status, StatusCode::BAD_REQUEST, "{bad}");
        }
    })
    .await;
}

#[tokio::test]
async fn attack_10_a_document_is_fetched_from_public_addresses_only() {
    use dunet::odoo::AddressPolicy;
    use dunet::odoo::outside::{Outside, OutsideError};
    drop(rustls::crypto::ring::default_provider().install_default());
    let (url, _site) = serve(axum::Router::new().route("/x", axum::routing::get(|| async { axum::Json(json!({})) }))).await;
    let outside = Outside::new(AddressPolicy::PublicOnly, 5_120, Duration::from_secs(5)).unwrap();
    let port = url.rsplit(':').next().unwrap();
    for bad in [
        format!("{url}/x"),
        format!("https://127.0.0.1:{port}/x"),
        format!("https://[::1]:{port}/x"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://10.0.0.1/x".to_owned(),
        "https://[::ffff:127.0.0.1]/x".to_owned(),
        "https://0x7f.1/x".to_owned(),
        "https://user@example.com/x".to_owned(),
        "https://example.com:25/x".to_owned(),
    ] {
        let refused = outside.json(&bad.parse().unwrap()).await;
        assert!(matches!(refused, Err(OutsideError::Refused(_))), "{bad}: {refused:?}");
    }
    // A name that means this machine is refused at the connect.
    assert!(outside.json(&format!("https://localhost:{port}/x").parse().unwrap()).await.is_err());
    let here = Outside::new(AddressPolicy::AllowPrivate, 5_120, Duration::from_secs(5)).unwrap();
    assert!(here.json(&format!("{url}/x").parse().unwrap()).await.is_ok());
}

#[tokio::test]
async fn attack_11_a_flood_of_registrations_ends() {
    TestApp::everywhere_with(&["--oauth-registrations-per-minute", "5", "--oauth-authorizations-per-minute", "5"], |app| async move {
        let metadata = json!({ "redirect_uris": [REDIRECT] });
        let register = async |body: String| send("POST", &format!("{}/oauth/register", app.base), &[("content-type", "application/json")], body).await;
        let program = Program::registered_with(&app, &metadata).await;
        let mut answers = Vec::new();
        for _ in 0..8 {
            answers.push(register(metadata.to_string()).await);
        }
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 4);
        let limited = answers.last().unwrap();
        assert!(limited.status == 429 && limited.header("retry-after").parse::<u64>().unwrap() >= 1 && limited.json()["error"].is_string());
        // Nor is what is kept for a browser without an end.
        let browser = Browser::new(&app);
        let mut last = StatusCode::OK;
        for _ in 0..8 {
            last = browser.get(&program.ask()).await.status;
        }
        assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    })
    .await;
    TestApp::everywhere(|app| async move {
        let register = async |body: String| send("POST", &format!("{}/oauth/register", app.base), &[("content-type", "application/json")], body).await;
        for bad in [
            json!({}),
            json!({ "redirect_uris": [] }),
            json!({ "redirect_uris": "x" }),
            json!([]),
            json!({ "redirect_uris": vec![REDIRECT; 21] }),
            json!({ "redirect_uris": [format!("https://a.do/{}", "x".repeat(2_000))] }),
            json!({ "redirect_uris": [REDIRECT], "client_name": "x".repeat(81) }),
            json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "private_key_jwt" }),
            json!({ "redirect_uris": [REDIRECT], "grant_types": ["client_credentials"] }),
            json!({ "redirect_uris": [REDIRECT], "response_types": ["token"] }),
        ] {
            let refused = register(bad.to_string()).await;
            assert!(refused.status == 400 && refused.json()["error"].as_str().unwrap().starts_with("invalid_"), "{bad}: {}", refused.text);
        }
        assert_eq!(register("x".repeat(100_000)).await.status, 413);
    })
    .await;
}

#[tokio::test]
async fn attack_12_a_token_opens_no_portal_and_a_cookie_no_door() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let operator = app.operator().await;
        let (access, refresh) = Program::registered(&app).await.connected(&browser).await;
        for token in [&tenant.token, &access, &refresh] {
            let bearer = format!("Bearer {token}");
            for path in ["/admin/api/clients", "/admin/api/panel"] {
                let refused = send("GET", &format!("{}{path}", app.base), &[("authorization", &bearer)], "").await;
                assert_eq!(refused.status, 401, "{path}");
            }
            let page = send("GET", &format!("{}/admin/autorizar/{}", app.base, tenant.id), &[("authorization", &bearer), ("cookie", &encoded(&[("dunet", token)]))], "").await;
            assert!(!page.text.contains("Ferretería"), "{}", page.text);
        }
        for signed_in in [&browser, &operator] {
            let cookie = format!("dunet={}", signed_in.cookie("dunet").unwrap());
            let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} }).to_string();
            let refused = send("POST", &app.mcp_url(), &[("cookie", &cookie), ("content-type", "application/json")], body).await;
            assert_eq!(refused.status, 401);
            let bearer = format!("Bearer {}", signed_in.cookie("dunet").unwrap());
            assert_eq!(send("POST", &app.mcp_url(), &[("authorization", &bearer)], "").await.status, 401);
        }
    })
    .await;
}

#[tokio::test]
async fn attack_05_a_refused_renewal_says_nothing_of_others() {
    TestApp::everywhere(|app| async move {
        // What is nobody's, and what is another's, are told in the same way.
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let (program, other) = (Program::registered(&app).await, Program::registered(&app).await);
        let (_, refresh) = program.connected(&browser).await;
        let (path, page) = program.consent_page(&browser, &program.ask()).await;
        assert!(!ticks(&page).is_empty() && browser.get(&path).await.status == StatusCode::OK, "looking changes nothing");
        let foreign = other.refresh(&refresh).await;
        assert_eq!((foreign.status, &foreign.json()["error"]), (400, &json!("invalid_grant")));
        assert_eq!(program.refresh(&refresh).await.status, 200);
    })
    .await;
}
