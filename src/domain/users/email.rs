//! Changing one's address: with the password, and where letters can be sent by a link that the new address gets.

use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter};
use secrecy::SecretString;
use serde_json::json;

use super::{Addressed, LinkPurpose, NewLink, User, UserError, Users, checked_email, invalid, locked};
use crate::db::{
    self,
    entities::{user_links, users},
};
use crate::domain::audit::{self, Actor, Change};
use crate::ids::UserId;
use crate::text::Language;

/// A changed address.
pub struct EmailChanged {
    /// The one it was.
    pub before: String,
    /// The one it is.
    pub after: String,
    /// The language of the letter about it.
    pub language: Language,
}

impl Users {
    /// Makes a link for the new address; none where somebody has it already: whoever asks is not told.
    ///
    /// # Errors
    /// The password is wrong, the address is none or the same, or the database.
    pub async fn email_change_ask(&self, user: &User, current: &SecretString, email: &str) -> Result<Option<Addressed>, UserError> {
        let email = self.email_wanted(user, current, email).await?;
        if users::Entity::find().filter(users::Column::Email.eq(email.clone())).one(&self.db).await?.is_some() {
            return Ok(None);
        }
        let link = self.link_make(NewLink::Email { user: user.id(), email: email.clone() }, &user.actor()).await?;
        Ok(Some(Addressed { email, link }))
    }

    /// Changes it at once, where no letters can be sent.
    ///
    /// # Errors
    /// The password is wrong, the address is none, the same or somebody else's, or the database.
    pub async fn email_change(&self, user: &User, current: &SecretString, email: &str) -> Result<EmailChanged, UserError> {
        let email = self.email_wanted(user, current, email).await?;
        let transaction = db::begin_write(&self.db).await?;
        let changed = self.email_set(&transaction, user.id(), email, false).await?;
        transaction.commit().await?;
        Ok(changed)
    }

    /// Changes it by the link that the new address got.
    ///
    /// # Errors
    /// The link does not work, somebody has the address by now, or the database.
    pub async fn email_confirm(&self, link: &str) -> Result<EmailChanged, UserError> {
        let view = self.link_look(link).await?.filter(|view| view.purpose == LinkPurpose::Email).ok_or(UserError::Unknown("link"))?;
        let transaction = db::begin_write(&self.db).await?;
        let row = self.link_take(&transaction, link).await?;
        let (Some(user), Some(email)) = (row.user_id, view.email) else { return Err(UserError::Unknown("link")) };
        let changed = self.email_set(&transaction, user.into(), email, true).await?;
        transaction.commit().await?;
        Ok(changed)
    }

    async fn email_wanted(&self, user: &User, current: &SecretString, email: &str) -> Result<String, UserError> {
        let email = checked_email(email)?;
        if email == user.email() {
            return Err(invalid("email", "email_same"));
        }
        self.password_again(user, current).await?;
        Ok(email)
    }

    async fn email_set(&self, transaction: &DatabaseTransaction, id: UserId, email: String, confirmed: bool) -> Result<EmailChanged, UserError> {
        let mut row = locked(transaction, id).await?;
        if row.status != "active" {
            return Err(UserError::Unknown("link"));
        }
        if users::Entity::find().filter(users::Column::Email.eq(email.clone())).one(transaction).await?.is_some() {
            return Err(invalid("email", "email_taken"));
        }
        let now = self.clock.now();
        let before = std::mem::replace(&mut row.email, email.clone());
        row.email_confirmed_at = confirmed.then_some(now);
        row.version += 1;
        row.updated_at = now;
        let language = row.language.parse().unwrap_or_default();
        row.into_active_model().reset_all().update(transaction).await?;
        // What the old address was sent opens nothing any more.
        let open = user_links::Entity::delete_many().filter(user_links::Column::UserId.eq(id.uuid())).filter(user_links::Column::UsedAt.is_null());
        open.exec(transaction).await?;
        let change = Change { tenant: None, action: "user.email", subject: id.to_string(), before: Some(json!({ "email": before })), after: Some(json!({ "email": email })) };
        audit::record(transaction, &self.clock, &Actor(before.clone()), change).await?;
        Ok(EmailChanged { before, after: email, language })
    }
}
