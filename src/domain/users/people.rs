//! What operators do with accounts: find them, let them in or keep them out, end their sessions.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Func, LikeExpr};
use sea_orm::{ActiveModelTrait, ColumnTrait, Condition, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};
use serde_json::json;

use super::{AnyOperator, Role, UserError, Users, invalid, locked, normal_email};
use crate::db::{self, entities::users};
use crate::domain::audit::{self, Change};
use crate::domain::oauth;
use crate::domain::tenants::forget_of_person;
use crate::ids::UserId;

/// Which page of which people.
pub struct PersonQuery<'a> {
    /// Part of the name or address; empty is all.
    pub search: &'a str,
    /// Only operators, or only members; none is all.
    pub role: Option<Role>,
    /// The last address of the page before.
    pub after: Option<&'a str>,
    /// How many at most.
    pub count: u64,
}

/// A page of people.
pub struct PersonPage {
    /// By address.
    pub people: Vec<PersonView>,
    /// The last address, when there are more.
    pub next: Option<String>,
}

/// Somebody, as operators see them.
pub struct PersonView {
    /// Who.
    pub id: UserId,
    /// E-mail address.
    pub email: String,
    /// As they call themselves.
    pub name: String,
    /// What they are.
    pub role: Role,
    /// `pending`, `active` or `disabled`.
    pub status: String,
    /// Whether they sign in with a second factor.
    pub second_factor: bool,
    /// Whether they have to wait after refused sign-ins.
    pub locked: bool,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

impl Users {
    /// A page of people, by address.
    ///
    /// # Errors
    /// The database.
    pub async fn person_page(&self, _: &AnyOperator, query: &PersonQuery<'_>) -> Result<PersonPage, UserError> {
        let mut rows = users::Entity::find().order_by_asc(users::Column::Email).limit(query.count + 1);
        if let Some(role) = query.role {
            rows = rows.filter(users::Column::Role.eq(role.as_str()));
        }
        if let Some(after) = query.after {
            rows = rows.filter(users::Column::Email.gt(after));
        }
        let search = normal_email(query.search);
        if !search.is_empty() {
            let escaped = search.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            let like = || LikeExpr::new(format!("%{escaped}%")).escape('\\');
            let name = Expr::expr(Func::lower(Expr::col(users::Column::Name))).like(like());
            rows = rows.filter(Condition::any().add(users::Column::Email.like(like())).add(name));
        }
        let mut rows = rows.all(&self.db).await?;
        let more = rows.len() as u64 > query.count;
        rows.truncate(usize::try_from(query.count).unwrap_or(usize::MAX));
        let now = self.clock.now();
        let next = rows.last().filter(|_| more).map(|row| row.email.clone());
        let people = rows.into_iter().map(|row| PersonView {
            id: row.id.into(),
            role: Role::parse(&row.role),
            second_factor: row.totp_confirmed_at.is_some(),
            locked: row.locked_until.is_some_and(|until| until > now),
            email: row.email,
            name: row.name,
            status: row.status,
            created_at: row.created_at,
        });
        Ok(PersonPage { people: people.collect(), next })
    }

    /// Keeps somebody out; their sessions end. Nobody keeps themselves out, and one operator stays.
    ///
    /// # Errors
    /// There is no such person, it is the operator themselves or the last one, or the database.
    pub async fn person_disable(&self, operator: &AnyOperator, id: UserId) -> Result<(), UserError> {
        if operator.account() == Some(id) {
            return Err(invalid("form", "own_account"));
        }
        let transaction = db::begin_write(&self.db).await?;
        // All operators under the lock, in one order: of two who keep each other out, the second finds the last one.
        let operators = users::Entity::find().filter(users::Column::Role.eq(Role::Operator.as_str())).order_by_asc(users::Column::Id).lock_exclusive().all(&transaction).await?;
        let row = locked(&transaction, id).await?;
        if Role::parse(&row.role) == Role::Operator && !operators.iter().any(|other| other.id != row.id && other.status == "active") {
            return Err(invalid("form", "last_operator"));
        }
        self.status_set(&transaction, operator, row, "disabled").await?;
        self.sessions_end(&transaction, id, None).await?;
        // The agents they let in go with them, for good, and what they stored of their Odoo users.
        oauth::revoke_of_member(&transaction, &self.clock, id, None, &operator.actor()).await?;
        forget_of_person(&transaction, id).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Lets somebody in again. Who never chose a password needs a link.
    ///
    /// # Errors
    /// There is no such person, or the database.
    pub async fn person_enable(&self, operator: &AnyOperator, id: UserId) -> Result<(), UserError> {
        let transaction = db::begin_write(&self.db).await?;
        let mut row = locked(&transaction, id).await?;
        row.failed_signins = 0;
        row.locked_until = None;
        let status = if row.password_hash.is_some() { "active" } else { "pending" };
        self.status_set(&transaction, operator, row, status).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Ends somebody's sessions.
    ///
    /// # Errors
    /// There is no such person, or the database.
    pub async fn person_sign_out(&self, operator: &AnyOperator, id: UserId) -> Result<(), UserError> {
        let transaction = db::begin_write(&self.db).await?;
        let row = locked(&transaction, id).await?;
        self.sessions_end(&transaction, row.id.into(), None).await?;
        let change = Change { tenant: None, action: "user.sign_out", subject: row.id.to_string(), before: None, after: None };
        audit::record(&transaction, &self.clock, &operator.actor(), change).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn status_set(&self, transaction: &sea_orm::DatabaseTransaction, operator: &AnyOperator, mut row: users::Model, status: &str) -> Result<(), UserError> {
        let (before, after) = (json!({ "status": row.status }), json!({ "status": status }));
        status.clone_into(&mut row.status);
        row.updated_at = self.clock.now();
        let subject = row.id.to_string();
        row.into_active_model().reset_all().update(transaction).await?;
        let change = Change { tenant: None, action: "user.status", subject, before: Some(before), after: Some(after) };
        audit::record(transaction, &self.clock, &operator.actor(), change).await?;
        Ok(())
    }
}
