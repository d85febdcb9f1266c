//! The people who can sign in, for operators: find them, invite an operator, help somebody in again, keep somebody out.

use axum::extract::Query;
use axum::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash};
use crate::admin::forms::{Faults, Form};
use crate::domain::mail::Letter;
use crate::domain::users::{NewLink, Operator, PersonQuery, Role};
use crate::ids::UserId;

const PATH: &str = "/admin/people";
const TEMPLATE: &str = "pages/people.html";
/// People on a page.
const PER_PAGE: u64 = 50;
/// The longest search, characters.
const SEARCH_CHARS_MAX: usize = 100;

#[derive(Deserialize, Default)]
pub(super) struct Filter {
    #[serde(default)]
    q: String,
    /// `operator`, `member` or all.
    #[serde(default)]
    role: String,
    /// The last address of the page before.
    after: Option<String>,
    /// The word of a link that was just made.
    link: Option<String>,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Invitation {
    email: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Person {
    user: UserId,
}

#[derive(Serialize)]
struct View<'a> {
    q: &'a str,
    role: &'a str,
    people: Vec<Row>,
    next: String,
    first: bool,
    form: &'a Invitation,
    faults: Faults,
    /// A link to show once; empty when there is none.
    link: &'a str,
    needed: bool,
}

#[derive(Serialize)]
struct Row {
    user: UserId,
    name: String,
    email: String,
    role: &'static str,
    status: String,
    second_factor: bool,
    locked: bool,
    own: bool,
    created_at: String,
}

pub(super) async fn list(cx: Cx, operator: Operator, Query(filter): Query<Filter>) -> Answer {
    let link = filter.link.as_deref().and_then(|word| cx.reveal(word));
    let link = link.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
    page(&cx, &operator, StatusCode::OK, &filter, &Invitation::default(), Faults::default(), link).await
}

pub(super) async fn invite(cx: Cx, operator: Operator, Form(form): Form<Invitation>) -> Answer {
    match cx.state().users.invite(NewLink::InviteOperator { email: form.email.clone() }, &operator.actor()).await {
        Ok(to) => {
            let link = cx.link_url(&to.link);
            cx.state().mail.send(&to.email, cx.language(), &Letter::Invite { link: SecretString::clone(&link), company: None });
            revealed(&cx, link, &Flash::ok("invited").fact("email", &to.email))
        }
        Err(error) => {
            let faults = Faults::of_user(&cx, error)?;
            page(&cx, &operator, StatusCode::UNPROCESSABLE_ENTITY, &Filter::default(), &form, faults, "").await
        }
    }
}

pub(super) async fn link(cx: Cx, operator: Operator, Form(form): Form<Person>) -> Answer {
    let secret = cx.state().users.link_make(NewLink::Reset { user: form.user }, &operator.actor()).await?;
    revealed(&cx, cx.link_url(&secret), &Flash::ok("reset_link"))
}

pub(super) async fn disable(cx: Cx, operator: Operator, Form(form): Form<Person>) -> Answer {
    match cx.state().users.person_disable(&(&operator).into(), form.user).await {
        Ok(()) => cx.redirect_saying(PATH, &Flash::ok("person_disabled")),
        Err(error) => {
            let faults = Faults::of_user(&cx, error)?;
            page(&cx, &operator, StatusCode::UNPROCESSABLE_ENTITY, &Filter::default(), &Invitation::default(), faults, "").await
        }
    }
}

pub(super) async fn enable(cx: Cx, operator: Operator, Form(form): Form<Person>) -> Answer {
    cx.state().users.person_enable(&(&operator).into(), form.user).await?;
    cx.redirect_saying(PATH, &Flash::ok("person_enabled"))
}

pub(super) async fn sign_out(cx: Cx, operator: Operator, Form(form): Form<Person>) -> Answer {
    cx.state().users.person_sign_out(&(&operator).into(), form.user).await?;
    cx.redirect_saying(PATH, &Flash::ok("person_signed_out"))
}

pub(super) async fn second_factor(cx: Cx, operator: Operator, Form(form): Form<Person>) -> Answer {
    cx.state().users.second_factor_reset(&(&operator).into(), form.user).await?;
    cx.redirect_saying(PATH, &Flash::ok("person_second_factor"))
}

fn revealed(cx: &Cx, link: SecretString, flash: &Flash) -> Answer {
    let word = cx.reveal_later(link)?;
    cx.redirect_saying(&format!("{PATH}?link={word}"), flash)
}

async fn page(cx: &Cx, operator: &Operator, status: StatusCode, filter: &Filter, form: &Invitation, faults: Faults, link: &str) -> Answer {
    let q: String = filter.q.trim().chars().take(SEARCH_CHARS_MAX).collect();
    let role = [Role::Operator, Role::Member].into_iter().find(|role| role.as_str() == filter.role);
    let found = cx.state().users.person_page(&operator.into(), &PersonQuery { search: &q, role, after: filter.after.as_deref(), count: PER_PAGE }).await?;
    let next = found.next.map(|after| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("q", &q).append_pair("role", role.map(Role::as_str).unwrap_or_default()).append_pair("after", &after);
        format!("?{}", query.finish())
    });
    let people = found.people.into_iter().map(|person| Row {
        own: person.id == operator.user().id(),
        user: person.id,
        name: person.name,
        email: person.email,
        role: person.role.as_str(),
        status: person.status,
        second_factor: person.second_factor,
        locked: person.locked,
        created_at: person.created_at.to_rfc3339(),
    });
    let view = View {
        q: &q,
        role: role.map(Role::as_str).unwrap_or_default(),
        people: people.collect(),
        next: next.unwrap_or_default(),
        first: filter.after.is_none(),
        form,
        faults,
        link,
        needed: cx.state().config.require_second_factor,
    };
    cx.page_with(status, TEMPLATE, view)
}
