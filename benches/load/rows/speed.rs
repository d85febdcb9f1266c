//! Throughput and latency against the bare rmcp server, and the same job in Python. Rounds of one and the other take turns, so that noise
//! hits both; what is said is the median of the rounds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{median, thousands};
use crate::client::{Connection, Era, Pace, Script, Tally, closed, open};
use crate::process::{Process, free_port, own_cpu};
use crate::rig::{Rig, TOOL, echo_script};
use crate::{Met, Row};

/// A load generator that is busier than this may be what is measured.
const OWN_CPU_MAX: f64 = 0.9;
const CALLS_PER_SECOND: u32 = 500;

/// What a round of a closed loop showed.
struct Round {
    good: u64,
    bad: u64,
    per_second: f64,
    /// Of the server, microseconds.
    cpu_us_per_call: f64,
    /// Of the load generator, share of a core.
    own_cpu: f64,
}

async fn round(server: &Process, script: &Arc<Script>, connections: usize, length: Duration) -> Round {
    let (server_before, own_before, began) = (server.cpu(), own_cpu(), Instant::now());
    let tally = closed(server.address, script, connections, length, false).await;
    let own_cpu = (own_cpu() - own_before).as_secs_f64() / began.elapsed().as_secs_f64();
    let cpu_us_per_call = (server.cpu() - server_before).as_secs_f64() * 1e6 / tally.good.max(1) as f64;
    if let Some(example) = &tally.bad_example {
        eprintln!("load: {} answers were not good, such as: {example}", tally.bad);
    }
    Round { good: tally.good, bad: tally.bad, per_second: tally.per_second(), cpu_us_per_call, own_cpu }
}

/// One server and what it is asked.
struct Side<'a> {
    server: &'a Process,
    script: Arc<Script>,
}

/// Two sides in turn.
struct Duel {
    /// Good answers of the first side, those of the warm-up too.
    first_good: u64,
    ratio: f64,
    cpu_ratio: f64,
    first: Vec<Round>,
    second: Vec<Round>,
}

impl Duel {
    /// `first` and `second` take turns; the ratios are first to second.
    async fn fight(first: &Side<'_>, second: &Side<'_>, connections: usize, rounds: usize, length: Duration) -> Self {
        let first_good = closed(first.server.address, &first.script, connections, length / 4, false).await.good;
        closed(second.server.address, &second.script, connections, length / 4, false).await;
        let mut duel = Self { first_good, ratio: 0.0, cpu_ratio: 0.0, first: Vec::new(), second: Vec::new() };
        for _ in 0..rounds {
            duel.first.push(round(first.server, &first.script, connections, length).await);
            duel.second.push(round(second.server, &second.script, connections, length).await);
        }
        duel.first_good += duel.first.iter().map(|round| round.good).sum::<u64>();
        let pairs = || duel.first.iter().zip(&duel.second);
        duel.ratio = median(pairs().map(|(a, b)| a.per_second / b.per_second));
        duel.cpu_ratio = median(pairs().map(|(a, b)| b.cpu_us_per_call / a.cpu_us_per_call));
        duel
    }

    fn bad(&self) -> u64 {
        self.first.iter().chain(&self.second).map(|round| round.bad).sum()
    }

    fn text(&self) -> String {
        let per_second = |rounds: &[Round]| thousands(median(rounds.iter().map(|round| round.per_second)));
        let cpu = |rounds: &[Round]| median(rounds.iter().map(|round| round.cpu_us_per_call));
        let own = median(self.second.iter().map(|round| round.own_cpu));
        let note = if own > OWN_CPU_MAX { " **(the generator is the limit)**" } else { "" };
        let bad = if self.bad() > 0 { format!("; **{} answers were not good**", self.bad()) } else { String::new() };
        format!(
            "{:.2} ({} to {} calls/s); of processor time {:.2} ({:.0} to {:.0} µs a call); generator {:.0} % of its core{note}{bad}",
            self.ratio,
            per_second(&self.first),
            per_second(&self.second),
            self.cpu_ratio,
            cpu(&self.first),
            cpu(&self.second),
            own * 100.0
        )
    }

    fn json(&self) -> Value {
        let rounds = |rounds: &[Round]| -> Value {
            rounds.iter().map(|r| json!({ "good": r.good, "bad": r.bad, "per_second": r.per_second, "cpu_us_per_call": r.cpu_us_per_call, "generator_cpu": r.own_cpu })).collect()
        };
        json!({ "ratio": self.ratio, "cpu_ratio": self.cpu_ratio, "first": rounds(&self.first), "second": rounds(&self.second) })
    }
}

pub(crate) async fn throughput(rig: &Rig) -> anyhow::Result<Vec<Row>> {
    let (data, tenants) = rig.data("throughput", &[None]).await?;
    let token = Some(tenants[0].token.as_str());
    let mut dunet = rig.serve(&data)?;
    let lookups = rig.lookups(data.port, token, Era::Legacy);
    dunet.until_it_answers(&lookups).await?;
    let echo = rig.serve_echo(false).await?;
    let workers = rig.serve_echo(true).await?;
    let echo_port = echo.address.port();
    let answer_bytes = answer_bytes(&dunet, &rig.numbers[0], token, data.port).await?;

    let length = rig.pick(Duration::from_millis(1_500), Duration::from_secs(4));
    let rounds = rig.pick(3, 5);
    let full = Side { server: &dunet, script: Arc::clone(&lookups) };
    let bare = Side { server: &echo, script: echo_script(echo_port, Era::Legacy, 9) };
    let mut rows = Vec::new();
    let mut raw = serde_json::Map::new();
    // The one that showed that the service runs, and the one that was weighed.
    let mut answered = 2;
    for connections in [1, 16, 64] {
        let duel = Duel::fight(&full, &bare, connections, rounds, length).await;
        rows.push(Row::new(format!("throughput, {connections} connections: `{TOOL}` to bare echo"), "≥ 0.6", duel.text(), Met::when(duel.ratio >= 0.6 && duel.bad() == 0)));
        raw.insert(format!("{connections}"), duel.json());
        answered += duel.first_good;
    }
    let context: [(&str, Side<'_>, Side<'_>); 4] = [
        (
            "echo with tokio's workers, the same runtime as ours",
            Side { server: &dunet, script: Arc::clone(&lookups) },
            Side { server: &workers, script: echo_script(workers.address.port(), Era::Legacy, 9) },
        ),
        (
            "as above in the era of 2026-07-28",
            Side { server: &dunet, script: rig.lookups(data.port, token, Era::Modern) },
            Side { server: &echo, script: echo_script(echo_port, Era::Modern, 9) },
        ),
        (
            "with an echo that carries as many bytes as the answer",
            Side { server: &dunet, script: lookups },
            Side { server: &echo, script: echo_script(echo_port, Era::Legacy, answer_bytes) },
        ),
        (
            "the full path without a tool (`ping`) to `ping` of the echo server",
            Side { server: &dunet, script: Script::one(data.port, token, "ping", json!({}), "\"result\":{}") },
            Side { server: &echo, script: Script::one(echo_port, None, "ping", json!({}), "\"result\":{}") },
        ),
    ];
    for (what, first, second) in &context {
        let duel = Duel::fight(first, second, 64, rounds, length).await;
        rows.push(Row::new(format!("throughput, 64 connections, {what}"), "", duel.text(), Met::Open("for comparison")));
        raw.insert((*what).to_owned(), duel.json());
        if !what.contains("ping") {
            answered += duel.first_good;
        }
    }
    dunet.end()?;
    let recorded = data.query("select count(*) from tool_usage where outcome = 'ok'")?;
    rows.push(Row::new(
        "every answered call of these rounds is in `tool_usage`",
        "all",
        format!("{} rows for {} answers", thousands(recorded), thousands(answered as f64)),
        Met::when(recorded >= answered as f64),
    ));
    raw.insert("metered".to_owned(), json!({ "rows": recorded, "answers": answered }));
    rig.keep("throughput", &Value::Object(raw))?;
    data.remove();
    Ok(rows)
}

/// The size of an answer's body.
async fn answer_bytes(server: &Process, number: &str, token: Option<&str>, port: u16) -> anyhow::Result<usize> {
    let script = Script::calls(port, token, Era::Legacy, TOOL, [(json!({ "rnc": number }), String::new())]);
    let mut connection = Connection::open(server.address).await?;
    Ok(connection.first_body(&script).await?.len())
}

pub(crate) async fn latency(rig: &Rig) -> anyhow::Result<Vec<Row>> {
    let (data, tenants) = rig.data("latency", &[None]).await?;
    let mut dunet = rig.serve(&data)?;
    let lookups = rig.lookups(data.port, Some(&tenants[0].token), Era::Legacy);
    dunet.until_it_answers(&lookups).await?;
    let echo = rig.serve_echo(false).await?;
    let echoes = echo_script(echo.address.port(), Era::Legacy, 9);
    let length = rig.pick(Duration::from_secs(2), Duration::from_secs(4));
    let rounds = rig.pick(5, 12);
    let sides = [(echo.address, &echoes), (dunet.address, &lookups)];
    for (address, script) in sides {
        open(address, script, CALLS_PER_SECOND, length / 2, Pace::Spinning).await;
    }
    // For each side: p50, p99 of each round, and everything together.
    let mut rounds_of: [Vec<(f64, f64)>; 2] = Default::default();
    let mut pooled: [Tally; 2] = Default::default();
    for _ in 0..rounds {
        for (at, (address, script)) in sides.into_iter().enumerate() {
            let mut tally = open(address, script, CALLS_PER_SECOND, length, Pace::Spinning).await;
            rounds_of[at].push((tally.quantile_ms(0.5), tally.quantile_ms(0.99)));
            pooled[at].good += tally.good;
            pooled[at].bad += tally.bad;
            pooled[at].bad_example = pooled[at].bad_example.take().or(tally.bad_example);
            pooled[at].latencies.extend(tally.latencies);
        }
    }
    let [bare, full] = &rounds_of;
    let of = |rounds: &[(f64, f64)], which: fn(&(f64, f64)) -> f64| median(rounds.iter().map(which));
    let p50 = (of(bare, |r| r.0), of(full, |r| r.0));
    let p99 = (of(bare, |r| r.1), of(full, |r| r.1));
    let [bare_all, full_all] = &mut pooled;
    let bad = bare_all.bad + full_all.bad;
    if let Some(example) = bare_all.bad_example.as_ref().or(full_all.bad_example.as_ref()) {
        eprintln!("load: an answer was not good: {example}");
    }
    let all: Vec<String> =
        [0.5, 0.99, 0.999].into_iter().map(|share| format!("p{}: {:.3} / {:.3}", share * 100.0, bare_all.quantile_ms(share), full_all.quantile_ms(share))).collect();
    rig.keep("latency", &json!({ "bare_p50_p99_ms": bare, "full_p50_p99_ms": full, "bad": bad, "pooled_bare_full_ms": all }))?;
    let added = (p50.1 - p50.0, p99.1 - p99.0);
    let text = |added: f64, (bare, full): (f64, f64)| format!("{added:.3} ms ({bare:.3} → {full:.3} ms)");
    let rows = vec![
        Row::new(format!("latency added at {CALLS_PER_SECOND} calls/s, p50"), "≤ 0.15 ms", text(added.0, p50), Met::when(added.0 <= 0.15 && bad == 0)),
        Row::new(
            format!("latency added at {CALLS_PER_SECOND} calls/s, p99"),
            "≤ 1 ms",
            format!("{}; all rounds together, echo / full path, ms: {}", text(added.1, p99), all.join(", ")),
            Met::when(added.1 <= 1.0 && bad == 0),
        ),
    ];
    dunet.end()?;
    data.remove();
    Ok(rows)
}

pub(crate) async fn python(rig: &Rig) -> anyhow::Result<Vec<Row>> {
    let Some((python, server)) = &rig.python else {
        return Ok(vec![Row::new("the same job as a tuned FastMCP server", "≥ 10 × calls/s, ≤ 1/5 of its memory", "no Python given", Met::Open("not measured"))]);
    };
    let (data, tenants) = rig.data("python", &[None]).await?;
    let mut dunet = rig.serve(&data)?;
    let lookups = rig.lookups(data.port, Some(&tenants[0].token), Era::Legacy);
    dunet.until_it_answers(&lookups).await?;
    let port = free_port()?;
    let padron = rig.listing_dir().display().to_string();
    let args = [server.display().to_string(), port.to_string(), padron];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut fastmcp = Process::start(python, &args, &[], &rig.server_cores, &rig.out.join("fastmcp.log"), port)?;
    let same = rig.lookups(port, None, Era::Legacy);
    fastmcp.until_it_answers(&same).await?;
    let idle = (dunet.resident_kib().0, fastmcp.resident_kib().0);
    let length = rig.pick(Duration::from_secs(2), Duration::from_secs(5));
    let duel = Duel::fight(&Side { server: &dunet, script: lookups }, &Side { server: &fastmcp, script: same }, 16, rig.pick(3, 5), length).await;
    let loaded = (dunet.resident_kib().0, fastmcp.resident_kib().0);
    let mib = |kib: u64| kib as f64 / 1024.0;
    let share = mib(loaded.0) / mib(loaded.1);
    rig.keep("python", &json!({ "duel": duel.json(), "idle_kib": [idle.0, idle.1], "loaded_kib": [loaded.0, loaded.1] }))?;
    let rows = vec![
        Row::new("calls/s to the tuned FastMCP server's, same look-up, 16 connections", "≥ 10", duel.text(), Met::when(duel.ratio >= 10.0 && duel.bad() == 0)),
        Row::new(
            "memory to that server's, after the load",
            "≤ 0.2",
            format!("{share:.2} ({:.0} to {:.0} MiB; before the load {:.0} to {:.0})", mib(loaded.0), mib(loaded.1), mib(idle.0), mib(idle.1)),
            Met::when(share <= 0.2),
        ),
    ];
    dunet.end()?;
    data.remove();
    Ok(rows)
}
