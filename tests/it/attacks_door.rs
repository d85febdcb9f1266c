//! Attacks on the door: guessed tokens, broken HTTP, slow and greedy connections, suspended tenants, what hosts add to arguments.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dunet::domain::tenants::{TenantEdit, Tenants};
use dunet::domain::tokens::{TokenRefusal, Tokens};
use dunet::domain::vault::Vault;
use dunet::odoo::ProtocolChoice;
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::attacks::sample_arguments;
use crate::support::mcp::{LEGACY, McpClient, send};
use crate::support::{Porter, TestApp, VAULT_KEY};

/// `dunet_live_` and the eight characters that stand open in lists.
const OPEN_CHARS: usize = 19;

/// A token of the right form: whoever guesses has to get the checksum right, and can.
fn forged(open: &str, secret: &str) -> String {
    const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let body = format!("{open}_{secret}");
    let mut value = crc32fast::hash(body.as_bytes());
    let mut sum = [b'0'; 6];
    for slot in sum.iter_mut().rev() {
        *slot = BASE62[(value % 62) as usize];
        value /= 62;
    }
    body + std::str::from_utf8(&sum).expect("ASCII")
}

/// 6: tokens are looked up by the hash of the whole. Whoever knows a prefix (it stands in lists and logs) learns nothing by guessing the rest:
/// not from the answer, and not from its time, since the service does the same work, one look-up of one hash, whatever is right of the guess.
#[tokio::test]
async fn attack_06_a_known_prefix_costs_what_an_unknown_one_costs() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Uno").await;
        let asked = Arc::new(Mutex::new(Vec::<String>::new()));
        let mut db = dunet::db::connect(&app.database_url, 2).await.unwrap();
        let seen = Arc::clone(&asked);
        db.set_metric_callback(move |info| seen.lock().unwrap().push(info.statement.sql.clone()));
        let tenants = Tenants::new(db.clone(), Vault::from_keys(&VAULT_KEY, None), app.clock.clone());
        let tokens = Tokens::new(db, tenants, app.clock.clone(), dunet::domain::tokens::TokenMemory { fresh_s: 60, stale_s: 60, tokens_max: 100 });

        let (open, rest) = tenant.token.split_at(OPEN_CHARS);
        let secret = &rest[1..33];
        assert_eq!(forged(open, secret), tenant.token, "the test knows how tokens are made");
        let last = if secret.ends_with('x') { "y" } else { "x" };
        let guesses = [
            ("nobody's prefix", forged("dunet_live_00000000", secret)),
            ("a known prefix, nothing else right", forged(open, &"0".repeat(32))),
            ("half of the secret right", forged(open, &format!("{}{}", &secret[..16], "0".repeat(16)))),
            ("all but the last character right", forged(open, &format!("{}{last}", &secret[..31]))),
        ];
        let mut work = Vec::new();
        for (what, guess) in &guesses {
            asked.lock().unwrap().clear();
            assert_eq!(tokens.verify(guess).await.err(), Some(TokenRefusal::Unknown), "{what}");
            work.push(asked.lock().unwrap().clone());
        }
        assert!(work.iter().all(|statements| statements.len() == 1 && *statements == work[0]), "the same one question, whatever was right: {work:?}");
        assert!(work[0][0].contains("hash") && !work[0][0].contains("\"prefix\" ="), "by the hash of the whole: {}", work[0][0]);
        // A guess that is no token costs no question at all, and a good token is found.
        asked.lock().unwrap().clear();
        assert_eq!(tokens.verify(&tenant.token[..57]).await.err(), Some(TokenRefusal::Malformed));
        assert!(asked.lock().unwrap().is_empty());
        assert!(tokens.verify(&tenant.token).await.is_ok() && asked.lock().unwrap().len() > 1);

        // Through the door: the guesses of one address run dry, and the owner at the same address does not notice.
        let mut answers = Vec::new();
        for turn in 0..120_u64 {
            let guess = forged(open, &format!("{turn:032}"));
            let answer = app.client(&guess).request("ping", json!({})).await;
            assert!([401, 429].contains(&answer.status), "{}", answer.text);
            if answer.status == 401 {
                answers.push((answer.header("www-authenticate").to_owned(), answer.text));
            }
        }
        assert!((30..60).contains(&answers.len()), "{} guesses a minute were looked at", answers.len());
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(app.client(&tenant.token).request("ping", json!({})).await.status, 200);
    })
    .await;
}

/// 16: a suspended tenant gets one answer, whatever it asks for in whichever era, on either address; nothing runs, nothing is charged.
#[tokio::test]
async fn attack_16_nothing_runs_for_a_suspended_tenant() {
    TestApp::everywhere_with(&["--tenant-burst-calls", "1000"], |app| async move {
        let porter = Porter::new("Suspendida").await;
        let (tenant, token) = app.tenant_at("Suspendida", porter.odoo(ProtocolChoice::Json2)).await;
        app.client(&token).call("buscar_cliente", json!({ "consulta": "a" })).await;
        app.usage_rows(1).await;
        app.edit(tenant, TenantEdit { active: Some(false), ..TenantEdit::default() }).await;
        let asked = porter.asked().len();
        let handshake = json!({ "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } });
        for url in [app.mcp_url(), format!("{}/token", app.mcp_url())] {
            for client in [McpClient::legacy(&url, &token), McpClient::modern(&url, &token)] {
                let mut requests =
                    vec![("initialize", handshake.clone()), ("server/discover", json!({})), ("ping", json!({})), ("tools/list", json!({})), ("no/existe", json!({}))];
                requests.extend(dunet::tools::TOOLS.iter().map(|tool| tool.facts().name).map(|name| ("tools/call", json!({ "name": name, "arguments": sample_arguments(name) }))));
                for (method, params) in requests {
                    let answer = client.request(method, params).await;
                    assert_eq!((answer.status, answer.code()), (403, -31003), "{method}: {}", answer.text);
                    assert!(!answer.text.contains("buscar_cliente"), "{method}: {}", answer.text);
                }
            }
        }
        assert_eq!(porter.asked().len(), asked, "its Odoo was not asked");
        app.edit(tenant, TenantEdit { active: Some(true), ..TenantEdit::default() }).await;
        app.client(&token).call("buscar_cliente", json!({ "consulta": "a" })).await;
        assert_eq!(app.usage_rows(2).await.len(), 2, "nothing was charged meanwhile");
    })
    .await;
}

fn address(app: &TestApp) -> SocketAddr {
    app.base.trim_start_matches("http://").parse().expect("an address")
}

/// Sends bytes and reads until the other side closes or says no more; what came.
async fn raw(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.expect("connected");
    // The service may close before it has read everything.
    drop(stream.write_all(bytes).await);
    let mut answer = Vec::new();
    drop(tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await);
    String::from_utf8_lossy(&answer).into_owned()
}

/// 24: what is no proper HTTP is refused or cut, never answered 200 or 5xx, and the door works on.
#[tokio::test]
async fn attack_24_http_that_is_none_is_refused() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Uno").await;
        let to = address(&app);
        let bearer = format!("authorization: Bearer {}\r\n", tenant.token);
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let head = |more: &str| format!("POST /mcp HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\ncontent-type: application/json\r\n{bearer}{more}\r\n");
        let good = format!("{}{ping}", head(&format!("content-length: {}\r\n", ping.len())));
        assert!(raw(to, good.as_bytes()).await.starts_with("HTTP/1.1 200"), "the frame of these attacks is right");

        let many: String = (0..300).map(|n| format!("x-{n}: 1\r\n")).collect();
        let attacks: Vec<(&str, Vec<u8>)> = vec![
            ("no host", format!("POST /mcp HTTP/1.1\r\n{bearer}content-length: 0\r\nconnection: close\r\n\r\n").into_bytes()),
            ("a length that is no number", format!("{}{ping}", head("content-length: diez\r\n")).into_bytes()),
            ("a negative length", format!("{}{ping}", head("content-length: -5\r\n")).into_bytes()),
            ("two lengths", format!("{}{ping}", head("content-length: 5\r\ncontent-length: 40\r\n")).into_bytes()),
            ("a length beyond all numbers", format!("{}{ping}", head("content-length: 99999999999999999999999\r\n")).into_bytes()),
            ("a chunk beyond all numbers", format!("{}FFFFFFFFFFFFFFFFF\r\n{ping}\r\n0\r\n\r\n", head("transfer-encoding: chunked\r\n")).into_bytes()),
            ("a chunk without a size", format!("{}zz\r\n{ping}\r\n0\r\n\r\n", head("transfer-encoding: chunked\r\n")).into_bytes()),
            ("an encoding that is none", format!("{}{ping}", head("transfer-encoding: chunked, identity\r\n")).into_bytes()),
            ("three hundred headers", head(&many).into_bytes()),
            ("a header of a megabyte", head(&format!("x-long: {}\r\n", "a".repeat(1 << 20))).into_bytes()),
            ("an address of a megabyte", format!("POST /mcp?{} HTTP/1.1\r\nhost: {to}\r\n{bearer}\r\n", "a".repeat(1 << 20)).into_bytes()),
            ("a zero byte in a header", head("x-zero: a\0b\r\n").into_bytes()),
            ("a zero byte in the address", format!("POST /mcp\0 HTTP/1.1\r\nhost: {to}\r\n{bearer}\r\n").into_bytes()),
            ("a folded header", head("x-a: 1\r\n authorization: Bearer x\r\n").into_bytes()),
            ("a blank before the colon", head("content-length : 5\r\n").into_bytes()),
            ("half of an HTTP/2 greeting", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec()),
            ("TLS", vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0x0d, 0x0a, 0x0d, 0x0a]),
            ("HTTP/9.9", format!("POST /mcp HTTP/9.9\r\nhost: {to}\r\n{bearer}\r\n").into_bytes()),
        ];
        for (what, bytes) in attacks {
            let answer = raw(to, &bytes).await;
            let status = answer.split(' ').nth(1).unwrap_or("closed");
            assert!(answer.is_empty() || status.starts_with('4') || !answer.starts_with("HTTP/1"), "{what}: {}", &answer[..answer.len().min(300)]);
            assert!(!answer.contains("\"result\""), "{what}: {}", &answer[..answer.len().min(300)]);
        }
        // One request, whatever its two lengths say: what follows is another request, without a token, and gets its own refusal.
        let hidden = format!("POST /mcp HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{ping}", ping.len());
        let both = format!(
            "POST /mcp HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/json\r\n{bearer}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{ping}\r\n0\r\n\r\n{hidden}",
            ping.len()
        );
        let answers = raw(to, both.as_bytes()).await;
        assert!(answers.matches("\"result\"").count() <= 1, "what is hidden behind a request does not ride on its token: {answers}");
        assert_eq!(app.client(&tenant.token).request("ping", json!({})).await.status, 200);
    })
    .await;
}

/// 26: connections that send slowly, send nothing, read nothing or ask for streams keep nobody out; a body that does not arrive ends with its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_26_slow_and_greedy_connections_keep_nobody_out() {
    // With the limits as they are: they are what keeps the greedy away.
    TestApp::everywhere_with(&["--request-timeout-ms", "12000"], |app| async move {
        let (tenant, attacker, slow) = (app.tenant("Buena").await, app.tenant("Mala").await, app.tenant("Lenta").await);
        let to = address(&app);
        let bearer = format!("authorization: Bearer {}\r\n", attacker.token);
        // Whose bodies do not come has a rate of its own: the greedy one's is used up.
        let half = format!("POST /mcp HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\n", slow.token);
        let head = format!("POST /mcp HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/json\r\n{bearer}");
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
        let whole = format!("{head}content-length: {}\r\n\r\n{list}", list.len());
        let (mut silent, mut bodies) = (Vec::new(), Vec::new());
        for _ in 0..150 {
            // Half a head, and then nothing.
            let mut stream = TcpStream::connect(to).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            silent.push(stream);
            // Not even that.
            silent.push(TcpStream::connect(to).await.unwrap());
        }
        for _ in 0..50 {
            let mut stream = TcpStream::connect(to).await.unwrap();
            stream.write_all(format!("{half}content-length: 1000\r\n\r\n{{\"jsonrpc\"").as_bytes()).await.unwrap();
            bodies.push(stream);
        }
        let mut greedy = Vec::new();
        for _ in 0..8 {
            // Asks hundreds of times and reads no answer.
            let mut stream = TcpStream::connect(to).await.unwrap();
            let asked = whole.repeat(150);
            drop(tokio::time::timeout(Duration::from_millis(200), stream.write_all(asked.as_bytes())).await);
            greedy.push(stream);
        }
        let client = app.client(&tenant.token);
        for turn in 0..30 {
            let answer = tokio::time::timeout(Duration::from_secs(20), client.call("buscar_cliente", json!({ "consulta": "Pérez" }))).await;
            assert_eq!(answer.expect("in time")["total"], 4, "{turn}");
        }
        // There are no streams to exhaust.
        for _ in 0..30 {
            let bearer = format!("Bearer {}", tenant.token);
            let answer = send("GET", &app.mcp_url(), &[("authorization", &bearer), ("accept", "text/event-stream")], "").await;
            assert_eq!(answer.status, 405);
        }
        // The bodies that never came end with the request's time, each with an answer.
        for mut stream in bodies {
            let mut answer = vec![0; 64];
            let read = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut answer)).await.expect("in time").unwrap();
            assert!(answer[..read].starts_with(b"HTTP/1.1 504"), "{}", String::from_utf8_lossy(&answer[..read]));
        }
        drop((silent, greedy));
        assert_eq!(client.request("ping", json!({})).await.status, 200);
    })
    .await;
}

/// What may differ between two answers to the same call.
fn settled(mut result: Value) -> Value {
    for place in ["structuredContent", "content"] {
        if let Some(text) = result[place][0]["text"].as_str() {
            result[place] = serde_json::from_str(text).unwrap_or_default();
        }
        if let Some(map) = result[place].as_object_mut() {
            for name in ["id_solicitud", "codigo_confirmacion", "llamadas_usadas", "llamadas_restantes"] {
                map.remove(name);
            }
        }
    }
    result
}

/// 28: what n8n, voice platforms and others add to the arguments changes nothing, for any tool.
#[tokio::test]
async fn attack_28_what_hosts_add_is_tolerated() {
    TestApp::everywhere_with(&["--tenant-burst-calls", "1000"], |app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Uno").await;
        let client = app.client(&tenant.token);
        for tool in dunet::tools::TOOLS.iter().map(|tool| tool.facts().name) {
            let plain = client.call_result(tool, sample_arguments(tool)).await;
            assert_ne!(plain["isError"], true, "{tool}: {plain}");
            let mut arguments = sample_arguments(tool);
            for (name, value) in [
                ("toolCallId", json!("call_1")),
                ("tool_call_id", json!("call_1")),
                ("sessionId", json!("s-1")),
                ("chatInput", json!("hola")),
                ("_meta", json!({ "progressToken": 1 })),
                ("__proto__", json!({ "admin": true })),
                ("execution_message", json!("Un momento…")),
                ("xyz", json!(null)),
            ] {
                arguments[name] = value;
            }
            let added = client.call_result(tool, arguments).await;
            assert_eq!(settled(added), settled(plain), "{tool}");
        }
        let rows = dunet::db::entities::operations::Entity::find().count(&app.state.db).await.unwrap();
        assert_eq!(rows, 0, "previews only");
    })
    .await;
}

/// 26: a head that never ends, and a connection that never speaks, are cut; who is one too many waits for a place, and gets it.
#[tokio::test]
async fn attack_26_a_head_that_never_ends_is_cut() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let app = TestApp::start(crate::support::Backend::Sqlite, &["--http-head-timeout-ms", "500", "--http-connections-max", "3"]).await;
    let address = app.base.trim_start_matches("http://").to_owned();
    let mut slow = Vec::new();
    for begin in ["POST /mcp HTTP/1.1\r\nhost: ", "", "GET /healthz HTTP/1.1\r\nx-a: b\r\n"] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    // The fourth is let in when the first of them is cut.
    assert_eq!(send("GET", &format!("{}/healthz", app.base), &[], "").await.status, 200);
    for mut stream in slow {
        let mut said = Vec::new();
        let ended = tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "still open: {}", String::from_utf8_lossy(&said));
    }
}
