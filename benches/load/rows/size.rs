//! Memory, start-up, the listing, and the size of the voice pack's list.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::median;
use crate::client::{Connection, Era, Script};
use crate::process::Process;
use crate::rig::{Odoo, Rig, TOOL};
use crate::{Met, Row};

const TENANTS: usize = 2_000;
const TENANTS_WARM: usize = 1_000;
const STARTS: usize = 7;
/// Tools that the voice pack will have.
const VOICE_TOOLS: usize = 12;
/// Memory is looked at so long after the last request: caches do their housekeeping, batches are written.
const SETTLE: Duration = Duration::from_secs(4);

fn memory_text(server: &Process) -> (f64, String) {
    let (all, own) = server.resident_kib();
    let mib = |kib: u64| kib as f64 / 1024.0;
    (mib(all), format!("{:.0} MiB resident, {:.0} of them not mapped from files", mib(all), mib(own)))
}

pub(crate) async fn memory(rig: &Rig) -> anyhow::Result<Vec<Row>> {
    let (data, _) = rig.data("idle", &[None]).await?;
    let mut server = rig.serve(&data)?;
    server.until_ok("/healthz").await?;
    tokio::time::sleep(SETTLE).await;
    let (idle, idle_text) = memory_text(&server);
    server.end()?;
    data.remove();

    eprintln!("load: making {TENANTS} tenants");
    let odoo = Odoo::start()?;
    let (data, tenants) = rig.data("tenants", &vec![Some(&odoo); TENANTS]).await?;
    let mut server = rig.serve(&data)?;
    server.until_ok("/healthz").await?;
    tokio::time::sleep(SETTLE).await;
    let (_, configured) = memory_text(&server);
    let mut connection = Connection::open(server.address).await?;
    for (at, tenant) in tenants.iter().take(TENANTS_WARM).enumerate() {
        let token = Some(tenant.token.as_str());
        let number = &rig.numbers[at % rig.numbers.len()];
        let lookup = Script::calls(data.port, token, Era::Legacy, TOOL, [(json!({ "rnc": number }), format!("\"rnc\":\"{number}\""))]);
        let search = Script::calls(data.port, token, Era::Legacy, "buscar_cliente", [(json!({ "consulta": "constructora" }), "\"total\":".to_owned())]);
        for script in [lookup, search] {
            connection.try_step(&script).await.map_err(|said| anyhow::anyhow!("tenant {at}: {said}"))?;
        }
    }
    tokio::time::sleep(SETTLE).await;
    let (warm, warm_text) = memory_text(&server);
    let seen = odoo.seen();
    rig.keep("memory", &json!({ "idle_mib": idle, "warm_mib": warm, "odoo_connections": seen.connections, "odoo_requests": seen.requests }))?;
    server.end()?;
    data.remove();
    Ok(vec![
        Row::new("memory, idle, with a listing of 800,000", "≤ 40 MiB", idle_text, Met::when(idle <= 40.0)),
        Row::new(
            format!("memory, {TENANTS} tenants configured, {TENANTS_WARM} of them warm"),
            "≤ 120 MiB",
            format!("{warm_text}; before the first call {configured}; {} connections to Odoo", seen.connections),
            Met::when(warm <= 120.0),
        ),
    ])
}

pub(crate) async fn startup(rig: &Rig) -> anyhow::Result<Vec<Row>> {
    let (data, _) = rig.data("startup", &[None]).await?;
    let mut healthy = Vec::new();
    let mut ready = Vec::new();
    for _ in 0..STARTS {
        let mut server = rig.serve(&data)?;
        healthy.push(server.until_ok("/healthz").await?.context("/healthz is missing")?);
        ready.extend(server.until_ok("/readyz").await?);
        server.end()?;
    }
    // The very first start, which makes the database.
    for file in ["dunet.db", "dunet.db-wal", "dunet.db-shm"] {
        drop(std::fs::remove_file(data.dir.join(file)));
    }
    let mut server = rig.serve(&data)?;
    let first = server.until_ok("/healthz").await?.context("/healthz is missing")?;
    server.end()?;
    let ms = |times: &[Duration]| median(times.iter().map(|time| time.as_secs_f64() * 1e3));
    let slowest = healthy.iter().chain(&ready).chain([&first]).max().copied().unwrap_or_default();
    rig.keep(
        "startup",
        &json!({ "healthz_ms": healthy.iter().map(Duration::as_millis).collect::<Vec<_>>(), "readyz_ms": ready.iter().map(Duration::as_millis).collect::<Vec<_>>(), "first_ms": first.as_millis() }),
    )?;
    let readyz = if ready.is_empty() { "no `/readyz` yet".to_owned() } else { format!("`/readyz` {:.0} ms", ms(&ready)) };
    data.remove();
    Ok(vec![Row::new(
        "from exec to the first good answer, listing of 800,000 present",
        "≤ 1 s",
        format!("`/healthz` {:.0} ms, {readyz} (median of {STARTS}); very first start, which makes the database: {} ms", ms(&healthy), first.as_millis()),
        Met::when(slowest <= Duration::from_secs(1)),
    )])
}

/// Reads what `cargo bench --bench padron` said.
pub(crate) fn padron(rig: &Rig) -> anyhow::Result<Vec<Row>> {
    let Some(file) = &rig.padron_report else {
        return Ok(vec![Row::new("the listing", "800,000 rows ≤ 60 s and ≤ 300 MiB", "no report given", Met::Open("not measured"))]);
    };
    let report = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let lines: Vec<(String, String)> = report
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            Some((cells.next()?.to_owned(), cells.next()?.to_owned()))
        })
        .collect();
    let find = |name: &str| lines.iter().find(|(what, _)| what.starts_with(name)).map(|(_, value)| value.clone()).with_context(|| format!("no {name:?} in {}", file.display()));
    let number_after = |text: &str, mark: &str| -> anyhow::Result<f64> {
        let rest = text.split_once(mark).with_context(|| format!("no {mark:?} in {text:?}"))?.1;
        let digits: String = rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        Ok(digits.parse()?)
    };
    let import = find("import")?;
    let seconds = number_after(&import, "")?;
    let peak = find("peak memory")?;
    let peak_mib = number_after(&peak, "/")?;
    let rows = find("taxpayers")?;
    let lookup = find("look-up")?;
    let lookup_p99 = number_after(&lookup, "p99")?;
    // Sixteen common words are abuse, bounded by a limit of their own.
    let (abuse, usual): (Vec<_>, Vec<_>) = lines.iter().filter(|(what, _)| what.starts_with("names:")).partition(|(what, _)| what.contains("sixteen"));
    let worst = usual.iter().map(|(_, value)| number_after(value, "p95")).collect::<anyhow::Result<Vec<f64>>>()?.into_iter().fold(f64::NAN, f64::max);
    let abuse = abuse.first().map(|(_, value)| number_after(value, "p95")).transpose()?.unwrap_or(f64::NAN);
    let rows_number: f64 = rows.chars().take_while(char::is_ascii_digit).collect::<String>().parse()?;
    Ok(vec![
        Row::new("listing: import", "800,000 rows ≤ 60 s", format!("{rows}: {import}"), Met::when(seconds <= 60.0 && rows_number >= 790_000.0)),
        Row::new("listing: peak memory of the import", "≤ 300 MiB", format!("{peak_mib:.0} MiB"), Met::when(peak_mib <= 300.0)),
        Row::new("listing: look-up, p99", "< 1 ms", format!("{lookup_p99} ms"), Met::when(lookup_p99 < 1.0)),
        Row::new("listing: name search, p95 of the slowest kind", "< 30 ms", format!("{worst} ms; sixteen common words together (abuse): {abuse} ms"), Met::when(worst < 30.0)),
    ])
}

pub(crate) async fn voice(rig: &Rig) -> anyhow::Result<Vec<Row>> {
    let (data, tenants) = rig.data("voice", &[None]).await?;
    let mut server = rig.serve(&data)?;
    server.until_ok("/healthz").await?;
    let script = Script::one(data.port, Some(&tenants[0].voice_token), "tools/list", json!({}), "\"tools\":");
    let body = Connection::open(server.address).await?.first_body(&script).await?.to_owned();
    server.end()?;
    data.remove();
    let answer: Value = serde_json::from_str(&body)?;
    let tools = answer["result"]["tools"].as_array().context("no list")?;
    let sizes: Vec<(String, usize)> = tools.iter().map(|tool| (tool["name"].as_str().unwrap_or_default().to_owned(), tool.to_string().len())).collect();
    let without_output: usize = tools
        .iter()
        .map(|tool| {
            let mut tool = tool.clone();
            tool.as_object_mut().map(|tool| tool.remove("outputSchema"));
            tool.to_string().len()
        })
        .sum();
    rig.keep("voice", &json!({ "bytes": body.len(), "without_output_schemas": without_output, "tools": sizes }))?;
    let met = if tools.len() < VOICE_TOOLS { Met::Open("open until the pack has its 12 tools") } else { Met::when(body.len() <= 8_400) };
    Ok(vec![Row::new(
        "voice pack's `tools/list`",
        "≤ 8.4 kB for 12 tools",
        format!("{} bytes for {} tools ({without_output} without their output schemas)", body.len(), tools.len()),
        met,
    )])
}
