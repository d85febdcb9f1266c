//! Who is signed in, and what that proves: [`User`] and, through it, [`Operator`] and [`TenantAccess`]. Only `sessions.rs` makes a [`User`].

use std::sync::Arc;

use crate::domain::audit::Actor;
use crate::domain::operator_keys::KeyHolder;
use crate::ids::{TenantId, UserId};
use crate::text::Language;

/// What somebody is to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs it and sees all tenants.
    Operator,
    /// Belongs to tenants.
    Member,
}

impl Role {
    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Member => "member",
        }
    }

    /// From storage; anything unknown is the weaker one.
    pub(super) fn parse(text: &str) -> Self {
        if text == "operator" { Self::Operator } else { Self::Member }
    }
}

/// What somebody may do with a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Looks.
    Viewer,
    /// Changes.
    Owner,
    /// Runs the service: changes what owners may not (plan, status) too.
    Operator,
}

impl Level {
    /// As stored; operators have no membership.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Owner => "owner",
            Self::Operator => "operator",
        }
    }

    /// From storage; anything unknown is the weakest one.
    pub(super) fn of_membership(text: &str) -> Self {
        if text == "owner" { Self::Owner } else { Self::Viewer }
    }
}

/// A tenant that somebody belongs to.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Which.
    pub tenant: TenantId,
    /// Its name.
    pub tenant_name: String,
    /// As what.
    pub level: Level,
}

/// Proof that somebody is signed in. Only [`super::Users`] makes one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct User {
    pub(super) inner: Arc<UserInner>,
}

#[derive(Debug)]
pub(super) struct UserInner {
    pub(super) id: UserId,
    pub(super) email: String,
    pub(super) name: String,
    pub(super) language: Language,
    pub(super) role: Role,
    pub(super) memberships: Vec<Membership>,
    pub(super) session: String,
    pub(super) version: i32,
    pub(super) second_factor: bool,
    pub(super) must_enrol: bool,
}

impl User {
    /// Who.
    #[must_use]
    pub fn id(&self) -> UserId {
        self.inner.id
    }

    /// In lower case.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.inner.email
    }

    /// As they call themselves.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The language of their pages.
    #[must_use]
    pub fn language(&self) -> Language {
        self.inner.language
    }

    /// What they are to the service.
    #[must_use]
    pub fn role(&self) -> Role {
        self.inner.role
    }

    /// The tenants they belong to, by name; none for operators.
    #[must_use]
    pub fn memberships(&self) -> &[Membership] {
        &self.inner.memberships
    }

    /// Which of their sessions this is: its hash.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.inner.session
    }

    /// Counts edits of the account.
    #[must_use]
    pub fn version(&self) -> i32 {
        self.inner.version
    }

    /// Whether they sign in with a second factor.
    #[must_use]
    pub fn second_factor(&self) -> bool {
        self.inner.second_factor
    }

    /// Whether they must set a second factor up before anything else: no other proof is given until they have.
    #[must_use]
    pub fn must_enrol(&self) -> bool {
        self.inner.must_enrol
    }

    /// Who a change is written down under.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor(self.inner.email.clone())
    }

    /// The proof of being an operator, if they are one.
    #[must_use]
    pub fn operator(&self) -> Option<Operator> {
        (self.inner.role == Role::Operator && !self.inner.must_enrol).then(|| Operator { user: self.clone() })
    }

    /// The proof that they may see that tenant, if they may. An operator may see all; whether there is such a tenant is not asked here.
    #[must_use]
    pub fn access(&self, tenant: TenantId) -> Option<TenantAccess> {
        let level = match self.inner.role {
            Role::Operator if self.inner.must_enrol => return None,
            Role::Operator => Level::Operator,
            Role::Member => self.inner.memberships.iter().find(|membership| membership.tenant == tenant)?.level,
        };
        Some(TenantAccess { user: self.clone(), tenant, level })
    }
}

/// Proof that an operator acts.
#[derive(Clone, Debug)]
pub struct Operator {
    user: User,
}

impl Operator {
    /// Who.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// Who a change is written down under.
    #[must_use]
    pub fn actor(&self) -> Actor {
        self.user.actor()
    }
}

/// Proof that an operator acts: the person, or a program of theirs. Both hold a proof already; this is either.
#[derive(Clone, Debug)]
pub enum AnyOperator {
    /// A program, by its API key.
    Key(KeyHolder),
    /// A person, by their session.
    Session(Operator),
}

impl AnyOperator {
    /// Who a change is written down under.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match self {
            Self::Key(holder) => holder.actor(),
            Self::Session(operator) => operator.actor(),
        }
    }

    /// Whose account it is; a program has none.
    #[must_use]
    pub fn account(&self) -> Option<UserId> {
        match self {
            Self::Key(_) => None,
            Self::Session(operator) => Some(operator.user().id()),
        }
    }
}

impl From<&Operator> for AnyOperator {
    fn from(operator: &Operator) -> Self {
        Self::Session(operator.clone())
    }
}

/// Proof that somebody may see a tenant.
#[derive(Clone, Debug)]
pub struct TenantAccess {
    user: User,
    tenant: TenantId,
    level: Level,
}

impl TenantAccess {
    /// Which tenant.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Who.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// What they may do.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether they decide in the company's name: an owner of it does; a viewer does not, and neither does the operator, who is not of the company.
    #[must_use]
    pub fn decides(&self) -> bool {
        self.level == Level::Owner
    }

    /// Whether they may change things.
    #[must_use]
    pub fn may_change(&self) -> bool {
        self.level >= Level::Owner
    }

    /// Who a change is written down under.
    #[must_use]
    pub fn actor(&self) -> Actor {
        self.user.actor()
    }
}
