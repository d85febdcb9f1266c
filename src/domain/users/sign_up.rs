//! Signing up: somebody registers their company. Account and tenant wait (`pending`) until the address is confirmed and, by the policy, an
//! operator has approved; before that nobody signs in and nothing is served.
//!
//! An address that is known changes nothing and gets the same answer. One that was never confirmed may sign up anew, and what was given before is
//! gone: confirming asks for the password, so that nobody can have prepared an account for somebody else's address.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use secrecy::SecretString;
use serde_json::json;

use super::{Addressed, AnyOperator, Level, LinkPurpose, NewLink, NewSession, NewUser, Role, SessionFrom, UserError, Users, checked_email, checked_name, invalid, locked};
use crate::db::{
    self,
    entities::{clients, memberships, users},
};
use crate::dgii::TaxpayerId;
use crate::domain::audit::{self, Actor, Change};
use crate::domain::tenants::{NewTenant, TenantError, TenantHabits, Tenants};
use crate::ids::{TenantId, UserId};
use crate::text::Language;

/// Companies that may wait at the same time.
const WAITING_MAX: u64 = 100;
/// The longest name of a company, characters.
const COMPANY_CHARS_MAX: usize = 200;
/// A tenant's status while it waits.
const PENDING: &str = "pending";

/// What somebody gives who signs up.
pub struct NewSignUp {
    /// The company's name.
    pub company: String,
    /// Its RNC.
    pub rnc: Option<String>,
    /// The plan's code.
    pub plan: String,
    /// The tools enabled at first where the plan has a number of them; so many of these as it has.
    pub tools: Vec<String>,
    /// As they call themselves.
    pub name: String,
    /// Their address.
    pub email: String,
    /// The language of their pages.
    pub language: Language,
    /// The password they choose.
    pub password: SecretString,
}

/// What came of it. For the outside it is one.
pub enum SignedUp {
    /// They wait; the link that confirms the address.
    Waiting(Addressed),
    /// There is an account under that address, and a letter says so.
    Known {
        /// The address.
        email: String,
        /// The language of the letter.
        language: Language,
    },
}

/// Whom a letter is for.
pub struct Applicant {
    /// Their address.
    pub email: String,
    /// The language of the letter.
    pub language: Language,
    /// The company.
    pub company: String,
}

/// What came of confirming an address.
pub enum Confirmed {
    /// They are in.
    In(NewSession),
    /// An operator has still to approve.
    Waiting,
}

/// A company that waits.
pub struct SignUpView {
    /// The tenant it would be.
    pub tenant: TenantId,
    /// The company's name.
    pub company: String,
    /// Its RNC.
    pub rnc: Option<String>,
    /// Whether another tenant has that RNC.
    pub rnc_known: bool,
    /// Whether another one that waits has it.
    pub rnc_twice: bool,
    /// Who signed up.
    pub name: String,
    /// Their address.
    pub email: String,
    /// Whether it was confirmed.
    pub confirmed: bool,
    /// When.
    pub created_at: DateTime<Utc>,
}

impl Users {
    /// Takes a sign-up.
    ///
    /// # Errors
    /// A value that is not acceptable, too many that wait, or the database.
    pub async fn sign_up(&self, tenants: &Tenants, new: NewSignUp) -> Result<SignedUp, UserError> {
        let email = checked_email(&new.email)?;
        let company = new.company.trim().to_owned();
        if company.is_empty() || company.chars().count() > COMPANY_CHARS_MAX || company.chars().any(char::is_control) {
            return Err(invalid("company", "company"));
        }
        if new.rnc.as_deref().is_some_and(|rnc| TaxpayerId::parse(rnc).is_err()) {
            return Err(invalid("rnc", "rnc"));
        }
        checked_name(&new.name)?;
        // The work of a hash for everybody, known or not.
        let hash = self.passwords.choose(&new.password, &email).await?;
        let plan = tenants.plan_find(&new.plan).await.map_err(of_tenants)?;
        let tools = new.tools.into_iter().take(plan.tools_max.unwrap_or_default()).collect();
        let tenant = NewTenant { name: company, rnc: new.rnc, plan: plan.code, odoo: None, tools };
        let habits = TenantHabits { language: new.language, ..TenantHabits::default() };
        let prepared = tenants.tenant_prepare(tenant, habits, PENDING).await.map_err(of_tenants)?;
        let actor = Actor(email.clone());
        let transaction = db::begin_write(&self.db).await?;
        if waiting().count(&transaction).await? >= WAITING_MAX {
            return Err(invalid("form", "sign_ups_full"));
        }
        if let Some(known) = users::Entity::find().filter(users::Column::Email.eq(email.clone())).lock_exclusive().one(&transaction).await? {
            let replaceable = known.status == "pending" && known.email_confirmed_at.is_none();
            let language = known.language.parse().unwrap_or_default();
            if !(replaceable && self.sign_up_forget(&transaction, known.id.into()).await?) {
                return Ok(SignedUp::Known { email: known.email, language });
            }
        }
        let person = NewUser { email: email.clone(), name: Some(new.name), role: Role::Member, language: new.language, password: None };
        let user = self.insert(&transaction, &email, &person, Some(hash), "pending", &actor).await?;
        let tenant = tenants.tenant_insert(&transaction, prepared, &actor).await.map_err(of_tenants)?;
        let row = memberships::Model {
            id: uuid::Uuid::now_v7(),
            client_id: tenant.uuid(),
            user_id: user.id,
            role: Level::Owner.as_str().to_owned(),
            created_at: self.clock.now(),
            odoo_login: None,
            odoo_secret_sealed: None,
            odoo_saved_at: None,
        };
        row.into_active_model().insert(&transaction).await?;
        let after = json!({ "user": user.id, "role": Level::Owner.as_str() });
        audit::record(&transaction, &self.clock, &actor, Change { tenant: Some(tenant), action: "member.add", subject: user.id.to_string(), before: None, after: Some(after) })
            .await?;
        let link = self.link_add(&transaction, NewLink::Confirm { user: user.id.into() }, &actor).await?;
        transaction.commit().await?;
        Ok(SignedUp::Waiting(Addressed { email, link }))
    }

    /// Confirms the address of somebody who signed up; they give the password they chose. With `open` they are in, else an operator approves.
    ///
    /// # Errors
    /// The link does not work, another password, or the database. The link still works then.
    pub async fn sign_up_confirm(&self, link: &str, password: &SecretString, open: bool, from: &SessionFrom) -> Result<Confirmed, UserError> {
        let view = self.link_look(link).await?.filter(|view| view.purpose == LinkPurpose::Confirm).ok_or(UserError::Unknown("link"))?;
        let email = view.email.ok_or(UserError::Unknown("link"))?;
        let user = users::Entity::find().filter(users::Column::Email.eq(email)).one(&self.db).await?.ok_or(UserError::Unknown("link"))?;
        if !self.passwords.fits(password, user.password_hash.as_deref()).await? {
            return Err(invalid("password", "password_other"));
        }
        let transaction = db::begin_write(&self.db).await?;
        self.link_take(&transaction, link).await?;
        let mut user = locked(&transaction, user.id.into()).await?;
        let (id, actor, now) = (UserId::from(user.id), Actor(user.email.clone()), self.clock.now());
        user.email_confirmed_at = Some(now);
        user.updated_at = now;
        // Approved before the letter was read, perhaps.
        let done = user.totp_confirmed_at.is_none();
        let enters = user.status == "active" || (open && user.status == "pending");
        if enters {
            "active".clone_into(&mut user.status);
        }
        user.into_active_model().reset_all().update(&transaction).await?;
        let change = Change { tenant: None, action: "user.email_confirm", subject: id.to_string(), before: None, after: None };
        audit::record(&transaction, &self.clock, &actor, change).await?;
        if !enters {
            transaction.commit().await?;
            return Ok(Confirmed::Waiting);
        }
        for membership in memberships::Entity::find().filter(memberships::Column::UserId.eq(id.uuid())).all(&transaction).await? {
            self.tenant_open(&transaction, membership.client_id.into(), &actor).await?;
        }
        let session = self.session_begin(&transaction, id, from, done).await?;
        transaction.commit().await?;
        Ok(Confirmed::In(session))
    }

    /// The companies that wait, oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn sign_up_list(&self, _: &AnyOperator) -> Result<Vec<SignUpView>, UserError> {
        let rows = waiting().order_by_asc(clients::Column::Id).limit(WAITING_MAX).all(&self.db).await?;
        let people = memberships::Entity::find().filter(memberships::Column::ClientId.is_in(rows.iter().map(|row| row.id))).all(&self.db).await?;
        let users = users::Entity::find().filter(users::Column::Id.is_in(people.iter().map(|row| row.user_id))).all(&self.db).await?;
        let rncs: Vec<Option<String>> = clients::Entity::find()
            .select_only()
            .column(clients::Column::Rnc)
            .filter(clients::Column::Status.ne(PENDING))
            .filter(clients::Column::Rnc.is_in(rows.iter().filter_map(|row| row.rnc.clone())))
            .into_tuple()
            .all(&self.db)
            .await?;
        let asked: Vec<Option<String>> = rows.iter().map(|row| row.rnc.clone()).collect();
        let list = rows.into_iter().filter_map(|row| {
            let membership = people.iter().find(|membership| membership.client_id == row.id)?;
            let user = users.iter().find(|user| user.id == membership.user_id)?;
            Some(SignUpView {
                tenant: row.id.into(),
                rnc_known: row.rnc.is_some() && rncs.contains(&row.rnc),
                rnc_twice: row.rnc.is_some() && asked.iter().filter(|rnc| **rnc == row.rnc).count() > 1,
                company: row.name,
                rnc: row.rnc,
                name: user.name.clone(),
                email: user.email.clone(),
                confirmed: user.email_confirmed_at.is_some(),
                created_at: row.created_at,
            })
        });
        Ok(list.collect())
    }

    /// Lets a company in that waits, with those who signed it up.
    ///
    /// # Errors
    /// None of that id waits (any more), or the database.
    pub async fn sign_up_approve(&self, operator: &AnyOperator, tenant: TenantId) -> Result<Option<Applicant>, UserError> {
        let transaction = db::begin_write(&self.db).await?;
        let Some(company) = self.tenant_open(&transaction, tenant, &operator.actor()).await? else { return Err(UserError::Unknown("sign-up")) };
        let mut applicant = None;
        for membership in memberships::Entity::find().filter(memberships::Column::ClientId.eq(tenant.uuid())).all(&transaction).await? {
            let mut user = locked(&transaction, membership.user_id.into()).await?;
            if user.status == "pending" && user.password_hash.is_some() {
                "active".clone_into(&mut user.status);
                user.updated_at = self.clock.now();
                applicant = Some(Applicant { email: user.email.clone(), language: user.language.parse().unwrap_or_default(), company: company.clone() });
                user.into_active_model().reset_all().update(&transaction).await?;
            }
        }
        transaction.commit().await?;
        Ok(applicant)
    }

    /// Refuses a company that waits: it and the account that signed it up are gone.
    ///
    /// # Errors
    /// None of that id waits (any more), or the database.
    pub async fn sign_up_refuse(&self, operator: &AnyOperator, tenant: TenantId) -> Result<(), UserError> {
        let transaction = db::begin_write(&self.db).await?;
        let row = waiting().filter(clients::Column::Id.eq(tenant.uuid())).lock_exclusive().one(&transaction).await?.ok_or(UserError::Unknown("sign-up"))?;
        self.sign_up_delete(&transaction, row, &operator.actor(), "sign_up.refuse").await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Forgets sign-ups whose address was not confirmed within so many days.
    ///
    /// # Errors
    /// The database.
    pub async fn sign_up_prune(&self, days: i64) -> Result<(), UserError> {
        let old = waiting().filter(clients::Column::CreatedAt.lt(self.clock.now() - chrono::Duration::days(days))).limit(WAITING_MAX).all(&self.db).await?;
        for row in old {
            let transaction = db::begin_write(&self.db).await?;
            let Some(row) = waiting().filter(clients::Column::Id.eq(row.id)).lock_exclusive().one(&transaction).await? else { continue };
            let people = memberships::Entity::find().filter(memberships::Column::ClientId.eq(row.id)).all(&transaction).await?;
            let confirmed = users::Entity::find().filter(users::Column::Id.is_in(people.iter().map(|row| row.user_id))).filter(users::Column::EmailConfirmedAt.is_not_null());
            if confirmed.count(&transaction).await? == 0 {
                self.sign_up_delete(&transaction, row, &Actor::service(), "sign_up.forget").await?;
                transaction.commit().await?;
            }
        }
        Ok(())
    }

    /// Forgets what an unconfirmed account signed up, and the account; whether that is all it was.
    async fn sign_up_forget(&self, transaction: &DatabaseTransaction, user: UserId) -> Result<bool, UserError> {
        let own = memberships::Entity::find().filter(memberships::Column::UserId.eq(user.uuid())).all(transaction).await?;
        let [only] = own.as_slice() else { return Ok(false) };
        let Some(row) = waiting().filter(clients::Column::Id.eq(only.client_id)).lock_exclusive().one(transaction).await? else { return Ok(false) };
        self.sign_up_delete(transaction, row, &Actor::service(), "sign_up.replace").await?;
        Ok(true)
    }

    async fn sign_up_delete(&self, transaction: &DatabaseTransaction, row: clients::Model, actor: &Actor, action: &str) -> Result<(), UserError> {
        let people: Vec<uuid::Uuid> =
            memberships::Entity::find().select_only().column(memberships::Column::UserId).filter(memberships::Column::ClientId.eq(row.id)).into_tuple().all(transaction).await?;
        clients::Entity::delete_by_id(row.id).exec(transaction).await?;
        for user in people {
            let elsewhere = memberships::Entity::find().filter(memberships::Column::UserId.eq(user)).count(transaction).await?;
            if elsewhere == 0 {
                users::Entity::delete_many().filter(users::Column::Id.eq(user)).filter(users::Column::Status.eq("pending")).exec(transaction).await?;
            }
        }
        let before = json!({ "name": row.name, "rnc": row.rnc });
        audit::record(transaction, &self.clock, actor, Change { tenant: None, action, subject: row.id.to_string(), before: Some(before), after: None }).await?;
        Ok(())
    }

    /// Makes a tenant that waits an active one; its name, if it waited.
    async fn tenant_open(&self, transaction: &DatabaseTransaction, tenant: TenantId, actor: &Actor) -> Result<Option<String>, UserError> {
        let Some(mut row) = waiting().filter(clients::Column::Id.eq(tenant.uuid())).lock_exclusive().one(transaction).await? else { return Ok(None) };
        let name = row.name.clone();
        "active".clone_into(&mut row.status);
        row.version += 1;
        row.updated_at = self.clock.now();
        row.into_active_model().reset_all().update(transaction).await?;
        let (before, after) = (json!({ "status": PENDING }), json!({ "status": "active" }));
        let change = Change { tenant: Some(tenant), action: "tenant.approve", subject: tenant.to_string(), before: Some(before), after: Some(after) };
        audit::record(transaction, &self.clock, actor, change).await?;
        Ok(Some(name))
    }
}

fn waiting() -> sea_orm::Select<clients::Entity> {
    clients::Entity::find().filter(clients::Column::Status.eq(PENDING))
}

fn of_tenants(error: TenantError) -> UserError {
    match error {
        TenantError::Db(error) => UserError::Db(error),
        TenantError::Vault(error) => UserError::Vault(error),
        other => UserError::Machine(format!("a sign-up: {other}")),
    }
}
