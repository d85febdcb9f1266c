//! How each program asks, as far as it has been seen: a test of its panel asks the same way.

use super::programs;
use crate::admin::agents::{Door, Hello};

/// The revision of most programs, with its header in every request after the handshake.
const USUAL: Hello = Hello::Handshake { revision: "2025-11-25", header: true };

/// How a program asks, and at which address; none for one that only signs in.
pub(super) fn of(key: &str) -> Option<(Hello, Door)> {
    let door = programs::door(key)?;
    let hello = match key {
        "claude_code" => Hello::Discover,
        "gemini" => Hello::Handshake { revision: "2025-06-18", header: false },
        "curl" => Hello::Straight,
        _ => USUAL,
    };
    Some((hello, door))
}
