//! A company registers itself: the padrón's name, the letter, the approval, and what strangers try.

use std::sync::Arc;

use chrono::Duration;
use dunet::db::entities::{clients, users};
use dunet::domain::settings::Key;
use dunet::domain::users::Level;
use http::StatusCode;
use sea_orm::{EntityTrait, PaginatorTrait};

use crate::support::portal::{Browser, PASSWORD, Page};
use crate::support::smtp::Sink;
use crate::support::{TestApp, actor};

const PATH: &str = "/admin/registro";
const DONE: &str = "/admin/registro/recibido";
const EMAIL: &str = "ana@ferre.do";

async fn policy(app: &TestApp, policy: &str) {
    let seen = app.state.settings.get().edited_at;
    app.state.settings.edit(&[(Key::SignUp, policy.to_owned())], seen, &actor()).await.unwrap();
}

async fn register(browser: &Browser, company: &str, email: &str, password: &str) -> Page {
    browser.post(PATH, PATH, &[("rnc", ""), ("company", company), ("name", "Ana"), ("email", email), ("password", password), ("act", "send")]).await
}

async fn counts(app: &TestApp) -> (u64, u64) {
    (clients::Entity::find().count(&app.state.db).await.unwrap(), users::Entity::find().count(&app.state.db).await.unwrap())
}

#[tokio::test]
async fn a_closed_door_stays_closed() {
    TestApp::everywhere(|app| async move {
        let browser = Browser::new(&app);
        let page = browser.get(PATH).await;
        assert!(page.status == StatusCode::OK && page.text.contains("no recibe registros") && !page.text.contains("<form"), "{}", page.text);
        assert!(!browser.get("/admin/entrar").await.text.contains(PATH));
        let csrf = browser.get("/admin/entrar").await.hidden("csrf");
        let fields = [("csrf", csrf.as_str()), ("company", "X"), ("name", "Ana"), ("email", EMAIL), ("password", PASSWORD)];
        assert_eq!(browser.post_bare(PATH, &fields).await.status, StatusCode::FORBIDDEN);
        assert_eq!(counts(&app).await, (0, 0));
    })
    .await;
}

#[tokio::test]
async fn without_letters_an_operator_approves() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        app.padron(200).await;
        // Open, but nobody's address can be confirmed: somebody looks.
        policy(&app, "open").await;
        let operator = app.operator().await;
        let browser = Browser::new(&app);
        assert!(browser.get("/admin/entrar").await.text.contains("Registrar mi empresa"));
        // What is wrong comes back beside its field, with what was typed.
        let page = browser.post(PATH, PATH, &[("rnc", "123"), ("company", "Ferretería"), ("name", "Ana"), ("email", EMAIL), ("password", PASSWORD)]).await;
        assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("id=\"rnc-error\"") && page.text.contains("value=\"Ferretería\""), "{}", page.text);
        assert!(register(&browser, "Ferretería", EMAIL, "corta").await.text.contains("12 caracteres o más"));
        assert!(register(&browser, " ", EMAIL, PASSWORD).await.text.contains("nombre de la empresa"));
        let page = browser.post(PATH, PATH, &[("rnc", "131246796"), ("act", "look"), ("email", EMAIL)]).await;
        assert!(page.status == StatusCode::OK && page.text.contains("id=\"rnc-found\"") && page.text.contains(&format!("value=\"{EMAIL}\"")), "{}", page.text);
        assert_eq!(counts(&app).await, (0, 1));

        let page = register(&browser, "Ferretería <b>", EMAIL, PASSWORD).await;
        assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, DONE), "{}", page.text);
        assert!(browser.get(DONE).await.text.contains("Lo revisa quien opera"));
        assert_eq!(browser.sign_in(EMAIL, PASSWORD).await.status, StatusCode::UNPROCESSABLE_ENTITY, "not yet");
        let page = operator.get("/admin/sign-ups").await;
        assert!(page.text.contains("Ferretería &lt;b&gt;") && page.text.contains("Correo sin confirmar"), "{}", page.text);
        // Two that give one number are told apart by a person.
        let stranger = Browser::new(&app);
        for (company, email) in [("Una", "una@ferre.do"), ("La misma", "misma@ferre.do")] {
            let fields = [("rnc", "131246796"), ("company", company), ("name", "Ana"), ("email", email), ("password", PASSWORD), ("act", "send")];
            assert_eq!(stranger.post(PATH, PATH, &fields).await.location(), DONE);
        }
        let both = operator.get("/admin/sign-ups").await.text;
        assert_eq!((both.matches("RNC 131-24679-6").count(), both.matches("Otra solicitud que espera tiene este RNC").count()), (2, 2), "{both}");
        for email in ["una@ferre.do", "misma@ferre.do"] {
            let one = both.split("<tr>").find(|row| row.contains(email)).and_then(|row| row.split("name=\"tenant\" value=\"").nth(1)?.split('"').next()).expect("it waits");
            assert_eq!(operator.post("/admin/sign-ups", "/admin/sign-ups/refuse", &[("tenant", one)]).await.status, StatusCode::SEE_OTHER);
        }
        let tenant = page.hidden("tenant");
        let page = operator.post("/admin/sign-ups", "/admin/sign-ups/approve", &[("tenant", &tenant)]).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        assert!(operator.get("/admin/sign-ups").await.text.contains("No hay solicitudes en espera"));
        assert_eq!(operator.post("/admin/sign-ups", "/admin/sign-ups/approve", &[("tenant", &tenant)]).await.status, StatusCode::NOT_FOUND, "once");
        assert_eq!(browser.sign_in(EMAIL, PASSWORD).await.status, StatusCode::SEE_OTHER);
        assert_eq!(browser.get("/admin").await.location(), format!("/admin/clients/{tenant}"));
        let access = browser.get(&format!("/admin/clients/{tenant}/members")).await;
        assert!(access.status == StatusCode::OK && access.text.contains("Crear el enlace"), "its owner");

        // Refused: nothing of it is left.
        register(&browser, "Otra", "otra@ferre.do", PASSWORD).await;
        let before = counts(&app).await;
        let tenant = operator.get("/admin/sign-ups").await.hidden("tenant");
        operator.post("/admin/sign-ups", "/admin/sign-ups/refuse", &[("tenant", &tenant)]).await;
        assert_eq!(counts(&app).await, (before.0 - 1, before.1 - 1));
        // A client that is served already cannot be refused away.
        let served = app.tenant("Clínica").await.id.to_string();
        assert_eq!(operator.post("/admin/sign-ups", "/admin/sign-ups/refuse", &[("tenant", &served)]).await.status, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn with_letters_the_address_is_confirmed_first() {
    let sink = Sink::start().await;
    TestApp::everywhere_with(&sink.settings(), |app: Arc<TestApp>| {
        let sink = Arc::clone(&sink);
        async move {
            policy(&app, "approval").await;
            let operator = app.operator().await;
            let browser = Browser::new(&app);
            register(&browser, "Ferretería", EMAIL, PASSWORD).await;
            assert!(browser.get(DONE).await.text.contains("Le escribimos a su correo"));
            let letter = sink.letter().await;
            assert!(letter.to == EMAIL && letter.body.contains("Ferretería"), "{letter:?}");
            let link = letter.link();
            // Whoever holds the link must know the password too.
            let page = browser.post(&link, &link, &[("password", "otra frase cualquiera")]).await;
            assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("No es la contraseña con la que se registró"), "{}", page.text);
            let page = browser.post(&link, &link, &[("password", PASSWORD)]).await;
            assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/admin/entrar"));
            assert!(browser.get("/admin/entrar").await.text.contains("Su correo está confirmado"));
            assert_eq!(browser.sign_in(EMAIL, PASSWORD).await.status, StatusCode::UNPROCESSABLE_ENTITY, "not approved");
            let page = operator.get("/admin/sign-ups").await;
            assert!(page.text.contains("Correo confirmado"), "{}", page.text);
            operator.post("/admin/sign-ups", "/admin/sign-ups/approve", &[("tenant", &page.hidden("tenant"))]).await;
            let letter = sink.letter().await;
            assert!(letter.to == EMAIL && letter.link() == "/admin/entrar", "{letter:?}");
            assert_eq!(browser.sign_in(EMAIL, PASSWORD).await.status, StatusCode::SEE_OTHER);

            // Open: the letter lets them in.
            policy(&app, "open").await;
            let second = Browser::new(&app);
            register(&second, "Clínica", "luis@clinica.do", PASSWORD).await;
            let link = sink.letter().await.link();
            let page = second.post(&link, &link, &[("password", PASSWORD)]).await;
            assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/admin"), "{}", page.text);
            let home = second.get("/admin").await.location().to_owned();
            assert!(second.get(&home).await.text.contains("Clínica"));
        }
    })
    .await;
}

#[tokio::test]
async fn a_known_address_cannot_be_told_and_changes_nothing() {
    let sink = Sink::start().await;
    TestApp::everywhere_with(&sink.settings(), |app: Arc<TestApp>| {
        let sink = Arc::clone(&sink);
        async move {
            policy(&app, "open").await;
            let tenant = app.tenant("Ferretería").await;
            let member = app.member(tenant.id, EMAIL, Level::Owner).await;
            let browser = Browser::new(&app);
            let before = counts(&app).await;
            let known = register(&browser, "Mía", "ANA@ferre.do", "otra frase cualquiera").await;
            assert!(sink.letter().await.body.contains("ya tiene una cuenta"));
            assert_eq!(counts(&app).await, before);
            assert_eq!(member.get("/admin/profile").await.status, StatusCode::OK);
            let fresh = register(&browser, "Mía", "nueva@ferre.do", "otra frase cualquiera").await;
            assert_eq!((known.status, known.location()), (fresh.status, fresh.location()));

            // Somebody prepares an account for another's address; the owner of the address signs up anew, and the first password opens nothing.
            let prepared = sink.letter().await.link();
            register(&browser, "Suya", "nueva@ferre.do", PASSWORD).await;
            let own = sink.letter().await.link();
            assert_eq!(browser.get(&prepared).await.status, StatusCode::NOT_FOUND);
            assert_eq!(browser.post(&own, &own, &[("password", "otra frase cualquiera")]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
            assert_eq!(browser.post(&own, &own, &[("password", PASSWORD)]).await.status, StatusCode::SEE_OTHER);
            let names: Vec<String> = clients::Entity::find().all(&app.state.db).await.unwrap().into_iter().map(|row| row.name).collect();
            assert!(names.contains(&"Suya".to_owned()) && !names.contains(&"Mía".to_owned()), "{names:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn those_that_wait_are_so_many_and_not_for_ever() {
    TestApp::everywhere_with(&["--sign-ins-per-minute", "1000"], |app: Arc<TestApp>| async move {
        policy(&app, "approval").await;
        let browser = Browser::new(&app);
        let csrf = browser.get(PATH).await.hidden("csrf");
        let send = async |n: usize| {
            let email = format!("persona{n}@ferre.do");
            browser.post_bare(PATH, &[("csrf", &csrf), ("company", "X"), ("name", "Ana"), ("email", &email), ("password", PASSWORD)]).await
        };
        for n in 0..100 {
            assert_eq!(send(n).await.status, StatusCode::SEE_OTHER, "{n}");
        }
        let page = send(100).await;
        assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("muchas solicitudes en espera"), "{}", page.text);
        assert_eq!(send(5).await.status, StatusCode::UNPROCESSABLE_ENTITY, "for everybody, known or not");
        app.state.users.sign_up_prune(30).await.unwrap();
        assert_eq!(counts(&app).await, (100, 100));
        app.clock.advance(Duration::days(31));
        app.state.users.sign_up_prune(30).await.unwrap();
        assert_eq!(counts(&app).await, (0, 0));
    })
    .await;
}

#[tokio::test]
async fn one_address_registers_so_often() {
    TestApp::everywhere_with(&["--sign-ins-per-minute", "2"], |app| async move {
        policy(&app, "approval").await;
        let browser = Browser::new(&app);
        let csrf = browser.get(PATH).await.hidden("csrf");
        for path in [PATH, "/admin/olvido", "/admin/entrar/codigo"] {
            browser.post_bare(path, &[("csrf", &csrf), ("email", "x@y.do")]).await;
        }
        assert_eq!(browser.post_bare(PATH, &[("csrf", &csrf)]).await.status, StatusCode::TOO_MANY_REQUESTS, "all doors together");
    })
    .await;
}

#[tokio::test]
async fn the_plan_is_the_operators_choice_and_the_tools_fit_it() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        policy(&app, "approval").await;
        let browser = Browser::new(&app);
        for (n, plan) in ["gratis", "pro"].into_iter().enumerate() {
            let seen = app.state.settings.get().edited_at;
            app.state.settings.edit(&[(Key::SignUpPlan, plan.to_owned())], seen, &actor()).await.unwrap();
            let page = register(&browser, &format!("Empresa {plan}"), &format!("persona{n}@ferre.do"), PASSWORD).await;
            assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, DONE), "{}", page.text);
        }
        let tenants = app.state.tenants.tenant_list().await.unwrap();
        let has = |name: &str, tool: &str| tenants.iter().find(|tenant| tenant.name == name).expect("registered").permit(tool).is_some();
        let plans: Vec<&str> = tenants.iter().map(|tenant| tenant.plan.code.as_str()).collect();
        assert_eq!(plans, ["gratis", "pro"]);
        assert!(has("Empresa gratis", "consultar_rnc_dgii") && !has("Empresa gratis", "crear_cotizacion"));
        assert!(has("Empresa pro", "consultar_rnc_dgii") && has("Empresa pro", "crear_cotizacion"));
    })
    .await;
}
