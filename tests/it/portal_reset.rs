//! Forgotten passwords, addresses that change, and what operators do with accounts.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::Duration;
use dunet::db::entities::{logs, users};
use dunet::domain::users::Level;
use http::StatusCode;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use crate::support::portal::{Browser, PASSWORD};
use crate::support::smtp::Sink;
use crate::support::{TestApp, until};

const EMAIL: &str = "operador@dunet.do";
const FORGOT: &str = "/admin/olvido";
const NEW: &str = "otra frase bien larga";

#[tokio::test]
async fn a_forgotten_password_is_chosen_anew_by_letter() {
    let sink = Sink::start().await;
    TestApp::everywhere_with(&sink.settings(), |app| {
        let sink = Arc::clone(&sink);
        async move {
            let signed = app.operator().await;
            let browser = Browser::new(&app);
            // Known or not: the same answer.
            let unknown = browser.post(FORGOT, FORGOT, &[("email", "nadie@dunet.do")]).await;
            let known = browser.post(FORGOT, FORGOT, &[("email", " Operador@Dunet.do ")]).await;
            assert_eq!((unknown.status, unknown.location()), (known.status, known.location()));
            assert!(browser.get(known.location()).await.text.contains("Si hay una cuenta con ese correo"));
            let letter = sink.letter().await;
            assert!(letter.to == EMAIL && letter.head.contains("Dunet") && letter.body.contains("contraseña nueva"), "{letter:?}");
            let link = letter.link();
            let logs = logs::Entity::find().all(&app.state.db).await.unwrap();
            assert!(!logs.iter().any(|row| format!("{row:?}").contains(link.rsplit('/').next().unwrap())));
            // Asked again at once: nothing more is sent, and the first link still works.
            browser.post(FORGOT, FORGOT, &[("email", EMAIL)]).await;
            let page = browser.post(&link, &link, &[("password", NEW)]).await;
            assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/admin"), "{}", page.text);
            assert_eq!(signed.get("/admin").await.location(), "/admin/entrar", "the other sessions ended");
            assert_eq!(browser.get(&link).await.status, StatusCode::NOT_FOUND, "once");
            assert!(sink.is_empty().await);
            // It ends after an hour.
            app.clock.advance(Duration::minutes(10));
            browser.post(FORGOT, FORGOT, &[("email", EMAIL)]).await;
            let link = sink.letter().await.link();
            app.clock.advance(Duration::minutes(61));
            assert_eq!(Browser::new(&app).get(&link).await.status, StatusCode::NOT_FOUND);
        }
    })
    .await;
}

#[tokio::test]
async fn a_letter_that_does_not_go_out_is_seen() {
    let sink = Sink::start().await;
    TestApp::everywhere_with(&sink.settings(), |app| {
        let sink = Arc::clone(&sink);
        async move {
            let operator = app.operator().await;
            sink.refuses.store(true, Ordering::SeqCst);
            Browser::new(&app).post(FORGOT, FORGOT, &[("email", EMAIL)]).await;
            until("the failure is known", || async { app.state.mail.failure().is_some() }).await;
            let page = operator.get("/admin/people").await;
            assert!(page.text.contains("El último correo no salió") && page.text.contains("550") && !page.text.contains("nowhere"), "{}", page.text);
            sink.refuses.store(false, Ordering::SeqCst);
            app.clock.advance(Duration::minutes(10));
            Browser::new(&app).post(FORGOT, FORGOT, &[("email", EMAIL)]).await;
            sink.letter().await;
            until("it is forgotten", || async { app.state.mail.failure().is_none() }).await;
        }
    })
    .await;
}

#[tokio::test]
async fn without_letters_an_operator_makes_the_link() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        let tenant = app.tenant("Ferretería").await;
        let operator = app.operator().await;
        let member = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let page = Browser::new(&app).get(FORGOT).await;
        assert!(page.text.contains("Pida un enlace nuevo a quien lo opera") && !page.text.contains("<form"), "{}", page.text);
        let user = app.state.users.user_by_email("marta@ferre.do").await.unwrap().to_string();
        let page = operator.post("/admin/people", "/admin/people/link", &[("user", &user)]).await;
        let shown = operator.get(page.location()).await;
        let link = shown.text.split("id=\"link\" readonly value=\"").nth(1).expect("a link").split('"').next().unwrap().to_owned();
        assert!(!operator.get(page.location()).await.text.contains("id=\"link\""), "shown again");
        let path = link.strip_prefix(&app.base).unwrap();
        let fresh = Browser::new(&app);
        // What a browser sends from that form: the address is shown, not sent.
        assert!(!fresh.get(path).await.text.contains("name=\"account\""));
        assert_eq!(fresh.post(path, path, &[("password", NEW)]).await.status, StatusCode::SEE_OTHER);
        assert!(member.get("/admin/profile").await.location().starts_with("/admin/entrar"));
    })
    .await;
}

#[tokio::test]
async fn an_address_changes_when_the_new_one_says_so() {
    let sink = Sink::start().await;
    TestApp::everywhere_with(&sink.settings(), |app| {
        let sink = Arc::clone(&sink);
        async move {
            let browser = app.operator().await;
            app.operator_named("otra@dunet.do").await;
            let change = async |email: &str, current: &str| browser.post("/admin/profile", "/admin/profile/email", &[("email", email), ("current", current)]).await;
            assert!(change("nuevo@dunet.do", "no es").await.text.contains("No es su contraseña actual"));
            assert!(change("no es correo", PASSWORD).await.text.contains("como ana@empresa.do"));
            // Somebody else's gets the same answer, and no letter.
            let taken = change("otra@dunet.do", PASSWORD).await;
            let free = change("Nuevo@Dunet.do", PASSWORD).await;
            assert_eq!((taken.status, taken.location()), (free.status, free.location()));
            let letter = sink.letter().await;
            assert_eq!(letter.to, "nuevo@dunet.do");
            assert!(app.state.users.user_by_email(EMAIL).await.is_ok(), "not yet");
            let link = letter.link();
            let stranger = Browser::new(&app);
            assert!(stranger.get(&link).await.text.contains("nuevo@dunet.do"));
            assert_eq!(stranger.post(&link, &link, &[]).await.location(), "/admin/entrar");
            let told = sink.letter().await;
            assert!(told.to == EMAIL && told.body.contains("nuevo@dunet.do"), "{told:?}");
            assert_eq!(stranger.post("/admin/entrar", &link, &[]).await.status, StatusCode::NOT_FOUND, "once");
            assert_eq!(stranger.sign_in("nuevo@dunet.do", PASSWORD).await.status, StatusCode::SEE_OTHER);
            assert_eq!(browser.get("/admin").await.status, StatusCode::OK, "still signed in");
            let row = users::Entity::find().filter(users::Column::Email.eq("nuevo@dunet.do")).one(&app.state.db).await.unwrap().unwrap();
            assert!(row.email_confirmed_at.is_some());
        }
    })
    .await;
}

#[tokio::test]
async fn without_letters_an_address_changes_at_once_and_with_the_password() {
    TestApp::everywhere(|app| async move {
        let browser = app.operator().await;
        app.operator_named("otra@dunet.do").await;
        let change = async |email: &str, current: &str| browser.post("/admin/profile", "/admin/profile/email", &[("email", email), ("current", current)]).await;
        assert_eq!(change("nuevo@dunet.do", "no es").await.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(change("otra@dunet.do", PASSWORD).await.text.contains("Ya hay una cuenta"));
        assert!(change(EMAIL, PASSWORD).await.text.contains("Ya es su correo"));
        assert_eq!(change("nuevo@dunet.do", PASSWORD).await.status, StatusCode::SEE_OTHER);
        assert!(browser.get("/admin/profile").await.text.contains("nuevo@dunet.do"));
    })
    .await;
}

#[tokio::test]
async fn operators_keep_people_out_but_never_the_last_of_themselves() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        let (first, second) = (app.operator().await, app.operator_named("otra@dunet.do").await);
        let id = async |email: &'static str| app.state.users.user_by_email(email).await.unwrap().to_string();
        let (own, other) = (id(EMAIL).await, id("otra@dunet.do").await);
        let act = async |browser: &Browser, what: &str, user: &str| browser.post("/admin/people", &format!("/admin/people/{what}"), &[("user", user)]).await;
        let page = act(&first, "disable", &own).await;
        assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("su propia cuenta"), "{}", page.text);
        // Two who keep each other out at once: one stays.
        let csrf = (first.get("/admin/people").await.hidden("csrf"), second.get("/admin/people").await.hidden("csrf"));
        let fields = ([("csrf", csrf.0.as_str()), ("user", other.as_str())], [("csrf", csrf.1.as_str()), ("user", own.as_str())]);
        tokio::join!(first.post_bare("/admin/people/disable", &fields.0), second.post_bare("/admin/people/disable", &fields.1));
        let active = users::Entity::find().filter(users::Column::Status.eq("active")).all(&app.state.db).await.unwrap();
        assert_eq!(active.len(), 1);
        let (stays, gone, gone_id, gone_email) = if active[0].email == EMAIL { (&first, &second, &other, "otra@dunet.do") } else { (&second, &first, &own, EMAIL) };
        assert_eq!(gone.get("/admin").await.location(), "/admin/entrar");
        assert_eq!(gone.sign_in(gone_email, PASSWORD).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        // In again; their sessions end by hand.
        assert_eq!(act(stays, "enable", gone_id).await.status, StatusCode::SEE_OTHER);
        assert_eq!(gone.sign_in(gone_email, PASSWORD).await.status, StatusCode::SEE_OTHER);
        assert_eq!(act(stays, "sign-out", gone_id).await.status, StatusCode::SEE_OTHER);
        assert_eq!(gone.get("/admin").await.location(), "/admin/entrar");
        assert_eq!(act(stays, "link", &uuid::Uuid::now_v7().to_string()).await.status, StatusCode::NOT_FOUND);

        // An invited operator; the list finds and filters.
        let page = stays.post("/admin/people", "/admin/people/invite", &[("email", "tercera@dunet.do")]).await;
        let shown = stays.get(page.location()).await;
        let link = shown.text.split("id=\"link\" readonly value=\"").nth(1).expect("a link").split('"').next().unwrap().to_owned();
        let path = link.strip_prefix(&app.base).unwrap();
        let third = Browser::new(&app);
        assert_eq!(third.post(path, path, &[("name", "Tercera"), ("password", PASSWORD)]).await.status, StatusCode::SEE_OTHER);
        assert_eq!(third.get("/admin/people").await.status, StatusCode::OK);
        let tenant = app.tenant("Ferretería").await;
        app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let listed = async |query: &str| stays.get(&format!("/admin/people?{query}")).await.text.matches("<th scope=\"row\">").count();
        assert_eq!([listed("").await, listed("role=operator").await, listed("role=member").await, listed("q=TERCERA").await, listed("q=%25").await], [4, 3, 1, 1, 0]);
    })
    .await;
}

#[tokio::test]
async fn one_ends_all_other_sessions() {
    TestApp::everywhere(|app| async move {
        let (browser, second, third) = (app.operator().await, app.signed_in(EMAIL).await, app.signed_in(EMAIL).await);
        let page = browser.post("/admin/profile", "/admin/profile/sessions/others", &[]).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        assert_eq!(browser.get("/admin").await.status, StatusCode::OK);
        for other in [second, third] {
            assert_eq!(other.get("/admin").await.location(), "/admin/entrar");
        }
        assert!(!browser.get("/admin/profile").await.text.contains("sessions/others"), "nothing is left to end");
    })
    .await;
}
