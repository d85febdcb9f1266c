//! Writes that wait for an owner of the company (policy *owner approves*): rows of `operations` in the state `pending`.
//!
//! What was asked for and what the owner is shown are sealed for their row and are gone once it is decided. A row is decided once: each step is an
//! update on the condition that it is still pending with the plan that was seen. Who asks hears the outcome by the same `clave`
//! (`operations.rs`); the execution itself is in `tools`.

use chrono::{DateTime, Duration, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, Select, SqlErr, UpdateMany,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::audit::{self, Actor, Change};
use super::operations::{Earlier, NewOperation, Operations};
use super::tenant::Tenant;
use super::tenants::{TenantError, Tenants};
use super::users::TenantAccess;
use super::vault::{Sealed, Vault, VaultError};
use crate::clock::Clock;
use crate::db::{self, entities::operations};
use crate::ids::{OperationId, TenantId, TokenId};

mod list;

pub(super) use list::word;
pub use list::{DecidedView, PendingView};

/// How long an owner has to decide.
pub const PENDING_HOURS: i64 = 72;
/// Writes of one tenant that may wait at the same time.
pub const PENDING_MAX: u64 = 50;
/// The longest reason of a refusal, characters.
pub const REASON_CHARS_MAX: usize = 300;
/// The longest request that is kept, bytes of its JSON.
const REQUEST_BYTES_MAX: usize = 262_144;

/// The states of a row that somebody has to approve, beside those of every write (`running`, `done`, `unknown`).
pub(super) const PENDING: &str = "pending";
pub(super) const REFUSED: &str = "refused";
pub(super) const EXPIRED: &str = "expired";

/// A write that an agent asks for.
pub struct Request {
    /// The tool's own arguments.
    pub arguments: Value,
    /// What the owner is shown.
    pub preview: Value,
    /// SHA-256 of the plan behind it, hex.
    pub plan: String,
    /// What the agent calls itself.
    pub agent: Option<String>,
}

/// What came of asking.
pub enum Asked {
    /// It waits until then.
    Waits(DateTime<Utc>),
    /// There is an earlier write under that key.
    Earlier(Earlier),
    /// As many wait as may.
    Full,
    /// It is too large to be kept.
    TooLarge,
}

/// A write that waits, opened for whoever decides.
pub struct Pending {
    /// Its row.
    pub id: OperationId,
    /// The tool.
    pub tool: String,
    /// Who asked.
    pub token: TokenId,
    /// With what.
    pub arguments: Value,
    /// SHA-256 of the plan that is shown, hex.
    pub plan: String,
    /// How the record in Odoo will be found.
    pub reference: String,
}

/// How the execution of an approved write ended.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// Done, with this result.
    Done(&'a Value),
    /// Sent, and nobody knows whether it was executed.
    Unknown,
    /// Nothing was written, for the reason of that code: it waits again.
    Failed(&'a str),
}

/// Why something is not approved or refused.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// No such write of this tenant.
    #[error("no such write")]
    Unknown,
    /// It is decided already, or it has expired.
    #[error("it is decided already, or has expired")]
    Decided,
    /// Only an owner of the company decides.
    #[error("only an owner of the company decides")]
    NotOwner,
    /// A reason that is too long.
    #[error("a reason has {REASON_CHARS_MAX} characters at most")]
    Reason,
    /// What was sealed does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The tenant.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// The database.
    #[error("database: {0}")]
    Db(#[from] DbErr),
}

#[derive(Serialize, Deserialize)]
struct Kept {
    arguments: Value,
    preview: Value,
}

/// The operations on writes that wait. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Approvals {
    db: DatabaseConnection,
    clock: Clock,
    vault: Vault,
    tenants: Tenants,
    operations: Operations,
}

impl Approvals {
    /// Over that database and vault.
    #[must_use]
    pub fn new(db: DatabaseConnection, clock: Clock, vault: Vault, tenants: Tenants, operations: Operations) -> Self {
        Self { db, clock, vault, tenants, operations }
    }

    /// The key of a write that waits already for the same call; none when there is none. For agents that give no key.
    ///
    /// # Errors
    /// The database.
    pub async fn key_of_same(&self, tenant: TenantId, tool: &str, arguments_hash: &str) -> Result<Option<String>, DbErr> {
        let same = self.pending(tenant).filter(operations::Column::Tool.eq(tool)).filter(operations::Column::ArgumentsHash.eq(arguments_hash));
        Ok(same.one(&self.db).await?.and_then(|row| row.key))
    }

    /// Asks an owner. `new` has a key.
    ///
    /// # Errors
    /// The vault or the database; nothing waits then.
    pub async fn ask(&self, tenant: &Tenant, new: &NewOperation, request: Request) -> Result<Asked, ApprovalError> {
        let id = OperationId::new();
        let Some(sealed) = self.seal(tenant, id, request.arguments, request.preview)? else { return Ok(Asked::TooLarge) };
        self.operations.expire(new).await?;
        let transaction = db::begin_write(&self.db).await?;
        // Counted one after the other.
        audit::chain_lock(&transaction, Some(tenant.id)).await?;
        if self.pending(tenant.id).count(&transaction).await? >= PENDING_MAX {
            return Ok(Asked::Full);
        }
        let now = self.clock.now();
        let until = now + Duration::hours(PENDING_HOURS);
        let row = operations::Model {
            state: PENDING.to_owned(),
            request_sealed: Some(sealed.0),
            plan_digest: Some(request.plan),
            agent: request.agent,
            expires_at: Some(until),
            ..new.row(id, now)
        };
        match row.into_active_model().insert(&transaction).await {
            Ok(_) => {
                transaction.commit().await?;
                Ok(Asked::Waits(until))
            }
            Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => {
                transaction.rollback().await?;
                Ok(Asked::Earlier(self.operations.earlier(new).await?.unwrap_or(Earlier::Running)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// How many of a tenant wait.
    ///
    /// # Errors
    /// The database.
    pub async fn count(&self, tenant: TenantId) -> Result<u64, DbErr> {
        self.pending(tenant).count(&self.db).await
    }

    /// Opens one that waits, for an owner of the company.
    ///
    /// # Errors
    /// Another tenant's or none, decided or expired, not an owner, the vault or the database.
    pub async fn open(&self, access: &TenantAccess, id: OperationId) -> Result<Pending, ApprovalError> {
        let row = self.row(access, id).await?;
        if row.state != PENDING || row.expires_at.is_none_or(|end| end <= self.clock.now()) {
            return Err(ApprovalError::Decided);
        }
        let tenant = self.tenants.tenant_find(access.tenant()).await?;
        let kept = self.unseal(&tenant, &row)?;
        let token = row.token_id.ok_or(ApprovalError::Decided)?;
        Ok(Pending { id, tool: row.tool, token: token.into(), arguments: kept.arguments, plan: row.plan_digest.unwrap_or_default(), reference: row.reference })
    }

    /// Approves the plan that was seen: whoever gets `true` executes it, and nobody else does.
    ///
    /// # Errors
    /// The database.
    pub async fn approve(&self, access: &TenantAccess, id: OperationId, plan: &str) -> Result<bool, DbErr> {
        let transaction = db::begin_write(&self.db).await?;
        let update = self.decide(access, id, "running").filter(operations::Column::PlanDigest.eq(plan));
        self.decided(transaction, access, id, update, "approval.approve", None).await
    }

    /// Shows another plan in the place of the one that was seen. False when somebody decided meanwhile.
    ///
    /// # Errors
    /// The vault or the database.
    pub async fn show_anew(&self, access: &TenantAccess, pending: &Pending, preview: Value, plan: &str) -> Result<bool, ApprovalError> {
        let tenant = self.tenants.tenant_find(access.tenant()).await?;
        let Some(sealed) = self.seal(&tenant, pending.id, pending.arguments.clone(), preview)? else { return Ok(false) };
        let update = self
            .update(access.tenant(), pending.id, PENDING)
            .col_expr(operations::Column::RequestSealed, Expr::value(sealed.0))
            .col_expr(operations::Column::PlanDigest, Expr::value(plan))
            .filter(operations::Column::PlanDigest.eq(pending.plan.as_str()));
        Ok(update.exec(&self.db).await?.rows_affected == 1)
    }

    /// Refuses one; the agent is told the reason.
    ///
    /// # Errors
    /// As [`Self::open`], and a reason that is too long.
    pub async fn refuse(&self, access: &TenantAccess, id: OperationId, reason: &str) -> Result<(), ApprovalError> {
        let row = self.row(access, id).await?;
        let reason = Some(reason.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|reason| !reason.is_empty());
        if reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_CHARS_MAX || reason.chars().any(char::is_control)) {
            return Err(ApprovalError::Reason);
        }
        let transaction = db::begin_write(&self.db).await?;
        let gone = Expr::value(Option::<String>::None);
        let update = self.decide(access, id, REFUSED).col_expr(operations::Column::Reason, Expr::value(reason.clone())).col_expr(operations::Column::RequestSealed, gone);
        let after = json!({ "tool": row.tool, "reason": reason });
        if self.decided(transaction, access, id, update, "approval.refuse", Some(after)).await? { Ok(()) } else { Err(ApprovalError::Decided) }
    }

    /// There was nothing to write any more (the customer exists by now): that is the agent's answer. False when somebody decided meanwhile.
    ///
    /// # Errors
    /// The database.
    pub async fn answer(&self, access: &TenantAccess, id: OperationId, result: &Value) -> Result<bool, DbErr> {
        let transaction = db::begin_write(&self.db).await?;
        let gone = Expr::value(Option::<String>::None);
        let update = self.decide(access, id, "done").col_expr(operations::Column::Result, Expr::value(result.clone())).col_expr(operations::Column::RequestSealed, gone);
        self.decided(transaction, access, id, update, "approval.approve", Some(json!({ "state": "nothing_to_write" }))).await
    }

    /// The approved write ended.
    ///
    /// # Errors
    /// The database: the row stays `running` and becomes unknown by age.
    pub async fn end(&self, tenant: TenantId, id: OperationId, end: End<'_>) -> Result<(), DbErr> {
        let (state, word, result) = match end {
            End::Done(result) => ("done", "done", Some(result.clone())),
            End::Unknown => ("unknown", "unknown", None),
            End::Failed(code) => (PENDING, code, None),
        };
        let transaction = db::begin_write(&self.db).await?;
        let mut row = operations::Entity::find_by_id(id.uuid()).one(&transaction).await?.ok_or_else(|| DbErr::RecordNotFound(id.to_string()))?;
        state.clone_into(&mut row.state);
        row.updated_at = self.clock.now();
        if state == PENDING {
            (row.decided_by, row.decided_at) = (None, None);
        } else {
            row.result = result;
            row.request_sealed = None;
        }
        let after = json!({ "tool": row.tool, "reference": row.reference, "state": word });
        row.into_active_model().reset_all().update(&transaction).await?;
        let change = Change { tenant: Some(tenant), action: "approval.end", subject: id.to_string(), before: None, after: Some(after) };
        audit::record(&transaction, &self.clock, &Actor::service(), change).await?;
        transaction.commit().await
    }

    /// Those that nobody decided in time: what was asked for is forgotten. Called now and then.
    ///
    /// # Errors
    /// The database.
    pub async fn sweep(&self) -> Result<u64, DbErr> {
        let update = operations::Entity::update_many()
            .col_expr(operations::Column::State, Expr::value(EXPIRED))
            .col_expr(operations::Column::RequestSealed, Expr::value(Option::<String>::None))
            .filter(operations::Column::State.eq(PENDING))
            .filter(operations::Column::ExpiresAt.lte(self.clock.now()));
        Ok(update.exec(&self.db).await?.rows_affected)
    }

    /// Those of a tenant that wait.
    fn pending(&self, tenant: TenantId) -> Select<operations::Entity> {
        operations::Entity::find()
            .filter(operations::Column::ClientId.eq(tenant.uuid()))
            .filter(operations::Column::State.eq(PENDING))
            .filter(operations::Column::ExpiresAt.gt(self.clock.now()))
    }

    async fn row(&self, access: &TenantAccess, id: OperationId) -> Result<operations::Model, ApprovalError> {
        let rows = operations::Entity::find_by_id(id.uuid()).filter(operations::Column::ClientId.eq(access.tenant().uuid())).filter(operations::Column::ExpiresAt.is_not_null());
        let row = rows.one(&self.db).await?.ok_or(ApprovalError::Unknown)?;
        if access.decides() { Ok(row) } else { Err(ApprovalError::NotOwner) }
    }

    fn update(&self, tenant: TenantId, id: OperationId, state: &str) -> UpdateMany<operations::Entity> {
        operations::Entity::update_many()
            .col_expr(operations::Column::State, Expr::value(state))
            .col_expr(operations::Column::UpdatedAt, Expr::value(self.clock.now()))
            .filter(operations::Column::Id.eq(id.uuid()))
            .filter(operations::Column::ClientId.eq(tenant.uuid()))
            .filter(operations::Column::State.eq(PENDING))
            .filter(operations::Column::ExpiresAt.gt(self.clock.now()))
    }

    /// From pending to that state, by that person.
    fn decide(&self, access: &TenantAccess, id: OperationId, state: &str) -> UpdateMany<operations::Entity> {
        self.update(access.tenant(), id, state)
            .col_expr(operations::Column::DecidedAt, Expr::value(Some(self.clock.now())))
            .col_expr(operations::Column::DecidedBy, Expr::value(Some(access.actor().0)))
    }

    /// Runs the update and writes it down, or neither.
    async fn decided(
        &self,
        transaction: DatabaseTransaction,
        access: &TenantAccess,
        id: OperationId,
        update: UpdateMany<operations::Entity>,
        action: &str,
        after: Option<Value>,
    ) -> Result<bool, DbErr> {
        if update.exec(&transaction).await?.rows_affected != 1 {
            transaction.rollback().await?;
            return Ok(false);
        }
        let change = Change { tenant: Some(access.tenant()), action, subject: id.to_string(), before: None, after };
        audit::record(&transaction, &self.clock, &access.actor(), change).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Sealed for that row; none when it is too large.
    fn seal(&self, tenant: &Tenant, id: OperationId, arguments: Value, preview: Value) -> Result<Option<Sealed>, VaultError> {
        let text = serde_json::to_string(&Kept { arguments, preview }).map_err(|_| VaultError::Broken)?;
        if text.len() > REQUEST_BYTES_MAX {
            return Ok(None);
        }
        self.vault.seal(tenant.id, &tenant.data_key, &field(id), &SecretString::from(text)).map(Some)
    }

    fn unseal(&self, tenant: &Tenant, row: &operations::Model) -> Result<Kept, VaultError> {
        let sealed = Sealed(row.request_sealed.clone().ok_or(VaultError::Broken)?);
        let text = self.vault.open(tenant.id, &tenant.data_key, &field(row.id.into()), &sealed)?;
        serde_json::from_str(text.expose_secret()).map_err(|_| VaultError::Broken)
    }
}

/// What a sealed request is bound to, beside its tenant.
fn field(id: OperationId) -> String {
    format!("approval/{id}")
}
