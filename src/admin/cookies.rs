//! The portal's cookies. With https they carry the prefix `__Host-`: no other name of the domain can set them.

use axum::http::{HeaderMap, HeaderValue, header};
use cookie::{Cookie, SameSite};

/// What they are called here.
#[derive(Clone, Debug)]
pub(super) struct CookieNames {
    secure: bool,
    /// Who is signed in.
    pub(super) session: &'static str,
    /// Ties the forms of somebody who is not signed in to their browser.
    pub(super) visitor: &'static str,
    /// What the next page says.
    pub(super) flash: &'static str,
    /// Ties a request to connect a program to the browser that began it.
    pub(super) connect: &'static str,
}

impl CookieNames {
    pub(super) fn new(secure: bool) -> Self {
        if secure {
            Self { secure, session: "__Host-dunet", visitor: "__Host-dunet-visitor", flash: "__Host-dunet-flash", connect: "__Host-dunet-connect" }
        } else {
            Self { secure, session: "dunet", visitor: "dunet-visitor", flash: "dunet-flash", connect: "dunet-connect" }
        }
    }

    /// A `Set-Cookie` header; none lives as long as the browser is open, 0 deletes it.
    pub(super) fn set(&self, name: &'static str, value: &str, max_age_s: Option<u64>) -> HeaderValue {
        let mut cookie = Cookie::build((name, value)).path("/").http_only(true).secure(self.secure).same_site(SameSite::Lax);
        if let Some(seconds) = max_age_s {
            cookie = cookie.max_age(cookie::time::Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX)));
        }
        // Names are ours and values base64url: always a legal header.
        HeaderValue::from_str(&cookie.build().to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// The value of that cookie; none when it is missing or sent twice: two of one name are somebody's trick.
pub(super) fn find(headers: &HeaderMap, name: &str) -> Option<String> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut found = values.flat_map(Cookie::split_parse).filter_map(Result::ok).filter(|cookie| cookie.name() == name);
    let first = found.next()?;
    found.next().is_none().then(|| first.value().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_locked() {
        let secure = CookieNames::new(true);
        let text = secure.set(secure.session, "abc", Some(60));
        assert_eq!(text.to_str().unwrap(), "__Host-dunet=abc; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=60");
        let plain = CookieNames::new(false);
        assert_eq!(plain.set(plain.session, "abc", None).to_str().unwrap(), "dunet=abc; HttpOnly; SameSite=Lax; Path=/");
    }

    #[test]
    fn a_cookie_sent_twice_is_none() {
        let headers = |text: &str| HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(text).unwrap())]);
        assert_eq!(find(&headers("a=1; dunet=x; b=2"), "dunet").as_deref(), Some("x"));
        assert_eq!(find(&headers("dunet=x; dunet=y"), "dunet"), None);
        assert_eq!(find(&headers("dunet-visitor=x"), "dunet"), None);
    }
}
