//! Signing in and out.

use axum::extract::Query;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::admin::cx::{Answer, home};
use crate::admin::forms::{Faults, Form, Hidden};
use crate::admin::guard::local_path;
use crate::admin::{Cx, SIGN_IN_PATH};
use crate::domain::users::{SignInRefusal, User};

#[derive(Deserialize)]
pub(super) struct Wanted {
    to: Option<String>,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    email: String,
    password: Hidden,
    /// Where they wanted to go.
    #[serde(default)]
    to: String,
}

#[derive(Serialize)]
struct View<'a> {
    form: &'a SignIn,
    faults: Faults,
    /// Whether a company can register itself.
    sign_up: bool,
}

pub(super) async fn show(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    if let Some(user) = cx.user() {
        return cx.redirect(&home(user));
    }
    let to = wanted.to.as_deref().and_then(local_path).unwrap_or_default().to_owned();
    cx.page("pages/sign_in.html", View { form: &SignIn { to, ..SignIn::default() }, faults: Faults::default(), sign_up: super::sign_up::offered(&cx) })
}

pub(super) async fn act(cx: Cx, Form(form): Form<SignIn>) -> Answer {
    match cx.state().users.sign_in(&form.email, &form.password.0, &cx.session_from()).await {
        // The password is half of it: nothing else is reachable yet.
        Ok(session) if session.second_factor => cx.redirect_signed_in(&super::second_factor::ask_path(&form.to), &session),
        // The home page sends everybody where they belong.
        Ok(session) => cx.redirect_signed_in(local_path(&form.to).unwrap_or(crate::admin::PATH), &session),
        Err(SignInRefusal::Refused) => {
            let faults = Faults::one(&cx, "form", "sign_in");
            cx.page_with(StatusCode::UNPROCESSABLE_ENTITY, "pages/sign_in.html", View { form: &form, faults, sign_up: super::sign_up::offered(&cx) })
        }
        Err(SignInRefusal::Unavailable(cause)) => Err(cause.into()),
    }
}

pub(super) async fn out(cx: Cx, user: User) -> Answer {
    cx.state().users.sign_out(&user).await?;
    cx.redirect_signed_out(SIGN_IN_PATH)
}
