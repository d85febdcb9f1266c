//! One plan of the price list: new, edited, removed.

use axum::extract::Query;
use axum::http::StatusCode;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};

use super::billing::PATH;
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash};
use crate::admin::error::PageError;
use crate::admin::forms::{Faults, Form};
use crate::domain::plans::{PlanError, PlanRow, PlanTerms, plan_add, plan_delete, plan_edit, plan_rows};
use crate::domain::users::Operator;

const TEMPLATE: &str = "pages/plan_edit.html";

#[derive(Deserialize)]
pub(super) struct Shown {
    #[serde(default)]
    code: String,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanForm {
    code: String,
    /// The version the page was made with; empty is a new plan.
    version: String,
    name: String,
    /// US$ a month.
    price: String,
    /// Empty is unlimited.
    calls_per_month: String,
    /// Empty is all.
    tools_max: String,
    position: String,
    priority_support: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteForm {
    code: String,
    /// The code, typed once more.
    confirm: String,
}

#[derive(Serialize)]
struct View<'a> {
    form: &'a PlanForm,
    faults: Faults,
    /// Clients that have it.
    clients: u64,
}

pub(super) async fn show(cx: Cx, _: Operator, Query(shown): Query<Shown>) -> Answer {
    if shown.code.is_empty() {
        let form = PlanForm { position: "10".to_owned(), ..PlanForm::default() };
        return cx.page(TEMPLATE, View { form: &form, faults: Faults::default(), clients: 0 });
    }
    let row = find(&cx, &shown.code).await?;
    cx.page(TEMPLATE, View { form: &typed(&row), faults: Faults::default(), clients: row.clients })
}

pub(super) async fn save(cx: Cx, operator: Operator, Form(form): Form<PlanForm>) -> Answer {
    let terms = match terms(&cx, &form) {
        Ok(terms) => terms,
        Err(faults) => return again(&cx, &form, faults).await,
    };
    let state = cx.state();
    let code = form.code.trim();
    let result = match form.version.as_str() {
        "" => plan_add(&state.db, &state.clock, code, terms, &operator.actor()).await,
        version => {
            let version = version.parse().map_err(|_| PageError::BadForm)?;
            plan_edit(&state.db, &state.clock, code, version, terms, &operator.actor()).await.map(|_| ())
        }
    };
    match result {
        Ok(()) => cx.redirect_saying(PATH, &Flash::ok("saved")),
        Err(error) => {
            let faults = faults_of(&cx, error)?;
            again(&cx, &form, faults).await
        }
    }
}

pub(super) async fn delete(cx: Cx, operator: Operator, Form(form): Form<DeleteForm>) -> Answer {
    let state = cx.state();
    let faults = if form.confirm.trim() == form.code {
        match plan_delete(&state.db, &state.clock, &form.code, &operator.actor()).await {
            Ok(()) => return cx.redirect_saying(PATH, &Flash::ok("plan_deleted").fact("code", &form.code)),
            Err(error) => faults_of(&cx, error)?,
        }
    } else {
        Faults::one(&cx, "confirm", "confirm")
    };
    let row = find(&cx, &form.code).await?;
    cx.page_with(StatusCode::UNPROCESSABLE_ENTITY, TEMPLATE, View { form: &typed(&row), faults, clients: row.clients })
}

async fn find(cx: &Cx, code: &str) -> Result<PlanRow, PageError> {
    let rows = plan_rows(&cx.state().db).await.map_err(PageError::internal)?;
    rows.into_iter().find(|row| row.code == code).ok_or(PageError::NotFound)
}

/// The form as it was sent, with its faults.
async fn again(cx: &Cx, form: &PlanForm, faults: Faults) -> Answer {
    let clients = if form.version.is_empty() { 0 } else { find(cx, form.code.trim()).await?.clients };
    cx.page_with(StatusCode::UNPROCESSABLE_ENTITY, TEMPLATE, View { form, faults, clients })
}

fn faults_of(cx: &Cx, error: PlanError) -> Result<Faults, PageError> {
    Ok(match error {
        PlanError::Exists(_) => Faults::one(cx, "code", "plan_exists"),
        PlanError::Invalid("code") => Faults::one(cx, "code", "plan_code"),
        PlanError::Invalid("name") => Faults::one(cx, "name", "plan_name"),
        PlanError::Invalid("price_usd_cents") => Faults::one(cx, "price", "price"),
        PlanError::Invalid(field) => Faults::one(cx, field, "count"),
        PlanError::InUse { clients, .. } => {
            let mut faults = Faults::default();
            faults.say("confirm", cx.fill("portal.faults.plan_in_use", &[("clients", &clients.to_string())]));
            faults
        }
        PlanError::SignUp(_) => Faults::one(cx, "confirm", "plan_sign_up"),
        PlanError::Unknown(_) => return Err(PageError::NotFound),
        PlanError::Stale { .. } => return Err(PageError::Stale),
        other @ PlanError::Db(_) => return Err(PageError::internal(other)),
    })
}

fn typed(row: &PlanRow) -> PlanForm {
    let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    PlanForm {
        code: row.code.clone(),
        version: row.version.to_string(),
        name: row.terms.name.clone(),
        price: Decimal::new(row.terms.price_usd_cents.into(), 2).to_string(),
        calls_per_month: number(row.terms.calls_per_month),
        tools_max: number(row.terms.tools_max),
        position: row.terms.position.to_string(),
        priority_support: row.terms.priority_support.then(|| "1".to_owned()),
    }
}

fn terms(cx: &Cx, form: &PlanForm) -> Result<PlanTerms, Faults> {
    let mut faults = Faults::default();
    // As people write it: 10,000 is ten thousand.
    let count = |text: &str| text.trim().replace(',', "").parse::<u32>().ok();
    let optional = |text: &str| if text.trim().is_empty() { Some(None) } else { count(text).map(Some) };
    let price = cents(&form.price).and_then(|cents| u32::try_from(cents).ok());
    let (calls_per_month, tools_max, position) = (optional(&form.calls_per_month), optional(&form.tools_max), count(&form.position));
    for (field, missing, key) in [
        ("price", price.is_none(), "price"),
        ("calls_per_month", calls_per_month.is_none(), "count"),
        ("tools_max", tools_max.is_none(), "count"),
        ("position", position.is_none(), "count"),
    ] {
        if missing {
            faults.add(cx, field, key);
        }
    }
    match (price, calls_per_month, tools_max, position) {
        (Some(price_usd_cents), Some(calls_per_month), Some(tools_max), Some(position)) => {
            Ok(PlanTerms { name: form.name.clone(), price_usd_cents, calls_per_month, tools_max, priority_support: form.priority_support.is_some(), position })
        }
        _ => Err(faults),
    }
}

/// An amount as people type it, in cents: `25`, `1,234.50`, `-5.00`, `12,5`. None when it is no amount, or has more than two decimals.
pub(super) fn cents(text: &str) -> Option<i64> {
    let text = text.trim().replace('−', "-");
    // A comma before one or two last digits is a decimal comma; else it groups thousands.
    let decimal_comma = !text.contains('.') && text.rsplit_once(',').is_some_and(|(_, decimals)| (1..=2).contains(&decimals.len()));
    let text = if decimal_comma { text.replace(',', ".") } else { text.replace(',', "") };
    // The parser reads `1e3` too, which nobody means by an amount.
    if text.contains(['e', 'E', '_']) {
        return None;
    }
    let amount: Decimal = text.parse().ok()?;
    let cents = amount.checked_mul(Decimal::ONE_HUNDRED)?;
    if cents.fract().is_zero() { cents.to_i64() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_type_them() {
        for (text, wanted) in [("25", 2_500), (" 25.50 ", 2_550), ("12,5", 1_250), ("1,234.50", 123_450), ("1,234", 123_400), ("-5.00", -500), ("−5", -500), ("0", 0)] {
            assert_eq!(cents(text), Some(wanted), "{text}");
        }
        for text in ["", "x", "1.234", "12.345,6", "1e3", "--5", "99999999999999999999999"] {
            assert_eq!(cents(text), None, "{text}");
        }
    }
}
