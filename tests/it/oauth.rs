//! Signing in from a program: from the bare address to a tool's answer, and everything that may happen to a grant afterwards.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dunet::domain::audit::chain_verify;
use dunet::domain::oauth::{NewApplication, OAuthError};
use dunet::domain::users::Level;
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::mcp::{Answer, McpClient, send};
use crate::support::oauth::{Program, REDIRECT, allow, form, grants, query, text, ticks};
use crate::support::portal::{Browser, PASSWORD};
use crate::support::{TestApp, actor, until};

/// One of a challenge's parameters.
fn parameter(answer: &Answer, name: &str) -> String {
    let header = answer.header("www-authenticate");
    let from = header.split(&format!("{name}=\"")).nth(1).unwrap_or_else(|| panic!("no {name} in {header}"));
    from.split('"').next().unwrap().to_owned()
}

async fn get(url: &str) -> Answer {
    send("GET", url, &[], "").await
}

#[tokio::test]
async fn from_the_bare_address_to_an_answer() {
    TestApp::everywhere(|app| async move {
        app.padron(50).await;
        let tenant = app.tenant("Ferretería").await;
        drop(app.member(tenant.id, "marta@ferre.do", Level::Owner).await);

        // What an agent finds, one step after the other.
        let refused = McpClient::anonymous(&app.mcp_url()).request("initialize", json!({})).await;
        assert_eq!((refused.status, parameter(&refused, "scope").as_str()), (401, "voice sales analyst writes"));
        assert!(!refused.header("www-authenticate").contains("error="), "nothing was sent");
        let resource = get(&parameter(&refused, "resource_metadata")).await.json();
        assert_eq!(resource["resource"], app.mcp_url());
        assert!(!resource["scopes_supported"].to_string().contains("offline_access"));
        let issuer = text(&json!({ "issuer": resource["authorization_servers"][0] }), "issuer");
        let server = get(&format!("{issuer}/.well-known/oauth-authorization-server")).await;
        assert!(server.header("content-type").starts_with("application/json"));
        let server = server.json();
        assert_eq!((&server["issuer"], &server["code_challenge_methods_supported"]), (&json!(issuer), &json!(["S256"])));
        assert!(server["token_endpoint_auth_methods_supported"].to_string().contains("\"none\""));
        assert_eq!((&server["client_id_metadata_document_supported"], &server["authorization_response_iss_parameter_supported"]), (&json!(true), &json!(true)));

        // It registers where it was told to, and sends a browser on its way: nobody is signed in there yet.
        let metadata = json!({ "client_name": "Claude", "redirect_uris": [REDIRECT], "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"], "token_endpoint_auth_method": "none", "application_type": "web" });
        let made = send("POST", &text(&server, "registration_endpoint"), &[("content-type", "application/json")], metadata.to_string()).await;
        assert_eq!(made.status, 201, "{}", made.text);
        assert!(made.json().get("client_secret").is_none());
        let program = Program { base: app.base.clone(), client_id: text(&made.json(), "client_id"), redirect_uri: REDIRECT.to_owned() };
        assert_eq!(text(&server, "authorization_endpoint"), format!("{}/admin/autorizar", app.base));
        let browser = Browser::new(&app);
        let begun = browser.get(&program.ask()).await;
        let path = begun.location().to_owned();
        let door = browser.get(&path).await;
        assert_eq!((begun.status, door.status), (StatusCode::SEE_OTHER, StatusCode::SEE_OTHER));
        let wanted = query(door.location()).remove("to").unwrap();
        assert_eq!(wanted, path);
        let door_path = door.location().to_owned();
        let csrf = browser.get(&door_path).await.hidden("csrf");
        let signed_in = browser.post_bare("/admin/entrar", &[("csrf", &csrf), ("email", "marta@ferre.do"), ("password", PASSWORD), ("to", &wanted)]).await;
        assert_eq!(signed_in.location(), path, "{}", signed_in.text);

        // And back to the question.
        let page = browser.get(&path).await;
        for part in ["Claude", "claude.ai", "marta@ferre.do", "Ferretería", "name=\"decision\" value=\"allow\""] {
            assert!(page.text.contains(part), "no {part} in {}", page.text);
        }
        let header = |name: &str| page.headers.get(name).unwrap().to_str().unwrap().to_owned();
        assert!(header("content-security-policy").contains("form-action 'self' https://claude.ai;") && header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!((header("x-frame-options").as_str(), header("cross-origin-opener-policy").as_str()), ("DENY", "unsafe-none"));
        let back = allow(&browser, &path, &page, &ticks(&page)).await;
        let address = back.location().to_owned();
        let answer = query(&address);
        assert!(address.starts_with(&format!("{REDIRECT}?")), "{address}");
        assert_eq!((answer["state"].as_str(), answer["iss"].as_str()), ("abc 123", issuer.as_str()));

        // The code becomes tokens, and the token opens the door.
        let tokens = program.change(&answer["code"], &[("resource", &app.mcp_url())]).await;
        assert_eq!((tokens.status, tokens.header("cache-control")), (200, "no-store"), "{}", tokens.text);
        let tokens = tokens.json();
        assert_eq!((&tokens["token_type"], &tokens["expires_in"], &tokens["scope"]), (&json!("Bearer"), &json!(3_600), &json!("voice sales analyst writes offline_access")));
        for client in [app.client(&text(&tokens, "access_token")), McpClient::modern(&app.mcp_url(), &text(&tokens, "access_token"))] {
            assert_eq!(client.tool_names().await.len(), dunet::tools::TOOLS.len());
            let found = client.call("buscar_cliente", json!({ "consulta": "Colegio Nuevo Amanecer" })).await;
            assert!(found.to_string().contains("Colegio Nuevo Amanecer"), "{found}");
        }
        // Its calls are its own: the grant stands where a token's id would.
        let rows = app.usage_rows(2).await;
        assert_eq!((rows[0].token_id, rows[1].token_id), (Some(grants(&app, tenant.id).await[0]), rows[0].token_id));
        assert!(chain_verify(&app.state.db, Some(tenant.id)).await.unwrap().is_ok());
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_not_there() {
    TestApp::everywhere(|app| async move {
        for path in ["", "/mcp"] {
            let found = get(&format!("{}/.well-known/oauth-protected-resource{path}", app.base)).await;
            assert_eq!((found.status, &found.json()["resource"]), (200, &json!(app.mcp_url())));
        }
        for path in [
            "/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server/mcp",
            "/.well-known/openid-configuration/mcp",
            "/.well-known/oauth-protected-resource/mcp/token",
            "/.well-known/oauth-protected-resource/otro",
            "/.well-known/jwks.json",
            "/mcp/.well-known/openid-configuration",
            "/authorize",
            "/token",
            "/register",
            "/oauth/authorize",
        ] {
            assert_eq!(get(&format!("{}{path}", app.base)).await.status, 404, "{path}");
        }
        // The other address knows nothing of all this.
        let refused = McpClient::anonymous(&format!("{}/mcp/token", app.base)).request("initialize", json!({})).await;
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Bearer realm=\"dunet\""));
        // By another name neither.
        let elsewhere = send("GET", &format!("{}/.well-known/oauth-authorization-server", app.base), &[("host", "rebound.example")], "").await;
        assert_eq!(elsewhere.status, 404);
        // Pages of any origin may ask: nothing there looks at cookies.
        let asked = send("GET", &format!("{}/.well-known/oauth-authorization-server", app.base), &[("origin", "http://localhost:6274")], "").await;
        assert_eq!((asked.status, asked.header("access-control-allow-origin")), (200, "*"));
        let headers = [("origin", "https://inspector.example"), ("access-control-request-method", "POST"), ("access-control-request-headers", "content-type,mcp-protocol-version")];
        for path in ["/oauth/token", "/oauth/register"] {
            let preflight = send("OPTIONS", &format!("{}{path}", app.base), &headers, "").await;
            assert_eq!((preflight.status, preflight.header("access-control-allow-origin"), preflight.header("access-control-allow-credentials")), (200, "*", ""), "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn both_kinds_of_token_have_their_doors() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let (access, _) = Program::registered(&app).await.connected(&browser).await;
        let ping = async |path: &str, token: &str| McpClient::legacy(&format!("{}{path}", app.base), token).request("ping", json!({})).await.status;
        assert_eq!((ping("/mcp", &access).await, ping("/mcp/token", &access).await), (200, 401));
        assert_eq!((ping("/mcp", &tenant.token).await, ping("/mcp/token", &tenant.token).await), (200, 200));
        // An hour, and not longer.
        app.clock.advance(chrono::Duration::seconds(3_599));
        assert_eq!(ping("/mcp", &access).await, 200);
        app.clock.advance(chrono::Duration::seconds(1));
        assert_eq!(ping("/mcp", &access).await, 401);
    })
    .await;
}

/// DESIGN §4, for access tokens too.
#[tokio::test]
async fn a_warm_call_of_a_program_reads_no_database() {
    TestApp::everywhere(|app| async move {
        use sea_orm::ConnectionTrait;
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let (access, _) = Program::registered(&app).await.connected(&browser).await;
        app.state.changes.look().await.unwrap();
        let client = app.client(&access);
        let calls = async || {
            client.call("buscar_cliente", json!({ "consulta": "a" })).await;
            assert!(!client.tool_names().await.is_empty());
        };
        calls().await;
        app.usage_rows(1).await;
        let tables = ["oauth_tokens", "oauth_grants", "oauth_clients", "memberships", "users", "clients", "client_tools", "plans", "tool_usage", "logs"];
        for table in tables {
            app.state.db.execute_unprepared(&format!("alter table {table} rename to {table}_away")).await.unwrap();
        }
        for _ in 0..3 {
            calls().await;
        }
        for table in tables {
            app.state.db.execute_unprepared(&format!("alter table {table}_away rename to {table}")).await.unwrap();
        }
        let rows = app.usage_rows(4).await;
        assert!(rows.iter().all(|row| row.counted && row.outcome == "ok"));
    })
    .await;
}

#[tokio::test]
async fn tokens_are_renewed_with_a_short_grace() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let program = Program::registered(&app).await;
        let (_, first) = program.connected(&browser).await;
        // From two machines at once: both get what works, and go on from it.
        let (one, two) = tokio::join!(program.refresh(&first), program.refresh(&first));
        assert_eq!((one.status, two.status), (200, 200), "{} {}", one.text, two.text);
        let (one, two) = (one.json(), two.json());
        for token in [&one, &two] {
            assert_eq!(app.client(&text(token, "access_token")).request("ping", json!({})).await.status, 200);
        }
        assert_ne!(one["refresh_token"], two["refresh_token"]);
        app.clock.advance(chrono::Duration::seconds(30));
        assert_eq!(program.refresh(&first).await.status, 200, "an answer that was lost");
        // Fewer packs may be asked for; more not.
        let asking = |scope: &'static str, token: String| {
            let program = program.clone();
            async move {
                form(&program.base, "/oauth/token", &[("grant_type", "refresh_token"), ("client_id", &program.client_id), ("refresh_token", &token), ("scope", scope)], &[]).await
            }
        };
        let narrow = asking("analyst", text(&one, "refresh_token")).await;
        assert_eq!((narrow.status, &narrow.json()["scope"]), (200, &json!("analyst offline_access")), "{}", narrow.text);
        assert_eq!(app.client(&text(&narrow.json(), "access_token")).tool_names().await, ["odoo_contexto"]);
        let again = program.refresh(&text(&narrow.json(), "refresh_token")).await;
        assert_eq!(again.json()["scope"], "voice sales analyst writes offline_access", "the grant is as wide as it was");
        // The member's days are over.
        app.clock.advance(chrono::Duration::days(90));
        assert_eq!(program.refresh(&text(&two, "refresh_token")).await.json()["error"], "invalid_grant");
    })
    .await;
}

#[tokio::test]
async fn a_program_with_a_document_needs_no_registration() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = std::sync::Arc::clone(&asked);
        let site = axum::Router::new().route(
            "/client",
            axum::routing::get(move |headers: http::HeaderMap| async move {
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let address = format!("http://{}/client", headers["host"].to_str().unwrap());
                axum::Json(json!({ "client_id": address, "client_name": "Editor", "redirect_uris": ["http://127.0.0.1/callback"], "grant_types": ["authorization_code", "refresh_token"] }))
            }),
        );
        let (url, _site) = crate::support::serve(site).await;
        let program = Program { base: app.base.clone(), client_id: format!("{url}/client"), redirect_uri: "http://127.0.0.1:49152/callback".to_owned() };
        let (_, page) = program.consent_page(&browser, &program.ask()).await;
        assert!(page.text.contains("Editor") && page.text.contains("127.0.0.1") && page.text.contains(&program.client_id), "{}", page.text);
        assert!(page.text.contains("corre en esta misma computadora"), "the warning about this very machine");
        assert!(!page.text.contains("Nadie ha comprobado"), "its site vouches for it");
        let (access, refresh) = program.connected(&browser).await;
        assert_eq!(app.client(&access).request("ping", json!({})).await.status, 200);
        assert_eq!(program.refresh(&refresh).await.status, 200);
        assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1, "the document is remembered");
    })
    .await;
}

#[tokio::test]
async fn a_machine_works_without_a_person() {
    TestApp::everywhere(|app| async move {
        let (tenant, other) = (app.tenant("Ferretería").await, app.tenant("Clínica").await);
        let oauth = &app.state.oauth;
        let new = |tenant, packs: &[&str]| NewApplication {
            name: "Central".to_owned(),
            redirect_uris: Vec::new(),
            tenant,
            machine_packs: Some(packs.iter().map(|pack| (*pack).to_owned()).collect()),
        };
        assert!(matches!(oauth.application_add(new(None, &["sales"]), &app.mcp_url(), &actor()).await, Err(OAuthError::Refused { .. })));
        assert!(matches!(oauth.application_add(new(Some(tenant.id), &["todo"]), &app.mcp_url(), &actor()).await, Err(OAuthError::Refused { .. })));
        let made = oauth.application_add(new(Some(tenant.id), &["analyst", "sales"]), &app.mcp_url(), &actor()).await.unwrap();
        let (id, secret) = (made.application.identifier.clone(), secrecy::ExposeSecret::expose_secret(made.secret.as_ref().unwrap()).to_owned());
        let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
        let ask = async |pairs: &[(&str, &str)], headers: &[(&str, &str)]| {
            let mut all = vec![("grant_type", "client_credentials")];
            all.extend_from_slice(pairs);
            form(&app.base, "/oauth/token", &all, headers).await
        };
        let issued = ask(&[("resource", &app.mcp_url())], &[("authorization", &basic)]).await;
        assert_eq!((issued.status, &issued.json()["scope"]), (200, &json!("sales analyst")), "{}", issued.text);
        assert!(issued.json().get("refresh_token").is_none());
        let access = text(&issued.json(), "access_token");
        let client = app.client(&access);
        assert!(client.tool_names().await.contains(&"crear_cliente".to_owned()));
        assert_eq!(ask(&[("client_id", &id), ("client_secret", &secret), ("scope", "analyst")], &[]).await.json()["scope"], "analyst");
        // Not without its secret, not wider, not as a program of people.
        for (pairs, headers, status, error) in [
            (vec![("client_id", id.as_str())], vec![], 401, "invalid_client"),
            (vec![("client_id", id.as_str()), ("client_secret", "x")], vec![], 401, "invalid_client"),
            (vec![("client_secret", secret.as_str())], vec![("authorization", basic.as_str())], 400, "invalid_request"),
            (vec![("scope", "voice")], vec![("authorization", basic.as_str())], 400, "invalid_scope"),
            (vec![("resource", "https://evil.com/mcp")], vec![("authorization", basic.as_str())], 400, "invalid_target"),
        ] {
            let refused = ask(&pairs, &headers).await;
            assert_eq!((refused.status, &refused.json()["error"]), (status, &json!(error)), "{pairs:?}");
        }
        // A program that registered itself is no machine.
        let program = Program::registered(&app).await;
        assert_eq!(ask(&[("client_id", &program.client_id)], &[]).await.json()["error"], "unauthorized_client");

        // It may ask about its own tokens, and nobody else's.
        let inspect = async |token: &str, headers: &[(&str, &str)]| form(&app.base, "/oauth/introspect", &[("token", token)], headers).await;
        let said = inspect(&access, &[("authorization", &basic)]).await.json();
        assert_eq!((&said["active"], &said["client_id"], &said["aud"], &said["scope"]), (&json!(true), &json!(id), &json!(app.mcp_url()), &json!("sales analyst")));
        let second = oauth.application_add(new(Some(other.id), &["sales"]), &app.mcp_url(), &actor()).await.unwrap();
        let foreign = format!("Basic {}", STANDARD.encode(format!("{}:{}", second.application.identifier, secrecy::ExposeSecret::expose_secret(second.secret.as_ref().unwrap()))));
        assert_eq!(inspect(&access, &[("authorization", &foreign)]).await.json(), json!({ "active": false }));
        assert_eq!(inspect(&tenant.token, &[("authorization", &basic)]).await.json(), json!({ "active": false }));
        assert_eq!(form(&app.base, "/oauth/introspect", &[("token", &access), ("client_id", &program.client_id)], &[]).await.status, 401);

        // Removed, it is nobody: at once here, and its tokens too.
        let listed: Vec<String> = oauth.application_list().await.unwrap().into_iter().map(|listed| listed.identifier).collect();
        assert_eq!(listed.len(), 2);
        oauth.application_remove(&id, &actor()).await.unwrap();
        assert_eq!((client.request("ping", json!({})).await.status, ask(&[], &[("authorization", &basic)]).await.status), (401, 401));
        assert!(matches!(oauth.application_remove(&id, &actor()).await, Err(OAuthError::Unknown(_))));
    })
    .await;
}

#[tokio::test]
async fn a_call_outside_of_the_grant_asks_for_more() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let program = Program::registered(&app).await;
        let address = program.allowed(&browser, &program.ask_with(&[("scope", "analyst openid")])).await;
        let tokens = program.change(&query(&address)["code"], &[]).await.json();
        let access = text(&tokens, "access_token");
        assert_eq!(tokens["scope"], "analyst offline_access");
        for client in [app.client(&access), McpClient::modern(&app.mcp_url(), &access)] {
            assert_eq!(client.tool_names().await, ["odoo_contexto"]);
            let refused = client.request("tools/call", json!({ "name": "buscar_productos", "arguments": { "consulta": "martillo" } })).await;
            assert_eq!(
                (refused.status, parameter(&refused, "error").as_str(), parameter(&refused, "scope").as_str()),
                (403, "insufficient_scope", "sales analyst"),
                "{}",
                refused.text
            );
            assert_eq!(parameter(&refused, "resource_metadata"), format!("{}/.well-known/oauth-protected-resource/mcp", app.base));
            assert_eq!(refused.json()["id"], 1);
            // What does not exist is unknown, as for everybody.
            let unknown = client.request("tools/call", json!({ "name": "no_existe", "arguments": {} })).await;
            assert_eq!((unknown.status, unknown.code()), (200, -32_602));
        }
        // A tool that the company switched off is unknown too, whatever the member would allow.
        let edit = dunet::domain::tenants::ToolEdit { enabled: Some(false), ..Default::default() };
        app.state.tenants.tool_edit(tenant.id, "buscar_productos", edit, &actor()).await.unwrap();
        app.state.tokens.forget(tenant.id);
        let unknown = app.client(&access).request("tools/call", json!({ "name": "buscar_productos", "arguments": {} })).await;
        assert_eq!((unknown.status, unknown.code()), (200, -32_602));
        // An API token of few packs is told nothing of scopes.
        let (_, narrow) = app.token(tenant.id, Some(&["analyst"])).await;
        assert_eq!(app.client(&narrow).request("tools/call", json!({ "name": "buscar_cliente", "arguments": {} })).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn a_member_gives_less_than_is_asked_for() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let owner = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let viewer = app.member(tenant.id, "juan@ferre.do", Level::Viewer).await;
        let program = Program::registered(&app).await;
        // Unticked tools are unknown, for good.
        let (path, page) = program.consent_page(&owner, &program.ask()).await;
        let some: Vec<String> = ticks(&page).into_iter().filter(|tool| tool != "crear_cliente" && tool != "odoo_contexto").collect();
        let back = allow(&owner, &path, &page, &some).await;
        let tokens = program.change(&query(back.location())["code"], &[]).await.json();
        assert_eq!(tokens["scope"], "voice sales writes offline_access", "no tool of analyst is left");
        let client = app.client(&text(&tokens, "access_token"));
        let names = client.tool_names().await;
        assert!(names.len() == some.len() && !names.contains(&"crear_cliente".to_owned()), "{names:?}");
        let unknown = client.request("tools/call", json!({ "name": "crear_cliente", "arguments": {} })).await;
        assert_eq!((unknown.status, unknown.code()), (200, -32_602));
        // Nothing ticked is no answer.
        let (path, page) = program.consent_page(&owner, &program.ask()).await;
        let again = allow(&owner, &path, &page, &[]).await;
        assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
        let back = allow(&owner, &path, &again, &["ver_cotizacion".to_owned()]).await;
        assert_eq!(back.status, StatusCode::SEE_OTHER, "{}", back.text);

        // Who may only look lets nobody write.
        let (_, page) = program.consent_page(&viewer, &program.ask()).await;
        assert!(!ticks(&page).iter().any(|tool| tool.starts_with("crear_")) && page.text.contains("solo lectura"), "{}", page.text);
        let (path, page) = program.consent_page(&viewer, &program.ask()).await;
        let mut all = ticks(&page);
        all.push("crear_cliente".to_owned());
        let back = allow(&viewer, &path, &page, &all).await;
        let access = text(&program.change(&query(back.location())["code"], &[]).await.json(), "access_token");
        let names = app.client(&access).tool_names().await;
        assert!(!names.iter().any(|tool| tool.starts_with("crear_")) && names.len() > 3, "{names:?}");
        let unknown = app.client(&access).request("tools/call", json!({ "name": "crear_cliente", "arguments": {} })).await;
        assert_eq!((unknown.status, unknown.code()), (200, -32_602));
    })
    .await;
}

#[tokio::test]
async fn the_right_company_is_chosen() {
    TestApp::everywhere(|app| async move {
        let (one, two, foreign) = (app.tenant("Ferretería").await, app.tenant("Clínica").await, app.tenant("Colegio").await);
        let browser = app.member(one.id, "marta@ferre.do", Level::Owner).await;
        let link = app
            .state
            .users
            .link_make(dunet::domain::users::NewLink::InviteMember { tenant: two.id, email: "marta@ferre.do".to_owned(), level: Level::Owner }, &actor())
            .await
            .unwrap();
        let path = format!("/admin/enlace/{}", secrecy::ExposeSecret::expose_secret(&link));
        assert_eq!(browser.post(&path, &path, &[]).await.status, StatusCode::SEE_OTHER);
        let program = Program::registered(&app).await;
        let (path, page) = program.consent_page(&browser, &program.ask()).await;
        assert!(page.text.contains("name=\"empresa\"") && !page.text.contains("value=\"allow\""), "first the company: {}", page.text);
        assert_eq!(browser.get(&format!("{path}?empresa={}", foreign.id)).await.status, StatusCode::NOT_FOUND);
        let page = browser.get(&format!("{path}?empresa={}", two.id)).await;
        // Somebody else's company is not to be had by writing it into the form.
        let (csrf, key) = (page.hidden("csrf"), page.hidden("form_key"));
        let (foreign, none) = (foreign.id.to_string(), dunet::ids::TenantId::new().to_string());
        for tenant in [&foreign, &none] {
            let tried =
                browser.post_bare(&path, &[("csrf", &csrf), ("form_key", &key), ("tenant", tenant), ("tools", "odoo_contexto"), ("days", "30"), ("decision", "allow")]).await;
            assert_eq!(tried.status, StatusCode::NOT_FOUND);
        }
        let back = allow(&browser, &path, &page, &ticks(&page)).await;
        let access = text(&program.change(&query(back.location())["code"], &[]).await.json(), "access_token");
        let instructions =
            app.client(&access).request("initialize", json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } })).await;
        assert!(instructions.text.contains("Clínica") && grants(&app, one.id).await.is_empty(), "{}", instructions.text);

        // Operators belong to no company.
        let operator = app.operator().await;
        let (path, page) = program.consent_page(&operator, &program.ask()).await;
        assert!(!page.text.contains("value=\"allow\"") && page.text.contains("Los operadores no pertenecen"), "{}", page.text);
        let csrf = page.hidden("csrf");
        let one = one.id.to_string();
        assert_eq!(
            operator.post_bare(&path, &[("csrf", &csrf), ("tenant", &one), ("tools", "odoo_contexto"), ("days", "30"), ("decision", "allow")]).await.status,
            StatusCode::NOT_FOUND
        );
        // They may say no.
        let back = operator.post_bare(&path, &[("csrf", &csrf), ("decision", "deny")]).await;
        let answer = query(back.location());
        assert_eq!((answer["error"].as_str(), answer["state"].as_str(), answer["iss"].as_str()), ("access_denied", "abc 123", app.base.as_str()));
        assert_eq!(operator.get(&path).await.status, StatusCode::BAD_REQUEST, "answered is answered");
    })
    .await;
}

#[tokio::test]
async fn a_form_sent_twice_lets_in_once() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let program = Program::registered(&app).await;
        let (path, page) = program.consent_page(&browser, &program.ask()).await;
        let tools = ticks(&page);
        let (one, two) = tokio::join!(allow(&browser, &path, &page, &tools), allow(&browser, &path, &page, &tools));
        assert_eq!((one.status, one.location()), (StatusCode::SEE_OTHER, two.location()));
        assert_eq!(grants(&app, tenant.id).await.len(), 1);
        // Opened again, it is over.
        assert_eq!(browser.get(&path).await.status, StatusCode::BAD_REQUEST);
    })
    .await;
}

#[tokio::test]
async fn a_grant_is_seen_and_ended() {
    TestApp::everywhere(|app| async move {
        let (tenant, other) = (app.tenant("Ferretería").await, app.tenant("Clínica").await);
        let (owner, viewer) = (app.member(tenant.id, "marta@ferre.do", Level::Owner).await, app.member(tenant.id, "juan@ferre.do", Level::Viewer).await);
        let (stranger, operator) = (app.member(other.id, "eva@clinica.do", Level::Owner).await, app.operator().await);
        let program = Program::registered(&app).await;
        let (by_owner, _) = program.connected(&owner).await;
        let (by_viewer, _) = program.connected(&viewer).await;
        let status = async |token: &str| app.client(token).request("ping", json!({})).await.status;
        assert_eq!((status(&by_owner).await, status(&by_viewer).await), (200, 200));
        let agents = format!("/admin/clients/{}/agents", tenant.id);
        let page = owner.get(&agents).await;
        assert!(page.text.matches("name=\"grant\"").count() == 2 && page.text.contains("claude.ai") && page.text.contains("Claude"), "{}", page.text);
        assert_eq!(viewer.get(&agents).await.text.matches("name=\"grant\"").count(), 1, "a viewer ends their own");
        assert_eq!(stranger.get(&agents).await.status, StatusCode::NOT_FOUND);
        let all = operator.get("/admin/agents").await;
        assert!(all.text.matches("name=\"grant\"").count() == 2 && all.text.contains("Ferretería"), "{}", all.text);
        assert!(owner.get("/admin/profile").await.text.matches("name=\"grant\"").count() == 1);
        let ids = grants(&app, tenant.id).await;
        let (first, second) = (ids[0].to_string(), ids[1].to_string());
        let end = format!("{agents}/revoke");
        // Nobody ends what is not theirs.
        assert_eq!(viewer.post(&agents, &end, &[("grant", &first)]).await.status, StatusCode::NOT_FOUND);
        assert_eq!(viewer.post("/admin/profile", "/admin/profile/agents", &[("grant", &first)]).await.status, StatusCode::NOT_FOUND);
        let theirs = format!("/admin/clients/{}/agents", other.id);
        assert_eq!(stranger.post(&theirs, &format!("{theirs}/revoke"), &[("grant", &first)]).await.status, StatusCode::NOT_FOUND);
        assert_eq!((status(&by_owner).await, status(&by_viewer).await), (200, 200));
        // At once, and for good.
        assert_eq!(viewer.post("/admin/profile", "/admin/profile/agents", &[("grant", &second)]).await.status, StatusCode::SEE_OTHER);
        assert_eq!((status(&by_owner).await, status(&by_viewer).await), (200, 401));
        assert_eq!(owner.post(&agents, &end, &[("grant", &first)]).await.status, StatusCode::SEE_OTHER);
        assert_eq!(status(&by_owner).await, 401);
        assert_eq!(owner.post(&agents, &end, &[("grant", &first)]).await.status, StatusCode::NOT_FOUND);
        let audit = owner.get(&format!("/admin/clients/{}/audit", tenant.id)).await.text;
        assert!(audit.contains("dejó entrar un programa") && audit.contains("quitó el acceso a un programa"), "{audit}");
        assert!(chain_verify(&app.state.db, Some(tenant.id)).await.unwrap().is_ok());
    })
    .await;
}

#[tokio::test]
async fn who_is_taken_out_takes_their_agents_along() {
    TestApp::everywhere(|app| async move {
        let (one, two) = (app.tenant("Uno").await, app.tenant("Dos").await);
        let owner = app.member(one.id, "marta@uno.do", Level::Owner).await;
        let (juan, eva) = (app.member(one.id, "juan@uno.do", Level::Owner).await, app.member(two.id, "eva@dos.do", Level::Owner).await);
        let operator = app.operator().await;
        let program = Program::registered(&app).await;
        let ((removed, refresh), (disabled, _)) = (program.connected(&juan).await, program.connected(&eva).await);
        let (of_owner, _) = program.connected(&owner).await;
        let status = async |token: &str| app.client(token).request("ping", json!({})).await.status;
        assert_eq!((status(&removed).await, status(&disabled).await, status(&of_owner).await), (200, 200, 200));
        let members = format!("/admin/clients/{}/members", one.id);
        let user = app.state.users.user_by_email("juan@uno.do").await.unwrap().to_string();
        assert_eq!(owner.post(&members, &format!("{members}/remove"), &[("user", &user)]).await.status, StatusCode::SEE_OTHER);
        until("the removed member's agent is refused", || async { status(&removed).await == 401 }).await;
        assert_eq!(program.refresh(&refresh).await.json()["error"], "invalid_grant");
        let user = app.state.users.user_by_email("eva@dos.do").await.unwrap().to_string();
        assert_eq!(operator.post("/admin/people", "/admin/people/disable", &[("user", &user)]).await.status, StatusCode::SEE_OTHER);
        until("the disabled member's agent is refused", || async { status(&disabled).await == 401 }).await;
        assert_eq!(operator.post("/admin/people", "/admin/people/enable", &[("user", &user)]).await.status, StatusCode::SEE_OTHER);
        app.state.tokens.forget(two.id);
        assert_eq!((status(&disabled).await, status(&of_owner).await), (401, 200), "it is for good, and others' go on");
        // A suspended company's agents are told so.
        app.edit(one.id, dunet::domain::tenants::TenantEdit { active: Some(false), ..Default::default() }).await;
        assert_eq!(status(&of_owner).await, 403);
    })
    .await;
}

#[tokio::test]
async fn a_token_is_given_back() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let (program, other) = (Program::registered(&app).await, Program::registered(&app).await);
        let (access, refresh) = program.connected(&browser).await;
        let give = async |client: &str, token: &str| form(&app.base, "/oauth/revoke", &[("token", token), ("client_id", client), ("token_type_hint", "x")], &[]).await.status;
        // Another's token, and what is none, are no error and change nothing.
        assert_eq!((give(&other.client_id, &refresh).await, give(&program.client_id, "x").await), (200, 200));
        assert_eq!(app.client(&access).request("ping", json!({})).await.status, 200);
        assert_eq!(give(&program.client_id, &refresh).await, 200);
        assert_eq!((app.client(&access).request("ping", json!({})).await.status, program.refresh(&refresh).await.status), (401, 400));
        assert_eq!(give("dunet_app_x", &refresh).await, 401);
    })
    .await;
}

#[tokio::test]
async fn a_program_with_a_secret_shows_it() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let redirect = "https://chatgpt.com/connector/oauth/abc";
        let metadata = json!({ "redirect_uris": [redirect], "token_endpoint_auth_method": "client_secret_post" });
        let made = send("POST", &format!("{}/oauth/register", app.base), &[("content-type", "application/json")], metadata.to_string()).await.json();
        assert_eq!((&made["client_secret_expires_at"], &made["client_name"]), (&json!(0), &json!("chatgpt.com")));
        let (program, secret) = (Program { base: app.base.clone(), client_id: text(&made, "client_id"), redirect_uri: redirect.to_owned() }, text(&made, "client_secret"));
        let code = program.code(&browser).await;
        for other in [vec![], vec![("client_secret", "x")]] {
            let refused = program.change(&code, &other).await;
            assert_eq!((refused.status, &refused.json()["error"]), (401, &json!("invalid_client")));
        }
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:wrong", program.client_id)));
        let refused = form(&app.base, "/oauth/token", &[("grant_type", "authorization_code"), ("code", &code), ("code_verifier", "x")], &[("authorization", &basic)]).await;
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Basic realm=\"dunet\""));
        let tokens = program.change(&code, &[("client_secret", &secret)]).await;
        assert_eq!(tokens.status, 200, "{}", tokens.text);
        let said = form(&app.base, "/oauth/introspect", &[("token", &text(&tokens.json(), "refresh_token")), ("client_id", &program.client_id), ("client_secret", &secret)], &[])
            .await
            .json();
        assert_eq!((&said["active"], &said["token_type"]), (&json!(true), &json!("refresh_token")));
        // An operator's program of one company works for no other.
        let new = NewApplication { name: "Intranet".to_owned(), redirect_uris: vec![REDIRECT.to_owned()], tenant: Some(app.tenant("Clínica").await.id), machine_packs: None };
        let made = app.state.oauth.application_add(new, "", &actor()).await.unwrap();
        let bound = Program { base: app.base.clone(), client_id: made.application.identifier, redirect_uri: REDIRECT.to_owned() };
        let (_, page) = bound.consent_page(&browser, &bound.ask()).await;
        assert!(!page.text.contains("value=\"allow\"") && page.text.contains("no pertenece a una empresa"), "{}", page.text);
    })
    .await;
}

#[tokio::test]
async fn what_nobody_needs_is_forgotten() {
    TestApp::everywhere(|app| async move {
        use dunet::db::entities::{oauth_clients, oauth_codes, oauth_grants, oauth_requests, oauth_tokens};
        use sea_orm::{EntityTrait, PaginatorTrait};
        let tenant = app.tenant("Ferretería").await;
        let browser = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let (used, unused) = (Program::registered(&app).await, Program::registered(&app).await);
        let (_, refresh) = used.connected(&browser).await;
        let _never_changed = used.code(&browser).await;
        browser.get(&unused.ask()).await;
        let db = &app.state.db;
        let counts = async || {
            [
                oauth_clients::Entity::find().count(db).await.unwrap(),
                oauth_requests::Entity::find().count(db).await.unwrap(),
                oauth_codes::Entity::find().count(db).await.unwrap(),
                oauth_grants::Entity::find().count(db).await.unwrap(),
                oauth_tokens::Entity::find().count(db).await.unwrap(),
            ]
        };
        assert_eq!(counts().await, [2, 1, 2, 2, 2]);
        app.state.oauth.prune().await.unwrap();
        assert_eq!(counts().await, [2, 1, 2, 2, 2], "not yet");
        app.clock.advance(chrono::Duration::hours(26));
        app.state.oauth.prune().await.unwrap();
        assert_eq!(counts().await, [1, 0, 0, 1, 1], "the refresh token and its program stay");
        assert_eq!(used.refresh(&refresh).await.status, 200);
        let gone = browser.get(&unused.ask()).await;
        assert!(gone.status == StatusCode::BAD_REQUEST && gone.text.contains("No conocemos este programa"), "{}", gone.text);
        app.clock.advance(chrono::Duration::days(190));
        app.state.oauth.prune().await.unwrap();
        assert_eq!(counts().await, [0, 0, 0, 0, 0]);
    })
    .await;
}

/// What a developer reads of a refusal.
#[tokio::test]
async fn refusals_are_json_with_a_reason() {
    TestApp::everywhere(|app| async move {
        for (pairs, status, error) in [
            (vec![], 400, "invalid_request"),
            (vec![("grant_type", "password"), ("client_id", "x")], 400, "unsupported_grant_type"),
            (vec![("grant_type", "authorization_code")], 401, "invalid_client"),
            (vec![("grant_type", "authorization_code"), ("client_id", "x"), ("code", "y"), ("code_verifier", "z")], 401, "invalid_client"),
            (vec![("grant_type", "refresh_token"), ("grant_type", "refresh_token")], 400, "invalid_request"),
        ] {
            let refused = form(&app.base, "/oauth/token", &pairs, &[]).await;
            let body: Value = refused.json();
            assert_eq!((refused.status, &body["error"]), (status, &json!(error)), "{pairs:?}");
            assert!(body["error_description"].is_string() && refused.header("cache-control") == "no-store");
        }
        let json = send("POST", &format!("{}/oauth/token", app.base), &[("content-type", "application/json")], "{}").await;
        assert_eq!((json.status, &json.json()["error"]), (400, &json!("invalid_request")));
        assert_eq!(send("GET", &format!("{}/oauth/token", app.base), &[], "").await.status, 405);
        let large = form(&app.base, "/oauth/token", &[("grant_type", &"x".repeat(20_000))], &[]).await;
        assert_eq!(large.status, 413);
    })
    .await;
}
