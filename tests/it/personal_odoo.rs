//! *Mi acceso a Odoo*: calls under a member's token come to Odoo as the user that the member stored, and nobody else's do.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dunet::db::entities::{logs, memberships};
use dunet::demo::sandbox::{SandboxOdoo, SandboxRights};
use dunet::domain::backup;
use dunet::domain::oauth::NewApplication;
use dunet::domain::tenants::{PersonalPolicy, TenantEdit, Tenants, WritePolicy};
use dunet::domain::users::Level;
use dunet::domain::vault::Vault;
use dunet::ids::TenantId;
use dunet::odoo::{OdooClient, ProtocolChoice};
use http::StatusCode;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::mcp::McpClient;
use crate::support::oauth::{Program, form, text};
use crate::support::odoo::{self, Fault, Proxy, direct, records};
use crate::support::portal::{Browser, Page};
use crate::support::{TestApp, VAULT_KEY, actor, serve, until};

const WRONG_KEY: &str = "0123456789abcdef0123456789abcdef01234567";

/// A company behind a proxy, whose people may use an Odoo user of their own, and whose writes are done at once.
struct Company {
    id: TenantId,
    page: String,
    /// With the company's API token.
    client: McpClient,
    sandbox: Arc<SandboxOdoo>,
    odoo: OdooClient,
    proxy: Proxy,
    program: Program,
    _server: tokio_util::task::AbortOnDropHandle<()>,
}

async fn company(app: &TestApp, name: &str) -> Company {
    let sandbox = Arc::new(SandboxOdoo::dominican_sample(name));
    let (url, server) = serve(Arc::clone(&sandbox).router()).await;
    let proxy = Proxy::start(&url).await;
    let (id, token) = app.tenant_at(name, odoo::settings(&sandbox, &proxy.url, ProtocolChoice::Auto)).await;
    let edit = TenantEdit { write_policy: Some(WritePolicy::Direct), odoo_personal: Some(PersonalPolicy::Allowed), ..TenantEdit::default() };
    app.edit(id, edit).await;
    let (page, odoo) = (format!("/admin/clients/{id}/odoo/mine"), direct(&sandbox, &url).await);
    Company { id, page, client: app.client(&token), sandbox, odoo, proxy, program: Program::registered(app).await, _server: server }
}

impl Company {
    /// One of its people, and what an agent calls that they let in.
    async fn member(&self, app: &TestApp, email: &str) -> (Browser, McpClient) {
        let browser = app.member(self.id, email, Level::Owner).await;
        let access = self.program.connected(&browser).await.0;
        (browser, app.client(&access))
    }

    async fn send(&self, browser: &Browser, rest: &str, login: &str, secret: &str) -> Page {
        let version = browser.get(&self.page).await.hidden("version");
        browser.post(&self.page, &format!("{}{rest}", self.page), &[("login", login), ("secret", secret), ("version", &version)]).await
    }

    /// Stores a new Odoo user as their own; its id.
    async fn own(&self, browser: &Browser, login: &str, rights: SandboxRights) -> i64 {
        let (uid, key) = self.sandbox.user_add(login, rights);
        let saved = self.send(browser, "", login, key.expose_secret()).await;
        assert_eq!((saved.status, saved.location()), (StatusCode::SEE_OTHER, self.page.as_str()), "{}", saved.text);
        uid
    }

    /// Makes a quotation: who Odoo says made it.
    async fn quotes(&self, client: &McpClient) -> i64 {
        let made = client.call("crear_cotizacion", quote()).await;
        let order = records(&self.odoo, "sale.order", json!([["name", "=", made["numero"]]]), &["create_uid", "user_id"]).await.remove(0);
        assert_eq!(order["create_uid"], order["user_id"], "{order}");
        order["create_uid"][0].as_i64().expect("a user")
    }

    async fn policy(&self, app: &TestApp, policy: PersonalPolicy) {
        app.edit(self.id, TenantEdit { odoo_personal: Some(policy), ..TenantEdit::default() }).await;
    }
}

fn quote() -> Value {
    json!({ "cliente": "Colegio Nuevo Amanecer", "lineas": [{ "producto": "MAR-016" }], "clave": uuid::Uuid::new_v4().to_string() })
}

async fn membership(app: &TestApp, tenant: TenantId, email: &str) -> memberships::Model {
    let user = app.state.users.user_by_email(email).await.expect("somebody");
    let found = memberships::Entity::find().filter(memberships::Column::ClientId.eq(tenant.uuid())).filter(memberships::Column::UserId.eq(user.uuid()));
    found.one(&app.state.db).await.expect("asked").expect("a membership")
}

async fn stored(app: &TestApp, tenant: TenantId, email: &str) -> bool {
    let row = membership(app, tenant, email).await;
    let (login, secret, at) = (row.odoo_login.is_some(), row.odoo_secret_sealed.is_some(), row.odoo_saved_at.is_some());
    assert!(login == secret && secret == at, "all or nothing");
    login
}

#[tokio::test]
async fn odoo_knows_the_person() {
    TestApp::everywhere(|app| async move {
        let nova = company(&app, "Nova").await;
        let (marta, martas) = nova.member(&app, "marta@nova.do").await;
        let (luis, luiss) = nova.member(&app, "luis@nova.do").await;
        let companys = nova.sandbox.uid();
        assert_eq!([nova.quotes(&martas).await, nova.quotes(&luiss).await, nova.quotes(&nova.client).await], [companys; 3], "nobody stored anything");

        let uid = nova.own(&marta, "marta@nova.do", SandboxRights::Seller).await;
        assert_ne!(uid, companys);
        assert_eq!([nova.quotes(&martas).await, nova.quotes(&luiss).await, nova.quotes(&nova.client).await], [uid, companys, companys], "the first call sees it");

        // Odoo's own rights: who may not sell there may not here, and that is theirs alone.
        nova.own(&luis, "luis@nova.do", SandboxRights::NoSales).await;
        let denied = luiss.fail("crear_cotizacion", quote()).await;
        assert_eq!((denied["codigo"].as_str(), denied["reintentable"].as_bool()), (Some("odoo_sin_permiso"), Some(false)), "{denied}");
        assert!(denied["mensaje"].as_str().unwrap().contains("sale.order"), "in Odoo's words: {denied}");
        assert!(luiss.call("buscar_cliente", json!({ "consulta": "Colegio" })).await["clientes"].is_array());
        assert_eq!([nova.quotes(&martas).await, nova.quotes(&nova.client).await], [uid, companys]);

        // Their own again when they take theirs away, or the company everybody's.
        let gone = luis.post(&nova.page, &format!("{}/remove", nova.page), &[]).await;
        assert_eq!(gone.status, StatusCode::SEE_OTHER, "{}", gone.text);
        assert_eq!((nova.quotes(&luiss).await, stored(&app, nova.id, "luis@nova.do").await), (companys, false));
        nova.policy(&app, PersonalPolicy::Off).await;
        assert_eq!((nova.quotes(&martas).await, stored(&app, nova.id, "marta@nova.do").await), (companys, false), "switched off, nothing is kept");
    })
    .await;
}

#[tokio::test]
async fn a_company_may_ask_for_it() {
    TestApp::everywhere(|app| async move {
        app.padron(50).await;
        let nova = company(&app, "Nova").await;
        let (marta, martas) = nova.member(&app, "marta@nova.do").await;
        nova.policy(&app, PersonalPolicy::Required).await;
        let missing = martas.fail("crear_cotizacion", quote()).await;
        assert_eq!((missing["codigo"].as_str(), missing["reintentable"].as_bool()), (Some("odoo_propio_falta"), Some(false)), "{missing}");
        assert!(missing["que_hacer"].as_str().unwrap().contains("«Mi acceso a Odoo»"), "where to store it: {missing}");
        // What needs no Odoo needs no user there.
        assert!(martas.call("buscar_contribuyente", json!({ "nombre": "Comercial" })).await.is_object());
        // Tokens of the company and its machines act for the company.
        assert_eq!(nova.quotes(&nova.client).await, nova.sandbox.uid());
        let packs = Some(["sales", "writes"].map(str::to_owned).to_vec());
        let new = NewApplication { name: "Central".to_owned(), redirect_uris: Vec::new(), tenant: Some(nova.id), machine_packs: packs };
        let made = app.state.oauth.application_add(new, &app.mcp_url(), &actor()).await.unwrap();
        let basic = STANDARD.encode(format!("{}:{}", made.application.identifier, made.secret.unwrap().expose_secret()));
        let issued = form(&app.base, "/oauth/token", &[("grant_type", "client_credentials"), ("resource", &app.mcp_url())], &[("authorization", &format!("Basic {basic}"))]).await;
        assert_eq!(nova.quotes(&app.client(&text(&issued.json(), "access_token"))).await, nova.sandbox.uid());
        assert!(marta.get(&nova.page).await.text.contains("sin él, esos agentes no pueden usar Odoo"));
        let uid = nova.own(&marta, "marta@nova.do", SandboxRights::Seller).await;
        assert_eq!(nova.quotes(&martas).await, uid);
    })
    .await;
}

#[tokio::test]
async fn the_page_takes_a_secret_and_never_gives_it_back() {
    TestApp::everywhere(|app| async move {
        let nova = company(&app, "Nova").await;
        let (marta, _) = nova.member(&app, "marta@nova.do").await;
        let viewer = app.member(nova.id, "ve@nova.do", Level::Viewer).await;
        let companys_page = nova.page.trim_end_matches("/mine").to_owned();
        for member in [&marta, &viewer] {
            assert!(member.get(&companys_page).await.text.contains(&nova.page), "the way there");
        }
        let (_, key) = nova.sandbox.user_add("marta@nova.do", SandboxRights::Seller);
        let key = key.expose_secret();
        // Tried with the doctor's steps; nothing is saved.
        let wrong = nova.send(&marta, "/test", "marta@nova.do", WRONG_KEY).await;
        assert!(wrong.text.contains("step-bad") && wrong.text.contains("Odoo no aceptó el usuario o la clave") && !wrong.text.contains(WRONG_KEY), "{}", wrong.text);
        let good = nova.send(&marta, "/test", "marta@nova.do", key).await;
        assert!(good.text.contains("Todo bien") && !good.text.contains("step-bad") && !good.text.contains(key), "{}", good.text);
        assert!(!stored(&app, nova.id, "marta@nova.do").await);
        for (login, secret) in [("", key), ("marta@nova.do", ""), ("marta@nova.do", "  "), ("mar\u{7}ta", key)] {
            let fault = nova.send(&marta, "", login, secret).await;
            assert!(fault.status == StatusCode::UNPROCESSABLE_ENTITY && !fault.text.contains(key), "{login:?}: {}", fault.text);
        }
        assert_eq!(nova.send(&marta, "", " marta@nova.do ", key).await.status, StatusCode::SEE_OTHER);
        let page = marta.get(&nova.page).await;
        assert!(page.text.contains("marta@nova.do") && page.text.contains("Guardada el") && !page.text.contains(key), "{}", page.text);
        let saved = nova.send(&marta, "/test", "marta@nova.do", "").await;
        assert!(saved.text.contains("Todo bien"), "an empty field tries the saved one: {}", saved.text);

        // Sealed, and not in the audit.
        let row = membership(&app, nova.id, "marta@nova.do").await;
        assert!(row.odoo_login.as_deref() == Some("marta@nova.do") && row.odoo_secret_sealed.as_deref().is_some_and(|sealed| sealed.starts_with("v1.") && !sealed.contains(key)));
        let audit = logs::Entity::find().order_by_asc(logs::Column::Id).all(&app.state.db).await.unwrap();
        let told = audit.iter().find(|row| row.action == "member.odoo").expect("a row");
        assert_eq!((told.actor.as_str(), told.client_id, &told.after), ("marta@nova.do", Some(nova.id.uuid()), &Some(json!({ "login": "marta@nova.do", "secret": "replaced" }))));
        assert!(!format!("{audit:?}").contains(key));

        // The company's page was changed since: the secret goes to no server that was not shown.
        let stale = marta.get(&nova.page).await.hidden("version");
        app.edit(nova.id, TenantEdit { name: Some("Nova SRL".to_owned()), ..TenantEdit::default() }).await;
        for rest in ["", "/test"] {
            let page = marta.post(&nova.page, &format!("{}{rest}", nova.page), &[("login", "x"), ("secret", key), ("version", &stale)]).await;
            assert_eq!(page.status, StatusCode::CONFLICT, "{rest}: {}", page.text);
        }

        // An operator has none and sees nobody's; a viewer has their own.
        let operator = app.operator().await;
        let page = operator.get(&nova.page).await;
        assert!(page.text.contains("El operador no tiene ninguno") && !page.text.contains("marta@nova.do"), "{}", page.text);
        let version = marta.get(&nova.page).await.hidden("version");
        for (rest, fields) in [
            ("", vec![("login", "x"), ("secret", key), ("version", version.as_str())]),
            ("/test", vec![("login", "x"), ("secret", ""), ("version", version.as_str())]),
            ("/remove", vec![]),
        ] {
            assert_eq!(operator.post(&companys_page, &format!("{}{rest}", nova.page), &fields).await.status, StatusCode::FORBIDDEN, "{rest}");
        }
        assert!(!viewer.get(&nova.page).await.text.contains("marta@nova.do"));
        nova.own(&viewer, "ve@nova.do", SandboxRights::Seller).await;
        assert!(stored(&app, nova.id, "marta@nova.do").await && stored(&app, nova.id, "ve@nova.do").await);
        // Where the company does not let its people, there is nothing to store.
        nova.policy(&app, PersonalPolicy::Off).await;
        let page = marta.get(&nova.page).await;
        assert!(page.text.contains("un solo usuario de Odoo") && !page.text.contains("name=\"secret\""), "{}", page.text);
        let version = app.state.tenants.tenant_find(nova.id).await.unwrap().version.to_string();
        for rest in ["", "/test"] {
            let refused = marta.post(&companys_page, &format!("{}{rest}", nova.page), &[("login", "x"), ("secret", key), ("version", &version)]).await;
            assert!(refused.status == StatusCode::UNPROCESSABLE_ENTITY && refused.text.contains("no permite ahora"), "{rest}: {}", refused.text);
        }
    })
    .await;
}

#[tokio::test]
async fn an_owner_and_an_operator_switch_it() {
    TestApp::everywhere(|app| async move {
        let nova = company(&app, "Nova").await;
        let (marta, _) = nova.member(&app, "marta@nova.do").await;
        let path = nova.page.trim_end_matches("/mine");
        let version = marta.get(path).await.hidden("version");
        let now = async || app.state.tenants.tenant_find(nova.id).await.unwrap().odoo_personal;
        let mut fields =
            vec![("url", nova.proxy.url.as_str()), ("database", nova.sandbox.database()), ("login", nova.sandbox.login()), ("secret", ""), ("protocol", "auto"), ("pace", "")];
        fields.extend([("version", version.as_str()), ("personal", "todos")]);
        assert_eq!(marta.post(path, path, &fields).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        *fields.last_mut().unwrap() = ("personal", "required");
        assert_eq!(marta.post(path, path, &fields).await.status, StatusCode::SEE_OTHER);
        assert_eq!(now().await, PersonalPolicy::Required);
        assert!(marta.get(path).await.text.contains("<option value=\"required\" selected>"));
        // A program of the operator's, and the shell.
        let program = crate::support::api::Program::new(&app, "prueba").await;
        let api = format!("/admin/api/clients/{}/odoo", nova.id);
        assert_eq!(program.get(&api).await.json["personal"], "required");
        let body = json!({ "url": nova.proxy.url, "database": nova.sandbox.database(), "login": nova.sandbox.login(), "personal": "allowed" });
        assert_eq!(program.send(http::Method::PUT, &api, &body).await.json["personal"], "allowed");
        let kept = json!({ "url": nova.proxy.url, "database": nova.sandbox.database(), "login": nova.sandbox.login() });
        assert_eq!(program.send(http::Method::PUT, &api, &kept).await.json["personal"], "allowed", "absent keeps it");
        assert_eq!(now().await, PersonalPolicy::Allowed);
    })
    .await;
}

#[tokio::test]
async fn it_goes_with_the_membership_and_with_the_server() {
    TestApp::everywhere(|app| async move {
        let nova = company(&app, "Nova").await;
        let email = "marta@nova.do";
        let (mut marta, martas) = nova.member(&app, email).await;
        let _other_owner = app.member(nova.id, "duena@nova.do", Level::Owner).await;
        let program = crate::support::api::Program::new(&app, "prueba").await;
        let act = async |method: http::Method, path: String| {
            let answer = program.send(method, &path, &json!({})).await;
            assert!(answer.status.is_success(), "{path}: {answer:?}");
        };
        nova.own(&marta, email, SandboxRights::Seller).await;
        // What changes neither server nor database keeps it.
        let protocol = TenantEdit { name: Some("Nova SRL".to_owned()), odoo_protocol: Some(ProtocolChoice::Json2), ..TenantEdit::default() };
        app.edit(nova.id, protocol).await;
        assert!(stored(&app, nova.id, email).await);

        let url = |text: &str| TenantEdit { odoo_url: Some(text.parse().unwrap()), ..TenantEdit::default() };
        let database = |text: &str| TenantEdit { odoo_database: Some(text.to_owned()), ..TenantEdit::default() };
        for edit in [url("https://otra.example"), url(&format!("{}/otra", nova.proxy.url)), database("otra")] {
            app.edit(nova.id, edit).await;
            assert!(!stored(&app, nova.id, email).await, "it was for another server");
            app.edit(nova.id, TenantEdit { odoo_database: Some(nova.sandbox.database().to_owned()), ..url(&nova.proxy.url) }).await;
            assert_eq!(nova.quotes(&martas).await, nova.sandbox.uid());
            nova.own(&marta, email, SandboxRights::Seller).await;
        }
        app.state.tenants.odoo_remove(nova.id, None, &actor()).await.unwrap();
        assert!(!stored(&app, nova.id, email).await);
        let odoo = odoo::settings(&nova.sandbox, &nova.proxy.url, ProtocolChoice::Auto);
        let edit = TenantEdit { odoo_database: Some(odoo.database), odoo_login: Some(odoo.login), odoo_secret: Some(odoo.secret), ..url(&nova.proxy.url) };
        app.edit(nova.id, edit).await;

        // Kept out of the service, and taken out of the company: nothing is left for when they come again.
        nova.own(&marta, email, SandboxRights::Seller).await;
        let user = app.state.users.user_by_email(email).await.unwrap();
        act(http::Method::POST, format!("/admin/api/people/{user}/disable")).await;
        assert!(!stored(&app, nova.id, email).await);
        act(http::Method::POST, format!("/admin/api/people/{user}/enable")).await;
        marta = app.signed_in(email).await;
        let again = app.client(&nova.program.connected(&marta).await.0);
        assert_eq!(nova.quotes(&again).await, nova.sandbox.uid());
        let uid = nova.own(&marta, email, SandboxRights::Seller).await;
        assert_eq!(nova.quotes(&again).await, uid);
        act(http::Method::DELETE, format!("/admin/api/clients/{}/members/{user}", nova.id)).await;
        assert_eq!(memberships::Entity::find().filter(memberships::Column::OdooLogin.is_not_null()).all(&app.state.db).await.unwrap(), []);
        until("the agent is out", || async { again.request("tools/list", json!({})).await.status == 401 }).await;
    })
    .await;
}

#[tokio::test]
async fn a_wrong_key_is_its_owners_affair() {
    let settings = ["--odoo-failures-max", "2", "--watch-ms", "3600000"];
    TestApp::everywhere_with(&settings, |app| async move {
        let nova = company(&app, "Nova").await;
        let (marta, martas) = nova.member(&app, "marta@nova.do").await;
        let (luis, luiss) = nova.member(&app, "luis@nova.do").await;
        let uid = nova.own(&luis, "luis@nova.do", SandboxRights::Seller).await;
        assert_eq!(nova.send(&marta, "", "marta@nova.do", WRONG_KEY).await.status, StatusCode::SEE_OTHER);
        assert_eq!([nova.quotes(&luiss).await, nova.quotes(&nova.client).await], [uid, nova.sandbox.uid()]);
        let (logins, versions) = (nova.proxy.seen("\"authenticate\""), nova.proxy.seen("version_info"));
        for _ in 0..6 {
            let refused = martas.fail("buscar_cliente", json!({ "consulta": "Colegio" })).await;
            assert_eq!((refused["codigo"].as_str(), refused["reintentable"].as_bool()), (Some("odoo_propio_rechazado"), Some(false)), "{refused}");
            assert!(!refused.to_string().contains(WRONG_KEY) && refused["que_hacer"].as_str().unwrap().contains("«Mi acceso a Odoo»"), "{refused}");
        }
        // Odoo counts wrong log-ins by address, which is everybody's: it was asked once.
        assert_eq!(nova.proxy.seen("\"authenticate\"") - logins, 1);
        assert!(app.state.connections.paused_tenants().is_empty());
        assert_eq!([nova.quotes(&luiss).await, nova.quotes(&nova.client).await], [uid, nova.sandbox.uid()]);
        assert_eq!(nova.proxy.seen("version_info") - versions, 1, "nobody else had to connect anew");

        // A key that ends in Odoo while its client is warm ends that client only.
        nova.sandbox.user_close(uid);
        for _ in 0..2 {
            assert_eq!(luiss.fail("buscar_cliente", json!({ "consulta": "Colegio" })).await["codigo"], "odoo_propio_rechazado");
        }
        let versions = nova.proxy.seen("version_info");
        assert_eq!(nova.quotes(&nova.client).await, nova.sandbox.uid());
        assert_eq!(nova.proxy.seen("version_info"), versions, "the company's stayed warm");
        // A new one is believed at once.
        let new = nova.own(&luis, "luis.nuevo@nova.do", SandboxRights::Seller).await;
        assert_eq!(nova.quotes(&luiss).await, new);
    })
    .await;
}

#[tokio::test]
async fn the_people_of_a_company_share_its_lane() {
    TestApp::everywhere_with(&["--odoo-places-per-tenant", "1"], |app| async move {
        let nova = company(&app, "Nova").await;
        let (marta, martas) = nova.member(&app, "marta@nova.do").await;
        nova.own(&marta, "marta@nova.do", SandboxRights::Seller).await;
        let find = |what: &'static str| json!({ "consulta": what });
        martas.call("buscar_cliente", find("Colegio")).await;
        nova.client.call("buscar_cliente", find("Colegio")).await;
        nova.proxy.break_next("Amanecer", Fault::Hold);
        let both = async {
            tokio::join!(martas.call("buscar_cliente", find("Amanecer")), async {
                nova.proxy.held().await;
                nova.client.call("buscar_cliente", find("Nuevo")).await
            })
        };
        let release = async {
            until("the company's call waits behind its member's", || async { app.state.connections.waiting() == 1 }).await;
            nova.proxy.release();
        };
        let ((one, other), ()) = tokio::join!(both, release);
        assert!(one["clientes"].is_array() && other["clientes"].is_array());
    })
    .await;
}

#[tokio::test]
async fn an_approved_write_is_of_who_asked() {
    TestApp::everywhere(|app| async move {
        let nova = company(&app, "Nova").await;
        let (marta, martas) = nova.member(&app, "marta@nova.do").await;
        let (luis, _) = nova.member(&app, "luis@nova.do").await;
        let uid = nova.own(&marta, "marta@nova.do", SandboxRights::Seller).await;
        nova.own(&luis, "luis@nova.do", SandboxRights::NoSales).await;
        app.write_policy(nova.id, WritePolicy::OwnerApproves).await;
        let asked = quote();
        assert_eq!(martas.call("crear_cotizacion", asked.clone()).await["estado"], "pendiente_de_aprobacion");
        let path = format!("/admin/clients/{}/approvals", nova.id);
        let page = luis.get(&path).await;
        let sent = luis.post(&path, &format!("{path}/approve"), &[("id", &page.hidden("id")), ("plan", &page.hidden("plan"))]).await;
        assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text);
        let done = martas.call("crear_cotizacion", asked).await;
        let order = records(&nova.odoo, "sale.order", json!([["name", "=", done["numero"]]]), &["create_uid"]).await.remove(0);
        assert_eq!(order["create_uid"][0], json!(uid), "{order}");
    })
    .await;
}

#[tokio::test]
async fn what_is_sealed_opens_for_one_person_of_one_company() {
    TestApp::everywhere(|app| async move {
        let (nova, otra) = (company(&app, "Nova").await, company(&app, "Otra").await);
        let (marta, martas_at_otra) = otra.member(&app, "marta@x.do").await;
        let (_luis, luiss) = nova.member(&app, "luis@x.do").await;
        // She comes to Nova too.
        let there = membership(&app, otra.id, "marta@x.do").await;
        let here = memberships::Model { id: uuid::Uuid::now_v7(), client_id: nova.id.uuid(), ..there.clone() };
        here.into_active_model().insert(&app.state.db).await.unwrap();
        let uid = nova.own(&marta, "marta@nova.do", SandboxRights::Seller).await;
        assert_eq!(otra.quotes(&martas_at_otra).await, otra.sandbox.uid(), "of the other company it is not");
        // Whoever writes into the database moves it to her other company, or to somebody else of this one: it does not open, and nothing else is used instead.
        let sealed = membership(&app, nova.id, "marta@x.do").await;
        for (row, tenant, client) in [(there, otra.id, &martas_at_otra), (membership(&app, nova.id, "luis@x.do").await, nova.id, &luiss)] {
            let mut moved = row.into_active_model();
            moved.odoo_login = sea_orm::Set(sealed.odoo_login.clone());
            moved.odoo_secret_sealed = sea_orm::Set(sealed.odoo_secret_sealed.clone());
            moved.odoo_saved_at = sea_orm::Set(sealed.odoo_saved_at);
            moved.update(&app.state.db).await.unwrap();
            app.state.tokens.forget(tenant);
            let failed = client.fail("crear_cotizacion", quote()).await;
            assert_eq!(failed["codigo"], "error_interno", "{failed}");
        }
        // A new master key wraps it too, since it wraps the company's.
        let at_nova = memberships::Entity::delete_many().filter(memberships::Column::ClientId.eq(otra.id.uuid()));
        at_nova.exec(&app.state.db).await.unwrap();
        let martas = app.client(&nova.program.connected(&app.signed_in("marta@x.do").await).await.0);
        assert_eq!(nova.quotes(&martas).await, uid);
        let rotate = async |new: [u8; 32], old: [u8; 32]| {
            let tenants = Tenants::new(app.state.db.clone(), Vault::from_keys(&new, Some(&old)), app.clock.clone());
            tenants.keys_rotate(&actor()).await.unwrap();
            app.state.tokens.forget(nova.id);
            app.state.connections.forget(nova.id);
        };
        rotate([9; 32], VAULT_KEY).await;
        assert_eq!(martas.fail("crear_cotizacion", quote()).await["codigo"], "error_interno");
        rotate(VAULT_KEY, [9; 32]).await;
        assert_eq!(nova.quotes(&martas).await, uid);
    })
    .await;
}

#[tokio::test]
async fn it_moves_with_the_company_but_not_to_another_account() {
    TestApp::everywhere(|app| async move {
        let nova = company(&app, "Nova").await;
        for email in ["marta@nova.do", "luis@nova.do"] {
            let (browser, _) = nova.member(&app, email).await;
            nova.own(&browser, email, SandboxRights::Seller).await;
        }
        // What somebody let in who is not of the company any more is no obstacle.
        drop(nova.member(&app, "fue@nova.do").await);
        let owner = app.signed_in("marta@nova.do").await;
        let (people, user) = (format!("/admin/clients/{}/members", nova.id), app.state.users.user_by_email("fue@nova.do").await.unwrap().to_string());
        assert_eq!(owner.post(&people, &format!("{people}/remove"), &[("user", &user)]).await.status, StatusCode::SEE_OTHER);
        let file = app.folder.path().join("nova.zip");
        backup::backup(&app.state.db, &app.clock, &file, Some(nova.id)).await.unwrap();
        let other = TestApp::start(app.backend, &[]).await;
        // Luis has an account there, under another id: sealed for who he was, it would not open.
        let local = other.tenant("Colmado").await;
        drop(other.member(local.id, "luis@nova.do", Level::Viewer).await);
        backup::tenant_import(&other.state.db, &other.clock, &Vault::from_keys(&VAULT_KEY, None), &file, &actor()).await.unwrap();
        assert!(!stored(&other, nova.id, "luis@nova.do").await && stored(&other, nova.id, "marta@nova.do").await);
        let browser = other.signed_in("marta@nova.do").await;
        let martas = other.client(&Program::registered(&other).await.connected(&browser).await.0);
        let uid = nova.quotes(&martas).await;
        assert!(uid != nova.sandbox.uid() && nova.quotes(&other.client(&other.token(nova.id, None).await.1)).await == nova.sandbox.uid());
    })
    .await;
}
