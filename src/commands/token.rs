//! `dunet token …`

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{Out, open};
use crate::config::Config;
use crate::domain::audit::Actor;
use crate::domain::tokens::{IssuedToken, NewToken, TokenView};
use crate::ids::{TenantId, TokenId};
use crate::text::Language;
use crate::tools::tool::Pack;

/// What to do with tokens.
#[derive(Subcommand, Debug)]
pub enum TokenCommand {
    /// Issue a token. It is shown once.
    Issue(IssueArgs),
    /// List a tenant's tokens.
    List {
        /// Whose.
        #[arg(long)]
        tenant: TenantId,
    },
    /// Replace a token; the old one works a while longer.
    Rotate {
        /// Whose.
        #[arg(long)]
        tenant: TenantId,
        /// Which.
        id: TokenId,
        /// How much longer the old one works, seconds.
        #[arg(long, default_value_t = 3600)]
        grace_s: i64,
    },
    /// Revoke a token at once.
    Revoke {
        /// Whose.
        #[arg(long)]
        tenant: TenantId,
        /// Which.
        id: TokenId,
    },
}

/// A new token.
#[derive(Args, Debug)]
pub struct IssueArgs {
    /// Whose.
    #[arg(long)]
    tenant: TenantId,
    /// For people: which agent uses it.
    #[arg(long)]
    name: String,
    /// Limit it to packs (comma separated): voice, sales, analyst, writes.
    #[arg(long, value_delimiter = ',', value_parser = pack)]
    packs: Vec<String>,
    /// Days it works; for ever when absent.
    #[arg(long)]
    days: Option<u16>,
    /// es or en: the language of its answers.
    #[arg(long)]
    language: Option<Language>,
}

fn pack(text: &str) -> Result<String, String> {
    Pack::ALL.iter().map(|pack| pack.as_str()).find(|name| *name == text).map(str::to_owned).ok_or_else(|| "use voice, sales, analyst or writes".to_owned())
}

/// Runs it.
pub(super) async fn run(command: TokenCommand, config: &Config, out: Out) -> anyhow::Result<()> {
    let state = open(config).await?;
    match command {
        TokenCommand::Issue(args) => {
            let new = NewToken {
                name: args.name,
                packs: (!args.packs.is_empty()).then_some(args.packs),
                language: args.language,
                expires_at: args.days.map(|days| state.clock.now() + chrono::Duration::days(i64::from(days))),
            };
            let issued = state.tokens.token_issue(args.tenant, new, &Actor::shell()).await?;
            show(&issued, out)
        }
        TokenCommand::List { tenant } => {
            let list = state.tokens.token_list(tenant).await?;
            let day = |at: Option<chrono::DateTime<chrono::Utc>>| at.map(|at| at.format("%Y-%m-%d %H:%M").to_string()).unwrap_or_default();
            let rows: Vec<Vec<String>> = list
                .iter()
                .map(|token| vec![token.id.to_string(), token.name.clone(), token.hint.clone(), day(token.last_used_at), day(token.expires_at), day(token.revoked_at)])
                .collect();
            out.table(&["id", "name", "token", "last used", "expires", "revoked"], &rows, &Value::Array(list.iter().map(shown).collect()))
        }
        TokenCommand::Rotate { tenant, id, grace_s } => {
            let issued = state.tokens.token_rotate(tenant, id, grace_s, &Actor::shell()).await?;
            show(&issued, out)
        }
        TokenCommand::Revoke { tenant, id } => {
            state.tokens.token_revoke(tenant, id, &Actor::shell()).await?;
            out.say(&format!("token {id} is revoked; a running service follows within seconds"), &json!({ "id": id, "revoked": true }))
        }
    }
}

fn show(issued: &IssuedToken, out: Out) -> anyhow::Result<()> {
    let token = issued.token.expose_secret();
    out.say(&format!("{token}\n\nThis token is shown only now. Keep it as you would a password."), &json!({ "id": issued.id, "token": token }))
}

fn shown(token: &TokenView) -> Value {
    json!({
        "id": token.id, "name": token.name, "hint": token.hint, "packs": token.packs, "created_at": token.created_at,
        "expires_at": token.expires_at, "revoked_at": token.revoked_at, "last_used_at": token.last_used_at,
    })
}
