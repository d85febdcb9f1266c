//! Alerts: each told once, to whom it concerns, in their language, by letter and by signed webhook; over restarts and by one of two nodes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::Duration;
use dunet::clock::billing_month;
use dunet::db::entities::{alert_channels, alert_deliveries, alerts, usage_months};
use dunet::demo::sandbox::SandboxOdoo;
use dunet::domain::alerts::Owner;
use dunet::domain::tenants::WritePolicy;
use dunet::domain::users::Level;
use dunet::domain::vault::Vault;
use dunet::ids::TenantId;
use dunet::odoo::ProtocolChoice;
use dunet::state::AppState;
use dunet::text::Language;
use http::{HeaderMap, StatusCode, header};
use ring::hmac;
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::support::api::Program;
use crate::support::portal::Browser;
use crate::support::smtp::{Received, Sink};
use crate::support::{TestApp, VAULT_KEY, actor, config, odoo, serve, until};

/// A place that takes webhooks and answers as it is told; 204 when it is told nothing.
#[derive(Default)]
struct Hook {
    answers: Mutex<VecDeque<StatusCode>>,
    taken: Mutex<Vec<Taken>>,
}

#[derive(Clone)]
struct Taken {
    id: String,
    timestamp: i64,
    signatures: Vec<String>,
    body: String,
}

impl Taken {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// As the specification says it, without a line of ours: HMAC-SHA-256 over `id.timestamp.body`, with what stands in base64 behind `whsec_`.
    fn fits(&self, secret: &str) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(secret.strip_prefix("whsec_").expect("a secret")).expect("base64"));
        let signed = format!("{}.{}.{}", self.id, self.timestamp, self.body);
        let tags = self.signatures.iter().filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok());
        tags.filter(|tag| hmac::verify(&key, signed.as_bytes(), tag).is_ok()).count() == 1
    }
}

impl Hook {
    async fn start() -> (Arc<Self>, String, tokio_util::task::AbortOnDropHandle<()>) {
        let hook = Arc::new(Self::default());
        let (url, server) = serve(axum::Router::new().fallback(take).with_state(Arc::clone(&hook))).await;
        (hook, format!("{url}/avisos?de=dunet"), server)
    }

    fn answers(&self, answers: &[StatusCode]) {
        self.answers.lock().unwrap().extend(answers);
    }

    fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    fn types(&self) -> Vec<String> {
        self.taken().iter().map(|taken| taken.json()["type"].as_str().unwrap().to_owned()).collect()
    }
}

async fn take(State(hook): State<Arc<Hook>>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    assert_eq!(text("content-type"), "application/json");
    let taken = Taken {
        id: text("webhook-id"),
        timestamp: text("webhook-timestamp").parse().expect("seconds"),
        signatures: text("webhook-signature").split(' ').map(str::to_owned).collect(),
        body: String::from_utf8(body.to_vec()).expect("UTF-8"),
    };
    hook.taken.lock().unwrap().push(taken);
    let status = hook.answers.lock().unwrap().pop_front().unwrap_or(StatusCode::NO_CONTENT);
    (status, [(header::LOCATION, "http://127.0.0.1:9/")])
}

/// Looks and sends, as the background does.
async fn round(app: &TestApp) {
    round_of(&app.state, &app.base).await;
}

async fn round_of(state: &AppState, base: &str) {
    state.alerts.look().await;
    state.alerts.deliver(&base.parse::<Url>().unwrap(), &CancellationToken::new()).await.unwrap();
}

/// Another process on the same database: a node more, or the same one after a restart.
async fn second(app: &TestApp, settings: &[&str]) -> AppState {
    let config = config(app.folder.path(), &app.database_url, settings);
    let db = dunet::db::connect(&app.database_url, 3).await.unwrap();
    AppState::assemble(config, &Vault::from_keys(&VAULT_KEY, None), &app.clock, &db).await.unwrap().0
}

/// Letters that have come, by address.
async fn letters(sink: &Sink, count: usize) -> Vec<Received> {
    let mut letters = Vec::new();
    for _ in 0..count {
        letters.push(sink.letter().await);
    }
    letters.sort_by(|a, b| a.to.cmp(&b.to));
    assert!(sink.is_empty().await, "no more than {count}");
    letters
}

async fn english_owner(app: &TestApp, tenant: TenantId, email: &str) {
    app.member(tenant, email, Level::Owner).await;
    let id = app.state.users.user_by_email(email).await.unwrap();
    let mut row = dunet::db::entities::users::Entity::find_by_id(id.uuid()).one(&app.state.db).await.unwrap().unwrap();
    row.language = Language::En.as_str().to_owned();
    row.into_active_model().reset_all().update(&app.state.db).await.unwrap();
}

/// Saves a webhook on the page, and reads its secret there, once.
async fn webhook(owner: &Browser, path: &str, url: &str) -> String {
    let page = owner.get(path).await;
    let version = page.hidden("version");
    let topics = ["odoo", "key", "quota", "approvals"].map(|topic| ("topics", topic));
    let mut fields = vec![("version", version.as_str()), ("mail", "1"), ("webhook_url", url)];
    fields.extend(topics);
    let saved = owner.post(path, path, &fields).await;
    assert_eq!(saved.status, StatusCode::SEE_OTHER, "{}", saved.text);
    let shown = owner.get(saved.location()).await;
    let secret = shown.text.split("value=\"whsec_").nth(1).expect("the secret").split('"').next().unwrap();
    let secret = format!("whsec_{}", secret.replace("&#x2b;", "+").replace("&#x3d;", "="));
    assert!(!owner.get(saved.location()).await.text.contains("whsec_") || !owner.get(path).await.text.contains(&secret), "shown once");
    secret
}

const IMPATIENT: [&str; 6] = ["--odoo-failures-max", "2", "--odoo-pause-s", "1", "--odoo-pause-s-max", "1"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_odoo_that_is_away_is_told_once_and_so_is_its_return() {
    let sink = Sink::start().await;
    let settings: Vec<&str> = IMPATIENT.into_iter().chain(sink.settings()).collect();
    TestApp::everywhere_with(&settings, |app| {
        let (sink, settings) = (Arc::clone(&sink), settings.clone());
        async move {
            let sandbox = Arc::new(SandboxOdoo::dominican_sample("Nova"));
            let (url, server) = serve(Arc::clone(&sandbox).router()).await;
            let (tenant, token) = app.tenant_at("Nova", odoo::settings(&sandbox, &url, ProtocolChoice::Json2)).await;
            let owner = app.member(tenant, "ana@nova.do", Level::Owner).await;
            english_owner(&app, tenant, "bob@nova.do").await;
            app.member(tenant, "vera@nova.do", Level::Viewer).await;
            app.operator().await;
            let (hook, hook_url, _hook) = Hook::start().await;
            let secret = webhook(&owner, &format!("/admin/clients/{tenant}/alerts"), &hook_url).await;
            let client = app.client(&token);
            client.call("buscar_cliente", json!({ "consulta": "a" })).await;
            round(&app).await;

            // It goes away. For five minutes that is nobody's business.
            drop(server);
            for letter in ["e", "i", "o"] {
                client.call_result("buscar_cliente", json!({ "consulta": letter })).await;
            }
            assert_eq!(app.state.connections.paused_tenants(), [tenant]);
            round(&app).await;
            app.clock.advance(Duration::minutes(4));
            round(&app).await;
            assert!(sink.is_empty().await && hook.taken().is_empty());

            // Then it is told: by two nodes at once, again and again, and after a restart; and still once.
            app.clock.advance(Duration::minutes(2));
            let other = second(&app, &settings).await;
            let (one, two) = (app.state.clone(), other.clone());
            tokio::join!(round_of(&one, &app.base), round_of(&two, &app.base));
            round_of(&second(&app, &settings).await, &app.base).await;
            round(&app).await;
            let told = letters(&sink, 3).await;
            assert_eq!(told.iter().map(|letter| letter.to.as_str()).collect::<Vec<_>>(), ["ana@nova.do", "bob@nova.do", "operador@dunet.do"]);
            assert!(
                told[0].body.contains("Nova no responde desde el 22/11/2026 11:00") && told[0].body.contains(&format!("{}/admin/clients/{tenant}/odoo", app.base)),
                "{}",
                told[0].body
            );
            assert!(told[1].body.contains("has not answered since 2026-11-22 11:00"), "{}", told[1].body);
            assert!(told[2].body.contains("1 cliente(s): Nova"), "{}", told[2].body);
            assert_eq!(hook.types(), ["odoo.down"]);
            let taken = hook.taken().remove(0);
            assert!(taken.fits(&secret) && !taken.fits("whsec_AAAA") && taken.timestamp == app.clock.now().timestamp());
            let body = taken.json();
            assert_eq!((&body["id"], &body["data"]["client"]), (&json!(taken.id), &json!({ "id": tenant, "name": "Nova" })), "{body}");
            assert!(body["created_at"].is_string() && body["data"]["since_at"] == "2026-11-22T15:00:00Z");
            app.clock.advance(Duration::hours(3));
            round(&app).await;
            assert!(sink.is_empty().await, "it lasts: nothing new");
            let page = owner.get(&format!("/admin/clients/{tenant}/alerts")).await;
            assert!(page.text.contains("Su Odoo no responde") && page.text.contains("sigue") && page.text.contains("llegó"), "{}", page.text);

            // Back: not at the first answer, and once.
            let listener = tokio::net::TcpListener::bind(url.trim_start_matches("http://")).await.expect("its port again");
            let app_of_odoo = Arc::clone(&sandbox).router();
            let _server = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, app_of_odoo).await.unwrap() }));
            let row = async || alerts::Entity::find().filter(alerts::Column::Kind.eq("odoo.down")).one(&app.state.db).await.unwrap().unwrap();
            // The breaker lets one request through each second.
            until("the look finds it", || async {
                round(&app).await;
                row().await.well_since.is_some()
            })
            .await;
            app.clock.advance(Duration::minutes(1));
            round(&app).await;
            assert!(sink.is_empty().await);
            app.clock.advance(Duration::minutes(2));
            let (one, two) = (app.state.clone(), other.clone());
            tokio::join!(round_of(&one, &app.base), round_of(&two, &app.base));
            round(&app).await;
            let back = letters(&sink, 2).await;
            assert!(back[0].body.contains("responde otra vez") && back[1].body.contains("has answered again"), "{back:?}");
            assert_eq!(hook.types(), ["odoo.down", "odoo.back"]);
            assert!(row().await.ended_at.is_some() && app.state.connections.paused() == 0);
        }
    })
    .await;
}

async fn used(app: &TestApp, tenant: TenantId, counted: i64) {
    let now = app.clock.now();
    let row = usage_months::Model { client_id: tenant.uuid(), month: billing_month(now), calls: counted, counted, failed: 0, last_at: now };
    usage_months::Entity::delete_many().filter(usage_months::Column::ClientId.eq(tenant.uuid())).exec(&app.state.db).await.unwrap();
    usage_months::Entity::insert(row.into_active_model()).exec_without_returning(&app.state.db).await.unwrap();
}

#[tokio::test]
async fn a_quota_is_told_at_eighty_and_at_a_hundred_per_cent() {
    let sink = Sink::start().await;
    TestApp::everywhere_with(&sink.settings(), |app| {
        let sink = Arc::clone(&sink);
        async move {
            let tenant = app.tenant_on("Clínica", "gratis", ProtocolChoice::Auto).await;
            let quiet = app.tenant_on("Callada", "gratis", ProtocolChoice::Auto).await;
            app.member(tenant.id, "ana@clinica.do", Level::Owner).await;
            let owner = app.member(quiet.id, "eva@callada.do", Level::Owner).await;
            // One switches them off: the topic, though letters are on.
            let path = format!("/admin/clients/{}/alerts", quiet.id);
            let saved = owner.post(&path, &path, &[("version", "0"), ("mail", "1"), ("topics", "odoo"), ("webhook_url", "")]).await;
            assert_eq!((saved.status, saved.location()), (StatusCode::SEE_OTHER, path.as_str()));
            for (calls, subject) in [(79, None), (80, Some("el 80 %")), (95, None), (100, Some("Se acabaron")), (100, None)] {
                used(&app, tenant.id, calls).await;
                used(&app, quiet.id, calls).await;
                round(&app).await;
                round(&app).await;
                match subject {
                    Some(said) => {
                        let letter = letters(&sink, 1).await.remove(0);
                        assert!(letter.to == "ana@clinica.do" && letter.body.contains("100 llamadas") && letter.body.contains("01/12/2026"), "{letter:?}");
                        let page = app.signed_in("ana@clinica.do").await.get(&format!("/admin/clients/{}/alerts", tenant.id)).await;
                        assert!(page.text.contains(said), "{}", page.text);
                    }
                    None => assert!(sink.is_empty().await, "{calls}"),
                }
            }
            // The next month is another one; whoever is past it at the first look hears of that only.
            app.clock.advance(Duration::days(10));
            used(&app, tenant.id, 130).await;
            round(&app).await;
            assert!(letters(&sink, 1).await[0].body.contains("ha usado las 100 llamadas"));
            assert_eq!(alerts::Entity::find().filter(alerts::Column::EndedAt.is_null()).count(&app.state.db).await.unwrap(), 0, "they are forgotten some day");
        }
    })
    .await;
}

#[tokio::test]
async fn writes_that_wait_come_in_one_letter() {
    let sink = Sink::start().await;
    TestApp::everywhere_with(&sink.settings(), |app| {
        let sink = Arc::clone(&sink);
        async move {
            let tenant = app.tenant("Nova").await;
            app.write_policy(tenant.id, WritePolicy::OwnerApproves).await;
            app.member(tenant.id, "ana@nova.do", Level::Owner).await;
            let client = app.client(&tenant.token);
            let ask = async |key: &str| {
                let quote = json!({ "cliente": "Colegio Nuevo Amanecer", "lineas": [{ "producto": "CIN-005" }], "clave": key });
                assert_eq!(client.call("crear_cotizacion", quote).await["estado"], "pendiente_de_aprobacion");
            };
            for key in ["p-1", "p-2", "p-3"] {
                ask(key).await;
            }
            round(&app).await;
            round(&app).await;
            let letter = letters(&sink, 1).await.remove(0);
            assert!(letter.body.contains("Cambios: 3 (crear_cotizacion)") && letter.body.contains("25/11/2026 11:00"), "{}", letter.body);
            assert!(letter.link().ends_with("/approvals") && !letter.body.contains("Colegio"), "which tools, never what: {}", letter.body);
            // More of them within ten minutes wait for their letter.
            ask("p-4").await;
            round(&app).await;
            assert!(sink.is_empty().await);
            app.clock.advance(Duration::minutes(11));
            round(&app).await;
            assert!(letters(&sink, 1).await[0].body.contains("Cambios: 1 "));
            // What has lapsed is told no more.
            app.clock.advance(Duration::days(4));
            round(&app).await;
            assert!(sink.is_empty().await);
            assert_eq!(alerts::Entity::find().filter(alerts::Column::EndedAt.is_null()).count(&app.state.db).await.unwrap(), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_is_told_of_fourteen_seven_and_one_days_before() {
    let sink = Sink::start().await;
    TestApp::everywhere_with(&sink.settings(), |app| {
        let sink = Arc::clone(&sink);
        async move {
            let tenant = app.tenant("Nova").await;
            let owner = app.member(tenant.id, "ana@nova.do", Level::Owner).await;
            let path = format!("/admin/clients/{}/odoo", tenant.id);
            for bad in ["ayer", "2026-11-22", "2040-01-01"] {
                assert!(owner.post(&path, &format!("{path}/key"), &[("ends", bad)]).await.status == StatusCode::SEE_OTHER);
                assert!(owner.get(&path).await.text.contains("Escriba un día"), "{bad}");
            }
            owner.post(&path, &format!("{path}/key"), &[("ends", "2026-12-12"), ("renew", "1")]).await;
            let page = owner.get(&path).await;
            assert!(
                page.text.contains("faltan 19 días") && page.text.contains("value=\"2026-12-12\"") && page.text.contains("name=\"renew\" value=\"1\" checked"),
                "{}",
                page.text
            );
            for (hours, days) in
                [(0, None), (6 * 24, Some("13")), (24, None), (7 * 24, Some("5")), (5 * 24, Some("0")), (1, None), (24, Some("venció el 12/12/2026 00:00")), (240, None)]
            {
                app.clock.advance(Duration::hours(hours));
                round(&app).await;
                round(&app).await;
                match days {
                    Some(said) => {
                        let letter = letters(&sink, 1).await.remove(0);
                        let said = if said.len() > 2 { said.to_owned() } else { format!("(días que faltan: {said})") };
                        assert!(letter.body.contains(&said) && letter.body.contains("Mi perfil → Seguridad") && letter.link() == path, "{}", letter.body);
                    }
                    None => assert!(sink.is_empty().await, "{hours}"),
                }
            }
            // A key that is given anew is another one: nothing is known of it, and nothing told.
            let edit = dunet::domain::tenants::TenantEdit { odoo_secret: Some(SecretString::from("otra".to_owned())), ..Default::default() };
            app.edit(tenant.id, edit).await;
            round(&app).await;
            let owner = app.signed_in("ana@nova.do").await;
            assert!(sink.is_empty().await && owner.get(&path).await.text.contains("Todavía no se sabe cuándo vence"));
            assert_eq!(alerts::Entity::find().filter(alerts::Column::EndedAt.is_null()).count(&app.state.db).await.unwrap(), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn operators_hear_of_an_old_listing_and_of_a_journal_that_grows() {
    let sink = Sink::start().await;
    for backend in crate::support::backends() {
        let app = TestApp::start(backend, &sink.settings()).await;
        app.operator().await;
        app.padron(3).await;
        round(&app).await;
        app.clock.advance(Duration::days(15));
        round(&app).await;
        round(&app).await;
        let letter = letters(&sink, 1).await.remove(0);
        assert!(letter.body.contains("es del 21/11/2026: tiene 16 días"), "{}", letter.body);
        app.padron(3).await;
        round(&app).await;
        let open = alerts::Entity::find().filter(alerts::Column::EndedAt.is_null()).count(&app.state.db).await.unwrap();
        assert!(sink.is_empty().await && open == 0);
        let told = alerts::Entity::find().one(&app.state.db).await.unwrap().unwrap();
        assert!(told.mark.ends_with("/padron.old/2026-11-21"), "a node that has the old one still does not tell it again: {told:?}");

        // The database takes no usage.
        let tenant = app.tenant("Nova").await;
        let client = app.client(&tenant.token);
        app.state.db.execute_unprepared("alter table tool_usage rename to away").await.unwrap();
        client.call("consultar_rnc_dgii", json!({ "rnc": "131793916" })).await;
        until("the delivery fails", || async { !app.state.usage.backlog().delivering }).await;
        round(&app).await;
        assert!(sink.is_empty().await);
        app.clock.advance(Duration::minutes(6));
        round(&app).await;
        round(&app).await;
        let letter = letters(&sink, 1).await.remove(0);
        assert!(letter.to == "operador@dunet.do" && letter.body.contains("1 registros"), "{letter:?}");
        // Another process can deliver. While this one cannot, it is not over.
        let other = second(&app, &sink.settings()).await;
        round_of(&other, &app.base).await;
        app.clock.advance(Duration::minutes(3));
        round(&app).await;
        round_of(&other, &app.base).await;
        assert!(sink.is_empty().await);
        app.state.db.execute_unprepared("alter table away rename to tool_usage").await.unwrap();
        until("the delivery goes on", || async { app.state.usage.backlog().records == 0 && app.state.usage.backlog().delivering }).await;
        round(&app).await;
        assert!(sink.is_empty().await, "it may fail again at once");
        // It is over for whoever looks next, as after a restart; once.
        app.clock.advance(Duration::minutes(3));
        round_of(&other, &app.base).await;
        round(&app).await;
        assert!(letters(&sink, 1).await[0].body.contains("los recibe otra vez"));

        // The database is away altogether: the operators as they were are written to all the same, once.
        app.state.db.execute_unprepared("alter table tool_usage rename to away").await.unwrap();
        client.call("consultar_rnc_dgii", json!({ "rnc": "131793916" })).await;
        until("the delivery fails", || async { !app.state.usage.backlog().delivering }).await;
        app.state.db.clone().close().await.unwrap();
        app.state.alerts.look().await;
        app.clock.advance(Duration::minutes(6));
        app.state.alerts.look().await;
        app.state.alerts.look().await;
        assert!(letters(&sink, 1).await[0].body.contains("no recibe los registros"));
    }
}

#[tokio::test]
async fn webhooks_are_repeated_signed_anew_and_given_up() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant_on("Nova", "gratis", ProtocolChoice::Auto).await;
        let owner = app.member(tenant.id, "ana@nova.do", Level::Owner).await;
        let (hook, url, _server) = Hook::start().await;
        let path = format!("/admin/clients/{}/alerts", tenant.id);
        let secret = webhook(&owner, &path, &url).await;
        let stored = alert_channels::Entity::find().one(&app.state.db).await.unwrap().unwrap();
        assert!(!format!("{stored:?}").contains(&secret[6..]), "sealed");
        used(&app, tenant.id, 100).await;

        // A failure, a redirect, and then it arrives: the same id, another time, the same body; after a restart too.
        hook.answers(&[StatusCode::INTERNAL_SERVER_ERROR, StatusCode::FOUND]);
        round(&app).await;
        round(&app).await;
        assert_eq!(hook.taken().len(), 1, "not at once again");
        assert!(owner.get(&path).await.text.contains("HTTP 500"));
        app.clock.advance(Duration::minutes(1));
        round(&app).await;
        app.clock.advance(Duration::minutes(4));
        round(&app).await;
        assert_eq!(hook.taken().len(), 2, "five minutes, this time");
        app.clock.advance(Duration::minutes(1));
        let other = second(&app, &[]).await;
        let base: Url = app.base.parse().unwrap();
        let stop = CancellationToken::new();
        let (one, two) = tokio::join!(app.state.alerts.deliver(&base, &stop), other.alerts.deliver(&base, &stop));
        assert_eq!(one.unwrap() + two.unwrap(), 1, "one of the two sends it");
        let taken = hook.taken();
        assert!(taken.len() == 3 && taken.iter().all(|each| each.id == taken[0].id && each.body == taken[0].body && each.fits(&secret)));
        assert!(taken[2].timestamp > taken[0].timestamp);
        round(&app).await;
        assert_eq!(hook.taken().len(), 3, "it has arrived");

        // Another secret: both sign for a day.
        let page = owner.post(&path, &format!("{path}/secret"), &[]).await;
        let shown = owner.get(page.location()).await;
        let new = format!("whsec_{}", shown.text.split("value=\"whsec_").nth(1).unwrap().split('"').next().unwrap().replace("&#x2b;", "+").replace("&#x3d;", "="));
        owner.post(&path, &format!("{path}/test"), &[]).await;
        let test = hook.taken().pop().unwrap();
        assert!(test.json()["type"] == "test" && test.fits(&new) && test.fits(&secret) && test.signatures.len() == 2);
        assert!(owner.get(&path).await.text.contains("La prueba llegó: HTTP 204"));
        app.clock.advance(Duration::hours(25));
        let owner = app.signed_in("ana@nova.do").await;
        owner.post(&path, &format!("{path}/test"), &[]).await;
        let test = hook.taken().pop().unwrap();
        assert!(test.fits(&new) && !test.fits(&secret));

        // A test is not repeated; what nobody takes is given up after a day.
        hook.answers(&[StatusCode::NOT_FOUND]);
        owner.post(&path, &format!("{path}/test"), &[]).await;
        assert!(owner.get(&path).await.text.contains("La prueba no llegó: HTTP 404"));
        hook.answers(&[StatusCode::BAD_GATEWAY; 20]);
        app.clock.advance(Duration::days(20));
        used(&app, tenant.id, 80).await;
        let before = hook.taken().len();
        for _ in 0..12 {
            round(&app).await;
            app.clock.advance(Duration::hours(12));
        }
        assert_eq!(hook.taken().len() - before, 7);
        let rows = alert_deliveries::Entity::find().filter(alert_deliveries::Column::State.ne("done")).all(&app.state.db).await.unwrap();
        assert!(rows.iter().all(|row| row.state == "given_up" && row.ended_at.is_some()), "{rows:?}");

        // Without an address nothing is sent, and the secret is forgotten.
        let owner = app.signed_in("ana@nova.do").await;
        let version = owner.get(&path).await.hidden("version");
        owner.post(&path, &path, &[("version", &version), ("webhook_url", "")]).await;
        let stored = alert_channels::Entity::find().one(&app.state.db).await.unwrap().unwrap();
        assert!(stored.secret_sealed.is_none() && stored.webhook_url.is_none() && !stored.mail);
        assert_eq!(owner.post(&path, &path, &[("version", &version), ("webhook_url", "")]).await.status, StatusCode::CONFLICT, "a stale page");
    })
    .await;
}

#[tokio::test]
async fn a_webhook_goes_to_public_addresses_only_and_the_operators_survives_a_change_of_keys() {
    for backend in crate::support::backends() {
        let app = odoo::start_guarded(backend).await;
        let operator = app.operator().await;
        for bad in [
            "http://hooks.example.do/",
            "https://127.0.0.1/",
            "https://10.0.0.8/x",
            "https://[::1]/",
            "https://u:p@hooks.example.do/",
            "ftp://x.do",
            "hooks.example.do",
            "https://a.do/#x",
        ] {
            let page = operator.post("/admin/alerts", "/admin/alerts", &[("version", "0"), ("webhook_url", bad)]).await;
            assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("dirección pública"), "{bad}: {}", page.text);
        }
        // A name that leads inside is found out when it is sent to.
        let program = Program::new(&app, "prueba").await;
        let body = json!({ "mail": true, "topics": ["padron"], "webhook_url": "https://localhost.localdomain/", "version": 0 });
        let set = program.send(http::Method::PUT, "/admin/api/alerts", &body).await;
        assert!(set.status == StatusCode::OK && set.json["secret"].as_str().unwrap().starts_with("whsec_"), "{set:?}");
        assert!(program.get("/admin/api/alerts").await.json.get("secret").is_none());
        let tried = program.send(http::Method::POST, "/admin/api/alerts/test", &json!({})).await;
        assert_eq!((tried.status, &tried.json["state"], &tried.json["status"]), (StatusCode::OK, &json!("given_up"), &Value::Null), "{tried:?}");
        let both = Vault::from_keys(&[9; 32], Some(&VAULT_KEY));
        let config = config(app.folder.path(), &app.database_url, &[]);
        let db = dunet::db::connect(&app.database_url, 2).await.unwrap();
        let changed = AppState::assemble(config.clone(), &both, &app.clock, &db).await.unwrap().0;
        assert_eq!(changed.alerts.keys_rotate(&actor()).await.unwrap(), 1);
        let new = AppState::assemble(config, &Vault::from_keys(&[9; 32], None), &app.clock, &db).await.unwrap().0;
        assert!(new.alerts.secret_rotate(Owner::Operator, &actor()).await.is_ok());
        assert_eq!(alert_channels::Entity::find().count(&app.state.db).await.unwrap(), 1);
    }
}
