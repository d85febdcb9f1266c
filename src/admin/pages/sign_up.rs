//! Signing up: somebody registers their company. What is answered does not say whether the address is known.

use axum::http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::admin::Cx;
use crate::admin::cx::Answer;
use crate::admin::error::PageError;
use crate::admin::figures::written_day;
use crate::admin::forms::{Faults, Form, Hidden};
use crate::domain::mail::Letter;
use crate::domain::settings::SignUp;
use crate::domain::tenants::{Registered, registered};
use crate::domain::users::{NewSignUp, SignedUp};
use crate::tools::TOOLS_BY_DEFAULT;

const DONE_PATH: &str = "/admin/registro/recibido";
const TEMPLATE: &str = "pages/sign_up.html";

#[derive(Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct SignUpForm {
    #[serde(default)]
    rnc: String,
    #[serde(default)]
    company: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: Hidden,
    /// `look` asks the padrón for the company's name.
    #[serde(default)]
    act: String,
}

#[derive(Serialize)]
struct View<'a> {
    closed: bool,
    form: &'a SignUpForm,
    faults: Faults,
    /// What the padrón says of the RNC; empty where it was not asked.
    found: String,
}

#[derive(Serialize)]
struct DoneView {
    mail: bool,
    approval: bool,
}

/// What the operator allows. Without letters nobody's address is confirmed: then an operator looks.
fn policy(cx: &Cx) -> SignUp {
    match cx.state().settings.get().sign_up {
        SignUp::Open if !cx.state().mail.configured() => SignUp::Approval,
        other => other,
    }
}

/// Whether who confirms their address is in at once.
pub(super) fn open(cx: &Cx) -> bool {
    policy(cx) == SignUp::Open
}

/// Whether the door offers it.
pub(super) fn offered(cx: &Cx) -> bool {
    policy(cx) != SignUp::Closed
}

pub(super) async fn show(cx: Cx) -> Answer {
    cx.page(TEMPLATE, View { closed: !offered(&cx), form: &SignUpForm::default(), faults: Faults::default(), found: String::new() })
}

pub(super) async fn done(cx: Cx) -> Answer {
    cx.page("pages/sign_up_done.html", DoneView { mail: cx.state().mail.configured(), approval: !open(&cx) })
}

pub(super) async fn act(cx: Cx, Form(mut form): Form<SignUpForm>) -> Answer {
    if !offered(&cx) {
        return Err(PageError::Forbidden);
    }
    let mut found = String::new();
    if form.act == "look" || (form.company.trim().is_empty() && !form.rnc.trim().is_empty()) {
        let (name, said) = padron(&cx, &form.rnc);
        if let Some(name) = name {
            form.company = name;
        }
        found = said;
        if form.act == "look" {
            return cx.page(TEMPLATE, View { closed: false, form: &form, faults: Faults::default(), found });
        }
    }
    let new = NewSignUp {
        company: form.company.clone(),
        rnc: Some(form.rnc.trim().to_owned()).filter(|rnc| !rnc.is_empty()),
        plan: cx.state().settings.get().sign_up_plan.clone(),
        tools: TOOLS_BY_DEFAULT.map(str::to_owned).to_vec(),
        name: form.name.clone(),
        email: form.email.clone(),
        language: cx.language(),
        password: SecretString::clone(&form.password.0),
    };
    match cx.state().users.sign_up(&cx.state().tenants, new).await {
        Ok(came) => {
            let (email, language, letter) = match came {
                SignedUp::Waiting(to) => (to.email, cx.language(), Letter::Confirm { link: cx.link_url(&to.link), company: form.company.trim().to_owned() }),
                SignedUp::Known { email, language } => (email, language, Letter::Known { link: cx.sign_in_url() }),
            };
            cx.state().mail.send(&email, language, &letter);
            cx.redirect(DONE_PATH)
        }
        Err(error) => {
            let faults = Faults::of_user(&cx, error)?;
            cx.page_with(StatusCode::UNPROCESSABLE_ENTITY, TEMPLATE, View { closed: false, form: &form, faults, found })
        }
    }
}

/// The company's name by the padrón, and what to say about it.
fn padron(cx: &Cx, rnc: &str) -> (Option<String>, String) {
    let fill = |key: &str, facts: &[(&str, &str)]| crate::text::fill(cx.language(), key, facts);
    match registered(&cx.state().padron, rnc) {
        Registered::NoNumber => (None, cx.t("portal.sign_up.not_an_rnc")),
        // None is loaded yet, perhaps: the name can be typed.
        Registered::NoListing => (None, cx.t("portal.sign_up.no_listing")),
        Registered::NotListed { cutoff } => (None, fill("portal.sign_up.not_listed", &[("date", &written_day(cx.language(), cutoff))])),
        Registered::Listed { name, status, cutoff, .. } => {
            let said = fill("portal.sign_up.listed", &[("status", &status.unwrap_or_default()), ("date", &written_day(cx.language(), cutoff))]);
            (Some(name), said)
        }
    }
}
