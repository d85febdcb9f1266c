//! An Odoo connection as it is typed, on the page or in a program's request: what the fields mean, or what is wrong with each.

use url::Url;

use crate::domain::connections::OdooDraft;
use crate::domain::tenants::{ProtocolChoice, Tenant, TenantEdit};
use crate::state::AppState;

/// An examination that takes longer is given up. Shorter than a request may take, so that the answer says so itself.
pub(super) const EXAMINATION_S: u64 = 45;
/// The longest text of a field, characters.
const FIELD_CHARS_MAX: usize = 300;
/// The fastest pace that can be asked for, requests a second.
const PACE_MAX: u32 = 1_000;

/// The fields as they came.
pub(super) struct Typed<'a> {
    pub(super) url: &'a str,
    pub(super) database: &'a str,
    pub(super) login: &'a str,
    /// Empty keeps the saved one.
    pub(super) secret: &'a str,
    pub(super) protocol: &'a str,
    /// Requests a second; empty goes by the address.
    pub(super) pace: &'a str,
}

/// What the fields mean.
pub(super) struct Given {
    pub(super) draft: OdooDraft,
    pub(super) pace: Option<u32>,
}

impl Given {
    /// The whole connection, as a change of its tenant.
    pub(super) fn edit(self) -> TenantEdit {
        let OdooDraft { url, database, login, secret, protocol } = self.draft;
        TenantEdit {
            odoo_url: Some(url),
            odoo_database: Some(database),
            odoo_login: Some(login),
            odoo_secret: secret,
            odoo_protocol: Some(protocol),
            odoo_requests_per_second: Some(self.pace),
            ..TenantEdit::default()
        }
    }
}

/// A field and the sentence of what is wrong with it (`portal.faults.<key>`).
pub(super) type TypedFault = (&'static str, &'static str);

impl Typed<'_> {
    /// What the fields mean for that tenant, or what is wrong with each.
    pub(super) fn given(&self, state: &AppState, tenant: &Tenant) -> Result<Given, Vec<TypedFault>> {
        let mut faults = Vec::new();
        let url = address(self.url);
        match &url {
            None => faults.push(("url", "odoo_url")),
            Some(url) if !state.connections.address_may_be(url) => faults.push(("url", "odoo_url_https")),
            Some(_) => {}
        }
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty() && text.chars().count() <= FIELD_CHARS_MAX && !text.chars().any(char::is_control));
        let (database, login) = (text(self.database), text(self.login));
        if database.is_none() {
            faults.push(("database", "odoo_database"));
        }
        if login.is_none() {
            faults.push(("login", "odoo_login"));
        }
        let secret = Some(self.secret.trim()).filter(|secret| !secret.is_empty()).map(|secret| secret.to_owned().into());
        // The saved secret is sent to the server it was given for, and to no other.
        if secret.is_none() && !url.as_ref().is_some_and(|url| tenant.odoo_secret_fits(url)) {
            faults.push(("secret", if tenant.odoo.is_some() && url.is_some() { "odoo_secret_again" } else { "odoo_secret" }));
        }
        let protocol = self.protocol.parse::<ProtocolChoice>();
        if protocol.is_err() {
            faults.push(("protocol", "odoo_protocol"));
        }
        let pace = match self.pace.trim() {
            "" => Ok(None),
            number => number.parse::<u32>().map_err(|_| ()).and_then(|pace| if pace <= PACE_MAX { Ok(Some(pace)) } else { Err(()) }),
        };
        if pace.is_err() {
            faults.push(("pace", "odoo_pace"));
        }
        match (url, database, login, protocol, pace) {
            (Some(url), Some(database), Some(login), Ok(protocol), Ok(pace)) if faults.is_empty() => {
                Ok(Given { draft: OdooDraft { url, database, login, secret, protocol }, pace })
            }
            _ => Err(faults),
        }
    }
}

/// An address as people type it: without `https://` in front it is meant.
fn address(text: &str) -> Option<Url> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > FIELD_CHARS_MAX {
        return None;
    }
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    Url::parse(&whole).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some() && url.username().is_empty() && url.password().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_type_them() {
        let read = |text: &str| address(text).map(|url| url.to_string());
        assert_eq!(read(" empresa.odoo.com "), Some("https://empresa.odoo.com/".to_owned()));
        assert_eq!(read("http://192.168.1.5:8069"), Some("http://192.168.1.5:8069/".to_owned()));
        for bad in ["", "https://", "ftp://a.do", "https://user:clave@a.do", "javascript://x", "file:///etc/passwd", "con espacios .do"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
