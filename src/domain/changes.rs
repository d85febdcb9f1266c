//! Changes made by other processes (the commands, later other nodes): the audit is followed, and what is remembered of a changed
//! tenant is forgotten. The audit row is written in the transaction of the change, so that none is missed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::connections::Connections;
use super::settings::{self, SettingsStore};
use super::tokens::Tokens;
use crate::clock::Clock;
use crate::db::entities::{clients, logs};
use crate::ids::TenantId;

/// How far back is looked every time: transactions commit in another order than they begin.
const OVERLAP_S: i64 = 30;
/// Changes looked at in one go.
const CHANGES_PER_LOOK_MAX: u64 = 10_000;

/// Id, tenant, time, action, subject.
type Row = (Uuid, Option<Uuid>, DateTime<Utc>, String, String);

/// Follows the audit. Cheap to clone.
#[derive(Clone)]
pub struct ChangeWatch {
    db: DatabaseConnection,
    clock: Clock,
    tokens: Tokens,
    connections: Connections,
    settings: SettingsStore,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    since: DateTime<Utc>,
    ids: HashMap<Uuid, DateTime<Utc>>,
}

impl ChangeWatch {
    /// From now on.
    #[must_use]
    pub fn new(db: DatabaseConnection, clock: Clock, tokens: Tokens, connections: Connections, settings: SettingsStore) -> Self {
        let since = clock.now() - Duration::seconds(OVERLAP_S);
        Self { db, clock, tokens, connections, settings, seen: Arc::new(Mutex::new(Seen { since, ids: HashMap::new() })) }
    }

    /// Looks once; answers how many tenants were forgotten.
    ///
    /// # Errors
    /// The database; nothing is missed, the next look covers it.
    pub async fn look(&self) -> Result<usize, DbErr> {
        let since = self.seen.lock().unwrap_or_else(PoisonError::into_inner).since;
        let rows: Vec<Row> = logs::Entity::find()
            .select_only()
            .columns([logs::Column::Id, logs::Column::ClientId, logs::Column::CreatedAt, logs::Column::Action, logs::Column::Subject])
            .filter(logs::Column::CreatedAt.gte(since))
            .order_by_asc(logs::Column::CreatedAt)
            .limit(CHANGES_PER_LOOK_MAX)
            .into_tuple()
            .all(&self.db)
            .await?;
        // Learnt before anything counts as seen: a look that fails is made again.
        let (plans, edited) = self.fresh_of_the_service(&rows);
        if edited {
            self.settings.load().await?;
        }
        let of_plans = self.tenants_of(plans).await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh: HashSet<Uuid> = rows.iter().filter(|row| !seen.ids.contains_key(&row.0)).filter_map(|row| row.1).collect();
        fresh.extend(of_plans);
        // Never past what was read, when the limit cut the list; never closer to now than the overlap.
        let last = rows.last().map_or(since, |row| row.2);
        let full = rows.len() as u64 == CHANGES_PER_LOOK_MAX;
        let horizon = self.clock.now() - Duration::seconds(OVERLAP_S);
        seen.since = if full { last.min(horizon) } else { horizon.max(since) };
        let floor = seen.since;
        // Added to, not replaced: another look may have read more, and ended first.
        seen.ids.extend(rows.into_iter().map(|row| (row.0, row.2)));
        seen.ids.retain(|_, at| *at >= floor);
        drop(seen);
        for tenant in &fresh {
            let tenant = TenantId::from(*tenant);
            self.tokens.forget(tenant);
            self.connections.forget(tenant);
        }
        Ok(fresh.len())
    }

    /// Which plans were edited, and whether the settings were.
    fn fresh_of_the_service(&self, rows: &[Row]) -> (HashSet<String>, bool) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || rows.iter().filter(|row| row.1.is_none() && !seen.ids.contains_key(&row.0));
        let plans = fresh().filter(|row| row.3 == "plan.edit").map(|row| row.4.clone()).collect();
        (plans, fresh().any(|row| row.3 == settings::ACTION))
    }

    async fn tenants_of(&self, plans: HashSet<String>) -> Result<Vec<Uuid>, DbErr> {
        if plans.is_empty() {
            return Ok(Vec::new());
        }
        clients::Entity::find().select_only().column(clients::Column::Id).filter(clients::Column::PlanCode.is_in(plans)).into_tuple().all(&self.db).await
    }
}
