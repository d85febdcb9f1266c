//! What a caller says about one Odoo: where it is, who signs in, by which wire, within which limits.

use super::wire::limits::DecodeLimits;
use secrecy::SecretString;
use std::fmt;
use std::str::FromStr;
use url::Url;

/// One Odoo and one user of it.
#[derive(Clone)]
pub struct OdooConfig {
    /// The address of the server; a path prefix is kept, a pasted `/web` or `/odoo` is dropped.
    pub url: Url,
    /// The database's name.
    pub database: String,
    /// The user's login.
    pub login: String,
    /// The user's API key or password.
    pub secret: SecretString,
    /// Which wire to speak.
    pub protocol: ProtocolChoice,
    /// Time, size and number limits.
    pub limits: OdooLimits,
    /// Which addresses may be reached.
    pub addresses: AddressPolicy,
}

impl fmt::Debug for OdooConfig {
    /// Names the server, never the secret (nor a password that somebody put into the URL).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OdooConfig")
            .field("host", &self.url.host_str())
            .field("database", &self.database)
            .field("protocol", &self.protocol)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// The wire that was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProtocolChoice {
    /// JSON-2 where the server and the secret allow it, else JSON-RPC, else XML-RPC.
    #[default]
    Auto,
    /// Only JSON-2 (Odoo 19 and later, with an API key).
    Json2,
    /// Only XML-RPC.
    XmlRpc,
    /// Only JSON-RPC.
    JsonRpc,
}

/// The wire in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `POST /json/2/<model>/<method>` with a bearer key.
    Json2,
    /// `POST /xmlrpc/2/object`.
    XmlRpc,
    /// `POST /jsonrpc`.
    JsonRpc,
}

/// A word that names no wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown protocol {0:?}: use auto, json2, xmlrpc or jsonrpc")]
pub struct UnknownProtocol(pub String);

impl FromStr for ProtocolChoice {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "json2" => Ok(Self::Json2),
            "xmlrpc" => Ok(Self::XmlRpc),
            "jsonrpc" => Ok(Self::JsonRpc),
            _ => Err(UnknownProtocol(text.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for ProtocolChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Json2 => "json2",
            Self::XmlRpc => "xmlrpc",
            Self::JsonRpc => "jsonrpc",
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json2 => "json2",
            Self::XmlRpc => "xmlrpc",
            Self::JsonRpc => "jsonrpc",
        })
    }
}

/// Which addresses an Odoo may have. The URL is a tenant's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressPolicy {
    /// `https` only, public addresses only, checked again at every connect.
    #[default]
    PublicOnly,
    /// Any address, and plain `http`: for a trusted network and for tests.
    AllowPrivate,
    /// What the operator runs: plain `http` and any port, and public addresses also where they are this machine's.
    Own,
}

/// Limits of one client. Every wait, size and number has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OdooLimits {
    /// Name look-up, TCP and TLS together, in milliseconds.
    pub connect_timeout_ms: u64,
    /// One request from its start to the last byte of its answer, in milliseconds.
    pub request_timeout_ms: u64,
    /// Bytes of one answer's body, counted while it streams in.
    pub answer_bytes_max: usize,
    /// Levels of nesting in one answer (never above 127, whatever is set).
    pub depth_max: usize,
    /// Values (of any type) in one answer.
    pub values_max: usize,
    /// Idle connections kept for the server.
    pub idle_connections_max: usize,
    /// Seconds an idle connection is kept.
    pub idle_timeout_s: u64,
}

impl Default for OdooLimits {
    fn default() -> Self {
        let decode = DecodeLimits::default();
        Self {
            connect_timeout_ms: 5_000,
            request_timeout_ms: 25_000,
            answer_bytes_max: 8 * 1024 * 1024,
            depth_max: decode.depth_max,
            values_max: decode.values_max,
            idle_connections_max: 8,
            idle_timeout_s: 60,
        }
    }
}

impl OdooLimits {
    /// The part that the decoders keep.
    #[must_use]
    pub fn decode(&self) -> DecodeLimits {
        DecodeLimits { depth_max: self.depth_max, values_max: self.values_max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_back_as_written() {
        for choice in [ProtocolChoice::Auto, ProtocolChoice::Json2, ProtocolChoice::XmlRpc, ProtocolChoice::JsonRpc] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!(" JSON2 ".parse(), Ok(ProtocolChoice::Json2));
        assert!("soap".parse::<ProtocolChoice>().is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let config = OdooConfig {
            url: Url::parse("https://user:hunter2@example.com").unwrap(),
            database: "d".into(),
            login: "l".into(),
            secret: "hunter2".into(),
            protocol: ProtocolChoice::Auto,
            limits: OdooLimits::default(),
            addresses: AddressPolicy::PublicOnly,
        };
        let text = format!("{config:?}");
        assert!(!text.contains("hunter2") && text.contains("example.com"), "{text}");
    }
}
