//! The companies that signed up and wait: an operator approves or refuses.

use serde::{Deserialize, Serialize};

use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, tenant_path};
use crate::admin::forms::Form;
use crate::domain::mail::Letter;
use crate::domain::settings::SignUp;
use crate::domain::tenants::rnc_formatted;
use crate::domain::users::Operator;
use crate::ids::TenantId;

const PATH: &str = "/admin/sign-ups";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decision {
    tenant: TenantId,
}

#[derive(Serialize)]
struct View {
    closed: bool,
    waiting: Vec<Waiting>,
}

#[derive(Serialize)]
struct Waiting {
    tenant: TenantId,
    href: String,
    company: String,
    rnc: String,
    rnc_known: bool,
    rnc_twice: bool,
    name: String,
    email: String,
    confirmed: bool,
    created_at: String,
}

pub(super) async fn list(cx: Cx, operator: Operator) -> Answer {
    let waiting = cx.state().users.sign_up_list(&(&operator).into()).await?.into_iter().map(|view| Waiting {
        tenant: view.tenant,
        href: tenant_path(view.tenant),
        company: view.company,
        rnc: view.rnc.as_deref().map(rnc_formatted).unwrap_or_default(),
        rnc_known: view.rnc_known,
        rnc_twice: view.rnc_twice,
        name: view.name,
        email: view.email,
        confirmed: view.confirmed,
        created_at: view.created_at.to_rfc3339(),
    });
    cx.page("pages/sign_ups.html", View { closed: cx.state().settings.get().sign_up == SignUp::Closed, waiting: waiting.collect() })
}

pub(super) async fn approve(cx: Cx, operator: Operator, Form(form): Form<Decision>) -> Answer {
    let state = cx.state();
    let applicant = state.users.sign_up_approve(&(&operator).into(), form.tenant).await?;
    state.tokens.forget(form.tenant);
    if let Some(applicant) = applicant {
        state.mail.send(&applicant.email, applicant.language, &Letter::Approved { link: cx.sign_in_url(), company: applicant.company });
    }
    cx.redirect_saying(PATH, &Flash::ok("sign_up_approved"))
}

pub(super) async fn refuse(cx: Cx, operator: Operator, Form(form): Form<Decision>) -> Answer {
    cx.state().users.sign_up_refuse(&(&operator).into(), form.tenant).await?;
    cx.redirect_saying(PATH, &Flash::ok("sign_up_refused"))
}
