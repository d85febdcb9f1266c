//! `cargo bench --bench portal [-- --rows N] [--clients N]`: what the portal's reports cost over many clients and calls, as a table.
//!
//! On PostgreSQL when `DUNET_TEST_POSTGRES` names a server (5,000,000 calls by default), else on SQLite (200,000). It makes a database of its
//! own with 2,000 clients (or as many as it is told), a few of them much busier than the others, fills the roll-ups in bulk, and asks what every page asks, some times.
//! Must: at most 10 queries and less than 50 ms each (the check of a chain of the audit aside, which reads all of it). Then it delivers calls of
//! all clients as the service does.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark prints, measures time and reads its own arguments")]

use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use dunet::clock::Clock;
use dunet::db::reads::ReadSide;
use dunet::db::{self, parts};
use dunet::domain::audit::{Actor, chain_verify};
use dunet::domain::operator_keys::OperatorKeys;
use dunet::domain::padron_history;
use dunet::domain::plans::{plan_list, plan_rows};
use dunet::domain::reports::{AuditFilter, AuditScope, ClientFilter, ClientSort, DayRange, LogFilter, OdooState, Reports};
use dunet::domain::settings::{Key, SettingsStore};
use dunet::domain::statements::Statements;
use dunet::domain::tenants::{NewTenant, Tenants};
use dunet::domain::tokens::{NewToken, TokenMemory, Tokens};
use dunet::domain::usage::{Outcome, UsageRecord, UsageSink};
use dunet::domain::users::{AnyOperator, NewUser, PersonQuery, Role, UserSettings, Users};
use dunet::domain::vault::Vault;
use dunet::ids::{TenantId, TokenId, UsageId};
use dunet::text::Language;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

static CLIENTS: LazyLock<usize> = LazyLock::new(|| given("--clients").unwrap_or(2_000));
const TOOLS: [&str; 8] =
    ["consultar_rnc_dgii", "buscar_contribuyente", "buscar_cliente", "crear_cliente", "buscar_productos", "crear_cotizacion", "ver_cotizacion", "odoo_contexto"];
const TIMES: usize = 7;
const DELIVERED: usize = 20_000;
/// Changes in the audit, besides those that made the clients.
const CHANGES: usize = 200_000;

/// What was asked of the database, and how long its answers took to be there, microseconds.
#[derive(Default)]
struct Heard {
    count: AtomicUsize,
    micros: AtomicU64,
}

#[tokio::main]
async fn main() {
    let server = std::env::var("DUNET_TEST_POSTGRES").ok().filter(|url| !url.is_empty());
    let rows = given("--rows").unwrap_or(if server.is_some() { 5_000_000 } else { 200_000 });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let name = format!("bench{}", uuid::Uuid::new_v4().simple());
    let url = match &server {
        Some(server) => {
            let admin = sea_orm::Database::connect(server).await.expect("the PostgreSQL answers");
            admin.execute_unprepared(&format!("create database {name}")).await.expect("a new database");
            let mut url: url::Url = server.parse().expect("an address");
            url.set_path(&name);
            url.to_string()
        }
        None => format!("sqlite://{}?mode=rwc", folder.path().join("bench.db").display()),
    };
    let mut db = db::connect(&SecretString::from(url), 10).await.expect("a database");
    db::migrate(&db).await.expect("migrated");
    let clock = Clock::system();
    let clients = make(&db, &clock, rows).await;
    let queries = Arc::new(Heard::default());
    let counted = Arc::clone(&queries);
    db.set_metric_callback(move |info| {
        counted.count.fetch_add(1, Ordering::Relaxed);
        counted.micros.fetch_add(u64::try_from(info.elapsed.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    });
    reports(&db, &clock, &clients, &queries).await;
    deliver(&db, &clock, &clients, folder.path()).await;
    drop(db);
    if let Some(server) = server {
        let admin = sea_orm::Database::connect(&server).await.expect("the PostgreSQL answers");
        drop(admin.execute_unprepared(&format!("drop database {name} with (force)")).await);
    }
}

/// The number behind a word of the command line.
fn given(name: &str) -> Option<usize> {
    let args: Vec<String> = std::env::args().collect();
    args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)?.parse().ok())
}

/// The clients through the house, their calls by one statement: a client's share falls with its number, times are spread over 400 days.
async fn make(db: &DatabaseConnection, clock: &Clock, rows: usize) -> Vec<TenantId> {
    let began = Instant::now();
    let tenants = Tenants::new(db.clone(), Vault::from_keys(&[7; 32], None), clock.clone());
    let count = *CLIENTS;
    let mut clients = Vec::with_capacity(count);
    for number in 0..count {
        let plan = ["basic", "pro"][number % 2];
        let new = NewTenant { name: format!("Cliente {number:04} SRL"), rnc: Some(format!("1{number:08}")), plan: plan.to_owned(), odoo: None, tools: Vec::new() };
        clients.push(tenants.tenant_add(new, &Actor::service()).await.expect("a client"));
    }
    println!("{count} clients in {:.1} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    db.execute_unprepared("create table numbered (k integer primary key, id uuid)").await.expect("a table");
    for (number, client) in clients.iter().enumerate() {
        let id = client.uuid().simple().to_string();
        let literal = if db.get_database_backend() == DbBackend::Postgres { format!("'{id}'") } else { format!("x'{id}'") };
        db.execute_unprepared(&format!("insert into numbered values ({number}, {literal})")).await.expect("a row");
    }
    let tools = TOOLS.iter().enumerate().fold(String::from("case n * 7 % 8"), |sql, (at, tool)| format!("{sql} when {at} then '{tool}'")) + " end";
    let outcome = "case when n % 29 = 0 then 'error' when n % 53 = 0 then 'refused' else 'ok' end";
    let code = "case when n % 29 = 0 then 'no_encontrado' when n % 53 = 0 then 'limite_de_llamadas' end";
    let columns = "id, client_id, token_id, tool, agent, outcome, error_code, counted, billing_month, total_us, odoo_us, odoo_requests, request_id, started_at";
    let fields = format!("null, {tools}, 'Claude ' || n % 5, {outcome}, {code}, n % 53 <> 0");
    let sql = match db.get_database_backend() {
        DbBackend::Postgres => format!(
            "insert into tool_usage ({columns}) select gen_random_uuid(), c.id, {fields}, cast(to_char(at at time zone 'UTC' - interval '4 hours', 'YYYYMM') as integer), \
             500 + n % 900000, case when n % 3 = 0 then 0 else 400 + n % 800000 end, case when n % 3 = 0 then 0 else 1 end, gen_random_uuid()::text, at \
             from (select n, now() - interval '400 days' * ((n * 7919 % {rows})::float8 / {rows}) as at, floor({count} * power(random(), 3))::integer as c from generate_series(1::bigint, {rows}) n) g \
             join numbered c on c.k = g.c"
        ),
        _ => format!(
            "with recursive g(n) as (select 1 union all select n + 1 from g where n < {rows}), \
             h as (select n, strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now', '-' || (400 * 86400 * (n * 7919 % {rows}) / {rows}) || ' seconds') as at, n * 31 % {count} * (n * 17 % {count}) / {count} as c from g) \
             insert into tool_usage ({columns}) select randomblob(16), c.id, {fields}, cast(strftime('%Y%m', at, '-4 hours') as integer), \
             500 + n % 900000, case when n % 3 = 0 then 0 else 400 + n % 800000 end, case when n % 3 = 0 then 0 else 1 end, hex(randomblob(16)), at from h join numbered c on c.k = h.c"
        ),
    };
    let now = clock.now();
    parts::Covered::default().cover(db, (0..=400).map(|days| now - chrono::Duration::days(days))).await.expect("parts");
    let indices = indices_drop(db).await;
    db.execute_unprepared(&sql).await.expect("calls");
    for index in indices {
        db.execute_unprepared(&index).await.expect("an index");
    }
    println!("{rows} calls in {:.1} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    age(db).await;
    println!("{CHANGES} changes in {:.1} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    migration::rollups::fill(db).await.expect("rolled up");
    println!("rolled up in {:.1} s", began.elapsed().as_secs_f64());
    let tidied = if db.get_database_backend() == DbBackend::Postgres { "vacuum analyze" } else { "analyze" };
    db.execute_unprepared(tidied).await.expect("analysed");
    clients
}

async fn reports(db: &DatabaseConnection, clock: &Clock, clients: &[TenantId], queries: &Heard) {
    let reports = Reports::new(db.clone(), ReadSide::of(db), clock.clone());
    let tenants = Tenants::new(db.clone(), Vault::from_keys(&[7; 32], None), clock.clone());
    let settings = SettingsStore::new(db.clone(), clock.clone());
    let statements = Statements::new(db.clone(), clock.clone(), settings.clone());
    let (month, year) = (DayRange::last_days(clock.now(), 30), DayRange::last_days(clock.now(), 400));
    let busiest = clients[0];
    let tenant = tenants.tenant_find(busiest).await.expect("a client");
    let paused: Vec<TenantId> = clients.iter().copied().take(5).collect();
    let all = LogFilter::default();
    let of = |tenant| LogFilter { tenant: Some(tenant), ..LogFilter::default() };
    let month_of = |days| dunet::clock::billing_month(clock.now() - chrono::Duration::days(days));
    let (this_month, last_month, closed_month, old_month) = (month_of(0), month_of(31), month_of(62), month_of(365));
    let quietest = clients[clients.len() - 1];
    let audit_of = |tenant| AuditFilter { scope: AuditScope::Tenant(tenant), ..AuditFilter::default() };
    let unconnected = ClientFilter { plan: Some("pro".to_owned()), odoo: Some(OdooState::Missing), ..ClientFilter::default() };
    let attention = ClientFilter { attention: true, paused: paused.clone(), ..ClientFilter::default() };
    let memory = TokenMemory { fresh_s: 60, stale_s: 60, tokens_max: 1_000 };
    let tokens = Tokens::new(db.clone(), tenants.clone(), clock.clone(), memory);
    let (users, operator) = people_make(db, clock).await;
    let people = |search| PersonQuery { search, role: None, after: None, count: 50 };
    for number in 0..60 {
        let new = NewToken { name: format!("agente {number}"), packs: None, language: None, expires_at: None };
        tokens.token_issue(busiest, new, &Actor::service()).await.expect("a token");
    }
    settings.edit(&[(Key::UsdRate, "62.5".to_owned())], None, &Actor::service()).await.expect("a rate");
    let began = Instant::now();
    let closed = statements.close_all(closed_month, &Actor::service()).await.expect("closed");
    let closing = began.elapsed().as_secs_f64();
    let search = ClientFilter { search: Some("cliente 19".to_owned()), ..ClientFilter::default() };
    println!("a month of {closed} clients closed in {closing:.1} s\n\n| report | queries | ms of the database, mean | ms, median | ms, worst | |\n|---|---|---|---|---|---|");
    row("panel, 30 days", queries, || reports.panel(month, &paused, vec!["no_encontrado"])).await;
    row("panel, 400 days", queries, || reports.panel(year, &paused, vec!["no_encontrado"])).await;
    row("clients by name", queries, async || reports.client_rows(&ClientFilter::default(), ClientSort::Name, None).await).await;
    row("clients by calls", queries, async || reports.client_rows(&ClientFilter::default(), ClientSort::Calls, None).await).await;
    row("clients, the newest", queries, async || reports.client_rows(&ClientFilter::default(), ClientSort::Newest, None).await).await;
    row("clients, searched", queries, || reports.client_rows(&search, ClientSort::Name, None)).await;
    row("clients of a plan without Odoo", queries, || reports.client_rows(&unconnected, ClientSort::Name, None)).await;
    row("clients to look at", queries, || reports.client_rows(&attention, ClientSort::Name, None)).await;
    row("clients named, for filters", queries, || reports.clients_named("cliente 1", 20)).await;
    row("plans for a choice", queries, || plan_list(db)).await;
    row("a client, as every page of it", queries, || tenants.tenant_find(busiest)).await;
    row("its name", queries, || reports.client_name(busiest)).await;
    row("its summary, the busiest", queries, || reports.client_summary(&tenant, &TOOLS, false)).await;
    row("its last calls", queries, || reports.log_last(busiest, 8)).await;
    row("its first steps", queries, || reports.onboarding(&tenant, &TOOLS)).await;
    row("when its Odoo's secret was saved", queries, || tenants.odoo_secret_saved_at(busiest)).await;
    row("its tools", queries, || reports.client_tools(&tenant, &TOOLS)).await;
    row("its tokens", queries, || tokens.token_page(busiest, None, 50)).await;
    row("its people", queries, || users.member_list(busiest)).await;
    row("its agents", queries, || reports.agents_seen(busiest)).await;
    row("its plan", queries, || reports.usage_against_plan(&tenant)).await;
    row("its wish for another", queries, || tenants.plan_request_open(&tenant)).await;
    row("its metrics, 30 days", queries, || reports.metrics(month, Some(busiest))).await;
    row("its metrics, 400 days", queries, || reports.metrics(year, Some(busiest))).await;
    row("its months", queries, || statements.months_of(busiest)).await;
    row("its month, running", queries, || statements.statement(busiest, this_month)).await;
    row("its month, open", queries, || statements.statement(busiest, last_month)).await;
    row("its month, open since a year", queries, || statements.statement(busiest, old_month)).await;
    row("its audit", queries, async || reports.audit_page(&audit_of(busiest), None, 50).await).await;
    row("its chain of the audit", queries, || chain_verify(db, Some(busiest))).await;
    row("metrics, 30 days", queries, || reports.metrics(month, None)).await;
    row("metrics, 400 days", queries, || reports.metrics(year, None)).await;
    row("log", queries, || reports.log_page(&all, None, 100)).await;
    row("log of a client", queries, async || reports.log_page(&of(busiest), None, 100).await).await;
    row("log of a client who calls seldom", queries, async || reports.log_page(&of(quietest), None, 100).await).await;
    row("log, errors", queries, async || reports.log_page(&LogFilter { outcome: Some("error".to_owned()), ..all.clone() }, None, 100).await).await;
    row("log, a client's errors", queries, async || reports.log_page(&LogFilter { outcome: Some("error".to_owned()), ..of(quietest) }, None, 100).await).await;
    row("log, refused", queries, async || reports.log_page(&LogFilter { outcome: Some("refused".to_owned()), ..all.clone() }, None, 100).await).await;
    row("log of a tool", queries, async || reports.log_page(&LogFilter { tool: Some(TOOLS[3].to_owned()), ..all.clone() }, None, 100).await).await;
    row("log, a client's tool that is not there", queries, async || reports.log_page(&LogFilter { tool: Some("no_hay".to_owned()), ..of(busiest) }, None, 100).await).await;
    row("log, a request that is not there", queries, async || reports.log_page(&LogFilter { request_id: Some("zzz".to_owned()), ..all.clone() }, None, 100).await).await;
    row("log, the end", queries, async || reports.log_page(&LogFilter { to: Some(clock.now() - chrono::Duration::days(390)), ..all.clone() }, None, 100).await).await;
    row("log, a page of a download", queries, || reports.log_page(&all, None, 1_000)).await;
    row("price list", queries, || plan_rows(db)).await;
    row("statements of a month, running", queries, || statements.month_page(this_month, None)).await;
    row("statements of a month, open", queries, || statements.month_page(last_month, None)).await;
    row("statements of a month, open since a year", queries, || statements.month_page(old_month, None)).await;
    row("sums of a closed month", queries, || statements.month_totals(closed_month)).await;
    row("statements of a month, closed", queries, || statements.month_page(closed_month, None)).await;
    row("history of the padrón", queries, || padron_history::list(db, 30)).await;
    row("sign-ups that wait", queries, || users.sign_up_list(&operator)).await;
    row("wishes for another plan", queries, || tenants.plan_requests_open()).await;
    row("people", queries, async || users.person_page(&operator, &people("")).await).await;
    row("people, searched", queries, async || users.person_page(&operator, &people("persona 19")).await).await;
    row("audit", queries, async || reports.audit_page(&AuditFilter::default(), None, 50).await).await;
    row("audit of the service", queries, async || reports.audit_page(&AuditFilter { scope: AuditScope::Service, ..AuditFilter::default() }, None, 50).await).await;
    row("audit, an action", queries, async || reports.audit_page(&AuditFilter { action: Some("padron.".to_owned()), ..AuditFilter::default() }, None, 50).await).await;
    row("audit, an actor", queries, async || reports.audit_page(&AuditFilter { actor: Some("nadie@x.do".to_owned()), ..AuditFilter::default() }, None, 50).await).await;
    let long_ago = AuditFilter { to: Some(clock.now() - chrono::Duration::days(390)), ..AuditFilter::default() };
    row("audit, the end", queries, || reports.audit_page(&long_ago, None, 50)).await;
}

/// Makes way for many rows at once: what makes the calls' indices again, which are dropped.
async fn indices_drop(db: &DatabaseConnection) -> Vec<String> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Vec::new();
    }
    let asked = "select indexname, indexdef from pg_indexes where tablename = 'tool_usage' and indexname not like '%pkey'";
    let rows = db.query_all_raw(sea_orm::Statement::from_string(DbBackend::Postgres, asked)).await.expect("indices");
    let mut made = Vec::new();
    for row in rows {
        let (name, definition): (String, String) = (row.try_get("", "indexname").expect("a name"), row.try_get("", "indexdef").expect("a definition"));
        db.execute_unprepared(&format!("drop index {name}")).await.expect("dropped");
        // Of all parts.
        made.push(definition.replace(" ON ONLY ", " ON "));
    }
    made
}

/// Two thousand people, and the proof of an operator among them.
async fn people_make(db: &DatabaseConnection, clock: &Clock) -> (Users, AnyOperator) {
    let settings = UserSettings {
        session_idle_s: 3_600,
        session_max_s: 3_600,
        sign_in_failures_max: 5,
        password_memory_kib: 64,
        password_passes: 1,
        passwords_at_once: 1,
        operators_need_second_factor: false,
    };
    let users = Users::new(db.clone(), Vault::from_keys(&[7; 32], None), clock.clone(), settings).expect("people");
    for number in 0..*CLIENTS {
        let new = NewUser { email: format!("p{number:04}@x.do"), name: Some(format!("Persona {number:04}")), role: Role::Member, language: Language::Es, password: None };
        users.user_create(new, &Actor::service()).await.expect("a person");
    }
    let keys = OperatorKeys::new(db.clone(), clock.clone());
    let made = keys.key_make("bench", 1, &Actor::service()).await.expect("a key");
    let holder = keys.verify(made.key.expose_secret()).await.expect("an answer").expect("its holder");
    (users, AnyOperator::Key(holder))
}

/// Clients that have been there for as long as their calls, and changes of all of them: in the audit for ever, and read by pages. (Their chain is not
/// one; nothing here checks it.)
async fn age(db: &DatabaseConnection) {
    let postgres = db.get_database_backend() == DbBackend::Postgres;
    let (long_ago, random, text, at) = if postgres {
        ("now() - interval '400 days'", "gen_random_uuid()", "n::text", format!("now() - interval '400 days' * (n::float8 / {CHANGES})"))
    } else {
        (
            "strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now', '-400 days')",
            "randomblob(16)",
            "cast(n as text)",
            format!("strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now', '-' || (400 * 86400 * n / {CHANGES}) || ' seconds')"),
        )
    };
    db.execute_unprepared(&format!("update clients set created_at = {long_ago}")).await.expect("aged");
    let action = "case n % 20 when 0 then 'tenant.edit' when 1 then 'token.issue' when 2 then 'user.sign_in' else 'tool.edit' end";
    let numbers = if postgres {
        format!("generate_series(1, {CHANGES}) n")
    } else {
        format!("(with recursive g(n) as (select 1 union all select n + 1 from g where n < {CHANGES}) select n from g)")
    };
    let before = if postgres { "jsonb_build_object('plan', 'basic')" } else { "'{\"plan\":\"basic\"}'" };
    let sql = format!(
        "insert into logs (id, client_id, actor, action, subject, before, after, previous_hash, hash, created_at) \
         select {random}, c.id, 'ana' || n % 50 || '@x.do', {action}, {text}, {before}, null, '', {text}, {at} from {numbers} join numbered c on c.k = n % {}",
        *CLIENTS
    );
    db.execute_unprepared(&sql).await.expect("changes");
    db.execute_unprepared("drop table numbered").await.expect("dropped");
}

/// Asks some times and prints a line of the table; the first, cold time is not counted.
async fn row<T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(what: &str, queries: &Heard, ask: impl Fn() -> F) {
    drop(ask().await.expect("an answer"));
    let mut times = Vec::with_capacity(TIMES);
    queries.count.store(0, Ordering::Relaxed);
    queries.micros.store(0, Ordering::Relaxed);
    for _ in 0..TIMES {
        let began = Instant::now();
        drop(std::hint::black_box(ask().await.expect("an answer")));
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let each = queries.count.load(Ordering::Relaxed) / TIMES;
    let database = queries.micros.load(Ordering::Relaxed) as f64 / 1_000.0 / TIMES as f64;
    let good = ms(times[TIMES / 2]) < 50.0 && each <= 10;
    println!("| {what} | {each} | {database:.1} | {:.1} | {:.1} | {} |", ms(times[TIMES / 2]), ms(times[TIMES - 1]), if good { "" } else { "too much" });
}

/// Calls of all clients in turn, the worst for roll-ups, and of one client, the usual under load.
async fn deliver(db: &DatabaseConnection, clock: &Clock, clients: &[TenantId], folder: &std::path::Path) {
    for (what, clients) in [("all clients in turn", clients), ("one client", &clients[..1])] {
        let (sink, worker) = UsageSink::new(db.clone(), folder.join(what), 50_000, 500, Duration::from_millis(1));
        for number in 0..DELIVERED {
            sink.record(&UsageRecord {
                id: UsageId::new(),
                tenant: clients[number % clients.len()],
                token: TokenId::new(),
                tool: TOOLS[number % TOOLS.len()],
                agent: None,
                outcome: Outcome::Ok,
                error_code: None,
                counted: true,
                total_us: 1_000,
                odoo_us: 0,
                odoo_requests: 0,
                request_id: UsageId::new().to_string(),
                started_at: clock.now(),
            });
        }
        let began = Instant::now();
        let stop = CancellationToken::new();
        stop.cancel();
        worker.run(stop).await;
        println!("\ndelivered: {DELIVERED} calls of {what} in {:.2} s, {:.0} a second", began.elapsed().as_secs_f64(), DELIVERED as f64 / began.elapsed().as_secs_f64());
        assert_eq!(sink.backlog().records, 0, "all of them");
    }
}
