//! Where a browser may be sent back to: addresses as they were registered, to the letter. The one exception is the port of this very machine
//! (RFC 8252 §7.3), which a native program learns when it starts.

use url::{Host, Url};

/// The longest address, bytes.
pub(super) const URI_BYTES_MAX: usize = 2_000;
/// Addresses of one program.
pub(super) const URIS_MAX: usize = 20;
/// Schemes that are no program of their own: what a browser itself, or the system, would do something with.
const NOT_PRIVATE: [&str; 20] = [
    "about",
    "android-app",
    "blob",
    "chrome",
    "chrome-extension",
    "content",
    "data",
    "file",
    "filesystem",
    "ftp",
    "intent",
    "jar",
    "javascript",
    "mailto",
    "ms-appx",
    "sms",
    "tel",
    "vbscript",
    "view-source",
    "wss",
];

/// What an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A site.
    Web,
    /// This very machine.
    Loopback,
    /// A scheme of a native program (`cursor://…`).
    Native,
}

/// What an address is; none when nobody may be sent there.
pub(super) fn place(uri: &str) -> Option<Place> {
    if uri.len() > URI_BYTES_MAX || !uri.bytes().all(|byte| byte.is_ascii_graphic()) || uri.contains(['#', '\\', '"', '<', '>']) {
        return None;
    }
    let url = Url::parse(uri).ok()?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return None;
    }
    match url.scheme() {
        "https" => (url.host().is_some() && uri.starts_with("https://")).then_some(Place::Web),
        "http" => loopback(uri).map(|_| Place::Loopback),
        scheme if NOT_PRIVATE.contains(&scheme) || scheme.starts_with("ws") => None,
        // `scheme://name…`, and no other form: what has no authority is not shown to people well.
        scheme => (uri.strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://")) && url.host_str().is_some_and(|host| !host.is_empty())).then_some(Place::Native),
    }
}

/// `http://<this machine>` with a port or none, and what stands behind.
fn loopback(uri: &str) -> Option<(&str, &str)> {
    let host = ["http://127.0.0.1", "http://[::1]", "http://localhost"].into_iter().find(|host| uri.starts_with(host))?;
    let rest = &uri[host.len()..];
    let rest = match rest.strip_prefix(':') {
        Some(port) => {
            let digits = port.bytes().take_while(u8::is_ascii_digit).count();
            port[..digits].parse::<u16>().ok().filter(|port| *port > 0)?;
            &port[digits..]
        }
        None => rest,
    };
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((host, rest))
}

/// Whether that is one of the registered addresses.
pub(super) fn fits(registered: &[String], uri: &str) -> bool {
    place(uri).is_some() && registered.iter().any(|known| known == uri || matches!((loopback(known), loopback(uri)), (Some(known), Some(uri)) if known == uri))
}

/// The host as people are shown it: of a site its name, of a native program the scheme.
pub(super) fn host(uri: &str) -> String {
    let Ok(url) = Url::parse(uri) else { return String::new() };
    match (url.scheme(), url.host()) {
        ("https" | "http", Some(Host::Domain(name))) => name.to_owned(),
        ("https" | "http", _) => url.host_str().unwrap_or_default().to_owned(),
        (scheme, _) => format!("{scheme}://{}", url.host_str().unwrap_or_default()),
    }
}

/// What a page that sends a form must allow, so that the browser may go on from the answer to there: the source of a policy.
pub(super) fn policy_source(uri: &str) -> String {
    let Ok(url) = Url::parse(uri) else { return String::new() };
    match url.scheme() {
        // A policy cannot name an address of IPv6.
        "http" if matches!(url.host(), Some(Host::Ipv6(_))) => "http:".to_owned(),
        "https" | "http" => url.origin().ascii_serialization(),
        scheme => format!("{scheme}:"),
    }
}

/// The address with an answer in its query.
pub(super) fn back(uri: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let joint = match uri.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    format!("{uri}{joint}{}", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_sent_to_programs_only() {
        for (uri, what) in [
            ("https://claude.ai/api/mcp/auth_callback", Place::Web),
            ("http://127.0.0.1:33418/", Place::Loopback),
            ("http://localhost/callback", Place::Loopback),
            ("http://[::1]:1/cb?x=1", Place::Loopback),
            ("cursor://anysphere.cursor-mcp/oauth/callback", Place::Native),
            ("vscode://vscode.github-authentication/did-authenticate", Place::Native),
        ] {
            assert_eq!(place(uri), Some(what), "{uri}");
        }
        for bad in [
            "",
            "claude.ai/callback",
            "http://claude.ai/callback",
            "http://127.0.0.1.evil.com/",
            "http://localhost.evil.com/",
            "http://127.0.0.1:80@evil.com/",
            "http://localhost:99999/",
            "http://localhost:/",
            "https://user@claude.ai/callback",
            "https://claude.ai/callback#x",
            "https://claude.ai\\@evil.com/",
            "https:claude.ai",
            "javascript:alert(1)",
            "javascript://x/%0aalert(1)",
            "JavaScript://x/",
            "data:text/html,x",
            "data://x/y",
            "file:///etc/passwd",
            "file://x/y",
            "vbscript://x/",
            "wss://x/",
            "ws://x/",
            "intent://x/",
            "cursor:callback",
            "cursor:///",
            "https://ñ.com/ ",
            "https://claude.ai/\n",
        ] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_what_was_registered_fits() {
        let known = ["https://claude.ai/api/mcp/auth_callback", "http://localhost/callback", "http://127.0.0.1:7000/cb", "cursor://a/b"].map(str::to_owned);
        for good in ["https://claude.ai/api/mcp/auth_callback", "http://localhost:5123/callback", "http://localhost/callback", "http://127.0.0.1:1/cb", "cursor://a/b"] {
            assert!(fits(&known, good), "{good}");
        }
        for bad in [
            "https://claude.ai/api/mcp/auth_callback/",
            "https://claude.ai/api/mcp/auth_callback?x=1",
            "https://claude.ai/api/mcp/../mcp/auth_callback",
            "https://claude.ai/api/mcp/auth_callback%2e",
            "https://claude.ai:443/api/mcp/auth_callback",
            "https://CLAUDE.ai/api/mcp/auth_callback",
            "http://claude.ai/api/mcp/auth_callback",
            "https://claude.ai.evil.com/api/mcp/auth_callback",
            "http://localhost:5123/callback/../callback",
            "http://localhost:5123/other",
            "http://127.0.0.1:5123/callback",
            "http://localhost:5123@evil.com/callback",
            "cursor://a/b/c",
        ] {
            assert!(!fits(&known, bad), "{bad}");
        }
    }

    #[test]
    fn an_answer_stands_in_the_query() {
        assert_eq!(back("https://a.do/x", &[("code", Some("c d")), ("state", None)]), "https://a.do/x?code=c+d");
        assert_eq!(back("https://a.do/x?y=1", &[("iss", Some("https://b.do"))]), "https://a.do/x?y=1&iss=https%3A%2F%2Fb.do");
        assert_eq!((host("https://claude.ai:443/x"), host("cursor://a.b/x")), ("claude.ai".to_owned(), "cursor://a.b".to_owned()));
        assert_eq!(
            (policy_source("https://claude.ai/x"), policy_source("cursor://a/x"), policy_source("http://localhost:81/x")),
            ("https://claude.ai".to_owned(), "cursor:".to_owned(), "http://localhost:81".to_owned())
        );
    }
}
