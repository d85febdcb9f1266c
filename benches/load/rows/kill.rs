//! `kill -9` under load, again and again: every call whose answer arrived must be in `tool_usage`, once.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::json;

use super::thousands;
use crate::client::{Era, closed};
use crate::rig::Rig;
use crate::{Met, Row};

const CONNECTIONS: usize = 16;
/// The load lasts this long at least, and up to twice as long: the kill must fall anywhere between two writes.
const LOAD_MIN: Duration = Duration::from_millis(250);

pub(crate) async fn kill(rig: &Rig) -> anyhow::Result<Vec<Row>> {
    let (data, tenants) = rig.data("kill", &[None]).await?;
    let script = rig.lookups(data.port, Some(&tenants[0].token), Era::Legacy);
    let mut answered: Vec<u128> = Vec::new();
    let mut starts = Vec::new();
    let mut bad = 0;
    for at in 0..rig.kills {
        let mut server = rig.serve(&data)?;
        server.until_ok("/healthz").await?;
        starts.push(server.began.elapsed());
        let address = server.address;
        let load = tokio::spawn({
            let script = std::sync::Arc::clone(&script);
            async move { closed(address, &script, CONNECTIONS, LOAD_MIN * 40, true).await }
        });
        // Spread evenly over the range by the golden ratio: no dice needed, and no two rounds alike.
        let share = (f64::from(at) * 0.618_034).fract();
        tokio::time::sleep(LOAD_MIN + LOAD_MIN.mul_f64(share)).await;
        if rig.control {
            server.end()?;
        } else {
            server.kill()?;
        }
        let tally = load.await?;
        bad += tally.bad;
        if let Some(example) = tally.bad_example {
            eprintln!("load: an answer was not good: {example}");
        }
        answered.extend(tally.ids);
    }
    // Once more without a load: what was left over is delivered, then it ends well.
    let began = Instant::now();
    let mut server = rig.serve(&data)?;
    server.until_ok("/healthz").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.end()?;
    let settled = began.elapsed();

    let recorded = data.recorded()?;
    let unique: HashSet<u128> = answered.iter().copied().collect();
    let lost = unique.iter().filter(|id| !recorded.contains_key(id)).count();
    let doubled = recorded.values().filter(|count| **count > 1).count();
    let slowest = starts.iter().max().copied().unwrap_or_default();
    let unanswered = recorded.len() - recorded.keys().filter(|id| unique.contains(id)).count();
    rig.keep(
        "kill",
        &json!({ "rounds": rig.kills, "answered": unique.len(), "recorded": recorded.len(), "lost": lost, "doubled": doubled, "recorded_but_unanswered": unanswered, "bad": bad,
            "slowest_start_ms": slowest.as_millis(), "settled_ms": settled.as_millis() }),
    )?;
    let measured = format!(
        "{lost} lost, {doubled} doubled of {} answered calls in {} rounds ({} rows more: calls whose answer the kill cut off); slowest start {} ms",
        thousands(unique.len() as f64),
        rig.kills,
        thousands(unanswered as f64),
        slowest.as_millis()
    );
    let enough = !unique.is_empty() && unique.len() == answered.len() && bad == 0;
    let what = if rig.control { "control: ended by SIGTERM under load" } else { "`kill -9` under load" };
    let rows = vec![Row::new(what, format!("0 lost, 0 doubled, {} rounds", rig.kills), measured, Met::when(lost == 0 && doubled == 0 && enough))];
    // Kept when something is wrong, to be looked into.
    if lost == 0 && doubled == 0 {
        data.remove();
    }
    Ok(rows)
}
