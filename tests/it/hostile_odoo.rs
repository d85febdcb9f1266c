//! Odoos that do their worst, from the first request on and after a good login, over every wire: each call ends in a clear error, in time
//! and with little taken in, and another tenant's calls go on meanwhile.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dunet::demo::sandbox::SandboxOdoo;
use dunet::odoo::ProtocolChoice;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::hostile::{Hostile, Step};
use crate::support::mcp::McpClient;
use crate::support::odoo::{response, settings};
use crate::support::{TestApp, serve};

/// Milliseconds for a request where an Odoo hangs, and where it does not: a good call must not fail because the machine is busy.
const HANGING_MS: &str = "3000";
const PATIENT_MS: &str = "10000";

fn limits(request_timeout_ms: &'static str) -> [&'static str; 12] {
    [
        "--call-deadline-ms",
        "12000",
        "--odoo-request-timeout-ms",
        request_timeout_ms,
        "--odoo-answer-bytes-max",
        "4000000",
        "--tenant-burst-calls",
        "10000",
        "--tenant-calls-per-minute",
        "600000",
        // Each behaviour is met, not only the first five.
        "--odoo-failures-max",
        "0",
    ]
}

const ANSWER_BYTES_MAX: u64 = 4_000_000;
/// What may lie in the buffers of both sockets on loopback, bytes: Linux lets them grow to 4 MiB and 6 MiB.
const BUFFERS_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The deadline, and room for an unoptimised parse on a busy machine.
const PATIENCE: Duration = Duration::from_millis(12_000 + 12_000);
/// Hostile tenants at once.
const AT_ONCE: usize = 6;
/// The same where megabytes are parsed, which takes an unoptimised build whole seconds of both cores.
const AT_ONCE_PARSING: usize = 2;

const JSON: &[Wire] = &[Wire::Json2, Wire::JsonRpc];
const XML: &[Wire] = &[Wire::XmlRpc];
const ALL: &[Wire] = &[Wire::Json2, Wire::JsonRpc, Wire::XmlRpc];
/// HTTP is the same under every wire: one shows it.
const ONE: &[Wire] = &[Wire::Json2];

/// The wire of a tenant; `First` is any, before the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    First,
    Json2,
    JsonRpc,
    XmlRpc,
}

impl Wire {
    fn choice(self) -> ProtocolChoice {
        match self {
            Self::First => ProtocolChoice::Auto,
            Self::Json2 => ProtocolChoice::Json2,
            Self::JsonRpc => ProtocolChoice::JsonRpc,
            Self::XmlRpc => ProtocolChoice::XmlRpc,
        }
    }

    /// A whole answer around that JSON or XML value.
    fn answer(self, json: &str, xml: &str) -> Vec<Step> {
        match self {
            Self::Json2 => page("200 OK", "application/json", json),
            Self::First | Self::JsonRpc => page("200 OK", "application/json", &format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{json}}}")),
            Self::XmlRpc => page("200 OK", "text/xml", &format!("<?xml version='1.0'?><methodResponse><params><param>{xml}</param></params></methodResponse>")),
        }
    }

    /// The head of an answer that goes on.
    fn head(self, headers: &str) -> Vec<u8> {
        let kind = if self == Self::XmlRpc { "text/xml" } else { "application/json" };
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{headers}\r\n").into_bytes()
    }
}

fn page(status: &str, kind: &str, body: &str) -> Vec<Step> {
    vec![Step::Say(response(status, &format!("content-type: {kind}\r\n"), body))]
}

fn said(bytes: impl AsRef<[u8]>) -> Step {
    Step::Say(bytes.as_ref().to_vec())
}

fn again(bytes: impl AsRef<[u8]>) -> Step {
    Step::Repeat(bytes.as_ref().to_vec())
}

/// Two gigabytes of zeros in two megabytes would take long to make; 64 MiB in 64 KiB does.
fn gzip_bomb() -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        packer.write_all(&vec![b' '; 1 << 20]).expect("packed");
    }
    packer.finish().expect("packed")
}

/// One hostile behaviour.
struct Case {
    what: &'static str,
    /// Over which wires it is shown after a login.
    wires: &'static [Wire],
    script: Box<dyn Fn(Wire) -> Vec<Step> + Send + Sync>,
    /// The code after a login.
    after: &'static str,
    /// The code when it is so from the first request; none where that is another wire's matter.
    first: Option<&'static str>,
    /// Requests that one call may cost after the login.
    requests_max: usize,
}

fn case(
    what: &'static str,
    wires: &'static [Wire],
    after: &'static str,
    first: impl Into<Option<&'static str>>,
    script: impl Fn(Wire) -> Vec<Step> + Send + Sync + 'static,
) -> Case {
    Case { what, wires, script: Box::new(script), after, first: first.into(), requests_max: 1 }
}

/// A read whose connection breaks before a byte of the answer is sent once more.
fn twice(case: Case) -> Case {
    Case { requests_max: 2, ..case }
}

fn time_cases() -> Vec<Case> {
    let slow = "odoo_lento";
    vec![
        case("hangs before the headers", ALL, slow, slow, |_| vec![Step::Hang]),
        case("hangs within the headers", ONE, slow, slow, |_| vec![said("HTTP/1.1 200 OK\r\ncontent-ty"), Step::Hang]),
        case("hangs after the headers", ALL, slow, slow, |wire| vec![said(wire.head("content-length: 100\r\n")), Step::Hang]),
        case("hangs within the body", ALL, slow, slow, |wire| {
            vec![said(wire.head("content-length: 100\r\n")), said(if wire == Wire::XmlRpc { "<?xml" } else { "{\"len" }), Step::Hang]
        }),
        case("drips its headers", ONE, slow, slow, |_| vec![said("HTTP/1.1 200 OK\r\n"), Step::Drip(b"x-a: b\r\n".to_vec())]),
        case("drips its body", ALL, slow, slow, |wire| vec![said(wire.head("transfer-encoding: chunked\r\n")), Step::Drip(b"1\r\n \r\n".to_vec())]),
        case("says 'continue' for ever", ONE, slow, slow, |_| vec![Step::Drip(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())]),
        case("promises more than it sends and keeps quiet", ONE, slow, slow, |wire| vec![said(wire.head("content-length: 900\r\n")), said("{}"), Step::Hang]),
    ]
}

fn size_cases() -> Vec<Case> {
    let (large, down) = ("respuesta_grande", "odoo_caido");
    let chunked = |wire: Wire| said(wire.head("transfer-encoding: chunked\r\n"));
    let chunk = |size: usize| again(format!("{size:x}\r\n{}\r\n", " ".repeat(size)));
    vec![
        case("an endless body in chunks", ALL, large, large, move |wire| vec![chunked(wire), chunk(4_096)]),
        case("an endless body without a length", ALL, large, large, |_| vec![said("HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n["), again("[1],")]),
        case("one gigabyte", ALL, large, large, |wire| vec![said(wire.head("content-length: 1073741824\r\n")), again("[0],")]),
        case("a chunk of two gigabytes", ONE, large, large, move |wire| vec![chunked(wire), said("7fffffff\r\n"), again("[0],")]),
        case("a chunk's size beyond all numbers", ONE, down, down, move |wire| vec![chunked(wire), said("fffffffffffffffff\r\n"), again(" ")]),
        case("an endless chunk extension", ONE, down, down, move |wire| vec![chunked(wire), said("5;"), again("a=b;")]),
        case("endless trailers", ONE, down, down, move |wire| vec![chunked(wire), said("0\r\n"), again("x-a: b\r\n")]),
        twice(case("ten thousand headers", ONE, down, down, |wire| vec![said(wire.head(&"x-a: b\r\n".repeat(10_000))), said("{}")])),
        twice(case("endless headers", ONE, down, down, |_| vec![said("HTTP/1.1 200 OK\r\n"), again("x-a: b\r\n")])),
        twice(case("one endless header", ONE, down, down, |_| vec![said("HTTP/1.1 200 OK\r\nx-a: "), again("abcdefgh")])),
        case("a gzip bomb that was not asked for", ALL, down, down, |wire| {
            let bomb = gzip_bomb();
            vec![said(wire.head(&format!("content-encoding: gzip\r\ncontent-length: {}\r\n", bomb.len()))), Step::Say(bomb)]
        }),
        case("packed bytes under no name", ALL, "no_es_odoo", "no_es_odoo", |wire| {
            let bomb = gzip_bomb();
            vec![said(wire.head(&format!("content-length: {}\r\n", bomb.len()))), Step::Say(bomb)]
        }),
        case("a length too long", ONE, down, down, |wire| vec![said(wire.head("content-length: 900\r\n")), said("{\"length\": 0, \"records\": []}")]),
        case("a length too short", ALL, down, "no_es_odoo", |wire| {
            let body = if wire == Wire::XmlRpc { "<?xml version='1.0'?><methodResponse>" } else { "{\"length\": 0, \"records\": []}" };
            vec![said(wire.head("content-length: 12\r\n")), said(body)]
        }),
        twice(case("two lengths", ONE, down, down, |wire| vec![said(wire.head("content-length: 2\r\ncontent-length: 9\r\n")), said("{}")])),
        twice(case("a length below zero", ONE, down, down, |wire| vec![said(wire.head("content-length: -5\r\n")), said("{}")])),
    ]
}

fn parse_cases() -> Vec<Case> {
    let (large, no_odoo, down, fault) = ("respuesta_grande", "no_es_odoo", "odoo_caido", "odoo_fallo");
    let xml = |what, after, value: String| case(what, XML, after, None, move |wire| wire.answer("", &value));
    let document = |what, text: String| case(what, XML, no_odoo, None, move |_| page("200 OK", "text/xml", &text));
    let laughs = (1..10).map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10))).collect::<String>();
    let value = "<methodResponse><params><param><value><string>&l9;</string></value></param></params></methodResponse>";
    vec![
        document("a billion laughs", format!("<?xml version='1.0'?><!DOCTYPE l [<!ENTITY l0 \"ja\">{laughs}]>{value}")),
        document("a file by an entity", format!("<?xml version='1.0'?><!DOCTYPE l [<!ENTITY l9 SYSTEM \"file:///etc/passwd\">]>{value}")),
        document("a DTD from elsewhere", format!("<?xml version='1.0'?><!DOCTYPE l SYSTEM \"http://169.254.169.254/x.dtd\">{value}")),
        document("an entity without a DTD", format!("<?xml version='1.0'?>{value}")),
        case("deep nesting", ALL, large, large, |wire| wire.answer(&"[".repeat(1_000_000), &"<value><array><data>".repeat(100_000))),
        case("deep nesting of objects", ALL, large, large, |wire| wire.answer(&"{\"a\":".repeat(300_000), &"<value><struct><member><name>a</name>".repeat(50_000))),
        xml("very many attributes", no_odoo, format!("<value {}>", (0..100_000).map(|n| format!("a{n}='' ")).collect::<String>())),
        xml("the same attribute again and again", no_odoo, format!("<value {}>", "a='' ".repeat(200_000))),
        xml("one attribute of megabytes", no_odoo, format!("<value a='{}'>", "x".repeat(3_000_000))),
        xml("a tag's name of megabytes", "odoo_fallo|no_es_odoo|odoo_caido", format!("<value><{0}>1</{0}></value>", "x".repeat(1_500_000))),
        case("very many values", ALL, large, large, |wire| wire.answer(&format!("[{}0]", "0,".repeat(500_000)), &format!("<value><array><data>{}", "<value/>".repeat(420_000)))),
        case("very many small objects", ALL, large, large, |wire| {
            let member = "<value><struct><member><name/><value/></member></struct></value>";
            wire.answer(&format!("[{}0]", "{\"a\":0},".repeat(60_000)), &format!("<value><array><data>{}", member.repeat(60_000)))
        }),
        case("very many members", JSON, large, large, |wire| wire.answer(&format!("{{{}\"z\":0}}", "\"a\":0,".repeat(450_000)), "")),
        case("a number of a megabyte", JSON, down, no_odoo, |wire| wire.answer(&format!("[{}]", "1".repeat(1_000_000)), "")),
        xml("a number of a megabyte in XML", down, format!("<value><int>{}</int></value>", "1".repeat(1_000_000))),
        case("bytes that are no text", ALL, no_odoo, no_odoo, |wire| {
            let noise: Vec<u8> = (0..=255).cycle().skip(137).take(10_000).collect();
            vec![said(wire.head("content-length: 10000\r\n")), Step::Say(noise)]
        }),
        case("a picture", ALL, no_odoo, no_odoo, |_| {
            vec![said("HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 16\r\n\r\n"), said(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")]
        }),
        case("a login page", ALL, no_odoo, no_odoo, |_| {
            page("200 OK", "text/html; charset=utf-8", "<!DOCTYPE html><html><body><form class=\"oe_login_form\"></form></body></html>")
        }),
        case("no words at all", ALL, down, no_odoo, |_| page("200 OK", "application/json", "")),
        case("no content", ALL, no_odoo, no_odoo, |_| vec![said("HTTP/1.1 204 No Content\r\n\r\n")]),
        case("a number where records belong", ALL, fault, no_odoo, |wire| {
            let xml = "<value><struct><member><name>length</name><value>muchos</value></member><member><name>records</name><value><int>7</int></value></member></struct></value>";
            wire.answer("{\"length\": \"muchos\", \"records\": 7}", xml)
        }),
        case("numbers for records", ALL, fault, no_odoo, |wire| {
            let xml = "<value><struct><member><name>length</name><value><int>2</int></value></member><member><name>records</name><value><array><data><value><int>1</int></value></data></array></value></member></struct></value>";
            wire.answer("{\"length\": 2, \"records\": [1, null]}", xml)
        }),
        case("a list where an object belongs", ALL, fault, no_odoo, |wire| wire.answer("[[[]]]", "<value><array><data/></array></value>")),
    ]
}

fn http_cases() -> Vec<Case> {
    let (no_odoo, down, busy) = ("no_es_odoo", "odoo_caido", "odoo_ocupado");
    let status = |what, status: &'static str, code: &'static str| case(what, ALL, code, code, move |_| page(status, "text/html", "<html><h1>x</h1></html>"));
    let asks = |what, header: &'static str| case(what, ALL, busy, busy, move |_| vec![said(response("429 Too Many Requests", header, "slow down"))]);
    vec![
        asks("429", "retry-after: 7\r\n"),
        asks("429 for ever", "retry-after: 99999999999999999999999\r\n"),
        asks("429 until a date", "retry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n"),
        status("500", "500 Internal Server Error", "odoo_fallo"),
        status("502", "502 Bad Gateway", down),
        status("503", "503 Service Unavailable", busy),
        status("504", "504 Gateway Timeout", "odoo_lento"),
        status("507", "507 Insufficient Storage", "odoo_fallo"),
        status("520", "520 Web Server Returned an Unknown Error", down),
        status("521", "521 Web Server Is Down", down),
        status("525", "525 SSL Handshake Failed", "odoo_tls"),
        status("418", "418 I'm a teapot", no_odoo),
        twice(case("another protocol", ONE, down, down, |_| vec![said("SSH-2.0-OpenSSH_9.2p1\r\n"), Step::Hang])),
        case("another protocol by agreement", ONE, no_odoo, no_odoo, |_| {
            vec![said("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhola"), Step::Hang]
        }),
        twice(case("hangs up", ALL, down, down, |_| Vec::new())),
        twice(case("resets", ALL, down, down, |_| vec![Step::Reset])),
        case("resets within the body", ALL, down, down, |wire| vec![said(wire.head("content-length: 90\r\n")), said("{"), Step::Reset]),
    ]
}

/// What came of a case.
struct Outcome {
    told: String,
    code: String,
    sent: u64,
    requests: usize,
    took: Duration,
}

/// The service has followed the tenant's making: it does not sign in anew for it later.
async fn followed(app: &TestApp) {
    app.state.changes.look().await.expect("looked");
}

/// A call that must go well.
async fn well(client: &McpClient, told: &str, when: &str) {
    let result = client.call_result("buscar_cliente", json!({ "consulta": "Pérez" })).await;
    assert_eq!(result["structuredContent"]["total"], 4, "{told}: {when}: {result}");
}

/// One behaviour on one wire, for a tenant of its own.
async fn meet(app: &TestApp, sandbox: &SandboxOdoo, plain: &str, case: &Case, wire: Wire) -> Outcome {
    let told = format!("{} ({wire:?})", case.what);
    let odoo = Hostile::start(Some(plain)).await;
    let (_, token) = app.tenant_at(case.what, settings(sandbox, &odoo.url, wire.choice())).await;
    followed(app).await;
    let (client, search) = (app.client(&token), json!({ "consulta": "Pérez" }));
    if wire != Wire::First {
        well(&client, &told, "before").await;
    }
    odoo.arm((case.script)(wire));
    let began = Instant::now();
    let result = client.call_result("buscar_cliente", search).await;
    assert_eq!(result["isError"], json!(true), "{told}: {result}");
    let error = result["structuredContent"].clone();
    let took = began.elapsed();
    let (sent, requests) = (odoo.sent(), odoo.requests());
    let code = error["codigo"].as_str().expect("a code").to_owned();
    let wanted = if wire == Wire::First { case.first.expect("asked before") } else { case.after };
    assert!(wanted.split('|').any(|wanted| wanted == code), "{told}: wanted {wanted}: {error}");
    assert!(took < PATIENCE, "{told}: took {took:?}");
    for part in ["mensaje", "que_hacer", "id_solicitud"] {
        assert!(error[part].as_str().is_some_and(|part| !part.is_empty() && !part.contains("%{")), "{told}: {error}");
    }
    let text = error.to_string();
    assert!(text.len() < 3_000, "{told}: {} bytes of error", text.len());
    for leak in [sandbox.api_key(), "Traceback", "panicked", "127.0.0.1", "169.254", "<html", "root:"] {
        assert!(!text.contains(leak), "{told} shows {leak:?}: {text}");
    }
    let taken_max = (ANSWER_BYTES_MAX + BUFFERS_BYTES_MAX) * case.requests_max as u64;
    assert!(sent <= taken_max, "{told}: {sent} bytes were taken");
    // Before the login one more request is allowed: where the first path is not served, the other one is tried.
    assert!((1..=case.requests_max + usize::from(wire == Wire::First)).contains(&requests), "{told}: {requests} requests");
    odoo.disarm();
    well(&client, &told, "afterwards").await;
    Outcome { told, code, sent, requests, took }
}

/// Calls of a healthy tenant, one after the other, until they are told to end: how many, and the slowest.
async fn healthy(client: McpClient, end: Arc<AtomicBool>) -> (usize, Duration) {
    let (mut calls, mut slowest) = (0, Duration::ZERO);
    while !end.load(Ordering::SeqCst) {
        let began = Instant::now();
        assert_eq!(client.call("buscar_cliente", json!({ "consulta": "Pérez" })).await["total"], 4, "the healthy tenant's call {calls}");
        slowest = slowest.max(began.elapsed());
        calls += 1;
        // One call at a time, and room for the others on a small machine.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (calls, slowest)
}

async fn meet_all(cases: fn() -> Vec<Case>, at_once: usize, request_timeout_ms: &'static str) {
    TestApp::everywhere_with(&limits(request_timeout_ms), |app| async move {
        let sandbox = Arc::new(SandboxOdoo::dominican_sample("Hostil"));
        let (plain, _server) = serve(Arc::clone(&sandbox).router()).await;
        let other = app.tenant("Sana").await;
        let end = Arc::new(AtomicBool::new(false));
        let mut watch = JoinSet::new();
        watch.spawn(healthy(app.client(&other.token), Arc::clone(&end)));
        let places = Arc::new(Semaphore::new(at_once));
        let mut meetings = JoinSet::new();
        for case in cases().into_iter().map(Arc::new) {
            for wire in case.wires.iter().copied().chain(case.first.map(|_| Wire::First)) {
                let (app, sandbox, plain, case, places) = (Arc::clone(&app), Arc::clone(&sandbox), plain.clone(), Arc::clone(&case), Arc::clone(&places));
                meetings.spawn(async move {
                    let _place = places.acquire_owned().await.expect("open");
                    meet(&app, &sandbox, &plain, &case, wire).await
                });
            }
        }
        let (mut outcomes, mut failed) = (Vec::new(), 0);
        while let Some(outcome) = meetings.join_next().await {
            match outcome {
                Ok(outcome) => outcomes.push(outcome),
                // It has said why; the others are met too.
                Err(_) => failed += 1,
            }
        }
        end.store(true, Ordering::SeqCst);
        let (calls, slowest) = watch.join_next().await.unwrap().unwrap();
        assert!(calls > 20, "the healthy tenant called {calls} times");
        // Shown by `--nocapture`: what each behaviour came to.
        outcomes.sort_by(|a, b| a.told.cmp(&b.told));
        let mut out = std::io::stdout().lock();
        for Outcome { told, code, sent, requests, took } in outcomes {
            drop(writeln!(out, "{:?}: {told}: {code}, {sent} bytes, {requests} requests, {} ms", app.backend, took.as_millis()));
        }
        drop(writeln!(out, "{:?}: meanwhile {calls} calls of a healthy tenant, the slowest {} ms", app.backend, slowest.as_millis()));
        assert_eq!(failed, 0, "behaviours that were not met");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_odoo_that_takes_its_time_is_left_in_time() {
    meet_all(time_cases, AT_ONCE, HANGING_MS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_odoo_that_sends_too_much_is_not_listened_to() {
    meet_all(size_cases, AT_ONCE, PATIENT_MS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_unfolds_or_makes_no_sense_is_refused() {
    meet_all(parse_cases, AT_ONCE_PARSING, PATIENT_MS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_and_broken_connections_are_told_apart_and_asked_once() {
    meet_all(http_cases, AT_ONCE, PATIENT_MS).await;
}

/// Redirects lead nowhere, whatever their status and target.
#[tokio::test]
async fn a_redirect_is_never_followed() {
    TestApp::everywhere_with(&limits(PATIENT_MS), |app| async move {
        let sandbox = Arc::new(SandboxOdoo::dominican_sample("Hostil"));
        let (plain, _server) = serve(Arc::clone(&sandbox).router()).await;
        let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let touched = Arc::new(AtomicUsize::new(0));
        let (target, counter) = (format!("http://{}/latest/meta-data/", inside.local_addr().unwrap()), Arc::clone(&touched));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while inside.accept().await.is_ok() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        for status in ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
            for to in [target.as_str(), "http://169.254.169.254/", "file:///etc/passwd", "//127.0.0.1:22/", "\u{1}"] {
                for wire in [Wire::First, Wire::Json2, Wire::XmlRpc] {
                    let odoo = Hostile::start(Some(&plain)).await;
                    let (_, token) = app.tenant_at(status, settings(&sandbox, &odoo.url, wire.choice())).await;
                    followed(&app).await;
                    let client = app.client(&token);
                    if wire != Wire::First {
                        client.call("buscar_cliente", json!({ "consulta": "Pérez" })).await;
                    }
                    odoo.arm(vec![Step::Say(response(status, &format!("location: {to}\r\n"), ""))]);
                    let error = client.fail("buscar_cliente", json!({ "consulta": "Pérez" })).await;
                    // A header that is none breaks the whole answer.
                    let wanted = if to == "\u{1}" { "odoo_caido" } else { "no_es_odoo" };
                    assert_eq!(error["codigo"], wanted, "{status} {to} {wire:?}: {error}");
                    if to == "\u{1}" {
                        break;
                    }
                    assert_eq!(odoo.requests(), 1, "{status} {to} {wire:?}");
                }
            }
        }
        assert_eq!(touched.load(Ordering::SeqCst), 0, "nobody went there");
    })
    .await;
}

/// Names and lists beyond all measure, in answers that are otherwise right, are cut before they reach an agent or our database.
#[tokio::test]
async fn an_outsized_record_reaches_no_agent() {
    TestApp::everywhere_with(&limits(PATIENT_MS), |app| async move {
        let sandbox = Arc::new(SandboxOdoo::dominican_sample("Hostil"));
        let (plain, _server) = serve(Arc::clone(&sandbox).router()).await;
        for wire in ALL {
            let odoo = Hostile::start(Some(&plain)).await;
            let (_, token) = app.tenant_at("Hostil", settings(&sandbox, &odoo.url, wire.choice())).await;
            followed(&app).await;
            let client = app.client(&token);
            let found = client.call("buscar_cliente", json!({ "consulta": "Pérez" })).await;
            let name = "Ñ&amp;".repeat(150_000);
            let xml = format!(
                "<value><struct><member><name>length</name><value><int>1</int></value></member><member><name>records</name><value><array><data><value><struct><member><name>id</name><value><int>5</int></value></member><member><name>name</name><value>{name}</value></member><member><name>display_name</name><value>{name}</value></member></struct></value></data></array></value></member></struct></value>"
            );
            let row = json!({ "id": 5, "name": "Ñ".repeat(600_000), "display_name": "Ñ".repeat(600_000) });
            odoo.arm(wire.answer(&json!({ "length": 1, "records": [row] }).to_string(), &xml));
            let result = client.call_result("buscar_cliente", json!({ "consulta": "5" })).await;
            assert_ne!(result["isError"], json!(true), "{wire:?}: {}", result.to_string().chars().take(400).collect::<String>());
            assert_eq!(result["structuredContent"]["clientes"][0]["cliente_id"], 5, "{wire:?}");
            assert!(result.to_string().len() < 100_000, "{wire:?}: {} bytes", result.to_string().len());
            assert!(result["structuredContent"]["frase"].as_str().unwrap_or_default().chars().count() <= 220, "{wire:?}");
            // An order of thirty thousand lines is more than an answer holds.
            let line = json!({ "id": 1, "name": "x", "product_uom_qty": 1.0, "price_unit": 1.0, "discount": 0.0, "price_subtotal": 1.0, "price_total": 1.0,
                "product_id": { "id": 3, "display_name": "Clavo ".repeat(40), "default_code": "C" }, "display_type": false, "product_uom_id": false });
            let order = json!({ "id": 9, "name": "S00012", "state": "draft", "validity_date": false, "amount_untaxed": 1.0, "amount_tax": 0.0, "amount_total": 1.0,
                "partner_id": { "id": 5, "display_name": "x" }, "currency_id": { "id": 1, "name": "DOP" }, "pricelist_id": false, "order_line": vec![line; 5_000] });
            if *wire == Wire::Json2 {
                odoo.arm(wire.answer(&json!({ "length": 1, "records": [order] }).to_string(), ""));
                let result: Value = client.call_result("ver_cotizacion", json!({ "numero": "S00012" })).await;
                assert!(result.to_string().len() < 700_000, "{} bytes", result.to_string().len());
            }
            odoo.disarm();
            assert_eq!(client.call("buscar_cliente", json!({ "consulta": "Pérez" })).await, found, "{wire:?}");
        }
    })
    .await;
}

/// What an answer is called does not matter where it is the right one.
#[tokio::test]
async fn a_right_answer_under_a_wrong_name_is_taken() {
    TestApp::everywhere_with(&limits(PATIENT_MS), |app| async move {
        let sandbox = Arc::new(SandboxOdoo::dominican_sample("Hostil"));
        let (plain, _server) = serve(Arc::clone(&sandbox).router()).await;
        for wire in ALL {
            let odoo = Hostile::start(Some(&plain)).await;
            let (_, token) = app.tenant_at("Hostil", settings(&sandbox, &odoo.url, wire.choice())).await;
            followed(&app).await;
            let client = app.client(&token);
            client.call("buscar_cliente", json!({ "consulta": "Pérez" })).await;
            let xml = "<value><struct><member><name>length</name><value><int>0</int></value></member><member><name>records</name><value><array><data/></array></value></member></struct></value>";
            let Some(Step::Say(answer)) = wire.answer("{\"length\": 0, \"records\": []}", xml).pop() else { unreachable!("one step") };
            let text = String::from_utf8(answer).unwrap().replace("application/json", "image/png").replace("text/xml", "text/html");
            odoo.arm(vec![said(text)]);
            assert_eq!(client.call("buscar_cliente", json!({ "consulta": "Ñandú" })).await["total"], 0, "{wire:?}");
        }
    })
    .await;
}
