//! Servers that hang, drip, break off, redirect, flood or lie: raw sockets on the loopback, played by threads.

use super::client::{OdooClient, Shared};
use super::gate::Turn;
use super::http::{Credentials, Http};
use super::{AddressPolicy, CallMeter, Domain, Fields, OdooConfig, OdooError, OdooErrorKind as Kind, OdooLimits, OdooVersion, Page, Protocol, ProtocolChoice, Term, probe};
use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// A server that answers each request as its closure says. The closure gets the request's number (from 0).
struct Stub {
    url: Url,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Request>>>,
}

#[derive(Clone, Debug)]
struct Request {
    path: String,
    head: String,
    body: String,
}

#[derive(PartialEq)]
enum Then {
    Keep,
    Close,
}

fn stub(play: impl Fn(usize, &Request, &mut TcpStream) -> Then + Send + Sync + 'static) -> Stub {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let stub = Stub { url, connections: Arc::default(), requests: Arc::default() };
    let (connections, requests, play) = (Arc::clone(&stub.connections), Arc::clone(&stub.requests), Arc::new(play));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            connections.fetch_add(1, Ordering::SeqCst);
            let (requests, play) = (Arc::clone(&requests), Arc::clone(&play));
            thread::spawn(move || {
                let mut out = stream.try_clone().unwrap();
                let mut reader = BufReader::new(stream);
                while let Some(request) = read_request(&mut reader) {
                    let number = {
                        let mut requests = requests.lock().unwrap();
                        requests.push(request.clone());
                        requests.len() - 1
                    };
                    if play(number, &request, &mut out) == Then::Close {
                        let _ = out.shutdown(std::net::Shutdown::Both);
                        return;
                    }
                }
            });
        }
    });
    stub
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line.to_lowercase());
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.trim().parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path: head.split_whitespace().nth(1)?.to_owned(), head, body: String::from_utf8(body).ok()? })
}

fn say(out: &mut TcpStream, text: &str) {
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

fn json_answer(value: &Value) -> String {
    let body = value.to_string();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSet-Cookie: session_id=abc\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn config(url: &Url) -> OdooConfig {
    OdooConfig {
        url: url.clone(),
        database: "db".into(),
        login: "ana".into(),
        secret: "0123456789012345678901234567890123456789".into(),
        protocol: ProtocolChoice::Auto,
        limits: OdooLimits { connect_timeout_ms: 2_000, request_timeout_ms: 1_500, answer_bytes_max: 64 * 1024, ..OdooLimits::default() },
        addresses: AddressPolicy::AllowPrivate,
    }
}

/// A client that is signed in already.
fn client(stub: &Stub) -> OdooClient {
    let config = config(&stub.url);
    OdooClient {
        shared: Arc::new(Shared {
            http: Http::new(&config, None).unwrap(),
            version: OdooVersion { major: 19, minor: 0, text: "19.0".into() },
            protocol: Protocol::Json2,
            database: "db".into(),
            secret: config.secret.clone(),
            credentials: Some(Credentials::new("key", "db").unwrap()),
            uid: 2,
            lang: None,
            tz: None,
            flights: Default::default(),
        }),
        context: Arc::new(Map::new()),
        turn: Turn::default(),
        meter: Arc::new(CallMeter::default()),
    }
}

async fn read_of(client: &OdooClient) -> Result<Value, Kind> {
    client.call_read("res.partner", "search_count", None, Map::new()).await.map_err(|error| error.kind)
}

async fn write_of(client: &OdooClient) -> Result<Value, Kind> {
    client.call_write("sale.order", "action_confirm", Some(&[1]), Map::new()).await.map_err(|error| error.kind)
}

#[tokio::test]
async fn a_server_that_hangs_or_drips_times_out() {
    let plays: [fn(usize, &Request, &mut TcpStream) -> Then; 3] = [
        |_, _, _| {
            thread::sleep(Duration::from_secs(3));
            Then::Close
        },
        |_, _, out| {
            say(out, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
            thread::sleep(Duration::from_secs(3));
            Then::Close
        },
        |_, _, out| {
            say(out, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
            for _ in 0..100 {
                say(out, " ");
                thread::sleep(Duration::from_millis(30));
            }
            Then::Close
        },
    ];
    for play in plays {
        let stub = stub(play);
        let client = client(&stub);
        let before = Instant::now();
        assert_eq!(write_of(&client).await, Err(Kind::TimedOut { sent: true }));
        assert!(before.elapsed() < Duration::from_millis(2_900));
        assert_eq!(client.metrics().requests(), 1);
        assert!(client.metrics().micros() >= 400_000);
    }
}

#[tokio::test]
async fn a_deadline_ends_a_request_earlier_and_a_passed_one_sends_nothing() {
    let stub = stub(|_, _, _| {
        thread::sleep(Duration::from_secs(3));
        Then::Close
    });
    let before = Instant::now();
    let hurried = client(&stub).with_deadline(Instant::now() + Duration::from_millis(60));
    assert_eq!(read_of(&hurried).await, Err(Kind::TimedOut { sent: true }));
    assert!(before.elapsed() < Duration::from_millis(1_400));
    let late = client(&stub).with_deadline(Instant::now());
    assert_eq!(write_of(&late).await, Err(Kind::TimedOut { sent: false }));
    assert_eq!(stub.requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_connection_that_dies_before_the_answer_repeats_reads_once_and_writes_never() {
    let dies = stub(|_, _, _| Then::Close);
    assert_eq!(read_of(&client(&dies)).await, Err(Kind::ConnectionLost));
    assert_eq!(dies.requests.lock().unwrap().len(), 2);
    assert_eq!(write_of(&client(&dies)).await, Err(Kind::ConnectionLost));
    assert_eq!(dies.requests.lock().unwrap().len(), 3);

    // The connection was kept, and dies when it is used again: a read goes on, a write is in doubt.
    let second_dies = stub(|number, _, out| {
        if number == 1 {
            Then::Close
        } else {
            say(out, &json_answer(&json!(number)));
            Then::Keep
        }
    });
    let kept = client(&second_dies);
    assert_eq!(read_of(&kept).await, Ok(json!(0)));
    assert_eq!(read_of(&kept).await, Ok(json!(2)));
    let second_dies = stub(|number, _, out| {
        if number == 1 {
            Then::Close
        } else {
            say(out, &json_answer(&json!(number)));
            Then::Keep
        }
    });
    let kept = client(&second_dies);
    assert_eq!(write_of(&kept).await, Ok(json!(0)));
    assert_eq!(write_of(&kept).await, Err(Kind::ConnectionLost));
    assert_eq!(second_dies.requests.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn connections_are_kept_when_the_server_keeps_them_and_made_anew_when_not() {
    let keeps = stub(|number, _, out| {
        say(out, &json_answer(&json!(number)));
        Then::Keep
    });
    let kept = client(&keeps);
    for number in 0..5 {
        assert_eq!(read_of(&kept).await, Ok(json!(number)));
    }
    assert_eq!(keeps.connections.load(Ordering::SeqCst), 1);

    // It closes after every answer without saying so, as Odoo 14 does.
    let closes = stub(|number, _, out| {
        say(out, &json_answer(&json!(number)));
        Then::Close
    });
    let client = client(&closes);
    for number in 0..5 {
        assert_eq!(write_of(&client).await, Ok(json!(number)));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(closes.connections.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_in_doubt_and_not_asked_again() {
    let stub = stub(|_, _, out| {
        say(out, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[{\"id\": 1");
        Then::Close
    });
    let client = client(&stub);
    let error = client.call_read("res.partner", "search_read", None, Map::new()).await.unwrap_err();
    assert_eq!(error.kind, Kind::ConnectionLost);
    assert!(error.outcome_unknown());
    assert_eq!(stub.requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_request_is_plain_and_whole() {
    let stub = stub(|_, _, out| {
        say(out, &json_answer(&json!([])));
        Then::Keep
    });
    let client = client(&stub).with_context(json!({"lang": "es_DO"}).as_object().cloned().unwrap());
    for _ in 0..2 {
        client.call_write("res.partner", "write", Some(&[7]), json!({"vals": {"name": "Ñ"}, "context": {"tz": "UTC"}}).as_object().cloned().unwrap()).await.unwrap();
    }
    let requests = stub.requests.lock().unwrap();
    for request in requests.iter() {
        assert_eq!(request.path, "/json/2/res.partner/write");
        assert_eq!(serde_json::from_str::<Value>(&request.body).unwrap(), json!({"vals": {"name": "Ñ"}, "ids": [7], "context": {"lang": "es_DO", "tz": "UTC"}}));
        for line in ["authorization: bearer key\r\n", "x-odoo-database: db\r\n", "content-type: application/json; charset=utf-8\r\n"] {
            assert!(request.head.contains(line), "{}", request.head);
        }
        for word in ["transfer-encoding", "cookie", "accept-encoding", "referer"] {
            assert!(!request.head.contains(word), "{}", request.head);
        }
    }
}

#[tokio::test]
async fn names_that_are_no_names_never_leave() {
    let stub = stub(|_, _, _| Then::Close);
    let client = client(&stub);
    for (model, method) in [
        ("res.partner", "_write"),
        ("res.partner/../..", "x"),
        ("res.partner", "a.b"),
        ("", "x"),
        ("res.partner", ""),
        ("res.partner?x", "y"),
        ("Res.Partner", "x"),
        ("res.partner", "sudo()"),
    ] {
        assert_eq!(client.call_read(model, method, None, Map::new()).await.unwrap_err().kind, Kind::BadArguments, "{model}.{method}");
    }
    assert_eq!(stub.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_older_odoo_needs_a_count_and_a_read_per_relation_and_looks_the_same() {
    let stub = stub(|_, request, out| {
        let asked: Value = serde_json::from_str(&request.body).unwrap();
        let args = &asked["params"]["args"];
        let result = match args[4].as_str().unwrap() {
            "search_read" => {
                json!([{"id": 1, "name": "S1", "note": false, "partner_id": [9, "Ana"], "order_line": [3, 4]}, {"id": 2, "name": "S2", "note": "x", "partner_id": false, "order_line": []}])
            }
            "search_count" => json!(17),
            "read" => {
                json!([{"id": 3, "name": "a", "product_id": [5, "P"]}, {"id": 4, "name": false, "product_id": false}])
            }
            other => panic!("{other}"),
        };
        say(out, &json_answer(&json!({"jsonrpc": "2.0", "id": 1, "result": result})));
        Then::Keep
    });
    let mut old = client(&stub);
    let shared = Arc::get_mut(&mut old.shared).unwrap();
    shared.version = OdooVersion { major: 16, minor: 0, text: "16.0".into() };
    shared.protocol = Protocol::JsonRpc;
    let fields =
        Fields::new().texts(&["name", "note"]).many2one("partner_id", &["vat"]).x2many("order_line", "sale.order.line", Fields::new().text("name").many2one("product_id", &[]));
    let rows = old.search_page("sale.order", &Domain::from(Term::eq("state", "sale")), &fields, &Page::first(2).ordered("id")).await.unwrap();
    assert_eq!(rows.total, 17);
    assert_eq!(
        json!(rows.records),
        json!([
            {"id": 1, "name": "S1", "note": null, "partner_id": {"id": 9, "display_name": "Ana"}, "order_line": [{"id": 3, "name": "a", "product_id": {"id": 5, "display_name": "P"}}, {"id": 4, "name": null, "product_id": null}]},
            {"id": 2, "name": "S2", "note": "x", "partner_id": null, "order_line": []},
        ])
    );
    let calls: Vec<Value> = stub.requests.lock().unwrap().iter().map(|request| serde_json::from_str::<Value>(&request.body).unwrap()["params"]["args"].clone()).collect();
    let key = "0123456789012345678901234567890123456789";
    assert_eq!(
        calls[0],
        json!(["db", 2, key, "sale.order", "search_read", [[["state", "=", "sale"]], ["name", "note", "partner_id", "order_line"]], {"limit": 2, "offset": 0, "order": "id"}])
    );
    assert_eq!(calls[1], json!(["db", 2, key, "sale.order", "search_count", [[["state", "=", "sale"]]], {}]));
    assert_eq!(calls[2], json!(["db", 2, key, "sale.order.line", "read", [[3, 4], ["name", "product_id"]], {}]));
    // A page that is not full needs no count.
    let rows = old.search_page("sale.order", &Domain::all(), &Fields::new().text("name"), &Page::first(5).from(10)).await.unwrap();
    assert_eq!((rows.total, stub.requests.lock().unwrap().len()), (12, 4));
    assert_eq!(old.search_page("sale.order", &Domain::all(), &fields, &Page::first(0)).await.unwrap_err().kind, Kind::BadArguments);
    assert_eq!(old.search_page("sale.order", &Domain::all(), &fields, &Page::first(1).ordered("id; --")).await.unwrap_err().kind, Kind::BadArguments);
}

#[tokio::test]
async fn redirects_are_told_and_not_followed() {
    let target = stub(|_, _, _| Then::Close);
    let location = target.url.join("/web/login?token=secret").unwrap();
    let stub = stub(move |_, _, out| {
        say(out, &format!("HTTP/1.1 301 Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"));
        Then::Keep
    });
    let error = OdooClient::connect(config(&stub.url)).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotOdoo);
    assert!(error.message.contains(target.url.as_str().trim_end_matches('/')) && !error.message.contains("secret"), "{}", error.message);
    assert_eq!(target.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_is_no_odoo_is_told() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 26\r\n\r\n<html>Hola, soy WordPress<",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 15\r\n\r\n<h1>nginx</h1>\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"hello\":\"world\"}",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\n{\"jsonrpc\":\"2.0\",\"result\":{\"ok\":true}}",
    ] {
        let stub = stub(move |_, _, out| {
            say(out, answer);
            Then::Close
        });
        assert_eq!(OdooClient::connect(config(&stub.url)).await.unwrap_err().kind, Kind::NotOdoo, "{answer}");
    }
    let other = stub(|_, _, out| {
        say(out, "220 mail.example.com ESMTP\r\n");
        Then::Close
    });
    assert!(matches!(OdooClient::connect(config(&other.url)).await.unwrap_err().kind, Kind::ConnectionLost | Kind::NotOdoo));
    let old = stub(|_, _, out| {
        say(out, &json_answer(&json!({"jsonrpc": "2.0", "result": {"server_version": "13.0", "server_version_info": [13, 0, 0, "final", 0, ""]}})));
        Then::Keep
    });
    assert_eq!(OdooClient::connect(config(&old.url)).await.unwrap_err().kind, Kind::VersionNotSupported);
}

#[tokio::test]
async fn busy_says_how_long() {
    for (status, header, want) in [
        ("429 Too Many Requests", "Retry-After: 3\r\n", Some(3)),
        ("503 Unavailable", "", None),
        ("429 x", "Retry-After: 999999999\r\n", Some(3600)),
        ("429 x", "Retry-After: tomorrow\r\n", None),
    ] {
        let stub = stub(move |_, _, out| {
            say(out, &format!("HTTP/1.1 {status}\r\n{header}Content-Length: 0\r\n\r\n"));
            Then::Keep
        });
        assert_eq!(read_of(&client(&stub)).await, Err(Kind::Busy { retry_after_s: want }), "{status} {header}");
        assert_eq!(stub.requests.lock().unwrap().len(), 1);
    }
}

fn page(status: &str, kind: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nRetry-After: 5\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

async fn both_of(protocol: Protocol, answer: String) -> (Kind, OdooError) {
    let stub = stub(move |_, _, out| {
        say(out, &answer);
        Then::Keep
    });
    let mut client = client(&stub);
    Arc::get_mut(&mut client.shared).unwrap().protocol = protocol;
    let read = read_of(&client).await.unwrap_err();
    let write = client.call_write("sale.order", "action_confirm", Some(&[1]), Map::new()).await.unwrap_err();
    (read, write)
}

#[tokio::test]
async fn after_a_write_only_odoo_itself_says_that_nothing_was_done() {
    let wait = Kind::Busy { retry_after_s: Some(5) };
    let html = "<html><title>Error</title>";
    // Status, body, what a read makes of it, and whether a write is left in doubt.
    let proxies = [
        ("500 Internal Server Error", html, Kind::ServerFault, true),
        ("500 x", "", Kind::ServerFault, true),
        ("502 Bad Gateway", html, Kind::ConnectionLost, true),
        ("503 Service Unavailable", html, wait.clone(), true),
        ("504 x", html, Kind::TimedOut { sent: true }, true),
        ("520 x", html, Kind::ConnectionLost, true),
        ("522 x", html, Kind::Unreachable, true),
        ("524 x", html, Kind::TimedOut { sent: true }, true),
        ("530 x", "error code: 1016", Kind::ServerFault, true),
        ("200 OK", html, Kind::NotOdoo, true),
        ("204 x", "", Kind::NotOdoo, true),
        ("408 x", html, Kind::NotOdoo, true),
        ("499 x", html, Kind::NotOdoo, true),
        ("500 x", r#"{"name": "Error", "message": "upstream timed out"}"#, Kind::ServerFault, true),
        ("503 x", r#"{"message": "upstream timed out"}"#, wait.clone(), true),
        ("521 x", html, Kind::Unreachable, false),
        ("523 x", html, Kind::Unreachable, false),
        ("525 x", html, Kind::TlsFailed, false),
        ("429 Too Many Requests", html, wait.clone(), false),
        ("303 See Other", "", Kind::NotOdoo, false),
        ("403 Forbidden", html, Kind::AccessDenied, false),
        ("413 Too Large", html, Kind::BadArguments, false),
    ];
    for (status, body, read, doubt) in proxies {
        for protocol in [Protocol::Json2, Protocol::JsonRpc, Protocol::XmlRpc] {
            let (kind, error) = both_of(protocol, page(status, "text/html", body)).await;
            assert_eq!(kind, read, "{status} {protocol}");
            assert_eq!(error.outcome_unknown(), doubt, "{status} {protocol}: {error:?}");
            if !doubt {
                assert_eq!(error.kind, read, "{status} {protocol}");
            } else if !matches!(read, Kind::TimedOut { .. }) {
                assert_eq!(error.kind, Kind::ConnectionLost, "{status} {protocol}");
                assert!(error.cause.contains("HTTP "), "the log keeps it: {error:?}");
            }
        }
    }
    // The same statuses with an error of Odoo's own: nothing was done, whatever the number.
    for (status, name, want) in [
        ("500 x", "odoo.exceptions.ValidationError", Kind::Validation),
        ("502 x", "odoo.exceptions.UserError", Kind::Validation),
        ("503 x", "werkzeug.exceptions.ServiceUnavailable", wait.clone()),
        ("504 x", "builtins.ZeroDivisionError", Kind::ServerFault),
        ("429 x", "werkzeug.exceptions.TooManyRequests", wait.clone()),
        ("413 x", "werkzeug.exceptions.RequestEntityTooLarge", Kind::BadArguments),
    ] {
        let own = json!({"name": name, "message": "No.", "arguments": ["No."], "context": {}, "debug": ""});
        let rpc = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": 0, "message": "Odoo Server Error", "data": own}});
        for (protocol, body) in [(Protocol::Json2, own), (Protocol::JsonRpc, rpc)] {
            let (kind, error) = both_of(protocol, page(status, "application/json", &body.to_string())).await;
            assert_eq!((&kind, &error.kind), (&want, &want), "{status} {name}");
            assert!(!error.outcome_unknown());
        }
    }
    let fault = String::from_utf8(super::wire::xmlrpc::encode_fault(2, "No.")).unwrap();
    let (kind, error) = both_of(Protocol::XmlRpc, page("502 x", "text/xml", &fault)).await;
    assert_eq!((kind, error.kind), (Kind::Validation, Kind::Validation));
}

#[tokio::test]
async fn large_answers_are_cut_while_they_come() {
    let announced = stub(|_, _, out| {
        say(out, "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n[");
        thread::sleep(Duration::from_secs(1));
        Then::Close
    });
    assert_eq!(read_of(&client(&announced)).await, Err(Kind::AnswerTooLarge));
    let endless = stub(|_, _, out| {
        say(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[");
        let block = "1,".repeat(8 * 1024);
        while out.write_all(block.as_bytes()).is_ok() {}
        Then::Close
    });
    assert_eq!(read_of(&client(&endless)).await, Err(Kind::AnswerTooLarge));
    let packed = stub(|_, _, out| {
        say(out, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x08");
        Then::Keep
    });
    assert_eq!(read_of(&client(&packed)).await, Err(Kind::ConnectionLost));
}

#[tokio::test]
async fn nobody_there_no_tls_and_private_names() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(OdooClient::connect(config(&Url::parse(&format!("http://{gone}")).unwrap())).await.unwrap_err().kind, Kind::Unreachable);
    assert_eq!(OdooClient::connect(config(&Url::parse("http://no-such-host.invalid").unwrap())).await.unwrap_err().kind, Kind::Unreachable);

    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let _ = stream.read(&mut [0; 64]);
            say(&mut stream, "HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let tls = config(&Url::parse(&format!("https://127.0.0.1:{port}")).unwrap());
    assert_eq!(OdooClient::connect(tls).await.unwrap_err().kind, Kind::TlsFailed);

    // The name is harmless to look at and leads home: refused where it is connected to.
    let stub = stub(|_, _, _| Then::Close);
    let port = stub.url.port().unwrap();
    let private = |host: &str| OdooConfig { addresses: AddressPolicy::PublicOnly, ..config(&Url::parse(&format!("https://{host}:{port}")).unwrap()) };
    assert_eq!(OdooClient::connect(private("localhost")).await.unwrap_err().kind, Kind::AddressRefused);
    let steps = probe(private("localhost")).await;
    assert_eq!(steps.iter().map(|step| (step.name, step.ok)).collect::<Vec<_>>(), [("name", true), ("address", false)]);
    // Not every resolver knows this spelling.
    assert!(matches!(OdooClient::connect(private("localhost.")).await.unwrap_err().kind, Kind::AddressRefused | Kind::Unreachable));
    assert_eq!(stub.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn auto_falls_back_step_by_step() {
    // Odoo 19 that knows the key for nothing but XML-RPC, behind a proxy that closes /jsonrpc.
    let stub = stub(|_, request, out| {
        let answer = match request.path.as_str() {
            "/web/webclient/version_info" => {
                json_answer(&json!({"jsonrpc": "2.0", "id": null, "result": {"server_version": "19.0", "server_version_info": [19, 0, 0, "final", 0, ""]}}))
            }
            "/json/2/res.users/context_get" => json_answer(&json!({"name": "werkzeug.exceptions.Unauthorized", "message": "Invalid apikey"})).replace("200 OK", "401 UNAUTHORIZED"),
            "/jsonrpc" => "HTTP/1.1 403 F\r\nContent-Length: 6\r\n\r\n<html>".to_owned(),
            "/xmlrpc/2/common" => {
                let body = String::from_utf8(super::wire::xmlrpc::encode_answer(&json!(7))).unwrap();
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            }
            _ => {
                let body = String::from_utf8(super::wire::xmlrpc::encode_answer(&json!([{"id": 7, "lang": "es_DO", "tz": null}]))).unwrap();
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            }
        };
        say(out, &answer);
        Then::Keep
    });
    let client = OdooClient::connect(config(&stub.url)).await.unwrap();
    assert_eq!((client.protocol(), client.uid(), client.user_lang(), client.user_tz()), (Protocol::XmlRpc, 7, Some("es_DO"), None));
    assert_eq!(client.metrics().requests(), 5);
    let paths: Vec<String> = stub.requests.lock().unwrap().iter().map(|request| request.path.clone()).collect();
    assert_eq!(paths, ["/web/webclient/version_info", "/json/2/res.users/context_get", "/jsonrpc", "/xmlrpc/2/common", "/xmlrpc/2/object"]);
    assert!(!format!("{client:?}").contains("0123456789"));
}
