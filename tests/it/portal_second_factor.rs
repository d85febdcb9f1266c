//! The second factor: set up, asked for, used once, guessed at, lost.

use std::sync::Arc;

use chrono::Duration;
use dunet::clock::Clock;
use dunet::db::entities::{logs, sessions, users};
use dunet::domain::users::Level;
use dunet::domain::vault::Vault;
use http::StatusCode;
use sea_orm::{EntityTrait, PaginatorTrait};
use totp_rs::{Builder, Secret};

use crate::support::portal::{Browser, PASSWORD, Page};
use crate::support::{TestApp, VAULT_KEY, actor};

const EMAIL: &str = "operador@dunet.do";
const PATH: &str = "/admin/profile/second-factor";
const CODE_PATH: &str = "/admin/entrar/codigo";

/// The code that an app with that secret shows now.
fn code(secret: &str, clock: &Clock) -> String {
    let totp = Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).build().unwrap();
    totp.generate(u64::try_from(clock.now().timestamp()).unwrap()).to_string()
}

/// A code that is wrong now and in the steps beside.
fn wrong_code(secret: &str, clock: &Clock) -> String {
    let number: u32 = code(secret, clock).parse().unwrap();
    format!("{:06}", (number + 500_000) % 1_000_000)
}

fn between<'a>(page: &'a Page, from: &str, to: &str) -> &'a str {
    page.text.split(from).nth(1).unwrap_or_else(|| panic!("no {from} in {}", page.text)).split(to).next().unwrap()
}

/// Sets a second factor up; the secret and the recovery codes.
async fn enrol(app: &TestApp, browser: &Browser) -> (String, Vec<String>) {
    let page = browser.post(PATH, PATH, &[("current", PASSWORD)]).await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, PATH), "{}", page.text);
    let page = browser.get(PATH).await;
    let secret = between(&page, "id=\"secret\">", "<").replace(' ', "");
    let page = browser.post(PATH, &format!("{PATH}/confirm"), &[("code", &code(&secret, &app.clock))]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
    let page = browser.get(page.location()).await;
    let codes = between(&page, "id=\"codes\" tabindex=\"0\"><code>", "<").lines().map(str::to_owned).collect();
    (secret, codes)
}

async fn audited(app: &TestApp, action: &str) -> Vec<serde_json::Value> {
    let rows = logs::Entity::find().all(&app.state.db).await.unwrap();
    rows.into_iter().filter(|row| row.action == action).map(|row| row.after.unwrap_or_default()).collect()
}

#[tokio::test]
async fn it_is_set_up_with_the_password_and_a_code() {
    TestApp::everywhere(|app| async move {
        let (browser, other) = (app.operator().await, app.signed_in(EMAIL).await);
        assert!(browser.get("/admin").await.text.contains("entra solo con contraseña"), "the panel says that it is missing");
        let page = browser.post(PATH, PATH, &[("current", "no es")]).await;
        assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("No es su contraseña actual"), "{}", page.text);
        browser.post(PATH, PATH, &[("current", PASSWORD)]).await;
        let page = browser.get(PATH).await;
        assert!(page.text.contains("<svg width=\"232\"") && page.text.contains("role=\"img\""), "{}", page.text);
        let secret = between(&page, "id=\"secret\">", "<").replace(' ', "");
        assert_eq!(secret.len(), 32);
        // Until a code was given it counts for nothing.
        assert_eq!(app.signed_in(EMAIL).await.get("/admin").await.status, StatusCode::OK);
        let page = browser.post(PATH, &format!("{PATH}/confirm"), &[("code", &wrong_code(&secret, &app.clock))]).await;
        assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("El código no coincide") && page.text.contains("id=\"secret\""), "{}", page.text);

        let (secret, codes) = enrol(&app, &browser).await;
        assert!(codes.len() == 10 && codes.iter().all(|code| code.len() == 19), "{codes:?}");
        let page = browser.get(PATH).await;
        assert!(!page.text.contains(&codes[0]) && !page.text.contains(&secret[..4]) && page.text.contains("Quedan 10"), "shown again: {}", page.text);
        assert!(!browser.get("/admin").await.text.contains("entra solo con contraseña"));
        assert_eq!(other.get("/admin").await.location(), "/admin/entrar", "begun without it");
        assert_eq!(audited(&app, "user.second_factor").await, [serde_json::json!({ "second_factor": "on" })]);
        let dump = app.dump().await.join("\n");
        assert!(!dump.contains(&secret) && !codes.iter().any(|code| dump.contains(code.as_str()) || dump.contains(&code.replace('-', ""))), "a secret is stored");
        // A second one beside it cannot be begun.
        assert_eq!(browser.post(PATH, PATH, &[("current", PASSWORD)]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    })
    .await;
}

#[tokio::test]
async fn the_password_alone_opens_nothing() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let (secret, codes) = enrol(&app, &app.operator().await).await;
        let used = code(&secret, &app.clock);
        let browser = Browser::new(&app);
        let page = browser.post("/admin/entrar", "/admin/entrar", &[("email", EMAIL), ("password", PASSWORD), ("to", "/admin/clients?q=x")]).await;
        assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/admin/entrar/codigo?to=%2Fadmin%2Fclients%3Fq%3Dx"));
        let pending = browser.cookie("dunet").unwrap();
        let asked = browser.get(page.location()).await;
        assert!(asked.text.contains("one-time-code") && asked.text.contains(EMAIL), "{}", asked.text);
        for path in ["/admin", "/admin/profile", PATH, &format!("/admin/clients/{}", tenant.id)] {
            assert!(browser.get(path).await.location().starts_with("/admin/entrar"), "{path}");
        }
        assert_eq!(browser.post_bare("/admin/salir", &[("csrf", &asked.hidden("csrf"))]).await.status, StatusCode::UNAUTHORIZED);
        // The code that set it up was used; so is each one after it.
        let send = async |browser: &Browser, code: &str| browser.post(CODE_PATH, CODE_PATH, &[("code", code), ("to", "/admin/clients?q=x")]).await;
        let page = send(&browser, &used).await;
        assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("El código no sirve") && !page.text.contains(&used), "{}", page.text);
        app.clock.advance(Duration::seconds(30));
        let next = code(&secret, &app.clock);
        let page = send(&browser, &format!("{} {}", &next[..3], &next[3..])).await;
        assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/admin/clients?q=x"), "{}", page.text);
        assert_ne!(browser.cookie("dunet").unwrap(), pending, "a new session");
        assert_eq!(browser.get("/admin").await.status, StatusCode::OK);
        let stale = Browser::new(&app);
        stale.put_cookie("dunet", &pending);
        assert_eq!(stale.get("/admin").await.location(), "/admin/entrar");
        assert_eq!(stale.get(CODE_PATH).await.location(), "/admin/entrar", "it waits for nothing any more");
        let second = Browser::new(&app);
        second.sign_in(EMAIL, PASSWORD).await;
        assert_eq!(send(&second, &next).await.status, StatusCode::UNPROCESSABLE_ENTITY, "a code works once");

        // A recovery code, as people type it, once.
        let typed = codes[3].to_uppercase().replace('-', " ");
        assert_eq!(send(&second, &typed).await.status, StatusCode::SEE_OTHER);
        assert!(second.get(PATH).await.text.contains("Quedan 9"));
        let third = Browser::new(&app);
        third.sign_in(EMAIL, PASSWORD).await;
        assert_eq!(send(&third, &codes[3]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(send(&third, &codes[4]).await.status, StatusCode::SEE_OTHER);
        // New ones take the place of the old ones.
        let page = third.post(PATH, &format!("{PATH}/codes"), &[("current", PASSWORD)]).await;
        assert!(third.get(page.location()).await.text.contains("Quedan 10"));
        let fourth = Browser::new(&app);
        fourth.sign_in(EMAIL, PASSWORD).await;
        assert_eq!(send(&fourth, &codes[5]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        let signed: Vec<_> = audited(&app, "user.sign_in").await.into_iter().filter_map(|after| after.get("second_factor").cloned()).collect();
        assert_eq!(signed, ["totp", "recovery", "recovery"]);
    })
    .await;
}

#[tokio::test]
async fn one_code_sent_by_two_at_once_lets_one_in() {
    TestApp::everywhere(|app| async move {
        let (secret, codes) = enrol(&app, &app.operator().await).await;
        app.clock.advance(Duration::seconds(60));
        for shared in [code(&secret, &app.clock), codes[0].clone()] {
            let (a, b) = (Browser::new(&app), Browser::new(&app));
            a.sign_in(EMAIL, PASSWORD).await;
            b.sign_in(EMAIL, PASSWORD).await;
            let fields = [("code", shared.as_str())];
            let (a, b) = tokio::join!(a.post(CODE_PATH, CODE_PATH, &fields), b.post(CODE_PATH, CODE_PATH, &fields));
            let mut statuses = [a.status.as_u16(), b.status.as_u16()];
            statuses.sort_unstable();
            assert_eq!(statuses, [303, 422]);
        }
    })
    .await;
}

#[tokio::test]
async fn codes_are_not_guessed() {
    TestApp::everywhere_with(&["--sign-ins-per-minute", "1000", "--sign-in-failures-max", "5"], |app| async move {
        let (secret, _) = enrol(&app, &app.operator().await).await;
        app.clock.advance(Duration::seconds(60));
        let browser = Browser::new(&app);
        // The password again gives no fresh guesses: it counts itself.
        for _ in 0..2 {
            browser.sign_in(EMAIL, PASSWORD).await;
            browser.post(CODE_PATH, CODE_PATH, &[("code", &wrong_code(&secret, &app.clock))]).await;
        }
        browser.post(CODE_PATH, CODE_PATH, &[("code", &wrong_code(&secret, &app.clock))]).await;
        assert_eq!(audited(&app, "user.lock").await.len(), 1);
        let page = browser.post(CODE_PATH, CODE_PATH, &[("code", &code(&secret, &app.clock))]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "locked, and not told");
        assert_eq!(browser.sign_in(EMAIL, PASSWORD).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        app.clock.advance(Duration::seconds(61));
        assert_eq!(browser.post(CODE_PATH, CODE_PATH, &[("code", &code(&secret, &app.clock))]).await.status, StatusCode::SEE_OTHER);
        assert_eq!(users::Entity::find().one(&app.state.db).await.unwrap().unwrap().failed_signins, 0);
    })
    .await;
}

#[tokio::test]
async fn who_waits_too_long_gives_the_password_again() {
    TestApp::everywhere(|app| async move {
        let first = app.operator().await;
        let (secret, _) = enrol(&app, &first).await;
        let browser = Browser::new(&app);
        browser.sign_in(EMAIL, PASSWORD).await;
        let csrf = browser.get(CODE_PATH).await.hidden("csrf");
        app.clock.advance(Duration::minutes(11));
        assert_eq!(browser.get(CODE_PATH).await.location(), "/admin/entrar");
        let page = browser.post_bare(CODE_PATH, &[("csrf", &csrf), ("code", &code(&secret, &app.clock))]).await;
        assert_eq!(page.location(), "/admin/entrar");
        // Sessions that wait throw out none that is open.
        for _ in 0..8 {
            browser.sign_in(EMAIL, PASSWORD).await;
        }
        assert_eq!(first.get("/admin").await.status, StatusCode::OK);
        app.state.users.prune().await.unwrap();
        assert!(sessions::Entity::find().count(&app.state.db).await.unwrap() <= 10);
    })
    .await;
}

#[tokio::test]
async fn it_is_switched_off_with_the_password_or_by_an_operator() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        let tenant = app.tenant("Ferretería").await;
        let operator = app.operator().await;
        let member = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        enrol(&app, &member).await;
        let off = format!("{PATH}/off");
        assert_eq!(member.post(PATH, &off, &[("current", "no es")]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(member.post(PATH, &off, &[("current", PASSWORD)]).await.status, StatusCode::SEE_OTHER);
        assert_eq!(app.signed_in("marta@ferre.do").await.get("/admin/profile").await.status, StatusCode::OK);

        enrol(&app, &member).await;
        let user = app.state.users.user_by_email("marta@ferre.do").await.unwrap().to_string();
        let page = operator.post("/admin/people", "/admin/people/second-factor", &[("user", &user)]).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        assert_eq!(member.get("/admin/profile").await.location(), "/admin/entrar?to=%2Fadmin%2Fprofile");
        assert_eq!(app.signed_in("marta@ferre.do").await.get("/admin/profile").await.status, StatusCode::OK);
        let rows = logs::Entity::find().all(&app.state.db).await.unwrap();
        let reset = rows.iter().find(|row| row.after == Some(serde_json::json!({ "second_factor": "reset" }))).expect("audited");
        assert_eq!((reset.actor.as_str(), reset.subject.as_str()), (EMAIL, user.as_str()));
        let again = operator.post("/admin/people", "/admin/people/second-factor", &[("user", &user)]).await;
        assert_eq!(again.status, StatusCode::NOT_FOUND, "there is none any more");
    })
    .await;
}

#[tokio::test]
async fn operators_must_have_one_where_the_service_says_so() {
    TestApp::everywhere_with(&["--require-second-factor"], |app: Arc<TestApp>| async move {
        let tenant = app.tenant("Ferretería").await;
        let operator = app.operator().await;
        let members = format!("/admin/clients/{}/members", tenant.id);
        for path in ["/admin", "/admin/clients", "/admin/people", &members] {
            assert_eq!(operator.get(path).await.location(), PATH, "{path}");
        }
        let csrf = operator.get("/admin/profile").await.hidden("csrf");
        let page = operator.post_bare(&members, &[("csrf", &csrf), ("email", "x@y.do"), ("level", "owner")]).await;
        assert!(page.status == StatusCode::FORBIDDEN && page.text.contains("Primero active el segundo paso"), "{}", page.text);
        assert!(operator.get(PATH).await.text.contains("Este servicio pide un segundo paso"));
        // Its people are not asked.
        let member = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        assert_eq!(member.get(&members).await.status, StatusCode::OK);
        enrol(&app, &operator).await;
        assert_eq!(operator.get(&members).await.status, StatusCode::OK);
        let page = operator.post(PATH, &format!("{PATH}/off"), &[("current", PASSWORD)]).await;
        assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("obligatorio"), "{}", page.text);
    })
    .await;
}

#[tokio::test]
async fn the_master_key_changes_and_the_app_goes_on() {
    TestApp::everywhere(|app| async move {
        let (secret, _) = enrol(&app, &app.operator().await).await;
        let new = [9; 32];
        let both = app.another_process_with(Vault::from_keys(&new, Some(&VAULT_KEY))).await;
        assert_eq!(both.users.keys_rotate(&actor()).await.unwrap(), 1);
        assert_eq!(both.users.keys_rotate(&actor()).await.unwrap(), 0);
        assert!(app.another_process_with(Vault::from_keys(&VAULT_KEY, None)).await.users.keys_check().await.is_err());
        let alone = app.another_process_with(Vault::from_keys(&new, None)).await;
        alone.users.keys_check().await.unwrap();
        app.clock.advance(Duration::seconds(30));
        let from = dunet::domain::users::SessionFrom::default();
        let session = alone.users.sign_in(EMAIL, &PASSWORD.to_owned().into(), &from).await.unwrap();
        assert!(session.second_factor);
        let from = dunet::domain::users::SessionFrom { previous: Some(session.cookie), ..from };
        assert!(alone.users.second_factor_pass(&code(&secret, &alone.clock), &from).await.is_ok());
    })
    .await;
}
