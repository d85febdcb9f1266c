//! Tokens as lists show them.

use std::collections::HashSet;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::{Kind, TokenError, TokenView, Tokens, packs_read};
use crate::db::entities::api_tokens;
use crate::ids::{TenantId, TokenId};

/// A page of a tenant's tokens.
pub struct TokenPage {
    /// Newest first.
    pub tokens: Vec<TokenView>,
    /// Where the list goes on; none at its end.
    pub next: Option<TokenId>,
}

impl Tokens {
    /// The tokens of a tenant, newest first.
    ///
    /// # Errors
    /// The database.
    pub async fn token_list(&self, tenant: TenantId) -> Result<Vec<TokenView>, TokenError> {
        self.shown(tenant, of(tenant).all(&self.db).await?).await
    }

    /// `count` of the tokens of a tenant, newest first, from `after` on.
    ///
    /// # Errors
    /// The database.
    pub async fn token_page(&self, tenant: TenantId, after: Option<TokenId>, count: u64) -> Result<TokenPage, TokenError> {
        let mut select = of(tenant).limit(count + 1);
        if let Some(after) = after {
            select = select.filter(api_tokens::Column::Id.lt(after.uuid()));
        }
        let mut rows = select.all(&self.db).await?;
        let more = rows.len() as u64 > count;
        if more {
            rows.pop();
        }
        let next = rows.last().filter(|_| more).map(|row| row.id.into());
        Ok(TokenPage { tokens: self.shown(tenant, rows).await?, next })
    }

    /// One token of a tenant.
    ///
    /// # Errors
    /// Another tenant's or no token, or the database.
    pub async fn token_find(&self, tenant: TenantId, token: TokenId) -> Result<TokenView, TokenError> {
        let row = super::find(&self.db, tenant, token).await?;
        self.shown(tenant, vec![row]).await?.pop().ok_or_else(|| TokenError::Unknown(token.to_string()))
    }

    async fn shown(&self, tenant: TenantId, rows: Vec<api_tokens::Model>) -> Result<Vec<TokenView>, TokenError> {
        let replaced: HashSet<uuid::Uuid> = api_tokens::Entity::find()
            .select_only()
            .column(api_tokens::Column::RotatedFrom)
            .filter(api_tokens::Column::ClientId.eq(tenant.uuid()))
            .filter(api_tokens::Column::RotatedFrom.is_in(rows.iter().map(|row| row.id)))
            .into_tuple()
            .all(&self.db)
            .await?
            .into_iter()
            .collect();
        // What is not written yet counts too.
        let view = |row: api_tokens::Model| TokenView {
            replaced: replaced.contains(&row.id),
            last_used_at: row.last_used_at.max(self.used.at(Kind::Api, row.id)),
            id: row.id.into(),
            name: row.name,
            hint: format!("{}…{}", row.prefix, row.last_four),
            packs: packs_read(row.packs.as_ref()),
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        };
        Ok(rows.into_iter().map(view).collect())
    }
}

fn of(tenant: TenantId) -> Select<api_tokens::Entity> {
    api_tokens::Entity::find().filter(api_tokens::Column::ClientId.eq(tenant.uuid())).order_by_desc(api_tokens::Column::Id)
}
