//! What strangers send to the door: every wrong request gets a clear answer, in JSON-RPC wherever a client of either era looks for one.
//!
//! Numbers in comments are those of the attack list (platform reference, §3C).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::mcp::{Answer, LEGACY, MODERN, McpClient, send, with_meta};
use crate::support::{TestApp, TestTenant};

/// The origin that test services allow besides their own.
const ALLOWED_ORIGIN: &str = "http://localhost:6274";

async fn start(app: &TestApp) -> (TestTenant, McpClient) {
    let tenant = app.tenant("Ferretería Uno").await;
    let client = app.client(&tenant.token);
    (tenant, client)
}

/// A JSON-RPC error with that status, code and id.
fn assert_error(answer: &Answer, status: u16, code: i64, id: &Value, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text);
    assert!(answer.header("content-type").starts_with("application/json"), "{what}: {:?}", answer.headers);
    let body = answer.json();
    assert_eq!(body["jsonrpc"], "2.0", "{what}: {body}");
    assert_eq!(body["error"]["code"], code, "{what}: {body}");
    assert!(body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {body}");
    assert_eq!(&body["id"], id, "{what}: {body}");
    assert!(body.get("result").is_none(), "{what}: {body}");
}

fn modern_headers<'a>(method: &'a str, name: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![("mcp-protocol-version", MODERN), ("mcp-method", method)];
    if !name.is_empty() {
        headers.push(("mcp-name", name));
    }
    headers
}

fn message(id: &Value, method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

/// 24: batches, deep JSON, huge ids, duplicate keys.
#[tokio::test]
async fn attack_24_a_body_that_is_no_request_is_400_in_json_rpc() {
    TestApp::everywhere(|app| async move {
        let (_tenant, client) = start(&app).await;
        let deep = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}{}}}"#, r#"{"a":"#.repeat(5_000), "}".repeat(5_000));
        let not_json: [&[u8]; 8] = [b"", b"{", b"hola", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"} x", b"\xff\xfe", b"{'id':1}", b"NaN", deep.as_bytes()];
        for body in not_json {
            let answer = client.raw(body.to_vec(), &[]).await;
            assert_error(&answer, 400, -32700, &Value::Null, &String::from_utf8_lossy(&body[..body.len().min(60)]));
        }
        for body in [
            "[]",
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"tools/list"}]"#,
            "1",
            "null",
            "\"ping\"",
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1e300,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":99999999999999999999999999,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":18446744073709551615,"method":"ping"}"#,
        ] {
            assert_error(&client.raw(body, &[]).await, 400, -32600, &Value::Null, body);
        }
        for body in [
            r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#,
            r#"{"jsonrpc":2,"id":7,"method":"ping"}"#,
            r#"{"id":7,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":7}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":null}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":["ping"]}"#,
        ] {
            assert_error(&client.raw(body, &[]).await, 400, -32600, &json!(7), body);
        }
        // After all that the door still works.
        assert_eq!(client.request("ping", json!({})).await.status, 200);
    })
    .await;
}

/// 24: which of two equal keys counts must not depend on who reads: such a body is refused, or one reading holds for everybody.
#[tokio::test]
async fn attack_24_duplicate_keys_have_one_reading() {
    TestApp::everywhere(|app| async move {
        let (_tenant, client) = start(&app).await;
        for (body, methods) in [
            (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, 1),
            (r#"{"jsonrpc":"1.0","jsonrpc":"2.0","id":2,"method":"ping"}"#, 1),
            (r#"{"jsonrpc":"2.0","id":2,"method":"tools/list","method":"ping"}"#, 2),
            (r#"{"jsonrpc":"2.0","id":2,"method":"ping","params":{},"params":{}}"#, 1),
            (r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"no_existe","name":"consultar_rnc_dgii","arguments":{"rnc":"1"}}}"#, 1),
        ] {
            let answer = client.raw(body, &[]).await;
            let json = answer.json();
            assert_eq!(json["jsonrpc"], "2.0", "{body}: {json}");
            if answer.status == 200 {
                assert_eq!(json["id"], 2, "{body}: {json}");
                // The last one counts: `ping` answers an empty result.
                assert!(methods == 1 || json["result"] == json!({}), "{body}: {json}");
            } else {
                assert_eq!((answer.status, answer.code()), (400, -32600), "{body}: {json}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn attack_24_ids_come_back_as_they_were() {
    TestApp::everywhere(|app| async move {
        let (_tenant, client) = start(&app).await;
        let long = "x".repeat(100_000);
        for id in [json!(0), json!(-5), json!(i64::MAX), json!("uno"), json!("7"), json!(""), json!(long)] {
            let answer = client.raw(message(&id, "ping", &json!({})), &[]).await;
            assert_eq!((answer.status, &answer.json()["id"]), (200, &id));
            assert_error(&client.raw(message(&id, "no/existe", &json!({})), &[]).await, 200, -32601, &id, "unknown method");
        }
    })
    .await;
}

#[tokio::test]
async fn the_content_type_must_be_json() {
    TestApp::everywhere(|app| async move {
        let (_tenant, client) = start(&app).await;
        let body = message(&json!(1), "ping", &json!({}));
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", "text/json", ""] {
            assert_error(&client.raw(body.clone(), &[("content-type", kind)]).await, 415, -32600, &Value::Null, kind);
        }
        for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
            assert_eq!(client.raw(body.clone(), &[("content-type", kind)]).await.status, 200, "{kind}");
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_takes_json_gets_json() {
    TestApp::everywhere(|app| async move {
        let (tenant, client) = start(&app).await;
        let body = message(&json!(1), "ping", &json!({}));
        for accept in ["application/json", "*/*", "application/*", "text/event-stream, application/json", "application/json;q=0.9, */*;q=0.1", "APPLICATION/JSON"] {
            let answer = client.raw(body.clone(), &[("accept", accept)]).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{accept}");
        }
        let bearer = format!("Bearer {}", tenant.token);
        let without = send("POST", &app.mcp_url(), &[("authorization", &bearer), ("content-type", "application/json")], body.clone()).await;
        assert_eq!(without.status, 200, "no Accept at all");
        for accept in ["text/html", "image/png"] {
            let answer = client.raw(body.clone(), &[("accept", accept)]).await;
            assert_error(&answer, 406, -32600, &json!(1), accept);
        }
    })
    .await;
}

#[tokio::test]
async fn parameters_of_the_wrong_type_are_invalid_parameters() {
    TestApp::everywhere(|app| async move {
        let (tenant, legacy) = start(&app).await;
        let modern = McpClient::modern(&app.mcp_url(), &tenant.token);
        for params in [
            json!({ "name": 5 }),
            json!({ "name": null, "arguments": {} }),
            json!({ "arguments": {} }),
            json!({}),
            json!({ "name": "consultar_rnc_dgii", "arguments": "131098193" }),
            json!({ "name": "consultar_rnc_dgii", "arguments": ["131098193"] }),
            json!({ "name": "consultar_rnc_dgii", "arguments": 7 }),
        ] {
            let answer = legacy.raw(message(&json!("a"), "tools/call", &params), &[("mcp-protocol-version", LEGACY)]).await;
            assert_error(&answer, 200, -32602, &json!("a"), &params.to_string());
            // In the modern era a name that is no text cannot stand in `Mcp-Name` either: there the header is what is wrong.
            let answer = modern.raw(message(&json!("a"), "tools/call", &with_meta(params.clone())), &modern_headers("tools/call", "consultar_rnc_dgii")).await;
            let code = if params["name"].is_string() { -32602 } else { -32020 };
            let code = if answer.status == 200 { -32602 } else { code };
            assert_eq!(answer.code(), code, "{params}: {}", answer.text);
            assert!([200, 400].contains(&answer.status), "{params}: {} {}", answer.status, answer.text);
        }
        for (method, params, status) in [
            ("tools/list", json!({ "cursor": 5 }), 400),
            ("tools/list", json!({ "cursor": ["x"] }), 400),
            ("tools/list", json!("x"), 400),
            ("tools/call", json!([1, 2]), 400),
            ("initialize", json!({}), 200),
            ("initialize", json!({ "protocolVersion": 7, "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } }), 200),
            ("initialize", json!({ "protocolVersion": LEGACY, "capabilities": [], "clientInfo": "x" }), 200),
        ] {
            let answer = legacy.raw(message(&json!(3), method, &params), &[]).await;
            assert_error(&answer, status, -32602, &json!(3), &format!("{method} {params}"));
        }
        // Nothing is the same as no parameters, and some clients send it so.
        for params in [Value::Null, json!({ "cursor": null })] {
            let answer = legacy.raw(message(&json!(3), "tools/list", &params), &[]).await;
            assert!(answer.json()["result"]["tools"].is_array(), "{params}: {}", answer.text);
        }
    })
    .await;
}

/// 25: methods that were removed, or that this server never had, are unknown; none of them hangs or answers an empty list.
#[tokio::test]
async fn attack_25_unknown_methods_are_minus_32601() {
    TestApp::everywhere(|app| async move {
        let (tenant, legacy) = start(&app).await;
        let modern = McpClient::modern(&app.mcp_url(), &tenant.token);
        let never = ["no/existe", "", "tools", "Tools/List", "sampling/createMessage", "roots/list", "execute_kw"];
        let not_offered =
            [("resources/subscribe", json!({ "uri": "odoo://res.partner/1" })), ("logging/setLevel", json!({ "level": "debug" })), ("tasks/get", json!({ "taskId": "1" }))];
        let all: Vec<(&str, Value)> = never.iter().map(|method| (*method, json!({}))).chain(not_offered).collect();
        for (method, params) in &all {
            let answer = legacy.raw(message(&json!(9), method, params), &[("mcp-protocol-version", LEGACY)]).await;
            // Before 2026-07-28 a 404 says that a session has ended.
            assert_error(&answer, 200, -32601, &json!(9), &format!("legacy {method}"));
            assert!(answer.text.contains("tools/list, tools/call"), "it says what is offered: {}", answer.text);
            if method.is_empty() {
                continue;
            }
            let mut headers = modern_headers(method, "");
            if let Some(name) = ["name", "uri", "taskId"].iter().find_map(|key| params[*key].as_str()) {
                headers.push(("mcp-name", name));
            }
            let answer = modern.raw(message(&json!(9), method, &with_meta(params.clone())), &headers).await;
            assert_error(&answer, 404, -32601, &json!(9), &format!("modern {method}"));
            assert!(answer.text.contains("tools/list, tools/call"), "it says what is offered: {}", answer.text);
        }
        // Removed in the modern era, alive in the older ones.
        let handshake = json!({ "protocolVersion": MODERN, "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } });
        for (method, params) in [("ping", json!({})), ("initialize", json!({})), ("initialize", handshake)] {
            let answer = modern.raw(message(&json!(9), method, &with_meta(params)), &modern_headers(method, "")).await;
            assert_error(&answer, 404, -32601, &json!(9), &format!("modern {method}"));
        }
        // A name that was sent does not come back at any length.
        let long = "m".repeat(50_000);
        let answer = legacy.raw(message(&json!(9), &long, &json!({})), &[]).await;
        assert!(answer.text.len() < 500, "{} bytes", answer.text.len());
    })
    .await;
}

/// 24: unknown version → −32022 with what is supported.
#[tokio::test]
async fn attack_24_versions_that_are_not_served_say_which_are() {
    TestApp::everywhere(|app| async move {
        let (_tenant, client) = start(&app).await;
        let supported = json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]);
        // In the header only.
        for version in ["1999-01-01", "2024-11-05", "2026-07-29", "DRAFT-2027", "2025-11-25 ", "x"] {
            let answer = client.raw(message(&json!(4), "tools/list", &json!({})), &[("mcp-protocol-version", version)]).await;
            if version.trim() == LEGACY {
                // Blanks around a header's value are not part of it.
                assert_eq!(answer.status, 200, "{}", answer.text);
                continue;
            }
            assert_error(&answer, 400, -32022, &json!(4), version);
            assert_eq!(answer.json()["error"]["data"], json!({ "supported": supported, "requested": version }), "{version}");
        }
        // In both places.
        let mut params = with_meta(json!({}));
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2030-01-01");
        let answer = client.raw(message(&json!(4), "tools/list", &params), &[("mcp-protocol-version", "2030-01-01"), ("mcp-method", "tools/list")]).await;
        assert_error(&answer, 400, -32022, &json!(4), "both");
        assert_eq!(answer.json()["error"]["data"]["requested"], "2030-01-01");
        assert_eq!(answer.json()["error"]["data"]["supported"].as_array().map(Vec::len), Some(4));
        // A modern header without its `_meta`, or without one of its keys.
        for params in [json!({}), json!({ "_meta": {} }), {
            let mut params = with_meta(json!({}));
            params["_meta"].as_object_mut().unwrap().remove("io.modelcontextprotocol/clientCapabilities");
            params
        }] {
            let answer = client.raw(message(&json!(4), "tools/list", &params), &modern_headers("tools/list", "")).await;
            assert_error(&answer, 400, -32602, &json!(4), &params.to_string());
        }
    })
    .await;
}

/// 24: `Mcp-Method` and `Mcp-Name` that differ from the body → −32020.
#[tokio::test]
async fn attack_24_headers_that_differ_from_the_body_are_refused() {
    TestApp::everywhere(|app| async move {
        let (_tenant, client) = start(&app).await;
        let call = message(&json!("c"), "tools/call", &with_meta(json!({ "name": "consultar_rnc_dgii", "arguments": { "rnc": "131098193" } })));
        let version = ("mcp-protocol-version", MODERN);
        let (method, name) = (("mcp-method", "tools/call"), ("mcp-name", "consultar_rnc_dgii"));
        for (headers, what) in [
            (vec![version, name], "no method"),
            (vec![version, ("mcp-method", "tools/list"), name], "another method"),
            (vec![version, ("mcp-method", "TOOLS/CALL"), name], "another case of the method"),
            (vec![version, method], "no name"),
            (vec![version, method, ("mcp-name", "buscar_cliente")], "another name"),
            (vec![version, method, ("mcp-name", "=?base64?YnVzY2FyX2NsaWVudGU=?=")], "another name in base64"),
            (vec![version, method, ("mcp-name", "=?base64?%%%?=")], "no base64"),
            (vec![("mcp-protocol-version", LEGACY), method, name], "another version than in _meta"),
            (vec![method, name], "a version in _meta only"),
        ] {
            assert_error(&client.raw(call.clone(), &headers).await, 400, -32020, &json!("c"), what);
        }
        // What is not ASCII, or might be mistaken, comes in base64 and is decoded before it is compared.
        for name in ["consultar_rnc_dgii", "=?base64?Y29uc3VsdGFyX3JuY19kZ2lp?="] {
            let answer = client.raw(call.clone(), &[version, method, ("mcp-name", name)]).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text);
            assert!(answer.json().get("result").is_some(), "{name}: {}", answer.text);
        }
    })
    .await;
}

/// 24: a body over the cap, its length told or not.
#[tokio::test]
async fn attack_24_a_body_that_is_too_large_is_413() {
    TestApp::everywhere_with(&["--body-bytes-max", "20000"], |app| async move {
        let (_tenant, client) = start(&app).await;
        let of_bytes = |count: usize| {
            let frame = message(&json!(1), "ping", &json!({ "x": "" })).len();
            message(&json!(1), "ping", &json!({ "x": "a".repeat(count - frame) }))
        };
        assert_eq!(client.raw(of_bytes(20_000), &[]).await.status, 200, "exactly the cap");
        assert_error(&client.raw(of_bytes(20_001), &[]).await, 413, -32600, &Value::Null, "one byte more");
        // Chunked, without a length.
        let chunks = |count: usize| {
            let bytes = of_bytes(count).into_bytes();
            let pieces: Vec<Result<Vec<u8>, std::io::Error>> = bytes.chunks(1_000).map(|piece| Ok(piece.to_vec())).collect();
            reqwest::Body::wrap_stream(futures::stream::iter(pieces))
        };
        assert_eq!(client.raw(chunks(20_000), &[]).await.status, 200, "exactly the cap, chunked");
        assert_error(&client.raw(chunks(20_001), &[]).await, 413, -32600, &Value::Null, "one byte more, chunked");
        assert_error(&client.raw(chunks(60_000), &[]).await, 413, -32600, &Value::Null, "much more, chunked");
        // Who is not signed in does not get that far.
        let answer = McpClient::anonymous(&app.mcp_url()).raw(of_bytes(20_001), &[]).await;
        assert_eq!(answer.status, 401);
    })
    .await;
}

/// 23: a foreign Host or Origin.
#[tokio::test]
async fn attack_23_foreign_hosts_and_origins_are_403() {
    TestApp::everywhere(|app| async move {
        let (_tenant, client) = start(&app).await;
        let body = message(&json!(1), "ping", &json!({}));
        let port = app.base.rsplit(':').next().unwrap().to_owned();
        for host in ["evil.com", "mcp.evil.com:80", "127.0.0.1.evil.com", "evil.com@127.0.0.1", "192.168.1.1", "0.0.0.0"] {
            assert_error(&client.raw(body.clone(), &[("host", host)]).await, 403, -31003, &Value::Null, host);
        }
        for host in [format!("localhost:{port}"), format!("[::1]:{port}"), "127.0.0.1".to_owned()] {
            assert_eq!(client.raw(body.clone(), &[("host", &host)]).await.status, 200, "{host}");
        }
        for origin in ["https://evil.com", "null", "", "http://localhost:1", "https://localhost:6274", "http://localhost:6274.evil.com", "file://"] {
            let answer = client.raw(body.clone(), &[("origin", origin)]).await;
            assert_error(&answer, 403, -31003, &Value::Null, origin);
            assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}");
        }
        // Before authentication: a foreign page does not learn whether a token is good.
        let answer = McpClient::anonymous(&app.mcp_url()).raw(body.clone(), &[("origin", "https://evil.com")]).await;
        assert_eq!(answer.status, 403);
        for origin in [ALLOWED_ORIGIN, app.base.as_str()] {
            let answer = client.raw(body.clone(), &[("origin", origin)]).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, origin));
            assert!(answer.header("access-control-expose-headers").contains("www-authenticate"), "{:?}", answer.headers);
        }
    })
    .await;
}

#[tokio::test]
async fn browsers_may_ask_first() {
    TestApp::everywhere(|app| async move {
        let preflight = async |origin: &str| {
            let headers = [
                ("origin", origin),
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "authorization,content-type,mcp-protocol-version,mcp-method,mcp-name"),
            ];
            send("OPTIONS", &app.mcp_url(), &headers, "").await
        };
        // No token is sent with a preflight.
        let answer = preflight(ALLOWED_ORIGIN).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, ALLOWED_ORIGIN), "{}", answer.text);
        let allowed = answer.header("access-control-allow-headers").to_lowercase();
        for header in ["authorization", "content-type", "mcp-protocol-version", "mcp-method", "mcp-name"] {
            assert!(allowed.contains(header), "{header}: {allowed}");
        }
        assert!(answer.header("access-control-allow-methods").contains("POST"));
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        let answer = preflight("https://evil.com").await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, ""));
        // A refusal can be read by the page that caused it.
        let answer = McpClient::anonymous(&app.mcp_url()).raw("{}", &[("origin", ALLOWED_ORIGIN)]).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (401, ALLOWED_ORIGIN));
    })
    .await;
}

#[tokio::test]
async fn other_verbs_are_405() {
    TestApp::everywhere(|app| async move {
        let (tenant, _client) = start(&app).await;
        let bearer = format!("Bearer {}", tenant.token);
        let headers = [("authorization", bearer.as_str()), ("accept", "text/event-stream"), ("mcp-session-id", "1"), ("last-event-id", "1")];
        for path in ["/mcp", "/mcp/token"] {
            for verb in ["GET", "DELETE", "PUT", "PATCH"] {
                let answer = send(verb, &format!("{}{path}", app.base), &headers, "").await;
                assert_error(&answer, 405, -32600, &Value::Null, &format!("{verb} {path}"));
                assert_eq!(answer.header("allow"), "POST", "{verb} {path}: {:?}", answer.headers);
            }
            assert_eq!(send("GET", &format!("{}{path}", app.base), &[], "").await.status, 401, "{path} without a token");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_request_gets_no_answer_of_one() {
    TestApp::everywhere(|app| async move {
        let (_tenant, client) = start(&app).await;
        for body in [
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1, "reason": "x" } }),
            json!({ "jsonrpc": "2.0", "method": "notifications/no_existe" }),
        ] {
            let answer = client.raw(body.to_string(), &[]).await;
            assert_eq!((answer.status, answer.text.as_str()), (202, ""), "{body}");
        }
        for body in [
            json!({ "jsonrpc": "2.0", "id": 1, "result": {} }),
            json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -1, "message": "x" } }),
            json!({ "jsonrpc": "2.0", "id": 1, "result": "x" }),
            json!({ "jsonrpc": "2.0", "id": 1, "error": "x" }),
        ] {
            let answer = client.raw(body.to_string(), &[]).await;
            assert_eq!((answer.status, answer.code()), (400, -32600), "{body}: {}", answer.text);
        }
    })
    .await;
}

#[tokio::test]
async fn cursors_and_tools_that_do_not_exist_are_invalid_parameters() {
    TestApp::everywhere(|app| async move {
        let (tenant, legacy) = start(&app).await;
        for client in [legacy, McpClient::modern(&app.mcp_url(), &tenant.token)] {
            for cursor in ["", "x", "eyJvZmZzZXQiOjF9"] {
                let answer = client.request("tools/list", json!({ "cursor": cursor })).await;
                assert_error(&answer, 200, -32602, &json!(1), "cursor");
            }
            let long = "x".repeat(10_000);
            for name in ["no_existe", "CONSULTAR_RNC_DGII", "consultar_rnc_dgii ", "../consultar", &long] {
                if name.ends_with(' ') {
                    // A header cannot carry it plainly.
                    continue;
                }
                let answer = client.request("tools/call", json!({ "name": name, "arguments": {} })).await;
                assert_error(&answer, 200, -32602, &json!(1), "tool");
                assert!(answer.text.len() < 500);
            }
        }
        // 28: what hosts inject is tolerated.
        app.padron(3).await;
        let arguments = json!({ "rnc": "131098193", "toolCallId": "x", "sessionId": "y" });
        app.client(&tenant.token).call_result("consultar_rnc_dgii", arguments).await;
    })
    .await;
}

/// 4: a session id of somebody else changes nothing, since there are none.
#[tokio::test]
async fn attack_04_sessions_do_not_exist() {
    TestApp::everywhere(|app| async move {
        let (_tenant, client) = start(&app).await;
        let params = json!({ "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } });
        let answer = client.raw(message(&json!(0), "initialize", &params), &[]).await;
        assert_eq!((answer.status, answer.header("mcp-session-id")), (200, ""));
        let headers = [("mcp-session-id", "de-otro"), ("last-event-id", "9"), ("mcp-protocol-version", LEGACY)];
        let answer = client.raw(message(&json!(1), "tools/list", &json!({})), &headers).await;
        assert_eq!((answer.status, answer.header("mcp-session-id")), (200, ""));
        assert_eq!(answer.json()["result"]["tools"].as_array().map(Vec::len), Some(8));
    })
    .await;
}

/// Clients take anything but a 404 at these addresses for a discovery document.
#[tokio::test]
async fn unknown_paths_are_true_404s() {
    TestApp::everywhere(|app| async move {
        let (tenant, _client) = start(&app).await;
        let bearer = format!("Bearer {}", tenant.token);
        for path in [
            "/.well-known/oauth-protected-resource/mcp/token",
            "/.well-known/oauth-authorization-server/mcp",
            "/.well-known/openid-configuration",
            "/.well-known/openid-configuration/mcp",
            "/mcp/.well-known/openid-configuration",
            "/register",
            "/mcp/",
            "/mcp/otro",
            "/mcp/token/",
            "/sse",
            "/",
            "/../mcp",
            "/MCP",
            "//mcp",
        ] {
            for verb in ["GET", "POST"] {
                let answer = send(verb, &format!("{}{path}", app.base), &[("authorization", &bearer), ("content-type", "application/json")], "{}").await;
                // The client resolves `..` itself: that is the door.
                let expected = if path == "/../mcp" { if verb == "GET" { 405 } else { 400 } } else { 404 };
                assert_eq!(answer.status, expected, "{verb} {path}: {}", answer.text);
                assert!(answer.header("content-type").starts_with("application/json"), "{verb} {path}");
            }
        }
        let alive = send("GET", &format!("{}/healthz", app.base), &[], "").await;
        assert_eq!(alive.status, 200);
    })
    .await;
}

/// Many wrong requests at once leave the door as it was.
#[tokio::test]
async fn a_flood_of_rubbish_hurts_nobody() {
    TestApp::everywhere(|app| async move {
        let (_tenant, client) = start(&app).await;
        let (_other, good) = {
            let tenant = app.tenant("Ferretería Dos").await;
            let client = app.client(&tenant.token);
            (tenant, client)
        };
        let mut flood = tokio::task::JoinSet::new();
        let rubbish = Arc::new(["{", "[]", "null", "{}", r#"{"jsonrpc":"2.0","id":1.5,"method":"x"}"#]);
        for turn in 0..60 {
            let (client, rubbish) = (client.clone(), Arc::clone(&rubbish));
            flood.spawn(async move { client.raw(rubbish[turn % rubbish.len()], &[]).await.status });
        }
        while let Some(status) = flood.join_next().await {
            assert!((400..500).contains(&status.unwrap()));
        }
        assert_eq!(good.request("ping", json!({})).await.status, 200);
    })
    .await;
}
