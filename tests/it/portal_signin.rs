//! Signing in to the portal: fixation, lock-out, enumeration, sessions, one-time links.

use std::sync::Arc;

use chrono::Duration;
use dunet::db::entities::{logs, sessions, users};
use dunet::domain::users::{Level, NewLink};
use http::StatusCode;
use sea_orm::{EntityTrait, PaginatorTrait};
use secrecy::ExposeSecret;

use crate::support::portal::{Browser, PASSWORD};
use crate::support::{TestApp, actor};

const EMAIL: &str = "operador@dunet.do";

async fn audited(app: &TestApp, action: &str) -> usize {
    logs::Entity::find().all(&app.state.db).await.unwrap().iter().filter(|row| row.action == action).count()
}

#[tokio::test]
async fn the_first_operator_comes_by_a_link_that_works_once() {
    TestApp::everywhere(|app| async move {
        let link = app.state.users.first_link().await.unwrap().expect("there is no operator");
        let path = format!("/admin/enlace/{}", link.expose_secret());
        let browser = Browser::new(&app);
        let page = browser.get(&path).await;
        assert!(page.status == StatusCode::OK && page.text.contains("Crear la cuenta del operador"), "{}", page.text);

        // What is wrong comes back beside its field, with what was typed; the link still works.
        let page = browser.post(&path, &path, &[("email", "Ana@Dunet.do"), ("name", "Ana"), ("password", "corta")]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(page.text.contains("12 caracteres o más") && page.text.contains("value=\"Ana@Dunet.do\"") && !page.text.contains("corta"), "{}", page.text);
        let page = browser.post(&path, &path, &[("email", "no es correo"), ("name", "Ana"), ("password", PASSWORD)]).await;
        assert!(page.text.contains("como ana@empresa.do"), "{}", page.text);

        let page = browser.post(&path, &path, &[("email", "Ana@Dunet.do"), ("name", "Ana"), ("password", PASSWORD)]).await;
        assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/admin"), "{}", page.text);
        let page = browser.get("/admin").await;
        assert!(page.status == StatusCode::OK && page.text.contains("Clientes activos"), "{}", page.text);

        let other = Browser::new(&app);
        let page = other.get(&path).await;
        assert!(page.status == StatusCode::NOT_FOUND && page.text.contains("Este enlace ya no sirve"), "{}", page.text);
        assert!(app.state.users.first_link().await.unwrap().is_none(), "there is an operator now");
        assert_eq!((audited(&app, "user.add").await, audited(&app, "link.make").await), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn a_link_used_by_two_at_once_makes_one_account() {
    TestApp::everywhere(|app| async move {
        let link = app.state.users.first_link().await.unwrap().unwrap();
        let path = format!("/admin/enlace/{}", link.expose_secret());
        let (a, b) = (Browser::new(&app), Browser::new(&app));
        // Both have the page before either sends it.
        let (of_a, of_b) = (a.get(&path).await.hidden("csrf"), b.get(&path).await.hidden("csrf"));
        let (first, second) = (
            [("csrf", of_a.as_str()), ("email", "a@dunet.do"), ("name", "Ana"), ("password", PASSWORD)],
            [("csrf", of_b.as_str()), ("email", "b@dunet.do"), ("name", "Ana"), ("password", PASSWORD)],
        );
        let (a, b) = tokio::join!(a.post_bare(&path, &first), b.post_bare(&path, &second));
        let mut statuses = [a.status.as_u16(), b.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [303, 404]);
        assert_eq!(users::Entity::find().count(&app.state.db).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_link_ends_and_a_newer_one_replaces_it() {
    TestApp::everywhere(|app| async move {
        let old = app.state.users.first_link().await.unwrap().unwrap();
        let new = app.state.users.first_link().await.unwrap().unwrap();
        assert!(app.state.users.link_look(old.expose_secret()).await.unwrap().is_none());
        app.clock.advance(Duration::hours(23));
        assert!(app.state.users.link_look(new.expose_secret()).await.unwrap().is_some());
        app.clock.advance(Duration::hours(2));
        assert!(app.state.users.link_look(new.expose_secret()).await.unwrap().is_none());
        for junk in ["", "x", "../../etc/passwd", &"a".repeat(43), &"ñ".repeat(43)] {
            assert!(app.state.users.link_look(junk).await.unwrap().is_none(), "{junk}");
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_secret_is_stored_and_a_session_is_made_anew() {
    TestApp::everywhere(|app| async move {
        let browser = app.operator().await;
        let first = browser.cookie("dunet").expect("signed in");
        // An attacker's cookie, or an old session's, is not taken over.
        for planted in ["A".repeat(43), first.clone()] {
            let other = Browser::new(&app);
            other.put_cookie("dunet", &planted);
            other.get("/admin/salir").await;
            let signed = Browser::new(&app);
            signed.put_cookie("dunet", &planted);
            let own = if planted == first { "/admin/profile" } else { "/admin/entrar" };
            let csrf = signed.get(own).await.hidden("csrf");
            let page = signed.post_bare("/admin/entrar", &[("csrf", &csrf), ("email", EMAIL), ("password", PASSWORD)]).await;
            assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
            assert_ne!(signed.cookie("dunet").unwrap(), planted);
        }
        // The session that was signed in over is gone.
        assert_eq!(browser.get("/admin").await.location(), "/admin/entrar");
        let dump = app.dump().await.join("\n");
        assert!(!dump.contains(&first) && !dump.contains(PASSWORD) && dump.contains("$argon2id$"), "a secret is stored");
    })
    .await;
}

#[tokio::test]
async fn who_has_no_account_cannot_be_told_from_who_has() {
    TestApp::everywhere(|app| async move {
        app.operator().await;
        let browser = Browser::new(&app);
        // The address typed comes back; so does the key of the form. All else is the same.
        let plain = |page: crate::support::portal::Page, email: &str| (page.status, page.text.replace(email, "…"));
        let wrong = plain(browser.sign_in(EMAIL, "otra frase cualquiera").await, EMAIL);
        let unknown = plain(browser.sign_in("nadie@dunet.do", "otra frase cualquiera").await, "nadie@dunet.do");
        assert_eq!(wrong, unknown);
        assert_eq!(wrong.0, StatusCode::UNPROCESSABLE_ENTITY);
        let endless = "x".repeat(5_000);
        assert_eq!(plain(browser.sign_in(EMAIL, &endless).await, EMAIL), wrong);
    })
    .await;
}

#[tokio::test]
async fn an_account_locks_and_opens_again() {
    TestApp::everywhere_with(&["--sign-ins-per-minute", "1000"], |app| async move {
        app.operator().await;
        let browser = Browser::new(&app);
        for _ in 0..9 {
            browser.sign_in(EMAIL, "otra frase cualquiera").await;
        }
        assert_eq!(audited(&app, "user.lock").await, 0, "nine may be mistaken");
        browser.sign_in(EMAIL, "otra frase cualquiera").await;
        assert_eq!(audited(&app, "user.lock").await, 1);
        assert_eq!(browser.sign_in(EMAIL, PASSWORD).await.status, StatusCode::UNPROCESSABLE_ENTITY, "locked, and not told");
        app.clock.advance(Duration::seconds(61));
        assert_eq!(browser.sign_in(EMAIL, "otra frase cualquiera").await.status, StatusCode::UNPROCESSABLE_ENTITY);
        app.clock.advance(Duration::seconds(61));
        assert_eq!(browser.sign_in(EMAIL, PASSWORD).await.status, StatusCode::UNPROCESSABLE_ENTITY, "the second wait is longer");
        app.clock.advance(Duration::seconds(60));
        assert_eq!(browser.sign_in(EMAIL, PASSWORD).await.status, StatusCode::SEE_OTHER);
        let user = users::Entity::find().one(&app.state.db).await.unwrap().unwrap();
        assert_eq!((user.failed_signins, user.locked_until), (0, None));
    })
    .await;
}

#[tokio::test]
async fn many_guesses_at_once_are_no_more_than_one_after_the_other() {
    TestApp::everywhere_with(&["--sign-ins-per-minute", "1000", "--sign-in-failures-max", "3"], |app| async move {
        app.operator().await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let users = app.state.users.clone();
            tasks.spawn(async move { users.sign_in(EMAIL, &"otra frase cualquiera".to_owned().into(), &Default::default()).await.is_ok() });
        }
        while let Some(done) = tasks.join_next().await {
            assert!(!done.unwrap());
        }
        let user = users::Entity::find().one(&app.state.db).await.unwrap().unwrap();
        assert_eq!(user.failed_signins, 3, "the third locks, and the others are not looked at");
    })
    .await;
}

#[tokio::test]
async fn one_address_may_not_try_for_ever() {
    TestApp::everywhere_with(&["--sign-ins-per-minute", "3"], |app| async move {
        let browser = Browser::new(&app);
        let csrf = browser.get("/admin/entrar").await.hidden("csrf");
        let fields = [("csrf", csrf.as_str()), ("email", "x@dunet.do"), ("password", "y")];
        for _ in 0..3 {
            assert_eq!(browser.post_bare("/admin/entrar", &fields).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        }
        let page = browser.post_bare("/admin/entrar", &fields).await;
        assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
        let wait = page.headers.get("retry-after").unwrap().to_str().unwrap();
        assert!(page.text.contains(&format!("Espere {wait} segundos")), "{}", page.text);
        assert_eq!(browser.get("/admin/entrar").await.status, StatusCode::OK, "looking is free");
    })
    .await;
}

#[tokio::test]
async fn sessions_end_by_themselves_and_by_hand() {
    TestApp::everywhere(|app| async move {
        let browser = app.operator().await;
        let second = app.signed_in(EMAIL).await;
        app.clock.advance(Duration::hours(11));
        assert_eq!(browser.get("/admin").await.status, StatusCode::OK);
        app.clock.advance(Duration::hours(11));
        assert_eq!(browser.get("/admin").await.status, StatusCode::OK, "used eleven hours ago");
        assert_eq!(second.get("/admin").await.location(), "/admin/entrar", "unused for twenty-two");
        for _ in 0..15 {
            app.clock.advance(Duration::hours(11));
            browser.get("/admin").await;
        }
        assert_eq!(browser.get("/admin/clients?q=x").await.location(), "/admin/entrar?to=%2Fadmin%2Fclients%3Fq%3Dx", "a week is the longest");
        app.state.users.prune().await.unwrap();
        assert_eq!(sessions::Entity::find().count(&app.state.db).await.unwrap(), 0);

        // Back to where one wanted to go, and out again.
        let csrf = browser.get("/admin/entrar?to=%2Fadmin%2Fclients%3Fq%3Dx").await;
        let page = browser.post_bare("/admin/entrar", &[("csrf", &csrf.hidden("csrf")), ("to", &csrf.hidden("to")), ("email", EMAIL), ("password", PASSWORD)]).await;
        assert_eq!(page.location(), "/admin/clients?q=x");
        let cookie = browser.cookie("dunet").unwrap();
        assert_eq!(browser.post("/admin", "/admin/salir", &[]).await.location(), "/admin/entrar");
        assert!(browser.cookie("dunet").is_none());
        assert!(browser.get("/admin/entrar").await.text.contains("Su sesión terminó"));
        browser.put_cookie("dunet", &cookie);
        assert_eq!(browser.get("/admin").await.location(), "/admin/entrar", "the cookie is worth nothing any more");
    })
    .await;
}

#[tokio::test]
async fn one_ends_a_session_of_ones_own_only() {
    TestApp::everywhere(|app| async move {
        let browser = app.operator().await;
        let second = app.signed_in(EMAIL).await;
        let stranger = app.operator_named("otra@dunet.do").await;
        let page = browser.get("/admin/profile").await;
        // Their browser in a few words, and as it called itself.
        let seen = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
        let windows = Browser::new(&app);
        let csrf = windows.get("/admin/entrar").await.hidden("csrf");
        let fields = [("csrf", csrf.as_str()), ("email", EMAIL), ("password", PASSWORD)];
        assert_eq!(windows.post_with("/admin/entrar", &fields, &[("user-agent", seen)]).await.status, StatusCode::SEE_OTHER);
        let shown = browser.get("/admin/profile").await.text;
        assert!(shown.contains(&format!("<span title=\"{seen}\">Chrome en Windows</span>")), "{shown}");
        windows.post("/admin/profile", "/admin/salir", &[]).await;
        let id = page.hidden("id");
        let refused = stranger.post("/admin/profile", "/admin/profile/sessions", &[("id", &id)]).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND);
        assert_eq!(second.get("/admin").await.status, StatusCode::OK);
        let done = browser.post("/admin/profile", "/admin/profile/sessions", &[("id", &id)]).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
        assert_eq!(second.get("/admin").await.location(), "/admin/entrar");
        assert_eq!(browser.get("/admin").await.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    TestApp::everywhere(|app| async move {
        let (browser, other) = (app.operator().await, app.signed_in(EMAIL).await);
        let new = "otra frase bien larga";
        let page = browser.post("/admin/profile", "/admin/profile/password", &[("current", "no es"), ("password", new)]).await;
        assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("No es su contraseña actual"), "{}", page.text);
        let page = browser.post("/admin/profile", "/admin/profile/password", &[("current", PASSWORD), ("password", new)]).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        assert_eq!(browser.get("/admin").await.status, StatusCode::OK);
        assert_eq!(other.get("/admin").await.location(), "/admin/entrar");
        assert_eq!(other.sign_in(EMAIL, PASSWORD).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(other.sign_in(EMAIL, new).await.status, StatusCode::SEE_OTHER);

        // A link for a new one opens the door, once, and ends all sessions.
        let user = app.state.users.user_by_email(EMAIL).await.unwrap();
        let link = app.state.users.link_make(NewLink::Reset { user }, &actor()).await.unwrap();
        let path = format!("/admin/enlace/{}", link.expose_secret());
        let fresh = Browser::new(&app);
        assert!(fresh.get(&path).await.text.contains(EMAIL));
        assert_eq!(fresh.post(&path, &path, &[("password", PASSWORD)]).await.status, StatusCode::SEE_OTHER);
        assert_eq!(fresh.get("/admin").await.status, StatusCode::OK);
        assert_eq!(other.get("/admin").await.location(), "/admin/entrar");
        assert_eq!(fresh.get(&path).await.status, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn a_member_is_invited_into_one_tenant_and_then_another() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        let (first, second) = (app.tenant("Ferretería").await, app.tenant("Clínica").await);
        let owner = app.member(first.id, "marta@ferre.do", Level::Owner).await;
        let home = format!("/admin/clients/{}", first.id);
        assert_eq!(owner.get("/admin").await.location(), home);

        // An owner invites; the link is shown once.
        let members = format!("{home}/members");
        let page = owner.post(&members, &members, &[("email", "Luis@Ferre.do"), ("level", "viewer")]).await;
        let shown = owner.get(page.location()).await;
        let link = shown.text.split("id=\"link\" readonly value=\"").nth(1).expect("a link").split('"').next().unwrap().to_owned();
        assert!(link.starts_with(&format!("{}/admin/enlace/", app.base)), "{link}");
        assert!(!owner.get(page.location()).await.text.contains("id=\"link\""), "shown again");
        let path = link.strip_prefix(&app.base).unwrap().to_owned();
        let viewer = Browser::new(&app);
        let joined = viewer.post(&path, &path, &[("name", "Luis"), ("password", PASSWORD)]).await;
        assert_eq!(joined.status, StatusCode::SEE_OTHER, "{}", joined.text);
        assert_eq!(viewer.get(&home).await.status, StatusCode::OK);
        // A viewer looks and does not change.
        let csrf = viewer.get("/admin/profile").await.hidden("csrf");
        assert_eq!(viewer.post_bare(&members, &[("csrf", &csrf), ("email", "x@y.do"), ("level", "owner")]).await.status, StatusCode::FORBIDDEN);

        // With an account already: signed in, and only the one who was invited.
        let link = app.state.users.link_make(NewLink::InviteMember { tenant: second.id, email: "marta@ferre.do".to_owned(), level: Level::Viewer }, &actor()).await.unwrap();
        let path = format!("/admin/enlace/{}", link.expose_secret());
        let anonymous = Browser::new(&app);
        let page = anonymous.post("/admin/entrar", "/admin/entrar", &[]).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "a form without its fields");
        assert_eq!(anonymous.post("/admin/entrar", &path, &[("name", "Yo"), ("password", PASSWORD)]).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(viewer.post("/admin/profile", &path, &[]).await.status, StatusCode::NOT_FOUND);
        assert_eq!(owner.post(&path, &path, &[]).await.status, StatusCode::SEE_OTHER);
        let chooser = owner.get("/admin").await;
        assert!(chooser.text.contains("Ferretería") && chooser.text.contains("Clínica"), "{}", chooser.text);

        // The last owner stays.
        let me = app.state.users.user_by_email("marta@ferre.do").await.unwrap().to_string();
        let page = owner.post(&members, &format!("{members}/remove"), &[("user", &me)]).await;
        assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("único dueño"), "{}", page.text);
    })
    .await;
}
