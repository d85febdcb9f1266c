//! Scopes: the names of packs, with blanks between, and `offline_access`.

use super::{Fault, OAuth, OAuthError, refused};

/// The scope that asks for refresh tokens.
pub const OFFLINE: &str = "offline_access";
/// The longest list of scopes read, bytes.
const SCOPE_BYTES_MAX: usize = 1_000;

/// What a list of scopes comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Packs, in the order of the register.
    pub(super) packs: Vec<&'static str>,
    /// Whether refresh tokens are asked for.
    pub(super) offline: bool,
}

impl OAuth {
    /// Reads a list of scopes. Nothing named is everything. What is not ours (`openid`) is passed over, as RFC 6749 §3.3 allows, unless nothing else
    /// is asked for.
    pub(super) fn scopes_read(&self, scope: Option<&str>) -> Result<Wanted, OAuthError> {
        let scope = scope.unwrap_or_default();
        if scope.len() > SCOPE_BYTES_MAX {
            return Err(refused(Fault::InvalidScope, "the list of scopes is too long"));
        }
        let named: Vec<&str> = scope.split_ascii_whitespace().collect();
        let offline = named.contains(&OFFLINE);
        let packs: Vec<&'static str> = self.packs.iter().copied().filter(|pack| named.contains(pack)).collect();
        if !packs.is_empty() {
            return Ok(Wanted { packs, offline });
        }
        if named.iter().any(|name| *name != OFFLINE) {
            return Err(refused(Fault::InvalidScope, "none of these scopes is one of ours"));
        }
        Ok(Wanted { packs: self.packs.to_vec(), offline })
    }
}

/// A stored list.
pub(in crate::domain) fn list(stored: &str) -> Vec<String> {
    stored.split_ascii_whitespace().map(str::to_owned).collect()
}

/// A list as it is sent: the packs, and `offline_access` where there are refresh tokens.
pub(super) fn sent(packs: &str, refreshes: bool) -> String {
    if refreshes { format!("{packs} {OFFLINE}") } else { packs.to_owned() }
}
