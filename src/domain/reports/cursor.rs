//! Where a page ends, as a word for an address: the sort key of its last row.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const SEPARATOR: char = '\u{1f}';
/// Longer is not ours, characters.
const CHARS_MAX: usize = 2_000;

pub(super) fn encode(key: &[&str]) -> String {
    URL_SAFE_NO_PAD.encode(key.join(&SEPARATOR.to_string()))
}

/// The key of so many parts; none when it is not one of ours, which begins at the beginning.
pub(super) fn decode(cursor: Option<&str>, parts: usize) -> Option<Vec<String>> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor.filter(|cursor| cursor.len() <= CHARS_MAX)?).ok()?;
    let key: Vec<String> = String::from_utf8(bytes).ok()?.split(SEPARATOR).map(str::to_owned).collect();
    (key.len() == parts).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_and_nonsense_is_no_key() {
        let cursor = encode(&["ñandú & hijos", "1"]);
        assert!(cursor.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        assert_eq!(decode(Some(&cursor), 2), Some(vec!["ñandú & hijos".to_owned(), "1".to_owned()]));
        assert_eq!(decode(Some(&cursor), 3), None);
        assert_eq!(decode(Some("??"), 1), None);
        assert_eq!(decode(None, 1), None);
    }
}
