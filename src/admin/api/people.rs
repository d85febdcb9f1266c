//! The people who can sign in: finding them, inviting an operator, helping somebody in again, keeping somebody out.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::door::By;
use super::input::{Asked, Body, id};
use super::members::{Invited, invited};
use super::once::ShownOnce;
use super::problem::ApiError;
use crate::admin::{Portal, link_url};
use crate::domain::reports::Page;
use crate::domain::users::{self, NewLink, PersonQuery, PersonView};
use crate::ids::UserId;
use crate::text::Language;

/// People on a page.
const PER_PAGE: u64 = 50;
/// The longest search, characters.
const SEARCH_CHARS_MAX: usize = 100;

/// Which people.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PeopleAsked {
    /// In the name or the address.
    #[param(min_length = 1, max_length = 100)]
    search: Option<String>,
    /// Only operators, or only people of clients.
    #[param(inline)]
    role: Option<PersonRole>,
    /// Where the page begins: the `next` of the one before.
    #[param(min_length = 1)]
    after: Option<String>,
}

/// What somebody is to the service.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum PersonRole {
    /// Runs it.
    Operator,
    /// Belongs to clients.
    Member,
}

/// Somebody who can sign in, or will.
#[derive(Serialize, ToSchema)]
pub(super) struct Person {
    /// Their account.
    user: UserId,
    /// E-mail address.
    email: String,
    /// As they call themselves.
    name: String,
    /// What they are.
    role: PersonRole,
    /// `pending`, `active` or `disabled`.
    status: String,
    /// Whether they sign in with a second factor.
    second_factor: bool,
    /// Whether they have to wait after refused sign-ins.
    locked: bool,
    /// Since when, UTC.
    created_at: DateTime<Utc>,
}

/// An operator to be invited.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OperatorNew {
    /// Where the invitation goes.
    #[schema(min_length = 3, max_length = 254)]
    email: String,
}

/// A link that sets a new password.
#[derive(Serialize, ToSchema)]
pub(super) struct ResetLink {
    /// It works once, for an hour, and is never shown again.
    link: String,
}

/// The people, by address, page by page.
#[utoipa::path(get, path = "/admin/api/people", tag = "people", params(PeopleAsked), responses((status = 200, body = Page<Person>, description = "A page of people.")))]
pub(super) async fn person_list(State(portal): State<Portal>, by: By, Asked(asked): Asked<PeopleAsked>) -> Result<Json<Page<Person>>, ApiError> {
    let search = asked.search.unwrap_or_default();
    if search.chars().count() > SEARCH_CHARS_MAX {
        return Err(ApiError::fault("search", format!("Search for {SEARCH_CHARS_MAX} characters at most.")));
    }
    let role = asked.role.map(|role| match role {
        PersonRole::Operator => users::Role::Operator,
        PersonRole::Member => users::Role::Member,
    });
    let query = PersonQuery { search: search.trim(), role, after: asked.after.as_deref(), count: PER_PAGE };
    let found = portal.state().users.person_page(&by, &query).await?;
    Ok(Json(Page { rows: found.people.into_iter().map(shown).collect(), next: found.next }))
}

/// Invites an operator. A new invitation takes the place of an older one to the same address.
#[utoipa::path(post, path = "/admin/api/people", tag = "people", request_body = OperatorNew, responses((status = 201, body = Invited, description = "The invitation, this once.")))]
pub(super) async fn operator_invite(State(portal): State<Portal>, by: By, Body(new): Body<OperatorNew>) -> Result<Response, ApiError> {
    invited(&portal, &by, NewLink::InviteOperator { email: new.email }, None, Language::Es).await
}

/// Makes a link with which somebody sets a new password.
#[utoipa::path(post, path = "/admin/api/people/{user}/link", tag = "people", params(("user" = UserId, Path)), responses((status = 201, body = ResetLink, description = "The link, this once.")))]
pub(super) async fn person_link(State(portal): State<Portal>, by: By, Path(user): Path<String>) -> Result<Response, ApiError> {
    let secret = portal.state().users.link_make(NewLink::Reset { user: id(&user)? }, &by.actor()).await?;
    let link = link_url(&portal.inner.public_url, &secret).expose_secret().to_owned();
    let mut response = (StatusCode::CREATED, Json(ResetLink { link })).into_response();
    response.extensions_mut().insert(ShownOnce);
    Ok(response)
}

/// Keeps somebody out; their sessions end. Nobody keeps themselves out, and one operator stays.
#[utoipa::path(post, path = "/admin/api/people/{user}/disable", tag = "people", params(("user" = UserId, Path)), responses((status = 204, description = "They are out.")))]
pub(super) async fn person_disable(State(portal): State<Portal>, by: By, Path(user): Path<String>) -> Result<StatusCode, ApiError> {
    portal.state().users.person_disable(&by, id(&user)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets somebody in again.
#[utoipa::path(post, path = "/admin/api/people/{user}/enable", tag = "people", params(("user" = UserId, Path)), responses((status = 204, description = "They may sign in.")))]
pub(super) async fn person_enable(State(portal): State<Portal>, by: By, Path(user): Path<String>) -> Result<StatusCode, ApiError> {
    portal.state().users.person_enable(&by, id(&user)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends somebody's sessions.
#[utoipa::path(post, path = "/admin/api/people/{user}/sign-out", tag = "people", params(("user" = UserId, Path)), responses((status = 204, description = "They are signed out.")))]
pub(super) async fn person_sign_out(State(portal): State<Portal>, by: By, Path(user): Path<String>) -> Result<StatusCode, ApiError> {
    portal.state().users.person_sign_out(&by, id(&user)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes somebody's second factor away who has lost it; their sessions end.
#[utoipa::path(post, path = "/admin/api/people/{user}/second-factor/reset", tag = "people", params(("user" = UserId, Path)), responses((status = 204, description = "They have none any more.")))]
pub(super) async fn person_second_factor_reset(State(portal): State<Portal>, by: By, Path(user): Path<String>) -> Result<StatusCode, ApiError> {
    portal.state().users.second_factor_reset(&by, id(&user)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(person: PersonView) -> Person {
    Person {
        user: person.id,
        email: person.email,
        name: person.name,
        role: match person.role {
            users::Role::Operator => PersonRole::Operator,
            users::Role::Member => PersonRole::Member,
        },
        status: person.status,
        second_factor: person.second_factor,
        locked: person.locked,
        created_at: person.created_at,
    }
}
