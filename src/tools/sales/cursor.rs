//! Where the next page of a list begins, as an opaque text.
//!
//! It is an offset and a mark of the search it belongs to, so that the cursor of another search is refused. It is no secret and
//! no permission: forging one only skips rows.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use super::super::cx::ToolCx;
use super::super::error::ToolError;

/// The greatest offset of a list; whoever pages further should search more narrowly.
pub(super) const OFFSET_MAX: u32 = 10_000;
const MARK_BYTES: usize = 4;

/// The cursor of that offset within the search that `search` names.
pub(super) fn encode(offset: u32, search: &str) -> String {
    let mut bytes = offset.to_be_bytes().to_vec();
    bytes.extend_from_slice(&mark(search));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The offset of a cursor; no cursor is the beginning.
///
/// # Errors
/// `argumento_invalido` when the text is not a cursor of this search.
pub(super) fn decode(cx: &ToolCx, cursor: Option<&str>, search: &str) -> Result<u32, ToolError> {
    match cursor.map(str::trim) {
        None | Some("") => Ok(0),
        Some(text) => offset(text, search).ok_or_else(|| ToolError::argument(cx.say("detalles.cursor", &[]))),
    }
}

fn offset(text: &str, search: &str) -> Option<u32> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    let offset = u32::from_be_bytes(*number);
    (rest == mark(search) && offset <= OFFSET_MAX).then_some(offset)
}

fn mark(search: &str) -> [u8; MARK_BYTES] {
    let mut out = [0; MARK_BYTES];
    out.copy_from_slice(&digest(&SHA256, search.as_bytes()).as_ref()[..MARK_BYTES]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_only_for_their_search() {
        for at in [0, 5, 10_000] {
            assert_eq!(offset(&encode(at, "silla"), "silla"), Some(at));
        }
        assert_eq!(offset(&encode(5, "silla"), "mesa"), None);
        assert_eq!(offset(&encode(OFFSET_MAX + 1, "silla"), "silla"), None);
        for wrong in ["5", "", "AAAA", "ñ", "AAAABQ==", "AAAABQAAAAAAAAAA"] {
            assert_eq!(offset(wrong, "silla"), None, "{wrong}");
        }
    }
}
