//! What the service counts of itself, as Prometheus reads it.
//!
//! One recorder per [`Metrics`], not one per process: tests start many services in one process, and a global recorder would mix them.
//! Every label comes from a closed list, so that nobody outside can make a new series; tenants and plans are never labels. Counting takes
//! no lock and, once a series has been seen, allocates nothing: handles are kept in arrays and found by position.

use std::sync::{Arc, OnceLock};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// The routes that are told apart; any other path is [`OTHER`]. A new route gets its line here.
pub const PATHS: [&str; 11] = ["/healthz", "/readyz", "/metrics", "/mcp", "/mcp/token", PAGES, API, ASSETS, OAUTH, WELL_KNOWN, OTHER];
/// Every page of the portal counts as one route, so does its API, and so do its files.
const PAGES: &str = "/admin";
const API: &str = "/admin/api";
const ASSETS: &str = "/assets";
/// The authorization server, and what it and the resource say of themselves.
const OAUTH: &str = "/oauth";
const WELL_KNOWN: &str = "/.well-known";
/// The methods that are told apart.
pub const METHODS: [&str; 8] = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", OTHER];
/// The status codes that are told apart.
pub const STATUSES: [&str; 24] =
    ["200", "201", "202", "204", "303", "304", "400", "401", "403", "404", "405", "406", "408", "409", "413", "415", "422", "429", HUNG_UP, "500", "502", "503", "504", OTHER];
/// How calls of tools end.
pub const OUTCOMES: [&str; 5] = ["ok", "error", "refused", "cancelled", OTHER];
/// What is on no list.
pub const OTHER: &str = "other";
/// The status under which a request is counted whose client hung up before the answer, as nginx does.
const HUNG_UP: &str = "499";
/// No error code.
const NONE: &str = "";

/// Upper bounds of the histograms, seconds: from an answer out of memory to the longest call.
const BUCKETS_S: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0];

const TOOL_CALLS: &str = "dunet_tool_calls_total";
const TOOL_CALL_SECONDS: &str = "dunet_tool_call_seconds";
const TOOL_ODOO_SECONDS: &str = "dunet_tool_odoo_seconds";
const ODOO_REQUESTS: &str = "dunet_odoo_requests_total";
const HTTP_REQUESTS: &str = "dunet_http_requests_total";
const AUTH_REFUSALS: &str = "dunet_auth_refusals_total";
const CALLS_IN_FLIGHT: &str = "dunet_calls_in_flight";
const USAGE_WAITING: &str = "dunet_usage_waiting_records";
const USAGE_JOURNAL: &str = "dunet_usage_journal_bytes";
const USAGE_MEMORY: &str = "dunet_usage_memory_records";
const ODOO_WAITING: &str = "dunet_odoo_waiting_requests";
const ODOO_PAUSED: &str = "dunet_odoo_paused";
const USAGE_DROPPED: &str = "dunet_usage_dropped_total";
const WARM_CONNECTIONS: &str = "dunet_warm_connections";
const PADRON_ROWS: &str = "dunet_padron_rows";
const PADRON_CUTOFF: &str = "dunet_padron_cutoff_timestamp_seconds";
const NODES: &str = "dunet_nodes";
const LEADS: &str = "dunet_leads";
const REDIS_UP: &str = "dunet_redis_up";
const REPLICA_NEAR: &str = "dunet_replica_near";
const BUILD_INFO: &str = "dunet_build_info";
const RESIDENT: &str = "process_resident_memory_bytes";
const OPEN_FDS: &str = "process_open_fds";
const STARTED: &str = "process_start_time_seconds";

const COUNTERS: [(&str, &str); 5] = [
    (TOOL_CALLS, "Calls of tools that ended, by tool, outcome (ok, error, refused by a limit, cancelled by the caller) and error code."),
    (ODOO_REQUESTS, "Requests sent to the tenants' Odoos, by how HTTP ended; an Odoo error inside an HTTP 200 counts as answered."),
    (HTTP_REQUESTS, "HTTP requests answered, by route, method and status; 499 is a client that hung up before the answer."),
    (AUTH_REFUSALS, "Requests to the agents' door that were refused before a tenant was known or because of it, by reason."),
    (USAGE_DROPPED, "Usage records that could not be kept since the start. More than 0 is calls that nobody will be billed for."),
];
const HISTOGRAMS: [(&str, &str); 2] = [
    (TOOL_CALL_SECONDS, "Duration of calls of tools in seconds, from the parsed request to the answer."),
    (TOOL_ODOO_SECONDS, "Time a call of a tool waited for Odoo, in seconds; parallel requests add up. Calls that asked Odoo nothing are left out."),
];
const GAUGES: [(&str, &str); 16] = [
    (NODES, "Nodes that serve from the same database, this one included."),
    (LEADS, "1 on the node that does what is done once for all."),
    (REDIS_UP, "1 while Redis decides limits over all nodes, 0 while each node decides its share. Left out without REDIS_URL."),
    (REPLICA_NEAR, "1 while reports are read from the replica, 0 while it is away or too far behind. Left out without DATABASE_READ_URL."),
    (CALLS_IN_FLIGHT, "Authenticated MCP requests being answered."),
    (USAGE_WAITING, "Usage records waiting to be written to the database."),
    (USAGE_JOURNAL, "Bytes of the usage journal that are not in the database yet."),
    (USAGE_MEMORY, "Usage records that are only in memory, because the journal cannot be written. More than 0 wants a look at the disk."),
    (ODOO_WAITING, "Requests that wait for a place at their tenant's Odoo."),
    (ODOO_PAUSED, "Tenants whose Odoo fails and is left alone for the moment."),
    (WARM_CONNECTIONS, "Tenants whose Odoo client is kept warm."),
    (PADRON_ROWS, "Taxpayers in the active listing; 0 without one."),
    (PADRON_CUTOFF, "Cut-off date of the active listing, Unix time; 0 without one."),
    (BUILD_INFO, "Always 1; the version is the label."),
    (RESIDENT, "Resident memory in bytes."),
    (OPEN_FDS, "Open file descriptors."),
];

/// Why a request was refused at the agents' door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthRefusal {
    /// No token was sent.
    Missing,
    /// Not of the shape of a token, or mistyped.
    Malformed,
    /// Nobody's token.
    Unknown,
    /// Past its time.
    Expired,
    /// Revoked.
    Revoked,
    /// Made for another address.
    Audience,
    /// Its tenant is suspended.
    Suspended,
    /// It could not be checked.
    Unavailable,
    /// Too many refusals of one address.
    Limited,
}

impl AuthRefusal {
    const ALL: [Self; 9] = [Self::Missing, Self::Malformed, Self::Unknown, Self::Expired, Self::Revoked, Self::Audience, Self::Suspended, Self::Unavailable, Self::Limited];

    fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Audience => "audience",
            Self::Suspended => "suspended",
            Self::Unavailable => "unavailable",
            Self::Limited => "limited",
        }
    }
}

/// A call of a tool that ended.
#[derive(Clone, Copy, Debug)]
pub struct ToolCall {
    /// The tool's name in the register.
    pub tool: &'static str,
    /// How it ended, one of [`OUTCOMES`].
    pub outcome: &'static str,
    /// The error code.
    pub error_code: Option<&'static str>,
    /// In all, microseconds.
    pub total_us: u64,
    /// In Odoo, microseconds.
    pub odoo_us: u64,
    /// Requests to Odoo.
    pub odoo_requests: u64,
}

/// What is read when somebody looks, instead of being counted all along.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Usage records waiting.
    pub usage_waiting_records: u64,
    /// Bytes of the journal that wait.
    pub usage_journal_bytes: u64,
    /// Usage records that are only in memory.
    pub usage_memory_records: u64,
    /// Requests that wait for a place at an Odoo.
    pub odoo_waiting: u64,
    /// Tenants whose Odoo is left alone.
    pub odoo_paused: u64,
    /// Usage records lost.
    pub usage_dropped: u64,
    /// Warm Odoo clients.
    pub warm_connections: u64,
    /// Taxpayers in the active listing.
    pub padron_rows: u64,
    /// Its cut-off, Unix time.
    pub padron_cutoff_s: i64,
    /// Nodes that live.
    pub nodes: u32,
    /// Whether this one leads.
    pub leads: bool,
    /// Whether Redis answers; none without one.
    pub redis_up: Option<bool>,
    /// Whether the replica is asked; none without one.
    pub replica_near: Option<bool>,
    /// Requests to Odoo by how they ended; the names are a closed list.
    pub odoo_requests: Vec<(&'static str, u64)>,
}

/// The counters of one service. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    tools: Vec<&'static str>,
    codes: Vec<&'static str>,
    calls: Grid,
    call_seconds: Vec<Histogram>,
    odoo_seconds: Vec<Histogram>,
    http: Grid,
    refusals: Vec<Counter>,
    in_flight: Gauge,
}

/// The counters of one family, by position in its lists of labels; each is registered when it is first counted.
struct Grid {
    cells: Box<[OnceLock<Counter>]>,
}

impl Grid {
    fn new(cells: usize) -> Self {
        Self { cells: (0..cells).map(|_| OnceLock::new()).collect() }
    }

    fn count(&self, at: usize, register: impl FnOnce() -> Counter) {
        if let Some(cell) = self.cells.get(at) {
            cell.get_or_init(register).increment(1);
        }
    }
}

impl Metrics {
    /// For a service with these tools and error codes, started then (Unix time, seconds).
    #[must_use]
    pub fn new(tools: Vec<&'static str>, mut codes: Vec<&'static str>, started_s: i64) -> Self {
        // Fails only without buckets.
        let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS_S).unwrap_or_default();
        let recorder = builder.build_recorder();
        for (name, help) in COUNTERS {
            recorder.describe_counter(KeyName::from_const_str(name), None, help.into());
        }
        for (name, help) in HISTOGRAMS {
            recorder.describe_histogram(KeyName::from_const_str(name), None, help.into());
        }
        for (name, help) in GAUGES {
            recorder.describe_gauge(KeyName::from_const_str(name), None, help.into());
        }
        recorder.describe_gauge(KeyName::from_const_str(STARTED), None, "When the service started, Unix time in seconds.".into());
        gauge(&recorder, STARTED, &[]).set(float(started_s));
        gauge(&recorder, BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        codes.insert(0, NONE);
        codes.push(OTHER);
        let by_tool = |family: &'static str| tools.iter().map(|tool| recorder.register_histogram(&key(family, &[("tool", tool)]), &META)).collect();
        let inner = Inner {
            handle: recorder.handle(),
            calls: Grid::new(tools.len() * OUTCOMES.len() * codes.len()),
            call_seconds: by_tool(TOOL_CALL_SECONDS),
            odoo_seconds: by_tool(TOOL_ODOO_SECONDS),
            http: Grid::new(PATHS.len() * METHODS.len() * STATUSES.len()),
            refusals: AuthRefusal::ALL.iter().map(|reason| counter(&recorder, AUTH_REFUSALS, &[("reason", reason.as_str())])).collect(),
            in_flight: gauge(&recorder, CALLS_IN_FLIGHT, &[]),
            tools,
            codes,
            recorder,
        };
        Self { inner: Arc::new(inner) }
    }

    /// A call of a tool ended.
    pub fn tool_call(&self, call: &ToolCall) {
        let inner = &*self.inner;
        let Some(tool) = inner.tools.iter().position(|name| *name == call.tool) else { return };
        let outcome = position(&OUTCOMES, call.outcome);
        let code = position(&inner.codes, call.error_code.unwrap_or(NONE));
        inner.calls.count((tool * OUTCOMES.len() + outcome) * inner.codes.len() + code, || {
            counter(&inner.recorder, TOOL_CALLS, &[("tool", inner.tools[tool]), ("outcome", OUTCOMES[outcome]), ("error_code", inner.codes[code])])
        });
        inner.call_seconds[tool].record(seconds(call.total_us));
        if call.odoo_requests > 0 {
            inner.odoo_seconds[tool].record(seconds(call.odoo_us));
        }
    }

    /// An HTTP request was answered with that status, or its client hung up before (`None`).
    pub fn http_request(&self, path: &'static str, method: &'static str, status: Option<u16>) {
        let inner = &*self.inner;
        let (path, method) = (position(&PATHS, path), position(&METHODS, method));
        let status = status.map_or_else(|| position(&STATUSES, HUNG_UP), |code| STATUSES.iter().position(|text| text.parse() == Ok(code)).unwrap_or(STATUSES.len() - 1));
        inner.http.count((path * METHODS.len() + method) * STATUSES.len() + status, || {
            counter(&inner.recorder, HTTP_REQUESTS, &[("path", PATHS[path]), ("method", METHODS[method]), ("status", STATUSES[status])])
        });
    }

    /// A request was refused at the agents' door.
    pub fn auth_refused(&self, reason: AuthRefusal) {
        // The order of ALL is that of the declaration.
        if let Some(counter) = self.inner.refusals.get(reason as usize) {
            counter.increment(1);
        }
    }

    /// A request is being answered as long as the guard lives.
    #[must_use]
    pub fn in_flight(&self) -> InFlight {
        self.inner.in_flight.increment(1.0);
        InFlight { gauge: self.inner.in_flight.clone() }
    }

    /// Moves what the histograms gathered into their buckets. To be called every few seconds: until then each value takes memory.
    pub fn upkeep(&self) {
        self.inner.handle.run_upkeep();
    }

    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn render(&self, now: &Snapshot) -> String {
        let recorder = &self.inner.recorder;
        let set = |name, value: u64| gauge(recorder, name, &[]).set(float(i64::try_from(value).unwrap_or(i64::MAX)));
        set(USAGE_WAITING, now.usage_waiting_records);
        set(USAGE_JOURNAL, now.usage_journal_bytes);
        set(USAGE_MEMORY, now.usage_memory_records);
        set(ODOO_WAITING, now.odoo_waiting);
        set(ODOO_PAUSED, now.odoo_paused);
        set(WARM_CONNECTIONS, now.warm_connections);
        set(PADRON_ROWS, now.padron_rows);
        gauge(recorder, PADRON_CUTOFF, &[]).set(float(now.padron_cutoff_s));
        set(NODES, u64::from(now.nodes));
        set(LEADS, u64::from(now.leads));
        for (name, is) in [(REDIS_UP, now.redis_up), (REPLICA_NEAR, now.replica_near)] {
            if let Some(is) = is {
                set(name, u64::from(is));
            }
        }
        counter(recorder, USAGE_DROPPED, &[]).absolute(now.usage_dropped);
        for (outcome, count) in &now.odoo_requests {
            counter(recorder, ODOO_REQUESTS, &[("outcome", outcome)]).absolute(*count);
        }
        // Linux only, and only what /proc tells a process of itself; elsewhere the two are left out.
        if let Some(bytes) = resident_bytes() {
            set(RESIDENT, bytes);
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            set(OPEN_FDS, open.count() as u64);
        }
        self.inner.handle.render()
    }
}

/// Counts one request in flight until it is dropped.
pub struct InFlight {
    gauge: Gauge,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
    }
}

/// The label of a request's path: a route of ours, or [`OTHER`]. Never what was sent: it may hold anything.
#[must_use]
pub fn path_label(path: &str) -> &'static str {
    // The nearest of the routes that stand for everything below them.
    let above = |route: &str| path.strip_prefix(route).is_some_and(|rest| rest.starts_with('/'));
    PATHS[position(&PATHS, [API, PAGES, ASSETS, OAUTH, WELL_KNOWN].into_iter().find(|route| above(route)).unwrap_or(path))]
}

/// The label of a request's method.
#[must_use]
pub fn method_label(method: &str) -> &'static str {
    METHODS[position(&METHODS, method)]
}

/// Where a word stands in a closed list whose last place is for everything else.
fn position(list: &[&str], word: &str) -> usize {
    list.iter().position(|known| *known == word).unwrap_or(list.len() - 1)
}

static META: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

fn key(name: &'static str, labels: &[(&'static str, &'static str)]) -> Key {
    Key::from_parts(name, labels.iter().map(|(name, value)| Label::from_static_parts(name, value)).collect::<Vec<_>>())
}

fn counter(recorder: &PrometheusRecorder, name: &'static str, labels: &[(&'static str, &'static str)]) -> Counter {
    recorder.register_counter(&key(name, labels), &META)
}

fn gauge(recorder: &PrometheusRecorder, name: &'static str, labels: &[(&'static str, &'static str)]) -> Gauge {
    recorder.register_gauge(&key(name, labels), &META)
}

fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

/// Exact up to 2⁵³, which nothing counted here reaches.
fn float(value: i64) -> f64 {
    value as f64
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib: u64 = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(tool: &'static str, outcome: &'static str, error_code: Option<&'static str>) -> ToolCall {
        ToolCall { tool, outcome, error_code, total_us: 2_000, odoo_us: 1_000, odoo_requests: 1 }
    }

    #[test]
    fn series_come_from_closed_lists() {
        let metrics = Metrics::new(vec!["uno", "dos"], vec!["malo"], 1_700_000_000);
        metrics.tool_call(&call("uno", "ok", None));
        metrics.tool_call(&call("dos", "error", Some("malo")));
        metrics.tool_call(&call("dos", "weird", Some("unheard of")));
        metrics.tool_call(&call("unregistered", "ok", None));
        metrics.http_request(path_label("/mcp"), method_label("POST"), Some(200));
        metrics.http_request(path_label("/secret"), method_label("BREW"), Some(418));
        metrics.http_request(path_label("/mcp"), method_label("POST"), None);
        metrics.auth_refused(AuthRefusal::Limited);
        let guard = metrics.in_flight();
        metrics.upkeep();
        let text = metrics.render(&Snapshot { odoo_requests: vec![("answered", 3)], ..Snapshot::default() });
        for line in [
            r#"dunet_tool_calls_total{tool="uno",outcome="ok",error_code=""} 1"#,
            r#"dunet_tool_calls_total{tool="dos",outcome="error",error_code="malo"} 1"#,
            r#"dunet_tool_calls_total{tool="dos",outcome="other",error_code="other"} 1"#,
            r#"dunet_http_requests_total{path="/mcp",method="POST",status="200"} 1"#,
            r#"dunet_http_requests_total{path="other",method="other",status="other"} 1"#,
            r#"dunet_http_requests_total{path="/mcp",method="POST",status="499"} 1"#,
            r#"dunet_auth_refusals_total{reason="limited"} 1"#,
            r#"dunet_auth_refusals_total{reason="missing"} 0"#,
            r#"dunet_odoo_requests_total{outcome="answered"} 3"#,
            r#"dunet_tool_call_seconds_bucket{tool="uno",le="0.0025"} 1"#,
            r#"dunet_tool_call_seconds_bucket{tool="uno",le="0.001"} 0"#,
            r#"dunet_tool_odoo_seconds_count{tool="dos"} 2"#,
            "dunet_calls_in_flight 1",
            "process_start_time_seconds 1700000000",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("unregistered") && !text.contains("unheard") && !text.contains("secret"), "{text}");
        drop(guard);
        let text = metrics.render(&Snapshot::default());
        assert!(text.contains("dunet_calls_in_flight 0\n"), "{text}");
        for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
            let name = line.split(' ').nth(2).unwrap();
            assert!(text.contains(&format!("# HELP {name} ")), "{name} is not described");
        }
    }

    #[test]
    fn the_last_place_of_every_list_is_for_the_rest() {
        for list in [&PATHS[..], &METHODS, &STATUSES, &OUTCOMES] {
            assert_eq!(list.last(), Some(&OTHER));
        }
        for (at, reason) in AuthRefusal::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at);
        }
    }
}
