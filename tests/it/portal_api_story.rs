//! What programs do with the operators' API: a client's Odoo, tools, tokens, people, months; the padrón; and what is told of what does not fit.

use dunet::dgii::sample::{SampleOptions, write_zips};
use dunet::domain::users::Level;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::api::{MONTH, Program};
use crate::support::calls::call;
use crate::support::{TestApp, actor, until};

#[tokio::test]
async fn a_program_connects_an_odoo_tries_it_and_takes_it_away() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let program = Program::new(&app, "prueba").await;
        let added = program.send(Method::POST, "/admin/api/clients", &json!({ "name": "Clínica", "plan": "pro" })).await.json;
        let path = format!("/admin/api/clients/{}/odoo", added["id"].as_str().unwrap());
        assert_eq!(program.get(&path).await.json["odoo"], Value::Null);
        let (url, database) = (tenant.odoo_url.as_str(), tenant.sandbox.database());
        let typed = json!({ "url": url, "database": database, "login": tenant.sandbox.login(), "secret": tenant.sandbox.api_key() });
        // Without a secret there is nothing to try; with a wrong one a step fails, and nothing is saved.
        let refused = program.send(Method::POST, &format!("{path}/test"), &json!({ "url": url, "database": database, "login": "x" })).await;
        assert!(refused.failed(StatusCode::UNPROCESSABLE_ENTITY) && refused.fault() == "secret", "{refused:?}");
        let mut wrong = typed.clone();
        wrong["secret"] = json!("no-es-esta");
        let tried = program.send(Method::POST, &format!("{path}/test"), &wrong).await;
        assert_eq!((tried.status, &tried.json["ok"]), (StatusCode::OK, &json!(false)), "{tried:?}");
        assert!(tried.json["steps"].as_array().unwrap().iter().any(|step| step["ok"] == false && step["remedy"].is_string()), "{tried:?}");
        let tried = program.send(Method::POST, &format!("{path}/test"), &typed).await;
        assert_eq!((&tried.json["ok"], &tried.json["gave_up"]), (&json!(true), &json!(false)), "{tried:?}");
        assert_eq!(program.get(&path).await.json["odoo"], Value::Null, "nothing was saved");

        let set = program.send(Method::PUT, &path, &typed).await;
        assert_eq!((set.status, &set.json["odoo"]["database"], &set.json["odoo"]["protocol"]), (StatusCode::OK, &json!(database), &json!("auto")), "{set:?}");
        assert!(set.json["odoo"]["secret_saved_at"].is_string() && !set.json.to_string().contains(tenant.sandbox.api_key()));
        // As saved; the saved secret goes to no other server.
        assert_eq!(program.send(Method::POST, &format!("{path}/test"), &json!({})).await.json["ok"], true);
        let elsewhere = json!({ "url": "https://otra.example", "database": "x", "login": "y" });
        for (method, path) in [(Method::PUT, path.clone()), (Method::POST, format!("{path}/test"))] {
            let refused = program.send(method, &path, &elsewhere).await;
            assert!(refused.failed(StatusCode::UNPROCESSABLE_ENTITY) && refused.fault() == "secret", "{refused:?}");
        }
        let mut stale = typed.clone();
        stale["version"] = json!(1);
        assert!(program.send(Method::PUT, &path, &stale).await.failed(StatusCode::CONFLICT));
        assert!(program.send(Method::DELETE, &format!("{path}?version=1"), &json!({})).await.failed(StatusCode::CONFLICT));
        for _ in 0..2 {
            assert_eq!(program.send(Method::DELETE, &path, &json!({})).await.status, StatusCode::NO_CONTENT);
        }
        assert_eq!(program.get(&path).await.json["odoo"], Value::Null);
        // Its secret is gone with it: the same server again needs it again.
        let mut again = typed.clone();
        again.as_object_mut().unwrap().remove("secret");
        assert_eq!(program.send(Method::PUT, &path, &again).await.fault(), "secret");
    })
    .await;
}

#[tokio::test]
async fn the_matrix_of_tools_is_saved_whole_and_not_over_another_change() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let program = Program::new(&app, "prueba").await;
        let path = format!("/admin/api/clients/{}/tools", tenant.id);
        let shown = program.get(&path).await.json;
        let rows = shown["tools"].as_array().unwrap().clone();
        let as_sent = |change: &dyn Fn(&Value, &mut Value)| -> Value {
            let row = |tool: &Value| {
                let mut new = json!({ "tool": tool["tool"], "enabled": tool["enabled"], "calls_per_hour": tool["calls_per_hour"] });
                if tool["writes"] == true {
                    new["write_policy"] = tool["write_policy"].clone();
                }
                change(tool, &mut new);
                new
            };
            json!({ "mark": shown["mark"], "tools": rows.iter().map(row).collect::<Vec<_>>() })
        };
        let direct = as_sent(&|tool, new| {
            if tool["tool"] == "crear_cliente" {
                (new["write_policy"], new["calls_per_hour"]) = (json!("direct"), json!(5));
            }
            if tool["tool"] == "buscar_productos" {
                new["enabled"] = json!(false);
            }
        });
        let saved = program.send(Method::PUT, &path, &direct).await;
        assert_eq!(saved.status, StatusCode::OK, "{saved:?}");
        let tool = |answer: &Value, name: &str| answer["tools"].as_array().unwrap().iter().find(|tool| tool["tool"] == name).unwrap().clone();
        assert_eq!((&tool(&saved.json, "crear_cliente")["write_policy"], &tool(&saved.json, "crear_cliente")["calls_per_hour"]), (&json!("direct"), &json!(5)));
        assert_eq!(tool(&saved.json, "buscar_productos")["enabled"], false);
        let listed = app.client(&tenant.token).request("tools/list", json!({})).await.json();
        let names: Vec<&str> = listed["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert!(names.contains(&"crear_cliente") && !names.contains(&"buscar_productos"), "at once: {names:?}");
        // The old mark again, and requests that are no whole.
        assert!(program.send(Method::PUT, &path, &direct).await.failed(StatusCode::CONFLICT));
        let mut wrongs = Vec::new();
        for wrong in [
            json!({ "tool": "no_hay" }),
            json!({ "tool": rows[1]["tool"] }),
            json!({ "calls_per_hour": 0 }),
            json!({ "calls_per_hour": 100_001 }),
            json!({ "write_policy": "direct" }),
        ] {
            let mut sent = direct.clone();
            // The first tool only reads.
            assert_eq!(rows[0]["writes"], false);
            sent["tools"][0].as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
            wrongs.push(sent);
        }
        let mut missing = direct.clone();
        missing["tools"].as_array_mut().unwrap().pop();
        wrongs.push(missing);
        for wrong in wrongs {
            let refused = program.send(Method::PUT, &path, &wrong).await;
            assert!(refused.failed(StatusCode::UNPROCESSABLE_ENTITY) && refused.fault() == "tools", "{wrong}: {refused:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_same_key_acts_once() {
    TestApp::everywhere(|app| async move {
        let program = Program::new(&app, "prueba").await;
        let other = Program::new(&app, "otra").await;
        let key = [("idempotency-key", "alta-17")];
        let body = json!({ "name": "Una vez", "plan": "pro" });
        let clients = "/admin/api/clients";
        let (first, second) = tokio::join!(program.send_with(Method::POST, clients, &body, &key), program.send_with(Method::POST, clients, &body, &key));
        assert_eq!((first.status, second.status), (StatusCode::CREATED, StatusCode::CREATED), "{second:?}");
        assert_eq!(first.json, second.json);
        let third = program.send_with(Method::POST, clients, &body, &key).await;
        assert_eq!((third.status, &third.json, third.headers["idempotent-replayed"].to_str().unwrap()), (StatusCode::CREATED, &first.json, "true"));
        assert_eq!(program.get(&format!("{clients}?search=Una%20vez")).await.json["rows"].as_array().unwrap().len(), 1);
        // Another request with it is told so; somebody else's key of the same name is another.
        let refused = program.send_with(Method::POST, clients, &json!({ "name": "Otra", "plan": "pro" }), &key).await;
        assert!(refused.failed(StatusCode::UNPROCESSABLE_ENTITY) && refused.fault() == "idempotency-key", "{refused:?}");
        assert_ne!(other.send_with(Method::POST, clients, &body, &key).await.json["id"], first.json["id"]);
        // What was refused may be sent again, mended.
        let key = [("idempotency-key", "alta-18")];
        assert!(program.send_with(Method::POST, clients, &json!({ "name": " ", "plan": "pro" }), &key).await.failed(StatusCode::UNPROCESSABLE_ENTITY));
        assert_eq!(program.send_with(Method::POST, clients, &json!({ "name": "Mejor", "plan": "pro" }), &key).await.status, StatusCode::CREATED);
        // A secret is shown once, whatever is asked again.
        let tokens = format!("{clients}/{}/tokens", first.json["id"].as_str().unwrap());
        let key = [("idempotency-key", "token-1")];
        let issued = program.send_with(Method::POST, &tokens, &json!({ "name": "Asistente" }), &key).await;
        assert_eq!(issued.status, StatusCode::CREATED);
        assert!(program.send_with(Method::POST, &tokens, &json!({ "name": "Asistente" }), &key).await.failed(StatusCode::CONFLICT));
        assert_eq!(program.get(&tokens).await.json["rows"].as_array().unwrap().len(), 1);
        for bad in ["", &"x".repeat(101)] {
            assert_eq!(program.send_with(Method::POST, clients, &body, &[("idempotency-key", bad)]).await.fault(), "idempotency-key");
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_is_rotated_with_a_grace_once() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let program = Program::new(&app, "prueba").await;
        let path = format!("/admin/api/clients/{}/tokens/{}/rotate", tenant.id, tenant.token_id);
        for grace in [-1, 604_801] {
            assert_eq!(program.send(Method::POST, &path, &json!({ "grace_s": grace })).await.fault(), "grace_s");
        }
        let rotated = program.send(Method::POST, &path, &json!({ "grace_s": 60 })).await;
        assert_eq!(rotated.status, StatusCode::CREATED, "{rotated:?}");
        let works = async |token: &str| app.client(token).request("ping", json!({})).await.status == 200;
        let new = rotated.json["token"].as_str().unwrap();
        assert!(works(&tenant.token).await && works(new).await);
        assert!(program.send(Method::POST, &path, &json!({ "grace_s": 60 })).await.failed(StatusCode::CONFLICT), "its successor is the one to rotate");
        app.clock.advance(chrono::Duration::seconds(60));
        assert!(!works(&tenant.token).await && works(new).await);
        let other = app.tenant("Clínica").await;
        let foreign = format!("/admin/api/clients/{}/tokens/{}/rotate", tenant.id, other.token_id);
        assert!(program.send(Method::POST, &foreign, &json!({ "grace_s": 0 })).await.failed(StatusCode::NOT_FOUND));
    })
    .await;
}

#[tokio::test]
async fn people_and_members_are_let_in_and_kept_out() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let member = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let program = Program::new(&app, "prueba").await;
        let members = format!("/admin/api/clients/{}/members", tenant.id);
        let row = program.get(&members).await.json["rows"][0].clone();
        assert_eq!((&row["email"], &row["level"], &row["active"]), (&json!("marta@ferre.do"), &json!("owner"), &json!(true)));
        let own = format!("{members}/{}", row["user"].as_str().unwrap());
        let page = format!("/admin/clients/{}/members", tenant.id);
        let may_invite = async || member.post(&page, &page, &[("email", "luis@ferre.do"), ("level", "viewer")]).await.status;
        assert_eq!(may_invite().await, StatusCode::SEE_OTHER);
        assert_eq!(program.send(Method::PATCH, &own, &json!({ "level": "viewer" })).await.status, StatusCode::NO_CONTENT);
        assert_eq!(program.get(&members).await.json["rows"][0]["level"], "viewer");
        let csrf = member.get("/admin/profile").await.hidden("csrf");
        assert_eq!(member.post_bare(&page, &[("csrf", &csrf), ("email", "ana@ferre.do"), ("level", "viewer")]).await.status, StatusCode::FORBIDDEN, "at once");
        assert!(program.send(Method::PATCH, &own, &json!({ "level": "operator" })).await.failed(StatusCode::BAD_REQUEST));
        assert_eq!(program.send(Method::DELETE, &own, &json!({})).await.status, StatusCode::NO_CONTENT);
        assert!(program.send(Method::DELETE, &own, &json!({})).await.failed(StatusCode::NOT_FOUND));
        assert_eq!(member.get(&page).await.status, StatusCode::NOT_FOUND);
        let invited = program.send(Method::POST, &members, &json!({ "email": " Luis@Ferre.do ", "level": "owner" })).await;
        assert_eq!((invited.status, &invited.json["email"]), (StatusCode::CREATED, &json!("luis@ferre.do")), "{invited:?}");
        assert!(invited.json["link"].as_str().unwrap().contains("/admin/enlace/"));
        assert_eq!(program.send(Method::POST, &members, &json!({ "email": "no", "level": "owner" })).await.fault(), "email");

        // The last operator stays, and nobody keeps themselves out.
        let operator = app.operator().await;
        let people = program.get("/admin/api/people?role=operator").await.json;
        let olga = format!("/admin/api/people/{}", people["rows"][0]["user"].as_str().unwrap());
        let refused = program.send(Method::POST, &format!("{olga}/disable"), &json!({})).await;
        assert!(refused.failed(StatusCode::UNPROCESSABLE_ENTITY), "{refused:?}");
        app.operator_named("otra@dunet.do").await;
        assert_eq!(program.send(Method::POST, &format!("{olga}/sign-out"), &json!({})).await.status, StatusCode::NO_CONTENT);
        assert_eq!(operator.get("/admin").await.status, StatusCode::SEE_OTHER);
        assert_eq!(program.send(Method::POST, &format!("{olga}/disable"), &json!({})).await.status, StatusCode::NO_CONTENT);
        assert_eq!(program.get("/admin/api/people?search=operador").await.json["rows"][0]["status"], "disabled");
        assert_eq!(program.send(Method::POST, &format!("{olga}/enable"), &json!({})).await.status, StatusCode::NO_CONTENT);
        assert!(program.send(Method::POST, &format!("{olga}/second-factor/reset"), &json!({})).await.failed(StatusCode::NOT_FOUND));
        let link = program.send(Method::POST, &format!("{olga}/link"), &json!({})).await;
        assert!(link.status == StatusCode::CREATED && link.json["link"].as_str().unwrap().contains("/admin/enlace/"), "{link:?}");
    })
    .await;
}

#[tokio::test]
async fn months_plans_and_settings_are_kept_from_writing_over_each_other() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        app.made(&[call(tenant.id, "2026-11-22T12:00:00Z")]).await;
        let program = Program::new(&app, "prueba").await;
        let month = format!("/admin/api/clients/{}/statements/{MONTH}", tenant.id);
        let running = program.get(&month).await.json;
        assert_eq!((&running["state"], &running["counted"], &running["number"]), (&json!("running"), &json!(1), &Value::Null));
        let close = format!("/admin/api/statements/{MONTH}/close");
        assert!(program.send(Method::POST, &close, &json!({})).await.failed(StatusCode::CONFLICT), "no rate");
        let settings = "/admin/api/settings";
        let edited = program.send(Method::PATCH, settings, &json!({ "edited_at": null, "usd_rate": "62.5", "sign_up": "approval" })).await;
        assert_eq!((edited.status, &edited.json["usd_rate"], &edited.json["sign_up"]), (StatusCode::OK, &json!("62.5"), &json!("approval")), "{edited:?}");
        assert!(program.send(Method::PATCH, settings, &json!({ "edited_at": null, "usd_rate": "1" })).await.failed(StatusCode::CONFLICT));
        let seen = edited.json["edited_at"].clone();
        for (change, field) in [(json!({ "usd_rate": "0" }), "usd_rate"), (json!({ "public_mail": "x" }), "public_mail"), (json!({ "sign_up_plan": "oro" }), "sign_up_plan")] {
            let mut change = change;
            change["edited_at"] = seen.clone();
            assert_eq!(program.send(Method::PATCH, settings, &change).await.fault(), field);
        }
        let back = program.send(Method::PATCH, settings, &json!({ "edited_at": seen, "sign_up": null })).await;
        assert_eq!((&back.json["sign_up"], &back.json["usd_rate"]), (&json!("closed"), &json!("62.5")), "{back:?}");
        assert!(program.send(Method::POST, &close, &json!({})).await.failed(StatusCode::CONFLICT), "running");
        app.clock.advance(chrono::Duration::days(12));
        assert_eq!(program.send(Method::POST, &format!("{month}/corrections"), &json!({ "part": 1, "amount_usd_cents": 5, "note": "x" })).await.status, StatusCode::CONFLICT);
        assert_eq!(program.send(Method::POST, &close, &json!({})).await.json["closed"], 1);
        let closed = program.send(Method::POST, &format!("{month}/close"), &json!({})).await.json;
        assert_eq!((&closed["state"], &closed["number"]), (&json!("closed"), &json!(1)), "as it is");
        for (correction, status, field) in [
            (json!({ "part": 1, "amount_usd_cents": 0, "note": "x" }), StatusCode::UNPROCESSABLE_ENTITY, "amount_usd_cents"),
            (json!({ "part": 1, "amount_usd_cents": i64::MIN, "note": "x" }), StatusCode::UNPROCESSABLE_ENTITY, "amount_usd_cents"),
            (json!([1, 5, "x"]), StatusCode::BAD_REQUEST, ""),
            (json!({ "part": 1, "amount_usd_cents": 5, "note": " " }), StatusCode::UNPROCESSABLE_ENTITY, "note"),
            (json!({ "part": 3, "amount_usd_cents": 5, "note": "x" }), StatusCode::CONFLICT, ""),
            (json!({ "part": 1, "amount_usd_cents": -500, "note": "Cortesía" }), StatusCode::CREATED, ""),
            (json!({ "part": 1.0, "amount_usd_cents": -500.0, "note": "Cortesía" }), StatusCode::CREATED, ""),
            (json!({ "part": 1, "amount_usd_cents": -900, "note": "Otra" }), StatusCode::CONFLICT, ""),
        ] {
            let answer = program.send(Method::POST, &format!("{month}/corrections"), &correction).await;
            assert_eq!((answer.status, answer.fault()), (status, field), "{correction}: {answer:?}");
        }
        assert_eq!(program.get(&month).await.json["corrections"].as_array().unwrap().len(), 1);
        let totals = program.get(&format!("/admin/api/statements/{MONTH}/totals")).await.json;
        assert_eq!(totals["closed"], 1);
        let lines = program.get(&format!("/admin/api/statements/{MONTH}/csv")).await.json;
        assert!(lines.as_str().unwrap().contains("Cortesía"), "{lines}");
        let listed = program.get(&format!("/admin/api/clients/{}/statements", tenant.id)).await.json;
        assert_eq!((&listed["rows"][0]["state"], &listed["rows"][1]["closed"]["number"]), (&json!("running"), &json!(1)), "{listed}");

        let terms = |name: &str| json!({ "name": name, "price_usd_cents": 100, "position": 9 });
        let plans = "/admin/api/plans";
        let made = program.send(Method::POST, plans, &json!({ "code": "oro", "terms": terms("Oro") })).await;
        assert_eq!((made.status, &made.json["version"], &made.json["calls_per_month"]), (StatusCode::CREATED, &json!(1), &Value::Null), "{made:?}");
        assert_eq!(program.send(Method::POST, plans, &json!({ "code": "oro", "terms": terms("Oro") })).await.fault(), "code");
        assert_eq!(program.send(Method::POST, plans, &json!({ "code": "Oro!", "terms": terms("Oro") })).await.fault(), "code");
        assert_eq!(program.send(Method::PUT, &format!("{plans}/oro"), &json!({ "version": 1, "terms": terms("Dorado") })).await.json["name"], "Dorado");
        assert!(program.send(Method::PUT, &format!("{plans}/oro"), &json!({ "version": 1, "terms": terms("Otro") })).await.failed(StatusCode::CONFLICT));
        for (code, confirm, status) in [
            ("oro", "plata", StatusCode::UNPROCESSABLE_ENTITY),
            ("pro", "pro", StatusCode::CONFLICT),
            ("no-hay", "no-hay", StatusCode::NOT_FOUND),
            ("oro", "oro", StatusCode::NO_CONTENT),
        ] {
            let answer = program.send(Method::POST, &format!("{plans}/{code}/delete"), &json!({ "confirm": confirm })).await;
            assert_eq!(answer.status, status, "{code} {confirm}: {answer:?}");
        }
        let own = format!("/admin/api/clients/{}", tenant.id);
        assert_eq!(program.send(Method::POST, &format!("{own}/delete"), &json!({ "confirm": "ferreteria" })).await.fault(), "confirm");
        assert_eq!(program.send(Method::POST, &format!("{own}/delete"), &json!({ "confirm": "Ferretería" })).await.status, StatusCode::NO_CONTENT);
        assert_eq!(app.client(&tenant.token).request("ping", json!({})).await.status, 401);
        assert_eq!(program.get(&month).await.json["number"], 1, "what was closed stays");
    })
    .await;
}

#[tokio::test]
async fn a_wish_for_a_plan_is_decided_once() {
    TestApp::everywhere(|app| async move {
        let (tenant, other) = (app.tenant("Ferretería").await, app.tenant("Clínica").await);
        let program = Program::new(&app, "prueba").await;
        let list = "/admin/api/plan-requests";
        for id in [tenant.id, other.id] {
            app.state.tenants.plan_request(id, "basic", "por favor", &actor()).await.unwrap();
        }
        let rows = program.get(list).await.json["rows"].clone();
        assert_eq!((rows.as_array().unwrap().len(), &rows[0]["client"], &rows[0]["note"]), (2, &json!(other.id), &json!("por favor")));
        let decide = async |client: &str, body: Value| program.send(Method::POST, &format!("{list}/{client}"), &body).await;
        let own = tenant.id.to_string();
        assert!(decide(&own, json!({ "plan": "gratis", "decision": "accept" })).await.failed(StatusCode::CONFLICT), "not what was asked for");
        assert_eq!(decide(&own, json!({ "plan": "basic", "decision": "accept" })).await.status, StatusCode::NO_CONTENT);
        assert_eq!(program.get(&format!("/admin/api/clients/{own}")).await.json["plan"], "basic");
        assert!(decide(&own, json!({ "plan": "basic", "decision": "accept" })).await.failed(StatusCode::NOT_FOUND), "twice");
        assert_eq!(decide(&other.id.to_string(), json!({ "plan": "basic", "decision": "refuse" })).await.status, StatusCode::NO_CONTENT);
        assert_eq!(program.get(&format!("/admin/api/clients/{}", other.id)).await.json["plan"], "pro");
        assert_eq!(program.get(list).await.json["rows"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn the_log_is_searched_and_downloaded() {
    TestApp::everywhere(|app| async move {
        let (tenant, other) = (app.tenant("=Ferretería").await, app.tenant("Clínica").await);
        let calls: Vec<_> = (0..5).map(|second| call(tenant.id, &format!("2026-11-22T12:00:0{second}Z"))).chain([call(other.id, "2026-11-22T12:00:09Z")]).collect();
        app.made(&calls).await;
        let program = Program::new(&app, "prueba").await;
        let page = program.get("/admin/api/log?limit=4").await.json;
        assert_eq!((page["rows"].as_array().unwrap().len(), &page["rows"][0]["client"]), (4, &json!("Clínica")));
        let rest = program.get(&format!("/admin/api/log?limit=4&after={}", page["next"].as_str().unwrap())).await.json;
        assert_eq!((rest["rows"].as_array().unwrap().len(), &rest["next"]), (2, &Value::Null));
        let own = program.get(&format!("/admin/api/log?client={}&tool=consultar_rnc_dgii&outcome=ok&from=2026-11-22T12:00:02Z", tenant.id)).await.json;
        assert_eq!(own["rows"].as_array().unwrap().len(), 3);
        let found = program.get(&format!("/admin/api/log?request_id={}", &calls[2].request_id[..8])).await.json;
        assert_eq!(found["rows"][0]["request_id"], calls[2].request_id.as_str());
        let file = program.get(&format!("/admin/api/log/csv?client={}", tenant.id)).await;
        let lines = file.json.as_str().unwrap();
        assert!(lines.lines().count() == 6 && lines.contains("'=Ferretería"), "{lines}");
        let tools = program.get(&format!("/admin/api/usage/csv?table=tools&client={}", tenant.id)).await;
        assert!(tools.json.as_str().unwrap().contains("consultar_rnc_dgii,5"), "{tools:?}");
        assert_eq!(program.get("/admin/api/log?limit=0").await.fault(), "limit");
        for query in ["log?outcome=x", "log?client=x", "usage/csv", "usage/csv?table=x"] {
            assert!(program.get(&format!("/admin/api/{query}")).await.failed(StatusCode::BAD_REQUEST), "{query}");
        }
        let agents = program.get(&format!("/admin/api/clients/{}/agents", tenant.id)).await.json;
        assert_eq!((&agents["rows"][0]["agent"], &agents["rows"][0]["calls"]), (&json!("prueba 1"), &json!(5)));
        let summary = program.get(&format!("/admin/api/clients/{}/summary", tenant.id)).await.json;
        assert_eq!((&summary["usage"]["used"], &summary["onboarding"]["called"]), (&json!(5), &json!(true)));
    })
    .await;
}

#[tokio::test]
async fn a_listing_is_uploaded_and_rolled_back_by_a_program() {
    TestApp::everywhere_with(&["--padron-rows-min", "3", "--padron-upload-bytes-max", "200000"], |app| async move {
        let program = Program::new(&app, "prueba").await;
        let (path, imports) = ("/admin/api/padron", "/admin/api/padron/imports");
        let folder = app.folder.path().to_owned();
        let zip = async |day: &str| {
            let (folder, cutoff) = (folder.join(day), day.parse().unwrap());
            tokio::task::spawn_blocking(move || std::fs::read(write_zips(&folder, &SampleOptions { rows: 40, seed: 1, cutoff, defects: false }).unwrap().txt).unwrap())
                .await
                .unwrap()
        };
        for day in ["2026-11-14", "2026-11-21"] {
            let begun = program.upload(imports, &[("zip", Some("DGII_RNC.zip"), &zip(day).await)]).await;
            assert_eq!(begun.status, StatusCode::ACCEPTED, "{begun:?}");
            until("the import ends", || async { !app.state.padron_imports.is_running() }).await;
            let state = program.get(path).await.json;
            assert_eq!((&state["active"]["cutoff"], &state["job"]["state"]), (&json!(day), &json!("activated")), "{state}");
        }
        let older = zip("2026-11-07").await;
        for (parts, status, field) in [
            (vec![("zip", Some("DGII_RNC.zip"), older.as_slice())], StatusCode::UNPROCESSABLE_ENTITY, "zip"),
            (vec![("zip", Some("x.zip"), b"no es zip".as_slice())], StatusCode::UNPROCESSABLE_ENTITY, "zip"),
            (vec![], StatusCode::UNPROCESSABLE_ENTITY, "zip"),
            (vec![("cutoff", None, b"ayer".as_slice()), ("zip", Some("x.zip"), b"x".as_slice())], StatusCode::UNPROCESSABLE_ENTITY, "cutoff"),
            (vec![("allow_older", None, b"quiza".as_slice())], StatusCode::BAD_REQUEST, ""),
            (vec![("zip", Some("x.zip"), vec![b'x'; 300_000].leak())], StatusCode::PAYLOAD_TOO_LARGE, ""),
        ] {
            let answer = program.upload(imports, &parts).await;
            assert!(answer.failed(status) && answer.fault() == field, "{:?}: {answer:?}", parts.iter().map(|part| part.0).collect::<Vec<_>>());
        }
        assert!(program.send(Method::POST, imports, &json!({})).await.failed(StatusCode::BAD_REQUEST), "no form with files");
        let history = program.get(imports).await.json;
        assert!(
            history["rows"].as_array().unwrap().iter().any(|entry| entry["outcome"] == "refused" && entry["refusal"].as_str().is_some_and(|text| text.len() > 10)),
            "{history}"
        );
        let back = format!("{path}/rollback");
        assert!(program.send(Method::POST, &back, &json!({ "cutoff": "2026-11-07" })).await.failed(StatusCode::CONFLICT));
        assert_eq!(program.send(Method::POST, &back, &json!({ "cutoff": "2026-11-14" })).await.json["active"]["cutoff"], "2026-11-14");
    })
    .await;
}
