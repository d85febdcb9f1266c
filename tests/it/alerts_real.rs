//! A letter through a real SMTP server, and a webhook checked by the specification's own library: packages from PyPI, which `scripts/receiver` installs.
//! Left out, with a line, where they are not.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use dunet::clock::Clock;
use dunet::domain::users::Level;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::api::Program;
use crate::support::{Backend, TestApp, left_out, setting};

/// The receiver, until it is dropped.
struct Receiver {
    child: Child,
    input: ChildStdin,
    lines: UnboundedReceiver<String>,
    smtp: u64,
    http: u64,
}

impl Receiver {
    async fn start() -> Option<Self> {
        let Some(python) = setting("DUNET_TEST_RECEIVER") else {
            left_out("a real SMTP server and Standard Webhooks' own check (DUNET_TEST_RECEIVER is not set; scripts/test sets it)");
            return None;
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/receiver.py");
        let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the receiver starts");
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (sender, lines) = unbounded_channel();
        std::thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        let mut receiver = Self { child, input, lines, smtp: 0, http: 0 };
        let ports = receiver.next().await;
        (receiver.smtp, receiver.http) = (ports["smtp"].as_u64().expect("a port"), ports["http"].as_u64().expect("a port"));
        Some(receiver)
    }

    async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(Duration::from_secs(30), self.lines.recv()).await.expect("in time").expect("it runs");
        serde_json::from_str(&line).expect("JSON")
    }

    async fn secret(&mut self, secret: &str) {
        self.input.write_all(format!("{secret}\n").as_bytes()).expect("it listens");
        assert!(self.next().await["secrets"].is_u64());
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn letters_and_webhooks_arrive_at_software_of_others() {
    let Some(mut receiver) = Receiver::start().await else { return };
    let smtp = format!("smtp://127.0.0.1:{}", receiver.smtp);
    let folder = tempfile::tempdir().unwrap();
    let database = crate::support::database(Backend::Sqlite, folder.path()).await;
    drop(rustls::crypto::ring::default_provider().install_default());
    // Webhooks of another day are refused by whoever checks them: this service's clock is the real one's.
    let app = TestApp::start_at(Backend::Sqlite, folder, database, Clock::fixed(Clock::system().now()), &["--smtp-url", &smtp, "--mail-from", "Dunet <no-reply@dunet.do>"]).await;
    let tenant = app.tenant("Ñandú & Cía").await;
    app.member(tenant.id, "ana@nandu.do", Level::Owner).await;
    let program = Program::new(&app, "prueba").await;
    let path = format!("/admin/api/clients/{}/alerts", tenant.id);
    let body = json!({ "mail": true, "topics": ["key"], "webhook_url": format!("http://127.0.0.1:{}/x", receiver.http), "version": 0 });
    let first = program.send(Method::PUT, &path, &body).await.json["secret"].as_str().unwrap().to_owned();
    let second = program.send(Method::POST, &format!("{path}/secret"), &json!({})).await.json["secret"].as_str().unwrap().to_owned();
    for secret in [first.as_str(), second.as_str(), "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
        receiver.secret(secret).await;
    }
    let tried = program.send(Method::POST, &format!("{path}/test"), &json!({})).await;
    assert_eq!((tried.status, &tried.json["state"]), (StatusCode::OK, &json!("done")), "{tried:?}");
    let test = receiver.next().await;
    assert_eq!((&test["webhook"]["type"], &test["fits"][0], &test["fits"][1]), (&json!("test"), &json!(true), &json!(true)), "{test}");
    assert!(test["fits"][2].is_string(), "another secret does not fit: {test}");

    // A key that ends in three days: a letter and a webhook.
    let day = (app.clock.now() + chrono::Duration::days(3)).date_naive();
    let key = format!("/admin/api/clients/{}/odoo/key", tenant.id);
    assert_eq!(program.send(Method::PUT, &key, &json!({ "ends_on": day, "renew": false })).await.status, StatusCode::OK);
    app.state.alerts.look().await;
    assert_eq!(app.state.alerts.deliver(&app.base.parse().unwrap(), &tokio_util::sync::CancellationToken::new()).await.unwrap(), 2);
    let mut came = [receiver.next().await, receiver.next().await];
    came.sort_by_key(|came| came.get("letter").is_none());
    let [letter, webhook] = came;
    assert_eq!((&letter["to"], &letter["sender"], &letter["mime"]), (&json!(["ana@nandu.do"]), &json!("no-reply@dunet.do"), &json!("text/plain")), "{letter}");
    assert_eq!(letter["subject"], "La clave de Odoo vence pronto");
    assert!(letter["letter"].as_str().unwrap().contains("Ñandú & Cía") && letter["letter"].as_str().unwrap().contains("Nueva clave API"), "{letter}");
    assert_eq!(
        (&webhook["webhook"]["type"], &webhook["fits"][1], &webhook["webhook"]["data"]["client"]["name"]),
        (&json!("odoo_key.expiring"), &json!(true), &json!("Ñandú & Cía")),
        "{webhook}"
    );
}
