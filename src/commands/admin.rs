//! `dunet admin …`: the operators of the service.

use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::Url;

use super::api_key::{self, ApiKeyCommand};
use super::{Out, open, watched};
use crate::admin;
use crate::config::Config;
use crate::domain::audit::Actor;
use crate::domain::users::{NewLink, NewUser, Role, UserError, Users};
use crate::text::{Language, text};

/// What to do with operators.
#[derive(Subcommand, Debug)]
pub enum AdminCommand {
    /// Make an operator's account: asks for the password, or prints a one-time link to choose it.
    Create(CreateArgs),
    /// API keys, with which programs of the operators use `/admin/api`.
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
    /// Print a one-time link by which somebody (an operator or a member) chooses a new password.
    Reset {
        /// Whose account.
        #[arg(long)]
        email: String,
        /// The address clients use, for the link.
        #[arg(long, env = "DUNET_PUBLIC_URL", value_name = "URL")]
        public_url: Option<Url>,
    },
}

/// A new operator.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// E-mail address, with which they sign in.
    #[arg(long)]
    email: String,
    /// Their name.
    #[arg(long)]
    name: Option<String>,
    /// es or en.
    #[arg(long, default_value = "es")]
    language: Language,
    /// Print a link instead of asking for a password; so it is also where there is no terminal.
    #[arg(long)]
    link: bool,
    /// The address clients use, for the link.
    #[arg(long, env = "DUNET_PUBLIC_URL", value_name = "URL")]
    public_url: Option<Url>,
}

/// Runs it.
pub(super) async fn run(command: AdminCommand, config: &Config, out: Out) -> anyhow::Result<()> {
    let state = open(config).await?;
    let users = &state.users;
    match command {
        AdminCommand::Create(args) => {
            let password = if args.link || !watched() { None } else { Some(ask()?) };
            let asked = password.is_some();
            let new = NewUser { email: args.email, name: args.name, role: Role::Operator, language: args.language, password };
            let email = new.email.clone();
            let id = users.user_create(new, &Actor::shell()).await.map_err(said)?;
            if asked {
                return out.say(&format!("operator {email} may sign in at {}", admin::SIGN_IN_PATH), &json!({ "id": id }));
            }
            let link = reset_link(users, &email, args.public_url.as_ref()).await?;
            out.say(&format!("operator {email} chooses a password here, within an hour:\n{link}"), &json!({ "id": id, "link": link }))
        }
        AdminCommand::ApiKey(command) => api_key::run(command, &state, out).await,
        AdminCommand::Reset { email, public_url } => {
            let link = reset_link(users, &email, public_url.as_ref()).await?;
            out.say(&format!("{email} chooses a new password here, within an hour:\n{link}"), &json!({ "link": link }))
        }
    }
}

async fn reset_link(users: &Users, email: &str, public_url: Option<&Url>) -> anyhow::Result<String> {
    let user = users.user_by_email(email).await.map_err(said)?;
    let secret = users.link_make(NewLink::Reset { user }, &Actor::shell()).await.map_err(said)?;
    let base = match public_url {
        Some(url) => url.clone(),
        None => Url::parse("http://127.0.0.1:8080")?,
    };
    Ok(admin::link_url(&base, &secret).expose_secret().to_owned())
}

fn ask() -> anyhow::Result<SecretString> {
    let first = zeroize::Zeroizing::new(rpassword::prompt_password("Password (12 characters or more, not shown): ")?);
    let second = zeroize::Zeroizing::new(rpassword::prompt_password("Again: ")?);
    anyhow::ensure!(*first == *second, "the two are not the same");
    Ok(SecretString::from(first.to_string()))
}

/// The page's sentence, for the shell.
fn said(error: UserError) -> anyhow::Error {
    match error {
        UserError::Invalid { field, fault } => anyhow::anyhow!("{field}: {}", text(Language::En, &format!("portal.faults.{fault}"))),
        UserError::Unknown(what) => anyhow::anyhow!("no such {what}"),
        other => anyhow::Error::new(other),
    }
}
