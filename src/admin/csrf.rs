//! CSRF: every unsafe request must come from a page of ours (Fetch metadata and Origin, where the browser sends them) and carry the token of its
//! session, in the hidden field `csrf` or the header `X-CSRF-Token`. The token is derived from the cookie, so that nothing is stored.
//!
//! Forms are read here, once, within their limit of size; handlers get them as `forms::Form`. Of a form with files only the beginning is read:
//! its first part must be the token, written as browsers write it, and the rest goes on to the handler as it comes.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, future, stream};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use url::Url;

use super::error::PageError;
use super::forms::Fields;
use super::{Cx, Portal};
use crate::http::names::authority;
use crate::http::refuse_body;

/// The hidden field.
pub(super) const FIELD: &str = "csrf";
/// The header, for script.
const HEADER: &str = "x-csrf-token";
/// Bytes of a visitor's cookie.
const SEED_BYTES: usize = 32;
/// Characters of a token: an HMAC of 32 bytes.
const TOKEN_CHARS: usize = 43;
/// How long a form with files may take to begin.
const FIRST_PART_WITHIN: Duration = Duration::from_secs(10);
/// The longest boundary between its parts (RFC 2046).
const BOUNDARY_CHARS_MAX: usize = 70;
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
    } else if let (None, Some(boundary)) = (&sent, boundary(request.headers())) {
        let (first, body) = tokio::time::timeout(FIRST_PART_WITHIN, token_first(std::mem::take(request.body_mut()), &boundary)).await.map_err(|_| PageError::TooSlow)??;
        *request.body_mut() = body;
        first
    } else {
        sent
    };
    if !sent.is_some_and(|sent| same(&sent, &cx.inner.csrf)) {
        return Err(PageError::Foreign);
    }
    Ok(request)
}

/// Whether an unsafe request that came with a session's cookie is ours: from our own pages, with the token in the header.
pub(super) fn header_fits(portal: &Portal, headers: &HeaderMap, authority: &str, cookie: &str) -> bool {
    let sent = headers.get(HEADER).and_then(|value| value.to_str().ok());
    from_us(headers, authority, &portal.inner.scheme) && sent.is_some_and(|sent| same(sent, &token(cookie)))
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

/// Whether a request is a form with files.
pub(super) fn is_upload(headers: &HeaderMap) -> bool {
    boundary(headers).is_some()
}

/// What stands between the parts of a form with files.
fn boundary(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let (kind, parameters) = kind.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?.trim_matches('"');
    (!boundary.is_empty() && boundary.len() <= BOUNDARY_CHARS_MAX).then(|| boundary.to_owned())
}

/// The token, if it is the first part; and the body with nothing taken out of it. Reads no more than it must.
async fn token_first(body: Body, boundary: &str) -> Result<(Option<String>, Body), PageError> {
    let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{FIELD}\"\r\n\r\n");
    let mut body = body.into_data_stream();
    let mut seen = BytesMut::new();
    while seen.len() < head.len() + TOKEN_CHARS + 2 {
        match body.next().await {
            Some(Ok(bytes)) => seen.extend_from_slice(&bytes),
            Some(Err(_)) => return Err(PageError::BadForm),
            None => break,
        }
    }
    let seen: Bytes = seen.freeze();
    let token = seen.strip_prefix(head.as_bytes()).and_then(|rest| rest.get(..TOKEN_CHARS + 2)?.strip_suffix(b"\r\n"));
    let token = token.and_then(|token| String::from_utf8(token.to_vec()).ok());
    Ok((token, Body::from_stream(stream::once(future::ready(Ok(seen))).chain(body))))
}

async fn read(mut body: Body, bytes_max: usize) -> Result<(Fields, bytes::Bytes), PageError> {
    match Limited::new(&mut body, bytes_max).collect().await {
        Ok(collected) => {
            let body = collected.to_bytes();
            Ok((Fields::parse(&body), body))
        }
        Err(error) if error.is::<LengthLimitError>() => {
            refuse_body(&mut body).await;
            Err(PageError::TooLarge)
        }
        Err(_) => Err(PageError::BadForm),
    }
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

    #[tokio::test]
    async fn the_first_part_of_a_form_with_files_is_the_token() {
        let token = token(&seed_make());
        let good = format!(
            "--xyz\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\n{token}\r\n--xyz\r\nContent-Disposition: form-data; name=\"zip\"; filename=\"a\"\r\n\r\nPK\r\n--xyz--\r\n"
        );
        // However it is cut on its way.
        for size in [1, 7, 64, 1_000] {
            let pieces: Vec<Result<Bytes, std::io::Error>> = good.as_bytes().chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let (first, body) = token_first(Body::from_stream(stream::iter(pieces)), "xyz").await.unwrap();
            assert_eq!(first.as_ref(), Some(&token));
            assert_eq!(body.collect().await.unwrap().to_bytes(), good.as_bytes(), "nothing is lost");
        }
        for bad in [
            String::new(),
            "--xyz\r\n".to_owned(),
            good.replace("name=\"csrf\"", "name=\"zip\""),
            good.replace("name=\"csrf\"", "name=\"csrf\"; filename=\"a\""),
            good.replace("--xyz", "--abc"),
            format!("preamble\r\n{good}"),
            good.replace(&token, &token[1..]),
            good.replace(&token, &format!("{token}a")),
        ] {
            assert_eq!(token_first(Body::from(bad.clone()), "xyz").await.unwrap().0, None, "{bad}");
        }
    }

    #[test]
    fn a_form_with_files_names_its_boundary() {
        let of = |kind: &str| boundary(&HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]));
        assert_eq!(of("multipart/form-data; boundary=----WebKitFormBoundaryX1").as_deref(), Some("----WebKitFormBoundaryX1"));
        assert_eq!(of("Multipart/Form-Data; charset=utf-8; boundary=\"a b\"").as_deref(), Some("a b"));
        for none in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=x", "application/x-www-form-urlencoded"] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(of(&format!("multipart/form-data; boundary={}", "x".repeat(71))), None);
    }
}
