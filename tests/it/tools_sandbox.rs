//! Every tool through the door, against the sandbox, over each wire; and the rules that every result keeps.

use std::collections::HashMap;

use dunet::dgii::{IdKind, Taxpayer, TaxpayerId, sample};
use dunet::odoo::ProtocolChoice;
use serde_json::{Value, json};

use crate::support::mcp::McpClient;
use crate::support::odoo::{count, direct, records};
use crate::support::{TestApp, TestTenant};

const WIRES: [(&str, ProtocolChoice); 3] = [("json2", ProtocolChoice::Json2), ("xmlrpc", ProtocolChoice::XmlRpc), ("jsonrpc", ProtocolChoice::JsonRpc)];
/// Taxpayers of the sample listing: `TestApp::padron` draws them with seed 1.
const ROWS: usize = 2_000;

/// Calls tools and holds every result against the rules.
struct Desk {
    client: McpClient,
    schemas: HashMap<String, jsonschema::Validator>,
}

impl Desk {
    async fn at(app: &TestApp, token: &str) -> Self {
        let client = app.client(token);
        let list = client.request("tools/list", json!({})).await.json();
        let schema = |tool: &Value| (tool["name"].as_str().expect("a text").to_owned(), jsonschema::validator_for(&tool["outputSchema"]).expect("a schema"));
        let schemas = list["result"]["tools"].as_array().expect("a list").iter().map(schema).collect();
        Self { client, schemas }
    }

    /// A call that must succeed.
    async fn ok(&self, tool: &str, arguments: Value) -> Value {
        let result = self.client.call_result(tool, arguments.clone()).await;
        let data = &result["structuredContent"];
        assert_ne!(result["isError"], json!(true), "{tool} {arguments}: {data}");
        let faults: Vec<String> = self.schemas[tool].iter_errors(data).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{tool} breaks its own schema: {faults:?}\n{data}");
        assert_eq!(serde_json::from_str::<Value>(result["content"][0]["text"].as_str().expect("a text")).expect("JSON"), *data, "{tool}: the text says the same");
        let said = data["frase"].as_str().unwrap_or_else(|| panic!("{tool}: no frase: {data}"));
        assert!((10..=220).contains(&said.chars().count()) && !said.contains("%{") && !said.contains("frases."), "{tool}: {said}");
        let text = data.to_string();
        assert!(!text.contains("null") && !text.contains("standard_price") && !text.contains("avisos."), "{tool}: {text}");
        data.clone()
    }

    /// A call that must fail with that code.
    async fn fails(&self, tool: &str, arguments: Value, code: &str) -> Value {
        let error = self.client.fail(tool, arguments.clone()).await;
        assert_eq!(error["codigo"], code, "{tool} {arguments}: {error}");
        for text in ["mensaje", "que_hacer", "id_solicitud"] {
            let text = error[text].as_str().expect("a text");
            assert!(!text.is_empty() && !text.contains("%{") && !text.contains("errores."), "{error}");
        }
        error
    }

    async fn customer(&self, text: &str) -> Value {
        let found = self.ok("buscar_cliente", json!({ "consulta": text })).await;
        assert_eq!(found["total"], 1, "{text}: {found}");
        found["clientes"][0].clone()
    }

    async fn product(&self, code: &str) -> i64 {
        self.ok("buscar_productos", json!({ "consulta": code })).await["productos"][0]["producto_id"].as_i64().expect("a number")
    }

    /// Both steps of a write.
    async fn write(&self, tool: &str, mut arguments: Value) -> (Value, Value) {
        let preview = self.ok(tool, arguments.clone()).await;
        assert!(preview["vista_previa"].is_object() && preview["vence"].is_string(), "{preview}");
        arguments["codigo_confirmacion"] = preview["codigo_confirmacion"].clone();
        let done = self.ok(tool, arguments).await;
        assert!(done.get("vista_previa").is_none() && done.get("codigo_confirmacion").is_none(), "{done}");
        (preview, done)
    }
}

async fn desk(app: &TestApp, name: &str, wire: ProtocolChoice) -> (TestTenant, Desk) {
    let tenant = app.tenant_on(name, "pro", wire).await;
    let desk = Desk::at(app, &tenant.token).await;
    (tenant, desk)
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().expect("a list").iter().map(|entry| entry["nombre"].as_str().expect("a text").to_owned()).collect()
}

fn listed(kind: IdKind) -> Taxpayer {
    let fits = |taxpayer: &Taxpayer| taxpayer.id.kind() == kind && taxpayer.is_active() && taxpayer.activity.is_some() && taxpayer.id.digits() != "131793916";
    sample::rows(ROWS, 1).into_iter().rfind(fits).expect("the sample has some")
}

#[tokio::test]
async fn taxpayers_are_looked_up() {
    TestApp::everywhere(|app| async move {
        let (_tenant, desk) = desk(&app, "Nova", ProtocolChoice::Auto).await;
        for (tool, arguments) in [("consultar_rnc_dgii", json!({ "rnc": "131793916" })), ("buscar_contribuyente", json!({ "nombre": "indexa" }))] {
            desk.fails(tool, arguments, "padron_sin_datos").await;
        }
        app.padron(ROWS).await;
        for written in ["131793916", "131-79391-6", "1-31-79391-6", " 131 793 916 ", "RNC: 131-79391-6"] {
            let found = desk.ok("consultar_rnc_dgii", json!({ "rnc": written })).await;
            let expected = json!({ "encontrado": true, "rnc": "131793916", "rnc_formato": "131-79391-6", "tipo": "rnc", "digito_verificador": true, "nombre": "INDEXA SRL", "estado": "ACTIVO",
                "activo": true, "fecha_corte": "2026-11-21", "antiguedad_dias": 1, "fecha_inicio": "2018-07-20" });
            for (field, value) in expected.as_object().unwrap() {
                assert_eq!(found[field], *value, "{written}: {field}");
            }
            assert!(found["frase"].as_str().unwrap().starts_with("INDEXA SRL") && found["sugerencia_odoo"]["vat"] == "131793916", "{found}");
            assert!(found.get("ya_en_odoo").is_none());
        }
        for (digit, expected) in (0..10).map(|digit| (digit, TaxpayerId::parse(&format!("10100002{digit}")).unwrap().check_digit_ok())) {
            let absent = desk.ok("consultar_rnc_dgii", json!({ "rnc": format!("10100002{digit}") })).await;
            assert_eq!((absent["encontrado"].as_bool(), absent["digito_verificador"].as_bool()), (Some(false), Some(expected)), "{absent}");
            assert_eq!(absent["frase"].as_str().unwrap().contains("revise el número"), !expected, "{absent}");
            assert!(absent.get("nombre").is_none() && absent.get("activo").is_none());
        }
        for wrong in ["12345", "1317939160", "ABC123456", "131-79391-X", "٣١٣٧٩٣٩١٦"] {
            desk.fails("consultar_rnc_dgii", json!({ "rnc": wrong }), "identificador_invalido").await;
        }
        desk.fails("consultar_rnc_dgii", json!({ "rnc": "" }), "argumento_invalido").await;

        let person = listed(IdKind::Cedula);
        let found = desk.ok("consultar_rnc_dgii", json!({ "rnc": person.id.formatted() })).await;
        assert_eq!((found["nombre"].as_str(), found["tipo"].as_str()), (Some(person.name.as_str()), Some("cedula")));
        for private in ["actividad_economica", "fecha_inicio", "regimen_pago", "nombre_comercial"] {
            assert!(found.get(private).is_none(), "{private} of a natural person: {found}");
        }
        let said = found["frase"].as_str().unwrap();
        assert!(!said.contains(person.id.digits()) && said.contains("terminada en"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn taxpayers_are_searched_by_name() {
    TestApp::everywhere(|app| async move {
        let (_tenant, desk) = desk(&app, "Nova", ProtocolChoice::Auto).await;
        app.padron(ROWS).await;
        let found = desk.ok("buscar_contribuyente", json!({ "nombre": "indexa" })).await;
        assert_eq!((found["contribuyentes"][0]["rnc"].as_str(), found["fecha_corte"].as_str()), (Some("131793916"), Some("2026-11-21")), "{found}");
        let found = desk.ok("buscar_contribuyente", json!({ "nombre": "dirección general de impuestos" })).await;
        assert_eq!(found["contribuyentes"][0]["rnc"], "401506254", "{found}");

        let all = desk.ok("buscar_contribuyente", json!({ "nombre": "constructora", "limite": 10 })).await;
        let active = desk.ok("buscar_contribuyente", json!({ "nombre": "constructora", "limite": 10, "solo_activos": true })).await;
        assert!(active["total"].as_u64() < all["total"].as_u64() && active["total"].as_u64() > Some(0), "{} {}", active["total"], all["total"]);
        assert!(active["contribuyentes"].as_array().unwrap().iter().all(|hit| hit["estado"] == "ACTIVO"));
        let two = desk.ok("buscar_contribuyente", json!({ "nombre": "constructora", "limite": 2 })).await;
        assert_eq!((two["contribuyentes"].as_array().unwrap().len(), two["hay_mas"].as_bool(), &two["total"]), (2, Some(true), &all["total"]));

        let person = listed(IdKind::Cedula);
        let found = desk.ok("buscar_contribuyente", json!({ "nombre": person.name, "limite": 10 })).await;
        let hit = found["contribuyentes"].as_array().unwrap().iter().find(|hit| hit["rnc"] == person.id.digits()).unwrap();
        assert!(hit.get("actividad_economica").is_none() && hit.get("nombre_comercial").is_none(), "{hit}");
        let none = desk.ok("buscar_contribuyente", json!({ "nombre": "qwxzk jjyyvv" })).await;
        assert_eq!((none["total"].as_u64(), none["hay_mas"].as_bool()), (Some(0), Some(false)), "{none}");
        desk.fails("buscar_contribuyente", json!({ "nombre": "…%" }), "argumento_invalido").await;
    })
    .await;
}

#[tokio::test]
async fn customers_are_found_however_they_are_named() {
    TestApp::everywhere(|app| async move {
        for (name, wire) in WIRES {
            let (tenant, desk) = desk(&app, name, wire).await;
            let odoo = direct(&tenant.sandbox, &tenant.odoo_url).await;
            let school = &records(&odoo, "res.partner", json!([["name", "=", "Colegio Nuevo Amanecer"]]), &["vat"]).await[0];
            let (id, vat) = (school["id"].as_i64().unwrap(), school["vat"].as_str().unwrap());
            let dashed = TaxpayerId::parse(vat).unwrap().formatted();
            for text in [
                vat,
                dashed.as_str(),
                "809-555-0106",
                "8095550106",
                "+1 (809) 555 0106",
                "administracion@example.com",
                "Colegio Nuevo Amanecer",
                "amanecer colegio",
                &id.to_string(),
            ] {
                let found = desk.customer(text).await;
                assert_eq!((found["cliente_id"].as_i64(), found["rnc"].as_str()), (Some(id), Some(vat)), "{name} {text}: {found}");
            }
            assert_eq!(desk.customer("(809) 555-0123").await["nombre"], "Pedro Antonio Guzmán", "as Odoo wrote it");
            assert_eq!(desk.customer("849 555 0125").await["nombre"], "Laura Altagracia Díaz", "with its country");
            let contact = desk.customer("rosa jimenez").await;
            assert_eq!((contact["nombre"].as_str(), contact["empresa_id"].as_i64(), contact["es_empresa"].as_bool()), (Some("Rosa Jiménez"), Some(id), Some(false)));

            let several = desk.ok("buscar_cliente", json!({ "consulta": "pérez", "limite": 2 })).await;
            assert_eq!((several["total"].as_u64(), several["hay_mas"].as_bool(), several["clientes"].as_array().unwrap().len()), (Some(4), Some(true), 2), "{several}");
            let plain = desk.ok("buscar_cliente", json!({ "consulta": "PENA" })).await;
            let mut found = names(&plain["clientes"]);
            found.sort();
            assert_eq!(found, ["Ana Peña", "Constructora Peña & Asociados, SRL", "Inversiones Peña Núñez, SRL", "Luis Peña Mota"], "{name}");
            assert_eq!(names(&desk.ok("buscar_cliente", json!({ "consulta": "juan perez" })).await["clientes"])[0], "Juan Pérez", "the exact one first");

            for nobody in ["Zapatería Inexistente", "401007551", "809-555-9999", "nadie@nada.example", "99999999"] {
                let none = desk.ok("buscar_cliente", json!({ "consulta": nobody })).await;
                assert_eq!((none["total"].as_u64(), none["clientes"].as_array().unwrap().len()), (Some(0), 0), "{name} {nobody}");
            }
            desk.fails("buscar_cliente", json!({ "consulta": "%%%" }), "argumento_invalido").await;
        }
    })
    .await;
}

#[tokio::test]
async fn customers_are_registered_once() {
    TestApp::everywhere(|app| async move {
        app.padron(ROWS).await;
        let taxpayer = listed(IdKind::Rnc);
        let rnc = taxpayer.id.digits();
        for (name, wire) in WIRES {
            let (tenant, desk) = desk(&app, name, wire).await;
            let odoo = direct(&tenant.sandbox, &tenant.odoo_url).await;
            let before = count(&odoo, "res.partner", json!([])).await;
            let (preview, made) = desk.write("crear_cliente", json!({ "rnc": taxpayer.id.formatted(), "telefono": "829-555-0199", "email": "nuevo@example.com", "direccion": "C/ Nueva 1" })).await;
            let shown = &preview["vista_previa"];
            assert_eq!((shown["nombre"].as_str(), shown["rnc"].as_str(), shown["tipo"].as_str(), shown["estado_dgii"].as_str()), (Some(taxpayer.name.as_str()), Some(rnc), Some("empresa"), Some("ACTIVO")));
            assert_eq!((made["nombre"].as_str(), made["rnc"].as_str(), made["ya_existia"].as_bool()), (Some(taxpayer.name.as_str()), Some(rnc), Some(false)), "{made}");
            let id = made["cliente_id"].as_i64().unwrap();
            let kept = &records(&odoo, "res.partner", json!([["id", "=", id]]), &["name", "vat", "phone", "email", "street", "is_company", "customer_rank", "country_code"]).await[0];
            let expected = json!({ "name": taxpayer.name, "vat": rnc, "phone": "829-555-0199", "email": "nuevo@example.com", "street": "C/ Nueva 1", "is_company": true, "customer_rank": 1, "country_code": "DO" });
            for (field, value) in expected.as_object().unwrap() {
                assert_eq!(kept[field], *value, "{name}: {field}");
            }
            assert_eq!(desk.customer(rnc).await["cliente_id"], id);

            // The same number, telephone or e-mail: the one that is there, at once and unchanged.
            for again in [
                json!({ "rnc": rnc }),
                json!({ "rnc": taxpayer.id.formatted(), "nombre": "Con Otro Nombre" }),
                json!({ "nombre": "Otra Persona", "telefono": "1 829 555 0199" }),
                json!({ "nombre": "Otra Persona", "email": "NUEVO@example.com" }),
            ] {
                let existing = desk.ok("crear_cliente", again.clone()).await;
                assert_eq!((existing["ya_existia"].as_bool(), existing["cliente_id"].as_i64(), existing["nombre"].as_str()), (Some(true), Some(id), Some(taxpayer.name.as_str())), "{again}: {existing}");
                assert!(existing.get("codigo_confirmacion").is_none());
            }
            let (_, person) = desk.write("crear_cliente", json!({ "nombre": "  Ramona   de León " })).await;
            assert_eq!(person["nombre"], "Ramona de León");
            assert_eq!(count(&odoo, "res.partner", json!([])).await, before + 2);

            desk.fails("crear_cliente", json!({}), "argumento_invalido").await;
            desk.fails("crear_cliente", json!({ "rnc": "101000023" }), "no_encontrado").await;
            desk.fails("crear_cliente", json!({ "rnc": "12" }), "identificador_invalido").await;
            desk.fails("crear_cliente", json!({ "nombre": "X", "email": "sin arroba" }), "argumento_invalido").await;
            desk.fails("crear_cliente", json!({ "nombre": "X", "telefono": "12" }), "argumento_invalido").await;
            // Not listed, but named: told, and possible.
            let unlisted = desk.ok("crear_cliente", json!({ "rnc": "101000023", "nombre": "Recién Registrada SRL" })).await;
            assert!(unlisted["avisos"][0].as_str().unwrap().contains("no aparece"), "{unlisted}");
        }
    })
    .await;
}

#[tokio::test]
async fn products_have_the_price_of_the_customer() {
    TestApp::everywhere(|app| async move {
        for (name, wire) in WIRES {
            let (_tenant, desk) = desk(&app, name, wire).await;
            let listed = desk.ok("buscar_productos", json!({ "consulta": "martillo" })).await;
            let hammer = &listed["productos"][0];
            assert_eq!(
                (hammer["codigo"].as_str(), hammer["precio"].as_f64(), hammer["moneda"].as_str(), hammer["aproximado"].as_bool()),
                (Some("MAR-016"), Some(575.0), Some("DOP"), Some(true)),
                "{hammer}"
            );
            assert!(hammer["disponible"].as_f64().unwrap() > 0.0 && listed["avisos"][0].as_str().unwrap().contains("lista"), "{listed}");

            let wholesale = desk.customer("Constructora Peña").await["cliente_id"].clone();
            let retail = desk.customer("Colegio Nuevo Amanecer").await["cliente_id"].clone();
            for (customer, total) in [(&wholesale, 2.0 * 575.0 * 0.9 * 1.18), (&retail, 2.0 * 575.0 * 1.18)] {
                let priced = desk.ok("buscar_productos", json!({ "consulta": "MAR-016", "cliente_id": customer, "cantidad": 2 })).await;
                let item = &priced["productos"][0];
                assert_eq!((item["aproximado"].as_bool(), item["precio_de"].as_str()), (Some(false), Some("lista del cliente")), "{item}");
                assert!((item["total_con_impuestos"].as_f64().unwrap() - total).abs() < 0.011, "{name} {total}: {item}");
            }
            desk.fails("buscar_productos", json!({ "consulta": "martillo", "cliente_id": 999_999 }), "no_encontrado").await;

            for (text, code) in [("boligrafo azul", "BOL-012"), ("sillas ergonomicas", "SIL-ERG"), ("mar-016", "MAR-016"), ("tinaco 250", "TIN-250")] {
                let found = desk.ok("buscar_productos", json!({ "consulta": text })).await;
                assert_eq!(found["productos"][0]["codigo"], code, "{name} {text}: {found}");
            }
            let barcode = hammer["codigo_barras"].as_str().unwrap();
            assert_eq!(desk.ok("buscar_productos", json!({ "consulta": barcode })).await["productos"][0]["codigo"], "MAR-016");
            let on_stock = desk.ok("buscar_productos", json!({ "consulta": "escalera", "solo_disponibles": true })).await;
            let on_stock = on_stock["productos"].as_array().unwrap();
            assert!(on_stock.iter().all(|item| item["codigo"] != "ESC-006" && item["disponible"].as_f64() > Some(0.0)), "none on stock: {on_stock:?}");
            assert_eq!(desk.ok("buscar_productos", json!({ "consulta": "escalera" })).await["productos"][0]["disponible"], 0.0);
            assert_eq!(desk.ok("buscar_productos", json!({ "consulta": "zzz inexistente" })).await["total"], 0);

            // Page by page: everything once.
            let all = desk.ok("buscar_productos", json!({ "consulta": "pvc", "limite": 10 })).await;
            let total = all["total"].as_u64().unwrap();
            let (mut seen, mut cursor) = (Vec::new(), None);
            for _ in 0..total {
                let mut arguments = json!({ "consulta": "pvc", "limite": 1 });
                if let Some(cursor) = cursor {
                    arguments["cursor"] = cursor;
                }
                let page = desk.ok("buscar_productos", arguments).await;
                seen.push(page["productos"][0]["codigo"].clone());
                cursor = page.get("cursor").cloned();
            }
            assert_eq!((json!(seen), cursor), (all["productos"].as_array().unwrap().iter().map(|item| item["codigo"].clone()).collect(), None), "{name}");
            assert!(total >= 4, "{all}");
            let cursor = desk.ok("buscar_productos", json!({ "consulta": "pvc", "limite": 1 })).await["cursor"].clone();
            desk.fails("buscar_productos", json!({ "consulta": "cable", "cursor": cursor }), "argumento_invalido").await;
        }
    })
    .await;
}

#[tokio::test]
async fn quotations_are_made_and_read_back() {
    TestApp::everywhere(|app| async move {
        let browser = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        for (name, wire) in WIRES {
            let (tenant, desk) = desk(&app, name, wire).await;
            let odoo = direct(&tenant.sandbox, &tenant.odoo_url).await;
            let asked = json!({ "cliente": "809-555-0106", "lineas": [{ "producto": "MAR-016", "cantidad": 2, "descuento": 10 }, { "producto": "cuaderno escolar", "cantidad": 3 }],
                "notas": "Entregar en la puerta trasera", "vigencia_dias": 15 });
            let (preview, made) = desk.write("crear_cotizacion", asked).await;
            let shown = &preview["vista_previa"];
            assert_eq!((shown["cliente"].as_str(), shown["lineas"].as_array().unwrap().len()), (Some("Colegio Nuevo Amanecer"), 2));
            for amounts in [shown, &preview, &made] {
                let amounts = ["subtotal", "impuestos", "total"].map(|field| amounts[field].as_f64().unwrap());
                assert_eq!(amounts, [1290.0, 186.3, 1476.3], "{name}: 18 % of the hammers, none of the copybooks");
            }
            assert_eq!((made["moneda"].as_str(), made["vence_el"].as_str(), made["cliente"].as_str()), (Some("DOP"), Some("2026-12-07"), Some("Colegio Nuevo Amanecer")), "{made}");
            assert_eq!((made["lineas"][0]["descuento"].as_f64(), made["lineas"][1].get("descuento")), (Some(10.0), None), "{made}");
            let number = made["numero"].as_str().unwrap();
            let kept = &records(&odoo, "sale.order", json!([["name", "=", number]]), &["state", "amount_total", "amount_tax"]).await[0];
            assert_eq!((kept["state"].as_str(), kept["amount_total"].as_f64(), kept["amount_tax"].as_f64()), (Some("draft"), Some(1476.3), Some(186.3)));
            let notes = records(&odoo, "sale.order.line", json!([["order_id", "=", made["cotizacion_id"]], ["display_type", "=", "line_note"]]), &["name"]).await;
            assert_eq!(notes[0]["name"], "Entregar en la puerta trasera");

            let digits = number.trim_start_matches(|c: char| !c.is_ascii_digit()).trim_start_matches('0');
            for written in [number, &number.to_lowercase(), digits] {
                let seen = desk.ok("ver_cotizacion", json!({ "numero": written })).await;
                for field in ["numero", "cotizacion_id", "subtotal", "impuestos", "total", "moneda", "cliente", "vence_el", "enlace", "enlace_pdf"] {
                    assert_eq!(seen[field], made[field], "{name} {written}: {field}");
                }
                assert_eq!((seen["estado"].as_str(), seen["lineas"].as_array().unwrap().len()), (Some("borrador"), 2), "the note is no line");
            }
            for (link, kind) in [("enlace", "text/html"), ("enlace_pdf", "application/pdf")] {
                let page = browser.get(made[link].as_str().unwrap()).send().await.unwrap();
                assert_eq!(page.status(), 200, "{name} {link}");
                assert!(page.headers()["content-type"].to_str().unwrap().starts_with(kind), "{name} {link}");
                assert!(page.bytes().await.unwrap().len() > 200);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn doubts_are_asked_and_not_guessed() {
    TestApp::everywhere(|app| async move {
        for (name, wire) in WIRES {
            let (tenant, desk) = desk(&app, name, wire).await;
            let odoo = direct(&tenant.sandbox, &tenant.odoo_url).await;
            let before = count(&odoo, "sale.order", json!([])).await;
            let quote = |customer: &str, products: &[&str]| {
                let lines: Vec<Value> = products.iter().map(|product| json!({ "producto": product })).collect();
                json!({ "cliente": customer, "lineas": lines })
            };
            let who = desk.fails("crear_cotizacion", quote("Peña", &["MAR-016"]), "varios_posibles").await;
            let candidates = who["datos"]["candidatos"].as_array().unwrap();
            assert!(candidates.len() == 4 && candidates.iter().all(|candidate| candidate["cliente_id"].is_i64() && candidate["nombre"].is_string()), "{who}");
            let chosen = candidates[0]["cliente_id"].to_string();
            desk.ok("crear_cotizacion", quote(&chosen, &["MAR-016"])).await;

            let what = desk.fails("crear_cotizacion", quote("Colegio Nuevo Amanecer", &["MAR-016", "taladro", "unicornio azul"]), "varios_posibles").await;
            let lines = what["datos"]["lineas"].as_array().unwrap();
            assert_eq!((lines.len(), lines[0]["linea"].as_u64(), lines[1]["linea"].as_u64()), (2, Some(1), Some(2)), "every doubt at once: {what}");
            assert_eq!((lines[0]["candidatos"].as_array().unwrap().len(), lines[1]["candidatos"].as_array().unwrap().len()), (2, 0));
            let chosen = format!("id:{}", lines[0]["candidatos"][0]["producto_id"]);
            desk.ok("crear_cotizacion", quote("Colegio Nuevo Amanecer", &[&chosen])).await;

            desk.fails("crear_cotizacion", quote("Nadie Conocido", &["MAR-016"]), "no_encontrado").await;
            desk.fails("crear_cotizacion", quote("Colegio Nuevo Amanecer", &["unicornio azul"]), "no_encontrado").await;
            desk.fails("crear_cotizacion", quote("Colegio Nuevo Amanecer", &[]), "argumento_invalido").await;
            for line in [
                json!({ "producto": "MAR-016", "cantidad": 0 }),
                json!({ "producto": "MAR-016", "cantidad": -1 }),
                json!({ "producto": "MAR-016", "descuento": 101 }),
                json!({ "producto": "?" }),
            ] {
                desk.fails("crear_cotizacion", json!({ "cliente": "Colegio Nuevo Amanecer", "lineas": [line] }), "argumento_invalido").await;
            }
            desk.fails("ver_cotizacion", json!({ "numero": "S99999" }), "no_encontrado").await;
            desk.fails("ver_cotizacion", json!({ "numero": "%" }), "argumento_invalido").await;
            assert_eq!(count(&odoo, "sale.order", json!([])).await, before);
        }
    })
    .await;
}

#[tokio::test]
async fn the_context_says_where_one_is() {
    TestApp::everywhere(|app| async move {
        for (name, wire) in WIRES {
            let (_tenant, desk) = desk(&app, name, wire).await;
            let context = desk.ok("odoo_contexto", json!({})).await;
            let expected = json!({ "empresa": name, "moneda": "DOP", "version": "19.0", "zona_horaria": "America/Santo_Domingo", "hoy": "2026-11-22", "idioma": "es_DO", "usuario": "Agente demo",
                "se_renuevan_el": "2026-12-01" });
            for (field, value) in expected.as_object().unwrap() {
                assert_eq!(context[field], *value, "{name}: {field}");
            }
            assert_eq!(context["herramientas"].as_array().unwrap().len(), 8);
            assert!(context["aplicaciones"].as_array().unwrap().contains(&json!("inventario")), "{context}");
            assert!(context.get("llamadas_restantes").is_none(), "plan Pro has no limit: {context}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_listing_and_odoo_are_compared_on_demand() {
    TestApp::everywhere(|app| async move {
        app.padron(ROWS).await;
        for (name, wire) in WIRES {
            let (_tenant, desk) = desk(&app, name, wire).await;
            let school = desk.customer("Colegio Nuevo Amanecer").await;
            let compared = desk.ok("consultar_rnc_dgii", json!({ "rnc": school["rnc"], "comparar_con_odoo": true })).await;
            assert_eq!(
                (compared["ya_en_odoo"]["id"].as_i64(), compared["ya_en_odoo"]["nombre"].as_str()),
                (school["cliente_id"].as_i64(), school["nombre"].as_str()),
                "{compared}"
            );
            let absent = desk.ok("consultar_rnc_dgii", json!({ "rnc": "131793916", "comparar_con_odoo": true })).await;
            assert!(absent.get("ya_en_odoo").is_none() && absent["encontrado"] == true, "{absent}");
        }
    })
    .await;
}

#[tokio::test]
async fn attack_14_another_tenants_records_are_not_found() {
    TestApp::everywhere(|app| async move {
        let (_one, own) = desk(&app, "Propia", ProtocolChoice::Json2).await;
        let (_two, stranger) = desk(&app, "Ajena", ProtocolChoice::Json2).await;
        let (_, customer) = own.write("crear_cliente", json!({ "nombre": "Exclusiva del Caribe", "telefono": "809-555-0177" })).await;
        let customer = customer["cliente_id"].to_string();
        let (_, made) = own.write("crear_cotizacion", json!({ "cliente": customer, "lineas": [{ "producto": "MAR-016" }] })).await;
        own.ok("ver_cotizacion", json!({ "numero": made["numero"] })).await;

        for text in ["Exclusiva del Caribe", "809-555-0177", &customer] {
            assert_eq!(stranger.ok("buscar_cliente", json!({ "consulta": text })).await["total"], 0, "{text}");
        }
        stranger.fails("ver_cotizacion", json!({ "numero": made["numero"] }), "no_encontrado").await;
        stranger.fails("crear_cotizacion", json!({ "cliente": customer, "lineas": [{ "producto": "MAR-016" }] }), "no_encontrado").await;
        stranger.fails("buscar_productos", json!({ "consulta": "martillo", "cliente_id": customer.parse::<i64>().unwrap() }), "no_encontrado").await;
        assert_eq!(own.product("MAR-016").await, stranger.product("MAR-016").await, "the same sample in two databases");
    })
    .await;
}
