//! The matrix of a client's tools: saved as a whole or not at all, at once, within the plan, over nobody's newer change.

use std::sync::Arc;

use dunet::db::entities::{client_tools, logs};
use dunet::domain::users::Level;
use dunet::odoo::ProtocolChoice;
use dunet::text::{Language, fill, text};
use dunet::tools::TOOLS;
use http::StatusCode;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::json;

use crate::support::TestApp;
use crate::support::odoo::{count, direct};
use crate::support::portal::{Browser, Page};

/// The whole form: these tools on, everything that writes with that policy, that limit everywhere.
struct Matrix<'a> {
    on: &'a [&'a str],
    policy: &'a str,
    limit: &'a str,
}

impl Matrix<'_> {
    async fn send(&self, browser: &Browser, path: &str) -> Page {
        let page = browser.get(path).await;
        self.send_from(browser, path, &page).await
    }

    async fn send_from(&self, browser: &Browser, path: &str, page: &Page) -> Page {
        let mut fields = vec![("csrf".to_owned(), page.hidden("csrf")), ("form_key".to_owned(), page.hidden("form_key")), ("mark".to_owned(), page.hidden("mark"))];
        // Also names that no tool has: the page must notice.
        fields.extend(self.on.iter().map(|name| ("on".to_owned(), (*name).to_owned())));
        for tool in TOOLS.iter().map(|tool| tool.facts()) {
            fields.push(("tool".to_owned(), tool.name.to_owned()));
            fields.push(("limit".to_owned(), self.limit.to_owned()));
            if tool.effect == dunet::tools::tool::Effect::Writes {
                fields.push(("writes".to_owned(), format!("{}:{}", tool.name, self.policy)));
            }
        }
        let pairs: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        browser.post_bare(path, &pairs).await
    }
}

async fn edits(app: &TestApp) -> Vec<logs::Model> {
    logs::Entity::find().filter(logs::Column::Action.eq("tool.edit")).all(&app.state.db).await.unwrap()
}

#[tokio::test]
async fn a_tool_switched_off_is_unknown_at_once() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        let tenant = app.tenant("Ferretería").await;
        let owner = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let client = app.client(&tenant.token);
        let path = format!("/admin/clients/{}/tools", tenant.id);
        assert!(client.tool_names().await.contains(&"buscar_cliente".to_owned()));
        // Nothing changed: nothing is written.
        let all: Vec<&str> = TOOLS.iter().map(|tool| tool.facts().name).collect();
        assert_eq!(Matrix { on: &all, policy: "confirm", limit: "1000" }.send(&owner, &path).await.location(), path);
        assert!(edits(&app).await.is_empty());

        let few = ["consultar_rnc_dgii", "buscar_productos", "crear_cliente"];
        let page = Matrix { on: &few, policy: "direct", limit: "1000" }.send(&owner, &path).await;
        assert_eq!(page.location(), path, "{}", page.text);
        let mut names = client.tool_names().await;
        names.sort();
        assert_eq!(names, ["buscar_productos", "consultar_rnc_dgii", "crear_cliente"]);
        let refused = client.request("tools/call", json!({ "name": "buscar_cliente", "arguments": { "consulta": "x" } })).await;
        assert!(refused.json().get("result").is_none() && refused.json()["error"]["code"] == json!(-32602), "{}", refused.text);
        let rows = edits(&app).await;
        assert_eq!(rows.len(), TOOLS.len() - few.len() + 1, "one for each that changed: those off, and the policy of the one that writes and stays on");
        assert!(rows.iter().all(|row| row.actor == "marta@ferre.do" && row.client_id == Some(tenant.id.uuid())));
        let page = owner.get(&path).await;
        assert!(page.text.contains("value=\"crear_cliente:direct\" selected"), "{}", page.text);
    })
    .await;
}

#[tokio::test]
async fn the_way_of_writing_and_the_limit_take_effect_at_once() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        let tenant = app.tenant("Ferretería").await;
        let owner = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let client = app.client(&tenant.token);
        let odoo = direct(&tenant.sandbox, &tenant.odoo_url).await;
        let stored = async |name: &str| count(&odoo, "res.partner", json!([["name", "=", name]])).await;
        let path = format!("/admin/clients/{}/tools", tenant.id);
        let few = ["buscar_productos", "crear_cliente"];
        let choose = async |policy, limit| assert_eq!(Matrix { on: &few, policy, limit }.send(&owner, &path).await.status, StatusCode::SEE_OTHER);

        // Confirmed: a preview first, and nothing is written before its code comes back.
        choose("confirm", "1000").await;
        let mut first = json!({ "nombre": "Colmado La Fe", "telefono": "8095550001" });
        let preview = client.call("crear_cliente", first.clone()).await;
        assert!(preview["vista_previa"].is_object() && stored("Colmado La Fe").await == 0, "{preview}");
        first["codigo_confirmacion"] = json!(preview["codigo_confirmacion"].as_str().expect("a code"));
        client.call("crear_cliente", first).await;
        assert_eq!(stored("Colmado La Fe").await, 1);

        // Direct: the first call writes.
        choose("direct", "1000").await;
        let made = client.call("crear_cliente", json!({ "nombre": "Colmado La Paz", "telefono": "8095550002" })).await;
        assert!(made.get("codigo_confirmacion").is_none() && stored("Colmado La Paz").await == 1, "{made}");

        // And back.
        choose("confirm", "1000").await;
        let preview = client.call("crear_cliente", json!({ "nombre": "Colmado La Luz", "telefono": "8095550003" })).await;
        assert!(preview["codigo_confirmacion"].is_string() && stored("Colmado La Luz").await == 0, "{preview}");

        // One call an hour: the second is refused, and says why and for how long.
        choose("confirm", "1").await;
        client.call("buscar_productos", json!({ "consulta": "martillo" })).await;
        let refused = client.fail("buscar_productos", json!({ "consulta": "martillo" })).await;
        assert_eq!((&refused["codigo"], &refused["reintentable"]), (&json!("limite_herramienta"), &json!(true)), "{refused}");
        assert!(refused["mensaje"].as_str().unwrap().contains('1') && refused["que_hacer"].as_str().unwrap().contains("3600"), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn the_plans_number_holds_and_a_bad_matrix_changes_nothing() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        let tenant = app.tenant_on("Ferretería", "gratis", ProtocolChoice::Auto).await;
        let owner = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let path = format!("/admin/clients/{}/tools", tenant.id);
        let stored = async || client_tools::Entity::find().all(&app.state.db).await.unwrap();
        let before = stored().await;
        let three = ["consultar_rnc_dgii", "buscar_cliente", "buscar_productos"];
        let page = Matrix { on: &three, policy: "confirm", limit: "77" }.send(&owner, &path).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        let said = fill(Language::Es, "portal.tools.too_many", &[("plan", "Gratis"), ("max", "2"), ("on", "3")]);
        assert!(page.text.contains(&said), "{}", page.text);
        assert!(page.text.contains("value=\"buscar_productos\" aria-label") && page.text.matches("value=\"77\"").count() == TOOLS.len(), "what was typed comes back");
        for limit in ["0", "", "-1", "mil", "100001"] {
            let page = Matrix { on: &three[..2], policy: "confirm", limit }.send(&owner, &path).await;
            assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains(&text(Language::Es, "portal.faults.tool_limit")), "{limit}");
        }
        for (on, policy) in [(&["no_hay"][..], "confirm"), (&three[..1], "siempre")] {
            assert_eq!(Matrix { on, policy, limit: "5" }.send(&owner, &path).await.status, StatusCode::BAD_REQUEST);
        }
        assert!(stored().await == before && edits(&app).await.is_empty(), "nothing was changed");

        // Another pair is fine: one goes, one comes.
        let other = ["consultar_rnc_dgii", "buscar_productos"];
        assert_eq!(Matrix { on: &other, policy: "confirm", limit: "1000" }.send(&owner, &path).await.status, StatusCode::SEE_OTHER);
        let mut names = app.client(&tenant.token).tool_names().await;
        names.sort();
        assert_eq!(names, ["buscar_productos", "consultar_rnc_dgii"]);
    })
    .await;
}

#[tokio::test]
async fn a_stale_matrix_and_a_viewers_are_refused() {
    TestApp::everywhere(|app: Arc<TestApp>| async move {
        let tenant = app.tenant("Ferretería").await;
        let owner = app.member(tenant.id, "marta@ferre.do", Level::Owner).await;
        let operator = app.operator().await;
        let path = format!("/admin/clients/{}/tools", tenant.id);
        let old = owner.get(&path).await;
        assert_eq!(Matrix { on: &["buscar_cliente"], policy: "confirm", limit: "1000" }.send(&operator, &path).await.status, StatusCode::SEE_OTHER);
        let page = Matrix { on: &["buscar_productos"], policy: "confirm", limit: "1000" }.send_from(&owner, &path, &old).await;
        assert_eq!(page.status, StatusCode::CONFLICT);
        assert_eq!(app.client(&tenant.token).tool_names().await, ["buscar_cliente"]);
        let viewer = app.member(tenant.id, "luis@ferre.do", Level::Viewer).await;
        let page = viewer.get(&path).await;
        assert!(page.status == StatusCode::OK && page.text.contains("buscar_cliente") && !page.text.contains("type=\"submit\"><span>Guardar"));
        assert_eq!(Matrix { on: &[], policy: "confirm", limit: "1000" }.send(&viewer, &path).await.status, StatusCode::FORBIDDEN);
    })
    .await;
}
