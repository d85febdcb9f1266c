//! The address guard: which servers a tenant's URL may reach.
//!
//! Two walls. [`check_url`] looks at the URL before anything happens: scheme, user info, port, literal
//! addresses (the `url` crate has already turned `0x7f.1` and `2130706433` into what they mean).
//! The resolver looks at what the name resolves to, at every connect, and hands only allowed
//! addresses to the connector: what was checked is what is connected to, so a name that changes its
//! address in between gains nothing. Redirects are not followed and no proxy is used (see `http.rs`).

use super::config::AddressPolicy;
use super::error::{OdooError, OdooErrorKind};
use ipnet::{Ipv4Net, Ipv6Net};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use url::{Host, Url};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// IPv4 blocks of the IANA special-purpose registry that are not the public Internet.
const NOT_PUBLIC_V4: [Ipv4Net; 16] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10), // carrier-grade NAT
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16), // link-local, cloud metadata
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),    // documentation
    v4(192, 31, 196, 0, 24), // AS112
    v4(192, 88, 99, 0, 24),  // 6to4 relays
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15), // benchmarking
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4), // multicast
    v4(240, 0, 0, 0, 4), // reserved, broadcast
];

/// The only IPv6 block that is handed out as global unicast; everything outside it is refused.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// Blocks inside [`GLOBAL_V6`] that are not plain public addresses, or that carry an IPv4 address in them.
const NOT_PUBLIC_V6: [Ipv6Net; 5] = [
    v6(0x2001, 0, 0, 23),         // protocol assignments, Teredo (2001::/32), benchmarking, ORCHID
    v6(0x2001, 0xdb8, 0, 32),     // documentation
    v6(0x2002, 0, 0, 16),         // 6to4
    v6(0x2620, 0x4f, 0x8000, 48), // AS112
    v6(0x3fff, 0, 0, 20),         // documentation
];

/// Ports of other services that a URL must not be used to poke at, above 1023.
const OTHER_SERVICES: [u16; 22] = [1433, 1521, 2049, 2375, 2376, 2379, 2380, 3306, 3389, 4369, 5432, 5672, 5900, 5984, 6000, 6379, 6443, 9092, 9200, 10250, 11211, 27017];

/// Whether an address belongs to the public Internet.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC_V4.iter().any(|net| net.contains(&address)),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_public(IpAddr::V4(mapped)),
            // NAT64 (64:ff9b::/96), ULA, link-local, site-local, loopback, multicast all lie outside 2000::/3.
            None => GLOBAL_V6.contains(&address) && !NOT_PUBLIC_V6.iter().any(|net| net.contains(&address)) && !is_isatap(address),
        },
    }
}

/// ISATAP: an interface identifier `0000:5efe` or `0200:5efe` followed by an IPv4 address.
fn is_isatap(address: Ipv6Addr) -> bool {
    let [_, _, _, _, high, low, _, _] = address.segments();
    high & 0xfdff == 0 && low == 0x5efe
}

/// Whether an address is one of this machine's: those are what one can bind to. What listens here, behind whatever wall the machine has to the
/// outside, is no tenant's Odoo, even where the address is a public one.
fn is_ours(address: IpAddr) -> bool {
    let binds = |address: IpAddr| std::net::UdpSocket::bind((address, 0)).is_ok();
    // An address for documentation is nobody's: where the kernel lets even that be bound (`ip_nonlocal_bind`), binding says nothing.
    let nobodys = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    };
    binds(address) && !binds(nobodys)
}

/// Whether an address may be reached under that policy: no tenant's Odoo is this machine, the operator's own service may be.
fn fits(address: IpAddr, policy: AddressPolicy) -> bool {
    match policy {
        AddressPolicy::PublicOnly => is_public(address) && !is_ours(address.to_canonical()),
        AddressPolicy::Own => is_public(address),
        AddressPolicy::AllowPrivate => true,
    }
}

/// Checks a URL before it is used and answers it in the form the client keeps: no query, no fragment, a path that
/// ends in `/` and without the pages people paste (`/web`, `/web/login`, `/odoo`).
///
/// # Errors
/// [`OdooErrorKind::AddressRefused`] with the rule that was broken.
pub fn check_url(url: &Url, policy: AddressPolicy) -> Result<Url, OdooError> {
    let refuse = |why: &str| Err(OdooError::new(OdooErrorKind::AddressRefused, why, format!("scheme {} host {:?} port {:?}", url.scheme(), url.host_str(), url.port())));
    match (url.scheme(), policy) {
        ("https", _) | ("http", AddressPolicy::AllowPrivate | AddressPolicy::Own) => {}
        ("http", AddressPolicy::PublicOnly) => {
            return refuse("The address must begin with https://");
        }
        _ => return refuse("The address must be a web address (https://…)"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("The address must not hold a user name or a password");
    }
    let Some(host) = url.host() else {
        return refuse("The address has no host name");
    };
    if policy != AddressPolicy::AllowPrivate {
        let literal = match host {
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
            Host::Domain(_) => None,
        };
        if literal.is_some_and(|address| !fits(address, policy)) {
            return refuse("The address belongs to a private or reserved network");
        }
        match url.port_or_known_default() {
            _ if policy == AddressPolicy::Own => {}
            Some(443) => {}
            Some(port) if port >= 1024 && !OTHER_SERVICES.contains(&port) => {}
            _ => return refuse("The address names a port that is not used for Odoo"),
        }
    }
    Ok(tidy(url))
}

fn tidy(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let segments: Vec<&str> = url.path().split('/').filter(|part| !part.is_empty()).collect();
    let kept = segments.iter().position(|part| matches!(*part, "web" | "odoo" | "jsonrpc" | "xmlrpc" | "json")).unwrap_or(segments.len());
    let path = segments[..kept].iter().fold(String::from("/"), |path, part| path + part + "/");
    url.set_path(&path);
    url
}

/// Says that a name resolved to nothing that may be reached. It travels inside the connector's error.
#[derive(Debug)]
pub(crate) struct RefusedAddress {
    pub(crate) found: usize,
}

impl fmt::Display for RefusedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "none of the {} addresses of the name may be reached", self.found)
    }
}

impl std::error::Error for RefusedAddress {}

/// Keeps the addresses that the policy allows.
pub(crate) fn allowed(found: Vec<SocketAddr>, policy: AddressPolicy) -> Result<Vec<SocketAddr>, RefusedAddress> {
    let number = found.len();
    let kept: Vec<SocketAddr> = found.into_iter().filter(|address| fits(address.ip(), policy)).collect();
    if kept.is_empty() { Err(RefusedAddress { found: number }) } else { Ok(kept) }
}

type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// The resolver that the HTTP client asks at every connect.
pub(crate) struct GuardedResolver {
    policy: AddressPolicy,
    lookup: Arc<dyn Fn(String) -> Found + Send + Sync>,
}

impl GuardedResolver {
    /// Asks the machine's resolver.
    pub(crate) fn new(policy: AddressPolicy) -> Self {
        Self::asking(policy, |name| Box::pin(async move { Ok(tokio::net::lookup_host((name.as_str(), 0)).await?.collect()) }))
    }

    /// Asks this.
    pub(crate) fn asking(policy: AddressPolicy, lookup: impl Fn(String) -> Found + Send + Sync + 'static) -> Self {
        Self { policy, lookup: Arc::new(lookup) }
    }
}

impl reqwest::dns::Resolve for GuardedResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let policy = self.policy;
        let found = (self.lookup)(name.as_str().to_owned());
        Box::pin(async move {
            let kept = allowed(found.await?, policy)?;
            Ok(Box::new(kept.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
