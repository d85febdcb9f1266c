//! `dunet oauth client …`: programs that the operator registers, with a secret. (Most programs register themselves, or have a document.)

use clap::Subcommand;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use url::Url;

use super::Out;
use crate::config::Config;
use crate::domain::audit::Actor;
use crate::domain::oauth::{ApplicationView, NewApplication};
use crate::http::places::Places;
use crate::ids::TenantId;

/// What to do.
#[derive(Subcommand, Debug)]
pub enum OAuthCommand {
    /// Programs with a secret.
    #[command(subcommand)]
    Client(ClientCommand),
}

/// What to do with programs.
#[derive(Subcommand, Debug)]
pub enum ClientCommand {
    /// Register a program. Its secret is shown once.
    Add {
        /// For people: what the program is called.
        #[arg(long)]
        name: String,
        /// Where its people go back to; may be given several times.
        #[arg(long, value_name = "URL", required_unless_present = "packs", conflicts_with = "packs")]
        redirect_uri: Vec<String>,
        /// The only tenant it works for. A machine must have one.
        #[arg(long, value_name = "ID")]
        tenant: Option<TenantId>,
        /// A machine: it works without a person (client_credentials), with these packs (comma separated).
        #[arg(long, value_delimiter = ',', requires = "tenant", requires = "public_url")]
        packs: Option<Vec<String>>,
        /// The address clients use: a machine's tokens are made for it.
        #[arg(long, env = "DUNET_PUBLIC_URL", value_name = "URL")]
        public_url: Option<Url>,
    },
    /// List the programs.
    List,
    /// Remove a program and end what it was allowed.
    Remove {
        /// Its client id.
        client_id: String,
    },
}

/// Runs it.
pub(super) async fn run(command: OAuthCommand, config: &Config, out: Out) -> anyhow::Result<()> {
    let oauth = super::open(config).await?.oauth;
    let OAuthCommand::Client(command) = command;
    match command {
        ClientCommand::Add { name, redirect_uri, tenant, packs, public_url } => {
            let resource = public_url.as_ref().map(|url| Places::of(url).resource().to_owned()).unwrap_or_default();
            let made = oauth.application_add(NewApplication { name, redirect_uris: redirect_uri, tenant, machine_packs: packs }, &resource, &Actor::shell()).await?;
            let (id, secret) = (&made.application.identifier, made.secret.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default());
            let text = format!("client id:     {id}\nclient secret: {secret}\n\nThe secret is shown only now.");
            out.say(&text, &json!({ "client_id": id, "client_secret": secret }))
        }
        ClientCommand::List => {
            let list = oauth.application_list().await?;
            let day = |at: Option<chrono::DateTime<chrono::Utc>>| at.map(|at| at.format("%Y-%m-%d %H:%M").to_string()).unwrap_or_default();
            let rows: Vec<Vec<String>> = list
                .iter()
                .map(|client| {
                    let tenant = client.tenant.map(|tenant| tenant.to_string()).unwrap_or_default();
                    vec![client.identifier.clone(), client.name.clone(), tenant, if client.machine { "machine" } else { "people" }.to_owned(), day(client.last_used_at)]
                })
                .collect();
            out.table(&["client id", "name", "tenant", "for", "last used"], &rows, &Value::Array(list.iter().map(shown).collect()))
        }
        ClientCommand::Remove { client_id } => {
            oauth.application_remove(&client_id, &Actor::shell()).await?;
            out.say(&format!("{client_id} is removed, and what it was allowed has ended"), &json!({ "client_id": client_id, "removed": true }))
        }
    }
}

fn shown(client: &ApplicationView) -> Value {
    json!({
        "client_id": client.identifier, "name": client.name, "tenant": client.tenant, "machine": client.machine, "redirect_uris": client.redirect_uris,
        "made_by": client.made_by, "created_at": client.created_at, "last_used_at": client.last_used_at,
    })
}
