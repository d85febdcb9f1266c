//! The connector doctor, from outside: through a front that behaves, and through fronts that misbehave as proxies, CDNs and other sites do.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dunet::odoo::AddressPolicy;
use dunet::text::{Language, text};
use dunet::tools::connector::{PROGRAMS, Program, State as How, Step, Target, examine};
use rcgen::{CertificateParams, KeyPair};
use secrecy::SecretString;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::commands::Shell;
use crate::support::hostile::over_tls;
use crate::support::mcp::McpClient;
use crate::support::{Backend, TestApp, actor, api, serve, until};

/// How a front misbehaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Habit {
    /// Not at all.
    Good,
    /// Has a page of its own for what is not there, at paths that begin so.
    Lost(&'static str),
    /// Answers everything below that with its own page, and 200.
    Page(&'static str),
    /// Says that status, with a page, at paths that begin so.
    Says(u16, &'static str),
    /// Takes that header of answers away.
    Strips(&'static str),
    /// Passes another name on than the one it was called by.
    OtherName,
    /// Is not the address that Dunet believes to have.
    OtherAddress,
    /// Sends everybody to that address.
    Sends(&'static str),
    /// Asks for a password of its own.
    Password,
    /// Passes an answer on when it has all of it.
    KeepsBack,
    /// Passes what is below `/mcp` on as `/mcp`.
    Rewrites,
}

struct Front {
    app: String,
    own: std::sync::OnceLock<String>,
    habit: Habit,
    http: reqwest::Client,
}

impl Front {
    /// The service behind believes that its address is the front's: both names change places in whatever passes.
    fn renamed(&self, text: &str, inward: bool) -> String {
        let (app, own) = (self.app.trim_start_matches("http://"), self.own.get().unwrap().trim_start_matches("http://"));
        let (from, to) = if inward { (own, app) } else { (app, own) };
        text.replace(from, to).replace(&from.replace(':', "%3A"), &to.replace(':', "%3A"))
    }
}

async fn front(app: &TestApp, habit: Habit) -> (String, tokio_util::task::AbortOnDropHandle<()>) {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
    let front = Arc::new(Front { app: app.base.clone(), own: std::sync::OnceLock::new(), habit, http });
    let (url, server) = serve(Router::new().fallback(pass).with_state(Arc::clone(&front))).await;
    front.own.set(url.clone()).unwrap();
    (url, server)
}

fn page(status: u16) -> Response {
    (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, "text/html; charset=utf-8")], "<html><h1>nginx</h1></html>").into_response()
}

async fn pass(State(front): State<Arc<Front>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    match front.habit {
        Habit::Lost(below) if path.starts_with(below) => return page(404),
        Habit::Page(below) if path.starts_with(below) => return page(200),
        Habit::Says(status, below) if path.starts_with(below) => return page(status),
        Habit::Sends(to) => return (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, format!("{to}{path}"))]).into_response(),
        Habit::Password => return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"privado\"")]).into_response(),
        _ => {}
    }
    let (parts, body) = request.into_parts();
    let mut target = front.renamed(parts.uri.path_and_query().unwrap().as_str(), true);
    if front.habit == Habit::Rewrites && path == "/mcp/token" {
        target = "/mcp".to_owned();
    }
    let body = String::from_utf8(to_bytes(body, 1_000_000).await.unwrap().to_vec()).unwrap();
    let mut headers = parts.headers;
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    if front.habit == Habit::OtherName {
        headers.insert(header::HOST, HeaderValue::from_static("backend.interno"));
    }
    let sent = front.http.request(parts.method, format!("{}{target}", front.app)).headers(headers).body(front.renamed(&body, true)).send().await.unwrap();
    let status = sent.status();
    let mut headers = sent.headers().clone();
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::TRANSFER_ENCODING);
    if let Habit::Strips(name) = front.habit {
        headers.remove(name);
    }
    let as_it_is = front.habit == Habit::OtherAddress;
    if !as_it_is {
        for value in headers.values_mut() {
            *value = HeaderValue::from_str(&front.renamed(value.to_str().unwrap(), false)).unwrap();
        }
    }
    let stream = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let body = if stream && front.habit != Habit::KeepsBack {
        Body::from_stream(sent.bytes_stream())
    } else {
        let bytes: Bytes = sent.bytes().await.unwrap_or_default();
        if as_it_is { Body::from(bytes) } else { Body::from(front.renamed(&String::from_utf8_lossy(&bytes), false)) }
    };
    (status, headers, body).into_response()
}

async fn examined(url: &str, token: Option<&str>) -> Vec<Step> {
    let target = Target { token: token.map(SecretString::from), ..Target::new(url.parse().unwrap(), true) };
    let mut steps = Vec::new();
    examine(&target, Language::Es, &mut |step| steps.push(step)).await;
    steps
}

/// The fault of a step, as all do it.
fn fault(steps: &[Step], name: &str) -> Option<&'static str> {
    steps.iter().find(|step| step.name == name && step.program.is_none()).unwrap_or_else(|| panic!("no {name} in {steps:?}")).fault
}

/// Where a program stops; none when it comes through.
fn stop(steps: &[Step], program: Program) -> Option<&'static str> {
    steps.iter().find(|step| step.name == "verdict" && step.program == Some(program)).expect("a verdict").fault
}

#[tokio::test]
async fn a_good_front_lets_programs_through_and_only_the_network_is_to_blame() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let (url, _front) = front(&app, Habit::Good).await;
        for steps in [examined(&url, Some(&tenant.token)).await, examined(&format!("{url}/mcp"), Some(&tenant.token)).await] {
            // From the Internet nobody comes to this machine; whoever is on it does.
            assert_eq!((stop(&steps, Program::Claude), stop(&steps, Program::ChatGpt), stop(&steps, Program::VsCode)), (Some("address"), Some("address"), None), "{steps:?}");
            assert_eq!(fault(&steps, "address"), Some("private"));
            let rest: Vec<&Step> = steps.iter().filter(|step| !["address", "verdict"].contains(&step.name)).collect();
            assert!(rest.iter().all(|step| step.state == How::Ok && step.remedy.is_none()), "{rest:?}");
            for name in ["challenge", "resource", "resource_root", "server", "unknown", "token_door", "methods", "cors", "stream"] {
                assert!(rest.iter().any(|step| step.name == name), "{name}: {rest:?}");
            }
            for (name, program) in ["registration", "authorize", "token"].into_iter().flat_map(|name| PROGRAMS.map(|program| (name, program))) {
                assert_eq!(rest.iter().filter(|step| step.name == name && step.program == Some(program)).count(), 1, "{name} {program:?}");
            }
        }
        // By the rules for the operator's own address nothing is asked of a private one.
        let target = Target::new(url.parse().unwrap(), false);
        assert_eq!(target.policy, AddressPolicy::Own);
        let mut steps = Vec::new();
        assert!(!examine(&target, Language::En, &mut |step| steps.push(step)).await);
        assert_eq!((steps.len(), fault(&steps, "address")), (1 + PROGRAMS.len(), Some("private")), "{steps:?}");
        // A token that is nobody's says nothing about streams.
        assert_eq!(fault(&examined(&url, Some("dunet_live_nada")).await, "stream"), Some("bad_token"));
    })
    .await;
}

#[tokio::test]
async fn each_bad_front_is_named_with_its_remedy() {
    TestApp::everywhere_with(&["--oauth-registrations-per-minute", "500", "--oauth-authorizations-per-minute", "500", "--oauth-tokens-per-minute", "500"], |app| async move {
        // What is wrong, the step that says so and in which word, where a program on this machine stops, what the remedy names.
        let cases: &[(Habit, &str, &str, Option<&str>, &str)] = &[
            (Habit::Lost("/mcp"), "challenge", "path", Some("challenge"), "proxy_pass"),
            (Habit::Lost("/.well-known"), "resource", "path", Some("resource"), "/.well-known/acme-challenge/"),
            (Habit::Page("/.well-known"), "resource", "another_site", Some("resource"), "otra web"),
            (Habit::Page("/.well-known/openid-configuration"), "unknown", "answers_anything", None, "404"),
            (Habit::Page("/mcp"), "challenge", "another_site", Some("challenge"), "otra web"),
            (Habit::Says(502, "/mcp"), "challenge", "gateway", Some("challenge"), "systemctl status dunet"),
            (Habit::Says(403, "/mcp"), "challenge", "forbidden", Some("challenge"), "CDN"),
            (Habit::Says(405, "/mcp"), "methods", "another_site", Some("challenge"), "otra web"),
            (Habit::Strips("www-authenticate"), "challenge", "stripped", None, "proxy_hide_header"),
            (Habit::Strips("access-control-allow-origin"), "cors", "no_cors", None, "Access-Control"),
            (Habit::OtherName, "challenge", "host", Some("challenge"), "proxy_set_header Host"),
            (Habit::OtherName, "server", "not_ours", Some("challenge"), "proxy_set_header Host"),
            (Habit::OtherAddress, "challenge", "pointer", Some("challenge"), "DUNET_PUBLIC_URL"),
            (Habit::OtherAddress, "resource", "wrong_resource", Some("challenge"), "letra por letra"),
            (Habit::OtherAddress, "server", "wrong_issuer", Some("challenge"), "DUNET_PUBLIC_URL"),
            (Habit::Sends("https://mcp.example.do"), "challenge", "http", Some("challenge"), "https://"),
            (Habit::Sends("http://www.example.do"), "challenge", "redirect", Some("challenge"), "redirección"),
            (Habit::Password, "challenge", "protected", Some("challenge"), "auth_basic"),
            (Habit::Rewrites, "token_door", "leaks", None, "/mcp/token"),
        ];
        for (habit, name, word, stops, remedy) in cases {
            let (url, _front) = front(&app, *habit).await;
            let steps = examined(&url, None).await;
            assert_eq!((fault(&steps, name), stop(&steps, Program::VsCode)), (Some(*word), *stops), "{habit:?}: {steps:?}");
            let step = steps.iter().find(|step| step.fault == Some(word)).unwrap();
            assert!(step.remedy.as_ref().unwrap().contains(remedy), "{habit:?}: {step:?}");
            for step in &steps {
                assert!(![&step.detail, step.remedy.as_ref().unwrap_or(&String::new())].iter().any(|text| text.contains("%{") || text.starts_with("connector.")), "{step:?}");
            }
            if *word == "answers_anything" {
                assert_ne!(stop(&steps, Program::Claude), None);
            }
        }
        // What only a program meets that goes on.
        for (habit, name, word) in [
            (Habit::Lost("/oauth/register"), "registration", "path"),
            (Habit::Lost("/admin"), "authorize", "path"),
            (Habit::Strips("set-cookie"), "authorize", "lost"),
            (Habit::Says(503, "/oauth/token"), "token", "gateway"),
        ] {
            let (url, _front) = front(&app, habit).await;
            let steps = examined(&url, None).await;
            for program in PROGRAMS {
                let step = steps.iter().find(|step| step.name == name && step.program == Some(program)).unwrap();
                assert_eq!((step.state, step.fault), (How::Bad, Some(word)), "{habit:?}: {steps:?}");
            }
            assert_eq!(stop(&steps, Program::VsCode), Some(name), "{habit:?}");
        }
        // Maintenance is ours, and said as that.
        let seen = app.state.settings.get().edited_at;
        app.state.settings.edit(&[(dunet::domain::settings::Key::Maintenance, "Volvemos a las 3".to_owned())], seen, &actor()).await.unwrap();
        let (url, _front) = front(&app, Habit::Good).await;
        assert_eq!(fault(&examined(&url, None).await, "challenge"), Some("maintenance"));
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_kept_back_is_noticed() {
    let app = TestApp::start(Backend::Sqlite, &[]).await;
    let tenant = app.tenant("Ferretería").await;
    // Who is new is noticed by the service once more, and whoever listens is let go for it.
    let listens = McpClient::modern(&app.mcp_url(), &tenant.token);
    until("nothing is new any more", || async {
        let listening = listens.request("subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } }));
        tokio::time::timeout(std::time::Duration::from_millis(2_500), listening).await.is_err()
    })
    .await;
    let (url, _front) = front(&app, Habit::KeepsBack).await;
    let steps = examined(&url, Some(&tenant.token)).await;
    assert_eq!((fault(&steps, "stream"), stop(&steps, Program::VsCode)), (Some("buffered"), None), "{steps:?}");
    assert!(steps.iter().any(|step| step.remedy.as_ref().is_some_and(|remedy| remedy.contains("proxy_buffering off"))), "{steps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_certificates_and_paths_come_before_everything() {
    let app = TestApp::start(Backend::Sqlite, &[]).await;
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let mut tasks = JoinSet::new();
    let port = over_tls(&mut tasks, &app.base, vec![own.der().clone()], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))).await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for (url, name, word) in [
        (format!("https://localhost:{port}"), "challenge", "certificate"),
        (format!("http://127.0.0.1:{nobody}"), "challenge", "unreachable"),
        ("https://nadie.invalid".to_owned(), "address", "name"),
        (format!("{}/dunet/mcp", app.base), "address", "has_path"),
    ] {
        let steps = examined(&url, None).await;
        assert_eq!(fault(&steps, name), Some(word), "{url}: {steps:?}");
        assert!(PROGRAMS.iter().all(|program| stop(&steps, *program).is_some()), "{url}: {steps:?}");
    }
}

#[tokio::test]
async fn the_page_shows_each_step_as_it_ends_and_only_to_operators() {
    TestApp::everywhere(|app| async move {
        let operator = app.operator().await;
        let (path, test) = ("/admin/connector", "/admin/connector/test");
        let shown = operator.get(path).await;
        assert!(shown.status.is_success() && shown.text.contains(&app.mcp_url()) && shown.text.contains("dunet connect doctor"), "{}", shown.text);
        // Without script, all at once.
        let page = operator.post(path, test, &[]).await;
        for said in ["VS Code: resultado", "puede conectarse", "se detiene en", "Hay algo por corregir", "step-ok"] {
            assert!(page.status.is_success() && page.text.contains(said), "{said}: {}", page.text);
        }
        // With script, one after the other.
        let csrf = operator.get(path).await.hidden("csrf");
        let live = operator.post_with(test, &[("csrf", &csrf)], &[("accept", "text/event-stream")]).await;
        let events = live.text.matches("event: swap").count() + live.text.matches("event:swap").count();
        assert!(events > 20 && live.text.contains("ChatGPT: registro"), "{}", live.text);
        // For programs.
        let program = api::Program::new(&app, "prueba").await;
        let told = program.send(http::Method::POST, "/admin/api/connector/test", &serde_json::json!({})).await;
        assert_eq!((told.status, &told.json["ok"], &told.json["gave_up"]), (http::StatusCode::OK, &serde_json::json!(false), &serde_json::json!(false)), "{told:?}");
        assert!(told.json["steps"].as_array().unwrap().iter().any(|step| step["step"] == "token" && step["program"] == "Claude" && step["state"] == "ok"), "{told:?}");
        let tenant = app.tenant("Ferretería").await;
        let member = app.member(tenant.id, "marta@ferre.do", dunet::domain::users::Level::Owner).await;
        assert_eq!(member.get(path).await.status, StatusCode::FORBIDDEN);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_says_the_same_from_anywhere() {
    let app = TestApp::start(Backend::Sqlite, &[]).await;
    let tenant = app.tenant("Ferretería").await;
    let shell = Shell::beside(&app);
    std::fs::write(shell.path("token"), &tenant.token).unwrap();
    let ran = shell.run_with(&["--json", "connect", "doctor", &app.base, "--token-file", &shell.path("token")], &[], "").await;
    let said: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!((ran.code, &said["ok"]), (Some(1), &serde_json::json!(false)), "{ran:?}");
    let state =
        |name: &str, program: serde_json::Value| said["steps"].as_array().unwrap().iter().find(|step| step["step"] == name && step["program"] == program).unwrap()["state"].clone();
    assert_eq!(
        (state("stream", serde_json::Value::Null), state("verdict", "VS Code".into()), state("verdict", "Claude".into())),
        ("ok".into(), "ok".into(), "bad".into()),
        "{ran:?}"
    );
    assert!(!ran.stdout.contains(&tenant.token), "{ran:?}");
    // For people, in both languages; the address may come from the settings.
    for (language, words) in [("es", ["dirección", "VS Code: resultado", "→ "]), ("en", ["address", "VS Code: outcome", "→ "])] {
        let ran = shell.run_with(&["connect", "doctor", "--language", language], &[("DUNET_PUBLIC_URL", &app.base)], "").await;
        assert!(ran.code == Some(1) && words.iter().all(|word| ran.stdout.contains(word)), "{ran:?}");
    }
}

#[test]
fn every_fault_has_its_sentence_and_its_remedy() {
    let source = include_str!("../../locales/portal/connector.es.yml");
    let keys = |section: &str| -> Vec<String> {
        let rest = source.split(&format!("\n  {section}:\n")).nth(1).unwrap();
        rest.lines().take_while(|line| line.starts_with("    ")).map(|line| line.trim().split(':').next().unwrap().to_owned()).collect()
    };
    assert_eq!(keys("faltas"), keys("remedios"));
    // Whatever the code names is there.
    let code = [include_str!("../../src/tools/connector/judge.rs"), include_str!("../../src/tools/connector/walk.rs")].join("");
    for (call, section) in [("bad(\"", "faltas"), ("good(\"", "hallado")] {
        let named: Vec<&str> = code.split(call).skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(named.len() > 8, "{named:?}");
        for word in named {
            let key = format!("connector.{section}.{word}");
            assert_ne!(text(Language::En, &key), key);
        }
    }
}
