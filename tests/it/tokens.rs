//! Tokens, the vault and the audit: who gets in, what is kept of it, and what is never kept.
//!
//! Numbers in comments are those of the attack list (platform reference, §3C).

use std::sync::{Arc, Mutex};

use dunet::db::entities::{api_tokens, clients, logs};
use dunet::domain::audit::chain_verify;
use dunet::domain::tenants::{TenantEdit, WritePolicy};
use dunet::domain::tokens::{NewToken, ROTATION_GRACE_S_MAX, TokenError};
use dunet::domain::vault::Vault;
use dunet::http::HttpSettings;
use dunet::ids::{TenantId, TokenId};
use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, IntoActiveModel, ModelTrait, QueryOrder, Set};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::support::mcp::{Answer, LEGACY, McpClient, send};
use crate::support::{TestApp, VAULT_KEY, actor, backends, serve};

/// A master key of another time.
const NEW_KEY: [u8; 32] = [9; 32];

impl TestApp {
    async fn ping(&self, token: &str) -> Answer {
        self.client(token).request("ping", json!({})).await
    }

    async fn ping_with(&self, authorization: &str) -> Answer {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
        McpClient::anonymous(&self.mcp_url()).raw(body, &[("authorization", authorization)]).await
    }

    async fn issue_until(&self, tenant: TenantId, expires_at: Option<chrono::DateTime<chrono::Utc>>) -> (TokenId, String) {
        let new = NewToken { name: "con fin".to_owned(), packs: None, language: None, expires_at };
        let issued = self.state.tokens.token_issue(tenant, new, &actor()).await.expect("a token");
        (issued.id, issued.token.expose_secret().to_owned())
    }
}

fn assert_refused(answer: &Answer, what: &str) {
    assert_eq!((answer.status, answer.code()), (401, -31001), "{what}: {}", answer.text);
    let challenge = answer.header("www-authenticate");
    assert!(challenge.starts_with("Bearer realm=\"dunet\", error=\"invalid_token\""), "{what}: {challenge}");
}

/// 1: missing, garbage, mistyped, unknown, expired, revoked; 3: in the query string.
#[tokio::test]
async fn attack_01_03_only_a_good_token_gets_in() {
    TestApp::everywhere_with(&["--failed-auth-per-minute", "1000"], |app| async move {
        let tenant = app.tenant("Uno").await;
        let good = tenant.token.as_str();
        assert_eq!(app.ping(good).await.status, 200);

        // Without any, the challenge names no error (RFC 6750 §3.1).
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
        for path in ["", "?token=T", "?access_token=T", "?api_key=T&authorization=Bearer%20T"] {
            let url = format!("{}{}", app.mcp_url(), path.replace('T', good));
            let answer = send("POST", &url, &[("content-type", "application/json")], body.clone()).await;
            assert_eq!((answer.status, answer.code()), (401, -31001), "{path}");
            let challenge = answer.header("www-authenticate");
            assert!(challenge.starts_with("Bearer realm=\"dunet\", resource_metadata=") && !challenge.contains("error"), "{path}: {challenge}");
            assert!(!answer.text.contains(&good[20..]), "{path}");
        }

        let mut typo = good.to_owned();
        let last = typo.pop().unwrap();
        typo.push(if last == 'x' { 'y' } else { 'x' });
        // Of the right form, and nobody's: issued by another service.
        let stranger = TestApp::start(app.backend, &[]).await;
        let unknown = stranger.tenant("Otro").await.token;
        let (twice, capitals, long) = (format!("{good}{good}"), good.to_uppercase(), "A".repeat(7_000));
        for (token, what) in [
            ("x", "garbage"),
            ("dunet_live_", "a prefix"),
            (&good[..good.len() - 1], "cut"),
            (&twice, "twice"),
            (typo.as_str(), "mistyped"),
            (&capitals, "in capitals"),
            (unknown.as_str(), "unknown"),
            ("eyJhbGciOiJub25lIn0.e30.", "a JWT"),
            (&long, "long"),
        ] {
            assert_refused(&app.ping(token).await, what);
        }
        let basic = format!("Basic {}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("dunet:{good}")));
        for header in
            [basic.as_str(), good, &format!("Token {good}"), "Bearer", &format!("Bearer{good}"), &format!("Bearer {good} {good}"), &format!("Bearer {good}, Bearer {good}")]
        {
            assert_refused(&app.ping_with(header).await, header);
        }
        for header in [format!("bearer {good}"), format!("BEARER {good}"), format!("Bearer   {good}")] {
            assert_eq!(app.ping_with(&header).await.status, 200, "{header}");
        }

        // Expired: to the moment, though it was just remembered as good.
        let end = app.clock.now() + chrono::Duration::seconds(60);
        let (_, ending) = app.issue_until(tenant.id, Some(end)).await;
        assert_eq!(app.ping(&ending).await.status, 200);
        app.clock.advance(chrono::Duration::seconds(59));
        assert_eq!(app.ping(&ending).await.status, 200);
        app.clock.advance(chrono::Duration::seconds(1));
        assert_refused(&app.ping(&ending).await, "expired");

        // Revoked: at once.
        app.state.tokens.token_revoke(tenant.id, tenant.token_id, &actor()).await.unwrap();
        assert_refused(&app.ping(good).await, "revoked");
        app.state.tokens.token_revoke(tenant.id, tenant.token_id, &actor()).await.expect("revoking twice is fine");
    })
    .await;
}

/// 6: from outside one cannot tell a token that was good from one that never was.
#[tokio::test]
async fn attack_06_every_bad_token_gets_the_same_answer() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Uno").await;
        let (id, revoked) = app.token(tenant.id, None).await;
        app.state.tokens.token_revoke(tenant.id, id, &actor()).await.unwrap();
        let (_, expired) = app.issue_until(tenant.id, Some(app.clock.now() + chrono::Duration::seconds(1))).await;
        app.clock.advance(chrono::Duration::seconds(2));
        let mut answers = Vec::new();
        for token in [revoked.as_str(), &expired, "garbage", &tenant.token[..57]] {
            let answer = app.ping(token).await;
            answers.push((answer.status, answer.header("www-authenticate").to_owned(), answer.text));
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_token_is_within_reason() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Uno").await;
        let now = app.clock.now();
        for end in [now, now - chrono::Duration::seconds(1), now + chrono::Duration::days(5 * 366 + 1)] {
            let new = NewToken { name: "x".to_owned(), packs: None, language: None, expires_at: Some(end) };
            assert!(matches!(app.state.tokens.token_issue(tenant.id, new, &actor()).await, Err(TokenError::Invalid(_))), "{end}");
        }
        for name in ["", "  ", "dos\nlíneas", &"x".repeat(101)] {
            let new = NewToken { name: name.to_owned(), packs: None, language: None, expires_at: None };
            assert!(matches!(app.state.tokens.token_issue(tenant.id, new, &actor()).await, Err(TokenError::Invalid(_))), "{name:?}");
        }
    })
    .await;
}

/// Rotation: both work for the grace, which never outlives the old token's own end.
#[tokio::test]
async fn a_rotated_token_has_a_grace() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Uno").await;
        let (id, old) = app.token(tenant.id, Some(&["voice"])).await;
        assert_eq!(app.ping(&old).await.status, 200);
        let new = app.state.tokens.token_rotate(tenant.id, id, 600, &actor()).await.unwrap();
        let new_text = new.token.expose_secret().to_owned();
        assert_ne!(new_text, old);
        assert_eq!(app.client(&new_text).tool_names().await, app.client(&old).tool_names().await, "the same rights");
        assert!(!app.client(&new_text).tool_names().await.contains(&"buscar_contribuyente".to_owned()));
        app.clock.advance(chrono::Duration::seconds(599));
        assert_eq!(app.ping(&old).await.status, 200);
        app.clock.advance(chrono::Duration::seconds(1));
        assert_refused(&app.ping(&old).await, "after the grace");
        assert_eq!(app.ping(&new_text).await.status, 200);
        assert!(matches!(app.state.tokens.token_rotate(tenant.id, id, 0, &actor()).await, Err(TokenError::Invalid(_))), "an expired one is not rotated");

        // No grace at all: at once.
        let newest = app.state.tokens.token_rotate(tenant.id, new.id, 0, &actor()).await.unwrap();
        assert_refused(&app.ping(&new_text).await, "without a grace");
        assert_eq!(app.ping(newest.token.expose_secret()).await.status, 200);

        // An end of its own comes first, and the new one has it too.
        let end = app.clock.now() + chrono::Duration::seconds(100);
        let (id, old) = app.issue_until(tenant.id, Some(end)).await;
        let new = app.state.tokens.token_rotate(tenant.id, id, ROTATION_GRACE_S_MAX, &actor()).await.unwrap();
        let list = app.state.tokens.token_list(tenant.id).await.unwrap();
        let ends: Vec<_> = list.iter().filter(|view| view.id == id || view.id == new.id).map(|view| view.expires_at).collect();
        assert_eq!(ends, [Some(end), Some(end)]);
        app.clock.advance(chrono::Duration::seconds(100));
        assert_refused(&app.ping(&old).await, "past its own end");
        assert_refused(&app.ping(new.token.expose_secret()).await, "the new one ends then too");

        for grace in [-1, ROTATION_GRACE_S_MAX + 1] {
            assert!(matches!(app.state.tokens.token_rotate(tenant.id, tenant.token_id, grace, &actor()).await, Err(TokenError::Invalid(_))), "{grace}");
        }
    })
    .await;
}

/// 13: another tenant's token is no token.
#[tokio::test]
async fn attack_13_a_foreign_token_cannot_be_touched() {
    TestApp::everywhere(|app| async move {
        let (one, two) = (app.tenant("Uno").await, app.tenant("Dos").await);
        let rotated = app.state.tokens.token_rotate(two.id, one.token_id, 60, &actor()).await;
        assert!(matches!(rotated, Err(TokenError::Unknown(_))));
        assert!(matches!(app.state.tokens.token_revoke(two.id, one.token_id, &actor()).await, Err(TokenError::Unknown(_))));
        assert!(matches!(app.state.tokens.token_revoke(one.id, TokenId::new(), &actor()).await, Err(TokenError::Unknown(_))));
        assert_eq!(app.ping(&one.token).await.status, 200);
        assert!(app.state.tokens.token_list(two.id).await.unwrap().iter().all(|view| view.id != one.token_id));
        assert!(app.state.tokens.token_list(one.id).await.unwrap().iter().any(|view| view.id == one.token_id));
    })
    .await;
}

/// Takes down what is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn every_file(folder: &std::path::Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { every_file(&path, into) } else { into.push(path) }
    }
}

/// 22: nothing secret is stored or logged, at the most talkative level.
#[tokio::test]
async fn attack_22_no_secret_is_stored_or_logged() {
    let log = Log::default();
    let writer = log.clone();
    // As `telemetry` would filter it when everything is asked for.
    let filter = tracing_subscriber::EnvFilter::new("trace,rmcp=error,sqlx=warn,hyper=warn,h2=warn");
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(move || writer.clone()).finish();
    // With a second one alive tracing asks both, whichever thread meets a line of code first; with one alone it asks that thread's, and
    // other tests' threads have none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    // Of this thread, and the whole service of this test runs on it.
    let guard = tracing::subscriber::set_default(subscriber);
    let secrets = Arc::new(Mutex::new(Vec::<(String, &str)>::new()));
    let collected = Arc::clone(&secrets);
    TestApp::everywhere(move |app| {
        let collected = Arc::clone(&collected);
        async move {
            app.padron(3).await;
            let tenant = app.tenant("Uno").await;
            app.write_policy(tenant.id, WritePolicy::Confirm).await;
            let client = app.client(&tenant.token);
            client.call("buscar_cliente", json!({ "consulta": "a" })).await;
            let preview = client.call("crear_cliente", json!({ "nombre": "Perengano", "telefono": "809-555-0188" })).await;
            let code = preview["codigo_confirmacion"].as_str().unwrap().to_owned();
            client.call("crear_cliente", json!({ "nombre": "Perengano", "telefono": "809-555-0188", "codigo_confirmacion": code })).await;
            let rotated = app.state.tokens.token_rotate(tenant.id, tenant.token_id, 60, &actor()).await.unwrap().token.expose_secret().to_owned();
            let password = "contraseña-canario-Ñ7";
            let edit = TenantEdit { odoo_secret: Some(SecretString::from(password)), ..TenantEdit::default() };
            app.edit(tenant.id, edit).await;
            // A login that Odoo refuses must not repeat what it refused.
            assert_eq!(client.fail("buscar_cliente", json!({ "consulta": "a" })).await["codigo"], "odoo_credenciales");
            app.ping(&format!("{}x", tenant.token)).await;
            let url = format!("{}?token={}", app.mcp_url(), tenant.token);
            send("POST", &url, &[], "{}").await;
            app.usage_rows(4).await;
            app.state.tokens.last_used_flush().await.unwrap();
            let canaries = vec![
                (tenant.token[20..].to_owned(), "a token"),
                (rotated[20..].to_owned(), "a rotated token"),
                (tenant.sandbox.api_key().to_owned(), "an Odoo key"),
                (password.to_owned(), "an Odoo password"),
            ];
            let dump = app.dump().await;
            assert!(dump.len() > 12 && dump.iter().any(|line| line.contains("agente@demo")), "the dump sees what is there: {dump:?}");
            for (canary, what) in &canaries {
                for line in &dump {
                    assert!(!line.contains(canary), "{what} stands in {line}");
                }
            }
            let mut files = Vec::new();
            every_file(app.folder.path(), &mut files);
            assert!(!files.is_empty());
            for file in files {
                let bytes = std::fs::read(&file).unwrap();
                for (canary, what) in &canaries {
                    assert!(!bytes.windows(canary.len()).any(|window| window == canary.as_bytes()), "{what} stands in {}", file.display());
                }
            }
            collected.lock().unwrap().extend(canaries);
        }
    })
    .await;
    drop(guard);
    let text = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(text.contains("tool call") && text.contains("a token was refused"), "the log saw the story");
    for (canary, what) in secrets.lock().unwrap().iter() {
        let line = text.lines().find(|line| line.contains(canary.as_str()));
        assert!(line.is_none(), "{what} was logged: {line:?}");
    }
}

/// Failed tokens of one address have to wait; good ones of the same address do not.
#[tokio::test]
async fn attack_06_failures_are_limited_by_address() {
    TestApp::everywhere_with(&["--failed-auth-per-minute", "6"], |app| async move {
        let tenant = app.tenant("Uno").await;
        for turn in 0..6 {
            assert_eq!(app.ping("x").await.status, 401, "{turn}");
            assert_eq!(app.ping(&tenant.token).await.status, 200, "a good one costs nothing");
        }
        for token in ["x", "y"] {
            let answer = app.ping(token).await;
            assert_eq!((answer.status, answer.code()), (429, -31029), "{}", answer.text);
            let wait: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
            assert_eq!(answer.json()["error"]["data"]["retry_after_s"], wait);
        }
        assert_eq!(app.ping_with("Basic eDp5").await.status, 429, "every kind of failure is one");
        // Nobody believes what a stranger says of his address.
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
        for header in ["x-forwarded-for", "x-real-ip", "forwarded", "cf-connecting-ip"] {
            let answer = McpClient::anonymous(&app.mcp_url()).raw(body.clone(), &[(header, "203.0.113.77"), ("authorization", "Bearer x")]).await;
            assert_eq!(answer.status, 429, "{header}");
        }
        assert_eq!(app.ping(&tenant.token).await.status, 200);
        // A suspended tenant's token is known: that is no failure of this kind.
        app.edit(tenant.id, TenantEdit { active: Some(false), ..TenantEdit::default() }).await;
        assert_eq!(app.ping(&tenant.token).await.status, 403);
    })
    .await;
}

/// 38: while the database is away nobody is called a liar.
#[tokio::test]
async fn attack_38_a_token_that_cannot_be_checked_is_503() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Uno").await;
        let rename = async |from: &str, to: &str| app.state.db.execute_unprepared(&format!("alter table {from} rename to {to}")).await.unwrap();
        rename("api_tokens", "api_tokens_away").await;
        let answer = app.ping(&tenant.token).await;
        assert_eq!((answer.status, answer.code(), answer.header("retry-after")), (503, -31053, "5"), "{}", answer.text);
        assert!(!answer.text.contains("api_tokens"), "{}", answer.text);
        rename("api_tokens_away", "api_tokens").await;
        assert_eq!(app.ping(&tenant.token).await.status, 200, "a failure is not remembered");
    })
    .await;
}

#[tokio::test]
async fn the_last_use_is_written() {
    for backend in backends() {
        let mut app = TestApp::start(backend, &[]).await;
        let tenant = app.tenant("Uno").await;
        let (unused, _) = app.token(tenant.id, None).await;
        assert_eq!(app.ping(&tenant.token).await.status, 200);
        app.clock.advance(chrono::Duration::seconds(90));
        let (refused, _) = (app.ping("x").await, app.clock.advance(chrono::Duration::seconds(5)));
        assert_eq!(refused.status, 401);
        assert_eq!(app.ping(&tenant.token).await.status, 200);
        let at = app.clock.now();
        app.clock.advance(chrono::Duration::seconds(5));
        // At the latest when the service ends.
        app.stop().await;
        let list = app.state.tokens.token_list(tenant.id).await.unwrap();
        assert_eq!(list.iter().find(|view| view.id == tenant.token_id).unwrap().last_used_at, Some(at));
        assert_eq!(list.iter().find(|view| view.id == unused).unwrap().last_used_at, None);
    }
}

/// Every change is in its tenant's chain, and the chain shows what was done to it.
#[tokio::test]
async fn the_audit_is_a_chain() {
    TestApp::everywhere(|app| async move {
        let (one, two) = (app.tenant("Uno").await, app.tenant("Dos").await);
        let (id, _) = app.token(one.id, None).await;
        app.edit(one.id, TenantEdit { name: Some("Uno Más".to_owned()), odoo_secret: Some(SecretString::from("otra-clave")), ..TenantEdit::default() }).await;
        app.state.tokens.token_rotate(one.id, id, 60, &actor()).await.unwrap();
        app.state.tokens.token_revoke(one.id, id, &actor()).await.unwrap();
        let db = &app.state.db;
        assert_eq!(chain_verify(db, Some(one.id)).await.unwrap(), Ok(6));
        assert_eq!(chain_verify(db, Some(two.id)).await.unwrap(), Ok(2));
        let rows = logs::Entity::find().order_by_asc(logs::Column::Id).all(db).await.unwrap();
        let mine: Vec<&logs::Model> = rows.iter().filter(|row| row.client_id == Some(one.id.uuid())).collect();
        let actions: Vec<&str> = mine.iter().map(|row| row.action.as_str()).collect();
        assert_eq!(actions, ["tenant.add", "token.issue", "token.issue", "tenant.edit", "token.rotate", "token.revoke"]);
        assert!(mine.iter().all(|row| row.actor == "test"));
        let edit = mine[3];
        assert_eq!((&edit.before.as_ref().unwrap()["name"], &edit.after.as_ref().unwrap()["name"]), (&json!("Uno"), &json!("Uno Más")));
        assert_eq!(edit.after.as_ref().unwrap()["odoo_secret"], "replaced");

        // Changed, and changed back.
        let victim = mine[2].clone();
        let mut changed = victim.clone().into_active_model();
        changed.actor = Set("otro".to_owned());
        changed.update(db).await.unwrap();
        assert_eq!(chain_verify(db, Some(one.id)).await.unwrap(), Err(victim.id));
        let mut back = victim.clone().into_active_model();
        back.actor = Set("test".to_owned());
        back.reset_all().update(db).await.unwrap();
        assert_eq!(chain_verify(db, Some(one.id)).await.unwrap(), Ok(6));
        // Taken out.
        victim.clone().delete(db).await.unwrap();
        assert_eq!(chain_verify(db, Some(one.id)).await.unwrap(), Err(mine[3].id));
        victim.clone().into_active_model().insert(db).await.unwrap();
        // Moved to another tenant.
        let mut moved = victim.clone().into_active_model();
        moved.client_id = Set(Some(two.id.uuid()));
        moved.reset_all().update(db).await.unwrap();
        assert!(chain_verify(db, Some(one.id)).await.unwrap().is_err());
        assert!(chain_verify(db, Some(two.id)).await.unwrap().is_err());
    })
    .await;
}

/// Many changes of one tenant at once, by several processes, make one chain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_changes_make_one_chain() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Uno").await;
        let other = app.another_process().await;
        let mut changes = tokio::task::JoinSet::new();
        for turn in 0..24 {
            let tokens = if turn % 2 == 0 { app.state.tokens.clone() } else { other.tokens.clone() };
            changes.spawn(async move {
                let new = NewToken { name: format!("n{turn}"), packs: None, language: None, expires_at: None };
                tokens.token_issue(tenant.id, new, &actor()).await.map(|_| ())
            });
        }
        while let Some(done) = changes.join_next().await {
            done.unwrap().unwrap();
        }
        assert_eq!(chain_verify(&app.state.db, Some(tenant.id)).await.unwrap(), Ok(26));
    })
    .await;
}

/// 40: the keys change while calls go on; afterwards the old key is of no more use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_40_the_master_key_changes_under_way() {
    TestApp::everywhere(|app| async move {
        let mut tenants = Vec::new();
        for name in ["Uno", "Dos", "Tres"] {
            tenants.push(app.tenant(name).await);
        }
        // The service as it is restarted for the change: the new key, and the previous one.
        let state = app.another_process_with(Vault::from_keys(&NEW_KEY, Some(&VAULT_KEY))).await;
        let settings = HttpSettings {
            public_url: "http://127.0.0.1/".parse().unwrap(),
            allowed_origins: Vec::new(),
            trusted_proxies: Arc::default(),
            body_bytes_max: 100_000,
            request_timeout: std::time::Duration::from_secs(30),
            failed_auth_per_minute: 10,
            metrics_allowed: Arc::default(),
            stopping: tokio_util::sync::CancellationToken::new(),
        };
        let (url, _server) = serve(dunet::router(&state, &settings)).await;
        let calling = async {
            for turn in 0..30 {
                let tenant = &tenants[turn % 3];
                // Every call from cold, so that every call opens the secret.
                state.tokens.forget(tenant.id);
                state.connections.forget(tenant.id);
                McpClient::legacy(&format!("{url}/mcp"), &tenant.token).call("buscar_cliente", json!({ "consulta": "a" })).await;
            }
        };
        let by = actor();
        let ((), count) = tokio::join!(calling, state.tenants.keys_rotate(&by));
        assert_eq!(count.unwrap(), 3);
        assert_eq!(state.tenants.keys_rotate(&actor()).await.unwrap(), 0, "nothing is left to do");
        for tenant in &tenants {
            let count = chain_verify(&app.state.db, Some(tenant.id)).await.unwrap().unwrap();
            assert_eq!(count, 3, "added, token, re-wrapped");
        }
        // The new key alone opens everything; the old one alone nothing any more.
        for (key, opens) in [(NEW_KEY, true), (VAULT_KEY, false)] {
            let alone = app.another_process_with(Vault::from_keys(&key, None)).await;
            for tenant in &tenants {
                let tenant = alone.tenants.tenant_find(tenant.id).await.unwrap();
                assert_eq!(alone.connections.config(&tenant).is_ok(), opens);
            }
        }
        // A key that nobody knows stops the change instead of losing anything.
        let stranger = app.another_process_with(Vault::from_keys(&[1; 32], Some(&[2; 32]))).await;
        assert!(stranger.tenants.keys_rotate(&actor()).await.is_err());
    })
    .await;
}

/// An edit and a change of keys at the same moment lose neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_40_edits_and_rotation_do_not_undo_each_other() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Uno").await;
        let mut keys = (VAULT_KEY, NEW_KEY);
        for turn in 0..12 {
            let state = app.another_process_with(Vault::from_keys(&keys.1, Some(&keys.0))).await;
            let edits = async {
                let mut edits = tokio::task::JoinSet::new();
                for n in 0..4 {
                    let tenants = state.tenants.clone();
                    edits.spawn(async move {
                        let edit = match n {
                            0 => TenantEdit { name: Some(format!("Nombre {turn}")), ..TenantEdit::default() },
                            1 => TenantEdit { rnc: Some(format!("10100{turn:04}")), ..TenantEdit::default() },
                            2 => TenantEdit { odoo_login: Some(format!("usuario{turn}")), ..TenantEdit::default() },
                            _ => TenantEdit { odoo_database: Some(format!("base{turn}")), ..TenantEdit::default() },
                        };
                        tenants.tenant_edit(tenant.id, edit, &actor()).await
                    });
                }
                while let Some(done) = edits.join_next().await {
                    done.unwrap().unwrap();
                }
            };
            let by = actor();
            let ((), rotated) = tokio::join!(edits, state.tenants.keys_rotate(&by));
            // Re-wrapped now, or by the next run of the command; never undone.
            let again = state.tenants.keys_rotate(&actor()).await.unwrap();
            assert_eq!(rotated.unwrap() + again, 1, "turn {turn}: an edit wrote the old key back");
            let row = clients::Entity::find_by_id(tenant.id.uuid()).one(&app.state.db).await.unwrap().unwrap();
            let found = (row.name, row.rnc, row.odoo_login, row.odoo_database);
            let expected = (format!("Nombre {turn}"), Some(format!("10100{turn:04}")), Some(format!("usuario{turn}")), Some(format!("base{turn}")));
            assert_eq!(found, expected, "turn {turn}: an edit was lost");
            keys = (keys.1, [u8::try_from(turn + 20).unwrap(); 32]);
        }
    })
    .await;
}

/// What is remembered of one tenant is forgotten without touching another; 4: and no session outlives its token.
#[tokio::test]
async fn attack_04_a_remembered_token_is_forgotten_with_its_tenant_only() {
    TestApp::everywhere(|app| async move {
        let (one, two) = (app.tenant("Uno").await, app.tenant("Dos").await);
        assert_eq!((app.ping(&one.token).await.status, app.ping(&two.token).await.status), (200, 200));
        // What was done so far has been followed: nothing is forgotten for it any more.
        app.state.changes.look().await.unwrap();
        assert_eq!((app.ping(&one.token).await.status, app.ping(&two.token).await.status), (200, 200));
        // Straight into the table, past every operation: what is remembered still counts…
        for row in api_tokens::Entity::find().all(&app.state.db).await.unwrap() {
            let mut row = row.into_active_model();
            row.revoked_at = Set(Some(app.clock.now()));
            row.update(&app.state.db).await.unwrap();
        }
        assert_eq!((app.ping(&one.token).await.status, app.ping(&two.token).await.status), (200, 200));
        // …until that tenant is forgotten.
        app.state.tokens.forget(one.id);
        assert_eq!((app.ping(&one.token).await.status, app.ping(&two.token).await.status), (401, 200));
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } } });
        assert_eq!(app.client(&one.token).raw(body.to_string(), &[("mcp-session-id", "de-antes")]).await.status, 401, "4: a session is no way in");
    })
    .await;
}
