//! The people of a client: the list, inviting one (the link is in that answer only), changing what one may do, taking one out.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::clients::client;
use super::door::By;
use super::input::{Body, id};
use super::once::ShownOnce;
use super::problem::ApiError;
use crate::admin::{Portal, link_url};
use crate::domain::mail::Letter;
use crate::domain::reports::Page;
use crate::domain::users::{self, MemberBy, MemberView, NewLink};
use crate::ids::{TenantId, UserId};
use crate::text;

/// Somebody of a client.
#[derive(Serialize, ToSchema)]
pub(super) struct Member {
    /// Their account.
    user: UserId,
    /// As they call themselves.
    name: String,
    /// E-mail address.
    email: String,
    /// What they may do.
    level: MemberLevel,
    /// Whether they can sign in.
    active: bool,
    /// Since when, UTC.
    since: DateTime<Utc>,
}

/// What somebody of a client may do.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum MemberLevel {
    /// Change things.
    Owner,
    /// Look.
    Viewer,
}

/// Somebody to be invited.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MemberNew {
    /// Where the invitation goes.
    #[schema(min_length = 3, max_length = 254)]
    email: String,
    /// What they will be able to do.
    level: MemberLevel,
}

/// A change of somebody of a client.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MemberChange {
    /// What they may do from now on.
    level: MemberLevel,
}

/// An invitation just made. A letter goes out too where mail is configured.
#[derive(Serialize, ToSchema)]
pub(super) struct Invited {
    /// Whom.
    email: String,
    /// The link that takes it. It is never shown again.
    link: String,
}

/// The people of a client, by name.
#[utoipa::path(get, path = "/admin/api/clients/{id}/members", tag = "members", params(("id" = TenantId, Path)), responses((status = 200, body = Page<Member>, description = "All of them.")))]
pub(super) async fn member_list(State(portal): State<Portal>, _: By, Path(path): Path<String>) -> Result<Json<Page<Member>>, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    let members = state.users.member_list(tenant.id).await?;
    Ok(Json(Page { rows: members.into_iter().map(shown).collect(), next: None }))
}

/// Invites somebody. A new invitation takes the place of an older one to the same address.
#[utoipa::path(post, path = "/admin/api/clients/{id}/members", tag = "members", params(("id" = TenantId, Path)), request_body = MemberNew, responses((status = 201, body = Invited, description = "The invitation, this once.")))]
pub(super) async fn member_invite(State(portal): State<Portal>, by: By, Path(path): Path<String>, Body(new): Body<MemberNew>) -> Result<Response, ApiError> {
    let tenant = client(portal.state(), &path).await?;
    let new = NewLink::InviteMember { tenant: tenant.id, email: new.email, level: new.level.known() };
    invited(&portal, &by, new, Some(tenant.name), tenant.language).await
}

/// Changes what somebody of a client may do.
#[utoipa::path(patch, path = "/admin/api/clients/{id}/members/{user}", tag = "members", params(("id" = TenantId, Path), ("user" = UserId, Path)), request_body = MemberChange, responses((status = 204, description = "It is so from now on.")))]
pub(super) async fn member_edit(
    State(portal): State<Portal>,
    by: By,
    Path((path, user)): Path<(String, String)>,
    Body(change): Body<MemberChange>,
) -> Result<StatusCode, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    state.users.member_level(&MemberBy::operator(&by, tenant.id), id(&user)?, change.level.known()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes somebody out of a client. Their account stays.
#[utoipa::path(delete, path = "/admin/api/clients/{id}/members/{user}", tag = "members", params(("id" = TenantId, Path), ("user" = UserId, Path)), responses((status = 204, description = "They are out.")))]
pub(super) async fn member_remove(State(portal): State<Portal>, by: By, Path((path, user)): Path<(String, String)>) -> Result<StatusCode, ApiError> {
    let state = portal.state();
    let tenant = client(state, &path).await?;
    state.users.member_remove(&MemberBy::operator(&by, tenant.id), id(&user)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes an invitation, sends its letter, and shows its link this once.
pub(super) async fn invited(portal: &Portal, by: &By, new: NewLink, company: Option<String>, language: text::Language) -> Result<Response, ApiError> {
    let state = portal.state();
    let to = state.users.invite(new, &by.actor()).await?;
    let link = link_url(&portal.inner.public_url, &to.link);
    state.mail.send(&to.email, language, &Letter::Invite { link: SecretString::clone(&link), company });
    let mut response = (StatusCode::CREATED, Json(Invited { email: to.email, link: link.expose_secret().to_owned() })).into_response();
    response.extensions_mut().insert(ShownOnce);
    Ok(response)
}

fn shown(member: MemberView) -> Member {
    Member {
        user: member.user,
        name: member.name,
        email: member.email,
        level: if member.level == users::Level::Owner { MemberLevel::Owner } else { MemberLevel::Viewer },
        active: member.active,
        since: member.since,
    }
}

impl MemberLevel {
    fn known(self) -> users::Level {
        match self {
            Self::Owner => users::Level::Owner,
            Self::Viewer => users::Level::Viewer,
        }
    }
}
