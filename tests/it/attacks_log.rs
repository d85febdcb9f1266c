//! Attacks on the log: the service itself, as a process of its own at its most talkative, with secrets that must not appear in what it prints
//! and texts that want to be lines of their own.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dunet::clock::Clock;
use dunet::demo::sandbox::SandboxOdoo;
use dunet::domain::tenants::{NewTenant, TenantEdit, WritePolicy};
use dunet::domain::tokens::NewToken;
use dunet::domain::vault::Vault;
use dunet::ids::TenantId;
use dunet::odoo::{AddressPolicy, OdooConfig, OdooLimits, ProtocolChoice};
use dunet::state::AppState;
use regex::Regex;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::support::mcp::{MODERN, McpClient, send};
use crate::support::odoo::settings;
use crate::support::{Backend, TestApp, VAULT_KEY, actor, backends, config, database, serve, until};

/// Everything.
const TALKATIVE: &str = "trace,rmcp::service=trace,rmcp::transport=trace,sqlx::query=trace,hyper::proto=trace,h2::codec=trace";
const ARGUMENT: &str = "Perengano Argumento Canario";

/// The service as a process, its output in a file.
struct Process {
    child: Child,
    state: AppState,
    folder: tempfile::TempDir,
    url: String,
}

impl Process {
    async fn start(backend: Backend, format: &str) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let folder = tempfile::tempdir().expect("a folder");
        let database_url = database(backend, folder.path()).await;
        let (state, _) = AppState::open(config(folder.path(), &database_url, &[]), Vault::from_keys(&VAULT_KEY, None), Clock::system()).await.expect("the state opens");
        dunet::db::prepare(&state.db, false).await.expect("migrated");
        std::fs::write(folder.path().join("key"), STANDARD.encode(VAULT_KEY)).expect("a key");
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_dunet"))
            .args(["serve", "--port", "0"])
            .env_clear()
            .env("DATABASE_URL", database_url.expose_secret())
            .env("DUNET_DATA_DIR", folder.path())
            .env("DUNET_VAULT_KEY_FILE", folder.path().join("key"))
            .env("DUNET_ALLOW_PRIVATE_ODOO", "true")
            .env("DUNET_LOG", TALKATIVE)
            .env("DUNET_LOG_FORMAT", format)
            .env("DUNET_TENANT_BURST_CALLS", "10000")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the same file"))
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut process = Self { child, state, folder, url: String::new() };
        until("the service is ready", || async { process.address().is_some() }).await;
        process.url = format!("http://{}/mcp", process.address().expect("it was there"));
        process
    }

    fn log(&self) -> String {
        String::from_utf8(std::fs::read(self.folder.path().join("log")).expect("the log")).expect("UTF-8")
    }

    fn address(&self) -> Option<String> {
        let log = self.log();
        let line = log.lines().find(|line| line.contains("ready") && line.contains("address"))?;
        let found = Regex::new(r"127\.0\.0\.1:\d+").expect("a pattern").find(line)?;
        Some(found.as_str().to_owned())
    }

    async fn tenant(&self, name: &str, sandbox: &SandboxOdoo, url: &str, wire: ProtocolChoice, secret: Option<&str>) -> (TenantId, String) {
        let mut odoo = settings(sandbox, url, wire);
        if let Some(secret) = secret {
            odoo.secret = SecretString::from(secret.to_owned());
        }
        let new = NewTenant { name: name.to_owned(), rnc: None, plan: "pro".to_owned(), odoo: Some(odoo), tools: Vec::new() };
        let id = self.state.tenants.tenant_add(new, &actor()).await.expect("a tenant");
        let new = NewToken { name: "x".to_owned(), packs: None, language: None, expires_at: None };
        (id, self.state.tokens.token_issue(id, new, &actor()).await.expect("a token").token.expose_secret().to_owned())
    }

    /// Ends as systemd would end it, and gives everything it printed.
    async fn end(mut self) -> String {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        for _ in 0..800 {
            if self.child.try_wait().expect("waited").is_some() {
                return self.log();
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the service does not end");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An Odoo that answers every call with an error that repeats everything it was told, credentials included.
async fn parrot(headers: HeaderMap, body: Bytes) -> axum::response::Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    if body == "{}" {
        let version = json!({ "server_version": "19.0", "server_version_info": [19, 0, 0, "final", 0, ""], "server_serie": "19.0", "protocol_version": 1 });
        return axum::Json(json!({ "jsonrpc": "2.0", "id": null, "result": version })).into_response();
    }
    let all = format!("{headers:?} {body}");
    let told = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned() + " " + &all;
    let data = json!({ "name": "odoo.exceptions.UserError", "message": told, "arguments": [told], "debug": format!("Traceback (most recent call last):\n{told}") });
    if body.contains("\"jsonrpc\"") {
        return axum::Json(json!({ "jsonrpc": "2.0", "id": null, "error": { "code": 200, "message": "Odoo Server Error", "data": data } })).into_response();
    }
    (axum::http::StatusCode::UNPROCESSABLE_ENTITY, axum::Json(json!({ "name": "odoo.exceptions.UserError", "message": told, "arguments": [told], "context": {}, "debug": told })))
        .into_response()
}

/// 22: whatever is asked of the log, and whatever an Odoo repeats of what it was told: no token, key, password, code or master key is printed, nor
/// what a call was about.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_22_the_service_prints_no_secret() {
    for backend in backends() {
        for format in ["text", "json"] {
            let process = Process::start(backend, format).await;
            let sandbox = Arc::new(SandboxOdoo::dominican_sample("Discreta"));
            let (url, _server) = serve(Arc::clone(&sandbox).router()).await;
            let (echo, _echoing) = serve(axum::Router::new().fallback(parrot)).await;
            let mut secrets: Vec<(String, &str)> =
                vec![(STANDARD.encode(VAULT_KEY), "the master key"), (sandbox.api_key().to_owned(), "an Odoo key"), (ARGUMENT.to_owned(), "an argument")];
            for wire in [ProtocolChoice::Json2, ProtocolChoice::XmlRpc, ProtocolChoice::JsonRpc] {
                let (id, token) = process.tenant("Discreta", &sandbox, &url, wire, None).await;
                let client = McpClient::legacy(&process.url, &token);
                client.call("buscar_cliente", json!({ "consulta": ARGUMENT })).await;
                client.call("buscar_cliente", json!({ "consulta": "Pérez" })).await;
                client.fail("ver_cotizacion", json!({ "numero": "S99999" })).await;
                let mut write = json!({ "nombre": ARGUMENT, "telefono": format!("809-555-01{}", 70 + wire as u8), "clave": "clave-canaria-7" });
                let code = client.call("crear_cliente", write.clone()).await["codigo_confirmacion"].as_str().expect("a code").to_owned();
                write["codigo_confirmacion"] = json!(code);
                client.call("crear_cliente", write).await;
                let edit = TenantEdit { write_policy: Some(WritePolicy::Direct), ..TenantEdit::default() };
                process.state.tenants.tenant_edit(id, edit, &actor()).await.expect("edited");
                // Where tokens do not belong: the address, other headers, the body.
                send("POST", &format!("{}?access_token={token}", process.url), &[("x-api-key", &token), ("cookie", &format!("t={token}"))], token.clone()).await;
                McpClient::anonymous(&process.url).raw("{}", &[("authorization", &format!("Basic {token}"))]).await;
                McpClient::legacy(&process.url, &token[..57]).request("ping", json!({})).await;
                secrets.extend([(token[20..].to_owned(), "a token"), (code, "a confirmation code")]);
                for (name, secret) in [("Equivocada", "contraseña-canaria-Ñ7-equivocada"), ("Hexadecimal", "fedcba9876543210fedcba9876543210fedcba98")] {
                    for address in [&url, &echo] {
                        let (_, token) = process.tenant(name, &sandbox, address, wire, Some(secret)).await;
                        let error = McpClient::legacy(&process.url, &token).fail("buscar_cliente", json!({ "consulta": ARGUMENT })).await.to_string();
                        assert!(!error.contains(secret), "{wire}: shown to the agent: {error}");
                        secrets.push((token[20..].to_owned(), "a token"));
                    }
                    secrets.push((secret.to_owned(), "an Odoo password"));
                }
            }
            let log = process.end().await;
            assert!(log.contains("tool call") && log.contains("a tool failed") && log.contains("a token was refused") && log.contains("DEBUG"), "the log saw the story");
            for (secret, what) in &secrets {
                let line = log.lines().find(|line| line.contains(secret.as_str()));
                assert!(line.is_none(), "{what} was printed ({format}): {}", line.unwrap_or_default().chars().take(600).collect::<String>());
            }
        }
    }
}

/// 22: what a developer prints while looking for a fault shows no secret either.
#[tokio::test]
async fn attack_22_debug_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let database_url = SecretString::from("postgres://dunet:hunter2@127.0.0.1/dunet");
    let mut shown = vec![format!("{:?}", config(folder.path(), &database_url, &[]))];
    let odoo = OdooConfig {
        url: "https://acme.example".parse().unwrap(),
        database: "acme".to_owned(),
        login: "agente".to_owned(),
        secret: SecretString::from("hunter2"),
        protocol: ProtocolChoice::Auto,
        limits: OdooLimits::default(),
        addresses: AddressPolicy::PublicOnly,
    };
    shown.push(format!("{odoo:?}"));
    let mut app = TestApp::start(Backend::Sqlite, &[]).await;
    let tenant = app.tenant("Uno").await;
    let caller = app.state.tokens.verify(&tenant.token).await.unwrap();
    shown.push(format!("{caller:?}"));
    shown.push(format!("{:?}", tenant.sandbox));
    for text in &shown {
        assert!(!text.contains("hunter2") && !text.contains(&tenant.token[20..]) && !text.contains(tenant.sandbox.api_key()), "{text}");
    }
    app.stop().await;
}

const FORGED: &str = "\n2001-01-01T00:00:00.000000Z  INFO FALSIFICADA tenant.id=nadie outcome=ok\r\n\u{1b}[31m\u{1b}]0;FALSIFICADA\u{7}";

/// An Odoo whose every word wants to be a line of the log.
async fn liar(body: Bytes) -> axum::response::Response {
    if &body[..] == b"{}" {
        return parrot(HeaderMap::new(), body).await;
    }
    let data = json!({ "name": format!("odoo.exceptions.UserError{FORGED}"), "message": FORGED, "arguments": [FORGED], "debug": format!("Traceback (most recent call last):\n  File \"x\"{FORGED}\nValueError: {FORGED}") });
    axum::Json(json!({ "jsonrpc": "2.0", "id": null, "error": { "code": 200, "message": FORGED, "data": data } })).into_response()
}

/// 29: line breaks, escapes and fake lines in names, arguments, methods, paths and in what an Odoo says: every line of the log is one of ours,
/// in text and in JSON.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_29_no_line_of_the_log_is_forged() {
    let ours = Regex::new(r"^20[2-9]\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z +(TRACE|DEBUG|INFO|WARN|ERROR) ").unwrap();
    for format in ["text", "json"] {
        let process = Process::start(Backend::Sqlite, format).await;
        let sandbox = Arc::new(SandboxOdoo::dominican_sample("Honesta"));
        let (url, _server) = serve(Arc::clone(&sandbox).router()).await;
        let (lies, _lying) = serve(axum::Router::new().fallback(liar)).await;
        let (_, honest) = process.tenant("Honesta", &sandbox, &url, ProtocolChoice::Json2, None).await;
        let (_, lied_to) = process.tenant("Engañada", &sandbox, &lies, ProtocolChoice::JsonRpc, None).await;
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": { "name": FORGED, "version": FORGED },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        for token in [&honest, &lied_to] {
            let client = McpClient::legacy(&process.url, token);
            for name in ["buscar_cliente", FORGED] {
                let body = json!({ "jsonrpc": "2.0", "id": FORGED, "method": "tools/call", "params": { "name": name, "arguments": { "consulta": FORGED, FORGED: FORGED }, "_meta": meta } });
                let name = if name == FORGED { format!("=?base64?{}?=", STANDARD.encode(FORGED)) } else { name.to_owned() };
                client.raw(body.to_string(), &[("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", &name)]).await;
            }
            client.call_result("buscar_cliente", json!({ "consulta": "Pérez" })).await;
            client.call_result("ver_cotizacion", json!({ "numero": FORGED })).await;
            client.raw(json!({ "jsonrpc": "2.0", "id": 1, "method": FORGED }).to_string(), &[]).await;
            client.raw(FORGED, &[("user-agent", "FALSIFICADA\t2001-01-01T00:00:00Z")]).await;
        }
        let base = process.url.trim_end_matches("/mcp");
        for path in ["/mcp%0a2001-01-01T00:00:00Z%20INFO%20FALSIFICADA", "/%0d%0aFALSIFICADA", "/mcp?x=%0aFALSIFICADA"] {
            send("GET", &format!("{base}{path}"), &[], "").await;
        }
        let log = process.end().await;
        assert!(log.contains("FALSIFICADA") && log.contains("a tool failed"), "{format}: what was said is in the log, as data");
        for line in log.lines() {
            if format == "json" {
                assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line["timestamp"].as_str().is_some_and(|time| !time.starts_with("2001"))), "{line}");
            } else if !line.starts_with("dunet: there is no operator yet") {
                assert!(ours.is_match(line), "{format}: a line that is none of ours: {line}");
            }
            assert!(!line.chars().any(char::is_control), "{format}: {line:?}");
        }
    }
}

/// 29: an answer carries what was sent as JSON text only: no header is split, no control character comes back raw.
#[tokio::test]
async fn attack_29_no_answer_is_split() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Uno").await;
        let client = app.client(&tenant.token);
        for body in [
            json!({ "jsonrpc": "2.0", "id": FORGED, "method": "ping" }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": FORGED }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": FORGED, "arguments": {} } }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "ver_cotizacion", "arguments": { "numero": FORGED } } }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "buscar_cliente", "arguments": { "consulta": "<script>alert(1)</script>" } } }),
        ] {
            let answer = client.raw(body.to_string(), &[]).await;
            assert!(answer.header("content-type").starts_with("application/json") && answer.header("x-content-type-options") == "nosniff", "{:?}", answer.headers);
            assert!(!answer.text.chars().any(char::is_control), "{:?}", answer.text);
            assert!(answer.headers.iter().all(|(_, value)| !value.to_str().unwrap_or_default().contains("FALSIFICADA")), "{:?}", answer.headers);
        }
    })
    .await;
}
