//! Odoos that are down, slow, lying or no Odoo at all: a clear answer in time, recorded, and nobody else's trouble.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dunet::demo::sandbox::SandboxOdoo;
use dunet::domain::tenants::NewOdoo;
use dunet::odoo::ProtocolChoice;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::odoo::{self, Fault, Proxy, request, response, settings, start_guarded};
use crate::support::{TestApp, backends, serve};

const LIMITS: [&str; 6] = ["--call-deadline-ms", "2000", "--odoo-request-timeout-ms", "1500", "--odoo-answer-bytes-max", "200000"];
/// The deadline, and room for a busy machine.
const PATIENCE: Duration = Duration::from_millis(2_000 + 2_500);
const SECRET: &str = "s3creto-de-la-empresa";

const LOGIN_PAGE: &str = "<!DOCTYPE html><html><head><title>Odoo | Iniciar sesión</title></head><body><form class=\"oe_login_form\"></form></body></html>";
const SERVER_ERROR: &str =
    "<!doctype html><title>500 Internal Server Error</title><h1>Internal Server Error</h1><pre>Traceback (most recent call last):\n  File \"/opt/odoo/http.py\", line 1</pre>";
const NO_DATABASE: &str =
    "<!DOCTYPE html>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>No database is selected and the requested URL was not found in the server-wide controllers.</p>\n";

/// What a stub does with every request.
#[derive(Clone)]
enum Habit {
    /// Answers this, whole.
    Says(Vec<u8>),
    /// Answers this and then nothing more, with the connection open.
    Stalls(&'static str),
    /// A byte now and then, for ever.
    Drips,
    /// As much as is taken, for ever.
    Floods,
    /// Closes without a word.
    HangsUp,
}

async fn behave(mut stream: TcpStream, habit: Habit) {
    if request(&mut stream).await.is_none() {
        return;
    }
    // The other side may be gone at any moment: that ends it.
    let endless = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    match habit {
        Habit::Says(bytes) => drop(stream.write_all(&bytes).await),
        Habit::HangsUp => {}
        Habit::Stalls(text) => {
            drop(stream.write_all(text.as_bytes()).await);
            drop(stream.read(&mut [0; 1]).await);
        }
        Habit::Drips => {
            let mut alive = stream.write_all(endless.as_bytes()).await.is_ok();
            while alive {
                tokio::time::sleep(Duration::from_millis(50)).await;
                alive = stream.write_all(b"1\r\n \r\n").await.is_ok();
            }
        }
        Habit::Floods => {
            let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
            let mut alive = stream.write_all(endless.as_bytes()).await.is_ok();
            while alive {
                alive = stream.write_all(chunk.as_bytes()).await.is_ok();
            }
        }
    }
}

/// A server of that habit, until the set is dropped.
async fn stub(servers: &mut JoinSet<()>, habit: Habit) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    servers.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(behave(stream, habit.clone()));
        }
    });
    url
}

fn at(url: &str, protocol: ProtocolChoice) -> NewOdoo {
    NewOdoo { url: url.parse().expect("an address"), database: "base".to_owned(), login: "agente".to_owned(), secret: SecretString::from(SECRET.to_owned()), protocol }
}

/// Holds an error against what every error must be.
fn check(what: &str, error: &Value, code: &str) {
    assert_eq!(error["codigo"], code, "{what}: {error}");
    let text = error.to_string();
    for part in ["mensaje", "que_hacer", "id_solicitud"] {
        assert!(error[part].as_str().is_some_and(|part| !part.is_empty() && !part.contains("%{")), "{what}: {error}");
    }
    for leak in [SECRET, "Traceback", "/opt/odoo", "panicked", "127.0.0.1", "reqwest", "<html", "<title"] {
        assert!(!text.contains(leak), "{what} shows {leak:?}: {text}");
    }
}

#[tokio::test]
async fn attack_20_whatever_answers_the_call_ends_in_time_with_a_reason() {
    let html = |status: &str, body: &str| Habit::Says(response(status, "content-type: text/html; charset=utf-8\r\n", body));
    let json = |status: &str, body: &str| Habit::Says(response(status, "content-type: application/json\r\n", body));
    let habits: Vec<(&str, Habit, &str)> = vec![
        ("hangs before the headers", Habit::Stalls(""), "odoo_lento"),
        ("hangs within the headers", Habit::Stalls("HTTP/1.1 200 OK\r\ncontent-ty"), "odoo_lento"),
        ("hangs after the headers", Habit::Stalls("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"jsonrpc\""), "odoo_lento"),
        ("drips", Habit::Drips, "odoo_lento"),
        ("floods", Habit::Floods, "respuesta_grande"),
        ("hangs up", Habit::HangsUp, "odoo_caido"),
        ("a login page", html("200 OK", LOGIN_PAGE), "no_es_odoo"),
        ("a redirect", Habit::Says(response("303 See Other", "location: https://otra.example/web/login?token=abc\r\n", "")), "no_es_odoo"),
        ("an error page", html("500 Internal Server Error", SERVER_ERROR), "odoo_fallo"),
        ("too many requests", Habit::Says(response("429 Too Many Requests", "retry-after: 1\r\n", "slow down")), "odoo_ocupado"),
        ("a proxy without its Odoo", html("502 Bad Gateway", "<h1>502</h1>"), "odoo_caido"),
        ("a page that is not there", html("404 Not Found", "<h1>Not Found</h1>"), "no_es_odoo"),
        ("other JSON", json("200 OK", r#"{"hello": "world"}"#), "no_es_odoo"),
        ("no JSON", json("200 OK", "Hallo!"), "no_es_odoo"),
        (
            "an old Odoo",
            json(
                "200 OK",
                r#"{"jsonrpc": "2.0", "id": null, "result": {"server_version": "11.0", "server_version_info": [11, 0, 0, "final", 0, ""], "server_serie": "11.0", "protocol_version": 1}}"#,
            ),
            "odoo_incompatible",
        ),
    ];
    TestApp::everywhere_with(&LIMITS, |app| {
        let habits = habits.clone();
        async move {
            let mut servers = JoinSet::new();
            let closed = {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                format!("http://{}", listener.local_addr().unwrap())
            };
            let mut urls = vec![("refuses connections", closed, "odoo_caido"), ("a name that is nobody's", "http://no-such-host.invalid".to_owned(), "odoo_caido")];
            for (what, habit, code) in habits {
                urls.push((what, stub(&mut servers, habit).await, code));
            }
            for (index, (what, url, code)) in urls.iter().enumerate() {
                let (_, token) = app.tenant_at(what, at(url, ProtocolChoice::Auto)).await;
                let began = Instant::now();
                let error = app.client(&token).fail("buscar_cliente", json!({ "consulta": "Pérez" })).await;
                let took = began.elapsed();
                check(what, &error, code);
                assert!(took < PATIENCE, "{what}: {took:?}");
                assert_eq!(error["reintentable"], json!(["odoo_lento", "odoo_caido", "odoo_ocupado", "odoo_fallo"].contains(code)), "{what}: {error}");
                let row = app.usage_rows(index + 1).await.pop().unwrap();
                assert_eq!((row.tool.as_str(), row.outcome.as_str(), row.error_code.as_deref(), row.counted), ("buscar_cliente", "error", Some(*code), true), "{what}");
                assert!(Duration::from_micros(u64::try_from(row.total_us).unwrap()) < PATIENCE && row.odoo_us <= row.total_us, "{what}: {row:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn attack_20_an_odoo_that_turns_bad_after_the_login() {
    let html = |status: &str, body: &str| response(status, "content-type: text/html; charset=utf-8\r\n", body);
    let faults: Vec<(&str, ProtocolChoice, Fault, &str)> = vec![
        ("a login page", ProtocolChoice::Json2, Fault::Instead(html("200 OK", LOGIN_PAGE)), "no_es_odoo"),
        ("an error page", ProtocolChoice::Json2, Fault::Instead(html("500 Internal Server Error", SERVER_ERROR)), "odoo_fallo"),
        ("no such database", ProtocolChoice::Json2, Fault::Instead(html("404 Not Found", NO_DATABASE)), "odoo_base_datos"),
        ("too many requests", ProtocolChoice::JsonRpc, Fault::Instead(response("429 Too Many Requests", "retry-after: 1\r\n", "")), "odoo_ocupado"),
        ("cut JSON", ProtocolChoice::Json2, Fault::Instead(response("200 OK", "content-type: application/json\r\n", "{\"length\": 3, \"records\": [{\"id\"")), "odoo_caido"),
        ("other JSON", ProtocolChoice::JsonRpc, Fault::Instead(response("200 OK", "content-type: application/json\r\n", "{\"ok\": true}")), "no_es_odoo"),
        (
            "cut XML",
            ProtocolChoice::XmlRpc,
            Fault::Instead(response("200 OK", "content-type: text/xml\r\n", "<?xml version='1.0'?><methodResponse><params><param><value><str")),
            "odoo_caido",
        ),
        (
            "XML with entities",
            ProtocolChoice::XmlRpc,
            Fault::Instead(response(
                "200 OK",
                "content-type: text/xml\r\n",
                "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><methodResponse><params><param><value><string>&b;</string></value></param></params></methodResponse>",
            )),
            "no_es_odoo",
        ),
        ("a hang", ProtocolChoice::XmlRpc, Fault::Instead(Vec::new()), "odoo_lento"),
        ("a hang within the answer", ProtocolChoice::Json2, Fault::Instead(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"len".to_vec()), "odoo_lento"),
        (
            "too large",
            ProtocolChoice::Json2,
            Fault::Instead(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999999999\r\n\r\n{".to_vec()),
            "respuesta_grande",
        ),
        (
            "a fault with a traceback",
            ProtocolChoice::XmlRpc,
            Fault::Instead(response(
                "200 OK",
                "content-type: text/xml\r\n",
                "<?xml version='1.0'?><methodResponse><fault><value><struct><member><name>faultCode</name><value><int>1</int></value></member><member><name>faultString</name><value><string>Traceback (most recent call last):\n  File \"/opt/odoo/x.py\", line 1, in f\nZeroDivisionError: division by zero\n</string></value></member></struct></value></fault></methodResponse>",
            )),
            "odoo_fallo",
        ),
    ];
    TestApp::everywhere_with(&LIMITS, |app| {
        let faults = faults.clone();
        async move {
            for (what, wire, fault, code) in faults {
                let sandbox = Arc::new(SandboxOdoo::dominican_sample("Inestable"));
                let (url, _server) = serve(Arc::clone(&sandbox).router()).await;
                let proxy = Proxy::start(&url).await;
                let (_, token) = app.tenant_at(what, settings(&sandbox, &proxy.url, wire)).await;
                let client = app.client(&token);
                let search = json!({ "consulta": "Pérez" });
                assert_eq!(client.call("buscar_cliente", search.clone()).await["total"], 4, "{what}");
                proxy.break_next("web_search_read", fault);
                let began = Instant::now();
                let error = client.fail("buscar_cliente", search.clone()).await;
                assert!(began.elapsed() < PATIENCE, "{what}: {:?}", began.elapsed());
                check(what, &error, code);
                assert!(!error.to_string().contains(sandbox.api_key()), "{what}: {error}");
                // And well again with the next call, but for the one that asked for a pause.
                if code == "odoo_ocupado" {
                    assert_eq!(client.fail("buscar_cliente", search.clone()).await["codigo"], "odoo_en_pausa");
                    // As long as it asked for.
                    tokio::time::sleep(Duration::from_millis(1_200)).await;
                }
                assert_eq!(client.call("buscar_cliente", search).await["total"], 4, "{what}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_read_whose_connection_dies_is_sent_once_more() {
    TestApp::everywhere_with(&LIMITS, |app| async move {
        let sandbox = Arc::new(SandboxOdoo::dominican_sample("Inestable"));
        let (url, _server) = serve(Arc::clone(&sandbox).router()).await;
        let proxy = Proxy::start(&url).await;
        let (_, token) = app.tenant_at("Inestable", settings(&sandbox, &proxy.url, ProtocolChoice::Json2)).await;
        let client = app.client(&token);
        client.call("buscar_cliente", json!({ "consulta": "Pérez" })).await;
        let before = proxy.seen("web_search_read");
        proxy.break_next("web_search_read", Fault::LoseAnswer);
        client.call("buscar_cliente", json!({ "consulta": "Pérez" })).await;
        assert_eq!(proxy.seen("web_search_read"), before + 2);
    })
    .await;
}

#[tokio::test]
async fn attack_20_one_tenants_hang_is_nobody_elses() {
    TestApp::everywhere_with(&LIMITS, |app| async move {
        let mut servers = JoinSet::new();
        let (_, token) = app.tenant_at("Colgada", at(&stub(&mut servers, Habit::Stalls("")).await, ProtocolChoice::Auto)).await;
        let healthy = app.tenant("Sana").await;
        app.client(&healthy.token).call("buscar_cliente", json!({ "consulta": "Pérez" })).await;
        let mut hanging = JoinSet::new();
        for _ in 0..30 {
            let client = app.client(&token);
            hanging.spawn(async move { client.fail("buscar_cliente", json!({ "consulta": "Pérez" })).await });
        }
        let client = app.client(&healthy.token);
        for _ in 0..5 {
            assert_eq!(client.call("buscar_cliente", json!({ "consulta": "Pérez" })).await["total"], 4);
        }
        assert!(hanging.try_join_next().is_none(), "the healthy tenant was served while the other still hung");
        for error in hanging.join_all().await {
            check("a hang", &error, "odoo_lento");
        }
    })
    .await;
}

#[tokio::test]
async fn attack_19_private_addresses_are_refused_unless_allowed() {
    for backend in backends() {
        let mut app = start_guarded(backend).await;
        let sandbox = Arc::new(SandboxOdoo::dominican_sample("Interna"));
        let (url, _server) = serve(Arc::clone(&sandbox).router()).await;
        let touched = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut watcher = JoinSet::new();
        let counter = Arc::clone(&touched);
        watcher.spawn(async move {
            while listener.accept().await.is_ok() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        let addresses = [
            url.clone(),
            format!("http://127.0.0.1:{port}"),
            format!("https://127.0.0.1:{port}"),
            format!("https://localhost:{port}"),
            format!("https://[::ffff:127.0.0.1]:{port}"),
            format!("https://0x7f000001:{port}"),
            "https://10.0.0.1".to_owned(),
            "http://169.254.169.254".to_owned(),
        ];
        for address in addresses {
            let (_, token) = app.tenant_at(&address, odoo::settings(&sandbox, &address, ProtocolChoice::Auto)).await;
            let began = Instant::now();
            let error = app.client(&token).fail("buscar_cliente", json!({ "consulta": "Pérez" })).await;
            check(&address, &error, "odoo_direccion");
            assert!(began.elapsed() < Duration::from_secs(3), "{address}: refused, not tried");
        }
        assert_eq!(touched.load(Ordering::SeqCst), 0, "nothing was connected to");
        app.stop().await;
    }
}
