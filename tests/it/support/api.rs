//! Programs of operators: the portal's API with a key, and what its document says.

use dunet::admin::document;
use dunet::ids::TenantId;
use http::{HeaderMap, Method, StatusCode, header};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::{TestApp, actor};

/// The month in which tests begin.
pub(crate) const MONTH: &str = "202611";

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub json: Value,
}

/// Sends a request with those headers.
pub(crate) async fn send(app: &TestApp, method: &Method, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut request = http.request(method.clone(), format!("{}{path}", app.base));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_owned());
    }
    answer(request).await
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    Answer { status, headers, json: if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) } }
}

impl Answer {
    /// Whether it is a failure as RFC 9457 has it, with that status.
    pub(crate) fn failed(&self, status: StatusCode) -> bool {
        let kind = self.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        self.status == status
            && kind == Some("application/problem+json")
            && self.json["status"] == status.as_u16()
            && self.json["type"] == "about:blank"
            && self.json["request_id"].as_str().is_some_and(|id| !id.is_empty() && self.headers.get("x-request-id").is_some_and(|sent| sent == id))
    }

    /// The field of the first fault.
    pub(crate) fn fault(&self) -> &str {
        self.json["faults"][0]["field"].as_str().unwrap_or_default()
    }
}

/// A program of an operator.
pub(crate) struct Program<'a> {
    app: &'a TestApp,
    pub signed: String,
}

impl<'a> Program<'a> {
    pub(crate) async fn new(app: &'a TestApp, name: &str) -> Self {
        let made = app.state.operator_keys.key_make(name, 30, &actor()).await.unwrap();
        Self { app, signed: format!("Bearer {}", made.key.expose_secret()) }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.app, &Method::GET, path, &[("authorization", &self.signed)], None).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.send_with(method, path, body, &[]).await
    }

    /// The same with headers.
    pub(crate) async fn send_with(&self, method: Method, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let all: Vec<(&str, &str)> = [("authorization", self.signed.as_str())].into_iter().chain(headers.iter().copied()).collect();
        send(self.app, &method, path, &all, Some(&body.to_string())).await
    }

    /// Sends a form with files, its parts in that order: name, file's name if it is one, content.
    pub(crate) async fn upload(&self, path: &str, parts: &[(&str, Option<&str>, &[u8])]) -> Answer {
        let mut body = Vec::new();
        for (name, file, content) in parts {
            let file = file.map(|file| format!("; filename=\"{file}\"\r\nContent-Type: application/zip")).unwrap_or_default();
            body.extend_from_slice(format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--xyz--\r\n");
        let request = reqwest::Client::new().post(format!("{}{path}", self.app.base)).header("authorization", &self.signed);
        answer(request.header(header::CONTENT_TYPE, "multipart/form-data; boundary=xyz").body(body)).await
    }
}

/// The paths of the document that have that method, filled in.
pub(crate) fn paths(method: &str, tenant: TenantId) -> Vec<String> {
    templates(method).map(|path| filled(path, tenant)).collect()
}

/// The same as the document has them.
pub(crate) fn templates(method: &str) -> impl Iterator<Item = &'static str> {
    document()["paths"].as_object().unwrap().iter().filter(move |(_, operations)| operations.get(method).is_some()).map(|(path, _)| path.as_str())
}

/// A path of the document about that client, this month, and a token, a person and a plan that there are not.
pub(crate) fn filled(path: &str, tenant: TenantId) -> String {
    let nobody = TenantId::new().to_string();
    path.replace("{id}", &tenant.to_string()).replace("{token}", &nobody).replace("{user}", &nobody).replace("{month}", MONTH).replace("{code}", "no-hay")
}

/// What is asked for of a path, beyond what it needs.
pub(crate) fn query(path: &str) -> &'static str {
    if path == "/admin/api/usage/csv" { "?table=tools" } else { "" }
}
