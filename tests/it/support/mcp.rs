//! A small MCP client of our own, of either era: what it sends is on the page, so that a test can send it wrong.

use serde_json::{Value, json};

/// The stateless revision.
pub(crate) const MODERN: &str = "2026-07-28";
/// The newest revision with a handshake.
pub(crate) const LEGACY: &str = "2025-11-25";

/// Sends requests with one token.
#[derive(Clone)]
pub(crate) struct McpClient {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
    modern: bool,
}

/// An HTTP answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    /// When all of it has come.
    pub(crate) async fn whole(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.expect("a body") }
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("not JSON ({error}), status {}: {}", self.status, self.text))
    }

    /// The JSON-RPC error code.
    pub(crate) fn code(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error code: {}", self.text))
    }

    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl McpClient {
    /// Of the era with a handshake.
    pub(crate) fn legacy(url: &str, token: &str) -> Self {
        Self { http: client(), url: url.to_owned(), token: Some(token.to_owned()), modern: false }
    }

    /// Of the stateless era.
    pub(crate) fn modern(url: &str, token: &str) -> Self {
        Self { modern: true, ..Self::legacy(url, token) }
    }

    /// Without a token.
    pub(crate) fn anonymous(url: &str) -> Self {
        Self { token: None, ..Self::legacy(url, "") }
    }

    /// Sends a body as it is, with more headers; an `Authorization` among them replaces the token's.
    pub(crate) async fn raw(&self, body: impl Into<reqwest::Body>, headers: &[(&str, &str)]) -> Answer {
        Answer::whole(self.streaming(body, headers).await).await
    }

    /// The same, whose body may take its time.
    pub(crate) async fn streaming(&self, body: impl Into<reqwest::Body>, headers: &[(&str, &str)]) -> reqwest::Response {
        let mut request = self.http.post(&self.url).header("content-type", "application/json").header("accept", "application/json, text/event-stream");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut map = reqwest::header::HeaderMap::new();
        for (name, value) in headers {
            map.insert(reqwest::header::HeaderName::from_bytes(name.as_bytes()).expect("a name"), value.parse().expect("a value"));
        }
        // `headers` replaces what was set before under the same name.
        request.headers(map).body(body).send().await.expect("an answer")
    }

    /// Sends a JSON-RPC request of this client's era.
    pub(crate) async fn request(&self, method: &str, mut params: Value) -> Answer {
        let mut headers = Vec::new();
        let name = params["name"].as_str().map(str::to_owned);
        if self.modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": { "name": "prueba", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            headers.push(("mcp-protocol-version", MODERN));
            headers.push(("mcp-method", method));
            if let Some(name) = &name {
                headers.push(("mcp-name", name));
            }
        } else if method != "initialize" {
            headers.push(("mcp-protocol-version", LEGACY));
        }
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.raw(body.to_string(), &headers).await
    }

    /// The names of the tools this token may use.
    pub(crate) async fn tool_names(&self) -> Vec<String> {
        let answer = self.request("tools/list", json!({})).await.json();
        let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("no tools: {answer}")).clone();
        tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// Calls a tool and gives the whole result (`structuredContent`, `isError`, …).
    pub(crate) async fn call_result(&self, tool: &str, arguments: Value) -> Value {
        let answer = self.request("tools/call", json!({ "name": tool, "arguments": arguments })).await.json();
        assert!(answer.get("result").is_some(), "a protocol error: {answer}");
        answer["result"].clone()
    }

    /// Calls a tool that must succeed and gives its data.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        let result = self.call_result(tool, arguments).await;
        assert_ne!(result["isError"], json!(true), "{tool}: {result}");
        result["structuredContent"].clone()
    }

    /// Calls a tool that must fail and gives its error body.
    pub(crate) async fn fail(&self, tool: &str, arguments: Value) -> Value {
        let result = self.call_result(tool, arguments).await;
        assert_eq!(result["isError"], json!(true), "{tool} succeeded: {result}");
        result["structuredContent"].clone()
    }
}

fn client() -> reqwest::Client {
    // Fails only if it was done before.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_secs(60)).build().expect("a client")
}

/// Sends any request: method, address, headers, body. Nothing is added but what HTTP needs.
pub(crate) async fn send(method: &str, url: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = client().request(method, url).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.expect("an answer");
    Answer::whole(response).await
}

/// The parameters of a modern request: these, with the `_meta` it must carry.
pub(crate) fn with_meta(mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": { "name": "prueba", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    params
}
