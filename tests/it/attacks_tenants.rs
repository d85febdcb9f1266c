//! Attacks of one tenant on another: every tool with the other's things, the same Odoo with another key, the hall's own questions.

use dunet::db::entities::operations;
use dunet::domain::audit::chain_verify;
use dunet::domain::tenants::WritePolicy;
use dunet::domain::tokens::TokenError;
use dunet::domain::usage::totals;
use dunet::odoo::ProtocolChoice;
use sea_orm::{EntityTrait, QueryOrder};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::attacks::{slots, with};
use crate::support::odoo::{count, direct};
use crate::support::{Porter, TestApp, actor};

const ROOM: [&str; 4] = ["--tenant-burst-calls", "1000000", "--tenant-calls-per-minute", "600000"];

/// What only the victim's records say, in lower case.
const SECRETS: [&str; 7] = ["zutano", "canario", "8295550777", "829-555-0777", "90177010107", "4321234.25", "calle escondida"];

/// 14: every tool, in every place where an argument takes a text or a number, with every id, number, reference, code and key of another
/// tenant: nothing of the other comes back, nothing happens there, and the other's codes stay good for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_14_every_tool_with_another_tenants_things() {
    TestApp::everywhere_with(&ROOM, |app| async move {
        app.padron(3).await;
        let (victim, thief) = (app.tenant("Víctima").await, app.tenant("Ladrona").await);
        let odoo = direct(&victim.sandbox, &victim.odoo_url).await;
        let create = async |model: &str, values: Value| {
            let values: Map<String, Value> = values.as_object().unwrap().clone();
            odoo.create(model, values).await.unwrap()
        };
        let customer = json!({ "name": "Zutano Canario", "vat": "90177010107", "phone": "829-555-0777", "email": "zutano@canario.example", "street": "Calle Escondida 7", "customer_rank": 1 });
        let product = json!({ "name": "Artefacto Canario", "default_code": "CANARIO-1", "barcode": "7460009990001", "list_price": 4_321_234.25 });
        // Further ids than the thief's Odoo has.
        let (mut customers, mut products) = (Vec::new(), Vec::new());
        for n in 0..5 {
            let (mut customer, mut product) = (customer.clone(), product.clone());
            if n > 0 {
                (customer["name"], customer["vat"], customer["phone"], customer["email"]) = (json!(format!("Zutano Canario {n}")), json!(false), json!(false), json!(false));
                (product["default_code"], product["barcode"]) = (json!(format!("CANARIO-{}", n + 1)), json!(false));
            }
            customers.push(create("res.partner", customer).await);
            products.push(create("product.product", product).await);
        }
        let owner = app.client(&victim.token);
        let quote = json!({ "cliente": customers[0].to_string(), "lineas": [{ "producto": "CANARIO-1" }] });
        let code = |result: &Value| result["codigo_confirmacion"].as_str().unwrap_or_else(|| panic!("no code: {result}")).to_owned();
        let open_code = code(&owner.call("crear_cotizacion", quote.clone()).await);
        let mut first = quote.clone();
        (first["clave"], first["codigo_confirmacion"]) = (json!("clave-canaria"), json!(code(&owner.call("crear_cotizacion", json!({ "cliente": quote["cliente"], "lineas": quote["lineas"], "clave": "clave-canaria" })).await)));
        let made = owner.call("crear_cotizacion", first.clone()).await;
        let used_code = first["codigo_confirmacion"].as_str().unwrap().to_owned();
        let reference = operations::Entity::find().one(&app.state.db).await.unwrap().unwrap().reference;
        let cursor = owner.call("buscar_productos", json!({ "consulta": "artefacto", "limite": 1 })).await["cursor"].as_str().map(str::to_owned);
        let link = made["enlace"].as_str().unwrap_or_default().to_owned();

        let mut texts = vec![
            "Zutano Canario".to_owned(),
            "90177010107".to_owned(),
            "829-555-0777".to_owned(),
            "zutano@canario.example".to_owned(),
            "Calle Escondida 7".to_owned(),
            "CANARIO-1".to_owned(),
            "7460009990001".to_owned(),
            made["numero"].as_str().unwrap().to_owned(),
            "clave-canaria".to_owned(),
            open_code.clone(),
            used_code,
            reference,
            link,
            victim.id.to_string(),
            victim.token_id.to_string(),
            victim.odoo_url.clone(),
        ];
        texts.extend(cursor);
        texts.extend([customers[0], customers[4], products[0], products[4]].map(|id| id.to_string()));
        let ids = [customers[0], customers[4], products[0], products[4], made["cotizacion_id"].as_i64().unwrap()];
        let there = async || (count(&odoo, "res.partner", json!([])).await, count(&odoo, "sale.order", json!([])).await, count(&odoo, "product.product", json!([])).await);
        let before = there().await;
        let rows_before = operations::Entity::find().all(&app.state.db).await.unwrap();

        let client = app.client(&thief.token);
        let mut calls = 0;
        for tool in dunet::tools::TOOLS.iter() {
            let name = tool.facts().name;
            for (path, kind) in slots(&tool.facts().input_schema) {
                let values: Vec<Value> = match kind.as_str() {
                    "string" => texts.iter().map(|text| json!(text)).collect(),
                    "integer" | "number" => ids.iter().map(|id| json!(id)).collect(),
                    _ => continue,
                };
                for value in values {
                    let arguments = with(name, &path, value);
                    let sent = arguments.to_string().to_lowercase();
                    let answer = client.call_result(name, arguments).await.to_string().to_lowercase();
                    for secret in SECRETS.iter().filter(|secret| !sent.contains(**secret)) {
                        assert!(!answer.contains(secret), "{name} shows {secret}: {answer}");
                    }
                    calls += 1;
                }
            }
        }
        assert!(calls > 200, "{calls} calls");
        assert_eq!(there().await, before, "nothing happened in the victim's Odoo");
        let untouched = operations::Entity::find().all(&app.state.db).await.unwrap().into_iter().filter(|row| row.client_id == victim.id.uuid()).collect::<Vec<_>>();
        assert_eq!(untouched.len(), rows_before.len());
        assert!(untouched.iter().all(|row| rows_before.contains(row)), "nor with its operations");
        let mut confirmed = quote;
        confirmed["codigo_confirmacion"] = json!(open_code);
        assert!(owner.call("crear_cotizacion", confirmed).await["numero"].is_string(), "the victim's code is still its own and unused");
    })
    .await;
}

/// 15: two tenants name the same server, database and user; what one has warm there is not the other's, whose key is wrong.
#[tokio::test]
async fn attack_15_a_warm_connection_is_nobody_elses() {
    TestApp::everywhere_with(&ROOM, |app| async move {
        for wire in [ProtocolChoice::Json2, ProtocolChoice::XmlRpc, ProtocolChoice::JsonRpc] {
            let porter = Porter::new("Compartida").await;
            let (_, right) = app.tenant_at("Dueña", porter.odoo(wire)).await;
            let mut stolen = porter.odoo(wire);
            stolen.secret = SecretString::from("0123456789abcdef0123456789abcdef01234567");
            let (_, wrong) = app.tenant_at("Intrusa", stolen).await;
            app.state.changes.look().await.unwrap();
            let (owner, intruder) = (app.client(&right), app.client(&wrong));
            assert_eq!(owner.call("buscar_cliente", json!({ "consulta": "Pérez" })).await["total"], 4);
            owner.call("odoo_contexto", json!({})).await;
            for turn in 0..3 {
                for (tool, arguments) in
                    [("buscar_cliente", json!({ "consulta": format!("Pérez {turn}") })), ("odoo_contexto", json!({})), ("ver_cotizacion", json!({ "numero": "S00001" }))]
                {
                    let refused = intruder.fail(tool, arguments).await;
                    assert_eq!(refused["codigo"], "odoo_credenciales", "{wire}: {refused}");
                }
                assert_eq!(owner.call("buscar_cliente", json!({ "consulta": "Pérez" })).await["total"], 4, "{wire}: the owner's connection is as it was");
            }
            let preview = intruder.fail("crear_cliente", json!({ "nombre": "Intruso" })).await;
            assert_eq!(preview["codigo"], "odoo_credenciales", "{wire}: {preview}");
        }
    })
    .await;
}

/// 18: what the hall asks the database it asks by tenant, on SQLite and on PostgreSQL: tokens, usage, keys of writes, the audit.
#[tokio::test]
async fn attack_18_the_hall_asks_by_tenant_on_both_databases() {
    TestApp::everywhere_with(&ROOM, |app| async move {
        app.padron(3).await;
        let (one, two) = (app.tenant("Uno").await, app.tenant("Dos").await);
        for tenant in [&one, &two] {
            app.write_policy(tenant.id, WritePolicy::Direct).await;
        }
        let (first, second) = (app.client(&one.token), app.client(&two.token));
        // The same key with the same arguments: a write of its own for each.
        let arguments = json!({ "nombre": "Mengana de Prueba", "telefono": "809-555-0186", "clave": "misma-clave" });
        let mine = first.call("crear_cliente", arguments.clone()).await;
        let theirs = second.call("crear_cliente", arguments.clone()).await;
        assert_ne!(theirs.get("ya_existia"), Some(&json!(true)), "{theirs}");
        assert_eq!(first.call("crear_cliente", arguments.clone()).await["cliente_id"], mine["cliente_id"]);
        let rows = operations::Entity::find().order_by_asc(operations::Column::Id).all(&app.state.db).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.client_id).collect::<Vec<_>>(), [one.id.uuid(), two.id.uuid()]);
        // The same key with other arguments is an error to its owner only.
        let other = json!({ "nombre": "Otra de Prueba", "clave": "misma-clave" });
        assert_eq!(first.fail("crear_cliente", other.clone()).await["codigo"], "clave_reutilizada");
        let (three, fresh) = {
            let tenant = app.tenant("Tres").await;
            let client = app.client(&tenant.token);
            (tenant, client)
        };
        assert!(fresh.call("crear_cliente", other).await["codigo_confirmacion"].is_string());

        assert!(app.state.tokens.token_list(two.id).await.unwrap().iter().all(|token| token.id != one.token_id));
        for token in [one.token_id, three.token_id] {
            assert!(matches!(app.state.tokens.token_revoke(two.id, token, &actor()).await, Err(TokenError::Unknown(_))));
            assert!(matches!(app.state.tokens.token_rotate(two.id, token, 0, &actor()).await, Err(TokenError::Unknown(_))));
        }
        app.usage_rows(5).await;
        let calls = async |tenant| totals(&app.state.db, tenant, 202_611).await.unwrap().iter().map(|total| total.calls).sum::<i64>();
        assert_eq!((calls(one.id).await, calls(two.id).await, calls(three.id).await), (3, 1, 1));
        for tenant in [one.id, two.id, three.id] {
            assert!(chain_verify(&app.state.db, Some(tenant)).await.unwrap().is_ok());
        }
    })
    .await;
}
