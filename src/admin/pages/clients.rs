//! The operator's list of clients: filters, search, order, page by page.

use axum::extract::Query;
use serde::{Deserialize, Serialize};
use url::form_urlencoded::Serializer;

use crate::admin::Cx;
use crate::admin::cx::{Answer, tenant_path};
use crate::admin::error::PageError;
use crate::domain::plans::plan_list;
use crate::domain::reports::{ClientFilter, ClientRow, ClientSort, OdooState};
use crate::domain::tenants::rnc_formatted;
use crate::domain::users::Operator;

/// Where it stands.
pub(super) const PATH: &str = "/admin/clients";
/// The longest search, characters.
const SEARCH_CHARS_MAX: usize = 100;

/// What the address says. What it says wrongly is as if it said nothing.
#[derive(Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Asked {
    q: String,
    plan: String,
    /// `active` or `suspended`.
    status: String,
    /// `missing`, `connected` or `paused`.
    odoo: String,
    /// `1`: those somebody should look at.
    attention: String,
    /// `newest` or `calls`; by name otherwise.
    sort: String,
    /// Where the page begins.
    #[serde(skip_serializing)]
    after: String,
}

impl Default for Asked {
    fn default() -> Self {
        let empty = String::new;
        Self { q: empty(), plan: empty(), status: empty(), odoo: empty(), attention: empty(), sort: empty(), after: empty() }
    }
}

#[derive(Serialize)]
struct View<'a> {
    asked: &'a Asked,
    plans: Vec<Choice>,
    clients: Vec<Client>,
    /// Where the list goes on; empty at its end.
    next: String,
    /// Where it begins; empty on the first page.
    first: String,
    filtered: bool,
    by_name: String,
    by_calls: String,
}

#[derive(Serialize)]
struct Choice {
    value: String,
    text: String,
}

#[derive(Serialize)]
struct Client {
    href: String,
    name: String,
    rnc: String,
    plan: String,
    active: bool,
    odoo: OdooState,
    counted: i64,
    quota: Option<i64>,
    percent: i64,
    /// Per cent, with one decimal; empty without calls.
    error_rate: String,
    errors_many: bool,
    last_call_at: String,
}

impl Asked {
    fn filter(&self, paused: Vec<crate::ids::TenantId>) -> ClientFilter {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        ClientFilter {
            search: given(&self.q),
            plan: given(&self.plan),
            active: match self.status.as_str() {
                "active" => Some(true),
                "suspended" => Some(false),
                _ => None,
            },
            odoo: match self.odoo.as_str() {
                "missing" => Some(OdooState::Missing),
                "connected" => Some(OdooState::Connected),
                "paused" => Some(OdooState::Paused),
                _ => None,
            },
            attention: self.attention == "1",
            paused,
        }
    }

    fn sort(&self) -> ClientSort {
        match self.sort.as_str() {
            "newest" => ClientSort::Newest,
            "calls" => ClientSort::Calls,
            _ => ClientSort::Name,
        }
    }

    fn is_filtered(&self) -> bool {
        [&self.q, &self.plan, &self.status, &self.odoo, &self.attention].into_iter().any(|text| !text.is_empty())
    }

    /// The address of the same question with another order or a later page.
    fn address(&self, sort: &str, after: &str) -> String {
        let mut query = Serializer::new(String::new());
        let pairs = [("q", &*self.q), ("plan", &self.plan), ("status", &self.status), ("odoo", &self.odoo), ("attention", &self.attention), ("sort", sort), ("after", after)];
        query.extend_pairs(pairs.into_iter().filter(|(_, value)| !value.is_empty()));
        format!("?{}", query.finish())
    }
}

pub(super) async fn list(cx: Cx, _: Operator, Query(mut asked): Query<Asked>) -> Answer {
    let state = cx.state();
    asked.q = asked.q.trim().chars().take(SEARCH_CHARS_MAX).collect();
    let after = Some(asked.after.as_str()).filter(|after| !after.is_empty());
    let page = state.reports.client_rows(&asked.filter(state.connections.paused_tenants()), asked.sort(), after).await.map_err(PageError::internal)?;
    let plans = plan_list(&state.db).await.map_err(PageError::internal)?;
    let view = View {
        plans: plans.into_iter().map(|plan| Choice { value: plan.code, text: plan.name }).collect(),
        clients: page.rows.into_iter().map(client).collect(),
        next: page.next.map(|next| asked.address(&asked.sort, &next)).unwrap_or_default(),
        first: if after.is_some() { asked.address(&asked.sort, "") } else { String::new() },
        filtered: asked.is_filtered(),
        by_name: asked.address("", ""),
        by_calls: asked.address("calls", ""),
        asked: &asked,
    };
    cx.page("pages/clients.html", view)
}

/// Errors of a week from which on they are marked, per cent.
const ERRORS_MANY_PERCENT: f64 = 10.0;

fn client(row: ClientRow) -> Client {
    Client {
        href: tenant_path(row.id),
        rnc: row.rnc.as_deref().map(rnc_formatted).unwrap_or_default(),
        plan: row.plan,
        active: row.active,
        odoo: row.odoo,
        counted: row.counted,
        quota: row.quota,
        percent: row.quota_percent.unwrap_or_default(),
        error_rate: row.error_rate.map(|rate| format!("{rate:.1}")).unwrap_or_default(),
        errors_many: row.error_rate.is_some_and(|rate| rate >= ERRORS_MANY_PERCENT),
        last_call_at: row.last_call_at.map(|at| at.to_rfc3339()).unwrap_or_default(),
        name: row.name,
    }
}
