//! Signing in, and changing one's password.
//!
//! An unknown address, a wrong password, a locked, disabled or unfinished account get the same answer after the same work. An attempt is
//! counted before its password is looked at, so that many at once get no more guesses than one after the other.

use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect};
use secrecy::SecretString;
use serde_json::json;

use super::{NewSession, SessionFrom, User, UserError, Users, invalid, locked, normal_email};
use crate::db::{self, entities::users};
use crate::domain::audit::{self, Actor, Change};

/// The first wait of a locked account, seconds; each further failure doubles it, so often at most (64 minutes).
const LOCK_S: i64 = 60;
const LOCK_DOUBLINGS_MAX: u32 = 6;

/// Why somebody was not let in.
#[derive(Debug, thiserror::Error)]
pub enum SignInRefusal {
    /// For the outside there is one reason only.
    #[error("refused")]
    Refused,
    /// It could not be checked.
    #[error(transparent)]
    Unavailable(UserError),
}

impl<E: Into<UserError>> From<E> for SignInRefusal {
    fn from(error: E) -> Self {
        Self::Unavailable(error.into())
    }
}

impl Users {
    /// Signs in: a new session, whatever the browser came with. With a second factor it opens nothing yet ([`NewSession::second_factor`]), and
    /// the attempt stays counted: whoever knows the password alone gets no fresh guesses at codes by typing it again.
    ///
    /// # Errors
    /// See [`SignInRefusal`].
    pub async fn sign_in(&self, email: &str, password: &SecretString, from: &SessionFrom) -> Result<NewSession, SignInRefusal> {
        let counted = self.attempt_count(&normal_email(email)).await?;
        let hash = counted.as_ref().and_then(|user| user.password_hash.as_deref());
        if !self.passwords.fits(password, hash).await? {
            return Err(SignInRefusal::Refused);
        }
        let Some(counted) = counted else { return Err(SignInRefusal::Refused) };
        let transaction = db::begin_write(&self.db).await?;
        let current = users::Entity::find_by_id(counted.id).lock_exclusive().one(&transaction).await?;
        // Disabled, or given another password, while this one was being checked.
        let Some(mut user) = current.filter(|user| user.status == "active" && user.password_hash == counted.password_hash) else {
            return Err(SignInRefusal::Refused);
        };
        if user.totp_confirmed_at.is_some() {
            let session = self.session_begin(&transaction, user.id.into(), from, false).await?;
            transaction.commit().await?;
            return Ok(session);
        }
        user.failed_signins = 0;
        user.locked_until = None;
        let (id, actor) = (user.id, Actor(user.email.clone()));
        user.into_active_model().reset_all().update(&transaction).await?;
        let session = self.session_begin(&transaction, id.into(), from, true).await?;
        let change = Change { tenant: None, action: "user.sign_in", subject: id.to_string(), before: None, after: Some(json!({ "address": from.address })) };
        audit::record(&transaction, &self.clock, &actor, change).await?;
        transaction.commit().await?;
        Ok(session)
    }

    /// Changes one's own password; every other session ends.
    ///
    /// # Errors
    /// The current one does not fit, the new one is not acceptable, or the database.
    pub async fn password_change(&self, user: &User, current: &SecretString, new: &SecretString) -> Result<(), UserError> {
        self.password_again(user, current).await?;
        let hash = self.passwords.choose(new, user.email()).await?;
        let transaction = db::begin_write(&self.db).await?;
        let mut row = locked(&transaction, user.id()).await?;
        row.password_hash = Some(hash);
        row.failed_signins = 0;
        row.locked_until = None;
        row.updated_at = self.clock.now();
        row.into_active_model().reset_all().update(&transaction).await?;
        self.sessions_end(&transaction, user.id(), Some(user.session())).await?;
        let change = Change { tenant: None, action: "user.password", subject: user.id().to_string(), before: None, after: None };
        audit::record(&transaction, &self.clock, &user.actor(), change).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Whether somebody who is signed in knows their password: asked before what a stolen session must not do. It must be no way to guess
    /// either: the same count and the same wait as at the door.
    pub(super) async fn password_again(&self, user: &User, current: &SecretString) -> Result<(), UserError> {
        let row = users::Entity::find_by_id(user.id().uuid()).one(&self.db).await?.ok_or(UserError::Unknown("user"))?;
        let counted = self.attempt_count(&row.email).await?;
        let hash = counted.as_ref().and_then(|row| row.password_hash.as_deref());
        if !self.passwords.fits(current, hash).await? {
            return Err(invalid("current", "password_wrong"));
        }
        let known = users::Entity::update_many()
            .col_expr(users::Column::FailedSignins, Expr::value(0))
            .col_expr(users::Column::LockedUntil, Expr::value(None::<chrono::DateTime<chrono::Utc>>));
        known.filter(users::Column::Id.eq(user.id().uuid())).exec(&self.db).await?;
        Ok(())
    }

    /// Counts an attempt; the account, if this attempt may be looked at.
    pub(super) async fn attempt_count(&self, email: &str) -> Result<Option<users::Model>, UserError> {
        let now = self.clock.now();
        let transaction = db::begin_write(&self.db).await?;
        let open = users::Entity::find().filter(users::Column::Email.eq(email)).filter(users::Column::Status.eq("active")).lock_exclusive().one(&transaction).await?;
        let open = open.filter(|user| user.locked_until.is_none_or(|until| until <= now));
        let Some(mut user) = open else {
            transaction.commit().await?;
            return Ok(None);
        };
        user.failed_signins = user.failed_signins.saturating_add(1);
        let failures = u32::try_from(user.failed_signins).unwrap_or_default();
        if let Some(over) = failures.checked_sub(self.settings.sign_in_failures_max.max(1)) {
            let wait_s = LOCK_S << over.min(LOCK_DOUBLINGS_MAX);
            user.locked_until = Some(now + chrono::Duration::seconds(wait_s));
            let change = Change { tenant: None, action: "user.lock", subject: user.id.to_string(), before: None, after: Some(json!({ "failures": failures, "wait_s": wait_s })) };
            audit::record(&transaction, &self.clock, &Actor::service(), change).await?;
        }
        user.clone().into_active_model().reset_all().update(&transaction).await?;
        transaction.commit().await?;
        Ok(Some(user))
    }
}
