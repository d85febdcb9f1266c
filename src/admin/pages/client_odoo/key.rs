//! The key of a client's Odoo connection: when it ends, whether it renews itself, and renewing it now with the password of its Odoo user.

use chrono::NaiveDate;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::path;
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, FlashKind};
use crate::admin::error::PageError;
use crate::admin::forms::{Form, Hidden};
use crate::admin::pages::client_form::forget;
use crate::domain::odoo_keys::{By, KeyError, KeyView, Source};
use crate::domain::tenants::Tenant;
use crate::domain::users::TenantAccess;

/// A box that is not ticked is absent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin::pages) struct KeyForm {
    /// The day on which it ends, where Odoo does not tell; empty is none.
    ends: Option<String>,
    renew: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin::pages) struct RenewForm {
    /// Of the Odoo user; empty renews the key by itself.
    password: Hidden,
}

/// What the page shows of it.
#[derive(Serialize)]
pub(super) struct KeyCard {
    /// `portal.odoo.key.<source>`.
    source: &'static str,
    /// `ok`, `warn`, `bad` or `off`.
    status: &'static str,
    ends: String,
    /// As a field of a date takes it.
    day: String,
    days_left: i64,
    /// Whether its owner may say when it ends.
    may_type: bool,
    renew: bool,
    checked_at: String,
    /// What came of the last try, and when; empty without one.
    outcome: String,
    tried_at: String,
    said: String,
}

impl KeyCard {
    pub(super) fn of(cx: &Cx, tenant: &Tenant, key: &KeyView) -> Self {
        let status = match key.days_left {
            Some(0) => "bad",
            Some(1..=14) => "warn",
            Some(_) => "ok",
            None if matches!(key.source, Source::Odoo) => "ok",
            None => "off",
        };
        let day = key.expires_at.map(|ends| ends.with_timezone(&tenant.timezone).date_naive().to_string()).unwrap_or_default();
        Self {
            source: key.source.as_str(),
            status,
            ends: key.expires_at.map(|ends| ends.to_rfc3339()).unwrap_or_default(),
            day,
            days_left: key.days_left.unwrap_or_default(),
            may_type: matches!(key.source, Source::Typed | Source::Several | Source::Unknown),
            renew: key.renew,
            checked_at: key.checked_at.map(|at| at.to_rfc3339()).unwrap_or_default(),
            outcome: key.outcome.map(|outcome| cx.t(&format!("portal.odoo.renewal.{}", outcome.as_str()))).unwrap_or_default(),
            tried_at: key.tried_at.map(|at| at.to_rfc3339()).unwrap_or_default(),
            said: key.said.clone().unwrap_or_default(),
        }
    }
}

/// Keeps the day and the wish.
pub(in crate::admin::pages) async fn save(cx: Cx, access: TenantAccess, Form(form): Form<KeyForm>) -> Answer {
    let tenant = cx.state().tenants.tenant_find(access.tenant()).await?;
    let keys = &cx.state().odoo_keys;
    let bad = |key: &str| cx.redirect_saying(&path(&tenant), &Flash::new(FlashKind::Bad, key));
    if let Some(text) = &form.ends {
        let day = match text.trim() {
            "" => None,
            text => match text.parse::<NaiveDate>() {
                Ok(day) => Some(day),
                Err(_) => return bad("key_day"),
            },
        };
        match keys.typed(&tenant, day, &access.actor()).await {
            Ok(()) => {}
            Err(KeyError::Day | KeyError::NotConnected) => return bad("key_day"),
            Err(error) => return Err(PageError::internal(error)),
        }
    }
    match keys.renew_set(&tenant, form.renew.is_some(), &access.actor()).await {
        Ok(()) => cx.redirect_saying(&path(&tenant), &Flash::ok("saved")),
        Err(KeyError::NotConnected) => bad("key_none"),
        Err(error) => Err(PageError::internal(error)),
    }
}

/// Renews it now.
pub(in crate::admin::pages) async fn renew(cx: Cx, access: TenantAccess, Form(form): Form<RenewForm>) -> Answer {
    let tenant = cx.state().tenants.tenant_find(access.tenant()).await?;
    let by = if form.password.0.expose_secret().is_empty() { By::Itself } else { By::Password(&form.password.0) };
    let renewal = match cx.state().odoo_keys.renew(&tenant, by, &access.actor()).await {
        Ok(renewal) => renewal,
        Err(KeyError::NotConnected) => return cx.redirect_saying(&path(&tenant), &Flash::new(FlashKind::Bad, "key_none")),
        Err(error) => return Err(PageError::internal(error)),
    };
    forget(&cx, tenant.id);
    let said = cx.t(&format!("portal.odoo.renewal.{}", renewal.outcome.as_str()));
    let kind = if renewal.outcome.is_renewed() { FlashKind::Ok } else { FlashKind::Bad };
    cx.redirect_saying(&path(&tenant), &Flash::new(kind, "key_renewal").fact("outcome", &said).fact("said", &renewal.said))
}
