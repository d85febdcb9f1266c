//! Forms: typed, so that a field nobody expects is refused; and what comes back to the page when something is wrong with one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::form_urlencoded;

use super::error::PageError;
use super::{Cx, csrf, once};
use crate::domain::tenants::TenantError;
use crate::domain::users::UserError;
use crate::text;

/// A form as it was sent, read by the CSRF layer. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Fields(Arc<Vec<(String, String)>>);

impl Fields {
    pub(super) fn parse(body: &[u8]) -> Self {
        Self(Arc::new(form_urlencoded::parse(body).into_owned().collect()))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// As a type: the fields that are ours (`csrf`, `form_key`) aside, exactly those it names.
    fn typed<T: DeserializeOwned>(&self) -> Result<T, serde_html_form::de::Error> {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(self.0.iter().filter(|(name, _)| name != csrf::FIELD && name != once::FIELD));
        serde_html_form::from_str(&text.finish())
    }
}

/// A form as a type with `#[serde(deny_unknown_fields)]`. Fields are texts (or [`Hidden`] for passwords), so that a page can give back what was
/// typed; what they mean is checked by the page and the domain, with a fault for a field. What does not fit the type at all was not sent by a
/// form of ours.
pub(super) struct Form<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Form<T> {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let fields = parts.extensions.get::<Fields>().ok_or(PageError::BadForm)?;
        fields.typed().map(Self).map_err(|error| {
            tracing::debug!(%error, "a form does not fit");
            PageError::BadForm
        })
    }
}

impl<T: DeserializeOwned, S: Send + Sync> OptionalFromRequestParts<S> for Form<T> {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Self::Rejection> {
        if parts.extensions.get::<Fields>().is_none() {
            return Ok(None);
        }
        <Self as FromRequestParts<S>>::from_request_parts(parts, state).await.map(Some)
    }
}

/// A field that never goes back to the page: a password, a key.
#[derive(Clone, Debug, Default)]
pub(super) struct Hidden(pub(super) SecretString);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(SecretString::from(text)))
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("")
    }
}

/// What is wrong, by field: templates show it beside the field (`faults.email|default("")`). The field "form" is for the form as a whole.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Faults(BTreeMap<&'static str, String>);

impl Faults {
    /// Adds `portal.faults.<key>` to a field.
    pub(super) fn add(&mut self, cx: &Cx, field: &'static str, key: &str) {
        self.0.insert(field, cx.t(&format!("portal.faults.{key}")));
    }

    /// Adds a sentence with facts in it.
    pub(super) fn say(&mut self, field: &'static str, text: String) {
        self.0.insert(field, text);
    }

    /// The same with facts of its sentence.
    pub(super) fn add_with(&mut self, cx: &Cx, field: &'static str, key: &str, facts: &[(&str, &str)]) {
        self.0.insert(field, text::fill(cx.language(), &format!("portal.faults.{key}"), facts));
    }

    /// One fault.
    pub(super) fn one(cx: &Cx, field: &'static str, key: &str) -> Self {
        let mut faults = Self::default();
        faults.add(cx, field, key);
        faults
    }

    /// A fault of a field as one for the page; any other failure as the page's end.
    pub(super) fn of_user(cx: &Cx, error: UserError) -> Result<Self, PageError> {
        match error {
            UserError::Invalid { field, fault } => Ok(Self::one(cx, field, fault)),
            other => Err(other.into()),
        }
    }

    /// The same for tenants. What stands nowhere on the form is at "form".
    pub(super) fn of_tenant(cx: &Cx, error: TenantError) -> Result<Self, PageError> {
        let mut faults = Self::default();
        match error {
            TenantError::Invalid(fault) => faults.add(cx, fault.field, fault.key),
            TenantError::UnknownPlan(_) => faults.add(cx, "plan", "plan"),
            TenantError::TooManyTools { plan, max, enabled } => {
                faults.add_with(cx, "form", "too_many_tools", &[("plan", &plan), ("max", &max.to_string()), ("enabled", &enabled.to_string())]);
            }
            other => return Err(other.into()),
        }
        Ok(faults)
    }

    /// Whether nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        tools: Vec<String>,
        password: Option<Hidden>,
    }

    #[test]
    fn a_form_is_exactly_its_type() {
        let form = |text: &str| Fields::parse(text.as_bytes()).typed::<Sample>();
        let sample = form("csrf=x&form_key=y&name=Jos%C3%A9+&tools=a&tools=b&password=s").unwrap();
        assert_eq!((sample.name.as_str(), sample.tools.len(), sample.password.is_some()), ("José ", 2, true));
        for bad in ["name=a&role=operator", "tools=a", "", "name=a&name=b"] {
            assert!(form(bad).is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_string(&sample.password).unwrap(), "\"\"");
        assert!(!format!("{sample:?}").contains("\"s\""));
    }
}
