//! Attack 17: tenants hammer the service at the same time, each with an Odoo full of canaries (a word, numbers and amounts that only its own
//! records have), and no answer may carry another's. Every answer is looked at whole: status, headers, body.
//!
//! The gate makes 100,000 calls, shared between the databases at hand; `DUNET_TEST_ISOLATION_CALLS=10000000` makes ten million (an hour or
//! more, in a release build, with some gigabytes of disk for the usage rows).

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use clap::CommandFactory;
use dunet::commands::Cli;
use dunet::db::entities::tool_usage;
use dunet::domain::tenants::ToolEdit;
use dunet::domain::tokens::NewToken;
use dunet::http::HttpSettings;
use dunet::ids::TenantId;
use dunet::text::Language;
use http_body_util::BodyExt;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::support::mcp::{LEGACY, MODERN};
use crate::support::odoo::{direct, records};
use crate::support::{Backend, TestApp, TestTenant, actor, backends, setting};

/// Calls in the gate, all databases together.
const CALLS: u64 = 100_000;
/// One per tenant. No word stands in any of our own sentences.
const WORDS: [&str; 4] = ["Quetzal", "Zorzal", "Cotorra", "Guaraguao"];
/// Stands in every tenant's numbers and amounts, so that most answers are seen at one glance to hold none.
const MARK: &str = "77066";
/// Customers, products and orders of each tenant.
const RECORDS: usize = 6;
/// Callers at once, over TCP and inside the process. About six per tenant: fewer than its places at its Odoo.
const OVER_TCP: u64 = 12;
const INSIDE: u64 = 12;
/// What a caller that does not hang up calls itself, and one that does.
const PATIENT: &str = "paciente/1";
const HASTY: &str = "impaciente/1";

/// Out of the way: this is about isolation, not about limits. Settings that this version does not know are left out.
const SETTINGS: [(&str, &str); 5] = [
    ("--tenant-calls-per-minute", "600000000"),
    ("--tenant-burst-calls", "600000000"),
    ("--failed-auth-per-minute", "1000000"),
    ("--repeated-calls-per-minute", "0"),
    ("--usage-queue-records-max", "500000"),
];

fn settings() -> Vec<&'static str> {
    let command = Cli::command();
    let known = |flag: &str| command.get_arguments().any(|argument| argument.get_long() == flag.strip_prefix("--"));
    SETTINGS.iter().filter(|(flag, _)| known(flag)).flat_map(|(flag, value)| [*flag, *value]).collect()
}

/// A tenant and everything that only it may see.
struct Canaries {
    tenant: TestTenant,
    english: String,
    word: &'static str,
    customers: Vec<i64>,
    rncs: Vec<String>,
    prices: Vec<String>,
    orders: Vec<String>,
    /// A code for a write that this tenant previewed, and the arguments it is good for.
    code: (String, Value),
    /// In lower case: what no other tenant's answer may hold. Words and names of ours, and the numbers, which all hold [`MARK`].
    names: Vec<String>,
    numbers: Vec<String>,
}

impl Canaries {
    async fn plant(app: &TestApp, at: usize) -> Self {
        let word = WORDS[at];
        let tenant = app.tenant(&format!("Empresa {word}")).await;
        for tool in dunet::tools::TOOLS.iter() {
            let edit = ToolEdit { calls_per_hour: Some(1_000_000_000), ..ToolEdit::default() };
            app.state.tenants.tool_edit(tenant.id, tool.facts().name, edit, &actor()).await.expect("edited");
        }
        let english = NewToken { name: "en".to_owned(), packs: None, language: Some(Language::En), expires_at: None };
        let english = app.state.tokens.token_issue(tenant.id, english, &actor()).await.expect("a token").token.expose_secret().to_owned();

        let odoo = direct(&tenant.sandbox, &tenant.odoo_url).await;
        let create = async |model: &str, values: Value| {
            let values: Map<String, Value> = values.as_object().expect("an object").clone();
            odoo.create(model, values).await.expect("created")
        };
        let (mut customers, mut rncs, mut prices, mut orders) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for n in 0..RECORDS {
            let rnc = format!("9{at}{MARK}{n}1{at}{n}");
            let price: u32 = format!("{MARK}{at}{n}").parse().expect("a number");
            let customer = create("res.partner", json!({ "name": format!("Cliente {word} {n}"), "vat": rnc, "phone": format!("829-7{at}0-44{n}{n}"), "email": format!("{word}{n}@{word}.example"), "is_company": true, "customer_rank": 1 })).await;
            let product =
                create("product.product", json!({ "name": format!("Artefacto {word} {n}"), "default_code": format!("{word}-{n}"), "list_price": f64::from(price) + 0.25 })).await;
            let order = create("sale.order", json!({ "partner_id": customer, "order_line": [[0, 0, { "product_id": product, "product_uom_qty": 1 }]] })).await;
            let order = records(&odoo, "sale.order", json!([["id", "=", order]]), &["name"]).await[0]["name"].as_str().expect("a number").to_owned();
            customers.push(customer);
            rncs.push(rnc);
            prices.push(format!("{price}.25"));
            orders.push(order);
        }
        let arguments = json!({ "nombre": format!("Prometido {word}"), "telefono": "809-555-0199" });
        let preview = app.client(&tenant.token).call("crear_cliente", arguments.clone()).await;
        let code = (preview["codigo_confirmacion"].as_str().expect("a code").to_owned(), arguments);
        let names = vec![word.to_lowercase(), tenant.id.to_string(), tenant.token[20..].to_lowercase()];
        let numbers = rncs.iter().chain(&prices).cloned().collect();
        Self { tenant, english, word, customers, rncs, prices, orders, code, names, numbers }
    }
}

/// What an answer must be, besides being free of canaries.
#[derive(Debug)]
enum Wants {
    /// This status, and nothing more is asked.
    Status(u16),
    /// A result that holds this (in lower case).
    Holds(String),
    /// A tool's error of this code.
    Code(&'static str),
    /// A JSON-RPC error of this code.
    Rpc(i64),
    /// Some answer or none: the caller hangs up.
    Nothing,
}

/// A request, ready to be sent in either way.
struct Shot {
    kind: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
    wants: Wants,
    /// Whether it leaves a usage row.
    is_call: bool,
    hangs_up_after: Option<Duration>,
}

/// What came back.
struct Seen {
    status: u16,
    headers: http::HeaderMap,
    body: String,
}

/// A number that looks like chance and is the same in every run.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// How often each kind comes, of a thousand.
const MIX: [(&str, u64); 19] = [
    ("rnc", 150),
    ("contexto", 250),
    ("cliente", 36),
    ("cliente ajeno", 14),
    ("producto", 9),
    ("cotizacion", 10),
    ("sin cotizacion", 6),
    ("vista de cotizacion", 3),
    ("vista de cliente", 4),
    ("codigo ajeno", 20),
    ("argumento", 60),
    ("desconocida", 50),
    ("lista", 8),
    ("saludo", 62),
    ("metodo", 100),
    ("ping", 50),
    ("token", 90),
    ("basura", 70),
    ("cuelga", 8),
];

fn shot(all: &[Canaries], at: usize, n: u64) -> Shot {
    let chance = mix(n);
    let own = &all[at];
    let other = &all[(at + 1 + (chance >> 20) as usize % (all.len() - 1)) % all.len()];
    let record = (chance >> 32) as usize % RECORDS;
    let (modern, english) = (chance >> 40 & 1 == 0, chance >> 41 & 1 == 0);
    let mut roll = chance % 1_000;
    let kind = MIX
        .iter()
        .find(|(_, share)| {
            let hit = roll < *share;
            roll = roll.wrapping_sub(*share);
            hit
        })
        .expect("a thousand in all")
        .0;
    let own_word = || Wants::Holds(own.word.to_lowercase());
    // What some hosts add: it makes every call another one, and is dropped.
    let call = |name: &str, mut arguments: Value, wants: Wants| {
        arguments["toolCallId"] = json!(n);
        ("tools/call", json!({ "name": name, "arguments": arguments }), wants, true)
    };
    let (method, params, wants, is_call) = match kind {
        // The listing is everybody's; the number is what makes the calls differ.
        "rnc" => call("consultar_rnc_dgii", json!({ "rnc": format!("1{:08}", n % 100_000_000) }), Wants::Holds("fecha_corte".to_owned())),
        "contexto" => call("odoo_contexto", json!({}), own_word()),
        "cliente" => call("buscar_cliente", json!({ "consulta": format!("Cliente {} {record}", own.word) }), own_word()),
        "cliente ajeno" => call("buscar_cliente", json!({ "consulta": other.rncs[record], "limite": 1 + n % 10 }), Wants::Holds("\"total\":0".to_owned())),
        "producto" => call("buscar_productos", json!({ "consulta": format!("{}-{record}", own.word) }), Wants::Holds(own.prices[record].clone())),
        "cotizacion" => call("ver_cotizacion", json!({ "numero": own.orders[record] }), own_word()),
        "sin cotizacion" => call("ver_cotizacion", json!({ "numero": format!("S9{:05}", n % 100_000) }), Wants::Code("no_encontrado")),
        "vista de cotizacion" => {
            let line = json!({ "producto": format!("{}-{record}", own.word), "cantidad": 1 + n % 90 });
            call("crear_cotizacion", json!({ "cliente": own.customers[record].to_string(), "lineas": [line] }), own_word())
        }
        "vista de cliente" => call("crear_cliente", json!({ "nombre": format!("Nuevo {} {n}", own.word) }), Wants::Holds("vista_previa".to_owned())),
        "codigo ajeno" => {
            let mut arguments = other.code.1.clone();
            arguments["codigo_confirmacion"] = json!(other.code.0);
            call("crear_cliente", arguments, Wants::Code("codigo_invalido"))
        }
        "argumento" => call("buscar_cliente", json!({ "consulta": 5, "limite": n % 1000 + 11 }), Wants::Code("argumento_invalido")),
        "desconocida" => ("tools/call", json!({ "name": format!("herramienta_{n}"), "arguments": {} }), Wants::Rpc(-32602), false),
        "lista" => ("tools/list", json!({}), Wants::Holds("ver_cotizacion".to_owned()), false),
        "saludo" if modern => ("server/discover", json!({}), own_word(), false),
        "saludo" => ("initialize", json!({ "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } }), own_word(), false),
        "ping" if modern => ("ping", json!({}), Wants::Rpc(-32601), false),
        "ping" => ("ping", json!({}), Wants::Status(200), false),
        "metodo" => ("resources/subscribe", json!({ "uri": format!("odoo://res.partner/{}", other.customers[record]) }), Wants::Rpc(-32601), false),
        "token" => ("tools/list", json!({}), Wants::Status(401), false),
        "cuelga" => {
            let (method, params, _, _) = call("buscar_cliente", json!({ "consulta": format!("Cliente {} {record}", own.word) }), Wants::Nothing);
            (method, params, Wants::Nothing, false)
        }
        "basura" => ("", json!({}), Wants::Status(400), false),
        other => unreachable!("{other}"),
    };
    let hasty = kind == "cuelga";
    let agent = if hasty { HASTY } else { PATIENT };
    let token = if english { &own.english } else { &own.tenant.token };
    let mut headers = vec![("content-type", "application/json".to_owned()), ("accept", "application/json, text/event-stream".to_owned()), ("user-agent", agent.to_owned())];
    match kind {
        // Cut, mistyped, none at all.
        "token" if n.is_multiple_of(3) => headers.push(("authorization", format!("Bearer {}", &token[..token.len() - 1]))),
        "token" if n % 3 == 1 => headers.push(("authorization", format!("Bearer {}{}", &other.tenant.token[..30], &token[30..]))),
        "token" => {}
        _ => headers.push(("authorization", format!("Bearer {token}"))),
    }
    let mut params = params;
    if modern && kind != "saludo" || method == "server/discover" {
        headers.push(("mcp-protocol-version", MODERN.to_owned()));
        headers.push(("mcp-method", method.to_owned()));
        if let Some(name) = params["name"].as_str() {
            headers.push(("mcp-name", name.to_owned()));
        }
        let mut client = agent.split('/');
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": { "name": client.next(), "version": client.next() },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
    } else if method != "initialize" {
        headers.push(("mcp-protocol-version", LEGACY.to_owned()));
    }
    let body = match kind {
        "basura" => ["{", "[]", "{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}", "null"][n as usize % 4].to_owned(),
        _ => json!({ "jsonrpc": "2.0", "id": n, "method": method, "params": params }).to_string(),
    };
    let hangs_up_after = hasty.then(|| Duration::from_micros(mix(chance) % 12_000));
    Shot { kind, headers, body, wants, is_call, hangs_up_after }
}

/// What all callers did.
#[derive(Default)]
struct Tally {
    request_ids: Vec<u128>,
    /// Usage rows that must be there, by tenant.
    calls: HashMap<usize, u64>,
    hung_up: HashMap<usize, u64>,
    kinds: BTreeMap<&'static str, u64>,
    /// Calls whose Odoo was too busy: an honest answer, but no proof.
    busy: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.request_ids.extend(other.request_ids);
        self.busy += other.busy;
        for (from, to) in [(other.calls, &mut self.calls), (other.hung_up, &mut self.hung_up)] {
            for (tenant, count) in from {
                *to.entry(tenant).or_default() += count;
            }
        }
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
    }
}

/// Looks at an answer whole.
fn look(all: &[Canaries], at: usize, shot: &Shot, seen: &Seen, tally: &mut Tally) {
    let told = || format!("{} of {}: {} {:?}\n{}", shot.kind, all[at].word, seen.status, seen.headers, seen.body);
    let id = seen.headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_else(|| panic!("no request id: {}", told()));
    tally.request_ids.push(id.parse::<uuid::Uuid>().unwrap_or_else(|error| panic!("{error}: {}", told())).as_u128());
    // Chance makes the id's digits; they may look like anything.
    let headers: String = seen.headers.values().map(|value| String::from_utf8_lossy(value.as_bytes()) + "\n").collect();
    let text = (headers + &seen.body).replace(id, "").to_lowercase();
    let numbers = text.contains(MARK);
    for stranger in all.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, stranger)| stranger) {
        for needle in stranger.names.iter().chain(stranger.numbers.iter().filter(|_| numbers)) {
            // What one sends comes back in some answers ("no hay ningún cliente con…").
            assert!(!text.contains(needle) || shot.body.to_lowercase().contains(needle), "{needle} of {} crossed: {}", stranger.word, told());
        }
    }
    let body: Value = serde_json::from_str(&seen.body).unwrap_or_else(|error| panic!("{error}: {}", told()));
    let error = &body["result"]["structuredContent"];
    if body["result"]["isError"] == json!(true) {
        assert_eq!(error["id_solicitud"], id, "{}", told());
        if matches!(error["codigo"].as_str(), Some("odoo_ocupado" | "odoo_lento" | "tiempo_agotado" | "odoo_caido")) {
            tally.busy += 1;
            return;
        }
    }
    match &shot.wants {
        Wants::Status(status) => assert_eq!(seen.status, *status, "{}", told()),
        Wants::Holds(text_wanted) => assert!(text.contains(text_wanted) && body["result"]["isError"] != json!(true), "no {text_wanted}: {}", told()),
        Wants::Code(code) => assert_eq!(error["codigo"], *code, "{}", told()),
        Wants::Rpc(code) => assert_eq!(body["error"]["code"], *code, "{}", told()),
        Wants::Nothing => {}
    }
}

/// One caller: takes the next number until there is none, and gives every tenant its turn.
async fn caller<F, Fut>(all: Arc<Vec<Canaries>>, next: Arc<AtomicU64>, last: u64, send: F) -> Tally
where
    F: Fn(Vec<(&'static str, String)>, String) -> Fut,
    Fut: Future<Output = Seen>,
{
    let mut tally = Tally::default();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= last {
            return tally;
        }
        let at = n as usize % all.len();
        let shot = shot(&all, at, n);
        *tally.kinds.entry(shot.kind).or_default() += 1;
        let answer = send(shot.headers.clone(), shot.body.clone());
        let seen = match shot.hangs_up_after {
            Some(after) => {
                *tally.hung_up.entry(at).or_default() += 1;
                let Ok(seen) = tokio::time::timeout(after, answer).await else { continue };
                seen
            }
            None => answer.await,
        };
        *tally.calls.entry(at).or_default() += u64::from(shot.is_call);
        look(&all, at, &shot, &seen, &mut tally);
    }
}

async fn hammer(app: &TestApp, all: &Arc<Vec<Canaries>>, calls: u64) -> Tally {
    let http = HttpSettings {
        metrics_allowed: std::sync::Arc::default(),
        stopping: Default::default(),
        public_url: app.base.parse().expect("an address"),
        allowed_origins: Vec::new(),
        trusted_proxies: Arc::default(),
        body_bytes_max: 100_000,
        request_timeout: Duration::from_secs(60),
        failed_auth_per_minute: 1_000_000,
    };
    let (inside, url, next) = (dunet::router(&app.state, &http), app.mcp_url(), Arc::new(AtomicU64::new(0)));
    let authority = app.base.trim_start_matches("http://").to_owned();
    let mut callers = JoinSet::new();
    for _ in 0..OVER_TCP {
        let (client, url) = (reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().expect("a client"), url.clone());
        let send = move |headers: Vec<(&'static str, String)>, body: String| {
            let mut request = client.post(&url).body(body);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            async move {
                let response = request.send().await.expect("an answer");
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                Seen { status, headers, body: response.text().await.expect("a body") }
            }
        };
        callers.spawn(caller(Arc::clone(all), Arc::clone(&next), calls, send));
    }
    for _ in 0..INSIDE {
        let (inside, authority) = (inside.clone(), authority.clone());
        let send = move |headers: Vec<(&'static str, String)>, body: String| {
            let mut request = http::Request::post("/mcp").header("host", &authority);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let answer = inside.clone().oneshot(request.body(Body::from(body)).expect("a request"));
            async move {
                let response = answer.await.expect("never fails");
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                let body = response.into_body().collect().await.expect("a body").to_bytes();
                Seen { status, headers, body: String::from_utf8(body.to_vec()).expect("a text") }
            }
        };
        callers.spawn(caller(Arc::clone(all), Arc::clone(&next), calls, send));
    }
    let mut tally = Tally::default();
    while let Some(done) = callers.join_next().await {
        tally.add(done.expect("no caller saw a crossing"));
    }
    tally
}

/// A tenant's usage rows of callers with that name.
async fn rows(app: &TestApp, tenant: TenantId, agents: [&str; 2]) -> u64 {
    let count: Option<i64> = tool_usage::Entity::find()
        .select_only()
        .column_as(tool_usage::Column::Id.count(), "count")
        .filter(tool_usage::Column::ClientId.eq(tenant.uuid()))
        .filter(tool_usage::Column::Agent.is_in(agents))
        .into_tuple()
        .one(&app.state.db)
        .await
        .expect("counted");
    u64::try_from(count.unwrap_or_default()).expect("a count")
}

async fn story(backend: Backend, calls: u64) {
    let mut app = TestApp::start(backend, &settings()).await;
    app.padron(2_000).await;
    let mut all = Vec::new();
    for at in 0..WORDS.len() {
        all.push(Canaries::plant(&app, at).await);
    }
    app.state.changes.look().await.expect("followed");
    let all = Arc::new(all);
    let began = std::time::Instant::now();
    let mut tally = hammer(&app, &all, calls).await;
    let took = began.elapsed();
    // What waits for its batch is written.
    app.stop().await;

    assert_eq!(tally.kinds.values().sum::<u64>(), calls);
    assert!(MIX.iter().all(|(kind, _)| tally.kinds.contains_key(kind)), "every kind was called: {:?}", tally.kinds);
    assert!(tally.busy * 50 <= calls, "{} of {calls} calls found their Odoo busy: that proves little", tally.busy);
    let answered = tally.request_ids.len();
    tally.request_ids.sort_unstable();
    tally.request_ids.dedup();
    assert_eq!(tally.request_ids.len(), answered, "request ids are never used twice");

    let mut sent = 0;
    for (at, canaries) in all.iter().enumerate() {
        let (calls, hung_up) = (tally.calls[&at], tally.hung_up[&at]);
        let patient = rows(&app, canaries.tenant.id, [PATIENT, &PATIENT.replace('/', " ")]).await;
        let hasty = rows(&app, canaries.tenant.id, [HASTY, &HASTY.replace('/', " ")]).await;
        assert_eq!(patient, calls, "{}: one row for every call", canaries.word);
        assert!(hasty <= hung_up && hasty > 0, "{}: {hasty} rows for {hung_up} calls of callers who hang up", canaries.word);
        sent += calls;
    }
    crate::support::left_out(&format!(
        "nothing: isolation on {backend:?}: {calls} calls of {} tenants in {:.1} s, {answered} answers looked at, {sent} usage rows exact, {} busy, no crossing",
        all.len(),
        took.as_secs_f64(),
        tally.busy
    ));
}

/// 17, 15: no canary crosses; request ids are unique; every tenant is charged for its own calls and for each of them once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_15_17_canaries_do_not_cross_under_load() {
    let calls = setting("DUNET_TEST_ISOLATION_CALLS").map_or(CALLS, |calls| calls.parse().expect("DUNET_TEST_ISOLATION_CALLS is a number"));
    let backends = backends();
    for backend in &backends {
        story(*backend, calls.div_ceil(backends.len() as u64)).await;
    }
}
