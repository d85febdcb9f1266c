//! `dunet tenant …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use url::Url;

use super::{Out, known_tool, open, secret};
use crate::config::Config;
use crate::domain::audit::Actor;
use crate::domain::tenants::{NewOdoo, NewTenant, PersonalPolicy, Tenant, TenantEdit, WritePolicy};
use crate::ids::TenantId;
use crate::odoo::ProtocolChoice;
use crate::text::Language;
use crate::tools::{TOOLS, TOOLS_BY_DEFAULT};

/// What to do with tenants.
#[derive(Subcommand, Debug)]
pub enum TenantCommand {
    /// Add a tenant.
    Add(Box<AddArgs>),
    /// List all tenants.
    List,
    /// Show one tenant.
    Show {
        /// Its id.
        id: TenantId,
    },
    /// Change a tenant; only what is given.
    Edit(Box<EditArgs>),
    /// Stop serving a tenant, or serve it again.
    Suspend {
        /// Its id.
        id: TenantId,
        /// Serve it again.
        #[arg(long)]
        resume: bool,
    },
}

/// A new tenant.
#[derive(Args, Debug)]
pub struct AddArgs {
    /// The company's name.
    #[arg(long)]
    name: String,
    /// Its RNC.
    #[arg(long)]
    rnc: Option<String>,
    /// gratis, basic or pro.
    #[arg(long, default_value = "gratis")]
    plan: String,
    /// Address of its Odoo, such as https://empresa.odoo.com.
    #[arg(long, requires_all = ["odoo_db", "odoo_user", "odoo_secret_file"])]
    odoo_url: Option<Url>,
    /// Database name.
    #[arg(long)]
    odoo_db: Option<String>,
    /// User (its login, usually an e-mail address).
    #[arg(long)]
    odoo_user: Option<String>,
    /// File with the user's API key (better) or password; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    odoo_secret_file: Option<PathBuf>,
    /// auto, json2, xmlrpc or jsonrpc.
    #[arg(long, default_value = "auto")]
    odoo_protocol: ProtocolChoice,
    /// Tools to enable (comma separated); needed only for plans with a number of tools, which else get a sensible pair.
    #[arg(long, value_delimiter = ',')]
    tools: Vec<String>,
}

/// Changes of a tenant.
#[derive(Args, Debug)]
pub struct EditArgs {
    /// Its id.
    id: TenantId,
    /// The company's name.
    #[arg(long)]
    name: Option<String>,
    /// Its RNC.
    #[arg(long)]
    rnc: Option<String>,
    /// gratis, basic or pro.
    #[arg(long)]
    plan: Option<String>,
    /// Address of its Odoo.
    #[arg(long)]
    odoo_url: Option<Url>,
    /// Database name.
    #[arg(long)]
    odoo_db: Option<String>,
    /// User.
    #[arg(long)]
    odoo_user: Option<String>,
    /// File with the API key or password; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    odoo_secret_file: Option<PathBuf>,
    /// auto, json2, xmlrpc or jsonrpc.
    #[arg(long)]
    odoo_protocol: Option<ProtocolChoice>,
    /// Requests per second its Odoo likes: a number, 0 for as fast as it answers, or auto (1 for Odoo Online).
    #[arg(long, value_name = "N|auto", value_parser = pace)]
    odoo_requests_per_second: Option<Pace>,
    /// Whether its people use an Odoo user of their own: off, allowed or required. Off removes what they stored.
    #[arg(long, value_name = "off|allowed|required", value_parser = personal)]
    odoo_personal: Option<PersonalPolicy>,
    /// es or en.
    #[arg(long)]
    language: Option<Language>,
    /// confirm (preview first), `owner_approves` (an owner approves in the portal) or direct, for writing tools.
    #[arg(long, value_parser = ["confirm", "owner_approves", "direct"])]
    write_policy: Option<String>,
}

/// Requests per second; none goes by the address.
#[derive(Clone, Copy, Debug)]
struct Pace(Option<u32>);

fn pace(text: &str) -> Result<Pace, String> {
    match text {
        "auto" => Ok(Pace(None)),
        number => number.parse().map(|pace| Pace(Some(pace))).map_err(|_| "a whole number or auto".to_owned()),
    }
}

fn personal(text: &str) -> Result<PersonalPolicy, String> {
    PersonalPolicy::known(text).ok_or_else(|| "off, allowed or required".to_owned())
}

/// Runs it.
pub(super) async fn run(command: TenantCommand, config: &Config, out: Out) -> anyhow::Result<()> {
    let state = open(config).await?;
    let tenants = &state.tenants;
    match command {
        TenantCommand::Add(args) => {
            let odoo = match (args.odoo_url, args.odoo_db, args.odoo_user, args.odoo_secret_file) {
                (Some(url), Some(database), Some(login), Some(file)) => Some(NewOdoo { url, database, login, secret: secret(&file)?, protocol: args.odoo_protocol }),
                (None, None, None, None) => None,
                _ => anyhow::bail!("an Odoo connection needs all of --odoo-url, --odoo-db, --odoo-user and --odoo-secret-file"),
            };
            let tools = if args.tools.is_empty() && limited(&state, &args.plan).await? {
                TOOLS_BY_DEFAULT.iter().map(|name| (*name).to_owned()).collect()
            } else {
                args.tools.iter().map(|name| known_tool(name).map(str::to_owned)).collect::<anyhow::Result<Vec<_>>>()?
            };
            let new = NewTenant { name: args.name, rnc: args.rnc, plan: args.plan, odoo, tools };
            let id = tenants.tenant_add(new, &Actor::shell()).await?;
            let text = format!("tenant {id} added\nnext: dunet doctor --tenant {id}   and   dunet token issue --tenant {id} --name agente");
            out.say(&text, &json!({ "id": id }))
        }
        TenantCommand::List => {
            let list = tenants.tenant_list().await?;
            let rows: Vec<Vec<String>> = list
                .iter()
                .map(|tenant| {
                    let odoo = tenant.odoo.as_ref().map(|odoo| odoo.url.to_string()).unwrap_or_default();
                    vec![tenant.id.to_string(), tenant.name.clone(), tenant.plan.code.clone(), status(tenant).to_owned(), odoo]
                })
                .collect();
            out.table(&["id", "name", "plan", "status", "odoo"], &rows, &Value::Array(list.iter().map(shown).collect()))
        }
        TenantCommand::Show { id } => {
            let tenant = tenants.tenant_find(id).await?;
            let view = shown(&tenant);
            out.say(&serde_json::to_string_pretty(&view)?, &view)
        }
        TenantCommand::Edit(args) => {
            let edit = TenantEdit {
                version: None,
                name: args.name,
                rnc: args.rnc,
                plan: args.plan,
                odoo_url: args.odoo_url,
                odoo_database: args.odoo_db,
                odoo_login: args.odoo_user,
                odoo_secret: args.odoo_secret_file.as_deref().map(secret).transpose()?,
                odoo_protocol: args.odoo_protocol,
                odoo_requests_per_second: args.odoo_requests_per_second.map(|pace| pace.0),
                odoo_personal: args.odoo_personal,
                language: args.language,
                timezone: None,
                write_policy: args.write_policy.as_deref().map(WritePolicy::parse),
                active: None,
            };
            tenants.tenant_edit(args.id, edit, &Actor::shell()).await?;
            out.say(&format!("tenant {} changed; a running service follows within seconds", args.id), &shown(&tenants.tenant_find(args.id).await?))
        }
        TenantCommand::Suspend { id, resume } => {
            let edit = TenantEdit { active: Some(resume), ..TenantEdit::default() };
            tenants.tenant_edit(id, edit, &Actor::shell()).await?;
            let word = if resume { "active" } else { "suspended" };
            out.say(&format!("tenant {id} is {word}"), &json!({ "id": id, "status": word }))
        }
    }
}

async fn limited(state: &crate::state::AppState, plan: &str) -> anyhow::Result<bool> {
    let plans = crate::domain::plans::plan_list(&state.db).await?;
    Ok(plans.iter().any(|known| known.code == plan && known.tools_max.is_some()))
}

fn status(tenant: &Tenant) -> &'static str {
    if tenant.active { "active" } else { "suspended" }
}

/// What may be shown: everything but secrets.
fn shown(tenant: &Tenant) -> Value {
    let tools: Vec<&str> = TOOLS.iter().map(|tool| tool.facts().name).filter(|name| tenant.permit(name).is_some()).collect();
    json!({
        "id": tenant.id, "name": tenant.name, "rnc": tenant.rnc, "plan": tenant.plan.code, "status": status(tenant), "language": tenant.language.as_str(),
        "timezone": tenant.timezone.name(), "write_policy": tenant.write_policy.as_str(), "odoo_personal": tenant.odoo_personal.as_str(), "tools": tools,
        "odoo": tenant.odoo.as_ref().map(|odoo| json!({ "url": odoo.url, "database": odoo.database, "user": odoo.login, "protocol": odoo.protocol.to_string(), "requests_per_second": tenant.odoo_requests_per_second })),
    })
}
