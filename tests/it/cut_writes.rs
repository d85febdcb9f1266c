//! Connections cut at every byte that matters, in front of the sandbox and of a real Odoo 19: no write happens twice, whatever the agent
//! does next, and the agent is told the truth about the first one.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use dunet::clock::Clock;
use dunet::db::entities::operations;
use dunet::demo::sandbox::SandboxOdoo;
use dunet::domain::tenants::{NewOdoo, WritePolicy};
use dunet::ids::TenantId;
use dunet::odoo::{AddressPolicy, OdooClient, OdooConfig, OdooLimits, ProtocolChoice};
use futures::FutureExt;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use crate::support::cutter::{Cut, End, Part};
use crate::support::mcp::McpClient;
use crate::support::odoo::{Fault, Proxy, count, direct, records, response, settings};
use crate::support::process::Process;
use crate::support::{Backend, TestApp, left_out, serve, setting};

/// Room for many calls, and for a real Odoo on a busy machine.
const SETTINGS: [&str; 14] = [
    "--odoo-failures-max",
    "0",
    "--tenant-writes-per-hour",
    "100000",
    "--tenant-burst-calls",
    "5000",
    "--tenant-calls-per-minute",
    "60000",
    "--call-deadline-ms",
    "40000",
    "--odoo-request-timeout-ms",
    "35000",
    "--request-timeout-ms",
    "90000",
];
const WIRES: [ProtocolChoice; 3] = [ProtocolChoice::Json2, ProtocolChoice::XmlRpc, ProtocolChoice::JsonRpc];

/// A write that an agent asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Quotation,
    Customer,
}

impl Job {
    const ALL: [Self; 2] = [Self::Quotation, Self::Customer];

    fn tool(self) -> &'static str {
        match self {
            Self::Quotation => "crear_cotizacion",
            Self::Customer => "crear_cliente",
        }
    }

    /// What only the request that writes holds.
    fn needle(self, wire: ProtocolChoice) -> &'static str {
        match (self, wire) {
            (Self::Quotation, _) => "web_save",
            (Self::Customer, ProtocolChoice::Json2) => "/res.partner/create",
            (Self::Customer, ProtocolChoice::XmlRpc) => "<string>create</string>",
            (Self::Customer, _) => "\"create\"",
        }
    }

    /// What the last request before it holds.
    fn needle_before(self) -> &'static str {
        match self {
            Self::Quotation => "onchange",
            Self::Customer => "web_search_read",
        }
    }

    /// Of which nothing exists yet.
    async fn arguments(self, desk: &Desk) -> Value {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        match self {
            Self::Quotation => {
                let values = Map::from_iter([("name".to_owned(), json!(format!("Cortes {unique}")))]);
                let partner = desk.odoo.create("res.partner", values).await.expect("a customer");
                json!({ "cliente": partner.to_string(), "lineas": [{ "producto": format!("id:{}", desk.product), "cantidad": 2 }] })
            }
            Self::Customer => json!({ "nombre": format!("Cortes {unique}"), "email": format!("{unique}@prueba.do") }),
        }
    }

    async fn count(self, desk: &Desk, arguments: &Value) -> u64 {
        match self {
            Self::Quotation => {
                let partner: i64 = arguments["cliente"].as_str().expect("an id").parse().expect("a number");
                count(&desk.odoo, "sale.order", json!([["partner_id", "=", partner]])).await
            }
            Self::Customer => count(&desk.odoo, "res.partner", json!([["email", "=", arguments["email"]]])).await,
        }
    }
}

/// A tenant behind the proxy, and a look behind everybody's back.
struct Desk {
    id: TenantId,
    wire: ProtocolChoice,
    client: McpClient,
    proxy: Proxy,
    odoo: OdooClient,
    product: i64,
}

impl Desk {
    async fn open(app: &TestApp, wire: ProtocolChoice, odoo: NewOdoo, behind: OdooClient) -> Self {
        let proxy = Proxy::start(odoo.url.as_str().trim_end_matches('/')).await;
        let (id, token) = app.tenant_at("Cortada", NewOdoo { url: proxy.url.parse().expect("an address"), protocol: wire, ..odoo }).await;
        let sold = records(&behind, "product.product", json!([["sale_ok", "=", true], ["type", "=", "consu"], ["list_price", ">", 10]]), &["id"]).await;
        let product = sold.first().and_then(|row| row["id"].as_i64()).expect("a product that is sold");
        Self { id, wire, client: app.client(&token), proxy, odoo: behind, product }
    }

    fn writes_seen(&self, job: Job) -> usize {
        self.proxy.seen(job.needle(self.wire))
    }

    /// A call as it writes under the policy: with a key, or with the code of a preview that was just asked for.
    async fn ready(&self, job: Job, policy: WritePolicy, arguments: &Value) -> Value {
        let mut ready = arguments.clone();
        match policy {
            WritePolicy::Direct | WritePolicy::OwnerApproves => ready["clave"] = json!(uuid::Uuid::new_v4().to_string()),
            WritePolicy::Confirm => {
                let preview = self.client.call(job.tool(), arguments.clone()).await;
                assert!(preview["codigo_confirmacion"].is_string(), "a preview: {preview}");
                ready["codigo_confirmacion"] = preview["codigo_confirmacion"].clone();
            }
        }
        ready
    }

    /// Whether the agent, looking as it was told to, finds what it asked for.
    async fn found(&self, job: Job, arguments: &Value, reference: &str) -> bool {
        match job {
            Job::Quotation => {
                let result = self.client.call_result("ver_cotizacion", json!({ "numero": reference })).await;
                if result["isError"] == json!(true) {
                    assert_eq!(result["structuredContent"]["codigo"], "no_encontrado", "{result}");
                    return false;
                }
                true
            }
            Job::Customer => self.client.call("buscar_cliente", json!({ "consulta": arguments["email"] })).await["total"] == json!(1),
        }
    }
}

/// Sets the policy; what that makes the service forget is forgotten before the next call.
async fn decide(app: &TestApp, tenant: TenantId, policy: WritePolicy) {
    app.write_policy(tenant, policy).await;
    app.state.changes.look().await.expect("looked");
}

/// A fault of the request that writes, and whether the write is committed under it.
type Case = (&'static str, Fault, bool);

fn cases() -> Vec<Case> {
    let cut = |cut: Cut| Fault::Cut(cut);
    let page = |status: &str| response(status, "content-type: text/html; charset=utf-8\r\n", &format!("<html><head><title>{status}</title></head></html>"));
    vec![
        ("taken and closed", cut(Cut::Unsent(End::Fin)), false),
        ("taken and reset", cut(Cut::Unsent(End::Rst)), false),
        ("cut in the request's first line", cut(Cut::Request(Part::MidFirstLine, End::Fin)), false),
        ("cut in the request's head", cut(Cut::Request(Part::MidHead, End::Rst)), false),
        ("cut behind the request's head", cut(Cut::Request(Part::Head, End::Fin)), false),
        ("cut in the request's body", cut(Cut::Request(Part::MidBody, End::Fin)), false),
        ("reset in the request's body", cut(Cut::Request(Part::MidBody, End::Rst)), false),
        ("cut before the request's last byte", cut(Cut::Request(Part::AllButLast, End::Fin)), false),
        ("reset before the request's last byte", cut(Cut::Request(Part::AllButLast, End::Rst)), false),
        ("closed after the commit", cut(Cut::Answer(Part::Nothing, End::Fin)), true),
        ("reset after the commit", cut(Cut::Answer(Part::Nothing, End::Rst)), true),
        ("cut in the status line", cut(Cut::Answer(Part::MidFirstLine, End::Fin)), true),
        ("cut in the answer's head", cut(Cut::Answer(Part::MidHead, End::Fin)), true),
        ("reset behind the answer's head", cut(Cut::Answer(Part::Head, End::Rst)), true),
        ("cut in the answer's body", cut(Cut::Answer(Part::MidBody, End::Fin)), true),
        ("reset in the answer's body", cut(Cut::Answer(Part::MidBody, End::Rst)), true),
        ("cut before the answer's last byte", cut(Cut::Answer(Part::AllButLast, End::Fin)), true),
        ("reset before the answer's last byte", cut(Cut::Answer(Part::AllButLast, End::Rst)), true),
        ("a proxy's 502 after the commit", Fault::Answer(page("502 Bad Gateway")), true),
        ("a proxy's 503 after the commit", Fault::Answer(page("503 Service Unavailable")), true),
        ("a proxy's 504 after the commit", Fault::Answer(page("504 Gateway Timeout")), true),
        ("a login page after the commit", Fault::Answer(page("200 OK")), true),
    ]
}

/// One write under one fault, and everything the agent may do next.
async fn story(desk: &Desk, job: Job, policy: WritePolicy, (what, fault, committed): &Case) {
    let told = format!("{} {job:?} {policy:?}, {what}", desk.wire);
    let arguments = job.arguments(desk).await;
    let call = desk.ready(job, policy, &arguments).await;
    let seen = desk.writes_seen(job);
    desk.proxy.break_next(job.needle(desk.wire), fault.clone());
    let error = desk.client.fail(job.tool(), call.clone()).await;
    assert_eq!((error["codigo"].as_str(), error["reintentable"].as_bool()), (Some("resultado_desconocido"), Some(false)), "{told}: {error}");
    let reference = error["datos"]["referencia"].as_str().unwrap_or_else(|| panic!("{told}: {error}")).to_owned();
    assert!(reference.starts_with("dunet:") && error["que_hacer"].as_str().is_some_and(|text| text.contains(&reference)), "{told}: {error}");
    assert_eq!(job.count(desk, &arguments).await, u64::from(*committed), "{told}");

    // Again with the same key or code: the same answer, and nothing is sent.
    for _ in 0..2 {
        let again = desk.client.fail(job.tool(), call.clone()).await;
        assert_eq!((again["codigo"].as_str(), again["datos"]["referencia"].as_str()), (Some("resultado_desconocido"), Some(reference.as_str())), "{told}: {again}");
    }
    assert_eq!(desk.writes_seen(job), seen + 1, "{told}: never sent again");
    assert_eq!(desk.found(job, &arguments, &reference).await, *committed, "{told}: what the agent is told to look at says what happened");

    // What it was told to do then.
    if *committed {
        if job == Job::Customer {
            let mut other = arguments.clone();
            other["clave"] = json!(uuid::Uuid::new_v4().to_string());
            assert_eq!(desk.client.call(job.tool(), other).await["ya_existia"], true, "{told}");
        }
    } else {
        let fresh = desk.ready(job, policy, &arguments).await;
        desk.client.call(job.tool(), fresh).await;
    }
    assert_eq!(job.count(desk, &arguments).await, 1, "{told}: exactly one in the end");
}

/// Nobody listens any more when the write comes: nothing was sent, and the same call works later.
async fn refused(desk: &Desk, job: Job, policy: WritePolicy) {
    let told = format!("{} {job:?} {policy:?}, refused", desk.wire);
    let arguments = job.arguments(desk).await;
    let call = desk.ready(job, policy, &arguments).await;
    let seen = desk.writes_seen(job);
    desk.proxy.break_next(job.needle_before(), Fault::CloseDoor);
    let error = desk.client.fail(job.tool(), call.clone()).await;
    assert_eq!((error["codigo"].as_str(), error["reintentable"].as_bool()), (Some("odoo_caido"), Some(true)), "{told}: {error}");
    assert!(error.get("datos").is_none(), "{told}: {error}");
    desk.proxy.reopen().await;
    assert_eq!((job.count(desk, &arguments).await, desk.writes_seen(job)), (0, seen), "{told}");
    let made = desk.client.call(job.tool(), call.clone()).await;
    assert_eq!(job.count(desk, &arguments).await, 1, "{told}: {made}");
    let again = desk.client.call_result(job.tool(), call).await["structuredContent"].clone();
    let told_of = if policy == WritePolicy::Direct { &again } else { &again["datos"]["resultado"] };
    // A customer who is there is answered before the code is looked at.
    assert!(*told_of == made || job == Job::Customer && again["ya_existia"] == json!(true), "{told}: {again}");
    assert_eq!((job.count(desk, &arguments).await, desk.writes_seen(job)), (1, seen + 1), "{told}");
}

/// Cuts before and behind the write: a read of the plan (sent again once when its answer is lost), and the link that is asked for afterwards.
async fn around(desk: &Desk) {
    for (needle, fault, code) in [
        ("onchange", Cut::Answer(Part::Nothing, End::Fin), None),
        ("onchange", Cut::Unsent(End::Rst), None),
        ("onchange", Cut::Answer(Part::MidBody, End::Fin), Some("odoo_caido")),
        ("onchange", Cut::Answer(Part::AllButLast, End::Rst), Some("odoo_caido")),
        ("get_portal_url", Cut::Unsent(End::Fin), None),
        ("get_portal_url", Cut::Answer(Part::Nothing, End::Rst), None),
        ("get_portal_url", Cut::Answer(Part::MidBody, End::Fin), None),
    ] {
        let told = format!("{} {needle} {fault:?}", desk.wire);
        let arguments = Job::Quotation.arguments(desk).await;
        let call = desk.ready(Job::Quotation, WritePolicy::Direct, &arguments).await;
        desk.proxy.break_next(needle, Fault::Cut(fault));
        if let Some(code) = code {
            let error = desk.client.fail("crear_cotizacion", call.clone()).await;
            assert_eq!((error["codigo"].as_str(), error["reintentable"].as_bool()), (Some(code), Some(true)), "{told}: {error}");
            assert_eq!(Job::Quotation.count(desk, &arguments).await, 0, "{told}");
        }
        let made = desk.client.call("crear_cotizacion", call.clone()).await;
        let linked = needle != "get_portal_url";
        assert_eq!((made["enlace"].is_string(), made["avisos"].as_array().is_some_and(|notices| !notices.is_empty())), (linked, !linked), "{told}: {made}");
        assert_eq!(desk.client.call("crear_cotizacion", call).await, made, "{told}");
        assert_eq!(Job::Quotation.count(desk, &arguments).await, 1, "{told}: exactly one");
    }
}

#[tokio::test]
async fn a_cut_anywhere_writes_at_most_once_in_the_sandbox() {
    TestApp::everywhere_with(&SETTINGS, |app| async move {
        for wire in WIRES {
            let sandbox = Arc::new(SandboxOdoo::dominican_sample("Cortada"));
            let (url, _server) = serve(Arc::clone(&sandbox).router()).await;
            let desk = Desk::open(&app, wire, settings(&sandbox, &url, wire), direct(&sandbox, &url).await).await;
            for policy in [WritePolicy::Direct, WritePolicy::Confirm] {
                decide(&app, desk.id, policy).await;
                for job in Job::ALL {
                    // Warms what is remembered, so that the last request before a write is known.
                    desk.client.call(job.tool(), job.arguments(&desk).await).await;
                    refused(&desk, job, policy).await;
                    for case in cases() {
                        story(&desk, job, policy, &case).await;
                    }
                }
            }
            decide(&app, desk.id, WritePolicy::Direct).await;
            around(&desk).await;
            let rows = operations::Entity::find().filter(operations::Column::ClientId.eq(desk.id.uuid())).all(&app.state.db).await.unwrap();
            assert!(rows.iter().all(|row| row.state == "done" || row.state == "unknown"), "nothing is left running");
        }
    })
    .await;
}

/// The real Odoo's integration user, or none with a line.
fn real(protocol: ProtocolChoice) -> Option<NewOdoo> {
    let Some(url) = setting("ODOO_TEST_URL") else {
        left_out("cut connections in front of a real Odoo (ODOO_TEST_URL is not set; scripts/test starts one)");
        return None;
    };
    let named = |name: &str| setting(&format!("ODOO_TEST_{name}")).unwrap_or_else(|| panic!("ODOO_TEST_{name} is missing"));
    let secret = SecretString::from(named("API_API_KEY"));
    Some(NewOdoo { url: url.parse().expect("an address"), database: named("DB"), login: named("API_LOGIN"), secret, protocol })
}

async fn administrator(odoo: &NewOdoo) -> OdooClient {
    let named = |name: &str| setting(&format!("ODOO_TEST_{name}")).unwrap_or_else(|| panic!("ODOO_TEST_{name} is missing"));
    let limits = OdooLimits { request_timeout_ms: 60_000, ..OdooLimits::default() };
    let (url, database, secret) = (odoo.url.clone(), odoo.database.clone(), SecretString::from(named("API_KEY")));
    let config = OdooConfig { url, database, login: named("LOGIN"), secret, protocol: ProtocolChoice::Json2, limits, addresses: AddressPolicy::AllowPrivate };
    OdooClient::connect(config).await.expect("the real Odoo answers")
}

/// Removes what the stories made.
async fn remove(odoo: &OdooClient) {
    let partners: Vec<i64> = records(odoo, "res.partner", json!([["name", "=like", "Cortes %"]]), &["id"]).await.iter().filter_map(|row| row["id"].as_i64()).collect();
    let orders: Vec<i64> = records(odoo, "sale.order", json!([["partner_id", "in", partners]]), &["id"]).await.iter().filter_map(|row| row["id"].as_i64()).collect();
    for (model, ids) in [("sale.order", orders), ("res.partner", partners)] {
        if !ids.is_empty() {
            odoo.call_write(model, "unlink", Some(&ids), Map::new()).await.unwrap_or_else(|error| panic!("{model} {ids:?} stay behind: {error}"));
        }
    }
}

#[tokio::test]
async fn a_cut_anywhere_writes_at_most_once_in_a_real_odoo() {
    let Some(odoo) = real(ProtocolChoice::Auto) else { return };
    let app = Arc::new(TestApp::start(Backend::Sqlite, &SETTINGS).await);
    let behind = administrator(&odoo).await;
    let told = AssertUnwindSafe(async {
        for wire in WIRES {
            let desk = Desk::open(&app, wire, real(wire).expect("asked before"), behind.clone()).await;
            // Every class over JSON-2; a choice of them over the older wires and in two steps: the sandbox sees them all.
            let choice: &[(WritePolicy, Job, usize)] = match wire {
                ProtocolChoice::Json2 => &[
                    (WritePolicy::Direct, Job::Quotation, 1),
                    (WritePolicy::Direct, Job::Customer, 3),
                    (WritePolicy::Confirm, Job::Quotation, 5),
                    (WritePolicy::Confirm, Job::Customer, 7),
                ],
                ProtocolChoice::XmlRpc => &[(WritePolicy::Direct, Job::Quotation, 3), (WritePolicy::Direct, Job::Customer, 5)],
                _ => &[(WritePolicy::Direct, Job::Quotation, 4), (WritePolicy::Direct, Job::Customer, 6)],
            };
            for &(policy, job, every) in choice {
                decide(&app, desk.id, policy).await;
                desk.client.call(job.tool(), job.arguments(&desk).await).await;
                refused(&desk, job, policy).await;
                for case in cases().iter().step_by(every) {
                    story(&desk, job, policy, case).await;
                }
            }
            decide(&app, desk.id, WritePolicy::Direct).await;
            around(&desk).await;
        }
    })
    .catch_unwind()
    .await;
    remove(&behind).await;
    if let Err(panic) = told {
        resume_unwind(panic);
    }
    let mut app = Arc::into_inner(app).expect("the story let go of the service");
    app.stop().await;
}

/// A service that is killed between its row and Odoo's answer: another one on the same database says "running", later "unknown".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_service_is_killed_is_never_done_again() {
    TestApp::everywhere(|app| async move {
        // The other service goes by the machine's clock.
        app.clock.advance(Clock::system().now() - app.clock.now());
        let sandbox = Arc::new(SandboxOdoo::dominican_sample("Cortada"));
        let (url, _server) = serve(Arc::clone(&sandbox).router()).await;
        let proxy = Proxy::start(&url).await;
        let (id, token) = app.tenant_at("Cortada", settings(&sandbox, &proxy.url, ProtocolChoice::Json2)).await;
        decide(&app, id, WritePolicy::Direct).await;
        let odoo = direct(&sandbox, &url).await;
        let call = json!({ "cliente": "Colegio Nuevo Amanecer", "lineas": [{ "producto": "CIN-005" }], "clave": "a-medias" });
        let before = count(&odoo, "sale.order", json!([])).await;

        let other = Process::serve(&app, &[]).await;
        proxy.break_next("web_save", Fault::Hold);
        let mut calls = JoinSet::new();
        let (client, arguments) = (McpClient::legacy(&other.mcp_url(), &token), call.clone());
        calls.spawn(async move { client.call_result("crear_cotizacion", arguments).await });
        proxy.held().await;
        other.kill();
        assert!(calls.join_next().await.expect("the call").is_err(), "it got no answer");
        proxy.release();
        assert_eq!(count(&odoo, "sale.order", json!([])).await, before + 1, "committed");

        let client = app.client(&token);
        let young = client.fail("crear_cotizacion", call.clone()).await;
        assert_eq!((young["codigo"].as_str(), young["reintentable"].as_bool()), (Some("operacion_en_curso"), Some(true)), "{young}");
        app.clock.advance(chrono::Duration::seconds(181));
        let old = client.fail("crear_cotizacion", call).await;
        assert_eq!((old["codigo"].as_str(), old["reintentable"].as_bool()), (Some("resultado_desconocido"), Some(false)), "{old}");
        let seen = client.call("ver_cotizacion", json!({ "numero": old["datos"]["referencia"] })).await;
        let made = records(&odoo, "sale.order", json!([["origin", "=", old["datos"]["referencia"]]]), &["name"]).await;
        assert_eq!((made.len(), &made[0]["name"]), (1, &seen["numero"]));
        assert_eq!((count(&odoo, "sale.order", json!([])).await, proxy.seen("web_save")), (before + 1, 1));
    })
    .await;
}
