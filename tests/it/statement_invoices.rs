//! Statements become draft invoices in the operator's own Odoo, each once: the page, the API, an answer that got lost, the real Odoo 19.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use dunet::clock::billing_month;
use dunet::db::entities::logs;
use dunet::demo::sandbox::SandboxOdoo;
use dunet::domain::settings::Key;
use dunet::domain::statements::InvoiceState;
use dunet::domain::tenants::{NewOdoo, NewTenant};
use dunet::domain::users::Level;
use dunet::ids::TenantId;
use dunet::odoo::{AddressPolicy, OdooClient, OdooConfig, OdooLimits, ProtocolChoice};
use dunet::tools::invoice::InvoiceError;
use futures::FutureExt;
use http::{Method, StatusCode};
use sea_orm::EntityTrait;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use crate::support::api::{MONTH, Program};
use crate::support::calls::call;
use crate::support::odoo::{Fault, Proxy, count, direct, records, settings};
use crate::support::{TestApp, actor, left_out, serve, setting};

/// A client of plan Basic (US$ 20) that called once this month, which is closed at 62.5 some weeks later; the month too.
async fn closed(app: &TestApp, rnc: Option<&str>) -> (TenantId, i32) {
    let new = NewTenant { name: "Comercial Nova SRL".to_owned(), rnc: rnc.map(str::to_owned), plan: "basic".to_owned(), odoo: None, tools: Vec::new() };
    let tenant = app.state.tenants.tenant_add(new, &actor()).await.unwrap();
    let month = billing_month(app.clock.now());
    app.made(&[call(tenant, &app.clock.now().to_rfc3339())]).await;
    let store = &app.state.settings;
    store.edit(&[(Key::UsdRate, "62.5".to_owned())], store.get().edited_at, &actor()).await.unwrap();
    app.clock.advance(chrono::Duration::days(40));
    app.state.statements.close(tenant, month, &actor()).await.unwrap();
    (tenant, month)
}

async fn bills(app: &TestApp, biller: TenantId) {
    let store = &app.state.settings;
    store.edit(&[(Key::BillingClient, biller.to_string())], store.get().edited_at, &actor()).await.unwrap();
}

async fn invoices(odoo: &OdooClient, tenant: TenantId) -> Vec<Value> {
    let fields = ["move_type", "state", "partner_id", "currency_id", "ref", "invoice_origin", "invoice_line_ids"];
    records(odoo, "account.move", json!([["invoice_origin", "like", tenant.to_string()]]), &fields).await
}

#[tokio::test]
async fn a_closed_month_becomes_a_draft_invoice_once() {
    TestApp::everywhere(|app| async move {
        let own = app.tenant("Dunet SRL").await;
        let odoo = direct(&own.sandbox, &own.odoo_url).await;
        let (tenant, _) = closed(&app, Some("131793916")).await;
        app.state.statements.correct(tenant, 202_611, 1, -500, "Cortesía", &actor()).await.unwrap();
        let (operator, program) = (app.operator().await, Program::new(&app, "facturación").await);
        let page = format!("/admin/clients/{tenant}/usage/statement");
        let shown = format!("{page}?month={MONTH}");
        let api = format!("/admin/api/clients/{tenant}/statements/{MONTH}/invoice");

        // Nobody is named yet: the page says where, the API refuses.
        assert!(operator.get(&shown).await.text.contains("elija en Ajustes"));
        assert!(program.send(Method::POST, &api, &json!({})).await.failed(StatusCode::CONFLICT));
        // The setting takes a name; what fits nobody is told so beside its field.
        let typed = async |client: &str| {
            let settings = operator.get("/admin/configs").await;
            let (csrf, seen) = (settings.hidden("csrf"), settings.hidden("seen"));
            operator.post_bare("/admin/configs", &[("csrf", &csrf), ("seen", &seen), ("billing_client", client)]).await
        };
        let refused = typed("Nadie así").await;
        assert!(refused.status == StatusCode::UNPROCESSABLE_ENTITY && refused.text.contains("id=\"billing_client-error\""), "{}", refused.text);
        assert_eq!(typed("dunet srl").await.status, StatusCode::SEE_OTHER);
        assert_eq!(app.state.settings.get().billing_client, Some(own.id));
        assert!(operator.get("/admin/configs").await.text.contains("value=\"Dunet SRL\""));

        let before = count(&odoo, "res.partner", json!([])).await;
        let made = operator.post(&shown, &format!("{page}/invoice"), &[("month", MONTH)]).await;
        assert_eq!((made.status, made.location()), (StatusCode::SEE_OTHER, shown.as_str()), "{}", made.text);
        let found = invoices(&odoo, tenant).await;
        assert_eq!(found.len(), 1, "{found:?}");
        let invoice = &found[0];
        assert_eq!((&invoice["move_type"], &invoice["state"]), (&json!("out_invoice"), &json!("draft")));
        assert_eq!((&invoice["currency_id"][1], &invoice["ref"]), (&json!("USD"), &json!("Estado de cuenta n.º 1 (11/2026)")));
        assert_eq!(invoice["invoice_origin"], format!("dunet:estado:1:{tenant}"));
        // A customer was made, by its RNC.
        assert_eq!(count(&odoo, "res.partner", json!([])).await, before + 1);
        let partner = records(&odoo, "res.partner", json!([["id", "=", invoice["partner_id"][0]]]), &["name", "vat"]).await;
        assert_eq!((&partner[0]["name"], &partner[0]["vat"]), (&json!("Comercial Nova SRL"), &json!("131793916")));
        // The plan, the correction, and what was called; ITBIS by that Odoo's own tax.
        let lines = records(&odoo, "account.move.line", json!([["move_id", "=", invoice["id"]]]), &["name", "price_unit", "quantity", "tax_ids", "display_type"]).await;
        let of = |line: &Value| (line["name"].as_str().unwrap().to_owned(), line["price_unit"].as_f64().unwrap(), line["tax_ids"].as_array().unwrap().len());
        assert_eq!(
            lines.iter().map(of).collect::<Vec<_>>(),
            [("Plan Basic, 11/2026".to_owned(), 20.0, 1), ("Corrección n.º 2: Cortesía".to_owned(), -5.0, 1), ("1 llamadas incluidas: consultar_rnc_dgii 1".to_owned(), 0.0, 0)]
        );
        assert_eq!(lines[2]["display_type"], "line_note");

        // It stands on the statement; again is the same one, by page and by program.
        let text = operator.get(&shown).await.text;
        assert!(text.contains(&format!("/odoo/account.move/{}", invoice["id"])) && !text.contains("quedó sin ITBIS") && !text.contains("/invoice\""), "{text}");
        let again = program.send(Method::POST, &api, &json!({})).await;
        assert_eq!((again.status, &again.json["odoo_id"], &again.json["state"], &again.json["taxed"]), (StatusCode::OK, &invoice["id"], &json!("done"), &json!(true)), "{again:?}");
        assert_eq!(program.get(&format!("/admin/api/clients/{tenant}/statements/{MONTH}")).await.json["invoice"]["odoo_id"], invoice["id"]);
        assert_eq!(invoices(&odoo, tenant).await.len(), 1);
        app.state.statements.correct(tenant, 202_611, 2, -100, "Otra", &actor()).await.unwrap();
        assert!(operator.get(&shown).await.text.contains("correcciones posteriores"));
        let audit: Vec<Value> =
            logs::Entity::find().all(&app.state.db).await.unwrap().into_iter().filter(|row| row.action == "statement.invoice").filter_map(|row| row.after).collect();
        assert_eq!(audit.iter().map(|after| after["state"].as_str().unwrap()).collect::<Vec<_>>(), ["running", "done"]);
        // The client's own people see none of it.
        let member = app.member(tenant, "marta@nova.do", Level::Owner).await;
        let text = member.get(&shown).await.text;
        assert!(!text.contains("h-invoice") && !text.contains("account.move"), "{text}");
        let csrf = member.get("/admin/profile").await.hidden("csrf");
        assert_eq!(member.post_bare(&format!("{page}/invoice"), &[("csrf", &csrf), ("month", MONTH)]).await.status, StatusCode::FORBIDDEN);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_invoiced_is_told_so() {
    TestApp::everywhere(|app| async move {
        let own = app.tenant("Dunet SRL").await;
        app.state.settings.edit(&[(Key::ItbisPercent, "16".to_owned())], None, &actor()).await.unwrap();
        let (tenant, _) = closed(&app, None).await;
        let create = async |month| app.state.invoices.create(tenant, month, &actor()).await;
        assert!(matches!(create(202_611).await, Err(InvoiceError::NoBiller)));
        bills(&app, TenantId::new()).await;
        assert!(matches!(create(202_611).await, Err(InvoiceError::NoBiller)), "a client that was removed");
        // The biller's own statement is no invoice of anybody's; the client itself has no Odoo.
        bills(&app, tenant).await;
        assert!(matches!(create(202_611).await, Err(InvoiceError::NotConnected)));
        bills(&app, own.id).await;
        assert!(matches!(create(billing_month(app.clock.now())).await, Err(InvoiceError::Statement(dunet::domain::statements::StatementError::NotClosed))), "running");
        // Without an RNC the customer is the one of that name.
        let odoo = direct(&own.sandbox, &own.odoo_url).await;
        let values = Map::from_iter([("vals_list".to_owned(), json!([{ "name": "comercial nova srl" }]))]);
        let partner = odoo.call_write("res.partner", "create", None, values).await.unwrap()[0].clone();
        // That Odoo has no tax of 16 %: the lines go without, and that is said.
        let made = create(202_611).await.unwrap();
        assert_eq!((made.state, made.taxed), (InvoiceState::Done, false));
        assert_eq!(invoices(&odoo, tenant).await[0]["partner_id"][0], partner);
        let operator = app.operator().await;
        assert!(operator.get(&format!("/admin/clients/{tenant}/usage/statement?month={MONTH}")).await.text.contains("no tiene un impuesto de venta de 16 %"));
        // A month that is a credit.
        let (other, month) = closed(&app, Some("101010632")).await;
        app.state.statements.correct(other, month, 1, -2_500, "De más", &actor()).await.unwrap();
        assert!(matches!(app.state.invoices.create(other, month, &actor()).await, Err(InvoiceError::Nothing)));
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_got_lost_is_looked_for_and_not_repeated() {
    TestApp::everywhere(|app| async move {
        let sandbox = Arc::new(SandboxOdoo::dominican_sample("Dunet"));
        let (url, _server) = serve(Arc::clone(&sandbox).router()).await;
        let proxy = Proxy::start(&url).await;
        let (own, _) = app.tenant_at("Dunet SRL", settings(&sandbox, &proxy.url, ProtocolChoice::Json2)).await;
        let odoo = direct(&sandbox, &url).await;
        let ((done, first), (undone, second)) = (closed(&app, Some("131793916")).await, closed(&app, Some("101010632")).await);
        bills(&app, own).await;
        let invoices_of = &app.state.invoices;

        // It was made, and the answer was lost.
        proxy.break_next("account.move/create", Fault::LoseAnswer);
        assert!(matches!(invoices_of.create(done, first, &actor()).await, Err(InvoiceError::Unknown)));
        assert!(matches!(invoices_of.create(done, first, &actor()).await, Err(InvoiceError::Unknown)), "not repeated");
        assert_eq!(invoices(&odoo, done).await.len(), 1);
        let operator = app.operator().await;
        let page = format!("/admin/clients/{done}/usage/statement");
        let month = first.to_string();
        let shown = format!("{page}?month={month}");
        assert!(operator.get(&shown).await.text.contains("No se sabe si la factura se creó"));
        let checked = operator.post(&shown, &format!("{page}/invoice/check"), &[("month", month.as_str())]).await;
        assert_eq!(checked.status, StatusCode::SEE_OTHER, "{}", checked.text);
        let found = app.state.statements.invoice_find(done, first).await.unwrap().unwrap();
        assert_eq!((found.state, found.odoo_id), (InvoiceState::Done, invoices(&odoo, done).await[0]["id"].as_i64()));

        // It never arrived: free again, but not before Odoo can no longer be making it.
        proxy.break_next("account.move/create", Fault::Instead(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n".to_vec()));
        let program = Program::new(&app, "prueba").await;
        let api = format!("/admin/api/clients/{undone}/statements/{second}/invoice");
        assert!(program.send(Method::POST, &api, &json!({})).await.failed(StatusCode::CONFLICT));
        let fresh = program.send(Method::POST, &format!("{api}/check"), &json!({})).await;
        assert!(fresh.failed(StatusCode::CONFLICT) && fresh.json["detail"].as_str().unwrap().contains("three minutes"), "{fresh:?}");
        app.clock.advance(chrono::Duration::seconds(180));
        assert_eq!(program.send(Method::POST, &format!("{api}/check"), &json!({})).await.json["invoice"], Value::Null);
        assert!(program.send(Method::POST, &format!("{api}/check"), &json!({})).await.failed(StatusCode::NOT_FOUND), "nothing is open");
        let made = program.send(Method::POST, &api, &json!({})).await;
        assert_eq!(made.status, StatusCode::OK, "{made:?}");
        assert_eq!(invoices(&odoo, undone).await.len(), 1);

        // Two presses at once make one.
        let (third, month) = closed(&app, Some("130000001")).await;
        let (one, two) = (actor(), actor());
        let (first, second) = tokio::join!(invoices_of.create(third, month, &one), invoices_of.create(third, month, &two));
        assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
        assert_eq!(invoices(&odoo, third).await.len(), 1);
    })
    .await;
}

/// The real Odoo's administrator, who may invoice.
fn administrator(protocol: ProtocolChoice) -> Option<NewOdoo> {
    let Some(url) = setting("ODOO_TEST_URL") else {
        left_out("invoices in a real Odoo (ODOO_TEST_URL is not set; scripts/test starts one)");
        return None;
    };
    let named = |name: &str| setting(name).unwrap_or_else(|| panic!("{name} is missing"));
    let secret = SecretString::from(named("ODOO_TEST_API_KEY"));
    Some(NewOdoo { url: url.parse().expect("an address"), database: named("ODOO_TEST_DB"), login: named("ODOO_TEST_LOGIN"), secret, protocol })
}

async fn in_the_real_one(app: Arc<TestApp>, wire: ProtocolChoice, odoo: OdooClient, rnc: String) {
    let (own, _) = app.tenant_at("Dunet SRL", administrator(wire).expect("asked before")).await;
    let (tenant, month) = closed(&app, Some(&rnc)).await;
    bills(&app, own).await;
    let made = app.state.invoices.create(tenant, month, &actor()).await.unwrap();
    assert_eq!(app.state.invoices.create(tenant, month, &actor()).await.unwrap(), made, "{wire}: once");
    let fields = ["state", "move_type", "amount_untaxed", "amount_tax", "amount_total", "currency_id", "partner_id", "invoice_origin", "ref"];
    let found = records(&odoo, "account.move", json!([["invoice_origin", "=", made.reference]]), &fields).await;
    assert_eq!(found.len(), 1, "{wire}: {found:?}");
    let invoice = &found[0];
    assert_eq!((&invoice["state"], &invoice["move_type"], invoice["id"].as_i64()), (&json!("draft"), &json!("out_invoice"), made.odoo_id), "{wire}: {invoice}");
    let statement = app.state.statements.statement(tenant, month).await.unwrap();
    let cents = if made.currency.as_deref() == Some("DOP") { statement.total_dop_cents.unwrap() } else { statement.total_usd_cents };
    let untaxed = if made.currency.as_deref() == Some("DOP") { 125_000 } else { 2_000 };
    assert_eq!((invoice["amount_untaxed"].as_f64().unwrap() * 100.0).round() as i64, untaxed, "{wire}: {invoice}");
    let wanted = if made.taxed { cents } else { untaxed };
    assert_eq!((invoice["amount_total"].as_f64().unwrap() * 100.0).round() as i64, wanted, "{wire}: {invoice}");
    let partner = records(&odoo, "res.partner", json!([["id", "=", invoice["partner_id"][0]]]), &["vat"]).await;
    assert_eq!(partner[0]["vat"], rnc, "{wire}");
}

async fn remove(odoo: &OdooClient, rnc: &str) {
    let partners: Vec<i64> = records(odoo, "res.partner", json!([["vat", "=", rnc]]), &["id"]).await.iter().filter_map(|row| row["id"].as_i64()).collect();
    let moves: Vec<i64> = records(odoo, "account.move", json!([["partner_id", "in", partners]]), &["id"]).await.iter().filter_map(|row| row["id"].as_i64()).collect();
    for (model, ids) in [("account.move", moves), ("res.partner", partners)] {
        if !ids.is_empty() {
            odoo.call_write(model, "unlink", Some(&ids), Map::new()).await.unwrap_or_else(|error| panic!("{model} {ids:?} stay behind: {error}"));
        }
    }
}

#[tokio::test]
async fn a_draft_invoice_in_the_real_odoo() {
    if administrator(ProtocolChoice::Auto).is_none() {
        return;
    }
    TestApp::everywhere_with(&["--odoo-request-timeout-ms", "50000", "--request-timeout-ms", "90000"], |app| async move {
        let NewOdoo { url, database, login, secret, protocol } = administrator(ProtocolChoice::Json2).expect("asked before");
        let limits = OdooLimits { request_timeout_ms: 60_000, ..OdooLimits::default() };
        let odoo = OdooClient::connect(OdooConfig { url, database, login, secret, protocol, limits, addresses: AddressPolicy::AllowPrivate }).await.expect("the real Odoo answers");
        for wire in [ProtocolChoice::Json2, ProtocolChoice::XmlRpc] {
            // Nobody's number: so that two runs at once hardly meet, and nothing of others is removed.
            let rnc = format!("4{:08}", uuid::Uuid::new_v4().as_u128() % 100_000_000);
            let story = AssertUnwindSafe(in_the_real_one(Arc::clone(&app), wire, odoo.clone(), rnc.clone())).catch_unwind().await;
            remove(&odoo, &rnc).await;
            if let Err(panic) = story {
                resume_unwind(panic);
            }
        }
    })
    .await;
}
