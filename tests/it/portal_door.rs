//! The portal's door, every route of the register at once: who may, CSRF, other tenants' ids, headers, names, forms sent twice.

use dunet::admin::{RouteFacts, Who, routes};
use dunet::db::entities::logs;
use dunet::domain::users::Level;
use dunet::ids::TenantId;
use dunet::metrics::path_label;
use http::{Method, StatusCode, header};
use sea_orm::EntityTrait;

use crate::support::TestApp;
use crate::support::portal::{Browser, Page};

/// Fields of a form, or headers.
type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A route's path with its parameters filled in.
fn filled(route: &RouteFacts, tenant: TenantId) -> String {
    let segments = route.path.split('/').map(|segment| match segment {
        "{id}" => tenant.to_string(),
        parameter if parameter.starts_with('{') => TenantId::new().to_string(),
        plain => plain.to_owned(),
    });
    segments.collect::<Vec<_>>().join("/")
}

fn acts(route: &RouteFacts) -> bool {
    route.methods.contains(&Method::POST)
}

fn shows(route: &RouteFacts) -> bool {
    route.methods.contains(&Method::GET)
}

fn is_error_page(page: &Page) -> bool {
    page.text.contains("class=\"error-page\"") && page.text.contains("id=\"rid\"")
}

#[tokio::test]
async fn strangers_are_sent_to_the_door() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let browser = Browser::new(&app);
        let csrf = browser.get("/admin/entrar").await.hidden("csrf");
        for route in routes().iter().filter(|route| route.who != Who::Anyone) {
            let path = filled(route, tenant.id);
            if shows(route) {
                let page = browser.get(&path).await;
                assert_eq!(page.status, StatusCode::SEE_OTHER, "{path}");
                assert!(page.location().starts_with("/admin/entrar"), "{path}: {}", page.location());
            }
            if acts(route) {
                let page = browser.post_bare(&path, &[("csrf", &csrf)]).await;
                assert!(page.status == StatusCode::UNAUTHORIZED && is_error_page(&page), "{path}: {} {}", page.status, page.text);
            }
        }
        assert!(routes().len() >= 10);
    })
    .await;
}

#[tokio::test]
async fn what_acts_wants_a_form_of_ours() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let (operator, anonymous) = (app.operator().await, Browser::new(&app));
        let other = app.operator_named("otra@dunet.do").await;
        let (own, foreign) = (operator.get("/admin/profile").await.hidden("csrf"), other.get("/admin/profile").await.hidden("csrf"));
        let visitor = anonymous.get("/admin/entrar").await.hidden("csrf");
        let before = logs::Entity::find().all(&app.state.db).await.unwrap().len();
        for route in routes().iter().filter(|route| acts(route)) {
            let path = filled(route, tenant.id);
            let tries: [(&Browser, Pairs<'_>, Pairs<'_>); 9] = [
                (&operator, &[], &[]),
                (&operator, &[("csrf", "")], &[]),
                (&operator, &[("csrf", &own[1..])], &[]),
                (&operator, &[("csrf", &foreign)], &[]),
                (&operator, &[("csrf", &visitor)], &[]),
                (&operator, &[("csrf", &own)], &[("origin", "https://evil.com")]),
                (&operator, &[("csrf", &own)], &[("origin", "null")]),
                (&operator, &[("csrf", &own)], &[("sec-fetch-site", "cross-site")]),
                (&anonymous, &[], &[]),
            ];
            for (browser, fields, headers) in tries {
                let page = browser.post_with(&path, fields, headers).await;
                assert!(page.status == StatusCode::FORBIDDEN && is_error_page(&page), "{path} {fields:?} {headers:?}: {}", page.status);
            }
        }
        assert_eq!(logs::Entity::find().all(&app.state.db).await.unwrap().len(), before, "nothing was done");
        // From a page of ours, with the header that script uses: it is let in (and told what is missing).
        let origin = app.base.clone();
        let page = operator.post_with("/admin/profile", &[], &[("origin", &origin), ("sec-fetch-site", "same-origin"), ("x-csrf-token", &own)]).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST);
    })
    .await;
}

#[tokio::test]
async fn another_tenants_id_is_nobodys() {
    TestApp::everywhere(|app| async move {
        let (mine, theirs) = (app.tenant("Ferretería").await, app.tenant("Clínica").await);
        let member = app.member(mine.id, "marta@ferre.do", Level::Owner).await;
        let operator = app.operator().await;
        let csrf = member.get("/admin/profile").await.hidden("csrf");
        let operators_csrf = operator.get("/admin/profile").await.hidden("csrf");
        let unknown = TenantId::new();
        for route in routes() {
            let path = filled(route, theirs.id);
            match route.who {
                Who::Tenant | Who::TenantOwner => {
                    let fields = [("csrf", csrf.as_str())];
                    if shows(route) {
                        let (other, none) = (member.get(&path).await, member.get(&filled(route, unknown)).await);
                        assert_eq!((other.status, none.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND), "{path}");
                        assert!(!other.text.contains("Clínica"), "{path}");
                        assert_eq!(member.get(&filled(route, mine.id)).await.status, StatusCode::OK, "{path}");
                        assert_eq!(operator.get(&path).await.status, StatusCode::OK, "{path}");
                        assert_eq!(operator.get(&filled(route, unknown)).await.status, StatusCode::NOT_FOUND, "{path}");
                        assert_eq!(operator.get(&path.replace(&theirs.id.to_string(), "no-es-id")).await.status, StatusCode::NOT_FOUND, "{path}");
                    }
                    if acts(route) {
                        assert_eq!(member.post_bare(&path, &fields).await.status, StatusCode::NOT_FOUND, "{path}");
                    }
                }
                Who::Operator => {
                    if shows(route) {
                        assert_eq!(member.get(&path).await.status, StatusCode::FORBIDDEN, "{path}");
                        assert_eq!(operator.get(&path).await.status, StatusCode::OK, "{path}");
                    }
                    if acts(route) {
                        assert_eq!(member.post_bare(&path, &[("csrf", &csrf)]).await.status, StatusCode::FORBIDDEN, "{path}");
                    }
                }
                Who::Anyone | Who::SignedIn => {
                    if shows(route) && !route.path.contains('{') {
                        let page = operator.get(&path).await;
                        // Where programs ask, and here none does.
                        let asked = path == "/admin/autorizar" && page.status == StatusCode::BAD_REQUEST;
                        assert!(page.status == StatusCode::OK || page.status == StatusCode::SEE_OTHER || asked, "{path}: {}", page.status);
                    }
                }
            }
            // A form with fields nobody expects is refused everywhere: nobody makes himself an operator by writing so.
            if acts(route) && !matches!(route.path, "/admin/salir" | "/admin/entrar") && !route.path.contains("{link}") {
                let page = operator.post_bare(&path, &[("csrf", &operators_csrf), ("role", "operator"), ("is_admin", "1")]).await;
                assert_eq!(page.status, StatusCode::BAD_REQUEST, "{path}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn every_page_carries_its_policy() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let operator = app.operator().await;
        for route in routes().iter().filter(|route| shows(route)) {
            let page = operator.get(&filled(route, tenant.id)).await;
            let header = |name: &str| page.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
            let policy = header("content-security-policy");
            assert!(
                policy.starts_with("default-src 'none'; script-src 'self'") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
                "{}: {policy}",
                route.path
            );
            assert_eq!(
                [header("x-frame-options"), header("cache-control"), header("x-content-type-options"), header("referrer-policy")],
                ["DENY", "no-store", "nosniff", "same-origin"]
            );
            // A program may have opened the way to its consent in a window that it waits for.
            let opener = if route.path.starts_with("/admin/autorizar") { "unsafe-none" } else { "same-origin" };
            assert_eq!(header("cross-origin-opener-policy"), opener);
            assert!(header("permissions-policy").contains("camera=()"));
            for inline in ["<script>", "<style", " style=\"", " onclick", "javascript:"] {
                assert!(!page.text.contains(inline), "{} has {inline}", route.path);
            }
            assert_eq!(path_label(&filled(route, tenant.id)), "/admin", "{}", route.path);
        }
        let page = operator.get("/admin/no/hay").await;
        assert!(page.status == StatusCode::NOT_FOUND && is_error_page(&page), "{}", page.text);
        assert_eq!(page.headers.get("x-request-id").unwrap().to_str().unwrap(), page.text.split("id=\"rid\">").nth(1).unwrap().split('<').next().unwrap());
    })
    .await;
}

#[tokio::test]
async fn cookies_are_locked_and_other_names_are_not_served() {
    TestApp::everywhere(|app| async move {
        let page = Browser::new(&app).get("/admin/entrar").await;
        for set in page.set_cookies() {
            assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax") && set.contains("Path=/"), "{set}");
        }
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        for path in ["/admin", "/admin/entrar", "/admin/clients"] {
            let response = http.get(format!("{}{path}", app.base)).header(header::HOST, "rebound.example").send().await.unwrap();
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
            assert!(response.headers().get(header::SET_COOKIE).is_none() && !response.text().await.unwrap().contains("<html"), "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_form_sent_twice_acts_once() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let operator = app.operator().await;
        let path = format!("/admin/clients/{}/members", tenant.id);
        let page = operator.get(&path).await;
        let (csrf, key) = (page.hidden("csrf"), page.hidden("form_key"));
        let fields = [("csrf", csrf.as_str()), ("form_key", key.as_str()), ("email", "luis@ferre.do"), ("level", "viewer")];
        let made = async || logs::Entity::find().all(&app.state.db).await.unwrap().iter().filter(|row| row.action == "link.make").count();
        let before = made().await;
        let (first, second) = tokio::join!(operator.post_bare(&path, &fields), operator.post_bare(&path, &fields));
        assert_eq!((first.status, second.status), (StatusCode::SEE_OTHER, StatusCode::SEE_OTHER));
        assert_eq!(first.location(), second.location());
        assert_eq!(operator.post_bare(&path, &fields).await.location(), first.location(), "and once more later");
        assert_eq!(made().await, before + 1);
        // Another text in the same form is another act; one that was refused may be sent again.
        let other = [("csrf", csrf.as_str()), ("form_key", key.as_str()), ("email", "no es correo"), ("level", "viewer")];
        for _ in 0..2 {
            assert_eq!(operator.post_bare(&path, &other).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        }
        let other = [("csrf", csrf.as_str()), ("form_key", key.as_str()), ("email", "ana@ferre.do"), ("level", "viewer")];
        assert_ne!(operator.post_bare(&path, &other).await.location(), first.location());
        assert_eq!(made().await, before + 2);
    })
    .await;
}

#[tokio::test]
async fn a_stale_page_does_not_save_over_a_newer_one() {
    TestApp::everywhere(|app| async move {
        let operator = app.operator().await;
        let page = operator.get("/admin/profile").await;
        let (csrf, version) = (page.hidden("csrf"), page.hidden("version"));
        let fields = |name: &'static str| [("csrf", csrf.clone()), ("version", version.clone()), ("name", name.to_owned()), ("language", "es".to_owned())];
        let send = async |name: &'static str| {
            let fields = fields(name);
            let pairs: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            operator.post_bare("/admin/profile", &pairs).await
        };
        assert_eq!(send("Olga Uno").await.status, StatusCode::SEE_OTHER);
        let page = send("Olga Dos").await;
        assert!(page.status == StatusCode::CONFLICT && is_error_page(&page), "{}", page.text);
        assert!(operator.get("/admin/profile").await.text.contains("Olga Uno"));
    })
    .await;
}

#[tokio::test]
async fn large_forms_and_wrong_methods_are_told_so() {
    TestApp::everywhere_with(&["--form-bytes-max", "4000"], |app| async move {
        let operator = app.operator().await;
        let page = operator.post("/admin/profile", "/admin/profile", &[("name", &"x".repeat(5_000))]).await;
        assert!(page.status == StatusCode::PAYLOAD_TOO_LARGE && is_error_page(&page), "{}", page.text);
        let page = operator.get("/admin/salir").await;
        assert!(page.status == StatusCode::METHOD_NOT_ALLOWED && is_error_page(&page), "{} {}", page.status, page.text);
    })
    .await;
}

#[tokio::test]
async fn the_list_of_clients_pages_and_searches() {
    TestApp::everywhere(|app| async move {
        use dunet::domain::tenants::NewTenant;
        for number in 0..120 {
            let new =
                NewTenant { name: format!("Cliente {number:03} 100%"), rnc: (number == 7).then(|| "131246796".to_owned()), plan: "pro".to_owned(), odoo: None, tools: Vec::new() };
            app.state.tenants.tenant_add(new, &crate::support::actor()).await.unwrap();
        }
        let operator = app.operator().await;
        let mut seen = Vec::new();
        let mut path = "/admin/clients".to_owned();
        for _ in 0..3 {
            let page = operator.get(&path).await;
            seen.extend(page.text.split("class=\"row-link\"").skip(1).map(|rest| rest.split('>').nth(1).unwrap().split('<').next().unwrap().to_owned()));
            path =
                page.text.split("rel=\"next\" href=\"").nth(1).map(|rest| format!("/admin/clients{}", rest.split('"').next().unwrap().replace("&amp;", "&"))).unwrap_or_default();
        }
        assert_eq!(seen, (0..120).map(|number| format!("Cliente {number:03} 100%")).collect::<Vec<_>>());
        assert_eq!(path, "", "the end");
        let found = async |q: &str| operator.get(&format!("/admin/clients?q={q}")).await.text.matches("class=\"row-link\"").count();
        assert_eq!([found("cliente+007").await, found("131-24").await, found("100%25").await, found("%25").await, found("_").await, found("nadie").await], [1, 1, 50, 0, 0, 0]);
        assert!(operator.get("/admin/clients?q=%3Cb%3Enadie").await.text.contains("&lt;b&gt;nadie"));
    })
    .await;
}

#[tokio::test]
async fn files_are_served_for_ever_under_their_hash() {
    TestApp::everywhere(|app| async move {
        let browser = Browser::new(&app);
        let page = browser.get("/admin/entrar").await;
        let css = page.text.split("href=\"").find(|rest| rest.starts_with("/assets/app.")).unwrap().split('"').next().unwrap().to_owned();
        let file = browser.get(&css).await;
        let header = |name: &str| file.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!((file.status, header("content-type"), header("cache-control")), (StatusCode::OK, "text/css; charset=utf-8", "public, max-age=31536000, immutable"));
        for none in ["/assets/app.000000000000.css", "/assets/..%2f..%2fCargo.toml", "/assets/../Cargo.toml", "/assets/vendor/lucide/LICENSE", "/assets/"] {
            assert_eq!(browser.get(none).await.status, StatusCode::NOT_FOUND, "{none}");
        }
    })
    .await;
}
