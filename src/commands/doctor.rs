//! `dunet doctor`: a tenant's Odoo, step by step: name, address, connection, version, database, login, rights per tool, latency.

use std::collections::HashMap;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Out, open};
use crate::clock::instant;
use crate::config::Config;
use crate::domain::tenants::Tenant;
use crate::ids::TenantId;
use crate::odoo::probe::probe_client;
use crate::odoo::{OdooClient, OdooError};
use crate::text::{Language, fill};
use crate::tools::TOOLS;
use crate::tools::error::ToolError;

/// Calls timed for the latency step.
const LATENCY_CALLS: u32 = 5;

/// Which tenant.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Whose Odoo.
    #[arg(long)]
    tenant: TenantId,
    /// es or en; the tenant's language when absent.
    #[arg(long)]
    language: Option<Language>,
}

/// One step as it is shown.
struct Step {
    name: String,
    ok: bool,
    detail: String,
    took_ms: u64,
    remedy: Option<String>,
}

/// Runs it. Exit code 1 when a step failed.
pub(super) async fn run(args: &DoctorArgs, config: &Config, out: Out) -> anyhow::Result<ExitCode> {
    let state = open(config).await?;
    let tenant = state.tenants.tenant_find(args.tenant).await?;
    let language = args.language.unwrap_or(tenant.language);
    let settings = state.connections.config(&tenant)?;
    let (probed, client) = probe_client(settings).await;
    let mut steps: Vec<Step> = probed
        .into_iter()
        .map(|step| Step {
            name: step.name.to_owned(),
            ok: step.ok,
            detail: step.error.as_ref().map_or(step.detail.clone(), |error| error.message.clone()),
            took_ms: step.took_ms,
            remedy: step.error.map(|error| remedy(error, language)),
        })
        .collect();
    if let Some(client) = client {
        steps.extend(rights(&client, &tenant, language).await);
        steps.push(latency(&client, language).await);
    }
    let all_well = steps.iter().all(|step| step.ok);
    print(&steps, all_well, out)?;
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The rights that each permitted tool needs of the Odoo user.
async fn rights(client: &OdooClient, tenant: &Tenant, language: Language) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut known: HashMap<(&str, &str), Result<bool, String>> = HashMap::new();
    for facts in TOOLS.iter().map(|tool| tool.facts()).filter(|facts| tenant.permit(facts.name).is_some()) {
        let began = instant();
        let mut missing = Vec::new();
        for (model, operation) in facts.needs {
            if !known.contains_key(&(*model, *operation)) {
                known.insert((model, operation), may(client, model, operation).await.map_err(|error| error.message));
            }
            match &known[&(*model, *operation)] {
                Ok(true) => {}
                Ok(false) => missing.push(format!("{operation} {model}")),
                Err(message) => missing.push(format!("{operation} {model}: {message}")),
            }
        }
        let ok = missing.is_empty();
        let detail = if ok { "ok".to_owned() } else { missing.join(", ") };
        let remedy = (!ok).then(|| fill(language, "errores.odoo_sin_permiso.que_hacer", &[("detalle", &detail)]));
        steps.push(Step { name: format!("rights: {}", facts.name), ok, detail, took_ms: millis(began), remedy });
    }
    steps
}

async fn may(client: &OdooClient, model: &str, operation: &str) -> Result<bool, OdooError> {
    let mut named = Map::new();
    named.insert("operation".to_owned(), json!(operation));
    let answer = if client.version().has_has_access() {
        client.call_read(model, "has_access", Some(&[]), named).await?
    } else {
        named.insert("raise_exception".to_owned(), json!(false));
        client.call_read(model, "check_access_rights", None, named).await?
    };
    Ok(answer.as_bool().unwrap_or(false))
}

async fn latency(client: &OdooClient, language: Language) -> Step {
    let mut times = Vec::new();
    for _ in 0..LATENCY_CALLS {
        let began = instant();
        if let Err(error) = client.call_read("res.users", "context_get", None, Map::new()).await {
            return Step { name: "latency".to_owned(), ok: false, detail: error.message.clone(), took_ms: millis(began), remedy: Some(remedy(error, language)) };
        }
        times.push(millis(began));
    }
    times.sort_unstable();
    let middle = times[times.len() / 2];
    Step { name: "latency".to_owned(), ok: true, detail: format!("{middle} ms in the middle of {LATENCY_CALLS} calls"), took_ms: middle, remedy: None }
}

fn millis(began: tokio::time::Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What to do about it, in the reader's language.
fn remedy(error: OdooError, language: Language) -> String {
    let error = ToolError::from(error);
    let facts: Vec<(&str, &str)> = error.facts.iter().map(|(name, value)| (*name, value.as_str())).collect();
    fill(language, &format!("errores.{}.que_hacer", error.code.as_str()), &facts)
}

fn print(steps: &[Step], all_well: bool, out: Out) -> anyhow::Result<()> {
    let json: Vec<Value> = steps.iter().map(|step| json!({ "step": step.name, "ok": step.ok, "detail": step.detail, "took_ms": step.took_ms, "remedy": step.remedy })).collect();
    let width = steps.iter().map(|step| step.name.chars().count()).max().unwrap_or_default();
    let lines: Vec<String> = steps
        .iter()
        .map(|step| {
            let mark = if step.ok { "ok  " } else { "FAIL" };
            let line = format!("{mark}  {:<width$}  {:>5} ms  {}", step.name, step.took_ms, step.detail);
            step.remedy.as_ref().map_or(line.clone(), |remedy| format!("{line}\n      → {remedy}"))
        })
        .collect();
    out.say(&lines.join("\n"), &json!({ "ok": all_well, "steps": json }))
}
