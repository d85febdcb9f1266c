//! The three wires: how a call of a model's method becomes bytes, and bytes a value or an error.
//!
//! No HTTP client here (see `http.rs`) and no policy (see `client.rs`): only formats.

pub(crate) mod call;
pub mod json;
pub(crate) mod json2;
pub(crate) mod jsonrpc;
pub mod limits;
pub(crate) mod page;
pub mod xmlrpc;
pub(crate) mod xmlrpc_object;
mod xmlrpc_read;

pub use limits::{DecodeError, DecodeLimits};
pub use xmlrpc::Fault;
