//! What a program asks for, kept until a person answers. It belongs to the browser that began it, and then to the first person who looks at it: an
//! address that somebody else opens begins a request of theirs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Set};
use url::Url;

use super::applications::{Application, hash};
use super::redirects::{back, fits};
use super::{Fault, OAuth, OAuthError};
use crate::db::{self, entities::oauth_requests};
use crate::domain::users::User;
use crate::ids::AuthorizationId;

/// A person has so long to answer, minutes; time enough to sign in with a second factor.
const REQUEST_MIN: i64 = 15;
/// Requests kept at once; the oldest make room.
const REQUESTS_MAX: u64 = 10_000;
/// The longest `state`, bytes.
const STATE_BYTES_MAX: usize = 2_000;
/// The longest list of parameters, bytes.
const QUERY_BYTES_MAX: usize = 8_192;
/// Bytes of a challenge: a SHA-256.
const CHALLENGE_BYTES: usize = 32;

/// The parameters of an authorization request, as a browser brings them.
#[derive(Clone, Debug, Default)]
pub struct AuthorizeQuery {
    client_id: String,
    redirect_uri: Option<String>,
    response_type: Option<String>,
    state: Option<String>,
    scope: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
    resource: Option<String>,
    prompt: Option<String>,
    response_mode: Option<String>,
}

impl AuthorizeQuery {
    /// Reads them; none when one stands twice (RFC 6749 §3.1), or there is too much.
    #[must_use]
    pub fn parse(query: &str) -> Option<Self> {
        if query.len() > QUERY_BYTES_MAX {
            return None;
        }
        let mut read = Self::default();
        let mut client_id = None;
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let slot = match &*name {
                "client_id" => &mut client_id,
                "redirect_uri" => &mut read.redirect_uri,
                "response_type" => &mut read.response_type,
                "state" => &mut read.state,
                "scope" => &mut read.scope,
                "code_challenge" => &mut read.code_challenge,
                "code_challenge_method" => &mut read.code_challenge_method,
                "resource" => &mut read.resource,
                "prompt" => &mut read.prompt,
                "response_mode" => &mut read.response_mode,
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        read.client_id = client_id?;
        Some(read)
    }
}

/// Why a request gets a page and not a redirect: it is not known yet whose browser it is.
#[derive(Debug, PartialEq, Eq)]
pub enum AuthorizeFault {
    /// Nobody knows that program (any more).
    Program,
    /// Its document is not to be had, or is not one.
    Document(&'static str),
    /// The address to go back to is not one of its own.
    Redirect,
}

/// What became of a request.
#[derive(Debug)]
pub enum Begun {
    /// It is kept: a person has to answer.
    Asked(AuthorizationId),
    /// The browser goes back with an error.
    Back(String),
    /// It stays here.
    Stays(AuthorizeFault),
}

impl OAuth {
    /// Looks at a request and keeps it. `browser` is the cookie that ties it to its browser.
    ///
    /// # Errors
    /// The database.
    pub async fn authorize_begin(&self, query: &AuthorizeQuery, browser: &str, issuer: &str, resource: &str) -> Result<Begun, OAuthError> {
        let application = match self.application_find(&query.client_id).await {
            Ok(application) => application,
            Err(OAuthError::Refused { about, .. }) if query.client_id.starts_with("http") => return Ok(Begun::Stays(AuthorizeFault::Document(about))),
            Err(OAuthError::Refused { .. }) => return Ok(Begun::Stays(AuthorizeFault::Program)),
            Err(other) => return Err(other),
        };
        let redirect_uri = match (&query.redirect_uri, application.redirect_uris.as_slice()) {
            (Some(uri), known) if fits(known, uri) => uri.clone(),
            (None, [only]) => only.clone(),
            _ => return Ok(Begun::Stays(AuthorizeFault::Redirect)),
        };
        match self.checked(query, &application, resource) {
            Ok((packs, offline)) => {
                let now = self.clock.now();
                let row = oauth_requests::Model {
                    // Random, not by time: it stands in an address.
                    id: uuid::Uuid::new_v4(),
                    browser_hash: hash(browser),
                    user_id: None,
                    identifier: application.identifier,
                    redirect_uri,
                    state: query.state.clone(),
                    challenge: query.code_challenge.clone().unwrap_or_default(),
                    packs,
                    refreshes: offline || application.refreshes,
                    resource: resource.to_owned(),
                    expires_at: now + chrono::Duration::minutes(REQUEST_MIN),
                    created_at: now,
                };
                let id = AuthorizationId::from(row.id);
                self.request_keep(row).await?;
                Ok(Begun::Asked(id))
            }
            Err((error, about)) => {
                let state = query.state.as_deref().filter(|state| state.len() <= STATE_BYTES_MAX);
                Ok(Begun::Back(back(&redirect_uri, &[("error", Some(error)), ("error_description", Some(about)), ("state", state), ("iss", Some(issuer))])))
            }
        }
    }

    /// What is asked for, or the error that goes back.
    fn checked(&self, query: &AuthorizeQuery, application: &Application, resource: &str) -> Result<(String, bool), (&'static str, &'static str)> {
        let invalid = |about| Err((Fault::InvalidRequest.as_str(), about));
        if application.machine {
            return Err((Fault::UnauthorizedClient.as_str(), "this client works without people"));
        }
        if query.response_type.as_deref() != Some("code") {
            return Err(("unsupported_response_type", "response_type must be code"));
        }
        if query.response_mode.as_deref().is_some_and(|mode| mode != "query") {
            return invalid("response_mode must be query");
        }
        if query.state.as_ref().is_some_and(|state| state.len() > STATE_BYTES_MAX) {
            return invalid("state is too long");
        }
        // RFC 7636 §4.3: without a method it would be plain, which proves nothing to whoever sees the request.
        if query.code_challenge_method.as_deref() != Some("S256") {
            return invalid("code_challenge_method must be S256");
        }
        let challenge = query.code_challenge.as_deref().unwrap_or_default();
        if URL_SAFE_NO_PAD.decode(challenge).map_or(0, |raw| raw.len()) != CHALLENGE_BYTES {
            return invalid("code_challenge must be the base64url of a SHA-256");
        }
        if !query.resource.as_deref().is_none_or(|wanted| same_resource(wanted, resource)) {
            return Err((Fault::InvalidTarget.as_str(), "this server makes tokens for its own MCP address only"));
        }
        if query.prompt.as_deref() == Some("none") {
            return Err(("interaction_required", "a person has to answer"));
        }
        let wanted = self.scopes_read(query.scope.as_deref()).map_err(|_| (Fault::InvalidScope.as_str(), "none of these scopes is one of ours"))?;
        Ok((wanted.packs.join(" "), wanted.offline))
    }

    async fn request_keep(&self, row: oauth_requests::Model) -> Result<(), OAuthError> {
        let transaction = db::begin_write(&self.db).await?;
        if oauth_requests::Entity::find().count(&transaction).await? >= REQUESTS_MAX {
            let oldest: Option<uuid::Uuid> = oauth_requests::Entity::find()
                .select_only()
                .column(oauth_requests::Column::Id)
                .order_by_asc(oauth_requests::Column::CreatedAt)
                .limit(1)
                .into_tuple()
                .one(&transaction)
                .await?;
            if let Some(oldest) = oldest {
                oauth_requests::Entity::delete_by_id(oldest).exec(&transaction).await?;
            }
        }
        row.into_active_model().insert(&transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// A request that this person may answer in this browser, locked until the transaction ends. The first who looks at it keeps it.
    pub(super) async fn request_take(&self, transaction: &DatabaseTransaction, id: AuthorizationId, browser: &str, user: &User) -> Result<oauth_requests::Model, OAuthError> {
        let unknown = || OAuthError::Unknown("request");
        let row = oauth_requests::Entity::find_by_id(id.uuid()).lock_exclusive().one(transaction).await?.ok_or_else(unknown)?;
        let theirs = row.user_id.is_none_or(|first| first == user.id().uuid());
        if row.expires_at <= self.clock.now() || row.browser_hash != hash(browser) || !theirs {
            return Err(unknown());
        }
        if row.user_id.is_none() {
            let mut update = row.clone().into_active_model();
            update.user_id = Set(Some(user.id().uuid()));
            update.update(transaction).await?;
        }
        Ok(row)
    }

    pub(super) async fn requests_prune(&self) -> Result<(), DbErr> {
        oauth_requests::Entity::delete_many().filter(oauth_requests::Column::ExpiresAt.lt(self.clock.now())).exec(&self.db).await?;
        Ok(())
    }
}

/// Whether two addresses are one resource: scheme and host in any case, with or without the last slash (RFC 8707 §2).
pub(super) fn same_resource(wanted: &str, ours: &str) -> bool {
    let normal = |text: &str| {
        let url = Url::parse(text).ok()?;
        let plain = url.fragment().is_none() && url.query().is_none() && url.username().is_empty() && url.password().is_none();
        plain.then(|| url.as_str().trim_end_matches('/').to_owned())
    };
    normal(wanted).is_some_and(|wanted| normal(ours) == Some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_stands_once() {
        assert_eq!(AuthorizeQuery::parse("client_id=a&x=1&x=2").unwrap().client_id, "a");
        assert!(AuthorizeQuery::parse("client_id=a&client_id=b").is_none());
        assert!(AuthorizeQuery::parse("client_id=a&redirect_uri=x&redirect_uri=y").is_none());
        assert!(AuthorizeQuery::parse("redirect_uri=x").is_none());
        assert!(AuthorizeQuery::parse(&format!("client_id={}", "a".repeat(QUERY_BYTES_MAX))).is_none());
    }

    #[test]
    fn a_resource_is_ours_or_not() {
        let ours = "https://mcp.example.do/mcp";
        for same in [ours, "https://mcp.example.do/mcp/", "HTTPS://MCP.example.do/mcp", "https://mcp.example.do:443/mcp"] {
            assert!(same_resource(same, ours), "{same}");
        }
        for other in [
            "https://mcp.example.do",
            "https://mcp.example.do/",
            "https://mcp.example.do/mcp/token",
            "http://mcp.example.do/mcp",
            "https://evil.com/mcp",
            "https://mcp.example.do/mcp#x",
            "https://mcp.example.do/mcp?x",
            "https://u@mcp.example.do/mcp",
            "mcp",
            "",
        ] {
            assert!(!same_resource(other, ours), "{other}");
        }
    }
}
