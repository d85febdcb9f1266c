//! Limits that are not a plan's: writes, repetitions, and what a restart must not forget.

use dunet::domain::tenants::{ToolEdit, WritePolicy};
use dunet::odoo::ProtocolChoice;
use serde_json::{Value, json};

use crate::support::{TestApp, actor, backends};

/// A taxpayer that every sample listing has.
const RNC: &str = "131793916";

fn customer(number: usize) -> Value {
    json!({ "nombre": format!("Cliente Número {number}"), "telefono": format!("809555{number:04}") })
}

#[tokio::test]
async fn writes_have_a_lower_limit_of_their_own() {
    TestApp::everywhere_with(&["--tenant-writes-per-hour", "2"], |app| async move {
        let (tenant, other) = (app.tenant("Uno").await, app.tenant("Dos").await);
        for tenant in [&tenant, &other] {
            app.write_policy(tenant.id, WritePolicy::Confirm).await;
        }
        let client = app.client(&tenant.token);
        let mut codes = Vec::new();
        for number in 0..4 {
            // Previews are not counted.
            codes.push(client.call("crear_cliente", customer(number)).await["codigo_confirmacion"].clone());
        }
        let confirmed = |number: usize| {
            let mut arguments = customer(number);
            arguments["codigo_confirmacion"] = codes[number].clone();
            arguments
        };
        client.call("crear_cliente", confirmed(0)).await;
        client.call("crear_cliente", confirmed(1)).await;
        let refused = client.fail("crear_cliente", confirmed(2)).await;
        assert_eq!((&refused["codigo"], &refused["reintentable"], &refused["datos"]["limite"]), (&json!("limite_escrituras"), &json!(true), &json!(2)), "{refused}");
        let wait = refused["datos"]["reintentar_en_s"].as_i64().unwrap();
        assert!(refused["que_hacer"].as_str().unwrap().contains(&wait.to_string()), "{refused}");
        // Refused before anything was done: nothing is in Odoo, it does not count, and it is no use of the code.
        assert!(client.call("buscar_cliente", json!({ "consulta": "Cliente Número 2" })).await["total"] == 0);
        let rows = app.usage_rows(8).await;
        assert_eq!(rows.iter().filter(|row| row.outcome == "refused" && !row.counted && row.error_code.as_deref() == Some("limite_escrituras")).count(), 1, "{rows:?}");
        // Who asks again for what was done gets it, at the limit too; the other company has its own limit.
        assert_eq!(client.fail("crear_cliente", confirmed(0)).await["codigo"], "codigo_usado");
        let theirs = app.client(&other.token);
        let mut first = customer(9);
        first["codigo_confirmacion"] = theirs.call("crear_cliente", first.clone()).await["codigo_confirmacion"].clone();
        theirs.call("crear_cliente", first).await;
        // A process that begins now knows them.
        let another = app.another_process_with_settings(&["--tenant-writes-per-hour", "2"]).await;
        assert_eq!(another.limits.write_take(tenant.id).await.unwrap_err().limit, 2);
        another.limits.write_take(other.id).await.unwrap();
        assert!(another.limits.write_take(other.id).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_goes_round_in_circles_is_told_so() {
    TestApp::everywhere_with(&["--repeated-calls-per-minute", "3"], |app| async move {
        app.padron(3).await;
        let tenant = app.tenant_on("Gratis", "gratis", ProtocolChoice::Auto).await;
        let client = app.client(&tenant.token);
        for _ in 0..3 {
            client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        }
        app.clock.advance(chrono::Duration::seconds(15));
        let told = client.fail("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        assert_eq!((&told["codigo"], &told["datos"]["reintentar_en_s"]), (&json!("llamada_repetida"), &json!(45)), "{told}");
        assert!(told["que_hacer"].as_str().unwrap().contains("45") && told["mensaje"].as_str().unwrap().contains('3'), "{told}");
        // It costs nothing of the month, and anything else is answered: other arguments, another tool, another token, the next minute.
        client.call("consultar_rnc_dgii", json!({ "rnc": "101000000" })).await;
        client.call("buscar_cliente", json!({ "consulta": "a" })).await;
        let (_, second) = app.token(tenant.id, None).await;
        app.client(&second).call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        app.clock.advance(chrono::Duration::seconds(45));
        client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        let rows = app.usage_rows(8).await;
        assert_eq!((rows.iter().filter(|row| row.counted).count(), rows.iter().filter(|row| row.outcome == "refused").count()), (7, 1));
    })
    .await;
}

/// Hour and month, after a clean stop and on a new process.
#[tokio::test]
async fn a_restart_forgets_no_limit() {
    for backend in backends() {
        let mut app = TestApp::start(backend, &[]).await;
        app.padron(3).await;
        let tenant = app.tenant_on("Gratis", "gratis", ProtocolChoice::Auto).await;
        let edit = ToolEdit { calls_per_hour: Some(4), ..ToolEdit::default() };
        app.state.tenants.tool_edit(tenant.id, "consultar_rnc_dgii", edit, &actor()).await.unwrap();
        app.state.tokens.forget(tenant.id);
        for _ in 0..3 {
            app.client(&tenant.token).call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        }
        // At once: what waits for its batch is delivered by the stop.
        app.stop().await;
        let app = app.restarted().await;
        let client = app.client(&tenant.token);
        let context = client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        assert_eq!(context["rnc"], RNC);
        let refused = client.fail("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
        assert_eq!((&refused["codigo"], &refused["datos"]["reintentar_en_s"]), (&json!("limite_herramienta"), &json!(900)), "{refused}");
        let caller = app.state.tokens.verify(&tenant.token).await.unwrap();
        assert_eq!(app.state.limits.month_reserve(caller.tenant()).await.unwrap().unwrap().view.used, 5, "four calls, and this");
        app.clock.advance(chrono::Duration::seconds(900));
        client.call("consultar_rnc_dgii", json!({ "rnc": RNC })).await;
    }
}
