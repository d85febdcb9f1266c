//! The attack list (platform reference, §3C): every item that concerns what exists is a test whose name carries its number
//! (`attack_14_…`, or `attack_15_17_…` for two), here and in the files of the behaviours concerned. `docs/attacks.md` is the list with its
//! tests; what stands here keeps the document true, and gives the attack files what they share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use dunet::http::HttpSettings;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::TestApp;

/// The items of the list.
const ITEMS: u32 = 42;

/// Arguments that each tool takes, against the sandbox. A new tool needs a line: the attacks that go over every tool begin from it.
pub(crate) fn sample_arguments(tool: &str) -> Value {
    match tool {
        "consultar_rnc_dgii" => json!({ "rnc": "131793916" }),
        "buscar_contribuyente" => json!({ "nombre": "indexa" }),
        "buscar_cliente" => json!({ "consulta": "Colegio Nuevo Amanecer" }),
        "crear_cliente" => json!({ "nombre": "Cliente de muestra", "telefono": "809-555-0198" }),
        "buscar_productos" => json!({ "consulta": "martillo" }),
        "crear_cotizacion" => json!({ "cliente": "Colegio Nuevo Amanecer", "lineas": [{ "producto": "MAR-016", "cantidad": 2 }] }),
        "ver_cotizacion" => json!({ "numero": "S00001" }),
        "odoo_contexto" => json!({}),
        other => panic!("{other} is new: give it sample arguments here, so that the attacks reach it"),
    }
}

/// Where a text, a number or something else can be put into a tool's arguments: the path, and the type that the schema names.
pub(crate) fn slots(schema: &Value) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        match inner["type"].as_str().unwrap_or_default() {
            "array" => {
                for (path, kind) in slots(&inner["items"]) {
                    found.push(([name.clone(), "0".to_owned()].into_iter().chain(path).collect(), kind));
                }
            }
            kind => found.push((vec![name.clone()], kind.to_owned())),
        }
    }
    found
}

/// The sample arguments with something else in that place.
pub(crate) fn with(tool: &str, path: &[String], value: Value) -> Value {
    let mut arguments = sample_arguments(tool);
    let mut place = &mut arguments;
    for step in path {
        place = match step.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[step.as_str()],
        };
    }
    *place = value;
    arguments
}

/// The service's stack without the network, for more calls at once than this machine has sockets.
pub(crate) struct Inside {
    router: axum::Router,
    authority: String,
}

impl Inside {
    pub(crate) fn of(app: &TestApp) -> Self {
        let settings = HttpSettings {
            metrics_allowed: std::sync::Arc::default(),
            stopping: Default::default(),
            public_url: app.base.parse().expect("an address"),
            allowed_origins: Vec::new(),
            trusted_proxies: std::sync::Arc::default(),
            body_bytes_max: 100_000,
            request_timeout: Duration::from_secs(60),
            failed_auth_per_minute: 30,
        };
        Self { router: dunet::router(&app.state, &settings), authority: app.base.trim_start_matches("http://").to_owned() }
    }

    /// Calls a tool and gives its result.
    pub(crate) fn call(&self, token: &str, tool: &str, arguments: &Value) -> impl Future<Output = Value> + Send + use<> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool, "arguments": arguments } }).to_string();
        let request = Request::post("/mcp").header("host", &self.authority).header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/json").body(Body::from(body)).expect("a request");
        let answer = self.router.clone().oneshot(request);
        async move {
            let response = answer.await.expect("never fails");
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            assert!(body.get("result").is_some(), "no result: {body}");
            body["result"].clone()
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            into.push_str(&std::fs::read_to_string(&path).expect("a text"));
        }
    }
}

/// The tests of a source, by name: functions below a test attribute.
fn tests_of(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if !(line.starts_with("#[test]") || line.starts_with("#[tokio::test")) {
            continue;
        }
        let function = lines.by_ref().find(|line| line.contains("fn ")).expect("a function below its attribute");
        let name = function.split("fn ").nth(1).unwrap_or_default();
        found.insert(name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
    }
    found
}

/// The numbers in a test's name.
fn numbers(name: &str) -> Vec<u32> {
    let Some(rest) = name.strip_prefix("attack_") else { return Vec::new() };
    rest.split('_').map_while(|part| if part.len() == 2 { part.parse().ok() } else { None }).collect()
}

#[test]
fn the_attack_list_names_tests_that_exist_and_all_of_them() {
    let document = std::fs::read_to_string(root().join("docs/attacks.md")).expect("docs/attacks.md");
    let mut rows: BTreeMap<u32, &str> = BTreeMap::new();
    for line in document.lines().filter(|line| line.starts_with('|')) {
        let Some(number) = line.split('|').nth(1).and_then(|cell| cell.trim().parse().ok()) else { continue };
        assert!(rows.insert(number, line).is_none(), "{number} stands twice in docs/attacks.md");
    }
    assert_eq!(rows.keys().copied().collect::<Vec<u32>>(), (1..=ITEMS).collect::<Vec<u32>>(), "docs/attacks.md has a row for every item");

    let (mut of_stories, mut of_units) = (String::new(), String::new());
    sources(&root().join("tests/it"), &mut of_stories);
    sources(&root().join("src"), &mut of_units);
    let stories = tests_of(&of_stories);
    let known: BTreeSet<String> = stories.iter().cloned().chain(tests_of(&of_units)).collect();
    assert!(stories.len() > 150 && known.len() > stories.len() + 100, "the tests are found: {} and {}", stories.len(), known.len());
    for (number, row) in &rows {
        let named: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty() || row.contains("issue "), "{number}: neither a test nor the issue that brings one: {row}");
        for name in named {
            assert!(known.contains(name), "docs/attacks.md names `{name}`, and there is no such test");
        }
    }
    for name in stories.iter().filter(|name| name.starts_with("attack_")) {
        let numbers = numbers(name);
        assert!(!numbers.is_empty(), "{name} carries no number of two digits");
        for number in numbers {
            let row = rows.get(&number).unwrap_or_else(|| panic!("{name}: there is no item {number}"));
            assert!(row.contains(&format!("`{name}`")), "{name} is missing in row {number} of docs/attacks.md");
        }
    }
}
