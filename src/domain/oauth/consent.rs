//! The answer of a person: yes, for one of their companies, with these packs but without those tools, for so many days; or no.

use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};
use secrecy::ExposeSecret;
use serde_json::json;

use super::applications::{ApplicationKind, hash};
use super::redirects::{self, Place, back};
use super::{CODE_PREFIX, Fault, OAuth, OAuthError, grants, refused, scopes};
use crate::db::{
    self,
    entities::{oauth_codes, oauth_grants, oauth_requests},
};
use crate::domain::audit::{self, Change};
use crate::domain::tokens::generate_as;
use crate::domain::users::{Level, TenantAccess, User};
use crate::ids::{AuthorizationId, GrantId, TenantId};

/// How long a grant may last, days, as pages offer it.
pub const DAYS_CHOICES: [i64; 3] = [30, 90, 365];
/// A code is good for so long, seconds.
const CODE_S: i64 = 60;
/// Grants of one person in one tenant that are alive; the one unused for longest makes room.
const GRANTS_MAX: u64 = 30;

/// Who asks, and for what.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What the program calls itself.
    pub name: String,
    /// How it became known.
    pub kind: ApplicationKind,
    /// Its client id.
    pub identifier: String,
    /// Where the browser goes back to: a site's name, or the scheme of a native program.
    pub host: String,
    /// Whether that is this very machine.
    pub loopback: bool,
    /// What the page's policy must allow for that.
    pub policy_source: String,
    /// The packs asked for.
    pub packs: Vec<String>,
    /// The only tenant it works for.
    pub tenant: Option<TenantId>,
}

/// What somebody allows.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Packs, of those asked for.
    pub packs: Vec<String>,
    /// Tools of these packs that they take out.
    pub tools_off: Vec<String>,
    /// For how long, one of [`DAYS_CHOICES`].
    pub days: i64,
}

impl OAuth {
    /// What is asked, for the page.
    ///
    /// # Errors
    /// There is no such request for this person in this browser (any more), its program is gone, or the database.
    pub async fn consent_look(&self, id: AuthorizationId, browser: &str, user: &User) -> Result<Asked, OAuthError> {
        let transaction = db::begin_write(&self.db).await?;
        let row = self.request_take(&transaction, id, browser, user).await?;
        transaction.commit().await?;
        let application = self.application_find(&row.identifier).await?;
        Ok(Asked {
            name: application.name,
            kind: application.kind,
            identifier: application.identifier,
            host: redirects::host(&row.redirect_uri),
            loopback: redirects::place(&row.redirect_uri) == Some(Place::Loopback),
            policy_source: redirects::policy_source(&row.redirect_uri),
            packs: scopes::list(&row.packs),
            tenant: application.tenant,
        })
    }

    /// Yes. Gives the address the browser goes back to, with the code.
    ///
    /// # Errors
    /// There is no such request (any more), this person is no member of that tenant, the choice is not one, or the database.
    pub async fn consent_give(&self, id: AuthorizationId, browser: &str, access: &TenantAccess, choice: Choice, issuer: &str) -> Result<String, OAuthError> {
        // Operators see every tenant and belong to none: nobody could tell later in whose name the program acts.
        if access.level() == Level::Operator {
            return Err(OAuthError::Unknown("membership"));
        }
        if !DAYS_CHOICES.contains(&choice.days) {
            return Err(refused(Fault::InvalidRequest, "that is not one of the choices"));
        }
        let transaction = db::begin_write(&self.db).await?;
        let request = self.request_take(&transaction, id, browser, access.user()).await?;
        let application = self.application_find(&request.identifier).await?;
        let asked = scopes::list(&request.packs);
        let packs: Vec<&str> = self.packs.iter().copied().filter(|pack| asked.iter().any(|asked| asked == pack) && choice.packs.iter().any(|chosen| chosen == pack)).collect();
        if packs.is_empty() || application.tenant.is_some_and(|only| only != access.tenant()) {
            return Err(refused(Fault::InvalidRequest, "nothing was allowed"));
        }
        self.make_room(&transaction, access).await?;
        let now = self.clock.now();
        let grant = oauth_grants::Model {
            id: GrantId::new().uuid(),
            client_id: access.tenant().uuid(),
            user_id: Some(access.user().id().uuid()),
            identifier: request.identifier.clone(),
            application: application.name,
            redirect_host: Some(redirects::host(&request.redirect_uri)),
            packs: packs.join(" "),
            tools_off: choice.tools_off.join(" "),
            resource: request.resource.clone(),
            refreshes: request.refreshes,
            expires_at: now + chrono::Duration::days(choice.days),
            activated_at: None,
            revoked_at: None,
            last_used_at: None,
            created_at: now,
        };
        let code = generate_as(CODE_PREFIX).map_err(|()| OAuthError::Machine("this machine has no randomness"))?;
        let row = oauth_codes::Model {
            hash: hash(code.expose_secret()),
            client_id: grant.client_id,
            grant_id: grant.id,
            redirect_uri: request.redirect_uri.clone(),
            challenge: request.challenge.clone(),
            expires_at: now + chrono::Duration::seconds(CODE_S),
            used_at: None,
        };
        let after = json!({ "application": grant.application, "host": grant.redirect_host, "packs": grant.packs, "tools_off": grant.tools_off, "expires_at": grant.expires_at });
        let change = Change { tenant: Some(access.tenant()), action: "oauth.consent", subject: GrantId::from(grant.id).to_string(), before: None, after: Some(after) };
        grant.into_active_model().insert(&transaction).await?;
        row.into_active_model().insert(&transaction).await?;
        oauth_requests::Entity::delete_by_id(request.id).exec(&transaction).await?;
        audit::record(&transaction, &self.clock, &access.actor(), change).await?;
        transaction.commit().await?;
        self.application_used(&request.identifier).await?;
        Ok(back(&request.redirect_uri, &[("code", Some(code.expose_secret())), ("state", request.state.as_deref()), ("iss", Some(issuer))]))
    }

    /// No. Gives the address the browser goes back to.
    ///
    /// # Errors
    /// There is no such request (any more), or the database.
    pub async fn consent_refuse(&self, id: AuthorizationId, browser: &str, user: &User, issuer: &str) -> Result<String, OAuthError> {
        let transaction = db::begin_write(&self.db).await?;
        let request = self.request_take(&transaction, id, browser, user).await?;
        oauth_requests::Entity::delete_by_id(request.id).exec(&transaction).await?;
        transaction.commit().await?;
        let about = Some("the person said no");
        Ok(back(&request.redirect_uri, &[("error", Some("access_denied")), ("error_description", about), ("state", request.state.as_deref()), ("iss", Some(issuer))]))
    }

    async fn make_room(&self, transaction: &sea_orm::DatabaseTransaction, access: &TenantAccess) -> Result<(), OAuthError> {
        let alive = oauth_grants::Entity::find()
            .filter(oauth_grants::Column::ClientId.eq(access.tenant().uuid()))
            .filter(oauth_grants::Column::UserId.eq(access.user().id().uuid()))
            .filter(oauth_grants::Column::RevokedAt.is_null())
            .filter(oauth_grants::Column::ExpiresAt.gt(self.clock.now()));
        let mut rows = alive.order_by_desc(oauth_grants::Column::CreatedAt).limit(GRANTS_MAX * 2).all(transaction).await?;
        rows.sort_by_key(|row| std::cmp::Reverse(row.last_used_at.unwrap_or(row.created_at)));
        let old = rows.split_off(rows.len().min(usize::try_from(GRANTS_MAX).unwrap_or(usize::MAX) - 1));
        grants::revoke_rows(transaction, &self.clock, old, &access.actor()).await?;
        Ok(())
    }
}
