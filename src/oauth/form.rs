//! Forms of programs, and how they prove who they are: in the form, or in the header (RFC 6749 §2.3.1), never both.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use url::form_urlencoded;

use super::error::Refusal;
use crate::domain::oauth::{ClientProof, Fault};

/// A form in which every parameter stands once. Values may be secrets: never printed.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a body.
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Refusal::new(Fault::InvalidRequest, "send a form: application/x-www-form-urlencoded"));
        }
        let mut read: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            if read.iter().any(|(known, _)| *known == name) {
                return Err(Refusal::new(Fault::InvalidRequest, "a parameter stands twice"));
            }
            // An empty value is none (RFC 6749 §3.1).
            if !value.is_empty() {
                read.push((name.into_owned(), value.into_owned()));
            }
        }
        Ok(Self(read))
    }

    /// That parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// That parameter, which must be there.
    pub(super) fn must(&self, name: &str, about: &'static str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::new(Fault::InvalidRequest, about))
    }
}

/// Who a program says it is.
pub(super) struct Presented {
    identifier: String,
    secret: Option<SecretString>,
    /// In the header.
    pub(super) basic: bool,
}

impl Presented {
    pub(super) fn read(headers: &HeaderMap, params: &Params) -> Result<Self, Refusal> {
        let in_form = params.get("client_id");
        let Some(header) = headers.get(header::AUTHORIZATION) else {
            let identifier = in_form.ok_or_else(|| Refusal::new(Fault::InvalidClient, "client_id is missing"))?.to_owned();
            return Ok(Self { identifier, secret: params.get("client_secret").map(|secret| SecretString::from(secret.to_owned())), basic: false });
        };
        let bad = || Refusal::new(Fault::InvalidClient, "the Authorization header is not `Basic` with an id and a secret").of(true);
        let (identifier, secret) = header.to_str().ok().and_then(basic).ok_or_else(bad)?;
        if params.get("client_secret").is_some() || in_form.is_some_and(|named| named != identifier) {
            return Err(Refusal::new(Fault::InvalidRequest, "prove who you are in one way only"));
        }
        Ok(Self { identifier, secret: Some(SecretString::from(secret)), basic: true })
    }

    pub(super) fn proof(&self) -> ClientProof<'_> {
        ClientProof { identifier: &self.identifier, secret: self.secret.as_ref() }
    }
}

/// Id and secret of a header, each encoded as in a form.
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, text) = header.split_once(' ')?;
    let text = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(text.trim()).ok()).flatten()?;
    let text = String::from_utf8(text).ok()?;
    let (id, secret) = text.split_once(':')?;
    let plain = |text: &str| form_urlencoded::parse(format!("x={}", text.replace('&', "%26")).as_bytes()).next().map(|(_, value)| value.into_owned());
    Some((plain(id)?, plain(secret)?)).filter(|(id, _)| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_holds_id_and_secret() {
        let header = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(basic(&header("a%3Ab:c%20d&e")), Some(("a:b".to_owned(), "c d&e".to_owned())));
        for bad in ["", "Basic", "Basic !!!", "Bearer YTpi", &header("ab"), &header(":b")] {
            assert_eq!(basic(bad), None, "{bad}");
        }
    }
}
