//! Writes that wait for an owner of the company: what would be written, who asked, and the decision.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::client::Head;
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, FlashKind, tenant_path};
use crate::admin::error::PageError;
use crate::admin::figures::written_day;
use crate::admin::forms::{Faults, Form};
use crate::admin::render::{money, number};
use crate::domain::approvals::{ApprovalError, DecidedView, PendingView};
use crate::domain::tenants::rnc_formatted;
use crate::domain::users::TenantAccess;
use crate::ids::OperationId;
use crate::tools::approve::Approval;

/// What a preview holds beside what would be written.
const PREVIEW: &str = "vista_previa";
const NOTICES: &str = "avisos";
/// Numbers that are amounts of money.
const AMOUNTS: [&str; 6] = ["precio", "subtotal", "impuestos", "total", "monto", "limite_credito"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approve {
    id: OperationId,
    /// The plan that the page showed.
    plan: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refuse {
    id: OperationId,
    #[serde(default)]
    reason: String,
}

#[derive(Serialize)]
struct View {
    client: Head,
    action: String,
    /// Whether who looks decides in the company's name.
    decides: bool,
    waiting: Vec<Waiting>,
    decided: Vec<Decided>,
    faults: Faults,
}

#[derive(Serialize)]
struct Waiting {
    id: String,
    tool: String,
    title: String,
    plan: String,
    agent: String,
    token: String,
    asked_at: String,
    until: String,
    facts: Vec<Fact>,
    tables: Vec<Table>,
    notices: Vec<String>,
}

#[derive(Serialize)]
struct Fact {
    label: String,
    value: String,
}

#[derive(Serialize)]
struct Table {
    label: String,
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

#[derive(Serialize)]
struct Column {
    text: String,
    num: bool,
}

#[derive(Serialize)]
struct Decided {
    tool: String,
    state: &'static str,
    reference: String,
    by: String,
    at: String,
    reason: String,
}

pub(super) async fn show(cx: Cx, access: TenantAccess) -> Answer {
    page(&cx, &access, StatusCode::OK, Faults::default()).await
}

pub(super) async fn approve(cx: Cx, access: TenantAccess, Form(form): Form<Approve>) -> Answer {
    let state = cx.state();
    let came = state.dispatcher.approve(&state.approvals, &state.tokens, &access, form.id, &form.plan).await;
    let warn = |key: &str| Flash::new(FlashKind::Warn, key);
    let flash = match came.or_else(decided)? {
        Approval::Done => Flash::ok("approval_done"),
        Approval::Nothing => Flash::ok("approval_nothing"),
        Approval::Changed => warn("approval_changed"),
        Approval::Taken => Flash::new(FlashKind::Info, "approval_taken"),
        Approval::NotAllowed => warn("approval_not_allowed"),
        Approval::Unknown(reference) => Flash::new(FlashKind::Bad, "approval_unknown").fact("reference", &reference),
        Approval::Failed(error) => {
            if let Some(cause) = &error.cause {
                tracing::warn!(error.code = error.code.as_str(), %cause, "an approved write was not carried out");
            }
            Flash::new(FlashKind::Bad, "approval_failed").fact("why", &error.said(cx.language()).0)
        }
    };
    cx.redirect_saying(&path(&access), &flash)
}

pub(super) async fn refuse(cx: Cx, access: TenantAccess, Form(form): Form<Refuse>) -> Answer {
    match cx.state().approvals.refuse(&access, form.id, &form.reason).await {
        Ok(()) => cx.redirect_saying(&path(&access), &Flash::ok("approval_refused")),
        Err(ApprovalError::Reason) => page(&cx, &access, StatusCode::UNPROCESSABLE_ENTITY, Faults::one(&cx, "form", "approval_reason")).await,
        Err(error) => {
            decided(error)?;
            cx.redirect_saying(&path(&access), &Flash::new(FlashKind::Info, "approval_taken"))
        }
    }
}

/// Somebody else decided meanwhile: no failure.
fn decided(error: ApprovalError) -> Result<Approval, PageError> {
    match error {
        ApprovalError::Decided => Ok(Approval::Taken),
        ApprovalError::Unknown => Err(PageError::NotFound),
        ApprovalError::NotOwner => Err(PageError::Forbidden),
        ApprovalError::Tenant(error) => Err(error.into()),
        other => Err(PageError::internal(other)),
    }
}

fn path(access: &TenantAccess) -> String {
    format!("{}/approvals", tenant_path(access.tenant()))
}

async fn page(cx: &Cx, access: &TenantAccess, status: StatusCode, faults: Faults) -> Answer {
    let tenant = cx.state().tenants.tenant_find(access.tenant()).await?;
    let (waiting, done) = match cx.state().approvals.list(tenant.id).await {
        Ok(lists) => lists,
        Err(error) => return Err(decided(error).err().unwrap_or(PageError::NotFound)),
    };
    let view = View {
        client: Head::of(cx, &tenant),
        action: path(access),
        decides: access.decides(),
        waiting: waiting.into_iter().map(|view| waits(cx, view)).collect(),
        decided: done.into_iter().map(over).collect(),
        faults,
    };
    cx.page_with(status, "pages/approvals.html", view)
}

fn over(view: DecidedView) -> Decided {
    Decided { tool: view.tool, state: view.state, reference: view.reference, by: view.by.unwrap_or_default(), at: view.at.to_rfc3339(), reason: view.reason.unwrap_or_default() }
}

fn waits(cx: &Cx, view: PendingView) -> Waiting {
    let (mut facts, mut tables) = (Vec::new(), Vec::new());
    if let Some(Value::Object(shown)) = view.preview.get(PREVIEW) {
        written(cx, shown, &mut facts, &mut tables);
    }
    let notices = view.preview.get(NOTICES).and_then(Value::as_array).map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    let title = crate::tools::find(&view.tool).map_or_else(String::new, |tool| tool.facts().title.to_owned());
    Waiting {
        id: view.id.to_string(),
        tool: view.tool,
        title,
        plan: view.plan,
        agent: view.agent.unwrap_or_default(),
        token: view.token.unwrap_or_default(),
        asked_at: view.asked_at.to_rfc3339(),
        until: view.until.to_rfc3339(),
        facts,
        tables,
        notices: notices.unwrap_or_default(),
    }
}

/// A preview in words: what is one value is a fact, what is a list of things is a table. Ids say nothing to people.
fn written(cx: &Cx, shown: &Map<String, Value>, facts: &mut Vec<Fact>, tables: &mut Vec<Table>) {
    for (name, value) in shown.iter().filter(|(name, _)| !is_id(name)) {
        match value {
            Value::Object(inner) => written(cx, inner, facts, tables),
            // What is not so goes without saying.
            Value::Bool(false) => {}
            Value::Array(items) if items.iter().any(Value::is_object) => tables.push(table(cx, name, items)),
            value => facts.push(Fact { label: label(cx, name), value: said(cx, name, value) }),
        }
    }
}

fn table(cx: &Cx, name: &str, items: &[Value]) -> Table {
    let mut names: Vec<&String> = Vec::new();
    for key in items.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if !is_id(key) && !names.contains(&key) {
            names.push(key);
        }
    }
    let cell = |item: &Value, name: &str| item.get(name).map(|value| said(cx, name, value)).unwrap_or_default();
    let rows = items.iter().map(|item| names.iter().map(|name| cell(item, name)).collect()).collect();
    let column = |name: &String| Column { text: label(cx, name), num: items.iter().all(|item| item.get(name).is_none_or(Value::is_number)) };
    Table { label: label(cx, name), columns: names.iter().map(|name| column(name)).collect(), rows }
}

fn is_id(name: &str) -> bool {
    name == "id" || name.ends_with("_id")
}

/// The word for a field; one that has none is shown as the tool calls it.
fn label(cx: &Cx, name: &str) -> String {
    let key = format!("portal.approvals.fields.{name}");
    let text = cx.t(&key);
    if text != key {
        return text;
    }
    let plain = name.replace('_', " ");
    let mut letters = plain.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn said(cx: &Cx, name: &str, value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(yes) => cx.t(if *yes { "portal.audit.yes" } else { "portal.audit.no" }),
        Value::String(text) if name == "rnc" => rnc_formatted(text),
        Value::String(text) => text.parse().map_or_else(|_| text.clone(), |day| written_day(cx.language(), day)),
        Value::Number(amount) if AMOUNTS.contains(&name) => amount.as_f64().map(cents).unwrap_or_default(),
        Value::Number(count) => match (count.as_i64(), count.as_f64()) {
            (Some(whole), _) => number(whole),
            (None, Some(part)) => part.to_string(),
            _ => count.to_string(),
        },
        Value::Array(items) => items.iter().map(|item| said(cx, name, item)).collect::<Vec<_>>().join(", "),
        Value::Object(inner) => inner.values().map(|item| said(cx, name, item)).collect::<Vec<_>>().join(", "),
    }
}

/// An amount as money is written.
#[expect(clippy::cast_possible_truncation, reason = "amounts of money are far from what a whole number of cents cannot hold")]
fn cents(amount: f64) -> String {
    money((amount * 100.0).round() as i64)
}
