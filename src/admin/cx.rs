//! `Cx`: what a handler has of a request — who asks, in which language, and the means to answer with a page or a redirect.

use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::error::PageError;
use super::{Portal, render};
use crate::domain::users::{NewSession, SessionFrom, User};
use crate::ids::TenantId;
use crate::state::AppState;
use crate::text::{self, Language};

/// The longest message carried to the next page, bytes of its cookie.
const FLASH_BYTES_MAX: usize = 1_000;
/// How long it may take to get there, seconds.
const FLASH_S: u64 = 60;

/// What a handler answers.
pub(super) type Answer = Result<Response, PageError>;

/// A request of the portal. Cheap to clone.
#[derive(Clone)]
pub struct Cx {
    pub(super) inner: Arc<CxInner>,
}

pub(super) struct CxInner {
    pub(super) portal: Portal,
    pub(super) user: Option<User>,
    pub(super) language: Language,
    /// What a form must carry.
    pub(super) csrf: String,
    pub(super) path: String,
    pub(super) flash: Option<Flash>,
    pub(super) theme: Option<&'static str>,
    pub(super) request_id: String,
    pub(super) from: SessionFrom,
    /// Writes that wait for an owner at the tenant whose menu the page shows, once they were counted.
    pub(super) waiting: OnceLock<u64>,
}

/// What the next page says once: a sentence of `locales/` and its facts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Flash {
    kind: FlashKind,
    key: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    facts: Vec<(String, String)>,
}

/// How it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum FlashKind {
    Ok,
    Info,
    Warn,
    Bad,
}

impl Flash {
    /// Something was done: `portal.flash.<key>`.
    pub(super) fn ok(key: &str) -> Self {
        Self::new(FlashKind::Ok, key)
    }

    /// Another kind of message: `portal.flash.<key>`.
    pub(super) fn new(kind: FlashKind, key: &str) -> Self {
        Self { kind, key: key.to_owned(), facts: Vec::new() }
    }

    /// With a fact of its sentence.
    #[must_use]
    pub(super) fn fact(mut self, name: &str, value: &str) -> Self {
        self.facts.push((name.to_owned(), value.to_owned()));
        self
    }

    /// From its cookie. Only our own sentences are said, whatever the cookie holds.
    pub(super) fn parse(cookie: &str) -> Option<Self> {
        if cookie.len() > FLASH_BYTES_MAX {
            return None;
        }
        let flash: Self = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cookie).ok()?).ok()?;
        flash.key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.').then_some(flash)
    }

    fn cookie(&self) -> Option<String> {
        let text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).ok()?);
        (text.len() <= FLASH_BYTES_MAX).then_some(text)
    }

    pub(super) fn shown(&self, language: Language) -> render::FlashView {
        let facts: Vec<(&str, &str)> = self.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        render::FlashView { kind: self.kind, text: text::fill(language, &format!("portal.flash.{}", self.key), &facts) }
    }
}

impl Cx {
    /// The service's handles.
    #[must_use]
    pub fn state(&self) -> &AppState {
        self.inner.portal.state()
    }

    /// Who asks, if they are signed in. Handlers take [`User`] or one of its proofs instead.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        self.inner.user.as_ref()
    }

    /// The language of the answer.
    #[must_use]
    pub fn language(&self) -> Language {
        self.inner.language
    }

    /// Where the request comes from, for a session that it begins.
    #[must_use]
    pub fn session_from(&self) -> SessionFrom {
        self.inner.from.clone()
    }

    /// A sentence.
    #[must_use]
    pub fn t(&self, key: &str) -> String {
        text::text(self.inner.language, key)
    }

    /// A page: the template with exactly what the view holds, and what every page has (`render.rs`).
    pub(super) fn page(&self, template: &str, view: impl Serialize) -> Answer {
        self.page_with(StatusCode::OK, template, view)
    }

    /// A page with another status, such as 422 for a form that comes back.
    pub(super) fn page_with(&self, status: StatusCode, template: &str, view: impl Serialize) -> Answer {
        let html = self.inner.portal.inner.renderer.render(self, template, render::value(&view)).map_err(PageError::internal)?;
        let mut response = (status, Html(html)).into_response();
        if self.inner.flash.is_some() {
            let cookies = &self.inner.portal.inner.cookies;
            response.headers_mut().append(header::SET_COOKIE, cookies.set(cookies.flash, "", Some(0)));
        }
        Ok(response)
    }

    /// A piece of a page, for streams: a template that is no page of its own.
    pub(super) fn piece(&self, template: &str, view: impl Serialize) -> Result<String, PageError> {
        self.inner.portal.inner.renderer.render(self, template, render::value(&view)).map_err(PageError::internal)
    }

    /// The sentence with its facts.
    pub(super) fn fill(&self, key: &str, facts: &[(&str, &str)]) -> String {
        text::fill(self.inner.language, key, facts)
    }

    /// Sends the browser on with a GET, after something was done.
    pub(super) fn redirect(&self, path: &str) -> Answer {
        let location = HeaderValue::from_str(path).map_err(PageError::internal)?;
        Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response())
    }

    /// The same, and the next page says what was done.
    pub(super) fn redirect_saying(&self, path: &str, flash: &Flash) -> Answer {
        let mut response = self.redirect(path)?;
        if let Some(value) = flash.cookie() {
            let cookies = &self.inner.portal.inner.cookies;
            response.headers_mut().append(header::SET_COOKIE, cookies.set(cookies.flash, &value, Some(FLASH_S)));
        }
        Ok(response)
    }

    /// The same for somebody who just signed in.
    pub(super) fn redirect_signed_in(&self, path: &str, session: &NewSession) -> Answer {
        use secrecy::ExposeSecret;
        let mut response = self.redirect(path)?;
        let cookies = &self.inner.portal.inner.cookies;
        let headers = response.headers_mut();
        headers.append(header::SET_COOKIE, cookies.set(cookies.session, session.cookie.expose_secret(), Some(session.max_age_s)));
        headers.append(header::SET_COOKIE, cookies.set(cookies.visitor, "", Some(0)));
        Ok(response)
    }

    /// The same for somebody who signed out.
    pub(super) fn redirect_signed_out(&self, path: &str) -> Answer {
        let mut response = self.redirect_saying(path, &Flash::ok("signed_out"))?;
        let cookies = &self.inner.portal.inner.cookies;
        response.headers_mut().append(header::SET_COOKIE, cookies.set(cookies.session, "", Some(0)));
        Ok(response)
    }

    /// Keeps a secret for the next page to show once (a new token, a link): gives the word for its address. Only this session can fetch it,
    /// once, within minutes; it is in memory only.
    pub(super) fn reveal_later(&self, secret: SecretString) -> Result<String, PageError> {
        let user = self.inner.user.as_ref().ok_or(PageError::SignInFirst)?;
        Ok(self.inner.portal.inner.reveals.keep(user.session(), secret))
    }

    /// The secret kept under that word, if it was kept by this session and not shown yet.
    pub(super) fn reveal(&self, word: &str) -> Option<SecretString> {
        self.inner.portal.inner.reveals.take(self.inner.user.as_ref()?.session(), word)
    }

    /// The full address of the page where one signs in.
    pub(super) fn sign_in_url(&self) -> String {
        let base = self.inner.portal.inner.public_url.as_str().trim_end_matches('/');
        format!("{base}{}", super::SIGN_IN_PATH)
    }

    /// The full address of a one-time link.
    pub(super) fn link_url(&self, secret: &SecretString) -> SecretString {
        super::link_url(&self.inner.portal.inner.public_url, secret)
    }
}

/// Where somebody lands who signed in: operators on the panel, members on their tenant's page.
pub(super) fn home(user: &User) -> String {
    match user.memberships() {
        [only] if user.operator().is_none() => tenant_path(only.tenant),
        _ => super::PATH.to_owned(),
    }
}

/// The page of a tenant.
pub(super) fn tenant_path(tenant: TenantId) -> String {
    format!("/admin/clients/{tenant}")
}

impl<S: Send + Sync> FromRequestParts<S> for Cx {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| PageError::internal(anyhow::anyhow!("a page stands outside of the session layer")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_its_cookie_and_nothing_else_does() {
        let flash = Flash::ok("saved").fact("name", "Ñandú; \"x\"");
        let back = Flash::parse(&flash.cookie().unwrap()).unwrap();
        assert_eq!((back.key.as_str(), back.facts), ("saved", flash.facts));
        for bad in ["", "e30", "!!!", &URL_SAFE_NO_PAD.encode(r#"{"kind":"ok","key":"<b>"}"#), &"A".repeat(FLASH_BYTES_MAX + 1)] {
            assert!(Flash::parse(bad).is_none(), "{bad}");
        }
        assert!(Flash::ok("saved").fact("x", &"y".repeat(2_000)).cookie().is_none());
    }
}
