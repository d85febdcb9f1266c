//! The data keys of people: each seals what its owner keeps secret with us (the second factor), and is wrapped by the master key.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::{UserError, Users};
use crate::db::{self, entities::users};
use crate::domain::audit::{self, Actor, Change};
use crate::domain::vault::Sealed;
use crate::ids::UserId;

impl Users {
    /// Wraps every data key with the current master key, while the service runs. Answers how many were re-wrapped.
    ///
    /// # Errors
    /// A data key that neither the current nor the previous master key opens, or the database. What was re-wrapped before stays so.
    pub async fn keys_rotate(&self, actor: &Actor) -> Result<usize, UserError> {
        let mut count = 0;
        for (id, key) in self.data_keys().await? {
            let Some(sealed) = self.vault.data_key_rewrap(UserId::from(id), &Sealed(key.clone()))? else { continue };
            let transaction = db::begin_write(&self.db).await?;
            let done = users::Entity::update_many()
                .col_expr(users::Column::DataKeySealed, Expr::value(sealed.0))
                .filter(users::Column::Id.eq(id))
                .filter(users::Column::DataKeySealed.eq(key))
                .exec(&transaction)
                .await?;
            if done.rows_affected == 1 {
                let change = Change { tenant: None, action: "vault.rewrap", subject: id.to_string(), before: None, after: None };
                audit::record(&transaction, &self.clock, actor, change).await?;
                count += 1;
            }
            transaction.commit().await?;
        }
        Ok(count)
    }

    /// Whether everybody's secrets can be opened with the keys at hand.
    ///
    /// # Errors
    /// The first data key wrapped by a master key we do not have, or the database.
    pub async fn keys_check(&self) -> Result<(), UserError> {
        for (_, key) in self.data_keys().await? {
            self.vault.knows(&Sealed(key))?;
        }
        Ok(())
    }

    async fn data_keys(&self) -> Result<Vec<(uuid::Uuid, String)>, UserError> {
        let keys = users::Entity::find().select_only().columns([users::Column::Id, users::Column::DataKeySealed]).filter(users::Column::DataKeySealed.is_not_null());
        Ok(keys.into_tuple().all(&self.db).await?)
    }
}
