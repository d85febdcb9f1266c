//! The care of tenants' Odoo keys, against a real Odoo 19: what it tells, what it lets one do, and that a key is never lost half-way.
//!
//! The Odoo that Debian packages is older than the two methods by which a key makes and revokes keys itself (May 2026). They are played in front of it here:
//! the keys are real ones, made and removed in that Odoo by the person's own session, and everything else goes straight through.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use chrono::{Duration, Utc};
use dunet::clock::{Clock, day_start};
use dunet::db::entities::{alerts, clients, logs, odoo_keys};
use dunet::domain::odoo_keys::{By, KeyView, Outcome, Source};
use dunet::domain::tenants::{NewOdoo, TenantEdit};
use dunet::ids::TenantId;
use dunet::odoo::keys::{KeyByPassword, KeyByPasswordError};
use dunet::odoo::{AddressPolicy, OdooClient, OdooConfig, OdooErrorKind, OdooLimits, ProtocolChoice};
use http::StatusCode;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::support::{Backend, TestApp, actor, left_out, serve, setting};

const PASSWORD: &str = "clave-de-prueba-7391";
/// How the methods in front of Odoo behave.
const FAIR: u8 = 0;
const LOST: u8 = 1;
const FALSE_KEY: u8 = 2;
const OFF: u8 = 3;

/// Somebody of the real Odoo, made for one test and removed with it.
struct Person {
    url: String,
    database: String,
    login: String,
    uid: i64,
    admin: OdooClient,
}

fn config(url: &str, database: &str, login: &str, secret: &str) -> OdooConfig {
    OdooConfig {
        url: url.parse().unwrap(),
        database: database.to_owned(),
        login: login.to_owned(),
        secret: SecretString::from(secret.to_owned()),
        protocol: ProtocolChoice::Auto,
        limits: OdooLimits { request_timeout_ms: 60_000, ..OdooLimits::default() },
        addresses: AddressPolicy::AllowPrivate,
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

impl Person {
    async fn new() -> Option<Self> {
        let Some(url) = setting("ODOO_TEST_URL") else {
            left_out("keys of a real Odoo (ODOO_TEST_URL is not set; scripts/test starts one)");
            return None;
        };
        drop(rustls::crypto::ring::default_provider().install_default());
        let named = |name: &str| setting(name).unwrap_or_else(|| panic!("{name} is missing"));
        let database = named("ODOO_TEST_DB");
        let admin = OdooClient::connect(config(&url, &database, &named("ODOO_TEST_LOGIN"), &named("ODOO_TEST_API_KEY"))).await.unwrap();
        let login = format!("llaves-{}", uuid::Uuid::new_v4().simple());
        let values = json!({ "vals_list": [{ "name": "Llaves", "login": login, "password": PASSWORD }] });
        let made = admin.call_write("res.users", "create", None, object(&values)).await.unwrap();
        let uid = made[0].as_i64().unwrap();
        Some(Self { url, database, login, uid, admin })
    }

    fn config(&self, secret: &str) -> OdooConfig {
        config(&self.url, &self.database, &self.login, secret)
    }

    /// A key made by hand, with its id.
    async fn key(&self, name: &str, days: u32) -> (SecretString, i64) {
        let config = self.config(PASSWORD);
        let password = SecretString::from(PASSWORD.to_owned());
        let mut session = KeyByPassword::sign_in(&config, &password).await.unwrap();
        let key = session.make(&password, name, days).await.unwrap();
        let id = session.keys().await.unwrap().into_iter().find(|key| key.name == name).unwrap().id;
        (key, id)
    }

    async fn works(&self, key: &SecretString) -> bool {
        match OdooClient::connect(self.config(key.expose_secret())).await {
            Ok(client) => client.uid() == self.uid,
            Err(error) if error.kind == OdooErrorKind::BadCredentials => false,
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn gone(self) {
        self.admin.call_write("res.users", "write", Some(&[self.uid]), object(&json!({ "vals": { "active": false } }))).await.unwrap();
    }
}

/// A service whose clock is the real one's day, so that Odoo's ends mean something, and a tenant whose Odoo is at that address.
async fn tenant(person: &Person, url: &str, key: &SecretString) -> (TestApp, TenantId) {
    let folder = tempfile::tempdir().unwrap();
    let database = crate::support::database(Backend::Sqlite, folder.path()).await;
    let app = TestApp::start_at(Backend::Sqlite, folder, database, Clock::fixed(Clock::system().now()), &["--odoo-request-timeout-ms", "50000"]).await;
    let odoo = NewOdoo { url: url.parse().unwrap(), database: person.database.clone(), login: person.login.clone(), secret: key.clone(), protocol: ProtocolChoice::Json2 };
    let (id, _) = app.tenant_at("Ferretería", odoo).await;
    (app, id)
}

async fn view(app: &TestApp, id: TenantId) -> KeyView {
    app.state.odoo_keys.view(&app.state.tenants.tenant_find(id).await.unwrap()).await.unwrap()
}

async fn row(app: &TestApp) -> odoo_keys::Model {
    odoo_keys::Entity::find().one(&app.state.db).await.unwrap().unwrap()
}

/// What the tenant's key is now, as the service would send it.
async fn key_now(app: &TestApp, id: TenantId) -> SecretString {
    app.state.connections.config(&app.state.tenants.tenant_find(id).await.unwrap()).unwrap().secret
}

async fn audited(app: &TestApp, action: &str) -> Vec<Value> {
    logs::Entity::find().filter(logs::Column::Action.eq(action)).all(&app.state.db).await.unwrap().into_iter().map(|row| row.after.unwrap_or_default()).collect()
}

#[tokio::test]
async fn odoo_tells_when_a_key_ends_and_its_owner_renews_it_with_a_password() {
    let Some(person) = Person::new().await else { return };
    let (key, _) = person.key("A mano", 30).await;
    let (app, id) = tenant(&person, &person.url, &key).await;
    assert_eq!(view(&app, id).await.source, Source::Unknown);
    app.state.odoo_keys.ask_due().await.unwrap();
    let told = view(&app, id).await;
    assert_eq!((told.source, told.outcome), (Source::Odoo, None));
    assert!((28..=30).contains(&told.days_left.unwrap()), "{told:?}");

    // A wrong password changes nothing.
    let find = async || app.state.tenants.tenant_find(id).await.unwrap();
    let wrong = SecretString::from("otra".to_owned());
    let refused = app.state.odoo_keys.renew(&find().await, By::Password(&wrong), &actor()).await.unwrap();
    assert_eq!(refused.outcome, Outcome::Password, "{refused:?}");
    assert!(person.works(&key).await && key_now(&app, id).await.expose_secret() == key.expose_secret());

    let password = SecretString::from(PASSWORD.to_owned());
    let renewed = app.state.odoo_keys.renew(&find().await, By::Password(&password), &actor()).await.unwrap();
    assert_eq!(renewed.outcome, Outcome::Renewed, "{renewed:?}");
    let new = key_now(&app, id).await;
    assert_ne!(new.expose_secret(), key.expose_secret());
    assert!(person.works(&new).await && !person.works(&key).await, "the new one works, the old one is gone");
    let told = view(&app, id).await;
    assert!((88..=90).contains(&told.days_left.unwrap()) && told.source == Source::Odoo && told.outcome == Some(Outcome::Renewed), "{told:?}");
    assert!(app.state.connections.answers(&find().await, std::time::Duration::from_secs(20)).await);

    // Nothing of it is written down anywhere.
    let said = format!("{:?}", audited(&app, "odoo.key_renew").await);
    assert_eq!(said.matches("outcome").count(), 2, "{said}");
    for secret in [key.expose_secret(), new.expose_secret(), PASSWORD] {
        assert!(!said.contains(secret) && !format!("{:?}", row(&app).await).contains(secret));
    }

    // With a second key that nobody named, nobody can say which one is ours but for its name; with both made by hand, none can.
    let (second, _) = person.key("Otra", 7).await;
    app.clock.advance(Duration::hours(25));
    app.state.odoo_keys.ask_due().await.unwrap();
    assert!((87..=90).contains(&view(&app, id).await.days_left.unwrap()));
    let edit = TenantEdit { odoo_secret: Some(second), ..TenantEdit::default() };
    app.state.tenants.tenant_edit(id, edit, &actor()).await.unwrap();
    assert_eq!(view(&app, id).await.source, Source::Unknown, "of another key nothing is known");
    app.state.odoo_keys.ask_due().await.unwrap();
    assert_eq!((view(&app, id).await.source, view(&app, id).await.expires_at), (Source::Several, None));
    let day = (app.clock.now() + Duration::days(5)).date_naive();
    app.state.odoo_keys.typed(&find().await, Some(day), &actor()).await.unwrap();
    app.state.odoo_keys.ask(&find().await).await.unwrap();
    let kept = view(&app, id).await;
    assert_eq!((kept.source, kept.expires_at), (Source::Typed, Some(day_start(day))), "what an owner typed stays");

    // The key has ended in Odoo: the password makes another one all the same.
    let config = person.config(PASSWORD);
    let mut session = KeyByPassword::sign_in(&config, &password).await.unwrap();
    for key in session.keys().await.unwrap() {
        session.remove(&password, key.id).await.unwrap();
    }
    app.state.connections.forget(id);
    assert!(!person.works(&key_now(&app, id).await).await);
    let renewed = app.state.odoo_keys.renew(&find().await, By::Password(&password), &actor()).await.unwrap();
    assert!(renewed.outcome.is_renewed() && person.works(&key_now(&app, id).await).await, "{renewed:?}");
    person.gone().await;
}

/// The two methods in front of a real Odoo.
struct Front {
    person: (String, String, String),
    mode: AtomicU8,
    ids: Mutex<HashMap<String, i64>>,
    asked: Mutex<Vec<String>>,
    http: reqwest::Client,
}

impl Front {
    async fn start(person: &Person, key: &SecretString, id: i64) -> (Arc<Self>, String, tokio_util::task::AbortOnDropHandle<()>) {
        let front = Arc::new(Self {
            person: (person.url.clone(), person.database.clone(), person.login.clone()),
            mode: AtomicU8::new(FAIR),
            ids: Mutex::new(HashMap::from([(key.expose_secret().to_owned(), id)])),
            asked: Mutex::default(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        });
        let (url, server) = serve(axum::Router::new().fallback(pass).with_state(Arc::clone(&front))).await;
        (front, url, server)
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    fn asked(&self, what: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| path.ends_with(what)).count()
    }

    /// What `generate` and `revoke` do: the one makes a key of the same user for a key that works, the other removes one.
    async fn own(&self, method: &str, body: &Bytes) -> Response {
        let refused =
            |words: &str| (StatusCode::UNPROCESSABLE_ENTITY, axum::Json(json!({ "name": "odoo.exceptions.UserError", "message": words, "arguments": [words] }))).into_response();
        let asked: Value = serde_json::from_slice(body).unwrap();
        let (url, database, login) = &self.person;
        let config = config(url, database, login, PASSWORD);
        let password = SecretString::from(PASSWORD.to_owned());
        let mut session = KeyByPassword::sign_in(&config, &password).await.unwrap();
        if method == "revoke" {
            let id = self.ids.lock().unwrap().remove(asked["key"].as_str().unwrap());
            let Some(id) = id else { return refused("The provided API key is invalid.") };
            session.remove(&password, id).await.unwrap();
            return axum::Json(json!(true)).into_response();
        }
        assert_eq!(asked["scope"], "rpc");
        let ends = chrono::NaiveDateTime::parse_from_str(asked["expiration_date"].as_str().unwrap(), "%Y-%m-%d %H:%M:%S").unwrap().and_utc();
        let days = (ends - Utc::now_of_test()).num_days() + 1;
        // The longest that the user's groups allow.
        if self.mode.load(Ordering::SeqCst) == OFF || days > 90 {
            return refused("You cannot exceed 90.0 days.");
        }
        let name = asked["name"].as_str().unwrap();
        let key = session.make(&password, name, if days > 30 { 90 } else { 30 }).await.unwrap();
        let id = session.keys().await.unwrap().into_iter().find(|key| key.name == name).unwrap().id;
        self.ids.lock().unwrap().insert(key.expose_secret().to_owned(), id);
        match self.mode.load(Ordering::SeqCst) {
            LOST => (StatusCode::OK, axum::body::Body::from_stream(futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("cut"))]))).into_response(),
            FALSE_KEY => axum::Json(json!("0".repeat(40))).into_response(),
            _ => axum::Json(json!(key.expose_secret())).into_response(),
        }
    }
}

trait Real {
    fn now_of_test() -> chrono::DateTime<Utc>;
}

impl Real for Utc {
    fn now_of_test() -> chrono::DateTime<Utc> {
        Clock::system().now()
    }
}

async fn pass(State(front): State<Arc<Front>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1_000_000).await.unwrap();
    let path = parts.uri.path_and_query().unwrap().to_string();
    front.asked.lock().unwrap().push(path.clone());
    let mut forward = front.http.request(parts.method, format!("{}{path}", front.person.0)).body(body.clone());
    for name in ["content-type", "authorization", "x-odoo-database"] {
        if let Some(value) = parts.headers.get(name) {
            forward = forward.header(name, value);
        }
    }
    if let Some(method) = path.strip_prefix("/json/2/res.users.apikeys/").filter(|method| *method != "search_read") {
        // Whoever asks must be let in by Odoo.
        let probe = front.http.post(format!("{}/json/2/res.users/context_get", front.person.0)).header("authorization", parts.headers["authorization"].clone());
        let probe = probe.header("x-odoo-database", front.person.1.as_str()).header("content-type", "application/json").body("{}").send().await.unwrap();
        if probe.status() != StatusCode::OK {
            return probe.status().into_response();
        }
        return front.own(method, &body).await;
    }
    let answer = forward.send().await.unwrap();
    let (status, kind) = (answer.status(), answer.headers().get("content-type").cloned());
    let mut response = (status, answer.bytes().await.unwrap()).into_response();
    if let Some(kind) = kind {
        response.headers_mut().insert("content-type", kind);
    }
    response
}

#[tokio::test]
async fn a_key_renews_itself_where_odoo_lets_it_and_is_never_lost() {
    let Some(person) = Person::new().await else { return };
    let (key, key_id) = person.key("A mano", 30).await;
    let (front, url, _server) = Front::start(&person, &key, key_id).await;
    let (app, id) = tenant(&person, &url, &key).await;
    let find = async || app.state.tenants.tenant_find(id).await.unwrap();
    let care = async || app.state.alerts.care(&tokio_util::sync::CancellationToken::new()).await.unwrap();
    app.state.odoo_keys.renew_set(&find().await, true, &actor()).await.unwrap();
    care().await;
    assert_eq!((front.asked("/generate"), view(&app, id).await.renew), (0, true), "there is time");

    // Within a third of its life: refused first (every length), then an answer that is lost, then a key that does not work. The old one stays each time.
    app.clock.advance(Duration::days(21));
    front.set(OFF);
    care().await;
    let refused = front.asked("/generate");
    assert!(refused >= 2, "{refused}");
    assert_eq!(view(&app, id).await.outcome, Some(Outcome::Refused));
    assert_eq!(view(&app, id).await.said.as_deref(), Some("You cannot exceed 90.0 days."));
    care().await;
    assert_eq!(front.asked("/generate"), refused, "not again for a day");
    front.set(FALSE_KEY);
    app.clock.advance(Duration::hours(25));
    care().await;
    assert_eq!(view(&app, id).await.outcome, Some(Outcome::NewKeyFails));
    assert!(person.works(&key).await && key_now(&app, id).await.expose_secret() == key.expose_secret() && find().await.odoo.is_some());
    front.set(LOST);
    app.clock.advance(Duration::hours(25));
    care().await;
    assert_eq!(view(&app, id).await.outcome, Some(Outcome::Unknown));
    let lost = front.asked("/generate");
    front.set(FAIR);
    app.clock.advance(Duration::hours(25));
    care().await;
    assert_eq!(front.asked("/generate"), lost, "what may have been done is not repeated by itself");
    assert!(key_now(&app, id).await.expose_secret() == key.expose_secret());
    let told: Vec<String> = alerts::Entity::find().all(&app.state.db).await.unwrap().into_iter().map(|row| row.kind).collect();
    assert_eq!(told, ["odoo_key.not_renewed"; 3], "each reason once");

    // Somebody has looked in Odoo, and asks for it: it is renewed, and the old key lives on until no process can be using it.
    let renewed = app.state.odoo_keys.renew(&find().await, By::Itself, &actor()).await.unwrap();
    assert_eq!(renewed.outcome, Outcome::Renewed, "{renewed:?}");
    let new = key_now(&app, id).await;
    assert!(person.works(&new).await && person.works(&key).await && new.expose_secret() != key.expose_secret());
    assert!(row(&app).await.old_sealed.is_some());
    care().await;
    assert!(person.works(&key).await);
    app.clock.advance(Duration::minutes(6));
    care().await;
    assert!(person.works(&new).await && !person.works(&key).await, "now it is revoked");
    assert_eq!((row(&app).await.old_sealed, audited(&app, "odoo.key_revoke").await.len()), (None, 1));
    assert!(app.state.connections.answers(&find().await, std::time::Duration::from_secs(20)).await);

    // By itself, all the way.
    app.clock.advance(Duration::days(55));
    let before = front.asked("/generate");
    care().await;
    let own = view(&app, id).await;
    assert!(front.asked("/generate") > before && own.outcome == Some(Outcome::Renewed), "{own:?}");
    let third = key_now(&app, id).await;
    assert!(third.expose_secret() != new.expose_secret() && person.works(&third).await);

    // Somebody edits the connection while a key is made: theirs stays.
    let stale = find().await;
    let edit = TenantEdit { odoo_secret: Some(new.clone()), ..TenantEdit::default() };
    app.state.tenants.tenant_edit(id, edit, &actor()).await.unwrap();
    // What Odoo tells of the key before is not taken for this one's, and takes back nothing.
    app.state.odoo_keys.renew_set(&find().await, false, &actor()).await.unwrap();
    let day = (app.clock.now() + Duration::days(5)).date_naive();
    app.state.odoo_keys.typed(&find().await, Some(day), &actor()).await.unwrap();
    app.state.odoo_keys.ask(&stale).await.unwrap();
    let kept = view(&app, id).await;
    assert_eq!((kept.source, kept.expires_at, kept.renew), (Source::Typed, Some(day_start(day)), false));
    let outcome = app.state.odoo_keys.renew(&stale, By::Itself, &actor()).await.unwrap().outcome;
    assert_eq!(outcome, Outcome::Edited);
    assert_eq!(key_now(&app, id).await.expose_secret(), new.expose_secret());
    assert_eq!(clients::Entity::find().all(&app.state.db).await.unwrap().len(), 1);
    person.gone().await;
}

#[tokio::test]
async fn what_this_odoo_does_not_offer_is_said() {
    let Some(person) = Person::new().await else { return };
    let (key, _) = person.key("A mano", 30).await;
    let client = OdooClient::connect(person.config(key.expose_secret())).await.unwrap();
    // Measured on Odoo 19 of Debian (before May 2026), and what later ones say to those who may not.
    let refused = client.key_make(&key, "x", Utc::now_of_test() + Duration::days(1)).await.unwrap_err();
    let offered = refused.kind != OdooErrorKind::UnknownMethod;
    assert!(!offered || refused.kind == OdooErrorKind::Validation, "{refused:?}");
    assert!(!refused.message.contains(key.expose_secret()) && !refused.cause.contains(key.expose_secret()));
    let (app, id) = tenant(&person, &person.url, &key).await;
    let find = app.state.tenants.tenant_find(id).await.unwrap();
    let outcome = app.state.odoo_keys.renew(&find, By::Itself, &actor()).await.unwrap().outcome;
    assert_eq!(outcome, if offered { Outcome::Refused } else { Outcome::NotOffered });
    assert!(person.works(&key).await && key_now(&app, id).await.expose_secret() == key.expose_secret());
    // A key does not get past the question who one is: the person's password is asked for.
    let named = object(&json!({ "vals_list": [{ "name": "x", "duration": "30" }] }));
    let made = client.call_write("res.users.apikeys.description", "create", None, named).await.unwrap();
    let check = client.call_write("res.users.apikeys.description", "make_key", Some(&[made[0].as_i64().unwrap()]), Map::new()).await.unwrap();
    assert_eq!(check["res_model"], "res.users.identitycheck", "{check}");
    let with_key = object(&json!({ "context": { "password": key.expose_secret() } }));
    let refused = client.call_write("res.users.identitycheck", "run_check", Some(&[check["res_id"].as_i64().unwrap()]), with_key).await.unwrap_err();
    assert_eq!(refused.kind, OdooErrorKind::Validation, "a key is no password");
    let config = person.config(PASSWORD);
    let wrong = KeyByPassword::sign_in(&config, &SecretString::from("otra".to_owned())).await;
    assert!(matches!(wrong.err(), Some(KeyByPasswordError::Password)));
    person.gone().await;
}
