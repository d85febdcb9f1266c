//! `dunet doctor`: a tenant's Odoo, step by step (`tools/doctor.rs`).
//!
//! Its reader is the operator: every failure comes with what to run or to change (`doctor.` in `locales/`), not with what an agent is told.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{Out, open};
use crate::config::Config;
use crate::ids::TenantId;
use crate::text::Language;
use crate::tools::doctor::{Place, Reader, Step, examine};

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

/// Runs it. Exit code 1 when a step failed.
pub(super) async fn run(args: &DoctorArgs, config: &Config, out: Out) -> anyhow::Result<ExitCode> {
    let state = open(config).await?;
    let tenant = state.tenants.tenant_find(args.tenant).await?;
    let settings = state.connections.config(&tenant)?;
    let reader = Reader { language: args.language.unwrap_or(tenant.language), place: Place::Shell, tenant: tenant.id.to_string(), user: settings.login.clone() };
    let mut steps = Vec::new();
    let all_well = examine(settings, &tenant, &reader, &mut |step| steps.push(step)).await;
    print(&steps, all_well, reader.language, out)?;
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(steps: &[Step], all_well: bool, language: Language, out: Out) -> anyhow::Result<()> {
    let json: Vec<Value> = steps.iter().map(|step| json!({ "step": step.code(), "ok": step.ok, "detail": step.detail, "took_ms": step.took_ms, "remedy": step.remedy })).collect();
    let names: Vec<String> = steps.iter().map(|step| step.title(language)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let lines: Vec<String> = steps
        .iter()
        .zip(&names)
        .map(|(step, name)| {
            let mark = if step.ok { "ok  " } else { "FAIL" };
            let line = format!("{mark}  {name:<width$}  {:>5} ms  {}", step.took_ms, step.detail);
            step.remedy.as_ref().map_or(line.clone(), |remedy| format!("{line}\n      → {remedy}"))
        })
        .collect();
    out.say(&lines.join("\n"), &json!({ "ok": all_well, "steps": json }))
}
