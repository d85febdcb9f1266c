//! Tenants as lists show them: by name, page by page, without their tools and secrets.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Func, LikeExpr};
use sea_orm::{ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{TenantError, Tenants};
use crate::db::entities::{clients, plans};
use crate::ids::TenantId;

/// Which page of which tenants.
pub struct TenantQuery<'a> {
    /// Part of the name, or the beginning of the RNC; empty is all.
    pub search: &'a str,
    /// The last one of the page before.
    pub after: Option<TenantId>,
    /// How many at most.
    pub count: u64,
}

/// A page of tenants.
pub struct TenantPage {
    /// By name.
    pub tenants: Vec<TenantRow>,
    /// The last of them, when there are more.
    pub next: Option<TenantId>,
}

/// A tenant in a list.
pub struct TenantRow {
    /// Its id.
    pub id: TenantId,
    /// The company's name.
    pub name: String,
    /// Its RNC.
    pub rnc: Option<String>,
    /// May be served.
    pub active: bool,
    /// Its plan, for people.
    pub plan_name: String,
    /// Whether its Odoo is connected.
    pub has_odoo: bool,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// How many tenants there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantCounts {
    /// All.
    pub all: u64,
    /// That may be served.
    pub active: u64,
}

impl Tenants {
    /// A page of tenants, by name.
    ///
    /// # Errors
    /// The database.
    pub async fn tenant_page(&self, query: &TenantQuery<'_>) -> Result<TenantPage, TenantError> {
        let mut select = clients::Entity::find().order_by_asc(clients::Column::Name).order_by_asc(clients::Column::Id).limit(query.count + 1);
        if !query.search.is_empty() {
            select = select.filter(found(query.search));
        }
        if let Some(after) = query.after {
            let last = clients::Entity::find_by_id(after.uuid()).one(&self.db).await?;
            // One that is gone meanwhile: from the beginning.
            if let Some(last) = last {
                let beyond = Condition::all().add(clients::Column::Name.eq(last.name.clone())).add(clients::Column::Id.gt(last.id));
                select = select.filter(Condition::any().add(clients::Column::Name.gt(last.name)).add(beyond));
            }
        }
        let mut rows = select.all(&self.db).await?;
        let more = rows.len() as u64 > query.count;
        rows.truncate(usize::try_from(query.count).unwrap_or(usize::MAX));
        let next = if more { rows.last().map(|row| row.id.into()) } else { None };
        let names: Vec<(String, String)> = plans::Entity::find().select_only().columns([plans::Column::Code, plans::Column::Name]).into_tuple().all(&self.db).await?;
        let tenants = rows.into_iter().map(|row| TenantRow {
            id: row.id.into(),
            plan_name: names.iter().find(|(code, _)| *code == row.plan_code).map_or(row.plan_code, |(_, name)| name.clone()),
            name: row.name,
            rnc: row.rnc,
            active: row.status == "active",
            has_odoo: row.odoo_secret_sealed.is_some(),
            created_at: row.created_at,
        });
        Ok(TenantPage { tenants: tenants.collect(), next })
    }

    /// How many there are.
    ///
    /// # Errors
    /// The database.
    pub async fn tenant_counts(&self) -> Result<TenantCounts, TenantError> {
        let all = clients::Entity::find().count(&self.db).await?;
        let active = clients::Entity::find().filter(clients::Column::Status.eq("active")).count(&self.db).await?;
        Ok(TenantCounts { all, active })
    }
}

fn found(search: &str) -> Condition {
    // What people type is text, not a pattern.
    let escaped: String = search.to_lowercase().chars().flat_map(|c| matches!(c, '%' | '_' | '\\').then_some('\\').into_iter().chain([c])).collect();
    let by_name = Expr::expr(Func::lower(Expr::col(clients::Column::Name))).like(LikeExpr::new(format!("%{escaped}%")).escape('\\'));
    let digits: String = search.chars().filter(char::is_ascii_digit).collect();
    let numeric = !digits.is_empty() && search.chars().all(|c| c.is_ascii_digit() || c == '-' || c == ' ');
    let found = Condition::any().add(by_name);
    if numeric { found.add(clients::Column::Rnc.starts_with(digits)) } else { found }
}
