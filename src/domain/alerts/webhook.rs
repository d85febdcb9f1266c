//! Webhooks as the Standard Webhooks specification (1.0.0) has them: a body of JSON and three headers, signed with HMAC-SHA-256 over id, time and body.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use zeroize::Zeroizing;

use crate::domain::vault::VaultError;
use crate::odoo::AddressPolicy;
use crate::odoo::asking::{Asker, Question, Unanswered};

/// What stands before the key in a secret.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes of a key: between the 24 and 64 of the specification.
const KEY_BYTES: usize = 32;
/// The longest time for one, and what is read of the answer, bytes.
const WITHIN: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 1_024;

/// The headers of one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// `webhook-id`: the same at every attempt.
    pub id: String,
    /// `webhook-timestamp`: of this attempt, seconds since 1970.
    pub timestamp: String,
    /// `webhook-signature`: one for each secret, with blanks.
    pub signature: String,
}

/// Signs a body with each of the secrets, the current one first. A secret that is none signs nothing.
#[must_use]
pub fn sign(id: &str, timestamp: i64, body: &str, secrets: &[SecretString]) -> Signed {
    let signed = format!("{id}.{timestamp}.{body}");
    let signatures = secrets.iter().filter_map(|secret| {
        let key = Zeroizing::new(STANDARD.decode(secret.expose_secret().strip_prefix(SECRET_PREFIX)?).ok()?);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes());
        Some(format!("v1,{}", STANDARD.encode(tag.as_ref())))
    });
    Signed { id: id.to_owned(), timestamp: timestamp.to_string(), signature: signatures.collect::<Vec<_>>().join(" ") }
}

/// A new secret.
pub(super) fn secret_make() -> Result<SecretString, VaultError> {
    let mut raw = Zeroizing::new([0; KEY_BYTES]);
    SystemRandom::new().fill(&mut *raw).map_err(|_| VaultError::Broken)?;
    Ok(SecretString::from(format!("{SECRET_PREFIX}{}", STANDARD.encode(*raw))))
}

/// Sends one; the status that came back. No redirect is followed, and only allowed addresses are reached.
pub(super) async fn post(policy: AddressPolicy, url: &Url, signed: &Signed, body: String) -> Result<u16, Unanswered> {
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", signed.id.as_str()),
        ("webhook-timestamp", signed.timestamp.as_str()),
        ("webhook-signature", signed.signature.as_str()),
    ];
    let asker = Asker::new(policy, ANSWER_BYTES_MAX, WITHIN)?;
    let question = Question { method: Method::POST, url, headers: &headers, body, first_piece: true };
    asker.ask(question).await.map(|reply| reply.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn it_signs_as_the_specification_does() {
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let signed = sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#, std::slice::from_ref(&secret));
        assert_eq!(signed.signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let both = sign("msg_1", 1, "{}", &[secret_make().unwrap(), secret]);
        assert_eq!(both.signature.split(' ').filter(|part| part.starts_with("v1,") && part.len() == 47).count(), 2);
        assert_eq!(sign("msg_1", 1, "{}", &[SecretString::from("x".to_owned())]).signature, "");
    }
}
