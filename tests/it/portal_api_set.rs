//! The operators' API as a whole: every page has its operation, nobody acts without a key, ids of nobody are nobody's, what acts is audited.

use std::collections::BTreeSet;

use dunet::admin::{document, routes};
use dunet::db::entities::logs;
use dunet::domain::settings::Key;
use dunet::domain::users::Level;
use dunet::ids::TenantId;
use http::{Method, StatusCode, header};
use sea_orm::EntityTrait;
use serde_json::{Value, json};

use crate::support::api::{MONTH, Program, filled, query, send, templates};
use crate::support::oauth;
use crate::support::portal::PASSWORD;
use crate::support::{TestApp, actor};

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
const TABLE: &str = include_str!("../../docs/api.md");

/// `METHOD path` of every operation.
fn operations() -> BTreeSet<String> {
    let of = |method: &Method| {
        let verb = method.to_string();
        templates(Box::leak(verb.to_lowercase().into_boxed_str())).map(move |path| format!("{verb} {path}")).collect::<Vec<_>>()
    };
    METHODS.iter().flat_map(of).collect()
}

/// What stands between backticks and begins with a method.
fn named(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).filter(|code| METHODS.iter().any(|method| code.starts_with(&format!("{method} /")))).map(str::to_owned).collect()
}

#[test]
fn every_page_has_its_operation_or_a_reason() {
    let rows: Vec<(&str, &str)> = TABLE.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once(" | ")).collect();
    let pages: BTreeSet<String> = rows.iter().flat_map(|(pages, _)| named(&format!("`{pages}"))).collect();
    let there: BTreeSet<String> = routes().iter().flat_map(|route| route.methods.iter().map(|method| format!("{method} {}", route.path))).collect();
    assert_eq!(pages, there, "docs/api.md and the register of pages");
    let offered = operations();
    let named: BTreeSet<String> = rows.iter().flat_map(|(_, api)| named(api)).collect();
    assert_eq!(named, offered, "docs/api.md and the register of the API");
    for (page, api) in rows {
        assert!(api.contains('`') || api.starts_with("none: "), "{page}: {api}");
    }
}

#[tokio::test]
async fn nobody_acts_without_a_key_and_ids_of_nobody_are_nobodys() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let program = Program::new(&app, "prueba").await;
        let before = logs::Entity::find().all(&app.state.db).await.unwrap().len();
        for method in METHODS {
            for template in templates(Box::leak(method.to_string().to_lowercase().into_boxed_str())) {
                let path = filled(template, tenant.id);
                let body = (method != Method::GET).then_some("{}");
                let refused = send(&app, &method, &path, &[], body).await;
                assert!(refused.failed(StatusCode::UNAUTHORIZED), "{method} {path}: {refused:?}");
                // A file in the document, and a fault in every operation of it.
                assert!(document()["paths"][template][method.to_string().to_lowercase()]["responses"]["default"].is_object(), "{method} {template}");
                if method == Method::GET && template.contains('{') {
                    for id in [TenantId::new().to_string(), "no-es-id".to_owned(), "%00".to_owned()] {
                        let path = filled(template, tenant.id).replace(&tenant.id.to_string(), &id).replace(MONTH, "209913");
                        let answer = program.get(&format!("{path}{}", query(&path))).await;
                        assert!(answer.failed(StatusCode::NOT_FOUND) || (template.ends_with("/totals") && answer.json["closed"] == 0), "{path}: {answer:?}");
                    }
                }
            }
        }
        assert_eq!(logs::Entity::find().all(&app.state.db).await.unwrap().len(), before, "nothing was done");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_key_is_tried_so_often_from_one_address() {
    TestApp::everywhere_with(&["--failed-auth-per-minute", "3"], |app| async move {
        let program = Program::new(&app, "prueba").await;
        let wrong = [("authorization", "Bearer dunet_op_x")];
        for _ in 0..3 {
            assert!(send(&app, &Method::GET, "/admin/api/plans", &wrong, None).await.failed(StatusCode::UNAUTHORIZED));
        }
        for _ in 0..2 {
            let waits = send(&app, &Method::GET, "/admin/api/plans", &wrong, None).await;
            assert!(waits.failed(StatusCode::TOO_MANY_REQUESTS), "{waits:?}");
            let seconds: u64 = waits.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
            assert!((1..=60).contains(&seconds), "{seconds}");
        }
        // A good key of the same address is let in; nobody's request is told who nobody is.
        assert_eq!(program.get("/admin/api/plans").await.status, StatusCode::OK);
        assert!(send(&app, &Method::GET, "/admin/api/plans", &[], None).await.failed(StatusCode::UNAUTHORIZED));
    })
    .await;
}

/// The audit's actions since so many rows, oldest first.
async fn actions(app: &TestApp, since: usize) -> Vec<String> {
    let mut rows = logs::Entity::find().all(&app.state.db).await.unwrap();
    rows.sort_by_key(|row| row.id);
    for row in &rows[since..] {
        assert!(row.actor.starts_with("dunet_op_"), "{} by {}", row.action, row.actor);
    }
    rows[since..].iter().map(|row| row.action.clone()).collect()
}

/// Each operation that changes something, with a good body: once, and what the audit says then.
#[tokio::test]
async fn what_acts_stands_in_the_audit() {
    TestApp::everywhere_with(&["--padron-rows-min", "3"], |app| async move {
        let tenant = app.tenant("Ferretería").await;
        let (member, other) = (app.member(tenant.id, "marta@ferre.do", Level::Owner).await, app.operator_named("otra@dunet.do").await);
        drop(other);
        oauth::Program::registered(&app).await.connected(&member).await;
        let grant = oauth::grants(&app, tenant.id).await.remove(0);
        let person = async |email: &str| app.state.users.user_by_email(email).await.unwrap().to_string();
        let (marta, otra) = (person("marta@ferre.do").await, person("otra@dunet.do").await);
        app.state.tenants.plan_request(tenant.id, "basic", "más barato", &actor()).await.unwrap();
        let mut waiting = Vec::new();
        for (company, email) in [("Uno", "uno@x.do"), ("Dos", "dos@x.do")] {
            app.state.settings.edit(&[(Key::SignUp, "approval".to_owned())], app.state.settings.get().edited_at, &actor()).await.unwrap();
            let browser = crate::support::portal::Browser::new(&app);
            let fields = [("rnc", ""), ("company", company), ("name", "Ana"), ("email", email), ("password", PASSWORD), ("act", "send")];
            assert_eq!(browser.post("/admin/registro", "/admin/registro", &fields).await.status, StatusCode::SEE_OTHER);
        }
        let program = Program::new(&app, "prueba").await;
        for row in program.get("/admin/api/sign-ups").await.json["rows"].as_array().unwrap() {
            waiting.push(row["client"].as_str().unwrap().to_owned());
        }
        assert_eq!(waiting.len(), 2);
        let own = format!("/admin/api/clients/{}", tenant.id);
        let seen = program.get("/admin/api/settings").await.json["edited_at"].clone();
        let tools = program.get(&format!("{own}/tools")).await.json;
        let mut matrix: Vec<Value> = tools["tools"].as_array().unwrap().iter().map(|tool| json!({ "tool": tool["tool"], "enabled": true, "calls_per_hour": 7 })).collect();
        matrix[0]["enabled"] = json!(false);
        let odoo = program.get(&format!("{own}/odoo")).await.json;
        let connection = json!({ "url": odoo["odoo"]["url"], "database": odoo["odoo"]["database"], "login": "otro", "version": odoo["version"] });
        let hook = "https://hooks.example.do/dunet";
        let terms = json!({ "name": "Oro", "price_usd_cents": 9_900, "calls_per_month": 5 });
        let token = format!("{own}/tokens/{}", tenant.token_id);
        // The client came in November; its month is over, the rate is stated below.
        app.clock.advance(chrono::Duration::days(12));
        let month = format!("{own}/statements/{MONTH}");
        let steps: Vec<(Method, String, Value, &[&str])> = vec![
            (Method::PATCH, "/admin/api/settings".to_owned(), json!({ "edited_at": seen, "usd_rate": "62.5", "maintenance": null }), &["settings.edit"]),
            (Method::POST, "/admin/api/clients".to_owned(), json!({ "name": "Nueva", "plan": "pro" }), &["tenant.add"]),
            (Method::PATCH, own.clone(), json!({ "language": "en" }), &["tenant.edit"]),
            (Method::POST, format!("{own}/suspend"), json!({}), &["tenant.edit"]),
            (Method::POST, format!("{own}/resume"), json!({}), &["tenant.edit"]),
            (Method::PUT, format!("{own}/tools"), json!({ "mark": tools["mark"], "tools": matrix }), &["tool.edit"]),
            (Method::POST, format!("{own}/tokens"), json!({ "name": "Otro" }), &["token.issue"]),
            (Method::POST, format!("{token}/rotate"), json!({ "grace_s": 60 }), &["token.rotate"]),
            (Method::POST, format!("{token}/revoke"), json!({}), &["token.revoke"]),
            (Method::POST, format!("{own}/grants/{grant}/revoke"), json!({}), &["oauth.revoke"]),
            (Method::POST, format!("{own}/members"), json!({ "email": "luis@ferre.do", "level": "viewer" }), &["link.make"]),
            (Method::PATCH, format!("{own}/members/{marta}"), json!({ "level": "viewer" }), &["member.edit"]),
            (Method::DELETE, format!("{own}/members/{marta}"), json!({}), &["member.remove"]),
            (Method::POST, format!("/admin/api/statements/{MONTH}/close"), json!({}), &["statement.close", "statement.close", "statement.close"]),
            (Method::POST, format!("{month}/corrections"), json!({ "part": 1, "amount_usd_cents": -500, "note": "Cortesía" }), &["statement.correct"]),
            (Method::POST, "/admin/api/plans".to_owned(), json!({ "code": "oro", "terms": terms }), &["plan.add"]),
            (Method::PUT, "/admin/api/plans/oro".to_owned(), json!({ "version": 1, "terms": terms }), &["plan.edit"]),
            (Method::POST, "/admin/api/plans/oro/delete".to_owned(), json!({ "confirm": "oro" }), &["plan.delete"]),
            (Method::POST, format!("/admin/api/sign-ups/{}/approve", waiting[0]), json!({}), &["tenant.approve"]),
            (Method::POST, format!("/admin/api/sign-ups/{}/refuse", waiting[1]), json!({}), &["sign_up.refuse"]),
            (Method::POST, format!("/admin/api/plan-requests/{}", tenant.id), json!({ "plan": "basic", "decision": "accept" }), &["tenant.edit", "plan.answer"]),
            (Method::POST, "/admin/api/people".to_owned(), json!({ "email": "nuevo@dunet.do" }), &["link.make"]),
            (Method::POST, format!("/admin/api/people/{otra}/link"), json!({}), &["link.make"]),
            (Method::POST, format!("/admin/api/people/{otra}/sign-out"), json!({}), &["user.sign_out"]),
            (Method::POST, format!("/admin/api/people/{marta}/disable"), json!({}), &["user.status"]),
            (Method::POST, format!("/admin/api/people/{marta}/enable"), json!({}), &["user.status"]),
            (Method::PUT, format!("{own}/alerts"), json!({ "mail": true, "topics": ["odoo"], "webhook_url": hook, "version": 0 }), &["alerts.edit"]),
            (Method::POST, format!("{own}/alerts/secret"), json!({}), &["alerts.secret"]),
            (Method::PUT, "/admin/api/alerts".to_owned(), json!({ "mail": true, "topics": ["padron"], "webhook_url": hook, "version": 0 }), &["alerts.edit"]),
            (Method::POST, "/admin/api/alerts/secret".to_owned(), json!({}), &["alerts.secret"]),
            (Method::PUT, format!("{own}/odoo/key"), json!({ "ends_on": "2027-01-20", "renew": true }), &["odoo.key_end", "odoo.key_renewal"]),
            (Method::POST, format!("{own}/odoo/key/renew"), json!({}), &["odoo.key_renew"]),
            (Method::DELETE, format!("{own}/odoo"), json!({}), &["tenant.edit"]),
            (Method::POST, format!("{own}/delete"), json!({ "confirm": "Ferretería" }), &["tenant.delete"]),
        ];
        let mut seen: BTreeSet<String> = ["POST /admin/api/padron/imports", "POST /admin/api/padron/rollback", "PUT /admin/api/clients/{id}/odoo"].map(str::to_owned).into();
        // Changes nothing, or what the audit of one already says.
        seen.extend(["POST /admin/api/clients/{id}/odoo/test", "POST /admin/api/connector/test", "POST /admin/api/people/{user}/second-factor/reset"].map(str::to_owned));
        seen.insert("POST /admin/api/clients/{id}/statements/{month}/close".to_owned());
        // tests/it/alerts.rs
        seen.extend(["POST /admin/api/alerts/test", "POST /admin/api/clients/{id}/alerts/test"].map(str::to_owned));
        // tests/it/statement_invoices.rs
        seen.extend(["POST /admin/api/clients/{id}/statements/{month}/invoice", "POST /admin/api/clients/{id}/statements/{month}/invoice/check"].map(str::to_owned));
        let before = logs::Entity::find().all(&app.state.db).await.unwrap().len();
        let answer = program.send(Method::PUT, &format!("{own}/odoo"), &connection).await;
        assert_eq!((answer.status, &answer.json["odoo"]["login"]), (StatusCode::OK, &json!("otro")), "{answer:?}");
        assert_eq!(actions(&app, before).await, ["tenant.edit"]);
        for (method, path, body, expected) in steps {
            let before = logs::Entity::find().all(&app.state.db).await.unwrap().len();
            let answer = program.send(method.clone(), &path, &body).await;
            assert!(answer.status.is_success(), "{method} {path}: {answer:?}");
            let now = actions(&app, before).await;
            assert!(now.starts_with(&expected.iter().map(|action| (*action).to_owned()).collect::<Vec<_>>()), "{method} {path}: {now:?}");
            seen.extend(operations().into_iter().filter(|operation| fits(operation, &method, &path)));
        }
        let acting: BTreeSet<String> = operations().into_iter().filter(|operation| !operation.starts_with("GET ")).collect();
        assert_eq!(seen.intersection(&acting).cloned().collect::<BTreeSet<_>>(), acting, "operations that no step of this test tries");
        let verified = program.get("/admin/api/audit/verify").await.json;
        assert_eq!((&verified["whole"], &verified["broken"]), (&json!(true), &json!([])));
    })
    .await;
}

/// Whether an operation of the document is the one that was called.
fn fits(operation: &str, method: &Method, path: &str) -> bool {
    let (verb, template) = operation.split_once(' ').unwrap();
    let (own, other): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    verb == method.as_str() && own.len() == other.len() && own.iter().zip(other).all(|(own, other)| own.starts_with('{') || *own == other)
}
