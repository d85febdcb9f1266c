//! One-time links: the first operator's, an invitation, a new password. The text is shown once to whoever made it; stored is its hash. It works
//! once and not for long.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QuerySelect};
use secrecy::SecretString;
use serde_json::json;

use super::{Level, NewSession, NewUser, Role, SessionFrom, User, UserError, Users, checked_email, invalid, secret_hash, secret_make, secret_shaped};
use crate::db::{
    self,
    entities::{clients, memberships, user_links, users},
};
use crate::domain::audit::{self, Actor, Change};
use crate::ids::{TenantId, UserId};
use crate::text::Language;

/// How long links work, hours.
const FIRST_HOURS: i64 = 24;
const RESET_HOURS: i64 = 1;
const INVITE_HOURS: i64 = 7 * 24;
const CONFIRM_HOURS: i64 = 48;
/// A forgotten password is written about so often at most, minutes.
const RESET_EVERY_MINUTES: i64 = 5;

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPurpose {
    /// Makes the first operator.
    First,
    /// Makes an account, or lets an account into a tenant.
    Invite,
    /// Sets a password.
    Reset,
    /// Confirms the address of somebody who signs up.
    Confirm,
    /// Changes somebody's address to the one it was sent to.
    Email,
}

impl LinkPurpose {
    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Invite => "invite",
            Self::Reset => "reset",
            Self::Confirm => "confirm",
            Self::Email => "email",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::First, Self::Invite, Self::Reset, Self::Confirm, Self::Email].into_iter().find(|purpose| purpose.as_str() == text)
    }

    fn hours(self) -> i64 {
        match self {
            Self::First => FIRST_HOURS,
            Self::Invite => INVITE_HOURS,
            Self::Reset => RESET_HOURS,
            Self::Confirm | Self::Email => CONFIRM_HOURS,
        }
    }
}

/// A link about to be made.
#[derive(Clone, Debug)]
pub enum NewLink {
    /// For whoever holds it, while there is no operator.
    First,
    /// Another operator.
    InviteOperator {
        /// Whom.
        email: String,
    },
    /// Somebody of a tenant.
    InviteMember {
        /// Of which.
        tenant: TenantId,
        /// Whom.
        email: String,
        /// As what: owner or viewer.
        level: Level,
    },
    /// A new password.
    Reset {
        /// Whose.
        user: UserId,
    },
    /// Whether the address of somebody who signs up is theirs.
    Confirm {
        /// Whose.
        user: UserId,
    },
    /// Whether somebody's new address is theirs.
    Email {
        /// Whose.
        user: UserId,
        /// The new one.
        email: String,
    },
}

/// A link for a letter, and where the letter goes: the address as it is kept, never as somebody typed it.
#[derive(Debug)]
pub struct Addressed {
    /// Where to.
    pub email: String,
    /// The text of the link.
    pub link: SecretString,
}

/// A link that works, as its page shows it.
#[derive(Clone, Debug)]
pub struct LinkView {
    /// What for.
    pub purpose: LinkPurpose,
    /// Whose it is; none lets them say.
    pub email: Option<String>,
    /// Into which tenant it invites.
    pub tenant_name: Option<String>,
    /// Whether there is an account already: an invitation is then taken by its owner, signed in.
    pub account: bool,
    /// Its end.
    pub expires_at: DateTime<Utc>,
}

/// What somebody gives who uses a link.
pub struct Joining {
    /// E-mail address, where the link does not say it.
    pub email: Option<String>,
    /// As they call themselves; not asked for a new password.
    pub name: Option<String>,
    /// The language of their pages.
    pub language: Language,
    /// The password they choose.
    pub password: SecretString,
}

impl Users {
    /// Makes a link and gives its text, which is not kept.
    ///
    /// # Errors
    /// A bad address, no such tenant or person, or the database.
    pub async fn link_make(&self, new: NewLink, actor: &Actor) -> Result<SecretString, UserError> {
        let transaction = db::begin_write(&self.db).await?;
        let secret = self.link_add(&transaction, new, actor).await?;
        transaction.commit().await?;
        Ok(secret)
    }

    /// Makes an invitation, and says where its letter goes.
    ///
    /// # Errors
    /// It is no invitation, a bad address, no such tenant, or the database.
    pub async fn invite(&self, new: NewLink, actor: &Actor) -> Result<Addressed, UserError> {
        let email = match &new {
            NewLink::InviteOperator { email } | NewLink::InviteMember { email, .. } => checked_email(email)?,
            NewLink::First | NewLink::Reset { .. } | NewLink::Confirm { .. } | NewLink::Email { .. } => return Err(UserError::Unknown("invitation")),
        };
        Ok(Addressed { link: self.link_make(new, actor).await?, email })
    }

    pub(super) async fn link_add(&self, transaction: &DatabaseTransaction, new: NewLink, actor: &Actor) -> Result<SecretString, UserError> {
        let (secret, hash) = secret_make()?;
        let now = self.clock.now();
        let (purpose, user, tenant, email, role) = match new {
            NewLink::First => (LinkPurpose::First, None, None, None, Some(Role::Operator.as_str())),
            NewLink::InviteOperator { email } => (LinkPurpose::Invite, None, None, Some(checked_email(&email)?), Some(Role::Operator.as_str())),
            NewLink::InviteMember { tenant, email, level } => {
                if level == Level::Operator {
                    return Err(invalid("role", "role"));
                }
                (LinkPurpose::Invite, None, Some(tenant), Some(checked_email(&email)?), Some(level.as_str()))
            }
            NewLink::Reset { user } => (LinkPurpose::Reset, Some(user), None, None, None),
            NewLink::Confirm { user } => (LinkPurpose::Confirm, Some(user), None, None, None),
            NewLink::Email { user, email } => (LinkPurpose::Email, Some(user), None, Some(checked_email(&email)?), None),
        };
        let row = user_links::Model {
            hash,
            purpose: purpose.as_str().to_owned(),
            user_id: user.map(UserId::uuid),
            client_id: tenant.map(TenantId::uuid),
            email: email.clone(),
            role: role.map(str::to_owned),
            made_by: actor.0.clone(),
            expires_at: now + chrono::Duration::hours(purpose.hours()),
            used_at: None,
            created_at: now,
        };
        if let Some(tenant) = tenant {
            clients::Entity::find_by_id(tenant.uuid()).one(transaction).await?.ok_or(UserError::Unknown("tenant"))?;
        }
        if let Some(user) = user {
            users::Entity::find_by_id(user.uuid()).one(transaction).await?.ok_or(UserError::Unknown("user"))?;
        }
        // One at a time: a newer link takes the place of the older ones for the same.
        let same = user_links::Entity::delete_many().filter(user_links::Column::Purpose.eq(purpose.as_str())).filter(user_links::Column::UsedAt.is_null());
        let same = match (user, tenant) {
            (Some(user), _) => same.filter(user_links::Column::UserId.eq(user.uuid())),
            (None, Some(tenant)) => same.filter(user_links::Column::ClientId.eq(tenant.uuid())).filter(user_links::Column::Email.eq(email.clone())),
            (None, None) => same.filter(user_links::Column::ClientId.is_null()).filter(match &email {
                Some(email) => user_links::Column::Email.eq(email.clone()),
                None => user_links::Column::Email.is_null(),
            }),
        };
        same.exec(transaction).await?;
        row.into_active_model().insert(transaction).await?;
        let after = json!({ "purpose": purpose.as_str(), "email": email, "role": role });
        let subject = user.map_or_else(|| email.clone().unwrap_or_default(), |user| user.to_string());
        audit::record(transaction, &self.clock, actor, Change { tenant, action: "link.make", subject, before: None, after: Some(after) }).await?;
        Ok(secret)
    }

    /// A link that makes the first operator; none when there is one.
    ///
    /// # Errors
    /// The database.
    pub async fn first_link(&self) -> Result<Option<SecretString>, UserError> {
        if !self.no_operator().await? {
            return Ok(None);
        }
        self.link_make(NewLink::First, &Actor::service()).await.map(Some)
    }

    /// What a link is for; none when it does not work (any more).
    ///
    /// # Errors
    /// The database.
    pub async fn link_look(&self, text: &str) -> Result<Option<LinkView>, UserError> {
        if !secret_shaped(text) {
            return Ok(None);
        }
        let Some(link) = user_links::Entity::find_by_id(secret_hash(text)).one(&self.db).await? else { return Ok(None) };
        let Some(purpose) = self.works(&link) else { return Ok(None) };
        if purpose == LinkPurpose::First && !self.no_operator().await? {
            return Ok(None);
        }
        let tenant_name = match link.client_id {
            Some(id) => clients::Entity::find_by_id(id).one(&self.db).await?.map(|tenant| tenant.name),
            None => None,
        };
        let owner = match (link.user_id, &link.email) {
            (Some(id), _) => users::Entity::find_by_id(id).one(&self.db).await?,
            (None, Some(email)) => users::Entity::find().filter(users::Column::Email.eq(email.clone())).one(&self.db).await?,
            (None, None) => None,
        };
        let account = owner.is_some();
        // What a change of address is about is the new one.
        let email = link.email.or(owner.map(|owner| owner.email));
        Ok(Some(LinkView { purpose, email, tenant_name, account, expires_at: link.expires_at }))
    }

    /// Uses a link: the account is there, its password is the one given, and its owner is signed in.
    ///
    /// # Errors
    /// The link does not work, a value that is not acceptable, or the database. The link still works then.
    pub async fn link_use(&self, text: &str, joining: Joining, from: &SessionFrom) -> Result<NewSession, UserError> {
        let view = self.link_look(text).await?.ok_or(UserError::Unknown("link"))?;
        if matches!(view.purpose, LinkPurpose::Confirm | LinkPurpose::Email) {
            return Err(UserError::Unknown("link"));
        }
        if view.purpose == LinkPurpose::Invite && view.account {
            return Err(invalid("email", "email_taken"));
        }
        let email = match (&view.email, &joining.email) {
            (Some(email), _) => email.clone(),
            (None, Some(email)) => checked_email(email)?,
            (None, None) => return Err(invalid("email", "email")),
        };
        let hash = self.passwords.choose(&joining.password, &email).await?;
        let transaction = db::begin_write(&self.db).await?;
        let link = self.link_take(&transaction, text).await?;
        let (user, done) = match view.purpose {
            LinkPurpose::Confirm | LinkPurpose::Email => return Err(UserError::Unknown("link")),
            LinkPurpose::Reset => self.password_set(&transaction, &link, hash).await?,
            LinkPurpose::First | LinkPurpose::Invite => {
                // Two people with two links, or the shell meanwhile: there is one first operator.
                if view.purpose == LinkPurpose::First && operators(&transaction).await? > 0 {
                    return Err(UserError::Unknown("link"));
                }
                let role = if link.client_id.is_none() && link.role.as_deref() == Some(Role::Operator.as_str()) { Role::Operator } else { Role::Member };
                let new = NewUser { email: email.clone(), name: joining.name, role, language: joining.language, password: None };
                let row = self.insert(&transaction, &email, &new, Some(hash), "active", &Actor(email.clone())).await?;
                self.membership_add(&transaction, &link, row.id.into(), &Actor(email)).await?;
                (row.id.into(), true)
            }
        };
        let session = self.session_begin(&transaction, user, from, done).await?;
        transaction.commit().await?;
        Ok(session)
    }

    /// Takes an invitation into a tenant with the account one has.
    ///
    /// # Errors
    /// The link does not work or invites somebody else, or the database.
    pub async fn link_join(&self, text: &str, user: &User) -> Result<TenantId, UserError> {
        let view = self.link_look(text).await?.ok_or(UserError::Unknown("link"))?;
        if view.purpose != LinkPurpose::Invite || view.email.as_deref() != Some(user.email()) || user.role() == Role::Operator {
            return Err(UserError::Unknown("link"));
        }
        let transaction = db::begin_write(&self.db).await?;
        let link = self.link_take(&transaction, text).await?;
        let tenant = link.client_id.ok_or(UserError::Unknown("link"))?;
        self.membership_add(&transaction, &link, user.id(), &user.actor()).await?;
        transaction.commit().await?;
        Ok(tenant.into())
    }

    /// A link for somebody who forgot their password, and the language of their letter; none where there is nobody who may sign in under that
    /// address, or a link was made a moment ago. Whoever asks must not be told which.
    ///
    /// # Errors
    /// The database.
    pub async fn reset_ask(&self, email: &str) -> Result<Option<(Addressed, Language)>, UserError> {
        let transaction = db::begin_write(&self.db).await?;
        let active = users::Entity::find().filter(users::Column::Email.eq(super::normal_email(email))).filter(users::Column::Status.eq("active"));
        // Nobody changes the address between here and the link.
        let Some(user) = active.lock_exclusive().one(&transaction).await? else { return Ok(None) };
        let since = self.clock.now() - chrono::Duration::minutes(RESET_EVERY_MINUTES);
        let recent = user_links::Entity::find()
            .filter(user_links::Column::UserId.eq(user.id))
            .filter(user_links::Column::Purpose.eq(LinkPurpose::Reset.as_str()))
            .filter(user_links::Column::CreatedAt.gt(since));
        if recent.count(&transaction).await? > 0 {
            return Ok(None);
        }
        let link = self.link_add(&transaction, NewLink::Reset { user: user.id.into() }, &Actor::service()).await?;
        transaction.commit().await?;
        Ok(Some((Addressed { email: user.email, link }, user.language.parse().unwrap_or_default())))
    }

    fn works(&self, link: &user_links::Model) -> Option<LinkPurpose> {
        (link.used_at.is_none() && link.expires_at > self.clock.now()).then(|| LinkPurpose::parse(&link.purpose)).flatten()
    }

    /// Marks a link as used. Of two that use it at once, one finds it used.
    pub(super) async fn link_take(&self, transaction: &DatabaseTransaction, text: &str) -> Result<user_links::Model, UserError> {
        let hash = secret_hash(text);
        let now = self.clock.now();
        let taken = user_links::Entity::update_many()
            .col_expr(user_links::Column::UsedAt, sea_orm::sea_query::Expr::value(now))
            .filter(user_links::Column::Hash.eq(hash.clone()))
            .filter(user_links::Column::UsedAt.is_null())
            .filter(user_links::Column::ExpiresAt.gt(now))
            .exec(transaction)
            .await?;
        if taken.rows_affected != 1 {
            return Err(UserError::Unknown("link"));
        }
        user_links::Entity::find_by_id(hash).one(transaction).await?.ok_or(UserError::Unknown("link"))
    }

    /// A new password by a link: whoever was signed in is not any more, and a lock is opened, unless a second factor is still to be shown:
    /// links must not be fresh guesses at it. Answers also whether the session may open at once.
    async fn password_set(&self, transaction: &DatabaseTransaction, link: &user_links::Model, hash: String) -> Result<(UserId, bool), UserError> {
        let id = link.user_id.ok_or(UserError::Unknown("link"))?;
        let mut user = super::locked(transaction, id.into()).await.map_err(|_| UserError::Unknown("link"))?;
        // A disabled account is opened by an operator, not by a link that was made before.
        if user.status == "disabled" {
            return Err(UserError::Unknown("link"));
        }
        user.password_hash = Some(hash);
        "active".clone_into(&mut user.status);
        let done = user.totp_confirmed_at.is_none();
        if done {
            user.failed_signins = 0;
            user.locked_until = None;
        }
        user.updated_at = self.clock.now();
        let actor = Actor(user.email.clone());
        user.into_active_model().reset_all().update(transaction).await?;
        self.sessions_end(transaction, id.into(), None).await?;
        let change = Change { tenant: None, action: "user.password", subject: id.to_string(), before: None, after: Some(json!({ "by": "link" })) };
        audit::record(transaction, &self.clock, &actor, change).await?;
        Ok((id.into(), done))
    }

    async fn membership_add(&self, transaction: &DatabaseTransaction, link: &user_links::Model, user: UserId, actor: &Actor) -> Result<(), UserError> {
        let Some(tenant) = link.client_id else { return Ok(()) };
        let level = link.role.as_deref().map_or(Level::Viewer, Level::of_membership);
        let there = memberships::Entity::find().filter(memberships::Column::ClientId.eq(tenant)).filter(memberships::Column::UserId.eq(user.uuid())).one(transaction).await?;
        if there.is_some() {
            return Ok(());
        }
        let row = memberships::Model {
            id: uuid::Uuid::now_v7(),
            client_id: tenant,
            user_id: user.uuid(),
            role: level.as_str().to_owned(),
            created_at: self.clock.now(),
            odoo_login: None,
            odoo_secret_sealed: None,
            odoo_saved_at: None,
        };
        row.into_active_model().insert(transaction).await?;
        let after = json!({ "user": user, "role": level.as_str() });
        audit::record(transaction, &self.clock, actor, Change { tenant: Some(tenant.into()), action: "member.add", subject: user.to_string(), before: None, after: Some(after) })
            .await?;
        Ok(())
    }
}

async fn operators(transaction: &DatabaseTransaction) -> Result<u64, UserError> {
    let active = users::Entity::find().filter(users::Column::Role.eq(Role::Operator.as_str())).filter(users::Column::Status.eq("active"));
    Ok(active.count(transaction).await?)
}
