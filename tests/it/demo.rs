//! `dunet demo` as a newcomer runs it: one command, and everything it prints works.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::left_out;
use crate::support::mcp::McpClient;
use crate::support::portal::Browser;

/// A debug build makes and imports its 20,000 taxpayers in a few seconds; a busy machine takes longer.
const READY_WITHIN: Duration = Duration::from_secs(120);
const END_WITHIN: Duration = Duration::from_secs(30);

/// A running demo; killed if the test leaves it.
struct Demo {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Demo {
    fn start(arguments: &[&str], temporary: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dunet"))
            .arg("demo")
            .args(arguments)
            .env_clear()
            // What stands in a newcomer's environment must not be used, let alone changed.
            .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing")
            .env("DUNET_DATA_DIR", temporary.join("not-this"))
            .env("TMPDIR", temporary)
            .current_dir(temporary)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The lines up to the one that holds this.
    fn until(&mut self, needle: &str) -> String {
        let mut text = String::new();
        while !text.contains(needle) {
            match self.lines.recv_timeout(READY_WITHIN) {
                Ok(line) => text.push_str(&format!("{line}\n")),
                Err(error) => panic!("no {needle:?} ({error}); so far: {text}; exit: {:?}", self.child.try_wait()),
            }
        }
        text
    }

    /// Sends a signal and gives the exit code.
    fn end(&mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill runs").success());
        let mut waited = Duration::ZERO;
        while waited < END_WITHIN {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(50));
            waited += Duration::from_millis(50);
        }
        panic!("the demo does not end");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended, as it should.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).expect("a folder").next().is_none()
}

#[tokio::test]
async fn one_line_of_json_and_everything_in_it_works() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(&["--json", "--port", "0"], temporary.path());
    let line: Value = serde_json::from_str(&demo.until("\n")).unwrap();
    let text = |name: &str| line[name].as_str().unwrap_or_else(|| panic!("{name} in {line}")).to_owned();
    for field in [
        "mcp_url",
        "token_mcp_url",
        "token",
        "other_token",
        "admin_url",
        "admin_email",
        "admin_password",
        "data_dir",
        "tenant_id",
        "other_tenant_id",
        "odoo_url",
        "example_rnc",
        "curl",
    ] {
        assert!(!text(field).is_empty(), "{field}");
    }
    assert!(text("mcp_url").starts_with("http://127.0.0.1:") && text("mcp_url").ends_with("/mcp") && text("token_mcp_url").ends_with("/mcp/token"));
    let data = text("data_dir");
    assert!(Path::new(&data).starts_with(temporary.path()) && Path::new(&data).is_dir());

    if Command::new("curl").arg("--version").output().is_ok() {
        let curl = text("curl");
        let output = tokio::task::spawn_blocking(move || Command::new("sh").args(["-c", &curl]).output()).await.unwrap().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)));
        assert_eq!(answer["result"]["structuredContent"]["nombre"], "INDEXA SRL", "{answer}");
    } else {
        left_out("the printed curl (there is no curl)");
    }

    let nova = McpClient::modern(&text("mcp_url"), &text("token"));
    let aurora = McpClient::legacy(&text("token_mcp_url"), &text("other_token"));
    assert_eq!(nova.call("odoo_contexto", json!({})).await["empresa"], "Ferretería Nova");
    assert_eq!(aurora.call("odoo_contexto", json!({})).await["empresa"], "Clínica Aurora");
    let found = aurora.call("consultar_rnc_dgii", json!({ "rnc": text("example_rnc") })).await;
    assert_eq!((found["nombre"].as_str(), found["antiguedad_dias"].as_i64().is_some_and(|days| days <= 1)), (Some("INDEXA SRL"), true), "{found}");

    let mut quote = json!({ "cliente": "Colegio Nuevo Amanecer", "lineas": [{ "producto": "MAR-016", "cantidad": 2 }, { "producto": "CIN-005" }] });
    let preview = nova.call("crear_cotizacion", quote.clone()).await;
    quote["codigo_confirmacion"] = preview["codigo_confirmacion"].clone();
    let made = nova.call("crear_cotizacion", quote).await;
    assert_eq!(made["total"], preview["vista_previa"]["total"]);
    assert_eq!(nova.call("ver_cotizacion", json!({ "numero": made["numero"] })).await["total"], made["total"]);
    assert_eq!(aurora.fail("ver_cotizacion", json!({ "numero": made["numero"] })).await["codigo"], "no_encontrado", "the other company's");
    let page = reqwest::Client::builder().no_proxy().build().unwrap().get(made["enlace"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(page.status(), 200);

    let browser = Browser::at(text("admin_url").strip_suffix("/admin").unwrap());
    assert_eq!(browser.sign_in(&text("admin_email"), "otra frase cualquiera").await.status, 422);
    assert_eq!(browser.sign_in(&text("admin_email"), &text("admin_password")).await.status, 303);
    assert_eq!(browser.get("/admin/people").await.status, 200, "an operator");

    let code = tokio::task::spawn_blocking(move || demo.end("-INT")).await.unwrap();
    assert_eq!(code, Some(0));
    assert!(!Path::new(&data).exists() && is_empty(temporary.path()), "nothing is kept");
}

#[tokio::test]
async fn the_text_for_people_has_a_line_for_every_client() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(&["--port", "0"], temporary.path());
    let text = demo.until("--tool-arg");
    for part in [
        "claude mcp add --transport http dunet http://127.0.0.1:",
        "\"mcpServers\"",
        "code --add-mcp '{",
        "npx @modelcontextprotocol/inspector",
        "curl -s http://127.0.0.1:",
        "Ferretería Nova",
        "Clínica Aurora",
        "Ctrl-C",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text.matches("dunet_live_").count(), 7, "both tokens, and one of them in five ready lines: {text}");
    assert_eq!(tokio::task::spawn_blocking(move || demo.end("-TERM")).await.unwrap(), Some(0));
    assert!(is_empty(temporary.path()));
}
