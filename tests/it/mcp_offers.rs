//! What the door offers beside tools: prompts, resources, completions, progress, a question to the person, and word of changes.

use dunet::domain::tenants::TenantEdit;
use serde_json::{Map, Value, json};

use crate::support::mcp::{Answer, MODERN, McpClient};
use crate::support::odoo::{count, direct};
use crate::support::{TestApp, until};

/// A taxpayer that every sample listing has.
const RNC: &str = "131793916";

/// A modern request of a client that declares these capabilities, and more in its `_meta`.
async fn ask(client: &McpClient, method: &str, params: Value, capabilities: Value, more: Value) -> Answer {
    Answer::whole(ask_streaming(client, method, params, capabilities, more).await).await
}

async fn ask_streaming(client: &McpClient, method: &str, mut params: Value, capabilities: Value, more: Value) -> reqwest::Response {
    let name = params["name"].as_str().or(params["uri"].as_str()).map(str::to_owned);
    let mut meta = Map::from_iter([
        ("io.modelcontextprotocol/protocolVersion".to_owned(), json!(MODERN)),
        ("io.modelcontextprotocol/clientInfo".to_owned(), json!({ "name": "prueba", "version": "1" })),
        ("io.modelcontextprotocol/clientCapabilities".to_owned(), capabilities),
    ]);
    meta.extend(more.as_object().cloned().unwrap_or_default());
    params["_meta"] = Value::Object(meta);
    let mut headers = vec![("mcp-protocol-version", MODERN), ("mcp-method", method)];
    if let Some(name) = &name {
        headers.push(("mcp-name", name));
    }
    client.streaming(json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string(), &headers).await
}

/// The same, saying each piece of the answer as it comes.
async fn stream(client: &McpClient, params: Value, said: &tokio::sync::mpsc::UnboundedSender<String>) -> Answer {
    let mut response = ask_streaming(client, "subscriptions/listen", params, json!({}), json!({})).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut text = String::new();
    while let Some(chunk) = response.chunk().await.expect("a piece") {
        let chunk = String::from_utf8(chunk.to_vec()).expect("whole characters");
        text.push_str(&chunk);
        // Who waited for the first pieces only has gone.
        said.send(chunk).unwrap_or_default();
    }
    Answer { status, headers, text }
}

async fn simply(client: &McpClient, method: &str, params: Value) -> Value {
    ask(client, method, params, json!({}), json!({})).await.json()
}

/// The messages of an event stream.
fn messages(answer: &Answer) -> Vec<Value> {
    assert!(answer.header("content-type").starts_with("text/event-stream"), "{answer:?}");
    answer.text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim).filter(|data| !data.is_empty()).map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

fn quote() -> Value {
    json!({ "cliente": "Colegio Nuevo Amanecer", "lineas": [{ "producto": "MAR-016", "cantidad": 2 }] })
}

#[tokio::test]
async fn prompts_are_those_that_the_tools_of_the_caller_can_do() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería Uno").await;
        let client = McpClient::modern(&app.mcp_url(), &tenant.token);
        let list = simply(&client, "prompts/list", json!({})).await["result"].clone();
        let names: Vec<&str> = list["prompts"].as_array().unwrap().iter().map(|prompt| prompt["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["consultar_contribuyente", "registrar_cliente", "preparar_cotizacion", "seguir_cotizacion"]);
        assert_eq!((&list["cacheScope"], &list["resultType"]), (&json!("private"), &json!("complete")), "{list}");
        for prompt in list["prompts"].as_array().unwrap() {
            let said = [&prompt["title"], &prompt["description"], &prompt["arguments"][0]["description"]];
            assert!(said.iter().all(|text| text.as_str().is_some_and(|text| !text.is_empty() && !text.contains("pedidos."))), "{prompt}");
            assert_eq!(prompt["arguments"][0]["required"], true);
        }
        let arguments = json!({ "cliente": "Juan %{productos}", "productos": "10 fundas" });
        let got = simply(&client, "prompts/get", json!({ "name": "preparar_cotizacion", "arguments": arguments })).await["result"].clone();
        let text = got["messages"][0]["content"]["text"].as_str().unwrap();
        assert!(text.contains("Juan %{productos}: 10 fundas") && got["messages"][0]["role"] == "user", "values are put in once: {got}");
        for (params, says) in [
            (json!({ "name": "preparar_cotizacion", "arguments": { "cliente": "Juan" } }), "`productos` is missing"),
            (json!({ "name": "preparar_cotizacion", "arguments": { "cliente": " ", "productos": "x" } }), "`cliente` is missing"),
            (json!({ "name": "seguir_cotizacion", "arguments": { "numero": "9".repeat(501) } }), "too long"),
            (json!({ "name": "no_hay" }), "unknown prompt"),
        ] {
            let refused = simply(&client, "prompts/get", params).await;
            assert_eq!(refused["error"]["code"], -32602, "{refused}");
            assert!(refused["error"]["message"].as_str().unwrap().contains(says), "{refused}");
        }
        // A token for the telephone has no quotations to make.
        let (_, analyst) = app.token(tenant.id, Some(&["analyst"])).await;
        let few = McpClient::modern(&app.mcp_url(), &analyst);
        let list = simply(&few, "prompts/list", json!({})).await["result"]["prompts"].clone();
        assert!(!list.to_string().contains("preparar_cotizacion"), "{list}");
        let refused = simply(&few, "prompts/get", json!({ "name": "preparar_cotizacion", "arguments": arguments })).await;
        assert_eq!(refused["error"]["message"], "unknown prompt");
        // The older eras have them too.
        let old = app.client(&tenant.token).request("prompts/list", json!({})).await.json();
        assert_eq!(old["result"]["prompts"].as_array().unwrap().len(), 4, "{old}");
    })
    .await;
}

#[tokio::test]
async fn a_record_read_by_its_address_is_a_call_of_its_tool() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Ferretería Uno").await;
        let other = app.tenant("Colmado Dos").await;
        let client = McpClient::modern(&app.mcp_url(), &tenant.token);
        let list = simply(&client, "resources/list", json!({})).await["result"].clone();
        assert_eq!(list["resources"][0]["uri"], "dunet://guia", "{list}");
        let guide = simply(&client, "resources/read", json!({ "uri": "dunet://guia" })).await["result"].clone();
        let text = guide["contents"][0]["text"].as_str().unwrap();
        assert!(text.starts_with("# Herramientas de Ferretería Uno\n") && text.contains("`crear_cotizacion`"), "{text}");
        let templates = simply(&client, "resources/templates/list", json!({})).await["result"].clone();
        let templates: Vec<&str> = templates["resourceTemplates"].as_array().unwrap().iter().map(|template| template["uriTemplate"].as_str().unwrap()).collect();
        assert_eq!(templates, ["odoo://cotizacion/{numero}", "dgii://contribuyente/{rnc}"]);

        let preview = client.call("crear_cotizacion", quote()).await;
        let mut arguments = quote();
        arguments["codigo_confirmacion"] = preview["codigo_confirmacion"].clone();
        let made = client.call_result("crear_cotizacion", arguments).await;
        let link = &made["content"][1];
        let number = made["structuredContent"]["numero"].as_str().unwrap();
        assert_eq!((link["type"].as_str(), link["uri"].as_str()), (Some("resource_link"), Some(&*format!("odoo://cotizacion/{number}"))), "{made}");

        let calls = app.usage_rows(2).await.len();
        let read = simply(&client, "resources/read", json!({ "uri": link["uri"] })).await["result"].clone();
        assert_eq!((read["contents"][0]["mimeType"].as_str(), read["ttlMs"].as_u64()), (Some("application/json"), Some(0)), "{read}");
        let record: Value = serde_json::from_str(read["contents"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(record["numero"], number);
        let taxpayer = simply(&client, "resources/read", json!({ "uri": format!("dgii://contribuyente/{RNC}") })).await["result"].clone();
        assert!(taxpayer["contents"][0]["text"].as_str().unwrap().contains("\"encontrado\":true"), "{taxpayer}");
        let rows = app.usage_rows(calls + 2).await;
        let mut tools: Vec<(&str, bool)> = rows[calls..].iter().map(|row| (row.tool.as_str(), row.counted)).collect();
        tools.sort_unstable();
        assert_eq!(tools, [("consultar_rnc_dgii", true), ("ver_cotizacion", true)], "metered as its tool");

        // Of somebody else, of nothing, and of no form: not found, and the address said back.
        let foreign = McpClient::modern(&app.mcp_url(), &other.token);
        for (client, uri) in [
            (&foreign, "odoo://cotizacion/S99999"),
            (&client, "odoo://cotizacion/"),
            (&client, "odoo://cotizacion/a/b"),
            (&client, "odoo://res.users/1"),
            (&client, "file:///etc/passwd"),
            (&client, "dgii://contribuyente/%ff"),
        ] {
            let refused = simply(client, "resources/read", json!({ "uri": uri })).await;
            assert_eq!((&refused["error"]["code"], &refused["error"]["data"]["uri"]), (&json!(-32602), &json!(uri)), "{refused}");
        }
        // Without the tool there is no address.
        let (_, analyst) = app.token(tenant.id, Some(&["analyst"])).await;
        let few = McpClient::modern(&app.mcp_url(), &analyst);
        assert!(simply(&few, "resources/read", json!({ "uri": link["uri"] })).await["error"].is_object());
    })
    .await;
}

#[tokio::test]
async fn a_name_is_completed_from_the_listing() {
    TestApp::everywhere(|app| async move {
        app.padron(50).await;
        let tenant = app.tenant("Ferretería Uno").await;
        let client = McpClient::modern(&app.mcp_url(), &tenant.token);
        let prompt = json!({ "type": "ref/prompt", "name": "consultar_contribuyente" });
        let template = json!({ "type": "ref/resource", "uri": "dgii://contribuyente/{rnc}" });
        let complete = async |of: &Value, name: &str, value: &str| {
            let params = json!({ "ref": of, "argument": { "name": name, "value": value } });
            simply(&client, "completion/complete", params).await
        };
        let known = client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await["nombre"].as_str().unwrap().to_owned();
        let begun = known.split(' ').next().unwrap().to_owned();
        let names = complete(&prompt, "contribuyente", &begun).await;
        assert!(names["result"]["completion"]["values"].as_array().unwrap().iter().any(|name| *name == known.as_str()), "{names}");
        let numbers = complete(&template, "rnc", &begun).await;
        assert!(numbers["result"]["completion"]["values"].as_array().unwrap().iter().any(|number| number == RNC), "{numbers}");
        for (of, name, value) in [(&prompt, "contribuyente", "a"), (&prompt, "otro", &*begun), (&prompt, "contribuyente", "zzzzqqqq xxxx")] {
            assert_eq!(complete(of, name, value).await["result"]["completion"]["values"], json!([]), "{name} {value}");
        }
        assert_eq!(complete(&json!({ "type": "ref/prompt", "name": "no_hay" }), "x", &begun).await["error"]["code"], -32602);
        // Who may not search the listing is not told names of it.
        let (_, voice) = app.token(tenant.id, Some(&["voice"])).await;
        let params = json!({ "ref": prompt, "argument": { "name": "contribuyente", "value": begun } });
        let told = simply(&McpClient::modern(&app.mcp_url(), &voice), "completion/complete", params).await;
        assert_eq!(told["result"]["completion"]["values"], json!([]), "{told}");
    })
    .await;
}

#[tokio::test]
async fn the_steps_of_a_write_are_told_and_its_record_is_whole() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería Uno").await;
        let client = McpClient::modern(&app.mcp_url(), &tenant.token);
        let mut arguments = quote();
        arguments["codigo_confirmacion"] = client.call("crear_cotizacion", quote()).await["codigo_confirmacion"].clone();
        let token = json!({ "progressToken": "paso-1" });
        let answer = ask(&client, "tools/call", json!({ "name": "crear_cotizacion", "arguments": arguments }), json!({}), token).await;
        let said = messages(&answer);
        let steps: Vec<(&Value, &Value)> =
            said.iter().filter(|message| message["method"] == "notifications/progress").map(|step| (&step["params"]["progress"], &step["params"]["total"])).collect();
        assert_eq!(steps.len(), 2, "{said:?}");
        assert!(steps[0].0.as_f64() < steps[1].0.as_f64() && said[0]["params"]["progressToken"] == "paso-1", "{said:?}");
        assert_eq!(said[1]["params"]["message"], "Escribiendo en Odoo");
        let last = said.last().unwrap();
        assert!(last["result"]["structuredContent"]["numero"].is_string(), "{last}");
        let rows = app.usage_rows(2).await;
        assert_eq!(rows.iter().filter(|row| row.outcome == "ok" && row.odoo_requests > 0).count(), 2, "the record of a stream is closed at its end: {rows:?}");
        // Who does not ask gets one answer.
        let plain = ask(&client, "tools/call", json!({ "name": "crear_cotizacion", "arguments": quote() }), json!({}), json!({})).await;
        assert!(plain.header("content-type").starts_with("application/json"), "{plain:?}");
    })
    .await;
}

/// A state that was tampered with, replayed, or is somebody else's.
#[tokio::test]
async fn attack_25_the_person_is_asked_and_the_state_is_good_for_that_once() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería Uno").await;
        let other = app.tenant("Colmado Dos").await;
        let client = McpClient::modern(&app.mcp_url(), &tenant.token);
        let odoo = direct(&tenant.sandbox, &tenant.odoo_url).await;
        let orders = async || count(&odoo, "sale.order", json!([])).await;
        let before = orders().await;
        let can = json!({ "elicitation": { "form": {} } });
        let call = async |client: &McpClient, arguments: Value, state: Option<&Value>, answer: Option<Value>| {
            let mut params = json!({ "name": "crear_cotizacion", "arguments": arguments });
            if let Some(state) = state {
                params["requestState"] = state.clone();
            }
            if let Some(answer) = answer {
                params["inputResponses"] = json!({ "confirmar": answer });
            }
            ask(client, "tools/call", params, can.clone(), json!({})).await.json()
        };
        let yes = || Some(json!({ "action": "accept", "content": { "confirmar": true } }));

        let asked = call(&client, quote(), None, None).await["result"].clone();
        assert_eq!(asked["resultType"], "input_required", "{asked}");
        let question = &asked["inputRequests"]["confirmar"];
        assert_eq!(question["method"], "elicitation/create");
        let message = question["params"]["message"].as_str().unwrap();
        assert!(message.contains("Colegio Nuevo Amanecer") && message.contains("total: "), "{message}");
        assert_eq!(question["params"]["requestedSchema"]["properties"]["confirmar"]["type"], "boolean");
        let state = asked["requestState"].clone();
        assert_eq!(orders().await, before, "a question writes nothing");

        // A no, an answer without its state, a state of other arguments, of somebody else, and a broken one.
        for no in [json!({ "action": "decline" }), json!({ "action": "cancel" }), json!({ "action": "accept", "content": { "confirmar": false } })] {
            let refused = call(&client, quote(), Some(&state), Some(no)).await["result"].clone();
            assert_eq!((&refused["isError"], &refused["structuredContent"]["codigo"]), (&json!(true), &json!("no_confirmado")), "{refused}");
        }
        assert_eq!(call(&client, quote(), None, yes()).await["result"]["resultType"], "input_required", "an answer to no question");
        assert_eq!(call(&client, quote(), Some(&state), None).await["result"]["resultType"], "input_required", "no answer yet");
        let mut more = quote();
        more["lineas"][0]["cantidad"] = json!(2_000);
        let foreign = McpClient::modern(&app.mcp_url(), &other.token);
        let (_, second) = app.token(tenant.id, None).await;
        let second = McpClient::modern(&app.mcp_url(), &second);
        let text = state.as_str().unwrap();
        let flipped = json!(format!("{}{}", if text.starts_with('A') { 'B' } else { 'A' }, &text[1..]));
        for (client, arguments, state, why) in [
            (&client, more, &state, "other arguments"),
            (&foreign, quote(), &state, "another company"),
            (&second, quote(), &state, "another token"),
            (&client, quote(), &flipped, "tampered with"),
            (&client, quote(), &json!("x"), "no state of ours"),
        ] {
            let refused = call(client, arguments, Some(state), yes()).await["result"].clone();
            assert_eq!(refused["structuredContent"]["codigo"], "codigo_invalido", "{why}: {refused}");
        }
        assert_eq!(orders().await, before, "nothing of all that wrote");

        let made = call(&client, quote(), Some(&state), yes()).await["result"].clone();
        assert!(made["structuredContent"]["numero"].is_string() && made["resultType"] == "complete", "{made}");
        let again = call(&client, quote(), Some(&state), yes()).await["result"].clone();
        assert_eq!(again["structuredContent"]["codigo"], "codigo_usado", "{again}");
        assert_eq!(orders().await, before + 1, "once");

        // Whoever cannot ask gets the code, and who sends a code is not asked.
        for cannot in [json!({}), json!({ "elicitation": { "url": {} } }), json!({ "sampling": {} })] {
            let preview = ask(&client, "tools/call", json!({ "name": "crear_cotizacion", "arguments": quote() }), cannot, json!({})).await.json();
            assert!(preview["result"]["structuredContent"]["codigo_confirmacion"].is_string(), "{preview}");
        }
        let mut with_code = quote();
        with_code["codigo_confirmacion"] = call(&client, quote(), None, None).await["result"]["requestState"].clone();
        assert!(call(&client, with_code, None, None).await["result"]["structuredContent"]["numero"].is_string());
        assert_eq!(orders().await, before + 2);
    })
    .await;
}

#[tokio::test]
async fn who_listens_hears_of_a_change_and_is_let_go() {
    TestApp::everywhere_with(&["--listeners-per-tenant-max", "1", "--watch-ms", "50"], |app| async move {
        let tenant = app.tenant("Ferretería Uno").await;
        let other = app.tenant("Colmado Dos").await;
        let client = McpClient::modern(&app.mcp_url(), &tenant.token);
        let found = simply(&client, "server/discover", json!({})).await["result"].clone();
        assert_eq!((&found["capabilities"]["tools"]["listChanged"], &found["capabilities"]["prompts"]["listChanged"]), (&json!(true), &json!(true)), "{found}");
        let wanted = json!({ "notifications": { "toolsListChanged": true, "resourcesListChanged": true } });
        let listen = async |client: &McpClient| ask(client, "subscriptions/listen", wanted.clone(), json!({}), json!({})).await;
        // What is new has been noticed when nobody is let go for it any more.
        let beside = McpClient::modern(&app.mcp_url(), &other.token);
        until("another company listens, and goes again", || async { tokio::time::timeout(std::time::Duration::from_millis(300), listen(&beside)).await.is_err() }).await;
        // The first is in when its acknowledgement has come.
        let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let first = {
            let (client, wanted) = (client.clone(), wanted.clone());
            tokio::spawn(async move { stream(&client, wanted, &said).await })
        };
        assert!(heard.recv().await.is_some_and(|chunk| chunk.contains("acknowledged")));
        // One more than may is told so; another company is not concerned.
        let elsewhere = async || tokio::time::timeout(std::time::Duration::from_millis(300), listen(&beside)).await.is_err();
        assert!(elsewhere().await);
        until("the place is taken", || async {
            let second = tokio::time::timeout(std::time::Duration::from_secs(2), listen(&client)).await;
            second.is_ok_and(|answer| answer.text.contains("already has 1 programs listening"))
        })
        .await;
        assert!(!first.is_finished(), "the first is still there");

        app.edit(tenant.id, TenantEdit { name: Some("Ferretería Una".to_owned()), ..TenantEdit::default() }).await;
        let said = messages(&first.await.unwrap());
        let methods: Vec<&str> = said.iter().filter_map(|message| message["method"].as_str()).collect();
        assert_eq!(methods, ["notifications/subscriptions/acknowledged", "notifications/tools/list_changed"], "what was asked for, and nothing else: {said:?}");
        assert!(said.last().unwrap()["result"].is_object(), "{said:?}");
        // The place is free again.
        let again = tokio::time::timeout(std::time::Duration::from_millis(300), listen(&client)).await;
        assert!(again.is_err(), "{again:?}");
        // The older eras have no such thing.
        let old = app.client(&tenant.token).request("subscriptions/listen", wanted.clone()).await;
        assert_eq!(old.code(), -32601, "{old:?}");
    })
    .await;
}
