//! Passwords: argon2id, off the async threads and so many at once; and what a password must be.
//!
//! No rules about digits and capitals: length, and not one of those everybody tries first (NIST SP 800-63B).

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::{UserError, invalid};

/// Fewest and most characters.
const CHARS_MIN: usize = 12;
const CHARS_MAX: usize = 128;
/// The longest wait for a place among those being hashed.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Stands where a person's hash would: the same work, and no password fits.
const NO_SALT: &str = "ZHVuZXQgZHVtbXkgc2FsdA";
const NO_HASH: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// What everybody tries first, of those that are long enough; in lower case.
const COMMON: &str = include_str!("common_passwords.txt");

/// Hashes and checks passwords. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Passwords {
    params: Params,
    places: Arc<Semaphore>,
}

impl Passwords {
    pub(super) fn new(memory_kib: u32, passes: u32, at_once: usize) -> anyhow::Result<Self> {
        let params = Params::new(memory_kib, passes, 1, None).map_err(|error| anyhow::anyhow!("the settings of password hashes: {error}"))?;
        Ok(Self { params, places: Arc::new(Semaphore::new(at_once.max(1))) })
    }

    /// Checks a password that is being chosen and gives its hash.
    pub(super) async fn choose(&self, password: &SecretString, email: &str) -> Result<String, UserError> {
        acceptable(password.expose_secret(), email).map_err(|fault| invalid("password", fault))?;
        let text = normal(password);
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone());
        self.work(move || argon.hash_password(text.as_bytes()).map(|hash| hash.to_string())).await?.map_err(|error| UserError::Machine(format!("hashing a password: {error}")))
    }

    /// Whether the password fits the hash. Without a hash it takes as long, and does not.
    pub(super) async fn fits(&self, password: &SecretString, hash: Option<&str>) -> Result<bool, UserError> {
        let known = hash.is_some();
        let hash = hash.map_or_else(|| format!("$argon2id$v=19$m={},t={},p=1${NO_SALT}${NO_HASH}", self.params.m_cost(), self.params.t_cost()), str::to_owned);
        // Nothing that long was ever chosen; hashing it would only cost.
        if password.expose_secret().chars().count() > CHARS_MAX {
            return Ok(false);
        }
        let text = normal(password);
        let fits = self.work(move || Argon2::default().verify_password(text.as_bytes(), hash.as_str()).is_ok()).await?;
        Ok(fits && known)
    }

    /// Work of some ten milliseconds and megabytes, on a thread that may block.
    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, UserError> {
        let place = tokio::time::timeout(WAIT_MAX, Arc::clone(&self.places).acquire_owned()).await.map_err(|_| UserError::Busy)?;
        let place = place.map_err(|_| UserError::Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            // Kept to the end of the work, not of the wait: who hangs up frees no processor.
            drop(place);
            done
        });
        done.await.map_err(|error| UserError::Machine(format!("hashing a password: {error}")))
    }
}

/// The same letters typed on another keyboard are the same password.
fn normal(password: &SecretString) -> Zeroizing<String> {
    Zeroizing::new(password.expose_secret().nfkc().collect())
}

/// Why not, as the key of a sentence.
fn acceptable(password: &str, email: &str) -> Result<(), &'static str> {
    let count = password.chars().count();
    if count < CHARS_MIN {
        return Err("password_short");
    }
    if count > CHARS_MAX {
        return Err("password_long");
    }
    let lower = password.to_lowercase();
    if lower.contains(email) || email.split('@').next().is_some_and(|local| local.len() >= 4 && lower.trim_matches(|c: char| !c.is_alphabetic()) == local) {
        return Err("password_email");
    }
    if COMMON.lines().any(|common| common == lower) || repeats(&lower) {
        return Err("password_common");
    }
    Ok(())
}

/// Whether it is one piece of up to four characters again and again.
fn repeats(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    (1..=4).any(|period| chars.iter().zip(chars.iter().skip(period)).all(|(a, b)| a == b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    #[test]
    fn what_everybody_tries_is_refused() {
        let email = "mariana@ejemplo.do";
        assert_eq!(acceptable("once letras", email), Err("password_short"));
        assert_eq!(acceptable(&"ñandú azul ".repeat(12), email), Err("password_long"));
        for common in ["123456789012", "Password1234", "qwertyuiop[]", "aaaaaaaaaaaa", "abcabcabcabc", "Contraseña123"] {
            assert_eq!(acceptable(common, email), Err("password_common"), "{common}");
        }
        for own in ["mariana@ejemplo.do", "mariana@ejemplo.do1", "mariana123456"] {
            assert_eq!(acceptable(own, email), Err("password_email"), "{own}");
        }
        assert_eq!(acceptable("caballo bateria grapa", email), Ok(()));
        assert!(COMMON.lines().all(|line| line == line.to_lowercase() && line.chars().count() >= CHARS_MIN), "the list is in lower case and long enough to matter");
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::new(64, 1, 2).unwrap();
        let hash = passwords.choose(&secret("caballo batería grapa"), "a@b.do").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        assert!(passwords.fits(&secret("caballo batería grapa"), Some(&hash)).await.unwrap());
        assert!(passwords.fits(&secret("caballo bateri\u{301}a grapa"), Some(&hash)).await.unwrap(), "composed or not");
        assert!(!passwords.fits(&secret("caballo bateria grapa"), Some(&hash)).await.unwrap());
        assert!(!passwords.fits(&secret("caballo batería grapa"), None).await.unwrap());
        assert!(!passwords.fits(&secret("caballo batería grapa"), Some("no hash")).await.unwrap());
        assert_ne!(hash, passwords.choose(&secret("caballo batería grapa"), "a@b.do").await.unwrap(), "salted");
    }

    #[test]
    fn the_stand_in_is_a_hash() {
        let hash = format!("$argon2id$v=19$m=64,t=1,p=1${NO_SALT}${NO_HASH}");
        let fault = Argon2::default().verify_password(b"x", hash.as_str()).unwrap_err();
        assert!(matches!(fault, argon2::password_hash::Error::PasswordInvalid), "{fault}: it must be computed, not refused");
    }

    /// Known or not, in or locked out: every way to a refusal goes through the hash. Where nobody may hash, all of them stop there.
    #[tokio::test]
    async fn nobody_is_refused_without_the_work() {
        use super::super::{NewSignUp, NewUser, Role, SessionFrom, SignInRefusal, UserSettings, Users};
        use crate::domain::audit::Actor;

        let db = crate::db::connect(&"sqlite::memory:".to_owned().into(), 1).await.unwrap();
        crate::db::migrate(&db).await.unwrap();
        let settings = UserSettings {
            session_idle_s: 60,
            session_max_s: 60,
            sign_in_failures_max: 1,
            password_memory_kib: 64,
            password_passes: 1,
            passwords_at_once: 1,
            operators_need_second_factor: false,
        };
        let (vault, clock) = (crate::domain::vault::Vault::from_keys(&[7; 32], None), crate::clock::Clock::fixed("2026-11-25T15:00:00Z".parse().unwrap()));
        let tenants = crate::domain::tenants::Tenants::new(db.clone(), vault.clone(), clock.clone());
        let users = Users::new(db, vault, clock, settings).unwrap();
        for (email, password) in [("ana@ejemplo.do", Some(secret("caballo batería grapa"))), ("luis@ejemplo.do", None), ("eva@ejemplo.do", Some(secret("caballo batería grapa")))]
        {
            let new = NewUser { email: email.to_owned(), name: None, role: Role::Member, language: crate::text::Language::Es, password };
            users.user_create(new, &Actor::service()).await.unwrap();
        }
        let from = SessionFrom { address: None, agent: None, previous: None };
        // Eva is locked out.
        for _ in 0..2 {
            assert!(matches!(users.sign_in("eva@ejemplo.do", &secret("otra cosa distinta"), &from).await, Err(SignInRefusal::Refused)));
        }
        users.passwords.places.close();
        for email in ["ana@ejemplo.do", "luis@ejemplo.do", "eva@ejemplo.do", "nadie@ejemplo.do", "no address"] {
            let refusal = users.sign_in(email, &secret("otra cosa distinta"), &from).await.err();
            assert!(matches!(refusal, Some(SignInRefusal::Unavailable(UserError::Busy))), "{email}");
        }
        for email in ["ana@ejemplo.do", "nadie@ejemplo.do"] {
            let new = NewSignUp {
                company: "Ferretería".to_owned(),
                rnc: None,
                plan: "gratis".to_owned(),
                tools: Vec::new(),
                name: "Ana".to_owned(),
                email: email.to_owned(),
                language: crate::text::Language::Es,
                password: secret("otra cosa distinta"),
            };
            assert!(matches!(users.sign_up(&tenants, new).await, Err(UserError::Busy)), "{email}");
        }
    }
}
