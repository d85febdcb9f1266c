//! The audit: who changed what, before and after, and whether its chains are whole. All of it for operators, a client's own on its page.

use axum::extract::Query;
use chrono::{DateTime, NaiveDate};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::actor_name;
use super::billing::{month_text, rate_written};
use super::client::Head;
use crate::admin::Cx;
use crate::admin::cx::{Answer, Flash, FlashKind, tenant_path};
use crate::admin::error::PageError;
use crate::admin::figures::written_day;
use crate::admin::forms::Form;
use crate::admin::render::{moment, money};
use crate::clock::day_start;
use crate::domain::audit::{self, Broken, Verified};
use crate::domain::reports::{AuditFilter, AuditRow, AuditScope, ClientFilter, ClientSort};
use crate::domain::tenants::rnc_formatted;
use crate::domain::users::{Operator, TenantAccess};
use crate::ids::TenantId;

const PATH: &str = "/admin/audit";
/// Changes on a page.
const PER_PAGE: u64 = 50;
/// The longest text of a filter, characters.
const FILTER_CHARS_MAX: usize = 100;
/// Clients named when a search fits several.
const CLIENTS_MAX: usize = 8;
/// A value in a diff is cut here, characters.
const VALUE_CHARS_MAX: usize = 300;
/// Fields whose values are words of ours: `portal.audit.values.<word>`.
const KNOWN: [&str; 8] = ["role", "status", "write_policy", "language", "purpose", "sign_up", "odoo_secret", "state"];
/// What is changed, as the beginning of the actions' names. The second list is what a client's chain has.
const AREAS: [&str; 16] =
    ["tenant", "token", "oauth", "odoo", "alerts", "tool", "approval", "member", "link", "user", "plan", "statement", "settings", "padron", "vault", "operator_key"];
const AREAS_OF_CLIENT: [&str; 10] = ["tenant", "token", "oauth", "odoo", "alerts", "tool", "approval", "member", "link", "statement"];

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
pub(super) struct Filter {
    area: String,
    actor: String,
    from: String,
    to: String,
    /// `service`, or empty for all.
    scope: String,
    /// Part of a client's name, or its RNC.
    client: String,
    #[serde(skip_serializing)]
    after: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Verify {}

#[derive(Serialize)]
struct View<'a> {
    filter: &'a Filter,
    filtered: bool,
    areas: Vec<Choice>,
    /// Clients that the search fits, when it is not one.
    candidates: Vec<Candidate>,
    no_candidate: bool,
    changes: Vec<Change>,
    next: String,
    first: String,
    action: String,
    verify: String,
    /// Of a client's own page.
    client: Option<Head>,
}

#[derive(Serialize)]
struct Choice {
    value: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Candidate {
    href: String,
    name: String,
}

#[derive(Serialize)]
struct Change {
    id: String,
    at: String,
    actor: String,
    what: String,
    /// Which thing, when it has a name.
    subject: String,
    client: Option<String>,
    client_href: String,
    diff: Vec<DiffRow>,
    /// Whether there was anything before, and is after.
    old: bool,
    new: bool,
}

#[derive(Serialize, Debug, PartialEq)]
struct DiffRow {
    field: String,
    old: Option<String>,
    new: Option<String>,
}

/// Everybody's.
pub(super) async fn all(cx: Cx, _: Operator, Query(filter): Query<Filter>) -> Answer {
    let filter = filter.cut();
    let (mut scope, mut candidates, mut no_candidate) = (AuditScope::All, Vec::new(), false);
    if filter.scope == "service" {
        scope = AuditScope::Service;
    } else if !filter.client.is_empty() {
        let wanted = ClientFilter { search: Some(filter.client.clone()), ..ClientFilter::default() };
        let found = cx.state().reports.client_rows(&wanted, ClientSort::Name, None).await.map_err(PageError::internal)?.rows;
        match found.as_slice() {
            [only] => scope = AuditScope::Tenant(only.id),
            several => {
                candidates = several.iter().take(CLIENTS_MAX).map(|client| Candidate { href: format!("{}/audit", tenant_path(client.id)), name: client.name.clone() }).collect();
                no_candidate = candidates.is_empty();
            }
        }
    }
    let view = View { candidates, no_candidate, verify: format!("{PATH}/verify"), action: PATH.to_owned(), ..page(&cx, &filter, scope, &AREAS).await? };
    cx.page("pages/audit.html", view)
}

/// A client's.
pub(super) async fn of_client(cx: Cx, access: TenantAccess, Query(filter): Query<Filter>) -> Answer {
    let tenant = cx.state().tenants.tenant_find(access.tenant()).await?;
    let filter = Filter { scope: String::new(), client: String::new(), ..filter.cut() };
    let action = format!("{}/audit", tenant_path(access.tenant()));
    let view = View {
        verify: format!("{action}/verify"),
        action,
        client: Some(Head::of(&cx, &tenant)),
        ..page(&cx, &filter, AuditScope::Tenant(access.tenant()), &AREAS_OF_CLIENT).await?
    };
    cx.page("pages/audit.html", view)
}

/// Checks every chain.
pub(super) async fn verify_all(cx: Cx, _: Operator, Form(Verify {}): Form<Verify>) -> Answer {
    let (verified, broken) = audit::chains_verify(&cx.state().db).await.map_err(PageError::internal)?;
    let flash = match broken.first() {
        None => whole(verified),
        Some(first) => {
            let name = match first.tenant {
                Some(tenant) => cx.state().tenants.tenant_find(tenant).await.map_or_else(|_| tenant.to_string(), |tenant| tenant.name),
                None => cx.t("portal.audit.service"),
            };
            tracing::error!(chains = broken.len(), row = %first.row, "the audit is not whole: a row was changed, removed or inserted");
            not_whole(first, &name)
        }
    };
    cx.redirect_saying(PATH, &flash)
}

/// Checks a client's chain.
pub(super) async fn verify_one(cx: Cx, access: TenantAccess, Form(Verify {}): Form<Verify>) -> Answer {
    let tenant = cx.state().tenants.tenant_find(access.tenant()).await?;
    let flash = match audit::chain_verify(&cx.state().db, Some(access.tenant())).await.map_err(PageError::internal)? {
        Ok(rows) => whole(Verified { rows, chains: 1 }),
        Err(row) => not_whole(&Broken { tenant: Some(access.tenant()), row }, &tenant.name),
    };
    cx.redirect_saying(&format!("{}/audit", tenant_path(access.tenant())), &flash)
}

fn whole(verified: Verified) -> Flash {
    Flash::ok("audit_whole").fact("rows", &verified.rows.to_string()).fact("chains", &verified.chains.to_string())
}

fn not_whole(broken: &Broken, name: &str) -> Flash {
    Flash::new(FlashKind::Bad, "audit_broken").fact("name", name).fact("row", &broken.row.to_string())
}

async fn page<'a>(cx: &Cx, filter: &'a Filter, scope: AuditScope, areas: &[&'static str]) -> Result<View<'a>, PageError> {
    let area = areas.iter().find(|area| **area == filter.area);
    let day = |text: &str| text.parse::<NaiveDate>().ok();
    let wanted = AuditFilter {
        scope,
        actor: (!filter.actor.is_empty()).then(|| actor_typed(cx, &filter.actor)),
        action: area.map(|area| format!("{area}.")),
        from: day(&filter.from).map(day_start),
        to: day(&filter.to).and_then(|day| day.succ_opt()).map(day_start),
    };
    let found = cx.state().reports.audit_page(&wanted, Some(filter.after.as_str()).filter(|after| !after.is_empty()), PER_PAGE).await.map_err(PageError::internal)?;
    let query = serde_html_form::to_string(filter).map_err(PageError::internal)?;
    Ok(View {
        filter,
        filtered: [&filter.area, &filter.actor, &filter.from, &filter.to, &filter.scope, &filter.client].iter().any(|text| !text.is_empty()),
        areas: areas.iter().map(|area| Choice { value: area, text: cx.t(&format!("portal.audit.areas.{area}")) }).collect(),
        candidates: Vec::new(),
        no_candidate: false,
        changes: found.rows.into_iter().map(|row| change(cx, row)).collect(),
        next: found.next.map(|after| format!("?{query}&after={after}")).unwrap_or_default(),
        first: if filter.after.is_empty() { String::new() } else { format!("?{query}") },
        action: String::new(),
        verify: String::new(),
        client: None,
    })
}

/// What somebody typed for who did it: the words that the page shows mean what is stored.
fn actor_typed(cx: &Cx, typed: &str) -> String {
    let stored = ["shell", "dunet"].into_iter().find(|stored| actor_name(cx, stored).to_lowercase() == typed.to_lowercase());
    stored.map_or_else(|| typed.to_lowercase(), str::to_owned)
}

fn change(cx: &Cx, row: AuditRow) -> Change {
    let what = word(cx, "portal.audit.actions", &row.action.replace('.', "_"), &row.action);
    let diff = diff(row.before.as_ref(), row.after.as_ref(), |field, value| shown(cx, field, value), |field| word(cx, "portal.audit.fields", field, field));
    Change {
        old: diff.iter().any(|row| row.old.is_some()),
        new: diff.iter().any(|row| row.new.is_some()),
        diff,
        id: row.id.to_string(),
        at: row.created_at.to_rfc3339(),
        actor: actor_name(cx, &row.actor),
        what,
        subject: subject(cx, row.subject),
        client_href: row.tenant.map(|tenant: TenantId| format!("{}/audit", tenant_path(tenant))).unwrap_or_default(),
        client: row.client,
    }
}

/// The name of what was changed; empty when it has none.
fn subject(cx: &Cx, stored: String) -> String {
    if stored.parse::<uuid::Uuid>().is_ok() || matches!(stored.as_str(), "settings" | "padron") {
        return String::new();
    }
    // A statement's: its month and part.
    match stored.split_once(' ').map(|(month, part)| (month.parse(), part.parse::<u32>())) {
        Some((Ok(month), Ok(_))) => month_text(cx, month),
        _ => stored,
    }
}

/// The sentence of that key, or the word itself where there is none: what is new in the audit is shown as it is.
fn word(cx: &Cx, under: &str, name: &str, plain: &str) -> String {
    let plain_key = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let key = format!("{under}.{name}");
    let text = if plain_key { cx.t(&key) } else { key.clone() };
    if text == key { plain.to_owned() } else { text }
}

/// The fields that differ; all of them where there was nothing before, or is nothing after.
fn diff(before: Option<&Value>, after: Option<&Value>, show: impl Fn(&str, &Value) -> Option<String>, name: impl Fn(&str) -> String) -> Vec<DiffRow> {
    let fields = |value: Option<&Value>| -> Vec<(String, Value)> {
        match value {
            Some(Value::Object(map)) => map.iter().map(|(field, value)| (field.clone(), value.clone())).collect(),
            Some(Value::Null) | None => Vec::new(),
            Some(other) => vec![("value".to_owned(), other.clone())],
        }
    };
    let (before, after) = (fields(before), fields(after));
    let find = |list: &[(String, Value)], field: &str| list.iter().find(|(name, _)| name == field).map(|(_, value)| value.clone());
    let mut names: Vec<&String> = after.iter().map(|(field, _)| field).collect();
    names.extend(before.iter().map(|(field, _)| field).filter(|field| find(&after, field).is_none()));
    let rows = names.into_iter().filter_map(|field| {
        let (old, new) = (find(&before, field), find(&after, field));
        let same = old == new;
        let (old, new) = (old.and_then(|value| show(field, &value)), new.and_then(|value| show(field, &value)));
        (!same && (old.is_some() || new.is_some())).then(|| DiffRow { field: name(field), old, new })
    });
    rows.collect()
}

/// A value for people; none where there is none.
fn shown(cx: &Cx, field: &str, value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::Bool(yes) => cx.t(if *yes { "portal.audit.yes" } else { "portal.audit.no" }),
        Value::Number(number) if field.ends_with("_usd_cents") => format!("US$ {}", number.as_i64().map(money).unwrap_or_default()),
        Value::Number(number) if field == "usd_rate_e4" => rate_written(Decimal::new(number.as_i64().unwrap_or_default(), 4).normalize()),
        Value::Array(items) => items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect::<Vec<_>>().join(", "),
        Value::String(text) if field == "cutoff" => text.parse().map_or_else(|_| text.clone(), |day| written_day(cx.language(), day)),
        Value::String(text) if field == "rnc" => rnc_formatted(text),
        Value::String(text) if KNOWN.contains(&field) => word(cx, "portal.audit.values", text, text),
        Value::String(text) => DateTime::parse_from_rfc3339(text).map_or_else(|_| text.clone(), |at| moment(cx.language(), at.to_utc())),
        other => other.to_string(),
    };
    if text.is_empty() { None } else { Some(text.chars().take(VALUE_CHARS_MAX).collect()) }
}

impl Filter {
    /// Without what nobody types.
    fn cut(self) -> Self {
        let cut = |text: String| text.trim().chars().take(FILTER_CHARS_MAX).collect();
        Self { area: cut(self.area), actor: cut(self.actor), from: cut(self.from), to: cut(self.to), scope: cut(self.scope), client: cut(self.client), after: cut(self.after) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_diff_shows_what_differs() {
        let of = |before: Option<Value>, after: Option<Value>| {
            let show = |_: &str, value: &Value| (!value.is_null()).then(|| value.to_string());
            diff(before.as_ref(), after.as_ref(), show, str::to_owned).into_iter().map(|row| (row.field, row.old, row.new)).collect::<Vec<_>>()
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(of(Some(json!({ "a": 1, "b": 2, "c": null })), Some(json!({ "a": 1, "b": 3, "c": null }))), [("b".to_owned(), text("2"), text("3"))]);
        assert_eq!(of(None, Some(json!({ "a": 1, "b": null }))), [("a".to_owned(), None, text("1"))]);
        assert_eq!(of(Some(json!({ "a": 1 })), None), [("a".to_owned(), text("1"), None)]);
        assert_eq!(of(Some(json!({ "a": 1 })), Some(json!({ "b": 2 }))), [("b".to_owned(), None, text("2")), ("a".to_owned(), text("1"), None)]);
        assert_eq!(of(Some(json!(1)), Some(json!(2))), [("value".to_owned(), text("1"), text("2"))]);
        assert_eq!(of(None, None), []);
    }
}
