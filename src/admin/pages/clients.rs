//! The operator's list of clients.

use axum::extract::Query;
use serde::{Deserialize, Serialize};

use crate::admin::Cx;
use crate::admin::cx::{Answer, tenant_path};
use crate::domain::tenants::TenantQuery;
use crate::domain::users::Operator;
use crate::ids::TenantId;

/// Clients on a page.
const PER_PAGE: u64 = 50;
/// The longest search, characters.
const SEARCH_CHARS_MAX: usize = 100;

#[derive(Deserialize)]
pub(super) struct Filter {
    #[serde(default)]
    q: String,
    /// The last client of the page before.
    after: Option<TenantId>,
}

#[derive(Serialize)]
struct View<'a> {
    q: &'a str,
    clients: Vec<Client>,
    /// Where the list goes on; empty at its end.
    next: String,
    first: bool,
}

#[derive(Serialize)]
struct Client {
    href: String,
    name: String,
    rnc: Option<String>,
    plan: String,
    active: bool,
    odoo: bool,
    created_at: String,
}

pub(super) async fn list(cx: Cx, _: Operator, Query(filter): Query<Filter>) -> Answer {
    let q: String = filter.q.trim().chars().take(SEARCH_CHARS_MAX).collect();
    let page = cx.state().tenants.tenant_page(&TenantQuery { search: &q, after: filter.after, count: PER_PAGE }).await?;
    let next = page.next.map(|after| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("q", &q).append_pair("after", &after.to_string());
        format!("?{}", query.finish())
    });
    let clients = page.tenants.into_iter().map(|tenant| Client {
        href: tenant_path(tenant.id),
        name: tenant.name,
        rnc: tenant.rnc,
        plan: tenant.plan_name,
        active: tenant.active,
        odoo: tenant.has_odoo,
        created_at: tenant.created_at.to_rfc3339(),
    });
    cx.page("pages/clients.html", View { q: &q, clients: clients.collect(), next: next.unwrap_or_default(), first: filter.after.is_none() })
}
