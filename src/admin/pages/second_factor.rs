//! The second factor: the code asked for after the password, and setting it up in one's own account.

use axum::extract::Query;
use axum::http::StatusCode;
use qrcode::{Color, EcLevel, QrCode};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::admin::cx::{Answer, Flash, home};
use crate::admin::error::PageError;
use crate::admin::forms::{Faults, Form, Hidden};
use crate::admin::guard::local_path;
use crate::admin::{Cx, SIGN_IN_PATH};
use crate::domain::users::{Enrolment, Role, SignInRefusal, User};

/// Where it is set up.
pub(in crate::admin) const PATH: &str = "/admin/profile/second-factor";
const TEMPLATE: &str = "pages/second_factor.html";
/// Light modules around a QR code, which readers need.
const QUIET: usize = 4;

#[derive(Deserialize)]
pub(super) struct Wanted {
    to: Option<String>,
}

/// The code, after the password.
#[derive(Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct CodeForm {
    code: Hidden,
    #[serde(default)]
    to: String,
}

#[derive(Serialize)]
struct AskView<'a> {
    form: &'a CodeForm,
    email: &'a str,
    faults: Faults,
}

/// Where the code is asked for; afterwards they go on to where they wanted.
pub(super) fn ask_path(to: &str) -> String {
    let mut path = "/admin/entrar/codigo".to_owned();
    if let Some(to) = local_path(to) {
        path.push_str("?to=");
        path.extend(url::form_urlencoded::byte_serialize(to.as_bytes()));
    }
    path
}

pub(super) async fn ask(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    if let Some(user) = cx.user() {
        return cx.redirect(&home(user));
    }
    let Some(email) = cx.state().users.second_factor_waiting(&cx.session_from()).await? else { return cx.redirect(SIGN_IN_PATH) };
    let to = wanted.to.as_deref().and_then(local_path).unwrap_or_default().to_owned();
    cx.page("pages/sign_in_code.html", AskView { form: &CodeForm { to, ..CodeForm::default() }, email: &email, faults: Faults::default() })
}

pub(super) async fn pass(cx: Cx, Form(form): Form<CodeForm>) -> Answer {
    let users = &cx.state().users;
    let Some(email) = users.second_factor_waiting(&cx.session_from()).await? else { return cx.redirect(SIGN_IN_PATH) };
    match users.second_factor_pass(form.code.0.expose_secret(), &cx.session_from()).await {
        Ok(session) => cx.redirect_signed_in(local_path(&form.to).unwrap_or(crate::admin::PATH), &session),
        Err(SignInRefusal::Refused) => {
            let faults = Faults::one(&cx, "code", "code_refused");
            cx.page_with(StatusCode::UNPROCESSABLE_ENTITY, "pages/sign_in_code.html", AskView { form: &form, email: &email, faults })
        }
        Err(SignInRefusal::Unavailable(cause)) => Err(cause.into()),
    }
}

#[derive(Deserialize)]
pub(super) struct Shown {
    /// The word of recovery codes that were just made.
    codes: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordForm {
    current: Hidden,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfirmForm {
    code: Hidden,
}

#[derive(Serialize)]
struct View {
    confirmed_at: Option<String>,
    /// Operators must have one here: it cannot be switched off.
    needed: bool,
    must_enrol: bool,
    qr: Option<Qr>,
    /// The secret in groups of four.
    groups: Vec<String>,
    recovery_left: usize,
    /// Recovery codes to show once.
    codes: Vec<String>,
    /// Which form came back.
    at: &'static str,
    faults: Faults,
}

/// A QR code as the path of an SVG.
#[derive(Serialize)]
struct Qr {
    size: usize,
    path: String,
}

pub(super) async fn show(cx: Cx, user: User, Query(shown): Query<Shown>) -> Answer {
    let codes = shown.codes.and_then(|word| cx.reveal(&word));
    let codes = codes.map(|codes| codes.expose_secret().lines().map(str::to_owned).collect()).unwrap_or_default();
    page(&cx, &user, StatusCode::OK, codes, "", Faults::default()).await
}

pub(super) async fn begin(cx: Cx, user: User, Form(form): Form<PasswordForm>) -> Answer {
    match cx.state().users.second_factor_begin(&user, &form.current.0).await {
        Ok(()) => cx.redirect(PATH),
        Err(error) => again(&cx, &user, "begin", Faults::of_user(&cx, error)?).await,
    }
}

pub(super) async fn confirm(cx: Cx, user: User, Form(form): Form<ConfirmForm>) -> Answer {
    match cx.state().users.second_factor_confirm(&user, form.code.0.expose_secret()).await {
        Ok(codes) => reveal(&cx, codes, "second_factor_on"),
        Err(error) => again(&cx, &user, "confirm", Faults::of_user(&cx, error)?).await,
    }
}

pub(super) async fn codes(cx: Cx, user: User, Form(form): Form<PasswordForm>) -> Answer {
    match cx.state().users.recovery_renew(&user, &form.current.0).await {
        Ok(codes) => reveal(&cx, codes, "recovery_renewed"),
        Err(error) => again(&cx, &user, "codes", Faults::of_user(&cx, error)?).await,
    }
}

pub(super) async fn off(cx: Cx, user: User, Form(form): Form<PasswordForm>) -> Answer {
    match cx.state().users.second_factor_off(&user, &form.current.0).await {
        Ok(()) => cx.redirect_saying(PATH, &Flash::ok("second_factor_off")),
        Err(error) => again(&cx, &user, "off", Faults::of_user(&cx, error)?).await,
    }
}

fn reveal(cx: &Cx, codes: secrecy::SecretString, flash: &str) -> Answer {
    let word = cx.reveal_later(codes)?;
    cx.redirect_saying(&format!("{PATH}?codes={word}"), &Flash::ok(flash))
}

async fn again(cx: &Cx, user: &User, at: &'static str, faults: Faults) -> Answer {
    page(cx, user, StatusCode::UNPROCESSABLE_ENTITY, Vec::new(), at, faults).await
}

async fn page(cx: &Cx, user: &User, status: StatusCode, codes: Vec<String>, at: &'static str, faults: Faults) -> Answer {
    let seen = cx.state().users.second_factor_look(user).await?;
    let (qr, groups) = match &seen.enrolment {
        Some(enrolment) => (Some(drawn(enrolment)?), grouped(enrolment)),
        None => (None, Vec::new()),
    };
    let view = View {
        confirmed_at: seen.confirmed_at.map(|at| at.to_rfc3339()),
        needed: user.role() == Role::Operator && cx.state().config.require_second_factor,
        must_enrol: user.must_enrol(),
        qr,
        groups,
        recovery_left: seen.recovery_left,
        codes,
        at,
        faults,
    };
    cx.page_with(status, TEMPLATE, view)
}

fn grouped(enrolment: &Enrolment) -> Vec<String> {
    let chars: Vec<char> = enrolment.secret.expose_secret().chars().collect();
    chars.chunks(4).map(|group| group.iter().collect()).collect()
}

fn drawn(enrolment: &Enrolment) -> Result<Qr, PageError> {
    let code = QrCode::with_error_correction_level(enrolment.address.expose_secret(), EcLevel::M).map_err(PageError::internal)?;
    let width = code.width();
    let mut path = String::new();
    for (at, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            use std::fmt::Write;
            let _ = write!(path, "M{} {}h1v1h-1z", at % width + QUIET, at / width + QUIET);
        }
    }
    Ok(Qr { size: width + 2 * QUIET, path })
}
