//! Sessions: a signed-in browser has a cookie of 256 random bits; stored is its hash. A session ends by itself when it is not used, after a
//! week at the latest, when its owner ends it, and with every change of the password.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, JoinType, QueryFilter, QueryOrder, QuerySelect};
use secrecy::{ExposeSecret, SecretString};

use super::proofs::UserInner;
use super::{Level, Membership, Role, User, UserError, Users, earlier, seconds, secret_hash, secret_make, secret_shaped};
use crate::db::entities::{clients, memberships, sessions, user_links, users};
use crate::ids::UserId;

/// Sessions of one person; the oldest make room.
const SESSIONS_PER_USER_MAX: u64 = 20;
/// Tenants one person belongs to, as far as pages show them.
const MEMBERSHIPS_PER_USER_MAX: u64 = 200;
/// The last use is written so often at most, seconds.
const SEEN_EVERY_S: i64 = 60;
/// The longest name of a browser that is kept, characters.
const AGENT_CHARS_MAX: usize = 200;
/// Whoever has given the password has so long for the second factor, seconds.
const SECOND_FACTOR_S: u64 = 600;
/// Links are kept so long after their end, days: whoever comes late is told.
const LINKS_KEPT_DAYS: i64 = 30;

/// Where a session is begun.
#[derive(Clone, Debug, Default)]
pub struct SessionFrom {
    /// The client's address.
    pub address: Option<String>,
    /// What the browser calls itself.
    pub agent: Option<String>,
    /// The cookie it came with: that session ends.
    pub previous: Option<SecretString>,
}

/// A session just begun.
pub struct NewSession {
    /// For the cookie; it exists nowhere else.
    pub cookie: SecretString,
    /// Its end at the latest, seconds from now.
    pub max_age_s: u64,
    /// Whether it waits for the second factor and opens nothing until then.
    pub second_factor: bool,
}

/// A session as its owner sees it.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Its hash.
    pub id: String,
    /// Where it was begun.
    pub address: Option<String>,
    /// The browser.
    pub agent: Option<String>,
    /// Begun.
    pub created_at: DateTime<Utc>,
    /// Last used.
    pub last_seen_at: DateTime<Utc>,
}

impl Users {
    /// Who comes with that cookie; nobody when it is none of ours, ended, or its owner may not come in any more.
    ///
    /// # Errors
    /// The database.
    pub async fn session_find(&self, cookie: &str) -> Result<Option<User>, UserError> {
        if secret_shaped(cookie) { self.session_user(secret_hash(cookie), true).await } else { Ok(None) }
    }

    /// The same person as they are now; nobody when their session has ended. It does not count as a use of the session, so that what is open in a
    /// browser does not keep it open for ever.
    ///
    /// # Errors
    /// The database.
    pub async fn session_look(&self, user: &User) -> Result<Option<User>, UserError> {
        self.session_user(user.session().to_owned(), false).await
    }

    async fn session_user(&self, hash: String, used: bool) -> Result<Option<User>, UserError> {
        let found = sessions::Entity::find_by_id(hash).find_also_related(users::Entity).one(&self.db).await?;
        let Some((session, Some(user))) = found else { return Ok(None) };
        let now = self.clock.now();
        if !session.second_factor_done || now >= self.session_end(&session) || user.status != "active" {
            return Ok(None);
        }
        if used && (now - session.last_seen_at).num_seconds() >= SEEN_EVERY_S {
            let seen = sessions::Entity::update_many().col_expr(sessions::Column::LastSeenAt, sea_orm::sea_query::Expr::value(now));
            seen.filter(sessions::Column::Hash.eq(session.hash.clone())).exec(&self.db).await?;
        }
        let role = Role::parse(&user.role);
        let second_factor = user.totp_confirmed_at.is_some();
        let memberships = if role == Role::Member { self.membership_list(user.id.into()).await? } else { Vec::new() };
        let inner = UserInner {
            id: user.id.into(),
            email: user.email,
            name: user.name,
            language: user.language.parse().unwrap_or_default(),
            role,
            memberships,
            session: session.hash,
            version: user.version,
            second_factor,
            must_enrol: role == Role::Operator && self.settings.operators_need_second_factor && !second_factor,
        };
        Ok(Some(User { inner: Arc::new(inner) }))
    }

    /// One's own sessions, the newest first.
    ///
    /// # Errors
    /// The database.
    pub async fn session_list(&self, user: &User) -> Result<Vec<SessionView>, UserError> {
        let now = self.clock.now();
        let own = sessions::Entity::find().filter(sessions::Column::UserId.eq(user.id().uuid())).filter(sessions::Column::SecondFactorDone.eq(true));
        let own = own.order_by_desc(sessions::Column::CreatedAt);
        let rows = own.limit(SESSIONS_PER_USER_MAX).all(&self.db).await?;
        let open = rows.into_iter().filter(|row| now < self.session_end(row));
        Ok(open.map(|row| SessionView { id: row.hash, address: row.address, agent: row.agent, created_at: row.created_at, last_seen_at: row.last_seen_at }).collect())
    }

    /// Ends one of one's own sessions.
    ///
    /// # Errors
    /// It is not one of theirs, or the database.
    pub async fn session_end_one(&self, user: &User, id: &str) -> Result<(), UserError> {
        let own = sessions::Entity::delete_many().filter(sessions::Column::UserId.eq(user.id().uuid())).filter(sessions::Column::Hash.eq(id));
        if own.exec(&self.db).await?.rows_affected == 0 { Err(UserError::Unknown("session")) } else { Ok(()) }
    }

    /// Ends all of one's own sessions but the one that asks.
    ///
    /// # Errors
    /// The database.
    pub async fn session_end_others(&self, user: &User) -> Result<(), UserError> {
        let others = sessions::Entity::delete_many().filter(sessions::Column::UserId.eq(user.id().uuid())).filter(sessions::Column::Hash.ne(user.session()));
        others.exec(&self.db).await?;
        Ok(())
    }

    /// Signs out: ends the session one came with.
    ///
    /// # Errors
    /// The database.
    pub async fn sign_out(&self, user: &User) -> Result<(), UserError> {
        match self.session_end_one(user, user.session()).await {
            // Ended from elsewhere in the meantime: that is what was wanted.
            Ok(()) | Err(UserError::Unknown(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Forgets sessions that have ended and links that ended long ago.
    ///
    /// # Errors
    /// The database.
    pub async fn prune(&self) -> Result<(), UserError> {
        let now = self.clock.now();
        sessions::Entity::delete_many().filter(sessions::Column::ExpiresAt.lt(now)).exec(&self.db).await?;
        user_links::Entity::delete_many().filter(user_links::Column::ExpiresAt.lt(now - chrono::Duration::days(LINKS_KEPT_DAYS))).exec(&self.db).await?;
        Ok(())
    }

    /// Begins a session; `done` is whether the second factor was shown, or none is needed.
    pub(super) async fn session_begin(&self, transaction: &DatabaseTransaction, user: UserId, from: &SessionFrom, done: bool) -> Result<NewSession, UserError> {
        // Those that wait make room for each other only: who knows the password alone throws nobody out.
        let own = || sessions::Entity::find().filter(sessions::Column::UserId.eq(user.uuid())).filter(sessions::Column::SecondFactorDone.eq(done));
        if let Some(previous) = &from.previous {
            sessions::Entity::delete_by_id(secret_hash(previous.expose_secret())).exec(transaction).await?;
        }
        let kept = own().order_by_desc(sessions::Column::CreatedAt).offset(SESSIONS_PER_USER_MAX - 1).limit(SESSIONS_PER_USER_MAX).all(transaction).await?;
        for old in kept {
            sessions::Entity::delete_by_id(old.hash).exec(transaction).await?;
        }
        let (cookie, hash) = secret_make()?;
        let now = self.clock.now();
        let max_age_s = if done { self.settings.session_max_s } else { SECOND_FACTOR_S.min(self.settings.session_max_s) };
        let row = sessions::Model {
            hash,
            user_id: user.uuid(),
            second_factor_done: done,
            address: from.address.clone(),
            agent: from.agent.as_ref().map(|agent| agent.chars().take(AGENT_CHARS_MAX).collect()),
            created_at: now,
            last_seen_at: now,
            expires_at: now + seconds(max_age_s),
        };
        row.into_active_model().insert(transaction).await?;
        Ok(NewSession { cookie, max_age_s, second_factor: !done })
    }

    /// Ends all sessions of somebody but one.
    pub(super) async fn sessions_end(&self, transaction: &DatabaseTransaction, user: UserId, but: Option<&str>) -> Result<(), UserError> {
        let mut all = sessions::Entity::delete_many().filter(sessions::Column::UserId.eq(user.uuid()));
        if let Some(but) = but {
            all = all.filter(sessions::Column::Hash.ne(but));
        }
        all.exec(transaction).await?;
        Ok(())
    }

    fn session_end(&self, session: &sessions::Model) -> DateTime<Utc> {
        earlier(session.expires_at, session.last_seen_at + seconds(self.settings.session_idle_s))
    }

    async fn membership_list(&self, user: UserId) -> Result<Vec<Membership>, UserError> {
        let of = memberships::Entity::belongs_to(clients::Entity).from(memberships::Column::ClientId).to(clients::Column::Id);
        let rows: Vec<(uuid::Uuid, String, String)> = memberships::Entity::find()
            .join(JoinType::InnerJoin, of.into())
            .select_only()
            .columns([memberships::Column::ClientId, memberships::Column::Role])
            .column(clients::Column::Name)
            .filter(memberships::Column::UserId.eq(user.uuid()))
            .limit(MEMBERSHIPS_PER_USER_MAX)
            .into_tuple()
            .all(&self.db)
            .await?;
        let membership = |(tenant, role, tenant_name): (uuid::Uuid, String, String)| Membership { tenant: tenant.into(), tenant_name, level: Level::of_membership(&role) };
        let mut list: Vec<Membership> = rows.into_iter().map(membership).collect();
        list.sort_by(|a, b| a.tenant_name.cmp(&b.tenant_name));
        Ok(list)
    }
}
