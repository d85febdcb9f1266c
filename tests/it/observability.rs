//! What can be seen from outside: readiness, metrics, traces, logs; and that no secret is in any of it.
//!
//! Numbers in comments are those of the attack list (platform reference, §3C).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dunet::domain::tenants::NewOdoo;
use dunet::http::HttpSettings;
use dunet::odoo::ProtocolChoice;
use sea_orm::ConnectionTrait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::support::mcp::{Answer, LEGACY, MODERN, McpClient, send, with_meta};
use crate::support::{Backend, Porter, TestApp, VAULT_KEY, actor, backends, serve, setting, until};

/// A taxpayer that every sample listing has.
const RNC: &str = "131793916";

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

// ---------------------------------------------------------------------------------------------------------------- readiness

async fn readyz(base: &str) -> (u16, Value) {
    let answer = send("GET", &format!("{base}/readyz"), &[], "").await;
    (answer.status, answer.json())
}

fn ready(status: &str, database: &str, padron: &str) -> Value {
    json!({ "status": status, "checks": { "database": { "status": database }, "padron": { "status": padron }, "journal": { "status": "ok" } } })
}

/// A door of the same service with other settings.
async fn door(app: &TestApp, change: impl FnOnce(&mut HttpSettings)) -> (String, AbortOnDropHandle<()>) {
    let mut settings = HttpSettings {
        public_url: "http://127.0.0.1/".parse().expect("an address"),
        allowed_origins: Vec::new(),
        trusted_proxies: Arc::new(vec!["127.0.0.1/32".parse().expect("a network")]),
        body_bytes_max: 1 << 20,
        request_timeout: Duration::from_secs(30),
        failed_auth_per_minute: 1_000,
        metrics_allowed: Arc::new(vec!["127.0.0.1/32".parse().expect("a network"), "192.0.2.0/24".parse().expect("a network")]),
        stopping: CancellationToken::new(),
    };
    change(&mut settings);
    serve(dunet::router(&app.state, &settings)).await
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    TestApp::everywhere(|app| async move {
        // Two of the tools have nothing to answer from; the others work.
        assert_eq!(readyz(&app.base).await, (200, ready("degraded", "ok", "not_loaded")));
        app.padron(3).await;
        until("the listing is noticed", || async { readyz(&app.base).await == (200, ready("ok", "ok", "ok")) }).await;
        let stopping = CancellationToken::new();
        let (base, _door) = door(&app, |settings| settings.stopping = stopping.clone()).await;
        assert_eq!(readyz(&base).await.0, 200);
        stopping.cancel();
        let (status, body) = readyz(&base).await;
        assert_eq!((status, &body["status"], &body["stopping"]), (503, &json!("unavailable"), &json!(true)), "at once, whatever is remembered");
        assert_eq!(readyz(&app.base).await.0, 200, "the other door stays open");
        // Alive is another question.
        assert_eq!(send("GET", &format!("{base}/healthz"), &[], "").await.status, 200);
    })
    .await;
}

/// The database goes; the answer comes within a bounded time, says so and nothing else; and the database comes back.
#[tokio::test]
async fn a_database_that_is_gone_is_said_in_time() {
    for backend in backends() {
        let mut app = TestApp::start(backend, &[]).await;
        app.padron(3).await;
        until("ready", || async { readyz(&app.base).await.0 == 200 }).await;
        let gone = ready("unavailable", "no_answer", "ok");
        match backend {
            // A file that is open cannot be taken away: what can fail in the process is the pool.
            Backend::Sqlite => app.state.db.clone().close().await.unwrap(),
            Backend::Postgres => postgres(&app, |name| format!("alter database {name} with allow_connections false")).await,
        }
        let began = std::time::Instant::now();
        until("the loss is noticed", || async { readyz(&app.base).await == (503, gone.clone()) }).await;
        assert!(began.elapsed() < Duration::from_secs(9), "one look takes two seconds at most");
        if backend == Backend::Postgres {
            postgres(&app, |name| format!("alter database {name} with allow_connections true")).await;
            until("it is back", || async { readyz(&app.base).await.0 == 200 }).await;
        }
        app.stop().await;
    }
}

/// Changes this test's own database on the server, and cuts whoever is connected to it.
async fn postgres(app: &TestApp, sql: impl FnOnce(&str) -> String) {
    let url: url::Url = app.database_url.expose_secret().parse().unwrap();
    let name = url.path().trim_start_matches('/').to_owned();
    let admin = sea_orm::Database::connect(setting("DUNET_TEST_POSTGRES").unwrap()).await.unwrap();
    admin.execute_unprepared(&sql(&name)).await.unwrap();
    admin.execute_unprepared(&format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")).await.unwrap();
    admin.close().await.unwrap();
}

/// However often it is asked, the database is asked about once a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_readiness_costs_nothing() {
    let app = TestApp::start(Backend::Sqlite, &["--database-connections-max", "1"]).await;
    app.padron(3).await;
    // The only connection is taken: each look at the database waits for its two seconds.
    let held = sea_orm::TransactionTrait::begin(&app.state.db).await.unwrap();
    let began = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(readyz(&app.base).await.0, 503);
    }
    assert!(began.elapsed() < Duration::from_secs(30), "twenty looks would take forty seconds at least");
    held.rollback().await.unwrap();
    until("ready", || async { readyz(&app.base).await.0 == 200 }).await;
}

// ------------------------------------------------------------------------------------------------------------------ metrics

/// The samples of a page: name with labels → value.
async fn samples(base: &str) -> BTreeMap<String, f64> {
    let answer = send("GET", &format!("{base}/metrics"), &[], "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
    let mut all = BTreeMap::new();
    for line in answer.text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(all.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{name} stands twice");
        let family = name.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().fold(family, |family, end| family.strip_suffix(end).unwrap_or(family));
        assert!(answer.text.contains(&format!("# HELP {family} ")), "{family} is not described");
    }
    all
}

#[tokio::test]
async fn metrics_count_what_happened() {
    TestApp::everywhere(|app| async move {
        app.padron(5).await;
        let tenant = app.tenant("Uno").await;
        let client = app.client(&tenant.token);
        for _ in 0..3 {
            client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        }
        client.call("buscar_cliente", json!({ "consulta": "a" })).await;
        client.fail("consultar_rnc_dgii", json!({ "rnc": "abc" })).await;
        client.fail("consultar_rnc_dgii", json!({})).await;
        let stranger = McpClient::anonymous(&app.mcp_url());
        stranger.request("ping", json!({})).await;
        McpClient::legacy(&app.mcp_url(), "x").request("ping", json!({})).await;
        let rows = app.usage_rows(6).await;

        let samples = samples(&app.base).await;
        let get = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("{name} is missing in {samples:#?}"));
        let mut by_series: BTreeMap<String, f64> = BTreeMap::new();
        for row in &rows {
            let code = row.error_code.as_deref().unwrap_or_default();
            *by_series.entry(format!(r#"dunet_tool_calls_total{{tool="{}",outcome="{}",error_code="{code}"}}"#, row.tool, row.outcome)).or_default() += 1.0;
        }
        assert_eq!(by_series.len(), 4, "{by_series:?}");
        let counted: BTreeMap<String, f64> = samples.iter().filter(|(name, _)| name.starts_with("dunet_tool_calls_total")).map(|(name, value)| (name.clone(), *value)).collect();
        assert_eq!(counted, by_series, "what is counted is what is billed");
        assert_eq!(get(r#"dunet_tool_call_seconds_count{tool="consultar_rnc_dgii"}"#), 5.0);
        assert!(get(r#"dunet_tool_call_seconds_sum{tool="buscar_cliente"}"#) > 0.0);
        assert_eq!(get(r#"dunet_tool_odoo_seconds_count{tool="buscar_cliente"}"#), 1.0);
        assert_eq!(get(r#"dunet_tool_call_seconds_bucket{tool="buscar_cliente",le="+Inf"}"#), 1.0);
        // The search, and the requests of the log-in before it.
        assert!(get(r#"dunet_odoo_requests_total{outcome="answered"}"#) >= 2.0);
        assert_eq!(get(r#"dunet_odoo_requests_total{outcome="lost"}"#), 0.0);
        assert_eq!(get(r#"dunet_http_requests_total{path="/mcp",method="POST",status="200"}"#), 6.0);
        assert_eq!(get(r#"dunet_http_requests_total{path="/mcp",method="POST",status="401"}"#), 2.0);
        assert_eq!((get(r#"dunet_auth_refusals_total{reason="missing"}"#), get(r#"dunet_auth_refusals_total{reason="malformed"}"#)), (1.0, 1.0));
        assert_eq!((get("dunet_calls_in_flight"), get("dunet_usage_dropped_total"), get("dunet_padron_rows")), (0.0, 0.0, 5.0));
        assert_eq!(get("dunet_padron_cutoff_timestamp_seconds"), 1_795_219_200.0, "2026-11-21");
        assert_eq!(get(&format!(r#"dunet_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"))), 1.0);
        assert!(get("process_resident_memory_bytes") > 1e6 && get("process_open_fds") > 3.0);
        assert_eq!(get("process_start_time_seconds"), 1_795_359_600.0, "the clock of the test stands");
        assert!(get("dunet_warm_connections") <= 1.0 && get("dunet_usage_waiting_records") >= 0.0);
    })
    .await;
}

/// Who hangs up is counted too, and nobody stays in flight.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_hangs_up_is_counted() {
    TestApp::everywhere(|app| async move {
        let porter = Porter::new("Lenta").await;
        let (_, token) = app.tenant_at("Lenta", porter.odoo(ProtocolChoice::Json2)).await;
        // Else the watch may notice the new tenant in the middle, and the calls would wait for one log-in.
        app.state.changes.look().await.unwrap();
        let client = app.client(&token);
        client.call("buscar_cliente", json!({ "consulta": "a" })).await;
        porter.hold(true);
        let before = porter.asked().len();
        let mut calls = tokio::task::JoinSet::new();
        for letter in ["e", "i", "o", "r", "n"] {
            let client = client.clone();
            calls.spawn(async move { client.call_result("buscar_cliente", json!({ "consulta": letter })).await });
        }
        porter.until_asked(before + 5).await;
        assert_eq!(samples(&app.base).await["dunet_calls_in_flight"], 5.0);
        calls.shutdown().await;
        until("all are counted", || async {
            let samples = samples(&app.base).await;
            let get = |name: &str| samples.get(name).copied().unwrap_or_default();
            get(r#"dunet_http_requests_total{path="/mcp",method="POST",status="499"}"#) == 5.0
                && get(r#"dunet_tool_calls_total{tool="buscar_cliente",outcome="cancelled",error_code=""}"#) == 5.0
                && get("dunet_calls_in_flight") == 0.0
        })
        .await;
        porter.hold(false);
    })
    .await;
}

/// 15: no tenant is a label, and nobody outside makes a new series, whatever is sent.
#[tokio::test]
async fn a_flood_of_garbage_makes_no_series() {
    TestApp::everywhere_with(&["--failed-auth-per-minute", "5", "--tenant-burst-calls", "5000"], |app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Canario y Cía.").await;
        let flood = async |round: u32| {
            let client = app.client(&tenant.token);
            for n in 0..10 {
                let word = format!("basura{round}x{n}");
                send("GET", &format!("{}/{word}?{word}={word}", app.base), &[("user-agent", &word)], "").await;
                send("GET", &format!("{}/mcp/{word}", app.base), &[], "").await;
                // Letters only: a method is a token.
                let method: String = word.to_uppercase().chars().map(|c| if c.is_ascii_digit() { 'Q' } else { c }).collect::<String>() + &"Z".repeat(n as usize);
                send(&method, &format!("{}/mcp", app.base), &[], "").await;
                send("GET", &format!("{}/metrics", app.base), &[("x-real-ip", "203.0.113.9")], "").await;
                client.request("tools/call", json!({ "name": word, "arguments": { &word: word } })).await;
                client.request(&word, json!({})).await;
                client.raw(word.clone(), &[("user-agent", &word), ("mcp-protocol-version", &word), ("mcp-method", &word)]).await;
                client.raw("{}", &[("authorization", &format!("Bearer {word}"))]).await;
                client.raw("{}", &[("origin", &format!("http://{word}.example"))]).await;
                client.fail("consultar_rnc_dgii", json!({ "rnc": word, "extra": word })).await;
            }
            samples(&app.base).await
        };
        let first = flood(1).await;
        let second = flood(2).await;
        // The listing's own line: the first page was counted after it was written.
        let names = |samples: &BTreeMap<String, f64>| samples.keys().filter(|name| !name.contains(r#"path="/metrics""#)).cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&first), names(&second));
        let get = |name: &str| second[name];
        assert_eq!(get(r#"dunet_http_requests_total{path="other",method="GET",status="404"}"#), 40.0);
        assert_eq!(get(r#"dunet_http_requests_total{path="/metrics",method="GET",status="404"}"#), 20.0);
        let strange = |status: u16| get(&format!(r#"dunet_http_requests_total{{path="/mcp",method="other",status="{status}"}}"#));
        // Nothing was guessed: no limit.
        assert_eq!(strange(401), 20.0);
        assert!(get(r#"dunet_auth_refusals_total{reason="limited"}"#) > 0.0);
        assert!(second.len() < 400, "{} series", second.len());
        for name in second.keys() {
            assert!(!name.to_lowercase().contains("basura") && !name.contains("Canario") && !name.contains(&tenant.id.to_string()), "{name}");
        }
    })
    .await;
}

/// Behind a proxy on the same machine every peer is loopback: only the client's own address opens the page.
#[tokio::test]
async fn metrics_are_for_those_who_may() {
    TestApp::everywhere(|app| async move {
        let (base, _door) = door(&app, |_| {}).await;
        let page = |headers: Vec<(&'static str, &'static str)>| {
            let url = format!("{base}/metrics");
            async move { send("GET", &url, &headers, "").await }
        };
        for headers in [vec![], vec![("x-forwarded-for", "192.0.2.7")], vec![("x-forwarded-for", "203.0.113.9, 192.0.2.7")], vec![("x-forwarded-for", "127.0.0.1")]] {
            let answer = page(headers.clone()).await;
            assert_eq!(answer.status, 200, "{headers:?}");
            assert!(answer.text.contains("dunet_build_info"));
        }
        let unknown = send("GET", &format!("{base}/no-such-page"), &[], "").await;
        assert_eq!(unknown.status, 404);
        let shape = |answer: &Answer| {
            let mut headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
            headers.sort();
            (answer.status, answer.text.clone(), headers)
        };
        for headers in [
            vec![("x-forwarded-for", "203.0.113.9")],
            vec![("x-forwarded-for", "127.0.0.1, 203.0.113.9")],
            vec![("x-forwarded-for", "192.0.2.7"), ("x-forwarded-for", "203.0.113.9")],
            vec![("x-forwarded-for", "127.0.0.1, unknown")],
            vec![("x-forwarded-for", "unix:")],
            vec![("x-real-ip", "203.0.113.9")],
            vec![("forwarded", "for=127.0.0.1")],
            vec![("via", "1.1 proxy")],
            vec![("x-forwarded-for", "2001:db8::1")],
        ] {
            assert_eq!(shape(&page(headers.clone()).await), shape(&unknown), "{headers:?}");
        }
        for method in ["POST", "DELETE", "BREW"] {
            assert_eq!(send(method, &format!("{base}/metrics"), &[("x-forwarded-for", "203.0.113.9")], "").await.status, 404, "{method}");
            assert_eq!(send(method, &format!("{base}/metrics"), &[], "").await.status, 405, "{method}");
        }
        // Nobody is allowed by an empty list, and a peer that is no trusted proxy is not believed.
        let (closed, _door) = door(&app, |settings| settings.metrics_allowed = Arc::default()).await;
        assert_eq!(send("GET", &format!("{closed}/metrics"), &[], "").await.status, 404);
        let (direct, _door) = door(&app, |settings| {
            settings.trusted_proxies = Arc::default();
            settings.metrics_allowed = Arc::new(vec!["192.0.2.0/24".parse().unwrap()]);
        })
        .await;
        assert_eq!(send("GET", &format!("{direct}/metrics"), &[("x-forwarded-for", "192.0.2.7")], "").await.status, 404);
    })
    .await;
}

/// A request that takes too long is answered in the language of its door.
#[tokio::test]
async fn the_time_limit_speaks_json_rpc_to_agents() {
    TestApp::everywhere(|app| async move {
        let porter = Porter::new("Lenta").await;
        let (_, token) = app.tenant_at("Lenta", porter.odoo(ProtocolChoice::Json2)).await;
        let (base, _door) = door(&app, |settings| settings.request_timeout = Duration::from_millis(300)).await;
        porter.hold(true);
        let answer = McpClient::legacy(&format!("{base}/mcp"), &token).request("tools/call", json!({ "name": "buscar_cliente", "arguments": { "consulta": "a" } })).await;
        assert_eq!((answer.status, answer.header("content-type")), (504, "application/json"));
        let body = answer.json();
        assert_eq!((&body["jsonrpc"], &body["id"], &body["error"]["code"]), (&json!("2.0"), &Value::Null, &json!(-31053)));
        assert!(uuid::Uuid::parse_str(answer.header("x-request-id")).is_ok());
        let rows = app.usage_rows(1).await;
        assert_eq!((rows.len(), rows[0].outcome.as_str()), (1, "cancelled"));
        porter.hold(false);
    })
    .await;
}

// --------------------------------------------------------------------------------------------------------- the binary's log

/// The program itself, serving what a test put into a database and a folder.
struct Program {
    child: Option<Child>,
    log: std::path::PathBuf,
    base: String,
}

impl Program {
    async fn start(folder: &Path, database: &SecretString, filter: &str, format: &str) -> Self {
        let key = folder.join("vault.key");
        std::fs::write(&key, STANDARD.encode(VAULT_KEY)).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let log = folder.join(format!("log-{}", uuid::Uuid::new_v4().simple()));
        let file = std::fs::File::create(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_dunet"))
            .args(["serve", "--port", "0"])
            .env_clear()
            .env("DATABASE_URL", database.expose_secret())
            .env("DUNET_DATA_DIR", folder)
            .env("DUNET_VAULT_KEY_FILE", &key)
            .env("DUNET_ALLOW_PRIVATE_ODOO", "true")
            .env("DUNET_LOG", filter)
            .env("DUNET_LOG_FORMAT", format)
            .env("DUNET_USAGE_FLUSH_MS", "20")
            .env("DUNET_TENANT_BURST_CALLS", "1000")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut program = Self { child: Some(child), log, base: String::new() };
        until("the program is ready", || async { program.address().is_some() }).await;
        program.base = format!("http://{}", program.address().unwrap());
        program
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// `address=127.0.0.1:4711` or `"address":"127.0.0.1:4711"`.
    fn address(&self) -> Option<SocketAddr> {
        let text = self.text();
        let line = text.lines().find(|line| line.contains("ready") && line.contains("public_url"))?;
        let rest = line.split("address").nth(1)?.trim_start_matches(['=', '"', ':']);
        rest.split(['"', ' ', ',']).next()?.parse().ok()
    }

    fn mcp(&self) -> String {
        format!("{}/mcp", self.base)
    }

    /// Stops it as an operator would and gives all it ever said.
    async fn stop(mut self) -> String {
        let mut child = self.child.take().unwrap();
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
        assert!(status.success(), "{status}");
        self.text()
    }
}

impl Drop for Program {
    /// A story that breaks off leaves nothing running.
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// A call with this `_meta` member and these headers more than usual.
async fn traced(client: &McpClient, in_meta: Option<&str>, headers: &[(&str, &str)]) -> Answer {
    let mut params = with_meta(json!({ "name": "consultar_rnc_dgii", "arguments": { "rnc": RNC } }));
    if let Some(value) = in_meta {
        params["_meta"]["traceparent"] = json!(value);
        params["_meta"]["tracestate"] = json!("vendor=canario-estado");
    }
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
    let mut all = vec![("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", "consultar_rnc_dgii")];
    all.extend(headers);
    client.raw(body, &all).await
}

/// The caller's trace is in the log, well formed or not at all; it decides nothing.
#[tokio::test]
async fn a_callers_trace_is_in_the_log() {
    for (backend, format) in backends().into_iter().flat_map(|backend| [(backend, "json"), (backend, "text")]) {
        let mut app = TestApp::start(backend, &[]).await;
        app.padron(3).await;
        let tenant = app.tenant("Uno").await;
        app.stop().await;
        let program = Program::start(app.folder.path(), &app.database_url, "info", format).await;
        let client = McpClient::modern(&program.mcp(), &tenant.token);
        let good = format!("00-{TRACE}-{PARENT}-01");
        let other = format!("00-{}-{}-00", TRACE.replace('4', "5"), PARENT.replace('f', "e"));
        let mut seen = Vec::new();
        let mut call = async |in_meta: Option<&str>, headers: &[(&str, &str)], trace: Option<&str>| {
            let answer = traced(&client, in_meta, headers).await;
            assert_eq!(answer.json()["result"]["structuredContent"]["encontrado"], true, "a trace decides nothing: {}", answer.text);
            seen.push((answer.header("x-request-id").to_owned(), trace.map(|trace| (trace[3..35].to_owned(), trace[36..52].to_owned()))));
        };
        call(None, &[], None).await;
        call(Some(&good), &[], Some(&good)).await;
        call(None, &[("traceparent", &good)], Some(&good)).await;
        call(Some(&good), &[("traceparent", &other)], Some(&good)).await;
        call(Some("canario-traza"), &[("traceparent", &other)], Some(&other)).await;
        for bad in [
            good.to_uppercase(),
            format!("{good}-x"),
            format!("01{}", &good[2..]),
            good.replace(TRACE, &"0".repeat(32)),
            format!("{good}{}", "a".repeat(5_000)),
            "\r\nx".to_owned(),
        ] {
            call(Some(&bad), &[], None).await;
        }
        call(None, &[("traceparent", "canario-traza")], None).await;
        // A refusal before the message is read has the header's.
        let refused = McpClient::anonymous(&program.mcp()).raw("{}", &[("traceparent", &other)]).await;
        assert_eq!(refused.status, 401);
        // Not text: the type is wrong in `_meta`.
        let body =
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "consultar_rnc_dgii", "arguments": { "rnc": RNC }, "_meta": { "traceparent": 5 } } });
        client.raw(body.to_string(), &[("mcp-protocol-version", LEGACY)]).await;
        let log = program.stop().await;
        for (id, trace) in seen {
            let line = log.lines().find(|line| line.contains("tool call") && line.contains(&id)).unwrap_or_else(|| panic!("{id} has no line in\n{log}"));
            match trace {
                Some((trace, parent)) if format == "json" => {
                    let line: Value = serde_json::from_str(line).unwrap();
                    let span = &line["spans"][0];
                    assert_eq!((span["trace.id"].as_str(), span["trace.parent"].as_str(), span["request.id"].as_str()), (Some(&*trace), Some(&*parent), Some(&*id)), "{line}");
                    assert_eq!(span["tenant.id"], json!(tenant.id.to_string()));
                }
                Some((trace, parent)) => {
                    assert_eq!((line.matches("trace.id=").count(), line.matches("trace.parent=").count()), (1, 1), "{line}");
                    assert!(
                        line.contains(&format!("trace.id=\"{trace}\" trace.parent=\"{parent}\"")) || line.contains(&format!("trace.id={trace} trace.parent={parent}")),
                        "{line}"
                    );
                }
                None => assert!(!line.contains("trace."), "{line}"),
            }
        }
        assert!(!log.contains("canario"), "{log}");
    }
}

/// Every line within a request says which, at every level of detail.
#[tokio::test]
async fn every_line_of_a_request_carries_its_id() {
    for backend in backends() {
        let mut app = TestApp::start(backend, &[]).await;
        app.padron(3).await;
        let tenant = app.tenant("Uno").await;
        let dead = tenant_with(&app, "Rota", "http://127.0.0.1:9", "clave").await;
        app.stop().await;
        // Where only what is broken is logged it must be possible to tell for whom, too. (The address is read from a line of `boot`.)
        for filter in ["trace", "warn,dunet::boot=info", "dunet::mcp=debug,dunet::boot=info"] {
            let program = Program::start(app.folder.path(), &app.database_url, filter, "json").await;
            let client = McpClient::legacy(&program.mcp(), &tenant.token);
            client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
            client.call("buscar_cliente", json!({ "consulta": "a" })).await;
            let preview = client.call("crear_cotizacion", json!({ "cliente": "Colegio Nuevo Amanecer", "lineas": [{ "producto": "CIN-005" }] })).await;
            let code = &preview["codigo_confirmacion"];
            client.call("crear_cotizacion", json!({ "cliente": "Colegio Nuevo Amanecer", "lineas": [{ "producto": "CIN-005" }], "codigo_confirmacion": code })).await;
            let broken = McpClient::legacy(&program.mcp(), &dead.1);
            let failed = broken.request("tools/call", json!({ "name": "buscar_cliente", "arguments": { "consulta": "a" } })).await;
            let failed_id = failed.header("x-request-id").to_owned();
            McpClient::legacy(&program.mcp(), "x").request("ping", json!({})).await;
            let log = program.stop().await;
            let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"))).collect();
            let mut of_requests = 0;
            for line in &lines {
                let spans = line["spans"].as_array().cloned().unwrap_or_default();
                let message = line["message"].as_str().unwrap_or_default();
                if let Some(request) = spans.iter().find(|span| span["name"] == "request") {
                    assert!(request["request.id"].as_str().is_some_and(|id| uuid::Uuid::parse_str(id).is_ok()), "{line}");
                    of_requests += 1;
                    if message == "tool call" || message == "a tool failed" || message.starts_with("connected to") {
                        assert!([tenant.id.to_string(), dead.0.to_string()].iter().any(|id| request["tenant.id"] == json!(id)), "{line}");
                    }
                } else {
                    let of_the_service = [
                        "ready",
                        "there is no operator yet",
                        "SIGTERM: draining",
                        "stopped",
                        "background task ended",
                        "systemd was not told",
                        "No pending migrations",
                        "this node leads",
                        "nodes that serve",
                    ];
                    let migrating = line["target"].as_str().is_some_and(|target| target.starts_with("sea_orm_migration"));
                    assert!(migrating || of_the_service.iter().any(|known| message.contains(known)), "outside of any request: {line}");
                }
            }
            let about = |message: &str| lines.iter().filter(|line| line["message"] == message).count();
            assert!(lines.iter().any(|line| line["message"] == "a tool failed" && line["spans"][0]["request.id"] == json!(failed_id)), "{filter}: {log}");
            assert!(of_requests >= 1, "{filter}");
            if filter == "trace" {
                assert_eq!((about("tool call"), about("a token was refused")), (5, 1), "{log}");
            }
        }
    }
}

/// A tenant whose Odoo is there, with that secret.
async fn tenant_with(app: &TestApp, name: &str, url: &str, secret: &str) -> (dunet::ids::TenantId, String) {
    let odoo = NewOdoo {
        url: url.parse().unwrap(),
        database: "demo".to_owned(),
        login: "agente".to_owned(),
        secret: SecretString::from(secret.to_owned()),
        protocol: ProtocolChoice::Auto,
    };
    app.tenant_at(name, odoo).await
}

// ------------------------------------------------------------------------------------------------------------ canary secrets

/// 22: tokens, keys, passwords, codes and arguments are in no log at any level, no metric, no health answer and no table.
#[tokio::test]
async fn no_secret_is_seen_anywhere() {
    for (backend, format) in backends().into_iter().flat_map(|backend| [(backend, "text"), (backend, "json")]) {
        let mut app = TestApp::start(backend, &[]).await;
        app.padron(3).await;
        let mut canaries: Vec<(&str, String)> = Vec::new();
        let mut database_url = app.database_url.clone();
        if backend == Backend::Postgres {
            // The server trusts us and does not ask for it; the program has it all the same.
            let mut url: url::Url = database_url.expose_secret().parse().unwrap();
            url.set_password(Some("canario-base-8842")).unwrap();
            canaries.push(("the database's password", "canario-base-8842".to_owned()));
            database_url = SecretString::from(url.to_string());
        }
        canaries.push(("the vault key", STANDARD.encode(VAULT_KEY)));
        let tenant = app.tenant("Uno").await;
        // Of a token its first part may be seen (`dunet_live_<8>`): it names the token.
        let tail = |token: &str| token[token.rfind('_').unwrap() + 1..].to_owned();
        canaries.push(("a token", tail(&tenant.token)));
        let misplaced = app.token(tenant.id, None).await.1;
        canaries.push(("a misplaced token", tail(&misplaced)));
        let (revoked_id, revoked) = app.token(tenant.id, None).await;
        app.state.tokens.token_revoke(tenant.id, revoked_id, &actor()).await.unwrap();
        canaries.push(("a revoked token", tail(&revoked)));
        canaries.push(("an Odoo API key", tenant.sandbox.api_key().to_owned()));
        // A second sandbox by password, over each of the older wires; and one whose password is wrong.
        let second = Porter::new("Dos").await;
        canaries.push(("an Odoo password", second.sandbox.password().to_owned()));
        let mut by_password = Vec::new();
        for protocol in [ProtocolChoice::JsonRpc, ProtocolChoice::XmlRpc, ProtocolChoice::Auto] {
            let odoo = NewOdoo { secret: SecretString::from(second.sandbox.password().to_owned()), ..second.odoo(protocol) };
            by_password.push(app.tenant_at("Dos", odoo).await.1);
            let odoo = NewOdoo { secret: SecretString::from("canario-clave-odoo-5521"), ..second.odoo(protocol) };
            by_password.push(app.tenant_at("Tres", odoo).await.1);
        }
        canaries.push(("a wrong Odoo password", "canario-clave-odoo-5521".to_owned()));
        by_password.push(tenant_with(&app, "Cuatro", "http://127.0.0.1:9", "canario-clave-muerta-77").await.1);
        canaries.push(("the key of an Odoo that is away", "canario-clave-muerta-77".to_owned()));
        canaries.push(("an argument", "canario-argumento-3107".to_owned()));
        canaries.push(("what was sent in a wrong place", "canario-lugar-6120".to_owned()));
        app.stop().await;

        // More than `trace`: each library by name, as somebody would who looks for a fault.
        let filter = "trace,hyper::proto=trace,hyper_util::client=trace,h2::codec=trace,reqwest::connect=trace,rustls::client=trace,sqlx::query=trace,sea_orm::database=trace,\
                      rmcp::service=trace,rmcp::transport=trace,tower_http::trace=trace,axum::rejection=trace";
        let program = Program::start(app.folder.path(), &database_url, filter, format).await;
        let mut calls = 0;
        for client in [McpClient::legacy(&program.mcp(), &tenant.token), McpClient::modern(&program.mcp(), &tenant.token)] {
            calls += call_everything(&client, "canario-argumento-3107").await;
            let quote = json!({ "cliente": "Colegio Nuevo Amanecer", "lineas": [{ "producto": "CIN-005", "cantidad": 1 }] });
            let preview = client.call("crear_cotizacion", quote.clone()).await;
            let code = preview["codigo_confirmacion"].as_str().unwrap().to_owned();
            let mut confirmed = quote;
            confirmed["codigo_confirmacion"] = json!(code);
            client.call("crear_cotizacion", confirmed.clone()).await;
            client.fail("crear_cotizacion", confirmed).await;
            client.fail("crear_cotizacion", json!({ "cliente": "x", "lineas": [{ "producto": "y" }], "codigo_confirmacion": code })).await;
            canaries.push(("a confirmation code", code));
            calls += 4;
        }
        for token in &by_password {
            for _ in 0..2 {
                McpClient::legacy(&program.mcp(), token).call_result("buscar_cliente", json!({ "consulta": "canario-argumento-3107" })).await;
                calls += 1;
            }
        }
        wrong_places(&program, &tenant.token, &revoked, &misplaced).await;
        wrong_places(&program, &tenant.token, &revoked, "canario-lugar-6120").await;
        let mut seen: Vec<(String, String)> = Vec::new();
        for page in ["/metrics", "/readyz", "/healthz"] {
            let answer = send("GET", &format!("{}{page}", program.base), &[], "").await;
            assert_eq!(answer.status, 200, "{page}");
            seen.push((page.to_owned(), answer.text));
        }
        assert_eq!(app.usage_rows(calls).await.len(), calls);
        let log = program.stop().await;
        // The look finds what is there.
        assert!(log.contains(&tenant.id.to_string()) && log.contains("DEBUG") && log.contains("a token was refused") && log.matches("tool call").count() == calls, "{log}");
        let dump = app.dump().await;
        assert!(dump.iter().any(|line| line.contains(&tenant.id.to_string()) || line.contains(&tenant.id.uuid().simple().to_string().to_uppercase())), "the dump is no dump");
        seen.push(("the log".to_owned(), log));
        seen.push(("the database".to_owned(), dump.join("\n")));
        for (place, text) in &seen {
            for (what, canary) in &canaries {
                let found = text.lines().find(|line| line.contains(canary.as_str()));
                assert!(found.is_none(), "{what} ({canary}) is in {place}: {}", found.unwrap_or_default());
            }
        }
    }
}

/// Every tool with a word in every text, well formed or not; how many calls that were.
async fn call_everything(client: &McpClient, word: &str) -> usize {
    let mut calls = 0;
    for tool in dunet::tools::TOOLS.iter() {
        let facts = tool.facts();
        let mut arguments = serde_json::Map::new();
        for (name, schema) in facts.input_schema["properties"].as_object().unwrap() {
            let value = match schema["type"].as_str() {
                // The key of a write is kept on purpose.
                Some("string") if name != "clave" => json!(word),
                Some("array") => json!([{ "producto": word, "cantidad": 1 }]),
                _ => continue,
            };
            arguments.insert(name.clone(), value);
        }
        client.call_result(facts.name, Value::Object(arguments.clone())).await;
        arguments.remove("codigo_confirmacion");
        client.call_result(facts.name, Value::Object(arguments.clone())).await;
        arguments.insert(word.to_owned(), json!(word));
        client.call_result(facts.name, Value::Object(arguments)).await;
        calls += 3;
    }
    client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
    calls + 1
}

/// A secret where it does not belong: the address, the query, other headers, the body, a method, a token that is none.
async fn wrong_places(program: &Program, token: &str, revoked: &str, secret: &str) {
    let base = &program.base;
    let anonymous = McpClient::anonymous(&program.mcp());
    let bearer = format!("Bearer {token}");
    for url in [format!("{base}/mcp?token={secret}"), format!("{base}/mcp/{secret}"), format!("{base}/{secret}?x={secret}"), format!("{base}/metrics?{secret}")] {
        send("GET", &url, &[], "").await;
        send("POST", &url, &[("content-type", "application/json"), ("authorization", &bearer)], format!(r#"{{"jsonrpc":"2.0","id":"{secret}","method":"ping"}}"#)).await;
    }
    for name in [
        "x-api-key",
        "cookie",
        "x-request-id",
        "traceparent",
        "tracestate",
        "x-forwarded-for",
        "mcp-session-id",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "origin",
        "accept",
    ] {
        anonymous.raw("{}", &[(name, secret)]).await;
        anonymous.raw(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string(), &[("authorization", &bearer), (name, secret)]).await;
    }
    for wrong in
        [format!("Bearer {secret}"), secret.to_owned(), format!("Basic {secret}"), format!("Bearer {secret}x"), format!("Bearer {revoked}"), format!("Bearer dunet_live_{secret}")]
    {
        anonymous.raw("{}", &[("authorization", &wrong)]).await;
    }
    for body in [
        secret.to_owned(),
        format!("{{\"{secret}"),
        json!({ "jsonrpc": "2.0", "id": secret, "method": secret, "params": { secret: secret } }).to_string(),
        json!({ "jsonrpc": secret, "id": 1, "method": "ping" }).to_string(),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": secret, "arguments": { secret: secret } } }).to_string(),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": 5, "arguments": secret } }).to_string(),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "cursor": secret, "_meta": { "traceparent": secret, "tracestate": secret } } }).to_string(),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": secret, "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } } })
            .to_string(),
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "reason": secret } }).to_string(),
    ] {
        anonymous.raw(body, &[("authorization", &bearer)]).await;
    }
    let method: String = secret.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    send(&method, &format!("{base}/mcp"), &[], "").await;
}

/// A listing can be loaded while the program runs; then readiness says so (the program follows the folder by itself).
#[tokio::test]
async fn the_program_becomes_whole_while_it_runs() {
    let mut app = TestApp::start(Backend::Sqlite, &[]).await;
    app.stop().await;
    let program = Program::start(app.folder.path(), &app.database_url, "info", "text").await;
    assert_eq!(readyz(&program.base).await, (200, ready("degraded", "ok", "not_loaded")));
    assert_eq!(send("GET", &format!("{}/metrics", program.base), &[("x-forwarded-for", "203.0.113.9")], "").await.status, 404, "by default");
    assert_eq!(samples(&program.base).await["dunet_padron_rows"], 0.0);
    app.padron(4).await;
    until("the program notices", || async { readyz(&program.base).await == (200, ready("ok", "ok", "ok")) }).await;
    assert_eq!(samples(&program.base).await["dunet_padron_rows"], 4.0);
    program.stop().await;
}
