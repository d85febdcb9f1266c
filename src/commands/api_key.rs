//! `dunet admin api-key …`: keys of the operators' own programs.

use clap::Subcommand;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::Out;
use crate::domain::audit::Actor;
use crate::domain::operator_keys::KeyView;
use crate::ids::OperatorKeyId;
use crate::state::AppState;

/// What to do with API keys.
#[derive(Subcommand, Debug)]
pub enum ApiKeyCommand {
    /// Make a key. It is shown once.
    Make {
        /// For people: which program uses it.
        #[arg(long)]
        name: String,
        /// Days it works.
        #[arg(long, default_value_t = 365)]
        days: u16,
    },
    /// List the keys.
    List,
    /// Revoke a key at once.
    Revoke {
        /// Which.
        id: OperatorKeyId,
    },
}

/// Runs it.
pub(super) async fn run(command: ApiKeyCommand, state: &AppState, out: Out) -> anyhow::Result<()> {
    let keys = &state.operator_keys;
    match command {
        ApiKeyCommand::Make { name, days } => {
            let made = keys.key_make(&name, days, &Actor::shell()).await?;
            let key = made.key.expose_secret();
            let text = format!("{key}\n\nThis key is shown only now and opens everything an operator may do. Keep it as you would a password.");
            out.say(&text, &json!({ "id": made.id, "key": key, "expires_at": made.expires_at }))
        }
        ApiKeyCommand::List => {
            let list = keys.key_list().await?;
            let day = |at: Option<chrono::DateTime<chrono::Utc>>| at.map(|at| at.format("%Y-%m-%d %H:%M").to_string()).unwrap_or_default();
            let rows: Vec<Vec<String>> = list
                .iter()
                .map(|key| vec![key.id.to_string(), key.name.clone(), key.hint.clone(), day(key.last_used_at), day(Some(key.expires_at)), day(key.revoked_at)])
                .collect();
            out.table(&["id", "name", "key", "last used", "expires", "revoked"], &rows, &Value::Array(list.iter().map(shown).collect()))
        }
        ApiKeyCommand::Revoke { id } => {
            keys.key_revoke(id, &Actor::shell()).await?;
            out.say(&format!("API key {id} is revoked"), &json!({ "id": id, "revoked": true }))
        }
    }
}

fn shown(key: &KeyView) -> Value {
    json!({
        "id": key.id, "name": key.name, "hint": key.hint, "made_by": key.made_by, "created_at": key.created_at,
        "expires_at": key.expires_at, "revoked_at": key.revoked_at, "last_used_at": key.last_used_at,
    })
}
