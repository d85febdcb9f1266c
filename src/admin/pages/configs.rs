//! The settings that the operator changes while the service runs: a form for each group, the fault beside its field.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::filters::Picked;
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, FlashKind};
use crate::admin::error::PageError;
use crate::admin::forms::{Faults, Form};
use crate::domain::mail::Letter;
use crate::domain::plans::plan_rows;
use crate::domain::settings::{Fault, Key, SettingsError, SignUp};
use crate::domain::users::{Operator, User};

const PATH: &str = "/admin/configs";
const TEMPLATE: &str = "pages/configs.html";

/// The fields of one group; those of the others are absent and stay as they are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupForm {
    /// When the settings that the page showed were edited; empty is never.
    seen: String,
    public_mail: Option<String>,
    maintenance: Option<String>,
    sign_up: Option<String>,
    sign_up_plan: Option<String>,
    tool_calls_per_hour: Option<String>,
    usd_rate: Option<String>,
    itbis_percent: Option<String>,
    usage_retention_days: Option<String>,
    /// A client's name, RNC or id.
    billing_client: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Serialize)]
struct View {
    values: BTreeMap<&'static str, String>,
    faults: Faults,
    seen: String,
    edited_at: String,
    sign_ups: [&'static str; 3],
    plans: Vec<Plan>,
    retention_days: u32,
    public_url: String,
    /// The server of letters and their sender; empty where nothing is sent.
    mail_server: String,
    mail_from: String,
}

#[derive(Serialize)]
struct Plan {
    value: String,
    text: String,
}

pub(super) async fn show(cx: Cx, _: Operator) -> Answer {
    page(&cx, StatusCode::OK, &[], Faults::default()).await
}

pub(super) async fn save(cx: Cx, operator: Operator, Form(form): Form<GroupForm>) -> Answer {
    let seen = match form.seen.as_str() {
        "" => None,
        text => Some(text.parse::<DateTime<Utc>>().map_err(|_| PageError::BadForm)?),
    };
    let changes = form.changes();
    let mut stored = changes.clone();
    if let Some((_, client)) = stored.iter_mut().find(|(key, client)| *key == Key::BillingClient && !client.trim().is_empty()) {
        let picked = Picked::find(&cx, client).await?;
        let Some(id) = picked.id else {
            return page(&cx, StatusCode::UNPROCESSABLE_ENTITY, &changes, Faults::one(&cx, Key::BillingClient.as_str(), "billing_client")).await;
        };
        *client = id.to_string();
    }
    match cx.state().settings.edit(&stored, seen, &operator.actor()).await {
        Ok(()) => cx.redirect_saying(PATH, &Flash::ok("saved")),
        Err(SettingsError::Invalid { key, fault }) => page(&cx, StatusCode::UNPROCESSABLE_ENTITY, &changes, Faults::one(&cx, key.as_str(), fault_key(key, fault))).await,
        Err(SettingsError::Stale) => Err(PageError::Stale),
        Err(error @ SettingsError::Db(_)) => Err(PageError::internal(error)),
    }
}

/// A letter to whoever asks, to see whether letters go out. Tried once, so that the page can say what came of it.
pub(super) async fn mail_test(cx: Cx, user: User, Form(Nothing {}): Form<Nothing>) -> Answer {
    match cx.state().mail.try_once(user.email(), cx.language(), &Letter::Test).await {
        Ok(()) => cx.redirect_saying(PATH, &Flash::ok("mail_test_sent").fact("email", user.email())),
        Err(cause) => cx.redirect_saying(PATH, &Flash::new(FlashKind::Bad, "mail_test_failed").fact("cause", &cause)),
    }
}

/// The sentence of what is wrong with a setting.
pub(in crate::admin) fn fault_key(key: Key, fault: Fault) -> &'static str {
    match (fault, key) {
        (Fault::Mail, _) => "email",
        (Fault::Choice, Key::BillingClient) => "billing_client",
        (Fault::Choice, _) => "choice",
        (Fault::Text, _) => "notice",
        (_, Key::UsageRetentionDays) => "retention_days",
        (_, Key::UsdRate) => "usd_rate",
        (_, Key::ItbisPercent) => "percent",
        (Fault::Number | Fault::Range, _) => "whole_number",
    }
}

/// The page; `typed` stands in for what is stored.
async fn page(cx: &Cx, status: StatusCode, typed: &[(Key, String)], faults: Faults) -> Answer {
    let state = cx.state();
    let now = state.settings.get();
    let mut values: BTreeMap<&'static str, String> = Key::ALL.into_iter().map(|key| (key.as_str(), now.field(key))).collect();
    if let Some(id) = now.billing_client {
        // The name; the id where there is no such client any more.
        let name = state.reports.client_name(id).await.map_err(PageError::internal)?;
        values.insert(Key::BillingClient.as_str(), name.unwrap_or_else(|| id.to_string()));
    }
    values.extend(typed.iter().map(|(key, value)| (key.as_str(), value.clone())));
    let plans = plan_rows(&state.db).await.map_err(PageError::internal)?;
    let (mail_server, mail_from) = state.mail.route().map(|(server, from)| (server.to_owned(), from)).unwrap_or_default();
    let view = View {
        values,
        faults,
        seen: now.edited_at.map(|at| at.to_rfc3339()).unwrap_or_default(),
        edited_at: now.edited_at.map(|at| at.to_rfc3339()).unwrap_or_default(),
        sign_ups: SignUp::ALL.map(SignUp::as_str),
        plans: plans.into_iter().map(|plan| Plan { value: plan.code, text: plan.terms.name }).collect(),
        retention_days: state.config.limits.usage_retention_days,
        public_url: cx.inner.portal.inner.public_url.to_string(),
        mail_server,
        mail_from,
    };
    cx.page_with(status, TEMPLATE, view)
}

impl GroupForm {
    fn changes(self) -> Vec<(Key, String)> {
        let fields = [
            (Key::PublicMail, self.public_mail),
            (Key::Maintenance, self.maintenance),
            (Key::SignUp, self.sign_up),
            (Key::SignUpPlan, self.sign_up_plan),
            (Key::ToolCallsPerHour, self.tool_calls_per_hour),
            (Key::UsdRate, self.usd_rate),
            (Key::ItbisPercent, self.itbis_percent),
            (Key::UsageRetentionDays, self.usage_retention_days),
            (Key::BillingClient, self.billing_client),
        ];
        // Browsers send line ends as CR LF.
        fields.into_iter().filter_map(|(key, value)| Some((key, value?.replace("\r\n", "\n")))).collect()
    }
}
