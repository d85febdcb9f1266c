//! The address guard, lent: a small JSON document at an address that a stranger named. The same two walls as for an Odoo (`address.rs`), no redirect,
//! no proxy, a size and a time.

use std::time::Duration;

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use url::Url;

use super::address::{GuardedResolver, check_url};
use super::config::AddressPolicy;
use super::http::guarded;

/// Why there is no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutsideError {
    /// The address is none that may be reached.
    #[error("the address may not be reached: {0}")]
    Refused(String),
    /// Nobody answered in time, or not with a document.
    #[error("no document: {0}")]
    NoDocument(String),
    /// More than it may be.
    #[error("the document is larger than {0} bytes")]
    TooLarge(usize),
}

/// A document as it came.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its bytes.
    pub body: Vec<u8>,
    /// How long it may be kept as its server says, seconds; none when that says nothing, 0 when it must not be.
    pub max_age_s: Option<u64>,
}

/// Fetches documents. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outside {
    client: reqwest::Client,
    policy: AddressPolicy,
    bytes_max: usize,
}

impl Outside {
    /// Documents of at most so many bytes, each within that time altogether.
    ///
    /// # Errors
    /// TLS cannot be set up on this machine.
    pub fn new(policy: AddressPolicy, bytes_max: usize, within: Duration) -> Result<Self, OutsideError> {
        let refused = |cause: String| OutsideError::Refused(cause);
        let builder = guarded(GuardedResolver::new(policy)).map_err(|error| refused(error.to_string()))?;
        let client = builder.timeout(within).pool_max_idle_per_host(0).build().map_err(|error| refused(error.to_string()))?;
        Ok(Self { client, policy, bytes_max })
    }

    /// Gets it.
    ///
    /// # Errors
    /// See [`OutsideError`].
    pub async fn json(&self, url: &Url) -> Result<Document, OutsideError> {
        check_url(url, self.policy).map_err(|error| OutsideError::Refused(error.to_string()))?;
        let none = |cause: String| OutsideError::NoDocument(cause);
        let mut response = self.client.get(url.clone()).header(ACCEPT, "application/json").send().await.map_err(|error| none(super::http_error::chain(&error)))?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let kind = header(CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if response.status().as_u16() != 200 || !(kind == "application/json" || kind.ends_with("+json")) {
            return Err(none(format!("HTTP {}, {kind}", response.status().as_u16())));
        }
        // None was asked for, and a small answer must not unfold.
        if header(CONTENT_ENCODING).is_some_and(|text| !text.eq_ignore_ascii_case("identity")) {
            return Err(none("it came compressed".to_owned()));
        }
        let max_age_s = header(CACHE_CONTROL).and_then(max_age);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| none(super::http_error::chain(&error)))? {
            if body.len() + chunk.len() > self.bytes_max {
                return Err(OutsideError::TooLarge(self.bytes_max));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Document { body, max_age_s })
    }
}

fn max_age(header: &str) -> Option<u64> {
    let mut parts = header.split(',').map(|part| part.trim().to_ascii_lowercase());
    let parts: Vec<String> = parts.by_ref().collect();
    if parts.iter().any(|part| part == "no-store" || part == "no-cache") {
        return Some(0);
    }
    parts.iter().find_map(|part| part.strip_prefix("max-age=")?.trim_matches('"').parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_how_long() {
        assert_eq!(max_age("public, Max-Age=600"), Some(600));
        assert_eq!(max_age("max-age=600, no-store"), Some(0));
        assert_eq!(max_age("public"), None);
    }
}
