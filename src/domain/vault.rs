//! The vault: tenants' secrets sealed with AES-256-GCM.
//!
//! Every tenant has a data key of its own, wrapped by the master key; every secret is bound to its tenant and field by the associated
//! data, so that a sealed text moved to another row does not open. A sealed text is `v1.<key id>.<base64url(nonce ‖ ciphertext ‖ tag)>`;
//! the key id is a fingerprint, so that the right one of the current and the previous master key is taken.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest;
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};
use zeroize::{Zeroize, Zeroizing};

use crate::ids::{TenantId, UserId};

/// Bytes of a master or data key.
pub const KEY_BYTES: usize = 32;

/// What can go wrong with a key or a sealed text. None of it shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// No key file is set.
    #[error("no vault key: set DUNET_VAULT_KEY_FILE to a file with 32 random bytes in base64 (`dunet keygen FILE` makes one)")]
    NoKey,
    /// The file does not hold a key.
    #[error("the vault key file {0} must hold exactly 32 bytes in base64 (`dunet keygen FILE` makes one)")]
    BadKeyFile(String),
    /// The file cannot be read.
    #[error("the vault key file {file} cannot be read: {cause}")]
    Unreadable {
        /// Which.
        file: String,
        /// Why.
        cause: std::io::Error,
    },
    /// Sealed with a key we do not have.
    #[error("sealed with another key ({0}): set DUNET_VAULT_PREVIOUS_KEY_FILE to the previous key file")]
    UnknownKey(String),
    /// Not a sealed text, changed, or moved from another tenant or field.
    #[error("a sealed value does not open: it was changed or belongs to another tenant or field")]
    Broken,
}

/// A text as it is stored. Its `Debug` shows no more than its `Display`: ciphertext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed(pub String);

/// Whose secrets a data key seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A tenant's.
    Tenant(TenantId),
    /// A person's.
    User(UserId),
}

impl From<TenantId> for Owner {
    fn from(id: TenantId) -> Self {
        Self::Tenant(id)
    }
}

impl From<UserId> for Owner {
    fn from(id: UserId) -> Self {
        Self::User(id)
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tenant(id) => id.fmt(f),
            // Told apart from a tenant's, whatever the ids are.
            Self::User(id) => write!(f, "user/{id}"),
        }
    }
}

/// Seals and opens. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    keys: Arc<Keys>,
}

struct Keys {
    current: MasterKey,
    previous: Option<MasterKey>,
    random: SystemRandom,
}

struct MasterKey {
    id: String,
    aead: LessSafeKey,
    confirmation: ring::hmac::Key,
}

/// An opened data key. Dropped as soon as the secret is sealed or opened.
pub struct DataKey {
    id: String,
    aead: LessSafeKey,
}

impl Vault {
    /// Reads the key files.
    ///
    /// # Errors
    /// No current key, or a file that does not hold one.
    pub fn from_files(current: Option<&Path>, previous: Option<&Path>) -> Result<Self, VaultError> {
        let current = read_key(current.ok_or(VaultError::NoKey)?)?;
        let previous = previous.map(read_key).transpose()?;
        Ok(Self::from_keys(&current, previous.as_deref()))
    }

    /// From keys in memory (the demo and tests make their own).
    #[must_use]
    pub fn from_keys(current: &[u8; KEY_BYTES], previous: Option<&[u8; KEY_BYTES]>) -> Self {
        Self { keys: Arc::new(Keys { current: MasterKey::new(current), previous: previous.map(MasterKey::new), random: SystemRandom::new() }) }
    }

    /// A new data key for a tenant or a person, wrapped by the current master key.
    ///
    /// # Errors
    /// The machine has no randomness.
    pub fn data_key_make(&self, owner: impl Into<Owner>) -> Result<Sealed, VaultError> {
        let mut raw = Zeroizing::new([0; KEY_BYTES]);
        self.keys.random.fill(&mut *raw).map_err(|_| VaultError::Broken)?;
        let master = &self.keys.current;
        seal(&master.aead, &master.id, &self.keys.random, &wrap_context(owner.into()), &*raw)
    }

    /// Whether one of our master keys wrapped that data key.
    ///
    /// # Errors
    /// None of ours did.
    pub fn knows(&self, sealed: &Sealed) -> Result<(), VaultError> {
        let (id, _) = split(sealed)?;
        let known = std::iter::once(&self.keys.current).chain(self.keys.previous.as_ref()).any(|key| key.id == id);
        if known { Ok(()) } else { Err(VaultError::UnknownKey(id.to_owned())) }
    }

    /// Opens a data key.
    ///
    /// # Errors
    /// Wrapped by a key we do not have, changed, or somebody else's.
    pub fn data_key_open(&self, owner: impl Into<Owner>, sealed: &Sealed) -> Result<DataKey, VaultError> {
        let raw = self.unwrap_data_key(owner.into(), sealed)?;
        Ok(DataKey { id: key_id(&raw), aead: aead(&raw) })
    }

    /// The same data key wrapped by the current master key; none when it already is.
    ///
    /// # Errors
    /// As [`Self::data_key_open`].
    pub fn data_key_rewrap(&self, owner: impl Into<Owner>, sealed: &Sealed) -> Result<Option<Sealed>, VaultError> {
        let master = &self.keys.current;
        if split(sealed)?.0 == master.id {
            return Ok(None);
        }
        let owner = owner.into();
        let raw = self.unwrap_data_key(owner, sealed)?;
        seal(&master.aead, &master.id, &self.keys.random, &wrap_context(owner), &*raw).map(Some)
    }

    /// Seals a secret for one field of one owner.
    ///
    /// # Errors
    /// The data key does not open.
    pub fn seal(&self, owner: impl Into<Owner>, data_key: &Sealed, field: &str, secret: &SecretString) -> Result<Sealed, VaultError> {
        let owner = owner.into();
        let key = self.data_key_open(owner, data_key)?;
        seal(&key.aead, &key.id, &self.keys.random, &field_context(owner, field), secret.expose_secret().as_bytes())
    }

    /// Opens a secret of one field of one owner.
    ///
    /// # Errors
    /// It was changed, or belongs to another owner or field.
    pub fn open(&self, owner: impl Into<Owner>, data_key: &Sealed, field: &str, sealed: &Sealed) -> Result<SecretString, VaultError> {
        let owner = owner.into();
        let key = self.data_key_open(owner, data_key)?;
        let (id, bytes) = split(sealed)?;
        if id != key.id {
            return Err(VaultError::Broken);
        }
        let mut plain = open(&key.aead, &field_context(owner, field), bytes)?;
        let text = std::str::from_utf8(&plain).map(str::to_owned).map_err(|_| VaultError::Broken);
        plain.zeroize();
        text.map(SecretString::from)
    }

    /// HMAC-SHA-256 keys for confirmation codes: sign with the first, accept any.
    #[must_use]
    pub fn confirmation_keys(&self) -> Vec<ring::hmac::Key> {
        std::iter::once(&self.keys.current).chain(self.keys.previous.as_ref()).map(|key| key.confirmation.clone()).collect()
    }

    fn unwrap_data_key(&self, owner: Owner, sealed: &Sealed) -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
        let (id, bytes) = split(sealed)?;
        let master = std::iter::once(&self.keys.current).chain(self.keys.previous.as_ref()).find(|key| key.id == id).ok_or_else(|| VaultError::UnknownKey(id.to_owned()))?;
        let plain = Zeroizing::new(open(&master.aead, &wrap_context(owner), bytes)?);
        let raw: [u8; KEY_BYTES] = plain.as_slice().try_into().map_err(|_| VaultError::Broken)?;
        Ok(Zeroizing::new(raw))
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

impl MasterKey {
    fn new(raw: &[u8; KEY_BYTES]) -> Self {
        // A key for another purpose is derived, never the same bytes used twice.
        let pseudo_random = hkdf::Salt::new(hkdf::HKDF_SHA256, b"dunet").extract(raw);
        let confirmation = pseudo_random.expand(&[b"confirmation codes"], ring::hmac::HMAC_SHA256).map(ring::hmac::Key::from).expect("32 bytes are within HKDF's output limit");
        Self { id: key_id(raw), aead: aead(raw), confirmation }
    }
}

/// 32 new random bytes in base64, for a key file.
///
/// # Errors
/// The machine has no randomness.
pub fn key_generate() -> Result<SecretString, VaultError> {
    let mut raw = Zeroizing::new([0; KEY_BYTES]);
    SystemRandom::new().fill(&mut *raw).map_err(|_| VaultError::Broken)?;
    Ok(SecretString::from(STANDARD.encode(*raw)))
}

fn read_key(file: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
    let name = file.display().to_string();
    let text = Zeroizing::new(std::fs::read_to_string(file).map_err(|cause| VaultError::Unreadable { file: name.clone(), cause })?);
    let raw = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| VaultError::BadKeyFile(name.clone()))?);
    let raw: [u8; KEY_BYTES] = raw.as_slice().try_into().map_err(|_| VaultError::BadKeyFile(name))?;
    Ok(Zeroizing::new(raw))
}

fn aead(raw: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, raw).expect("AES-256 takes 32 bytes"))
}

/// A fingerprint that tells keys apart and nothing about them.
fn key_id(raw: &[u8; KEY_BYTES]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"dunet key id");
    context.update(raw);
    context.finish().as_ref()[..4].iter().fold(String::with_capacity(8), |mut text, byte| {
        use std::fmt::Write;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn wrap_context(owner: Owner) -> String {
    format!("dunet/{owner}/data-key")
}

fn field_context(owner: Owner, field: &str) -> String {
    format!("dunet/{owner}/field/{field}")
}

fn seal(key: &LessSafeKey, id: &str, random: &SystemRandom, context: &str, plain: &[u8]) -> Result<Sealed, VaultError> {
    let mut nonce = [0; NONCE_LEN];
    random.fill(&mut nonce).map_err(|_| VaultError::Broken)?;
    let mut bytes = plain.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context.as_bytes()), &mut bytes).map_err(|_| VaultError::Broken)?;
    let mut all = nonce.to_vec();
    all.extend_from_slice(&bytes);
    Ok(Sealed(format!("v1.{id}.{}", URL_SAFE_NO_PAD.encode(all))))
}

fn open(key: &LessSafeKey, context: &str, mut bytes: Vec<u8>) -> Result<Vec<u8>, VaultError> {
    if bytes.len() < NONCE_LEN {
        return Err(VaultError::Broken);
    }
    let mut cipher = bytes.split_off(NONCE_LEN);
    let nonce = Nonce::try_assume_unique_for_key(&bytes).map_err(|_| VaultError::Broken)?;
    let length = key.open_in_place(nonce, Aad::from(context.as_bytes()), &mut cipher).map_err(|_| VaultError::Broken)?.len();
    cipher.truncate(length);
    Ok(cipher)
}

fn split(sealed: &Sealed) -> Result<(&str, Vec<u8>), VaultError> {
    let (id, text) = sealed.0.strip_prefix("v1.").and_then(|rest| rest.split_once('.')).ok_or(VaultError::Broken)?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| VaultError::Broken)?;
    Ok((id, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    #[test]
    fn a_secret_opens_only_in_its_place() {
        let vault = Vault::from_keys(&[1; 32], None);
        let (a, b) = (TenantId::new(), TenantId::new());
        let (key_a, key_b) = (vault.data_key_make(a).unwrap(), vault.data_key_make(b).unwrap());
        let sealed = vault.seal(a, &key_a, "odoo_secret", &secret("s3cret ñ")).unwrap();
        assert!(!sealed.0.contains("s3cret"));
        assert_eq!(vault.open(a, &key_a, "odoo_secret", &sealed).unwrap().expose_secret(), "s3cret ñ");
        assert!(vault.open(b, &key_b, "odoo_secret", &sealed).is_err(), "another tenant");
        assert!(vault.open(a, &key_a, "other_field", &sealed).is_err(), "another field");
        assert!(vault.open(b, &key_a, "odoo_secret", &sealed).is_err(), "a moved data key");
        assert!(Vault::from_keys(&[2; 32], None).open(a, &key_a, "odoo_secret", &sealed).is_err(), "another master key");
    }

    #[test]
    fn a_person_is_no_tenant() {
        let vault = Vault::from_keys(&[1; 32], None);
        let user = UserId::new();
        let key = vault.data_key_make(user).unwrap();
        let sealed = vault.seal(user, &key, "f", &secret("x")).unwrap();
        assert_eq!(vault.open(user, &key, "f", &sealed).unwrap().expose_secret(), "x");
        assert!(vault.open(TenantId::from(user.uuid()), &key, "f", &sealed).is_err());
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let vault = Vault::from_keys(&[1; 32], None);
        let tenant = TenantId::new();
        let key = vault.data_key_make(tenant).unwrap();
        let sealed = vault.seal(tenant, &key, "f", &secret("x")).unwrap();
        for at in 0..sealed.0.len() {
            let mut bytes = sealed.0.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = Sealed(String::from_utf8(bytes).unwrap());
            assert!(vault.open(tenant, &key, "f", &changed).is_err(), "position {at}");
        }
    }

    #[test]
    fn rotation_keeps_secrets_readable() {
        let old = Vault::from_keys(&[1; 32], None);
        let tenant = TenantId::new();
        let key = old.data_key_make(tenant).unwrap();
        let sealed = old.seal(tenant, &key, "f", &secret("x")).unwrap();
        let both = Vault::from_keys(&[2; 32], Some(&[1; 32]));
        assert_eq!(both.open(tenant, &key, "f", &sealed).unwrap().expose_secret(), "x");
        let rewrapped = both.data_key_rewrap(tenant, &key).unwrap().expect("wrapped by the old key");
        assert!(both.data_key_rewrap(tenant, &rewrapped).unwrap().is_none());
        let new = Vault::from_keys(&[2; 32], None);
        assert_eq!(new.open(tenant, &rewrapped, "f", &sealed).unwrap().expose_secret(), "x");
        assert!(matches!(new.open(tenant, &key, "f", &sealed), Err(VaultError::UnknownKey(_))));
    }
}
