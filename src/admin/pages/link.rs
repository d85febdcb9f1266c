//! The page of a one-time link: the first operator's account, an invitation, a new password.

use axum::extract::Path;
use axum::http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, tenant_path};
use crate::admin::error::PageError;
use crate::admin::forms::{Faults, Form, Hidden};
use crate::domain::users::{Confirmed, Joining, LinkPurpose, LinkView, NewSession};

#[derive(Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkForm {
    #[serde(default)]
    email: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: Hidden,
}

#[derive(Serialize)]
struct View<'a> {
    purpose: &'static str,
    /// Said by the link; empty lets them say.
    email: &'a str,
    tenant_name: &'a str,
    /// An invitation for somebody who has an account, and whether it is they who are signed in.
    account: bool,
    own: bool,
    link_path: String,
    form: &'a LinkForm,
    faults: Faults,
}

pub(super) async fn show(cx: Cx, Path(link): Path<String>) -> Answer {
    let view = cx.state().users.link_look(&link).await?.ok_or(PageError::LinkGone)?;
    page(&cx, StatusCode::OK, &link, &view, &LinkForm::default(), Faults::default())
}

pub(super) async fn act(cx: Cx, Path(link): Path<String>, Form(form): Form<LinkForm>) -> Answer {
    let users = &cx.state().users;
    let view = users.link_look(&link).await?.ok_or(PageError::LinkGone)?;
    if view.purpose == LinkPurpose::Invite && view.account {
        let user = cx.user().ok_or(PageError::SignInFirst)?;
        let tenant = users.link_join(&link, user).await?;
        return cx.redirect_saying(&tenant_path(tenant), &Flash::ok("joined"));
    }
    match view.purpose {
        LinkPurpose::Confirm => return confirm(&cx, &link, &view, &form).await,
        LinkPurpose::Email => return email(&cx, &link, &view).await,
        LinkPurpose::First | LinkPurpose::Invite | LinkPurpose::Reset => {}
    }
    let some = |text: &str| (!text.trim().is_empty()).then(|| text.to_owned());
    let joining = Joining { email: some(&form.email), name: some(&form.name), language: cx.language(), password: SecretString::clone(&form.password.0) };
    match users.link_use(&link, joining, &cx.session_from()).await {
        Ok(session) => entered(&cx, &session),
        Err(error) => {
            let faults = Faults::of_user(&cx, error)?;
            page(&cx, StatusCode::UNPROCESSABLE_ENTITY, &link, &view, &form, faults)
        }
    }
}

/// Somebody who signed up shows that the address is theirs.
async fn confirm(cx: &Cx, link: &str, view: &LinkView, form: &LinkForm) -> Answer {
    match cx.state().users.sign_up_confirm(link, &form.password.0, super::sign_up::open(cx), &cx.session_from()).await {
        Ok(Confirmed::In(session)) => entered(cx, &session),
        Ok(Confirmed::Waiting) => cx.redirect_saying(crate::admin::SIGN_IN_PATH, &Flash::ok("email_confirmed")),
        Err(error) => {
            let faults = Faults::of_user(cx, error)?;
            page(cx, StatusCode::UNPROCESSABLE_ENTITY, link, view, form, faults)
        }
    }
}

/// Somebody's new address is theirs.
async fn email(cx: &Cx, link: &str, view: &LinkView) -> Answer {
    match cx.state().users.email_confirm(link).await {
        Ok(changed) => {
            super::profile::email_changed(cx, &changed);
            cx.redirect_saying(if cx.user().is_some() { "/admin/profile" } else { crate::admin::SIGN_IN_PATH }, &Flash::ok("email_changed").fact("email", &changed.after))
        }
        Err(error) => {
            let faults = Faults::of_user(cx, error)?;
            page(cx, StatusCode::UNPROCESSABLE_ENTITY, link, view, &LinkForm::default(), faults)
        }
    }
}

/// In, or to the second factor.
fn entered(cx: &Cx, session: &NewSession) -> Answer {
    let path = if session.second_factor { super::second_factor::ask_path("") } else { crate::admin::PATH.to_owned() };
    cx.redirect_signed_in(&path, session)
}

fn page(cx: &Cx, status: StatusCode, link: &str, view: &LinkView, form: &LinkForm, faults: Faults) -> Answer {
    let email = view.email.as_deref().unwrap_or_default();
    let view = View {
        purpose: view.purpose.as_str(),
        email,
        tenant_name: view.tenant_name.as_deref().unwrap_or_default(),
        account: view.purpose == LinkPurpose::Invite && view.account,
        own: cx.user().is_some_and(|user| user.email() == email),
        link_path: format!("{}/{link}", super::LINK_PATH),
        form,
        faults,
    };
    cx.page_with(status, "pages/link.html", view)
}
