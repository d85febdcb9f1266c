//! The people of a client: who they are, inviting one, taking one out.

use axum::extract::Query;
use axum::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::client::Head;
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, tenant_path};
use crate::admin::forms::{Faults, Form};
use crate::domain::mail::Letter;
use crate::domain::users::{Level, MemberBy, NewLink, TenantAccess};
use crate::ids::UserId;

const TEMPLATE: &str = "pages/members.html";

#[derive(Deserialize)]
pub(super) struct Shown {
    /// The word of an invitation that was just made.
    link: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Invitation {
    email: String,
    level: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Removal {
    user: UserId,
}

#[derive(Serialize)]
struct View<'a> {
    client: Head,
    members: Vec<Member>,
    may_change: bool,
    form: &'a Invitation,
    faults: Faults,
    /// A link to show once; empty when there is none.
    link: &'a str,
    action: String,
}

#[derive(Serialize)]
struct Member {
    user: UserId,
    name: String,
    email: String,
    level: &'static str,
    active: bool,
    since: String,
    own: bool,
}

pub(super) async fn show(cx: Cx, access: TenantAccess, Query(shown): Query<Shown>) -> Answer {
    let link = shown.link.and_then(|word| cx.reveal(&word));
    let link = link.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
    page(&cx, &access, StatusCode::OK, &Invitation { email: String::new(), level: Level::Viewer.as_str().to_owned() }, Faults::default(), link).await
}

pub(super) async fn invite(cx: Cx, access: TenantAccess, Form(form): Form<Invitation>) -> Answer {
    let mut faults = Faults::default();
    let level = [Level::Viewer, Level::Owner].into_iter().find(|level| level.as_str() == form.level);
    if level.is_none() {
        faults.add(&cx, "level", "role");
    }
    if faults.is_empty() {
        let new = NewLink::InviteMember { tenant: access.tenant(), email: form.email.clone(), level: level.unwrap_or(Level::Viewer) };
        match cx.state().users.invite(new, &access.actor()).await {
            Ok(to) => {
                let link = cx.link_url(&to.link);
                let company = cx.state().tenants.tenant_find(access.tenant()).await?.name;
                cx.state().mail.send(&to.email, cx.language(), &Letter::Invite { link: SecretString::clone(&link), company: Some(company) });
                let word = cx.reveal_later(link)?;
                return cx.redirect_saying(&format!("{}?link={word}", path(&access)), &Flash::ok("invited").fact("email", &to.email));
            }
            Err(error) => faults = Faults::of_user(&cx, error)?,
        }
    }
    page(&cx, &access, StatusCode::UNPROCESSABLE_ENTITY, &form, faults, "").await
}

pub(super) async fn remove(cx: Cx, access: TenantAccess, Form(form): Form<Removal>) -> Answer {
    match cx.state().users.member_remove(&MemberBy::access(&access), form.user).await {
        Ok(()) => cx.redirect_saying(&path(&access), &Flash::ok("member_removed")),
        Err(error) => {
            let faults = Faults::of_user(&cx, error)?;
            page(&cx, &access, StatusCode::UNPROCESSABLE_ENTITY, &Invitation { email: String::new(), level: Level::Viewer.as_str().to_owned() }, faults, "").await
        }
    }
}

fn path(access: &TenantAccess) -> String {
    format!("{}/members", tenant_path(access.tenant()))
}

async fn page(cx: &Cx, access: &TenantAccess, status: StatusCode, form: &Invitation, faults: Faults, link: &str) -> Answer {
    // For operators: there is a tenant of that id.
    let tenant = cx.state().tenants.tenant_find(access.tenant()).await?;
    let members = cx.state().users.member_list(access.tenant()).await?;
    let members = members.into_iter().map(|member| Member {
        own: member.user == access.user().id(),
        user: member.user,
        name: member.name,
        email: member.email,
        level: member.level.as_str(),
        active: member.active,
        since: member.since.to_rfc3339(),
    });
    let view = View { client: Head::of(cx, &tenant), members: members.collect(), may_change: access.may_change(), form, faults, link, action: path(access) };
    cx.page_with(status, TEMPLATE, view)
}
