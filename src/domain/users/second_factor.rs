//! The second factor: codes of an authenticator app (TOTP, RFC 6238) and recovery codes for the day the telephone is lost.
//!
//! The app's secret is sealed by the vault with a data key of its owner; of recovery codes only hashes are kept. No code works twice: a time step
//! is accepted once, a recovery code is struck out. Attempts are counted with those at the password, so that nobody guesses six digits.

use chrono::{DateTime, Utc};
use ring::rand::{SecureRandom, SystemRandom};
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use totp_rs::{Builder, Secret, Totp};

use super::{AnyOperator, NewSession, Role, SessionFrom, SignInRefusal, User, UserError, Users, invalid, locked, secret_hash, secret_shaped};
use crate::db::{
    self,
    entities::{sessions, users},
};
use crate::domain::audit::{self, Actor, Change};
use crate::domain::vault::Sealed;
use crate::ids::UserId;

/// What apps call us.
const ISSUER: &str = "Dunet";
/// The name that binds the sealed secret to its place.
const FIELD: &str = "totp_secret";
/// Bytes of an app's secret (RFC 4226 recommends 20).
const SECRET_BYTES: usize = 20;
/// Recovery codes somebody has, and characters of one (80 bits).
const RECOVERY_CODES: usize = 10;
const RECOVERY_CHARS: usize = 16;
/// Crockford's base 32: no letter is mistaken for a digit.
const RECOVERY_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// The longest code that is looked at, characters.
const CODE_CHARS_MAX: usize = 64;

/// How somebody's second factor stands.
pub struct SecondFactorView {
    /// Since when it is asked for; none is not.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// Begun, and not confirmed yet.
    pub enrolment: Option<Enrolment>,
    /// Recovery codes left.
    pub recovery_left: usize,
}

/// What an authenticator app is given.
pub struct Enrolment {
    /// Base 32, for typing.
    pub secret: SecretString,
    /// `otpauth://…`, for the QR code.
    pub address: SecretString,
}

impl Users {
    /// How one's own second factor stands.
    ///
    /// # Errors
    /// The vault or the database.
    pub async fn second_factor_look(&self, user: &User) -> Result<SecondFactorView, UserError> {
        let row = users::Entity::find_by_id(user.id().uuid()).one(&self.db).await?.ok_or(UserError::Unknown("user"))?;
        let enrolment = match (row.totp_confirmed_at, self.totp(&row)?) {
            (None, Some(totp)) => {
                let address = totp.to_url().map_err(|error| UserError::Machine(format!("an otpauth address: {error}")))?;
                Some(Enrolment { secret: SecretString::from(totp.secret().to_base32()), address: SecretString::from(address) })
            }
            _ => None,
        };
        Ok(SecondFactorView { confirmed_at: row.totp_confirmed_at, enrolment, recovery_left: recovery_hashes(&row).len() })
    }

    /// Begins: a new secret, which counts for nothing until a code of it was given.
    ///
    /// # Errors
    /// The password is wrong, there is a second factor already, the vault or the database.
    pub async fn second_factor_begin(&self, user: &User, current: &SecretString) -> Result<(), UserError> {
        self.password_again(user, current).await?;
        let mut raw = [0; SECRET_BYTES];
        SystemRandom::new().fill(&mut raw).map_err(|_| UserError::Machine("the machine has no randomness".to_owned()))?;
        let secret = SecretString::from(Secret::from(raw).to_base32());
        let transaction = db::begin_write(&self.db).await?;
        let mut row = locked(&transaction, user.id()).await?;
        if row.totp_confirmed_at.is_some() {
            return Err(invalid("form", "second_factor_on"));
        }
        let key = match row.data_key_sealed.take() {
            Some(key) => Sealed(key),
            None => self.vault.data_key_make(user.id())?,
        };
        row.totp_secret_sealed = Some(self.vault.seal(user.id(), &key, FIELD, &secret)?.0);
        row.data_key_sealed = Some(key.0);
        row.totp_last_step = None;
        row.recovery_hashes = None;
        row.updated_at = self.clock.now();
        row.into_active_model().reset_all().update(&transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Confirms it with a code of the app: from now on it is asked for. Gives the recovery codes, one a line; they exist nowhere else. The other
    /// sessions, which were begun without it, end.
    ///
    /// # Errors
    /// The code does not fit, none was begun, the vault or the database.
    pub async fn second_factor_confirm(&self, user: &User, code: &str) -> Result<SecretString, UserError> {
        let transaction = db::begin_write(&self.db).await?;
        let mut row = locked(&transaction, user.id()).await?;
        if row.totp_confirmed_at.is_some() {
            return Err(invalid("form", "second_factor_on"));
        }
        let totp = self.totp(&row)?.ok_or(UserError::Unknown("second factor"))?;
        let step = self.step(&totp, code).ok_or(invalid("code", "code"))?;
        let (codes, hashes) = recovery_make()?;
        row.totp_confirmed_at = Some(self.clock.now());
        row.totp_last_step = Some(step);
        row.recovery_hashes = Some(json!(hashes));
        row.updated_at = self.clock.now();
        row.into_active_model().reset_all().update(&transaction).await?;
        self.sessions_end(&transaction, user.id(), Some(user.session())).await?;
        self.second_factor_record(&transaction, &user.actor(), user.id(), "on").await?;
        transaction.commit().await?;
        Ok(codes)
    }

    /// New recovery codes in place of those there are.
    ///
    /// # Errors
    /// The password is wrong, there is no second factor, or the database.
    pub async fn recovery_renew(&self, user: &User, current: &SecretString) -> Result<SecretString, UserError> {
        self.password_again(user, current).await?;
        let transaction = db::begin_write(&self.db).await?;
        let mut row = locked(&transaction, user.id()).await?;
        if row.totp_confirmed_at.is_none() {
            return Err(UserError::Unknown("second factor"));
        }
        let (codes, hashes) = recovery_make()?;
        row.recovery_hashes = Some(json!(hashes));
        row.updated_at = self.clock.now();
        row.into_active_model().reset_all().update(&transaction).await?;
        self.second_factor_record(&transaction, &user.actor(), user.id(), "recovery codes").await?;
        transaction.commit().await?;
        Ok(codes)
    }

    /// Switches one's own second factor off.
    ///
    /// # Errors
    /// The password is wrong, operators must have one here, or the database.
    pub async fn second_factor_off(&self, user: &User, current: &SecretString) -> Result<(), UserError> {
        if user.role() == Role::Operator && self.settings.operators_need_second_factor && user.second_factor() {
            return Err(invalid("form", "second_factor_needed"));
        }
        self.password_again(user, current).await?;
        let transaction = db::begin_write(&self.db).await?;
        let row = locked(&transaction, user.id()).await?;
        self.second_factor_clear(&transaction, row).await?;
        self.second_factor_record(&transaction, &user.actor(), user.id(), "off").await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Takes somebody's second factor away who has lost telephone and recovery codes; their sessions end.
    ///
    /// # Errors
    /// There is no such person or second factor, or the database.
    pub async fn second_factor_reset(&self, operator: &AnyOperator, user: UserId) -> Result<(), UserError> {
        let transaction = db::begin_write(&self.db).await?;
        let row = locked(&transaction, user).await?;
        if row.totp_secret_sealed.is_none() {
            return Err(UserError::Unknown("second factor"));
        }
        self.second_factor_clear(&transaction, row).await?;
        self.sessions_end(&transaction, user, None).await?;
        self.second_factor_record(&transaction, &operator.actor(), user, "reset").await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Whose second factor the session waits for that the browser came with; none when there is none (any more).
    ///
    /// # Errors
    /// The database.
    pub async fn second_factor_waiting(&self, from: &SessionFrom) -> Result<Option<String>, UserError> {
        Ok(self.waiting(from).await?.map(|(_, user)| user.email))
    }

    /// Signs in with a code of the app or a recovery code, after the password: a new session in place of the one that waited.
    ///
    /// # Errors
    /// See [`SignInRefusal`]. A wrong code, one that was used, a locked account and a session that ended get the same answer.
    pub async fn second_factor_pass(&self, code: &str, from: &SessionFrom) -> Result<NewSession, SignInRefusal> {
        let Some((session, user)) = self.waiting(from).await? else { return Err(SignInRefusal::Refused) };
        if self.attempt_count(&user.email).await?.is_none() {
            return Err(SignInRefusal::Refused);
        }
        let transaction = db::begin_write(&self.db).await?;
        // Under the lock of the row: of two that send the same code at once, one finds it used.
        let mut row = locked(&transaction, user.id.into()).await?;
        let ended = sessions::Entity::delete_by_id(session.hash).exec(&transaction).await?.rows_affected == 0;
        if ended || row.status != "active" || row.totp_confirmed_at.is_none() {
            return Err(SignInRefusal::Refused);
        }
        let Some(by) = self.code_take(&mut row, code)? else { return Err(SignInRefusal::Refused) };
        row.failed_signins = 0;
        row.locked_until = None;
        let (id, actor, left) = (row.id, Actor(row.email.clone()), recovery_hashes(&row).len());
        row.into_active_model().reset_all().update(&transaction).await?;
        let new = self.session_begin(&transaction, id.into(), from, true).await?;
        let after = json!({ "address": from.address, "second_factor": by, "recovery_left": left });
        audit::record(&transaction, &self.clock, &actor, Change { tenant: None, action: "user.sign_in", subject: id.to_string(), before: None, after: Some(after) }).await?;
        transaction.commit().await?;
        Ok(new)
    }

    async fn waiting(&self, from: &SessionFrom) -> Result<Option<(sessions::Model, users::Model)>, UserError> {
        let Some(cookie) = from.previous.as_ref().map(ExposeSecret::expose_secret).filter(|cookie| secret_shaped(cookie)) else { return Ok(None) };
        let waiting = sessions::Entity::find_by_id(secret_hash(cookie)).filter(sessions::Column::SecondFactorDone.eq(false)).one(&self.db).await?;
        let Some(session) = waiting.filter(|session| session.expires_at > self.clock.now()) else { return Ok(None) };
        let user = users::Entity::find_by_id(session.user_id).filter(users::Column::Status.eq("active")).one(&self.db).await?;
        Ok(user.map(|user| (session, user)))
    }

    /// Takes a code for good; by what, if it fits.
    fn code_take(&self, row: &mut users::Model, code: &str) -> Result<Option<&'static str>, UserError> {
        if let Some(totp) = self.totp(row)?
            && let Some(step) = self.step(&totp, code)
        {
            if row.totp_last_step.is_some_and(|last| step <= last) {
                return Ok(None);
            }
            row.totp_last_step = Some(step);
            return Ok(Some("totp"));
        }
        let Some(code) = recovery_normal(code) else { return Ok(None) };
        let mut hashes = recovery_hashes(row);
        let before = hashes.len();
        hashes.retain(|hash| *hash != secret_hash(&code));
        if hashes.len() == before {
            return Ok(None);
        }
        row.recovery_hashes = Some(json!(hashes));
        Ok(Some("recovery"))
    }

    /// The time step of a code of the app, a step early or late.
    fn step(&self, totp: &Totp, code: &str) -> Option<i64> {
        let digits: String = code.chars().take(CODE_CHARS_MAX).filter(|c| !c.is_whitespace()).collect();
        let now = u64::try_from(self.clock.now().timestamp()).ok()?;
        totp.check(&digits, now).and_then(|step| i64::try_from(step).ok())
    }

    fn totp(&self, row: &users::Model) -> Result<Option<Totp>, UserError> {
        let (Some(key), Some(sealed)) = (&row.data_key_sealed, &row.totp_secret_sealed) else { return Ok(None) };
        let text = self.vault.open(UserId::from(row.id), &Sealed(key.clone()), FIELD, &Sealed(sealed.clone()))?;
        let secret = Secret::try_from_base32(text.expose_secret()).map_err(|error| UserError::Machine(format!("a stored secret: {error}")))?;
        // A colon would end the account's name.
        let account = row.email.replace(':', " ");
        let totp = Builder::new().with_secret(secret).with_account_name(account).with_issuer(Some(ISSUER)).build();
        totp.map(Some).map_err(|error| UserError::Machine(format!("a second factor: {error}")))
    }

    async fn second_factor_clear(&self, transaction: &DatabaseTransaction, mut row: users::Model) -> Result<(), UserError> {
        row.totp_secret_sealed = None;
        row.totp_confirmed_at = None;
        row.totp_last_step = None;
        row.recovery_hashes = None;
        row.updated_at = self.clock.now();
        row.into_active_model().reset_all().update(transaction).await?;
        Ok(())
    }

    async fn second_factor_record(&self, transaction: &DatabaseTransaction, actor: &Actor, user: UserId, what: &str) -> Result<(), UserError> {
        let change = Change { tenant: None, action: "user.second_factor", subject: user.to_string(), before: None, after: Some(json!({ "second_factor": what })) };
        audit::record(transaction, &self.clock, actor, change).await?;
        Ok(())
    }
}

fn recovery_hashes(row: &users::Model) -> Vec<String> {
    row.recovery_hashes.clone().and_then(|list| serde_json::from_value(list).ok()).unwrap_or_default()
}

/// New recovery codes, one a line, in groups of four; and their hashes.
fn recovery_make() -> Result<(SecretString, Vec<String>), UserError> {
    let mut raw = zeroize::Zeroizing::new([0; RECOVERY_CODES * RECOVERY_CHARS]);
    SystemRandom::new().fill(&mut *raw).map_err(|_| UserError::Machine("the machine has no randomness".to_owned()))?;
    let mut codes = String::new();
    let mut hashes = Vec::new();
    for bytes in raw.chunks(RECOVERY_CHARS) {
        let code: String = bytes.iter().map(|byte| char::from(RECOVERY_ALPHABET[usize::from(byte % 32)])).collect();
        hashes.push(secret_hash(&code));
        if !codes.is_empty() {
            codes.push('\n');
        }
        for (at, c) in code.chars().enumerate() {
            if at > 0 && at % 4 == 0 {
                codes.push('-');
            }
            codes.push(c);
        }
    }
    Ok((SecretString::from(codes), hashes))
}

/// As hashed, whatever blanks, dashes and capitals it was typed with; none when it cannot be one.
fn recovery_normal(code: &str) -> Option<String> {
    let plain = code.chars().take(CODE_CHARS_MAX).filter(|c| !c.is_whitespace() && *c != '-').map(|c| match c.to_ascii_lowercase() {
        'o' => '0',
        'i' | 'l' => '1',
        other => other,
    });
    let plain: String = plain.collect();
    (plain.len() == RECOVERY_CHARS && plain.bytes().all(|byte| RECOVERY_ALPHABET.contains(&byte))).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_codes_are_typed_as_people_type() {
        let (codes, hashes) = recovery_make().unwrap();
        let codes: Vec<&str> = codes.expose_secret().lines().collect();
        assert_eq!((codes.len(), hashes.len()), (RECOVERY_CODES, RECOVERY_CODES));
        for (code, hash) in codes.iter().zip(&hashes) {
            for typed in [(*code).to_owned(), code.to_uppercase(), code.replace('-', ""), format!(" {} ", code.replace('-', " ")), code.replace('0', "O").replace('1', "l")] {
                assert_eq!(secret_hash(&recovery_normal(&typed).unwrap()), *hash, "{typed}");
            }
        }
        for bad in ["", "123456", "xxxx-xxxx-xxxx", "uuuu-uuuu-uuuu-uuuu", &"0".repeat(100)] {
            assert!(recovery_normal(bad).is_none(), "{bad}");
        }
    }
}
