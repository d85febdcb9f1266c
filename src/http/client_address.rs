//! The client's address behind trusted proxies.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderMap;
use ipnet::IpNet;
use tower_governor::GovernorError;
use tower_governor::key_extractor::KeyExtractor;

/// A client whose address the proxy does not tell; all of them count as one.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// Stands for a header that is no text.
const UNREADABLE: &str = "?";

/// The address limits are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

/// The client's address of a request: its peer's, or what trusted proxies say.
pub(super) fn of(request: &Request, trusted: &[IpNet]) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::from([127, 0, 0, 1]), |info| info.0.ip());
    find(peer, request.headers(), trusted)
}

/// From the right: the first address that is no trusted proxy. What a client writes further left is not believed.
fn find(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(&address.to_canonical()));
    if !is_trusted(&peer) {
        return peer.to_canonical();
    }
    let values: Vec<&str> = headers.get_all("x-forwarded-for").iter().map(|value| value.to_str().unwrap_or(UNREADABLE)).collect();
    for hop in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        match hop_address(hop.trim()) {
            Some(hop) if is_trusted(&hop) => {}
            Some(hop) => return hop.to_canonical(),
            // A trusted proxy named somebody by a name that is no address (`unknown`, a socket). To pass over it would believe what stands
            // further left, or take the client for the proxy itself.
            None => return UNKNOWN,
        }
    }
    peer.to_canonical()
}

/// Some proxies add the port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

/// Limits by address; an IPv6 customer has a whole /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByAddress;

impl KeyExtractor for ByAddress {
    type Key = IpAddr;

    fn extract<T>(&self, request: &axum::http::Request<T>) -> Result<Self::Key, GovernorError> {
        let address = request.extensions().get::<ClientAddress>().ok_or(GovernorError::UnableToExtractKey)?.0;
        Ok(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(six) => {
                let mut segments = six.segments();
                segments[4..].fill(0);
                IpAddr::from(segments)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: &str, forwarded: &str) -> String {
        let mut headers = HeaderMap::new();
        if !forwarded.is_empty() {
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        }
        let trusted = ["127.0.0.1/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        find(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(found("203.0.113.7", "1.1.1.1"), "203.0.113.7");
        assert_eq!(found("127.0.0.1", "1.1.1.1, 203.0.113.7"), "203.0.113.7");
        assert_eq!(found("127.0.0.1", "203.0.113.7, 10.1.2.3"), "203.0.113.7");
        assert_eq!(found("127.0.0.1", ""), "127.0.0.1");
        assert_eq!(found("::ffff:203.0.113.7", ""), "203.0.113.7");
        assert_eq!(found("127.0.0.1", "1.1.1.1, 203.0.113.7:4711"), "203.0.113.7");
        assert_eq!(found("127.0.0.1", "[2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(found("127.0.0.1", "127.0.0.1, 10.1.2.3"), "127.0.0.1");
    }

    #[test]
    fn who_is_not_named_is_nobody() {
        for forwarded in ["unknown", "unix:", "1.1.1.1, unix:", "unix:, 10.1.2.3", "127.0.0.1,"] {
            assert_eq!(found("127.0.0.1", forwarded), "0.0.0.0", "{forwarded}");
        }
    }
}
