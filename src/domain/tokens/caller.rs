//! Who calls: the proof, and what it lets them do.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::access::Access;
use crate::domain::tenants::{Permit, PersonalOdoo, PersonalPolicy, Tenant};
use crate::ids::{GrantId, TokenId, UserId};
use crate::text::Language;

/// Proof that a valid token of an active tenant was presented ([`super::Tokens::verify`]), or that an owner of the tenant approves what one asked for
/// ([`super::Tokens::caller_approved`]). Nothing else makes one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(super) inner: Arc<CallerInner>,
}

/// As whom a caller's requests come to the tenant's Odoo.
#[derive(Clone, Copy, Debug)]
pub enum OdooAs<'a> {
    /// As the company's user.
    Company,
    /// As the user that its member stored.
    Member(&'a PersonalOdoo),
    /// As nobody: the company wants a user of its member's own, and they stored none.
    Nobody,
}

#[derive(Debug)]
pub(super) struct CallerInner {
    pub(super) tenant: Tenant,
    pub(super) token: TokenId,
    pub(super) packs: Option<Vec<String>>,
    pub(super) language: Language,
    pub(super) expires_at: Option<DateTime<Utc>>,
    /// Of an access token.
    pub(super) access: Option<Access>,
}

impl Caller {
    /// Whose token it is.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.inner.tenant
    }

    /// Which token it is. Of an access token, its grant: tokens of one grant come and go, and are one agent. (Ids of both are UUIDv7, and never the
    /// same.)
    #[must_use]
    pub fn token(&self) -> TokenId {
        self.inner.token
    }

    /// The grant of an access token; none for API tokens.
    #[must_use]
    pub fn grant(&self) -> Option<GrantId> {
        self.inner.access.as_ref().map(|_| GrantId::from(self.inner.token.uuid()))
    }

    /// In whose name it acts; none for API tokens and machines.
    #[must_use]
    pub fn member(&self) -> Option<UserId> {
        self.inner.access.as_ref().and_then(|access| access.member)
    }

    /// As whom its requests come to the tenant's Odoo. API tokens and machines act for the company.
    #[must_use]
    pub fn odoo_as(&self) -> OdooAs<'_> {
        let Some(access) = self.inner.access.as_ref().filter(|access| access.member.is_some()) else { return OdooAs::Company };
        match (self.inner.tenant.odoo_personal, &access.odoo) {
            (PersonalPolicy::Off, _) | (PersonalPolicy::Allowed, None) => OdooAs::Company,
            (PersonalPolicy::Allowed | PersonalPolicy::Required, Some(own)) => OdooAs::Member(own),
            (PersonalPolicy::Required, None) => OdooAs::Nobody,
        }
    }

    /// Whether it may use tools that write: not in the name of somebody who may only look.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.inner.access.as_ref().is_none_or(|access| !access.reads_only)
    }

    /// The language of its answers.
    #[must_use]
    pub fn language(&self) -> Language {
        self.inner.language
    }

    /// The packs it is limited to; none is all.
    #[must_use]
    pub fn packs(&self) -> Option<&[String]> {
        self.inner.packs.as_deref()
    }

    /// How it may use that tool of those packs; none when it may not.
    #[must_use]
    pub fn permit(&self, tool: &str, packs: &[&str]) -> Option<Permit> {
        if self.outside(packs) { None } else { self.granted(tool) }
    }

    /// Whether only its packs stand between it and that tool, and a person could allow it more: it may ask for a wider grant.
    #[must_use]
    pub fn lacks_pack(&self, tool: &str, packs: &[&str]) -> bool {
        self.inner.access.as_ref().is_some_and(|access| access.member.is_some()) && self.outside(packs) && self.granted(tool).is_some()
    }

    fn outside(&self, packs: &[&str]) -> bool {
        self.inner.packs.as_ref().is_some_and(|own| !packs.iter().any(|pack| own.iter().any(|mine| mine == pack)))
    }

    fn granted(&self, tool: &str) -> Option<Permit> {
        let off = self.inner.access.as_ref().is_some_and(|access| access.tools_off.iter().any(|off| off == tool));
        if off { None } else { self.inner.tenant.permit(tool) }
    }
}
