//! `dunet tool …`

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Out, known_tool, open};
use crate::config::Config;
use crate::domain::audit::Actor;
use crate::domain::tenants::{ToolEdit, WritePolicy};
use crate::ids::TenantId;
use crate::tools::TOOLS;
use crate::tools::tool::Effect;

/// What to do with a tenant's tools.
#[derive(Subcommand, Debug)]
pub enum ToolCommand {
    /// List the tools and how the tenant may use them.
    List {
        /// Whose.
        #[arg(long)]
        tenant: TenantId,
    },
    /// Allow a tool.
    Enable {
        /// Whose.
        #[arg(long)]
        tenant: TenantId,
        /// Which.
        tool: String,
    },
    /// Forbid a tool.
    Disable {
        /// Whose.
        #[arg(long)]
        tenant: TenantId,
        /// Which.
        tool: String,
    },
    /// Limit a tool.
    Limit {
        /// Whose.
        #[arg(long)]
        tenant: TenantId,
        /// Which.
        tool: String,
        /// Calls an hour.
        #[arg(long)]
        per_hour: Option<u32>,
        /// confirm (preview first), `owner_approves` (an owner approves in the portal) or direct, for writing tools.
        #[arg(long, value_parser = ["confirm", "owner_approves", "direct"])]
        write_policy: Option<String>,
    },
}

/// Runs it.
pub(super) async fn run(command: ToolCommand, config: &Config, out: Out) -> anyhow::Result<()> {
    let state = open(config).await?;
    let (tenant, tool, edit) = match command {
        ToolCommand::List { tenant } => {
            let owner = state.tenants.tenant_find(tenant).await?;
            let list: Vec<Value> = TOOLS
                .iter()
                .map(|tool| {
                    let facts = tool.facts();
                    let permit = owner.permit(facts.name);
                    json!({
                        "tool": facts.name, "title": facts.title, "enabled": permit.is_some(), "writes": facts.effect == Effect::Writes,
                        "packs": facts.packs, "calls_per_hour": permit.map(|permit| permit.calls_per_hour),
                        "write_policy": permit.filter(|_| facts.effect == Effect::Writes).map(|permit| permit.write_policy.as_str()),
                    })
                })
                .collect();
            let cell = |row: &Value, name: &str| row[name].as_str().map_or_else(|| row[name].to_string(), str::to_owned).replace("null", "");
            let rows: Vec<Vec<String>> =
                list.iter().map(|row| ["tool", "enabled", "calls_per_hour", "write_policy", "title"].iter().map(|name| cell(row, name)).collect()).collect();
            return out.table(&["tool", "enabled", "per hour", "writes are", "title"], &rows, &Value::Array(list));
        }
        ToolCommand::Enable { tenant, tool } => (tenant, tool, ToolEdit { enabled: Some(true), ..ToolEdit::default() }),
        ToolCommand::Disable { tenant, tool } => (tenant, tool, ToolEdit { enabled: Some(false), ..ToolEdit::default() }),
        ToolCommand::Limit { tenant, tool, per_hour, write_policy } => {
            anyhow::ensure!(per_hour.is_some() || write_policy.is_some(), "say --per-hour N or --write-policy confirm|owner_approves|direct");
            (tenant, tool, ToolEdit { calls_per_hour: per_hour, write_policy: write_policy.as_deref().map(WritePolicy::parse), ..ToolEdit::default() })
        }
    };
    let tool = known_tool(&tool)?;
    state.tenants.tool_edit(tenant, tool, edit, &Actor::shell()).await?;
    let permit = state.tenants.tenant_find(tenant).await?.permit(tool);
    let json = json!({ "tool": tool, "enabled": permit.is_some(), "calls_per_hour": permit.map(|p| p.calls_per_hour), "write_policy": permit.map(|p| p.write_policy.as_str()) });
    out.say(&format!("{tool}: {}", if permit.is_some() { "enabled" } else { "disabled" }), &json)
}
