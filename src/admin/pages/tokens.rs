//! A client's tokens: issued (the text is shown once, with what to paste where), rotated with a grace, revoked.

use axum::extract::Query;
use axum::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::connect::programs::{self, Shown as ShownProgram};
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, tenant_path};
use crate::admin::error::PageError;
use crate::admin::forms::{Faults, Form};
use crate::domain::tenants::Tenant;
use crate::domain::tokens::{IssuedToken, NewToken, TokenError, TokenView};
use crate::domain::users::TenantAccess;
use crate::ids::TokenId;
use crate::text::Language;
use crate::tools::tool::Pack;

/// Tokens on one page.
const PER_PAGE: u64 = 50;
/// Choices of a life in days; none is for ever.
const LIVES_DAYS: [(&str, Option<i64>); 4] = [("year", Some(365)), ("quarter", Some(90)), ("month", Some(30)), ("never", None)];
/// Choices of a grace, seconds.
const GRACES_S: [(&str, i64); 4] = [("now", 0), ("hour", 3_600), ("day", 86_400), ("week", 604_800)];
/// The end of a token is near, days.
const ENDS_SOON_DAYS: i64 = 14;

#[derive(Deserialize, Default)]
pub(super) struct Shown {
    /// The word of a token just issued.
    nuevo: Option<String>,
    /// Where the list goes on.
    after: Option<TokenId>,
    /// The token that is to be rotated or revoked: asked about above the list.
    rotate: Option<TokenId>,
    revoke: Option<TokenId>,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Issue {
    name: String,
    #[serde(default)]
    packs: Vec<String>,
    life: String,
    language: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotate {
    token: TokenId,
    grace: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revoke {
    token: TokenId,
}

#[derive(Serialize)]
struct View<'a> {
    client: &'a str,
    client_path: String,
    action: String,
    may_change: bool,
    tokens: Vec<Row>,
    next: String,
    first: bool,
    form: &'a Issue,
    packs: Vec<PackChoice>,
    lives: Vec<&'static str>,
    graces: Vec<&'static str>,
    faults: Faults,
    /// A token to show once; empty when there is none.
    secret: &'a str,
    programs: Vec<ShownProgram>,
    rotating: Option<Row>,
    revoking: Option<Row>,
}

#[derive(Serialize)]
struct PackChoice {
    name: &'static str,
    chosen: bool,
}

#[derive(Serialize)]
struct Row {
    id: TokenId,
    name: String,
    hint: String,
    packs: Vec<String>,
    created: String,
    used: Option<String>,
    ends: Option<String>,
    /// `active`, `soon`, `rotating`, `ended`, `replaced`, `revoked`.
    status: &'static str,
    works: bool,
}

pub(super) async fn list(cx: Cx, access: TenantAccess, Query(shown): Query<Shown>) -> Answer {
    let secret = shown.nuevo.as_ref().and_then(|word| cx.reveal(word));
    let form = Issue { life: "year".to_owned(), ..Issue::default() };
    page(&cx, &access, StatusCode::OK, &shown, &form, Faults::default(), secret).await
}

pub(super) async fn issue(cx: Cx, access: TenantAccess, Form(form): Form<Issue>) -> Answer {
    let name = form.name.trim();
    let Some((_, days)) = LIVES_DAYS.iter().find(|(key, _)| *key == form.life) else { return Err(PageError::BadForm) };
    let language: Option<Language> = if form.language.is_empty() { None } else { Some(form.language.parse().map_err(|_| PageError::BadForm)?) };
    if !form.packs.iter().all(|pack| Pack::ALL.iter().any(|known| known.as_str() == pack)) {
        return Err(PageError::BadForm);
    }
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return page(&cx, &access, StatusCode::UNPROCESSABLE_ENTITY, &Shown::default(), &form, Faults::one(&cx, "name", "name"), None).await;
    }
    let state = cx.state();
    let new = NewToken {
        name: name.to_owned(),
        packs: (!form.packs.is_empty()).then(|| form.packs.clone()),
        language,
        expires_at: days.map(|days| state.clock.now() + chrono::Duration::days(days)),
    };
    let issued = state.tokens.token_issue(access.tenant(), new, &access.actor()).await?;
    shown_next(&cx, &access, issued, &Flash::ok("token_issued").fact("name", name))
}

pub(super) async fn rotate(cx: Cx, access: TenantAccess, Form(form): Form<Rotate>) -> Answer {
    let Some((_, grace_s)) = GRACES_S.iter().find(|(key, _)| *key == form.grace) else { return Err(PageError::BadForm) };
    match cx.state().tokens.token_rotate(access.tenant(), form.token, *grace_s, &access.actor()).await {
        Ok(issued) => shown_next(&cx, &access, issued, &Flash::ok("token_rotated")),
        // It ended or was revoked while the page stood open.
        Err(TokenError::Invalid(_)) => Err(PageError::Stale),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn revoke(cx: Cx, access: TenantAccess, Form(form): Form<Revoke>) -> Answer {
    cx.state().tokens.token_revoke(access.tenant(), form.token, &access.actor()).await?;
    cx.redirect_saying(&path(&access), &Flash::ok("token_revoked"))
}

fn shown_next(cx: &Cx, access: &TenantAccess, issued: IssuedToken, flash: &Flash) -> Answer {
    let word = cx.reveal_later(issued.token)?;
    cx.redirect_saying(&format!("{}?nuevo={word}", path(access)), flash)
}

fn path(access: &TenantAccess) -> String {
    format!("{}/tokens", tenant_path(access.tenant()))
}

async fn page(cx: &Cx, access: &TenantAccess, status: StatusCode, shown: &Shown, form: &Issue, faults: Faults, secret: Option<SecretString>) -> Answer {
    let state = cx.state();
    let tenant: Tenant = state.tenants.tenant_find(access.tenant()).await?;
    let listed = state.tokens.token_page(tenant.id, shown.after, PER_PAGE).await?;
    let now = state.clock.now();
    let asked = async |id: Option<TokenId>| match id.filter(|_| access.may_change()) {
        Some(id) => Ok::<_, PageError>(Some(row(state.tokens.token_find(tenant.id, id).await?, now)).filter(|row| row.works)),
        None => Ok(None),
    };
    let view = View {
        rotating: asked(shown.rotate).await?,
        revoking: asked(shown.revoke).await?,
        client: &tenant.name,
        client_path: tenant_path(tenant.id),
        action: path(access),
        may_change: access.may_change(),
        tokens: listed.tokens.into_iter().map(|token| row(token, now)).collect(),
        next: listed.next.map(|after| format!("?after={after}")).unwrap_or_default(),
        first: shown.after.is_none(),
        form,
        packs: Pack::ALL.iter().map(|pack| PackChoice { name: pack.as_str(), chosen: form.packs.iter().any(|name| name == pack.as_str()) }).collect(),
        lives: LIVES_DAYS.iter().map(|(key, _)| *key).collect(),
        graces: GRACES_S.iter().map(|(key, _)| *key).collect(),
        faults,
        programs: secret.as_ref().map(|secret| programs::shown(cx, Some(secret), None)).unwrap_or_default(),
        secret: secret.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default(),
    };
    cx.page_with(status, "pages/tokens.html", view)
}

fn row(token: TokenView, now: chrono::DateTime<chrono::Utc>) -> Row {
    let status = match (token.revoked_at, token.expires_at) {
        (Some(_), _) => "revoked",
        (None, Some(end)) if end <= now => {
            if token.replaced {
                "replaced"
            } else {
                "ended"
            }
        }
        (None, Some(_)) if token.replaced => "rotating",
        (None, Some(end)) if end <= now + chrono::Duration::days(ENDS_SOON_DAYS) => "soon",
        (None, _) => "active",
    };
    Row {
        id: token.id,
        name: token.name,
        hint: token.hint,
        packs: token.packs.unwrap_or_default(),
        created: token.created_at.to_rfc3339(),
        used: token.last_used_at.map(|at| at.to_rfc3339()),
        ends: token.expires_at.map(|at| at.to_rfc3339()),
        works: matches!(status, "active" | "soon" | "rotating"),
        status,
    }
}
