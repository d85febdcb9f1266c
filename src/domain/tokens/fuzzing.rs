//! What must hold for every text that is shown as a token. See `src/fuzzing.rs`.

use super::text::{BASE62, CHECKSUM_CHARS, ID_CHARS, PREFIX, SECRET_CHARS, checksum, well_formed};

/// A token as somebody sends it, and a good one with a typo made out of the same bytes.
pub(crate) fn token(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if well_formed(&text) {
        let (body, sum) = text.split_at(text.len() - CHECKSUM_CHARS);
        assert_eq!(format!("{body}{}", checksum(body)), *text, "it renders to itself");
        let (id, secret) = body.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).expect("it has the parts of a token");
        assert!(id.len() == ID_CHARS && secret.len() == SECRET_CHARS, "each part has its length");
        assert!([id, secret, sum].iter().all(|part| part.bytes().all(|byte| BASE62.contains(&byte))), "{text:?} has characters that no token has");
    }

    // Any id and secret with the right sum are well-formed; with one character changed they are not.
    let byte = |at: usize| data.get(at).copied().unwrap_or_default();
    let base62 = |byte: u8| char::from(BASE62[usize::from(byte % 62)]);
    let id: String = (0..ID_CHARS).map(|at| base62(byte(at + 2))).collect();
    let secret: String = (0..SECRET_CHARS).map(|at| base62(byte(at + 2 + ID_CHARS))).collect();
    let body = format!("{PREFIX}{id}_{secret}");
    let good = format!("{body}{}", checksum(&body));
    assert!(well_formed(&good), "{good}");
    let mut typo = good.clone().into_bytes();
    let at = usize::from(byte(0)) % typo.len();
    typo[at] = byte(1);
    let typo = String::from_utf8_lossy(&typo);
    assert_eq!(well_formed(&typo), typo == good, "{typo} for {good}");
    // A character that belongs to no token stays out even where the sum is right.
    let foreign = format!("{PREFIX}{id}_{}{}", char::from(byte(1) & 0x7f), &secret[1..]);
    let foreign = format!("{foreign}{}", checksum(&foreign));
    assert_eq!(well_formed(&foreign), BASE62.contains(&(byte(1) & 0x7f)), "{foreign:?}");
}
