//! The operator's clients in the portal: list and filters, adding, editing, suspending, removing; and the Odoo connection, which a client's
//! owners may change, too.

use dunet::db::entities::{api_tokens, client_tools, logs, memberships, operations, tool_usage, user_links};
use dunet::demo::sandbox::SandboxOdoo;
use dunet::domain::audit::chain_verify;
use dunet::domain::tenants::{NewTenant, TenantEdit};
use dunet::domain::users::Level;
use dunet::ids::TenantId;
use http::StatusCode;
use sea_orm::EntityTrait;
use serde_json::json;

use crate::support::calls::call;
use crate::support::portal::{Browser, Page};
use crate::support::{TestApp, actor, serve};

/// An API key of the right shape that opens nothing.
const WRONG_KEY: &str = "0123456789abcdef0123456789abcdef01234567";

fn names(page: &Page) -> Vec<String> {
    page.text.split("class=\"row-link\"").skip(1).map(|rest| rest.split('>').nth(1).expect("a name").split('<').next().expect("an end").to_owned()).collect()
}

/// The fields of a client's form.
fn client_form<'a>(name: &'a str, rnc: &'a str, plan: &'a str, version: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("name", name), ("rnc", rnc), ("plan", plan), ("language", "es"), ("timezone", "America/Santo_Domingo"), ("write_policy", "confirm"), ("version", version)]
}

fn path_of(tenant: TenantId, rest: &str) -> String {
    format!("/admin/clients/{tenant}{rest}")
}

async fn bare(app: &TestApp, name: &str, plan: &str) -> TenantId {
    let new = NewTenant { name: name.to_owned(), rnc: None, plan: plan.to_owned(), odoo: None, tools: Vec::new() };
    app.state.tenants.tenant_add(new, &actor()).await.unwrap()
}

/// The last change of a tenant that the audit knows.
async fn last_change(app: &TestApp, tenant: TenantId) -> logs::Model {
    let mut rows: Vec<_> = logs::Entity::find().all(&app.state.db).await.unwrap().into_iter().filter(|row| row.client_id == Some(tenant.uuid())).collect();
    rows.sort_by_key(|row| row.id);
    rows.pop().expect("a change")
}

#[tokio::test]
async fn an_operator_adds_a_client_and_the_rnc_fills_in_its_name() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let operator = app.operator().await;
        let new = "/admin/clients/new";
        let page = operator.get("/admin/clients").await;
        assert!(page.text.contains("Todavía no hay clientes") && page.text.contains(new), "{}", page.text);

        // The button beside the RNC brings the name; nothing is saved.
        let mut fields = client_form("", "1-31-79391-6", "basic", "0");
        fields.push(("act", "look_up"));
        let page = operator.post(new, new, &fields).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        assert!(page.text.contains("value=\"INDEXA SRL\"") && page.text.contains("INDEXA SRL: ACTIVO según el padrón del"), "{}", page.text);
        assert!(app.state.tenants.tenant_list().await.unwrap().is_empty());
        for (rnc, said) in [("000000000", "no está en el padrón"), ("12", "9 dígitos")] {
            let mut fields = client_form("Como se escribió", rnc, "basic", "0");
            fields.push(("act", "look_up"));
            let page = operator.post(new, new, &fields).await;
            assert!(page.text.contains(said) && page.text.contains("value=\"Como se escribió\""), "{}", page.text);
        }

        // What is wrong comes back beside its field, with what was typed.
        for (fields, said) in [
            (client_form("  ", "", "basic", "0"), "nombre de 1 a 200"),
            (client_form("Ñandú", "12345", "basic", "0"), "9 dígitos"),
            (client_form("Ñandú", "", "platino", "0"), "Elija un plan"),
        ] {
            let page = operator.post(new, new, &fields).await;
            assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains(said) && page.text.contains("aria-invalid"), "{said}: {}", page.text);
        }
        let mut fields = client_form("Ñandú", "", "basic", "0");
        fields[4].1 = "Marte/Norte";
        assert!(operator.post(new, new, &fields).await.text.contains("Elija una zona"));

        let page = operator.post(new, new, &client_form(" Ferretería <b>Ñandú</b> ", "1-31-79391-6", "gratis", "0")).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        let page = operator.get(page.location()).await;
        assert!(page.text.contains("Ferretería &lt;b&gt;Ñandú") && page.text.contains("131-79391-6") && page.text.contains("Conectar Odoo"), "{}", page.text);
        let added = app.state.tenants.tenant_list().await.unwrap().remove(0);
        assert!(added.permit("consultar_rnc_dgii").is_some() && added.permit("crear_cotizacion").is_none(), "a plan with a number of tools gets the default ones");
        assert_eq!(last_change(&app, added.id).await.action, "tenant.add");
    })
    .await;
}

#[tokio::test]
async fn a_stale_edit_is_told_and_a_fresh_one_is_followed_at_once() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let operator = app.operator().await;
        let edit = path_of(tenant.id, "/edit");
        let version = operator.get(&edit).await.hidden("version");
        let page = operator.post(&edit, &edit, &client_form("Ferretería Nueva", "131793916", "pro", &version)).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        let page = operator.post(&edit, &edit, &client_form("Ferretería Vieja", "", "pro", &version)).await;
        assert!(page.status == StatusCode::CONFLICT && page.text.contains("Alguien lo cambió antes"), "{}", page.text);
        let now = app.state.tenants.tenant_find(tenant.id).await.unwrap();
        assert_eq!((now.name.as_str(), now.rnc.as_deref()), ("Ferretería Nueva", Some("131793916")));
        // An RNC can be taken away; the connection is as it was.
        let version = operator.get(&edit).await.hidden("version");
        let mut fields = client_form("Ferretería Nueva", " ", "pro", &version);
        fields[3].1 = "en";
        fields[4].1 = "America/New_York";
        fields[5].1 = "direct";
        assert_eq!(operator.post(&edit, &edit, &fields).await.status, StatusCode::SEE_OTHER);
        let now = app.state.tenants.tenant_find(tenant.id).await.unwrap();
        assert_eq!((now.rnc.as_deref(), now.language.as_str(), now.timezone.name(), now.write_policy.as_str()), (None, "en", "America/New_York", "direct"));
        assert!(now.odoo.is_some());
        let change = last_change(&app, tenant.id).await;
        assert_eq!((change.action.as_str(), change.before.unwrap()["rnc"].clone(), change.after.unwrap()["rnc"].clone()), ("tenant.edit", json!("131793916"), json!(null)));
        assert!(change.actor.contains("operador@dunet.do") || !change.actor.is_empty(), "{}", change.actor);
        for path in ["/admin/clients/no-es-id/edit", &path_of(TenantId::new(), "/edit"), &path_of(TenantId::new(), "/danger")] {
            assert_eq!(operator.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_suspended_client_is_refused_at_once_and_comes_back() {
    TestApp::everywhere_with(&["--watch-ms", "60000"], |app| async move {
        let tenant = app.tenant("Ferretería").await;
        let agent = app.client(&tenant.token);
        assert_eq!(agent.request("ping", json!({})).await.status, 200);
        let operator = app.operator().await;
        let (danger, status) = (path_of(tenant.id, "/danger"), path_of(tenant.id, "/status"));
        let version = operator.get(&danger).await.hidden("version");
        let page = operator.post(&danger, &status, &[("status", "suspended"), ("version", &version)]).await;
        assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, danger.as_str()), "{}", page.text);
        assert_eq!(agent.request("ping", json!({})).await.status, 403, "the very next call");
        let page = operator.get(&danger).await;
        assert!(page.text.contains("está suspendido") && page.text.contains("Reanudar"), "{}", page.text);
        assert!(operator.get(&path_of(tenant.id, "")).await.text.contains("Suspendido"));
        assert_eq!(operator.post(&danger, &status, &[("status", "active"), ("version", &version)]).await.status, StatusCode::CONFLICT);
        assert_eq!(operator.post(&danger, &status, &[("status", "dueño"), ("version", &version)]).await.status, StatusCode::BAD_REQUEST);
        let version = page.hidden("version");
        assert_eq!(operator.post(&danger, &status, &[("status", "active"), ("version", &version)]).await.status, StatusCode::SEE_OTHER);
        assert_eq!(agent.request("ping", json!({})).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn a_client_is_removed_only_by_its_name_and_its_audit_and_usage_stay() {
    TestApp::everywhere_with(&["--watch-ms", "60000"], |app| async move {
        let (tenant, other) = (app.tenant("Ferretería Ñandú").await, app.tenant("Clínica").await);
        let member = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let agent = app.client(&tenant.token);
        assert_eq!(agent.request("ping", json!({})).await.status, 200);
        app.made(&[call(tenant.id, "2026-11-22T14:00:00Z"), call(other.id, "2026-11-22T14:00:00Z")]).await;
        let operator = app.operator().await;
        let (danger, delete) = (path_of(tenant.id, "/danger"), path_of(tenant.id, "/delete"));
        for wrong in ["", "ferretería ñandú", "Ferretería", "Clínica"] {
            let page = operator.post(&danger, &delete, &[("confirm", wrong)]).await;
            assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("No es el nombre del cliente"), "{wrong}: {}", page.text);
        }
        assert_eq!(member.post(&path_of(tenant.id, ""), &delete, &[("confirm", "Ferretería Ñandú")]).await.status, StatusCode::FORBIDDEN);

        let page = operator.post(&danger, &delete, &[("confirm", " Ferretería Ñandú ")]).await;
        assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/admin/clients"), "{}", page.text);
        let page = operator.get("/admin/clients").await;
        assert!(page.text.contains("Se eliminó el cliente «Ferretería Ñandú»") && names(&page) == ["Clínica"], "{}", page.text);
        assert_eq!(agent.request("ping", json!({})).await.status, 401, "its token is nobody's, at once");
        assert_eq!(app.client(&other.token).request("ping", json!({})).await.status, 200);
        for path in [path_of(tenant.id, ""), danger.clone(), path_of(tenant.id, "/odoo")] {
            assert_eq!(operator.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(member.get(&path_of(tenant.id, "")).await.status, StatusCode::NOT_FOUND);

        // What is its own is gone; audit and usage are there.
        let (db, id) = (&app.state.db, tenant.id.uuid());
        assert!(api_tokens::Entity::find().all(db).await.unwrap().iter().all(|row| row.client_id != id));
        assert!(client_tools::Entity::find().all(db).await.unwrap().iter().all(|row| row.client_id != id));
        assert!(memberships::Entity::find().all(db).await.unwrap().iter().all(|row| row.client_id != id));
        assert!(operations::Entity::find().all(db).await.unwrap().iter().all(|row| row.client_id != id));
        assert!(user_links::Entity::find().all(db).await.unwrap().iter().all(|row| row.client_id != Some(id)));
        assert_eq!(tool_usage::Entity::find().all(db).await.unwrap().iter().filter(|row| row.client_id == id).count(), 1);
        let change = last_change(&app, tenant.id).await;
        assert_eq!((change.action.as_str(), change.before.unwrap()["name"].clone()), ("tenant.delete", json!("Ferretería Ñandú")));
        assert!(chain_verify(db, Some(tenant.id)).await.unwrap().is_ok());
        // The same again: it is not there any more.
        assert_eq!(operator.post("/admin/clients/new", &delete, &[("confirm", "Ferretería Ñandú")]).await.status, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn the_list_filters_and_orders() {
    TestApp::everywhere(|app| async move {
        let connected = app.tenant("Ana Conectada").await;
        let (quiet, busy, shut) = (bare(&app, "Bruno Sin Odoo", "gratis").await, bare(&app, "Carla Ocupada", "gratis").await, bare(&app, "Dora Cerrada", "basic").await);
        app.edit(shut, TenantEdit { active: Some(false), ..TenantEdit::default() }).await;
        app.edit(quiet, TenantEdit { rnc: Some("131793916".to_owned()), ..TenantEdit::default() }).await;
        let limit = app.state.tenants.tenant_find(busy).await.unwrap().plan.calls_per_month.unwrap();
        let calls: Vec<_> = (0..limit * 9 / 10).map(|_| call(busy, "2026-11-22T14:00:00Z")).collect();
        app.made(&calls).await;
        let operator = app.operator().await;
        let list = async |query: &str| names(&operator.get(&format!("/admin/clients?{query}")).await);
        assert_eq!(list("").await, ["Ana Conectada", "Bruno Sin Odoo", "Carla Ocupada", "Dora Cerrada"]);
        assert_eq!(list("plan=gratis").await, ["Bruno Sin Odoo", "Carla Ocupada"]);
        assert_eq!(list("status=suspended").await, ["Dora Cerrada"]);
        assert_eq!(list("status=active&odoo=missing").await, ["Bruno Sin Odoo", "Carla Ocupada"]);
        assert_eq!(list("odoo=connected").await, ["Ana Conectada"]);
        assert_eq!(list("odoo=paused").await, Vec::<String>::new());
        assert_eq!(list("attention=1").await, ["Bruno Sin Odoo", "Carla Ocupada"]);
        assert_eq!(list("q=131-793").await, ["Bruno Sin Odoo"]);
        assert_eq!(list("sort=calls").await[0], "Carla Ocupada");
        assert_eq!(list("sort=newest").await[0], "Dora Cerrada");
        assert_eq!(list("plan=%27--&status=x&odoo=y&sort=z&after=@@@").await, Vec::<String>::new());
        let page = operator.get("/admin/clients?plan=gratis").await;
        assert!(page.text.contains(&format!("de {limit}")) && page.text.contains("value=\"90\""), "{}", page.text);
        assert_eq!(app.client(&connected.token).request("ping", json!({})).await.status, 200);
        assert!(operator.get("/admin/clients?q=nadie").await.text.contains("Ningún cliente coincide"));
    })
    .await;
}

#[tokio::test]
async fn the_summary_shows_what_is_open_and_the_last_calls() {
    TestApp::everywhere(|app| async move {
        let id = bare(&app, "Ferretería", "pro").await;
        let member = app.member(id, "marta@ferre.do", Level::Owner).await;
        let viewer = app.member(id, "luis@ferre.do", Level::Viewer).await;
        let page = member.get(&path_of(id, "")).await;
        assert!(page.text.contains("Para empezar") && page.text.contains("Todavía no hay llamadas") && page.text.contains(&path_of(id, "/odoo")), "{}", page.text);
        assert!(!page.text.contains("/danger") && !page.text.contains(&path_of(id, "/edit")), "those are the operator's");
        let page = viewer.get(&path_of(id, "")).await;
        assert!(page.text.contains("Para empezar") && !page.text.contains("btn-primary"), "{}", page.text);
        app.made(&[call(id, "2026-11-22T14:00:00Z")]).await;
        let page = member.get(&path_of(id, "")).await;
        assert!(page.text.contains("consultar_rnc_dgii") && page.text.contains("prueba 1") && page.text.contains("100.0"), "{}", page.text);
        assert_eq!(member.get(&path_of(id, "/edit")).await.status, StatusCode::FORBIDDEN);
    })
    .await;
}

/// The fields of the connection's form.
fn odoo_form<'a>(url: &'a str, database: &'a str, login: &'a str, secret: &'a str, version: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("url", url), ("database", database), ("login", login), ("secret", secret), ("protocol", "auto"), ("pace", ""), ("version", version)]
}

#[tokio::test]
async fn an_owner_connects_odoo_and_the_doctor_says_what_is_wrong() {
    TestApp::everywhere(|app| async move {
        let id = bare(&app, "Ferretería", "pro").await;
        let (_, token) = app.token(id, None).await;
        let sandbox = std::sync::Arc::new(SandboxOdoo::dominican_sample("Ferretería"));
        let (url, _server) = serve(std::sync::Arc::clone(&sandbox).router()).await;
        let owner = app.member(id, "marta@ferre.do", Level::Owner).await;
        let (odoo, test) = (path_of(id, "/odoo"), path_of(id, "/odoo/test"));
        let version = owner.get(&odoo).await.hidden("version");
        let form = |secret: &'static str| odoo_form(&url, sandbox.database(), sandbox.login(), secret, &version);

        // Nothing typed: each field says what it wants.
        let page = owner.post(&odoo, &odoo, &odoo_form("", "", "", "", &version)).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        for said in ["https://empresa.odoo.com", "nombre de la base de datos", "Pegue la clave"] {
            assert!(page.text.contains(said), "{said}: {}", page.text);
        }
        let mut fields = form(WRONG_KEY);
        fields[5].1 = "muchas";
        assert!(owner.post(&odoo, &odoo, &fields).await.text.contains("número entero de 0 a 1000"));

        // A wrong key: the doctor stops at the login, with what to do, and the key is nowhere on the page.
        let page = owner.post(&odoo, &test, &form(WRONG_KEY)).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        assert!(page.text.contains("step-bad") && page.text.contains("cree una clave API nueva") && page.text.contains("Hay algo por corregir"), "{}", page.text);
        assert!(!page.text.contains(WRONG_KEY) && !page.text.contains("dunet tenant"), "{}", page.text);
        assert!(app.state.tenants.tenant_find(id).await.unwrap().odoo.is_none(), "nothing was saved");

        // The good one, step by step as script asks for it.
        let csrf = owner.get(&odoo).await.hidden("csrf");
        let mut fields = odoo_form(&url, sandbox.database(), sandbox.login(), sandbox.api_key(), &version);
        fields.push(("csrf", &csrf));
        let live = owner.post_with(&test, &fields, &[("accept", "text/event-stream")]).await;
        assert!(live.headers["content-type"].to_str().unwrap().starts_with("text/event-stream"), "{}", live.text);
        let events: Vec<&str> = live.text.split("\n\n").filter(|event| event.contains("event: swap")).collect();
        assert!(events.len() > 10 && events[0].contains("step-wait") && events[0].contains("id=\"d-1\"") && events[1].contains("step-ok"), "{}", live.text);
        assert!(events.last().unwrap().contains("Todo bien") && !live.text.contains("step-bad") && !live.text.contains(sandbox.api_key()), "{}", live.text);

        // Saved; an agent's next call reaches it, and the secret never comes back.
        fields.pop();
        let page = owner.post(&odoo, &odoo, &fields).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        let page = owner.get(&odoo).await;
        assert!(page.text.contains("Guardada el 22 nov 2026") && page.text.contains(sandbox.database()) && !page.text.contains(sandbox.api_key()), "{}", page.text);
        let found = app.client(&token).call("buscar_cliente", json!({ "consulta": "juan" })).await;
        assert!(found.is_object(), "{found}");
        let change = last_change(&app, id).await;
        assert_eq!(change.after.unwrap()["odoo_secret"], json!("replaced"));
        assert!(!app.dump().await.join("\n").contains(sandbox.api_key()));

        // The form that is stale by now is told so.
        assert_eq!(owner.post(&odoo, &odoo, &fields).await.status, StatusCode::CONFLICT);
    })
    .await;
}

#[tokio::test]
async fn the_saved_secret_goes_to_no_other_server() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Ferretería").await;
        let owner = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let (odoo, test) = (path_of(tenant.id, "/odoo"), path_of(tenant.id, "/odoo/test"));
        let version = owner.get(&odoo).await.hidden("version");
        let (database, login) = (tenant.sandbox.database(), tenant.sandbox.login());
        // Kept while the server stays: another database or path is the same server.
        let page = owner.post(&odoo, &test, &odoo_form(&tenant.odoo_url, database, login, "", &version)).await;
        assert!(page.status == StatusCode::OK && page.text.contains("Todo bien"), "{}", page.text);
        for path in [&odoo, &test] {
            let page = owner.post(&odoo, path, &odoo_form("https://ladron.example", database, login, "", &version)).await;
            assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("Pegue la clave otra vez"), "{path}: {}", page.text);
        }
        let now = app.state.tenants.tenant_find(tenant.id).await.unwrap();
        assert_eq!(now.odoo.unwrap().url.as_str().trim_end_matches('/'), tenant.odoo_url);
    })
    .await;
}

#[tokio::test]
async fn who_may_not_change_the_connection_does_not() {
    TestApp::everywhere(|app| async move {
        let (mine, theirs) = (app.tenant("Ferretería").await, app.tenant("Clínica").await);
        let viewer = app.member(mine.id, "luis@ferre.do", Level::Viewer).await;
        let owner = app.member(mine.id, "marta@ferre.do", Level::Owner).await;
        let version = owner.get(&path_of(mine.id, "/odoo")).await.hidden("version");
        let fields = odoo_form("https://otra.example", "otra", "otro", WRONG_KEY, &version);
        let profile = "/admin/profile";
        let page = viewer.get(&path_of(mine.id, "/odoo")).await;
        assert!(page.status == StatusCode::OK && page.text.contains(mine.sandbox.database()) && !page.text.contains("name=\"secret\""), "{}", page.text);
        let tries: [(&Browser, TenantId, StatusCode); 2] = [(&viewer, mine.id, StatusCode::FORBIDDEN), (&owner, theirs.id, StatusCode::NOT_FOUND)];
        for (who, tenant, wanted) in tries {
            for rest in ["/odoo", "/odoo/test"] {
                assert_eq!(who.post(profile, &path_of(tenant, rest), &fields).await.status, wanted, "{rest}");
            }
        }
        for (rest, fields) in
            [("/edit", client_form("Mía", "", "pro", &version)), ("/status", vec![("status", "active"), ("version", &*version)]), ("/delete", vec![("confirm", "Ferretería")])]
        {
            assert_eq!(owner.post(profile, &path_of(mine.id, rest), &fields).await.status, StatusCode::FORBIDDEN, "{rest}");
        }
        for tenant in [&mine, &theirs] {
            let now = app.state.tenants.tenant_find(tenant.id).await.unwrap();
            assert_eq!(now.odoo.unwrap().database, tenant.sandbox.database());
        }
    })
    .await;
}
