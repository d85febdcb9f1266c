//! Changes made by other processes (the commands, later other nodes): the audit is followed, and what is remembered of a changed
//! tenant is forgotten. The audit row is written in the transaction of the change, so that none is missed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::connections::Connections;
use super::tokens::Tokens;
use crate::clock::Clock;
use crate::db::entities::logs;
use crate::ids::TenantId;

/// How far back is looked every time: transactions commit in another order than they begin.
const OVERLAP_S: i64 = 30;
/// Changes looked at in one go.
const CHANGES_PER_LOOK_MAX: u64 = 10_000;

/// Follows the audit. Cheap to clone.
#[derive(Clone)]
pub struct ChangeWatch {
    db: DatabaseConnection,
    clock: Clock,
    tokens: Tokens,
    connections: Connections,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    since: DateTime<Utc>,
    ids: HashMap<Uuid, DateTime<Utc>>,
}

impl ChangeWatch {
    /// From now on.
    #[must_use]
    pub fn new(db: DatabaseConnection, clock: Clock, tokens: Tokens, connections: Connections) -> Self {
        let since = clock.now() - Duration::seconds(OVERLAP_S);
        Self { db, clock, tokens, connections, seen: Arc::new(Mutex::new(Seen { since, ids: HashMap::new() })) }
    }

    /// Looks once; answers how many tenants were forgotten.
    ///
    /// # Errors
    /// The database; nothing is missed, the next look covers it.
    pub async fn look(&self) -> Result<usize, DbErr> {
        let since = self.seen.lock().unwrap_or_else(PoisonError::into_inner).since;
        let rows: Vec<(Uuid, Option<Uuid>, DateTime<Utc>)> = logs::Entity::find()
            .select_only()
            .columns([logs::Column::Id, logs::Column::ClientId, logs::Column::CreatedAt])
            .filter(logs::Column::CreatedAt.gte(since))
            .order_by_asc(logs::Column::CreatedAt)
            .limit(CHANGES_PER_LOOK_MAX)
            .into_tuple()
            .all(&self.db)
            .await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh: HashSet<Uuid> = rows.iter().filter(|(id, _, _)| !seen.ids.contains_key(id)).filter_map(|(_, tenant, _)| *tenant).collect();
        // Never past what was read, when the limit cut the list; never closer to now than the overlap.
        let last = rows.last().map_or(since, |(_, _, at)| *at);
        let full = rows.len() as u64 == CHANGES_PER_LOOK_MAX;
        let horizon = self.clock.now() - Duration::seconds(OVERLAP_S);
        seen.since = if full { last.min(horizon) } else { horizon.max(since) };
        let floor = seen.since;
        // Added to, not replaced: another look may have read more, and ended first.
        seen.ids.extend(rows.into_iter().map(|(id, _, at)| (id, at)));
        seen.ids.retain(|_, at| *at >= floor);
        drop(seen);
        for tenant in &fresh {
            let tenant = TenantId::from(*tenant);
            self.tokens.forget(tenant);
            self.connections.forget(tenant);
        }
        Ok(fresh.len())
    }
}
