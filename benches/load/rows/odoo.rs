//! Searches in Odoo, and a tenant whose Odoo hangs.

use std::time::Duration;

use serde_json::json;

use super::median;
use crate::client::{Era, Pace, Script, closed, open};
use crate::rig::{Odoo, Rig, Tenant};
use crate::{Met, Row};

/// What the searches ask for in turn; the sandbox has some of each.
const CUSTOMERS: [&str; 8] = ["constructora", "inversiones", "grupo", "perez", "nunez", "guzman", "farmacia", "ferreteria"];
const PRODUCTS: [&str; 8] = ["cemento", "pintura", "tubo", "papel", "varilla", "bloque", "martillo", "cable"];
const SEARCHES: [(&str, &[&str; 8]); 2] = [("buscar_cliente", &CUSTOMERS), ("buscar_productos", &PRODUCTS)];
/// Searches a second, when latencies are measured.
const SEARCHES_PER_SECOND: u32 = 50;
/// The healthy tenants, what they ask together a second, and how slow their Odoo is.
const HEALTHY: usize = 8;
const HEALTHY_PER_SECOND: u32 = 200;
const HEALTHY_ODOO: Duration = Duration::from_millis(10);
/// What the tenant asks whose Odoo hangs.
const HANGING_PER_SECOND: u32 = 50;

fn searches(port: u16, tenant: &Tenant, tool: &str, words: &[&str]) -> std::sync::Arc<Script> {
    Script::calls(port, Some(&tenant.token), Era::Legacy, tool, words.iter().map(|word| (json!({ "consulta": word }), "\"total\":".to_owned())))
}

pub(crate) async fn search(rig: &Rig) -> anyhow::Result<Vec<Row>> {
    let odoo = Odoo::start()?;
    let (data, tenants) = rig.data("search", &[Some(&odoo)]).await?;
    let mut server = rig.serve(&data)?;
    let mut rows = Vec::new();
    let mut raw = Vec::new();
    for (tool, words) in SEARCHES {
        let script = searches(data.port, &tenants[0], tool, words);
        server.until_it_answers(&script).await?;
        // Warm: every question once. Then one at a time, so that one connection to Odoo is enough.
        closed(server.address, &script, 1, Duration::from_millis(500), false).await;
        let before = odoo.seen();
        let tally = closed(server.address, &script, 1, rig.pick(Duration::from_secs(1), Duration::from_secs(3)), false).await;
        let after = odoo.seen();
        let requests = (after.requests - before.requests) as f64 / tally.good.max(1) as f64;
        let (logins, connections) = (after.logins - before.logins, after.connections - before.connections);
        let mut latencies = Vec::new();
        for delay_ms in [0, 20] {
            odoo.delay(Duration::from_millis(delay_ms));
            let mut tally = open(server.address, &script, SEARCHES_PER_SECOND, rig.pick(Duration::from_secs(3), Duration::from_secs(10)), Pace::Sleeping).await;
            let bad = if tally.bad > 0 { format!(", {} not good: {}", tally.bad, tally.bad_example.clone().unwrap_or_default()) } else { String::new() };
            latencies.push(format!("Odoo + {delay_ms} ms: p50 {:.1}, p99 {:.1} ms{bad}", tally.quantile_ms(0.5), tally.quantile_ms(0.99)));
        }
        odoo.delay(Duration::ZERO);
        raw.push(json!({ "tool": tool, "searches": tally.good, "bad": tally.bad, "requests_per_search": requests, "logins": logins, "connections": connections, "latencies": latencies }));
        let measured = format!("{requests:.2} requests, {logins} log-ins, {connections} new connections in {} searches; {}", tally.good, latencies.join("; "));
        let met = Met::when((requests - 1.0).abs() < 0.005 && logins == 0 && connections == 0 && tally.bad == 0 && tally.good > 0);
        rows.push(Row::new(format!("`{tool}`, warm: requests to Odoo"), "1, with the total; no log-in; no new connection", measured, met));
    }
    server.end()?;
    for (tool, _) in SEARCHES {
        let recorded = data.query(&format!("select avg(odoo_requests) from tool_usage where tool = '{tool}'"))?;
        raw.push(json!({ "tool": tool, "odoo_requests_in_tool_usage": recorded }));
        if let Some(row) = rows.iter_mut().find(|row| row.what.contains(tool)) {
            row.measured += &format!("; `tool_usage` says {recorded:.2} (the cold ones too)");
        }
    }
    rig.keep("search", &json!(raw))?;
    data.remove();
    Ok(rows)
}

pub(crate) async fn hanging(rig: &Rig) -> anyhow::Result<Vec<Row>> {
    let (well, ill) = (Odoo::start()?, Odoo::start()?);
    well.delay(HEALTHY_ODOO);
    let odoos: Vec<Option<&Odoo>> = std::iter::repeat_n(Some(&well), HEALTHY).chain([Some(&ill)]).collect();
    let (data, tenants) = rig.data("hanging", &odoos).await?;
    let mut server = rig.serve(&data)?;
    let (healthy, hung) = tenants.split_at(HEALTHY);
    let healthy: Vec<_> = healthy.iter().map(|tenant| searches(data.port, tenant, "buscar_cliente", &CUSTOMERS)).collect();
    let healthy = Script::interleaved(&healthy);
    let hung = searches(data.port, &hung[0], "buscar_cliente", &CUSTOMERS);
    for script in [&healthy, &hung] {
        server.until_it_answers(script).await?;
        closed(server.address, script, 4, Duration::from_secs(1), false).await;
    }
    let length = rig.pick(Duration::from_secs(4), Duration::from_secs(10));
    let mut rounds = Vec::new();
    let mut bad = 0;
    let mut fate = String::new();
    for _ in 0..rig.pick(3, 5) {
        let mut calm = open(server.address, &healthy, HEALTHY_PER_SECOND, length, Pace::Sleeping).await;
        ill.hang(true);
        let disturbed = async {
            // The hanging calls come first: when the others begin, there are some in every place they may take.
            tokio::time::sleep(Duration::from_millis(500)).await;
            let tally = open(server.address, &healthy, HEALTHY_PER_SECOND, length, Pace::Sleeping).await;
            ill.hang(false);
            tally
        };
        let (mut disturbed, of_hung) = tokio::join!(disturbed, open(server.address, &hung, HANGING_PER_SECOND, length + Duration::from_millis(500), Pace::Sleeping));
        bad += calm.bad + disturbed.bad;
        if let Some(example) = calm.bad_example.as_ref().or(disturbed.bad_example.as_ref()) {
            eprintln!("load: an answer was not good: {example}");
        }
        fate = format!("{} of its {} calls failed", of_hung.bad, of_hung.bad + of_hung.good);
        rounds.push([calm.quantile_ms(0.5), disturbed.quantile_ms(0.5), calm.quantile_ms(0.99), disturbed.quantile_ms(0.99)]);
        // An open breaker must not make the next calm round calmer than it is.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let of = |at: usize| median(rounds.iter().map(|round| round[at]));
    let ratio = of(3) / of(2);
    rig.keep("hanging", &json!({ "calm_p50_disturbed_p50_calm_p99_disturbed_p99_ms": rounds, "bad": bad, "hung_tenant": fate }))?;
    server.end()?;
    data.remove();
    let note = if bad > 0 { format!("; **{bad} of the others' answers were not good**") } else { String::new() };
    Ok(vec![Row::new(
        format!("one tenant's Odoo hangs under {HANGING_PER_SECOND} calls/s: the others' p99 to undisturbed"),
        "≤ 1.2",
        format!(
            "{ratio:.2} (p99 {:.1} → {:.1} ms, p50 {:.1} → {:.1} ms; {HEALTHY} tenants, {HEALTHY_PER_SECOND} searches/s, Odoo {} ms; the hung tenant: {fate}{note})",
            of(2),
            of(3),
            of(0),
            of(1),
            HEALTHY_ODOO.as_millis()
        ),
        Met::when(ratio <= 1.2 && bad == 0),
    )])
}
