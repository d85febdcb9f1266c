//! The settings that the operator changes while the service runs: reading them, changing some.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::door::By;
use super::input::Body;
use super::problem::ApiError;
use crate::admin::Portal;
use crate::domain::settings::{Key, Settings, SignUp};
use crate::ids::TenantId;

/// Changes of the settings; what is absent stays, null brings the default back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SettingsChange {
    /// The `edited_at` that was seen, null if there was none: somebody else's newer change is not written over (409).
    edited_at: Option<DateTime<Utc>>,
    /// The address people write to.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    public_mail: Option<Option<String>>,
    /// Whether strangers may register a company.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<SignUp>)]
    sign_up: Option<Option<SignUp>>,
    /// Code of the plan of who registers.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    sign_up_plan: Option<Option<String>>,
    /// How long single calls are kept, days.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    usage_retention_days: Option<Option<u32>>,
    /// RD$ per US$ on statements, as text.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, pattern = r"^[0-9]{1,4}(\.[0-9]{1,4})?$")]
    usd_rate: Option<Option<Decimal>>,
    /// ITBIS on statements, per cent, as text.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, pattern = r"^[0-9]{1,4}(\.[0-9]{1,4})?$")]
    itbis_percent: Option<Option<Decimal>>,
    /// What everybody is told while the service is under maintenance.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    maintenance: Option<Option<String>>,
    /// Calls an hour of a tool that is enabled for a new client.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    tool_calls_per_hour: Option<Option<u32>>,
    /// The client that is the operator's own firm: invoices of statements are made in its Odoo.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<TenantId>)]
    billing_client: Option<Option<TenantId>>,
}

/// Tells what is null from what is absent.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl SettingsChange {
    fn changes(self) -> Vec<(Key, String)> {
        fn text<T: ToString>(value: Option<Option<T>>) -> Option<String> {
            value.map(|value| value.map(|value| value.to_string()).unwrap_or_default())
        }
        let fields = [
            (Key::PublicMail, text(self.public_mail)),
            (Key::SignUp, text(self.sign_up.map(|choice| choice.map(SignUp::as_str)))),
            (Key::SignUpPlan, text(self.sign_up_plan)),
            (Key::UsageRetentionDays, text(self.usage_retention_days)),
            (Key::UsdRate, text(self.usd_rate)),
            (Key::ItbisPercent, text(self.itbis_percent)),
            (Key::Maintenance, text(self.maintenance)),
            (Key::ToolCallsPerHour, text(self.tool_calls_per_hour)),
            (Key::BillingClient, text(self.billing_client)),
        ];
        fields.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// The settings of the service.
#[utoipa::path(get, path = "/admin/api/settings", tag = "settings", responses((status = 200, body = Settings, description = "As they are now.")))]
pub(super) async fn settings_show(State(portal): State<Portal>, _: By) -> Json<Settings> {
    Json(portal.state().settings.get().as_ref().clone())
}

/// Changes settings: all of those, or none.
#[utoipa::path(patch, path = "/admin/api/settings", tag = "settings", request_body = SettingsChange, responses((status = 200, body = Settings, description = "As they are now.")))]
pub(super) async fn settings_edit(State(portal): State<Portal>, by: By, Body(change): Body<SettingsChange>) -> Result<Json<Settings>, ApiError> {
    let state = portal.state();
    let seen = change.edited_at;
    if let Some(client) = change.billing_client.flatten()
        && state.reports.client_name(client).await.map_err(ApiError::internal)?.is_none()
    {
        return Err(ApiError::fault(Key::BillingClient.as_str(), "There is no such client."));
    }
    state.settings.edit(&change.changes(), seen, &by.actor()).await?;
    Ok(Json(state.settings.get().as_ref().clone()))
}
