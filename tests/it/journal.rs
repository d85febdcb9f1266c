//! Nothing is lost and nothing is counted twice: killed processes, an absent database, a full disk. Calls go on meanwhile.
//!
//! 38 and 39 of the attack list (platform reference, §3C) are here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dunet::db::entities::tool_usage;
use dunet::domain::tenants::WritePolicy;
use dunet::odoo::ProtocolChoice;
use sea_orm::{ConnectionTrait, EntityTrait};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::support::{Backend, TestApp, VAULT_KEY, backends, left_out, setting, until};

/// A taxpayer that every sample listing has.
const RNC: &str = "131793916";

/// How often each request id stands in `tool_usage`.
async fn metered(app: &TestApp) -> BTreeMap<String, usize> {
    let rows = tool_usage::Entity::find().all(&app.state.db).await.unwrap();
    let mut count = BTreeMap::new();
    for row in rows {
        *count.entry(row.request_id).or_default() += 1;
    }
    count
}

/// The database is not there, and comes back.
struct Absence {
    holder: sea_orm::DatabaseConnection,
    name: String,
    backend: Backend,
    transaction: Option<sea_orm::DatabaseTransaction>,
}

impl Absence {
    async fn begin(app: &TestApp) -> Self {
        let url: url::Url = app.database_url.expose_secret().parse().unwrap();
        let name = url.path().trim_start_matches('/').to_owned();
        match app.backend {
            // Nobody may connect, and who was connected is thrown out.
            Backend::Postgres => {
                let holder = sea_orm::Database::connect(setting("DUNET_TEST_POSTGRES").unwrap()).await.unwrap();
                holder.execute_unprepared(&format!("alter database {name} with allow_connections false")).await.unwrap();
                holder.execute_unprepared(&format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")).await.unwrap();
                Self { holder, name, backend: app.backend, transaction: None }
            }
            // A file does not go away; it can be locked for good.
            Backend::Sqlite => {
                let holder = sea_orm::Database::connect(app.database_url.expose_secret()).await.unwrap();
                let transaction = dunet::db::begin_write(&holder).await.unwrap();
                transaction.execute_unprepared("update plans set name = name").await.unwrap();
                Self { holder, name, backend: app.backend, transaction: Some(transaction) }
            }
        }
    }

    async fn end(self) {
        match self.backend {
            Backend::Postgres => drop(self.holder.execute_unprepared(&format!("alter database {} with allow_connections true", self.name)).await.unwrap()),
            Backend::Sqlite => self.transaction.unwrap().rollback().await.unwrap(),
        }
    }
}

/// 38: the database is gone for an hour. Who was known is served, every call is metered afterwards, and once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_38_calls_go_on_without_the_database_and_are_metered_later() {
    // A token is believed for no time at all without asking: the hour passes at once.
    TestApp::everywhere_with(&["--caller-cache-s", "0", "--tenant-burst-calls", "1000"], |app| async move {
        app.padron(3).await;
        let tenant = app.tenant_on("Gratis", "gratis", ProtocolChoice::Auto).await;
        let pro = app.tenant("Pro").await;
        app.write_policy(pro.id, WritePolicy::Direct).await;
        // What the tenants' making makes the service forget is forgotten before the database goes.
        app.state.changes.look().await.unwrap();
        let client = app.client(&tenant.token);
        client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        client.call("buscar_cliente", json!({ "consulta": "a" })).await;
        app.client(&pro.token).call("buscar_cliente", json!({ "consulta": "a" })).await;
        app.usage_rows(3).await;

        let absence = Absence::begin(&app).await;
        for hour in 0..2 {
            for turn in 0..20 {
                client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
                client.call("buscar_cliente", json!({ "consulta": format!("a{hour}{turn}") })).await;
            }
            app.clock.advance(chrono::Duration::minutes(30));
        }
        // A token nobody has seen yet cannot be checked, and is told so; a write cannot be made to happen once, and is not made.
        if app.backend == Backend::Postgres {
            let unknown = app.client("dunet_live_00000000_00000000000000000000000000000000000000");
            assert_ne!(unknown.request("ping", json!({})).await.status, 200);
        }
        let refused = app.client(&pro.token).fail("crear_cliente", json!({ "nombre": "Cliente Ausente", "telefono": "8095550000" })).await;
        assert_eq!(refused["codigo"], "error_interno");
        assert!(app.state.usage.backlog().records >= 80, "{:?}", app.state.usage.backlog());
        absence.end().await;

        until("everything is metered", || async { metered(&app).await.len() >= 84 }).await;
        let count = metered(&app).await;
        assert_eq!((count.len(), count.values().sum::<usize>()), (84, 84), "each call once");
        assert_eq!((app.state.usage.dropped(), app.state.usage.backlog().records), (0, 0));
        assert_eq!(app.client(&pro.token).call("buscar_cliente", json!({ "consulta": "Cliente Ausente" })).await["total"], 0);
        // The quota went on counting: 82 of 100 are used.
        let caller = app.state.tokens.verify(&tenant.token).await.unwrap();
        assert_eq!(app.state.limits.month_reserve(caller.tenant()).await.unwrap().unwrap().view.used, 83);
    })
    .await;
}

/// 38: a month that begins while the database is away begins at nothing.
#[tokio::test]
async fn attack_38_a_month_turns_without_the_database() {
    TestApp::everywhere(|app| async move {
        if app.backend == Backend::Sqlite {
            return; // it can always be read
        }
        app.padron(3).await;
        let tenant = app.tenant_on("Gratis", "gratis", ProtocolChoice::Auto).await;
        // What the tenants' making makes the service forget is forgotten before the database goes.
        app.state.changes.look().await.unwrap();
        let client = app.client(&tenant.token);
        for _ in 0..3 {
            client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        }
        app.usage_rows(3).await;
        let absence = Absence::begin(&app).await;
        app.clock.advance(chrono::Duration::days(10));
        client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        let caller = app.state.tokens.verify(&tenant.token).await.unwrap();
        assert_eq!(app.state.limits.month_reserve(caller.tenant()).await.unwrap().unwrap().view.used, 2);
        absence.end().await;
        let rows = app.usage_rows(4).await;
        assert_eq!(rows.iter().filter(|row| row.billing_month == 202_612).count(), 1);
    })
    .await;
}

/// 38: the journal cannot be written at all.
#[tokio::test]
async fn attack_38_without_a_journal_records_wait_in_memory() {
    for backend in backends() {
        let folder = tempfile::tempdir().unwrap();
        // Where the folder should be there is a file.
        std::fs::write(folder.path().join("journal"), "").unwrap();
        let database_url = crate::support::database(backend, folder.path()).await;
        let clock = dunet::clock::Clock::fixed("2026-11-22T15:00:00Z".parse().unwrap());
        let app = TestApp::start_at(backend, folder, database_url, clock, &["--usage-memory-records-max", "20"]).await;
        app.padron(3).await;
        let tenant = app.tenant("Uno").await;
        // What the tenants' making makes the service forget is forgotten before the database goes.
        app.state.changes.look().await.unwrap();
        let client = app.client(&tenant.token);
        for _ in 0..5 {
            client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        }
        app.usage_rows(5).await;
        let absence = Absence::begin(&app).await;
        for _ in 0..20 {
            client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        }
        assert_eq!(app.state.usage.backlog().in_memory, 20);
        // What is more than memory may hold is counted as lost, never in silence; the call is answered.
        client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        assert_eq!(app.state.usage.dropped(), 1);
        absence.end().await;
        until("what was in memory is metered", || async { metered(&app).await.len() >= 25 }).await;
        assert_eq!(app.state.usage.backlog().in_memory, 0);
    }
}

/// 38: a disk that is full, database and all.
#[tokio::test]
async fn attack_38_a_full_disk_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(folder.path()).stderr(Stdio::null()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        left_out("a full disk (a small file system cannot be mounted here)");
        return;
    }
    let _unmount = Unmount(folder.path().to_owned());
    let database_url = crate::support::database(Backend::Sqlite, folder.path()).await;
    let clock = dunet::clock::Clock::fixed("2026-11-22T15:00:00Z".parse().unwrap());
    let inside = tempfile::tempdir_in(folder.path()).unwrap();
    let app = TestApp::start_at(Backend::Sqlite, inside, database_url, clock, &["--tenant-burst-calls", "10000"]).await;
    app.padron(3).await;
    let tenant = app.tenant("Uno").await;
    let client = app.client(&tenant.token);
    client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
    app.usage_rows(1).await;
    let ballast = folder.path().join("ballast");
    let full = fill(&ballast);
    assert!(full > 0);
    for _ in 0..600 {
        client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
    }
    assert_eq!(app.state.usage.dropped(), 0);
    std::fs::remove_file(&ballast).unwrap();
    until("everything is metered", || async { metered(&app).await.len() >= 601 }).await;
    let count = metered(&app).await;
    assert_eq!((count.len(), count.values().sum::<usize>(), app.state.usage.dropped()), (601, 601, 0));
}

/// Writes until nothing fits any more; gives the bytes.
fn fill(path: &Path) -> u64 {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    for size in [65_536, 4_096, 512, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    file.metadata().unwrap().len()
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// The binary, serving; killed with the test.
struct Server(Child);

impl Server {
    fn start(app: &TestApp, port: u16) -> Self {
        let folder = app.folder.path();
        std::fs::write(folder.join("key"), STANDARD.encode(VAULT_KEY)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunet"));
        command.arg("serve").args(["--port", &port.to_string()]).env_clear();
        command.env("DATABASE_URL", app.database_url.expose_secret()).env("DUNET_DATA_DIR", folder).env("DUNET_VAULT_KEY_FILE", folder.join("key"));
        for (name, value) in [
            ("DUNET_ALLOW_PRIVATE_ODOO", "1"),
            ("DUNET_LOG", "error"),
            ("DUNET_TENANT_CALLS_PER_MINUTE", "600000"),
            ("DUNET_TENANT_BURST_CALLS", "60000"),
            ("DUNET_REPEATED_CALLS_PER_MINUTE", "0"),
        ] {
            command.env(name, value);
        }
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// 39: SIGKILL under load, again and again. Whoever got an answer is metered, and nobody twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_39_a_killed_process_loses_no_call() {
    let rounds: usize = setting("DUNET_TEST_KILL_ROUNDS").and_then(|rounds| rounds.parse().ok()).unwrap_or(3);
    for backend in backends() {
        let mut app = TestApp::start(backend, &[]).await;
        app.padron(3).await;
        let tenant = app.tenant("Uno").await;
        let edit = dunet::domain::tenants::ToolEdit { calls_per_hour: Some(1_000_000), ..Default::default() };
        app.state.tenants.tool_edit(tenant.id, "consultar_rnc_dgii", edit, &crate::support::actor()).await.unwrap();
        app.stop().await;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}/mcp");
        let answered: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        for round in 0..rounds {
            let server = Server::start(&app, port);
            let probe = reqwest::Client::builder().no_proxy().build().unwrap();
            until("the service answers", || async { probe.get(format!("http://127.0.0.1:{port}/healthz")).send().await.is_ok() }).await;
            let wanted = answered.lock().unwrap().len() + 100 + 37 * round;
            let mut load = tokio::task::JoinSet::new();
            for _ in 0..8 {
                let (url, token, answered) = (url.clone(), tenant.token.clone(), Arc::clone(&answered));
                load.spawn(async move { call_until_it_dies(&url, &token, &answered).await });
            }
            until("enough calls are answered", || async { answered.lock().unwrap().len() >= wanted }).await;
            drop(server); // SIGKILL
            while load.join_next().await.is_some() {}
        }
        // Whoever comes next delivers what was left.
        let app = app.restarted().await;
        let answered = answered.lock().unwrap().clone();
        let count = metered(&app).await;
        let lost: Vec<&String> = answered.iter().filter(|id| !count.contains_key(*id)).collect();
        assert!(lost.is_empty(), "{} of {} answered calls are not metered: {lost:?}", lost.len(), answered.len());
        assert!(count.values().all(|times| *times == 1), "a call is metered twice");
        let more = count.len() - answered.len();
        assert!(more <= rounds * 8, "at most what was under way when it was killed is metered without an answer: {more}");
        let caller = app.state.tokens.verify(&tenant.token).await.unwrap();
        assert_eq!(app.state.limits.month_reserve(caller.tenant()).await.unwrap().unwrap().view.used as usize, count.len() + 1, "the quota knows all of them");
    }
}

async fn call_until_it_dies(url: &str, token: &str, answered: &Mutex<BTreeSet<String>>) {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "consultar_rnc_dgii", "arguments": { "rnc": RNC } } }).to_string();
    loop {
        let sent = http
            .post(url)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(body.clone())
            .send()
            .await;
        let Ok(response) = sent else { return };
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let Ok(text) = response.text().await else { return };
        assert!(text.contains("INDEXA"), "{text}");
        answered.lock().unwrap().insert(id);
    }
}

/// 39: a write that was under way when the process was killed is told of as what it is: perhaps done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_39_a_write_cut_by_a_kill_is_not_done_twice() {
    for backend in backends() {
        let mut app = TestApp::start(backend, &[]).await;
        let porter = crate::support::Porter::new("Nova").await;
        let (tenant, token) = app.tenant_at("Nova", porter.odoo(ProtocolChoice::Json2)).await;
        app.write_policy(tenant, WritePolicy::Direct).await;
        app.stop().await;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let server = Server::start(&app, port);
        let probe = reqwest::Client::builder().no_proxy().build().unwrap();
        until("the service answers", || async { probe.get(format!("http://127.0.0.1:{port}/healthz")).send().await.is_ok() }).await;
        let write = json!({ "nombre": "Cliente Cortado", "telefono": "8095551234", "clave": "pedido-1" });
        // The search for a namesake passes; the write itself is held at Odoo's door, and then goes through after the kill.
        porter.hold_only("/create");
        let (url, body) =
            (format!("http://127.0.0.1:{port}/mcp"), json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "crear_cliente", "arguments": write } }));
        let sent = probe.post(url).bearer_auth(&token).header("content-type", "application/json").body(body.to_string()).send();
        let call = tokio::spawn(async move { sent.await.map(drop) });
        until("the write is at Odoo", || async { porter.held_now() > 0 }).await;
        drop(server); // SIGKILL
        assert!(call.await.unwrap().is_err(), "there was no answer");
        porter.hold(false);

        let app = app.restarted().await;
        let client = app.client(&token);
        let write = json!({ "nombre": "Cliente Cortado", "telefono": "8095551234", "clave": "pedido-1" });
        assert_eq!(client.fail("crear_cliente", write.clone()).await["codigo"], "operacion_en_curso");
        // The killed process went by the machine's clock.
        app.clock.advance(chrono::Utc::now() - app.clock.now() + chrono::Duration::minutes(10));
        assert_eq!(client.fail("crear_cliente", write).await["codigo"], "resultado_desconocido");
        let found = client.call("buscar_cliente", json!({ "consulta": "Cliente Cortado" })).await;
        assert!(found["total"].as_i64().unwrap() <= 1, "never twice: {found}");
    }
}
