//! Programs: those that registered themselves (RFC 7591), and those that the operator registered.

use ring::digest::{SHA256, digest};
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::redirects::{self, URIS_MAX};
use super::{APPLICATION_PREFIX, Fault, OAuth, OAuthError, SECRET_PREFIX, refused};
use crate::db::{
    self,
    entities::{oauth_clients, oauth_grants},
};
use crate::domain::audit::{self, Actor, Change, hex};
use crate::domain::tokens::{generate_as, well_formed_as};
use crate::ids::{GrantId, TenantId};

/// Programs that registered themselves and wait for their first use, at most: the oldest make room.
const WAITING_MAX: u64 = 5_000;
/// How long they may wait, hours; and how long one that was used is kept without a grant, days.
const WAITING_H: i64 = 24;
const IDLE_D: i64 = 90;
/// The longest name of a program, characters.
const NAME_CHARS_MAX: usize = 80;
/// Programs of the operator's, at most listed.
const LISTED_MAX: u64 = 1_000;
/// How long a machine's grant lasts, days; the operator removes the program to end it sooner.
const MACHINE_D: i64 = 5 * 365;
const DYNAMIC: &str = "dynamic";
const REGISTERED: &str = "registered";

/// How a program became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplicationKind {
    /// It registered itself: nobody has checked its name.
    Dynamic,
    /// By a document at its address: whoever runs that site vouches for it.
    Document,
    /// The operator registered it.
    Registered,
}

/// How a program shows its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretWay {
    /// It has none: PKCE is its proof.
    None,
    /// In the header.
    Basic,
    /// In the form.
    Post,
}

impl SecretWay {
    /// As RFC 7591 calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic => "client_secret_basic",
            Self::Post => "client_secret_post",
        }
    }

    /// None for a way there is not.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Basic, Self::Post].into_iter().find(|way| way.as_str() == text)
    }
}

/// A program that is known.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its client id.
    pub identifier: String,
    /// What it calls itself.
    pub name: String,
    /// How it became known.
    pub kind: ApplicationKind,
    pub(super) redirect_uris: Vec<String>,
    pub(super) refreshes: bool,
    pub(super) machine: bool,
    pub(super) tenant: Option<TenantId>,
    pub(super) secret_hash: Option<String>,
}

/// What a program says of itself when it registers.
#[derive(Clone, Debug)]
pub struct NewRegistration {
    /// Its name, if it says one.
    pub name: Option<String>,
    /// Where its people go back to.
    pub redirect_uris: Vec<String>,
    /// How it will prove itself.
    pub way: SecretWay,
    /// Whether it wants refresh tokens.
    pub refreshes: bool,
}

/// A program that the operator registers.
#[derive(Clone, Debug)]
pub struct NewApplication {
    /// For people.
    pub name: String,
    /// Where its people go back to; none for a machine.
    pub redirect_uris: Vec<String>,
    /// The only tenant it works for. A machine must have one.
    pub tenant: Option<TenantId>,
    /// The packs of a machine, which works without a person; none is a program that people sign in from.
    pub machine_packs: Option<Vec<String>>,
}

/// A program just registered: the one time its secret is seen.
pub struct Registered {
    /// The program.
    pub application: Application,
    /// How it proves itself.
    pub way: SecretWay,
    /// Its secret, if it has one.
    pub secret: Option<SecretString>,
    /// When, Unix seconds.
    pub issued_at_s: i64,
}

/// A program of the operator's as lists show it.
#[derive(Clone, Debug)]
pub struct ApplicationView {
    /// Its client id.
    pub identifier: String,
    /// For people.
    pub name: String,
    /// Of which tenant only.
    pub tenant: Option<TenantId>,
    /// Whether it works without a person.
    pub machine: bool,
    /// Where its people go back to.
    pub redirect_uris: Vec<String>,
    /// Who registered it.
    pub made_by: String,
    /// Registered, UTC.
    pub created_at: chrono::DateTime<chrono::Utc>,
    /// Last used, UTC.
    pub last_used_at: Option<chrono::DateTime<chrono::Utc>>,
}

impl OAuth {
    /// The program of that id.
    ///
    /// # Errors
    /// There is none, its document is not to be had, or the database.
    pub async fn application_find(&self, identifier: &str) -> Result<Application, OAuthError> {
        if let Some(url) = self.documents.address(identifier) {
            return self.documents.read(&url).await;
        }
        let unknown = || refused(Fault::InvalidClient, "there is no such client: register again");
        if !well_formed_as(APPLICATION_PREFIX, identifier) {
            return Err(unknown());
        }
        let row = oauth_clients::Entity::find().filter(oauth_clients::Column::Identifier.eq(identifier)).one(&self.db).await?;
        row.map(from_row).ok_or_else(unknown)
    }

    /// A program registers itself.
    ///
    /// # Errors
    /// It says something that does not make sense, there is no room, or the database.
    pub async fn application_register(&self, new: NewRegistration) -> Result<Registered, OAuthError> {
        let redirect_uris = uris_checked(new.redirect_uris)?;
        let name = match new.name.as_deref() {
            Some(name) => name_clean(name).ok_or_else(|| refused(Fault::InvalidClientMetadata, "client_name is empty or too long"))?,
            None => redirects::host(&redirect_uris[0]),
        };
        let (row, secret) = self.row(name, DYNAMIC, &redirect_uris, new.way)?;
        let row = oauth_clients::Model { refreshes: new.refreshes, ..row };
        let transaction = db::begin_write(&self.db).await?;
        let waiting = || oauth_clients::Entity::find().filter(oauth_clients::Column::Kind.eq(DYNAMIC)).filter(oauth_clients::Column::LastUsedAt.is_null());
        if waiting().count(&transaction).await? >= WAITING_MAX {
            let oldest: Option<uuid::Uuid> =
                waiting().select_only().column(oauth_clients::Column::Id).order_by_asc(oauth_clients::Column::CreatedAt).limit(1).into_tuple().one(&transaction).await?;
            if let Some(oldest) = oldest {
                oauth_clients::Entity::delete_by_id(oldest).exec(&transaction).await?;
            }
        }
        row.clone().into_active_model().insert(&transaction).await?;
        transaction.commit().await?;
        Ok(Registered { issued_at_s: row.created_at.timestamp(), application: from_row(row), way: new.way, secret })
    }

    /// The operator registers a program with a secret. A machine gets its grant at once.
    ///
    /// # Errors
    /// A name, address or pack that is not acceptable, a machine without a tenant, no such tenant, or the database.
    pub async fn application_add(&self, new: NewApplication, resource: &str, actor: &Actor) -> Result<Registered, OAuthError> {
        let name = name_clean(&new.name).ok_or_else(|| refused(Fault::InvalidClientMetadata, "a program's name has 1 to 80 characters"))?;
        if let Some(tenant) = new.tenant {
            self.tenants.tenant_find(tenant).await?;
        }
        let machine = match (&new.machine_packs, new.tenant) {
            (Some(_), None) => return Err(refused(Fault::InvalidClientMetadata, "a machine works for one tenant: name it")),
            (Some(packs), Some(tenant)) => {
                let known: Vec<&str> = self.packs.iter().copied().filter(|pack| packs.iter().any(|named| named == pack)).collect();
                if packs.is_empty() || known.len() != packs.len() {
                    return Err(refused(Fault::InvalidScope, "there is no such pack"));
                }
                Some((tenant, known.join(" ")))
            }
            (None, _) => None,
        };
        let redirect_uris = if machine.is_some() { Vec::new() } else { uris_checked(new.redirect_uris)? };
        let (row, secret) = self.row(name, REGISTERED, &redirect_uris, SecretWay::Basic)?;
        let row =
            oauth_clients::Model { client_id: new.tenant.map(TenantId::uuid), refreshes: machine.is_none(), machine: machine.is_some(), made_by: Some(actor.0.clone()), ..row };
        let transaction = db::begin_write(&self.db).await?;
        row.clone().into_active_model().insert(&transaction).await?;
        if let Some((tenant, packs)) = &machine {
            let now = self.clock.now();
            let grant = oauth_grants::Model {
                id: GrantId::new().uuid(),
                client_id: tenant.uuid(),
                user_id: None,
                identifier: row.identifier.clone(),
                application: row.name.clone(),
                redirect_host: None,
                packs: packs.clone(),
                tools_off: String::new(),
                resource: resource.to_owned(),
                refreshes: false,
                expires_at: now + chrono::Duration::days(MACHINE_D),
                activated_at: Some(now),
                revoked_at: None,
                last_used_at: None,
                created_at: now,
            };
            grant.into_active_model().insert(&transaction).await?;
        }
        let after = json!({ "name": row.name, "redirect_uris": redirect_uris, "packs": machine.as_ref().map(|(_, packs)| packs) });
        let change = Change { tenant: new.tenant, action: "oauth.client_add", subject: row.identifier.clone(), before: None, after: Some(after) };
        audit::record(&transaction, &self.clock, actor, change).await?;
        transaction.commit().await?;
        Ok(Registered { issued_at_s: row.created_at.timestamp(), application: from_row(row), way: SecretWay::Basic, secret })
    }

    /// The programs that the operator registered, the newest first.
    ///
    /// # Errors
    /// The database.
    pub async fn application_list(&self) -> Result<Vec<ApplicationView>, OAuthError> {
        let rows = oauth_clients::Entity::find().filter(oauth_clients::Column::Kind.eq(REGISTERED)).order_by_desc(oauth_clients::Column::Id).limit(LISTED_MAX);
        let view = |row: oauth_clients::Model| ApplicationView {
            redirect_uris: serde_json::from_str(&row.redirect_uris).unwrap_or_default(),
            identifier: row.identifier,
            name: row.name,
            tenant: row.client_id.map(TenantId::from),
            machine: row.machine,
            made_by: row.made_by.unwrap_or_default(),
            created_at: row.created_at,
            last_used_at: row.last_used_at,
        };
        Ok(rows.all(&self.db).await?.into_iter().map(view).collect())
    }

    /// Removes a program and ends what it was allowed, everywhere.
    ///
    /// # Errors
    /// There is none, or the database.
    pub async fn application_remove(&self, identifier: &str, actor: &Actor) -> Result<(), OAuthError> {
        let transaction = db::begin_write(&self.db).await?;
        let row = oauth_clients::Entity::find().filter(oauth_clients::Column::Identifier.eq(identifier)).one(&transaction).await?.ok_or(OAuthError::Unknown("program"))?;
        let grants =
            oauth_grants::Entity::find().filter(oauth_grants::Column::Identifier.eq(identifier)).filter(oauth_grants::Column::RevokedAt.is_null()).all(&transaction).await?;
        let tenants = super::grants::revoke_rows(&transaction, &self.clock, grants, actor).await?;
        oauth_clients::Entity::delete_by_id(row.id).exec(&transaction).await?;
        let change =
            Change { tenant: row.client_id.map(TenantId::from), action: "oauth.client_remove", subject: row.identifier, before: Some(json!({ "name": row.name })), after: None };
        audit::record(&transaction, &self.clock, actor, change).await?;
        transaction.commit().await?;
        for tenant in tenants {
            self.tokens.forget(tenant);
        }
        Ok(())
    }

    /// A program was used. Not part of anything that must hold.
    pub(super) async fn application_used(&self, identifier: &str) -> Result<(), OAuthError> {
        let used = oauth_clients::Entity::update_many().col_expr(oauth_clients::Column::LastUsedAt, Expr::value(self.clock.now()));
        used.filter(oauth_clients::Column::Identifier.eq(identifier)).exec(&self.db).await?;
        Ok(())
    }

    pub(super) async fn applications_prune(&self) -> Result<(), sea_orm::DbErr> {
        let now = self.clock.now();
        let dynamic = || oauth_clients::Entity::delete_many().filter(oauth_clients::Column::Kind.eq(DYNAMIC));
        let old = oauth_clients::Column::CreatedAt.lt(now - chrono::Duration::hours(WAITING_H));
        dynamic().filter(oauth_clients::Column::LastUsedAt.is_null()).filter(old).exec(&self.db).await?;
        let alive = Query::select().column(oauth_grants::Column::Identifier).from(oauth_grants::Entity).to_owned();
        let idle = oauth_clients::Column::LastUsedAt.lt(now - chrono::Duration::days(IDLE_D));
        dynamic().filter(idle).filter(oauth_clients::Column::Identifier.not_in_subquery(alive)).exec(&self.db).await?;
        Ok(())
    }

    fn row(&self, name: String, kind: &str, redirect_uris: &[String], way: SecretWay) -> Result<(oauth_clients::Model, Option<SecretString>), OAuthError> {
        let random = |prefix| generate_as(prefix).map_err(|()| OAuthError::Machine("this machine has no randomness"));
        let secret = if way == SecretWay::None { None } else { Some(random(SECRET_PREFIX)?) };
        let row = oauth_clients::Model {
            id: uuid::Uuid::now_v7(),
            client_id: None,
            identifier: random(APPLICATION_PREFIX)?.expose_secret().to_owned(),
            kind: kind.to_owned(),
            name,
            redirect_uris: json!(redirect_uris).to_string(),
            auth_method: way.as_str().to_owned(),
            secret_hash: secret.as_ref().map(|secret| hash(secret.expose_secret())),
            refreshes: false,
            machine: false,
            made_by: None,
            created_at: self.clock.now(),
            last_used_at: None,
        };
        Ok((row, secret))
    }
}

fn from_row(row: oauth_clients::Model) -> Application {
    Application {
        redirect_uris: serde_json::from_str(&row.redirect_uris).unwrap_or_default(),
        kind: if row.kind == REGISTERED { ApplicationKind::Registered } else { ApplicationKind::Dynamic },
        identifier: row.identifier,
        name: row.name,
        refreshes: row.refreshes,
        machine: row.machine,
        tenant: row.client_id.map(TenantId::from),
        secret_hash: row.secret_hash,
    }
}

/// Addresses as they may be registered.
pub(super) fn uris_checked(uris: Vec<String>) -> Result<Vec<String>, OAuthError> {
    if uris.is_empty() || uris.len() > URIS_MAX || !uris.iter().all(|uri| redirects::place(uri).is_some()) {
        let about = "redirect_uris must be 1 to 20 addresses: https, http on 127.0.0.1, [::1] or localhost, or a scheme of your own (name://…), without a fragment";
        return Err(refused(Fault::InvalidRedirectUri, about));
    }
    Ok(uris)
}

/// A name without what could make it look like another: line breaks, other control characters, marks of direction.
pub(super) fn name_clean(name: &str) -> Option<String> {
    let odd = |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let name: String = name.chars().filter(|c| !odd(*c)).collect();
    let name = name.trim();
    (!name.is_empty() && name.chars().count() <= NAME_CHARS_MAX).then(|| name.to_owned())
}

/// Under which a secret is stored.
pub(super) fn hash(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}
