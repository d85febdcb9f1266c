//! Clients of both eras at one address: the stateless revision, and the three with a handshake.

use serde_json::{Value, json};

use crate::support::mcp::{LEGACY, MODERN, McpClient, send, with_meta};
use crate::support::{TestApp, actor};
use dunet::domain::tenants::TenantEdit;
use dunet::domain::tokens::NewToken;
use dunet::text::Language;
use secrecy::ExposeSecret;

/// The older revisions, and no version at all, which means the oldest.
const OLDER: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", ""];
/// What a modern result says of the server.
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// A taxpayer that every sample listing has.
const RNC: &str = "131793916";

const NAMES: [&str; 8] =
    ["consultar_rnc_dgii", "buscar_contribuyente", "buscar_cliente", "crear_cliente", "buscar_productos", "crear_cotizacion", "ver_cotizacion", "odoo_contexto"];

fn names(list: &Value) -> Vec<&str> {
    list["tools"].as_array().unwrap_or_else(|| panic!("no tools: {list}")).iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

async fn older(client: &McpClient, version: &str, method: &str, params: Value) -> Value {
    let body = json!({ "jsonrpc": "2.0", "id": 5, "method": method, "params": params }).to_string();
    let headers: Vec<(&str, &str)> = if version.is_empty() { Vec::new() } else { vec![("mcp-protocol-version", version)] };
    let answer = client.raw(body, &headers).await;
    assert_eq!(answer.status, 200, "{version} {method}: {}", answer.text);
    assert!(answer.json().get("result").is_some(), "{version} {method}: {}", answer.text);
    answer.json()["result"].clone()
}

#[tokio::test]
async fn the_stateless_era() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Ferretería Uno").await;
        let client = McpClient::modern(&app.mcp_url(), &tenant.token);

        let found = client.request("server/discover", json!({})).await.json()["result"].clone();
        assert_eq!(found["supportedVersions"], json!([MODERN, "2025-11-25", "2025-06-18", "2025-03-26"]));
        assert!(found["capabilities"]["tools"].is_object(), "{found}");
        for offered in ["prompts", "resources", "completions"] {
            assert!(found["capabilities"][offered].is_object(), "{offered}");
        }
        for not_offered in ["logging", "tasks"] {
            assert!(found["capabilities"].get(not_offered).is_none(), "{not_offered}");
        }
        assert!(found["instructions"].as_str().is_some_and(|text| text.contains("Ferretería Uno")), "{found}");

        let list = client.request("tools/list", json!({})).await.json()["result"].clone();
        assert_eq!(names(&list), NAMES);
        assert!(list.get("nextCursor").is_none());

        let call = client.request("tools/call", json!({ "name": "consultar_rnc_dgii", "arguments": { "rnc": RNC } })).await.json()["result"].clone();
        assert_eq!(call["structuredContent"]["encontrado"], true, "{call}");
        assert_ne!(call["isError"], true);
        let failed = client.request("tools/call", json!({ "name": "consultar_rnc_dgii", "arguments": {} })).await.json()["result"].clone();
        assert_eq!(failed["isError"], true, "{failed}");

        for (result, what) in [(&found, "discover"), (&list, "list"), (&call, "call"), (&failed, "failed call")] {
            assert_eq!(result["resultType"], "complete", "{what}");
            assert_eq!(result["_meta"][SERVER_INFO]["name"], "dunet", "{what}: {}", result["_meta"]);
            assert_eq!(result["_meta"][SERVER_INFO]["version"], env!("CARGO_PKG_VERSION"), "{what}");
        }
        for (result, what) in [(&found, "discover"), (&list, "list")] {
            assert_eq!(result["cacheScope"], "private", "{what}");
            assert!(result["ttlMs"].as_u64().is_some_and(|ttl| ttl <= 300_000), "{what}: {}", result["ttlMs"]);
        }
        assert!(call.get("cacheScope").is_none());
    })
    .await;
}

#[tokio::test]
async fn the_eras_with_a_handshake() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Ferretería Uno").await;
        let client = app.client(&tenant.token);
        for version in OLDER {
            let asked = if version.is_empty() { "2025-03-26" } else { version };
            let hello = json!({ "protocolVersion": asked, "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } });
            // The first request carries no header in any of them.
            let hello = older(&client, "", "initialize", hello).await;
            assert_eq!(hello["protocolVersion"], asked);
            assert_eq!(hello["serverInfo"]["name"], "dunet");
            assert_eq!(hello["serverInfo"]["version"], env!("CARGO_PKG_VERSION"));
            assert!(hello["capabilities"]["tools"].is_object());
            assert!(hello["instructions"].as_str().is_some_and(|text| text.contains("Ferretería Uno")), "{hello}");

            assert_eq!(older(&client, version, "ping", json!({})).await, json!({}));
            let list = older(&client, version, "tools/list", json!({})).await;
            assert_eq!(names(&list), NAMES, "{version}");
            let call = older(&client, version, "tools/call", json!({ "name": "consultar_rnc_dgii", "arguments": { "rnc": RNC } })).await;
            assert_eq!(call["structuredContent"]["encontrado"], true, "{version}: {call}");
            for result in [&hello, &list, &call] {
                assert!(result.get("resultType").is_none(), "{version}: {result}");
                assert!(result.get("_meta").is_none(), "{version}: {result}");
            }
        }
        // A version from before gets the newest handshake we have, never the stateless one.
        for asked in ["2024-11-05", "2024-10-07", "1999-01-01", "2030-01-01"] {
            let hello = json!({ "protocolVersion": asked, "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } });
            assert_eq!(older(&client, "", "initialize", hello).await["protocolVersion"], LEGACY, "{asked}");
        }
    })
    .await;
}

/// A client of both eras tries the newer one first and looks at the answer: it must be able to tell.
#[tokio::test]
async fn a_client_that_switches_eras_keeps_its_tools() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería Uno").await;
        let (modern, legacy) = (McpClient::modern(&app.mcp_url(), &tenant.token), app.client(&tenant.token));
        let list = async |client: &McpClient| client.request("tools/list", json!({})).await.json()["result"]["tools"].clone();
        let first = list(&modern).await;
        for _ in 0..5 {
            assert_eq!(list(&modern).await, first, "the order is always the same");
            assert_eq!(list(&legacy).await, first, "and of one era as of the other");
        }
        for tool in first.as_array().unwrap() {
            assert_eq!(tool["inputSchema"]["type"], "object");
            assert!(tool["outputSchema"].is_object() && tool["title"].is_string() && tool["description"].is_string(), "{tool}");
            let writes = tool["name"].as_str().unwrap().starts_with("crear_");
            assert_eq!(tool["annotations"]["readOnlyHint"], !writes, "{}", tool["name"]);
            assert_eq!(tool["annotations"]["destructiveHint"], false, "{}", tool["name"]);
        }
    })
    .await;
}

#[tokio::test]
async fn the_text_of_a_result_is_its_data() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Ferretería Uno").await;
        for client in [app.client(&tenant.token), McpClient::modern(&app.mcp_url(), &tenant.token)] {
            for arguments in [json!({ "rnc": RNC }), json!({ "rnc": "12" }), json!({})] {
                let result = client.call_result("consultar_rnc_dgii", arguments).await;
                let content = result["content"].as_array().unwrap();
                assert_eq!((content.len(), &content[0]["type"]), (1, &json!("text")));
                let text: Value = serde_json::from_str(content[0]["text"].as_str().unwrap()).unwrap();
                assert_eq!(text, result["structuredContent"]);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_second_address_is_the_same_service() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Ferretería Uno").await;
        let url = format!("{}/mcp/token", app.base);
        for client in [McpClient::legacy(&url, &tenant.token), McpClient::modern(&url, &tenant.token)] {
            assert_eq!(client.tool_names().await, NAMES);
            assert_eq!(client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await["encontrado"], true);
        }
        // Some clients forget the header they were given as soon as discovery answers: here nothing points to it.
        for client in [McpClient::anonymous(&url), McpClient::legacy(&url, "x")] {
            let answer = client.request("ping", json!({})).await;
            assert_eq!(answer.status, 401);
            let challenge = answer.header("www-authenticate");
            assert!(challenge.starts_with("Bearer ") && !challenge.contains("resource_metadata"), "{challenge}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_language_is_the_tokens() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería Uno").await;
        let new = NewToken { name: "english".to_owned(), packs: None, language: Some(Language::En), expires_at: None };
        let english = app.state.tokens.token_issue(tenant.id, new, &actor()).await.unwrap();
        let english = app.client(english.token.expose_secret());
        let spanish = app.client(&tenant.token);
        let error = english.fail("consultar_rnc_dgii", json!({})).await;
        let same = spanish.fail("consultar_rnc_dgii", json!({})).await;
        assert_eq!(error["codigo"], same["codigo"]);
        assert!(error["mensaje"].as_str().unwrap().contains("arguments"), "{error}");
        assert!(same["mensaje"].as_str().unwrap().contains("argumentos"), "{same}");
        let hello = json!({ "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } });
        let hello = older(&english, "", "initialize", hello).await;
        assert!(hello["instructions"].as_str().unwrap().starts_with("Tools of Ferretería Uno"), "{hello}");
    })
    .await;
}

/// 29: a tenant's name is told to its own agents only, as it is.
#[tokio::test]
async fn attack_29_a_name_is_never_a_template() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Uno").await;
        app.edit(tenant.id, TenantEdit { name: Some("%{empresa} <script> {{x}} Ñandú & Cía.".to_owned()), ..TenantEdit::default() }).await;
        let client = McpClient::modern(&app.mcp_url(), &tenant.token);
        let found = client.request("server/discover", json!({})).await.json();
        let text = found["result"]["instructions"].as_str().unwrap();
        assert_eq!(text.matches("%{empresa} <script> {{x}} Ñandú & Cía.").count(), 1, "{text}");
    })
    .await;
}

#[tokio::test]
async fn every_answer_carries_our_id_and_our_headers() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería Uno").await;
        let client = app.client(&tenant.token);
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "consultar_rnc_dgii", "arguments": {} } }).to_string();
        let answer = client.raw(body.clone(), &[("x-request-id", "elegido-por-el-cliente")]).await;
        let id = answer.header("x-request-id").to_owned();
        assert!(uuid::Uuid::parse_str(&id).is_ok(), "ids are ours: {id}");
        assert_eq!(answer.json()["result"]["structuredContent"]["id_solicitud"], id.as_str());
        assert_ne!(client.raw(body, &[]).await.header("x-request-id"), id);
        let rows = app.usage_rows(2).await;
        assert!(rows.iter().any(|row| row.request_id == id), "the usage row has it too");

        let anonymous = McpClient::anonymous(&app.mcp_url());
        for answer in [
            answer,
            anonymous.raw("{}", &[]).await,
            client.raw("{", &[]).await,
            client.raw("{}", &[("origin", "https://evil.com")]).await,
            send("GET", &app.mcp_url(), &[], "").await,
            send("GET", &format!("{}/no", app.base), &[], "").await,
            send("GET", &format!("{}/healthz", app.base), &[], "").await,
        ] {
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{}", answer.text);
            assert_eq!(answer.header("cache-control"), "no-store", "{}", answer.text);
            assert_eq!(answer.header("referrer-policy"), "no-referrer", "{}", answer.text);
            assert!(uuid::Uuid::parse_str(answer.header("x-request-id")).is_ok(), "{:?}", answer.headers);
            for telling in ["server", "x-powered-by"] {
                assert_eq!(answer.header(telling), "");
            }
        }
    })
    .await;
}

/// Nothing is kept from one request to the next: neither the era nor who asked.
#[tokio::test]
async fn one_connection_may_carry_everything() {
    TestApp::everywhere(|app| async move {
        let (one, two) = (app.tenant("Uno").await, app.tenant("Dos").await);
        // One HTTP client, hence one kept connection; the token and the era change from request to request.
        let wire = McpClient::anonymous(&app.mcp_url());
        for turn in 0..6 {
            let (tenant, name) = if turn % 2 == 0 { (&one, "Uno") } else { (&two, "Dos") };
            let bearer = format!("Bearer {}", tenant.token);
            let text = if turn % 3 == 0 {
                let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": with_meta(json!({})) }).to_string();
                wire.raw(body, &[("authorization", &bearer), ("mcp-protocol-version", MODERN), ("mcp-method", "server/discover")]).await.text
            } else {
                let params = json!({ "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } });
                wire.raw(json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }).to_string(), &[("authorization", &bearer)]).await.text
            };
            assert!(text.contains(&format!("de {name} sobre")), "{turn}: {text}");
        }
    })
    .await;
}
