//! How long a service believes what it knows about a token.

/// How a service remembers verified tokens.
#[derive(Clone, Copy, Debug)]
pub struct TokenMemory {
    /// Believed for so long without asking, seconds.
    pub fresh_s: u64,
    /// Believed for so long while the database is away (so that nothing can have been revoked in it by us), seconds.
    pub stale_s: u64,
    /// Tokens remembered.
    pub tokens_max: u64,
}
