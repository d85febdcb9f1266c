//! The names the service answers to, and the browser origins that may call it: a page in somebody's browser must not reach a door by a name of
//! its own (DNS rebinding), nor with a foreign origin. The doors refuse in their own words.

use std::sync::Arc;

use axum::http::{HeaderMap, Uri, header};
use url::{Host, Url};

use super::HttpSettings;

/// What is allowed.
#[derive(Clone, Debug)]
pub struct Allowed {
    hosts: Arc<Vec<String>>,
    origins: Arc<Vec<String>>,
}

impl Allowed {
    /// From the public address; a loopback address allows all of its names.
    #[must_use]
    pub fn new(settings: &HttpSettings) -> Self {
        let mut hosts = Vec::new();
        if let Some(host) = settings.public_url.host() {
            let loopback = match host {
                Host::Domain(name) => name == "localhost",
                Host::Ipv4(address) => address.is_loopback() || address.is_unspecified(),
                Host::Ipv6(address) => address.is_loopback() || address.is_unspecified(),
            };
            hosts.push(host.to_string().to_lowercase());
            if loopback {
                hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
            }
        }
        let mut origins: Vec<String> = settings.allowed_origins.iter().filter_map(|origin| normal(origin)).collect();
        origins.extend(normal(settings.public_url.as_str()));
        Self { hosts: Arc::new(hosts), origins: Arc::new(origins) }
    }

    /// Whether a browser at that origin may call.
    #[must_use]
    pub fn origin(&self, origin: &str) -> bool {
        normal(origin).is_some_and(|origin| self.origins.contains(&origin))
    }

    /// Whether an authority (the `Host` header) is one of our names.
    #[must_use]
    pub fn host(&self, authority: &str) -> bool {
        // The common case, without a parser: a host of ours, and a port or none.
        let plain = match authority.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        };
        if plain.len() + 6 >= authority.len() && self.hosts.iter().any(|host| host == plain) {
            return true;
        }
        // An authority is parsed, not cut at a colon: `[::1]:80` has many.
        let Ok(uri) = format!("http://{authority}/").parse::<Uri>() else { return false };
        let Some(parsed) = uri.authority() else { return false };
        parsed.as_str() == authority && !authority.contains('@') && self.hosts.contains(&parsed.host().to_lowercase())
    }
}

/// The authority a request is for: its `Host` header, or HTTP/2's.
#[must_use]
pub fn authority<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> &'a str {
    match headers.get(header::HOST) {
        Some(host) => host.to_str().unwrap_or_default(),
        None => uri.authority().map(axum::http::uri::Authority::as_str).unwrap_or_default(),
    }
}

fn normal(origin: &str) -> Option<String> {
    let url = Url::parse(origin).ok()?;
    url.origin().is_tuple().then(|| url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(public: &str) -> Allowed {
        Allowed::new(&HttpSettings {
            public_url: public.parse().unwrap(),
            allowed_origins: vec!["http://localhost:6274".to_owned()],
            trusted_proxies: Arc::default(),
            body_bytes_max: 1,
            request_timeout: std::time::Duration::from_secs(1),
            failed_auth_per_minute: 1,
            metrics_allowed: Arc::default(),
            stopping: tokio_util::sync::CancellationToken::new(),
        })
    }

    #[test]
    fn only_our_names_are_hosts() {
        let public = allowed("https://mcp.example.do");
        for host in ["mcp.example.do", "MCP.example.do", "mcp.example.do:443"] {
            assert!(public.host(host), "{host}");
        }
        for host in ["", "localhost", "127.0.0.1", "mcp.example.do.evil.com", "evil.com", "mcp.example.do@evil.com", "x@mcp.example.do", "a b"] {
            assert!(!public.host(host), "{host}");
        }
        let local = allowed("http://127.0.0.1:8080");
        for host in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "localhost"] {
            assert!(local.host(host), "{host}");
        }
        assert!(!local.host("rebound.example:8080"));
    }

    #[test]
    fn only_named_origins_call() {
        let public = allowed("https://mcp.example.do");
        for origin in ["https://mcp.example.do", "https://mcp.example.do:443", "http://localhost:6274"] {
            assert!(public.origin(origin), "{origin}");
        }
        for origin in ["http://mcp.example.do", "http://localhost:1", "null", "", "https://evil.com", "https://mcp.example.do.evil.com"] {
            assert!(!public.origin(origin), "{origin}");
        }
    }
}
