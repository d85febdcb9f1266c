//! CSRF: every unsafe request must come from a page of ours (Fetch metadata and Origin, where the browser sends them) and carry the token of its
//! session, in the hidden field `csrf` or the header `X-CSRF-Token`. The token is derived from the cookie, so that nothing is stored.
//!
//! Forms are read here, once, within their limit of size; handlers get them as `forms::Form`.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use url::Url;

use super::error::PageError;
use super::forms::Fields;
use super::{Cx, Portal};
use crate::http::names::authority;

/// The hidden field.
pub(super) const FIELD: &str = "csrf";
/// The header, for script.
const HEADER: &str = "x-csrf-token";
/// Bytes of a visitor's cookie.
const SEED_BYTES: usize = 32;
/// What the token is derived for.
const PURPOSE: &[u8] = b"dunet portal form";

/// The token of a session's or visitor's cookie.
pub(super) fn token(cookie: &str) -> String {
    URL_SAFE_NO_PAD.encode(hmac::sign(&key(cookie), PURPOSE))
}

fn key(cookie: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, cookie.as_bytes())
}

/// A new cookie for a visitor.
pub(super) fn seed_make() -> String {
    let mut raw = [0; SEED_BYTES];
    SystemRandom::new().fill(&mut raw).expect("the machine has randomness: the vault could not have started without");
    URL_SAFE_NO_PAD.encode(raw)
}

/// Whether a cookie can be one of ours.
pub(super) fn seed_shaped(cookie: &str) -> bool {
    URL_SAFE_NO_PAD.decode(cookie).is_ok_and(|raw| raw.len() == SEED_BYTES)
}

/// Whether two tokens are the same, in a time that does not tell how much of them is.
fn same(sent: &str, wanted: &str) -> bool {
    // Comparing the MACs of both compares them; ring's own comparison is the constant-time one.
    let key = key(wanted);
    hmac::verify(&key, sent.as_bytes(), hmac::sign(&key, wanted.as_bytes()).as_ref()).is_ok()
}

/// Lets safe requests pass, and unsafe ones that are ours.
pub(super) async fn layer(State(portal): State<Portal>, cx: Cx, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    match checked(&portal, &cx, request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn checked(portal: &Portal, cx: &Cx, mut request: Request) -> Result<Request, PageError> {
    if !from_us(request.headers(), authority(request.headers(), request.uri()), &portal.inner.scheme) {
        return Err(PageError::Foreign);
    }
    let sent = request.headers().get(HEADER).map(|value| value.to_str().unwrap_or_default().to_owned());
    let sent = if is_form(request.headers()) {
        let (fields, body) = read(std::mem::take(request.body_mut()), portal.state().config.limits.form_bytes_max).await?;
        let in_form = fields.get(FIELD).map(str::to_owned);
        *request.body_mut() = Body::from(body);
        request.extensions_mut().insert(fields);
        sent.or(in_form)
    } else {
        sent
    };
    if !sent.is_some_and(|sent| same(&sent, &cx.inner.csrf)) {
        return Err(PageError::Foreign);
    }
    Ok(request)
}

/// Whether the browser says that the request comes from a page of ours. One that says nothing is judged by the token alone.
fn from_us(headers: &HeaderMap, authority: &str, scheme: &str) -> bool {
    if let Some(site) = headers.get("sec-fetch-site")
        && site != "same-origin"
    {
        return false;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let (Ok(origin), Ok(own)) = (Url::parse(origin.to_str().unwrap_or_default()), Url::parse(&format!("{scheme}://{authority}"))) else { return false };
    origin.origin().is_tuple() && origin.origin() == own.origin()
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

async fn read(body: Body, bytes_max: usize) -> Result<(Fields, bytes::Bytes), PageError> {
    let body = Limited::new(body, bytes_max).collect().await.map_err(|error| if error.is::<LengthLimitError>() { PageError::TooLarge } else { PageError::BadForm })?.to_bytes();
    Ok((Fields::parse(&body), body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    #[test]
    fn a_token_belongs_to_its_cookie() {
        let (a, b) = (seed_make(), seed_make());
        assert!(seed_shaped(&a) && !seed_shaped(&a[1..]) && !seed_shaped("") && !seed_shaped("x"));
        assert!(same(&token(&a), &token(&a)));
        assert!(!same(&token(&a), &token(&b)));
        assert!(!same("", &token(&a)) && !same(&token(&a)[1..], &token(&a)));
        assert!(!token(&a).contains(&a));
    }

    #[test]
    fn only_our_own_pages_send_forms() {
        let ours = |pairs: &[(&str, &str)]| {
            let headers: HeaderMap = pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect();
            from_us(&headers, "mcp.example.do", "https")
        };
        assert!(ours(&[]));
        assert!(ours(&[("origin", "https://mcp.example.do")]));
        assert!(ours(&[("origin", "https://mcp.example.do:443"), ("sec-fetch-site", "same-origin")]));
        for origin in ["https://evil.com", "http://mcp.example.do", "https://mcp.example.do:8443", "null", "", "https://mcp.example.do.evil.com", "file:///"] {
            assert!(!ours(&[("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(!ours(&[("sec-fetch-site", site)]), "{site}");
        }
    }
}
