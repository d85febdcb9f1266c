//! A member's own user in their company's Odoo: stored by themselves, sealed for tenant and person, never shown again. Calls under an OAuth token
//! of theirs use it (`Caller::odoo_as`), so that Odoo's own rights and history name the person.
//!
//! It stands in the membership and goes with it, and with the server and database it was given for. Operators have none and see none.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect};
use secrecy::SecretString;
use serde_json::json;

use super::{ODOO_SECRET_FIELD, PersonalPolicy, Tenant, TenantError, Tenants, invalid};
use crate::db::{
    self,
    entities::{clients, memberships},
};
use crate::domain::audit::{self, Change};
use crate::domain::users::{Level, TenantAccess};
use crate::domain::vault::{Sealed, VaultError};
use crate::ids::{TenantId, UserId};

/// The longest login and secret, characters.
const FIELD_CHARS_MAX: usize = 300;

/// Somebody's own user in their company's Odoo. The secret is sealed.
#[derive(Clone, Debug)]
pub struct PersonalOdoo {
    /// Whose.
    pub user: UserId,
    /// Their Odoo user's login.
    pub login: String,
    /// When they gave it, UTC.
    pub saved_at: DateTime<Utc>,
    secret: Sealed,
}

impl PersonalOdoo {
    /// What a membership holds; none where nothing was stored.
    pub(in crate::domain) fn of(row: &memberships::Model) -> Option<Self> {
        let (login, secret, saved_at) = (row.odoo_login.clone()?, row.odoo_secret_sealed.clone()?, row.odoo_saved_at?);
        Some(Self { user: row.user_id.into(), login, saved_at, secret: Sealed(secret) })
    }
}

/// What its owner may see of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonalView {
    /// The login.
    pub login: String,
    /// When the secret was given, UTC.
    pub saved_at: DateTime<Utc>,
}

/// A member's own Odoo user as it is given.
pub struct NewPersonalOdoo {
    /// Login.
    pub login: String,
    /// Password or API key.
    pub secret: SecretString,
    /// The version of the tenant whose server they saw: to another one than they saw their secret is not given.
    pub version: i32,
}

impl Tenants {
    /// What the member who asks has stored, if anything.
    ///
    /// # Errors
    /// The database.
    pub async fn personal_odoo_view(&self, access: &TenantAccess) -> Result<Option<PersonalView>, TenantError> {
        let row = membership(access).one(&self.db).await?;
        Ok(row.as_ref().and_then(PersonalOdoo::of).map(|own| PersonalView { login: own.login, saved_at: own.saved_at }))
    }

    /// Stores the own Odoo user of the member who asks, over what they had. Whoever holds caches of the tenant forgets them.
    ///
    /// # Errors
    /// They are no member (an operator is not), the company does not let them or has no Odoo, it was edited since they saw it, a value that is not
    /// acceptable, or the database.
    pub async fn personal_odoo_save(&self, access: &TenantAccess, new: NewPersonalOdoo) -> Result<(), TenantError> {
        let (tenant, user) = (access.tenant(), access.user().id());
        let login = new.login.trim().to_owned();
        if login.is_empty() || login.chars().count() > FIELD_CHARS_MAX || login.chars().any(char::is_control) {
            return Err(invalid("login", "odoo_login", "a login has 1 to 300 characters"));
        }
        let transaction = db::begin_write(&self.db).await?;
        // Under the tenant's lock: an edit of its address meanwhile must not leave the secret behind for another server.
        let unknown = || TenantError::Unknown(tenant.to_string());
        let client = clients::Entity::find_by_id(tenant.uuid()).lock_exclusive().one(&transaction).await?.ok_or_else(unknown)?;
        let mut row = membership(access).lock_exclusive().one(&transaction).await?.ok_or_else(unknown)?;
        if client.version != new.version {
            return Err(TenantError::Stale);
        }
        if client.odoo_url.is_none() || !PersonalPolicy::known(&client.odoo_personal).is_some_and(|policy| policy != PersonalPolicy::Off) {
            return Err(invalid("form", "odoo_own_off", "this company's people use the company's Odoo user"));
        }
        let sealed = self.vault.seal(tenant, &Sealed(client.data_key_sealed), &field(user), &new.secret)?;
        let before = json!({ "login": row.odoo_login });
        let after = json!({ "login": login, "secret": "replaced" });
        (row.odoo_login, row.odoo_secret_sealed, row.odoo_saved_at) = (Some(login), Some(sealed.0), Some(self.clock.now()));
        row.into_active_model().reset_all().update(&transaction).await?;
        let change = Change { tenant: Some(tenant), action: "member.odoo", subject: user.to_string(), before: Some(before), after: Some(after) };
        audit::record(&transaction, &self.clock, &access.actor(), change).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Removes what the member who asks has stored. Twice is fine.
    ///
    /// # Errors
    /// They are no member, or the database.
    pub async fn personal_odoo_remove(&self, access: &TenantAccess) -> Result<(), TenantError> {
        let transaction = db::begin_write(&self.db).await?;
        let row = membership(access).lock_exclusive().one(&transaction).await?;
        let mut row = row.ok_or_else(|| TenantError::Unknown(access.tenant().to_string()))?;
        let Some(login) = row.odoo_login.take() else { return Ok(()) };
        (row.odoo_secret_sealed, row.odoo_saved_at) = (None, None);
        row.into_active_model().reset_all().update(&transaction).await?;
        let subject = access.user().id().to_string();
        let change = Change { tenant: Some(access.tenant()), action: "member.odoo_remove", subject, before: Some(json!({ "login": login })), after: None };
        audit::record(&transaction, &self.clock, &access.actor(), change).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The secret that the member who asks has stored, for a test that they ask for; none where nothing is stored.
    pub(in crate::domain) async fn personal_odoo_saved(&self, access: &TenantAccess, tenant: &Tenant) -> Result<Option<SecretString>, TenantError> {
        let row = membership(access).filter(memberships::Column::ClientId.eq(tenant.id.uuid())).one(&self.db).await?;
        Ok(row.as_ref().and_then(PersonalOdoo::of).map(|own| self.personal_odoo_secret(tenant, &own)).transpose()?)
    }

    /// Opens a member's secret, for the one who connects. It opens for that tenant and that person only.
    pub(in crate::domain) fn personal_odoo_secret(&self, tenant: &Tenant, own: &PersonalOdoo) -> Result<SecretString, VaultError> {
        self.vault.open(tenant.id, &tenant.data_key, &field(own.user), &own.secret)
    }
}

/// The membership of the one who asks. An operator has none, whatever they were before.
fn membership(access: &TenantAccess) -> sea_orm::Select<memberships::Entity> {
    let found = memberships::Entity::find().filter(memberships::Column::ClientId.eq(access.tenant().uuid()));
    let found = found.filter(memberships::Column::UserId.eq(access.user().id().uuid()));
    if access.level() == Level::Operator { found.filter(Expr::value(false)) } else { found }
}

/// The name that binds a sealed secret to its person; the tenant is the vault's part.
fn field(user: UserId) -> String {
    format!("{ODOO_SECRET_FIELD}/{user}")
}

/// What a person's secret was given for.
pub(super) fn server(client: &clients::Model) -> (Option<String>, Option<String>) {
    (client.odoo_url.clone(), client.odoo_database.clone())
}

/// Removes what everybody of a tenant stored; answers of how many.
pub(super) async fn forget_everybodys(db: &impl ConnectionTrait, tenant: TenantId) -> Result<u64, DbErr> {
    forget(db, memberships::Column::ClientId.eq(tenant.uuid())).await
}

/// Removes what somebody stored, in all of their tenants; answers in how many.
pub(in crate::domain) async fn forget_of_person(db: &impl ConnectionTrait, user: UserId) -> Result<u64, DbErr> {
    forget(db, memberships::Column::UserId.eq(user.uuid())).await
}

async fn forget(db: &impl ConnectionTrait, whose: sea_orm::sea_query::SimpleExpr) -> Result<u64, DbErr> {
    let nothing = || Expr::value(Option::<String>::None);
    let rows = memberships::Entity::update_many()
        .col_expr(memberships::Column::OdooLogin, nothing())
        .col_expr(memberships::Column::OdooSecretSealed, nothing())
        .col_expr(memberships::Column::OdooSavedAt, Expr::value(Option::<DateTime<Utc>>::None))
        .filter(whose)
        .filter(memberships::Column::OdooLogin.is_not_null());
    Ok(rows.exec(db).await?.rows_affected)
}
