//! The text of a token: `dunet_live_<8 id>_<32 base62><6 checksum>`.

use ring::rand::{SecureRandom, SystemRandom};
use secrecy::SecretString;

pub(super) const PREFIX: &str = "dunet_live_";
pub(in crate::domain) const ID_CHARS: usize = 8;
pub(super) const SECRET_CHARS: usize = 32;
pub(super) const CHECKSUM_CHARS: usize = 6;
pub(super) const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new token.
pub(super) fn generate() -> Result<SecretString, ()> {
    generate_as(PREFIX)
}

/// A new secret of the same shape with another beginning.
pub(in crate::domain) fn generate_as(prefix: &str) -> Result<SecretString, ()> {
    let random = SystemRandom::new();
    let mut text = String::with_capacity(prefix.len() + ID_CHARS + 1 + SECRET_CHARS + CHECKSUM_CHARS);
    text.push_str(prefix);
    push_random(&mut text, ID_CHARS, &random)?;
    text.push('_');
    push_random(&mut text, SECRET_CHARS, &random)?;
    let sum = checksum(&text);
    text.push_str(&sum);
    Ok(SecretString::from(text))
}

/// Appends base62 characters without bias: bytes past the last multiple of 62 are thrown away.
fn push_random(text: &mut String, count: usize, random: &SystemRandom) -> Result<(), ()> {
    let mut left = count;
    while left > 0 {
        let mut bytes = [0; 64];
        random.fill(&mut bytes).map_err(|_| ())?;
        for byte in bytes.into_iter().filter(|byte| *byte < 248).take(left) {
            text.push(char::from(BASE62[usize::from(byte % 62)]));
            left -= 1;
        }
    }
    Ok(())
}

pub(super) fn checksum(text: &str) -> String {
    let mut value = crc32fast::hash(text.as_bytes());
    let mut out = [b'0'; CHECKSUM_CHARS];
    for slot in out.iter_mut().rev() {
        *slot = BASE62[(value % 62) as usize];
        value /= 62;
    }
    out.iter().map(|byte| char::from(*byte)).collect()
}

/// Whether a text has the shape and the checksum of a token.
#[must_use]
pub fn well_formed(text: &str) -> bool {
    well_formed_as(PREFIX, text)
}

/// The same for a secret with another beginning.
pub(in crate::domain) fn well_formed_as(prefix: &str, text: &str) -> bool {
    let length = prefix.len() + ID_CHARS + 1 + SECRET_CHARS + CHECKSUM_CHARS;
    if text.len() != length || !text.is_ascii() || !text.starts_with(prefix) {
        return false;
    }
    let (body, sum) = text.split_at(length - CHECKSUM_CHARS);
    let (id, secret) = body[prefix.len()..].split_at(ID_CHARS);
    let base62 = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    base62(id) && secret.strip_prefix('_').is_some_and(base62) && checksum(body) == sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_token_has_its_shape_and_a_typo_shows() {
        let token = generate().unwrap();
        let text = token.expose_secret();
        assert!(well_formed(text), "{text}");
        assert_eq!(text.len(), 58);
        for at in PREFIX.len()..text.len() {
            let mut typo = text.to_owned().into_bytes();
            typo[at] = if typo[at] == b'x' { b'y' } else { b'x' };
            assert!(!well_formed(std::str::from_utf8(&typo).unwrap()), "position {at}");
        }
        for junk in ["", "dunet_live_", "ñ", &text[1..], &format!("{text}x")] {
            assert!(!well_formed(junk), "{junk}");
        }
    }

    #[test]
    fn tokens_do_not_repeat() {
        let many: std::collections::HashSet<String> = (0..1000).map(|_| generate().unwrap().expose_secret().to_owned()).collect();
        assert_eq!(many.len(), 1000);
    }
}
