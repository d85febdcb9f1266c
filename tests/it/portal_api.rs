//! The operators' API: a program with its key, a browser with its session, and whoever may not.

use dunet::admin::document;
use dunet::db::entities::{logs, operator_keys};
use dunet::domain::audit::{Actor, chain_verify};
use dunet::domain::users::Level;
use dunet::ids::TenantId;
use http::{Method, StatusCode, header};
use sea_orm::EntityTrait;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::api::{Program, filled, paths, query, send, templates};
use crate::support::{TestApp, actor};

const CLIENTS: &str = "/admin/api/clients";

#[tokio::test]
async fn a_program_runs_a_client_with_its_key() {
    TestApp::everywhere(|app| async move {
        let program = Program::new(&app, "facturación").await;
        let added = program.send(Method::POST, CLIENTS, &json!({ "name": " Ferretería Nova ", "rnc": "1-31-79391-6", "plan": "gratis" })).await;
        assert_eq!(added.status, StatusCode::CREATED, "{added:?}");
        let client = added.json;
        let expected = json!({ "name": "Ferretería Nova", "rnc": "131793916", "active": true, "plan": "gratis", "language": "es", "timezone": "America/Santo_Domingo", "write_policy": "confirm", "odoo": null, "version": 1 });
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(client[field], *value, "{field}");
        }
        let own = format!("{CLIENTS}/{}", client["id"].as_str().unwrap());
        let tenant: TenantId = client["id"].as_str().unwrap().parse().unwrap();
        assert!(app.state.tenants.tenant_find(tenant).await.unwrap().permit("consultar_rnc_dgii").is_some(), "a plan with a number of tools gets the default ones");

        let list = program.get(&format!("{CLIENTS}?search=ferreteria&active=true&sort=newest")).await;
        assert_eq!((list.status, &list.json["rows"][0]["name"], &list.json["next"]), (StatusCode::OK, &json!("Ferretería Nova"), &Value::Null));
        assert_eq!(program.get(&format!("{CLIENTS}?plan=pro")).await.json["rows"], json!([]));

        // An edit over a newer one is told so; what is absent stays.
        let edited = program.send(Method::PATCH, &own, &json!({ "plan": "pro", "language": "en", "version": 1 })).await;
        assert_eq!((edited.status, &edited.json["plan"], &edited.json["name"], &edited.json["version"]), (StatusCode::OK, &json!("pro"), &json!("Ferretería Nova"), &json!(2)));
        assert!(program.send(Method::PATCH, &own, &json!({ "name": "Vieja", "version": 1 })).await.failed(StatusCode::CONFLICT));

        // A token, shown once; it works at once, and suspending the client ends that at once.
        let tokens = format!("{own}/tokens");
        let issued = program.send(Method::POST, &tokens, &json!({ "name": "Asistente", "packs": ["sales"], "expires_at": "2027-01-01T00:00:00Z" })).await;
        assert_eq!(issued.status, StatusCode::CREATED, "{issued:?}");
        let token = issued.json["token"].as_str().unwrap().to_owned();
        let agent = app.client(&token);
        assert_eq!(agent.request("ping", json!({})).await.status, 200);
        let listed = program.get(&tokens).await.json;
        assert_eq!((&listed["rows"][0]["name"], &listed["rows"][0]["packs"]), (&json!("Asistente"), &json!(["sales"])));
        assert!(!listed.to_string().contains(&token));
        assert_eq!(program.send(Method::POST, &format!("{own}/suspend"), &json!({})).await.json["active"], false);
        assert_eq!(agent.request("ping", json!({})).await.status, 403);
        assert_eq!(program.send(Method::POST, &format!("{own}/resume"), &json!({})).await.json["active"], true);
        assert_eq!(agent.request("ping", json!({})).await.status, 200);
        let revoke = format!("{tokens}/{}/revoke", issued.json["id"].as_str().unwrap());
        for _ in 0..2 {
            assert_eq!(program.send(Method::POST, &revoke, &json!({})).await.status, StatusCode::NO_CONTENT);
        }
        assert_eq!(agent.request("ping", json!({})).await.status, 401);

        // All of it is in the audit, under the key's name, and the chain holds.
        let changes = program.get(&format!("/admin/api/audit?client={tenant}&limit=2")).await.json;
        assert_eq!((changes["rows"].as_array().unwrap().len(), &changes["rows"][0]["action"]), (2, &json!("token.revoke")));
        let more = program.get(&format!("/admin/api/audit?client={tenant}&after={}", changes["next"].as_str().unwrap())).await.json;
        let rows: Vec<&Value> = changes["rows"].as_array().unwrap().iter().chain(more["rows"].as_array().unwrap()).collect();
        assert_eq!(rows.len(), 6, "{rows:?}");
        for row in rows {
            let by = row["actor"].as_str().unwrap();
            assert!(by.starts_with("dunet_op_") && by.ends_with("(facturación)") && !program.signed.contains(by), "{by}");
        }
        assert_eq!(chain_verify(&app.state.db, Some(tenant)).await.unwrap(), Ok(6));
        let key = operator_keys::Entity::find().one(&app.state.db).await.unwrap().unwrap();
        assert_eq!(key.last_used_at, Some(app.clock.now()));
        assert!(!program.signed.contains(&key.hash));
    })
    .await;
}

#[tokio::test]
async fn a_key_that_ended_opens_nothing() {
    TestApp::everywhere(|app| async move {
        let keys = &app.state.operator_keys;
        let (short, long) = (keys.key_make("corta", 1, &actor()).await.unwrap(), keys.key_make("larga", 30, &actor()).await.unwrap());
        let open = async |key: &str| send(&app, &Method::GET, CLIENTS, &[("authorization", &format!("Bearer {key}"))], None).await;
        let (short_key, long_key) = (short.key.expose_secret(), long.key.expose_secret());
        assert_eq!((open(short_key).await.status, open(long_key).await.status), (StatusCode::OK, StatusCode::OK));
        app.clock.advance(chrono::Duration::days(1));
        assert!(open(short_key).await.failed(StatusCode::UNAUTHORIZED), "past its end");
        assert_eq!(open(long_key).await.status, StatusCode::OK);
        keys.key_revoke(long.id, &Actor::shell()).await.unwrap();
        let refused = open(long_key).await;
        assert!(refused.failed(StatusCode::UNAUTHORIZED), "revoked: {refused:?}");
        assert!(refused.headers.get(header::WWW_AUTHENTICATE).is_some_and(|how| how.to_str().unwrap().starts_with("Bearer")));

        // A tenant's token, a typo, nothing, two at once: nobody. A member is no operator.
        let tenant = app.tenant("Ferretería").await;
        for key in [tenant.token.as_str(), &long_key[1..], "", "dunet_op_"] {
            assert!(open(key).await.failed(StatusCode::UNAUTHORIZED), "{key}");
        }
        for headers in [[].as_slice(), &[("authorization", long_key)], &[("cookie", "dunet=x")], &[("authorization", "Bearer x"), ("authorization", "Bearer y")]] {
            for method in [Method::GET, Method::POST] {
                assert!(send(&app, &method, CLIENTS, headers, None).await.failed(StatusCode::UNAUTHORIZED), "{headers:?}");
            }
        }
        assert!(send(&app, &Method::GET, "/admin/api/openapi.json", &[], None).await.failed(StatusCode::UNAUTHORIZED));
        let member = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let cookie = format!("dunet={}", member.cookie("dunet").unwrap());
        for path in paths("get", tenant.id) {
            assert!(send(&app, &Method::GET, &path, &[("cookie", &cookie)], None).await.failed(StatusCode::FORBIDDEN), "{path}");
        }
        // Under another name there is nothing.
        let program = Program::new(&app, "x").await;
        let elsewhere = send(&app, &Method::GET, CLIENTS, &[("authorization", &program.signed), ("host", "evil.com")], None).await;
        assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn a_session_acts_only_with_the_token_of_its_pages() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let operator = app.operator().await;
        let csrf = operator.get("/admin/profile").await.hidden("csrf");
        let cookie = format!("dunet={}", operator.cookie("dunet").unwrap());
        let cookie = cookie.as_str();
        assert_eq!(send(&app, &Method::GET, CLIENTS, &[("cookie", cookie)], None).await.status, StatusCode::OK);
        let before = logs::Entity::find().all(&app.state.db).await.unwrap().len();
        let bad: [&[(&str, &str)]; 5] = [
            &[],
            &[("x-csrf-token", "")],
            &[("x-csrf-token", &csrf[1..])],
            &[("x-csrf-token", &csrf), ("origin", "https://evil.com")],
            &[("x-csrf-token", &csrf), ("sec-fetch-site", "cross-site")],
        ];
        for (method, verb) in [(Method::POST, "post"), (Method::PATCH, "patch"), (Method::PUT, "put"), (Method::DELETE, "delete")] {
            for path in paths(verb, tenant.id) {
                for more in bad {
                    let headers: Vec<(&str, &str)> = [("cookie", cookie)].into_iter().chain(more.iter().copied()).collect();
                    let refused = send(&app, &method, &path, &headers, Some("{}")).await;
                    assert!(refused.failed(StatusCode::FORBIDDEN), "{path} {more:?}: {refused:?}");
                }
            }
        }
        assert_eq!(logs::Entity::find().all(&app.state.db).await.unwrap().len(), before, "nothing was done");
        let path = format!("{CLIENTS}/{}", tenant.id);
        let headers = [("cookie", cookie), ("x-csrf-token", csrf.as_str()), ("origin", app.base.as_str())];
        let edited = send(&app, &Method::PATCH, &path, &headers, Some(r#"{"name":"Ferretería Dos"}"#)).await;
        assert_eq!((edited.status, &edited.json["name"]), (StatusCode::OK, &json!("Ferretería Dos")));
        let last = logs::Entity::find().all(&app.state.db).await.unwrap().into_iter().max_by_key(|row| row.id).unwrap();
        assert_eq!((last.actor.as_str(), last.action.as_str()), ("operador@dunet.do", "tenant.edit"));
    })
    .await;
}

#[tokio::test]
async fn what_does_not_fit_is_told_so() {
    TestApp::everywhere_with(&["--form-bytes-max", "4000"], |app| async move {
        let tenant = app.tenant("Ferretería").await;
        let other = app.tenant("Clínica").await;
        let program = Program::new(&app, "prueba").await;
        // Ids of nobody, of no shape, and a token of somebody else.
        for id in [TenantId::new().to_string(), "no-es-id".to_owned()] {
            for path in ["", "/tokens", "/usage"] {
                assert!(program.get(&format!("{CLIENTS}/{id}{path}")).await.failed(StatusCode::NOT_FOUND), "{id}{path}");
            }
            for (method, path, body) in [(Method::PATCH, "", json!({ "name": "x" })), (Method::POST, "/suspend", json!({})), (Method::POST, "/tokens", json!({ "name": "x" }))] {
                assert!(program.send(method, &format!("{CLIENTS}/{id}{path}"), &body).await.failed(StatusCode::NOT_FOUND), "{id}{path}");
            }
        }
        let foreign = format!("{CLIENTS}/{}/tokens/{}/revoke", tenant.id, other.token_id);
        assert!(program.send(Method::POST, &foreign, &json!({})).await.failed(StatusCode::NOT_FOUND));
        assert_eq!(app.client(&other.token).request("ping", json!({})).await.status, 200);
        assert!(program.get("/admin/api/nothing").await.failed(StatusCode::NOT_FOUND));

        // Fields nobody expects, in bodies and queries.
        let own = format!("{CLIENTS}/{}", tenant.id);
        for (method, path) in [(Method::POST, CLIENTS), (Method::PATCH, &own), (Method::POST, &format!("{own}/tokens"))] {
            let refused = program.send(method, path, &json!({ "name": "x", "plan": "pro", "role": "operator" })).await;
            assert!(refused.failed(StatusCode::BAD_REQUEST) && refused.json["detail"].as_str().unwrap().contains("unknown field"), "{path}: {refused:?}");
        }
        for path in [CLIENTS, "/admin/api/usage", "/admin/api/audit", "/admin/api/panel", &format!("{own}/usage")] {
            assert!(program.get(&format!("{path}?role=operator")).await.failed(StatusCode::BAD_REQUEST), "{path}");
        }
        for query in ["clients?active=quiza", "clients?search=%00", "clients?active=", "usage?from", "clients?sort=x", "usage?from=ayer", "audit?limit=x", "audit?client=x"] {
            assert!(program.get(&format!("/admin/api/{query}")).await.failed(StatusCode::BAD_REQUEST), "{query}");
        }

        // Values that are not acceptable, by field.
        for (method, path, body, field) in [
            (Method::POST, CLIENTS.to_owned(), json!({ "name": " ", "plan": "pro" }), "name"),
            (Method::POST, CLIENTS.to_owned(), json!({ "name": "x", "plan": "oro" }), "plan"),
            (Method::POST, CLIENTS.to_owned(), json!({ "name": "x", "plan": "pro", "rnc": "12" }), "rnc"),
            (Method::POST, CLIENTS.to_owned(), json!({ "name": "x", "plan": "pro", "timezone": "Marte/Norte" }), "timezone"),
            (Method::PATCH, own.clone(), json!({ "rnc": "12" }), "rnc"),
            (Method::POST, format!("{own}/tokens"), json!({ "name": "" }), "name"),
            (Method::POST, format!("{own}/tokens"), json!({ "name": "x", "expires_at": "2020-01-01T00:00:00Z" }), "expires_at"),
        ] {
            let refused = program.send(method, &path, &body).await;
            assert!(refused.failed(StatusCode::UNPROCESSABLE_ENTITY) && refused.fault() == field, "{body}: {refused:?}");
        }
        let long = format!("clients?search={}", "x".repeat(101));
        for (query, field) in [
            (long.as_str(), "search"),
            ("usage?from=0001-01-01", "from"),
            ("audit?limit=0", "limit"),
            ("audit?limit=501", "limit"),
            (&format!("audit?service=true&client={}", tenant.id), "service"),
        ] {
            let refused = program.get(&format!("/admin/api/{query}")).await;
            assert!(refused.failed(StatusCode::UNPROCESSABLE_ENTITY) && refused.fault() == field, "{query}: {refused:?}");
        }

        // No JSON, too much of it, a method nobody knows.
        let signed = [("authorization", program.signed.as_str())];
        assert!(send(&app, &Method::POST, CLIENTS, &signed, None).await.failed(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        assert!(send(&app, &Method::POST, CLIENTS, &signed, Some("{")).await.failed(StatusCode::BAD_REQUEST));
        assert!(send(&app, &Method::POST, CLIENTS, &signed, Some(r#"{"name":"a\u0000b","plan":"pro"}"#)).await.failed(StatusCode::BAD_REQUEST));
        assert!(program.send(Method::POST, CLIENTS, &json!({ "name": "x".repeat(5_000), "plan": "pro" })).await.failed(StatusCode::PAYLOAD_TOO_LARGE));
        let refused = send(&app, &Method::DELETE, CLIENTS, &signed, None).await;
        assert!(refused.failed(StatusCode::METHOD_NOT_ALLOWED) && refused.headers.contains_key(header::ALLOW), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn what_the_document_says_is_there() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let program = Program::new(&app, "prueba").await;
        let served = program.get("/admin/api/openapi.json").await;
        assert_eq!(&served.json, document());
        assert!(served.json["openapi"].as_str().unwrap().starts_with("3.1"));
        let shown = paths("get", tenant.id);
        assert!(shown.len() >= 30, "{shown:?}");
        for template in templates("get") {
            let path = filled(template, tenant.id);
            let answer = program.get(&format!("{path}{}", query(&path))).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
            // The answer is what the document says it is.
            let content = &document()["paths"][template]["get"]["responses"]["200"]["content"];
            if content["text/csv"].is_object() {
                let kind = answer.headers[header::CONTENT_TYPE].to_str().unwrap();
                assert!(
                    kind.starts_with("text/csv") && answer.json.as_str().is_some_and(|lines| lines.lines().next().is_some_and(|head| head.contains(','))),
                    "{path}: {answer:?}"
                );
                continue;
            }
            let mut schema = content["application/json"]["schema"].clone();
            assert!(schema.is_object(), "{path}");
            schema["components"] = document()["components"].clone();
            let faults: Vec<String> = jsonschema::draft202012::new(&schema).unwrap().iter_errors(&answer.json).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
            assert!(faults.is_empty(), "{path}: {faults:?} in {}", answer.json);
        }
        for path in paths("post", tenant.id) {
            let answer = program.get(&path).await;
            assert!(answer.status == StatusCode::METHOD_NOT_ALLOWED || shown.contains(&path), "{path}: {answer:?}");
        }
        // And the page lists it.
        let page = app.operator().await.get("/admin/api-docs").await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        for path in document()["paths"].as_object().unwrap().keys() {
            assert!(page.text.contains(path.as_str()), "{path}");
        }
    })
    .await;
}
