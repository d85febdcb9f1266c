//! What the doors must tell about each other: the names of the service and the addresses at which its parts are found. Clients compare them letter by
//! letter, so that there is one place for them.

use url::Url;

use super::HttpSettings;

/// Where agents call, with any token.
pub const MCP: &str = "/mcp";
/// Where a browser is sent to ask a person: a page of the portal.
pub const AUTHORIZE: &str = "/admin/autorizar";
/// What the resource says of itself (RFC 9728): by its own path, and at the root.
pub const RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource/mcp";
/// The same at the root.
pub const RESOURCE_METADATA_ROOT: &str = "/.well-known/oauth-protected-resource";
/// What the authorization server says of itself (RFC 8414).
pub const SERVER_METADATA: &str = "/.well-known/oauth-authorization-server";

/// The addresses of this service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    issuer: String,
    resource: String,
}

impl Places {
    /// From the public address. The issuer has no path, and no slash at its end.
    #[must_use]
    pub fn new(settings: &HttpSettings) -> Self {
        Self::of(&settings.public_url)
    }

    /// The same.
    #[must_use]
    pub fn of(public_url: &Url) -> Self {
        let issuer = public_url.origin().ascii_serialization();
        Self { resource: format!("{issuer}{MCP}"), issuer }
    }

    /// The authorization server's name.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What access tokens are made for: the address agents call.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// A full address.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        let places = Places::of(&"https://MCP.example.do:443/".parse().unwrap());
        assert_eq!((places.issuer(), places.resource()), ("https://mcp.example.do", "https://mcp.example.do/mcp"));
        assert_eq!(Places::of(&"http://127.0.0.1:8080/x/".parse().unwrap()).at(AUTHORIZE), "http://127.0.0.1:8080/admin/autorizar");
    }
}
