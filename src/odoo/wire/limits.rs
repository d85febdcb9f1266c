//! Limits that every decoder of this client keeps, and how a decoder says that an answer broke one.
//!
//! An Odoo is chosen by a tenant, so its answers are hostile input: small text that unfolds into
//! very many values is refused while it is being read, not after.

/// What one answer may hold. The size in bytes is counted earlier, while the answer streams in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Levels of arrays and objects inside each other. Never more than [`DEPTH_HARD_MAX`] is accepted.
    pub depth_max: usize,
    /// Values of any type, counted over the whole answer (one value takes about 80 bytes of memory; a list that is not empty counts as
    /// three more, an object as five: the room that its first member makes).
    pub values_max: usize,
}

/// Depth that no setting can raise, because the decoders recurse (it is also the limit of `serde_json`).
pub const DEPTH_HARD_MAX: usize = 127;

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { depth_max: 64, values_max: 400_000 }
    }
}

/// Why bytes did not become a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// Well-formed or not, it is not an XML-RPC (or JSON) document of the expected shape.
    #[error("not the expected document: {0}")]
    WrongShape(String),
    /// The document breaks off or is not well-formed.
    #[error("malformed: {0}")]
    Malformed(String),
    /// A DOCTYPE, an unknown entity or an outsized tag: things Odoo never sends and attackers do.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// More levels than `depth_max`.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    /// More values than `values_max`.
    #[error("more than {0} values")]
    TooManyValues(usize),
}

/// Counts depth and values while a document is read.
#[derive(Debug)]
pub(crate) struct Budget {
    depth_max: usize,
    values_max: usize,
    values: usize,
}

impl Budget {
    pub(crate) fn new(limits: &DecodeLimits) -> Self {
        Self { depth_max: limits.depth_max.min(DEPTH_HARD_MAX), values_max: limits.values_max, values: 0 }
    }

    /// Takes the room that the first item of a list makes.
    pub(crate) fn list(&mut self) -> Result<(), DecodeError> {
        self.room(3)
    }

    /// Takes the room that the first member of an object makes.
    pub(crate) fn object(&mut self) -> Result<(), DecodeError> {
        self.room(5)
    }

    /// Takes one value that stands `depth` levels deep (the outermost is 1).
    pub(crate) fn take(&mut self, depth: usize) -> Result<(), DecodeError> {
        if depth > self.depth_max {
            return Err(DecodeError::TooDeep(self.depth_max));
        }
        self.room(1)
    }

    fn room(&mut self, values: usize) -> Result<(), DecodeError> {
        self.values += values;
        if self.values > self.values_max {
            return Err(DecodeError::TooManyValues(self.values_max));
        }
        Ok(())
    }
}
