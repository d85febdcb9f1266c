//! Alerts: which there are, to whom they go, the webhook and what became of its deliveries. A tenant's for its owners, the service's for operators.

use axum::extract::Query;
use axum::http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::client::Head;
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, FlashKind, tenant_path};
use crate::admin::error::PageError;
use crate::admin::forms::{Faults, Form};
use crate::domain::alerts::{ChannelsChange, ChannelsError, ChannelsFault, DeliveryState, DeliveryView, Owner, Topic, title};
use crate::domain::audit::Actor;
use crate::domain::users::{Operator, TenantAccess};

const PATH: &str = "/admin/alerts";
const TEMPLATE: &str = "pages/alerts.html";

#[derive(Deserialize)]
pub(super) struct Shown {
    /// The word of a secret that was just made.
    secret: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Who gets what. A box that is not ticked is absent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertsForm {
    version: i32,
    mail: Option<String>,
    #[serde(default)]
    topics: Vec<String>,
    webhook_url: String,
}

#[derive(Serialize)]
struct View<'a> {
    client: Option<Head>,
    action: String,
    may_change: bool,
    /// Whether letters can be sent at all.
    mail_configured: bool,
    mail: bool,
    topics: Vec<TopicView>,
    webhook_url: String,
    /// Whether a webhook is saved: what is typed may be another one.
    has_webhook: bool,
    previous_until: String,
    version: i32,
    faults: Faults,
    /// A secret to show once; empty when there is none.
    secret: &'a str,
    alerts: Vec<AlertRow>,
    deliveries: Vec<DeliveryRow>,
}

#[derive(Serialize)]
struct TopicView {
    value: &'static str,
    text: String,
    on: bool,
}

#[derive(Serialize)]
struct AlertRow {
    text: String,
    told_at: String,
    /// Empty while it lasts.
    ended_at: String,
}

#[derive(Serialize)]
struct DeliveryRow {
    /// The webhook's `type`.
    kind: &'static str,
    created_at: String,
    /// `ok`, `wait` or `bad`.
    status: &'static str,
    state: String,
    detail: String,
    /// When it is tried again; empty when it is not.
    due_at: String,
}

/// Whose page, and what its reader may.
struct Subject {
    owner: Owner,
    path: String,
    may_change: bool,
    actor: Actor,
}

impl Subject {
    fn of_client(access: &TenantAccess) -> Self {
        let path = format!("{}/alerts", tenant_path(access.tenant()));
        Self { owner: Owner::Tenant(access.tenant()), path, may_change: access.may_change(), actor: access.actor() }
    }

    fn of_service(operator: &Operator) -> Self {
        Self { owner: Owner::Operator, path: PATH.to_owned(), may_change: true, actor: operator.actor() }
    }
}

pub(super) async fn show(cx: Cx, access: TenantAccess, Query(shown): Query<Shown>) -> Answer {
    first(&cx, &Subject::of_client(&access), shown).await
}

pub(super) async fn show_service(cx: Cx, operator: Operator, Query(shown): Query<Shown>) -> Answer {
    first(&cx, &Subject::of_service(&operator), shown).await
}

pub(super) async fn save(cx: Cx, access: TenantAccess, Form(form): Form<AlertsForm>) -> Answer {
    edit(&cx, &Subject::of_client(&access), form).await
}

pub(super) async fn save_service(cx: Cx, operator: Operator, Form(form): Form<AlertsForm>) -> Answer {
    edit(&cx, &Subject::of_service(&operator), form).await
}

pub(super) async fn secret(cx: Cx, access: TenantAccess, Form(Nothing {}): Form<Nothing>) -> Answer {
    rotate(&cx, &Subject::of_client(&access)).await
}

pub(super) async fn secret_service(cx: Cx, operator: Operator, Form(Nothing {}): Form<Nothing>) -> Answer {
    rotate(&cx, &Subject::of_service(&operator)).await
}

pub(super) async fn test(cx: Cx, access: TenantAccess, Form(Nothing {}): Form<Nothing>) -> Answer {
    trial(&cx, &Subject::of_client(&access)).await
}

pub(super) async fn test_service(cx: Cx, operator: Operator, Form(Nothing {}): Form<Nothing>) -> Answer {
    trial(&cx, &Subject::of_service(&operator)).await
}

async fn first(cx: &Cx, subject: &Subject, shown: Shown) -> Answer {
    let secret = shown.secret.and_then(|word| cx.reveal(&word));
    let secret = secret.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
    page(cx, subject, StatusCode::OK, None, Faults::default(), secret).await
}

async fn edit(cx: &Cx, subject: &Subject, form: AlertsForm) -> Answer {
    let known = |word: &String| Topic::of(subject.owner).iter().copied().find(|topic| topic.as_str() == word);
    let Some(topics) = form.topics.iter().map(known).collect::<Option<Vec<Topic>>>() else { return Err(PageError::BadForm) };
    let change = ChannelsChange { mail: form.mail.is_some(), topics, webhook_url: form.webhook_url.clone(), version: form.version };
    match cx.state().alerts.channels_edit(subject.owner, change, &subject.actor).await {
        Ok(None) => cx.redirect_saying(&subject.path, &Flash::ok("saved")),
        Ok(Some(secret)) => {
            let word = cx.reveal_later(secret)?;
            cx.redirect_saying(&format!("{}?secret={word}", subject.path), &Flash::ok("saved"))
        }
        Err(ChannelsError::Invalid(fault)) => {
            let faults = Faults::one(cx, if fault == ChannelsFault::Topic { "form" } else { "webhook_url" }, fault.key());
            page(cx, subject, StatusCode::UNPROCESSABLE_ENTITY, Some(&form), faults, "").await
        }
        Err(error) => Err(failure(error)),
    }
}

async fn rotate(cx: &Cx, subject: &Subject) -> Answer {
    match cx.state().alerts.secret_rotate(subject.owner, &subject.actor).await {
        Ok(secret) => {
            let word = cx.reveal_later(secret)?;
            cx.redirect_saying(&format!("{}?secret={word}", subject.path), &Flash::ok("webhook_secret"))
        }
        Err(ChannelsError::Invalid(_)) => cx.redirect_saying(&subject.path, &Flash::new(FlashKind::Warn, "webhook_none")),
        Err(error) => Err(failure(error)),
    }
}

async fn trial(cx: &Cx, subject: &Subject) -> Answer {
    let base = &cx.inner.portal.inner.public_url;
    let flash = match cx.state().alerts.webhook_test(subject.owner, base).await.map_err(PageError::internal)? {
        None => Flash::new(FlashKind::Warn, "webhook_none"),
        Some(delivery) if delivery.state == DeliveryState::Done => Flash::ok("webhook_arrived").fact("status", &delivery.status.unwrap_or_default().to_string()),
        Some(delivery) => Flash::new(FlashKind::Bad, "webhook_failed").fact("cause", delivery.cause.as_deref().unwrap_or_default()),
    };
    cx.redirect_saying(&subject.path, &flash)
}

fn failure(error: ChannelsError) -> PageError {
    match error {
        ChannelsError::Stale => PageError::Stale,
        ChannelsError::Unknown => PageError::NotFound,
        error => PageError::internal(error),
    }
}

/// The page; `typed` stands in for what is stored.
async fn page(cx: &Cx, subject: &Subject, status: StatusCode, typed: Option<&AlertsForm>, faults: Faults, secret: &str) -> Answer {
    let state = cx.state();
    let (client, zone) = match subject.owner {
        Owner::Tenant(tenant) => {
            let tenant = state.tenants.tenant_find(tenant).await?;
            (Some(Head::of(cx, &tenant)), tenant.timezone)
        }
        Owner::Operator => (None, chrono_tz::America::Santo_Domingo),
    };
    let now = state.alerts.channels(subject.owner).await.map_err(PageError::internal)?;
    let alerts = state.alerts.list(subject.owner).await.map_err(PageError::internal)?;
    let deliveries = state.alerts.deliveries(subject.owner).await.map_err(PageError::internal)?;
    let on = |topic: Topic, stored: bool| typed.map_or(stored, |form| form.topics.iter().any(|word| word == topic.as_str()));
    let whose = if client.is_some() { "of_client" } else { "of_service" };
    let topic = |(topic, stored): &(Topic, bool)| TopicView { value: topic.as_str(), text: cx.t(&format!("portal.alerts.{whose}.{}", topic.as_str())), on: on(*topic, *stored) };
    let view = View {
        client,
        action: subject.path.clone(),
        may_change: subject.may_change,
        mail_configured: state.mail.configured(),
        mail: typed.map_or(now.mail, |form| form.mail.is_some()),
        topics: now.topics.iter().map(topic).collect(),
        has_webhook: now.webhook_url.is_some(),
        webhook_url: typed.map_or_else(|| now.webhook_url.clone().unwrap_or_default(), |form| form.webhook_url.clone()),
        previous_until: now.previous_until.map(|until| until.to_rfc3339()).unwrap_or_default(),
        version: typed.map_or(now.version, |form| form.version),
        faults,
        secret,
        alerts: alerts
            .into_iter()
            .map(|alert| AlertRow {
                text: title(alert.kind, &alert.facts, cx.language(), zone),
                told_at: alert.told_at.to_rfc3339(),
                ended_at: alert.ended_at.map(|at| at.to_rfc3339()).unwrap_or_default(),
            })
            .collect(),
        deliveries: deliveries.into_iter().map(|delivery| row(cx, delivery)).collect(),
    };
    cx.page_with(status, TEMPLATE, view)
}

fn row(cx: &Cx, delivery: DeliveryView) -> DeliveryRow {
    let (status, word) = match delivery.state {
        DeliveryState::Done => ("ok", "done"),
        DeliveryState::Waiting if delivery.attempts == 0 => ("wait", "new"),
        DeliveryState::Waiting => ("wait", "waiting"),
        DeliveryState::GivenUp => ("bad", "given_up"),
    };
    let detail = delivery.cause.or_else(|| delivery.status.map(|status| format!("HTTP {status}"))).unwrap_or_default();
    DeliveryRow {
        kind: delivery.kind.as_str(),
        created_at: delivery.created_at.to_rfc3339(),
        status,
        state: cx.t(&format!("portal.alerts.states.{word}")),
        detail,
        due_at: delivery.due_at.map(|at| at.to_rfc3339()).unwrap_or_default(),
    }
}
