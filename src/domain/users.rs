//! People who sign in to the portal: operators, who run the service, and members, who see the tenants they belong to.
//!
//! The only maker of a [`User`], and through it of the proofs [`Operator`] and [`TenantAccess`]: whoever holds one was let in, now. Here is the
//! account itself; passwords, signing in, sessions and one-time links have their own files.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QuerySelect};
use secrecy::SecretString;
use serde_json::json;

use super::audit::{self, Actor, Change, hex};
use super::vault::{Vault, VaultError};
use crate::clock::Clock;
use crate::db::{self, entities::users};
use crate::ids::UserId;
use crate::text::Language;

mod email;
mod keys;
mod links;
mod members;
mod passwords;
mod people;
mod proofs;
mod second_factor;
mod sessions;
mod sign_in;
mod sign_up;

pub use email::EmailChanged;
pub use links::{Addressed, Joining, LinkPurpose, LinkView, NewLink};
pub use members::{MemberBy, MemberView};
use passwords::Passwords;
pub use people::{PersonPage, PersonQuery, PersonView};
pub use proofs::{AnyOperator, Level, Membership, Operator, Role, TenantAccess, User};
pub use second_factor::{Enrolment, SecondFactorView};
pub use sessions::{NewSession, SessionFrom, SessionView};
pub use sign_in::SignInRefusal;
pub use sign_up::{Applicant, Confirmed, NewSignUp, SignUpView, SignedUp};

/// Bytes of a random secret (a cookie, a link).
const SECRET_BYTES: usize = 32;
/// The longest name of a person, characters.
const NAME_CHARS_MAX: usize = 100;
/// The longest e-mail address, bytes (RFC 5321).
const EMAIL_BYTES_MAX: usize = 254;

/// What can go wrong with people.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is no such person, session or link (any more).
    #[error("no such {0}")]
    Unknown(&'static str),
    /// A value that is not acceptable: which field, and the sentence (`portal.faults.<fault>` in `locales/`).
    #[error("{field}: {fault}")]
    Invalid {
        /// The field of the form.
        field: &'static str,
        /// The sentence's key.
        fault: &'static str,
    },
    /// Somebody else changed it meanwhile.
    #[error("changed by somebody else meanwhile")]
    Stale,
    /// Too much to do; a moment later it works.
    #[error("too many passwords are being checked")]
    Busy,
    /// The database.
    #[error("database: {0}")]
    Db(#[from] DbErr),
    /// The vault does not seal or open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The machine (randomness, hashing).
    #[error("{0}")]
    Machine(String),
}

fn invalid(field: &'static str, fault: &'static str) -> UserError {
    UserError::Invalid { field, fault }
}

/// How people are let in.
#[derive(Clone, Copy, Debug)]
pub struct UserSettings {
    /// A session unused for so long ends, seconds.
    pub session_idle_s: u64,
    /// A session ends after so long, seconds.
    pub session_max_s: u64,
    /// Refused sign-ins in a row before an account has to wait.
    pub sign_in_failures_max: u32,
    /// Memory of one password's hash, KiB.
    pub password_memory_kib: u32,
    /// Passes over it.
    pub password_passes: u32,
    /// Hashed at the same time.
    pub passwords_at_once: usize,
    /// Whether an operator without a second factor must set one up before anything else.
    pub operators_need_second_factor: bool,
}

/// An account about to be made.
pub struct NewUser {
    /// E-mail address.
    pub email: String,
    /// As they call themselves; none takes what stands before the @.
    pub name: Option<String>,
    /// What they are.
    pub role: Role,
    /// The language of their pages.
    pub language: Language,
    /// Their password; none waits for a link.
    pub password: Option<SecretString>,
}

/// The operations on people. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Users {
    db: DatabaseConnection,
    vault: Vault,
    clock: Clock,
    settings: UserSettings,
    passwords: Passwords,
}

impl Users {
    /// Over that database and vault.
    ///
    /// # Errors
    /// The settings of the password's hash are outside of what argon2 takes.
    pub fn new(db: DatabaseConnection, vault: Vault, clock: Clock, settings: UserSettings) -> anyhow::Result<Self> {
        let passwords = Passwords::new(settings.password_memory_kib, settings.password_passes, settings.passwords_at_once)?;
        Ok(Self { db, vault, clock, settings, passwords })
    }

    /// Whether nobody can run the service from the portal yet.
    ///
    /// # Errors
    /// The database.
    pub async fn no_operator(&self) -> Result<bool, UserError> {
        let active = users::Entity::find().filter(users::Column::Role.eq(Role::Operator.as_str())).filter(users::Column::Status.eq("active"));
        Ok(active.count(&self.db).await? == 0)
    }

    /// Makes an account.
    ///
    /// # Errors
    /// A value that is not acceptable, an e-mail address that has one already, or the database.
    pub async fn user_create(&self, new: NewUser, actor: &Actor) -> Result<UserId, UserError> {
        let email = checked_email(&new.email)?;
        let hash = match &new.password {
            Some(password) => Some(self.passwords.choose(password, &email).await?),
            None => None,
        };
        let transaction = db::begin_write(&self.db).await?;
        let status = if hash.is_some() { "active" } else { "pending" };
        let row = self.insert(&transaction, &email, &new, hash, status, actor).await?;
        transaction.commit().await?;
        Ok(row.id.into())
    }

    /// The person of that e-mail address.
    ///
    /// # Errors
    /// There is none, or the database.
    pub async fn user_by_email(&self, email: &str) -> Result<UserId, UserError> {
        let row = users::Entity::find().filter(users::Column::Email.eq(normal_email(email))).one(&self.db).await?;
        row.map(|row| row.id.into()).ok_or(UserError::Unknown("user"))
    }

    /// Changes one's own name and language. `version` is the one the page was made with.
    ///
    /// # Errors
    /// A bad name, somebody else's newer change, or the database.
    pub async fn profile_edit(&self, user: &User, name: &str, language: Language, version: i32) -> Result<(), UserError> {
        let name = checked_name(name)?;
        let transaction = db::begin_write(&self.db).await?;
        let mut row = locked(&transaction, user.id()).await?;
        if row.version != version {
            return Err(UserError::Stale);
        }
        let before = public_json(&row);
        row.name = name;
        language.as_str().clone_into(&mut row.language);
        row.version += 1;
        row.updated_at = self.clock.now();
        let change = Change { tenant: None, action: "user.edit", subject: user.id().to_string(), before: Some(before), after: Some(public_json(&row)) };
        row.into_active_model().reset_all().update(&transaction).await?;
        audit::record(&transaction, &self.clock, &user.actor(), change).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn insert(
        &self,
        transaction: &DatabaseTransaction,
        email: &str,
        new: &NewUser,
        password_hash: Option<String>,
        status: &str,
        actor: &Actor,
    ) -> Result<users::Model, UserError> {
        if users::Entity::find().filter(users::Column::Email.eq(email)).one(transaction).await?.is_some() {
            return Err(invalid("email", "email_taken"));
        }
        let name = match &new.name {
            Some(name) => checked_name(name)?,
            None => email.split('@').next().unwrap_or(email).to_owned(),
        };
        let now = self.clock.now();
        let row = users::Model {
            id: UserId::new().uuid(),
            email: email.to_owned(),
            name,
            status: status.to_owned(),
            password_hash,
            role: new.role.as_str().to_owned(),
            language: new.language.as_str().to_owned(),
            email_confirmed_at: None,
            failed_signins: 0,
            locked_until: None,
            data_key_sealed: None,
            totp_secret_sealed: None,
            totp_confirmed_at: None,
            totp_last_step: None,
            recovery_hashes: None,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        row.clone().into_active_model().insert(transaction).await?;
        let change = Change { tenant: None, action: "user.add", subject: row.id.to_string(), before: None, after: Some(public_json(&row)) };
        audit::record(transaction, &self.clock, actor, change).await?;
        Ok(row)
    }
}

/// Somebody's row, which nobody else changes before this transaction ends: an edit writes all of it back.
async fn locked(transaction: &DatabaseTransaction, id: UserId) -> Result<users::Model, UserError> {
    users::Entity::find_by_id(id.uuid()).lock_exclusive().one(transaction).await?.ok_or(UserError::Unknown("user"))
}

/// Lower case, without blanks around.
fn normal_email(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Whether it has the shape of an address is all that can be known without writing to it.
fn checked_email(email: &str) -> Result<String, UserError> {
    let email = normal_email(email);
    let shaped = email.split_once('@').is_some_and(|(local, domain)| {
        let label = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-');
        !local.is_empty() && domain.contains('.') && domain.split('.').all(label)
    });
    if !shaped || email.len() > EMAIL_BYTES_MAX || email.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(invalid("email", "email"));
    }
    Ok(email)
}

fn checked_name(name: &str) -> Result<String, UserError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(invalid("name", "name"));
    }
    Ok(name.to_owned())
}

/// What the audit may show of a person.
fn public_json(row: &users::Model) -> serde_json::Value {
    json!({ "email": row.email, "name": row.name, "role": row.role, "language": row.language, "status": row.status })
}

/// A new random secret as text, and the hash under which it is stored.
fn secret_make() -> Result<(SecretString, String), UserError> {
    let mut raw = zeroize::Zeroizing::new([0; SECRET_BYTES]);
    SystemRandom::new().fill(&mut *raw).map_err(|_| UserError::Machine("the machine has no randomness".to_owned()))?;
    let text = URL_SAFE_NO_PAD.encode(*raw);
    let hash = secret_hash(&text);
    Ok((SecretString::from(text), hash))
}

fn secret_hash(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

/// Whether a text can be a secret of ours at all: what cannot is not looked up.
fn secret_shaped(text: &str) -> bool {
    text.len() == SECRET_BYTES.div_ceil(3) * 4 - 1 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn seconds(count: u64) -> chrono::Duration {
    chrono::Duration::seconds(i64::try_from(count).unwrap_or(i64::MAX / 1_000_000))
}

/// The earlier one.
fn earlier(a: DateTime<Utc>, b: DateTime<Utc>) -> DateTime<Utc> {
    a.min(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_shape() {
        assert_eq!(checked_email("  Ana@Ejemplo.DO ").unwrap(), "ana@ejemplo.do");
        for bad in ["", "ana", "ana@", "@ejemplo.do", "ana@ejemplo", "ana@ejemplo..do", "a na@ejemplo.do", "ana@eje mplo.do", "ana@ejemplo.do\nbcc: x@y.z", "ana@@ejemplo.do"] {
            assert!(checked_email(bad).is_err(), "{bad}");
        }
        assert!(checked_email(&format!("{}@ejemplo.do", "a".repeat(260))).is_err());
    }

    #[test]
    fn secrets_have_a_shape() {
        let (secret, hash) = secret_make().unwrap();
        let text = secrecy::ExposeSecret::expose_secret(&secret);
        assert!(secret_shaped(text), "{text}");
        assert_eq!(secret_hash(text), hash);
        for bad in ["", "x", &text[1..], &format!("{text}x"), &format!("{}!", &text[1..])] {
            assert!(!secret_shaped(bad), "{bad}");
        }
    }
}
