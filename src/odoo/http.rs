//! One POST and its whole answer: the only place that touches the network.
//!
//! It keeps the deadline, counts the answer while it streams in, knows whether the request had begun to
//! be sent, and retries nothing by itself (see [`Http::post`]). Connections are kept when the server keeps
//! them; a bare Odoo closes every one, a proxy in front may not. No redirects, no proxy from the
//! environment, no cookies, no compression.

use super::address::{GuardedResolver, check_url};
use super::config::{OdooConfig, OdooLimits};
use super::error::{OdooError, OdooErrorKind as Kind};
use super::gate::{RequestGate, Turn, health};
use super::http_error::{Failure, chain, send_error, target, timed_out};
use super::meter::{CallMeter, RequestEnd};
use super::wire::call::Outgoing;
use super::wire::page::Incoming;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use http_body::{Body, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// Longest `Retry-After` that is believed, in seconds.
const RETRY_AFTER_S_MAX: u64 = 3_600;
/// TLS sessions kept for one server.
const SESSIONS_MAX: usize = 8;

/// The HTTP client of one server.
#[derive(Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    pub(crate) base: Url,
    pub(crate) limits: OdooLimits,
    /// Whether the host is one of Odoo Online (or Odoo.sh, which share the domain).
    pub(crate) online: bool,
    gate: Option<Arc<dyn RequestGate>>,
}

/// Values of the two headers that JSON-2 wants.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) authorization: HeaderValue,
    pub(crate) database: HeaderValue,
}

impl Credentials {
    pub(crate) fn new(key: &str, database: &str) -> Result<Self, OdooError> {
        let header = |text: &str, what: &str| {
            HeaderValue::from_bytes(text.as_bytes()).map_err(|_| OdooError::new(Kind::BadCredentials, format!("The {what} holds characters that cannot be sent"), ""))
        };
        let mut authorization = header(&format!("bearer {key}"), "API key")?;
        authorization.set_sensitive(true);
        Ok(Self { authorization, database: header(database, "name of the database")? })
    }
}

impl Http {
    pub(crate) fn new(config: &OdooConfig, gate: Option<Arc<dyn RequestGate>>) -> Result<Self, OdooError> {
        Self::with_resolver(config, gate, GuardedResolver::new(config.addresses))
    }

    /// The same with a resolver of the caller's.
    pub(crate) fn with_resolver(config: &OdooConfig, gate: Option<Arc<dyn RequestGate>>, resolver: GuardedResolver) -> Result<Self, OdooError> {
        let base = check_url(&config.url, config.addresses)?;
        let limits = config.limits;
        let client = guarded(resolver)?
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_millis(limits.connect_timeout_ms))
            .pool_max_idle_per_host(limits.idle_connections_max)
            .pool_idle_timeout(Duration::from_secs(limits.idle_timeout_s))
            .build()
            .map_err(|error| OdooError::new(Kind::TlsFailed, "TLS cannot be set up on this machine", chain(&error)))?;
        let online = base.host_str().is_some_and(|host| host == "odoo.com" || host.ends_with(".odoo.com"));
        Ok(Self { client, base, limits, online, gate })
    }

    /// Sends one request and reads its answer. When the connection dies before a byte of the answer, the
    /// request is sent once more if nothing of it had been sent, or if it is `repeatable` (a read).
    pub(crate) async fn post(&self, outgoing: &Outgoing, credentials: Option<&Credentials>, turn: Turn, repeatable: bool, meter: &CallMeter) -> Result<Incoming, OdooError> {
        let body = Bytes::from(outgoing.body.clone());
        let url = self
            .base
            .join(&outgoing.path)
            .map_err(|error| OdooError::new(Kind::BadArguments, "The name of the model or method cannot be part of an address", error.to_string()))?;
        let request_timeout = Duration::from_millis(self.limits.request_timeout_ms);
        let pass = match &self.gate {
            Some(gate) => Some(gate.enter(turn.urgency, turn.deadline.unwrap_or_else(|| Instant::now() + request_timeout)).await?),
            None => None,
        };
        let end = Instant::now() + request_timeout;
        let end = turn.deadline.map_or(end, |deadline| deadline.min(end));
        let result = self.exchange(&url, outgoing, &body, credentials, end, repeatable, meter).await;
        if let Some(pass) = pass {
            pass(health(&result));
        }
        result
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request, named where they are used")]
    async fn exchange(
        &self,
        url: &Url,
        outgoing: &Outgoing,
        body: &Bytes,
        credentials: Option<&Credentials>,
        end: Instant,
        repeatable: bool,
        meter: &CallMeter,
    ) -> Result<Incoming, OdooError> {
        match self.once(url, outgoing, body, credentials, end, meter).await {
            Err(Failure { error, before_answer: true, sent }) if error.kind == Kind::ConnectionLost && (repeatable || !sent) => {
                self.once(url, outgoing, body, credentials, end, meter).await.map_err(Failure::into_error)
            }
            other => other.map_err(Failure::into_error),
        }
    }

    async fn once(&self, url: &Url, outgoing: &Outgoing, body: &Bytes, credentials: Option<&Credentials>, end: Instant, meter: &CallMeter) -> Result<Incoming, Failure> {
        let started = Instant::now();
        if started >= end {
            return Err(Failure::new(timed_out(false), false));
        }
        let sent = Arc::new(Sending::default());
        let watched = WatchedBody { data: Some(body.clone()), sent: Arc::clone(&sent) };
        let mut request = self.client.post(url.clone()).header(CONTENT_TYPE, outgoing.content_type).body(reqwest::Body::wrap(watched));
        if let (true, Some(credentials)) = (outgoing.in_headers, credentials) {
            request = request.header(AUTHORIZATION, credentials.authorization.clone()).header("x-odoo-database", credentials.database.clone());
        }
        let answer = tokio::time::timeout_at(end, self.receive(request, &sent)).await;
        let answer = answer.unwrap_or_else(|_| Err(Failure::new(timed_out(sent.give_up()), false)));
        meter.add(started.elapsed(), RequestEnd::of(answer.as_ref().map(|answer| answer.status).map_err(|failure| &failure.error.kind)));
        answer
    }

    async fn receive(&self, request: reqwest::RequestBuilder, sent: &Sending) -> Result<Incoming, Failure> {
        let mut response = request.send().await.map_err(|error| {
            let sent = sent.give_up();
            Failure { error: send_error(&error, sent), before_answer: true, sent }
        })?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let mut incoming = Incoming {
            status: response.status().as_u16(),
            retry_after_s: header(RETRY_AFTER).and_then(|text| text.trim().parse::<u64>().ok()).map(|seconds| seconds.min(RETRY_AFTER_S_MAX)),
            location: header(LOCATION).map(|text| target(response.url(), text)),
            body: Vec::new(),
        };
        // None was asked for. To unpack it would open the door to a small answer that becomes a huge one.
        if header(CONTENT_ENCODING).is_some_and(|text| !text.eq_ignore_ascii_case("identity")) {
            return Err(Failure::new(
                OdooError::new(Kind::ConnectionLost, "The answer came compressed although that was not asked for", format!("HTTP {}", incoming.status)),
                false,
            ));
        }
        let bytes_max = self.limits.answer_bytes_max;
        let too_large = || Failure::new(OdooError::new(Kind::AnswerTooLarge, format!("The answer is larger than {} KiB", bytes_max / 1024), ""), false);
        if response.content_length().is_some_and(|length| length > bytes_max as u64) {
            return Err(too_large());
        }
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if incoming.body.len() + chunk.len() > bytes_max => {
                    return Err(too_large());
                }
                Ok(Some(chunk)) => incoming.body.extend_from_slice(&chunk),
                Ok(None) => return Ok(incoming),
                Err(error) => {
                    return Err(Failure::new(OdooError::new(Kind::ConnectionLost, "The connection broke while the answer came in", chain(&error)), false));
                }
            }
        }
    }
}

/// A client that reaches allowed addresses only, follows no redirect, and takes no proxy from the environment.
pub(super) fn guarded(resolver: GuardedResolver) -> Result<reqwest::ClientBuilder, OdooError> {
    // The program installs its provider first; without one `reqwest` would panic here.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let tls = tls().map_err(|error| OdooError::new(Kind::TlsFailed, "TLS cannot be set up on this machine", error.to_string()))?;
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).dns_resolver(resolver);
    Ok(builder.redirect(reqwest::redirect::Policy::none()).no_proxy().referer(false).user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"))))
}

/// Who is trusted is read once for all servers: a hundred and more certificates each time, in time and in memory. Sessions that a server
/// may resume stay with its client.
fn tls() -> Result<rustls::ClientConfig, rustls::Error> {
    static VERIFIER: OnceLock<Arc<rustls_platform_verifier::Verifier>> = OnceLock::new();
    let provider = rustls::crypto::CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
    let verifier = match VERIFIER.get() {
        Some(verifier) => Arc::clone(verifier),
        None => Arc::clone(VERIFIER.get_or_init({
            let made = Arc::new(rustls_platform_verifier::Verifier::new(Arc::clone(&provider))?);
            move || made
        })),
    };
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = rustls::client::Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(config)
}

/// Whether any byte of a request's body was handed over, decided once. Whoever gives up and whoever sends may be on two threads:
/// what was told as "not sent" is not sent afterwards.
#[derive(Default)]
struct Sending(AtomicU8);

impl Sending {
    const BEGUN: u8 = 1;
    const GIVEN_UP: u8 = 2;

    /// Begins to send; false when it was given up before.
    fn begin(&self) -> bool {
        !matches!(self.0.compare_exchange(0, Self::BEGUN, Ordering::AcqRel, Ordering::Acquire), Err(Self::GIVEN_UP))
    }

    /// Gives up, and says whether it had begun.
    fn give_up(&self) -> bool {
        matches!(self.0.compare_exchange(0, Self::GIVEN_UP, Ordering::AcqRel, Ordering::Acquire), Err(Self::BEGUN))
    }
}

/// A body of known length (so that `Content-Length` is sent, never chunks) that notes when it is first asked for
/// its bytes: before that, the server cannot have executed anything.
struct WatchedBody {
    data: Option<Bytes>,
    sent: Arc<Sending>,
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if !self.sent.begin() {
            return Poll::Ready(Some(Err(io::Error::other("given up before it was sent"))));
        }
        Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_is_not_sent_and_what_was_begun_is_not_told_as_unsent() {
        let given_up = Sending::default();
        assert!(!given_up.give_up() && !given_up.begin() && !given_up.give_up());
        let begun = Sending::default();
        assert!(begun.begin() && begun.begin() && begun.give_up() && begun.begin());
        // Two threads: exactly one of both is told.
        for _ in 0..200 {
            let sending = Sending::default();
            let (sent, told_sent) = std::thread::scope(|scope| {
                let sender = scope.spawn(|| sending.begin());
                let told = scope.spawn(|| sending.give_up());
                (sender.join().unwrap(), told.join().unwrap())
            });
            assert_eq!(sent, told_sent);
        }
    }
}
