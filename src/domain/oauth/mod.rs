//! The authorization server: which programs may ask to be let in, what a member allows them, and the tokens that come of it.
//!
//! A program is known because it registered itself (`applications.rs`), because the operator registered it, or by a document at the address that is
//! its id (`documents.rs`). It sends a browser here with a request (`requests.rs`), a member answers it (`consent.rs`), and what they allow is a
//! *grant* (`grants.rs`). A grant is changed for tokens (`exchange.rs`), and only `domain/tokens` makes a `Caller` of one.
//!
//! Rules: OAuth 2.1, RFC 7591 (registration), 7636 (PKCE, S256 only), 8707 (resource), 9207 (`iss`), and what the MCP authorization specification
//! of 2026-07-28 adds to them. Scopes are the names of packs.

use sea_orm::{DatabaseConnection, DbErr};

use super::tenants::{TenantError, Tenants};
use super::tokens::Tokens;
use crate::clock::Clock;
use crate::odoo::AddressPolicy;

mod applications;
mod consent;
mod documents;
mod exchange;
mod grants;
mod inspect;
mod redirects;
mod requests;
mod scopes;

pub use applications::{Application, ApplicationKind, ApplicationView, NewApplication, NewRegistration, Registered, SecretWay};
pub use consent::{Asked, Choice, DAYS_CHOICES};
pub use exchange::{ClientProof, Issued};
pub use grants::GrantView;
pub(super) use grants::revoke_of_member;
pub use inspect::Inspected;
pub use requests::{AuthorizeFault, AuthorizeQuery, Begun};
pub use scopes::OFFLINE;
pub(super) use scopes::list;

/// How an access token begins.
pub const ACCESS_PREFIX: &str = "dunet_oat_";
/// How a refresh token begins.
pub const REFRESH_PREFIX: &str = "dunet_ort_";
/// How a code begins.
const CODE_PREFIX: &str = "dunet_oac_";
/// How the id of a program begins that has no document.
const APPLICATION_PREFIX: &str = "dunet_app_";
/// How a program's secret begins.
const SECRET_PREFIX: &str = "dunet_ocs_";
/// An access token works for so long, seconds.
pub const ACCESS_S: i64 = 3_600;

/// What went wrong, by the words of RFC 6749, 7591 and 8707.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Something is missing, repeated or not of its form.
    InvalidRequest,
    /// Nobody we know, or not with that secret.
    InvalidClient,
    /// A code or token that is not good (any more), or not for this program.
    InvalidGrant,
    /// This program may not do that.
    UnauthorizedClient,
    /// There is no such way here.
    UnsupportedGrantType,
    /// None of the scopes is one of ours.
    InvalidScope,
    /// Tokens for that are not made here.
    InvalidTarget,
    /// An address that a program may not send people to.
    InvalidRedirectUri,
    /// A registration that does not make sense.
    InvalidClientMetadata,
    /// Not now.
    TemporarilyUnavailable,
}

impl Fault {
    /// As it is sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// What a program or a person is told.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// A refusal, with a sentence for developers.
    #[error("{}: {about}", fault.as_str())]
    Refused {
        /// Which.
        fault: Fault,
        /// Why.
        about: &'static str,
    },
    /// There is no such request, grant or program (any more), or it is somebody else's.
    #[error("no such {0}")]
    Unknown(&'static str),
    /// The tenant.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// The database.
    #[error("database: {0}")]
    Db(#[from] DbErr),
    /// The machine (randomness).
    #[error("{0}")]
    Machine(&'static str),
}

fn refused(fault: Fault, about: &'static str) -> OAuthError {
    OAuthError::Refused { fault, about }
}

/// The operations of the authorization server. Cheap to clone.
#[derive(Clone)]
pub struct OAuth {
    db: DatabaseConnection,
    clock: Clock,
    tenants: Tenants,
    tokens: Tokens,
    documents: documents::Documents,
    /// Every pack there is, in the order pages show them.
    packs: &'static [&'static str],
}

impl OAuth {
    /// Over that database; `packs` are the names of the scopes, and programs' documents are fetched by that policy.
    #[must_use]
    pub fn new(db: DatabaseConnection, clock: Clock, tenants: Tenants, tokens: Tokens, packs: &'static [&'static str], policy: AddressPolicy) -> Self {
        Self { documents: documents::Documents::new(policy), db, clock, tenants, tokens, packs }
    }

    /// The packs there are, which are the scopes.
    #[must_use]
    pub fn packs(&self) -> &'static [&'static str] {
        self.packs
    }

    /// Forgets requests and codes that ended, tokens that can no longer tell anything, grants that nobody took up, and programs that registered
    /// themselves and were never used.
    ///
    /// # Errors
    /// The database.
    pub async fn prune(&self) -> Result<(), DbErr> {
        self.requests_prune().await?;
        self.tokens_prune().await?;
        self.grants_prune().await?;
        self.applications_prune().await
    }
}
