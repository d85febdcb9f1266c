//! `dunet usage`

use clap::Args;
use serde_json::json;

use super::{Out, open};
use crate::clock::billing_month;
use crate::config::Config;
use crate::domain::usage;
use crate::ids::TenantId;

/// Which calls.
#[derive(Args, Debug)]
pub struct UsageArgs {
    /// Whose.
    #[arg(long)]
    tenant: TenantId,
    /// Month as YYYYMM; the current one when absent.
    #[arg(long, value_parser = clap::value_parser!(i32).range(202_001..=209_912))]
    month: Option<i32>,
}

/// Runs it.
pub(super) async fn run(args: &UsageArgs, config: &Config, out: Out) -> anyhow::Result<()> {
    let state = open(config).await?;
    let tenant = state.tenants.tenant_find(args.tenant).await?;
    let month = args.month.unwrap_or_else(|| billing_month(state.clock.now()));
    let totals = usage::totals(&state.db, tenant.id, month).await?;
    let counted: i64 = totals.iter().map(|total| total.counted).sum();
    let rows: Vec<Vec<String>> = totals.iter().map(|total| vec![total.tool.clone(), total.outcome.clone(), total.calls.to_string(), total.counted.to_string()]).collect();
    let json = json!({ "tenant": tenant.id, "month": month, "limit": tenant.plan.calls_per_month, "counted": counted, "tools": totals });
    out.table(&["tool", "outcome", "calls", "counted"], &rows, &json)
}
