//! When tokens and grants were last used: in memory at the call, written now and then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::{Kind, Tokens};
use crate::db::entities::{api_tokens, oauth_grants};

/// When what was last used.
type Times = HashMap<(Kind, Uuid), DateTime<Utc>>;

/// What is not written yet. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses(Arc<Mutex<Times>>);

impl Uses {
    /// It was used now.
    pub(super) fn note(&self, kind: Kind, id: Uuid, now: DateTime<Utc>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((kind, id), now);
    }

    /// When that was last used, as far as it is not written.
    pub(super) fn at(&self, kind: Kind, id: Uuid) -> Option<DateTime<Utc>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(kind, id)).copied()
    }

    fn take(&self) -> Times {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put_back(&self, used: Times) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (what, at) in used {
            kept.entry(what).or_insert(at);
        }
    }
}

impl Tokens {
    /// Writes when tokens and grants were last used. Called now and then by the service, and at its end.
    ///
    /// # Errors
    /// The database; what was not written is tried again next time.
    pub async fn last_used_flush(&self) -> Result<(), DbErr> {
        let used = self.used.take();
        for ((kind, id), at) in &used {
            let written = match kind {
                Kind::Api => {
                    let update = api_tokens::Entity::update_many().col_expr(api_tokens::Column::LastUsedAt, Expr::value(*at));
                    update.filter(api_tokens::Column::Id.eq(*id)).exec(&self.db).await
                }
                Kind::Access => {
                    let update = oauth_grants::Entity::update_many().col_expr(oauth_grants::Column::LastUsedAt, Expr::value(*at));
                    update.filter(oauth_grants::Column::Id.eq(*id)).exec(&self.db).await
                }
            };
            if let Err(error) = written {
                self.used.put_back(used);
                return Err(error);
            }
        }
        Ok(())
    }

    /// When a grant was last used, as far as it is not written yet.
    pub(in crate::domain) fn used_at(&self, grant: Uuid) -> Option<DateTime<Utc>> {
        self.used.at(Kind::Access, grant)
    }
}
