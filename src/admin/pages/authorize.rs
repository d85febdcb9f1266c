//! A program asks to be let in: its browser comes here, somebody signs in if they have not, and answers.
//!
//! Nothing is sent back before the program and its address are known to belong together; until then a fault is a page. The request is kept by the
//! service and tied to this browser by a cookie, then to the person who first looks at it.

use axum::extract::{Path, Query};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::{Deserialize, Serialize};

use crate::admin::cx::Answer;
use crate::admin::error::PageError;
use crate::admin::forms::{Faults, Form};
use crate::admin::{Cx, FORM_ACTION, POLICY, cookies, csrf};
use crate::domain::oauth::{ApplicationKind, Asked, AuthorizeFault, AuthorizeQuery, Begun, Choice, DAYS_CHOICES, OAuthError};
use crate::domain::tenants::Tenant;
use crate::domain::users::{Level, TenantAccess, User};
use crate::http::places;
use crate::ids::{AuthorizationId, TenantId};
use crate::tools::TOOLS;
use crate::tools::tool::{Effect, ToolFacts};

/// Where it begins.
pub(super) const PATH: &str = places::AUTHORIZE;
const TEMPLATE: &str = "pages/authorize.html";
/// The browser's cookie lives so long, seconds: longer than any request.
const COOKIE_S: u64 = 3_600;
/// What is offered first, days.
const DAYS_FIRST: i64 = 90;

#[derive(Deserialize)]
pub(super) struct Chosen {
    /// The company, of those who have several.
    empresa: Option<TenantId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Consent {
    decision: String,
    tenant: Option<TenantId>,
    #[serde(default)]
    tools: Vec<String>,
    #[serde(default)]
    days: String,
}

#[derive(Serialize)]
struct View<'a> {
    name: &'a str,
    host: &'a str,
    identifier: &'a str,
    /// `dynamic`, `document`, `registered`.
    kind: &'static str,
    loopback: bool,
    action: String,
    /// The companies to choose among; empty when there is nothing to choose.
    companies: Vec<Company>,
    /// The chosen one; none when there is none to choose or none is chosen yet.
    company: Option<Company>,
    suspended: bool,
    viewer: bool,
    /// Whether this person belongs to a company at all (that this program may work for).
    nobody: bool,
    operator: bool,
    packs: Vec<Pack>,
    days: [i64; 3],
    days_chosen: i64,
    faults: Faults,
}

#[derive(Serialize)]
struct Company {
    id: TenantId,
    name: String,
}

#[derive(Serialize)]
struct Pack {
    name: &'static str,
    tools: Vec<Tick>,
}

#[derive(Serialize)]
struct Tick {
    name: &'static str,
    about: String,
    writes: bool,
    on: bool,
}

/// A browser comes with a request.
pub(super) async fn begin(cx: Cx, uri: Uri, headers: HeaderMap) -> Answer {
    let query = AuthorizeQuery::parse(uri.query().unwrap_or_default()).ok_or(PageError::NoConnection("connect_request"))?;
    let names = &cx.inner.portal.inner.cookies;
    let browser = cookies::find(&headers, names.connect).filter(|cookie| csrf::seed_shaped(cookie)).unwrap_or_else(csrf::seed_make);
    let places = &cx.inner.portal.inner.places;
    match cx.state().oauth.authorize_begin(&query, &browser, places.issuer(), places.resource()).await? {
        Begun::Asked(id) => {
            let mut response = cx.redirect(&path(id))?;
            response.headers_mut().append(header::SET_COOKIE, names.set(names.connect, &browser, Some(COOKIE_S)));
            Ok(response)
        }
        Begun::Back(address) => cx.redirect(&address),
        Begun::Stays(fault) => Err(PageError::NoConnection(match fault {
            AuthorizeFault::Program => "connect_program",
            AuthorizeFault::Document(about) => {
                tracing::info!(about, "a program's document was refused");
                "connect_document"
            }
            AuthorizeFault::Redirect => "connect_redirect",
        })),
    }
}

/// What is asked.
pub(super) async fn show(cx: Cx, user: User, Path(id): Path<String>, Query(chosen): Query<Chosen>, headers: HeaderMap) -> Answer {
    let id = known(&id)?;
    let asked = cx.state().oauth.consent_look(id, &browser(&cx, &headers)?, &user).await?;
    page(&cx, &user, id, &asked, chosen.empresa, None, Faults::default()).await
}

/// The answer.
pub(super) async fn act(cx: Cx, user: User, Path(id): Path<String>, headers: HeaderMap, Form(form): Form<Consent>) -> Answer {
    let id = known(&id)?;
    let (oauth, browser, issuer) = (&cx.state().oauth, browser(&cx, &headers)?, cx.inner.portal.inner.places.issuer());
    match form.decision.as_str() {
        "deny" => return cx.redirect(&oauth.consent_refuse(id, &browser, &user, issuer).await?),
        "allow" => {}
        _ => return Err(PageError::BadForm),
    }
    let asked = oauth.consent_look(id, &browser, &user).await?;
    let access = form.tenant.and_then(|tenant| user.access(tenant)).filter(|access| access.level() < Level::Operator).ok_or(PageError::NotFound)?;
    let tenant = cx.state().tenants.tenant_find(access.tenant()).await?;
    let days = form.days.parse().map_err(|_| PageError::BadForm)?;
    let offered = offered(&cx, &access, &tenant, &asked, Some(&form.tools));
    let packs = granted(&asked, &offered);
    let tools_off = offered.iter().flat_map(|pack| &pack.tools).filter(|tick| !tick.on).map(|tick| tick.name.to_owned()).collect();
    let fault = if !tenant.active {
        "connect_suspended"
    } else if packs.is_empty() {
        "connect_nothing"
    } else {
        match oauth.consent_give(id, &browser, &access, Choice { packs, tools_off, days }, issuer).await {
            Ok(address) => return cx.redirect(&address),
            Err(OAuthError::Refused { .. }) => "connect_nothing",
            Err(other) => return Err(other.into()),
        }
    };
    let faults = Faults::one(&cx, "form", fault);
    page(&cx, &user, id, &asked, Some(tenant.id), Some(&form), faults).await
}

fn path(id: AuthorizationId) -> String {
    format!("{PATH}/{id}")
}

fn known(id: &str) -> Result<AuthorizationId, PageError> {
    id.parse().map_err(|_| PageError::NoConnection("connect_gone"))
}

fn browser(cx: &Cx, headers: &HeaderMap) -> Result<String, PageError> {
    cookies::find(headers, cx.inner.portal.inner.cookies.connect).ok_or(PageError::NoConnection("connect_gone"))
}

async fn page(cx: &Cx, user: &User, id: AuthorizationId, asked: &Asked, chosen: Option<TenantId>, form: Option<&Consent>, faults: Faults) -> Answer {
    let fits = |tenant: TenantId| asked.tenant.is_none_or(|only| only == tenant);
    let mut companies: Vec<Company> =
        user.memberships().iter().filter(|membership| fits(membership.tenant)).map(|membership| Company { id: membership.tenant, name: membership.tenant_name.clone() }).collect();
    let nobody = companies.is_empty();
    let chosen = match (chosen, companies.as_slice()) {
        (Some(chosen), _) => Some(companies.iter().any(|company| company.id == chosen).then_some(chosen).ok_or(PageError::NotFound)?),
        (None, [only]) => Some(only.id),
        _ => None,
    };
    let access = chosen.and_then(|tenant| user.access(tenant));
    let tenant = match &access {
        Some(access) => Some(cx.state().tenants.tenant_find(access.tenant()).await?),
        None => None,
    };
    if companies.len() < 2 {
        companies.clear();
    }
    let status = if faults.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let view = View {
        name: &asked.name,
        host: &asked.host,
        identifier: &asked.identifier,
        kind: match asked.kind {
            ApplicationKind::Dynamic => "dynamic",
            ApplicationKind::Document => "document",
            ApplicationKind::Registered => "registered",
        },
        loopback: asked.loopback,
        action: path(id),
        companies,
        suspended: tenant.as_ref().is_some_and(|tenant| !tenant.active),
        viewer: access.as_ref().is_some_and(|access| !access.may_change()),
        nobody,
        operator: user.operator().is_some(),
        packs: access.as_ref().zip(tenant.as_ref()).map(|(access, tenant)| offered(cx, access, tenant, asked, form.map(|form| form.tools.as_slice()))).unwrap_or_default(),
        company: tenant.map(|tenant| Company { id: tenant.id, name: tenant.name }),
        days: DAYS_CHOICES,
        days_chosen: form.and_then(|form| form.days.parse().ok()).unwrap_or(DAYS_FIRST),
        faults,
    };
    let mut response = cx.page_with(status, TEMPLATE, view)?;
    // The answer of the form sends the browser on to the program: a browser asks the policy about that, too.
    let policy = POLICY.replace(FORM_ACTION, &format!("{FORM_ACTION} {}", asked.policy_source));
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_str(&policy).map_err(PageError::internal)?);
    Ok(response)
}

/// The tools behind the packs that are asked for, as far as this company has them and this person may use them. Each stands once, under the first of
/// its packs. `ticked` is what came back; none ticks them all.
fn offered(cx: &Cx, access: &TenantAccess, tenant: &Tenant, asked: &Asked, ticked: Option<&[String]>) -> Vec<Pack> {
    let may = |facts: &ToolFacts| tenant.permit(facts.name).is_some() && (access.may_change() || facts.effect == Effect::Reads);
    let mut packs: Vec<Pack> = Vec::new();
    for facts in TOOLS.iter().map(|tool| tool.facts()).filter(|facts| may(facts)) {
        let Some(pack) = facts.packs_for_people().find(|pack| asked.packs.iter().any(|asked| asked == pack)) else { continue };
        let key = format!("portal.tools.about.{}", facts.name);
        let said = cx.t(&key);
        let tick = Tick {
            name: facts.name,
            about: if said == key { facts.title.to_owned() } else { said },
            writes: facts.effect == Effect::Writes,
            on: ticked.is_none_or(|ticked| ticked.iter().any(|name| name == facts.name)),
        };
        match packs.iter_mut().find(|known| known.name == pack) {
            Some(known) => known.tools.push(tick),
            None => packs.push(Pack { name: pack, tools: vec![tick] }),
        }
    }
    packs
}

/// The packs asked for that a ticked tool is in: each tool stands under the first of its packs only.
fn granted(asked: &Asked, offered: &[Pack]) -> Vec<String> {
    let ticked = |facts: &ToolFacts| offered.iter().flat_map(|pack| &pack.tools).any(|tick| tick.on && tick.name == facts.name);
    let of = |pack: &str| TOOLS.iter().map(|tool| tool.facts()).any(|facts| facts.packs.iter().any(|its| its.as_str() == pack) && ticked(facts));
    asked.packs.iter().filter(|pack| of(pack)).cloned().collect()
}
