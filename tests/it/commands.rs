//! The binary itself: every command, with `--json`, on both databases; what it refuses, and in which words.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dunet::clock::Clock;
use dunet::demo::sandbox::SandboxOdoo;
use dunet::dgii::sample::{SampleOptions, write_zips};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::support::{Backend, TestApp, VAULT_KEY, backends, database, serve, setting};

const SECRET: &str = "clave-api-muy-secreta-0123456789abcdef01";

/// What a run of the binary came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The JSON of a run that succeeded without a word on standard error.
    pub(crate) fn json(&self) -> Value {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        assert_eq!(self.stdout.trim_end().lines().count(), 1, "one line: {self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The sentence of a run that failed.
    fn complaint(&self) -> &str {
        assert!(self.code.is_some_and(|code| code != 0) && self.stdout.is_empty() && self.stderr.len() > 15, "{self:?}");
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains(SECRET), "{self:?}");
        &self.stderr
    }
}

/// A folder with a key and a database, and the binary run in it with nothing of this machine's environment.
pub(crate) struct Shell {
    folder: PathBuf,
    _keep: Option<tempfile::TempDir>,
    database: SecretString,
}

impl Shell {
    pub(crate) async fn new(backend: Backend) -> Self {
        let keep = tempfile::tempdir().expect("a folder");
        let folder = keep.path().to_path_buf();
        let database = database(backend, &folder).await;
        let shell = Self { folder, _keep: Some(keep), database };
        shell.write_key("key", &VAULT_KEY);
        shell
    }

    /// Beside a running service: its database, its folder, its key.
    pub(crate) fn beside(app: &TestApp) -> Self {
        let shell = Self { folder: app.folder.path().to_path_buf(), _keep: None, database: app.database_url.clone() };
        shell.write_key("key", &VAULT_KEY);
        shell
    }

    pub(crate) fn write_key(&self, name: &str, key: &[u8; 32]) {
        std::fs::write(self.folder.join(name), STANDARD.encode(key)).expect("a key file");
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Runs it with this shell's key.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        let key = self.path("key");
        self.run_with(arguments, &[("DUNET_VAULT_KEY_FILE", &key)], "").await
    }

    /// Runs it with this environment and standard input.
    pub(crate) async fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)], stdin: &str) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunet"));
        command.args(arguments).env_clear().env("DATABASE_URL", self.database.expose_secret()).env("DUNET_DATA_DIR", &self.folder).env("DUNET_ALLOW_PRIVATE_ODOO", "true");
        command.envs(environment.iter().copied()).current_dir(&self.folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let stdin = stdin.to_owned();
        // On a thread: the sandbox of the test answers the binary meanwhile.
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().expect("the binary starts");
            // A command that does not read closes it.
            drop(child.stdin.take().expect("piped").write_all(stdin.as_bytes()));
            child.wait_with_output().expect("it ends")
        })
        .await
        .expect("no panic");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let mut line = vec!["--json"];
        line.extend(arguments);
        self.run(&line).await.json()
    }

    pub(crate) async fn refused(&self, arguments: &[&str]) -> String {
        let mut line = vec!["--json"];
        line.extend(arguments);
        self.run(&line).await.complaint().to_owned()
    }

    async fn tenant(&self, arguments: &[&str]) -> String {
        let mut line = vec!["tenant", "add", "--name", "Ferretería Nova"];
        line.extend(arguments);
        self.json(&line).await["id"].as_str().expect("an id").to_owned()
    }
}

async fn shells() -> Vec<Shell> {
    let mut shells = Vec::new();
    for backend in backends() {
        shells.push(Shell::new(backend).await);
    }
    shells
}

#[tokio::test]
async fn the_help_is_the_manual() {
    let shell = Shell::new(Backend::Sqlite).await;
    let help = shell.run(&["--help"]).await;
    assert_eq!(help.code, Some(0));
    for command in [
        "serve",
        "demo",
        "check",
        "migrate",
        "backup",
        "restore",
        "export",
        "import",
        "move-database",
        "keygen",
        "rotate-keys",
        "tenant",
        "token",
        "tool",
        "usage",
        "padron",
        "connect",
        "doctor",
    ] {
        assert!(help.stdout.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))), "{command}: {}", help.stdout);
        let own = shell.run(&[command, "--help"]).await;
        assert!(own.code == Some(0) && own.stdout.contains("Usage: dunet"), "{own:?}");
    }
    for name in ["DATABASE_URL", "DUNET_DATA_DIR", "DUNET_VAULT_KEY_FILE", "DUNET_ALLOW_PRIVATE_ODOO"] {
        assert!(help.stdout.contains(name), "{name}");
    }
    for (command, parts) in [
        ("tenant", ["add", "list", "show", "edit", "suspend"].as_slice()),
        ("token", &["issue", "list", "rotate", "revoke"]),
        ("tool", &["list", "enable", "disable", "limit"]),
        ("padron", &["import", "fetch", "status", "rollback"]),
    ] {
        let own = shell.run(&[command, "--help"]).await;
        for part in parts {
            assert!(own.stdout.lines().any(|line| line.trim_start().starts_with(&format!("{part} "))), "{command} {part}: {}", own.stdout);
        }
    }
    assert!(shell.run(&["--version"]).await.stdout.starts_with("dunet "));
    for wrong in [["tenat"].as_slice(), &["tenant", "show", "no-uuid"], &["tenant", "add"], &["usage", "--tenant", "x"], &["tenant", "add", "--name", "x", "--odoo-secret", SECRET]]
    {
        let ran = shell.run(wrong).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{wrong:?}: {ran:?}");
        assert!(ran.stderr.contains("error:"), "{ran:?}");
    }
}

#[tokio::test]
async fn keys_are_made_private_and_never_overwritten() {
    let shell = Shell::new(Backend::Sqlite).await;
    let file = shell.path("fresh.key");
    assert_eq!(shell.json(&["keygen", &file]).await["file"], json!(file));
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(STANDARD.decode(text.trim()).unwrap().len(), 32);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(shell.refused(&["keygen", &file]).await.contains("never overwritten"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    let second = shell.path("second.key");
    shell.json(&["keygen", &second]).await;
    assert_ne!(std::fs::read_to_string(&second).unwrap(), text);
    assert!(shell.refused(&["keygen", &shell.path("no/such/folder.key")]).await.contains("folder.key"));
}

#[tokio::test]
async fn nothing_runs_without_a_good_vault_key() {
    let shell = Shell::new(Backend::Sqlite).await;
    for arguments in [["serve", "--port", "0"].as_slice(), &["tenant", "list"], &["rotate-keys"]] {
        let complaint = shell.run_with(arguments, &[], "").await;
        let complaint = complaint.complaint();
        assert!(complaint.contains("DUNET_VAULT_KEY_FILE") && complaint.contains("keygen"), "{arguments:?} says how to make one: {complaint}");
    }
    let missing = shell.path("missing.key");
    assert!(shell.run_with(&["serve", "--port", "0"], &[("DUNET_VAULT_KEY_FILE", &missing)], "").await.complaint().contains("missing.key"));
    for (name, text) in [("short", "c2hvcnQ="), ("wrong", "esto no es base64 !!"), ("empty", "")] {
        let file = shell.path(name);
        std::fs::write(&file, text).unwrap();
        let ran = shell.run_with(&["tenant", "list"], &[("DUNET_VAULT_KEY_FILE", &file)], "").await;
        assert!(text.is_empty() || !ran.complaint().contains(text), "the key is not shown: {ran:?}");
        assert!(ran.complaint().contains("32"), "says what a key is: {ran:?}");
    }
}

#[tokio::test]
async fn migrations_run_once() {
    for shell in shells().await {
        assert!(shell.json(&["migrate"]).await["migrations_run"].as_u64() > Some(0));
        assert_eq!(shell.json(&["migrate"]).await["migrations_run"], 0);
        let text = shell.run(&["migrate"]).await;
        assert!(text.code == Some(0) && text.stdout.contains("up to date"), "{text:?}");
    }
    let mut lost = Shell::new(Backend::Sqlite).await;
    lost.database = SecretString::from("postgres://nobody:hunter2secret@127.0.0.1:1/nothing".to_owned());
    let complaint = lost.refused(&["migrate"]).await;
    assert!(!complaint.contains("hunter2secret"), "no password in {complaint}");
    // A service that must not migrate says what to do.
    let fresh = Shell::new(Backend::Sqlite).await;
    assert!(fresh.refused(&["serve", "--port", "0", "--no-migrate"]).await.contains("dunet migrate"));
}

#[tokio::test]
async fn operators_keys_are_made_listed_and_revoked() {
    for shell in shells().await {
        let made = shell.json(&["admin", "api-key", "make", "--name", "facturación", "--days", "30"]).await;
        let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
        assert!(key.starts_with("dunet_op_"), "{made}");
        let listed = shell.json(&["admin", "api-key", "list"]).await;
        assert_eq!((&listed[0]["id"], &listed[0]["name"], &listed[0]["made_by"], &listed[0]["revoked_at"]), (&json!(id), &json!("facturación"), &json!("shell"), &Value::Null));
        assert!(!listed.to_string().contains(key), "shown once");
        for _ in 0..2 {
            assert_eq!(shell.json(&["admin", "api-key", "revoke", id]).await, json!({ "id": id, "revoked": true }));
        }
        assert!(shell.json(&["admin", "api-key", "list"]).await[0]["revoked_at"].is_string());
        for (arguments, word) in [
            (["admin", "api-key", "make", "--name", " "].as_slice(), "name"),
            (&["admin", "api-key", "make", "--name", "x", "--days", "0"], "days"),
            (&["admin", "api-key", "revoke", "00000000-0000-0000-0000-000000000000"], "api-key list"),
        ] {
            let complaint = shell.refused(arguments).await;
            assert!(complaint.contains(word), "{arguments:?}: {complaint}");
        }
    }
}

#[tokio::test]
async fn tenants_are_added_shown_edited_and_suspended() {
    for shell in shells().await {
        let file = shell.path("secret");
        std::fs::write(&file, format!("{SECRET}\n")).unwrap();
        let odoo = ["--odoo-url", "https://nova.example.com", "--odoo-db", "nova", "--odoo-user", "agente@nova.do", "--odoo-protocol", "xmlrpc"];
        let mut all = vec!["--rnc", "131793916", "--plan", "basic", "--odoo-secret-file", &file];
        all.extend(odoo);
        let id = shell.tenant(&all).await;
        let shown = shell.json(&["tenant", "show", &id]).await;
        let expected = json!({ "id": id, "name": "Ferretería Nova", "rnc": "131793916", "plan": "basic", "status": "active", "language": "es", "timezone": "America/Santo_Domingo", "write_policy": "confirm",
            "odoo": { "url": "https://nova.example.com/", "database": "nova", "user": "agente@nova.do", "protocol": "xmlrpc", "requests_per_second": null } });
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(shown[field], *value, "{field}");
        }
        assert_eq!(shown["tools"].as_array().unwrap().len(), 8);

        // The secret by standard input; a tenant without Odoo; a plan with two tools.
        let mut piped = vec!["--json", "tenant", "add", "--name", "Por tubería", "--plan", "pro", "--odoo-secret-file", "-"];
        piped.extend(odoo);
        let key = shell.path("key");
        shell.run_with(&piped, &[("DUNET_VAULT_KEY_FILE", &key)], SECRET).await.json();
        let free = shell.tenant(&[]).await;
        let free = shell.json(&["tenant", "show", &free]).await;
        assert_eq!((&free["plan"], &free["odoo"], &free["tools"]), (&json!("gratis"), &json!(null), &json!(["consultar_rnc_dgii", "buscar_cliente"])), "{free}");
        let named = shell.tenant(&["--tools", "odoo_contexto,buscar_productos"]).await;
        assert_eq!(shell.json(&["tenant", "show", &named]).await["tools"], json!(["buscar_productos", "odoo_contexto"]));
        assert_eq!(shell.json(&["tenant", "list"]).await.as_array().unwrap().len(), 4);

        // Refused, with a reason, and nothing is added.
        let empty = shell.path("empty");
        std::fs::write(&empty, "\n").unwrap();
        let add = |more: &[&'static str]| [&["tenant", "add", "--name", "X"], more].concat();
        for arguments in [
            add(&["--odoo-db", "x"]),
            add(&["--odoo-user", "x", "--odoo-secret-file", "key"]),
            add(&["--odoo-url", "https://x.example"]),
            add(&["--odoo-url", "https://x.example", "--odoo-db", "x", "--odoo-user", "u"]),
        ] {
            let complaint = shell.refused(&arguments).await;
            assert!(complaint.contains("--odoo-secret-file") || complaint.contains("--odoo-db"), "{arguments:?}: {complaint}");
        }
        for (arguments, word) in [
            (add(&["--plan", "oro"]), "oro"),
            (add(&["--tools", "volar"]), "consultar_rnc_dgii"),
            (add(&["--tools", "odoo_contexto,buscar_productos,buscar_cliente"]), "2"),
            (add(&["--odoo-protocol", "soap"]), "jsonrpc"),
            (vec!["tenant", "add", "--name", "  "], "name"),
        ] {
            let complaint = shell.refused(&arguments).await;
            assert!(complaint.contains(word), "{arguments:?}: {complaint}");
        }
        for file in [empty.as_str(), "/no/such/file"] {
            let mut arguments = add(&["--odoo-url", "https://x.example", "--odoo-db", "x", "--odoo-user", "u", "--odoo-secret-file"]);
            let file = file.to_owned();
            let line: Vec<&str> = arguments.drain(..).chain([file.as_str()]).collect();
            assert!(shell.refused(&line).await.contains("secret"));
        }
        assert_eq!(shell.json(&["tenant", "list"]).await.as_array().unwrap().len(), 4);
        assert!(shell.refused(&["tenant", "show", "00000000-0000-0000-0000-000000000000"]).await.contains("no"));

        let edited = shell
            .json(&["tenant", "edit", &id, "--name", "Nova Dos", "--plan", "pro", "--odoo-db", "otra", "--odoo-protocol", "json2", "--language", "en", "--write-policy", "direct"])
            .await;
        assert_eq!((&edited["name"], &edited["plan"], &edited["language"], &edited["write_policy"]), (&json!("Nova Dos"), &json!("pro"), &json!("en"), &json!("direct")));
        assert_eq!(
            edited["odoo"],
            json!({ "url": "https://nova.example.com/", "database": "otra", "user": "agente@nova.do", "protocol": "json2", "requests_per_second": null }),
            "what was not named stays"
        );
        for (given, kept) in [("3", json!(3)), ("0", json!(0)), ("auto", Value::Null)] {
            let edited = shell.json(&["tenant", "edit", &id, "--odoo-requests-per-second", given]).await;
            assert_eq!(edited["odoo"]["requests_per_second"], kept);
        }
        assert!(shell.refused(&["tenant", "edit", &id, "--odoo-requests-per-second", "-1"]).await.len() > 15);
        assert!(shell.refused(&["tenant", "edit", &id, "--write-policy", "siempre"]).await.contains("confirm"));

        assert_eq!(shell.json(&["tenant", "suspend", &id]).await, json!({ "id": id, "status": "suspended" }));
        assert_eq!(shell.json(&["tenant", "show", &id]).await["status"], "suspended");
        assert_eq!(shell.json(&["tenant", "suspend", &id, "--resume"]).await["status"], "active");

        // For people too, and never with the secret.
        for arguments in [["tenant", "list"].as_slice(), &["tenant", "show", &id]] {
            let text = shell.run(arguments).await;
            assert!(text.code == Some(0) && text.stdout.contains("Nova Dos") && !text.stdout.contains(SECRET), "{text:?}");
        }
        for entry in std::fs::read_dir(&shell.folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && path != Path::new(&file) {
                let bytes = std::fs::read(&path).unwrap();
                assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{} holds the secret", path.display());
            }
        }
    }
}

#[tokio::test]
async fn tokens_are_shown_once_rotated_and_revoked() {
    for shell in shells().await {
        let tenant = shell.tenant(&["--plan", "pro"]).await;
        let issued = shell.json(&["token", "issue", "--tenant", &tenant, "--name", "agente", "--packs", "voice,sales", "--days", "30", "--language", "en"]).await;
        let (id, token) = (issued["id"].as_str().unwrap().to_owned(), issued["token"].as_str().unwrap().to_owned());
        assert!(token.starts_with("dunet_live_") && token.len() > 40, "{issued}");
        let list = shell.json(&["token", "list", "--tenant", &tenant]).await;
        assert_eq!((list.as_array().unwrap().len(), &list[0]["id"], &list[0]["name"], &list[0]["packs"]), (1, &json!(id), &json!("agente"), &json!(["voice", "sales"])));
        assert!(!list.to_string().contains(&token) && list[0]["expires_at"].is_string(), "{list}");

        let rotated = shell.json(&["token", "rotate", "--tenant", &tenant, &id, "--grace-s", "60"]).await;
        assert_ne!(rotated["token"], issued["token"]);
        assert_eq!(shell.json(&["token", "list", "--tenant", &tenant]).await.as_array().unwrap().len(), 2);
        let new = rotated["id"].as_str().unwrap();
        assert_eq!(shell.json(&["token", "revoke", "--tenant", &tenant, new]).await, json!({ "id": new, "revoked": true }));
        let list = shell.json(&["token", "list", "--tenant", &tenant]).await;
        let revoked = list.as_array().unwrap().iter().find(|token| token["id"] == new).unwrap();
        assert!(revoked["revoked_at"].is_string(), "{list}");
        let text = shell.run(&["token", "list", "--tenant", &tenant]).await;
        assert!(text.stdout.contains("agente") && !text.stdout.contains(&token), "{text:?}");

        // Another tenant's token is not found.
        let other = shell.tenant(&["--plan", "pro"]).await;
        for action in ["rotate", "revoke"] {
            shell.refused(&["token", action, "--tenant", &other, &id]).await;
        }
        assert!(shell.refused(&["token", "issue", "--tenant", &tenant, "--name", "x", "--packs", "todo"]).await.contains("voice"));
        shell.refused(&["token", "issue", "--tenant", &tenant, "--name", " "]).await;
        shell.refused(&["token", "issue", "--tenant", "00000000-0000-0000-0000-000000000000", "--name", "x"]).await;
        assert_eq!(shell.json(&["token", "list", "--tenant", &tenant]).await.as_array().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn tools_are_enabled_within_the_plan() {
    for shell in shells().await {
        let tenant = shell.tenant(&["--plan", "gratis"]).await;
        let enabled = |list: &Value| list.as_array().unwrap().iter().filter(|row| row["enabled"] == true).map(|row| row["tool"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        let list = shell.json(&["tool", "list", "--tenant", &tenant]).await;
        assert_eq!((list.as_array().unwrap().len(), enabled(&list)), (8, vec!["consultar_rnc_dgii".to_owned(), "buscar_cliente".to_owned()]));
        let complaint = shell.refused(&["tool", "enable", "--tenant", &tenant, "crear_cotizacion"]).await;
        assert!(complaint.contains('2'), "says how many: {complaint}");
        assert_eq!(shell.json(&["tool", "disable", "--tenant", &tenant, "buscar_cliente"]).await["enabled"], false);
        assert_eq!(shell.json(&["tool", "enable", "--tenant", &tenant, "crear_cotizacion"]).await["enabled"], true);
        assert_eq!(enabled(&shell.json(&["tool", "list", "--tenant", &tenant]).await), ["consultar_rnc_dgii", "crear_cotizacion"]);

        let limited = shell.json(&["tool", "limit", "--tenant", &tenant, "crear_cotizacion", "--per-hour", "7", "--write-policy", "direct"]).await;
        assert_eq!((&limited["calls_per_hour"], &limited["write_policy"]), (&json!(7), &json!("direct")), "{limited}");
        let list = shell.json(&["tool", "list", "--tenant", &tenant]).await;
        let row = list.as_array().unwrap().iter().find(|row| row["tool"] == "crear_cotizacion").unwrap();
        assert_eq!((&row["calls_per_hour"], &row["write_policy"], &row["writes"]), (&json!(7), &json!("direct"), &json!(true)));
        assert!(shell.refused(&["tool", "limit", "--tenant", &tenant, "crear_cotizacion"]).await.contains("--per-hour"));
        assert!(shell.refused(&["tool", "enable", "--tenant", &tenant, "volar"]).await.contains("consultar_rnc_dgii"));
        shell.refused(&["tool", "enable", "--tenant", "00000000-0000-0000-0000-000000000000", "odoo_contexto"]).await;

        // On a plan with all tools they are on unless forbidden.
        let pro = shell.tenant(&["--plan", "pro"]).await;
        assert_eq!(shell.json(&["tool", "disable", "--tenant", &pro, "crear_cliente"]).await["enabled"], false);
        assert_eq!(enabled(&shell.json(&["tool", "list", "--tenant", &pro]).await).len(), 7);
        assert!(shell.run(&["tool", "list", "--tenant", &pro]).await.stdout.contains("crear_cotizacion"));
    }
}

#[tokio::test]
async fn usage_counts_what_a_running_service_did() {
    TestApp::everywhere(|app| async move {
        let shell = Shell::beside(&app);
        let tenant = app.tenant("Nova").await;
        let id = tenant.id.to_string();
        // A token made at the shell opens the door of the running service.
        let issued = shell.json(&["token", "issue", "--tenant", &id, "--name", "agente"]).await;
        let client = app.client(issued["token"].as_str().unwrap());
        client.call("buscar_cliente", json!({ "consulta": "Pérez" })).await;
        client.call("buscar_cliente", json!({ "consulta": "Peña" })).await;
        client.fail("ver_cotizacion", json!({ "numero": "S99999" })).await;
        app.usage_rows(3).await;
        let usage = shell.json(&["usage", "--tenant", &id, "--month", "202611"]).await;
        assert_eq!((&usage["tenant"], &usage["month"], &usage["limit"], &usage["counted"]), (&json!(id), &json!(202_611), &json!(null), &json!(3)), "{usage}");
        let tools = usage["tools"].as_array().unwrap();
        let row = |tool: &str| tools.iter().find(|row| row["tool"] == tool).unwrap_or_else(|| panic!("{tool}: {usage}"));
        assert_eq!((&row("buscar_cliente")["calls"], &row("buscar_cliente")["outcome"]), (&json!(2), &json!("ok")));
        assert_eq!((&row("ver_cotizacion")["calls"], &row("ver_cotizacion")["outcome"]), (&json!(1), &json!("error")));
        assert_eq!(shell.json(&["usage", "--tenant", &id, "--month", "202610"]).await["counted"], 0);
        let text = shell.run(&["usage", "--tenant", &id, "--month", "202611"]).await;
        assert!(text.code == Some(0) && text.stdout.contains("buscar_cliente"), "{text:?}");
        assert_eq!(shell.run(&["usage", "--tenant", &id, "--month", "1999"]).await.code, Some(2));
    })
    .await;
}

#[tokio::test]
async fn the_listing_is_imported_told_and_rolled_back() {
    for shell in shells().await {
        let today = Clock::system().now().date_naive();
        let zips = |name: &str, rows: usize, days: i64| {
            let options = SampleOptions { rows, seed: 1, cutoff: today - chrono::Duration::days(days), defects: false };
            let files = write_zips(&shell.folder.join(name), &options).unwrap();
            (files.txt.display().to_string(), files.csv.display().to_string(), options.cutoff.to_string())
        };
        let status = shell.json(&["padron", "status"]).await;
        assert!(status["active"].is_null() && status["history"] == json!([]), "{status}");
        assert!(shell.run(&["padron", "status"]).await.stdout.contains("dunet padron import"));
        shell.refused(&["padron", "rollback"]).await;

        let (txt, csv, first) = zips("first", 1_500, 8);
        let complaint = shell.refused(&["padron", "import", &txt, &csv]).await;
        assert!(complaint.contains("500000") || complaint.contains("500,000"), "a listing of this size is refused unless told: {complaint}");
        let report = shell.json(&["padron", "import", &txt, &csv, "--padron-rows-min", "1000"]).await;
        assert_eq!((&report["active"]["rows"], &report["active"]["cutoff"], &report["unchanged"]), (&json!(1_500), &json!(first), &json!(false)), "{report}");
        assert_eq!(shell.json(&["padron", "import", &txt, &csv, "--padron-rows-min", "1000"]).await["unchanged"], true);

        let (txt, csv, second) = zips("second", 1_600, 1);
        shell.json(&["padron", "import", &txt, &csv, "--padron-rows-min", "1000"]).await;
        let status = shell.json(&["padron", "status"]).await;
        assert_eq!((&status["active"]["cutoff"], &status["previous"]["cutoff"]), (&json!(second), &json!(first)), "{status}");
        let (small, small_csv, _) = zips("small", 1_010, 0);
        assert!(shell.refused(&["padron", "import", &small, &small_csv, "--padron-rows-min", "1000"]).await.contains('%'), "half the size is refused");
        let not_a_zip = shell.path("page.zip");
        std::fs::write(&not_a_zip, "<html>Bloqueado</html>").unwrap();
        shell.refused(&["padron", "import", &not_a_zip]).await;
        assert_eq!(shell.run(&["padron", "import"]).await.code, Some(2));

        assert_eq!(shell.json(&["padron", "rollback"]).await["cutoff"], json!(first));
        let status = shell.json(&["padron", "status"]).await;
        assert_eq!(status["active"]["cutoff"], json!(first));
        let outcomes: Vec<&str> = status["history"].as_array().unwrap().iter().map(|entry| entry["outcome"].as_str().unwrap()).collect();
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == "refused").count(), 3, "{status}");
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == "activated").count(), 3, "{status}");
        assert_eq!(outcomes[0], "activated", "the newest first");
    }
}

/// The steps of the doctor's answer by name.
fn step<'a>(answer: &'a Value, name: &str) -> &'a Value {
    answer["steps"].as_array().expect("a list").iter().find(|step| step["step"].as_str().expect("a text").contains(name)).unwrap_or_else(|| panic!("no step {name}: {answer}"))
}

#[tokio::test]
async fn the_doctor_tells_what_is_wrong_and_what_to_do() {
    for shell in shells().await {
        let sandbox = Arc::new(SandboxOdoo::dominican_sample("Nova"));
        let (url, server) = serve(Arc::clone(&sandbox).router()).await;
        let file = shell.path("secret");
        std::fs::write(&file, sandbox.api_key()).unwrap();
        let id = shell.tenant(&["--plan", "pro", "--odoo-url", &url, "--odoo-db", sandbox.database(), "--odoo-user", sandbox.login(), "--odoo-secret-file", &file]).await;
        let answer = shell.json(&["doctor", "--tenant", &id]).await;
        assert_eq!(answer["ok"], true, "{answer}");
        for name in ["version", "login", "rights: crear_cotizacion", "latency"] {
            assert!(step(&answer, name)["ok"] == true && step(&answer, name)["took_ms"].is_u64(), "{name}");
        }
        let text = shell.run(&["doctor", "--tenant", &id]).await;
        assert!(text.code == Some(0) && text.stdout.lines().all(|line| line.starts_with("ok ")), "{text:?}");

        // A wrong key, a wrong database, nobody there: exit code 1, and each failure with its remedy.
        let wrong = shell.path("wrong");
        std::fs::write(&wrong, "0123456789abcdef0123456789abcdef01234567").unwrap();
        let closed = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            format!("http://{}", listener.local_addr().unwrap())
        };
        let failures: [(&[&str], &str); 3] = [
            (&["--odoo-secret-file", &wrong], "clave API"),
            (&["--odoo-secret-file", &file, "--odoo-db", "otra-base"], "base de datos"),
            (&["--odoo-db", sandbox.database(), "--odoo-url", &closed], "Intente de nuevo"),
        ];
        for (edit, remedy) in failures {
            shell.json(&[&["tenant", "edit", &id], edit].concat()).await;
            let ran = shell.run(&["--json", "doctor", "--tenant", &id]).await;
            assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""), "{edit:?}: {ran:?}");
            let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
            let failed: Vec<&Value> = answer["steps"].as_array().unwrap().iter().filter(|step| step["ok"] == false).collect();
            assert!(answer["ok"] == false && !failed.is_empty(), "{edit:?}: {answer}");
            assert!(failed.iter().all(|step| step["remedy"].as_str().is_some_and(|text| text.len() > 10)), "{edit:?}: {answer}");
            assert!(failed[0]["remedy"].as_str().unwrap().contains(remedy), "{edit:?}: {answer}");
            assert!(!ran.stdout.contains("0123456789abcdef") && !ran.stdout.contains(sandbox.api_key()));
            let text = shell.run(&["doctor", "--tenant", &id, "--language", "en"]).await;
            assert!(text.code == Some(1) && text.stdout.contains("FAIL") && text.stdout.contains('→'), "{text:?}");
        }
        drop(server);
        let bare = shell.tenant(&["--plan", "pro"]).await;
        assert!(shell.refused(&["doctor", "--tenant", &bare]).await.contains("no Odoo connection"));
        // Without the switch for trusted networks the address itself is the fault.
        let key = shell.path("key");
        let ran = shell.run_with(&["--json", "doctor", "--tenant", &id], &[("DUNET_VAULT_KEY_FILE", &key), ("DUNET_ALLOW_PRIVATE_ODOO", "false")], "").await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
    }
}

#[tokio::test]
async fn keys_are_rotated_while_the_old_one_is_at_hand() {
    for shell in shells().await {
        let sandbox = Arc::new(SandboxOdoo::dominican_sample("Nova"));
        let (url, _server) = serve(Arc::clone(&sandbox).router()).await;
        let file = shell.path("secret");
        std::fs::write(&file, sandbox.api_key()).unwrap();
        let id = shell.tenant(&["--plan", "pro", "--odoo-url", &url, "--odoo-db", sandbox.database(), "--odoo-user", sandbox.login(), "--odoo-secret-file", &file]).await;
        shell.tenant(&[]).await;
        shell.write_key("new", &[9; 32]);
        let (old, new) = (shell.path("key"), shell.path("new"));
        let only = |key: &str| [("DUNET_VAULT_KEY_FILE", key.to_owned())];
        let doctor = async |environment: &[(&str, String)]| {
            let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
            shell.run_with(&["--json", "doctor", "--tenant", &id], &environment, "").await.code
        };
        assert_eq!(doctor(&only(&old)).await, Some(0));
        assert_ne!(doctor(&only(&new)).await, Some(0), "the new key alone opens nothing yet");
        let both = [("DUNET_VAULT_KEY_FILE", new.as_str()), ("DUNET_VAULT_PREVIOUS_KEY_FILE", old.as_str())];
        let rotate = ["--json", "rotate-keys"];
        assert_eq!(shell.run_with(&rotate, &both, "").await.json()["rewrapped"], 2);
        assert_eq!(shell.run_with(&rotate, &both, "").await.json()["rewrapped"], 0, "once is enough");
        assert_eq!(doctor(&only(&new)).await, Some(0));
        assert_ne!(doctor(&only(&old)).await, Some(0), "the old key opens nothing any more");
    }
}

#[tokio::test]
async fn settings_of_the_machine_are_not_needed() {
    // The binary runs with an empty environment but for what it is told: no HOME, no PATH.
    assert!(setting("PATH").is_some());
    let shell = Shell::new(Backend::Sqlite).await;
    let list = shell.json(&["tenant", "list"]).await;
    assert_eq!(list, json!([]));
}
