//! One's own account: name and language, password, open sessions.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::agents::{Grant, Revocation};
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash};
use crate::admin::forms::{Faults, Form, Hidden};
use crate::domain::mail::Letter;
use crate::domain::users::{EmailChanged, SessionView, User};
use crate::text::Language;

const PATH: &str = "/admin/profile";
const AGENTS_PATH: &str = "/admin/profile/agents";
const TEMPLATE: &str = "pages/profile.html";

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileForm {
    name: String,
    language: String,
    /// The version the page was made with.
    version: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordForm {
    current: Hidden,
    password: Hidden,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct EmailForm {
    email: String,
    current: Hidden,
}

/// A form without fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionForm {
    id: String,
}

#[derive(Serialize)]
struct View<'a> {
    form: &'a ProfileForm,
    email: &'a str,
    email_form: &'a EmailForm,
    mail: bool,
    second_factor: bool,
    /// Which form came back.
    at: &'static str,
    languages: [Choice; 2],
    faults: Faults,
    /// Programs this person let in.
    grants: Vec<Grant>,
    sessions: Vec<Session>,
}

#[derive(Serialize)]
struct Choice {
    value: &'static str,
    text: &'static str,
}

#[derive(Serialize)]
struct Session {
    id: String,
    agent: String,
    address: String,
    created_at: String,
    last_seen_at: String,
    current: bool,
}

pub(super) async fn show(cx: Cx, user: User) -> Answer {
    page(&cx, &user, StatusCode::OK, None, None, "", Faults::default()).await
}

pub(super) async fn save(cx: Cx, user: User, Form(form): Form<ProfileForm>) -> Answer {
    let Ok(language) = form.language.parse::<Language>() else {
        let faults = Faults::one(&cx, "language", "language");
        return page(&cx, &user, StatusCode::UNPROCESSABLE_ENTITY, Some(&form), None, "profile", faults).await;
    };
    match cx.state().users.profile_edit(&user, &form.name, language, form.version).await {
        Ok(()) => cx.redirect_saying(PATH, &Flash::ok("saved")),
        Err(error) => {
            let faults = Faults::of_user(&cx, error)?;
            page(&cx, &user, StatusCode::UNPROCESSABLE_ENTITY, Some(&form), None, "profile", faults).await
        }
    }
}

pub(super) async fn password(cx: Cx, user: User, Form(form): Form<PasswordForm>) -> Answer {
    match cx.state().users.password_change(&user, &form.current.0, &form.password.0).await {
        Ok(()) => cx.redirect_saying(PATH, &Flash::ok("password_changed")),
        Err(error) => {
            let faults = Faults::of_user(&cx, error)?;
            page(&cx, &user, StatusCode::UNPROCESSABLE_ENTITY, None, None, "password", faults).await
        }
    }
}

pub(super) async fn session_end(cx: Cx, user: User, Form(form): Form<SessionForm>) -> Answer {
    cx.state().users.session_end_one(&user, &form.id).await?;
    cx.redirect_saying(PATH, &Flash::ok("session_ended"))
}

pub(super) async fn session_end_others(cx: Cx, user: User, Form(Nothing {}): Form<Nothing>) -> Answer {
    cx.state().users.session_end_others(&user).await?;
    cx.redirect_saying(PATH, &Flash::ok("sessions_ended"))
}

/// Ends what a program was allowed.
pub(super) async fn agent_revoke(cx: Cx, user: User, Form(form): Form<Revocation>) -> Answer {
    cx.state().oauth.grant_revoke_own(&user, form.grant).await?;
    cx.redirect_saying(PATH, &Flash::ok("agent_revoked"))
}

/// A new address: by a link that it gets where letters are sent, else at once.
pub(super) async fn email(cx: Cx, user: User, Form(form): Form<EmailForm>) -> Answer {
    let state = cx.state();
    let done = if state.mail.configured() {
        state.users.email_change_ask(&user, &form.current.0, &form.email).await.map(|made| {
            if let Some(to) = made {
                state.mail.send(&to.email, cx.language(), &Letter::Email { link: cx.link_url(&to.link) });
            }
            Flash::ok("email_asked")
        })
    } else {
        state.users.email_change(&user, &form.current.0, &form.email).await.map(|_| Flash::ok("email_changed"))
    };
    match done {
        Ok(flash) => cx.redirect_saying(PATH, &flash.fact("email", form.email.trim())),
        Err(error) => {
            let faults = Faults::of_user(&cx, error)?;
            page(&cx, &user, StatusCode::UNPROCESSABLE_ENTITY, None, Some(&form), "email", faults).await
        }
    }
}

/// Tells the old address.
pub(super) fn email_changed(cx: &Cx, changed: &EmailChanged) {
    cx.state().mail.send(&changed.before, changed.language, &Letter::EmailChanged { email: changed.after.clone() });
}

async fn page(cx: &Cx, user: &User, status: StatusCode, form: Option<&ProfileForm>, email_form: Option<&EmailForm>, at: &'static str, faults: Faults) -> Answer {
    let own = ProfileForm { name: user.name().to_owned(), language: user.language().as_str().to_owned(), version: user.version() };
    let blank = EmailForm::default();
    let sessions = cx.state().users.session_list(user).await?;
    let grants = cx.state().oauth.grants_of_user(user).await?.into_iter().map(|grant| Grant::of(grant, true, |_| AGENTS_PATH.to_owned()));
    let view = View {
        form: form.unwrap_or(&own),
        email: user.email(),
        email_form: email_form.unwrap_or(&blank),
        mail: cx.state().mail.configured(),
        second_factor: user.second_factor(),
        at,
        // Each by its own name, whatever the page speaks.
        languages: [Choice { value: "es", text: "Español" }, Choice { value: "en", text: "English" }],
        faults,
        grants: grants.collect(),
        sessions: sessions.into_iter().map(|session| shown(session, user)).collect(),
    };
    cx.page_with(status, TEMPLATE, view)
}

fn shown(session: SessionView, user: &User) -> Session {
    Session {
        current: session.id == user.session(),
        id: session.id,
        agent: session.agent.unwrap_or_default(),
        address: session.address.unwrap_or_default(),
        created_at: session.created_at.to_rfc3339(),
        last_seen_at: session.last_seen_at.to_rfc3339(),
    }
}
