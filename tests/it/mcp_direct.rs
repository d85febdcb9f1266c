//! A plain call goes the short way past rmcp: what is answered must be what rmcp would have answered, to the byte.

use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::mcp::{LEGACY, MODERN, McpClient, with_meta};

/// A taxpayer that every sample listing has.
const RNC: &str = "131793916";

/// The body with that id, and whether the call goes the long way: a member that no message has says so, and changes nothing else.
fn body(id: &Value, params: &Value, long: bool) -> String {
    let mut message = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
    if long {
        message["x-long-way"] = json!(true);
    }
    message.to_string()
}

async fn text(client: &McpClient, id: &Value, params: &Value, headers: &[(&str, &str)], long: bool) -> (u16, String) {
    let answer = client.raw(body(id, params, long), headers).await;
    assert_eq!(answer.header("content-type"), "application/json");
    (answer.status, answer.text.replace(answer.header("x-request-id"), "ID"))
}

#[tokio::test]
async fn both_ways_answer_the_same() {
    TestApp::everywhere_with(&["--repeated-calls-per-minute", "0"], |app| async move {
        app.padron(3).await;
        let calls = [
            json!({ "name": "consultar_rnc_dgii", "arguments": { "rnc": RNC } }),
            json!({ "name": "consultar_rnc_dgii", "arguments": { "rnc": "999999999" }, "_meta": { "progressToken": 3 } }),
            json!({ "name": "consultar_rnc_dgii", "arguments": { "rnc": "no es \"un\" número \\ \u{1}" } }),
            json!({ "name": "consultar_rnc_dgii", "arguments": {} }),
            json!({ "name": "consultar_rnc_dgii" }),
            json!({ "name": "buscar_contribuyente", "arguments": { "nombre": "indexa" } }),
            json!({ "name": "buscar_cliente", "arguments": { "consulta": "colegio", "limite": 2 } }),
            json!({ "name": "crear_cliente", "arguments": { "nombre": "Uno" } }),
            json!({ "name": "no_hay", "arguments": {} }),
        ];
        for call in &calls {
            // One each: all of them together are more than a plan's rate lets through at once.
            let tenant = app.tenant("Ferretería Uno").await;
            let client = app.client(&tenant.token);
            for id in [json!(7), json!("siete"), json!(-1)] {
                for version in [LEGACY, "2025-06-18", "2025-03-26"] {
                    let headers = [("mcp-protocol-version", version)];
                    let (short, long) = (text(&client, &id, call, &headers, false).await, text(&client, &id, call, &headers, true).await);
                    if call["name"] == "crear_cliente" {
                        // Its code is another each time.
                        assert!(short.1.contains("codigo_confirmacion") && long.1.contains("codigo_confirmacion"), "{short:?} {long:?}");
                    } else {
                        assert_eq!(short, long, "{version} {call}");
                    }
                }
            }
            let name = call["name"].as_str().unwrap();
            if call["name"] != "crear_cliente" {
                let modern = with_meta(json!({ "name": name, "arguments": call.get("arguments").cloned().unwrap_or_else(|| json!({})) }));
                let headers = [("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", name)];
                assert_eq!(text(&client, &json!(1), &modern, &headers, false).await, text(&client, &json!(1), &modern, &headers, true).await, "{call}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_contradicts_itself_is_refused_as_before() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Ferretería Uno").await;
        let client = app.client(&tenant.token);
        let call = json!({ "name": "consultar_rnc_dgii", "arguments": { "rnc": RNC } });
        let (modern, bare) = (with_meta(call.clone()), &call);
        for (params, headers) in [
            (&modern, &[("mcp-protocol-version", MODERN), ("mcp-method", "tools/list"), ("mcp-name", "consultar_rnc_dgii")][..]),
            (&modern, &[("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", "buscar_cliente")]),
            (&modern, &[("mcp-protocol-version", MODERN)]),
            (&modern, &[("mcp-protocol-version", LEGACY)]),
            (bare, &[("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", "consultar_rnc_dgii")]),
        ] {
            let (short, long) = (text(&client, &json!(1), params, headers, false).await, text(&client, &json!(1), params, headers, true).await);
            assert_eq!(short, long, "{headers:?}");
            assert!(short.1.contains("\"error\""), "{headers:?}: {short:?}");
        }
    })
    .await;
}
