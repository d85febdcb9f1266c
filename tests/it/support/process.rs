//! A second service on the same database: the binary itself, which can be killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::{TestApp, VAULT_KEY};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// `dunet serve`; killed when dropped.
pub(crate) struct Process {
    child: Child,
    base: String,
}

impl Process {
    /// Starts it beside that service: the same database and vault key, a folder of its own, and more environment.
    pub(crate) async fn serve(app: &TestApp, environment: &[(&str, &str)]) -> Self {
        let folder = app.folder.path().join("process");
        std::fs::create_dir_all(&folder).expect("a folder");
        let key = folder.join("key");
        std::fs::write(&key, STANDARD.encode(VAULT_KEY)).expect("a key file");
        let mut child = Command::new(env!("CARGO_BIN_EXE_dunet"))
            .args(["serve", "--port", "0", "--log-format", "json", "--allow-private-odoo"])
            .env_clear()
            .env("DATABASE_URL", app.database_url.expose_secret())
            .env("DUNET_DATA_DIR", &folder)
            .env("DUNET_VAULT_KEY_FILE", &key)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = child.stderr.take().expect("piped");
        let (sender, ready) = mpsc::channel();
        // Reads to the end, or the service would wait for room in the pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if event["message"] == "ready" {
                    // Nobody waits for a second one.
                    drop(sender.send(event["public_url"].as_str().expect("an address").trim_end_matches('/').to_owned()));
                } else if event["level"] == "ERROR" || event.is_null() {
                    // For whoever reads the output of a test that failed.
                    drop(writeln!(std::io::stderr().lock(), "the other service: {line}"));
                }
            }
        });
        let base = tokio::task::spawn_blocking(move || ready.recv_timeout(READY_WITHIN)).await.expect("no panic").expect("ready in time");
        Self { child, base }
    }

    /// The address of its door.
    pub(crate) fn mcp_url(&self) -> String {
        format!("{}/mcp", self.base)
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
