//! The address guard, lent once more: one question to a service of the operator's own, as somebody outside would put it, and whatever comes back.
//! No redirect is followed and no proxy used: an answer that is none of ours is what the asker wants to see.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, Method};
use url::Url;

use super::address::{GuardedResolver, check_url};
use super::config::AddressPolicy;
use super::error::OdooErrorKind as Kind;
use super::http::guarded;
use super::http_error::send_error;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// How.
    pub method: Method,
    /// Where.
    pub url: &'a Url,
    /// Names and values.
    pub headers: &'a [(&'a str, &'a str)],
    /// What is sent along; nothing when empty.
    pub body: String,
    /// Whether the first piece of the answer is enough: of one that goes on.
    pub first_piece: bool,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as far as it is looked at.
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's text; empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Why nothing came back; each with the network's own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The address may not be reached from here.
    #[error("{0}")]
    Refused(String),
    /// The certificate, or TLS itself.
    #[error("{0}")]
    Tls(String),
    /// No connection.
    #[error("{0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("{0}")]
    TimedOut(String),
    /// The connection ended before the answer did.
    #[error("{0}")]
    Broken(String),
}

/// Asks.
#[derive(Clone, Debug)]
pub struct Asker {
    client: reqwest::Client,
    policy: AddressPolicy,
    bytes_max: usize,
}

impl Asker {
    /// Looks at so many bytes of an answer, and waits so long for each.
    ///
    /// # Errors
    /// TLS cannot be set up on this machine.
    pub fn new(policy: AddressPolicy, bytes_max: usize, within: Duration) -> Result<Self, Unanswered> {
        let tls = |cause: String| Unanswered::Tls(cause);
        let builder = guarded(GuardedResolver::new(policy)).map_err(|error| tls(error.to_string()))?;
        let client = builder.timeout(within).build().map_err(|error| tls(error.to_string()))?;
        Ok(Self { client, policy, bytes_max })
    }

    /// Asks once.
    ///
    /// # Errors
    /// See [`Unanswered`]. An answer of any status is none.
    pub async fn ask(&self, question: Question<'_>) -> Result<Reply, Unanswered> {
        check_url(question.url, self.policy).map_err(|error| Unanswered::Refused(error.message))?;
        let mut request = self.client.request(question.method, question.url.clone());
        for (name, value) in question.headers {
            request = request.header(*name, *value);
        }
        if !question.body.is_empty() {
            request = request.body(question.body);
        }
        let mut response = request.send().await.map_err(|error| unanswered(&error, false))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unanswered(&error, true))? {
            body.extend_from_slice(&chunk);
            body.truncate(self.bytes_max);
            if body.len() >= self.bytes_max || question.first_piece {
                break;
            }
        }
        Ok(Reply { status, headers, body })
    }
}

fn unanswered(error: &reqwest::Error, sent: bool) -> Unanswered {
    let failure = send_error(error, sent);
    let words = if failure.cause.is_empty() { failure.message.clone() } else { failure.cause.clone() };
    match failure.kind {
        Kind::AddressRefused => Unanswered::Refused(words),
        Kind::TlsFailed => Unanswered::Tls(words),
        Kind::TimedOut { .. } => Unanswered::TimedOut(words),
        Kind::Unreachable => Unanswered::Unreachable(words),
        _ => Unanswered::Broken(words),
    }
}

/// The addresses of a host, within that time.
///
/// # Errors
/// The name is nobody's, or nobody says so in time.
pub async fn addresses(url: &Url, within: Duration) -> Result<Vec<IpAddr>, String> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    match tokio::time::timeout(within, tokio::net::lookup_host((host.as_str(), 0))).await {
        Ok(Ok(found)) => {
            let mut found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            found.dedup();
            Ok(found)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the resolver does not answer in time".to_owned()),
    }
}
