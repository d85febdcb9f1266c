//! A forgotten password: a letter with a one-time link. Whether there is an account under the address is not said, and nothing that is done for it
//! is waited for.

use axum::extract::Query;
use serde::{Deserialize, Serialize};

use crate::admin::Cx;
use crate::admin::cx::Answer;
use crate::admin::forms::Form;
use crate::domain::mail::Letter;

const PATH: &str = "/admin/olvido";

#[derive(Deserialize)]
pub(super) struct Shown {
    #[serde(default)]
    sent: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForgotForm {
    email: String,
}

#[derive(Serialize)]
struct View {
    /// Whether letters are sent at all.
    mail: bool,
    sent: bool,
}

pub(super) async fn show(cx: Cx, Query(shown): Query<Shown>) -> Answer {
    cx.page("pages/forgot.html", View { mail: cx.state().mail.configured(), sent: !shown.sent.is_empty() })
}

pub(super) async fn act(cx: Cx, Form(form): Form<ForgotForm>) -> Answer {
    if cx.state().mail.configured() {
        let task = cx.clone();
        cx.state().tasks.spawn(async move {
            match task.state().users.reset_ask(&form.email).await {
                Ok(Some((to, language))) => task.state().mail.send(&to.email, language, &Letter::Reset { link: task.link_url(&to.link) }),
                Ok(None) => {}
                Err(error) => tracing::error!(error = format!("{error:#}"), "a link for a forgotten password could not be made"),
            }
        });
    }
    cx.redirect(&format!("{PATH}?sent=1"))
}
